//! Every number the protocol fixes, in one table: message types of both directions, authentication
//! codes, version numbers and the codes of the untyped first packets.
//!
//! Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol", section "Message Formats".

/// Protocol 3.0, understood by every supported server.
pub const PROTOCOL_3_0: i32 = 3 << 16;
/// Protocol 3.2 (PostgreSQL 18): cancel keys of variable length.
pub const PROTOCOL_3_2: i32 = (3 << 16) | 2;

/// CancelRequest: the code in place of a protocol version.
pub const CANCEL_REQUEST: i32 = (1234 << 16) | 5678;
/// SSLRequest: the code in place of a protocol version.
pub const SSL_REQUEST: i32 = (1234 << 16) | 5679;
/// GSSENCRequest: the code in place of a protocol version.
pub const GSSENC_REQUEST: i32 = (1234 << 16) | 5680;

/// The shortest cancel key (BackendKeyData, CancelRequest), and the only length in protocol 3.0.
pub const MIN_CANCEL_KEY: usize = 4;
/// The longest cancel key protocol 3.2 allows.
pub const MAX_CANCEL_KEY: usize = 256;

/// Message types the frontend sends ("Message Formats", the messages marked F).
pub mod frontend {
    /// Bind.
    pub const BIND: u8 = b'B';
    /// Close.
    pub const CLOSE: u8 = b'C';
    /// CopyData.
    pub const COPY_DATA: u8 = b'd';
    /// CopyDone.
    pub const COPY_DONE: u8 = b'c';
    /// CopyFail.
    pub const COPY_FAIL: u8 = b'f';
    /// Describe.
    pub const DESCRIBE: u8 = b'D';
    /// Execute.
    pub const EXECUTE: u8 = b'E';
    /// Flush.
    pub const FLUSH: u8 = b'H';
    /// FunctionCall.
    pub const FUNCTION_CALL: u8 = b'F';
    /// Parse.
    pub const PARSE: u8 = b'P';
    /// PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse: one byte for all four,
    /// only the authentication request that came before tells them apart.
    pub const AUTHENTICATION_RESPONSE: u8 = b'p';
    /// Query.
    pub const QUERY: u8 = b'Q';
    /// Sync.
    pub const SYNC: u8 = b'S';
    /// Terminate.
    pub const TERMINATE: u8 = b'X';
}

/// Message types the backend sends ("Message Formats", the messages marked B).
pub mod backend {
    /// Authentication, all sub-kinds; see [`authentication`](super::authentication).
    pub const AUTHENTICATION: u8 = b'R';
    /// BackendKeyData.
    pub const BACKEND_KEY_DATA: u8 = b'K';
    /// BindComplete.
    pub const BIND_COMPLETE: u8 = b'2';
    /// CloseComplete.
    pub const CLOSE_COMPLETE: u8 = b'3';
    /// CommandComplete.
    pub const COMMAND_COMPLETE: u8 = b'C';
    /// CopyBothResponse.
    pub const COPY_BOTH_RESPONSE: u8 = b'W';
    /// CopyData.
    pub const COPY_DATA: u8 = b'd';
    /// CopyDone.
    pub const COPY_DONE: u8 = b'c';
    /// CopyInResponse.
    pub const COPY_IN_RESPONSE: u8 = b'G';
    /// CopyOutResponse.
    pub const COPY_OUT_RESPONSE: u8 = b'H';
    /// DataRow.
    pub const DATA_ROW: u8 = b'D';
    /// EmptyQueryResponse.
    pub const EMPTY_QUERY_RESPONSE: u8 = b'I';
    /// ErrorResponse.
    pub const ERROR_RESPONSE: u8 = b'E';
    /// FunctionCallResponse.
    pub const FUNCTION_CALL_RESPONSE: u8 = b'V';
    /// NegotiateProtocolVersion.
    pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
    /// NoData.
    pub const NO_DATA: u8 = b'n';
    /// NoticeResponse.
    pub const NOTICE_RESPONSE: u8 = b'N';
    /// NotificationResponse.
    pub const NOTIFICATION_RESPONSE: u8 = b'A';
    /// ParameterDescription.
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    /// ParameterStatus.
    pub const PARAMETER_STATUS: u8 = b'S';
    /// ParseComplete.
    pub const PARSE_COMPLETE: u8 = b'1';
    /// PortalSuspended.
    pub const PORTAL_SUSPENDED: u8 = b's';
    /// ReadyForQuery.
    pub const READY_FOR_QUERY: u8 = b'Z';
    /// RowDescription.
    pub const ROW_DESCRIPTION: u8 = b'T';
}

