//! Rows as they come: an open portal read in batches, the next ones asked for before the last is handed out.
//!
//! ```text
//!   Bind Execute(n) Flush ──▶ rows, PortalSuspended ──▶ Execute(n) Flush ──▶ … CommandComplete ──▶ Close Sync
//!                                                   closed early ──▶ Close Sync, what comes is discarded
//! ```
//!
//! A portal outside a transaction dies at Sync, so Sync is withheld and the stream is a barrier (protocol chapter,
//! "Extended Query"). At most three batches exist: one being handed out, and two that have come or are coming. The second of
//! these keeps the server from waiting for us between two batches. It is asked for only
//!
//! - when a batch has been read and more is wanted: who leaves within the first one has had one more made, not two;
//! - while batches come quickly: else nothing is gained, and who closes the stream would wait for both;
//! - from a portal of which Describe said that it has rows. When that has come to its end, an Execute too many is answered by
//!   an empty CommandComplete. Other portals refuse to run twice ("portal cannot be run"), which would undo the statement.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgoxide_protocol::client::{Request, RequestId, Resend, Step};
use pgoxide_protocol::message::command_complete::CommandComplete;
use pgoxide_protocol::message::{close, execute, flush, sync};
use pgoxide_sqltext::Command;
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;
use smallvec::{SmallVec, smallvec};

use crate::arguments::Parameters;
use crate::async_client::AsyncClient;
use crate::awaitable::Awaitable;
use crate::blocking_client::BlockingClient;
use crate::convert::Rules;
use crate::error::{self, Kept};
use crate::ffi::iteration::stop_with;
use crate::job::{Fault, Job, Kind, Run};
use crate::plan::{Plan, SentAs};
use crate::prepared::Prepared;
use crate::session::{Session, append_bind, describe_portal};
use crate::sync::lock;
use crate::tag::CommandTag;

/// Batches of a portal that have been asked for and were not taken, at most.
const AHEAD: usize = 2;

/// A batch that came within this time came quickly. Asking for it late costs some 50 us, so that little is lost by waiting
/// for slower ones.
const QUICK: Duration = Duration::from_millis(20);

/// Batches of a COPY that have come and were not taken, until nothing more is received. They are smaller, and the server
/// does not wait to be asked.
const COPIES_AHEAD: usize = 4;

/// How the next rows are come by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flow {
    /// So many are asked for at a time.
    Portal(u32),
    /// The server sends all of them, as fast as they are received.
    Copy,
}

/// What came behind a batch's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchEnd {
    /// PortalSuspended: there may be more.
    Suspended,
    /// There are no more.
    Complete,
    /// Whatever it was: a row could not be built. The reader is told once the portal is closed.
    Unreadable,
}

struct Inner {
    batches: VecDeque<Vec<Py<PyAny>>>,
    /// Unanswered Executes.
    asked: usize,
    /// When the server began with the one it is at, as far as is known here.
    since: Instant,
    /// The last batch came quickly.
    quick: bool,
    /// The portal may be asked for rows behind its last one.
    repeats: bool,
    /// A batch has been taken.
    taken: bool,
    /// It has been read, and more is wanted.
    goes_on: bool,
    /// The portal may have more rows.
    more: bool,
    /// It has none: all have come.
    finished: bool,
    /// ReadyForQuery has come, or the connection ended.
    over: bool,
    /// Nobody reads any more.
    closed: bool,
    /// There was more to read when it was closed.
    cut: bool,
    /// A read was given up, and the statement with it: what it had left is missing.
    cancelled: bool,
    /// Why rows are missing. Every read from then on raises it: whoever reads on must not take it for an end.
    error: Option<Kept>,
    /// What a COPY did.
    tag: Option<CommandTag>,
    waiting: Option<Py<Awaitable>>,
}

/// What the job and the reader of a stream share.
pub(crate) struct Shared {
    pub(crate) id: RequestId,
    inner: Mutex<Inner>,
}

