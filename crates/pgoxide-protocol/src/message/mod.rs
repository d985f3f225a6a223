//! The messages of protocol 3.0 and 3.2, one file each, named as the documentation names them.
//!
//! `decode` takes a body (what follows type byte and length) and borrows from it: names and texts
//! stay bytes, because the server may speak another encoding before authentication has ended.
//! `encode` appends the whole message. Source: chapter "Frontend/Backend Protocol", section
//! "Message Formats".
//!
//! First packets, without a type byte:
//! ```text
//! startup_message             opens a session
//! ssl_request                 asks for TLS
//! gssenc_request              asks for GSSAPI encryption
//! cancel_request              cancels what another session runs
//! ```
//! Answers to authentication requests:
//! ```text
//! authentication_response     any of the next four, not told apart yet
//! password_message            password, clear or MD5
//! sasl_initial_response       chosen mechanism and first step
//! sasl_response               next step
//! gss_response                GSSAPI or SSPI token
//! ```
//! From the frontend:
//! ```text
//! query                       simple query
//! parse                       prepare a statement
//! bind                        portal from statement and values
//! describe                    ask for parameters and columns
//! execute                     run a portal
//! close                       drop statement or portal
//! sync                        end of a batch
//! flush                       send what is ready
//! terminate                   goodbye
//! function_call               legacy fast path
//! copy_data                   a piece of a COPY stream, both directions
//! copy_done                   end of a COPY stream, both directions
//! copy_fail                   give up a COPY FROM
//! ```
//! From the backend:
//! ```text
//! authentication              every authentication request, and OK
//! backend_key_data            what a CancelRequest quotes
//! parameter_status            a reported setting
//! negotiate_protocol_version  older version, unknown options
//! ready_for_query             end of a cycle, transaction status
//! row_description             columns
//! parameter_description       parameter types
//! no_data                     no columns
//! data_row                    one row
//! command_complete            command tag and row count
//! empty_query_response        the query was empty
//! portal_suspended            row limit reached
//! parse_complete              Parse succeeded
//! bind_complete               Bind succeeded
//! close_complete              Close succeeded
//! error_response              error fields
//! notice_response             notice fields
//! notification_response       NOTIFY
//! function_call_response      result of a FunctionCall
//! copy_in_response            COPY FROM begins
//! copy_out_response           COPY TO begins
//! copy_both_response          replication stream begins
//! ```
//! Shared:
//! ```text
//! list                        repeated parts, for both directions
//! fields                      error and notice fields
//! target                      statement or portal
//! startup                     the first packets as one enum
//! bodyless                    macro for messages without a body
//! copy_columns                body of the three Copy...Response messages
//! ```

pub mod authentication;
pub mod authentication_response;
pub mod backend_key_data;
pub mod bind;
pub mod bind_complete;
mod bodyless;
pub mod cancel_request;
pub mod close;
pub mod close_complete;
pub mod command_complete;
pub mod copy_both_response;
mod copy_columns;
pub mod copy_data;
pub mod copy_done;
pub mod copy_fail;
pub mod copy_in_response;
pub mod copy_out_response;
pub mod data_row;
pub mod describe;
pub mod empty_query_response;
pub mod error_response;
pub mod execute;
pub mod fields;
pub mod flush;
pub mod function_call;
pub mod function_call_response;
pub mod gss_response;
pub mod gssenc_request;
pub mod list;
pub mod negotiate_protocol_version;
pub mod no_data;
pub mod notice_response;
pub mod notification_response;
pub mod parameter_description;
pub mod parameter_status;
pub mod parse;
pub mod parse_complete;
pub mod password_message;
pub mod portal_suspended;
pub mod query;
pub mod ready_for_query;
pub mod row_description;
pub mod sasl_initial_response;
pub mod sasl_response;
pub mod ssl_request;
pub mod startup;
pub mod startup_message;
pub mod sync;
pub mod target;
pub mod terminate;

pub use authentication::Authentication;
pub use authentication_response::AuthenticationResponse;
pub use backend_key_data::BackendKeyData;
pub use bind::Bind;
pub use bind_complete::BindComplete;
pub use cancel_request::CancelRequest;
pub use close::Close;
pub use close_complete::CloseComplete;
pub use command_complete::CommandComplete;
pub use copy_both_response::CopyBothResponse;
pub use copy_data::CopyData;
pub use copy_done::CopyDone;
pub use copy_fail::CopyFail;
pub use copy_in_response::CopyInResponse;
pub use copy_out_response::CopyOutResponse;
pub use data_row::DataRow;
pub use describe::Describe;
pub use empty_query_response::EmptyQueryResponse;
pub use error_response::ErrorResponse;
pub use execute::Execute;
pub use fields::{Field, Fields};
pub use flush::Flush;
pub use function_call::FunctionCall;
pub use function_call_response::FunctionCallResponse;
pub use gss_response::GssResponse;
pub use gssenc_request::GssencRequest;
pub use list::List;
pub use negotiate_protocol_version::NegotiateProtocolVersion;
pub use no_data::NoData;
pub use notice_response::NoticeResponse;
pub use notification_response::NotificationResponse;
pub use parameter_description::ParameterDescription;
pub use parameter_status::ParameterStatus;
pub use parse::Parse;
pub use parse_complete::ParseComplete;
pub use password_message::PasswordMessage;
pub use portal_suspended::PortalSuspended;
pub use query::Query;
pub use ready_for_query::ReadyForQuery;
pub use row_description::{Column, RowDescription};
pub use sasl_initial_response::SaslInitialResponse;
pub use sasl_response::SaslResponse;
pub use ssl_request::SslRequest;
pub use startup::Startup;
pub use startup_message::{Parameter, StartupMessage};
pub use sync::Sync;
pub use target::Target;
pub use terminate::Terminate;

