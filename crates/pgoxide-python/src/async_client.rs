//! The asynchronous client: the session on the caller's own event loop.
//!
//! The loop tells when the descriptor can be read or written; everything between a call and its bytes, and between
//! bytes and a woken task, happens in one call into this file. Requests made while others are in flight are written
//! together, once per turn of the loop.

use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use pgoxide_protocol::buffer::RecvBuffer;
use pgoxide_protocol::client::{CancelDelivered, CancelOutcome, Limits, Request, RequestId};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBytes, PyDict, PyString, PyTuple, PyWeakrefMethods, PyWeakrefReference};

use crate::arguments::freeze;
use crate::awaitable::{Awaitable, LoopOf};
use crate::batch::BatchBuilder;
use crate::call::{self, Asked};
use crate::feed::Feed;
use crate::held::{BatchCall, Call, Ended, Held};
use crate::io::{Moved, Socket};
use crate::job::{Job, Kind, Run, Verb};
use crate::open_streams::OpenStreams;
use crate::prepared::Entry;
use crate::session::{Options, Outcome, Session, State};
use crate::stream::{Shared, Stream, StreamCall};
use crate::sync::lock;
use crate::{error, pyimport};

/// What one read takes at most. Large enough that a bulk result costs few turns of the loop, small enough to stay
/// in the second-level cache while its rows are decoded.
const PAGE: usize = 128 << 10;

/// What a transport is given at a time: it says that it holds enough only between two writes.
const HAND_OVER: usize = 256 << 10;

/// Reads in one turn before other descriptors of the loop get theirs.
const READS_PER_TURN: usize = 8;

/// A call that must have its answer by then. Ordered so that the earliest is the greatest.
struct Deadline(Instant, RequestId, f64);

impl PartialEq for Deadline {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 && self.1 == other.1
    }
}
impl Eq for Deadline {}
impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.0, other.1).cmp(&(self.0, self.1))
    }
}

/// Where the bytes go.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// Not yet, or no longer.
    None,
    /// Our own descriptor, non-blocking.
    Descriptor(Socket),
    /// A transport that takes bytes objects: loops without `add_reader`, or TLS by Python.
    Transport,
}

/// The core of `AsyncConnection`: its verbs, and what a transport needs.
#[pyclass(frozen, subclass, weakref, module = "pgoxide._core")]
pub(crate) struct AsyncClient {
    pub(crate) session: Session,
    line: Mutex<Line>,
    /// Out while it is read into or decoded from.
    page: Mutex<Option<RecvBuffer>>,
    event_loop: OnceLock<Py<PyAny>>,
    /// A future of the loop that has finished long ago, see `Awaitable::wake`.
    finished: OnceLock<Py<PyAny>>,
    /// See `Awaitable::get_loop`.
    loop_of: OnceLock<Py<LoopOf>>,
    /// The transport: `want_write`, `write`, `cancel`, `arm`, `ended`, `notice`, `notification`.
    hooks: OnceLock<Py<PyAny>>,
    /// What the loop holds; see `Reader`.
    reader: OnceLock<Py<Reader>>,
    starting: Mutex<Option<Py<Awaitable>>>,
    /// Answers are being handed out: what is asked meanwhile is written afterwards, together.
    delivering: AtomicBool,
    flush_armed: AtomicBool,
    write_armed: AtomicBool,
    /// The transport holds as many bytes as it wants to.
    transport_full: AtomicBool,
    deadlines: Mutex<BinaryHeap<Deadline>>,
    /// Sources that wait until less is unsent.
    room_wanted: Mutex<Vec<Py<Awaitable>>>,
    max_queued: usize,
    /// Another call of a task that reads one would wait for itself; other tasks' calls wait.
    streaming: OpenStreams,
    default_timeout: Option<f64>,
}

