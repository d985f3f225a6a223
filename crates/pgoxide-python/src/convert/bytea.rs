//! bytea and "char".

use pgoxide_types::bytea as wire;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{Converted, refuse, wrong_type};
use crate::error;

#[inline]
pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    Ok(PyBytes::new(py, raw).into_any())
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let mut bytes = Vec::with_capacity(raw.len());
    wire::decode_text(raw, &mut bytes).map_err(|e| refuse(py, &e))?;
    Ok(PyBytes::new(py, &bytes).into_any())
}

/// "char" in text: one byte, nothing for the byte 0, `\ooo` from 128 on (PostgreSQL 16; before, the byte itself).
pub(super) fn decode_char_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let byte = match raw {
        [] => 0,
        [byte] => *byte,
        [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7'] => {
            ((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0')
        }
        _ => return Err(error::data_error(py, "\"char\" holds one byte; more came")),
    };
    Ok(PyBytes::new(py, &[byte]).into_any())
}

/// bytes, bytearray, memoryview (strided ones too) and anything else with a buffer.
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        out.extend_from_slice(bytes.as_bytes());
        return Ok(());
    }
    let buffer = PyBuffer::<u8>::get(value).map_err(|_| wrong_type(value, "bytes or another buffer of bytes"))?;
    out.extend_from_slice(&buffer.to_vec(value.py())?);
    Ok(())
}

pub(super) fn encode_char(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let start = out.len();
    if encode(value, out).is_ok() && out.len() == start + 1 {
        return Ok(());
    }
    out.truncate(start);
    Err(wrong_type(value, "bytes of length 1"))
}
