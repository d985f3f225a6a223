//! interval as `Interval`, its three parts apart.

use pgoxide_types::interval::{self as wire, Interval};
use pyo3::prelude::*;
use pyo3::types::{PyDelta, PyDeltaAccess, PyString};

use super::{Converted, refuse, wrong_type};
use crate::interval::IntervalParts;

pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    IntervalParts::make(py, wire::decode_binary(raw).map_err(|e| refuse(py, &e))?)
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    IntervalParts::make(py, wire::decode_text(raw).map_err(|e| refuse(py, &e))?)
}

/// `Interval`; `timedelta`, whose days stay days; or text in any IntervalStyle.
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let interval = if let Ok(delta) = value.cast::<PyDelta>() {
        Interval {
            months: 0,
            days: delta.get_days(),
            microseconds: i64::from(delta.get_seconds()) * 1_000_000 + i64::from(delta.get_microseconds()),
        }
    } else if let Ok(parts) = value.cast::<IntervalParts>() {
        parts.get().value()
    } else if let Ok(text) = value.cast::<PyString>() {
        wire::decode_text(text.to_string_lossy().as_bytes()).map_err(|e| refuse(py, &e))?
    } else {
        return Err(wrong_type(value, "Interval or timedelta"));
    };
    wire::encode_binary(interval, out);
    Ok(())
}