impl Shared {
    fn new(id: RequestId) -> Self {
        let inner = Inner {
            batches: VecDeque::new(),
            asked: 1,
            since: Instant::now(),
            quick: false,
            repeats: false,
            taken: false,
            goes_on: false,
            more: true,
            finished: false,
            over: false,
            closed: false,
            cut: false,
            cancelled: false,
            error: None,
            tag: None,
            waiting: None,
        };
        Self { id, inner: Mutex::new(inner) }
    }

    /// The stream's request has finished. Who waits is to be woken.
    pub(crate) fn end(&self, error: Option<PyErr>) -> Option<Py<Awaitable>> {
        let error = kept(error);
        let mut inner = lock(&self.inner);
        inner.over = true;
        inner.more = false;
        inner.finished |= inner.tag.is_some() && error.is_none();
        // What was there first (a deadline) is why the request ended.
        let surplus = if inner.error.is_none() { std::mem::replace(&mut inner.error, error) } else { error };
        let waiting = inner.waiting.take();
        drop(inner);
        drop(surplus);
        waiting
    }

    /// A batch of a COPY, and what is wrong with the value behind it. Who waits is to be woken. The flag: so much has come
    /// that nothing more should be received for now.
    pub(crate) fn copied(&self, batch: Vec<Py<PyAny>>, failure: Option<PyErr>) -> (Option<Py<Awaitable>>, bool) {
        let failure = kept(failure);
        let mut inner = lock(&self.inner);
        let failed = failure.is_some();
        let surplus = if inner.error.is_none() { std::mem::replace(&mut inner.error, failure) } else { failure };
        let unwanted = if inner.closed || batch.is_empty() {
            Some(batch)
        } else {
            inner.batches.push_back(batch);
            None
        };
        let wake = if inner.batches.is_empty() && !failed { None } else { inner.waiting.take() };
        let full = !inner.closed && inner.batches.len() >= COPIES_AHEAD;
        drop(inner);
        drop((unwanted, surplus));
        (wake, full)
    }

    /// The COPY has come to its end.
    pub(crate) fn complete(&self, complete: &CommandComplete<'_>) {
        let tag = String::from_utf8_lossy(complete.tag).into_owned();
        lock(&self.inner).tag = Some(CommandTag::new(tag, complete.rows_affected()));
    }

    /// A value of a COPY that still runs could not be read.
    pub(crate) fn has_failed_midway(&self) -> bool {
        let inner = lock(&self.inner);
        inner.error.is_some() && !inner.over
    }

    /// A read was cancelled, and its statement with it.
    pub(crate) fn cancel(&self) {
        let mut inner = lock(&self.inner);
        inner.cancelled = !inner.closed;
    }

    /// Why nothing more can be read; None at a proper end, or while there may be more.
    fn failure(&self, py: Python<'_>) -> Option<PyErr> {
        let (error, cancelled, cut) = {
            let inner = lock(&self.inner);
            (inner.error.as_ref().map(|error| error.clone_ref(py)), inner.cancelled, inner.cut)
        };
        if let Some(error) = error {
            return Some(error.error(py));
        }
        if cancelled {
            return Some(error::interface_error(
                py,
                "an earlier read of this stream was cancelled, which ended its statement: rows are missing; run it again",
            ));
        }
        cut.then(|| error::interface_error(py, "the stream was closed before its end: rows are missing"))
    }

    pub(crate) fn is_over(&self) -> bool {
        lock(&self.inner).over
    }

    /// Nobody waits by `reply` any more.
    fn withdraw(&self, reply: &Py<Awaitable>) {
        let mut inner = lock(&self.inner);
        let withdrawn =
            if inner.waiting.as_ref().is_some_and(|waiting| waiting.is(reply)) { inner.waiting.take() } else { None };
        drop(inner);
        drop(withdrawn);
    }
}

