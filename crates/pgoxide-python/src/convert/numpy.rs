//! NumPy's scalars as arguments, without importing NumPy.
//!
//! Its integers have `__index__`, `float64` is a float, `str_` a str; those are taken as they are where such are wanted. The
//! others (`float32`, `bool_`, `datetime64`, `timedelta64`), and integers elsewhere, say themselves which Python value they are.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDate, PyDelta, PyFloat, PyInt};

/// The Python value that a NumPy scalar is equal to; `None` for anything else, and for one that has none, such as a
/// `datetime64` in nanoseconds, whose `item()` is a bare number.
#[cold]
pub(super) fn plain<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let py = value.py();
    // Where nobody has imported NumPy, there are no values of it.
    let modules = py.import(intern!(py, "sys")).ok()?.getattr(intern!(py, "modules")).ok()?;
    let numpy = modules.get_item(intern!(py, "numpy")).ok()?;
    if !value.is_instance(&numpy.getattr(intern!(py, "generic")).ok()?).ok()? {
        return None;
    }
    let item = value.call_method0(intern!(py, "item")).ok()?;
    let known = item.is_instance_of::<PyFloat>()
        || item.is_instance_of::<PyBool>()
        || item.is_instance_of::<PyDate>()
        || item.is_instance_of::<PyDelta>()
        || (item.is_instance_of::<PyInt>() && is_integer(value, &numpy)?);
    (known && !item.is(value)).then_some(item)
}

/// A time is not: its count is of units that the bare number does not say. (`timedelta64` is a subclass of `integer`.)
fn is_integer(value: &Bound<'_, PyAny>, numpy: &Bound<'_, PyAny>) -> Option<bool> {
    let is = |class: &str| value.is_instance(&numpy.getattr(class).ok()?).ok();
    Some(is("integer")? && !is("timedelta64")?)
}
