//! Arguments whose types the server has not told yet: frozen in the call, encoded when they are known.

use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDate, PyDateTime, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple,
};

use crate::convert::{MAX_DEPTH, short_repr};
use crate::prepared::Prepared;
use crate::{error, pyimport};

/// The arguments of `statement` as they are now: changing them afterwards changes nothing.
pub(crate) fn freeze(arguments: &Bound<'_, PyTuple>, statement: &Prepared) -> PyResult<Py<PyTuple>> {
    if arguments.iter_borrowed().all(|value| is_immutable(&value)) {
        return Ok(arguments.clone().unbind());
    }
    let frozen = arguments
        .iter()
        .enumerate()
        .map(|(index, value)| {
            freeze_one(&value, 0).map_err(|cause| blame(&value, &statement.parameter_name(index), cause))
        })
        .collect::<PyResult<Vec<_>>>()?;
    Ok(PyTuple::new(arguments.py(), frozen)?.unbind())
}

/// What a value counts whose size does not vary, or is not looked at.
const SCALAR: usize = 32;

/// About how many bytes the arguments hold. At most a thousand values are looked at; what a container holds beyond is
/// taken to be like what was seen of it.
pub(crate) fn weight(arguments: &Bound<'_, PyTuple>) -> usize {
    let mut looks = 1_000;
    container(arguments.len(), arguments.iter_borrowed().map(|value| weight_of(&value, &mut looks)))
}

fn weight_of(value: &Bound<'_, PyAny>, looks: &mut usize) -> usize {
    if *looks == 0 {
        return SCALAR;
    }
    *looks -= 1;
    if let Ok(bytes) = value.cast_exact::<PyBytes>() {
        SCALAR + bytes.as_bytes().len()
    } else if let Ok(text) = value.cast_exact::<PyString>() {
        SCALAR + text.len().unwrap_or(0)
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        container(list.len(), list.iter().map(|item| weight_of(&item, looks)))
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        container(tuple.len(), tuple.iter_borrowed().map(|item| weight_of(&item, looks)))
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        container(dict.len(), dict.iter().map(|(_, item)| weight_of(&item, looks)))
    } else {
        SCALAR
    }
}

/// By the average of its first items.
fn container(length: usize, weights: impl Iterator<Item = usize>) -> usize {
    let seen = length.clamp(1, 1_000);
    let total = weights.take(seen).fold(0, usize::saturating_add);
    SCALAR.saturating_add((total / seen).saturating_mul(length))
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

/// DataError naming the argument.
#[cold]
fn blame(value: &Bound<'_, PyAny>, name: &str, cause: PyErr) -> PyErr {
    let py = value.py();
    let message = format!("argument {name}: {} cannot be taken: {}", short_repr(value), cause.value(py));
    error::caused_by(py, error::data_error(py, message), cause)
}

fn freeze_one<'py>(value: &Bound<'py, PyAny>, depth: usize) -> PyResult<Bound<'py, PyAny>> {
    if is_immutable(value) {
        return Ok(value.clone());
    }
    if depth > MAX_DEPTH {
        return Err(error::data_error(value.py(), format!("nested deeper than {MAX_DEPTH} levels (or into itself)")));
    }
    if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        // A view of anything but bytes stays as it is: its codec refuses it, with the right words.
        return match PyBuffer::<u8>::get(value) {
            Ok(buffer) => Ok(PyBytes::new(value.py(), &buffer.to_vec(value.py())?).into_any()),
            Err(_) => Ok(value.clone()),
        };
    }
    if let Ok(list) = value.cast_exact::<PyList>() {
        let items = list.iter().map(|item| freeze_one(&item, depth + 1)).collect::<PyResult<Vec<_>>>()?;
        return Ok(PyList::new(value.py(), items)?.into_any());
    }
    if let Ok(dict) = value.cast_exact::<PyDict>() {
        let copy = PyDict::new(value.py());
        for (key, item) in dict.iter() {
            copy.set_item(freeze_one(&key, depth + 1)?, freeze_one(&item, depth + 1)?)?;
        }
        return Ok(copy.into_any());
    }
    // What cannot be copied (a generator, a lock) no codec takes: it says so.
    Ok(pyimport::deepcopy(value.py())?.call1((value,)).unwrap_or_else(|_| value.clone()))
}
