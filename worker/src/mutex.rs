//! Locks of plain values.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The value, whatever became of other threads: for values that a panic leaves in order, such as plain ones that are changed
/// in one step, to which poisoning is of no interest.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
