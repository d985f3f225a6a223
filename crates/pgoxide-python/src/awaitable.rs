//! What an asynchronous verb returns: one object that is a Future to `gather`, `wait_for` and `shield`, and a
//! Coroutine to `create_task`, `TaskGroup` and `asyncio.run`. It has started when it exists.
//!
//! ```text
//!   pending ──settle──▶ done(value | error)        callbacks run
//!      └──────cancel──▶ cancelled                  the driver is told, callbacks run
//! ```

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use pgoxide_protocol::client::RequestId;
use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use smallvec::SmallVec;

use crate::async_client::AsyncClient;
use crate::error::Kept;
use crate::event_loop::LoopTies;
use crate::ffi::frame::CallSite;
use crate::ffi::{self, task};
use crate::pool::PoolRouter;
use crate::pyimport;
use crate::sync::lock;

enum Outcome {
    Pending,
    Value(Py<PyAny>),
    Error(Kept),
    Cancelled(Option<Py<PyAny>>),
}

/// An outcome, copied for who asks.
enum Seen {
    Value(Py<PyAny>),
    Error(PyErr),
    Cancelled(Option<Py<PyAny>>),
    Pending,
}

struct Callback {
    function: Py<PyAny>,
    context: Py<PyAny>,
}

/// Who made it, and so who is told when it is given up.
enum Home {
    Client(Py<AsyncClient>, RequestId),
    /// The number of its place in the pool's queue. A connection it is given to stands in `Inner`.
    Pool(Py<PoolRouter>, u64),
}

impl Home {
    fn ties(&self) -> &LoopTies {
        match self {
            Self::Client(client, _) => &client.get().ties,
            Self::Pool(pool, _) => &pool.get().ties,
        }
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Client(client, id) => Self::Client(client.clone_ref(py), *id),
            Self::Pool(pool, place) => Self::Pool(pool.clone_ref(py), *place),
        }
    }
}

struct Inner {
    outcome: Outcome,
    callbacks: SmallVec<[Callback; 1]>,
    /// The connection of the pool that it was given to, and its request there.
    given: Option<(Py<AsyncClient>, RequestId)>,
    /// Where the call was made, until somebody takes the result.
    site: Option<CallSite>,
}

/// The answer of a call that has been made. Await it once; cancelling it cancels the call.
#[pyclass(frozen, weakref, module = "pgoxide._core", name = "Reply")]
pub(crate) struct Awaitable {
    home: Home,
    verb: &'static str,
    /// What it is the answer of is done in any case: it cannot be cancelled, and who awaits it is cancelled afterwards.
    lasting: bool,
    /// asyncio's handshake: "I am being awaited, by yield from".
    blocking: AtomicBool,
    inner: Mutex<Inner>,
}

impl Awaitable {
    pub(crate) fn new(py: Python<'_>, client: Py<AsyncClient>, id: RequestId, verb: &'static str) -> Self {
        Self::of(py, Home::Client(client, id), verb)
    }

    /// Of a call that a pool is to give to one of its connections. `place`: its number in the pool's queue.
    pub(crate) fn of_pool(py: Python<'_>, pool: Py<PoolRouter>, place: u64, verb: &'static str) -> Self {
        Self::of(py, Home::Pool(pool, place), verb)
    }

