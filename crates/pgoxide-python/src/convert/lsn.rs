//! pg_lsn as `Lsn`.

use pgoxide_types::lsn as wire;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString};

use super::{Converted, refuse, wrong_type};
use crate::ffi::subtype;
use crate::pyimport;

fn build(py: Python<'_>, value: u64) -> Converted<'_> {
    subtype::int(pyimport::lsn(py)?, value.into_pyobject(py)?.as_any())
}

pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_binary(raw).map_err(|e| refuse(py, &e))?)
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_text(raw).map_err(|e| refuse(py, &e))?)
}

/// `Lsn`, another int of its range, or text.
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let position = if let Ok(text) = value.cast::<PyString>() {
        wire::decode_text(text.to_string_lossy().as_bytes()).map_err(|e| refuse(py, &e))?
    } else if value.is_instance_of::<PyBool>() {
        return Err(wrong_type(value, "Lsn, int or str"));
    } else {
        value
            .extract()
            .map_err(|_| wrong_type(value, "Lsn, int from 0 to 2**64 - 1, or str such as \"16/B374D848\""))?
    };
    wire::encode_binary(position, out);
    Ok(())
}
