//! Cancelling: the window in which a CancelRequest may hit a request it was not meant for.
//!
//! ```text
//!            cancel(head)               EOF of the side connection, target's ReadyForQuery, in any order
//!   closed ──────────────▶ open(target) ─────────────────────────────────────────────────────────────▶ closed
//!     ▲                       ▲   │ EOF first: the target still runs ──cancel_again──▶ open(target)      │
//!     │                       │                                                                          │
//!     │                       └── the head was cancelled meanwhile, while it ran: open(head) ◀───────────┤
//!     └──────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The server delivers the cancel as a signal to whatever its backend runs at that moment: a request already
//! written behind the target can be hit instead of it. So nothing new is written while the window is open, and
//! every request in flight when it opened is exposed until it is answered. A hit does not end that: before PostgreSQL 18
//! the postmaster signals both the backend and its process group, so one CancelRequest may hit its target and then a
//! neighbour as well. Protocol chapter, "Canceling Requests in Progress".

use super::pipeline::RequestId;
use crate::error::EncodeError;
use crate::message::cancel_request::CancelRequest;

/// What identifies this session to a CancelRequest, from BackendKeyData.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelKey {
    /// Process id of the backend.
    pub process_id: i32,
    /// 4 bytes in protocol 3.0, up to 256 in 3.2.
    pub secret: Vec<u8>,
}

impl CancelKey {
    /// The bytes of a CancelRequest, to be sent alone on a connection of their own.
    ///
    /// # Errors
    /// When the secret is longer than the protocol allows.
    pub fn request(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        CancelRequest { process_id: self.process_id, key: &self.secret }.encode(&mut out)?;
        Ok(out)
    }
}

/// What became of a wish to cancel.
#[derive(Debug)]
pub enum CancelOutcome<J> {
    /// It was not yet written: it is gone and never reaches the server.
    Dropped(J),
    /// It is written: its answer is discarded. It waits behind others and will run; or it runs while another's
    /// CancelRequest is outstanding, at whose end [`CancelDelivered::Next`] names it.
    Discarding,
    /// It is running: send a CancelRequest on a side connection and report its end to
    /// [`Connection::cancel_delivered`](super::Connection::cancel_delivered).
    Running,
    /// It has finished, or was cancelled before.
    Unknown,
}

/// What follows when a side connection has reached its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelDelivered {
    /// The target still runs: a cancel that arrived too early had no effect. It may be sent again, after
    /// [`Connection::cancel_again`](super::Connection::cancel_again).
    StillRunning,
    /// Nothing: requests are written again.
    Closed,
    /// This one was cancelled meanwhile, and runs: send a CancelRequest for it, as after [`CancelOutcome::Running`].
    Next(RequestId),
}

/// An outstanding CancelRequest.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) target: RequestId,
    pub(super) delivered: bool,
    pub(super) target_done: bool,
}

impl Window {
    pub(super) const fn new(target: RequestId) -> Self {
        Self { target, delivered: false, target_done: false }
    }

    /// Its effect is known only when both ends have been seen.
    pub(super) const fn is_over(&self) -> bool {
        self.delivered && self.target_done
    }
}