/// An error to be kept. Made of it outside locks: that may run Python.
fn kept(error: Option<PyErr>) -> Option<Kept> {
    // Attached already, as whoever has a PyErr to give.
    error.map(|error| Python::attach(|py| Kept::new(py, error)))
}

impl Inner {
    /// All rows have come and been taken.
    fn complete(&self) -> bool {
        self.finished && self.batches.is_empty()
    }

    /// An Execute has been answered.
    fn answered(&mut self, end: BatchEnd) {
        self.asked = self.asked.saturating_sub(1);
        let now = Instant::now();
        self.quick = now.duration_since(self.since) <= QUICK;
        self.since = now;
        self.more = end == BatchEnd::Suspended;
        self.finished = end == BatchEnd::Complete;
    }

    /// How many Executes are to be written now; `kept` batches wait to be taken.
    fn wanted(&self, kept: usize) -> usize {
        if self.closed || !self.more {
            return 0;
        }
        let ahead = if self.goes_on && self.quick && self.repeats { AHEAD } else { 1 };
        ahead.saturating_sub(kept + self.asked)
    }
}

/// The job of a stream.
pub(crate) struct StreamState {
    run: Box<Run>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) size: u32,
    /// The portal has come to its end, or a row of it could not be built.
    ended: bool,
}

impl StreamState {
    pub(crate) fn statement(&self) -> &Arc<Prepared> {
        &self.run.prepared
    }

    /// It is the second attempt, after its statement was lost.
    pub(crate) const fn is_again(&self) -> bool {
        self.run.again
    }

    pub(crate) fn into_parts(self) -> (Box<Run>, Arc<Shared>, u32) {
        (self.run, self.shared, self.size)
    }

    /// Its portal's description came.
    pub(crate) fn described(
        &mut self,
        py: Python<'_>,
        plan: Option<Arc<Plan>>,
        sent: SentAs,
        rules: &Rules,
    ) -> PyResult<()> {
        self.run.described(py, plan, sent, rules)
    }

    pub(crate) fn rows(&mut self, py: Python<'_>, frames: &[u8], count: usize) -> Result<(), Fault> {
        if lock(&self.shared.inner).closed {
            return Ok(());
        }
        let read = self.run.rows(py, frames, count);
        // What is in front of a row that cannot be read is handed out too.
        self.run.publish(py);
        read?;
        self.run.refuse_deferred(py).map_err(Fault::Call)
    }

    /// The rows of the batch that just ended, so. None: it was asked for behind the last one.
    pub(crate) fn take_batch(&mut self, end: BatchEnd) -> Option<Vec<Py<PyAny>>> {
        if std::mem::replace(&mut self.ended, end != BatchEnd::Suspended) {
            self.ended = true;
            return None;
        }
        Some(self.run.take_rows())
    }

    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }
}

/// A stream whose statement may not be described yet.
pub(crate) struct StreamCall {
    pub(crate) run: Box<Run>,
    pub(crate) arguments: Parameters,
    pub(crate) shared: Arc<Shared>,
    pub(crate) size: u32,
}

impl Session {
    /// The request that opens a stream's portal. Its statement is described.
    pub(crate) fn stream_request(&self, py: Python<'_>, id: RequestId, call: StreamCall) -> PyResult<Request<Job>> {
        let StreamCall { mut run, arguments, shared, size } = call;
        let prepared = Arc::clone(&run.prepared);
        let Some(described) = prepared.described() else {
            return Err(error::interface_error(py, "the statement has not been described"));
        };
        run.use_plan(py, described.plan.as_ref())?;
        let mut bytes = Vec::with_capacity(128);
        let mut steps = SmallVec::new();
        let closing = self.close_given_up(py, &mut bytes, &mut steps)?;
        let (arguments, formats) = (arguments.bind(py), run.result_formats());
        append_bind(py, &self.options.rules, &prepared, described, arguments, formats, &mut bytes)?;
        steps.push(Step::Bind);
        describe_portal(py, &prepared, &mut bytes, &mut steps)?;
        execute::write(&mut bytes, b"", size).map_err(|e| error::encode_error(py, &e))?;
        flush::write(&mut bytes);
        steps.push(Step::Execute);
        lock(&shared.inner).repeats = prepared.command == Command::Plain && described.plan.is_some();
        let kind = Kind::Stream(StreamState { run, shared: Arc::clone(&shared), size, ended: false });
        let job = Job::new(kind, None).of_stream(shared).closing(closing);
        let resend = if prepared.command == Command::Plain { Resend::Passive } else { Resend::Never };
        Ok(Request { id, bytes, steps, barrier: true, open: true, resend, job })
    }

