//! Anonymous row values (`record`) as tuples.

use pgoxide_protocol::codes::Format;
use pgoxide_types::composite as wire;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::{Converted, Decoder, Rules, inside, refuse};
use crate::error;
use crate::ffi::{unborn, unicode};
use crate::registry::is_static;

/// In binary each field says its type.
pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    let mut fields = wire::decode_binary(raw).map_err(|e| refuse(py, &e))?;
    let mut values = Vec::with_capacity(fields.left());
    while fields.left() > 0 {
        let (type_oid, value) = fields.next_field().map_err(|e| refuse(py, &e))?;
        values.push(match value {
            None => py.None().into_bound(py),
            Some(raw) => field(py, type_oid, raw, rules)
                .map_err(|cause| inside(py, &format!("field {}", values.len() + 1), cause))?,
        });
    }
    fields.finish().map_err(|e| refuse(py, &e))?;
    let record = PyTuple::new(py, values)?.into_any();
    unborn::hold_back(&record);
    Ok(record)
}

fn field<'py>(py: Python<'py>, type_oid: u32, raw: &[u8], rules: &Rules) -> Converted<'py> {
    if !is_static(type_oid) && rules.types.get(type_oid).is_none() {
        // Who reads the rows asks for it, and begins again with this row.
        rules.types.note(type_oid);
        return Err(error::not_supported_error(py, format!("the type of oid {type_oid} is not known yet")));
    }
    let decoder = Decoder::of(type_oid, rules);
    if decoder.format() == Format::Text {
        return Err(error::not_supported_error(
            py,
            format!(
                "the type {} has no binary codec, and inside an anonymous record values come in binary: cast it to text, or \
                 give the record a composite type",
                rules.types.name(type_oid)
            ),
        ));
    }
    decoder.binary(py, raw, rules)
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
