//! float4, float8.

use pgoxide_types::float as wire;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};

use super::{Converted, numpy, refuse, short_repr, wrong_type};
use crate::error;

/// Integers up to here are all doubles.
const EXACT: i64 = 1 << 53;

#[inline]
pub(super) fn decode_float8<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let value = wire::decode_binary_f64(raw).map_err(|e| refuse(py, &e))?;
    Ok(PyFloat::new(py, value).into_any())
}

/// The exact value of the 4-byte float, as the server's own cast to float8 gives it.
#[inline]
pub(super) fn decode_float4<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let value = wire::decode_binary_f32(raw).map_err(|e| refuse(py, &e))?;
    Ok(PyFloat::new(py, f64::from(value)).into_any())
}

pub(super) fn decode_float8_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let value = wire::decode_text_f64(raw).map_err(|e| refuse(py, &e))?;
    Ok(PyFloat::new(py, value).into_any())
}

pub(super) fn decode_float4_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let value = wire::decode_text_f32(raw).map_err(|e| refuse(py, &e))?;
    Ok(PyFloat::new(py, f64::from(value)).into_any())
}

/// The float that prints as the server prints the float4.
pub(super) fn decode_float4_shortest<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let value = wire::decode_binary_f32(raw).map_err(|e| refuse(py, &e))?;
    Ok(PyFloat::new(py, wire::f32_shortest_as_f64(value)).into_any())
}

/// A float4 whose shortest digits are all it has: 1.5, and not 0.1.
pub(super) fn is_short(raw: &[u8]) -> bool {
    #[expect(clippy::float_cmp, reason = "one number or another")]
    wire::decode_binary_f32(raw)
        .is_ok_and(|value| value.is_nan() || wire::f32_shortest_as_f64(value) == f64::from(value))
}

/// By way of the float4: a low `extra_float_digits` cuts the text, and both formats must agree where it does not.
pub(super) fn decode_float4_shortest_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let value = wire::decode_text_f32(raw).map_err(|e| refuse(py, &e))?;
    Ok(PyFloat::new(py, wire::f32_shortest_as_f64(value)).into_any())
}

#[cold]
fn inexact(value: &Bound<'_, PyAny>, sql: &str) -> PyErr {
    error::data_error(
        value.py(),
        format!("{} cannot be held exactly by a {sql}; pass float(x) to round it", short_repr(value)),
    )
}

/// `float`, and `int` as long as a double holds it exactly.
pub(super) fn number(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    if let Ok(float) = value.cast::<PyFloat>() {
        return Ok(float.value());
    }
    if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() {
        return match value.extract::<i64>() {
            #[expect(clippy::cast_precision_loss, reason = "guarded by the range just checked")]
            Ok(int) if (-EXACT..=EXACT).contains(&int) => Ok(int as f64),
            _ => {
                let float: f64 = value.extract()?;
                if PyFloat::new(value.py(), float).as_any().eq(value)? {
                    Ok(float)
                } else {
                    Err(inexact(value, "float"))
                }
            }
        };
    }
    match numpy::plain(value) {
        Some(plain) if plain.is_instance_of::<PyFloat>() => Ok(plain.cast::<PyFloat>()?.value()),
        _ => Err(wrong_type(value, "float")),
    }
}

#[inline]
pub(super) fn encode_float8(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    wire::encode_binary_f64(number(value)?, out);
    Ok(())
}

/// A `float` is rounded, as the server's own cast does it; an `int` must be one that four bytes hold.
pub(super) fn encode_float4(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let double = number(value)?;
    let narrow = wire::f64_to_f32_checked(double).map_err(|e| refuse(value.py(), &e))?;
    #[expect(clippy::float_cmp, reason = "one number or another")]
    let rounded = f64::from(narrow) != double;
    if rounded && value.is_instance_of::<PyInt>() {
        return Err(inexact(value, "float4"));
    }
    wire::encode_binary_f32(narrow, out);
    Ok(())
}
