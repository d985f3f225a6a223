//! The blocking client: the session driven by the caller's own thread, without a loop and without a thread of ours.
//!
//! One call sends and receives with the GIL released once; waits are sliced so that Ctrl-C is seen.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use pgoxide_protocol::buffer::RecvBuffer;
use pgoxide_protocol::client::{CancelDelivered, CancelOutcome, Limits, Request, RequestId};
use pyo3::exceptions::PyException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::batch::BatchBuilder;
use crate::call::{self, Asked};
use crate::error;
use crate::feed::Feed;
use crate::io::{Moved, Socket};
use crate::job::{Job, Kind, Run, Verb};
use crate::prepared::{Entry, Prepared, Stage, Statements};
use crate::session::{Options, Outcome, Session, fits_one_flight};
use crate::spin::Spin;
use crate::stream::{Shared, Stream, StreamCall};
use crate::sync::lock;
use crate::turn::{self, Taken, Turn};

/// What one read takes at most.
const PAGE: usize = 128 << 10;

/// How long a wait lasts before signals and the deadline are looked at. The descriptor's own receive timeout, set
/// by the transport, is the same.
const SLICE: Duration = Duration::from_millis(100);

/// How long a cancelled call may take to end before the connection is given up.
const DRAIN: Duration = Duration::from_secs(10);

/// The core of `Connection`: its verbs, and what a transport needs.
#[pyclass(frozen, subclass, weakref, module = "pgoxide._core", name = "Client")]
pub(crate) struct BlockingClient {
    pub(crate) session: Session,
    /// Locked as long as a system call uses it, so that it is closed, and its number used anew, by nobody meanwhile.
    socket: Mutex<Option<Socket>>,
    /// The same, to be cut while a call waits on it.
    line: OnceLock<Socket>,
    spin: OnceLock<Spin>,
    page: Mutex<Option<RecvBuffer>>,
    turn: Turn,
    feeding: Mutex<Option<Feeding>>,
    /// The open stream, which keeps the turn.
    streaming: Mutex<Option<(RequestId, Deadline)>>,
    /// The transport: `cancel`, `ended`, `notice`, `notification`.
    hooks: OnceLock<Py<PyAny>>,
    default_timeout: Option<f64>,
}

/// Until when a call may take.
#[derive(Clone, Copy)]
struct Deadline {
    at: Option<Instant>,
    seconds: f64,
}

impl Deadline {
    fn after(seconds: Option<f64>) -> Self {
        let at = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()).and_then(|d| Instant::now().checked_add(d));
        Self { at, seconds: seconds.unwrap_or(0.0) }
    }

    fn has_passed(self) -> bool {
        self.at.is_some_and(|at| Instant::now() >= at)
    }

    /// Milliseconds to wait at most, when that is less than a slice.
    fn shorter_than_slice(self) -> Option<u32> {
        let left = self.at?.saturating_duration_since(Instant::now());
        (left < SLICE).then(|| u32::try_from(left.as_millis()).unwrap_or(0) + 1)
    }
}

/// A fed request: the turn is kept as long as it is there.
struct Feeding {
    /// None until it has been submitted.
    id: Option<RequestId>,
    deadline: Deadline,
    /// It may finish before its feeding does.
    finished: Option<Job>,
}