    /// A batch has come: keeps it, asks for more, or ends the portal. Who waits is to be woken.
    pub(crate) fn stream_batch(
        &self,
        id: RequestId,
        shared: &Shared,
        rows: Vec<Py<PyAny>>,
        end: BatchEnd,
        size: u32,
    ) -> Option<Py<Awaitable>> {
        let mut inner = lock(&shared.inner);
        inner.answered(end);
        let unwanted = if inner.closed || rows.is_empty() {
            Some(rows)
        } else {
            inner.batches.push_back(rows);
            None
        };
        let wake = if inner.batches.is_empty() { None } else { inner.waiting.take() };
        // One that waits takes the batch at once.
        let kept = inner.batches.len() - usize::from(wake.is_some() && !inner.batches.is_empty());
        if inner.closed || !inner.more {
            self.close_portal(id);
        } else {
            self.ask_for_batches(id, size, &mut inner, kept);
        }
        drop(inner);
        drop(unwanted);
        wake
    }

    /// Asks for as many batches as may be asked for while `kept` wait to be taken. True when something was written.
    fn ask_for_batches(&self, id: RequestId, size: u32, inner: &mut Inner, kept: usize) -> bool {
        let wanted = inner.wanted(kept);
        if wanted == 0 {
            return false;
        }
        let mut bytes = Vec::with_capacity(40);
        let steps: SmallVec<[Step; AHEAD]> = smallvec![Step::Execute; wanted];
        for _ in 0..wanted {
            // Neither the empty name nor the number can be refused.
            if execute::write(&mut bytes, b"", size).is_err() {
                return false;
            }
        }
        flush::write(&mut bytes);
        let written = lock(&self.state).conn.extend(id, &bytes, &steps);
        if written {
            if inner.asked == 0 {
                inner.since = Instant::now();
            }
            inner.asked += wanted;
        }
        written
    }

    /// Ends the portal, unless that has been done: nothing is appended to a request that has its Sync.
    fn close_portal(&self, id: RequestId) {
        let mut bytes = Vec::with_capacity(16);
        let mut steps: SmallVec<[Step; 2]> = SmallVec::new();
        if close::write_portal(&mut bytes, b"").is_ok() {
            steps.push(Step::Close);
        }
        sync::write(&mut bytes);
        steps.push(Step::Sync);
        lock(&self.state).conn.extend(id, &bytes, &steps);
    }
}

enum Client {
    Async(Py<AsyncClient>),
    Blocking(Py<BlockingClient>),
}

/// Rows of a statement as they come, in bounded memory; what `stream()` returns. Iterate it once; leaving its block,
/// `break`, or dropping it ends the statement. It is an asynchronous iterator on an asynchronous connection and a plain
/// one on a blocking connection.
#[pyclass(frozen, weakref, module = "pgoxide._core", name = "Stream")]
pub(crate) struct Stream {
    client: Client,
    id: RequestId,
    flow: Flow,
    shared: Arc<Shared>,
    /// The batch being handed out row by row, last row first.
    current: Mutex<Vec<Py<PyAny>>>,
}

