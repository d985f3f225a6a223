//! Instances of subclasses of `int`, made by `int` itself, past the class's own `__new__`.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

/// `int.__new__(class, value)`: for a class whose checks the value is known to pass.
pub(crate) fn int<'py>(class: &Bound<'py, PyType>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let arguments = PyTuple::new(py, [value])?;
    if !class.is_subclass_of::<pyo3::types::PyInt>()? {
        return Err(PyTypeError::new_err("no subclass of int"));
    }
    // SAFETY: int's own constructor, called with a subclass of int and a tuple of one argument, as `int.__new__` calls it
    // after the same check; the result is a new reference or NULL with an exception set.
    unsafe {
        match ffi::PyLong_Type.tp_new {
            Some(new) => {
                let made = new(class.as_type_ptr(), arguments.as_ptr(), std::ptr::null_mut());
                Bound::from_owned_ptr_or_err(py, made)
            }
            None => Err(PyTypeError::new_err("int cannot be instantiated")),
        }
    }
}