impl BlockingClient {
    fn take_turn(&self, py: Python<'_>, deadline: Deadline) -> PyResult<turn::Held<'_>> {
        self.turn.take(py, deadline.at)?.ok_or_else(|| self.session.closed_error(py))
    }

    /// Takes the turn until it is given back.
    fn keep_turn(&self, py: Python<'_>, deadline: Deadline) -> PyResult<()> {
        if self.turn.keep(py, deadline.at)? { Ok(()) } else { Err(self.session.closed_error(py)) }
    }

    fn ask(&self, py: Python<'_>, verb: Verb, asked: Asked<'_>) -> PyResult<Py<PyAny>> {
        // Before the turn: who cannot be served is told at once, whatever the holder's statement takes.
        self.session.check_owner(py)?;
        let deadline = Deadline::after(asked.timeout.or(self.default_timeout));
        let _turn = self.take_turn(py, deadline)?;
        self.session.check_open(py)?;
        let prepared = self.session.statements.get(&asked.sql, &asked.types)?;
        if prepared.stage() != Stage::Described
            && !fits_one_flight(&prepared, asked.arguments.len(), self.session.writes_iso_dates())
        {
            self.prepare(py, &prepared, deadline)?;
        }
        let run = Box::new(Run::new(prepared, verb, asked.into, asked.arguments.len()));
        let request = self.session.run_request(py, self.session.next_id(), run, &asked.arguments, None)?;
        self.run(py, request, deadline)
    }

    fn prepare(&self, py: Python<'_>, prepared: &Arc<Prepared>, deadline: Deadline) -> PyResult<()> {
        let request = self.session.prepare_request(py, vec![Arc::clone(prepared)])?;
        let job = self.drive(py, request, deadline)?;
        if let Kind::Prepare(prepare) = &job.kind
            && !prepare.refused().is_empty()
        {
            self.session.statements.forget(py, prepared)?;
            return Err(prepare.error(py, prepared));
        }
        Ok(())
    }

    fn run(&self, py: Python<'_>, request: Request<Job>, deadline: Deadline) -> PyResult<Py<PyAny>> {
        self.drive(py, request, deadline)?.conclude(py)
    }

    /// Submits a request and works until it has finished.
    fn drive(&self, py: Python<'_>, request: Request<Job>, deadline: Deadline) -> PyResult<Job> {
        let id = request.id;
        self.session.submit(py, request)?;
        loop {
            match self.turn_once(py, Some(id), deadline.shorter_than_slice()) {
                Ok(Some(job)) => return Ok(job),
                Ok(None) if deadline.has_passed() => {
                    let late = error::query_timeout(py, format!("no answer within {} s", deadline.seconds));
                    return Err(self.give_up(py, id, late));
                }
                Ok(None) => {}
                Err(interrupt) if self.session.is_ended() => return Err(interrupt),
                Err(interrupt) => return Err(self.give_up(py, id, interrupt)),
            }
        }
    }

    /// Sends what there is, waits for something to arrive, reads it. The finished job when it was `id`'s; an error
    /// is a signal handler's, or the connection's end.
    fn turn_once(&self, py: Python<'_>, id: Option<RequestId>, wait: Option<u32>) -> PyResult<Option<Job>> {
        let Some(mut page) = lock(&self.page).take() else {
            return Err(self.no_page(py, "the connection is being read by another call"));
        };
        let moved = {
            let spare = page.spare();
            py.detach(|| self.exchange(spare, wait))
        };
        let mut outcomes = Vec::new();
        let fate = match moved {
            Ok(Moved::Bytes(count)) => {
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
        told?;
        // In every turn, for data may flow without a pause. What is raised is a signal handler's, not the connection's
        // end: the caller decides what becomes of the call.
        if finished.is_none() {
            py.check_signals()?;
        }
        Ok(finished)
    }

    /// Why there is no page to read into: the connection has ended, or another call has it, as `otherwise` says.
    #[cold]
    fn no_page(&self, py: Python<'_>, otherwise: &'static str) -> PyErr {
        if self.session.is_ended() { self.session.closed_error(py) } else { error::interface_error(py, otherwise) }
    }

    /// After a read. A connection that ended meanwhile reads no more, and may still be referred to for long.
    fn put_back(&self, page: RecvBuffer) {
        if !self.session.is_ended() {
            *lock(&self.page) = Some(page);
        }
    }

    /// System calls only; the GIL is released. The descriptor is not closed meanwhile: see [`finish`](Self::finish).
    fn exchange(&self, spare: &mut [u8], wait: Option<u32>) -> std::io::Result<Moved> {
        let socket = lock(&self.socket);
        let Some(socket) = *socket else { return Ok(Moved::End) };
        let blocked = {
            let mut state = lock(&self.session.state);
            loop {
                state.conn.pump();
                if state.conn.outgoing().is_empty() {
                    break false;
                }
                match socket.send(state.conn.outgoing()) {
                    Ok(Moved::Bytes(count)) => state.conn.sent(count),
                    Ok(Moved::WouldBlock | Moved::End) => break true,
                    // What the server said before it went is still there to be read.
                    Err(error) => match socket.receive(spare) {
                        Ok(moved @ (Moved::Bytes(_) | Moved::End)) => return Ok(moved),
                        Ok(Moved::WouldBlock) | Err(_) => return Err(error),
                    },
                }
            }
        };
        if !blocked
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
    fn open_stream(
        &self,
        py: Python<'_>,
        id: RequestId,
        prepared: Arc<Prepared>,
        asked: Asked<'_>,
        shared: Arc<Shared>,
        size: u32,
        deadline: Deadline,
    ) -> PyResult<()> {
        if prepared.stage() != Stage::Described {
            self.prepare(py, &prepared, deadline)?;
        }
        let run = Box::new(Run::new(prepared, Verb::All, asked.into, asked.arguments.len()));
        let call = StreamCall { run, arguments: asked.arguments.unbind(), shared, size };
        let request = self.session.stream_request(py, id, call)?;
        self.session.submit(py, request)?;
        self.send_some();
        Ok(())
    }

    /// Reads what has arrived on an idle connection: notices, changed settings, and the server's last words. An error is a
    /// Ctrl-C, or what else a listener must not keep to itself.
    fn look(&self, py: Python<'_>) -> PyResult<()> {
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

    // ---- streams: the turn is kept from their beginning to their end ------------------------------------------

    /// Works until something has changed for the stream.
    pub(crate) fn stream_turn(&self, py: Python<'_>, id: RequestId, shared: &Shared) -> PyResult<()> {
        if lock(&self.page).is_none() {
            // The one that came first goes on waiting.
            return Err(self.no_page(py, "two threads read one stream: another one waits for its rows"));
        }
        let deadline = lock(&self.streaming).as_ref().map(|(_, deadline)| *deadline);
        let deadline = deadline.unwrap_or_else(|| Deadline::after(None));
        match self.turn_once(py, Some(id), deadline.shorter_than_slice()) {
            Ok(Some(mut job)) => {
                shared.end(job.error.take());
                self.stream_forgotten(id);
                Ok(())
            }
            Ok(None) if deadline.has_passed() => {
                let late = error::query_timeout(py, format!("not finished within {} s", deadline.seconds));
                let late = self.give_up(py, id, late);
                Err(self.stop_stream(py, id, shared, late))
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

    /// The stream's end, which all later reads hear too.
    fn stop_stream(&self, py: Python<'_>, id: RequestId, shared: &Shared, error: PyErr) -> PyErr {
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

    // ---- fed requests: the turn is kept from their beginning to their end -------------------------------------

    fn begin_feeding(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let deadline = Deadline::after(call::timeout(py, timeout)?.or(self.default_timeout));
        self.keep_turn(py, deadline)?;
        // While this call waited for its turn, the connection may have ended, or been taken by a transaction.
        self.session.check_open(py).inspect_err(|_| self.turn.give_back())?;
        let feeding = Feeding { id: None, deadline, finished: None };
        let earlier = lock(&self.feeding).replace(feeding);
        drop(earlier);
        Ok(())
    }

    /// The fed request is over: others may use the connection. Twice does nothing.
    fn end_feeding(&self) -> Option<Job> {
        let feeding = lock(&self.feeding).take()?;
        self.turn.give_back();
        feeding.finished
    }

    /// Begins a fed request.
    fn begin(&self, py: Python<'_>, made: PyResult<(Feed, Request<Job>)>) -> PyResult<Feed> {
        match made.and_then(|(feed, request)| self.session.submit(py, request).map(|()| feed)) {
            Ok(feed) => {
                if let Some(feeding) = &mut *lock(&self.feeding) {
                    feeding.id = Some(feed.id());
                }
                Ok(feed)
            }
            Err(error) => {
                self.end_feeding();
                Err(error)
            }
        }
    }

    /// One turn for a fed request: true once it has finished, whose job is then kept.
    fn feed_turn(&self, py: Python<'_>, id: RequestId, wait: Option<u32>) -> PyResult<bool> {
        let Some(deadline) = self.check_feed_deadline(py)? else { return Ok(true) };
        let Some(job) = self.turn_once(py, Some(id), wait.or_else(|| deadline.shorter_than_slice()))? else {
            return Ok(false);
        };
        if let Some(feeding) = &mut *lock(&self.feeding) {
            feeding.finished = Some(job);
        }
        Ok(true)
    }

    /// Until when the fed request may take: raises when that has passed. None once it has finished.
    fn check_feed_deadline(&self, py: Python<'_>) -> PyResult<Option<Deadline>> {
        let deadline =
            lock(&self.feeding).as_ref().map(|feeding| feeding.finished.is_none().then_some(feeding.deadline));
        let Some(deadline) = deadline else {
            return Err(error::interface_error(py, "the COPY or execute_many is over"));
        };
        let Some(deadline) = deadline else { return Ok(None) };
        if deadline.has_passed() {
            return Err(error::query_timeout(py, format!("not finished within {} s", deadline.seconds)));
        }
        Ok(Some(deadline))
    }

    /// Works until the fed request is at the head and may be fed, or has finished: then false.
    pub(crate) fn wait_started(&self, py: Python<'_>, id: RequestId) -> PyResult<bool> {
        loop {
            if self.feed_turn(py, id, None)? {
                return Ok(false);
            }
            if self.session.may_feed(id) {
                return Ok(true);
            }
        }
    }

    /// Sends what a block left, reading meanwhile.
    pub(crate) fn push_out(&self, py: Python<'_>, id: RequestId) -> PyResult<()> {
        self.send_some();
        // Also when the socket takes everything at once.
        self.check_feed_deadline(py)?;
        // A millisecond: there is something to send, so this seldom waits.
        while !lock(&self.session.state).conn.outgoing().is_empty() && !self.feed_turn(py, id, Some(1))? {}
        Ok(())
    }

    /// Works until the fed request has finished.
    pub(crate) fn wait_done(&self, py: Python<'_>, id: RequestId) -> PyResult<Py<PyAny>> {
        while !self.feed_turn(py, id, None)? {}
        match self.end_feeding() {
            Some(mut job) => job.conclude(py),
            None => Err(error::interface_error(py, "the COPY or execute_many is over")),
        }
    }

    /// Is the turn kept for request `id`?
    pub(crate) fn is_feeding(&self, id: RequestId) -> bool {
        lock(&self.feeding).as_ref().is_some_and(|feeding| feeding.id == Some(id))
    }

    /// The source failed, a signal came, or the time is over: after the failure message, cancels what runs and waits for
    /// the server's end of it, so that the connection is in step; gives the turn back in every case.
    pub(crate) fn abandon(&self, py: Python<'_>, id: RequestId) {
        let unfinished = lock(&self.feeding).as_ref().is_some_and(|feeding| feeding.finished.is_none());
        let known = lock(&self.session.state).conn.job(id).is_some();
        if unfinished && known {
            self.cancel_and_drain(py, id);
        }
        drop(self.end_feeding());
    }

    /// Acts on what a page brought: the finished job when it was `id`'s, and the first thing a listener raised, which keeps
    /// nothing of the rest from being acted on.
    fn act(&self, py: Python<'_>, outcomes: Vec<Outcome>, id: Option<RequestId>) -> (Option<Job>, PyResult<()>) {
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
                Outcome::Batch { id, shared, rows, more, size } => {
                    self.session.stream_batch(id, &shared, rows, more, size);
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

    fn tell<'py>(&self, py: Python<'py>, method: &str, arguments: impl pyo3::call::PyCallArgs<'py>) -> PyResult<()> {
        if let Some(hooks) = self.hooks.get() {
            hooks.bind(py).call_method1(method, arguments)?;
        }
        Ok(())
    }

    /// A call that will not be waited for: cancels it at the server and drains its answer, so that the connection
    /// is in step again; a second interrupt, or a server that does not answer, closes the connection.
    fn give_up(&self, py: Python<'_>, id: RequestId, reason: PyErr) -> PyErr {
        self.cancel_and_drain(py, id);
        reason
    }

    fn cancel_and_drain(&self, py: Python<'_>, id: RequestId) {
        let outcome = lock(&self.session.state).conn.cancel(id);
        let cancelled = match outcome {
            CancelOutcome::Running => self.send_cancel(py, id),
            // It was never written: the server owes nothing for it.
            CancelOutcome::Dropped(job) => return drop(job),
            CancelOutcome::Discarding | CancelOutcome::Unknown => Ok(()),
        };
        let drained = cancelled.and_then(|()| self.drain(py, id));
        if let Err(second) = drained {
            let closed = error::connection_closed(py, format!("given up while cancelling: {}", second.value(py)));
            if let Err(error) = self.finish(py, closed) {
                error.write_unraisable(py, None);
            }
        }
    }

    fn send_cancel(&self, py: Python<'_>, id: RequestId) -> PyResult<()> {
        let request = lock(&self.session.state).conn.cancel_key().cloned();
        if let Some(key) = request {
            let bytes = key.request().map_err(|e| error::encode_error(py, &e))?;
            self.tell(py, "cancel", (PyBytes::new(py, &bytes),))?;
        }
        let after = lock(&self.session.state).conn.cancel_delivered(id);
        match after {
            CancelDelivered::Next(next) => self.send_cancel(py, next),
            CancelDelivered::Closed | CancelDelivered::StillRunning => Ok(()),
        }
    }

    fn drain(&self, py: Python<'_>, id: RequestId) -> PyResult<()> {
        let until = Instant::now() + DRAIN;
        let mut again = Instant::now() + SLICE;
        loop {
            // Its answer may have come with the page that a listener interrupted.
            if lock(&self.session.state).conn.is_idle() || self.turn_once(py, Some(id), Some(100))?.is_some() {
                return Ok(());
            }
            let now = Instant::now();
            if now >= until {
                return Err(error::connection_closed(py, "the server did not end the cancelled call"));
            }
            // A CancelRequest that came before its target had begun has had no effect.
            let repeat = now >= again && lock(&self.session.state).conn.cancel_again(id);
            if repeat {
                again = now + 4 * SLICE;
                self.send_cancel(py, id)?;
            }
        }
    }

    /// Ends the connection, from any thread. One that waits on the socket is woken by its end, and has left it before
    /// the descriptor is closed: else its number could be another connection's by the time it is used again.
    fn finish(&self, py: Python<'_>, reason: PyErr) -> PyResult<()> {
        let (first, jobs) = self.session.end(py, reason);
        self.turn.end();
        drop(lock(&self.page).take());
        if first {
            self.line.get().inspect(|line| line.cut());
            py.detach(|| *lock(&self.socket) = None);
            let reason = self.session.closed_error(py).into_value(py);
            self.tell(py, "ended", (reason,))?;
        }
        drop(jobs);
        Ok(())
    }
}

#[cold]
fn lost_line(py: Python<'_>, cause: PyErr) -> PyErr {
    let error = error::connection_closed(py, format!("the connection was lost: {}", cause.value(py)));
    error::caused_by(py, error, cause)
}

#[pymethods]
impl BlockingClient {
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
            session: Session::new(Statements::new(py, cache, nonce), limits, options),
            socket: Mutex::new(None),
            line: OnceLock::new(),
            spin: OnceLock::new(),
            page: Mutex::new(Some(RecvBuffer::new(PAGE))),
            turn: Turn::new(stream_wait_warning),
            feeding: Mutex::new(None),
            streaming: Mutex::new(None),
            hooks: OnceLock::new(),
            default_timeout: command_timeout,
        })
    }

    // ---- the verbs -------------------------------------------------------------------------------------------

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false))]
    fn fetch_all<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<PyAny>> {
        self.ask(statement.py(), Verb::All, Asked::new(statement, args, into, timeout, types, isolate)?)
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false))]
    fn fetch_one<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<PyAny>> {
        self.ask(statement.py(), Verb::One, Asked::new(statement, args, into, timeout, types, isolate)?)
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false))]
    fn fetch_optional<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<PyAny>> {
        self.ask(statement.py(), Verb::Optional, Asked::new(statement, args, into, timeout, types, isolate)?)
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false))]
    fn fetch_first<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<PyAny>> {
        self.ask(statement.py(), Verb::First, Asked::new(statement, args, into, timeout, types, isolate)?)
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false))]
    fn fetch_value<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<PyAny>> {
        self.ask(statement.py(), Verb::Value, Asked::new(statement, args, into, timeout, types, isolate)?)
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false))]
    fn fetch_column<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<PyAny>> {
        self.ask(statement.py(), Verb::Column, Asked::new(statement, args, into, timeout, types, isolate)?)
    }

    #[pyo3(signature = (statement, /, *args, timeout=None, types=None, isolate=false))]
    fn execute<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Py<PyAny>> {
        self.ask(statement.py(), Verb::Execute, Asked::new(statement, args, None, timeout, types, isolate)?)
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
        this.session.check_open(py)?;
        let asked = Asked::new(statement, args, into, timeout, types, true)?;
        let size = call::batch_size(py, batch)?;
        let deadline = Deadline::after(asked.timeout.or(this.default_timeout));
        let prepared = this.session.statements.get(&asked.sql, &asked.types)?;
        prepared.refuse_copy(py, "stream")?;
        let id = this.session.next_id();
        let (stream, shared) = Stream::new_blocking(slf.clone().unbind(), id, size);
        let stream = Py::new(py, stream)?;
        this.keep_turn(py, deadline)?;
        this.turn.stream_opened(py);
        *lock(&this.streaming) = Some((id, deadline));
        // Again: while this call waited for its turn, the connection may have ended, or been taken by a transaction.
        let opened = this
            .session
            .check_open(py)
            .and_then(|()| this.open_stream(py, id, prepared, asked, shared, size, deadline));
        if let Err(error) = opened {
            stream.get().refused();
            this.stream_forgotten(id);
            return Err(error);
        }
        Ok(stream)
    }

    /// Runs a text of several statements by the simple protocol.
    #[pyo3(signature = (sql, /, *, timeout=None))]
    fn execute_script(&self, py: Python<'_>, sql: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let deadline = Deadline::after(call::timeout(py, timeout)?.or(self.default_timeout));
        let _turn = self.take_turn(py, deadline)?;
        self.session.check_open(py)?;
        let request = self.session.script_request(py, self.session.next_id(), sql, None)?;
        self.run(py, request, deadline)
    }

    /// Runs a collected batch.
    fn _run_batch(&self, py: Python<'_>, batch: &BatchBuilder, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let deadline = Deadline::after(call::timeout(py, timeout)?.or(self.default_timeout));
        let _turn = self.take_turn(py, deadline)?;
        self.session.check_open(py)?;
        let mut collected = batch.take(py)?;
        for statement in collected.missing() {
            if let Err(error) = self.prepare(py, &statement, deadline) {
                collected.stop_at(&statement);
                collected.abort(py, &error);
                return Err(error);
            }
        }
        let request = self.session.batch_request(py, self.session.next_id(), collected, None)?;
        self.run(py, request, deadline)
    }

    /// Has the statement of an `execute_many` described.
    #[pyo3(signature = (sql, types, timeout=None))]
    fn _describe(
        &self,
        sql: &Bound<'_, PyString>,
        types: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Entry> {
        let py = sql.py();
        let deadline = Deadline::after(call::timeout(py, timeout)?.or(self.default_timeout));
        let _turn = self.take_turn(py, deadline)?;
        self.session.check_open(py)?;
        let types = types.map_or_else(|| Ok(Vec::new()), call::type_oids)?;
        let prepared = self.session.statements.get(sql, &types)?;
        prepared.refuse_copy(py, "execute_many")?;
        if prepared.stage() != Stage::Described {
            self.prepare(py, &prepared, deadline)?;
        }
        Ok(Entry(prepared))
    }

    /// Begins COPY FROM STDIN of columns given by name and type. The connection is its own until it is done.
    fn _copy_in(
        slf: &Bound<'_, Self>,
        sql: String,
        columns: Vec<(Bound<'_, PyString>, u32)>,
        timeout: Option<f64>,
    ) -> PyResult<Feed> {
        let (py, this) = (slf.py(), slf.get());
        this.session.check_open(py)?;
        this.begin_feeding(py, timeout)?;
        this.begin(py, Feed::copy(slf.as_any(), sql, columns))
    }

    /// Begins a statement with many parameter sets; it has been described.
    fn _execute_many(slf: &Bound<'_, Self>, prepared: &Entry, timeout: Option<f64>) -> PyResult<Feed> {
        let (py, this) = (slf.py(), slf.get());
        this.session.check_open(py)?;
        this.begin_feeding(py, timeout)?;
        this.begin(py, Feed::many(slf.as_any(), Arc::clone(&prepared.0)))
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

    /// Ties the client to its transport's descriptor, whose receive timeout is 100 ms.
    fn _attach(&self, py: Python<'_>, hooks: Py<PyAny>, descriptor: i32) -> PyResult<()> {
        if self.hooks.set(hooks).is_err() {
            return Err(error::interface_error(py, "the connection has been opened before"));
        }
        let socket = *self.line.get_or_init(|| Socket::new(descriptor));
        self.spin.get_or_init(|| Spin::new(socket));
        *lock(&self.socket) = Some(socket);
        Ok(())
    }

    /// Writes StartupMessage and waits for the first ReadyForQuery, at most `timeout` seconds.
    fn _start(&self, py: Python<'_>, parameters: Vec<(Vec<u8>, Vec<u8>)>, timeout: Option<f64>) -> PyResult<()> {
        let _turn = self.take_turn(py, Deadline::after(None))?;
        let pairs: Vec<(&[u8], &[u8])> = parameters.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
        let started = lock(&self.session.state).conn.start(&pairs);
        started.map_err(|e| error::encode_error(py, &e))?;
        let deadline = Deadline::after(timeout);
        while !lock(&self.session.state).conn.is_started() {
            if deadline.has_passed() {
                return Err(error::query_timeout(
                    py,
                    format!("the server did not finish start-up within {} s", deadline.seconds),
                ));
            }
            if let Err(error) = self.turn_once(py, None, deadline.shorter_than_slice()) {
                return Err(if self.session.is_ended() { self.session.reason(py) } else { error });
            }
        }
        Ok(())
    }

    /// The line is to be given up.
    fn _end(&self, py: Python<'_>, reason: Bound<'_, PyAny>) -> PyResult<()> {
        self.finish(py, PyErr::from_value(reason))
    }

    /// Sends Terminate, as far as the socket takes it at once; nothing when another thread keeps the connection for longer
    /// than `timeout` seconds, or this one is in the middle of a call.
    fn _terminate(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        if self.turn.is_mine() {
            // A stream or COPY of this thread that was left open: it ends with the session.
            let open = lock(&self.streaming).as_ref().map(|(id, _)| *id);
            open.into_iter().for_each(|id| self.stream_forgotten(id));
            drop(self.end_feeding());
        }
        let Taken::Turn(_turn) = self.turn.take_until(py, Deadline::after(Some(timeout)).at)? else { return Ok(()) };
        let socket = lock(&self.socket);
        let Some(socket) = *socket else { return Ok(()) };
        let mut state = lock(&self.session.state);
        state.conn.terminate();
        while !state.conn.outgoing().is_empty() {
            match socket.send(state.conn.outgoing()) {
                Ok(Moved::Bytes(count)) => state.conn.sent(count),
                // The server notices the end of the connection as well.
                Ok(Moved::WouldBlock | Moved::End) | Err(_) => break,
            }
        }
        Ok(())
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

    /// Looks at the socket: a server that has gone is noticed before the next call.
    #[getter]
    fn closed(&self, py: Python<'_>) -> PyResult<bool> {
        if let Some(_turn) = self.turn.take_if_free() {
            self.look(py)?;
        }
        Ok(self.session.is_ended())
    }

    #[getter]
    fn statement_cache<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        call::cache_stats(py, &self.session)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(hooks) = self.hooks.get() {
            visit.call(hooks)?;
        }
        self.session.visit(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        self.session.clear(py);
    }
}
