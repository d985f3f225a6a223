//! Who has a pool's connection: every acquisition has an object of its own.
//!
//! ```text
//!   the pool's own object ──lend──▶ a user's object, number n ──given back──▶ it raises, for good
//!                         ──lend──▶ the next one's, number n + 2, over the same session
//! ```
//!
//! A connection changes hands, a reference to it need not: whoever kept one must not run statements in the session of whoever
//! has it now. So a user never gets the pool's object. What they get leads to the same session, and counts only as long as
//! its number is the session's.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

use crate::error;
use crate::session::Session;

/// The number of the acquisition that counts. It changes with each that begins, and with each that ends.
#[derive(Default)]
pub(crate) struct Lease(AtomicU64);

impl Lease {
    /// Ends the acquisition that is under way, if one is, and begins another.
    pub(crate) fn begin(&self) -> u64 {
        self.0.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// What makes a client a user's: the pool's own, and which acquisition this is.
pub(crate) struct Lent<C> {
    pub(crate) whole: Py<C>,
    number: u64,
}

impl<C> Lent<C> {
    pub(crate) fn new(whole: Py<C>, session: &Session) -> Self {
        Self { whole, number: session.lease.begin() }
    }

    /// It has been given back.
    #[inline]
    pub(crate) fn is_over(&self, session: &Session) -> bool {
        session.lease.0.load(Ordering::Acquire) != self.number
    }
}

/// For calls on a connection whose user has given it back.
#[cold]
pub(crate) fn given_back(py: Python<'_>) -> PyErr {
    error::interface_error(
        py,
        "this connection has been given back to its pool, and may be somebody else's by now: acquire() another, and keep no \
         reference beyond its block",
    )
}
