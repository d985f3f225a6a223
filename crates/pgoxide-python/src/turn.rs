//! Whose turn it is on a blocking connection: threads share it one call at a time, and a call made from inside
//! another (a row factory, a notice handler) is told so instead of waiting for itself.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use pyo3::prelude::*;

use crate::error;
use crate::sync::lock;

/// How long a wait lasts before signals are looked at.
const SLICE: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(crate) struct Turn {
    holder: Mutex<Option<ThreadId>>,
    free: Condvar,
}

/// Gives the turn back when dropped.
pub(crate) struct Held<'a>(&'a Turn);

impl Turn {
    /// Waits for the turn; signals are handled meanwhile.
    #[inline]
    pub(crate) fn take(&self, py: Python<'_>) -> PyResult<Held<'_>> {
        let me = std::thread::current().id();
        loop {
            {
                let mut holder = lock(&self.holder);
                match *holder {
                    None => {
                        *holder = Some(me);
                        return Ok(Held(self));
                    }
                    Some(other) if other == me => return Err(nested(py)),
                    Some(_) => {}
                }
            }
            py.detach(|| self.wait());
            py.check_signals()?;
        }
    }

    /// Takes the turn for several calls, until [`give_back`](Self::give_back).
    pub(crate) fn keep(&self, py: Python<'_>) -> PyResult<()> {
        std::mem::forget(self.take(py)?);
        Ok(())
    }

    /// Gives back a turn that was kept.
    pub(crate) fn give_back(&self) {
        *lock(&self.holder) = None;
        self.free.notify_one();
    }

    fn wait(&self) {
        let holder = lock(&self.holder);
        if holder.is_some() {
            let waited = self.free.wait_timeout(holder, SLICE).unwrap_or_else(PoisonError::into_inner);
            drop(waited);
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

#[cold]
fn nested(py: Python<'_>) -> PyErr {
    error::interface_error(
        py,
        "the connection is busy with another call of this thread: a stream must be read to its end or closed first, and a \
         row class, codec, source or listener cannot use the connection it is called by; or open a second connection",
    )
}
