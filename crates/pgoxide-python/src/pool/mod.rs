//! What runs on which connection of an asynchronous pool: the core of `AsyncPool`.
//!
//! ```text
//!   routed call ──▶ idle connection │ a new one │ behind a busy one's short calls │ the queue
//!   acquire() ────▶ idle, clean connection ─────────────────────────────────────── │ the queue
//!   an answer came, a connection came or was given back ──▶ the queue's front
//! ```
//!
//! One queue for both, first come first served: while its front waits for a whole connection, nothing behind it is begun.
//! Python opens, checks and closes connections (`driver/_async/pool.py`); it is asked to by the methods whose names begin
//! with `_do`.
//!
//! | file | |
//! | --- | --- |
//! | `asked.rs` | a call as it waits |
//! | `members.rs` | the connections and how they stand |
//! | `choosing.rs` | what is to be done next |
//! | `acting.rs` | doing it |
//! | `waiting.rs` | the queue, and its time limits |
//! | `blocking.rs` | the verbs of the blocking pool |

mod acting;
mod asked;
mod blocking;
mod choosing;
mod members;
mod waiting;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use pgoxide_sqltext::Keeps;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

pub(crate) use self::asked::KeptAsked;
pub(crate) use self::blocking::BlockingPool;
use self::members::Members;
use self::waiting::{Queue, RoutedCall, Waiting};
use crate::async_client::AsyncClient;
use crate::awaitable::Awaitable;
use crate::call::{self, Asked};
use crate::error;
use crate::event_loop::LoopTies;
use crate::job::Verb;
use crate::known::{Known, KnownStatements};
use crate::named::Given;
use crate::session::Reset;
use crate::sync::lock;

/// What does not change while a pool is open.
struct Rules {
    max_size: usize,
    max_waiting: usize,
    /// Bytes of queued calls above which one raises QueueFull.
    max_queued: usize,
    /// How many requests may be unfinished on one connection.
    depth: usize,
    acquire_timeout: Option<f64>,
    command_timeout: Option<f64>,
    max_idle: Option<Duration>,
    max_uses: u64,
    /// An idle connection is asked whether it lives after so long.
    ping_after: Option<Duration>,
    reset: Reset,
}

/// What does.
struct Inner {
    members: Members,
    queue: Queue,
    /// Connections that Python is opening.
    opening: usize,
    /// The server cannot be reached: no more attempts than the one under way.
    paused: bool,
    closed: bool,
    /// This is the child of a fork: the connections are its parent's.
    orphan: bool,
}

/// The core of `AsyncPool`: its verbs, and who gets which connection.
#[pyclass(frozen, subclass, weakref, module = "pgoxide._core", name = "AsyncPoolCore")]
pub(crate) struct PoolRouter {
    pub(crate) ties: LoopTies,
    known: KnownStatements,
    rules: OnceLock<Rules>,
    inner: Mutex<Inner>,
    last_place: AtomicU64,
}

impl Default for Rules {
    /// Of a pool that was not told any, which nothing is asked of.
    fn default() -> Self {
        Self {
            max_size: 0,
            max_waiting: 0,
            max_queued: 0,
            depth: 1,
            acquire_timeout: None,
            command_timeout: None,
            max_idle: None,
            max_uses: u64::MAX,
            ping_after: None,
            reset: Reset::Full,
        }
    }
}

impl PoolRouter {
    #[inline]
    fn rules(&self) -> &Rules {
        self.rules.get_or_init(Rules::default)
    }

    /// Raises unless the caller runs on the pool's loop, and the pool is open.
    fn check_caller(&self, py: Python<'_>) -> PyResult<()> {
        let (closed, orphan) = {
            let inner = lock(&self.inner);
            (inner.closed, inner.orphan)
        };
        if orphan {
            return Err(unusable(py, orphan));
        }
        let running = crate::pyimport::running_loop(py)?.call0()?;
        match self.ties.get() {
            Some(own) if running.is(own) => {}
            own => return Err(wrong_loop(py, &running, own.is_some())),
        }
        if closed { Err(unusable(py, orphan)) } else { Ok(()) }
    }

