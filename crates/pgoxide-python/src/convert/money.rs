//! money as `str`, in the form of the session's `lc_monetary`; or as `Decimal`, where the connection was told how many digits a
//! fraction has there. The server does not say: neither format carries them, and `lc_monetary` is not reported.

use pgoxide_types::int as wire;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};

use super::{Converted, numeric, plain_text, refuse, text, wrong_type};
use crate::error;

/// `value` units of the smallest coin.
fn build(py: Python<'_>, value: i64, digits: u8) -> Converted<'_> {
    numeric::scaled(py, value < 0, value.unsigned_abs(), digits.into())
}

pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8], digits: u8) -> Converted<'py> {
    build(py, wire::decode_binary_i64(raw).map_err(|e| refuse(py, &e))?, digits)
}

/// In text the digits stand between separators, signs and symbols of any locale.
pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8], digits: u8) -> Converted<'py> {
    let text = String::from_utf8_lossy(raw);
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    let negative = text.contains(['-', '(', '\u{2212}']);
    let value = format!("{}{number}", if negative { "-" } else { "" });
    let value = value.parse().map_err(|_| error::data_error(py, format!("unexpected text of a money: {text:?}")))?;
    build(py, value, digits)
}

/// Without digits text only, since what a number is worth depends on the session.
pub(super) fn encode(value: &Bound<'_, PyAny>, digits: Option<u8>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let Some(digits) = digits else {
        return if value.is_instance_of::<PyString>() {
            text::encode(value, out)
        } else {
            Err(wrong_type(value, "str, as the session's lc_monetary has it (for numbers: $1::numeric::money)"))
        };
    };
    if value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyBool>() {
        return Err(wrong_type(value, "Decimal or int"));
    }
    if !value.is_instance_of::<PyInt>() && !value.is_instance(crate::pyimport::decimal(py)?)? {
        return Err(wrong_type(value, "Decimal or int"));
    }
    let text = plain_text(value)?;
    let units = units(text.to_str()?, digits).ok_or_else(|| {
        error::data_error(py, format!("{text} is no money of {digits} fraction digits, or beyond what 64 bits hold"))
    })?;
    wire::encode_binary_i64(units, out);
    Ok(())
}

/// A decimal number, `12`, `-1.50` or `1E+3`, in units of the smallest coin, exactly.
fn units(text: &str, digits: u8) -> Option<i64> {
    let (mantissa, exponent) = match text.split_once(['E', 'e']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value = format!("{whole}{fraction}").parse::<i128>().ok()?;
    let mut shift = exponent.checked_add(i32::from(digits))?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    while shift != 0 && value != 0 {
        if shift > 0 {
            value = value.checked_mul(10)?;
            shift -= 1;
        } else {
            (value, shift) = (value % 10 == 0).then_some((value / 10, shift + 1))?;
        }
    }
    value.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::units;

    #[test]
    fn units_are_exact() {
        for (text, digits, expected) in [
            ("0", 2, Some(0)),
            ("1.5", 2, Some(150)),
            ("-1.50", 2, Some(-150)),
            ("-0.05", 2, Some(-5)),
            ("1.500", 2, Some(150)),
            ("1.005", 2, None),
            ("1E+3", 2, Some(100_000)),
            ("1E-3", 2, None),
            ("0E+999999", 2, Some(0)),
            ("1E+999999", 2, None),
            ("7", 0, Some(7)),
            ("92233720368547758.07", 2, Some(i64::MAX)),
            ("-92233720368547758.08", 2, Some(i64::MIN)),
            ("92233720368547758.08", 2, None),
            ("NaN", 2, None),
            ("Infinity", 2, None),
        ] {
            assert_eq!(units(text, digits), expected, "{text}");
        }
    }
}
