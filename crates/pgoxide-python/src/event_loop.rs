//! What an asynchronous object keeps of the event loop it belongs to.

use std::sync::OnceLock;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

use crate::{error, pyimport};

/// The loop, and two objects of it that replies need each time.
#[derive(Default)]
pub(crate) struct LoopTies {
    event_loop: OnceLock<Py<PyAny>>,
    /// A future of the loop that has finished long ago, see `Awaitable::wake`.
    finished: OnceLock<Py<PyAny>>,
    /// See `Awaitable::get_loop`.
    loop_of: OnceLock<Py<LoopOf>>,
}

impl LoopTies {
    /// Ties to the loop; false when it was tied before.
    pub(crate) fn tie(&self, event_loop: Py<PyAny>) -> bool {
        self.event_loop.set(event_loop).is_ok()
    }

    pub(crate) fn get(&self) -> Option<&Py<PyAny>> {
        self.event_loop.get()
    }

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

    /// For the garbage collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(finished) = self.finished.get() {
            visit.call(finished)?;
        }
        if let Some(loop_of) = self.loop_of.get() {
            visit.call(loop_of)?;
        }
        self.event_loop.get().map_or(Ok(()), |event_loop| visit.call(event_loop))
    }
}

/// Gives the loop when called.
#[pyclass(frozen, module = "pgoxide._core")]
pub(crate) struct LoopOf(pub(crate) Py<PyAny>);

#[pymethods]
impl LoopOf {
    fn __call__<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.0.bind(py).clone()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}
