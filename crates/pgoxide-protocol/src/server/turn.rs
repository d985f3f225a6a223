//! Whose turn it is in an open session, and which messages may come: the order rules as a table.
//!
//! ```text
//!                                 Query                              ReadyForQuery
//!  +--> Idle ---------------------------------------> QueryStart ... QueryOver -----> Idle
//!  |     |   Parse, Bind, Describe, Execute, Close       |
//!  |     +----------------------------> Parse ...        | CopyInResponse and the like
//!  |     |      (its completion: Idle)    |     |        v
//!  |     |                          error |     +----> CopyIn, CopyOut, CopyBoth --> CopyEnd
//!  |     | Sync                           v            (CopyFail: CopyFailed)           |
//!  |     v               Sync                              CommandComplete, as the      |
//!  +--- Sync <-------------------------- Skip              command was begun <----------+
//! ReadyForQuery
//! ```
//!
//! One request at a time: while a reply is owed, later requests stay in the input. ParameterStatus,
//! NoticeResponse and NotificationResponse may come at any time and never get here.
//!
//! Source: "Message Flow", "Simple Query", "Extended Query", "Function Call", "COPY Operations".

use crate::codes::{backend, frontend};
use crate::message::{Frontend, Target};

/// Where an open session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The client may ask anything. After a COPY that failed here it may still be sending the rest
    /// of its data, which is dropped ("COPY Operations").
    Idle { stray_copy: bool },
    /// A Query: nothing answered yet.
    QueryStart,
    /// A Query: inside a result, after its RowDescription.
    QueryRows,
    /// A Query: after a complete result; another one, or the end.
    QueryNext,
    /// A Query or FunctionCall: all said but ReadyForQuery.
    QueryOver { stray_copy: bool },
    /// ParseComplete is owed.
    Parse,
    /// BindComplete is owed.
    Bind,
    /// ParameterDescription is owed, and what follows it.
    DescribeStatement,
    /// RowDescription or NoData is owed.
    DescribeRows,
    /// Rows and an ending are owed.
    Execute,
    /// CloseComplete is owed.
    Close,
    /// FunctionCallResponse is owed.
    FunctionCall,
    /// ReadyForQuery is owed to a Sync.
    Sync { stray_copy: bool },
    /// An extended-query message failed: everything is dropped up to Sync.
    Skip { stray_copy: bool },
    /// The client sends CopyData.
    CopyIn(Origin),
    /// The server sends CopyData.
    CopyOut(Origin),
    /// Both send CopyData, until both have said CopyDone.
    CopyBoth { origin: Origin, client_done: bool, server_done: bool },
    /// A COPY stream has ended well; CommandComplete is owed.
    CopyEnd(Origin),
    /// The client gave up a COPY; an error is owed.
    CopyFailed(Origin),
}

/// How a COPY was begun, which decides what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Query,
    Execute,
}

/// What to do with a message of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Deliver(Turn),
    Drop(Turn),
}

const IDLE: Turn = Turn::Idle { stray_copy: false };

impl Turn {
    /// The turn right after the handshake.
    pub(super) const START: Turn = IDLE;

    /// Whether the next message is the client's.
    pub(super) const fn is_clients(self) -> bool {
        matches!(
            self,
            Turn::Idle { .. } | Turn::Skip { .. } | Turn::CopyIn(_) | Turn::CopyBoth { client_done: false, .. }
        )
    }

    /// Whether a message is dropped without looking into it, as PostgreSQL does: a malformed body
    /// after an error is no second error.
    pub(super) const fn skips(self, kind: u8) -> bool {
        matches!(self, Turn::Skip { .. }) && !matches!(kind, frontend::SYNC | frontend::TERMINATE)
    }

    /// What a message of the client leads to; `None` when it is not allowed here. Terminate, which
    /// always is, and the messages [`skips`](Turn::skips) drops do not get here.
    pub(super) fn request(self, message: &Frontend<'_>) -> Option<Step> {
        match self {
            Turn::Idle { stray_copy } => idle_request(stray_copy, message),
            Turn::Skip { stray_copy } => match message {
                Frontend::Sync(_) => Some(Step::Deliver(Turn::Sync { stray_copy })),
                _ => None,
            },
            Turn::CopyIn(origin) => match message {
                Frontend::CopyData(_) => Some(Step::Deliver(self)),
                Frontend::CopyDone(_) => Some(Step::Deliver(Turn::CopyEnd(origin))),
                Frontend::CopyFail(_) => Some(Step::Deliver(Turn::CopyFailed(origin))),
                // Clients that cannot tell whether an Execute is a COPY have sent these already.
                Frontend::Flush(_) | Frontend::Sync(_) => Some(Step::Drop(self)),
                _ => None,
            },
            Turn::CopyBoth { origin, .. } => match message {
                Frontend::CopyData(_) => Some(Step::Deliver(self)),
                Frontend::CopyDone(_) => Some(Step::Deliver(self.client_done())),
                Frontend::CopyFail(_) => Some(Step::Deliver(Turn::CopyFailed(origin))),
                _ => None,
            },
            _ => None,
        }
    }