    /// One statement, for whichever connection can take it.
    fn route(slf: &Bound<'_, Self>, verb: Verb, asked: Asked<'_>) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_caller(py)?;
        let known = this.known.get(&asked.sql, &asked.types, asked.named.is_some())?;
        check_routable(py, &known)?;
        let place = this.next_place();
        let reply = Py::new(py, Awaitable::of_pool(py, slf.clone().unbind(), place, verb.name()))?;
        let call = RoutedCall { verb, asked: asked.into(), known };
        if let Some((slot, client)) = this.choose_at_once(py, &call) {
            if let Err(error) = this.assign(py, slot, client.bind(py), call, &reply, None) {
                reply.get().close_unseen();
                Self::serve_next(slf)?;
                return Err(error);
            }
            return Ok(reply);
        }
        let waiting = (|| {
            this.check_room(py)?;
            let call = RoutedCall { asked: call.asked.frozen(py)?, ..call };
            Ok(Waiting::call(py, call, reply.clone_ref(py), this.rules()))
        })();
        match waiting {
            Ok(waiting) => Self::queue(slf, place, waiting)?,
            Err(error) => {
                reply.get().close_unseen();
                return Err(error);
            }
        }
        Ok(reply)
    }

    fn next_place(&self) -> u64 {
        self.last_place.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Raises when no more may wait.
    fn check_room(&self, py: Python<'_>) -> PyResult<()> {
        let (waiting, bytes) = {
            let inner = lock(&self.inner);
            (inner.queue.len(), inner.queue.cost())
        };
        if waiting >= self.rules().max_waiting {
            return Err(error::pool_full(
                py,
                format!("{waiting} wait for a connection of the pool already, as many as max_waiting allows"),
            ));
        }
        if bytes > self.rules().max_queued {
            return Err(error::queue_full(
                py,
                format!(
                    "{bytes} bytes of calls wait for a connection of the pool, more than max_queued_hard ({}); await \
                     some before issuing more",
                    self.rules().max_queued
                ),
            ));
        }
        Ok(())
    }

    /// Puts something at the end of the queue, and sees to what it needs.
    fn queue(slf: &Bound<'_, Self>, place: u64, waiting: Waiting) -> PyResult<()> {
        let ring = lock(&slf.get().inner).queue.push(place, waiting);
        if let Some(seconds) = ring {
            slf.call_method1(intern!(slf.py(), "_do_arm"), (seconds,))?;
        }
        let served = Self::serve_next(slf);
        lock(&slf.get().inner).queue.arrived();
        served
    }

    /// The reply of place `place` was cancelled: it waits no more.
    pub(crate) fn withdraw(slf: &Bound<'_, Self>, place: u64) -> PyResult<()> {
        let gone = lock(&slf.get().inner).queue.remove(place);
        if gone.is_none() {
            return Ok(());
        }
        drop(gone);
        // It may have been a front that what is behind it waited for.
        Self::serve_next(slf)
    }
}

/// Raises for a statement that would leave something behind in its session.
#[inline]
fn check_routable(py: Python<'_>, known: &Known) -> PyResult<()> {
    known.keeps.map_or(Ok(()), |keeps| Err(unroutable(py, keeps)))
}

#[cold]
fn unroutable(py: Python<'_>, keeps: Keeps) -> PyErr {
    error::interface_error(
        py,
        format!(
            "a statement that {keeps} cannot be given to the pool, whose connections change hands after each statement: run \
             it on a connection of your own, from acquire() or transaction()"
        ),
    )
}

#[cold]
fn unusable(py: Python<'_>, orphan: bool) -> PyErr {
    error::interface_error(
        py,
        if orphan {
            "this pool was opened before a fork: its connections are the other process's; open one in each process"
        } else {
            "the pool is closed"
        },
    )
}

#[cold]
fn wrong_loop(py: Python<'_>, running: &Bound<'_, PyAny>, opened: bool) -> PyErr {
    error::interface_error(
        py,
        if !opened {
            "the pool has not been opened: pool = await AsyncPool(...), or async with AsyncPool(...) as pool"
        } else if running.is_none() {
            "an asynchronous pool is used outside its event loop; from a thread, use asyncio.run_coroutine_threadsafe, or \
             the blocking pgoxide.Pool"
        } else {
            "this pool belongs to another event loop; open one in each loop"
        },
    )
}