impl Stream {
    pub(crate) fn new_async(client: Py<AsyncClient>, id: RequestId, flow: Flow) -> (Self, Arc<Shared>) {
        Self::new(Client::Async(client), id, flow)
    }

    pub(crate) fn new_blocking(client: Py<BlockingClient>, id: RequestId, flow: Flow) -> (Self, Arc<Shared>) {
        Self::new(Client::Blocking(client), id, flow)
    }

    fn new(client: Client, id: RequestId, flow: Flow) -> (Self, Arc<Shared>) {
        let shared = Arc::new(Shared::new(id));
        (Self { client, id, flow, shared: Arc::clone(&shared), current: Mutex::new(Vec::new()) }, shared)
    }

    fn session(&self) -> &Session {
        match &self.client {
            Client::Async(client) => &client.get().session,
            Client::Blocking(client) => &client.get().session,
        }
    }

    /// The next batch if one has come, asking for the one after it. The flag: the stream is over.
    fn take_batch(&self, py: Python<'_>) -> PyResult<(Option<Vec<Py<PyAny>>>, bool)> {
        let (batch, over, asked, receives) = {
            let mut inner = lock(&self.shared.inner);
            inner.goes_on = inner.taken;
            let batch = inner.batches.pop_front();
            inner.taken |= batch.is_some();
            let asks = match self.flow {
                Flow::Portal(size) => {
                    let kept = inner.batches.len();
                    self.session().ask_for_batches(self.id, size, &mut inner, kept)
                }
                Flow::Copy => false,
            };
            let over = inner.batches.is_empty() && (inner.over || inner.closed);
            (batch, over, asks, inner.batches.len() <= COPIES_AHEAD / 2)
        };
        let flushed = if asked { self.flush(py) } else { Ok(()) };
        if let Err(error) = flushed.and_then(|()| if receives { self.receive_again(py) } else { Ok(()) }) {
            // A signal's, from the loop's own code: whoever reads on misses nothing.
            self.put_back(batch);
            return Err(error);
        }
        match batch.is_none().then(|| self.shared.failure(py)).flatten() {
            Some(error) => Err(error),
            None => Ok((batch, over)),
        }
    }

    /// A batch that was not handed out is the next one.
    fn put_back(&self, batch: Option<Vec<Py<PyAny>>>) {
        let Some(batch) = batch else { return };
        let mut inner = lock(&self.shared.inner);
        let unwanted = if inner.closed {
            Some(batch)
        } else {
            inner.batches.push_front(batch);
            None
        };
        drop(inner);
        drop(unwanted);
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        match &self.client {
            Client::Async(client) => client.get().flush(py),
            Client::Blocking(client) => {
                client.get().send_some();
                Ok(())
            }
        }
    }

    /// A COPY's reader has caught up, or gives it up. A blocking one receives when it is read.
    fn receive_again(&self, py: Python<'_>) -> PyResult<()> {
        match (self.flow, &self.client) {
            (Flow::Copy, Client::Async(client)) => client.get().receive_again(py),
            _ => Ok(()),
        }
    }

    /// Nobody reads any more: ends the portal, whose rows that still come are discarded; a request that has not been
    /// written is dropped. False when that has been done.
    fn give_up(&self, py: Python<'_>) -> PyResult<bool> {
        let rows = std::mem::take(&mut *lock(&self.current));
        let (batches, runs) = {
            let mut inner = lock(&self.shared.inner);
            if std::mem::replace(&mut inner.closed, true) {
                return Ok(false);
            }
            inner.cut = !rows.is_empty() || !inner.complete();
            (std::mem::take(&mut inner.batches), !inner.over)
        };
        drop((rows, batches));
        // In a child of its process it is not this one's to end.
        if self.session().home.is_elsewhere() {
            return Ok(false);
        }
        if !runs {
            return Ok(true);
        }
        if self.session().is_running(self.id) {
            match self.flow {
                Flow::Portal(_) => self.session().close_portal(self.id),
                Flow::Copy => self.stop_copy(py)?,
            }
            return Ok(true);
        }
        match &self.client {
            Client::Async(client) => {
                AsyncClient::cancel_request(client.bind(py), self.id)?;
                client.get().end_stream(py, self.id, &self.shared, None, false)?;
            }
            Client::Blocking(client) => {
                client.get().drop_unwritten(self.id);
                let waiting = self.shared.end(None);
                drop(waiting);
            }
        }
        Ok(true)
    }

