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

/// A slot of a class (`__slots__`, `slots=True`), found once and written without looking it up again.
pub(crate) struct Slot(Py<PyAny>);

impl Slot {
    /// For the garbage collector.
    pub(crate) fn visit(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.0)
    }

    /// The slot of that name, if the class has one: its descriptor, of the very type that `__slots__` makes.
    pub(crate) fn of(class: &Bound<'_, PyType>, name: &str) -> PyResult<Option<Self>> {
        let Ok(found) = class.getattr(name) else { return Ok(None) };
        // SAFETY: compares type pointers.
        let is_slot = unsafe { std::ptr::eq(ffi::Py_TYPE(found.as_ptr()), &raw const ffi::PyMemberDescr_Type) };
        Ok(is_slot.then(|| Self(found.unbind())))
    }

    /// Fills the slot, past any `__setattr__` of the class.
    #[inline]
    pub(crate) fn set(&self, object: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = object.py();
        // SAFETY: a member descriptor's own setter, which checks that the object is of its class.
        let done = unsafe {
            match (*ffi::Py_TYPE(self.0.as_ptr())).tp_descr_set {
                Some(set) => set(self.0.as_ptr(), object.as_ptr(), value.as_ptr()),
                None => return Err(PyTypeError::new_err("a slot that cannot be set")),
            }
        };
        if done == 0 { Ok(()) } else { Err(PyErr::fetch(py)) }
    }
}