impl AsyncClient {
    pub(crate) fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.event_loop.get() {
            Some(event_loop) => Ok(event_loop.bind(py).clone()),
            None => Err(error::interface_error(py, "the connection has not been opened")),
        }
    }

    pub(crate) fn loop_of<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, LoopOf>> {
        if let Some(loop_of) = self.loop_of.get() {
            return Ok(loop_of.bind(py).clone());
        }
        let made = Bound::new(py, LoopOf(self.event_loop(py)?.unbind()))?;
        let _ = self.loop_of.set(made.clone().unbind()); // made twice, both are alike
        Ok(made)
    }

    pub(crate) fn finished_future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(finished) = self.finished.get() {
            return Ok(finished.bind(py).clone());
        }
        let made = pyimport::future(py)?.call((), Some(&[("loop", self.event_loop(py)?)].into_py_dict(py)?))?;
        made.call_method1(intern!(py, "set_result"), (py.None(),))?;
        // Both are alike, should the call above have come back here.
        let _ = self.finished.set(made.clone().unbind());
        Ok(made)
    }

    fn reader<'a, 'py>(&'a self, py: Python<'py>) -> PyResult<&'a Bound<'py, Reader>> {
        match self.reader.get() {
            Some(reader) => Ok(reader.bind(py)),
            None => Err(error::interface_error(py, "the connection has not been opened")),
        }
    }

    fn hooks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.hooks.get() {
            Some(hooks) => Ok(hooks.bind(py).clone()),
            None => Err(error::interface_error(py, "the connection has not been opened")),
        }
    }

    /// `loop.call_soon(function, argument, context=context)`.
    pub(crate) fn call_soon(
        &self,
        py: Python<'_>,
        function: &Bound<'_, PyAny>,
        argument: &Bound<'_, PyAny>,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let options = PyDict::new(py);
        if let Some(context) = context {
            options.set_item(intern!(py, "context"), context)?;
        }
        self.event_loop(py)?.call_method(intern!(py, "call_soon"), (function, argument), Some(&options))?;
        Ok(())
    }

    /// Raises unless the caller is a task or callback of the connection's own loop.
    #[inline]
    fn check_caller(&self, py: Python<'_>) -> PyResult<()> {
        self.check_loop(py)?;
        self.check_stream(py)
    }

    /// As `check_caller`, for the task that reads a stream.
    pub(crate) fn check_loop(&self, py: Python<'_>) -> PyResult<()> {
        let running = pyimport::running_loop(py)?.call0()?;
        match self.event_loop.get() {
            Some(own) if running.is(own) => Ok(()),
            own => Err(wrong_loop(py, &running, own.is_some())),
        }
    }

    /// Raises when the current task has a stream open on this connection.
    #[inline]
    fn check_stream(&self, py: Python<'_>) -> PyResult<()> {
        let readers = self.streaming.readers(py);
        if readers.is_empty() {
            return Ok(());
        }
        let current = pyimport::current_task(py)?.call0()?;
        if !current.is_none() && readers.iter().any(|reader| current.is(reader)) {
            return Err(own_stream(py));
        }
        Ok(())
    }

    /// A call has been made; if a stream is open, it is told after a while what it waits for.
    #[inline]
    fn note_wait(&self, py: Python<'_>, id: RequestId) -> PyResult<()> {
        if self.streaming.waits(py, id)
            && let Some(due) = self.streaming.due()
            && lock(&self.deadlines).peek().is_none_or(|Deadline(first, ..)| due < *first)
        {
            let seconds = due.saturating_duration_since(Instant::now()).as_secs_f64();
            self.hooks(py)?.call_method1(intern!(py, "arm"), (seconds,))?;
        }
        Ok(())
    }

    /// The stream is over or given up.
    pub(crate) fn stream_ended(&self, id: RequestId) {
        self.streaming.ended(id);
    }

    /// One statement: submitted when this returns.
    fn ask(slf: &Bound<'_, Self>, verb: Verb, asked: Asked<'_>) -> PyResult<Py<Awaitable>> {
        let py = slf.py();
        let this = slf.get();
        this.check_caller(py)?;
        this.session.check_open(py)?;
        let prepared = this.session.statements.get(&asked.sql, &asked.types)?;
        let mut run = Box::new(Run::new(prepared, verb, asked.into, asked.arguments.len()));
        run.isolate = asked.isolate;
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, verb.name()))?;
        if this.session.must_wait(&run) {
            if let Err(error) = this.hold(py, id, reply.clone_ref(py), run, &asked.arguments) {
                reply.get().close_unseen();
                return Err(error);
            }
        } else {
            let made = this.session.run_request(py, id, run, &asked.arguments, Some(reply.clone_ref(py)));
            if let Err(error) = made.and_then(|request| this.session.submit(py, request)) {
                reply.get().close_unseen();
                // What its arguments' own code asked meanwhile may wait for the description it was to bring.
                Self::advance(slf)?;
                return Err(error);
            }
        }
        this.set_deadline(py, asked.timeout, id)?;
        this.note_wait(py, id)?;
        this.flush_soon(slf)?;
        Ok(reply)
    }

    /// Keeps a call until its statement is described, or until those before it have gone.
    fn hold(
        &self,
        py: Python<'_>,
        id: RequestId,
        reply: Py<Awaitable>,
        run: Box<Run>,
        arguments: &Bound<'_, PyTuple>,
    ) -> PyResult<()> {
        let call = if run.prepared.described().is_some() {
            let request = self.session.run_request(py, id, run, arguments, Some(reply.clone_ref(py)))?;
            Call::Ready(Box::new(request))
        } else {
            Call::Run(run, freeze(arguments)?)
        };
        self.push_held(py, Held::new(py, id, Some(reply), call))
    }

    fn push_held(&self, py: Python<'_>, held: Held) -> PyResult<()> {
        lock(&self.session.state).held.push(held);
        self.settle_held(py, self.session.advance_held(py))
    }

    /// Lets go what no longer has to wait: something before it is gone.
    fn advance(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if lock(&this.session.state).held.is_empty() {
            return Ok(());
        }
        this.settle_held(slf.py(), this.session.advance_held(slf.py()))?;
        this.flush_soon(slf)
    }

    /// Submits a request made by somebody else than `ask`, in its turn.
    fn submit(slf: &Bound<'_, Self>, request: Request<Job>) -> PyResult<()> {
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

    fn settle_held(&self, py: Python<'_>, ended: Vec<Ended>) -> PyResult<()> {
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

    // ---- writing ---------------------------------------------------------------------------------------------

    /// Sends now when nothing is in flight; else once in this turn of the loop, with whatever else it brings.
    #[inline]
    fn flush_soon(&self, slf: &Bound<'_, Self>) -> PyResult<()> {
        self.reader(slf.py())?.get().keep(slf);
        if self.delivering.load(Ordering::Relaxed) {
            return Ok(());
        }
        if lock(&self.session.state).conn.is_quiet() {
            return self.flush(slf.py());
        }
        if !self.flush_armed.swap(true, Ordering::Relaxed) {
            let flush = self.reader(slf.py())?.getattr(intern!(slf.py(), "flush"))?;
            self.event_loop(slf.py())?.call_method1(intern!(slf.py(), "call_soon"), (flush,))?;
        }
        Ok(())
    }

    /// None when a source may send more at once; else settles when it may.
    pub(crate) fn room(slf: &Bound<'_, Self>) -> PyResult<Option<Py<Awaitable>>> {
        let (py, this) = (slf.py(), slf.get());
        if this.has_room() || this.session.is_ended() {
            return Ok(None);
        }
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), 0, "room"))?;
        reply.get().close_unseen();
        lock(&this.room_wanted).push(reply.clone_ref(py));
        Ok(Some(reply))
    }

    fn has_room(&self) -> bool {
        lock(&self.session.state).conn.outgoing().len() < self.max_queued
    }

    fn tell_of_room(&self, py: Python<'_>) -> PyResult<()> {
        if lock(&self.room_wanted).is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut *lock(&self.room_wanted));
        for reply in waiting {
            if reply.get().settle(Ok(py.None())) {
                Awaitable::wake(reply.into_bound(py), false)?;
            }
        }
        Ok(())
    }

    /// Writes what may be written.
    pub(crate) fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let line = *lock(&self.line);
        match line {
            Line::None => Ok(()),
            Line::Descriptor(socket) => self.flush_descriptor(py, socket),
            Line::Transport => self.flush_transport(py),
        }
    }

    fn flush_descriptor(&self, py: Python<'_>, socket: Socket) -> PyResult<()> {
        let outcome = {
            let mut state = lock(&self.session.state);
            loop {
                state.conn.pump();
                if state.conn.outgoing().is_empty() {
                    break Ok(false);
                }
                match socket.send(state.conn.outgoing()) {
                    Ok(Moved::Bytes(count)) => state.conn.sent(count),
                    Ok(Moved::WouldBlock | Moved::End) => break Ok(true),
                    Err(error) => break Err(error),
                }
            }
        };
        match outcome {
            Ok(more) => {
                self.want_write(py, more)?;
                if more { Ok(()) } else { self.tell_of_room(py) }
            }
            Err(cause) => self.lost(py, cause.into()),
        }
    }

    /// Lets a forgotten connection be collected once nothing is in flight.
    fn release_if_idle(&self, py: Python<'_>) {
        if self.session.is_quiet()
            && let Some(reader) = self.reader.get()
        {
            reader.bind(py).get().release();
        }
    }

    /// Once when the kernel's or the transport's buffer is full, and once when all has left.
    fn want_write(&self, py: Python<'_>, wanted: bool) -> PyResult<()> {
        if self.write_armed.swap(wanted, Ordering::Relaxed) != wanted {
            self.hooks(py)?.call_method1(intern!(py, "want_write"), (wanted,))?;
        }
        Ok(())
    }

    /// Hands bytes over until the transport says that it holds enough.
    fn flush_transport(&self, py: Python<'_>) -> PyResult<()> {
        let more = loop {
            let bytes = {
                let mut state = lock(&self.session.state);
                state.conn.pump();
                if state.conn.outgoing().is_empty() {
                    break false;
                }
                if self.transport_full.load(Ordering::Relaxed) {
                    break true;
                }
                let outgoing = state.conn.outgoing();
                let bytes = outgoing[..outgoing.len().min(HAND_OVER)].to_vec();
                state.conn.sent(bytes.len());
                bytes
            };
            self.hooks(py)?.call_method1(intern!(py, "write"), (PyBytes::new(py, &bytes),))?;
        };
        self.want_write(py, more)?;
        if more { Ok(()) } else { self.tell_of_room(py) }
    }

    // ---- reading ---------------------------------------------------------------------------------------------

    fn read(slf: &Bound<'_, Self>, socket: Socket) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        // Out already: somebody runs the loop inside a callback of ours. The outer read goes on.
        let Some(mut page) = lock(&this.page).take() else { return Ok(()) };
        let mut outcomes = Vec::with_capacity(lock(&this.session.state).conn.unfinished().min(128));
        let mut end = None;
        for _ in 0..READS_PER_TURN {
            let spare = page.spare();
            let room = spare.len();
            match socket.receive(spare) {
                Ok(Moved::Bytes(count)) => {
                    page.filled(count);
                    if let Err(error) = this.session.process(py, &mut page, &mut outcomes) {
                        end = Some(error);
                        break;
                    }
                    if count < room {
                        break;
                    }
                }
                Ok(Moved::WouldBlock) => break,
                Ok(Moved::End) => {
                    end = Some(error::connection_closed(py, "the server closed the connection"));
                    break;
                }
                Err(cause) => {
                    end = Some(lost_line(py, cause.into()));
                    break;
                }
            }
        }
        this.put_back(page);
        let delivered = this.deliver(py, outcomes, true);
        if let Some(reason) = end {
            this.finish(py, reason)?;
            return delivered;
        }
        this.flush(py)?;
        this.release_if_idle(py);
        delivered
    }

    fn received(slf: &Bound<'_, Self>, bytes: &[u8]) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let Some(mut page) = lock(&this.page).take() else {
            return Err(error::interface_error(py, "the event loop was run inside one of the connection's callbacks"));
        };
        let (mut outcomes, mut end, mut rest) = (Vec::new(), None, bytes);
        while !rest.is_empty() && end.is_none() {
            let spare = page.spare();
            let count = spare.len().min(rest.len());
            spare[..count].copy_from_slice(&rest[..count]);
            page.filled(count);
            rest = &rest[count..];
            end = this.session.process(py, &mut page, &mut outcomes).err();
        }
        this.put_back(page);
        let delivered = this.deliver(py, outcomes, true);
        match end {
            Some(reason) => this.finish(py, reason)?,
            None => this.flush(py)?,
        }
        this.release_if_idle(py);
        delivered
    }

    /// After a read. A connection that ended meanwhile reads no more, and may still be referred to for long.
    fn put_back(&self, page: RecvBuffer) {
        if !self.session.is_ended() {
            *lock(&self.page) = Some(page);
        }
    }

    /// Acts on what a page brought. `direct`: called by the loop, no task runs.
    ///
    /// A task that ends with KeyboardInterrupt or SystemExit raises here; the others still get their answers.
    fn deliver(&self, py: Python<'_>, outcomes: Vec<Outcome>, direct: bool) -> PyResult<()> {
        let nested = self.delivering.swap(true, Ordering::Relaxed);
        let mut result = Ok(());
        for outcome in outcomes {
            let acted = self.act(py, outcome, direct && !nested && result.is_ok());
            if result.is_ok() {
                result = acted;
            }
        }
        self.delivering.store(nested, Ordering::Relaxed);
        result
    }

    fn act(&self, py: Python<'_>, outcome: Outcome, direct: bool) -> PyResult<()> {
        match outcome {
            Outcome::Finished(id, mut job, abandoned) => {
                if let Kind::Prepare(prepare) = &job.kind {
                    let ended = self.session.prepared(py, prepare)?;
                    return self.settle_held(py, ended);
                }
                // A first flight may have carried the description that held calls wait for, or failed to.
                if !lock(&self.session.state).held.is_empty() {
                    let ended = self.session.advance_held(py);
                    self.settle_held(py, ended)?;
                }
                if let Kind::Fed(fed) = &mut job.kind
                    && let Some(started) = fed.started.take()
                    && started.get().settle(Ok(false.into_pyobject(py)?.to_owned().into_any().unbind()))
                {
                    Awaitable::wake(started.into_bound(py), direct)?;
                }
                if let Some(shared) = job.stream.take() {
                    let error = job.error.take();
                    return self.end_stream(py, id, &shared, error, direct);
                }
                let Some(reply) = job.reply.take() else { return Ok(()) };
                if abandoned || !reply.get().is_pending() {
                    return Ok(());
                }
                let result = job.conclude(py);
                // Before the task goes on: what the job holds (its statement) is free again.
                drop(job);
                if reply.get().settle(result) { Awaitable::wake(reply.into_bound(py), direct) } else { Ok(()) }
            }
            Outcome::Started => {
                let Some(reply) = lock(&self.starting).take() else { return Ok(()) };
                if reply.get().settle(Ok(py.None())) { Awaitable::wake(reply.into_bound(py), direct) } else { Ok(()) }
            }
            Outcome::FeedStarted(id) => {
                let started = match lock(&self.session.state).conn.job(id).map(|job| &mut job.kind) {
                    Some(Kind::Fed(fed)) => fed.started.take(),
                    _ => None,
                };
                let Some(started) = started else { return Ok(()) };
                let yes = true.into_pyobject(py)?.to_owned().into_any().unbind();
                if started.get().settle(Ok(yes)) { Awaitable::wake(started.into_bound(py), direct) } else { Ok(()) }
            }
            Outcome::Batch { id, shared, rows, more, size } => {
                match self.session.stream_batch(id, &shared, rows, more, size) {
                    Some(waiting) if waiting.get().settle(Ok(py.None())) => {
                        Awaitable::wake(waiting.into_bound(py), direct)
                    }
                    _ => Ok(()),
                }
            }
            Outcome::Notice(fields) => {
                self.hooks(py)?.call_method1(intern!(py, "notice"), (fields,))?;
                Ok(())
            }
            Outcome::Notification { channel, payload, process_id } => {
                self.hooks(py)?.call_method1(intern!(py, "notification"), (channel, payload, process_id))?;
                Ok(())
            }
        }
    }

    // ---- the end ---------------------------------------------------------------------------------------------

    /// The line cannot be written any more. What the server said before it went is still there to be read.
    fn lost(&self, py: Python<'_>, cause: PyErr) -> PyResult<()> {
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
    fn finish(&self, py: Python<'_>, reason: PyErr) -> PyResult<()> {
        *lock(&self.line) = Line::None;
        let (first, jobs) = self.session.end(py, reason);
        drop(lock(&self.page).take());
        let starting = lock(&self.starting).take();
        let mut fed_starts = std::mem::take(&mut *lock(&self.room_wanted));
        let waiting = jobs.into_iter().filter_map(|mut job| {
            let reply = job.reply.take();
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
            reply
        });
        let waiting: Vec<_> = waiting.collect();
        // A loop that was closed in the middle runs nobody any more.
        let runs = match self.event_loop.get() {
            Some(event_loop) => !event_loop.bind(py).call_method0(intern!(py, "is_closed"))?.is_truthy()?,
            None => false,
        };
        if let Some(starting) = starting
            && starting.get().settle(Err(self.session.reason(py)))
            && runs
        {
            Awaitable::wake(starting.into_bound(py), false)?;
        }
        for reply in waiting.into_iter().chain(fed_starts) {
            if reply.get().settle(Err(self.session.closed_error(py))) && runs {
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

    // ---- cancelling ------------------------------------------------------------------------------------------

    /// The awaitable of request `id` was cancelled.
    pub(crate) fn cancel_request(slf: &Bound<'_, Self>, id: RequestId) -> PyResult<()> {
        let this = slf.get();
        if let Some(stream) = this.session.stream_of(id) {
            stream.cancel();
            this.stream_ended(id);
        }
        let held = lock(&this.session.state).held.remove(id);
        if held.is_some() {
            drop(held);
            return Self::advance(slf);
        }
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

    /// Has the transport send a CancelRequest, and tell its end by `_cancel_delivered`.
    fn send_cancel(&self, slf: &Bound<'_, Self>, id: RequestId) -> PyResult<()> {
        self.hooks(slf.py())?.call_method1(intern!(slf.py(), "cancel"), (slf, id))?;
        Ok(())
    }

    // ---- deadlines -------------------------------------------------------------------------------------------

    fn set_deadline(&self, py: Python<'_>, timeout: Option<f64>, id: RequestId) -> PyResult<()> {
        let Some(seconds) = timeout.or(self.default_timeout) else { return Ok(()) };
        let wait = Duration::try_from_secs_f64(seconds).ok();
        let Some(due) = wait.and_then(|wait| Instant::now().checked_add(wait)) else { return Ok(()) };
        let earliest = {
            let mut deadlines = lock(&self.deadlines);
            let earliest = deadlines.peek().is_none_or(|Deadline(first, ..)| due < *first)
                && self.streaming.due().is_none_or(|first| due < first);
            self.forget_answered(&mut deadlines);
            deadlines.push(Deadline(due, id, seconds));
            earliest
        };
        if earliest {
            self.hooks(py)?.call_method1(intern!(py, "arm"), (seconds,))?;
        }
        Ok(())
    }
}

/// What the event loop holds of a connection. It refers to it weakly, so that one that was forgotten open can be
/// collected and say so; while requests are in flight strongly, so that tasks waiting for them live.
#[pyclass(frozen, module = "pgoxide._core")]
pub(crate) struct Reader {
    client: Py<PyWeakrefReference>,
    busy: Mutex<Option<Py<AsyncClient>>>,
}

impl Reader {
    #[inline]
    fn keep(&self, client: &Bound<'_, AsyncClient>) {
        let mut busy = lock(&self.busy);
        if busy.is_none() {
            *busy = Some(client.clone().unbind());
        }
    }

    fn release(&self) {
        let held = lock(&self.busy).take();
        drop(held);
    }

    fn client<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, AsyncClient>>> {
        self.client.bind(py).upgrade_as::<AsyncClient>()
    }
}

#[pymethods]
impl Reader {
    /// The loop says that the descriptor can be read.
    fn readable(&self, py: Python<'_>) -> PyResult<()> {
        let Some(client) = self.client(py)? else { return Ok(()) };
        let line = *lock(&client.get().line);
        match line {
            Line::Descriptor(socket) => AsyncClient::read(&client, socket),
            Line::None | Line::Transport => Ok(()),
        }
    }

    /// The loop says that the descriptor can be written.
    fn writable(&self, py: Python<'_>) -> PyResult<()> {
        self.client(py)?.map_or(Ok(()), |client| client.get().flush(py))
    }

    /// The loop's turn has come for what was asked in it.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let Some(client) = self.client(py)? else { return Ok(()) };
        client.get().flush_armed.store(false, Ordering::Relaxed);
        client.get().flush(py)
    }

    /// The transport holds as many bytes as it wants to.
    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(client) = self.client(py)? {
            client.get().transport_full.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The transport takes bytes again.
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        let Some(client) = self.client(py)? else { return Ok(()) };
        client.get().transport_full.store(false, Ordering::Relaxed);
        client.get().flush(py)
    }

    /// Bytes that a transport has received.
    fn received(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        self.client(py)?.map_or(Ok(()), |client| AsyncClient::received(&client, bytes))
    }

    /// The line has ended.
    fn lost(&self, py: Python<'_>, reason: Bound<'_, PyAny>) -> PyResult<()> {
        self.client(py)?.map_or(Ok(()), |client| client.get().finish(py, PyErr::from_value(reason)))
    }

    /// The timer rang: calls past their deadline fail. Seconds until the next one, or None.
    fn expire(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        self.client(py)?.map_or(Ok(None), |client| AsyncClient::expire(&client))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.client)?;
        match self.busy.try_lock().as_deref() {
            Ok(Some(client)) => visit.call(client),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        self.release();
    }
}

#[cold]
fn lost_line(py: Python<'_>, cause: PyErr) -> PyErr {
    let error = error::connection_closed(py, format!("the connection was lost: {}", cause.value(py)));
    error::caused_by(py, error, cause)
}

impl AsyncClient {
    /// The timer rang: calls past their deadline fail, those that wait long for a stream are told. Seconds until the
    /// next time, or None.
    fn expire(slf: &Bound<'_, Self>) -> PyResult<Option<f64>> {
        let this = slf.get();
        Self::fail_late_calls(slf)?;
        this.tell_waiting(slf.py());
        let deadline = lock(&this.deadlines).peek().map(|Deadline(at, ..)| *at);
        let next = deadline.into_iter().chain(this.streaming.due()).min();
        Ok(next.map(|at| at.saturating_duration_since(Instant::now()).as_secs_f64()))
    }

    fn tell_waiting(&self, py: Python<'_>) {
        let Some((late, stream, seconds)) = self.streaming.take_due(py, Instant::now()) else { return };
        for call in late {
            let reply = self.session.reply_of(py, call.id);
            let waits = reply.map_or_else(|| self.is_unfinished(call.id), |reply| reply.get().is_pending());
            if waits && let Err(error) = stream.warn(py, call.site.as_ref(), seconds) {
                // Warnings are errors here, and nobody calls: as with one that a finalizer issues.
                error.write_unraisable(py, None);
            }
        }
    }

    fn is_unfinished(&self, id: RequestId) -> bool {
        let mut state = lock(&self.session.state);
        state.held.get(id).is_some() || state.conn.job(id).is_some()
    }

    fn fail_late_calls(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        loop {
            let now = Instant::now();
            let due = {
                let mut deadlines = lock(&this.deadlines);
                match deadlines.peek() {
                    Some(Deadline(at, ..)) if *at <= now => deadlines.pop(),
                    _ => return Ok(()),
                }
            };
            let Some(Deadline(_, id, seconds)) = due else { continue };
            if let Some(shared) = this.session.stream_of(id) {
                let late = error::query_timeout(py, format!("not finished within {seconds} s"));
                this.end_stream(py, id, &shared, Some(late), false)?;
                Self::cancel_request(slf, id)?;
                continue;
            }
            let Some(reply) = this.session.reply_of(py, id) else { continue };
            let late = error::query_timeout(py, format!("no answer within {seconds} s"));
            if reply.get().settle(Err(late)) {
                Self::cancel_request(slf, id)?;
                Awaitable::wake(reply.into_bound(py), false)?;
            }
        }
    }
}

impl AsyncClient {
    /// Most calls are answered long before their deadline: their entries must not pile up until then.
    fn forget_answered(&self, deadlines: &mut BinaryHeap<Deadline>) {
        const WORTH_A_LOOK: usize = 1_000;
        let mut state = lock(&self.session.state);
        let unfinished = state.conn.unfinished() + state.held.len();
        if deadlines.len() < WORTH_A_LOOK || deadlines.len() < 4 * unfinished {
            return;
        }
        let State { conn, held, .. } = &mut *state;
        deadlines.retain(|Deadline(_, id, _)| conn.job(*id).is_some() || held.get(*id).is_some());
    }
}

#[cold]
fn own_stream(py: Python<'_>) -> PyErr {
    error::interface_error(
        py,
        "this task reads a stream of this connection, so another call would wait for itself: end the stream first, \
         collect what it gives, or use a second connection",
    )
}

#[cold]
fn wrong_loop(py: Python<'_>, running: &Bound<'_, PyAny>, opened: bool) -> PyErr {
    error::interface_error(
        py,
        if !opened {
            "the connection has not been opened: use AsyncConnection.connect()"
        } else if running.is_none() {
            "an asynchronous connection is used outside its event loop; from a thread, use asyncio.run_coroutine_threadsafe, \
             or the blocking pgoxide.Connection"
        } else {
            "this connection belongs to another event loop; open one in each loop"
        },
    )
}

#[pymethods]
impl AsyncClient {
    #[new]
    #[pyo3(signature = (*, nonce, statement_cache_size, statement_cache_longest, statement_cache_lifetime, beyond, float4, timestamptz_zone, naive_timestamptz, duplicate_columns, max_message, max_queued, max_queued_hard, command_timeout, stream_wait_warning))]
    #[expect(clippy::too_many_arguments, reason = "called from one place, by keyword")]
    fn new(
        py: Python<'_>,
        nonce: String,
        statement_cache_size: usize,
        statement_cache_longest: usize,
        statement_cache_lifetime: Option<f64>,
        beyond: &str,
        float4: &str,
        timestamptz_zone: &Bound<'_, PyAny>,
        naive_timestamptz: &str,
        duplicate_columns: &str,
        max_message: usize,
        max_queued: usize,
        max_queued_hard: usize,
        command_timeout: Option<f64>,
        stream_wait_warning: Option<f64>,
    ) -> PyResult<Self> {
        let cache = call::cache_rules(statement_cache_size, statement_cache_longest, statement_cache_lifetime);
        let rules = call::rules(py, beyond, float4, timestamptz_zone, naive_timestamptz, duplicate_columns)?;
        let options = Options { rules: Arc::new(rules), max_queued_hard };
        let limits = Limits { message: max_message, send_buffer: max_queued };
        Ok(Self {
            session: Session::new(crate::prepared::Statements::new(py, cache, nonce), limits, options),
            line: Mutex::new(Line::None),
            page: Mutex::new(Some(RecvBuffer::new(PAGE))),
            event_loop: OnceLock::new(),
            finished: OnceLock::new(),
            loop_of: OnceLock::new(),
            hooks: OnceLock::new(),
            reader: OnceLock::new(),
            starting: Mutex::new(None),
            delivering: AtomicBool::new(false),
            flush_armed: AtomicBool::new(false),
            write_armed: AtomicBool::new(false),
            transport_full: AtomicBool::new(false),
            deadlines: Mutex::new(BinaryHeap::new()),
            room_wanted: Mutex::new(Vec::new()),
            max_queued,
            streaming: OpenStreams::new(stream_wait_warning),
            default_timeout: command_timeout,
        })
    }

    // ---- the verbs -------------------------------------------------------------------------------------------

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false))]
    fn fetch_all<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(slf, Verb::All, Asked::new(statement, args, into, timeout, types, isolate)?)
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false))]
    fn fetch_one<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(slf, Verb::One, Asked::new(statement, args, into, timeout, types, isolate)?)
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false))]
    fn fetch_optional<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(slf, Verb::Optional, Asked::new(statement, args, into, timeout, types, isolate)?)
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false))]
    fn fetch_first<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(slf, Verb::First, Asked::new(statement, args, into, timeout, types, isolate)?)
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false))]
    fn fetch_value<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(slf, Verb::Value, Asked::new(statement, args, into, timeout, types, isolate)?)
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false))]
    fn fetch_column<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(slf, Verb::Column, Asked::new(statement, args, into, timeout, types, isolate)?)
    }

    #[pyo3(signature = (statement, /, *args, timeout=None, types=None, isolate=false))]
    fn execute<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(slf, Verb::Execute, Asked::new(statement, args, None, timeout, types, isolate)?)
    }

    /// Rows as they come.
    #[pyo3(signature = (statement, /, *args, into=None, batch=1000, timeout=None, types=None))]
    fn stream<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        batch: u32,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Py<Stream>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_caller(py)?;
        this.session.check_open(py)?;
        let asked = Asked::new(statement, args, into, timeout, types, true)?;
        let size = call::batch_size(py, batch)?;
        let prepared = this.session.statements.get(&asked.sql, &asked.types)?;
        prepared.refuse_copy(py, "stream")?;
        let run = Box::new(Run::new(prepared, Verb::All, asked.into, asked.arguments.len()));
        let id = this.session.next_id();
        let (stream, shared) = Stream::new_async(slf.clone().unbind(), id, size);
        let stream = Py::new(py, stream)?;
        let reader = pyimport::current_task(py)?.call0()?.unbind();
        let call = StreamCall { run, arguments: freeze(&asked.arguments)?, shared, size };
        this.note_wait(py, id)?;
        this.streaming.opened(py, id, reader);
        this.push_held(py, Held::new(py, id, None, Call::Stream(call)))?;
        this.set_deadline(py, asked.timeout, id)?;
        this.flush_soon(slf)?;
        Ok(stream)
    }

    /// Runs a text of several statements by the simple protocol.
    #[pyo3(signature = (sql, /, *, timeout=None))]
    fn execute_script(slf: &Bound<'_, Self>, sql: String, timeout: Option<f64>) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        let timeout = call::timeout(py, timeout)?;
        this.check_caller(py)?;
        this.session.check_open(py)?;
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, "execute_script"))?;
        match this.session.script_request(py, id, sql, Some(reply.clone_ref(py))) {
            Ok(request) => Self::submit(slf, request)?,
            Err(error) => {
                reply.get().close_unseen();
                return Err(error);
            }
        }
        this.set_deadline(py, timeout, id)?;
        this.note_wait(py, id)?;
        Ok(reply)
    }

    /// Submits a collected batch; the reply settles when all of it has run.
    fn _run_batch(slf: &Bound<'_, Self>, batch: &BatchBuilder, timeout: Option<f64>) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_caller(py)?;
        this.session.check_open(py)?;
        let timeout = call::timeout(py, timeout)?;
        let id = this.session.next_id();
        let collected = batch.take(py)?;
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, "batch"))?;
        let call = Call::Batch(BatchCall::new(collected));
        this.push_held(py, Held::new(py, id, Some(reply.clone_ref(py)), call))?;
        this.set_deadline(py, timeout, id)?;
        this.note_wait(py, id)?;
        this.flush_soon(slf)?;
        Ok(reply)
    }

    /// Settles when the statement of an `execute_many` is described.
    #[pyo3(signature = (sql, types, timeout=None))]
    fn _describe(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        types: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        let timeout = call::timeout(py, timeout)?;
        this.check_caller(py)?;
        this.session.check_open(py)?;
        let types = types.map_or_else(|| Ok(Vec::new()), call::type_oids)?;
        let prepared = this.session.statements.get(sql, &types)?;
        prepared.refuse_copy(py, "execute_many")?;
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, "describe"))?;
        this.push_held(py, Held::new(py, id, Some(reply.clone_ref(py)), Call::Described(prepared)))?;
        this.note_wait(py, id)?;
        this.set_deadline(py, timeout, id)?;
        this.flush_soon(slf)?;
        Ok(reply)
    }

    /// Begins COPY FROM STDIN of columns given by name and type.
    fn _copy_in(slf: &Bound<'_, Self>, sql: String, columns: Vec<(Bound<'_, PyString>, u32)>) -> PyResult<Feed> {
        slf.get().check_caller(slf.py())?;
        slf.get().session.check_open(slf.py())?;
        let (feed, request) = Feed::copy(slf.as_any(), sql, columns)?;
        let id = request.id;
        Self::submit(slf, request)?;
        slf.get().note_wait(slf.py(), id)?;
        Ok(feed)
    }

    /// Begins a statement with many parameter sets; it has been described.
    fn _execute_many(slf: &Bound<'_, Self>, prepared: &Entry) -> PyResult<Feed> {
        slf.get().check_caller(slf.py())?;
        slf.get().session.check_open(slf.py())?;
        let (feed, request) = Feed::many(slf.as_any(), Arc::clone(&prepared.0))?;
        let id = request.id;
        Self::submit(slf, request)?;
        slf.get().note_wait(slf.py(), id)?;
        Ok(feed)
    }

    /// From now on only calls whose context holds `token` are taken: `holder` has a transaction open. Raises when another
    /// has one.
    fn _own(&self, py: Python<'_>, token: Py<PyAny>, holder: String) -> PyResult<()> {
        self.session.own(py, token, holder)
    }

    /// The transaction of `token` is over.
    fn _disown(&self, token: &Bound<'_, PyAny>) {
        self.session.disown(token);
    }

    // ---- for the transport -----------------------------------------------------------------------------------

    /// Ties the client to its loop and transport, and gives what the loop is to call. `descriptor`: a non-blocking
    /// socket's, or None for a transport that moves bytes itself.
    fn _attach(
        slf: &Bound<'_, Self>,
        event_loop: Py<PyAny>,
        hooks: Py<PyAny>,
        descriptor: Option<i32>,
    ) -> PyResult<Py<Reader>> {
        let (py, this) = (slf.py(), slf.get());
        let reader = Py::new(py, Reader { client: PyWeakrefReference::new(slf)?.unbind(), busy: Mutex::new(None) })?;
        let fresh = this.event_loop.set(event_loop).is_ok()
            && this.hooks.set(hooks).is_ok()
            && this.reader.set(reader.clone_ref(py)).is_ok();
        if !fresh {
            return Err(error::interface_error(py, "the connection has been opened before"));
        }
        *lock(&this.line) = descriptor.map_or(Line::Transport, |fd| Line::Descriptor(Socket::new(fd)));
        Ok(reader)
    }

    /// Writes StartupMessage; the reply settles at the first ReadyForQuery.
    fn _start(slf: &Bound<'_, Self>, parameters: Vec<(Vec<u8>, Vec<u8>)>) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        let pairs: Vec<(&[u8], &[u8])> = parameters.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
        let started = lock(&this.session.state).conn.start(&pairs);
        started.map_err(|e| error::encode_error(py, &e))?;
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), 0, "connect"))?;
        let earlier = lock(&this.starting).replace(reply.clone_ref(py));
        drop(earlier);
        this.flush(py)?;
        Ok(reply)
    }

    /// The line is gone, or is to be given up: every unfinished call fails with `reason` as the cause.
    fn _end(&self, py: Python<'_>, reason: Bound<'_, PyAny>) -> PyResult<()> {
        self.finish(py, PyErr::from_value(reason))
    }

    /// A reply that settles when all that was asked before it has finished; None when nothing is unfinished.
    fn _settled(slf: &Bound<'_, Self>) -> PyResult<Option<Py<Awaitable>>> {
        let (py, this) = (slf.py(), slf.get());
        if this.session.is_quiet() {
            return Ok(None);
        }
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, "close"))?;
        Self::submit(slf, Session::sync_request(id, Some(reply.clone_ref(py))))?;
        Ok(Some(reply))
    }

    /// Writes Terminate behind everything that was written. True once nothing is left to send.
    fn _terminate(&self, py: Python<'_>) -> PyResult<bool> {
        lock(&self.session.state).conn.terminate();
        self.flush(py)?;
        Ok(lock(&self.session.state).conn.outgoing().is_empty())
    }

    /// The bytes of a CancelRequest for this session; None when the server gave no key.
    fn _cancel_request<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let key = lock(&self.session.state).conn.cancel_key().cloned();
        match key {
            None => Ok(None),
            Some(key) => {
                let bytes = key.request().map_err(|e| error::encode_error(py, &e))?;
                Ok(Some(PyBytes::new(py, &bytes)))
            }
        }
    }

    /// The side connection ended. True: the target still runs, and a further CancelRequest may be sent after
    /// `_cancel_again`.
    fn _cancel_delivered(slf: &Bound<'_, Self>, request_id: RequestId) -> PyResult<bool> {
        let this = slf.get();
        let after = lock(&this.session.state).conn.cancel_delivered(request_id);
        match after {
            CancelDelivered::StillRunning => return Ok(true),
            CancelDelivered::Next(next) => this.send_cancel(slf, next)?,
            CancelDelivered::Closed => {}
        }
        this.flush(slf.py())?;
        Ok(false)
    }

    fn _cancel_again(&self, request_id: RequestId) -> bool {
        lock(&self.session.state).conn.cancel_again(request_id)
    }

    /// Whether request `id` still runs and its cancel is wanted.
    fn _cancel_wanted(&self, request_id: RequestId) -> bool {
        lock(&self.session.state).conn.cancel_wanted(request_id)
    }

    // ---- what is known without asking the server -------------------------------------------------------------

    /// The value the server last reported for a setting, or None.
    fn parameter(&self, name: &str) -> Option<String> {
        lock(&self.session.state).conn.parameter(name).map(str::to_owned)
    }

    #[getter]
    fn backend_pid(&self) -> Option<i32> {
        lock(&self.session.state).conn.cancel_key().map(|key| key.process_id)
    }

    #[getter]
    fn transaction_status(&self) -> &'static str {
        call::status_name(self.session.status())
    }

    #[getter]
    fn closed(&self) -> bool {
        self.session.is_ended()
    }

    #[getter]
    fn statement_cache<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        call::cache_stats(py, &self.session)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(hooks) = self.hooks.get() {
            visit.call(hooks)?;
        }
        if let Some(reader) = self.reader.get() {
            visit.call(reader)?;
        }
        if let Some(finished) = self.finished.get() {
            visit.call(finished)?;
        }
        if let Some(loop_of) = self.loop_of.get() {
            visit.call(loop_of)?;
        }
        if let Ok(Some(starting)) = self.starting.try_lock().as_deref() {
            visit.call(starting)?;
        }
        self.streaming.visit(&visit)?;
        if let Ok(waiting) = self.room_wanted.try_lock() {
            waiting.iter().try_for_each(|reply| visit.call(reply))?;
        }
        self.session.visit(&visit)?;
        self.event_loop.get().map_or(Ok(()), |event_loop| visit.call(event_loop))
    }

    fn __clear__(&self, py: Python<'_>) {
        let starting = lock(&self.starting).take();
        self.streaming.clear();
        let waiting = std::mem::take(&mut *lock(&self.room_wanted));
        drop((starting, waiting));
        self.session.clear(py);
    }
}
