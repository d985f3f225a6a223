//! interval as `Interval`, its three parts apart, filled without calling its constructor.

use pgoxide_types::interval::{self as wire, Interval};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDelta, PyDeltaAccess, PyString};

use super::{Converted, refuse, wrong_type};
use crate::ffi::slots::{self, Slot};
use crate::pyimport;

struct Parts {
    months: Slot,
    days: Slot,
    microseconds: Slot,
}

impl Parts {
    fn find(py: Python<'_>) -> PyResult<Option<Self>> {
        let class = pyimport::interval(py)?;
        let slot = |name| Slot::of(class, name);
        Ok(match (slot("months")?, slot("days")?, slot("microseconds")?) {
            (Some(months), Some(days), Some(microseconds)) => Some(Self { months, days, microseconds }),
            _ => None,
        })
    }
}

fn build<'py>(py: Python<'py>, Interval { months, days, microseconds }: Interval) -> Converted<'py> {
    static PARTS: PyOnceLock<Option<Parts>> = PyOnceLock::new();
    let class = pyimport::interval(py)?;
    let Some(parts) = PARTS.get_or_try_init(py, || Parts::find(py))? else {
        return class.call1((months, days, microseconds));
    };
    let made = slots::allocate(class)?;
    parts.months.put(&made, months.into_pyobject(py)?.into_any())?;
    parts.days.put(&made, days.into_pyobject(py)?.into_any())?;
    parts.microseconds.put(&made, microseconds.into_pyobject(py)?.into_any())?;
    // It refers to integers only.
    slots::untrack(&made);
    Ok(made)
}

pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_binary(raw).map_err(|e| refuse(py, &e))?)
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_text(raw).map_err(|e| refuse(py, &e))?)
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
    } else if value.is_instance(pyimport::interval(py)?)? {
        Interval {
            months: value.getattr(intern!(py, "months"))?.extract()?,
            days: value.getattr(intern!(py, "days"))?.extract()?,
            microseconds: value.getattr(intern!(py, "microseconds"))?.extract()?,
        }
    } else if let Ok(text) = value.cast::<PyString>() {
        wire::decode_text(text.to_string_lossy().as_bytes()).map_err(|e| refuse(py, &e))?
    } else {
        return Err(wrong_type(value, "Interval or timedelta"));
    };
    wire::encode_binary(interval, out);
    Ok(())
}
