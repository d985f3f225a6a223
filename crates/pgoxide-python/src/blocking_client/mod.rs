//! The blocking client: the session driven by the caller's own thread, without a loop and without a thread of ours.
//!
//! One call sends and receives with the GIL released once; waits are sliced so that Ctrl-C is seen.
//!
//! | file | |
//! | --- | --- |
//! | `driving.rs` | one call after the other |
//! | `streaming.rs` | streams, which keep the turn |
//! | `feeding.rs` | fed requests, which keep it too |
//! | `pooled.rs` | what a pool asks of it |
//! | `transaction.rs` | blocks entered, ended and left; others who wait for that |
//! | `ending.rs` | calls that are given up, and the connection's own end |

mod driving;
mod ending;
mod feeding;
mod pooled;
mod streaming;
mod transaction;

use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use pgoxide_protocol::buffer::RecvBuffer;
use pgoxide_protocol::client::{RequestId, Standing};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use self::feeding::Feeding;
use crate::batch::BatchBuilder;
use crate::call::{self, Asked};
use crate::client_options::ClientOptions;
use crate::copy_out::copy_rows;
use crate::descriptions::Descriptions;
use crate::error;
use crate::feed::{CopyAsked, Feed, Filled};
use crate::gather::Gather;
use crate::io::{Moved, Socket};
use crate::job::{Job, Verb};
use crate::lending::{Lent, given_back};
use crate::named::{Given, SqlText};
use crate::prepared::{Entry, Keep};
use crate::session::{Place, Reset, Session};
use crate::spin::Spin;
use crate::stream::{Flow, Stream};
use crate::sync::lock;
use crate::transaction::Via;
use crate::turn::{Taken, Turn};

/// What one read takes at most.
const PAGE: usize = 128 << 10;

/// How long a wait lasts before signals and the deadline are looked at. The descriptor's own receive timeout, set
/// by the transport, is the same.
const SLICE: Duration = Duration::from_millis(100);

/// The core of `Connection`: its verbs, and what a transport needs.
#[pyclass(frozen, subclass, weakref, module = "pgoxide._core", name = "Client")]
pub(crate) struct BlockingClient {
    core: Arc<Core>,
    /// It is a user's of a pool, and whose `core` this is keeps it for the garbage collector.
    lent: Option<Lent<Self>>,
}

impl Deref for BlockingClient {
    type Target = Core;

    #[inline]
    fn deref(&self) -> &Core {
        &self.core
    }
}

/// One connection, whoever has it.
pub(crate) struct Core {
    pub(crate) session: Session,
    /// Locked as long as a system call uses it, so that it is closed, and its number used anew, by nobody meanwhile.
    socket: Mutex<Option<Socket>>,
    /// The same, to be cut while a call waits on it.
    line: OnceLock<Socket>,
    spin: OnceLock<Spin>,
    gather: OnceLock<Gather>,
    page: Mutex<Option<RecvBuffer>>,
    turn: Turn,
    /// The COMMIT during which the connection ended.
    unknown: Mutex<Option<Job>>,
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

impl BlockingClient {
    /// Raises when it was a user's, who has given it back.
    #[inline]
    pub(crate) fn check_mine(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_given_back() { Err(given_back(py)) } else { Ok(()) }
    }

    #[inline]
    pub(crate) fn is_given_back(&self) -> bool {
        self.lent.as_ref().is_some_and(|lent| lent.is_over(&self.session))
    }

    /// As the session's own, for whoever has it.
    #[inline]
    pub(super) fn check_room(&self, py: Python<'_>) -> PyResult<()> {
        self.check_mine(py)?;
        self.session.check_room(py)
    }

    /// As the session's own, for whoever has it.
    #[inline]
    pub(super) fn place(&self, py: Python<'_>, via: Option<&Py<PyAny>>) -> PyResult<Place> {
        self.check_mine(py)?;
        self.session.place(py, via)
    }

