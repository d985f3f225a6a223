//! A transaction block as Python holds it: the core of `AsyncTransaction` and `Transaction`.
//!
//! Its seven verbs are the connection's, called through the block: they belong to it in whatever context they are made,
//! and `commit=True` lets the block's end travel in their flight. Everything else is orchestration written in Python.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pgoxide_protocol::client::{Request, Resend, Standing};
use pgoxide_sqltext::Command;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::async_client::AsyncClient;
use crate::awaitable::Awaitable;
use crate::batch::Batch;
use crate::blocking_client::BlockingClient;
use crate::call::Asked;
use crate::error;
use crate::feed::Feed;
use crate::ffi::frame::CallSite;
use crate::job::{End, Job, Run, Verb};
use crate::named::Given;
use crate::prepared::Prepared;
use crate::pyimport;
use crate::session::{Caller, Entry, Others, Session, drop_token, hold_token};
use crate::stream::Stream;

/// The block that a call is made through, if it is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Via<'a> {
    pub(crate) token: Option<&'a Py<PyAny>>,
    /// It is the block's last statement.
    pub(crate) commit: bool,
}

impl Via<'_> {
    /// Gives the run the end of its block, when it is to bring that. How it then stands to the block.
    #[inline]
    pub(crate) fn last_of(
        self,
        py: Python<'_>,
        session: &Session,
        run: &mut Run,
        standing: Standing,
    ) -> PyResult<Standing> {
        if !self.commit {
            return Ok(standing);
        }
        refuse_copy(py, &run.prepared)?;
        let Some((end, standing)) = self.end(py, session)? else { return Ok(standing) };
        run.end = Some(end);
        Ok(standing)
    }

    /// As `last_of`, for a batch.
    pub(crate) fn last_of_batch(
        self,
        py: Python<'_>,
        session: &Session,
        batch: &mut Batch,
        standing: Standing,
    ) -> PyResult<Standing> {
        if !self.commit {
            return Ok(standing);
        }
        if let Some(copy) = batch.copy() {
            refuse_copy(py, copy)?;
        }
        let Some((end, standing)) = self.end(py, session)? else { return Ok(standing) };
        batch.end = Some(end);
        Ok(standing)
    }

    /// As `last_of`, for a statement with many parameter sets: `request` begins it, and the end comes with its own.
    pub(crate) fn last_of_many(
        self,
        py: Python<'_>,
        session: &Session,
        feed: &Feed,
        request: &mut Request<Job>,
        standing: Standing,
    ) -> PyResult<Standing> {
        if !self.commit {
            return Ok(standing);
        }
        let Some((end, standing)) = self.end(py, session)? else { return Ok(standing) };
        feed.brings(end);
        request.resend = Resend::Never;
        Ok(standing)
    }

    /// None: the block is `rollback_only`.
    fn end(self, py: Python<'_>, session: &Session) -> PyResult<Option<(End, Standing)>> {
        let Some(token) = self.token else {
            return Err(error::interface_error(py, "commit=True is for calls of a transaction block"));
        };
        let taken = session.take_end(py, token)?;
        Ok(taken.map(|(level, commands, commits)| (End { level, commands, commits }, Standing::Ends(level))))
    }

    /// The call that was to bring the end was never made.
    pub(crate) fn not_sent(self, session: &Session) {
        if let Some(token) = self.token.filter(|_| self.commit) {
            session.give_end_back(token);
        }
    }
}

fn refuse_copy(py: Python<'_>, prepared: &Prepared) -> PyResult<()> {
    if prepared.command != Command::Copy {
        return Ok(());
    }
    Err(error::interface_error(py, "commit=True and COPY: the server would take the COMMIT for data; commit after it"))
}

/// The parts of a block that are the same on both faces.
struct Parts {
    token: Py<PyAny>,
    /// BEGIN with its modes.
    begin: String,
    modes: bool,
    /// The savepoint's name, quoted.
    name: Option<String>,
    others: Others,
    /// It is a plan's, in words.
    plan: Option<String>,
    /// The token of the block it was made through: it is a savepoint in that one.
    parent: Option<Py<PyAny>>,
    entered: AtomicBool,
    /// Leaving the block undoes it.
    undone: Arc<AtomicBool>,
}

