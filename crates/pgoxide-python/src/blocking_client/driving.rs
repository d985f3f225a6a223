//! One call after the other: a request is written, and read for until it has finished.

use std::sync::Arc;

use pgoxide_protocol::buffer::RecvBuffer;
use pgoxide_protocol::client::{Request, RequestId, Standing};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use super::ending::lost_line;
use super::{BlockingClient, Deadline};
use crate::arguments::{Arguments, Parameters};
use crate::batch::Batch;
use crate::call::{self, Asked};
use crate::error;
use crate::held::Call;
use crate::introspect::Deferral;
use crate::io::Moved;
use crate::job::{Job, Kind, Run, Verb};
use crate::portal;
use crate::prepared::{Prepared, Stage};
use crate::session::{Loan, Outcome, Session, fits_one_flight, goes_back};
use crate::stream::{Flow, Shared, Stream, StreamCall};
use crate::sync::lock;
use crate::transaction::Via;
use crate::turn::{self};

impl BlockingClient {
    pub(super) fn take_turn(&self, py: Python<'_>, deadline: Deadline) -> PyResult<turn::Held<'_>> {
        self.turn.take(py, deadline.at)?.ok_or_else(|| self.session.closed_error(py))
    }

    /// Takes the turn until it is given back.
    pub(super) fn keep_turn(&self, py: Python<'_>, deadline: Deadline) -> PyResult<()> {
        if self.turn.keep(py, deadline.at)? { Ok(()) } else { Err(self.session.closed_error(py)) }
    }

    pub(crate) fn default_timeout(&self) -> Option<f64> {
        self.default_timeout
    }

    #[inline]
    pub(crate) fn ask(&self, py: Python<'_>, verb: Verb, asked: Asked<'_>) -> PyResult<Py<PyAny>> {
        self.ask_at(py, verb, asked, Via::default())
    }

    /// The same, through a transaction block.
    pub(crate) fn ask_via(slf: &Bound<'_, Self>, verb: Verb, asked: Asked<'_>, via: Via<'_>) -> PyResult<Py<PyAny>> {
        slf.get().ask_at(slf.py(), verb, asked, via)
    }

    fn ask_at(&self, py: Python<'_>, verb: Verb, asked: Asked<'_>, via: Via<'_>) -> PyResult<Py<PyAny>> {
        let deadline = Deadline::after(asked.timeout.or(self.default_timeout));
        let (_turn, standing) = self.take_turn_at(py, deadline, via.token)?;
        let prepared = asked.prepared(&self.session)?;
        let mut run = Box::new(Run::new(prepared, verb, asked.into, asked.arguments.len()));
        self.session.refuse_by_hand(py, &run.prepared, standing)?;
        let mut arguments = asked.arguments;
        if run.prepared.stage() != Stage::Described && !fits_one_flight(&run, self.session.writes_iso_dates()) {
            let loan = self.session.borrow(py, &mut run, &arguments, standing)?;
            if !matches!(loan, Loan::Granted) {
                self.prepare(py, &run.prepared, deadline, standing)?;
            }
            if let Loan::Unfit(taken) = loan {
                arguments = taken;
            }
        }
        let standing = via.last_of(py, &self.session, &mut run, standing)?;
        let arguments = Arguments::Values(&arguments);
        let request = self.session.run_request(py, self.session.next_id(), run, arguments, None);
        self.run(py, request.inspect_err(|_| via.not_sent(&self.session))?, deadline, standing)
    }

    /// Rows as they come.
    pub(crate) fn stream_via(
        slf: &Bound<'_, Self>,
        asked: Asked<'_>,
        batch: i64,
        via: Option<&Py<PyAny>>,
    ) -> PyResult<Py<Stream>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_room(py)?;
        let size = call::batch_size(py, batch)?;
        let deadline = Deadline::after(asked.timeout.or(this.default_timeout));
        let prepared = asked.prepared(&this.session)?;
        prepared.refuse_copy(py, "stream")?;
        let id = this.session.next_id();
        let (stream, shared) = Stream::new_blocking(slf.clone().unbind(), id, Flow::Portal(size));
        let stream = Py::new(py, stream)?;
        let standing = this.keep_turn_at(py, deadline, via)?;
        this.turn.stream_opened(py);
        *lock(&this.streaming) = Some((id, deadline));
        let opened = this.open_stream(py, id, prepared, asked, shared, size, deadline, standing);
        if let Err(error) = opened {
            stream.get().refused();
            this.stream_forgotten(id);
            return Err(error);
        }
        Ok(stream)
    }

