//! Instances of a class written in Python that consist of numbers, without the collector's head in front of them.
//!
//! CPython gives that head to the instances of every class made by a class statement, since they might refer to others: 16 of 48
//! bytes, and a count that calls the collector. Where nothing can be referred to, as with an `int`, it is needless. There is no
//! way to ask for a class without it, so it is taken from a class that has no instances yet; CPython provides for such classes
//! ("a non GC dynamic type" in `subtype_dealloc`), and those derived from it have a head again, as those from `int` have.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Takes the head from the instances of a class that is being made. False where they need it: where they have room for more than
/// those of its base, or a finalizer.
///
/// The base must be a class of ours whose instances refer to nothing and need no dropping.
pub(crate) fn behead(class: &Bound<'_, PyType>) -> bool {
    // Instance dictionaries and weak references that CPython keeps in front of an object (3.11 on, 3.12 on).
    const IN_FRONT: std::ffi::c_ulong = 1 << 4 | 1 << 3;
    if cfg!(any(Py_GIL_DISABLED, Py_3_15)) {
        return false;
    }
    // SAFETY: a ready heap type of which nobody has made an instance, as its class statement is still running. Its fields say
    // that instances are as large as the base's and nothing else. Without the flag `tp_alloc`, which is `PyType_GenericAlloc`, takes
    // memory without a head, which `dealloc` gives back in the same way; neither visits nor clears, as there is nothing.
    unsafe {
        let class = class.as_type_ptr();
        let generic = ffi::PyType_GenericAlloc as *const () as usize;
        let bare = !(*class).tp_base.is_null()
            && (*class).tp_basicsize == (*(*class).tp_base).tp_basicsize
            && (*class).tp_itemsize == 0
            && (*class).tp_dictoffset == 0
            && (*class).tp_weaklistoffset == 0
            && (*class).tp_flags & IN_FRONT == 0
            && (*class).tp_finalize.is_none()
            && (*class).tp_del.is_none()
            && (*class).tp_alloc.is_some_and(|alloc| alloc as *const () as usize == generic);
        if bare {
            (*class).tp_flags &= !ffi::Py_TPFLAGS_HAVE_GC;
            (*class).tp_traverse = None;
            (*class).tp_clear = None;
            (*class).tp_free = Some(ffi::PyObject_Free);
            (*class).tp_dealloc = Some(dealloc);
        }
        bare
    }
}

/// Of the class, and of classes derived from it, whose own deallocation calls this one at the end.
unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone. The instance refers to its class, which is of the heap, and to nothing else that is
    // not given up already; its class says how its memory is given back.
    unsafe {
        let class = ffi::Py_TYPE(object);
        if let Some(free) = (*class).tp_free {
            free(object.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

/// A new instance, its numbers not yet set, where the class has been beheaded; else as `object.__new__` makes it.
#[inline]
pub(crate) fn allocate<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: without a head, an instance is `tp_basicsize` bytes, its type and reference count set here. The caller sets the
    // rest. Else `tp_alloc` of a ready heap type sets all of it to zeros, and tells the collector, which is taken back.
    unsafe {
        let made = class.as_type_ptr();
        if (*made).tp_flags & ffi::Py_TPFLAGS_HAVE_GC == 0 {
            return Bound::from_owned_ptr_or_err(class.py(), ffi::PyObject_New(made));
        }
        let Some(alloc) = (*made).tp_alloc else {
            return Err(PyTypeError::new_err("this class cannot be instantiated"));
        };
        let made = Bound::from_owned_ptr_or_err(class.py(), alloc(made, 0))?;
        ffi::PyObject_GC_UnTrack(made.as_ptr().cast());
        Ok(made)
    }
}
