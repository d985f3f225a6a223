//! Each backend message matched against the reply expected next.
//!
//! Message Flow > Extended Query, per step of the head request:
//!
//! ```text
//!   Parse             ParseComplete
//!   DescribeStatement ParameterDescription ─▶ DescribePortal
//!   DescribePortal    RowDescription | NoData
//!   Bind              BindComplete
//!   Execute           DataRow* ─▶ CommandComplete | EmptyQueryResponse | PortalSuspended
//!                     CopyInResponse ─▶ (our data) ─▶ CommandComplete; CopyOutResponse ─▶ CopyData* CopyDone
//!   Close             CloseComplete
//!   Query             (RowDescription DataRow* CommandComplete | EmptyQueryResponse | Copy…)*
//!   CommandParse, CommandBind, CommandExecute | Open    as Parse, Bind, Execute of a command without rows; see block.rs
//!   Guard, Proof      RowDescription | NoData
//!   Check             CommandComplete
//!   Sync              ReadyForQuery
//! ```
//!
//! ErrorResponse in any step skips to the Sync of the same request, as the server does. Notices, notifications
//! and parameter changes are taken out before the match, because they may come anywhere.

use super::block::Standing;
use super::frame::{self, Frame};
use super::pipeline::Step;
use super::{Connection, RequestId};
use crate::codes::{TransactionStatus, backend};
use crate::error::ProtocolError;
use crate::message::command_complete::CommandComplete;
use crate::message::copy_in_response::CopyInResponse;
use crate::message::copy_out_response::CopyOutResponse;
use crate::message::error_response::ErrorResponse;
use crate::message::fields;
use crate::message::notice_response::NoticeResponse;
use crate::message::notification_response::NotificationResponse;
use crate::message::parameter_description::ParameterDescription;
use crate::message::parameter_status::ParameterStatus;
use crate::message::ready_for_query::ReadyForQuery;
use crate::message::row_description::RowDescription;

/// SQLSTATE query_canceled: a cancel, a statement timeout or an administrator.
const QUERY_CANCELED: &[u8] = b"57014";

/// The server closes the session after it said so. Before 9.6 only the localised severity was sent.
fn is_fatal(error: &ErrorResponse<'_>) -> bool {
    let severity = error.fields.find(fields::SEVERITY_NONLOCALIZED).or_else(|| error.fields.find(fields::SEVERITY));
    matches!(severity, Some(b"FATAL" | b"PANIC"))
}

/// Which way a COPY goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyDirection {
    /// CopyInResponse: the server waits for our data.
    In,
    /// CopyOutResponse: the server sends.
    Out,
}

/// How the server's ErrorResponse concerns the request at the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its own error.
    Request,
    /// 57014 that another request's cancel brought. Unless [`Connection::running_resends`], it has failed.
    Neighbour,
    /// What was to open the transaction block in front of it failed: itself it has not run.
    Opening,
    /// The transaction in which it was to run has not begun: itself it has not run.
    NotBegun,
    /// FATAL: the session ends. Also without any request in flight.
    Session,
}

