//! From a call to a submitted request, or to its place among the calls that wait.

use std::sync::Arc;

use pgoxide_protocol::client::{Request, RequestId};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::AsyncClient;
use crate::arguments::{Arguments, Parameters, freeze};
use crate::awaitable::Awaitable;
use crate::call::{self, Asked};
use crate::held::{Call, Ended, Held};
use crate::job::{Job, Kind, Run, Verb};
use crate::portal;
use crate::prepared::Prepared;
use crate::pyimport;
use crate::stream::{Flow, Shared, Stream, StreamCall};
use crate::sync::lock;

impl AsyncClient {
    /// One statement: submitted when this returns.
    pub(crate) fn ask(slf: &Bound<'_, Self>, verb: Verb, asked: Asked<'_>) -> PyResult<Py<Awaitable>> {
        let py = slf.py();
        let this = slf.get();
        this.check_caller(py)?;
        this.session.check_open(py)?;
        let prepared = asked.prepared(&this.session)?;
        let mut run = Box::new(Run::new(prepared, verb, asked.into, asked.arguments.len()));
        run.isolate = asked.isolate;
        Self::begin(slf, run, verb.name(), &asked.arguments, asked.timeout)
    }

    /// Opens a portal.
    pub(crate) fn open_portal(slf: &Bound<'_, Self>, mut asked: Asked<'_>) -> PyResult<Py<Awaitable>> {
        slf.get().check_caller(slf.py())?;
        slf.get().session.check_open(slf.py())?;
        let run = portal::opening(slf.as_any(), &slf.get().session, &mut asked)?;
        Self::begin(slf, run, "portal", &asked.arguments, asked.timeout)
    }

    /// A request of another kind, in its turn.
    pub(crate) fn ask_for(
        slf: &Bound<'_, Self>,
        verb: &'static str,
        timeout: Option<f64>,
        make: impl FnOnce(RequestId, Py<Awaitable>) -> PyResult<Request<Job>>,
    ) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_caller(py)?;
        this.session.check_open(py)?;
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, verb))?;
        let request = make(id, reply.clone_ref(py)).inspect_err(|_| reply.get().close_unseen())?;
        Self::submit(slf, request)?;
        this.set_deadline(py, timeout, id)?;
        this.note_wait(py, id)?;
        Ok(reply)
    }

    fn begin(
        slf: &Bound<'_, Self>,
        run: Box<Run>,
        verb: &'static str,
        arguments: &Bound<'_, PyTuple>,
        timeout: Option<f64>,
    ) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, verb))?;
        if this.session.must_wait(&run) {
            if let Err(error) = this.hold(py, id, reply.clone_ref(py), run, arguments) {
                reply.get().close_unseen();
                return Err(error);
            }
        } else {
            let arguments = Arguments::Values(arguments);
            let made = this.session.run_request(py, id, run, arguments, Some(reply.clone_ref(py)));
            if let Err(error) = made.and_then(|request| this.session.submit(py, request)) {
                reply.get().close_unseen();
                // What its arguments' own code asked meanwhile may wait for the description it was to bring.
                Self::advance(slf)?;
                return Err(error);
            }
        }
        this.set_deadline(py, timeout, id)?;
        this.note_wait(py, id)?;
        this.flush_soon(slf)?;
        Ok(reply)
    }

    /// A stream of what was asked.
    pub(crate) fn open(slf: &Bound<'_, Self>, asked: Asked<'_>, batch: u32) -> PyResult<Py<Stream>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_caller(py)?;
        this.session.check_open(py)?;
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
        this.push_held(py, Held::new(py, id, None, Call::Stream(call)))?;
        this.set_deadline(py, asked.timeout, id)?;
        this.flush_soon(slf)?;
        Ok(stream)
    }

    /// Settles when the statement is described.
    pub(super) fn described(
        slf: &Bound<'_, Self>,
        prepared: Arc<Prepared>,
        timeout: Option<f64>,
    ) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, "describe"))?;
        this.push_held(py, Held::new(py, id, Some(reply.clone_ref(py)), Call::Described(prepared)))?;
        this.note_wait(py, id)?;
        this.set_deadline(py, timeout, id)?;
        this.flush_soon(slf)?;
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
    ) -> PyResult<()> {
        let call = if run.prepared.described().is_some() {
            let arguments = Arguments::Values(arguments);
            let request = self.session.run_request(py, id, run, arguments, Some(reply.clone_ref(py)))?;
            Call::Ready(Box::new(request))
        } else {
            let arguments = Parameters::Values(freeze(arguments, &run.prepared)?);
            Call::Run(run, arguments)
        };
        self.push_held(py, Held::new(py, id, Some(reply), call))
    }

    pub(super) fn push_held(&self, py: Python<'_>, held: Held) -> PyResult<()> {
        lock(&self.session.state).held.push(held);
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

    /// Submits a request made by somebody else than `ask`, in its turn.
    pub(crate) fn submit(slf: &Bound<'_, Self>, request: Request<Job>) -> PyResult<()> {
        let this = slf.get();
        let waiting = {
            let mut state = lock(&this.session.state);
            if state.held.is_empty() {
                state.conn.submit(request);
                None
            } else {
                Some(request)
            }
        };
        if let Some(request) = waiting {
            let held = Held::new(slf.py(), request.id, None, Call::Ready(Box::new(request)));
            this.push_held(slf.py(), held)?;
        }
        this.flush_soon(slf)
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
        match self.session.again(py, &mut job.kind, written) {
            Ok(call) => {
                let held = Held::new(py, id, reply, call);
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