    /// A text of several statements, by the simple protocol.
    pub(crate) fn script_via(
        slf: &Bound<'_, Self>,
        sql: String,
        timeout: Option<f64>,
        via: Option<&Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        slf.get().script_at(slf.py(), sql, timeout, via)
    }

    pub(super) fn script_at(
        &self,
        py: Python<'_>,
        sql: String,
        timeout: Option<f64>,
        via: Option<&Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let deadline = Deadline::after(call::timeout(py, timeout)?.or(self.default_timeout));
        let (_turn, standing) = self.take_turn_at(py, deadline, via)?;
        let request = self.session.script_request(py, self.session.next_id(), sql, None)?;
        self.run(py, request, deadline, standing)
    }

    /// Opens a portal.
    pub(crate) fn open_portal(
        slf: &Bound<'_, Self>,
        mut asked: Asked<'_>,
        via: Option<&Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let deadline = Deadline::after(asked.timeout.or(this.default_timeout));
        let (_turn, standing) = this.take_turn_at(py, deadline, via)?;
        let run = portal::opening(slf.as_any(), &this.session, &mut asked, via)?;
        this.prepare(py, &run.prepared, deadline, standing)?;
        let arguments = Arguments::Values(&asked.arguments);
        let request = this.session.run_request(py, this.session.next_id(), run, arguments, None)?;
        this.run(py, request, deadline, standing)
    }

    /// A request of another kind, in its turn.
    pub(crate) fn ask_for(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
        via: Option<&Py<PyAny>>,
        make: impl FnOnce(RequestId) -> PyResult<Request<Job>>,
    ) -> PyResult<Py<PyAny>> {
        let deadline = Deadline::after(timeout.or(self.default_timeout));
        let (_turn, standing) = self.take_turn_at(py, deadline, via)?;
        self.run(py, make(self.session.next_id())?, deadline, standing)
    }

    /// Has a statement described, unless it is.
    pub(super) fn prepare(
        &self,
        py: Python<'_>,
        prepared: &Arc<Prepared>,
        deadline: Deadline,
        standing: Standing,
    ) -> PyResult<()> {
        // Once more when its name was taken.
        while prepared.stage() != Stage::Described {
            let request = self.session.prepare_request(py, vec![Arc::clone(prepared)])?;
            let mut job = self.drive(py, request, deadline, standing)?;
            let Kind::Prepare(prepare) = &mut job.kind else { continue };
            if !prepare.refused().is_empty() {
                self.session.statements.forget(py, prepared)?;
                return Err(self.session.explained(py, prepare.error(py, prepared), Some(prepared)));
            }
            let undescribed = prepare.take_undescribed();
            if !undescribed.is_empty() {
                self.ask_types(py, self.session.describe_types(py, undescribed)?, deadline)?;
            }
        }
        Ok(())
    }

    pub(super) fn run(
        &self,
        py: Python<'_>,
        request: Request<Job>,
        deadline: Deadline,
        standing: Standing,
    ) -> PyResult<Py<PyAny>> {
        self.open_first(py, &request, deadline, standing)?;
        let mut job = self.drive(py, request, deadline, standing)?;
        while let Some(written) = job.again.take() {
            let inside = goes_back(&job.kind).map(Standing::Inside);
            let call = self.session.again(py, &mut job.kind, &written)?;
            if let Some(inside) = inside {
                self.drive(py, self.session.back_request(py)?, deadline, inside)?;
            }
            let request = self.described_request(py, call, deadline, inside.unwrap_or(standing))?;
            job = self.drive(py, request, deadline, standing)?;
        }
        self.resolved(py, job, deadline)?.conclude(py, &self.session)
    }