/// Something that happened, in the order of the bytes. Those of a request concern the head: see
/// [`Connection::running`].
#[derive(Debug)]
pub enum Event<'p, J> {
    /// The server asks for a password or another proof.
    AuthenticationRequested(crate::message::authentication::Authentication<'p>),
    /// First ReadyForQuery: requests may be submitted.
    Started,
    /// A notice.
    Notice(NoticeResponse<'p>),
    /// A NOTIFY.
    Notification(NotificationResponse<'p>),
    /// A setting was reported; [`Connection::parameter`] already knows it.
    Parameter {
        /// Its name.
        name: &'p [u8],
        /// Its new value.
        value: &'p [u8],
    },
    /// CloseComplete.
    Closed,
    /// Types of a statement's parameters.
    ParameterDescription(ParameterDescription<'p>),
    /// Columns of a statement, portal or simple result.
    RowDescription(RowDescription<'p>),
    /// The statement returns no rows.
    NoData,
    /// ParseComplete: the statement exists from now on, whatever happens later.
    Parsed,
    /// A run of complete DataRow frames, headers included.
    Rows {
        /// The frames as they lie in the page.
        frames: &'p [u8],
        /// How many.
        count: usize,
    },
    /// A statement came to its end.
    Complete(CommandComplete<'p>),
    /// The statement's text was empty.
    Empty,
    /// The portal has more rows.
    Suspended,
    /// The last command of the head, which ends its level of the transaction block, was completed with this tag.
    Ended(CommandComplete<'p>),
    /// A COPY began. Formats are the columns'.
    CopyStarted(CopyDirection),
    /// Data of a COPY to us: a run of complete CopyData frames, headers included. The server puts one row into each.
    CopyData {
        /// The frames as they lie in the page.
        frames: &'p [u8],
        /// How many.
        count: usize,
    },
    /// The server sent all of its COPY.
    CopyDone,
    /// The session has been reset: what is at the head follows, and runs.
    Proven,
    /// Nothing proves that the session has been reset: the head has not run, and is written again when it has been.
    Unproven,
    /// The head's request, or the session, failed. The step: what should have been answered instead, if anything.
    Failed(ErrorResponse<'p>, Failure, Option<Step>),
    /// The head is done, here is what its caller tied to it. `abandoned`: nobody waits for it.
    Finished {
        /// Which one.
        id: RequestId,
        /// The caller's own.
        job: J,
        /// It was cancelled.
        abandoned: bool,
        /// The session's state after it.
        status: TransactionStatus,
    },
}

impl<J> Connection<J> {
    /// The next event in `bytes`, adding to `used` what was read. `None` once nothing complete is left.
    ///
    /// Call it again with the rest until it says `None`, then send what [`outgoing`](Self::outgoing) holds.
    ///
    /// # Errors
    /// The peer broke the protocol: the connection cannot go on, close it and
    /// [`abort`](Self::abort) what is unfinished.
    #[inline]
    pub fn next_event<'p>(&mut self, bytes: &'p [u8], used: &mut usize) -> Result<Option<Event<'p, J>>, ProtocolError> {
        while let Some(frame) = frame::cut(&bytes[*used..], self.limits.message)? {
            if frame.kind == backend::DATA_ROW {
                let frames = self.row_run(&bytes[*used..], frame)?;
                *used += frames.0.len();
                return Ok(Some(Event::Rows { frames: frames.0, count: frames.1 }));
            }
            if frame.kind == backend::COPY_DATA && self.copy == Some(CopyDirection::Out) {
                let (frames, count) = self.run(&bytes[*used..], frame);
                *used += frames.len();
                return Ok(Some(Event::CopyData { frames, count }));
            }
            *used += frame.size();
            if let Some(event) = self.handle(frame)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// As many complete DataRow frames as lie together, so that a result costs one event a page, not one a row.
    fn row_run<'p>(&self, bytes: &'p [u8], first: Frame<'p>) -> Result<(&'p [u8], usize), ProtocolError> {
        if !matches!(self.pipeline.expected.front(), Some(Step::Execute | Step::Query)) {
            return Err(self.unexpected(first.kind));
        }
        Ok(self.run(bytes, first))
    }

    /// As many complete frames of the first one's kind as lie together, and their number.
    fn run<'p>(&self, bytes: &'p [u8], first: Frame<'p>) -> (&'p [u8], usize) {
        let (mut end, mut count) = (first.size(), 1);
        while bytes.get(end) == Some(&first.kind) {
            // What is wrong behind these frames is told when they have been handed out.
            let Ok(Some(frame)) = frame::cut(&bytes[end..], self.limits.message) else { break };
            end += frame.size();
            count += 1;
        }
        (&bytes[..end], count)
    }

    fn handle<'p>(&mut self, frame: Frame<'p>) -> Result<Option<Event<'p, J>>, ProtocolError> {
        if let Some(event) = self.asynchronous(frame)? {
            return Ok(Some(event));
        }
        if !self.is_started() {
            return self.startup_message(frame.kind, frame.body);
        }
        if frame.kind == backend::ERROR_RESPONSE {
            return self.failed(frame.body).map(Some);
        }
        match self.pipeline.expected.front() {
            Some(&step) => self.reply(step, frame),
            None => Err(self.unexpected(frame.kind)),
        }
    }

    fn asynchronous<'p>(&mut self, frame: Frame<'p>) -> Result<Option<Event<'p, J>>, ProtocolError> {
        Ok(Some(match frame.kind {
            backend::NOTICE_RESPONSE => Event::Notice(NoticeResponse::decode(frame.body)?),
            backend::NOTIFICATION_RESPONSE => Event::Notification(NotificationResponse::decode(frame.body)?),
            backend::PARAMETER_STATUS => {
                let status = ParameterStatus::decode(frame.body)?;
                self.set_parameter(status.name, status.value)?;
                Event::Parameter { name: status.name, value: status.value }
            }
            _ => return Ok(None),
        }))
    }

    /// One message of the head request against the step it must answer.
    fn reply<'p>(&mut self, step: Step, frame: Frame<'p>) -> Result<Option<Event<'p, J>>, ProtocolError> {
        let event = match (step, frame.kind) {
            (Step::Parse, backend::PARSE_COMPLETE) => {
                self.step_done();
                Event::Parsed
            }
            (Step::Bind, backend::BIND_COMPLETE) => {
                self.step_done();
                return Ok(None);
            }
            (Step::Close, backend::CLOSE_COMPLETE) => {
                self.step_done();
                Event::Closed
            }
            (Step::DescribeStatement, backend::PARAMETER_DESCRIPTION) => {
                self.step_becomes(Step::DescribePortal);
                Event::ParameterDescription(ParameterDescription::decode(frame.body)?)
            }
            (Step::DescribePortal, backend::ROW_DESCRIPTION) => {
                self.step_done();
                Event::RowDescription(RowDescription::decode(frame.body)?)
            }
            (Step::Query, backend::ROW_DESCRIPTION) => Event::RowDescription(RowDescription::decode(frame.body)?),
            (Step::DescribePortal, backend::NO_DATA) => {
                self.step_done();
                Event::NoData
            }
            (Step::Query, backend::READY_FOR_QUERY) => {
                self.step_done();
                return self.ready(frame.body);
            }
            (Step::Execute | Step::Query, _) => return self.result_message(step, frame).map(Some),
            (Step::CommandParse, backend::PARSE_COMPLETE)
            | (Step::CommandBind, backend::BIND_COMPLETE)
            | (Step::Guard, backend::ROW_DESCRIPTION | backend::NO_DATA) => {
                self.step_done();
                return Ok(None);
            }
            (Step::Check, backend::COMMAND_COMPLETE) => {
                self.step_done();
                return Ok(None);
            }
            (Step::Proof, backend::ROW_DESCRIPTION | backend::NO_DATA) => {
                self.step_done();
                self.pipeline.gate.proof_answered();
                Event::Proven
            }
            (Step::Open, backend::COMMAND_COMPLETE) => {
                self.step_done();
                self.pipeline.block.opened();
                return Ok(None);
            }
            (Step::CommandExecute, backend::COMMAND_COMPLETE) => {
                self.step_done();
                if let Some(head) = self.pipeline.flying.front_mut() {
                    head.ended = true;
                }
                Event::Ended(CommandComplete::decode(frame.body)?)
            }
            (Step::Sync, backend::READY_FOR_QUERY) => return self.ready(frame.body),
            _ => return Err(self.unexpected(frame.kind)),
        };
        Ok(Some(event))
    }

    /// The messages of a statement that runs. In the simple protocol the step ends with ReadyForQuery only.
    fn result_message<'p>(&mut self, step: Step, frame: Frame<'p>) -> Result<Event<'p, J>, ProtocolError> {
        let event = match frame.kind {
            backend::COMMAND_COMPLETE => {
                self.copy = None;
                let complete = CommandComplete::decode(frame.body)?;
                // What the script has begun since is not the block's, and ReadyForQuery tells the two not apart.
                if step == Step::Query && complete.tag == b"COMMIT" {
                    self.pipeline.block.lost();
                }
                Event::Complete(complete)
            }
            backend::EMPTY_QUERY_RESPONSE => Event::Empty,
            backend::PORTAL_SUSPENDED if step == Step::Execute => Event::Suspended,
            backend::COPY_IN_RESPONSE if self.copy.is_none() => {
                CopyInResponse::decode(frame.body)?;
                self.copy = Some(CopyDirection::In);
                return Ok(Event::CopyStarted(CopyDirection::In));
            }
            backend::COPY_OUT_RESPONSE if self.copy.is_none() => {
                CopyOutResponse::decode(frame.body)?;
                self.copy = Some(CopyDirection::Out);
                return Ok(Event::CopyStarted(CopyDirection::Out));
            }
            backend::COPY_DONE if self.copy == Some(CopyDirection::Out) => {
                self.copy = None;
                return Ok(Event::CopyDone);
            }
            _ => return Err(self.unexpected(frame.kind)),
        };
        if step == Step::Execute {
            self.step_done();
        }
        Ok(event)
    }

    fn step_done(&mut self) {
        self.pipeline.expected.pop_front();
    }

    fn step_becomes(&mut self, step: Step) {
        if let Some(front) = self.pipeline.expected.front_mut() {
            *front = step;
        }
    }

    /// ErrorResponse: the server skips to the next Sync, and so do we.
    fn failed<'p>(&mut self, body: &'p [u8]) -> Result<Event<'p, J>, ProtocolError> {
        let error = ErrorResponse::decode(body)?;
        self.copy = None;
        if is_fatal(&error) || self.pipeline.flying.is_empty() {
            return Ok(Event::Failed(error, Failure::Session, None));
        }
        let step = self.pipeline.expected.front().copied();
        let (mut unopened, mut unproven) = (0, false);
        while let Some(step) = self.pipeline.expected.front().filter(|step| **step != Step::Sync) {
            unopened += usize::from(*step == Step::Open);
            unproven |= *step == Step::Proof;
            self.pipeline.expected.pop_front();
        }
        self.pipeline.block.not_opened(unopened);
        self.close_open_head();
        if unproven {
            self.pipeline.head_skipped();
            return Ok(Event::Unproven);
        }
        self.pipeline.head_refused();
        let failure = match self.blame(&error) {
            Failure::Request if unopened > 0 => Failure::Opening,
            Failure::Request if step == Some(Step::Guard) => Failure::NotBegun,
            failure => failure,
        };
        Ok(Event::Failed(error, failure, step))
    }

    /// A request whose Sync is withheld gets it now: without it the server would discard all that follows.
    pub(super) fn close_open_head(&mut self) {
        let open = self.pipeline.flying.front_mut().is_some_and(|head| {
            let open = head.request.open;
            head.request.open = false;
            open
        });
        if open {
            crate::message::sync::write(&mut self.out);
            self.pipeline.expected.push_back(Step::Sync);
        }
    }

    /// Whose error is it? Only a request in flight while another's cancel was outstanding can be a victim.
    fn blame(&mut self, error: &ErrorResponse<'_>) -> Failure {
        if !self.pipeline.head_is_exposed() || error.fields.find(fields::SQLSTATE) != Some(QUERY_CANCELED) {
            return Failure::Request;
        }
        // As of the request before: inside a transaction the server has rolled back more than this request. What undoes the
        // transaction is wanted all the same.
        let undoes = self.pipeline.flying.front().is_some_and(|head| matches!(head.standing, Standing::Undoes(_)));
        if self.status == TransactionStatus::Idle || undoes {
            self.pipeline.write_again();
        }
        Failure::Neighbour
    }

    fn ready<'p>(&mut self, body: &'p [u8]) -> Result<Option<Event<'p, J>>, ProtocolError> {
        self.status = ReadyForQuery::decode(body)?.status;
        self.times_idle += u64::from(self.status == TransactionStatus::Idle);
        self.step_done();
        let Some(flight) = self.pipeline.finish(self.status) else { return Ok(None) };
        Ok(Some(Event::Finished {
            id: flight.request.id,
            job: flight.request.job,
            abandoned: flight.abandoned,
            status: self.status,
        }))
    }

    pub(super) fn unexpected(&self, kind: u8) -> ProtocolError {
        let state = match self.pipeline.expected.front() {
            None => "no reply",
            Some(Step::Parse) => "ParseComplete",
            Some(Step::DescribeStatement) => "ParameterDescription",
            Some(Step::DescribePortal) => "RowDescription or NoData",
            Some(Step::Bind) => "BindComplete",
            Some(Step::Execute) => "rows or CommandComplete",
            Some(Step::Close) => "CloseComplete",
            Some(Step::Query) => "results of a simple query",
            Some(Step::CommandParse) => "ParseComplete of a transaction's command",
            Some(Step::CommandBind) => "BindComplete of a transaction's command",
            Some(Step::CommandExecute | Step::Open) => "CommandComplete of a transaction's command",
            Some(Step::Guard | Step::Proof) => "RowDescription or NoData of a portal before",
            Some(Step::Check) => "CommandComplete of a query without rows",
            Some(Step::Sync) => "ReadyForQuery",
        };
        ProtocolError::Unexpected { message: kind, state }
    }
}
