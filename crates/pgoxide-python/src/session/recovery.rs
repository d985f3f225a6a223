//! Statements that the server has no more, or otherwise than it described them, and the calls that met that.
//!
//! ```text
//!   Bind ──0A000 of RevalidateCachedQuery: other columns──▶ changed ─┐
//!        ──42…: its plan was made anew, and could not be──▶ changed ─┤
//!        ──XX000: a type of it is there no more───────────▶ changed ─┼▶ forgotten ──nothing has run──▶ described, run again
//!        ──26000: DISCARD ALL, another server session──▶ gone ───────┘           └──else──▶ StatementInvalidated
//!   COPY of records ──other columns than were looked up, ended by CopyFail──▶ changed
//! ```
//!
//! An error at Bind means that nothing of the statement has run. Inside a transaction that has failed all the same, unless there
//! is a savepoint to go back to (`borrowing.rs`); outside, the call is made once more, behind what had been written after it. Its parameters are taken from its Bind.

use std::sync::Arc;

use pgoxide_protocol::client::{LevelId, Step};
use pgoxide_protocol::codes::TransactionStatus;
use pgoxide_protocol::message::error_response::ErrorResponse;
use pgoxide_protocol::message::fields;
use pyo3::prelude::*;

use super::Session;
use crate::arguments::{Encoded, Parameters};
use crate::error;
use crate::held::{BatchCall, Call};
use crate::job::{Job, Kind, Run};
use crate::plan::Described;
use crate::prepared::Prepared;
use crate::stream::StreamCall;
use crate::sync::lock;

/// How a statement was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Its columns are others now.
    Changed,
    /// A type of it was dropped.
    TypeGone,
    /// Analysed anew it is an error. Parsed anew it may be none: its parameters' types were fixed when it was parsed.
    Refused,
    /// The server does not know its name.
    Gone,
    /// The server has another one of its name already.
    Taken,
    /// Another connection's description of it did not hold here. The statement itself is well.
    Misled,
}

impl Lost {
    /// What a refusal says of the statement, when `step` should have been answered. The text of an error is localised; the
    /// name of the routine in the server is not, and 0A000 alone may mean many things.
    pub(super) fn of(refusal: &ErrorResponse<'_>, step: Option<Step>, kind: &Kind) -> Option<Self> {
        const INSUFFICIENT_PRIVILEGE: &[u8] = b"42501";
        const QUERY_CANCELED: &[u8] = b"57014";
        let code = refusal.fields.find(fields::SQLSTATE)?;
        if let Kind::Fed(fed) = kind
            && fed.differs().is_some()
        {
            // So the server says that a COPY was ended from this side.
            return (code == QUERY_CANCELED).then_some(Self::Changed);
        }
        let used = match (step?, kind) {
            (Step::Parse, _) => return (code == b"42P05").then_some(Self::Taken),
            // What was parsed in the same flight cannot have been lost.
            (Step::Bind, Kind::Run(run)) => run.first.is_none(),
            (Step::Bind, _) => true,
            (Step::DescribeStatement | Step::DescribePortal, kind) => matches!(kind, Kind::Fed(_) | Kind::CopyOut(_)),
            _ => false,
        };
        if !used {
            return None;
        }
        match code {
            b"26000" => Some(Self::Gone),
            b"0A000" => {
                (refusal.fields.find(fields::ROUTINE) == Some(b"RevalidateCachedQuery")).then_some(Self::Changed)
            }
            INSUFFICIENT_PRIVILEGE => None,
            // The server takes it for an error of its own, so there is no translation of this text.
            b"XX000" => {
                let message = refusal.fields.find(fields::MESSAGE)?;
                message.starts_with(b"cache lookup failed for type").then_some(Self::TypeGone)
            }
            code => code.starts_with(b"42").then_some(Self::Refused),
        }
    }
}

/// The statement that a request runs, of those that can be lost.
fn statement(kind: &Kind) -> Option<&Arc<Prepared>> {
    match kind {
        Kind::Run(run) => Some(&run.prepared),
        Kind::Stream(stream) => Some(stream.statement()),
        Kind::Batch(batch) => batch.statement(),
        Kind::Fed(fed) => fed.statement(),
        Kind::CopyOut(copy) => copy.statement(),
        Kind::Prepare(_) | Kind::Script(_) | Kind::Introspect(_) | Kind::Ending(_) | Kind::Opening(_) | Kind::Taken => {
            None
        }
    }
}

/// The level inside which a run can go back to its savepoint, since a lent description did not hold.
pub(crate) fn goes_back(kind: &Kind) -> Option<LevelId> {
    match kind {
        Kind::Run(run) => run.borrowed.as_ref()?.inside(),
        _ => None,
    }
}

