//! Exceptions that have nobody to go to.

use pyo3::prelude::*;

/// Hands the exception of something that was called, a listener for one, to `sys.unraisablehook`. What the hook itself takes
/// cannot be made in Python: the interpreter's own hook refuses anything else.
#[pyfunction]
pub(crate) fn report_unraisable(error: Bound<'_, PyAny>, raised_by: &Bound<'_, PyAny>) {
    let py = error.py();
    PyErr::from_value(error).write_unraisable(py, Some(raised_by));
}
