//! Arguments whose types the server has not told yet: frozen in the call, encoded when they are known.

use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDate, PyDateTime, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple,
};

use crate::pyimport;

/// The arguments as they are now: changing them afterwards changes nothing.
pub(crate) fn freeze(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyTuple>> {
    if arguments.iter_borrowed().all(|value| is_immutable(&value)) {
        return Ok(arguments.clone().unbind());
    }
    let frozen = arguments.iter().map(|value| freeze_one(&value)).collect::<PyResult<Vec<_>>>()?;
    Ok(PyTuple::new(arguments.py(), frozen)?.unbind())
}

fn is_immutable(value: &Bound<'_, PyAny>) -> bool {
    value.is_none()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyBytes>()
        || value.is_exact_instance_of::<PyDateTime>()
        || value.is_exact_instance_of::<PyDate>()
}

fn freeze_one<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if is_immutable(value) {
        return Ok(value.clone());
    }
    if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        return value.py().get_type::<PyBytes>().call1((value,));
    }
    if let Ok(list) = value.cast_exact::<PyList>() {
        let items = list.iter().map(|item| freeze_one(&item)).collect::<PyResult<Vec<_>>>()?;
        return Ok(PyList::new(value.py(), items)?.into_any());
    }
    pyimport::deepcopy(value.py())?.call1((value,))
}
