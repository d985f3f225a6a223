//! NumPy's scalars as arguments, without importing NumPy.
//!
//! Its integers have `__index__`, `float64` is a float, `str_` a str; those are taken as they are. The others (`float32`,
//! `bool_`, `datetime64`, `timedelta64`) say themselves which Python value they are.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDate, PyDelta, PyFloat};

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
        || item.is_instance_of::<PyDelta>();
    (known && !item.is(value)).then_some(item)
}
