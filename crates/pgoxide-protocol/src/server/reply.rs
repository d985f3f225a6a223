//! The verbs that answer. Each one is checked against the turn: a reply that is not due is an
//! [`EncodeError::OutOfTurn`], and nothing has been written.
//!
//! A test that wants to break the rules encodes the messages itself.

use super::connection::{Connection, Phase};
use crate::codes::{Format, TransactionStatus, backend};
use crate::error::EncodeError;
use crate::message::{
    Authentication, BackendKeyData, BindComplete, CloseComplete, Column, CommandComplete, CopyBothResponse, CopyData,
    CopyDone, CopyInResponse, CopyOutResponse, EmptyQueryResponse, ErrorResponse, Field, Fields, FunctionCallResponse,
    NoData, NoticeResponse, NotificationResponse, ParameterDescription, ParameterStatus, ParseComplete,
    PortalSuspended, ReadyForQuery, RowDescription, data_row, fields,
};

/// What every reply returns.
type Reply = Result<(), EncodeError>;

/// The handshake ("Message Flow", "Start-up").
impl Connection {
    /// AuthenticationOk: the client is who it says it is.
    pub fn authentication_ok(&mut self) -> Reply {
        self.reply(backend::AUTHENTICATION, |out| Authentication::Ok.encode(out))
    }

    /// ParameterStatus, at startup or whenever the setting changes.
    pub fn parameter_status(&mut self, name: &[u8], value: &[u8]) -> Reply {
        self.reply(backend::PARAMETER_STATUS, |out| ParameterStatus { name, value }.encode(out))
    }

    /// BackendKeyData: what a CancelRequest for this session must quote.
    pub fn backend_key_data(&mut self, process_id: i32, key: &[u8]) -> Reply {
        self.reply(backend::BACKEND_KEY_DATA, |out| BackendKeyData { process_id, key }.encode(out))
    }

    /// ReadyForQuery: ends the handshake, a Query, a FunctionCall or a Sync.
    pub fn ready_for_query(&mut self, status: TransactionStatus) -> Reply {
        self.reply(backend::READY_FOR_QUERY, |out| ReadyForQuery { status }.encode(out))
    }
}

/// Results ("Message Flow", "Simple Query" and "Extended Query").
impl Connection {
    /// ParseComplete.
    pub fn parse_complete(&mut self) -> Reply {
        self.reply(backend::PARSE_COMPLETE, |out| ParseComplete.encode(out))
    }

    /// BindComplete.
    pub fn bind_complete(&mut self) -> Reply {
        self.reply(backend::BIND_COMPLETE, |out| BindComplete.encode(out))
    }

    /// CloseComplete.
    pub fn close_complete(&mut self) -> Reply {
        self.reply(backend::CLOSE_COMPLETE, |out| CloseComplete.encode(out))
    }

    /// ParameterDescription: the parameter types of a described statement.
    pub fn parameter_description(&mut self, types: &[u32]) -> Reply {
        let types = types.into();
        self.reply(backend::PARAMETER_DESCRIPTION, |out| ParameterDescription { types }.encode(out))
    }

    /// RowDescription: the columns of what was described, or of the rows to come.
    pub fn row_description(&mut self, columns: &[Column<'_>]) -> Reply {
        let columns = columns.into();
        self.reply(backend::ROW_DESCRIPTION, |out| RowDescription { columns }.encode(out))
    }

    /// NoData: what was described returns no rows.
    pub fn no_data(&mut self) -> Reply {
        self.reply(backend::NO_DATA, |out| NoData.encode(out))
    }

    /// DataRow.
    pub fn data_row(&mut self, values: &[Option<&[u8]>]) -> Reply {
        self.reply(backend::DATA_ROW, |out| data_row::write(out, values))
    }

    /// CommandComplete, with a tag such as `SELECT 3`.
    pub fn command_complete(&mut self, tag: &[u8]) -> Reply {
        self.reply(backend::COMMAND_COMPLETE, |out| CommandComplete { tag }.encode(out))
    }

    /// EmptyQueryResponse: there was no command in the query string.
    pub fn empty_query_response(&mut self) -> Reply {
        self.reply(backend::EMPTY_QUERY_RESPONSE, |out| EmptyQueryResponse.encode(out))
    }

    /// PortalSuspended: the row limit was reached.
    pub fn portal_suspended(&mut self) -> Reply {
        self.reply(backend::PORTAL_SUSPENDED, |out| PortalSuspended.encode(out))
    }

    /// FunctionCallResponse.
    pub fn function_call_response(&mut self, value: Option<&[u8]>) -> Reply {
        self.reply(backend::FUNCTION_CALL_RESPONSE, |out| FunctionCallResponse { value }.encode(out))
    }
}

/// COPY ("Message Flow", "COPY Operations").
impl Connection {
    /// CopyInResponse: CopyData may come.
    pub fn copy_in_response(&mut self, format: Format, columns: &[Format]) -> Reply {
        let columns = columns.into();
        self.reply(backend::COPY_IN_RESPONSE, |out| CopyInResponse { format, columns }.encode(out))
    }

