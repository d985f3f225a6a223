//! Lists filled item by item in memory of their final size.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::unborn;

/// A list under construction. Its items are NULL until pushed; it is invisible to Python and to the garbage collector until
/// [`finish`](Self::finish), and frees what it holds when dropped half-way.
pub(crate) struct ListBuilder<'py> {
    py: Python<'py>,
    object: *mut ffi::PyObject,
    filled: usize,
    len: usize,
}

impl<'py> ListBuilder<'py> {
    /// Room for `len` items.
    #[inline]
    pub(crate) fn new(py: Python<'py>, len: usize) -> PyResult<Self> {
        let size = ffi::Py_ssize_t::try_from(len)?;
        // SAFETY: a new list of NULLs, or NULL with an exception set. It is taken out of the collector's sight, since an item
        // may be made by Python code, which must not find a list with holes.
        unsafe {
            let object = ffi::PyList_New(size);
            if object.is_null() {
                return Err(PyErr::fetch(py));
            }
            ffi::PyObject_GC_UnTrack(object.cast());
            Ok(Self { py, object, filled: 0, len })
        }
    }

    /// The next item.
    #[inline]
    pub(crate) fn push(&mut self, item: Bound<'py, PyAny>) {
        assert!(self.filled < self.len, "more items than the list has places");
        // SAFETY: index below the list's size, the place is NULL, ownership of `item` moves into it.
        unsafe { ffi::PyList_SET_ITEM(self.object, self.filled as ffi::Py_ssize_t, item.into_ptr()) };
        self.filled += 1;
    }

    /// The finished list.
    #[inline]
    pub(crate) fn finish(self) -> Bound<'py, PyList> {
        assert_eq!(self.filled, self.len, "a list must be filled before it is handed out");
        let (py, object) = (self.py, self.object);
        std::mem::forget(self);
        // SAFETY: we own the only reference, to a list whose items are all set.
        unsafe {
            let list = Bound::from_owned_ptr(py, object);
            unborn::finished(&list);
            list.cast_into_unchecked()
        }
    }
}

impl Drop for ListBuilder<'_> {
    fn drop(&mut self) {
        // SAFETY: we own the only reference; a list's deallocation accepts NULL items and untracked objects.
        unsafe { ffi::Py_DECREF(self.object) }
    }
}
