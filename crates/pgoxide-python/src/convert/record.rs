//! Anonymous row values (`record`) as tuples.

use pgoxide_types::composite as wire;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::{Converted, Decoder, Rules, inside, refuse};
use crate::ffi::unicode;

/// In binary each field says its type.
pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    let mut fields = wire::decode_binary(raw).map_err(|e| refuse(py, &e))?;
    let mut values = Vec::with_capacity(fields.left());
    while fields.left() > 0 {
        let (type_oid, value) = fields.next_field().map_err(|e| refuse(py, &e))?;
        values.push(match value {
            None => py.None().into_bound(py),
            Some(raw) => Decoder::of(type_oid, rules)
                .binary(py, raw, rules)
                .map_err(|cause| inside(py, &format!("field {}", values.len() + 1), cause))?,
        });
    }
    fields.finish().map_err(|e| refuse(py, &e))?;
    Ok(PyTuple::new(py, values)?.into_any())
}

/// In text nothing says the fields' types: they stay text.
pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let fields = wire::decode_text(raw).map_err(|e| refuse(py, &e))?;
    let values = fields.into_iter().map(|field| match field {
        None => Ok(py.None().into_bound(py)),
        Some(text) => Ok(unicode::from_utf8(py, &text)?.into_any()),
    });
    Ok(PyTuple::new(py, values.collect::<PyResult<Vec<_>>>()?)?.into_any())
}