    fn of(py: Python<'_>, home: Home, verb: &'static str) -> Self {
        Self {
            home,
            verb,
            lasting: false,
            blocking: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                outcome: Outcome::Pending,
                callbacks: SmallVec::new(),
                given: None,
                site: CallSite::here(py),
            }),
        }
    }

    /// The pool has given it to a connection: who cancels it from now on cancels that request.
    pub(crate) fn give_to(&self, client: Py<AsyncClient>, id: RequestId) {
        let earlier = lock(&self.inner).given.replace((client, id));
        drop(earlier);
    }

    /// One that cannot be cancelled; nobody need await it.
    pub(crate) fn lasting(py: Python<'_>, client: Py<AsyncClient>, id: RequestId, verb: &'static str) -> Self {
        let mut reply = Self::new(py, client, id, verb);
        reply.lasting = true;
        reply.close_unseen();
        reply
    }

    /// Sets the result unless there is one. True when it was pending; then [`wake`](Self::wake) is due.
    pub(crate) fn settle(&self, result: PyResult<Py<PyAny>>) -> bool {
        let outcome = match result {
            Ok(value) => Outcome::Value(value),
            // Attached already, as whoever has a PyErr to give.
            Err(error) => Outcome::Error(Python::attach(|py| Kept::new(py, error))),
        };
        self.finish(outcome).is_ok()
    }

    /// Gives back the outcome when one was there before.
    fn finish(&self, outcome: Outcome) -> Result<(), Outcome> {
        let mut inner = lock(&self.inner);
        if matches!(inner.outcome, Outcome::Pending) {
            inner.outcome = outcome;
            Ok(())
        } else {
            drop(inner);
            Err(outcome)
        }
    }

    /// It never reached its caller, whose call raised instead, or its caller wants no result: nobody is to be warned.
    pub(crate) fn close_unseen(&self) {
        let site = lock(&self.inner).site.take();
        drop(site);
    }

    /// The result, for who has been woken by it.
    pub(crate) fn outcome(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.take(py)
    }

    /// What an awaiting object of ours yields to the task that runs it.
    pub(crate) fn begin_wait(py: Python<'_>, reply: &Py<Self>) -> Py<PyAny> {
        reply.get().blocking.store(true, Ordering::Relaxed);
        reply.clone_ref(py).into_any()
    }

    pub(crate) fn is_pending(&self) -> bool {
        matches!(lock(&self.inner).outcome, Outcome::Pending)
    }

    /// Calls the callbacks. `direct`: we were called by the loop and no task runs, so a task's own wake-up is
    /// called at once instead of in the loop's next turn. A task that ends with KeyboardInterrupt or SystemExit
    /// raises it here, as it would out of the loop's own callback.
    ///
    /// A task's wake-up only asks its argument whether to throw, and then asks what it awaits. So it gets a finished
    /// future, which it knows how to ask quickly, and the reply is let go: otherwise a large result would live, whatever
    /// the task does, until the task waits again.
    pub(crate) fn wake(slf: Bound<'_, Self>, direct: bool) -> PyResult<()> {
        let py = slf.py();
        let callbacks = std::mem::take(&mut lock(&slf.get().inner).callbacks);
        let home = slf.get().home.clone_ref(py);
        let mut reply = Some(slf);
        let last = callbacks.len().wrapping_sub(1);
        for (index, Callback { function, context }) in callbacks.into_iter().enumerate() {
            let (function, context) = (function.bind(py), context.bind(py));
            let is_task = match task::builtin_self(function) {
                Some(owner) => owner.is_instance(pyimport::task(py)?)?,
                None => false,
            };
            let own = if index == last { reply.take() } else { reply.clone() };
            let argument = match own {
                Some(reply) if !is_task => reply.into_any(),
                own => {
                    drop(own);
                    home.ties().finished_future(py)?
                }
            };
            if is_task && direct {
                task::run_in_context(context, function, &argument)?;
            } else {
                home.ties().call_soon(py, function, &argument, Some(context))?;
            }
        }
        Ok(())
    }

    /// The result, as `Future.result` gives it.
    fn take(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.see(py) {
            Seen::Value(value) => Ok(value),
            Seen::Error(error) => Err(error),
            Seen::Cancelled(message) => Err(cancelled(py, message)),
            Seen::Pending => Err(invalid_state(py, "the result is not there yet")),
        }
    }

    /// What has come of it, taken out of the lock before anything is imported or raised. Nobody is to be warned any more.
    fn see(&self, py: Python<'_>) -> Seen {
        let (seen, site) = {
            let mut inner = lock(&self.inner);
            let seen = match &inner.outcome {
                Outcome::Value(value) => Seen::Value(value.clone_ref(py)),
                Outcome::Error(error) => Seen::Error(error.error(py)),
                Outcome::Cancelled(message) => Seen::Cancelled(message.as_ref().map(|m| m.clone_ref(py))),
                Outcome::Pending => Seen::Pending,
            };
            (seen, inner.site.take())
        };
        drop(site);
        seen
    }

    /// Whoever works on it need not.
    fn tell_cancelled(&self, py: Python<'_>) -> PyResult<()> {
        match &self.home {
            Home::Client(client, id) => AsyncClient::cancel_request(client.bind(py), *id),
            Home::Pool(pool, place) => {
                let given = lock(&self.inner).given.take();
                match given {
                    Some((client, id)) => AsyncClient::cancel_request(client.bind(py), id),
                    None => PoolRouter::withdraw(pool.bind(py), *place),
                }
            }
        }
    }

    /// Cancels it for whoever made it, who gives it to nobody.
    #[cold]
    pub(crate) fn give_up(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().close_unseen();
        Self::cancel_with(slf, None).map(drop)
    }

    fn cancel_with(slf: &Bound<'_, Self>, message: Option<Py<PyAny>>) -> PyResult<bool> {
        let this = slf.get();
        if this.lasting {
            return Ok(false);
        }
        if let Err(unused) = this.finish(Outcome::Cancelled(message)) {
            drop(unused);
            return Ok(false);
        }
        this.close_unseen();
        this.tell_cancelled(slf.py())?;
        Self::wake(slf.clone(), false)?;
        Ok(true)
    }
}