impl Parts {
    fn new(
        py: Python<'_>,
        begin: String,
        modes: bool,
        name: Option<String>,
        others: &str,
        parent: Option<Py<PyAny>>,
        plan: Option<String>,
    ) -> PyResult<Self> {
        let token = py.get_type::<PyAny>().call0()?.unbind();
        let others = Others::from_word(py, others)?;
        let (entered, undone) = (AtomicBool::new(false), Arc::default());
        Ok(Self { token, begin, modes, name, others, plan, parent, entered, undone })
    }

    /// What is needed to enter it, once.
    fn entry(&self, py: Python<'_>, who: &Bound<'_, PyAny>) -> PyResult<(Entry, Caller)> {
        if self.entered.swap(true, Ordering::Relaxed) {
            return Err(error::interface_error(
                py,
                "a transaction block is entered once: make another by transaction()",
            ));
        }
        let entry = Entry {
            token: self.token.clone_ref(py),
            begin: self.begin.clone(),
            modes: self.modes,
            name: self.name.clone(),
            others: self.others,
            who: (!who.is_none()).then(|| who.clone().unbind()),
            site: CallSite::of_user(py),
            plan: self.plan.clone(),
            undone: Arc::clone(&self.undone),
        };
        Ok((entry, Caller::here(py, self.parent.as_ref())?))
    }
}

