//! Allocating and filling instances of tuple, of row types and of named tuples.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::unborn;

/// Bytes in front of an object that the garbage collector may know.
#[cfg(not(any(Py_GIL_DISABLED, Py_3_15)))]
const HEAD: usize = 2 * size_of::<usize>();

/// Memory for a row of `len` items, its type and size set, its items not yet; unknown to the collector.
///
/// Rows are not counted. The collector is called by the number of containers made, in order to find cycles, and there is none
/// without a container that can be changed after it was made: that one is counted. Counting rows (as `PyObject_GC_NewVar`
/// does) would call the collector for nothing, and always while a large result is made or right after it, when there is most
/// to walk over: 1.5 ms of 15 for 100 000 rows of four integers.
///
/// # Safety
/// `row_type` was made by `row_type.rs`.
#[inline]
unsafe fn allocate(row_type: *mut ffi::PyTypeObject, len: usize) -> *mut ffi::PyObject {
    // SAFETY: the caller's. A row type has tuple's sizes and nothing but the collector's head in front (`row_type.rs`
    // refuses others). A head of zeros is what "untracked" is in CPython 3.11 to 3.14; `free` gives the memory back in
    // the way it was taken.
    unsafe {
        #[cfg(not(any(Py_GIL_DISABLED, Py_3_15)))]
        {
            let size = (*row_type).tp_basicsize as usize + len * size_of::<*mut ffi::PyObject>();
            let memory = ffi::PyObject_Malloc(HEAD + size).cast::<u8>();
            if memory.is_null() {
                ffi::PyErr_NoMemory();
                return std::ptr::null_mut();
            }
            memory.cast::<[usize; 2]>().write([0; 2]);
            ffi::PyObject_InitVar(memory.add(HEAD).cast(), row_type, len as ffi::Py_ssize_t).cast()
        }
        // Interpreters whose memory we do not know count all rows.
        #[cfg(any(Py_GIL_DISABLED, Py_3_15))]
        ffi::PyObject_GC_NewVar::<ffi::PyTupleObject>(row_type, len as ffi::Py_ssize_t).cast()
    }
}

/// Takes a dying row out of the collector's sight, before its items are given up. Whether the collector knew it.
///
/// # Safety
/// `object` came from [`allocate`].
#[inline]
pub(super) unsafe fn untrack(object: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller's; UnTrack accepts both states.
    unsafe {
        let tracked = ffi::PyObject_GC_IsTracked(object) != 0;
        if tracked {
            ffi::PyObject_GC_UnTrack(object.cast());
        }
        tracked
    }
}

/// Frees a row's memory.
///
/// # Safety
/// `object` came from [`allocate`], nobody refers to it, the collector does not know it (any more), its items have been given
/// up.
#[inline]
pub(super) unsafe fn free(object: *mut ffi::PyObject) {
    // SAFETY: the caller's; the memory begins with the head.
    unsafe {
        #[cfg(not(any(Py_GIL_DISABLED, Py_3_15)))]
        ffi::PyObject_Free(object.cast::<u8>().sub(HEAD).cast());
        #[cfg(any(Py_GIL_DISABLED, Py_3_15))]
        ffi::PyObject_GC_Del(object.cast());
    }
}

/// Can an instance of this tuple class refer to anything besides its items?
///
/// # Safety
/// A ready type.
unsafe fn has_room_for_more(class: *const ffi::PyTypeObject) -> bool {
    // SAFETY: reads integers of ready types.
    unsafe {
        (*class).tp_dictoffset != 0
            || (*class).tp_weaklistoffset != 0
            || (*class).tp_basicsize != ffi::PyTuple_Type.tp_basicsize
    }
}

/// A tuple (or row) under construction. Its items are NULL until pushed; it is invisible to Python and to the
/// garbage collector until [`finish`](Self::finish), and frees what it holds when dropped half-way.
pub(crate) struct TupleBuilder<'py> {
    py: Python<'py>,
    object: *mut ffi::PyObject,
    filled: usize,
    len: usize,
    /// No item can be part of a reference cycle, so the collector need not know the row.
    scalar: bool,
}

