//! int2, int4, int8, oid and its kin, xid8.
//!
//! Arguments: `int` (so `bool`, which is one) and objects with `__index__` such as NumPy's integers. A `float` or
//! `Decimal` is refused even when it is whole: it came from arithmetic that may not have been.

use pgoxide_types::int as wire;
use pyo3::exceptions::PyOverflowError;
use pyo3::intern;
use pyo3::prelude::*;

use super::{Converted, refuse, short_repr, wrong_type};
use crate::error;

/// What every integer type but the unsigned ones becomes.
#[inline]
pub(super) fn from_i64(py: Python<'_>, value: i64) -> Bound<'_, PyAny> {
    match value.into_pyobject(py) {
        Ok(int) => int.into_any(),
        Err(never) => match never {},
    }
}

macro_rules! decoder {
    ($name:ident, $wire:path) => {
        #[inline]
        pub(super) fn $name<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
            let value = $wire(raw).map_err(|e| refuse(py, &e))?;
            Ok(value.into_pyobject(py)?.into_any())
        }
    };
}

decoder!(decode_int2, wire::decode_binary_i16);
decoder!(decode_int4, wire::decode_binary_i32);
decoder!(decode_int8, wire::decode_binary_i64);
decoder!(decode_oid, wire::decode_binary_u32);
decoder!(decode_text, wire::decode_text_i64);
decoder!(decode_xid8, wire::decode_binary_u64);
decoder!(decode_xid8_text, wire::decode_text_u64);

macro_rules! encoder {
    ($name:ident, $rust:ty, $wire:path, $sql:literal) => {
        #[inline]
        pub(super) fn $name(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
            match value.extract::<$rust>() {
                Ok(number) => {
                    $wire(number, out);
                    Ok(())
                }
                Err(error) => Err(explain(value, error, $sql, <$rust>::MIN.into(), <$rust>::MAX.into())),
            }
        }
    };
}

encoder!(encode_int2, i16, wire::encode_binary_i16, "int2");
encoder!(encode_int4, i32, wire::encode_binary_i32, "int4");
encoder!(encode_int8, i64, wire::encode_binary_i64, "int8");
encoder!(encode_oid, u32, wire::encode_binary_u32, "oid");
encoder!(encode_xid8, u64, wire::encode_binary_u64, "xid8");

#[cold]
fn explain(value: &Bound<'_, PyAny>, error: PyErr, sql: &str, least: i128, most: i128) -> PyErr {
    let py = value.py();
    if error.is_instance_of::<PyOverflowError>(py) {
        return error::data_error(py, format!("{} is out of range for {sql} ({least} to {most})", short_repr(value)));
    }
    let refused = wrong_type(value, "int");
    // What an `__index__` raises says more.
    let has_index = value.get_type().hasattr(intern!(py, "__index__")).unwrap_or(false);
    if has_index { error::caused_by(py, refused, error) } else { refused }
}
