//! Arguments for regclass, regtype and their kin: the name, as the server reads it, or the number.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString};

use super::{text, wrong_type};

pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    if value.is_instance_of::<PyString>() {
        return text::encode(value, out);
    }
    match value.extract::<u32>() {
        Ok(oid) if !value.is_instance_of::<PyBool>() => {
            out.extend_from_slice(oid.to_string().as_bytes());
            Ok(())
        }
        _ => Err(wrong_type(value, "str (a name) or int (an oid)")),
    }
}
