//! One connection's state and the way from a call to bytes and from bytes to a result: what the asynchronous and the
//! blocking client share.
//!
//! ```text
//!   call ─▶ request ─▶ [held.rs: its statement is being described] ─▶ machine ─▶ bytes
//!   bytes ─▶ machine ─▶ event ─▶ job collects ─▶ outcome ─▶ (client: settle, return)
//! ```
//!
//! The rule everything here keeps: while `state` is locked, no Python object is created, called or dropped. What an
//! event concerns is taken out, the lock released, Python runs, and the job is put back.
//!
//! | file | |
//! | --- | --- |
//! | `requests.rs` | from a call to a request |
//! | `events.rs` | from bytes to outcomes |
//! | `borrowing.rs` | statements that other connections of the pool have had described |
//! | `recovery.rs` | statements the server has no more, or otherwise |
//! | `resetting.rs` | what a pool's connection forgets between two users |
//! | `proof.rs` | what a request is led in by that follows a reset |
//! | `owner.rs` | whose transaction is open |
//! | `block.rs` | transaction blocks, entered and left |

mod block;
mod borrowing;
mod events;
mod explaining;
mod owner;
mod proof;
mod recovery;
mod requests;
mod resetting;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use pgoxide_protocol::client::{Connection, Limits, RequestId};
use pgoxide_protocol::codes::TransactionStatus;
use pgoxide_protocol::error::ProtocolError;
use pgoxide_protocol::message::error_response::ErrorResponse;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

pub(crate) use self::block::{Entered, Entry, Leaving, drop_token, hold_token, over};
use self::borrowing::Check;
pub(crate) use self::borrowing::{Borrowed, Loan, is_same_in_text};
pub(crate) use self::events::told;
pub(crate) use self::explaining::Surroundings;
use self::owner::Owner;
pub(crate) use self::owner::{Caller, Others, Place, Verdict, verdict};
use self::proof::Proofs;
pub(crate) use self::recovery::goes_back;
pub(crate) use self::requests::{append_bind, describe_portal, fits_one_flight};
pub(crate) use self::resetting::Reset;
use self::resetting::ResetState;
use crate::awaitable::Awaitable;
use crate::call::type_oids;
use crate::convert::Rules;
use crate::error::{self, Kept};
use crate::fork::Home;
use crate::held::{Held, HeldCalls};
use crate::job::{Job, Kind};
use crate::lending::{Lease, given_back};
use crate::outsiders::{Outsider, Outsiders};
use crate::prepared::{Keep, Prepared, Statements};
use crate::stream::{BatchEnd, Shared};
use crate::sync::lock;

/// Everything behind the lock.
pub(crate) struct State {
    pub(crate) conn: Connection<Job>,
    pub(crate) held: HeldCalls,
    /// Calls that wait until a transaction block has been left.
    pub(crate) outsiders: Outsiders,
    pub(crate) ended: Option<Ended>,
    /// The text of a FATAL error that announced the end.
    pub(crate) last_words: Option<PyErr>,
    /// It serves a pool, and nobody has it.
    parked: bool,
    /// What it runs is the pool's: none may leave a transaction open.
    routed: bool,
    reset: ResetState,
    /// What the server reports of a session that nobody has changed.
    clean: Vec<(Box<str>, Box<str>)>,
}

/// Why the connection ended.
pub(crate) struct Ended {
    text: String,
    /// Later calls get it as their cause. None once it was raised itself: it then leads to its caller's frames, and from
    /// there back to the connection.
    reason: Option<Kept>,
}

/// What a page of bytes led to, for the client to act on once the page is put back.
pub(crate) enum Outcome {
    Started,
    Finished(RequestId, Job, bool),
    /// A fed request may be fed.
    FeedStarted(RequestId),
    /// A stream's batch has come.
    Batch {
        id: RequestId,
        shared: Arc<Shared>,
        rows: Vec<Py<PyAny>>,
        end: BatchEnd,
        size: u32,
    },
    /// Data of a COPY to us has come; `failure`: the next value could not be read.
    Copied {
        id: RequestId,
        shared: Arc<Shared>,
        batch: Vec<Py<PyAny>>,
        failure: Option<PyErr>,
    },
    Notice(Py<PyDict>),
    Notification {
        channel: String,
        payload: String,
        process_id: i32,
    },
}

/// Options that do not change.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) rules: Arc<Rules>,
    /// Bytes accepted for one connection before a call raises QueueFull.
    pub(crate) max_queued_hard: usize,
}

/// One connection's shared half.
pub(crate) struct Session {
    pub(crate) state: Mutex<State>,
    pub(crate) statements: Statements,
    pub(crate) options: Options,
    last_id: AtomicU64,
    /// Who has a transaction open, and above it the savepoints of its blocks.
    pub(crate) owners: Mutex<Vec<Owner>>,
    /// One of them has been left. For threads that wait for that.
    pub(crate) owner_changed: Condvar,
    pub(crate) surroundings: Surroundings,
    check: Check,
    proofs: Proofs,
    /// The process that may use it.
    pub(crate) home: Home,
    /// Whose it is, of a pool.
    pub(crate) lease: Lease,
}

