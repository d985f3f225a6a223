//! Statements that their users hold: the core of `AsyncPreparedStatement` and `PreparedStatement`.
//!
//! One is described before anybody has it, and it is its holder's own: neither the cache's size nor another holder closes it.
//! Letting it go, on whatever thread and by whatever garbage collector, puts its name on the list of those the next request
//! closes (`prepared.rs`).

use std::sync::{Arc, Mutex};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::async_client::AsyncClient;
use crate::awaitable::Awaitable;
use crate::blocking_client::BlockingClient;
use crate::call::Asked;
use crate::error;
use crate::job::Verb;
use crate::named::Given;
use crate::prepared::{Entry, Prepared};
use crate::pyimport;
use crate::session::Session;
use crate::stream::Stream;
use crate::sync::lock;

/// What both faces' classes hold.
struct Own {
    /// None once it was closed.
    prepared: Mutex<Option<Arc<Prepared>>>,
    into: Option<Py<PyAny>>,
}

/// A parameter as Python gets it: its name, its type's OID and name.
type Parameter = (Option<String>, u32, String);

/// A column as Python gets it: name, type's OID and name, type modifier, table's OID, number in that.
type Column = (String, u32, String, i32, u32, i16);

impl Own {
    /// Raises if the columns are not those of the row type.
    fn new(py: Python<'_>, prepared: &Entry, into: Option<Py<PyAny>>) -> PyResult<Self> {
        let plan = prepared.0.described().and_then(|described| described.plan.as_ref());
        if let (Some(plan), Some(into)) = (plan, &into)
            && !into.bind(py).is(pyimport::row(py)?)
        {
            plan.target(into.bind(py))?;
        }
        Ok(Self { prepared: Mutex::new(Some(Arc::clone(&prepared.0))), into })
    }

    fn held(&self, py: Python<'_>) -> PyResult<Arc<Prepared>> {
        let held = lock(&self.prepared).clone();
        held.ok_or_else(|| error::interface_error(py, "the prepared statement has been closed"))
    }

    /// The one to run: what replaced it, if the server has lost it.
    fn current(&self, py: Python<'_>, session: &Session) -> PyResult<Arc<Prepared>> {
        let held = self.held(py)?;
        let current = session.statements.current(py, &held)?;
        // Until it is described the old one still tells what there was.
        let newer = !Arc::ptr_eq(&held, &current) && current.described().is_some();
        if newer && let Some(held) = &mut *lock(&self.prepared) {
            *held = Arc::clone(&current);
        }
        Ok(current)
    }

    fn asked<'py>(
        &self,
        session: &Session,
        given: Given<'_, 'py>,
        timeout: Option<f64>,
        isolate: bool,
    ) -> PyResult<Asked<'py>> {
        let py = given.args.py();
        let into = self.into.as_ref().map(|into| into.clone_ref(py));
        Asked::of_prepared(self.current(py, session)?, given, into, timeout, isolate)
    }

    /// The newest of its descriptions.
    fn described(&self, py: Python<'_>, session: &Session) -> PyResult<Arc<Prepared>> {
        self.current(py, session)?;
        self.held(py)
    }

    fn parameters(&self, py: Python<'_>, session: &Session) -> PyResult<Vec<Parameter>> {
        let prepared = self.described(py, session)?;
        let names = prepared.named.as_ref().map_or(&[][..], |named| named.names());
        let oids = prepared.described().map_or(&[][..], |described| &described.parameter_oids);
        Ok(oids
            .iter()
            .enumerate()
            .map(|(index, &oid)| (names.get(index).cloned(), oid, session.options.rules.types.name(oid)))
            .collect())
    }

    fn columns(&self, py: Python<'_>, session: &Session) -> PyResult<Option<Vec<Column>>> {
        let prepared = self.described(py, session)?;
        let plan = prepared.described().and_then(|described| described.plan.as_ref());
        let column = |column: &crate::plan::Column| {
            let (oid, name) = (column.type_oid, column.name.clone());
            (name, oid, session.options.rules.types.name(oid), column.type_modifier, column.table_oid, column.attnum)
        };
        Ok(plan.map(|plan| plan.columns.iter().map(column).collect()))
    }

    fn close(&self) -> bool {
        lock(&self.prepared).take().is_some()
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.into.iter().try_for_each(|into| visit.call(into))?;
        let Ok(prepared) = self.prepared.try_lock() else { return Ok(()) };
        prepared.iter().try_for_each(|prepared| prepared.visit(visit))
    }
}

