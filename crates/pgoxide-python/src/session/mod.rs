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
//! | `recovery.rs` | statements the server has no more, or otherwise |
//! | `resetting.rs` | what a pool's connection forgets between two users |

mod events;
mod explaining;
mod recovery;
mod requests;
mod resetting;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use pgoxide_protocol::client::{Connection, Limits, RequestId};
use pgoxide_protocol::codes::TransactionStatus;
use pgoxide_protocol::error::ProtocolError;
use pgoxide_protocol::message::error_response::ErrorResponse;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

pub(crate) use self::events::victim;
pub(crate) use self::explaining::Surroundings;
pub(crate) use self::requests::{append_bind, describe_portal, fits_one_flight};
pub(crate) use self::resetting::Reset;
use self::resetting::ResetState;
use crate::awaitable::Awaitable;
use crate::call::type_oids;
use crate::convert::Rules;
use crate::error::{self, Kept};
use crate::held::{Held, HeldCalls};
use crate::job::{Job, Kind};
use crate::prepared::{Keep, Prepared, Statements};
use crate::stream::Shared;
use crate::sync::lock;

/// Everything behind the lock.
pub(crate) struct State {
    pub(crate) conn: Connection<Job>,
    pub(crate) held: HeldCalls,
    pub(crate) ended: Option<Ended>,
    /// The text of a FATAL error that announced the end.
    pub(crate) last_words: Option<PyErr>,
    /// It serves a pool, and nobody has it.
    parked: bool,
    /// What it runs is the pool's: none may leave a transaction open.
    routed: bool,
    reset: ResetState,
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
        more: bool,
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
    /// Who has a transaction open: the token its context holds, and its name.
    owner: Mutex<Option<(Py<PyAny>, String)>>,
    pub(crate) surroundings: Surroundings,
}

impl Session {
    pub(crate) fn new(statements: Statements, limits: Limits, options: Options) -> Self {
        let state = State {
            conn: Connection::new(limits),
            held: HeldCalls::default(),
            ended: None,
            last_words: None,
            parked: false,
            routed: false,
            reset: ResetState::None,
        };
        Self {
            state: Mutex::new(state),
            statements,
            options,
            last_id: AtomicU64::new(0),
            owner: Mutex::new(None),
            surroundings: Surroundings::default(),
        }
    }

    pub(crate) fn next_id(&self) -> RequestId {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The last id that was given.
    pub(crate) fn last_id(&self) -> RequestId {
        self.last_id.load(Ordering::Relaxed)
    }

    /// Raises when the connection has ended, or holds so much that it takes no more.
    pub(crate) fn check_open(&self, py: Python<'_>) -> PyResult<()> {
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
        self.check_owner(py)?;
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

    /// Makes the holder of `token` the only one whose calls are taken. Raises when another has a transaction open.
    pub(crate) fn own(&self, py: Python<'_>, token: Py<PyAny>, holder: String) -> PyResult<()> {
        let (refused, unused) = {
            let mut owner = lock(&self.owner);
            match &*owner {
                Some((other, name)) if !other.is(&token) => (Some(name.clone()), Some((token, holder))),
                _ => (None, owner.replace((token, holder))),
            }
        };
        drop(unused);
        refused.map_or(Ok(()), |name| Err(owned(py, &name)))
    }

    /// The transaction of `token` is over. One that is another's goes on.
    pub(crate) fn disown(&self, token: &Bound<'_, PyAny>) {
        let over = lock(&self.owner).take_if(|(owner, _)| owner.is(token));
        drop(over);
    }

    /// Raises when another context has a transaction open: the call would become part of it.
    pub(crate) fn check_owner(&self, py: Python<'_>) -> PyResult<()> {
        let owner = lock(&self.owner).as_ref().map(|(token, holder)| (token.clone_ref(py), holder.clone()));
        let Some((token, holder)) = owner else { return Ok(()) };
        let held = crate::pyimport::transaction_tokens(py)?.call_method0("get")?.cast_into::<PyTuple>()?;
        if held.iter_borrowed().any(|other| other.is(&token)) {
            return Ok(());
        }
        Err(owned(py, &holder))
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
        let State { conn, held, .. } = &mut *state;
        let reply = match held.get(id) {
            Some(held) => held.reply(),
            None => conn.job(id).and_then(|job| job.reply.as_ref()),
        };
        reply.map(|reply| reply.clone_ref(py))
    }

    /// The reader of request `id`, if that is a stream.
    pub(crate) fn stream_of(&self, id: RequestId) -> Option<Arc<Shared>> {
        let mut state = lock(&self.state);
        let State { conn, held, .. } = &mut *state;
        let shared = match held.get(id) {
            Some(held) => held.stream(),
            None => conn.job(id).and_then(|job| job.stream.as_ref()),
        };
        shared.cloned()
    }

    /// Nothing is held, queued or in flight.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = lock(&self.state);
        state.held.is_empty() && state.conn.is_idle()
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
        let (jobs, held, first, unused) = {
            let mut state = lock(&self.state);
            let first = state.ended.is_none();
            let unused = if first { state.ended.replace(ended) } else { Some(ended) };
            (state.conn.abort(), state.held.take_all(), first, unused)
        };
        drop(unused);
        self.statements.clear(py);
        let held = held.map(Held::into_job);
        (first, jobs.into_iter().map(|(_, job, _)| job.waited_for()).chain(held).collect())
    }

    /// For the garbage collector, whom nothing may keep waiting.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.statements.visit(visit)?;
        self.surroundings.visit(visit)?;
        if let Ok(Some((token, _))) = self.owner.try_lock().as_deref() {
            visit.call(token)?;
        }
        let Ok(state) = self.state.try_lock() else { return Ok(()) };
        if let Some(Ended { reason: Some(reason), .. }) = &state.ended {
            reason.visit(visit)?;
        }
        state.conn.jobs().try_for_each(|job| job.visit(visit))?;
        state.held.visit(visit)
    }

    /// For the garbage collector: nobody can reach the connection any more.
    pub(crate) fn clear(&self, py: Python<'_>) {
        let (jobs, held, ended, words) = {
            let mut state = lock(&self.state);
            let (ended, words) = (state.ended.take(), state.last_words.take());
            (state.conn.abort(), std::mem::take(&mut state.held), ended, words)
        };
        let owner = lock(&self.owner).take();
        drop((jobs, held, ended, words, owner));
        self.surroundings.clear();
        self.statements.clear(py);
    }

    pub(crate) fn is_ended(&self) -> bool {
        lock(&self.state).ended.is_some()
    }

    pub(crate) fn status(&self) -> TransactionStatus {
        lock(&self.state).conn.status()
    }
}

#[cold]
fn given_back(py: Python<'_>) -> PyErr {
    error::interface_error(
        py,
        "this connection has been given back to its pool, which may have handed it to somebody else: acquire() another, and \
         keep no reference beyond its block",
    )
}

#[cold]
fn owned(py: Python<'_>, holder: &str) -> PyErr {
    error::interface_error(
        py,
        format!(
            "{holder} has a transaction open on this connection: a call from outside would become part of it; wait, or use \
             another connection"
        ),
    )
}

pub(crate) fn refusal_error(py: Python<'_>, body: &[u8], statement: &Prepared) -> PyErr {
    match ErrorResponse::decode(body) {
        Ok(refusal) => statement.server_error(py, &refusal),
        Err(fault) => error::protocol_error(py, &ProtocolError::from(fault)),
    }
}
