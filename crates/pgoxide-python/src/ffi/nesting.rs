//! Deallocation of containers that hold containers that hold containers …, on a C stack of bounded depth.
//!
//! What CPython's trashcan does for its own types; that is private, and another one in nearly every version. Beyond
//! [`DEEPEST`] an object is put aside and taken up again by the outermost deallocation of its thread.

use std::cell::{Cell, RefCell};

use pyo3::ffi;

/// CPython allows as many. A frame of ours and the interpreter's between take less than a kilobyte.
const DEEPEST: usize = 50;

struct Nesting {
    depth: Cell<usize>,
    /// Objects without references, complete but for that.
    aside: RefCell<Vec<*mut ffi::PyObject>>,
}

impl Nesting {
    fn release_aside(&self, release: unsafe fn(*mut ffi::PyObject)) {
        loop {
            // Borrowed no longer than this: releasing one may put others aside.
            let next = self.aside.borrow_mut().pop();
            let Some(next) = next else { return };
            // SAFETY: put aside by `bounded`, whose caller vouched for it, and taken out once.
            unsafe { release(next) };
        }
    }
}

thread_local! {
    static NESTING: Nesting = const { Nesting { depth: Cell::new(0), aside: RefCell::new(Vec::new()) } };
}

/// Runs `release` for `object`, now or when what encloses it has been released.
///
/// # Safety
/// Called by the object's deallocation, that is with the last reference gone, and the collector does not know it any more.
/// `release` frees it.
pub(super) unsafe fn bounded(object: *mut ffi::PyObject, release: unsafe fn(*mut ffi::PyObject)) {
    let entered = NESTING.try_with(|nesting| {
        let depth = nesting.depth.get();
        if depth >= DEEPEST {
            nesting.aside.borrow_mut().push(object);
            return;
        }
        nesting.depth.set(depth + 1);
        // SAFETY: the caller's. Nothing is borrowed meanwhile: releasing runs code that comes back here.
        unsafe { release(object) };
        if depth == 0 {
            nesting.release_aside(release);
        }
        nesting.depth.set(depth);
    });
    if entered.is_err() {
        // The thread is ending, its storage gone.
        // SAFETY: the caller's.
        unsafe { release(object) };
    }
}
