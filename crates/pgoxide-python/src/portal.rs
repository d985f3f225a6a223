//! Portals: a statement's rows, asked for part by part inside a transaction, while other statements run.
//!
//! ```text
//!   Bind(name) Sync ──BindComplete──▶ open ──Execute(n) Sync──▶ suspended ──Execute(n) Sync──▶ … ──CommandComplete──▶ complete
//!                                       └──Close, or the end of its transaction──▶ gone
//! ```
//!
//! A named portal outlives Sync inside a transaction and only there (protocol chapter, "Extended Query"), so unlike a stream it
//! keeps nobody waiting. The machine counts how often the session was idle: another count than at its opening means that its
//! transaction has ended, and asking for its rows would spoil the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pgoxide_protocol::client::{Request, RequestId, Resend, Step};
use pgoxide_protocol::codes::TransactionStatus;
use pgoxide_protocol::message::bind::Bind;
use pgoxide_protocol::message::{execute, sync};
use pgoxide_sqltext::Command;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;
use smallvec::SmallVec;

use crate::async_client::AsyncClient;
use crate::awaitable::Awaitable;
use crate::blocking_client::BlockingClient;
use crate::call::{self, Asked};
use crate::error;
use crate::job::{Job, Kind, Run, Verb};
use crate::prepared::{GivenUp, Prepared};
use crate::session::Session;
use crate::stream::Ready;
use crate::sync::lock;

/// What a portal's holder and its requests share.
pub(crate) struct Shared {
    pub(crate) name: Box<[u8]>,
    pub(crate) prepared: Arc<Prepared>,
    /// How often the session had been idle when it was opened; `UNOPENED` before.
    epoch: AtomicU64,
    /// The last Execute stopped at its limit.
    suspended: AtomicBool,
    /// All rows have come.
    complete: AtomicBool,
    /// It is closed, or on the list of what is to be closed.
    closed: AtomicBool,
    given_up: Arc<GivenUp>,
}

const UNOPENED: u64 = u64::MAX;

impl Shared {
    /// Its Bind has been answered: it lives until the session is idle again. False when it is so already.
    pub(crate) fn opened(&self, status: TransactionStatus, epoch: u64) -> bool {
        if self.epoch.compare_exchange(UNOPENED, epoch, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return true;
        }
        status != TransactionStatus::Idle
    }

    /// An Execute has been answered.
    pub(crate) fn executed(&self, more: bool) {
        self.suspended.store(more, Ordering::Release);
        self.complete.store(!more, Ordering::Release);
    }

    /// The next request closes it. False when that has been seen to.
    fn give_up(&self) -> bool {
        if self.closed.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.given_up.portal(self.name.clone());
        true
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.give_up();
    }
}

enum Client {
    Async(Py<AsyncClient>),
    Blocking(Py<BlockingClient>),
}

/// A statement with its parameters, whose rows are asked for part by part; what `portal()` gives.
#[pyclass(frozen, weakref, module = "pgoxide._core", name = "Portal")]
pub(crate) struct Portal {
    client: Client,
    pub(crate) shared: Arc<Shared>,
    into: Option<Py<PyAny>>,
    /// The token of the transaction block whose object it was opened through: it belongs to that, whoever asks.
    via: Option<Py<PyAny>>,
}