/// The same methods for both faces: PyO3 reads signatures off each, one `impl` a class. They differ in `ask`.
macro_rules! prepared_statement {
    ($class:ident, $client:ty, $answer:ty) => {
        #[pymethods]
        impl $class {
            #[new]
            #[pyo3(signature = (client, prepared, into=None))]
            fn new(py: Python<'_>, client: Py<$client>, prepared: &Entry, into: Option<Py<PyAny>>) -> PyResult<Self> {
                Ok(Self { client, own: Own::new(py, prepared, into)? })
            }

            /// `…Statement[R]`: for annotations.
            #[classmethod]
            fn __class_getitem__(cls: Bound<'_, PyType>, item: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                Ok(pyimport::generic_alias(cls.py())?.call1((cls, item))?.unbind())
            }

            #[pyo3(signature = (*args, timeout=None, isolate=false, params=None, **named))]
            fn fetch_all(
                &self,
                args: Bound<'_, PyTuple>,
                timeout: Option<f64>,
                isolate: bool,
                params: Option<&Bound<'_, PyAny>>,
                named: Option<&Bound<'_, PyDict>>,
            ) -> PyResult<$answer> {
                self.ask(Verb::All, Given { args, params, named }, timeout, isolate)
            }

            #[pyo3(signature = (*args, timeout=None, isolate=false, params=None, **named))]
            fn fetch_one(
                &self,
                args: Bound<'_, PyTuple>,
                timeout: Option<f64>,
                isolate: bool,
                params: Option<&Bound<'_, PyAny>>,
                named: Option<&Bound<'_, PyDict>>,
            ) -> PyResult<$answer> {
                self.ask(Verb::One, Given { args, params, named }, timeout, isolate)
            }

            #[pyo3(signature = (*args, timeout=None, isolate=false, params=None, **named))]
            fn fetch_optional(
                &self,
                args: Bound<'_, PyTuple>,
                timeout: Option<f64>,
                isolate: bool,
                params: Option<&Bound<'_, PyAny>>,
                named: Option<&Bound<'_, PyDict>>,
            ) -> PyResult<$answer> {
                self.ask(Verb::Optional, Given { args, params, named }, timeout, isolate)
            }

            #[pyo3(signature = (*args, timeout=None, isolate=false, params=None, **named))]
            fn fetch_first(
                &self,
                args: Bound<'_, PyTuple>,
                timeout: Option<f64>,
                isolate: bool,
                params: Option<&Bound<'_, PyAny>>,
                named: Option<&Bound<'_, PyDict>>,
            ) -> PyResult<$answer> {
                self.ask(Verb::First, Given { args, params, named }, timeout, isolate)
            }

            #[pyo3(signature = (*args, timeout=None, isolate=false, params=None, **named))]
            fn fetch_value(
                &self,
                args: Bound<'_, PyTuple>,
                timeout: Option<f64>,
                isolate: bool,
                params: Option<&Bound<'_, PyAny>>,
                named: Option<&Bound<'_, PyDict>>,
            ) -> PyResult<$answer> {
                self.ask(Verb::Value, Given { args, params, named }, timeout, isolate)
            }

            #[pyo3(signature = (*args, timeout=None, isolate=false, params=None, **named))]
            fn fetch_column(
                &self,
                args: Bound<'_, PyTuple>,
                timeout: Option<f64>,
                isolate: bool,
                params: Option<&Bound<'_, PyAny>>,
                named: Option<&Bound<'_, PyDict>>,
            ) -> PyResult<$answer> {
                self.ask(Verb::Column, Given { args, params, named }, timeout, isolate)
            }

            #[pyo3(signature = (*args, timeout=None, isolate=false, params=None, **named))]
            fn execute(
                &self,
                args: Bound<'_, PyTuple>,
                timeout: Option<f64>,
                isolate: bool,
                params: Option<&Bound<'_, PyAny>>,
                named: Option<&Bound<'_, PyDict>>,
            ) -> PyResult<$answer> {
                self.ask(Verb::Execute, Given { args, params, named }, timeout, isolate)
            }

            #[pyo3(signature = (*args, batch=1000, timeout=None, params=None, **named))]
            fn stream(
                &self,
                args: Bound<'_, PyTuple>,
                batch: i64,
                timeout: Option<f64>,
                params: Option<&Bound<'_, PyAny>>,
                named: Option<&Bound<'_, PyDict>>,
            ) -> PyResult<Py<Stream>> {
                let client = self.client.bind(args.py());
                let given = Given { args, params, named };
                let asked = self.own.asked(&client.get().session, given, timeout, true)?;
                <$client>::open(client, asked, batch)
            }

            #[pyo3(signature = (*args, timeout=None, params=None, **named))]
            fn portal(
                &self,
                args: Bound<'_, PyTuple>,
                timeout: Option<f64>,
                params: Option<&Bound<'_, PyAny>>,
                named: Option<&Bound<'_, PyDict>>,
            ) -> PyResult<$answer> {
                let client = self.client.bind(args.py()).clone();
                let given = Given { args, params, named };
                let asked = self.own.asked(&client.get().session, given, timeout, false)?;
                <$client>::open_portal(&client, asked, None)
            }

            /// Its name at the server.
            #[getter]
            fn name(&self, py: Python<'_>) -> PyResult<String> {
                let prepared = self.own.described(py, &self.client.get().session)?;
                Ok(String::from_utf8_lossy(&prepared.name).into_owned())
            }

            /// Its text, as it was written.
            #[getter]
            fn sql(&self, py: Python<'_>) -> PyResult<Py<PyString>> {
                Ok(self.own.held(py)?.original().clone_ref(py))
            }

            /// The command tag of its last run that ended.
            #[getter]
            fn status(&self, py: Python<'_>) -> PyResult<Option<String>> {
                Ok(self.own.held(py)?.status())
            }

            #[getter]
            fn closed(&self) -> bool {
                lock(&self.own.prepared).is_none() || self.client.get().session.is_ended()
            }

            fn _parameters(&self, py: Python<'_>) -> PyResult<Vec<Parameter>> {
                self.own.parameters(py, &self.client.get().session)
            }

            fn _columns(&self, py: Python<'_>) -> PyResult<Option<Vec<Column>>> {
                self.own.columns(py, &self.client.get().session)
            }

            /// The statement to run now, for `execute_many` and portals.
            fn _current(&self, py: Python<'_>) -> PyResult<Entry> {
                Ok(Entry(self.own.current(py, &self.client.get().session)?))
            }

            /// Lets it go. False when that has been done.
            fn _let_go(&self) -> bool {
                self.own.close()
            }

            fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
                visit.call(&self.client)?;
                self.own.visit(&visit)
            }
        }
    };
}

