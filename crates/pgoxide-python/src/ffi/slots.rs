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
pub(crate) struct Slot {
    /// The class that was asked; the slot may be a base's.
    class: Py<PyType>,
    offset: usize,
}

impl Slot {
    /// For the garbage collector.
    pub(crate) fn visit(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.class)
    }

    /// The slot of that name, if the class has one.
    pub(crate) fn of(class: &Bound<'_, PyType>, name: &str) -> PyResult<Option<Self>> {
        let Ok(attribute) = class.getattr(name) else { return Ok(None) };
        Ok(Self::behind(class, &attribute))
    }

    /// The slot that this attribute of the class is: a descriptor of the very kind that `__slots__` makes.
    pub(crate) fn behind(class: &Bound<'_, PyType>, attribute: &Bound<'_, PyAny>) -> Option<Self> {
        // SAFETY: an object of exactly that type has that layout; the definition it points to lives as long as the type it
        // belongs to. A slot that Python code may write holds one object pointer, which an instance of the descriptor's
        // class, and so one of a subclass, has at that offset.
        unsafe {
            if !std::ptr::eq(ffi::Py_TYPE(attribute.as_ptr()), &raw const ffi::PyMemberDescr_Type) {
                return None;
            }
            let descriptor = attribute.as_ptr().cast::<ffi::PyMemberDescrObject>();
            let member = (*descriptor).d_member;
            let usual = (*member).type_code == ffi::Py_T_OBJECT_EX
                && (*member).flags == 0
                && ffi::PyType_IsSubtype(class.as_type_ptr(), (*descriptor).d_common.d_type) != 0;
            let offset = usize::try_from((*member).offset).ok().filter(|_| usual)?;
            Some(Self { class: class.clone().unbind(), offset })
        }
    }

    /// Fills the slot, past any `__setattr__` of the class.
    #[inline]
    pub(crate) fn set(&self, object: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.put(object, value.clone())
    }

    /// As [`set`](Self::set), with a value that nobody else needs.
    #[inline]
    pub(crate) fn put<'py>(&self, object: &Bound<'py, PyAny>, value: Bound<'py, PyAny>) -> PyResult<()> {
        // SAFETY: an instance of the class has an object pointer, or NULL, at this offset. The old value is given up only
        // when the new one stands, as the descriptor's own setter does.
        unsafe {
            let class = self.class.as_ptr().cast::<ffi::PyTypeObject>();
            let given = ffi::Py_TYPE(object.as_ptr());
            if !std::ptr::eq(given, class) && ffi::PyType_IsSubtype(given, class) == 0 {
                return Err(PyTypeError::new_err("a slot of another class"));
            }
            let place = object.as_ptr().cast::<u8>().add(self.offset).cast::<*mut ffi::PyObject>();
            ffi::Py_XDECREF(place.replace(value.into_ptr()));
        }
        Ok(())
    }
}
