//! Whose turn it is on a blocking connection: threads share it one call at a time, in the order they came, and a call
//! made from inside another (a row factory, a notice handler) is told so instead of waiting for itself.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::error;
use crate::ffi::frame::CallSite;
use crate::open_streams::Origin;
use crate::sync::lock;

/// How long a wait lasts before signals are looked at.
const SLICE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Line {
    holder: Option<ThreadId>,
    /// Tickets of those who wait, first come first, and whose they are.
    waiting: VecDeque<(u64, ThreadId)>,
    last: u64,
    /// The connection has ended: nobody gets the turn any more, whoever keeps it.
    ended: bool,
}

impl Line {
    fn is_next(&self, ticket: u64) -> bool {
        self.holder.is_none() && self.waiting.front().is_some_and(|(first, _)| *first == ticket)
    }
}

/// An open stream, which keeps the turn.
struct Open {
    origin: Origin,
    since: Instant,
}

pub(crate) struct Turn {
    line: Mutex<Line>,
    changed: Condvar,
    stream: Mutex<Option<Arc<Open>>>,
    /// How long a thread waits for a stream until it is told; None: it never is.
    patience: Option<Duration>,
}

/// Gives the turn back when dropped.
pub(crate) struct Held<'a>(&'a Turn);

/// What became of a wait for the turn.
pub(crate) enum Taken<'a> {
    Turn(Held<'a>),
    /// It took too long.
    Late,
    /// The connection has ended.
    Ended,
    /// This thread has the turn already, or waits for it further out: it would wait for itself.
    Nested,
}

impl Turn {
    pub(crate) fn new(patience: Option<f64>) -> Self {
        Self {
            line: Mutex::default(),
            changed: Condvar::new(),
            stream: Mutex::new(None),
            patience: patience.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        }
    }

    /// Waits for the turn, at most until `until`; signals are handled meanwhile. None when the connection has ended.
    #[inline]
    pub(crate) fn take(&self, py: Python<'_>, until: Option<Instant>) -> PyResult<Option<Held<'_>>> {
        match self.take_until(py, until)? {
            Taken::Turn(held) => Ok(Some(held)),
            Taken::Ended => Ok(None),
            Taken::Late => Err(late(py)),
            Taken::Nested => Err(nested(py)),
        }
    }

    /// As `take`, for who has something else to do without it.
    #[inline]
    pub(crate) fn take_until(&self, py: Python<'_>, until: Option<Instant>) -> PyResult<Taken<'_>> {
        let me = std::thread::current().id();
        let ticket = {
            let mut line = lock(&self.line);
            if line.ended {
                return Ok(Taken::Ended);
            }
            if line.holder.is_none() && line.waiting.is_empty() {
                line.holder = Some(me);
                return Ok(Taken::Turn(Held(self)));
            }
            // A signal handler, warning or finalizer that runs inside this thread's own wait: only the wait can take the
            // turn, and it does not go on before they return.
            if line.holder == Some(me) || line.waiting.iter().any(|(_, thread)| *thread == me) {
                return Ok(Taken::Nested);
            }
            line.last += 1;
            let ticket = line.last;
            line.waiting.push_back((ticket, me));
            ticket
        };
        let (began, mut told) = (Instant::now(), false);
        loop {
            if py.detach(|| self.wait(ticket, me, until)) {
                return Ok(Taken::Turn(Held(self)));
            }
            let interrupted = py.check_signals().and_then(|()| self.tell(py, began, &mut told));
            let late = until.is_some_and(|until| Instant::now() >= until);
            let ended = lock(&self.line).ended;
            if interrupted.is_err() || late || ended {
                lock(&self.line).waiting.retain(|(other, _)| *other != ticket);
                self.changed.notify_all();
                return interrupted.map(|()| if ended { Taken::Ended } else { Taken::Late });
            }
        }
    }

    /// A thread that has waited long for a stream is told where it was made, once.
    fn tell(&self, py: Python<'_>, began: Instant, told: &mut bool) -> PyResult<()> {
        let Some(patience) = self.patience.filter(|_| !*told) else { return Ok(()) };
        let Some(stream) = lock(&self.stream).clone() else { return Ok(()) };
        if began.max(stream.since).elapsed() < patience {
            return Ok(());
        }
        *told = true;
        stream.origin.warn(py, CallSite::here(py).as_ref(), patience.as_secs_f64())
    }

    /// The turn that was kept is a stream's, made here.
    pub(crate) fn stream_opened(&self, py: Python<'_>) {
        let open = Arc::new(Open { origin: Origin::here(py), since: Instant::now() });
        let earlier = lock(&self.stream).replace(open);
        drop(earlier);
    }

    pub(crate) fn stream_ended(&self) {
        let ended = lock(&self.stream).take();
        drop(ended);
    }

    /// One slice of waiting: true when it is our turn, and ours.
    fn wait(&self, ticket: u64, me: ThreadId, until: Option<Instant>) -> bool {
        let left = until.map_or(SLICE, |until| until.saturating_duration_since(Instant::now()).min(SLICE));
        let line = lock(&self.line);
        let (mut line, _) = self
            .changed
            .wait_timeout_while(line, left, |line| !line.ended && !line.is_next(ticket))
            .unwrap_or_else(PoisonError::into_inner);
        let ours = !line.ended && line.is_next(ticket);
        if ours {
            line.waiting.pop_front();
            line.holder = Some(me);
        }
        ours
    }

    /// The connection has ended: whoever waits is told, whatever the one does who has the turn.
    pub(crate) fn end(&self) {
        lock(&self.line).ended = true;
        self.changed.notify_all();
    }

    /// The turn, if nobody has it or waits for it.
    pub(crate) fn take_if_free(&self) -> Option<Held<'_>> {
        let mut line = lock(&self.line);
        if line.holder.is_some() || !line.waiting.is_empty() {
            return None;
        }
        line.holder = Some(std::thread::current().id());
        Some(Held(self))
    }

    /// Does this thread hold the turn?
    pub(crate) fn is_mine(&self) -> bool {
        lock(&self.line).holder == Some(std::thread::current().id())
    }

    /// Takes the turn for several calls, until [`give_back`](Self::give_back). False when the connection has ended.
    pub(crate) fn keep(&self, py: Python<'_>, until: Option<Instant>) -> PyResult<bool> {
        let held = self.take(py, until)?;
        Ok(held.map(std::mem::forget).is_some())
    }

    /// Gives back a turn that was kept.
    pub(crate) fn give_back(&self) {
        let others = {
            let mut line = lock(&self.line);
            line.holder = None;
            !line.waiting.is_empty()
        };
        if others {
            self.changed.notify_all();
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

#[cold]
fn late(py: Python<'_>) -> PyErr {
    error::query_timeout(py, "other threads kept the connection busy until the call's time was over")
}

#[cold]
fn nested(py: Python<'_>) -> PyErr {
    error::interface_error(
        py,
        "the connection is busy with another call of this thread: a stream must be read to its end or closed first, and a \
         row class, codec, source, listener, signal handler or finalizer cannot use the connection whose call it \
         interrupts; or open a second connection",
    )
}