    /// As the session's own, for whoever has it.
    #[inline]
    pub(super) fn admit(&self, py: Python<'_>, via: Option<&Py<PyAny>>) -> PyResult<Place> {
        self.check_mine(py)?;
        self.session.admit(py, via)
    }
}

#[expect(clippy::too_many_arguments, reason = "Python hands them over by keyword")]
#[pymethods]
impl BlockingClient {
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
        let (turn, default_timeout) = (Turn::new(given.stream_wait_warning), given.command_timeout);
        let core = Core {
            session: given.session(py),
            socket: Mutex::new(None),
            line: OnceLock::new(),
            spin: OnceLock::new(),
            gather: OnceLock::new(),
            page: Mutex::new(Some(RecvBuffer::new(PAGE))),
            turn,
            unknown: Mutex::new(None),
            feeding: Mutex::new(None),
            streaming: Mutex::new(None),
            hooks: OnceLock::new(),
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
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        self.ask(
            statement.py(),
            Verb::All,
            Asked::new(&self.session, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_one<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        self.ask(
            statement.py(),
            Verb::One,
            Asked::new(&self.session, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_optional<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        self.ask(
            statement.py(),
            Verb::Optional,
            Asked::new(&self.session, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_first<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        self.ask(
            statement.py(),
            Verb::First,
            Asked::new(&self.session, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_value<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        self.ask(
            statement.py(),
            Verb::Value,
            Asked::new(&self.session, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, **named))]
    fn fetch_column<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        self.ask(
            statement.py(),
            Verb::Column,
            Asked::new(&self.session, statement, Given { args, params, named }, into, timeout, types, isolate)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, timeout=None, types=None, isolate=false, params=None, **named))]
    fn execute<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        self.ask(
            statement.py(),
            Verb::Execute,
            Asked::new(&self.session, statement, Given { args, params, named }, None, timeout, types, isolate)?,
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
    ) -> PyResult<Py<PyAny>> {
        let given = Given { args, params, named };
        let asked = Asked::new(&slf.get().session, statement, given, into, timeout, types, false)?;
        Self::open_portal(slf, asked, None)
    }

    /// Runs a text of several statements by the simple protocol.
    #[pyo3(signature = (sql, /, *, timeout=None))]
    fn execute_script(&self, py: Python<'_>, sql: SqlText, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        self.script_at(py, sql.0, timeout, None)
    }

    /// Runs a collected batch.
    #[pyo3(signature = (batch, timeout, commit=false))]
    fn _run_batch(
        &self,
        py: Python<'_>,
        batch: &BatchBuilder,
        timeout: Option<f64>,
        commit: bool,
    ) -> PyResult<Py<PyAny>> {
        let deadline = Deadline::after(call::timeout(py, timeout)?.or(self.default_timeout));
        let via = Via { token: batch.via.as_ref(), commit };
        let (_turn, standing) = self.take_turn_at(py, deadline, via.token)?;
        let mut collected = batch.take(py)?;
        let inside = standing;
        let standing = via.last_of_batch(py, &self.session, &mut collected, standing)?;
        let request = self.described_batch(py, collected, deadline, inside);
        self.run(py, request.inspect_err(|_| via.not_sent(&self.session))?, deadline, standing)
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
        let (_turn, standing) = self.take_turn_at(py, deadline, None)?;
        let prepared = self.session.statement_of_text(sql, types, Keep::Cached)?;
        prepared.refuse_copy(py, "execute_many")?;
        self.prepare(py, &prepared, deadline, standing)?;
        Ok(Entry(prepared))
    }

    /// Has a statement that its holder has described, for `execute_many`.
    #[pyo3(signature = (prepared, timeout=None))]
    fn _describe_again(&self, py: Python<'_>, prepared: &Entry, timeout: Option<f64>) -> PyResult<Entry> {
        let deadline = Deadline::after(call::timeout(py, timeout)?.or(self.default_timeout));
        let (_turn, standing) = self.take_turn_at(py, deadline, None)?;
        prepared.0.refuse_copy(py, "execute_many")?;
        self.prepare(py, &prepared.0, deadline, standing)?;
        Ok(Entry(Arc::clone(&prepared.0)))
    }

    /// Describes a statement that will be its holder's own.
    #[pyo3(signature = (sql, types, timeout=None))]
    fn _prepare(
        &self,
        sql: &Bound<'_, PyString>,
        types: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Entry> {
        let py = sql.py();
        let deadline = Deadline::after(call::timeout(py, timeout)?.or(self.default_timeout));
        let (_turn, standing) = self.take_turn_at(py, deadline, None)?;
        let prepared = self.session.statement_of_text(sql, types, Keep::Own)?;
        self.prepare(py, &prepared, deadline, standing)?;
        Ok(Entry(prepared))
    }

    /// Has the server close the statements that were let go, unless no call can be made now: the next one takes them along.
    pub(crate) fn _close_given_up(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_given_back() {
            return Ok(());
        }
        let Some(_turn) = self.turn.take_if_free() else { return Ok(()) };
        if self.check_room(py).is_err() {
            return Ok(());
        }
        match self.session.close_request(py, self.session.next_id(), None)? {
            Some(request) => {
                let deadline = Deadline::after(self.default_timeout);
                // It changes nothing for anybody, and so belongs to no transaction block.
                self.run(py, request, deadline, Standing::Outside).map(|_| ())
            }
            None => Ok(()),
        }
    }

    /// Begins COPY FROM STDIN of columns given by a query of them, and name and type of each; without them, of raw data. The connection is its own until it
    /// is done.
    #[pyo3(signature = (sql, columns, format, options, takes_raw, last, timeout=None))]
    fn _copy_in<'py>(
        slf: &Bound<'py, Self>,
        sql: SqlText,
        columns: Option<Filled<'py>>,
        format: &'py str,
        options: Bound<'py, PyDict>,
        takes_raw: bool,
        last: bool,
        timeout: Option<f64>,
    ) -> PyResult<Feed> {
        let (py, this) = (slf.py(), slf.get());
        this.check_room(py)?;
        let standing = this.begin_feeding(py, timeout, None)?;
        let asked = CopyAsked { sql: sql.0, columns, format, options, takes_raw, last };
        this.begin(py, Feed::copy(slf.as_any(), asked), standing)
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
        this.check_room(py)?;
        let deadline = Deadline::after(call::timeout(py, timeout)?.or(this.default_timeout));
        let rows = columns.map(|entry| copy_rows(entry, into, format, options)).transpose()?;
        let id = this.session.next_id();
        let (stream, shared) = Stream::new_blocking(slf.clone().unbind(), id, Flow::Copy);
        let stream = Py::new(py, stream)?;
        let made = this.session.copy_out_request(py, id, sql.0, rows, shared);
        let request = made.inspect_err(|_| stream.get().refused())?;
        this.begin_stream(py, id, request, deadline).inspect_err(|_| stream.get().refused())?;
        Ok(stream)
    }

    /// Begins a statement with many parameter sets; it has been described. `commit`: the token of the transaction block whose
    /// end it is to bring.
    #[pyo3(signature = (prepared, last, timeout, commit=None))]
    fn _execute_many(
        slf: &Bound<'_, Self>,
        prepared: &Entry,
        last: bool,
        timeout: Option<f64>,
        commit: Option<Py<PyAny>>,
    ) -> PyResult<Feed> {
        let (py, this) = (slf.py(), slf.get());
        this.check_room(py)?;
        let via = Via { token: commit.as_ref(), commit: commit.is_some() };
        let inside = this.begin_feeding(py, timeout, via.token)?;
        let made = Feed::many(slf.as_any(), Arc::clone(&prepared.0), last).and_then(|(feed, mut request)| {
            let standing = via.last_of_many(py, &this.session, &feed, &mut request, inside)?;
            Ok((feed, request, standing))
        });
        match made {
            Ok((feed, request, standing)) => {
                this.begin(py, Ok((feed, request)), standing).inspect_err(|_| via.not_sent(&this.session))
            }
            Err(error) => this.begin(py, Err(error), inside),
        }
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

    /// Ties the client to its transport's descriptor, whose receive timeout is 100 ms.
    fn _attach(&self, py: Python<'_>, hooks: Py<PyAny>, descriptor: i32) -> PyResult<()> {
        if self.hooks.set(hooks).is_err() {
            return Err(error::interface_error(py, "the connection has been opened before"));
        }
        let socket = *self.line.get_or_init(|| Socket::new(descriptor));
        self.spin.get_or_init(|| Spin::new(socket));
        self.gather.get_or_init(|| Gather::new(socket));
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
        self.check_mine(py)?;
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
        // Given back while it waited for the turn.
        self.check_mine(py)?;
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

    // ---- for a pool ------------------------------------------------------------------------------------------

    /// Nobody has it from now on: a stream of this thread that is open ends.
    fn _park(&self, py: Python<'_>) {
        self.given_back(py);
    }

    /// Waits until the calls of other threads that were begun while they had it are over. The last request's number then.
    fn _quiesce(&self, py: Python<'_>, timeout: f64) -> PyResult<RequestId> {
        let _turn = self.take_turn(py, Deadline::after(Some(timeout)))?;
        Ok(self.session.last_id())
    }

    /// Somebody has it: the pool itself if `routed`, whose statements may leave no transaction open.
    fn _unpark(&self, routed: bool) {
        self.session.unpark(routed);
    }

    /// The last request's number: when it is the same, nothing was asked meanwhile.
    fn _asked(&self) -> RequestId {
        self.session.last_id()
    }

    /// It has ended, or the server has announced its end: looks at the socket.
    fn _is_doomed(&self, py: Python<'_>) -> PyResult<bool> {
        if let Some(_turn) = self.turn.take_if_free() {
            self.look(py)?;
        }
        Ok(self.session.is_doomed())
    }

    /// Writes the reset and waits for nothing but the turn; false when there is nothing to undo.
    fn _reset(&self, py: Python<'_>, reset: &str, timeout: f64) -> PyResult<bool> {
        self.send_reset(py, &Reset::asked(reset), Deadline::after(Some(timeout)))
    }

    /// True when a user need not wait for the reset's answer: it has come, or their first request follows it.
    fn _follow_reset(&self, py: Python<'_>) -> PyResult<bool> {
        self.follow_reset(py)
    }

    /// Waits until the reset has been answered; false when it had been. Raises why it failed.
    fn _await_reset(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        self.await_reset(py, Deadline::after(Some(timeout)))
    }

    /// A round trip that runs nothing.
    fn _ping(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        self.round_trip(py, Deadline::after(Some(timeout)))
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

    /// Looks at the socket: a server that has gone is noticed before the next call.
    #[getter]
    fn closed(&self, py: Python<'_>) -> PyResult<bool> {
        if self.session.home.is_elsewhere() || self.is_given_back() {
            return Ok(true);
        }
        if let Some(_turn) = self.turn.take_if_free() {
            self.look(py)?;
        }
        Ok(self.session.is_ended())
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
        self.session.visit(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        if self.lent.is_none() {
            self.session.clear(py);
        }
    }
}
