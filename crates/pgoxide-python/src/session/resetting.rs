//! What a pool's connection is made to forget between two users: the request that does it, and how it ended.
//!
//! ```text
//!   given back ──reset written──▶ sent ──answered──▶ done ──▶ the next user
//!                                   └──refused──▶ failed: the connection is not used again
//! ```

use pgoxide_protocol::client::{Request, Resend, Step};
use pgoxide_protocol::codes::TransactionStatus;
use pgoxide_protocol::message::{bind, execute, parse, query, sync};
use pyo3::prelude::*;
use smallvec::SmallVec;

use super::Session;
use crate::error;
use crate::job::{Job, Kind};
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
    Done,
    Failed(PyErr),
}

impl Session {
    /// The request that resets the session, or None when there is nothing to do. Everything before it has been answered.
    pub(crate) fn reset_request(&self, py: Python<'_>, reset: &Reset) -> PyResult<Option<Request<Job>>> {
        let open = self.status() != TransactionStatus::Idle;
        let (mut bytes, mut steps) = (Vec::with_capacity(600), SmallVec::new());
        let written = match reset {
            Reset::Full => {
                let rollback: &[&[u8]] = if open { &[b"rollback"] } else { &[] };
                rollback.iter().chain(&FULL).try_for_each(|sql| {
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
        }
        steps.push(Step::Sync);
        let id = self.next_id();
        let mut job = Job::new(Kind::Taken, None);
        job.resets = true;
        let unused = std::mem::replace(&mut lock(&self.state).reset, ResetState::Sent);
        drop(unused);
        Ok(Some(Request { id, bytes, steps, barrier: true, open: false, resend: Resend::Never, job }))
    }

    /// The reset has been answered.
    pub(super) fn reset_answered(&self, failure: Option<PyErr>) {
        let state = failure.map_or(ResetState::Done, ResetState::Failed);
        let unused = std::mem::replace(&mut lock(&self.state).reset, state);
        drop(unused);
    }

    /// How the reset ended, told once; None when there was none or it is under way.
    pub(crate) fn take_reset(&self) -> Option<Result<(), PyErr>> {
        let state = &mut lock(&self.state).reset;
        match state {
            ResetState::None | ResetState::Sent => None,
            ResetState::Done | ResetState::Failed(_) => match std::mem::replace(state, ResetState::None) {
                ResetState::Failed(error) => Some(Err(error)),
                _ => Some(Ok(())),
            },
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

/// For the routed statement that began it, and those that were written behind it: all is undone with the connection.
#[cold]
pub(super) fn left_open(py: Python<'_>) -> PyErr {
    error::interface_error(
        py,
        "a statement given to the pool left a transaction open, which has been rolled back: what was written behind it is \
         undone too; a transaction needs a connection of its own, from acquire() or transaction()",
    )
}