/// The first word of an Authentication message ("Message Formats", AuthenticationOk and onwards).
pub mod authentication {
    /// AuthenticationOk.
    pub const OK: i32 = 0;
    /// AuthenticationKerberosV5, no longer supported by servers.
    pub const KERBEROS_V5: i32 = 2;
    /// AuthenticationCleartextPassword.
    pub const CLEARTEXT_PASSWORD: i32 = 3;
    /// AuthenticationMD5Password.
    pub const MD5_PASSWORD: i32 = 5;
    /// AuthenticationGSS.
    pub const GSS: i32 = 7;
    /// AuthenticationGSSContinue.
    pub const GSS_CONTINUE: i32 = 8;
    /// AuthenticationSSPI.
    pub const SSPI: i32 = 9;
    /// AuthenticationSASL.
    pub const SASL: i32 = 10;
    /// AuthenticationSASLContinue.
    pub const SASL_CONTINUE: i32 = 11;
    /// AuthenticationSASLFinal.
    pub const SASL_FINAL: i32 = 12;
}

/// How a value is written on the wire ("Formats and Format Codes").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// The type's text form, format code 0.
    #[default]
    Text,
    /// The type's binary form, format code 1.
    Binary,
}

impl Format {
    /// The format code on the wire.
    #[inline]
    pub const fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }

    /// The format a code stands for; `None` for codes the protocol reserves.
    #[inline]
    pub const fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Format::Text),
            1 => Some(Format::Binary),
            _ => None,
        }
    }
}

/// The transaction status a ReadyForQuery reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    /// Not in a transaction block, `I`.
    Idle,
    /// In a transaction block, `T`.
    InTransaction,
    /// In a failed transaction block: everything is refused until it is rolled back, `E`.
    Failed,
}

impl TransactionStatus {
    /// The status indicator on the wire.
    #[inline]
    pub const fn code(self) -> u8 {
        match self {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        }
    }

    /// The status an indicator stands for; `None` for any other byte.
    #[inline]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            b'I' => Some(TransactionStatus::Idle),
            b'T' => Some(TransactionStatus::InTransaction),
            b'E' => Some(TransactionStatus::Failed),
            _ => None,
        }
    }
}

/// The documentation's name for a message type the backend sends, for error texts.
pub const fn backend_name(kind: u8) -> &'static str {
    match kind {
        backend::AUTHENTICATION => "Authentication",
        backend::BACKEND_KEY_DATA => "BackendKeyData",
        backend::BIND_COMPLETE => "BindComplete",
        backend::CLOSE_COMPLETE => "CloseComplete",
        backend::COMMAND_COMPLETE => "CommandComplete",
        backend::COPY_BOTH_RESPONSE => "CopyBothResponse",
        backend::COPY_DATA => "CopyData",
        backend::COPY_DONE => "CopyDone",
        backend::COPY_IN_RESPONSE => "CopyInResponse",
        backend::COPY_OUT_RESPONSE => "CopyOutResponse",
        backend::DATA_ROW => "DataRow",
        backend::EMPTY_QUERY_RESPONSE => "EmptyQueryResponse",
        backend::ERROR_RESPONSE => "ErrorResponse",
        backend::FUNCTION_CALL_RESPONSE => "FunctionCallResponse",
        backend::NEGOTIATE_PROTOCOL_VERSION => "NegotiateProtocolVersion",
        backend::NO_DATA => "NoData",
        backend::NOTICE_RESPONSE => "NoticeResponse",
        backend::NOTIFICATION_RESPONSE => "NotificationResponse",
        backend::PARAMETER_DESCRIPTION => "ParameterDescription",
        backend::PARAMETER_STATUS => "ParameterStatus",
        backend::PARSE_COMPLETE => "ParseComplete",
        backend::PORTAL_SUSPENDED => "PortalSuspended",
        backend::READY_FOR_QUERY => "ReadyForQuery",
        backend::ROW_DESCRIPTION => "RowDescription",
        _ => "an unknown message",
    }
}

/// The documentation's name for a message type the frontend sends, for error texts.
pub const fn frontend_name(kind: u8) -> &'static str {
    match kind {
        frontend::BIND => "Bind",
        frontend::CLOSE => "Close",
        frontend::COPY_DATA => "CopyData",
        frontend::COPY_DONE => "CopyDone",
        frontend::COPY_FAIL => "CopyFail",
        frontend::DESCRIBE => "Describe",
        frontend::EXECUTE => "Execute",
        frontend::FLUSH => "Flush",
        frontend::FUNCTION_CALL => "FunctionCall",
        frontend::PARSE => "Parse",
        // The commonest of the four messages that share the byte.
        frontend::AUTHENTICATION_RESPONSE => "PasswordMessage",
        frontend::QUERY => "Query",
        frontend::SYNC => "Sync",
        frontend::TERMINATE => "Terminate",
        _ => "an unknown message",
    }
}
