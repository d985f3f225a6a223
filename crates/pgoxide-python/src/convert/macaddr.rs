//! macaddr and macaddr8 as `str`, as the server writes them.

use pgoxide_types::macaddr as wire;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{Converted, refuse, wrong_type};
use crate::ffi::unicode;

fn build<'py, const N: usize>(py: Python<'py>, bytes: [u8; N]) -> Converted<'py> {
    let mut text = Vec::with_capacity(3 * N);
    wire::encode_text(&bytes, &mut text);
    Ok(unicode::from_ascii(py, &text)?.into_any())
}

pub(super) fn decode<'py, const N: usize>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_binary::<N>(raw).map_err(|e| refuse(py, &e))?)
}

pub(super) fn decode_text<'py, const N: usize>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_text::<N>(raw).map_err(|e| refuse(py, &e))?)
}

pub(super) fn encode<const N: usize>(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let text = value.cast::<PyString>().map_err(|_| wrong_type(value, "str such as \"08:00:2b:01:02:03\""))?;
    let bytes = wire::decode_text::<N>(text.to_string_lossy().as_bytes()).map_err(|e| refuse(value.py(), &e))?;
    out.extend_from_slice(&bytes);
    Ok(())
}