    /// Opens the transaction block ahead of a request that cannot bring it along.
    pub(super) fn open_first(
        &self,
        py: Python<'_>,
        request: &Request<Job>,
        deadline: Deadline,
        standing: Standing,
    ) -> PyResult<()> {
        if !self.session.must_open_first(request, standing) {
            return Ok(());
        }
        let opening = self.session.opening_request(request.id);
        self.drive(py, opening, deadline, standing)?.conclude(py, &self.session).map(drop)
    }

    /// Asks for types until there is nothing more to ask. The call that waited, if one did.
    fn ask_types(&self, py: Python<'_>, request: Request<Job>, deadline: Deadline) -> PyResult<Option<Job>> {
        let mut next = Some(request);
        while let Some(request) = next.take() {
            let mut job = self.drive(py, request, deadline, Standing::Outside)?;
            let error = job.error.take();
            let Kind::Introspect(introspect) = job.kind else { break };
            let learnt = self.session.learn(py, *introspect, error)?;
            if let Some(refusal) = learnt.refusal {
                return Err(refusal);
            }
            if let Some((_, job)) = learnt.call {
                return Ok(Some(job));
            }
            next = learnt.again;
        }
        Ok(None)
    }

    /// A call that has run, once the types of its rows are known.
    fn resolved(&self, py: Python<'_>, job: Job, deadline: Deadline) -> PyResult<Job> {
        if !job.waits_for_types() {
            return Ok(job);
        }
        match self.session.defer(py, 0, job)? {
            Deferral::Complete(job) => Ok(job),
            Deferral::Asks(request) => {
                let done = self.ask_types(py, request, deadline)?;
                Ok(done.unwrap_or_else(|| Job::new(Kind::Taken, None)))
            }
        }
    }

    /// A call that is made again, because its statement was lost before anything of it ran.
    pub(super) fn described_request(
        &self,
        py: Python<'_>,
        call: Call,
        deadline: Deadline,
        standing: Standing,
    ) -> PyResult<Request<Job>> {
        let id = self.session.next_id();
        match call {
            Call::Run(run, given) => {
                self.prepare(py, &run.prepared, deadline, standing)?;
                self.session.run_request(py, id, run, given.bind(py), None)
            }
            Call::Stream(call) => {
                self.prepare(py, &call.run.prepared, deadline, standing)?;
                // The stream is known by its id.
                self.session.stream_request(py, call.shared.id, call)
            }
            Call::Batch(call) => self.described_batch(py, call.into_batch(), deadline, standing),
            Call::Ready(request) => Ok(*request),
            Call::Described(_) => Ok(Session::sync_request(id, None)),
        }
    }

    /// The request of a batch, once its statements are described.
    pub(super) fn described_batch(
        &self,
        py: Python<'_>,
        mut batch: Box<Batch>,
        deadline: Deadline,
        standing: Standing,
    ) -> PyResult<Request<Job>> {
        for statement in batch.missing() {
            if let Err(error) = self.prepare(py, &statement, deadline, standing) {
                batch.stop_at(&statement);
                batch.abort(py, &error);
                return Err(error);
            }
        }
        self.session.batch_request(py, self.session.next_id(), batch, None)
    }

    /// Submits a request and works until it has finished.
    pub(super) fn drive(
        &self,
        py: Python<'_>,
        request: Request<Job>,
        deadline: Deadline,
        standing: Standing,
    ) -> PyResult<Job> {
        let id = request.id;
        self.session.submit(py, request, standing)?;
        loop {
            match self.turn_once(py, Some(id), deadline.shorter_than_slice()) {
                Ok(Some(job)) => return Ok(job),
                Ok(None) if deadline.has_passed() => {
                    let late = self.too_late(py, id, format!("no answer within {} s", deadline.seconds));
                    return Err(self.give_up(py, id, late));
                }
                Ok(None) => {}
                Err(interrupt) if self.session.is_ended() => return self.last_word().ok_or(interrupt),
                Err(interrupt) => return Err(self.give_up(py, id, interrupt)),
            }
        }
    }