impl Session {
    /// The head was refused because its statement is lost: nobody gets that any more. What was written for the head, when it
    /// may be asked again; whether it will be is known with its ReadyForQuery.
    pub(super) fn lose(&self, py: Python<'_>, lost: Lost, kind: &Kind) -> PyResult<Option<Box<[u8]>>> {
        let statement = statement(kind);
        match (lost, statement) {
            // The columns of a COPY are looked up each time.
            (Lost::Changed, None) => {}
            (_, None) => return Ok(None),
            // Who describes what exists closes it first.
            (Lost::Taken, Some(statement)) => statement.set_exists(true),
            (Lost::Misled, Some(_)) => {}
            (Lost::Gone, Some(statement)) => {
                self.check.forget();
                self.statements.gone(py, statement)?;
            }
            (Lost::Changed | Lost::TypeGone | Lost::Refused, Some(statement)) => {
                // Its types may be what has changed.
                if statement.described().is_some_and(Described::has_own_types) {
                    self.options.rules.types.forget();
                }
                self.statements.outdated(py, statement)?;
            }
        }
        let once_more = match kind {
            Kind::Run(run) => !run.again,
            Kind::Stream(stream) => !stream.is_again(),
            Kind::Batch(batch) => batch.may_run_again(),
            Kind::Fed(fed) => fed.may_begin_again(),
            Kind::Prepare(_)
            | Kind::Script(_)
            | Kind::CopyOut(_)
            | Kind::Introspect(_)
            | Kind::Ending(_)
            | Kind::Opening(_)
            | Kind::Taken => false,
        };
        let state = lock(&self.state);
        let may = once_more
            && (state.conn.status() == TransactionStatus::Idle || goes_back(kind).is_some())
            && !state.conn.running_abandoned()
            && state.conn.running_may_come_last();
        Ok(may.then(|| state.conn.running_bytes().into()))
    }

    /// The head is through, and so is its transaction, if it began one: is it to be asked again?
    pub(super) fn goes_again(job: &mut Job, status: TransactionStatus) {
        if job.again.is_none() {
            return;
        }
        if status != TransactionStatus::Idle && goes_back(&job.kind).is_none() {
            job.again = None;
            return;
        }
        job.error = None;
        if let Kind::Fed(fed) = &mut job.kind {
            fed.begin_again();
            job.again = None;
        }
    }

    /// The call that a job was, by the statements to be used now. `written`: what had been written for it.
    pub(crate) fn again(&self, py: Python<'_>, kind: &mut Kind, written: &[u8]) -> PyResult<Call> {
        let mut frames = written;
        if let Kind::Batch(batch) = kind {
            batch.start_again(|run| {
                // Those before it have run by theirs, which may be closed now; those behind it may be lost too.
                self.statements.outdated(py, &run.prepared)?;
                self.renew(py, run, &mut frames)
            })?;
        }
        match std::mem::replace(kind, Kind::Taken) {
            Kind::Run(mut run) => {
                let given = self.renew(py, &mut run, &mut frames)?;
                Ok(Call::Run(run, given))
            }
            Kind::Stream(stream) => {
                let (mut run, shared, size) = stream.into_parts();
                let arguments = self.renew(py, &mut run, &mut frames)?;
                Ok(Call::Stream(StreamCall { run, arguments, shared, size }))
            }
            Kind::Batch(batch) => Ok(Call::Batch(BatchCall::new(batch))),
            Kind::Prepare(_)
            | Kind::Script(_)
            | Kind::Fed(_)
            | Kind::CopyOut(_)
            | Kind::Introspect(_)
            | Kind::Ending(_)
            | Kind::Opening(_)
            | Kind::Taken => Err(not_written(py)),
        }
    }

    /// Gives a run the statement to be used now. Its parameters, from the next Bind in `frames`.
    fn renew(&self, py: Python<'_>, run: &mut Run, frames: &mut &[u8]) -> PyResult<Parameters> {
        if let Some(borrowed) = run.borrowed.take() {
            let current = self.statements.current(py, &run.prepared)?;
            run.start_again(current);
            run.end = borrowed.end;
            return Ok(Parameters::Values(borrowed.arguments));
        }
        // One that was refused in its first flight went by the types that the caller declared.
        let declared = || Arc::new(Described::new(run.prepared.declared.to_vec(), None, &self.options.rules));
        let described = run.prepared.description().unwrap_or_else(declared);
        let given = Encoded::next(frames, described).ok_or_else(|| not_written(py))?;
        let current = self.statements.current(py, &run.prepared)?;
        run.start_again(current);
        Ok(Parameters::Encoded(given))
    }
}

#[cold]
fn not_written(py: Python<'_>) -> PyErr {
    error::interface_error(py, "the statement is to run again, but nothing of it was written")
}

/// The call has not run, and will not by itself.
#[cold]
pub(super) fn invalidated(py: Python<'_>, lost: Lost, in_transaction: bool, cause: PyErr) -> PyErr {
    let what = match lost {
        Lost::Refused | Lost::Taken | Lost::Misled => return cause,
        Lost::Changed => "the columns of this statement have changed since it was prepared",
        Lost::TypeGone => "a type of this statement was dropped since it was prepared",
        Lost::Gone => {
            "the server session does not have this statement: after DISCARD ALL or DEALLOCATE, or behind a pooler in \
             transaction mode, which changes sessions between statements (use its session mode)"
        }
    };
    let advice = if !in_transaction {
        "nothing of it has run, and it could not be run again by itself: run it again"
    } else {
        "nothing of it has run, but its transaction has failed: roll back (to a savepoint, if there is one) and run it again"
    };
    error::caused_by(py, error::statement_invalidated(py, format!("{what}; {advice}")), cause)
}
