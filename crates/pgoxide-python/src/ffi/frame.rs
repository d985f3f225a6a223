//! Where in Python a call came from.

use pyo3::ffi;
use pyo3::prelude::*;

/// A place in Python code, kept as code object and instruction so that a line is looked up only when told.
pub(crate) struct CallSite {
    code: Py<PyAny>,
    instruction: i32,
}

impl CallSite {
    /// The innermost Python frame, if any.
    #[inline]
    pub(crate) fn here(py: Python<'_>) -> Option<Self> {
        // SAFETY: PyEval_GetFrame returns a borrowed reference or NULL; PyFrame_GetCode a new reference.
        unsafe {
            let frame = ffi::PyEval_GetFrame();
            if frame.is_null() {
                return None;
            }
            let code = ffi::PyFrame_GetCode(frame);
            let instruction = ffi::PyFrame_GetLasti(frame);
            Some(Self { code: Bound::from_owned_ptr(py, code.cast()).unbind(), instruction })
        }
    }

    /// File and line.
    pub(crate) fn place(&self, py: Python<'_>) -> (String, i32) {
        let code = self.code.bind(py);
        let file = code
            .getattr("co_filename")
            .and_then(|name| name.extract::<String>())
            .unwrap_or_else(|_| "<unknown>".to_owned());
        // SAFETY: `code` is a code object, from PyFrame_GetCode.
        let line = unsafe { ffi::PyCode_Addr2Line(code.as_ptr().cast(), self.instruction) };
        (file, line)
    }

    /// The same place once more.
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self { code: self.code.clone_ref(py), instruction: self.instruction }
    }

    /// For the garbage collector.
    pub(crate) fn visit(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.code)
    }
}
