//! `__pg_encode__`: how a user's class says what its instances are sent as.

use pyo3::intern;
use pyo3::prelude::*;

use super::Converted;
use crate::error;

/// Whether the class has the hook.
pub(super) fn is_there(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.get_type().hasattr(intern!(value.py(), "__pg_encode__"))
}

/// What stands for an argument that its parameter's codec refused. Without the hook the refusal is raised.
#[cold]
pub(super) fn given<'py>(value: &Bound<'py, PyAny>, refusal: PyErr) -> Converted<'py> {
    if !error::is_error(value.py(), &refusal) {
        return Err(refusal);
    }
    if is_there(value)? { value.call_method0(intern!(value.py(), "__pg_encode__")) } else { Err(refusal) }
}
