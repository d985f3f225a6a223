//! Which of a process's interpreters runs.

use pyo3::ffi;
use pyo3::prelude::*;

/// The number of the interpreter that this thread is attached to; no other one of the process ever has it.
pub(crate) fn id(_: Python<'_>) -> i64 {
    // SAFETY: attached, so there is a current interpreter, which lives as long as that.
    unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) }
}
