//! The streams that are open on an asynchronous connection, and the calls of other tasks that wait for them to end.
//!
//! ```text
//!   stream opened ──▶ a call of its own task: raises at once, it would wait for itself (as one of a COPY's own source does)
//!                └──▶ a call of another task: waits ──patience──▶ a RuntimeWarning that names the stream's line
//! ```
//!
//! Streams run one after the other, so the first one is what everybody waits for. The blocking twin is in `turn.rs`.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pgoxide_protocol::client::RequestId;
use pyo3::exceptions::PyRuntimeWarning;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::ffi::frame::CallSite;
use crate::pyimport;
use crate::sync::lock;

/// One open stream.
pub(crate) struct Open {
    id: RequestId,
    /// The task that reads it; None when it was opened by a callback.
    task: Py<PyAny>,
    origin: Origin,
}

/// A call that came while a stream was open.
pub(crate) struct Waiting {
    pub(crate) id: RequestId,
    pub(crate) site: Option<CallSite>,
    since: Instant,
}

/// Where a stream was opened, and what was said about it.
pub(crate) struct Origin {
    site: Option<CallSite>,
    /// As a module's `__warningregistry__`: by default each waiting line is told once of each stream.
    told: Py<PyDict>,
}

#[derive(Default)]
struct Inner {
    open: VecDeque<Open>,
    /// Calls that came while a stream was open, first come first.
    waiting: VecDeque<Waiting>,
    /// The tasks that wait for an asynchronous source, whose data a request is fed.
    pulling: Vec<(RequestId, Py<PyAny>)>,
    /// Since when the first stream is the first.
    since: Option<Instant>,
}

pub(crate) struct OpenStreams {
    inner: Mutex<Inner>,
    /// None: nobody is told.
    patience: Option<Duration>,
}

impl Origin {
    pub(crate) fn here(py: Python<'_>) -> Self {
        Self { site: CallSite::here(py), told: PyDict::new(py).unbind() }
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        Self { site: self.site.as_ref().map(|site| site.clone_ref(py)), told: self.told.clone_ref(py) }
    }

    /// What a call hears that has waited for `seconds`.
    pub(crate) fn complaint(&self, py: Python<'_>, seconds: f64) -> String {
        let place = self.site.as_ref().map_or_else(
            || "an unknown place".to_owned(),
            |site| {
                let (file, line) = site.place(py);
                format!("{file}:{line}")
            },
        );
        format!(
            "a call has waited {seconds} s for a stream that is open on its connection, made at {place}: calls wait \
             until that stream has ended; read it to its end, leave its block, or use another connection \
             (stream_wait_warning sets this time)"
        )
    }

    /// Issues the warning at the line that waits.
    pub(crate) fn warn(&self, py: Python<'_>, waiting: Option<&CallSite>, seconds: f64) -> PyResult<()> {
        let site = waiting.or(self.site.as_ref());
        let (file, line) = site.map_or_else(|| ("<unknown>".to_owned(), 0), |site| site.place(py));
        let category = py.get_type::<PyRuntimeWarning>();
        // None would mean "the interpreter shuts down": no warning at all.
        let module = file.trim_end_matches(".py").to_owned();
        pyimport::warn(py)?.call1((self.complaint(py, seconds), category, file, line, module, &self.told))?;
        Ok(())
    }
}

impl OpenStreams {
    pub(crate) fn new(patience: Option<f64>) -> Self {
        let patience = patience.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self { inner: Mutex::new(Inner::default()), patience }
    }

    pub(crate) fn opened(&self, py: Python<'_>, id: RequestId, task: Py<PyAny>) {
        let stream = Open { id, task, origin: Origin::here(py) };
        let mut inner = lock(&self.inner);
        if inner.open.is_empty() {
            inner.since = Some(Instant::now());
        }
        inner.open.push_back(stream);
    }

    /// The stream is over or given up. Calls that still wait do so for the next one.
    pub(crate) fn ended(&self, id: RequestId) {
        let ended = {
            let mut inner = lock(&self.inner);
            let Some(at) = inner.open.iter().position(|open| open.id == id) else { return };
            if at == 0 {
                inner.since = Some(Instant::now());
            }
            let ended = inner.open.remove(at);
            let told = if inner.open.is_empty() { std::mem::take(&mut inner.waiting) } else { VecDeque::new() };
            (ended, told)
        };
        drop(ended);
    }

    /// For the garbage collector, whom nothing may keep waiting.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(inner) = self.inner.try_lock() else { return Ok(()) };
        let readers = inner.open.iter().map(|open| &open.task);
        readers.chain(inner.pulling.iter().map(|(_, task)| task)).try_for_each(|task| visit.call(task))
    }

    /// The connection has ended, and all streams with it.
    pub(crate) fn clear(&self) {
        let ended = std::mem::take(&mut *lock(&self.inner));
        drop(ended);
    }

    /// Which are open.
    pub(crate) fn ids(&self) -> Vec<RequestId> {
        lock(&self.inner).open.iter().map(|open| open.id).collect()
    }

    /// The tasks that read streams, or pull from sources.
    pub(crate) fn readers(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        let inner = lock(&self.inner);
        let readers = inner.open.iter().map(|open| &open.task);
        readers.chain(inner.pulling.iter().map(|(_, task)| task)).map(|task| task.clone_ref(py)).collect()
    }

    /// A task begins to pull from the source of request `id`; None: it has ended that.
    pub(crate) fn pulls(&self, id: RequestId, task: Option<Py<PyAny>>) {
        let mut inner = lock(&self.inner);
        let before = inner.pulling.iter().position(|known| known.0 == id).map(|at| inner.pulling.swap_remove(at));
        inner.pulling.extend(task.map(|task| (id, task)));
        drop(inner);
        drop(before);
    }

    /// Notes that call `id` waits, if a stream is open and somebody is to be told. True when a timer is to be set: it is
    /// the first.
    pub(crate) fn waits(&self, py: Python<'_>, id: RequestId) -> bool {
        if self.patience.is_none() || lock(&self.inner).open.is_empty() {
            return false;
        }
        let waiting = Waiting { id, site: CallSite::here(py), since: Instant::now() };
        let mut inner = lock(&self.inner);
        inner.waiting.push_back(waiting);
        inner.waiting.len() == 1
    }

    /// When the first of the waiting calls is to be told.
    pub(crate) fn due(&self) -> Option<Instant> {
        let inner = lock(&self.inner);
        let since = inner.waiting.front()?.since;
        inner.since.map_or(since, |first| first.max(since)).checked_add(self.patience?)
    }

    /// The calls that have waited long enough, and the stream they wait for. Each is given once.
    pub(crate) fn take_due(&self, py: Python<'_>, now: Instant) -> Option<(Vec<Waiting>, Origin, f64)> {
        let patience = self.patience?;
        if self.due()? > now {
            return None;
        }
        let mut inner = lock(&self.inner);
        let origin = inner.open.front()?.origin.clone_ref(py);
        let late = inner.waiting.partition_point(|waiting| now.saturating_duration_since(waiting.since) >= patience);
        Some((inner.waiting.drain(..late).collect(), origin, patience.as_secs_f64()))
    }
}