/// The run that opens a portal.
pub(crate) fn opening(
    client: &Bound<'_, PyAny>,
    session: &Session,
    asked: &mut Asked<'_>,
    via: Option<&Py<PyAny>>,
) -> PyResult<Box<Run>> {
    let py = client.py();
    let prepared = asked.prepared(session)?;
    if !matches!(prepared.command, Command::Plain | Command::Other) {
        let message =
            "portal() takes statements of their own: SELECT, VALUES, INSERT … RETURNING; not FETCH, CALL or COPY";
        return Err(error::interface_error(py, message));
    }
    let idle = {
        let state = lock(&session.state);
        let quiet = state.held.is_empty() && state.conn.is_idle();
        quiet && state.conn.status() == TransactionStatus::Idle && state.conn.top_level().is_none()
    };
    if idle {
        return Err(no_transaction(py));
    }
    let shared = Arc::new(Shared {
        name: session.statements.portal_name(),
        prepared: Arc::clone(&prepared),
        epoch: AtomicU64::new(UNOPENED),
        suspended: AtomicBool::new(false),
        complete: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        given_up: session.statements.given_up(),
    });
    let into = asked.into.take();
    let client = match client.cast::<AsyncClient>() {
        Ok(client) => Client::Async(client.clone().unbind()),
        Err(_) => Client::Blocking(client.cast::<BlockingClient>()?.clone().unbind()),
    };
    let mut run =
        Box::new(Run::new(prepared, Verb::All, into.as_ref().map(|into| into.clone_ref(py)), asked.arguments.len()));
    run.portal = Some(Arc::clone(&shared));
    let via = via.map(|via| via.clone_ref(py));
    run.opening = Some(Py::new(py, Portal { client, shared, into, via })?);
    Ok(run)
}

#[cold]
pub(crate) fn no_transaction(py: Python<'_>) -> PyErr {
    error::interface_error(
        py,
        "a portal lives inside a transaction: begin one first; outside, stream() reads rows as they come",
    )
}

/// Gives the Bind at `start` the portal's name.
pub(crate) fn name_bind(py: Python<'_>, shared: &Shared, bytes: &mut Vec<u8>, start: usize) -> PyResult<()> {
    let frame = bytes.split_off(start);
    let unnamed = Bind::decode(frame.get(5..).unwrap_or_default());
    let unnamed = unnamed.map_err(|e| error::protocol_error(py, &e.into()))?;
    let named = Bind { portal: &shared.name, ..unnamed };
    named.encode(bytes).map_err(|e| error::encode_error(py, &e))
}

impl Session {
    /// The request for the portal's next rows, all that are left with `limit` 0.
    fn portal_request(
        &self,
        py: Python<'_>,
        id: RequestId,
        portal: &Portal,
        limit: u32,
        reply: Option<Py<Awaitable>>,
    ) -> PyResult<Request<Job>> {
        let shared = &portal.shared;
        let into = portal.into.as_ref().map(|into| into.clone_ref(py));
        let mut run = Box::new(Run::new(Arc::clone(&shared.prepared), Verb::All, into, 0));
        run.use_plan(py, shared.prepared.described().and_then(|described| described.plan.as_ref()))?;
        if let Some(described) = shared.prepared.described() {
            run.check_formats(py, described.result_formats())?;
        }
        run.portal = Some(Arc::clone(shared));
        let (mut bytes, mut steps) = (Vec::with_capacity(64), SmallVec::new());
        let closing = self.close_given_up(py, &mut bytes, &mut steps)?;
        execute::write(&mut bytes, &shared.name, limit).map_err(|e| error::encode_error(py, &e))?;
        sync::write(&mut bytes);
        steps.extend([Step::Execute, Step::Sync]);
        let job = Job::new(Kind::Run(run), reply).closing(closing);
        Ok(Request { id, bytes, steps, barrier: false, open: false, resend: Resend::Never, job })
    }
}

impl Portal {
    fn session(&self) -> &Session {
        match &self.client {
            Client::Async(client) => &client.get().session,
            Client::Blocking(client) => &client.get().session,
        }
    }

