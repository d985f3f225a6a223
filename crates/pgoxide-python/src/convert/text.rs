//! text, varchar, bpchar, name, xml; and the text form of every type without a codec.

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{Converted, wrong_type};
use crate::error;
use crate::ffi::unicode;

#[inline]
pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    Ok(unicode::from_utf8(py, raw)?.into_any())
}

/// As PostgreSQL has it; a NUL may be in it.
#[inline]
pub(super) fn utf8<'a>(text: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    text.to_str().map_err(|cause| {
        let py = text.py();
        error::caused_by(
            py,
            error::data_error(py, "a lone surrogate has no UTF-8 form: not a text PostgreSQL holds"),
            cause,
        )
    })
}

#[inline]
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let text = value.cast::<PyString>().map_err(|_| wrong_type(value, "str"))?;
    let utf8 = utf8(text)?;
    if utf8.as_bytes().contains(&0) {
        return Err(error::data_error(value.py(), "PostgreSQL's text cannot hold the character NUL (\\x00)"));
    }
    out.extend_from_slice(utf8.as_bytes());
    Ok(())
}
