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

    /// Of one frame, and the frame that called it.
    fn of(py: Python<'_>, frame: &Bound<'_, PyAny>) -> (Self, Option<Py<PyAny>>) {
        // SAFETY: `frame` is a frame object; PyFrame_GetCode and PyFrame_GetBack give new references, the latter maybe NULL.
        unsafe {
            let raw = frame.as_ptr().cast();
            let code = Bound::from_owned_ptr(py, ffi::PyFrame_GetCode(raw).cast()).unbind();
            let instruction = ffi::PyFrame_GetLasti(raw);
            let back = Bound::from_owned_ptr_or_opt(py, ffi::PyFrame_GetBack(raw).cast()).map(Bound::unbind);
            (Self { code, instruction }, back)
        }
    }

    /// The innermost Python frame whose code lies in another folder than the innermost one, which is ours.
    pub(crate) fn of_user(py: Python<'_>) -> Option<Self> {
        /// Frames of ours between the user's and the call, at most.
        const DEEPEST: usize = 6;
        let here = Self::here(py)?;
        let folder = here.folder(py);
        let other = CallStack::here(py, DEEPEST).0.into_iter().find(|site| site.folder(py) != folder);
        Some(other.unwrap_or(here))
    }

    /// Where its file lies.
    fn folder(&self, py: Python<'_>) -> Option<String> {
        let file = self.code.bind(py).getattr(pyo3::intern!(py, "co_filename")).ok()?.extract::<String>().ok()?;
        file.rsplit_once('/').map(|(folder, _)| folder.to_owned())
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

/// Who called, and who called that: code objects, which lead nowhere, so that it may be kept for long.
#[derive(Default)]
pub(crate) struct CallStack(Vec<CallSite>);

impl CallStack {
    /// The innermost `most` Python frames, the innermost first.
    #[cold]
    pub(crate) fn here(py: Python<'_>, most: usize) -> Self {
        // SAFETY: PyEval_GetFrame returns a borrowed reference or NULL.
        let innermost = unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PyEval_GetFrame().cast()) };
        let mut frame = innermost.map(Bound::unbind);
        let mut sites = Vec::new();
        while let Some(this) = frame.take()
            && sites.len() < most
        {
            let (site, back) = CallSite::of(py, this.bind(py));
            sites.push(site);
            frame = back;
        }
        Self(sites)
    }

    /// File, line and function of each.
    pub(crate) fn places(&self, py: Python<'_>) -> Vec<(String, i32, String)> {
        let place = |site: &CallSite| {
            let (file, line) = site.place(py);
            let function = site.code.bind(py).getattr("co_qualname").and_then(|name| name.extract::<String>());
            (file, line, function.unwrap_or_else(|_| "?".to_owned()))
        };
        self.0.iter().map(place).collect()
    }
}
