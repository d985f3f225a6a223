//! Calls that are given up, and the connection's own end.

use std::time::{Duration, Instant};

use pgoxide_protocol::client::{CancelDelivered, CancelOutcome, RequestId};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{BlockingClient, SLICE};
use crate::error;
use crate::job::Job;
use crate::sync::lock;

/// How long a cancelled call may take to end before the connection is given up.
const DRAIN: Duration = Duration::from_secs(10);

/// How long the peer of one may take nothing of what is unsent: a server that was cancelled reads on.
const STALLED: Duration = Duration::from_secs(2);

impl BlockingClient {
    /// A call that will not be waited for: cancels it at the server and drains its answer, so that the connection
    /// is in step again; a second interrupt, or a server that does not answer, closes the connection.
    pub(super) fn give_up(&self, py: Python<'_>, id: RequestId, reason: PyErr) -> PyErr {
        if !self.session.is_ended() {
            self.cancel_and_drain(py, id);
        }
        reason
    }

    /// The call's time is over. Half a request cannot be taken back, and a peer that does not take the rest would keep the
    /// call: then the connection is closed.
    #[cold]
    pub(super) fn too_late(&self, py: Python<'_>, id: RequestId, told: String) -> PyErr {
        if lock(&self.session.state).conn.outgoing().is_empty() {
            return self.session.explained_of(py, error::query_timeout(py, told), id);
        }
        let told = format!("{told}: the peer had not even taken the whole request; the connection was closed");
        let late = self.session.explained_of(py, error::query_timeout(py, told), id);
        let why = "the peer had not taken the whole request when the call's time was over";
        if let Err(error) = self.finish(py, error::connection_closed(py, why)) {
            error.write_unraisable(py, None);
        }
        late
    }

    pub(super) fn cancel_and_drain(&self, py: Python<'_>, id: RequestId) {
        let outcome = lock(&self.session.state).conn.cancel(id);
        let cancelled = match outcome {
            CancelOutcome::Running => self.send_cancel(py, id),
            // It was never written: the server owes nothing for it.
            CancelOutcome::Dropped(job) => return drop(job),
            CancelOutcome::Discarding | CancelOutcome::Unknown => Ok(()),
        };
        let drained = cancelled.and_then(|()| self.drain(py, id));
        if let Err(second) = drained {
            let closed = error::connection_closed(py, format!("given up while cancelling: {}", second.value(py)));
            if let Err(error) = self.finish(py, closed) {
                error.write_unraisable(py, None);
            }
        }
    }

    pub(super) fn send_cancel(&self, py: Python<'_>, id: RequestId) -> PyResult<()> {
        // In a child of its process it is not this one's to cancel.
        self.session.check_home(py)?;
        let request = lock(&self.session.state).conn.cancel_key().cloned();
        if let Some(key) = request {
            let bytes = key.request().map_err(|e| error::encode_error(py, &e))?;
            self.tell(py, "cancel", (PyBytes::new(py, &bytes),))?;
        }
        let after = lock(&self.session.state).conn.cancel_delivered(id);
        match after {
            CancelDelivered::Next(next) => self.send_cancel(py, next),
            CancelDelivered::Closed | CancelDelivered::StillRunning => Ok(()),
        }
    }

    pub(super) fn drain(&self, py: Python<'_>, id: RequestId) -> PyResult<()> {
        let until = Instant::now() + DRAIN;
        let mut again = Instant::now() + SLICE;
        let (mut unsent, mut since) = (0, Instant::now());
        loop {
            // Its answer may have come with the page that a listener interrupted.
            if lock(&self.session.state).conn.is_idle() || self.turn_once(py, Some(id), Some(100))?.is_some() {
                return Ok(());
            }
            let now = Instant::now();
            if now >= until {
                return Err(error::connection_closed(py, "the server did not end the cancelled call"));
            }
            let left = lock(&self.session.state).conn.outgoing().len();
            if left != unsent {
                (unsent, since) = (left, now);
            } else if left > 0 && now - since >= STALLED {
                return Err(error::connection_closed(py, "the peer takes nothing more"));
            }
            // A CancelRequest that came before its target had begun has had no effect.
            let repeat = now >= again && lock(&self.session.state).conn.cancel_again(id);
            if repeat {
                again = now + 4 * SLICE;
                self.send_cancel(py, id)?;
            }
        }
    }

    /// Ends the connection, from any thread. One that waits on the socket is woken by its end, and has left it before
    /// the descriptor is closed: else its number could be another connection's by the time it is used again.
    pub(super) fn finish(&self, py: Python<'_>, reason: PyErr) -> PyResult<()> {
        let (first, jobs) = self.session.end(py, reason);
        self.turn.end();
        drop(lock(&self.page).take());
        if first {
            self.line.get().inspect(|line| line.cut());
            py.detach(|| *lock(&self.socket) = None);
            let reason = self.session.closed_error(py).into_value(py);
            self.tell(py, "ended", (reason,))?;
        }
        let unknown = jobs.into_iter().find(|job| job.commits && (job.error.is_some() || job.ended.is_some()));
        let earlier = std::mem::replace(&mut *lock(&self.unknown), unknown);
        drop(earlier);
        Ok(())
    }

    /// What came of a COMMIT during which the connection ended. Only one call can be at it.
    pub(super) fn last_word(&self) -> Option<Job> {
        lock(&self.unknown).take()
    }
}

#[cold]
pub(super) fn lost_line(py: Python<'_>, cause: PyErr) -> PyErr {
    let error = error::connection_closed(py, format!("the connection was lost: {}", cause.value(py)));
    error::caused_by(py, error, cause)
}
