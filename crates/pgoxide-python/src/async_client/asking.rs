//! From a call to a submitted request, or to its place among the calls that wait.

use std::sync::Arc;

use pgoxide_protocol::client::{Request, RequestId, Standing};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::AsyncClient;
use crate::arguments::{Arguments, Parameters, freeze};
use crate::awaitable::Awaitable;
use crate::call::{self, Asked};
use crate::held::{Call, Ended, Held};
use crate::job::{Job, Kind, Run, Verb};
use crate::outsiders::Outsider;
use crate::portal;
use crate::prepared::Prepared;
use crate::pyimport;
use crate::session::{Loan, Place, goes_back};
use crate::stream::{Flow, Shared, Stream, StreamCall};
use crate::sync::lock;
use crate::transaction::Via;

impl AsyncClient {
    /// One statement: submitted when this returns.
    #[inline]
    pub(crate) fn ask(slf: &Bound<'_, Self>, verb: Verb, asked: Asked<'_>) -> PyResult<Py<Awaitable>> {
        Self::ask_via(slf, verb, asked, Via::default())
    }

    /// The same, through a transaction block.
    pub(crate) fn ask_via(
        slf: &Bound<'_, Self>,
        verb: Verb,
        asked: Asked<'_>,
        via: Via<'_>,
    ) -> PyResult<Py<Awaitable>> {
        let py = slf.py();
        let this = slf.get();
        this.check_caller(py)?;
        let place = this.session.admit(py, via.token)?;
        let prepared = asked.prepared(&this.session)?;
        let mut run = Box::new(Run::new(prepared, verb, asked.into, asked.arguments.len()));
        run.isolate = asked.isolate;
        Self::begin(slf, run, verb.name(), &asked.arguments, asked.timeout, place, via)
    }

    /// Opens a portal.
    pub(crate) fn open_portal(
        slf: &Bound<'_, Self>,
        mut asked: Asked<'_>,
        via: Option<&Py<PyAny>>,
    ) -> PyResult<Py<Awaitable>> {
        slf.get().check_caller(slf.py())?;
        let place = slf.get().session.admit(slf.py(), via)?;
        let run = portal::opening(slf.as_any(), &slf.get().session, &mut asked, via)?;
        Self::begin(slf, run, "portal", &asked.arguments, asked.timeout, place, Via::default())
    }

