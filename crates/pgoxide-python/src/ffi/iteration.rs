//! Ending an iteration with a value, as `return value` in a generator does.

use pyo3::ffi;
use pyo3::prelude::*;

/// For `__next__`: sets StopIteration with `value` and gives the `None` that makes the slot return NULL. PyO3's way, an
/// error made lazily and raised later, takes three times as long, at the end of every `await`.
#[inline]
pub(crate) fn stop_with<T>(value: Bound<'_, PyAny>) -> PyResult<Option<T>> {
    // SAFETY: live objects; StopIteration is a static type. PyErr_SetObject takes a tuple as the exception's arguments
    // and an exception as the exception itself, so those are wrapped first.
    unsafe {
        let stop = ffi::PyExc_StopIteration;
        if ffi::PyTuple_Check(value.as_ptr()) != 0 || ffi::PyExceptionInstance_Check(value.as_ptr()) != 0 {
            let wrapped = ffi::PyObject_CallOneArg(stop, value.as_ptr());
            let wrapped = Bound::from_owned_ptr_or_err(value.py(), wrapped)?;
            ffi::PyErr_SetObject(stop, wrapped.as_ptr());
        } else {
            ffi::PyErr_SetObject(stop, value.as_ptr());
        }
    }
    Ok(None)
}
