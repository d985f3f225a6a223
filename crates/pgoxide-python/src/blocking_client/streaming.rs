//! Streams: the turn is kept from their beginning to their end.

use pgoxide_protocol::client::{CancelOutcome, Request, RequestId, Standing};
use pyo3::prelude::*;

use super::{BlockingClient, Deadline};
use crate::call::Asked;
use crate::io::Moved;
use crate::job::Job;
use crate::stream::{Shared, Stream};
use crate::sync::lock;

impl BlockingClient {
    /// Works until something has changed for the stream.
    pub(crate) fn stream_turn(&self, py: Python<'_>, id: RequestId, shared: &Shared) -> PyResult<()> {
        self.session.check_home(py)?;
        if lock(&self.page).is_none() {
            // The one that came first goes on waiting.
            return Err(self.no_page(py, "two threads read one stream: another one waits for its rows"));
        }
        let deadline = lock(&self.streaming).as_ref().map(|(_, deadline)| *deadline);
        let deadline = deadline.unwrap_or_else(|| Deadline::after(None));
        match self.turn_once(py, Some(id), deadline.shorter_than_slice()) {
            Ok(Some(mut job)) => {
                if let Some(written) = job.again.take() {
                    let resumed = self.begin_stream_again(py, &mut job, &written, deadline);
                    return resumed.map_err(|error| self.stop_stream(py, id, shared, error));
                }
                shared.end(job.failure(py, &self.session));
                self.stream_forgotten(id);
                Ok(())
            }
            Ok(None) if deadline.has_passed() => {
                let late = self.too_late(py, id, format!("not finished within {} s", deadline.seconds));
                let late = self.give_up(py, id, late);
                Err(self.stop_stream(py, id, shared, late))
            }
            Ok(None) if shared.has_failed_midway() => {
                self.stop_copy(py, id, shared);
                self.stream_forgotten(id);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(reason) if self.session.is_ended() => Err(self.stop_stream(py, id, shared, reason)),
            Err(interrupt) => {
                // Raised once, where it came; later reads hear that rows are missing.
                let interrupt = self.give_up(py, id, interrupt);
                shared.cancel();
                shared.end(None);
                self.stream_forgotten(id);
                Err(interrupt)
            }
        }
    }

    /// A stream of what was asked. The turn is kept until its end.
    pub(crate) fn open(slf: &Bound<'_, Self>, asked: Asked<'_>, batch: i64) -> PyResult<Py<Stream>> {
        Self::stream_via(slf, asked, batch, None)
    }

    /// Begins a stream whose request is ready to be written: takes the turn and keeps it.
    pub(super) fn begin_stream(
        &self,
        py: Python<'_>,
        id: RequestId,
        request: Request<Job>,
        deadline: Deadline,
    ) -> PyResult<()> {
        let standing = self.keep_turn_at(py, deadline, None)?;
        self.turn.stream_opened(py);
        *lock(&self.streaming) = Some((id, deadline));
        let opened = self.open_first(py, &request, deadline, standing);
        let begun = opened.and_then(|()| self.session.submit(py, request, standing));
        begun.inspect_err(|_| self.stream_forgotten(id))?;
        self.send_some();
        Ok(())
    }

    /// Its statement was lost before anything of it ran.
    fn begin_stream_again(&self, py: Python<'_>, job: &mut Job, written: &[u8], deadline: Deadline) -> PyResult<()> {
        let call = self.session.again(py, &mut job.kind, written)?;
        // Inside a transaction, which fails with it, it is not asked again.
        let request = self.described_request(py, call, deadline, Standing::Outside)?;
        self.session.submit(py, request, Standing::Outside)?;
        self.send_some();
        Ok(())
    }

    /// Cancels a COPY to us at the server and discards what still comes of it. Another thread that reads it does that
    /// itself.
    pub(crate) fn stop_copy(&self, py: Python<'_>, id: RequestId, shared: &Shared) {
        if lock(&self.page).is_some() {
            self.cancel_and_drain(py, id);
            let waiting = shared.end(None);
            drop(waiting);
        }
    }

    /// The stream's end, which all later reads hear too.
    pub(super) fn stop_stream(&self, py: Python<'_>, id: RequestId, shared: &Shared, error: PyErr) -> PyErr {
        shared.end(Some(error.clone_ref(py)));
        self.stream_forgotten(id);
        error
    }

    /// After the portal's end was written: reads what still comes.
    pub(crate) fn end_stream(&self, py: Python<'_>, id: RequestId, shared: &Shared) -> PyResult<()> {
        let mine = lock(&self.streaming).as_ref().is_some_and(|(open, _)| *open == id);
        while mine && !shared.is_over() && !self.session.is_ended() {
            self.stream_turn(py, id, shared)?;
        }
        self.stream_forgotten(id);
        Ok(())
    }

    /// A stream left by `break`: its end is sent while the turn is still kept, so that the server lets go of what it
    /// holds; what comes of it is read by the next call.
    pub(crate) fn stream_dropped(&self, id: RequestId) {
        if lock(&self.streaming).as_ref().is_some_and(|(open, _)| *open == id) {
            self.send_some();
            self.stream_forgotten(id);
        }
    }

    /// Drops a request that waits behind another.
    pub(crate) fn drop_unwritten(&self, id: RequestId) {
        let outcome = lock(&self.session.state).conn.cancel(id);
        if let CancelOutcome::Dropped(job) = outcome {
            drop(job);
        }
    }

    /// Gives the turn back.
    pub(crate) fn stream_forgotten(&self, id: RequestId) {
        let mut streaming = lock(&self.streaming);
        if streaming.as_ref().is_some_and(|(open, _)| *open == id) {
            *streaming = None;
            drop(streaming);
            self.turn.stream_ended();
            self.turn.give_back();
        }
    }

    /// Sends what the socket takes at once; the rest goes with the next wait, which also meets a line that is lost.
    pub(crate) fn send_some(&self) {
        let socket = lock(&self.socket);
        let Some(socket) = *socket else { return };
        let mut state = lock(&self.session.state);
        state.conn.pump();
        if let Ok(Moved::Bytes(count)) = socket.send(state.conn.outgoing()) {
            state.conn.sent(count);
        }
    }
}
