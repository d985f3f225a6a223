//! Cancelling: the window in which a CancelRequest may hit a request it was not meant for.
//!
//! ```text
//!            cancel(head)                delivered (EOF of the side connection)
//!   closed ──────────────▶ open(target) ─────────────────▶ delivered(target) ──▶ closed
//!                             │    ▲  target's ReadyForQuery in any order           ▲
//!                             └────┴────────────────────────────────────────────────┘
//! ```
//!
//! The server delivers the cancel as a signal to whatever its backend runs at that moment: a request already
//! written behind the target can be hit instead of it. So nothing new is written while the window is open, and
//! every request in flight when it opened is marked as exposed. Protocol chapter, "Canceling Requests in
//! Progress".

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
    /// It is written and waits behind others: it will run, its answer is discarded.
    Discarding,
    /// It is running: send a CancelRequest on a side connection and report its end to
    /// [`Connection::cancel_delivered`](super::Connection::cancel_delivered).
    Running,
    /// It has finished, or was cancelled before.
    Unknown,
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
