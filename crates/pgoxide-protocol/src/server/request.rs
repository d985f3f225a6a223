//! What the client asks, owned, so that it outlives the buffer it came in.

use crate::codes::Format;
use crate::message::{Bind, Frontend, FunctionCall, Parse, StartupMessage, Target};

/// One event of the conversation. Names and texts are bytes in the client's encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// StartupMessage: answer with `authentication_ok` and onwards, or with `fatal`.
    Startup {
        /// The protocol version asked for; a newer minor one has been negotiated down already.
        protocol: i32,
        /// Names and values, protocol options (`_pq_.`) included.
        parameters: Vec<(Vec<u8>, Vec<u8>)>,
    },
    /// CancelRequest: nothing answers it, and the connection is over.
    Cancel {
        /// The process ID of the session to cancel.
        process_id: i32,
        /// The key that session was given.
        key: Vec<u8>,
    },
    /// Query: answer with results, then `ready_for_query`.
    Query(Vec<u8>),
    /// Parse: answer with `parse_complete`.
    Parse {
        /// The prepared statement's name.
        name: Vec<u8>,
        /// The query string.
        sql: Vec<u8>,
        /// Parameter types as far as given.
        oids: Vec<u32>,
    },
    /// Bind: answer with `bind_complete`.
    Bind {
        /// The portal's name.
        portal: Vec<u8>,
        /// The prepared statement's name.
        statement: Vec<u8>,
        /// None, one for all, or one per parameter.
        formats: Vec<Format>,
        /// The parameters, NULL as `None`.
        values: Vec<Option<Vec<u8>>>,
        /// None, one for all, or one per column.
        result_formats: Vec<Format>,
    },
    /// Describe of a statement: answer with `parameter_description`, then `row_description` or
    /// `no_data`.
    DescribeStatement(Vec<u8>),
    /// Describe of a portal: answer with `row_description` or `no_data`.
    DescribePortal(Vec<u8>),
    /// Execute: answer with rows and one of the endings, or with a COPY.
    Execute {
        /// The portal's name.
        portal: Vec<u8>,
        /// The row limit, 0 for none.
        max_rows: u32,
    },
    /// Close of a statement: answer with `close_complete`.
    CloseStatement(Vec<u8>),
    /// Close of a portal: answer with `close_complete`.
    ClosePortal(Vec<u8>),
    /// FunctionCall: answer with `function_call_response`, then `ready_for_query`.
    FunctionCall {
        /// The function's OID.
        function: u32,
        /// None, one for all, or one per argument.
        formats: Vec<Format>,
        /// The arguments, NULL as `None`.
        values: Vec<Option<Vec<u8>>>,
        /// The format wanted for the result.
        result_format: Format,
    },
    /// Sync: answer with `ready_for_query`.
    Sync,
    /// Flush: send what there is; no message answers it.
    Flush,
    /// CopyData.
    CopyData(Vec<u8>),
    /// CopyDone: answer with `command_complete`.
    CopyDone,
    /// CopyFail: answer with `error`.
    CopyFail(Vec<u8>),
    /// Terminate: nothing answers it, and the connection is over.
    Terminate,
}

impl Request {
    pub(super) fn from_startup(message: &StartupMessage<'_>) -> Self {
        Request::Startup {
            protocol: message.protocol,
            parameters: message
                .parameters
                .iter()
                .map(|parameter| (parameter.name.to_vec(), parameter.value.to_vec()))
                .collect(),
        }
    }

    /// `None` for answers to authentication requests: there are none to answer.
    pub(super) fn from_message(message: Frontend<'_>) -> Option<Self> {
        Some(match message {
            Frontend::AuthenticationResponse(_) => return None,
            Frontend::Query(query) => Request::Query(query.sql.to_vec()),
            Frontend::Parse(parse) => from_parse(parse),
            Frontend::Bind(bind) => from_bind(bind),
            Frontend::Describe(describe) => match describe.target {
                Target::Statement => Request::DescribeStatement(describe.name.to_vec()),
                Target::Portal => Request::DescribePortal(describe.name.to_vec()),
            },
            Frontend::Execute(execute) => {
                Request::Execute { portal: execute.portal.to_vec(), max_rows: execute.max_rows }
            }
            Frontend::Close(close) => match close.target {
                Target::Statement => Request::CloseStatement(close.name.to_vec()),
                Target::Portal => Request::ClosePortal(close.name.to_vec()),
            },
            Frontend::FunctionCall(call) => from_function_call(call),
            Frontend::Sync(_) => Request::Sync,
            Frontend::Flush(_) => Request::Flush,
            Frontend::CopyData(copy) => Request::CopyData(copy.data.to_vec()),
            Frontend::CopyDone(_) => Request::CopyDone,
            Frontend::CopyFail(copy) => Request::CopyFail(copy.reason.to_vec()),
            Frontend::Terminate(_) => Request::Terminate,
        })
    }
}

fn from_parse(parse: Parse<'_>) -> Request {
    Request::Parse {
        name: parse.statement.to_vec(),
        sql: parse.sql.to_vec(),
        oids: parse.parameter_types.iter().collect(),
    }
}

fn from_bind(bind: Bind<'_>) -> Request {
    Request::Bind {
        portal: bind.portal.to_vec(),
        statement: bind.statement.to_vec(),
        formats: bind.parameter_formats.iter().collect(),
        values: owned(bind.parameters.iter()),
        result_formats: bind.result_formats.iter().collect(),
    }
}

fn from_function_call(call: FunctionCall<'_>) -> Request {
    Request::FunctionCall {
        function: call.function,
        formats: call.argument_formats.iter().collect(),
        values: owned(call.arguments.iter()),
        result_format: call.result_format,
    }
}

fn owned<'a>(values: impl Iterator<Item = Option<&'a [u8]>>) -> Vec<Option<Vec<u8>>> {
    values.map(|value| value.map(<[u8]>::to_vec)).collect()
}