use crate::codes::{backend, backend_name, frontend, frontend_name};
use crate::error::{DecodeError, EncodeError, Problem};

/// Declares the enum over all messages of one direction with its type bytes.
macro_rules! messages {
    (
        $(#[$doc:meta])*
        $enum:ident, $direction:literal, $name:path;
        $($variant:ident($type:ty) = $kind:path,)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $enum<'a> {
            $(
                #[doc = concat!("The message ", stringify!($variant), ".")]
                $variant($type),
            )*
        }

        impl<'a> $enum<'a> {
            /// Decodes the body of a message with type byte `kind`.
            #[inline]
            pub fn decode(kind: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
                match kind {
                    $($kind => <$type>::decode(body).map($enum::$variant),)*
                    kind => Err(DecodeError {
                        message: $direction,
                        problem: Problem::UnknownKind { kind },
                    }),
                }
            }

            /// Appends the whole message.
            #[inline]
            pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                match self {
                    $($enum::$variant(message) => message.encode(out),)*
                }
            }

            /// The message's type byte.
            #[inline]
            pub const fn kind(&self) -> u8 {
                match self {
                    $($enum::$variant(_) => $kind,)*
                }
            }

            /// The documentation's name of the message.
            pub const fn name(&self) -> &'static str {
                $name(self.kind())
            }
        }
    };
}

messages! {
    /// Any message the frontend sends, the first packets apart ([`Startup`]).
    Frontend, "frontend", frontend_name;
    Bind(Bind<'a>) = frontend::BIND,
    Close(Close<'a>) = frontend::CLOSE,
    CopyData(CopyData<'a>) = frontend::COPY_DATA,
    CopyDone(CopyDone) = frontend::COPY_DONE,
    CopyFail(CopyFail<'a>) = frontend::COPY_FAIL,
    Describe(Describe<'a>) = frontend::DESCRIBE,
    Execute(Execute<'a>) = frontend::EXECUTE,
    Flush(Flush) = frontend::FLUSH,
    FunctionCall(FunctionCall<'a>) = frontend::FUNCTION_CALL,
    Parse(Parse<'a>) = frontend::PARSE,
    AuthenticationResponse(AuthenticationResponse<'a>) = frontend::AUTHENTICATION_RESPONSE,
    Query(Query<'a>) = frontend::QUERY,
    Sync(Sync) = frontend::SYNC,
    Terminate(Terminate) = frontend::TERMINATE,
}

messages! {
    /// Any message the backend sends.
    Backend, "backend", backend_name;
    Authentication(Authentication<'a>) = backend::AUTHENTICATION,
    BackendKeyData(BackendKeyData<'a>) = backend::BACKEND_KEY_DATA,
    BindComplete(BindComplete) = backend::BIND_COMPLETE,
    CloseComplete(CloseComplete) = backend::CLOSE_COMPLETE,
    CommandComplete(CommandComplete<'a>) = backend::COMMAND_COMPLETE,
    CopyBothResponse(CopyBothResponse<'a>) = backend::COPY_BOTH_RESPONSE,
    CopyData(CopyData<'a>) = backend::COPY_DATA,
    CopyDone(CopyDone) = backend::COPY_DONE,
    CopyInResponse(CopyInResponse<'a>) = backend::COPY_IN_RESPONSE,
    CopyOutResponse(CopyOutResponse<'a>) = backend::COPY_OUT_RESPONSE,
    DataRow(DataRow<'a>) = backend::DATA_ROW,
    EmptyQueryResponse(EmptyQueryResponse) = backend::EMPTY_QUERY_RESPONSE,
    ErrorResponse(ErrorResponse<'a>) = backend::ERROR_RESPONSE,
    FunctionCallResponse(FunctionCallResponse<'a>) = backend::FUNCTION_CALL_RESPONSE,
    NegotiateProtocolVersion(NegotiateProtocolVersion<'a>) = backend::NEGOTIATE_PROTOCOL_VERSION,
    NoData(NoData) = backend::NO_DATA,
    NoticeResponse(NoticeResponse<'a>) = backend::NOTICE_RESPONSE,
    NotificationResponse(NotificationResponse<'a>) = backend::NOTIFICATION_RESPONSE,
    ParameterDescription(ParameterDescription<'a>) = backend::PARAMETER_DESCRIPTION,
    ParameterStatus(ParameterStatus<'a>) = backend::PARAMETER_STATUS,
    ParseComplete(ParseComplete) = backend::PARSE_COMPLETE,
    PortalSuspended(PortalSuspended) = backend::PORTAL_SUSPENDED,
    ReadyForQuery(ReadyForQuery) = backend::READY_FOR_QUERY,
    RowDescription(RowDescription<'a>) = backend::ROW_DESCRIPTION,
}