/// See the module.
#[pyclass(frozen, subclass, weakref, module = "pgoxide._core", name = "AsyncPreparedVerbs")]
pub(crate) struct AsyncPreparedVerbs {
    client: Py<AsyncClient>,
    own: Own,
}

prepared_statement!(AsyncPreparedVerbs, AsyncClient, Py<Awaitable>);

impl AsyncPreparedVerbs {
    fn ask(&self, verb: Verb, given: Given<'_, '_>, timeout: Option<f64>, isolate: bool) -> PyResult<Py<Awaitable>> {
        let client = self.client.bind(given.args.py()).clone();
        AsyncClient::ask(&client, verb, self.own.asked(&client.get().session, given, timeout, isolate)?)
    }
}

/// See the module.
#[pyclass(frozen, subclass, weakref, module = "pgoxide._core", name = "PreparedVerbs")]
pub(crate) struct PreparedVerbs {
    client: Py<BlockingClient>,
    own: Own,
}

prepared_statement!(PreparedVerbs, BlockingClient, Py<PyAny>);

impl PreparedVerbs {
    fn ask(&self, verb: Verb, given: Given<'_, '_>, timeout: Option<f64>, isolate: bool) -> PyResult<Py<PyAny>> {
        let (py, client) = (given.args.py(), self.client.get());
        client.ask(py, verb, self.own.asked(&client.session, given, timeout, isolate)?)
    }
}
