//! What a pool's connection is made to forget between two users: the request that does it, and how it ended.
//!
//! ```text
//!   given back ──reset written──▶ sent ──answered──▶ done ──▶ the next user
//!                                  │ └──refused──▶ failed: the connection is not used again
//!                                  └──the next user has it already──▶ followed ──answered──▶ (nothing more to do)
//!                                                                      └──refused──▶ again ──answered──▶ (the same)
//!                                                                                     └──refused──▶ the connection ends
//! ```
//!
//! Who follows does not wait for the answer: their first request travels behind the reset, led in by a proof (`proof.rs`), and
//! the others wait for it (`pgoxide-protocol`, `client/gate.rs`). When the reset is refused, nothing of theirs has run. It is
//! written a second time, alone, and what waited goes behind it: so they find a clean session though the first attempt was
//! hit by a cancel or a time limit of the user before. When that is refused too, the connection ends, and their calls raise.

use pgoxide_protocol::client::{Prefix, Request, RequestId, Resend, Step};
use pgoxide_protocol::codes::TransactionStatus;
use pgoxide_protocol::message::{bind, execute, parse, query, sync};
use pyo3::prelude::*;
use smallvec::SmallVec;

use super::{Session, proof};
use crate::error;
use crate::job::{Job, Kind, Resets};
use crate::sync::lock;

/// Everything a session holds beside its prepared statements. Roles and settings first: what follows must not run under a
/// user's, a time limit for example. As DISCARD ALL does it, which cannot run beside others in one flight.
const FULL: [&[u8]; 8] = [
    b"reset session authorization",
    b"reset role",
    b"reset all",
    b"select pg_catalog.pg_advisory_unlock_all()",
    b"close all",
    b"unlisten *",
    b"discard temp",
    b"discard sequences",
];

/// What a connection is made to forget.
#[derive(Clone, Debug)]
pub(crate) enum Reset {
    Full,
    /// An open transaction is rolled back; nothing else.
    Never,
    /// SQL of the pool's owner.
    Script(Box<str>),
}

impl Reset {
    /// As the pool's option says it.
    pub(crate) fn asked(option: &str) -> Self {
        match option {
            "full" => Self::Full,
            "never" => Self::Never,
            sql => Self::Script(sql.into()),
        }
    }
}

/// How the last reset stands.
pub(crate) enum ResetState {
    None,
    Sent,
    /// Unanswered too, but somebody has the connection already.
    Followed,
    /// It has been refused, and written a second time.
    Again,
    Done,
    Failed(PyErr),
}

impl Session {
    /// Writes what resets the session. False when there is nothing to do. Everything before it has been answered.
    pub(crate) fn begin_reset(&self, py: Python<'_>, reset: &Reset) -> PyResult<bool> {
        let Some(request) = self.reset_request(py, reset)? else { return Ok(false) };
        let proof = if matches!(reset, Reset::Full) { self.proof_of(py, &request)? } else { None };
        self.submit_reset(py, request, proof, ResetState::Sent)?;
        Ok(true)
    }

    fn submit_reset(
        &self,
        py: Python<'_>,
        request: Request<Job>,
        proof: Option<Prefix>,
        sent: ResetState,
    ) -> PyResult<()> {
        let unused = {
            let mut state = lock(&self.state);
            if state.ended.is_some() {
                drop(state);
                return Err(self.closed_error(py));
            }
            state.conn.submit_reset(request, proof);
            std::mem::replace(&mut state.reset, sent)
        };
        drop(unused);
        Ok(())
    }

    fn reset_request(&self, py: Python<'_>, reset: &Reset) -> PyResult<Option<Request<Job>>> {
        let open = self.status() != TransactionStatus::Idle;
        let id = self.next_id();
        let (mut bytes, mut steps) = (Vec::with_capacity(700), SmallVec::new());
        let written = match reset {
            Reset::Full => {
                let rollback: &[&[u8]] = if open { &[b"rollback"] } else { &[] };
                let cursor = proof::declaration(id);
                rollback.iter().chain(&FULL).copied().chain([cursor.as_bytes()]).try_for_each(|sql| {
                    parse::write(&mut bytes, b"", sql, &[])?;
                    bind::begin(&mut bytes, b"", b"", &[])?.finish(&mut bytes, &[])?;
                    execute::write(&mut bytes, b"", 0)?;
                    steps.extend([Step::Parse, Step::Bind, Step::Execute]);
                    Ok(())
                })
            }
            Reset::Never if !open => return Ok(None),
            Reset::Never | Reset::Script(_) => {
                let own = if let Reset::Script(sql) = reset { sql } else { "" };
                let sql = if open { format!("rollback; {own}") } else { own.to_owned() };
                steps.push(Step::Query);
                query::write(&mut bytes, sql.as_bytes())
            }
        };
        written.map_err(|e| error::encode_error(py, &e))?;
        if matches!(reset, Reset::Full) {
            sync::write(&mut bytes);
            self.statements.given_up().all_portals();
        }
        steps.push(Step::Sync);
        let mut job = Job::new(Kind::Taken, None);
        job.resets = Some(if matches!(reset, Reset::Full) { Resets::Fully } else { Resets::BySql });
        Ok(Some(Request { id, bytes, steps, barrier: true, open: false, resend: Resend::Never, job }))
    }

