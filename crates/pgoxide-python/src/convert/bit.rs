//! bit and varbit as `BitString`.

use pgoxide_types::bit as wire;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString};

use super::{Converted, refuse, wrong_type};
use crate::ffi::slots::{self, Slot};
use crate::pyimport;

struct Parts {
    data: Slot,
    length: Slot,
}

fn build<'py>(py: Python<'py>, count: usize, bits: &[u8]) -> Converted<'py> {
    static PARTS: PyOnceLock<Option<Parts>> = PyOnceLock::new();
    let class = pyimport::bit_string(py)?;
    let parts = PARTS.get_or_try_init(py, || -> PyResult<_> {
        Ok(Slot::of(class, "_data")?.zip(Slot::of(class, "_length")?).map(|(data, length)| Parts { data, length }))
    })?;
    let data = PyBytes::new(py, bits);
    let Some(parts) = parts else {
        return class.call_method1(intern!(py, "from_bytes"), (data, count));
    };
    let made = slots::allocate(class)?;
    parts.data.set(&made, data.as_any())?;
    parts.length.set(&made, count.into_pyobject(py)?.as_any())?;
    // It refers to bytes and an int only.
    slots::untrack(&made);
    Ok(made)
}

pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let (count, bits) = wire::decode_binary(raw).map_err(|e| refuse(py, &e))?;
    build(py, count, bits)
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let mut bits = Vec::with_capacity(raw.len().div_ceil(8));
    let count = wire::decode_text(raw, &mut bits).map_err(|e| refuse(py, &e))?;
    build(py, count, &bits)
}

/// `BitString`, or a `str` of 0 and 1. An int has no number of bits, so it is refused.
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    if value.is_instance(pyimport::bit_string(py)?)? {
        let (data, count) = (value.getattr(intern!(py, "_data"))?, value.getattr(intern!(py, "_length"))?);
        let data = data.cast::<PyBytes>()?;
        return wire::encode_binary(count.extract()?, data.as_bytes(), out).map_err(|e| refuse(py, &e));
    }
    let text = value.cast::<PyString>().map_err(|_| wrong_type(value, "BitString or str of 0 and 1"))?;
    let mut bits = Vec::new();
    let count = wire::decode_text(text.to_string_lossy().as_bytes(), &mut bits).map_err(|e| refuse(py, &e))?;
    wire::encode_binary(count, &bits, out).map_err(|e| refuse(py, &e))
}
