//! One interpreter of a process has the core: its classes, and the Python objects it keeps, are that one's. In another one they
//! would be used across interpreters, and after the end of theirs.

use std::sync::atomic::{AtomicI64, Ordering};

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

use crate::ffi::interpreter;

/// The interpreter that has imported the core; numbers begin at 0.
static OWNER: AtomicI64 = AtomicI64::new(-1);

/// Takes the core for this interpreter. Raises ImportError when another one has it, or had it: CPython itself refuses only those
/// that have a GIL of their own, and PyO3 only submodules.
pub(crate) fn claim(py: Python<'_>) -> PyResult<()> {
    let me = interpreter::id(py);
    match OWNER.compare_exchange(-1, me, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(()),
        Err(owner) if owner == me => Ok(()),
        Err(_) => Err(PyImportError::new_err(
            "pgoxide can be used in one interpreter of a process, and another one has imported it: subinterpreters are not supported",
        )),
    }
}
