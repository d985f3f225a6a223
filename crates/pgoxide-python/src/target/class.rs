//! What calling a class would do, asked without calling it: whether its parts are those everybody has, or its own.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFunction, PyType};

/// Does calling the class do nothing but make an empty object and hand it to `__init__`?
pub(super) fn is_ordinary(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let py = class.py();
    let (new, call) = (intern!(py, "__new__"), intern!(py, "__call__"));
    // What may not be instantiated: calling it says so.
    let abstract_methods = class.getattr_opt(intern!(py, "__abstractmethods__"))?;
    Ok(class.getattr(new)?.is(&py.get_type::<PyAny>().getattr(new)?)
        && class.get_type().getattr(call)?.is(&py.get_type::<PyType>().getattr(call)?)
        && !abstract_methods.map_or(Ok(false), |methods| methods.is_truthy())?)
}

/// Its `__init__`, if it is written in Python.
pub(super) fn python_init<'py>(class: &Bound<'py, PyType>) -> PyResult<Option<Bound<'py, PyFunction>>> {
    Ok(class.getattr(intern!(class.py(), "__init__"))?.cast_into::<PyFunction>().ok())
}

/// Is assigning to an attribute of an instance what it is for any object?
pub(super) fn sets_plainly(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let py = class.py();
    let set = intern!(py, "__setattr__");
    Ok(class.getattr(set)?.is(&py.get_type::<PyAny>().getattr(set)?))
}

/// Do both attributes come from the same class of the MRO? A generated `__init__` knows the fields of the class it was
/// generated for, not those that a subclass has added.
pub(super) fn defined_together(class: &Bound<'_, PyType>, one: &str, other: &str) -> PyResult<bool> {
    for base in class.mro().iter() {
        let names = base.getattr(intern!(class.py(), "__dict__"))?;
        match (names.contains(one)?, names.contains(other)?) {
            (false, false) => {}
            (first, second) => return Ok(first && second),
        }
    }
    Ok(false)
}

/// Is this a TypedDict, which at run time is a dict?
pub(super) fn is_typed_dict(class: &Bound<'_, PyType>) -> PyResult<bool> {
    Ok(class.is_subclass_of::<PyDict>()? && class.hasattr("__required_keys__")?)
}
