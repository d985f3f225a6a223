//! Allocating and filling instances of tuple and of row types.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// A tuple (or row) under construction. Its items are NULL until pushed; it is invisible to Python and to the
/// garbage collector until [`finish`](Self::finish), and frees what it holds when dropped half-way.
pub(crate) struct TupleBuilder<'py> {
    py: Python<'py>,
    object: *mut ffi::PyObject,
    filled: usize,
    len: usize,
    /// Some item may be part of a reference cycle: the collector must know the row.
    tracked: bool,
}

impl<'py> TupleBuilder<'py> {
    /// Room for `len` items of an instance of `row_type`, a type made by `row_type.rs`.
    #[inline]
    pub(crate) fn new(row_type: &Bound<'py, PyType>, len: usize) -> PyResult<Self> {
        let py = row_type.py();
        // SAFETY: row types have tuple's layout and item size, so `len` items fit; the object comes back with
        // its size set, its type referenced and untracked. Items are set to NULL at once, since the allocator
        // does not clear them.
        unsafe {
            let object: *mut ffi::PyObject =
                ffi::PyObject_GC_NewVar::<ffi::PyTupleObject>(row_type.as_type_ptr(), len as ffi::Py_ssize_t).cast();
            if object.is_null() {
                return Err(PyErr::fetch(py));
            }
            let tuple = object.cast::<ffi::PyTupleObject>();
            #[cfg(Py_3_14)]
            {
                (*tuple).ob_hash = -1;
            }
            let items = (&raw mut (*tuple).ob_item).cast::<*mut ffi::PyObject>();
            for i in 0..len {
                items.add(i).write(std::ptr::null_mut());
            }
            Ok(Self { py, object, filled: 0, len, tracked: false })
        }
    }

    /// The next item. `scalar`: it cannot refer to other objects, so it needs no tracking.
    #[inline]
    pub(crate) fn push(&mut self, item: Bound<'py, PyAny>, scalar: bool) {
        assert!(self.filled < self.len, "more items than the row has columns");
        self.tracked |= !scalar;
        // SAFETY: index below the allocated length, slot is NULL, ownership of `item` moves into it.
        unsafe {
            let tuple = self.object.cast::<ffi::PyTupleObject>();
            let items = (&raw mut (*tuple).ob_item).cast::<*mut ffi::PyObject>();
            items.add(self.filled).write(item.into_ptr());
        }
        self.filled += 1;
    }

    /// The finished object. Rows of scalars stay unknown to the cyclic collector, its largest hidden cost in
    /// large results (132 ns a row without, 405 ns with).
    #[inline]
    pub(crate) fn finish(self) -> Bound<'py, PyAny> {
        assert_eq!(self.filled, self.len, "a row must be filled before it is handed out");
        let object = self.object;
        let tracked = self.tracked;
        let py = self.py;
        std::mem::forget(self);
        // SAFETY: we own the only reference; all items are set, so the collector may traverse it.
        unsafe {
            if tracked {
                ffi::PyObject_GC_Track(object.cast());
            }
            Bound::from_owned_ptr(py, object)
        }
    }
}

impl Drop for TupleBuilder<'_> {
    fn drop(&mut self) {
        // SAFETY: we own the only reference; the row type's deallocation accepts NULL items and untracked
        // objects.
        unsafe { ffi::Py_DECREF(self.object) }
    }
}