    /// A request of another kind, in its turn.
    pub(crate) fn ask_for(
        slf: &Bound<'_, Self>,
        verb: &'static str,
        timeout: Option<f64>,
        via: Option<&Py<PyAny>>,
        make: impl FnOnce(RequestId, Py<Awaitable>) -> PyResult<Request<Job>>,
    ) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_caller(py)?;
        let place = this.session.admit(py, via)?;
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, verb))?;
        let request = make(id, reply.clone_ref(py)).inspect_err(|_| reply.get().close_unseen())?;
        let sent = Self::submit(slf, request, place).and_then(|()| this.set_deadline(py, timeout, id));
        Self::or_give_up(&reply, py, sent.and_then(|()| this.note_wait(py, id)))?;
        Ok(reply)
    }

    /// A call that raises instead of giving its reply (a signal's handler did, in the loop's own code) is given up: nobody can
    /// wait for it.
    #[inline]
    pub(super) fn or_give_up(reply: &Py<Awaitable>, py: Python<'_>, sent: PyResult<()>) -> PyResult<()> {
        if sent.is_err()
            && let Err(error) = Awaitable::give_up(reply.bind(py))
        {
            error.write_unraisable(py, None);
        }
        sent
    }

    fn begin<'py>(
        slf: &Bound<'py, Self>,
        mut run: Box<Run>,
        verb: &'static str,
        arguments: &Bound<'py, PyTuple>,
        timeout: Option<f64>,
        mut place: Place,
        via: Via<'_>,
    ) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        if let Place::Now(standing) = &mut place {
            this.session.refuse_by_hand(py, &run.prepared, *standing)?;
            *standing = via.last_of(py, &this.session, &mut run, *standing)?;
        }
        let id = this.session.next_id();
        let (at_once, taken) = match &place {
            Place::Now(standing) => Self::goes_at_once(slf, &mut run, arguments, *standing)?,
            Place::Later(_) => (false, None),
        };
        let arguments = taken.as_ref().unwrap_or(arguments);
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, verb))?;
        let sent = match place {
            Place::Now(standing) if at_once => this
                .session
                .run_request(py, id, run, Arguments::Values(arguments), Some(reply.clone_ref(py)))
                .and_then(|request| this.session.submit(py, request, standing)),
            place => this.hold(py, id, reply.clone_ref(py), run, arguments, place),
        };
        if let Err(error) = sent {
            reply.get().close_unseen();
            via.not_sent(&this.session);
            // What its arguments' own code asked meanwhile may wait for the description it was to bring.
            Self::advance(slf)?;
            return Err(error);
        }
        let noted = this.set_deadline(py, timeout, id).and_then(|()| this.note_wait(py, id));
        Self::or_give_up(&reply, py, noted.and_then(|()| this.flush_soon(slf)))?;
        Ok(reply)
    }

    /// Can it be written now, or must it wait for its turn or its description? Its arguments, if they have been taken.
    #[inline]
    pub(super) fn goes_at_once<'py>(
        slf: &Bound<'py, Self>,
        run: &mut Run,
        arguments: &Bound<'py, PyTuple>,
        standing: Standing,
    ) -> PyResult<(bool, Option<Bound<'py, PyTuple>>)> {
        let session = &slf.get().session;
        if !session.must_wait(run) {
            return Ok((true, None));
        }
        match session.borrow(slf.py(), run, arguments, standing) {
            Ok(Loan::Granted) => Ok((true, None)),
            Ok(Loan::Refused) => Ok((false, None)),
            Ok(Loan::Unfit(taken)) => Ok((false, Some(taken))),
            Err(error) => {
                // What its arguments' own code asked meanwhile has waited for it.
                Self::advance(slf)?;
                Err(error)
            }
        }
    }

    /// A stream of what was asked.
    pub(crate) fn open(slf: &Bound<'_, Self>, asked: Asked<'_>, batch: i64) -> PyResult<Py<Stream>> {
        Self::stream_via(slf, asked, batch, None)
    }

    /// Settles when the statement is described.
    pub(super) fn described(
        slf: &Bound<'_, Self>,
        prepared: Arc<Prepared>,
        timeout: Option<f64>,
        place: Place,
    ) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, "describe"))?;
        this.push_held(py, Held::new(py, id, Some(reply.clone_ref(py)), Call::Described(prepared)), place)?;
        let noted = this.note_wait(py, id).and_then(|()| this.set_deadline(py, timeout, id));
        Self::or_give_up(&reply, py, noted.and_then(|()| this.flush_soon(slf)))?;
        Ok(reply)
    }

    /// Keeps a call until its statement is described, or until those before it have gone.
    pub(super) fn hold(
        &self,
        py: Python<'_>,
        id: RequestId,
        reply: Py<Awaitable>,
        run: Box<Run>,
        arguments: &Bound<'_, PyTuple>,
        place: Place,
    ) -> PyResult<()> {
        let call = if run.prepared.described().is_some() {
            let arguments = Arguments::Values(arguments);
            let request = self.session.run_request(py, id, run, arguments, Some(reply.clone_ref(py)))?;
            Call::Ready(Box::new(request))
        } else {
            let arguments = Parameters::Values(freeze(arguments, &run.prepared)?);
            Call::Run(run, arguments)
        };
        self.push_held(py, Held::new(py, id, Some(reply), call), place)
    }

    pub(super) fn push_held(&self, py: Python<'_>, held: Held, place: Place) -> PyResult<()> {
        match place {
            Place::Now(standing) => lock(&self.session.state).held.push(held.standing_at(standing)),
            Place::Later(caller) => {
                lock(&self.session.state).outsiders.push(Outsider::call(caller, held));
                return Ok(());
            }
        }
        self.settle_held(py, self.session.advance_held(py))
    }

    /// Lets go what no longer has to wait: something before it is gone.
    pub(super) fn advance(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if lock(&this.session.state).held.is_empty() {
            return Ok(());
        }
        this.settle_held(slf.py(), this.session.advance_held(slf.py()))?;
        this.flush_soon(slf)
    }

    /// Rows as they come.
    pub(crate) fn stream_via(
        slf: &Bound<'_, Self>,
        asked: Asked<'_>,
        batch: i64,
        via: Option<&Py<PyAny>>,
    ) -> PyResult<Py<Stream>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_caller(py)?;
        let place = this.session.admit(py, via)?;
        let size = call::batch_size(py, batch)?;
        let prepared = asked.prepared(&this.session)?;
        prepared.refuse_copy(py, "stream")?;
        let run = Box::new(Run::new(prepared, Verb::All, asked.into, asked.arguments.len()));
        let id = this.session.next_id();
        let (stream, shared) = Stream::new_async(slf.clone().unbind(), id, Flow::Portal(size));
        let stream = Py::new(py, stream)?;
        let reader = pyimport::current_task(py)?.call0()?.unbind();
        let arguments = Parameters::Values(freeze(&asked.arguments, &run.prepared)?);
        let call = StreamCall { run, arguments, shared, size };
        this.note_wait(py, id)?;
        this.streaming.opened(py, id, reader);
        this.push_held(py, Held::new(py, id, None, Call::Stream(call)), place)?;
        this.set_deadline(py, asked.timeout, id)?;
        this.flush_soon(slf)?;
        Ok(stream)
    }

    /// A text of several statements, by the simple protocol.
    pub(crate) fn script_via(
        slf: &Bound<'_, Self>,
        sql: String,
        timeout: Option<f64>,
        via: Option<&Py<PyAny>>,
    ) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        let timeout = call::timeout(py, timeout)?;
        this.check_caller(py)?;
        let place = this.session.admit(py, via)?;
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, "execute_script"))?;
        let request = this.session.script_request(py, id, sql, Some(reply.clone_ref(py)));
        let sent = request.and_then(|request| Self::submit(slf, request, place));
        let noted = sent.and_then(|()| this.set_deadline(py, timeout, id));
        Self::or_give_up(&reply, py, noted.and_then(|()| this.note_wait(py, id)))?;
        Ok(reply)
    }

    /// Submits a request made by somebody else than `ask`, in its turn.
    pub(crate) fn submit(slf: &Bound<'_, Self>, request: Request<Job>, place: Place) -> PyResult<()> {
        let this = slf.get();
        match place {
            Place::Now(standing) => {
                if this.session.must_open_first(&request, standing) {
                    let opening = this.session.opening_request(request.id);
                    this.submit_now(slf.py(), opening, standing)?;
                }
                this.submit_now(slf.py(), request, standing)?;
            }
            later @ Place::Later(_) => {
                let held = Held::new(slf.py(), request.id, None, Call::Ready(Box::new(request)));
                this.push_held(slf.py(), held, later)?;
            }
        }
        this.flush_soon(slf)
    }

    fn submit_now(&self, py: Python<'_>, request: Request<Job>, standing: Standing) -> PyResult<()> {
        if lock(&self.session.state).held.is_empty() {
            return self.session.submit(py, request, standing);
        }
        let held = Held::new(py, request.id, None, Call::Ready(Box::new(request)));
        self.push_held(py, held, Place::Now(standing))
    }

    pub(super) fn settle_held(&self, py: Python<'_>, ended: Vec<Ended>) -> PyResult<()> {
        for (mut job, result) in ended {
            if let (Kind::Batch(batch), Err(error)) = (&mut job.kind, &result) {
                batch.abort(py, error);
            }
            if let Some(shared) = job.stream.take() {
                self.end_stream(py, shared.id, &shared, result.err(), false)?;
                continue;
            }
            if let Some(reply) = job.reply.take()
                && reply.get().settle(result)
            {
                Awaitable::wake(reply.into_bound(py), false)?;
            }
        }
        Ok(())
    }

    /// A call whose statement was lost before anything of it ran is made a second time.
    pub(super) fn make_again(&self, py: Python<'_>, id: RequestId, mut job: Job, written: &[u8]) -> PyResult<()> {
        let reply = job.reply.take();
        let inside = goes_back(&job.kind);
        let again = self.session.again(py, &mut job.kind, written);
        let back = |call: Call| self.session.go_back(py, inside, &call).map(|standing| (call, standing));
        match again.and_then(back) {
            Ok((call, standing)) => {
                let held = Held::new(py, id, reply, call).standing_at(standing);
                lock(&self.session.state).held.push_again(held);
                self.settle_held(py, self.session.advance_held(py))
            }
            Err(error) => {
                job.reply = reply;
                self.settle_held(py, vec![(job, Err(error))])
            }
        }
    }

    /// Tells a stream's reader that it is over.
    pub(crate) fn end_stream(
        &self,
        py: Python<'_>,
        id: RequestId,
        shared: &Shared,
        error: Option<PyErr>,
        direct: bool,
    ) -> PyResult<()> {
        self.stream_ended(id);
        match shared.end(error) {
            Some(waiting) if waiting.get().settle(Ok(py.None())) => Awaitable::wake(waiting.into_bound(py), direct),
            _ => Ok(()),
        }
    }
}
