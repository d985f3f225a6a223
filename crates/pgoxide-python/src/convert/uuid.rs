//! uuid as `uuid.UUID`, its slots filled without parsing text: `UUID(bytes=…)` costs five times as much.

use pgoxide_types::uuid as wire;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{IntoPyDict, PyString};

use super::{Converted, refuse, wrong_type};
use crate::ffi::slots::{self, Slot};
use crate::pyimport;

/// What building a UUID needs of its class, looked up once.
struct Parts {
    int: Slot,
    is_safe: Slot,
    unknown: Py<PyAny>,
}

impl Parts {
    fn find(py: Python<'_>) -> PyResult<Option<Self>> {
        let class = pyimport::uuid(py)?;
        let unknown = pyimport::safe_uuid_unknown(py)?.getattr("unknown")?.unbind();
        Ok(match (Slot::of(class, "int")?, Slot::of(class, "is_safe")?) {
            (Some(int), Some(is_safe)) => Some(Self { int, is_safe, unknown }),
            _ => None,
        })
    }
}

fn build<'py>(py: Python<'py>, value: u128) -> Converted<'py> {
    static PARTS: PyOnceLock<Option<Parts>> = PyOnceLock::new();
    let class = pyimport::uuid(py)?;
    let Some(parts) = PARTS.get_or_try_init(py, || Parts::find(py))? else {
        return class.call((), Some(&[("int", value)].into_py_dict(py)?));
    };
    let made = slots::allocate(class)?;
    parts.int.put(&made, value.into_pyobject(py)?.into_any())?;
    parts.is_safe.set(&made, parts.unknown.bind(py))?;
    // A UUID refers to an int and an enum member only.
    slots::untrack(&made);
    Ok(made)
}

#[inline]
pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_binary(raw).map_err(|e| refuse(py, &e))?)
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_text(raw).map_err(|e| refuse(py, &e))?)
}

/// `uuid.UUID`, or its text form.
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let number = if value.is_instance(pyimport::uuid(py)?)? {
        value.getattr(intern!(py, "int"))?.extract::<u128>()?
    } else if let Ok(text) = value.cast::<PyString>() {
        wire::decode_text(text.to_str()?.as_bytes()).map_err(|e| refuse(py, &e))?
    } else {
        return Err(wrong_type(value, "uuid.UUID or its text form"));
    };
    wire::encode_binary(number, out);
    Ok(())
}