    /// A COPY has no end that could be written: it is cancelled at the server, and what still comes is discarded.
    fn stop_copy(&self, py: Python<'_>) -> PyResult<()> {
        match &self.client {
            Client::Async(client) => {
                AsyncClient::cancel_request(client.bind(py), self.id)?;
                client.get().receive_again(py)
            }
            Client::Blocking(client) => {
                client.get().stop_copy(py, self.id, &self.shared);
                Ok(())
            }
        }
    }

    /// It could not be opened: there is nothing to end.
    pub(crate) fn refused(&self) {
        lock(&self.shared.inner).closed = true;
    }

    fn pop(&self) -> Option<Py<PyAny>> {
        lock(&self.current).pop()
    }

    fn refill(&self, mut batch: Vec<Py<PyAny>>) -> Option<Py<PyAny>> {
        batch.reverse();
        let first = batch.pop();
        let old = std::mem::replace(&mut *lock(&self.current), batch);
        drop(old);
        first
    }

    /// A batch, waiting for it on this thread; None at the end.
    fn wait_batch(&self, py: Python<'_>, client: &Py<BlockingClient>) -> PyResult<Option<Vec<Py<PyAny>>>> {
        loop {
            match self.take_batch(py)? {
                (Some(batch), _) => return Ok(Some(batch)),
                (None, true) => return Ok(None),
                (None, false) => client.get().stream_turn(py, self.id, &self.shared)?,
            }
        }
    }

    /// A reply that settles when a batch has come or the stream is over.
    fn wait_reply(&self, py: Python<'_>, client: &Py<AsyncClient>) -> PyResult<Py<Awaitable>> {
        let reply = Py::new(py, Awaitable::new(py, client.clone_ref(py), self.id, "stream"))?;
        reply.get().close_unseen();
        let earlier = {
            let mut inner = lock(&self.shared.inner);
            match &inner.waiting {
                // The one that came first goes on waiting.
                Some(waiting) if waiting.get().is_pending() => Err(()),
                _ => Ok(inner.waiting.replace(reply.clone_ref(py))),
            }
        };
        match earlier {
            Ok(settled) => {
                drop(settled);
                Ok(reply)
            }
            Err(()) => Err(error::interface_error(py, "two tasks read one stream: another one waits for its rows")),
        }
    }
}

