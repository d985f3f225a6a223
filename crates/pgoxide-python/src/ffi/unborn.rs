//! Containers that nobody has seen yet, kept out of the cyclic collector's sight.
//!
//! The collector runs again and again while a large result is made, since its containers are counted, and would each time walk
//! over all that was made since, and some times over all of it: a quarter of the time that 20 000 documents take, a third of
//! 5 000 arrays of a hundred integers. It cannot find anything there. So such containers stay unknown to it until they are
//! handed out; then it is told of all of them. It is never paused: what else there is in the process it sees as ever.

use std::cell::RefCell;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::pyimport;

thread_local! {
    /// Of the innermost [`Unborn::hold_back`] of this thread.
    static HELD_BACK: RefCell<Option<Vec<Py<PyAny>>>> = const { RefCell::new(None) };
}

/// Containers held back. They are referenced, so that none is gone when the collector is told, whatever became of its row.
#[derive(Default)]
pub(crate) struct Unborn(Vec<Py<PyAny>>);

impl Unborn {
    /// Runs `make`: containers that it makes are held back. It must not call what the user wrote, who would see them.
    pub(crate) fn hold_back<R>(&mut self, make: impl FnOnce() -> R) -> R {
        /// Ends it, in a panic too.
        struct Ending<'a>(&'a mut Vec<Py<PyAny>>, Option<Vec<Py<PyAny>>>);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                *self.0 = HELD_BACK.replace(self.1.take()).unwrap_or_default();
            }
        }
        let outer = HELD_BACK.replace(Some(std::mem::take(&mut self.0)));
        let _ending = Ending(&mut self.0, outer);
        make()
    }

    /// Tells the collector of all of them: they are handed out. What is garbage elsewhere may be freed before.
    pub(crate) fn publish(&mut self, py: Python<'_>) {
        /// To walk over fewer takes less time than to look.
        const MANY: usize = 1_000;
        if self.0.len() >= MANY
            && let Err(error) = collect_if_due(py)
        {
            error.write_unraisable(py, None);
        }
        self.track(py);
    }

    fn track(&mut self, py: Python<'_>) {
        /// So far ahead of the one whose turn it is.
        const AHEAD: usize = 16;
        let mut objects = std::mem::take(&mut self.0).into_iter();
        while let Some(object) = objects.next() {
            if let Some(ahead) = objects.as_slice().get(AHEAD) {
                fetch_ahead(ahead);
            }
            let object = object.into_bound(py);
            // SAFETY: a container that `finished` or `hold_back` has put here, complete and untracked then. Code of the user's
            // cannot have seen it, but what has, a class of ours, may have changed it so that it is tracked by now.
            unsafe {
                if ffi::PyObject_GC_IsTracked(object.as_ptr()) == 0 {
                    ffi::PyObject_GC_Track(object.as_ptr().cast());
                }
            }
        }
    }
}

/// A result that nobody gets. Code of the user's that a collection ran meanwhile may have read a small one of its own, whose
/// containers are among these.
impl Drop for Unborn {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            Python::attach(|py| self.track(py));
        }
    }
}

/// From 3.12 on a collection that has become due waits until the interpreter runs code in Python again. What made it due are
/// the containers held back, so it is done before it would walk over all of them.
fn collect_if_due(py: Python<'_>) -> PyResult<()> {
    let counts = |read: &Bound<'_, PyAny>| read.call0()?.get_item(0)?.extract::<i64>();
    // Free-threaded interpreters have no young generation: any collection is a whole one.
    if cfg!(Py_GIL_DISABLED) || !pyimport::gc_is_enabled(py)?.call0()?.is_truthy()? {
        return Ok(());
    }
    let threshold = counts(pyimport::gc_threshold(py)?)?;
    if threshold > 0 && counts(pyimport::gc_count(py)?)? > threshold {
        pyimport::gc_collect(py)?.call1((0,))?;
    }
    Ok(())
}

/// Asks for the memory where an object begins, so that nothing waits for it when its turn comes: most objects of a large result
/// are out of the nearer caches by then.
#[inline]
fn fetch_ahead(object: &Py<PyAny>) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: nothing is read; an address is brought closer, whichever it is.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // The collector's head, in front of it.
        _mm_prefetch::<_MM_HINT_T0>(object.as_ptr().cast::<i8>().wrapping_sub(16));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = object;
}

/// An object of a class whose instances the collector knows, or may.
#[inline]
pub(crate) fn is_container(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: any object.
    unsafe { ffi::PyObject_IS_GC(object.as_ptr()) != 0 }
}

/// A container is complete: the collector is told, now or when it is handed out.
///
/// # Safety
/// An untracked object of a type the collector knows, which it may visit.
#[inline(never)] // inlined, it keeps the tuple of every row from being finished inline: 9 ns of one that needs none of this
pub(super) unsafe fn finished(object: &Bound<'_, PyAny>) {
    let held_back = HELD_BACK.with_borrow_mut(|held| match held {
        Some(held) => {
            held.push(object.clone().unbind());
            true
        }
        None => false,
    });
    if !held_back {
        // SAFETY: the caller's.
        unsafe { ffi::PyObject_GC_Track(object.as_ptr().cast()) }
    }
}

/// The same of a container that the interpreter has told the collector of, if it has.
#[inline]
pub(crate) fn hold_back(object: &Bound<'_, PyAny>) {
    HELD_BACK.with_borrow_mut(|held| {
        let Some(held) = held else { return };
        // SAFETY: IsTracked takes any object; one that is tracked is untracked, to be tracked again in `publish`.
        unsafe {
            if ffi::PyObject_GC_IsTracked(object.as_ptr()) != 0 {
                ffi::PyObject_GC_UnTrack(object.as_ptr().cast());
                held.push(object.clone().unbind());
            }
        }
    });
}
