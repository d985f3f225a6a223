//! Calls that are given up, and the connection's own end.

use pgoxide_protocol::client::{CancelOutcome, RequestId};
use pyo3::intern;
use pyo3::prelude::*;

use super::{AsyncClient, Line};
use crate::awaitable::Awaitable;
use crate::error;
use crate::io::Moved;
use crate::job::Kind;
use crate::sync::lock;

impl AsyncClient {
    /// The line cannot be written any more. What the server said before it went is still there to be read.
    pub(super) fn lost(&self, py: Python<'_>, cause: PyErr) -> PyResult<()> {
        let line = std::mem::replace(&mut *lock(&self.line), Line::None);
        let page = lock(&self.page).take();
        if let (Line::Descriptor(socket), Some(mut page)) = (line, page) {
            let mut outcomes = Vec::new();
            while let Ok(Moved::Bytes(count)) = socket.receive(page.spare()) {
                page.filled(count);
                if self.session.process(py, &mut page, &mut outcomes).is_err() {
                    break;
                }
            }
            *lock(&self.page) = Some(page);
            self.deliver(py, outcomes, false)?;
        }
        self.finish(py, lost_line(py, cause))
    }

    /// Ends the connection: every unfinished call fails, the transport closes the line.
    pub(super) fn finish(&self, py: Python<'_>, reason: PyErr) -> PyResult<()> {
        *lock(&self.line) = Line::None;
        let (first, jobs) = self.session.end(py, reason);
        drop(lock(&self.page).take());
        let starting = lock(&self.starting).take();
        let mut fed_starts = std::mem::take(&mut *lock(&self.room_wanted));
        let waiting = jobs.into_iter().filter_map(|mut job| {
            let reply = job.reply.take();
            // COMMIT whose answer did not come, or came just before the end.
            let told = match (&reply, job.commits) {
                (Some(_), true) if job.error.is_some() || job.ended.is_some() => Some(job.conclude(py, &self.session)),
                _ => None,
            };
            if let Kind::Batch(batch) = &mut job.kind {
                batch.abort(py, &self.session.closed_error(py));
            }
            if let Kind::Fed(fed) = &mut job.kind {
                fed_starts.extend(fed.started.take());
            }
            if let Some(shared) = job.stream.take() {
                self.streaming.ended(shared.id);
                fed_starts.extend(shared.end(Some(self.session.closed_error(py))));
            }
            reply.map(|reply| (reply, told))
        });
        let waiting: Vec<_> = waiting.collect();
        // A loop that was closed in the middle runs nobody any more.
        let runs = match self.ties.get() {
            Some(event_loop) => !event_loop.bind(py).call_method0(intern!(py, "is_closed"))?.is_truthy()?,
            None => false,
        };
        if let Some(starting) = starting
            && starting.get().settle(Err(self.session.reason(py)))
            && runs
        {
            Awaitable::wake(starting.into_bound(py), false)?;
        }
        for (reply, told) in waiting.into_iter().chain(fed_starts.into_iter().map(|started| (started, None))) {
            if reply.get().settle(told.unwrap_or_else(|| Err(self.session.closed_error(py)))) && runs {
                Awaitable::wake(reply.into_bound(py), false)?;
            }
        }
        if let Some(reader) = self.reader.get() {
            reader.get().release();
        }
        if first && let Ok(hooks) = self.hooks(py) {
            hooks.call_method1(intern!(py, "ended"), (self.session.closed_error(py).into_value(py),))?;
        }
        Ok(())
    }

    /// The awaitable of request `id` was cancelled.
    pub(crate) fn cancel_request(slf: &Bound<'_, Self>, id: RequestId) -> PyResult<()> {
        let this = slf.get();
        if this.session.home.is_elsewhere() {
            return Ok(());
        }
        if let Some(stream) = this.session.stream_of(id) {
            stream.cancel();
            this.stream_ended(id);
        }
        let outsider = lock(&this.session.state).outsiders.remove(id);
        if outsider.is_some() {
            drop(outsider);
            return Ok(());
        }
        let held = lock(&this.session.state).held.remove(id);
        if let Some(held) = held {
            let describing = held.described_by();
            drop(held);
            // Parse may wait for a lock: nobody waits for it any more, and those behind it need not.
            describing.into_iter().try_for_each(|request| this.stop_describing(slf, request))?;
            return Self::advance(slf);
        }
        this.receive_again(slf.py())?;
        let outcome = lock(&this.session.state).conn.cancel(id);
        match outcome {
            CancelOutcome::Running => this.send_cancel(slf, id),
            CancelOutcome::Dropped(job) => {
                drop(job);
                Self::advance(slf)
            }
            CancelOutcome::Discarding | CancelOutcome::Unknown => Ok(()),
        }
    }

    fn stop_describing(&self, slf: &Bound<'_, Self>, id: RequestId) -> PyResult<()> {
        let outcome = lock(&self.session.state).conn.cancel(id);
        match outcome {
            CancelOutcome::Running => self.send_cancel(slf, id),
            CancelOutcome::Dropped(job) => {
                drop(job);
                Ok(())
            }
            CancelOutcome::Discarding | CancelOutcome::Unknown => Ok(()),
        }
    }

    /// The request's own reader is told otherwise; what still comes of it is discarded.
    pub(super) fn stop_running(&self, py: Python<'_>, id: RequestId) -> PyResult<()> {
        self.receive_again(py)?;
        let outcome = lock(&self.session.state).conn.cancel(id);
        match (outcome, self.reader(py)?.get().client(py)?) {
            (CancelOutcome::Running, Some(slf)) => self.send_cancel(&slf, id),
            _ => Ok(()),
        }
    }

    /// Has the transport send a CancelRequest, and tell its end by `_cancel_delivered`.
    pub(super) fn send_cancel(&self, slf: &Bound<'_, Self>, id: RequestId) -> PyResult<()> {
        // By the pool's own object, if this is a user's: what it begins must be brought to its end.
        let client = slf.get().lent.as_ref().map_or(slf, |lent| lent.whole.bind(slf.py()));
        self.hooks(slf.py())?.call_method1(intern!(slf.py(), "cancel"), (client, id))?;
        Ok(())
    }
}

#[cold]
pub(super) fn lost_line(py: Python<'_>, cause: PyErr) -> PyErr {
    let error = error::connection_closed(py, format!("the connection was lost: {}", cause.value(py)));
    error::caused_by(py, error, cause)
}
