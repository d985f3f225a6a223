//! The verbs of the blocking pool: what runs is checked here, on which connection is for Python to say (`driver/shelf.py`).

use std::time::Instant;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::check_routable;
use crate::blocking_client::BlockingClient;
use crate::call::Asked;
use crate::error;
use crate::job::Verb;
use crate::known::KnownStatements;
use crate::named::Given;

/// The core of `Pool`: its verbs.
#[pyclass(frozen, subclass, weakref, module = "pgoxide._core", name = "PoolCore")]
pub(crate) struct BlockingPool {
    known: KnownStatements,
}

impl BlockingPool {
    fn route(slf: &Bound<'_, Self>, verb: Verb, mut asked: Asked<'_>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let known = slf.get().known.get(&asked.sql, &asked.types, asked.named.is_some())?;
        check_routable(py, &known)?;
        let began = Instant::now();
        let db = slf.call_method1(intern!(py, "_take_routed"), (asked.timeout,))?;
        let client = db.cast::<BlockingClient>()?.get();
        let limit = asked.timeout.or(client.default_timeout());
        let result = match limit.map(|limit| (limit, limit - began.elapsed().as_secs_f64())) {
            Some((limit, left)) if left <= 0.0 => {
                Err(error::query_timeout(py, format!("not finished within {limit} s")))
            }
            left => {
                asked.timeout = left.map(|(_, left)| left);
                client.ask(py, verb, asked)
            }
        };
        let given_back = slf.call_method1(intern!(py, "_give_routed"), (db,));
        let result = result?;
        given_back?;
        Ok(result)
    }
}

#[expect(clippy::too_many_arguments, reason = "Python hands them over by keyword")]
#[pymethods]
impl BlockingPool {
    /// Anything: the subclass takes its arguments.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(py: Python<'_>, _args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { known: KnownStatements::new(py) }
    }

    fn _prepare(&self, statement_cache_size: usize) {
        self.known.remember(4 * statement_cache_size);
    }

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
    ) -> PyResult<Py<PyAny>> {
        Self::route(
            slf,
            Verb::All,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, into, timeout, types, isolate)?,
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
    ) -> PyResult<Py<PyAny>> {
        Self::route(
            slf,
            Verb::One,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, into, timeout, types, isolate)?,
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
    ) -> PyResult<Py<PyAny>> {
        Self::route(
            slf,
            Verb::Optional,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, into, timeout, types, isolate)?,
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
    ) -> PyResult<Py<PyAny>> {
        Self::route(
            slf,
            Verb::First,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, into, timeout, types, isolate)?,
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
    ) -> PyResult<Py<PyAny>> {
        Self::route(
            slf,
            Verb::Value,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, into, timeout, types, isolate)?,
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
    ) -> PyResult<Py<PyAny>> {
        Self::route(
            slf,
            Verb::Column,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, into, timeout, types, isolate)?,
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
    ) -> PyResult<Py<PyAny>> {
        Self::route(
            slf,
            Verb::Execute,
            Asked::new(&slf.get().known, statement, Given { args, params, named }, None, timeout, types, isolate)?,
        )
    }

    /// A connection has been opened: what it tells of the meaning of texts.
    fn _learn(&self, client: &BlockingClient) {
        self.known.learn(&client.session);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.known.visit(&visit)
    }
}
