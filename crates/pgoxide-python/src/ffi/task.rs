//! Waking an asyncio task from a reader callback, in its own context.
//!
//! `Future.set_result` schedules `task.__wakeup` with `call_soon`: one more turn of the loop, with a poll of its
//! own, for each answer. Called from the loop's reader callback, where no task runs, the wake-up may as well be
//! called directly. Only the C task's own wake-up is: any other callback goes through the loop, as the Future
//! interface promises.

use pyo3::ffi;
use pyo3::prelude::*;

/// The object that a builtin bound method belongs to, or `None` for any other callable.
#[inline]
pub(crate) fn builtin_self<'py>(callable: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    // SAFETY: the type is checked before the cast that PyCFunction_GET_SELF does; a borrowed, possibly NULL
    // reference comes back.
    unsafe {
        if ffi::PyCFunction_Check(callable.as_ptr()) == 0 {
            return None;
        }
        Bound::from_borrowed_ptr_or_opt(callable.py(), ffi::PyCFunction_GET_SELF(callable.as_ptr()))
    }
}

/// Calls `callback(argument)` inside `context`, as `context.run` would, without building its argument tuple.
#[inline]
pub(crate) fn run_in_context<'py>(
    context: &Bound<'py, PyAny>,
    callback: &Bound<'py, PyAny>,
    argument: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = context.py();
    // SAFETY: PyContext_Enter type-checks its argument; every successful Enter is paired with an Exit on the
    // same thread, on both outcomes of the call.
    unsafe {
        if ffi::PyContext_Enter(context.as_ptr()) != 0 {
            return Err(PyErr::fetch(py));
        }
        let outcome = callback.call1((argument,));
        if ffi::PyContext_Exit(context.as_ptr()) != 0 {
            return Err(PyErr::fetch(py));
        }
        outcome
    }
}