    /// What may lead in a request that follows the reset `request`. None where it would prove nothing, or where the reset changes
    /// what requests are written by: the transaction's status, or settings that the server reports.
    fn proof_of(&self, py: Python<'_>, request: &Request<Job>) -> PyResult<Option<Prefix>> {
        let changed = {
            let state = lock(&self.state);
            state.conn.status() != TransactionStatus::Idle
                || !state.conn.parameters().eq(state.clean.iter().map(|(name, value)| (&**name, &**value)))
        };
        if changed || !self.proofs.are_of_use() {
            return Ok(None);
        }
        proof::lead_in(request.id).map(Some).map_err(|e| error::encode_error(py, &e))
    }

    /// What the server reports now is what it reports of a session that nobody has changed.
    pub(super) fn remember_clean(&self) {
        let mut state = lock(&self.state);
        if !state.conn.parameters().eq(state.clean.iter().map(|(name, value)| (&**name, &**value))) {
            let now = state.conn.parameters().map(|(name, value)| (name.into(), value.into())).collect();
            state.clean = now;
        }
    }

    /// Somebody may have the connection though its reset has not been answered.
    pub(crate) fn may_follow_reset(&self) -> bool {
        let state = lock(&self.state);
        matches!(state.reset, ResetState::Sent) && state.conn.may_follow_reset()
    }

    /// Somebody gets it. False when they may not.
    pub(crate) fn follow_reset(&self) -> bool {
        let may = self.may_follow_reset();
        if may {
            lock(&self.state).reset = ResetState::Followed;
        }
        may
    }

    /// Who followed the reset has asked nothing, and gives the connection back. True when it has not been answered yet.
    pub(crate) fn unfollow_reset(&self) -> bool {
        let mut state = lock(&self.state);
        match state.reset {
            ResetState::Followed => {
                state.reset = ResetState::Sent;
                true
            }
            _ => false,
        }
    }

    /// Somebody has the connection, and its reset is unanswered: what comes by itself is still for the user before.
    pub(super) fn follows_reset(&self) -> bool {
        matches!(lock(&self.state).reset, ResetState::Followed | ResetState::Again)
    }

    /// The reset has been answered. Raises when it was refused for the second time.
    pub(super) fn reset_answered(&self, py: Python<'_>, id: RequestId, job: &mut Job) -> PyResult<()> {
        let failure = job.error.take();
        if failure.is_none() {
            self.remember_clean();
            if job.resets == Some(Resets::Fully) {
                self.statements.given_up().portal(proof::name(id).into_bytes().into());
            }
        }
        let before = std::mem::replace(&mut lock(&self.state).reset, ResetState::None);
        let after = match (before, failure) {
            (ResetState::Followed | ResetState::Again, None) => ResetState::None,
            (ResetState::Followed, Some(_)) => return self.reset_again(py),
            (ResetState::Again, Some(cause)) => return Err(not_clean(py, cause)),
            (_, None) => ResetState::Done,
            (_, Some(cause)) => ResetState::Failed(cause),
        };
        lock(&self.state).reset = after;
        Ok(())
    }

    fn reset_again(&self, py: Python<'_>) -> PyResult<()> {
        match self.reset_request(py, &Reset::Full)? {
            Some(request) => self.submit_reset(py, request, None, ResetState::Again),
            None => Ok(()),
        }
    }

    /// The proof in front of the request at the head failed.
    pub(super) fn unproven(&self) {
        let though_reset = matches!(lock(&self.state).reset, ResetState::None | ResetState::Done);
        if though_reset {
            self.proofs.failed();
        }
    }

    /// How the reset ended, told once; None when there was none or it is under way.
    pub(crate) fn take_reset(&self) -> Option<Result<(), PyErr>> {
        let state = &mut lock(&self.state).reset;
        match std::mem::replace(state, ResetState::None) {
            ResetState::Done => Some(Ok(())),
            ResetState::Failed(error) => Some(Err(error)),
            under_way => {
                *state = under_way;
                None
            }
        }
    }

    /// Its user has given it back: from now on only the pool's own calls are taken.
    pub(crate) fn park(&self) {
        {
            let mut state = lock(&self.state);
            (state.parked, state.routed) = (true, false);
            state.conn.forget_block();
        }
        let owners = std::mem::take(&mut *lock(&self.owners));
        self.owner_changed.notify_all();
        drop(owners);
    }

    /// From now on it runs what the pool is given: no statement may leave a transaction open.
    pub(crate) fn serve_routed(&self) {
        let mut state = lock(&self.state);
        (state.parked, state.routed) = (true, true);
    }

    /// Somebody has it; `routed`: the pool itself, on behalf of somebody.
    pub(crate) fn unpark(&self, routed: bool) {
        let mut state = lock(&self.state);
        (state.parked, state.routed) = (false, routed);
    }
}

/// For the connection of which nobody can say what its last user left in it.
#[cold]
fn not_clean(py: Python<'_>, cause: PyErr) -> PyErr {
    let error = error::connection_closed(
        py,
        format!(
            "what its last user had left could not be undone ({}); nothing that was asked since has run: run it again, on \
             another connection",
            cause.value(py)
        ),
    );
    error::caused_by(py, error, cause)
}

/// For the routed statement that began it, and those that were written behind it: all is undone with the connection.
#[cold]
pub(super) fn left_open(py: Python<'_>) -> PyErr {
    error::interface_error(
        py,
        "a statement given to the pool left a transaction open, which has been rolled back: what was written behind it is \
         undone too; a transaction needs a connection of its own, from acquire() or transaction()",
    )
}
