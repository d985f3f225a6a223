//! Locks that a panic does not poison: state behind them is only ever changed by code that cannot fail half-way,
//! and a connection that met a panic is closed by its owner anyway.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The guard, poisoned or not.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
