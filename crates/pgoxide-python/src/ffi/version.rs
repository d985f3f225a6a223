//! Whether a class has changed since it was looked at: CPython's own counter, which its caches of attributes rely on.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// The version of a class: another one after an assignment to it or to one of its bases. `None`: the interpreter does not
/// count for it (any more), so nothing can be said.
#[inline]
pub(crate) fn of(class: &Bound<'_, PyType>) -> Option<u32> {
    // SAFETY: reads two integers of a ready type, with the thread attached.
    unsafe {
        let class = class.as_type_ptr();
        // 3.11 leaves the number of a class that has changed and clears the flag; later ones clear the number.
        let counted = cfg!(Py_3_12) || (*class).tp_flags & ffi::Py_TPFLAGS_VALID_VERSION_TAG != 0;
        let version = (*class).tp_version_tag;
        (counted && version != 0).then_some(version)
    }
}
