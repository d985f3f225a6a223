//! The asynchronous client: the session on the caller's own event loop.
//!
//! The loop tells when the descriptor can be read or written; everything between a call and its bytes, and between
//! bytes and a woken task, happens in one call into this module. Requests made while others are in flight are written
//! together, once per turn of the loop.
//!
//! | file | |
//! | --- | --- |
//! | `asking.rs` | from a call to a submitted request, or to its place among the calls that wait |
//! | `writing.rs` | from requests to bytes |
//! | `reading.rs` | from bytes to woken tasks |
//! | `deadlines.rs` | time limits |
//! | `ending.rs` | calls that are given up, and the connection's own end |
//! | `transaction.rs` | blocks entered, ended and left |
//! | `reader.rs` | what the event loop calls |
//! | `routed.rs` | calls that a pool gives to it |

mod asking;
mod deadlines;
mod ending;
mod reader;
mod reading;
mod routed;
mod transaction;
mod writing;

use std::collections::BinaryHeap;
use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use pgoxide_protocol::buffer::RecvBuffer;
use pgoxide_protocol::client::{CancelDelivered, RequestId, Standing};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple, PyWeakrefReference};

use self::deadlines::Deadline;
pub(crate) use self::reader::Reader;
use crate::awaitable::Awaitable;
use crate::batch::BatchBuilder;
use crate::call::{self, Asked};
use crate::client_options::ClientOptions;
use crate::copy_out::copy_rows;
use crate::descriptions::Descriptions;
use crate::event_loop::LoopTies;
use crate::feed::{CopyAsked, Feed, Filled};
use crate::gather::Dozing;
use crate::held::{BatchCall, Call, Held};
use crate::io::Socket;
use crate::job::Verb;
use crate::lending::{Lent, given_back};
use crate::named::{Given, SqlText};
use crate::open_streams::OpenStreams;
use crate::pool::PoolRouter;
use crate::prepared::{Entry, Keep};
use crate::session::{Place, Session};
use crate::spin::Wakeful;
use crate::stream::{Flow, Stream};
use crate::sync::lock;
use crate::transaction::Via;
use crate::{error, pyimport};

/// What one read takes at most. Large enough that a bulk result costs few turns of the loop, small enough to stay
/// in the second-level cache while its rows are decoded.
const PAGE: usize = 128 << 10;

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
    core: Arc<Core>,
    /// It is a user's of a pool, and whose `core` this is keeps it for the garbage collector.
    lent: Option<Lent<Self>>,
}

impl Deref for AsyncClient {
    type Target = Core;

    #[inline]
    fn deref(&self) -> &Core {
        &self.core
    }
}

/// One connection, whoever has it.
pub(crate) struct Core {
    pub(crate) session: Session,
    line: Mutex<Line>,
    /// Out while it is read into or decoded from.
    page: Mutex<Option<RecvBuffer>>,
    pub(crate) ties: LoopTies,
    /// The pool it serves, for good, and its place there.
    pub(crate) pool: OnceLock<(Py<PoolRouter>, usize)>,
    /// The transport: `want_write`, `write`, `has_untold`, `cancel`, `arm`, `ended`, `notice`, `notification`.
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
    /// With a descriptor of our own.
    wakeful: OnceLock<Wakeful>,
    dozing: OnceLock<Dozing>,
    /// The loop has been asked not to tell what arrives.
    deaf: AtomicBool,
    deadlines: Mutex<BinaryHeap<Deadline>>,
    /// Sources that wait until less is unsent.
    room_wanted: Mutex<Vec<Py<Awaitable>>>,
    max_queued: usize,
    /// Another call of a task that reads one would wait for itself; other tasks' calls wait.
    pub(crate) streaming: OpenStreams,
    default_timeout: Option<f64>,
}

impl AsyncClient {
    pub(super) fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.ties.event_loop(py)
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

    /// Raises unless the caller is a task or callback of the connection's own loop.
    #[inline]
    fn check_caller(&self, py: Python<'_>) -> PyResult<()> {
        self.check_loop(py)?;
        self.check_stream(py)
    }