#[pymethods]
impl Stream {
    fn __aiter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        match &slf.get().client {
            Client::Async(_) => Ok(slf),
            Client::Blocking(_) => Err(error::interface_error(slf.py(), "a blocking stream: use a plain for")),
        }
    }

    fn __anext__(slf: &Bound<'_, Self>) -> PyResult<StreamStep> {
        Ok(StreamStep { stream: slf.clone().unbind(), whole: false, waiting: Mutex::new(None) })
    }

    fn __iter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        match &slf.get().client {
            Client::Blocking(_) => Ok(slf),
            Client::Async(_) => Err(error::interface_error(slf.py(), "an asynchronous stream: use async for")),
        }
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if let Some(row) = self.pop() {
            return Ok(Some(row));
        }
        let Client::Blocking(client) = &self.client else {
            return Err(error::interface_error(py, "an asynchronous stream: use async for"));
        };
        Ok(self.wait_batch(py, client)?.and_then(|batch| self.refill(batch)))
    }

    /// The next rows as a list, at most `batch` of them; empty at the end. Awaitable on an asynchronous connection.
    fn next_batch(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        match &slf.get().client {
            Client::Async(_) => {
                let step = StreamStep { stream: slf.clone().unbind(), whole: true, waiting: Mutex::new(None) };
                Ok(Py::new(py, step)?.into_any())
            }
            Client::Blocking(client) => {
                let mut rows = slf.get().left_over();
                if rows.is_empty() {
                    rows = slf.get().wait_batch(py, client)?.unwrap_or_default();
                }
                Ok(PyList::new(py, rows)?.into_any().unbind())
            }
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        Self::__iter__(slf)
    }

    fn __exit__(&self, py: Python<'_>, kind: Py<PyAny>, error: Py<PyAny>, traceback: Py<PyAny>) -> PyResult<()> {
        let _ = (kind, error, traceback); // whatever it was, it goes on
        self._close(py)
    }

    fn __aenter__(slf: Bound<'_, Self>) -> PyResult<Ready> {
        Ok(Ready(Self::__aiter__(slf)?.into_any().unbind()))
    }

    fn __aexit__(&self, py: Python<'_>, kind: Py<PyAny>, error: Py<PyAny>, traceback: Py<PyAny>) -> PyResult<Ready> {
        let _ = (kind, error, traceback); // whatever it was, it goes on
        self._close(py)?;
        Ok(Ready(py.None()))
    }

    /// Ends the statement; what was not read is discarded. Twice does nothing. Awaitable on an asynchronous connection.
    fn close(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self._close(py)?;
        match &self.client {
            Client::Async(_) => Ok(Py::new(py, Ready(py.None()))?.into_any()),
            Client::Blocking(_) => Ok(py.None()),
        }
    }

    /// What a COPY did, once all of it has come; None before, and for statements.
    #[getter]
    fn tag(&self) -> Option<CommandTag> {
        lock(&self.shared.inner).tag.clone()
    }

    /// As `close`, without anything to await.
    fn _close(&self, py: Python<'_>) -> PyResult<()> {
        if !self.give_up(py)? {
            return Ok(());
        }
        match &self.client {
            Client::Async(client) => {
                client.get().stream_ended(self.id);
                self.flush(py)
            }
            Client::Blocking(client) => client.get().end_stream(py, self.id, &self.shared),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.client {
            Client::Async(client) => visit.call(client)?,
            Client::Blocking(client) => visit.call(client)?,
        }
        if let Ok(rows) = self.current.try_lock() {
            rows.iter().try_for_each(|row| visit.call(row))?;
        }
        // What the job and the reader share is the reader's to visit.
        let Ok(inner) = self.shared.inner.try_lock() else { return Ok(()) };
        inner.batches.iter().flatten().try_for_each(|row| visit.call(row))?;
        if let Some(error) = &inner.error {
            error.visit(&visit)?;
        }
        inner.waiting.iter().try_for_each(|waiting| visit.call(waiting))
    }

    fn __clear__(&self) {
        let rows = std::mem::take(&mut *lock(&self.current));
        let mut inner = lock(&self.shared.inner);
        let (batches, error) = (std::mem::take(&mut inner.batches), inner.error.take());
        let waiting = inner.waiting.take();
        // A finalizer may still read it.
        inner.cut = true;
        drop(inner);
        drop((rows, batches, error, waiting));
    }
}

impl Stream {
    /// What is left of the batch that was begun row by row.
    fn left_over(&self) -> Vec<Py<PyAny>> {
        let mut rows = std::mem::take(&mut *lock(&self.current));
        rows.reverse();
        rows
    }
}

impl Drop for Stream {
    /// `break`, or forgotten: the portal ends, the connection is free for others.
    fn drop(&mut self) {
        // In a child of its process it is not this one's to end.
        if self.session().home.is_elsewhere() || lock(&self.shared.inner).closed {
            return;
        }
        // Not while the interpreter shuts down: the line goes with it.
        let _ = Python::try_attach(|py| {
            let pending = PyErr::take(py);
            if let Err(error) = self.forget(py) {
                error.write_unraisable(py, None);
            }
            if let Some(error) = pending {
                error.restore(py);
            }
        });
    }
}

impl Stream {
    /// As `close`, without waiting: the end is sent now, so that the server lets go of locks and snapshot.
    fn forget(&self, py: Python<'_>) -> PyResult<()> {
        let given_up = self.give_up(py);
        match &self.client {
            Client::Async(client) => {
                client.get().stream_ended(self.id);
                self.flush(py)?;
            }
            Client::Blocking(client) => client.get().stream_dropped(self.id),
        }
        given_up.map(|_| ())
    }
}

/// One step of an asynchronous iteration: ready at once while the batch lasts. One is made a row, hence the free list.
#[pyclass(frozen, freelist = 8, module = "pgoxide._core")]
pub(crate) struct StreamStep {
    stream: Py<Stream>,
    /// A whole batch instead of one row.
    whole: bool,
    waiting: Mutex<Option<Py<Awaitable>>>,
}

impl StreamStep {
    /// The value, once it is there.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let stream = self.stream.get();
        if self.whole {
            let rows = stream.left_over();
            if !rows.is_empty() {
                return Ok(Some(PyList::new(py, rows)?.into_any().unbind()));
            }
        } else if let Some(row) = stream.pop() {
            return Ok(Some(row));
        }
        match stream.take_batch(py)? {
            (Some(batch), _) if self.whole => Ok(Some(PyList::new(py, batch)?.into_any().unbind())),
            (Some(batch), _) => Ok(stream.refill(batch)),
            (None, true) if self.whole => Ok(Some(PyList::empty(py).into_any().unbind())),
            (None, true) => Err(PyStopAsyncIteration::new_err(())),
            (None, false) => Ok(None),
        }
    }
}

