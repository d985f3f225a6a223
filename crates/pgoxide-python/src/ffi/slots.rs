//! Instances of Python classes filled without calling `__init__`.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// A new, empty instance of a Python class, as `object.__new__` makes it.
#[inline]
pub(crate) fn allocate<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: tp_alloc of a ready heap type with no variable part; the result is a new reference or NULL with
    // an exception set. Slots and dictionary start out empty.
    unsafe {
        let made = class.as_type_ptr();
        match (*made).tp_alloc {
            Some(alloc) => Bound::from_owned_ptr_or_err(class.py(), alloc(made, 0)),
            None => Err(PyTypeError::new_err("this class cannot be instantiated")),
        }
    }
}

/// Sets an attribute past any `__setattr__` of the class, as frozen dataclasses and `uuid.UUID` do themselves
/// through `object.__setattr__`.
#[inline]
pub(crate) fn set(object: &Bound<'_, PyAny>, name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: three live objects; the generic setter checks the type's descriptors itself.
    let done = unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value.as_ptr()) };
    if done == 0 { Ok(()) } else { Err(PyErr::fetch(object.py())) }
}

/// Hides an object that cannot be part of a cycle from the garbage collector.
#[inline]
pub(crate) fn untrack(object: &Bound<'_, PyAny>) {
    // SAFETY: the object was allocated by a garbage-collected heap type (`allocate`); UnTrack accepts both
    // states.
    unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) }
}
