//! Calls that a pool gives to one of its connections, and what it asks of them between two users.

use std::sync::Arc;
use std::time::Instant;

use pgoxide_protocol::client::{RequestId, Standing};
use pyo3::intern;
use pyo3::prelude::*;

use super::{AsyncClient, Line};
use crate::arguments::Arguments;
use crate::awaitable::Awaitable;
use crate::error;
use crate::job::{Run, Verb};
use crate::known::Known;
use crate::lending::given_back;
use crate::pool::KeptAsked;
use crate::session::{Outcome, Place, Reset, Session};
use crate::sync::lock;

impl AsyncClient {
    /// A statement that the pool was given: as `ask`, for a reply that is there already. `until`: when it must have its
    /// answer, and the limit to name; None: by its own timeout from now on, infinity: never.
    pub(crate) fn serve(
        slf: &Bound<'_, Self>,
        verb: Verb,
        asked: KeptAsked,
        known: Arc<Known>,
        reply: &Py<Awaitable>,
        until: Option<(Instant, f64)>,
    ) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        if this.session.is_ended() {
            return Err(this.session.closed_error(py));
        }
        let prepared = this.session.statements.get(asked.sql.bind(py), &asked.types, asked.named.as_ref())?;
        let arguments = asked.arguments.bind(py);
        let mut run = Box::new(Run::new(prepared, verb, asked.into, arguments.len()));
        run.isolate = asked.isolate;
        run.known = Some(known);
        let id = this.session.next_id();
        let (at_once, taken) = Self::goes_at_once(slf, &mut run, arguments, Standing::Outside)?;
        let arguments = taken.as_ref().unwrap_or(arguments);
        if !at_once {
            this.hold(py, id, reply.clone_ref(py), run, arguments, Place::OUTSIDE)?;
        } else {
            let made = this.session.run_request(py, id, run, Arguments::Values(arguments), Some(reply.clone_ref(py)));
            if let Err(error) = made.and_then(|request| this.session.submit(py, request, Standing::Outside)) {
                // What its arguments' own code asked meanwhile may wait for the description it was to bring.
                Self::advance(slf)?;
                return Err(error);
            }
        }
        reply.get().give_to(slf.clone().unbind(), id);
        match until {
            None => this.set_deadline(py, asked.timeout, id)?,
            Some((_, limit)) if limit.is_infinite() => {}
            Some((due, limit)) => this.set_due(py, due, limit, id)?,
        }
        this.flush_soon(slf)
    }

    /// Reads what has arrived and the loop has not told of yet: the end of the session above all. True: something has that
    /// only the loop can hand over.
    pub(crate) fn look(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let line = *lock(&slf.get().line);
        match line {
            // A task may be running, the one that asks the pool: others are woken by the loop.
            Line::Descriptor(socket) => Self::read(slf, socket, false).map(|()| false),
            Line::Transport => slf.get().hooks(slf.py())?.call_method0(intern!(slf.py(), "has_untold"))?.is_truthy(),
            Line::None => Ok(false),
        }
    }

    /// Calls that wait for a block of whoever gave the connection back are not made any more.
    pub(crate) fn turn_away_outsiders(&self, py: Python<'_>) -> PyResult<()> {
        let outsiders = lock(&self.session.state).outsiders.take_all();
        self.settle_held(py, outsiders.into_iter().map(|one| (one.into_job(), Err(given_back(py)))).collect())
    }

    /// Ends the streams that are open: their reader gives the connection back.
    pub(crate) fn end_streams(&self, slf: &Bound<'_, Self>) -> PyResult<()> {
        for id in self.streaming.ids() {
            self.end_stream_of(slf, id)?;
        }
        Ok(())
    }

    fn end_stream_of(&self, slf: &Bound<'_, Self>, id: RequestId) -> PyResult<()> {
        let py = slf.py();
        if let Some(shared) = self.session.stream_of(id) {
            let gone = error::interface_error(py, "the stream's connection has been given back to its pool");
            self.end_stream(py, id, &shared, Some(gone), false)?;
            Self::cancel_request(slf, id)?;
        }
        Ok(())
    }

    /// Its pool is told what a page brought, before it is handed out.
    #[inline]
    pub(super) fn tell_pool(slf: &Bound<'_, Self>, outcomes: &[Outcome]) {
        if let Some((pool, slot)) = slf.get().pool.get() {
            crate::pool::PoolRouter::answered(pool.bind(slf.py()), *slot, slf, outcomes);
        }
    }

    /// Its pool may have more for it: what that is travels with whatever the page's readers asked.
    #[inline]
    pub(super) fn ask_pool(slf: &Bound<'_, Self>) -> PyResult<()> {
        use std::sync::atomic::Ordering;
        let this = slf.get();
        let Some((pool, slot)) = this.pool.get() else { return Ok(()) };
        let nested = this.delivering.swap(true, Ordering::Relaxed);
        let result = crate::pool::PoolRouter::delivered(pool.bind(slf.py()), *slot, slf);
        this.delivering.store(nested, Ordering::Relaxed);
        result
    }

    /// Writes what undoes its last user's doings; false when there is nothing to undo.
    pub(crate) fn begin_reset(slf: &Bound<'_, Self>, reset: &Reset) -> PyResult<bool> {
        let this = slf.get();
        let written = this.session.begin_reset(slf.py(), reset)?;
        if written {
            this.flush_soon(slf)?;
        }
        Ok(written)
    }

    /// A round trip that runs nothing.
    pub(super) fn round_trip(slf: &Bound<'_, Self>) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, "ping"))?;
        Self::submit(slf, Session::sync_request(id, Some(reply.clone_ref(py))), Place::OUTSIDE)?;
        Ok(reply)
    }
}
