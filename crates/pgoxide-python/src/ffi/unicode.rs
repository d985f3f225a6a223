//! `str` from wire bytes without an intermediate copy.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// A `str` of these UTF-8 bytes. Fails with UnicodeDecodeError at the offending byte.
#[inline]
pub(crate) fn from_utf8<'py>(py: Python<'py>, raw: &[u8]) -> PyResult<Bound<'py, PyString>> {
    // Most text is short and ASCII, which needs no decoder; one character is not made anew by it.
    if raw.len() > 1 && raw.len() <= SHORT && raw.is_ascii() { ascii(py, raw) } else { decode(py, raw) }
}

/// Beyond, the interpreter's own loop over the bytes is as good.
const SHORT: usize = 256;

fn decode<'py>(py: Python<'py>, raw: &[u8]) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: pointer and length of one slice; the result is a new reference to an exact str, or NULL with an
    // exception set.
    unsafe {
        let object = ffi::PyUnicode_DecodeUTF8(raw.as_ptr().cast(), raw.len() as ffi::Py_ssize_t, std::ptr::null());
        Bound::from_owned_ptr_or_err(py, object).map(|object| object.cast_into_unchecked())
    }
}

/// A `str` of bytes known to be ASCII: digits, punctuation.
#[inline]
pub(crate) fn from_ascii<'py>(py: Python<'py>, raw: &[u8]) -> PyResult<Bound<'py, PyString>> {
    if raw.is_ascii() { ascii(py, raw) } else { decode(py, raw) }
}

#[inline]
fn ascii<'py>(py: Python<'py>, raw: &[u8]) -> PyResult<Bound<'py, PyString>> {
    debug_assert!(raw.is_ascii());
    // SAFETY: PyUnicode_New(n, 127) allocates n one-byte characters and a terminator; exactly n are written
    // before anyone sees the object. (Of no bytes it gives the one empty str, and none is written.)
    unsafe {
        let object = ffi::PyUnicode_New(raw.len() as ffi::Py_ssize_t, 127);
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        let data = ffi::PyUnicode_DATA(object).cast::<u8>();
        std::ptr::copy_nonoverlapping(raw.as_ptr(), data, raw.len());
        Ok(Bound::from_owned_ptr(py, object).cast_into_unchecked())
    }
}
