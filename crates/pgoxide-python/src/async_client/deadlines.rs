//! Time limits: one heap of deadlines, one timer of the loop for the earliest.

use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use pgoxide_protocol::client::RequestId;
use pyo3::intern;
use pyo3::prelude::*;

use super::AsyncClient;
use crate::awaitable::Awaitable;
use crate::error;
use crate::session::State;
use crate::sync::lock;

/// A call that must have its answer by then. Ordered so that the earliest is the greatest.
pub(super) struct Deadline(pub(super) Instant, pub(super) RequestId, pub(super) f64);

impl PartialEq for Deadline {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 && self.1 == other.1
    }
}
impl Eq for Deadline {}
impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.0, other.1).cmp(&(self.0, self.1))
    }
}

impl AsyncClient {
    pub(super) fn set_deadline(&self, py: Python<'_>, timeout: Option<f64>, id: RequestId) -> PyResult<()> {
        let Some(seconds) = timeout.or(self.default_timeout) else { return Ok(()) };
        let wait = Duration::try_from_secs_f64(seconds).ok();
        let Some(due) = wait.and_then(|wait| Instant::now().checked_add(wait)) else { return Ok(()) };
        self.set_due(py, due, seconds, id)
    }

    /// Call `id` must have its answer by then. `limit`: the seconds to name when it has not.
    pub(super) fn set_due(&self, py: Python<'_>, due: Instant, limit: f64, id: RequestId) -> PyResult<()> {
        let earliest = {
            let mut deadlines = lock(&self.deadlines);
            let earliest = deadlines.peek().is_none_or(|Deadline(first, ..)| due < *first)
                && self.streaming.due().is_none_or(|first| due < first);
            self.forget_answered(&mut deadlines);
            deadlines.push(Deadline(due, id, limit));
            earliest
        };
        if earliest {
            let seconds = due.saturating_duration_since(Instant::now()).as_secs_f64();
            self.hooks(py)?.call_method1(intern!(py, "arm"), (seconds,))?;
        }
        Ok(())
    }
}

impl AsyncClient {
    /// The timer rang: calls past their deadline fail, those that wait long for a stream are told. Seconds until the
    /// next time, or None.
    pub(super) fn expire(slf: &Bound<'_, Self>) -> PyResult<Option<f64>> {
        let this = slf.get();
        Self::fail_late_calls(slf)?;
        this.tell_waiting(slf.py());
        let deadline = lock(&this.deadlines).peek().map(|Deadline(at, ..)| *at);
        let next = deadline.into_iter().chain(this.streaming.due()).min();
        Ok(next.map(|at| at.saturating_duration_since(Instant::now()).as_secs_f64()))
    }

    pub(super) fn tell_waiting(&self, py: Python<'_>) {
        let Some((late, stream, seconds)) = self.streaming.take_due(py, Instant::now()) else { return };
        for call in late {
            let reply = self.session.reply_of(py, call.id);
            let waits = reply.map_or_else(|| self.is_unfinished(call.id), |reply| reply.get().is_pending());
            if waits && let Err(error) = stream.warn(py, call.site.as_ref(), seconds) {
                // Warnings are errors here, and nobody calls: as with one that a finalizer issues.
                error.write_unraisable(py, None);
            }
        }
    }

    pub(super) fn is_unfinished(&self, id: RequestId) -> bool {
        let mut state = lock(&self.session.state);
        let State { conn, held, outsiders, .. } = &mut *state;
        held.get(id).or_else(|| outsiders.get(id)).is_some() || conn.job(id).is_some()
    }

    pub(super) fn fail_late_calls(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        loop {
            let now = Instant::now();
            let due = {
                let mut deadlines = lock(&this.deadlines);
                match deadlines.peek() {
                    Some(Deadline(at, ..)) if *at <= now => deadlines.pop(),
                    _ => return Ok(()),
                }
            };
            let Some(Deadline(_, id, seconds)) = due else { continue };
            if let Some(shared) = this.session.stream_of(id) {
                let late = error::query_timeout(py, format!("not finished within {seconds} s"));
                let late = this.session.explained_of(py, late, id);
                this.end_stream(py, id, &shared, Some(late), false)?;
                Self::cancel_request(slf, id)?;
                continue;
            }
            let Some(reply) = this.session.reply_of(py, id) else { continue };
            if !reply.get().is_pending() {
                continue;
            }
            let late = error::query_timeout(py, format!("no answer within {seconds} s"));
            let late = this.session.explained_of(py, late, id);
            if reply.get().settle(Err(late)) {
                Self::cancel_request(slf, id)?;
                Awaitable::wake(reply.into_bound(py), false)?;
            }
        }
    }

    /// Most calls are answered long before their deadline: their entries must not pile up until then.
    pub(super) fn forget_answered(&self, deadlines: &mut BinaryHeap<Deadline>) {
        const WORTH_A_LOOK: usize = 1_000;
        let mut state = lock(&self.session.state);
        let unfinished = state.conn.unfinished() + state.held.len();
        if deadlines.len() < WORTH_A_LOOK || deadlines.len() < 4 * unfinished {
            return;
        }
        let State { conn, held, outsiders, .. } = &mut *state;
        deadlines.retain(|Deadline(_, id, _)| {
            conn.job(*id).is_some() || held.get(*id).or_else(|| outsiders.get(*id)).is_some()
        });
    }
}