impl Session {
    pub(crate) fn new(statements: Statements, limits: Limits, options: Options) -> Self {
        let state = State {
            conn: Connection::new(limits),
            held: HeldCalls::default(),
            outsiders: Outsiders::default(),
            ended: None,
            last_words: None,
            parked: false,
            routed: false,
            reset: ResetState::None,
            clean: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            statements,
            options,
            last_id: AtomicU64::new(0),
            owners: Mutex::new(Vec::new()),
            owner_changed: Condvar::new(),
            surroundings: Surroundings::default(),
            check: Check::default(),
            proofs: Proofs::default(),
            home: Home::here(),
            lease: Lease::default(),
        }
    }

    pub(crate) fn next_id(&self) -> RequestId {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The last id that was given.
    pub(crate) fn last_id(&self) -> RequestId {
        self.last_id.load(Ordering::Relaxed)
    }

    /// Where a call belongs that is made here, through the transaction block of `via` if it is. Raises when the connection
    /// has ended or holds so much that it takes no more, or when the call is nowhere to be taken.
    pub(crate) fn admit(&self, py: Python<'_>, via: Option<&Py<PyAny>>) -> PyResult<Place> {
        self.check_room(py)?;
        self.place(py, via)
    }

    /// Raises when the connection has ended, or holds so much that it takes no more.
    pub(crate) fn check_room(&self, py: Python<'_>) -> PyResult<()> {
        self.check_home(py)?;
        let (ended, parked, held) = {
            let state = lock(&self.state);
            (state.ended.is_some(), state.parked, state.conn.held() + state.held.cost())
        };
        if ended {
            return Err(self.closed_error(py));
        }
        if parked {
            return Err(given_back(py));
        }
        if held > self.options.max_queued_hard {
            return Err(error::queue_full(
                py,
                format!(
                    "{held} bytes of requests are waiting on this connection, more than max_queued_hard ({}); await \
                     some before issuing more, or use several connections",
                    self.options.max_queued_hard
                ),
            ));
        }
        Ok(())
    }

    /// Raises in a child of the process that opened the connection. Before any lock is taken: a thread that there is no more
    /// may hold it.
    #[inline]
    pub(crate) fn check_home(&self, py: Python<'_>) -> PyResult<()> {
        if !self.home.is_elsewhere() {
            return Ok(());
        }
        Err(error::interface_error(
            py,
            "this connection was opened before fork(), in the parent process, to which it belongs: open one in this process",
        ))
    }

    /// What the one who asked for COMMIT is told when its answer did not come.
    #[cold]
    fn outcome_unknown(&self, py: Python<'_>) -> PyErr {
        let error = error::transaction_outcome_unknown(
            py,
            "the connection was lost while COMMIT was under way: the transaction may or may not have been committed",
        );
        error::caused_by(py, error, self.closed_error(py))
    }

    /// ConnectionClosed with the reason as its cause.
    #[cold]
    pub(crate) fn closed_error(&self, py: Python<'_>) -> PyErr {
        // `ended` stays in its place: to whoever looks meanwhile, the connection would be open again.
        let ended = {
            let state = lock(&self.state);
            let copy = |ended: &Ended| (ended.text.clone(), ended.reason.as_ref().map(|reason| reason.clone_ref(py)));
            state.ended.as_ref().map(copy)
        };
        let Some((text, reason)) = ended else { return error::connection_closed(py, "the connection is closed") };
        let closed = error::connection_closed(py, format!("the connection is closed: {text}"));
        match reason {
            Some(reason) => error::caused_by(py, closed, reason.error(py)),
            None => closed,
        }
    }

    /// A fed request is at the head, and the server takes what it is fed.
    pub(crate) fn may_feed(&self, id: RequestId) -> bool {
        let mut state = lock(&self.state);
        matches!(state.conn.job(id), Some(Job { kind: Kind::Fed(fed), .. }) if fed.ready)
    }

    /// Who waits for request `id`, if anybody still does.
    pub(crate) fn reply_of(&self, py: Python<'_>, id: RequestId) -> Option<Py<Awaitable>> {
        let mut state = lock(&self.state);
        let State { conn, held, outsiders, .. } = &mut *state;
        let reply = match held.get(id).or_else(|| outsiders.get(id)) {
            Some(held) => held.reply(),
            None => conn.job(id).and_then(|job| job.reply.as_ref()),
        };
        reply.map(|reply| reply.clone_ref(py))
    }

    /// The reader of request `id`, if that is a stream.
    pub(crate) fn stream_of(&self, id: RequestId) -> Option<Arc<Shared>> {
        let mut state = lock(&self.state);
        let State { conn, held, outsiders, .. } = &mut *state;
        let shared = match held.get(id).or_else(|| outsiders.get(id)) {
            Some(held) => held.stream(),
            None => conn.job(id).and_then(|job| job.stream.as_ref()),
        };
        shared.cloned()
    }

    /// Nothing is held, queued or in flight.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = lock(&self.state);
        state.held.is_empty() && state.outsiders.is_empty() && state.conn.is_idle()
    }