    /// As `check_caller`, for the task that reads a stream.
    pub(crate) fn check_loop(&self, py: Python<'_>) -> PyResult<()> {
        self.session.check_home(py)?;
        let running = pyimport::running_loop(py)?.call0()?;
        match self.ties.get() {
            Some(own) if running.is(own) => self.check_mine(py),
            own => Err(wrong_loop(py, &running, own.is_some())),
        }
    }

    /// Raises when it was a user's, who has given it back.
    #[inline]
    pub(crate) fn check_mine(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_given_back() { Err(given_back(py)) } else { Ok(()) }
    }

    #[inline]
    pub(crate) fn is_given_back(&self) -> bool {
        self.lent.as_ref().is_some_and(|lent| lent.is_over(&self.session))
    }

    /// They lead to the same connection.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
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
            && lock(&self.deadlines).peek().is_none_or(|first| due < first.0)
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
}

#[cold]
fn own_stream(py: Python<'_>) -> PyErr {
    error::interface_error(
        py,
        "this task reads a stream of this connection, or feeds it from a source, so another call would wait for itself: end \
         that first, collect what it gives, or use a second connection",
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

#[expect(clippy::too_many_arguments, reason = "Python hands them over by keyword")]
#[pymethods]
impl AsyncClient {
    /// Of `ClientOptions`: a connection. Of a client: the same one, for one acquisition of it from its pool.
    #[new]
    #[pyo3(signature = (of, /))]
    fn new(of: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = of.py();
        if let Ok(whole) = of.cast::<Self>() {
            let core = Arc::clone(&whole.get().core);
            let lent = Lent::new(whole.clone().unbind(), &core.session);
            return Ok(Self { core, lent: Some(lent) });
        }
        let given = of.cast::<ClientOptions>()?.get().take(py)?;
        let (max_queued, default_timeout) = (given.max_queued, given.command_timeout);
        let streaming = OpenStreams::new(given.stream_wait_warning);
        let core = Core {
            session: given.session(py),
            line: Mutex::new(Line::None),
            page: Mutex::new(Some(RecvBuffer::new(PAGE))),
            ties: LoopTies::default(),
            pool: OnceLock::new(),
            hooks: OnceLock::new(),
            reader: OnceLock::new(),
            starting: Mutex::new(None),
            delivering: AtomicBool::new(false),
            flush_armed: AtomicBool::new(false),
            write_armed: AtomicBool::new(false),
            transport_full: AtomicBool::new(false),
            wakeful: OnceLock::new(),
            dozing: OnceLock::new(),
            deaf: AtomicBool::new(false),
            deadlines: Mutex::new(BinaryHeap::new()),
            room_wanted: Mutex::new(Vec::new()),
            max_queued,
            streaming,
            default_timeout,
        };
        Ok(Self { core: Arc::new(core), lent: None })
    }

    // ---- the verbs -------------------------------------------------------------------------------------------
    //
    // Their signatures stand here seven times, and in the other client again: PyO3 reads them off each method, one `impl` a
    // class, and a macro cannot be used inside it. What a verb does is in one place, `ask`.

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_all<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(
            slf,
            Verb::All,
            Asked::new(&slf.get().session, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_one<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(
            slf,
            Verb::One,
            Asked::new(&slf.get().session, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_optional<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(
            slf,
            Verb::Optional,
            Asked::new(&slf.get().session, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_first<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(
            slf,
            Verb::First,
            Asked::new(&slf.get().session, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_value<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(
            slf,
            Verb::Value,
            Asked::new(&slf.get().session, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_column<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(
            slf,
            Verb::Column,
            Asked::new(&slf.get().session, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, timeout=None, types=None, isolate=false, params=None, **named))]
    fn execute<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        Self::ask(
            slf,
            Verb::Execute,
            Asked::new(&slf.get().session, statement, Given { args, params, named }, None, timeout, types, isolate)?,
        )
    }

    /// Rows as they come.
    #[pyo3(signature = (statement, /, *args, into=None, batch=1000, timeout=None, types=None, params=None, **named))]
    fn stream<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        batch: i64,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Stream>> {
        let given = Given { args, params, named };
        Self::open(slf, Asked::new(&slf.get().session, statement, given, into, timeout, types, true)?, batch)
    }

    /// Opens a portal: rows that are asked for part by part.
    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, params=None, **named))]
    fn portal<'py>(
        slf: &Bound<'py, Self>,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<Awaitable>> {
        let given = Given { args, params, named };
        let asked = Asked::new(&slf.get().session, statement, given, into, timeout, types, false)?;
        Self::open_portal(slf, asked, None)
    }

    /// Runs a text of several statements by the simple protocol.
    #[pyo3(signature = (sql, /, *, timeout=None))]
    fn execute_script(slf: &Bound<'_, Self>, sql: SqlText, timeout: Option<f64>) -> PyResult<Py<Awaitable>> {
        Self::script_via(slf, sql.0, timeout, None)
    }

    /// Submits a collected batch; the reply settles when all of it has run.
    #[pyo3(signature = (batch, timeout, commit=false))]
    fn _run_batch(
        slf: &Bound<'_, Self>,
        batch: &BatchBuilder,
        timeout: Option<f64>,
        commit: bool,
    ) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_caller(py)?;
        let via = Via { token: batch.via.as_ref(), commit };
        let mut place = this.session.admit(py, via.token)?;
        let timeout = call::timeout(py, timeout)?;
        let id = this.session.next_id();
        let mut collected = batch.take(py)?;
        if let Place::Now(standing) = &mut place {
            *standing = via.last_of_batch(py, &this.session, &mut collected, *standing)?;
        }
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, "batch"))?;
        let call = Call::Batch(BatchCall::new(collected));
        let sent = this.push_held(py, Held::new(py, id, Some(reply.clone_ref(py)), call), place);
        let noted = sent.and_then(|()| this.set_deadline(py, timeout, id)).and_then(|()| this.note_wait(py, id));
        Self::or_give_up(&reply, py, noted.and_then(|()| this.flush_soon(slf)))?;
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
        let place = this.session.admit(py, None)?;
        let prepared = this.session.statement_of_text(sql, types, Keep::Cached)?;
        prepared.refuse_copy(py, "execute_many")?;
        Self::described(slf, prepared, timeout, place)
    }

    /// Settles when a statement that its holder has is described, for `execute_many`.
    #[pyo3(signature = (prepared, timeout=None))]
    fn _describe_again(slf: &Bound<'_, Self>, prepared: &Entry, timeout: Option<f64>) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        let timeout = call::timeout(py, timeout)?;
        this.check_caller(py)?;
        let place = this.session.admit(py, None)?;
        prepared.0.refuse_copy(py, "execute_many")?;
        Self::described(slf, Arc::clone(&prepared.0), timeout, place)
    }

    /// Settles when a statement is described that will be its holder's own.
    #[pyo3(signature = (sql, types, timeout=None))]
    fn _prepare(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        types: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Py<Awaitable>> {
        let (py, this) = (slf.py(), slf.get());
        let timeout = call::timeout(py, timeout)?;
        this.check_caller(py)?;
        let place = this.session.admit(py, None)?;
        Self::described(slf, this.session.statement_of_text(sql, types, Keep::Own)?, timeout, place)
    }

    /// Settles when the server has closed the statements that were let go. None when there are none, or no call can be made
    /// now: the next one takes them along.
    pub(crate) fn _close_given_up(slf: &Bound<'_, Self>) -> PyResult<Option<Py<Awaitable>>> {
        let (py, this) = (slf.py(), slf.get());
        if this.is_given_back() {
            return Ok(None);
        }
        this.check_loop(py)?;
        if this.check_stream(py).is_err() || this.session.check_room(py).is_err() {
            return Ok(None);
        }
        let id = this.session.next_id();
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), id, "close"))?;
        match this.session.close_request(py, id, Some(reply.clone_ref(py)))? {
            // It changes nothing for anybody, and so belongs to no transaction block.
            Some(request) => Self::submit(slf, request, Place::OUTSIDE)?,
            None => {
                reply.get().close_unseen();
                return Ok(None);
            }
        }
        this.note_wait(py, id)?;
        Ok(Some(reply))
    }

    /// Begins COPY FROM STDIN of columns given by a query of them, and name and type of each; without them, of raw data.
    fn _copy_in<'py>(
        slf: &Bound<'py, Self>,
        sql: SqlText,
        columns: Option<Filled<'py>>,
        format: &'py str,
        options: Bound<'py, PyDict>,
        takes_raw: bool,
        last: bool,
    ) -> PyResult<Feed> {
        slf.get().check_caller(slf.py())?;
        let place = slf.get().session.admit(slf.py(), None)?;
        let (feed, request) =
            Feed::copy(slf.as_any(), CopyAsked { sql: sql.0, columns, format, options, takes_raw, last })?;
        let id = request.id;
        Self::submit(slf, request, place)?;
        slf.get().note_wait(slf.py(), id)?;
        Ok(feed)
    }

    /// Begins COPY TO STDOUT. `columns`: a described query of the same columns, whose rows are then given; without it, blocks
    /// of the raw data.
    #[pyo3(signature = (sql, columns=None, into=None, timeout=None, format="binary", options=None))]
    fn _copy_out(
        slf: &Bound<'_, Self>,
        sql: SqlText,
        columns: Option<&Entry>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        format: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<Stream>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_caller(py)?;
        let timeout = call::timeout(py, timeout)?;
        let rows = columns.map(|entry| copy_rows(entry, into, format, options)).transpose()?;
        let id = this.session.next_id();
        let (stream, shared) = Stream::new_async(slf.clone().unbind(), id, Flow::Copy);
        let made = this.session.copy_out_request(py, id, sql.0, rows, shared);
        let admitted = made.and_then(|request| Ok((request, this.session.admit(py, None)?)));
        let (request, place) = admitted.inspect_err(|_| stream.refused())?;
        let stream = Py::new(py, stream)?;
        let reader = pyimport::current_task(py)?.call0()?.unbind();
        this.note_wait(py, id)?;
        this.streaming.opened(py, id, reader);
        Self::submit(slf, request, place)?;
        this.set_deadline(py, timeout, id)?;
        Ok(stream)
    }

    /// Begins a statement with many parameter sets; it has been described. `commit`: the token of the transaction block whose
    /// end it is to bring.
    #[pyo3(signature = (prepared, last, commit=None))]
    fn _execute_many(slf: &Bound<'_, Self>, prepared: &Entry, last: bool, commit: Option<Py<PyAny>>) -> PyResult<Feed> {
        let (py, this) = (slf.py(), slf.get());
        this.check_caller(py)?;
        let via = Via { token: commit.as_ref(), commit: commit.is_some() };
        let mut place = this.session.admit(py, via.token)?;
        let (feed, mut request) = Feed::many(slf.as_any(), Arc::clone(&prepared.0), last)?;
        if let Place::Now(standing) = &mut place {
            *standing = via.last_of_many(py, &this.session, &feed, &mut request, *standing)?;
        }
        let id = request.id;
        Self::submit(slf, request, place).inspect_err(|_| via.not_sent(&this.session))?;
        this.note_wait(py, id)?;
        Ok(feed)
    }

    /// What is known about types that are not built in is forgotten: each is asked for again when it is next met.
    fn reload_types(&self, py: Python<'_>) -> PyResult<()> {
        self.check_mine(py)?;
        self.session.options.rules.types.forget();
        Ok(())
    }

    /// For notes on errors: `pool()` gives a line about the pool this connection belongs to; None takes it back.
    fn _share(&self, descriptions: &Descriptions) {
        self.session.statements.share(&descriptions.0);
    }

    fn _explain_pool(&self, pool: Option<Py<PyAny>>) {
        self.session.surroundings.set_pool(pool);
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
        let fresh =
            this.ties.tie(event_loop) && this.hooks.set(hooks).is_ok() && this.reader.set(reader.clone_ref(py)).is_ok();
        if !fresh {
            return Err(error::interface_error(py, "the connection has been opened before"));
        }
        let socket = descriptor.map(Socket::new);
        if let Some(socket) = socket {
            this.wakeful.get_or_init(|| Wakeful::new(socket));
            this.dozing.get_or_init(|| Dozing::new(socket));
        }
        *lock(&this.line) = socket.map_or(Line::Transport, Line::Descriptor);
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
        self.check_mine(py)?;
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
        let request = Session::sync_request(id, Some(reply.clone_ref(py)));
        Self::submit(slf, request, Place::Now(Standing::Outside))?;
        Ok(Some(reply))
    }

    /// Somebody has it: the pool itself if `routed`, whose statements may leave no transaction open.
    fn _unpark(&self, routed: bool) {
        self.session.unpark(routed);
    }

    /// A reply that settles once the server has answered a Sync.
    fn _ping(slf: &Bound<'_, Self>) -> PyResult<Py<Awaitable>> {
        Self::round_trip(slf)
    }

    /// Writes Terminate behind everything that was written. True once nothing is left to send.
    fn _terminate(&self, py: Python<'_>) -> PyResult<bool> {
        // Given back while `close()` waited for what was unfinished.
        self.check_mine(py)?;
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

    /// Whether the line has not taken all that was written.
    fn _has_unsent(&self) -> bool {
        !lock(&self.session.state).conn.outgoing().is_empty()
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
    fn parameter(&self, name: &Bound<'_, PyString>) -> PyResult<Option<String>> {
        self.check_mine(name.py())?;
        // No setting has a name that is no text.
        Ok(name.to_str().ok().and_then(|name| lock(&self.session.state).conn.parameter(name).map(str::to_owned)))
    }

    #[getter]
    fn backend_pid(&self, py: Python<'_>) -> PyResult<Option<i32>> {
        self.check_mine(py)?;
        Ok(lock(&self.session.state).conn.cancel_key().map(|key| key.process_id))
    }

    #[getter]
    fn transaction_status(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.check_mine(py)?;
        Ok(call::status_name(self.session.status()))
    }

    #[getter]
    fn closed(&self) -> bool {
        self.session.home.is_elsewhere() || self.is_given_back() || self.session.is_ended()
    }

    /// Raises InterfaceError when its user has given it back.
    fn _check_mine(&self, py: Python<'_>) -> PyResult<()> {
        self.check_mine(py)
    }

    /// Whoever has it from the pool has it no longer.
    fn _end_lease(&self) {
        self.session.lease.end();
    }

    /// Whether it is a user's who has given it back.
    #[getter]
    fn _given_back(&self) -> bool {
        self.is_given_back()
    }

    /// Whether it was opened in a parent of this process.
    #[getter]
    fn _forked(&self) -> bool {
        self.session.home.is_elsewhere()
    }

    #[getter]
    fn statement_cache<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.check_mine(py)?;
        call::cache_stats(py, &self.session)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(lent) = &self.lent {
            // What the connection refers to is its pool's object to visit: once.
            return visit.call(&lent.whole);
        }
        if let Some(hooks) = self.hooks.get() {
            visit.call(hooks)?;
        }
        if let Some(reader) = self.reader.get() {
            visit.call(reader)?;
        }
        if let Some((pool, _)) = self.pool.get() {
            visit.call(pool)?;
        }
        if let Ok(Some(starting)) = self.starting.try_lock().as_deref() {
            visit.call(starting)?;
        }
        self.streaming.visit(&visit)?;
        if let Ok(waiting) = self.room_wanted.try_lock() {
            waiting.iter().try_for_each(|reply| visit.call(reply))?;
        }
        self.session.visit(&visit)?;
        self.ties.visit(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        if self.lent.is_some() {
            return;
        }
        let starting = lock(&self.starting).take();
        self.streaming.clear();
        let waiting = std::mem::take(&mut *lock(&self.room_wanted));
        drop((starting, waiting));
        self.session.clear(py);
    }
}