fn seconds(given: Option<f64>) -> Option<Duration> {
    given.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

#[expect(clippy::too_many_arguments, reason = "Python hands them over by keyword")]
#[pymethods]
impl PoolRouter {
    /// Anything: the subclass takes its arguments, and tells what concerns the core by `_prepare`.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(py: Python<'_>, _args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        let inner = Inner {
            members: Members::default(),
            queue: Queue::default(),
            opening: 0,
            paused: false,
            closed: false,
            orphan: false,
        };
        Self {
            ties: LoopTies::default(),
            known: KnownStatements::new(py),
            rules: OnceLock::new(),
            inner: Mutex::new(inner),
            last_place: AtomicU64::new(0),
        }
    }

    #[pyo3(signature = (*, max_size, max_waiting, max_queued_hard, pipeline_depth, acquire_timeout, command_timeout, max_idle, max_uses, ping_after, reset, statement_cache_size))]
    fn _prepare(
        &self,
        max_size: usize,
        max_waiting: Option<usize>,
        max_queued_hard: usize,
        pipeline_depth: usize,
        acquire_timeout: Option<f64>,
        command_timeout: Option<f64>,
        max_idle: Option<f64>,
        max_uses: Option<u64>,
        ping_after: Option<f64>,
        reset: &str,
        statement_cache_size: usize,
    ) {
        self.known.remember(4 * statement_cache_size);
        self.rules.get_or_init(|| Rules {
            max_size,
            max_waiting: max_waiting.unwrap_or(usize::MAX),
            max_queued: max_queued_hard,
            depth: pipeline_depth,
            acquire_timeout,
            command_timeout,
            max_idle: seconds(max_idle),
            max_uses: max_uses.unwrap_or(u64::MAX),
            ping_after: seconds(ping_after),
            reset: Reset::asked(reset),
        });
    }

    // ---- the verbs: their signatures are those of the clients ------------------------------------------------

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_all<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::route(
            slf,
            Verb::All,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_one<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::route(
            slf,
            Verb::One,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_optional<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::route(
            slf,
            Verb::Optional,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_first<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::route(
            slf,
            Verb::First,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_value<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::route(
            slf,
            Verb::Value,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_column<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::route(
            slf,
            Verb::Column,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, timeout=None, types=None, isolate=false, params=None, **named))]
    fn execute<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::route(
            slf,
            Verb::Execute,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, None, timeout, types, isolate)?,
        )
    }

    // ---- for `driver` ----------------------------------------------------------------------------------------

    /// Ties the pool to its loop.
    fn _tie(&self, py: Python<'_>, event_loop: Py<PyAny>) -> PyResult<()> {
        if self.ties.tie(event_loop) {
            return Ok(());
        }
        Err(error::interface_error(py, "the pool has been opened before"))
    }

    /// Waits for a connection of one's own; the reply gives it. `timeout`: seconds, None for the pool's own.
    fn _acquire(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        let timeout = call::timeout(py, timeout)?.or(this.rules().acquire_timeout);
        this.check_caller(py)?;
        let place = this.next_place();
        let reply = Py::new(py, Awaitable::of_pool(py, slf.clone().unbind(), place, "acquire"))?;
        reply.get().close_unseen(); // whoever asked for it waits for it: see `AsyncPool.acquire`
        if lock(&this.inner).members.none_is_free(this.rules()) {
            this.check_room(py)?;
        }
        Self::queue(slf, place, Waiting::connection(reply.clone_ref(py), timeout))?;
        Ok(reply)
    }

    /// Its user gives a connection back: it is reset, and then anybody's.
    fn _release(slf: &Bound<'_, Self>, client: &Bound<'_, AsyncClient>) -> PyResult<()> {
        Self::take_back(slf, client)
    }

    /// A connection has been opened. `lifetime`: seconds until it is replaced. `expected`: it counts as being opened.
    /// `trip`: seconds that opening it took, which a trip there and back does not exceed. False: the pool has been closed meanwhile.
    #[pyo3(signature = (client, lifetime, *, expected, trip))]
    fn _add(
        slf: &Bound<'_, Self>,
        client: &Bound<'_, AsyncClient>,
        lifetime: Option<f64>,
        expected: bool,
        trip: f64,
    ) -> PyResult<bool> {
        let this = slf.get();
        let expires = seconds(lifetime).and_then(|lifetime| Instant::now().checked_add(lifetime));
        {
            let mut inner = lock(&this.inner);
            inner.opening -= usize::from(expected && inner.opening > 0);
            if inner.closed {
                return Ok(false);
            }
            let slot = inner.members.add(client.clone().unbind(), expires, seconds(Some(trip)).unwrap_or_default());
            let placed = client.get().pool.set((slf.clone().unbind(), slot)).is_ok();
            debug_assert!(placed, "a connection serves one pool, once");
        }
        client.get().session.serve_routed();
        this.known.learn(&client.get().session);
        Self::serve_next(slf).map(|()| true)
    }

    /// So many connections are being opened that were not asked for by `_do_grow`, or (negative) will not come.
    fn _expect(slf: &Bound<'_, Self>, change: isize) -> PyResult<()> {
        {
            let mut inner = lock(&slf.get().inner);
            inner.opening = inner.opening.saturating_add_signed(change);
        }
        if change < 0 { Self::serve_next(slf) } else { Ok(()) }
    }

    /// How many connections are missing to `size`, which the caller opens: they count as being opened from now on.
    fn _missing(&self, size: usize) -> usize {
        let mut inner = lock(&self.inner);
        let missing = size.saturating_sub(inner.members.len() + inner.opening);
        inner.opening += missing;
        missing
    }

    /// Whether `_do_grow` may be called.
    fn _pause(slf: &Bound<'_, Self>, paused: bool) -> PyResult<()> {
        lock(&slf.get().inner).paused = paused;
        Self::serve_next(slf)
    }

    /// Forgets a connection; true when it was one of the pool's.
    fn _remove(slf: &Bound<'_, Self>, client: &Bound<'_, AsyncClient>) -> PyResult<bool> {
        let removed = match client.get().pool.get() {
            Some((_, slot)) => lock(&slf.get().inner).members.remove(*slot, client),
            None => None,
        };
        let was = removed.is_some();
        drop(removed);
        if was {
            Self::serve_next(slf)?;
        }
        Ok(was)
    }

    /// The idle connection has been asked whether it lives, and does.
    fn _checked(slf: &Bound<'_, Self>, client: &Bound<'_, AsyncClient>) -> PyResult<()> {
        Self::checked(slf, client)
    }

    /// Idle connections that have been idle or lived for too long are given up, as far as `keep` are left.
    fn _tidy(slf: &Bound<'_, Self>, keep: usize) -> PyResult<()> {
        Self::tidy(slf, keep)
    }

    /// Connections given back that have not become free for so long: what runs on them does not end, or their reset does not.
    fn _overdue(&self, py: Python<'_>, seconds: f64) -> Vec<Py<AsyncClient>> {
        let limit = self::seconds(Some(seconds)).unwrap_or(Duration::MAX);
        lock(&self.inner).members.overdue(py, limit)
    }

    /// Every connection is replaced: idle ones now, the others when they are given back or have answered.
    fn _expire(slf: &Bound<'_, Self>) -> PyResult<()> {
        lock(&slf.get().inner).members.expire_all();
        Self::tidy(slf, 0)
    }

    /// The timer rang: who has waited too long is told. Seconds until the next time, or None.
    fn _ring(slf: &Bound<'_, Self>) -> PyResult<Option<f64>> {
        Self::ring(slf)
    }

    /// From now on nothing new is taken. Who waits is told so.
    fn _shut(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::shut(slf)
    }

    /// This is the child of a fork.
    fn _orphan(&self) {
        lock(&self.inner).orphan = true;
    }

    /// The connections: all of them, with "idle", "busy" (routed calls), "used", "resetting" or "checking".
    fn _members(&self, py: Python<'_>) -> Vec<(Py<AsyncClient>, &'static str)> {
        lock(&self.inner).members.list(py)
    }

    /// Waiting for a connection of their own, routed calls in the queue, connections being opened.
    fn _counts(&self) -> (usize, usize, usize) {
        let inner = lock(&self.inner);
        let connections = inner.queue.connections();
        (connections, inner.queue.len() - connections, inner.opening)
    }

    /// Calls and users served at once, and how long the others waited, by the power of two of microseconds.
    fn _waits(&self) -> (u64, Vec<u64>) {
        let inner = lock(&self.inner);
        (inner.queue.at_once, inner.queue.waits.to_vec())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.ties.visit(&visit)?;
        self.known.visit(&visit)?;
        let Ok(inner) = self.inner.try_lock() else { return Ok(()) };
        inner.members.visit(&visit)?;
        inner.queue.visit(&visit)
    }

    fn __clear__(&self) {
        let (members, waiting) = {
            let mut inner = lock(&self.inner);
            (std::mem::take(&mut inner.members), inner.queue.take_all())
        };
        drop((members, waiting));
    }
}