    /// Sends what there is, waits for something to arrive, reads it. The finished job when it was `id`'s; an error
    /// is a signal handler's, or the connection's end.
    pub(super) fn turn_once(&self, py: Python<'_>, id: Option<RequestId>, wait: Option<u32>) -> PyResult<Option<Job>> {
        let Some(mut page) = lock(&self.page).take() else {
            return Err(self.no_page(py, "the connection is being read by another call"));
        };
        let spare = page.spare();
        let room = spare.len();
        let moved = py.detach(|| self.exchange(spare, wait));
        // Before anything is made of what came: that may run the collector, and so a callback of the user's or of a WeakSet. What a
        // signal handler raises there, Ctrl-C too, Python reports and drops.
        let interrupted = py.check_signals();
        if self.session.is_ended() {
            // The handler has done it.
            return interrupted.and_then(|()| Err(self.session.closed_error(py)));
        }
        let mut outcomes = Vec::new();
        let fate = match moved {
            Ok(Moved::Bytes(count)) => {
                if let Some(gather) = self.gather.get() {
                    gather.received(count, room);
                }
                page.filled(count);
                self.session.process(py, &mut page, &mut outcomes)
            }
            Ok(Moved::WouldBlock) => Ok(()),
            Ok(Moved::End) => Err(error::connection_closed(py, "the server closed the connection")),
            Err(cause) => Err(lost_line(py, cause.into())),
        };
        self.put_back(page);
        let (finished, told) = self.act(py, outcomes, id);
        if let Err(reason) = fate {
            let ended = self.finish(py, reason);
            told.and(ended)?;
            // The answer may have come whole before the end.
            return finished.map_or_else(|| Err(self.session.closed_error(py)), |job| Ok(Some(job)));
        }
        // In every turn, for data may flow without a pause. What is raised is a signal handler's, not the connection's
        // end: the caller decides what becomes of the call.
        interrupted.and(told)?;
        if finished.is_none() {
            py.check_signals()?;
        }
        Ok(finished)
    }

    /// Why there is no page to read into: the connection has ended, or another call has it, as `otherwise` says.
    #[cold]
    pub(super) fn no_page(&self, py: Python<'_>, otherwise: &'static str) -> PyErr {
        if self.session.is_ended() { self.session.closed_error(py) } else { error::interface_error(py, otherwise) }
    }

    /// After a read. A connection that ended meanwhile reads no more, and may still be referred to for long.
    pub(super) fn put_back(&self, page: RecvBuffer) {
        if !self.session.is_ended() {
            *lock(&self.page) = Some(page);
        }
    }

