//! tid as `Tid`.

use pgoxide_types::tid as wire;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::{Converted, refuse, wrong_type};
use crate::ffi::tuple;
use crate::pyimport;

fn build(py: Python<'_>, (block, offset): (u32, u16)) -> Converted<'_> {
    tuple::named(pyimport::tid(py)?, [block.into_pyobject(py)?.into_any(), offset.into_pyobject(py)?.into_any()])
}

pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_binary(raw).map_err(|e| refuse(py, &e))?)
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_text(raw).map_err(|e| refuse(py, &e))?)
}

/// `Tid` or another pair of ints, or text.
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let (block, offset) = if let Ok(text) = value.cast::<PyString>() {
        wire::decode_text(text.to_string_lossy().as_bytes()).map_err(|e| refuse(py, &e))?
    } else {
        let expected = || wrong_type(value, "Tid, or a tuple of a block (32 bits) and an offset (16 bits)");
        value.cast::<PyTuple>().map_err(|_| expected())?.extract().map_err(|_| expected())?
    };
    wire::encode_binary(block, offset, out);
    Ok(())
}