    /// What a reply leads to; `None` when it is not due.
    pub(super) fn reply(self, kind: u8) -> Option<Turn> {
        if kind == backend::ERROR_RESPONSE {
            return self.error();
        }
        match self {
            Turn::QueryStart | Turn::QueryRows | Turn::QueryNext | Turn::QueryOver { .. } | Turn::FunctionCall => {
                self.query_reply(kind)
            }
            Turn::Parse
            | Turn::Bind
            | Turn::DescribeStatement
            | Turn::DescribeRows
            | Turn::Execute
            | Turn::Close
            | Turn::Sync { .. } => self.extended_reply(kind),
            Turn::CopyOut(_) | Turn::CopyBoth { .. } | Turn::CopyEnd(_) => self.copy_reply(kind),
            Turn::Idle { .. } | Turn::Skip { .. } | Turn::CopyIn(_) | Turn::CopyFailed(_) => None,
        }
    }

    fn query_reply(self, kind: u8) -> Option<Turn> {
        match (self, kind) {
            (Turn::QueryStart | Turn::QueryNext, backend::ROW_DESCRIPTION) => Some(Turn::QueryRows),
            (Turn::QueryRows, backend::DATA_ROW) => Some(Turn::QueryRows),
            (Turn::QueryStart | Turn::QueryNext | Turn::QueryRows, backend::COMMAND_COMPLETE) => Some(Turn::QueryNext),
            (Turn::QueryStart, backend::EMPTY_QUERY_RESPONSE)
            | (Turn::FunctionCall, backend::FUNCTION_CALL_RESPONSE) => Some(Turn::QueryOver { stray_copy: false }),
            (Turn::QueryNext, backend::READY_FOR_QUERY) => Some(IDLE),
            (Turn::QueryOver { stray_copy }, backend::READY_FOR_QUERY) => Some(Turn::Idle { stray_copy }),
            (Turn::QueryStart | Turn::QueryNext, kind) => copy_begins(kind, Origin::Query),
            _ => None,
        }
    }

    fn extended_reply(self, kind: u8) -> Option<Turn> {
        match (self, kind) {
            (Turn::Parse, backend::PARSE_COMPLETE)
            | (Turn::Bind, backend::BIND_COMPLETE)
            | (Turn::Close, backend::CLOSE_COMPLETE)
            | (Turn::DescribeRows, backend::ROW_DESCRIPTION | backend::NO_DATA)
            | (Turn::Execute, backend::COMMAND_COMPLETE | backend::EMPTY_QUERY_RESPONSE | backend::PORTAL_SUSPENDED) => {
                Some(IDLE)
            }
            (Turn::DescribeStatement, backend::PARAMETER_DESCRIPTION) => Some(Turn::DescribeRows),
            (Turn::Execute, backend::DATA_ROW) => Some(Turn::Execute),
            (Turn::Execute, kind) => copy_begins(kind, Origin::Execute),
            (Turn::Sync { stray_copy }, backend::READY_FOR_QUERY) => Some(Turn::Idle { stray_copy }),
            _ => None,
        }
    }

    fn copy_reply(self, kind: u8) -> Option<Turn> {
        match (self, kind) {
            (Turn::CopyOut(_), backend::COPY_DATA) => Some(self),
            (Turn::CopyOut(origin), backend::COPY_DONE) => Some(Turn::CopyEnd(origin)),
            (Turn::CopyBoth { server_done: false, .. }, backend::COPY_DATA) => Some(self),
            (Turn::CopyBoth { server_done: false, .. }, backend::COPY_DONE) => Some(self.server_done()),
            (Turn::CopyEnd(Origin::Query), backend::COMMAND_COMPLETE) => Some(Turn::QueryNext),
            (Turn::CopyEnd(Origin::Execute), backend::COMMAND_COMPLETE) => Some(IDLE),
            _ => None,
        }
    }