#[pymethods]
impl StreamStep {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let waited = lock(&self.waiting).take();
        if let Some(waited) = waited {
            // Its own error, or CancelledError.
            waited.get().outcome(py)?;
        }
        if let Some(value) = self.poll(py)? {
            return stop_with(value.into_bound(py));
        }
        let Client::Async(client) = &self.stream.get().client else {
            return Err(error::interface_error(py, "a blocking stream: use a plain for"));
        };
        client.get().check_loop(py)?;
        let reply = self.stream.get().wait_reply(py, client)?;
        let yielded = Awaitable::begin_wait(py, &reply);
        *lock(&self.waiting) = Some(reply);
        Ok(Some(yielded))
    }

    fn send(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let _ = value; // nothing is sent to a future
        match self.__next__(py)? {
            Some(waiting) => Ok(waiting),
            None => Err(PyErr::fetch(py)),
        }
    }

    #[pyo3(signature = (exception, value=None, traceback=None))]
    fn throw(
        &self,
        exception: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        self.close();
        Err(crate::awaitable::thrown(exception, value, traceback)?)
    }

    fn close(&self) {
        let waited = lock(&self.waiting).take();
        if let Some(waited) = waited {
            self.stream.get().shared.withdraw(&waited);
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.stream)?;
        match self.waiting.try_lock().as_deref() {
            Ok(Some(waiting)) => visit.call(waiting),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        self.close();
    }
}

impl Drop for StreamStep {
    fn drop(&mut self) {
        self.close();
    }
}

/// An awaitable that has its value.
#[pyclass(frozen, module = "pgoxide._core")]
pub(crate) struct Ready(Py<PyAny>);

impl Ready {
    pub(crate) const fn new(value: Py<PyAny>) -> Self {
        Self(value)
    }
}

#[pymethods]
impl Ready {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        stop_with(self.0.clone_ref(py).into_bound(py))
    }
}
