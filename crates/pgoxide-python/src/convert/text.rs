//! text, varchar, bpchar, name, xml; and the text form of every type without a codec.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{Converted, json, wrong_type};
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
    let other;
    let text = match value.cast::<PyString>() {
        Ok(text) => text,
        Err(_) => {
            other = other_text(value)?;
            &other
        }
    };
    let utf8 = utf8(text)?;
    if utf8.as_bytes().contains(&0) {
        return Err(error::data_error(value.py(), "PostgreSQL's text cannot hold the character NUL (\\x00)"));
    }
    out.extend_from_slice(utf8.as_bytes());
    Ok(())
}

/// The text of a path (`os.PathLike`), as `os.fspath` gives it, or of a document (`Json`).
#[cold]
fn other_text<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    let py = value.py();
    if let Some(document) = json::document(value)? {
        return unicode::from_utf8(py, &document);
    }
    let refused = || wrong_type(value, "str");
    let method = value.get_type().getattr(intern!(py, "__fspath__")).map_err(|_| refused())?;
    method.call1((value,))?.cast_into().map_err(|_| refused())
}
