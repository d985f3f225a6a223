//! numeric as `decimal.Decimal`, exact in both directions: never through the thread's decimal context.

use std::cell::RefCell;

use pgoxide_types::numeric as wire;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};

use super::{Converted, plain_text, refuse, wrong_type};
use crate::ffi::{self, unicode};
use crate::pyimport;

thread_local! {
    /// Digits of the value being read. Decimals are made one at a time; the text is never kept.
    static DIGITS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Decimal(str) is exact whatever the context's precision, unlike arithmetic.
fn decimal<'py>(py: Python<'py>, text: &[u8]) -> Converted<'py> {
    let text = unicode::from_ascii(py, text)?;
    pyimport::decimal(py)?.call1((text,))
}

pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    if let Some((negative, coefficient, scale)) = wire::as_scaled_u64(raw)
        && let Some(made) = ffi::decimal::finite(pyimport::decimal(py)?, negative, coefficient, scale)?
    {
        return Ok(made);
    }
    // Taken out while Python is called, so that a codec which comes back here finds an empty buffer, not a panic.
    let mut digits = DIGITS.with_borrow_mut(std::mem::take);
    digits.clear();
    let made = match wire::decode_binary(raw, &mut digits) {
        Ok(()) => decimal(py, &digits),
        Err(error) => Err(refuse(py, &error)),
    };
    digits.shrink_to(1024);
    DIGITS.set(digits);
    made
}

/// `coefficient`, of which `scale` digits stand after the point.
pub(super) fn scaled(py: Python<'_>, negative: bool, coefficient: u64, scale: u16) -> Converted<'_> {
    if let Some(made) = ffi::decimal::finite(pyimport::decimal(py)?, negative, coefficient, scale)? {
        return Ok(made);
    }
    decimal(py, format!("{}{coefficient}E-{scale}", if negative { "-" } else { "" }).as_bytes())
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let text = wire::decode_text(raw).map_err(|e| refuse(py, &e))?;
    decimal(py, text.as_bytes())
}

/// `Decimal`, `int`, and `float` by its repr (the shortest text that denotes it).
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let fits = value.is_instance(pyimport::decimal(py)?)?
        || (value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>())
        || value.is_instance_of::<PyFloat>();
    if !fits {
        return Err(wrong_type(value, "Decimal, int or float"));
    }
    let text = plain_text(value)?;
    wire::encode_binary(text.to_str()?.as_bytes(), out).map_err(|e| refuse(py, &e))
}