/// The verbs stand here once for both faces: each face's class is made of them.
macro_rules! block {
    ($(#[$doc:meta])* $class:ident, $name:literal, $client:ty, $reply:ty, $who:path) => {
        $(#[$doc])*
        #[pyclass(frozen, subclass, weakref, module = "pgoxide._core", name = $name)]
        pub(crate) struct $class {
            client: Py<$client>,
            parts: Parts,
        }

        impl $class {
            #[inline]
            fn asked<'py>(
                &self,
                statement: &Bound<'py, PyAny>,
                given: Given<'_, 'py>,
                into: Option<Py<PyAny>>,
                timeout: Option<f64>,
                types: Option<&Bound<'py, PyAny>>,
                isolate: bool,
            ) -> PyResult<Asked<'py>> {
                Asked::new(&self.client.get().session, statement, given, into, timeout, types, isolate)
            }

            #[inline]
            fn ask(&self, verb: Verb, asked: Asked<'_>, commit: bool) -> PyResult<$reply> {
                let py = asked.sql.py();
                <$client>::ask_via(self.client.bind(py), verb, asked, Via { token: Some(&self.parts.token), commit })
            }
        }

        #[pymethods]
        impl $class {
            #[new]
            #[pyo3(signature = (client, begin, *, modes, name, others, parent, plan=None))]
            #[expect(clippy::too_many_arguments, reason = "what a block is made of")]
            fn new(
                py: Python<'_>,
                client: Py<$client>,
                begin: String,
                modes: bool,
                name: Option<String>,
                others: &str,
                parent: Option<Py<PyAny>>,
                plan: Option<String>,
            ) -> PyResult<Self> {
                Ok(Self { client, parts: Parts::new(py, begin, modes, name, others, parent, plan)? })
            }

            #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, commit=false, **named))]
            #[expect(clippy::too_many_arguments, reason = "those of the connection's verb, and commit")]
            fn fetch_all<'py>(
                &self,
                statement: &Bound<'py, PyAny>,
                args: Bound<'py, PyTuple>,
                into: Option<Py<PyAny>>,
                timeout: Option<f64>,
                types: Option<&Bound<'py, PyAny>>,
                isolate: bool,
                params: Option<&Bound<'py, PyAny>>,
                commit: bool,
                named: Option<&Bound<'py, PyDict>>,
            ) -> PyResult<$reply> {
                let given = Given { args, params, named };
                self.ask(Verb::All, self.asked(statement, given, into, timeout, types, isolate)?, commit)
            }

            #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, commit=false, **named))]
            #[expect(clippy::too_many_arguments, reason = "those of the connection's verb, and commit")]
            fn fetch_one<'py>(
                &self,
                statement: &Bound<'py, PyAny>,
                args: Bound<'py, PyTuple>,
                into: Option<Py<PyAny>>,
                timeout: Option<f64>,
                types: Option<&Bound<'py, PyAny>>,
                isolate: bool,
                params: Option<&Bound<'py, PyAny>>,
                commit: bool,
                named: Option<&Bound<'py, PyDict>>,
            ) -> PyResult<$reply> {
                let given = Given { args, params, named };
                self.ask(Verb::One, self.asked(statement, given, into, timeout, types, isolate)?, commit)
            }

            #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, commit=false, **named))]
            #[expect(clippy::too_many_arguments, reason = "those of the connection's verb, and commit")]
            fn fetch_optional<'py>(
                &self,
                statement: &Bound<'py, PyAny>,
                args: Bound<'py, PyTuple>,
                into: Option<Py<PyAny>>,
                timeout: Option<f64>,
                types: Option<&Bound<'py, PyAny>>,
                isolate: bool,
                params: Option<&Bound<'py, PyAny>>,
                commit: bool,
                named: Option<&Bound<'py, PyDict>>,
            ) -> PyResult<$reply> {
                let given = Given { args, params, named };
                self.ask(Verb::Optional, self.asked(statement, given, into, timeout, types, isolate)?, commit)
            }

            #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, commit=false, **named))]
            #[expect(clippy::too_many_arguments, reason = "those of the connection's verb, and commit")]
            fn fetch_first<'py>(
                &self,
                statement: &Bound<'py, PyAny>,
                args: Bound<'py, PyTuple>,
                into: Option<Py<PyAny>>,
                timeout: Option<f64>,
                types: Option<&Bound<'py, PyAny>>,
                isolate: bool,
                params: Option<&Bound<'py, PyAny>>,
                commit: bool,
                named: Option<&Bound<'py, PyDict>>,
            ) -> PyResult<$reply> {
                let given = Given { args, params, named };
                self.ask(Verb::First, self.asked(statement, given, into, timeout, types, isolate)?, commit)
            }

            #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, commit=false, **named))]
            #[expect(clippy::too_many_arguments, reason = "those of the connection's verb, and commit")]
            fn fetch_value<'py>(
                &self,
                statement: &Bound<'py, PyAny>,
                args: Bound<'py, PyTuple>,
                into: Option<Py<PyAny>>,
                timeout: Option<f64>,
                types: Option<&Bound<'py, PyAny>>,
                isolate: bool,
                params: Option<&Bound<'py, PyAny>>,
                commit: bool,
                named: Option<&Bound<'py, PyDict>>,
            ) -> PyResult<$reply> {
                let given = Given { args, params, named };
                self.ask(Verb::Value, self.asked(statement, given, into, timeout, types, isolate)?, commit)
            }

            #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, isolate=false, params=None, commit=false, **named))]
            #[expect(clippy::too_many_arguments, reason = "those of the connection's verb, and commit")]
            fn fetch_column<'py>(
                &self,
                statement: &Bound<'py, PyAny>,
                args: Bound<'py, PyTuple>,
                into: Option<Py<PyAny>>,
                timeout: Option<f64>,
                types: Option<&Bound<'py, PyAny>>,
                isolate: bool,
                params: Option<&Bound<'py, PyAny>>,
                commit: bool,
                named: Option<&Bound<'py, PyDict>>,
            ) -> PyResult<$reply> {
                let given = Given { args, params, named };
                self.ask(Verb::Column, self.asked(statement, given, into, timeout, types, isolate)?, commit)
            }

            #[pyo3(signature = (statement, /, *args, timeout=None, types=None, isolate=false, params=None, commit=false, **named))]
            #[expect(clippy::too_many_arguments, reason = "those of the connection's verb, and commit")]
            fn execute<'py>(
                &self,
                statement: &Bound<'py, PyAny>,
                args: Bound<'py, PyTuple>,
                timeout: Option<f64>,
                types: Option<&Bound<'py, PyAny>>,
                isolate: bool,
                params: Option<&Bound<'py, PyAny>>,
                commit: bool,
                named: Option<&Bound<'py, PyDict>>,
            ) -> PyResult<$reply> {
                let given = Given { args, params, named };
                self.ask(Verb::Execute, self.asked(statement, given, None, timeout, types, isolate)?, commit)
            }

            #[pyo3(signature = (statement, /, *args, into=None, batch=1000, timeout=None, types=None, params=None, **named))]
            #[expect(clippy::too_many_arguments, reason = "those of the connection's verb")]
            fn stream<'py>(
                &self,
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
                let asked = self.asked(statement, given, into, timeout, types, true)?;
                <$client>::stream_via(self.client.bind(statement.py()), asked, batch, Some(&self.parts.token))
            }

            #[pyo3(signature = (statement, /, *args, into=None, timeout=None, types=None, params=None, **named))]
            #[expect(clippy::too_many_arguments, reason = "those of the connection's verb")]
            fn portal<'py>(
                &self,
                statement: &Bound<'py, PyAny>,
                args: Bound<'py, PyTuple>,
                into: Option<Py<PyAny>>,
                timeout: Option<f64>,
                types: Option<&Bound<'py, PyAny>>,
                params: Option<&Bound<'py, PyAny>>,
                named: Option<&Bound<'py, PyDict>>,
            ) -> PyResult<$reply> {
                let given = Given { args, params, named };
                let asked = self.asked(statement, given, into, timeout, types, false)?;
                <$client>::open_portal(self.client.bind(statement.py()), asked, Some(&self.parts.token))
            }

            #[pyo3(signature = (sql, /, *, timeout=None))]
            fn execute_script(&self, py: Python<'_>, sql: String, timeout: Option<f64>) -> PyResult<$reply> {
                <$client>::script_via(self.client.bind(py), sql, timeout, Some(&self.parts.token))
            }

            #[getter]
            fn rollback_only(&self) -> bool {
                self.parts.undone.load(Ordering::Relaxed)
            }

            #[setter]
            fn set_rollback_only(&self, undone: bool) {
                self.parts.undone.store(undone, Ordering::Relaxed);
            }

            /// What calls of this block carry.
            #[getter]
            fn _token(&self, py: Python<'_>) -> Py<PyAny> {
                self.parts.token.clone_ref(py)
            }

            /// Enters the block: from now on the running context belongs to it. What comes back is awaited: somebody else's
            /// block must be left first.
            fn _enter(&self, py: Python<'_>) -> PyResult<Option<$reply>> {
                self.client.bind(py).get().session.check_home(py)?;
                let who = $who(py)?.call0()?;
                let (entry, caller) = self.parts.entry(py, &who)?;
                let entered = <$client>::enter(self.client.bind(py), entry, caller)?;
                hold_token(py, &self.parts.token)?;
                Ok(entered)
            }

            /// Ends the block well, within so many seconds. None: there is nothing to send.
            #[pyo3(signature = (timeout=None))]
            fn _end(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<$reply>> {
                self.client.bind(py).get().session.check_home(py)?;
                <$client>::end_block(self.client.bind(py), &self.parts.token, timeout)
            }

            /// The flight that was to bring its end has failed before that: it takes statements again.
            fn _go_on(&self, py: Python<'_>) {
                self.client.bind(py).get().session.give_end_back(&self.parts.token);
            }

            /// It is to be ended: it is open, or may be, or the next statement opens it.
            #[getter]
            fn _stands(&self, py: Python<'_>) -> bool {
                self.client.bind(py).get().session.stands(&self.parts.token)
            }

            /// Undoes what was done in the block, within so many seconds. None: there is nothing to undo.
            fn _undo(&self, py: Python<'_>, timeout: f64) -> PyResult<Option<$reply>> {
                if self.client.bind(py).get().session.home.is_elsewhere() {
                    return Ok(None);
                }
                <$client>::undo_block(self.client.bind(py), &self.parts.token, timeout)
            }

            /// "open"; "done" once its last statement has ended it well; "over" once a statement inside has ended the
            /// transaction.
            #[getter]
            fn _fate(&self, py: Python<'_>) -> &'static str {
                self.client.bind(py).get().session.fate(&self.parts.token)
            }

            /// Who has entered it, and where.
            #[getter]
            fn _holder(&self, py: Python<'_>) -> Option<String> {
                self.client.bind(py).get().session.holder_of(py, &self.parts.token)
            }

            /// Whether it is a savepoint.
            #[getter]
            fn _nested(&self, py: Python<'_>) -> bool {
                self.client.bind(py).get().session.is_nested(&self.parts.token)
            }

            /// The block is over, for this context and for others.
            fn _leave(&self, py: Python<'_>) -> PyResult<()> {
                drop_token(py, &self.parts.token)?;
                <$client>::leave_block(self.client.bind(py), &self.parts.token)
            }

            fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
                visit.call(&self.client)
            }
        }
    };
}

block!(
    /// The core of `AsyncTransaction`.
    AsyncTransactionBlock, "AsyncTransactionBlock", AsyncClient, Py<Awaitable>, pyimport::current_task
);

block!(
    /// The core of `Transaction`.
    TransactionBlock, "TransactionBlock", BlockingClient, Py<PyAny>, pyimport::current_thread
);