impl<'py> TupleBuilder<'py> {
    /// Room for `len` items of an instance of `row_type`, a type made by `row_type.rs`. `scalar`: none of them can refer
    /// to other objects.
    #[inline]
    pub(crate) fn new(row_type: &Bound<'py, PyType>, len: usize, scalar: bool) -> PyResult<Self> {
        let py = row_type.py();
        // SAFETY: row types have tuple's layout and item size, so `len` items fit; the object comes back with
        // its size set, its type referenced and untracked. Items are set to NULL at once, since the allocator
        // does not clear them.
        unsafe {
            let object = allocate(row_type.as_type_ptr(), len);
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
            Ok(Self { py, object, filled: 0, len, scalar })
        }
    }

    /// The same of a tuple, or of a class derived from it, as `tuple.__new__` makes it.
    #[inline]
    pub(crate) fn of_class(class: &Bound<'py, PyType>, len: usize, scalar: bool) -> PyResult<Self> {
        let py = class.py();
        // SAFETY: both ways give an object with room for `len` items, all NULL, its type and size set. The collector is
        // told of it when it is filled; its deallocation takes untracked objects and NULL items too.
        unsafe {
            let kind = class.as_type_ptr();
            let exact = std::ptr::eq(kind, &raw const ffi::PyTuple_Type);
            let object = match (*kind).tp_alloc {
                _ if exact => ffi::PyTuple_New(len as ffi::Py_ssize_t),
                Some(alloc) if ffi::PyType_IsSubtype(kind, &raw mut ffi::PyTuple_Type) != 0 => {
                    alloc(kind, len as ffi::Py_ssize_t)
                }
                _ => return Err(pyo3::exceptions::PyTypeError::new_err("this class is no tuple")),
            };
            if object.is_null() {
                return Err(PyErr::fetch(py));
            }
            #[cfg(Py_3_14)]
            if len > 0 {
                (*object.cast::<ffi::PyTupleObject>()).ob_hash = -1;
            }
            // There is one empty tuple for all.
            let scalar = (exact && len == 0) || scalar && (exact || !has_room_for_more(kind));
            if len > 0 || !exact {
                ffi::PyObject_GC_UnTrack(object.cast());
            }
            Ok(Self { py, object, filled: 0, len, scalar })
        }
    }

    /// The next item.
    #[inline]
    pub(crate) fn push(&mut self, item: Bound<'py, PyAny>) {
        assert!(self.filled < self.len, "more items than the row has columns");
        // SAFETY: index below the allocated length, slot is NULL, ownership of `item` moves into it.
        unsafe {
            let tuple = self.object.cast::<ffi::PyTupleObject>();
            let items = (&raw mut (*tuple).ob_item).cast::<*mut ffi::PyObject>();
            items.add(self.filled).write(item.into_ptr());
        }
        self.filled += 1;
    }

    /// The finished object. Rows of scalars stay unknown to the cyclic collector, its largest hidden cost in
    /// large results (132 ns a row without, 405 ns with it walking over them).
    #[inline(always)] // a call alone costs 5 ns of each row
    pub(crate) fn finish(self) -> Bound<'py, PyAny> {
        assert_eq!(self.filled, self.len, "a row must be filled before it is handed out");
        let object = self.object;
        let scalar = self.scalar;
        let py = self.py;
        std::mem::forget(self);
        // SAFETY: we own the only reference; all items are set, so the collector may traverse it.
        unsafe {
            let made = Bound::from_owned_ptr(py, object);
            if !scalar {
                unborn::finished(&made);
            }
            made
        }
    }
}

/// An instance of a named tuple, as `tuple.__new__` makes it: for a class whose own `__new__` only puts its arguments in
/// order. None of its items can be part of a reference cycle.
#[inline]
pub(crate) fn named<'py, const N: usize>(
    class: &Bound<'py, PyType>,
    items: [Bound<'py, PyAny>; N],
) -> PyResult<Bound<'py, PyAny>> {
    let mut made = TupleBuilder::of_class(class, N, true)?;
    items.into_iter().for_each(|item| made.push(item));
    Ok(made.finish())
}

/// A plain tuple of items of which none can be part of a reference cycle.
#[inline]
pub(crate) fn scalars<'py>(
    py: Python<'py>,
    items: impl ExactSizeIterator<Item = PyResult<Bound<'py, PyAny>>>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut made = TupleBuilder::of_class(&py.get_type::<pyo3::types::PyTuple>(), items.len(), true)?;
    for item in items {
        made.push(item?);
    }
    Ok(made.finish())
}

impl Drop for TupleBuilder<'_> {
    fn drop(&mut self) {
        // SAFETY: we own the only reference; the row type's deallocation accepts NULL items and untracked
        // objects.
        unsafe { ffi::Py_DECREF(self.object) }
    }
}
