//! What a pool asks of its connections between two users.

use std::sync::Arc;

use pgoxide_protocol::client::{RequestId, Standing};
use pyo3::prelude::*;

use super::{BlockingClient, Deadline};
use crate::error;
use crate::session::{Reset, Session};
use crate::sync::lock;

impl BlockingClient {
    /// Its user gives it back: from now on its verbs raise. A stream of this thread that is open ends.
    pub(super) fn given_back(&self, py: Python<'_>) {
        self.session.park();
        let open = lock(&self.streaming).as_ref().map(|(id, _)| *id);
        if let Some(id) = open.filter(|_| self.turn.is_mine()) {
            self.end_stream_of(py, id);
        }
    }

    fn end_stream_of(&self, py: Python<'_>, id: RequestId) {
        if let Some(shared) = self.session.stream_of(id).as_ref().map(Arc::clone) {
            let gone = error::interface_error(py, "the stream's connection has been given back to its pool");
            shared.end(Some(gone));
            self.cancel_and_drain(py, id);
        }
        self.stream_forgotten(id);
    }

    /// Writes what undoes its last user's doings, as far as the socket takes it at once; waits for nothing but the turn.
    /// False when there is nothing to undo.
    pub(super) fn send_reset(&self, py: Python<'_>, reset: &Reset, deadline: Deadline) -> PyResult<bool> {
        let _turn = self.take_turn(py, deadline)?;
        let written = self.session.begin_reset(py, reset)?;
        self.send_some();
        Ok(written)
    }

    /// Whether a user may have it though its reset may be unanswered: it has come, or what they ask travels behind it. Raises why
    /// it failed.
    pub(super) fn follow_reset(&self, py: Python<'_>) -> PyResult<bool> {
        if let Some(_turn) = self.turn.take_if_free() {
            self.look(py)?;
        }
        if let Some(outcome) = self.session.take_reset() {
            return outcome.map(|()| true);
        }
        Ok(self.session.follow_reset())
    }

    /// Waits until the reset is answered; false when it had been. Raises why it failed.
    pub(super) fn await_reset(&self, py: Python<'_>, deadline: Deadline) -> PyResult<bool> {
        let _turn = self.take_turn(py, deadline)?;
        let mut waited = false;
        loop {
            if let Some(outcome) = self.session.take_reset() {
                return outcome.map(|()| waited);
            }
            if self.session.is_ended() {
                return Err(self.session.closed_error(py));
            }
            if deadline.has_passed() {
                return Err(error::query_timeout(py, format!("no answer within {} s", deadline.seconds)));
            }
            waited = true;
            self.turn_once(py, None, deadline.shorter_than_slice())?;
        }
    }

    /// A round trip that runs nothing.
    pub(super) fn round_trip(&self, py: Python<'_>, deadline: Deadline) -> PyResult<()> {
        let _turn = self.take_turn(py, deadline)?;
        self.run(py, Session::sync_request(self.session.next_id(), None), deadline, Standing::Outside).map(|_| ())
    }
}