    /// DateStyle as the server last reported it; a peer that reports none writes what PostgreSQL does by default.
    pub(crate) fn writes_iso_dates(&self) -> bool {
        lock(&self.state).conn.parameter("DateStyle").is_none_or(|style| style.starts_with("ISO"))
    }

    /// Whether backslashes are themselves in its strings, as the server last reported it.
    pub(crate) fn conforms(&self) -> bool {
        lock(&self.state).conn.parameter("standard_conforming_strings") != Some("off")
    }

    /// The statement of a text that is seen before any parameters. It takes them by name when it has `:name` and no `$1`.
    pub(crate) fn statement_of_text(
        &self,
        sql: &Bound<'_, PyString>,
        types: Option<&Bound<'_, PyAny>>,
        keep: Keep,
    ) -> PyResult<Arc<Prepared>> {
        let named = self.statements.named.if_any(sql, self.conforms())?;
        let types = match (types, &named) {
            (None, _) => Vec::new(),
            (Some(types), None) => type_oids(types)?,
            (Some(types), Some(text)) => type_oids(&text.types(types)?)?,
        };
        match keep {
            Keep::Own => self.statements.own(sql, &types, named.as_ref()),
            Keep::Cached | Keep::Once => self.statements.get(sql, &types, named.as_ref()),
        }
    }

    /// Why the connection ended, as the exception itself, which is to be raised now.
    pub(crate) fn reason(&self, py: Python<'_>) -> PyErr {
        let reason = lock(&self.state).ended.as_mut().and_then(|ended| ended.reason.take());
        reason.map_or_else(|| self.closed_error(py), |reason| reason.error(py))
    }

    // ---- the end ---------------------------------------------------------------------------------------------

    /// The connection is gone. All unfinished jobs come back, held ones too; `reason` is what later calls hear,
    /// unless the server announced the end itself. The flag: it had not ended before. Two threads may end it at once, and
    /// what must be done once is the first one's to do.
    pub(crate) fn end(&self, py: Python<'_>, reason: PyErr) -> (bool, Vec<Job>) {
        let words = lock(&self.state).last_words.take();
        let reason = words.unwrap_or(reason);
        let ended = Ended { text: reason.value(py).to_string(), reason: Some(Kept::new(py, reason)) };
        let (jobs, written, held, parked, first, unused) = {
            let mut state = lock(&self.state);
            let first = state.ended.is_none();
            let unused = if first { state.ended.replace(ended) } else { Some(ended) };
            let written = state.conn.flying();
            (state.conn.abort(), written, state.held.take_all(), state.outsiders.take_all(), first, unused)
        };
        drop(unused);
        self.statements.clear(py);
        self.owner_changed.notify_all();
        let mut jobs: Vec<Job> = jobs.into_iter().map(|(_, job, _)| job.waited_for()).collect();
        for job in jobs.iter_mut().take(written).filter(|job| job.outcome_is_unknown()) {
            job.error = Some(self.outcome_unknown(py));
        }
        let held = held.map(Held::into_job).chain(parked.into_iter().map(Outsider::into_job));
        (first, jobs.into_iter().chain(held).collect())
    }

    /// For the garbage collector, whom nothing may keep waiting.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.statements.visit(visit)?;
        self.options.rules.codecs.visit(visit)?;
        self.surroundings.visit(visit)?;
        if let Ok(owners) = self.owners.try_lock() {
            owners.iter().try_for_each(|owner| owner.visit(visit))?;
        }
        let Ok(state) = self.state.try_lock() else { return Ok(()) };
        if let Some(Ended { reason: Some(reason), .. }) = &state.ended {
            reason.visit(visit)?;
        }
        state.conn.jobs().try_for_each(|job| job.visit(visit))?;
        state.outsiders.visit(visit)?;
        state.held.visit(visit)
    }

    /// For the garbage collector: nobody can reach the connection any more.
    pub(crate) fn clear(&self, py: Python<'_>) {
        let (jobs, held, parked, ended, words) = {
            let mut state = lock(&self.state);
            let (ended, words) = (state.ended.take(), state.last_words.take());
            (state.conn.abort(), std::mem::take(&mut state.held), state.outsiders.take_all(), ended, words)
        };
        let owners = std::mem::take(&mut *lock(&self.owners));
        drop((jobs, held, parked, ended, words, owners));
        self.surroundings.clear();
        self.statements.clear(py);
    }

    pub(crate) fn is_ended(&self) -> bool {
        lock(&self.state).ended.is_some()
    }

    /// It has ended, or the server has announced its end.
    pub(crate) fn is_doomed(&self) -> bool {
        let state = lock(&self.state);
        state.ended.is_some() || state.last_words.is_some()
    }

    pub(crate) fn status(&self) -> TransactionStatus {
        lock(&self.state).conn.status()
    }
}

pub(crate) fn refusal_error(py: Python<'_>, body: &[u8], statement: &Prepared) -> PyErr {
    match ErrorResponse::decode(body) {
        Ok(refusal) => statement.server_error(py, &refusal),
        Err(fault) => error::protocol_error(py, &ProtocolError::from(fault)),
    }
}