    /// System calls only; the GIL is released. The descriptor is not closed meanwhile: see [`finish`](Self::finish).
    pub(super) fn exchange(&self, spare: &mut [u8], wait: Option<u32>) -> std::io::Result<Moved> {
        let socket = lock(&self.socket);
        let Some(socket) = *socket else { return Ok(Moved::End) };
        let (blocked, copying) = {
            let mut state = lock(&self.session.state);
            let copying = state.conn.copies_out();
            loop {
                state.conn.pump();
                if state.conn.outgoing().is_empty() {
                    break (false, copying);
                }
                match socket.send(state.conn.outgoing()) {
                    Ok(Moved::Bytes(count)) => state.conn.sent(count),
                    Ok(Moved::WouldBlock | Moved::End) => break (true, copying),
                    // What the server said before it went is still there to be read.
                    Err(error) => match socket.receive(spare) {
                        Ok(moved @ (Moved::Bytes(_) | Moved::End)) => return Ok(moved),
                        Ok(Moved::WouldBlock) | Err(_) => return Err(error),
                    },
                }
            }
        };
        if !blocked && wait == Some(0) {
            // Whoever waits for nothing looks once.
            return socket.receive(spare);
        }
        if !blocked && self.gather.get().is_some_and(|gather| gather.rest(copying)) {
            match socket.receive(spare)? {
                // It is slower than that.
                Moved::WouldBlock => {}
                moved => return Ok(moved),
            }
        } else if !blocked
            && let Some(spin) = self.spin.get()
            && let Some(moved) = spin.receive(socket, spare)?
        {
            return Ok(moved);
        }
        match (blocked, wait) {
            (false, None) => socket.receive_waiting(spare),
            (writing, wait) => {
                // Reading never stops while writing: whichever is possible first.
                socket.wait(writing, wait.unwrap_or(100))?;
                socket.receive(spare)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one caller, which took them apart")]
    pub(super) fn open_stream(
        &self,
        py: Python<'_>,
        id: RequestId,
        prepared: Arc<Prepared>,
        asked: Asked<'_>,
        shared: Arc<Shared>,
        size: u32,
        deadline: Deadline,
        standing: Standing,
    ) -> PyResult<()> {
        self.prepare(py, &prepared, deadline, standing)?;
        let run = Box::new(Run::new(prepared, Verb::All, asked.into, asked.arguments.len()));
        let call = StreamCall { run, arguments: Parameters::Values(asked.arguments.unbind()), shared, size };
        let request = self.session.stream_request(py, id, call)?;
        self.session.submit(py, request, standing)?;
        self.send_some();
        Ok(())
    }

    /// Reads what has arrived on an idle connection: notices, changed settings, and the server's last words. An error is a
    /// Ctrl-C, or what else a listener must not keep to itself.
    pub(super) fn look(&self, py: Python<'_>) -> PyResult<()> {
        let mut interrupted = Ok(());
        loop {
            let Some(mut page) = lock(&self.page).take() else { return interrupted };
            let moved = lock(&self.socket).map_or(Ok(Moved::WouldBlock), |socket| socket.receive(page.spare()));
            let mut outcomes = Vec::new();
            let fate = match moved {
                Ok(Moved::Bytes(count)) => {
                    page.filled(count);
                    self.session.process(py, &mut page, &mut outcomes)
                }
                Ok(Moved::WouldBlock) => {
                    self.put_back(page);
                    return interrupted;
                }
                Ok(Moved::End) => Err(error::connection_closed(py, "the server closed the connection")),
                Err(cause) => Err(lost_line(py, cause.into())),
            };
            self.put_back(page);
            let (_, told) = self.act(py, outcomes, None);
            let ended = fate.or_else(|reason| self.finish(py, reason));
            for error in [told, ended].into_iter().filter_map(Result::err) {
                if interrupted.is_ok() && !error.is_instance_of::<PyException>(py) {
                    interrupted = Err(error);
                } else {
                    // `closed` is a question; a listener's trouble is no answer to it.
                    error.write_unraisable(py, None);
                }
            }
            if self.session.is_ended() {
                return interrupted;
            }
        }
    }

    /// Acts on what a page brought: the finished job when it was `id`'s, and the first thing a listener raised, which keeps
    /// nothing of the rest from being acted on.
    pub(super) fn act(
        &self,
        py: Python<'_>,
        outcomes: Vec<Outcome>,
        id: Option<RequestId>,
    ) -> (Option<Job>, PyResult<()>) {
        let (mut finished, mut told) = (None, Ok(()));
        for outcome in outcomes {
            match outcome {
                Outcome::Finished(done, job, _) if Some(done) == id => finished = Some(job),
                Outcome::Finished(_, job, _) => {
                    // A stream that was given up before its end.
                    if let Some(shared) = &job.stream {
                        shared.end(None);
                    }
                }
                Outcome::Started | Outcome::FeedStarted(_) => {}
                Outcome::Batch { id, shared, rows, end, size } => {
                    self.session.stream_batch(id, &shared, rows, end, size);
                }
                Outcome::Copied { shared, batch, failure, .. } => {
                    shared.copied(batch, failure);
                }
                Outcome::Notice(fields) => {
                    let raised = self.tell(py, "notice", (fields,));
                    told = told.and(raised);
                }
                Outcome::Notification { channel, payload, process_id } => {
                    let raised = self.tell(py, "notification", (channel, payload, process_id));
                    told = told.and(raised);
                }
            }
        }
        (finished, told)
    }

    pub(super) fn tell<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        arguments: impl pyo3::call::PyCallArgs<'py>,
    ) -> PyResult<()> {
        if let Some(hooks) = self.hooks.get() {
            hooks.bind(py).call_method1(method, arguments)?;
        }
        Ok(())
    }
}
