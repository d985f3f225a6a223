//! Copying a set.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PySet;

/// A new set of the same members, whose hashes are not asked again.
#[inline]
pub(crate) fn copy<'py>(set: &Bound<'py, PySet>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a live iterable; the result is a new reference, or NULL with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(set.py(), ffi::PySet_New(set.as_ptr())) }
}
