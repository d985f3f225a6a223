//! bool.

use pgoxide_types::bool as wire;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use super::{Converted, refuse, wrong_type};

#[inline]
pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let value = wire::decode_binary(raw).map_err(|e| refuse(py, &e))?;
    Ok(PyBool::new(py, value).to_owned().into_any())
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let value = wire::decode_text(raw).map_err(|e| refuse(py, &e))?;
    Ok(PyBool::new(py, value).to_owned().into_any())
}

/// Only `bool`: 1 for true is more often a mistake than a wish.
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let value = value.cast::<PyBool>().map_err(|_| wrong_type(value, "bool"))?;
    wire::encode_binary(value.is_true(), out);
    Ok(())
}
