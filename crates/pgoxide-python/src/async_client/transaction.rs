//! Transaction blocks on an event loop: entered, ended and left.

use pgoxide_protocol::codes::TransactionStatus;
use pyo3::prelude::*;

use super::AsyncClient;
use crate::awaitable::Awaitable;
use crate::error;
use crate::job::{Ending, Job, Kind};
use crate::outsiders::Outsider;
use crate::session::{Caller, Entered, Entry, Leaving, Place, Session};
use crate::sync::lock;

impl AsyncClient {
    /// Enters a block. A reply: somebody else's must be left first, and it settles when this one has been entered.
    pub(crate) fn enter(slf: &Bound<'_, Self>, entry: Entry, caller: Caller) -> PyResult<Option<Py<Awaitable>>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_caller(py)?;
        this.session.check_room(py)?;
        match this.session.enter(py, entry, caller)? {
            Entered::Yes => Ok(None),
            Entered::Later(caller, entry) => {
                let id = this.session.next_id();
                let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, "transaction"))?;
                let outsider = Outsider::block(caller, id, entry, reply.clone_ref(py));
                lock(&this.session.state).outsiders.push(outsider);
                Ok(Some(reply))
            }
        }
    }

    /// Ends the block of `token` well. None: there is nothing to end.
    pub(crate) fn end_block(
        slf: &Bound<'_, Self>,
        token: &Py<PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Py<Awaitable>>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_caller(py)?;
        let Some(level) = this.session.leaving_well(py, token)? else { return Ok(None) };
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, "commit"))?;
        reply.get().close_unseen();
        let (request, standing) = this.session.end_request(id, level, Some(reply.clone_ref(py)));
        Self::submit(slf, request, Place::Now(standing))?;
        this.set_deadline(py, timeout, id)?;
        Ok(Some(reply))
    }

    /// Undoes what has been done in the block of `token`. None: there is nothing to undo. The reply cannot be cancelled.
    pub(crate) fn undo_block(
        slf: &Bound<'_, Self>,
        token: &Py<PyAny>,
        timeout: f64,
    ) -> PyResult<Option<Py<Awaitable>>> {
        let (py, this) = (slf.py(), slf.get());
        let Leaving::Level(level) = this.session.leaving(token) else { return Ok(None) };
        // A stream that was left open keeps everything behind it waiting, and its portal ends with the transaction.
        for stream in this.streaming.ids() {
            let outside = lock(&this.session.state).outsiders.get(stream).is_some();
            if !outside {
                Self::cancel_request(slf, stream)?;
            }
        }
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::lasting(py, slf.clone().unbind(), id, "rollback"))?;
        let (request, standing) = Session::undo_request(id, level, Some(reply.clone_ref(py)));
        Self::submit(slf, request, Place::Now(standing))?;
        this.set_deadline(py, Some(timeout), id)?;
        Ok(Some(reply))
    }

    /// The block of `token` has been left: who waited for that goes on.
    pub(crate) fn leave_block(slf: &Bound<'_, Self>, token: &Py<PyAny>) -> PyResult<()> {
        let session = &slf.get().session;
        if !session.home.is_elsewhere() {
            // What was never begun, or has been ended by a statement inside, goes without a word.
            session.leaving(token);
        }
        session.disown(token.bind(slf.py()));
        Self::let_in(slf)
    }

    /// Lets go whoever waited for a block that has been left.
    pub(super) fn let_in(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        if lock(&this.session.state).outsiders.is_empty() {
            return Ok(());
        }
        for (reply, outcome) in this.session.let_in(py) {
            if reply.get().settle(outcome.map(|()| py.None())) {
                Awaitable::wake(reply.into_bound(py), false)?;
            }
        }
        Self::advance(slf)
    }

    /// What was to undo a transaction has been answered: if that is still open, nobody can say what the session is in.
    pub(super) fn check_undone(&self, py: Python<'_>, job: &Job) -> PyResult<()> {
        let failed = matches!(job.kind, Kind::Ending(Ending { undoes: true }))
            && job.error.is_some()
            && self.session.status() != TransactionStatus::Idle;
        if !failed {
            return Ok(());
        }
        self.finish(py, error::connection_closed(py, "ROLLBACK of a transaction block failed"))
    }
}