    /// What an ErrorResponse leads to; `None` when there is nothing that could have failed.
    fn error(self) -> Option<Turn> {
        match self {
            Turn::Idle { .. } | Turn::Skip { .. } | Turn::QueryOver { .. } => None,
            Turn::QueryStart | Turn::QueryRows | Turn::QueryNext | Turn::FunctionCall => {
                Some(failed(Origin::Query, false))
            }
            Turn::Parse | Turn::Bind | Turn::DescribeStatement | Turn::DescribeRows | Turn::Execute | Turn::Close => {
                Some(failed(Origin::Execute, false))
            }
            // The commit a Sync implies may fail; ReadyForQuery is owed all the same.
            Turn::Sync { .. } => Some(self),
            Turn::CopyIn(origin) | Turn::CopyBoth { origin, client_done: false, .. } => Some(failed(origin, true)),
            Turn::CopyOut(origin)
            | Turn::CopyBoth { origin, .. }
            | Turn::CopyEnd(origin)
            | Turn::CopyFailed(origin) => Some(failed(origin, false)),
        }
    }

    fn client_done(self) -> Turn {
        match self {
            Turn::CopyBoth { origin, server_done: true, .. } => Turn::CopyEnd(origin),
            Turn::CopyBoth { origin, .. } => Turn::CopyBoth { origin, client_done: true, server_done: false },
            other => other,
        }
    }

    fn server_done(self) -> Turn {
        match self {
            Turn::CopyBoth { origin, client_done: true, .. } => Turn::CopyEnd(origin),
            Turn::CopyBoth { origin, .. } => Turn::CopyBoth { origin, client_done: false, server_done: true },
            other => other,
        }
    }

    /// What is awaited, for error texts.
    pub(super) const fn awaited(self) -> &'static str {
        match self {
            Turn::Idle { .. } => "a request",
            Turn::QueryStart | Turn::QueryNext => "the results of a Query",
            Turn::QueryRows => "the rows of a Query",
            Turn::QueryOver { .. } | Turn::Sync { .. } => "ReadyForQuery",
            Turn::Parse => "ParseComplete",
            Turn::Bind => "BindComplete",
            Turn::DescribeStatement => "ParameterDescription",
            Turn::DescribeRows => "RowDescription or NoData",
            Turn::Execute => "the rows of an Execute",
            Turn::Close => "CloseComplete",
            Turn::FunctionCall => "FunctionCallResponse",
            Turn::Skip { .. } => "Sync",
            Turn::CopyIn(_) => "CopyData of the client",
            Turn::CopyOut(_) => "CopyData of the server",
            Turn::CopyBoth { .. } => "CopyData of either side",
            Turn::CopyEnd(_) => "CommandComplete of a COPY",
            Turn::CopyFailed(_) => "the error of a failed COPY",
        }
    }
}

/// What an idle session makes of a message.
fn idle_request(stray_copy: bool, message: &Frontend<'_>) -> Option<Step> {
    let turn = match message {
        Frontend::Query(_) => Turn::QueryStart,
        Frontend::Parse(_) => Turn::Parse,
        Frontend::Bind(_) => Turn::Bind,
        Frontend::Describe(describe) => match describe.target {
            Target::Statement => Turn::DescribeStatement,
            Target::Portal => Turn::DescribeRows,
        },
        Frontend::Execute(_) => Turn::Execute,
        Frontend::Close(_) => Turn::Close,
        Frontend::FunctionCall(_) => Turn::FunctionCall,
        Frontend::Sync(_) => Turn::Sync { stray_copy: false },
        Frontend::Flush(_) => Turn::Idle { stray_copy },
        Frontend::CopyData(_) if stray_copy => return Some(Step::Drop(Turn::Idle { stray_copy })),
        Frontend::CopyDone(_) | Frontend::CopyFail(_) if stray_copy => {
            return Some(Step::Drop(IDLE));
        }
        Frontend::CopyData(_)
        | Frontend::CopyDone(_)
        | Frontend::CopyFail(_)
        | Frontend::AuthenticationResponse(_)
        | Frontend::Terminate(_) => return None,
    };
    Some(Step::Deliver(turn))
}

/// The turn after an error in something begun by `origin`.
const fn failed(origin: Origin, stray_copy: bool) -> Turn {
    match origin {
        Origin::Query => Turn::QueryOver { stray_copy },
        Origin::Execute => Turn::Skip { stray_copy },
    }
}

/// The turn after a reply that begins a COPY.
const fn copy_begins(kind: u8, origin: Origin) -> Option<Turn> {
    match kind {
        backend::COPY_IN_RESPONSE => Some(Turn::CopyIn(origin)),
        backend::COPY_OUT_RESPONSE => Some(Turn::CopyOut(origin)),
        backend::COPY_BOTH_RESPONSE => Some(Turn::CopyBoth { origin, client_done: false, server_done: false }),
        _ => None,
    }
}
