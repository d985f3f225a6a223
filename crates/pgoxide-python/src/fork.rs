//! Whether this process is still the one that something was made in. A child of `fork()` has the parent's descriptors: what
//! it wrote to them, or read from them, would be missing or too much in the parent's conversation.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

/// How many forks lie between the first process and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// The process in which it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home(u64);

impl Home {
    /// This process.
    pub(crate) fn here() -> Self {
        Self(GENERATION.load(Ordering::Relaxed))
    }

    /// It was made in a parent of this process.
    #[inline]
    pub(crate) fn is_elsewhere(self) -> bool {
        self != Self::here()
    }
}

/// This process has just been forked off. To be called in the child.
#[pyfunction]
pub(crate) fn forked() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
