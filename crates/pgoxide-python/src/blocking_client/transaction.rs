//! Transaction blocks on a thread: entered, ended and left, and others that wait for that.

use std::sync::PoisonError;
use std::time::Instant;

use pgoxide_protocol::client::Standing;
use pyo3::prelude::*;

use super::{BlockingClient, Deadline, SLICE};
use crate::error;
use crate::session::{Caller, Entered, Entry, Leaving, Place, Session};
use crate::sync::lock;
use crate::turn;

impl BlockingClient {
    /// Takes the turn, for a call that stands so to the transaction block. Raises at once when it is nowhere to be taken,
    /// whatever the holder's statement takes.
    pub(super) fn take_turn_at(
        &self,
        py: Python<'_>,
        deadline: Deadline,
        via: Option<&Py<PyAny>>,
    ) -> PyResult<(turn::Held<'_>, Standing)> {
        loop {
            if let Place::Later(_) = self.place(py, via)? {
                self.wait_for_owner(py, deadline)?;
                continue;
            }
            let turn = self.take_turn(py, deadline)?;
            // While it waited the connection may have ended, or been taken by a transaction.
            if let Place::Now(standing) = self.admit(py, via)? {
                return Ok((turn, standing));
            }
        }
    }

    /// The same, until it is given back.
    pub(super) fn keep_turn_at(
        &self,
        py: Python<'_>,
        deadline: Deadline,
        via: Option<&Py<PyAny>>,
    ) -> PyResult<Standing> {
        loop {
            if let Place::Later(_) = self.place(py, via)? {
                self.wait_for_owner(py, deadline)?;
                continue;
            }
            self.keep_turn(py, deadline)?;
            match self.admit(py, via).inspect_err(|_| self.turn.give_back())? {
                Place::Now(standing) => return Ok(standing),
                Place::Later(_) => self.turn.give_back(),
            }
        }
    }

    /// One slice of waiting for the block that is open to be left.
    fn wait_for_owner(&self, py: Python<'_>, deadline: Deadline) -> PyResult<()> {
        let me = std::thread::current().id();
        if lock(&self.session.owners).last().is_some_and(|owner| owner.thread == me) {
            return Err(error::interface_error(
                py,
                "this thread has a transaction open on this connection, and the call is made in a context that does not \
                 belong to it: it would wait for itself",
            ));
        }
        if self.session.is_ended() {
            return Err(self.session.closed_error(py));
        }
        if deadline.has_passed() {
            return Err(error::query_timeout(
                py,
                "another thread's transaction was open until the call's time was over",
            ));
        }
        let left = deadline.at.map_or(SLICE, |at| at.saturating_duration_since(Instant::now()).min(SLICE));
        py.detach(|| {
            let owners = lock(&self.session.owners);
            if !owners.is_empty() {
                let waited = self.session.owner_changed.wait_timeout(owners, left);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        });
        py.check_signals()
    }

    /// Enters a block, waiting until somebody else's has been left if it must.
    pub(crate) fn enter(slf: &Bound<'_, Self>, entry: Entry, caller: Caller) -> PyResult<Option<Py<PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_room(py)?;
        let deadline = Deadline::after(this.default_timeout);
        let (mut entry, mut caller) = (entry, caller);
        loop {
            match this.session.enter(py, entry, caller)? {
                Entered::Yes => return Ok(None),
                Entered::Later(other, again) => (caller, entry) = (other, again),
            }
            this.wait_for_owner(py, deadline)?;
        }
    }

    /// Ends the block of `token` well. None: there was nothing to end.
    pub(crate) fn end_block(
        slf: &Bound<'_, Self>,
        token: &Py<PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_mine(py)?;
        if this.session.is_ended() {
            return this.session.leaving_well(py, token).map(|_| None);
        }
        let deadline = Deadline::after(timeout.or(this.default_timeout));
        let _turn = this.take_turn(py, deadline)?;
        let Some(level) = this.session.leaving_well(py, token)? else { return Ok(None) };
        let (request, standing) = this.session.end_request(this.session.next_id(), level, None);
        this.run(py, request, deadline, standing).map(Some)
    }

    /// Undoes what has been done in the block of `token`. None: there was nothing to undo.
    pub(crate) fn undo_block(slf: &Bound<'_, Self>, token: &Py<PyAny>, timeout: f64) -> PyResult<Option<Py<PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        if this.session.is_ended() || this.is_given_back() {
            return Ok(None);
        }
        let deadline = Deadline::after(Some(timeout));
        // A stream that was left open keeps the turn, and its portal ends with the transaction.
        let open = lock(&this.streaming).as_ref().map(|(id, _)| *id).filter(|_| this.turn.is_mine());
        if let Some((id, shared)) = open.and_then(|id| this.session.stream_of(id).map(|shared| (id, shared))) {
            this.cancel_and_drain(py, id);
            shared.cancel();
            shared.end(None);
            this.stream_forgotten(id);
        }
        let _turn = this.take_turn(py, deadline)?;
        let Leaving::Level(level) = this.session.leaving(token) else { return Ok(None) };
        let (request, standing) = Session::undo_request(this.session.next_id(), level, None);
        this.run(py, request, deadline, standing).map(Some)
    }

    /// The block of `token` has been left: who waited for that goes on. What is still open then nobody would end any more
    /// (Ctrl-C on the way out): the session ends with it.
    pub(crate) fn leave_block(slf: &Bound<'_, Self>, token: &Py<PyAny>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let open = !this.session.home.is_elsewhere() && matches!(this.session.leaving(token), Leaving::Level(_));
        this.session.disown(token.bind(py));
        if open {
            this.finish(py, error::connection_closed(py, "leaving a transaction block was interrupted"))?;
        }
        Ok(())
    }
}