/// The exception that `throw` was given in one of its forms.
pub(crate) fn thrown(
    exception: Bound<'_, PyAny>,
    value: Option<Bound<'_, PyAny>>,
    traceback: Option<Bound<'_, PyAny>>,
) -> PyResult<PyErr> {
    let error = match value {
        Some(value) if !value.is_none() => value,
        _ if exception.is_instance_of::<pyo3::types::PyType>() => exception.call0()?,
        _ => exception,
    };
    if let Some(traceback) = traceback {
        error.setattr(intern!(error.py(), "__traceback__"), traceback)?;
    }
    Ok(PyErr::from_value(error))
}

#[cold]
fn cancelled(py: Python<'_>, message: Option<Py<PyAny>>) -> PyErr {
    match pyimport::cancelled_error(py) {
        Ok(class) => match message {
            Some(message) => PyErr::from_type(class.clone(), (message,)),
            None => PyErr::from_type(class.clone(), ()),
        },
        Err(error) => error,
    }
}

#[cold]
fn invalid_state(py: Python<'_>, message: &'static str) -> PyErr {
    match pyimport::invalid_state_error(py) {
        Ok(class) => PyErr::from_type(class.clone(), message),
        Err(error) => error,
    }
}

#[pymethods]
impl Awaitable {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: Bound<'py, Self>) -> PyResult<Option<Bound<'py, Self>>> {
        let this = slf.get();
        if this.is_pending() {
            if this.blocking.swap(true, Ordering::Relaxed) {
                return Err(PyRuntimeError::new_err("await wasn't used with future"));
            }
            return Ok(Some(slf));
        }
        let py = slf.py();
        ffi::iteration::stop_with(this.take(py)?.into_bound(py))
    }

