//! pg_snapshot and txid_snapshot as `Snapshot`.

use pgoxide_types::snapshot::{self as wire, Snapshot};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

use super::{Converted, refuse, wrong_type};
use crate::ffi::slots::{self, Slot};
use crate::ffi::tuple;
use crate::pyimport;

struct Parts {
    xmin: Slot,
    xmax: Slot,
    xip: Slot,
}

fn build(py: Python<'_>, Snapshot { xmin, xmax, xip }: Snapshot) -> Converted<'_> {
    static PARTS: PyOnceLock<Option<Parts>> = PyOnceLock::new();
    let class = pyimport::snapshot(py)?;
    let parts = PARTS.get_or_try_init(py, || -> PyResult<_> {
        let slot = |name| Slot::of(class, name);
        Ok(match (slot("xmin")?, slot("xmax")?, slot("xip")?) {
            (Some(xmin), Some(xmax), Some(xip)) => Some(Parts { xmin, xmax, xip }),
            _ => None,
        })
    })?;
    let xip = tuple::scalars(py, xip.into_iter().map(|xid| Ok(xid.into_pyobject(py)?.into_any())))?;
    let Some(parts) = parts else {
        return class.call1((xmin, xmax, xip));
    };
    let made = slots::allocate(class)?;
    parts.xmin.set(&made, xmin.into_pyobject(py)?.as_any())?;
    parts.xmax.set(&made, xmax.into_pyobject(py)?.as_any())?;
    parts.xip.set(&made, &xip)?;
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

/// `Snapshot`, or text.
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let snapshot = if let Ok(text) = value.cast::<PyString>() {
        wire::decode_text(text.to_string_lossy().as_bytes()).map_err(|e| refuse(py, &e))?
    } else if value.is_instance(pyimport::snapshot(py)?)? {
        let number = |name| value.getattr(name)?.extract::<u64>();
        let xip = value.getattr(intern!(py, "xip"))?.extract();
        match (number("xmin"), number("xmax"), xip) {
            (Ok(xmin), Ok(xmax), Ok(xip)) => Snapshot { xmin, xmax, xip },
            _ => return Err(wrong_type(value, "a Snapshot of ints that are not negative")),
        }
    } else {
        return Err(wrong_type(value, "Snapshot"));
    };
    wire::encode_binary(snapshot, out).map_err(|e| refuse(py, &e))
}