    /// CopyOutResponse: [`copy_data`](Connection::copy_data) may follow.
    pub fn copy_out_response(&mut self, format: Format, columns: &[Format]) -> Reply {
        let columns = columns.into();
        self.reply(backend::COPY_OUT_RESPONSE, |out| CopyOutResponse { format, columns }.encode(out))
    }

    /// CopyBothResponse: CopyData may flow both ways.
    pub fn copy_both_response(&mut self, format: Format, columns: &[Format]) -> Reply {
        let columns = columns.into();
        self.reply(backend::COPY_BOTH_RESPONSE, |out| CopyBothResponse { format, columns }.encode(out))
    }

    /// CopyData.
    pub fn copy_data(&mut self, data: &[u8]) -> Reply {
        self.reply(backend::COPY_DATA, |out| CopyData { data }.encode(out))
    }

    /// CopyDone: the server's stream has ended; [`command_complete`](Connection::command_complete)
    /// follows.
    pub fn copy_done(&mut self) -> Reply {
        self.reply(backend::COPY_DONE, |out| CopyDone.encode(out))
    }
}

/// Errors and what may come at any time ("Message Flow", "Asynchronous Operations").
impl Connection {
    /// ErrorResponse of severity ERROR: the request failed. After an extended-query message
    /// everything up to the next Sync is dropped.
    pub fn error(&mut self, sqlstate: &[u8], message: &[u8]) -> Reply {
        self.error_fields(Fields::new(&report(b"ERROR", sqlstate, message)))
    }

    /// The same with fields of the caller's choice.
    pub fn error_fields(&mut self, fields: Fields<'_>) -> Reply {
        self.reply(backend::ERROR_RESPONSE, |out| ErrorResponse { fields }.encode(out))
    }

    /// ErrorResponse of severity FATAL, at any time: the session ends here.
    pub fn fatal(&mut self, sqlstate: &[u8], message: &[u8]) -> Reply {
        if self.is_closed() {
            return Err(EncodeError::OutOfTurn { reply: "ErrorResponse", state: "nothing, being closed" });
        }
        let fields = report(b"FATAL", sqlstate, message);
        let fields = Fields::new(&fields);
        ErrorResponse { fields }.encode(&mut self.output)?;
        self.phase = Phase::Closed;
        Ok(())
    }

    /// NoticeResponse of severity NOTICE.
    pub fn notice(&mut self, sqlstate: &[u8], message: &[u8]) -> Reply {
        let fields = report(b"NOTICE", sqlstate, message);
        let fields = Fields::new(&fields);
        self.reply(backend::NOTICE_RESPONSE, |out| NoticeResponse { fields }.encode(out))
    }

    /// NotificationResponse: somebody notified a channel the client listens on.
    pub fn notification(&mut self, process_id: i32, channel: &[u8], payload: &[u8]) -> Reply {
        self.reply(backend::NOTIFICATION_RESPONSE, |out| {
            NotificationResponse { process_id, channel, payload }.encode(out)
        })
    }
}

/// The fields every error and notice has ("Error and Notice Message Fields").
fn report<'a>(severity: &'a [u8], sqlstate: &'a [u8], message: &'a [u8]) -> [Field<'a>; 4] {
    [
        (fields::SEVERITY, severity),
        (fields::SEVERITY_NONLOCALIZED, severity),
        (fields::SQLSTATE, sqlstate),
        (fields::MESSAGE, message),
    ]
    .map(|(code, value)| Field { code, value })
}