    /// Raises when it cannot be asked for rows.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(error::interface_error(py, "the portal has been closed"));
        }
        if self.session().is_ended() {
            return Err(self.session().closed_error(py));
        }
        if lock(&self.session().state).conn.times_idle() != self.shared.epoch.load(Ordering::Acquire) {
            return Err(error::interface_error(
                py,
                "the portal's transaction has ended, and the portal with it: open it anew, or use stream(), which needs no \
                 transaction",
            ));
        }
        Ok(())
    }

    /// The next rows, at most `limit`; 0: all.
    fn ask(&self, py: Python<'_>, limit: u32, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        self.check(py)?;
        let timeout = call::timeout(py, timeout)?;
        if self.shared.complete.load(Ordering::Acquire) {
            return self.ready(py, PyList::empty(py).into_any().unbind());
        }
        match &self.client {
            Client::Async(client) => {
                let reply = AsyncClient::ask_for(client.bind(py), "fetch", timeout, self.via.as_ref(), |id, reply| {
                    self.session().portal_request(py, id, self, limit, Some(reply))
                })?;
                Ok(reply.into_any())
            }
            Client::Blocking(client) => client.get().ask_for(py, timeout, self.via.as_ref(), |id| {
                // Again: while this call waited for its turn, the transaction may have ended.
                self.check(py)?;
                self.session().portal_request(py, id, self, limit, None)
            }),
        }
    }

    /// A value that is there, as the face hands it over.
    fn ready(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<Py<PyAny>> {
        match &self.client {
            Client::Async(_) => Ok(Py::new(py, Ready::new(value))?.into_any()),
            Client::Blocking(_) => Ok(value),
        }
    }
}

#[pymethods]
impl Portal {
    /// The next rows as a list, at most `count`; empty when there are no more.
    #[pyo3(signature = (count, /, *, timeout=None))]
    fn fetch(&self, count: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let py = count.py();
        match count.extract::<u32>() {
            Ok(limit) if (1..=i32::MAX.unsigned_abs()).contains(&limit) => self.ask(py, limit, timeout),
            Err(error) if error.is_instance_of::<PyTypeError>(py) => Err(error),
            _ => Err(error::interface_error(py, format!("fetch({count}): rows at a time, from 1 to 2147483647"))),
        }
    }

    /// The rows that are left.
    #[pyo3(signature = (*, timeout=None))]
    fn fetch_all(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        self.ask(py, 0, timeout)
    }

    /// Closes it at the server. Twice does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.shared.give_up() {
            match &self.client {
                Client::Async(client) => {
                    if let Some(reply) = AsyncClient::_close_given_up(client.bind(py))? {
                        return Ok(reply.into_any());
                    }
                }
                Client::Blocking(client) => client.get()._close_given_up(py)?,
            }
        }
        self.ready(py, py.None())
    }

    /// Its name at the server.
    #[getter]
    fn name(&self) -> String {
        String::from_utf8_lossy(&self.shared.name).into_owned()
    }

    /// The last fetch stopped at its count: there may be more rows.
    #[getter]
    fn suspended(&self) -> bool {
        self.shared.suspended.load(Ordering::Acquire)
    }

    /// It has been closed, or has ended with its transaction.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.check(py).is_err()
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        match &slf.get().client {
            Client::Blocking(_) => Ok(slf),
            Client::Async(_) => Err(error::interface_error(slf.py(), "an asynchronous portal: use async with")),
        }
    }

    fn __exit__(&self, py: Python<'_>, kind: Py<PyAny>, error: Py<PyAny>, traceback: Py<PyAny>) -> PyResult<()> {
        let _ = (kind, error, traceback); // whatever it was, it goes on
        self.close(py).map(|_| ())
    }

    fn __aenter__(slf: Bound<'_, Self>) -> PyResult<Ready> {
        match &slf.get().client {
            Client::Async(_) => Ok(Ready::new(slf.into_any().unbind())),
            Client::Blocking(_) => Err(error::interface_error(slf.py(), "a blocking portal: use a plain with")),
        }
    }

    fn __aexit__(
        &self,
        py: Python<'_>,
        kind: Py<PyAny>,
        error: Py<PyAny>,
        traceback: Py<PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let _ = (kind, error, traceback); // whatever it was, it goes on
        self.close(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let state = if self.closed(py) { "closed" } else { "open" };
        format!("<Portal {} {state}>", self.name())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.client {
            Client::Async(client) => visit.call(client)?,
            Client::Blocking(client) => visit.call(client)?,
        }
        self.into.iter().chain(&self.via).try_for_each(|held| visit.call(held))
    }
}
