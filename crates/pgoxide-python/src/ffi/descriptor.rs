//! Borrowing a descriptor that a Python object owns.

use std::os::fd::BorrowedFd;

/// The descriptor `fd` for one system call.
pub(crate) fn borrow<'a>(fd: i32) -> BorrowedFd<'a> {
    // SAFETY: the transport closes the descriptor only after it has detached it from the client, which clears
    // the number; a stale number would make the system call fail, not memory unsafe. -1 is never passed: a
    // client without a descriptor has no `Socket`.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
