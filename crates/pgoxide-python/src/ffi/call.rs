//! Calling with arguments that lie side by side, some of them by keyword, without a tuple or a dict in between.

use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// `callable(*positional, **keywords)`, where the last arguments go by the names of `keywords`.
#[inline]
pub(crate) fn call<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: &[Bound<'py, PyAny>],
    keywords: Option<&Bound<'py, PyTuple>>,
) -> PyResult<Bound<'py, PyAny>> {
    let named = keywords.map_or(0, |keywords| keywords.len());
    let Some(positional) = arguments.len().checked_sub(named) else {
        return Err(PySystemError::new_err("more names than arguments"));
    };
    // SAFETY: `Bound` is a pointer to a live object and nothing else, so the slice is an array of such pointers, of which
    // `positional` come first and one for each name of the tuple follows. All of them outlive the call. The result is a
    // new reference, or NULL with an exception set.
    unsafe {
        let result = ffi::PyObject_Vectorcall(
            callable.as_ptr(),
            arguments.as_ptr().cast(),
            positional,
            keywords.map_or(std::ptr::null_mut(), |keywords| keywords.as_ptr()),
        );
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}