    /// As a coroutine's: runs until it waits.
    fn send<'py>(slf: Bound<'py, Self>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let _ = value; // a future ignores what it is sent
        let py = slf.py();
        match Self::__next__(slf)? {
            Some(waiting) => Ok(waiting),
            None => Err(PyErr::fetch(py)),
        }
    }

    /// As a coroutine's: what is thrown in comes out; the call is given up.
    #[pyo3(signature = (exception, value=None, traceback=None))]
    fn throw(
        slf: Bound<'_, Self>,
        exception: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Self::cancel_with(&slf, None)?;
        slf.get().close_unseen();
        Err(thrown(exception, value, traceback)?)
    }

    /// As a coroutine's: gives the call up if it has not finished.
    fn close(slf: Bound<'_, Self>) -> PyResult<()> {
        Self::cancel_with(&slf, None)?;
        slf.get().close_unseen();
        Ok(())
    }

    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self) -> bool {
        self.blocking.load(Ordering::Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.blocking.store(blocking, Ordering::Relaxed);
    }

    /// `get_loop()`: the loop it belongs to. An attribute that is called, since a task asks each reply it awaits: a bound
    /// method made and freed each time would be a twelfth of the client's work for a small query.
    #[getter(get_loop)]
    fn loop_function<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, crate::event_loop::LoopOf>> {
        self.home.ties().loop_of(py)
    }

    #[getter(_loop)]
    fn loop_attribute<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.home.ties().event_loop(py)
    }

    /// Whether the answer is there, an error or a cancellation included.
    fn done(&self) -> bool {
        !self.is_pending()
    }

    /// Whether it was cancelled.
    fn cancelled(&self) -> bool {
        matches!(lock(&self.inner).outcome, Outcome::Cancelled(_))
    }

    /// The result; raises the call's error, CancelledError, or InvalidStateError while it is pending.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.take(py)
    }

    /// The call's error or None; raises CancelledError, or InvalidStateError while it is pending.
    fn exception(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.see(py) {
            Seen::Value(_) => Ok(None),
            Seen::Error(error) => Ok(Some(error.into_value(py).into_any())),
            Seen::Cancelled(message) => Err(cancelled(py, message)),
            Seen::Pending => Err(invalid_state(py, "the result is not there yet")),
        }
    }

    /// For asyncio's own use, as `gather` expects of every future.
    #[getter(_cancel_message)]
    fn cancel_message(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &lock(&self.inner).outcome {
            Outcome::Cancelled(message) => message.as_ref().map(|m| m.clone_ref(py)),
            _ => None,
        }
    }

    /// For asyncio's own use, as `gather` expects of every future.
    fn _make_cancelled_error(&self, py: Python<'_>) -> Py<PyAny> {
        cancelled(py, self.cancel_message(py)).into_value(py).into_any()
    }

    /// Calls `callback(self)` through the loop once the answer is there.
    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        callback: Bound<'_, PyAny>,
        context: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let context = match context {
            Some(context) if !context.is_none() => context,
            _ => pyimport::copy_context(py)?.call0()?,
        };
        let this = slf.get();
        let mut inner = lock(&this.inner);
        // Somebody will look at the result: it is not dropped unseen.
        let site = inner.site.take();
        if matches!(inner.outcome, Outcome::Pending) {
            inner.callbacks.push(Callback { function: callback.unbind(), context: context.unbind() });
            drop(inner);
            drop(site);
            return Ok(());
        }
        drop(inner);
        drop(site);
        this.home.ties().call_soon(py, &callback, slf.as_any(), Some(&context))
    }

    /// Takes a callback back; says how often it was there.
    fn remove_done_callback(&self, py: Python<'_>, callback: &Bound<'_, PyAny>) -> PyResult<usize> {
        // Compared outside the lock, and while all stay where they are: comparing may run Python, which may raise, or see the
        // answer come and all of them called.
        let listed: SmallVec<[Py<PyAny>; 1]> =
            lock(&self.inner).callbacks.iter().map(|entry| entry.function.clone_ref(py)).collect();
        let mut unwanted: SmallVec<[Py<PyAny>; 1]> = SmallVec::new();
        for function in listed {
            if function.bind(py).eq(callback)? {
                unwanted.push(function);
            }
        }
        let mut removed: SmallVec<[Callback; 1]> = SmallVec::new();
        let mut inner = lock(&self.inner);
        for entry in std::mem::take(&mut inner.callbacks) {
            let matches = unwanted.iter().any(|function| function.is(&entry.function));
            if matches { removed.push(entry) } else { inner.callbacks.push(entry) }
        }
        drop(inner);
        Ok(removed.len())
    }

    /// Gives the call up. What was not yet written never reaches the server; what runs is cancelled there; what
    /// waits behind others still runs, its effects stay and its answer is discarded.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        Self::cancel_with(slf, msg)
    }

    fn __repr__(&self) -> String {
        let state = match &lock(&self.inner).outcome {
            Outcome::Pending => "pending",
            Outcome::Value(_) => "done",
            Outcome::Error(_) => "failed",
            Outcome::Cancelled(_) => "cancelled",
        };
        format!("<pgoxide reply of {} {state}>", self.verb)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.home {
            Home::Client(client, _) => visit.call(client)?,
            Home::Pool(pool, _) => visit.call(pool)?,
        }
        let Ok(inner) = self.inner.try_lock() else { return Ok(()) };
        match &inner.outcome {
            Outcome::Value(value) => visit.call(value)?,
            Outcome::Error(error) => error.visit(&visit)?,
            Outcome::Cancelled(Some(message)) => visit.call(message)?,
            _ => {}
        }
        if let Some((client, _)) = &inner.given {
            visit.call(client)?;
        }
        for callback in &inner.callbacks {
            visit.call(&callback.function)?;
            visit.call(&callback.context)?;
        }
        match &inner.site {
            Some(site) => site.visit(visit),
            None => Ok(()),
        }
    }

    fn __clear__(&self) {
        let mut inner = lock(&self.inner);
        let callbacks = std::mem::take(&mut inner.callbacks);
        let given = inner.given.take();
        // An error that nobody has taken is kept for the warning to name; it was never raised, so it leads nowhere.
        let unseen = inner.site.is_some() && matches!(inner.outcome, Outcome::Error(_));
        let outcome = (!unseen).then(|| std::mem::replace(&mut inner.outcome, Outcome::Cancelled(None)));
        drop(inner);
        drop((callbacks, given, outcome));
    }
}

impl Drop for Awaitable {
    /// Nobody awaited it: the call ran all the same, and its result or error is lost. Say where it was made.
    fn drop(&mut self) {
        let Ok(inner) = self.inner.get_mut() else { return };
        let Some(site) = inner.site.take() else { return };
        let verb = self.verb;
        // Not while the interpreter shuts down: there is nobody left to tell.
        let _ = Python::try_attach(|py| {
            let pending = PyErr::take(py);
            let (file, line) = site.place(py);
            let what = match &inner.outcome {
                Outcome::Error(error) => {
                    format!("{verb}() was never awaited, and failed: {}", error.error(py).value(py))
                }
                _ => format!("{verb}() was never awaited; it ran, its result is lost"),
            };
            let category = py.get_type::<PyRuntimeWarning>();
            // Nor where modules are being taken down already.
            if let Ok(warn) = pyimport::warn(py)
                && let Err(error) = warn.call1((what, category, file, line))
            {
                error.write_unraisable(py, None);
            }
            if let Some(error) = pending {
                error.restore(py);
            }
        });
    }
}
