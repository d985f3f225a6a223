//! The gate behind a reset: what may be written before the server has said that the session is clean.
//!
//! ```text
//!          reset written, with a proof                 one request follows, led in by the proof
//!   open ──────────────────────────────▶ ajar ───────────────────────────────────────────────────▶ closed ──┐
//!    ▲ ▲                                  │ │ ErrorResponse                            ErrorResponse │      │
//!    │ └──── answered well, by then ──────┘ └─────────────────────▶ shut ◀──────────────────────────┘      │
//!    │                                                               │ the next reset is written            │
//!    │                                                               └──────────────────────▶ closed ───────┤
//!    └──── the reset has been answered well, and so has the proof, if one was written ◀──────────────────────┘
//! ```
//!
//! A reset that failed leaves the session as its last user had it, and what was written behind it cannot be called back. So a
//! request may follow it only behind a proof in its own Sync: something that fails unless this very reset has been committed.
//! Then the server skips the request; it is written again, unchanged, once another reset has been answered well. One request
//! follows, not more: a second one would run before the first, should only the first one's proof fail.

use super::pipeline::Prefix;

#[derive(Debug)]
pub(super) enum Gate {
    /// No reset is unanswered: everything may be written.
    Open,
    /// A reset is in flight, and one request may follow, led in by this.
    Ajar(Prefix),
    /// Nothing may be written before the reset, and the proof behind it, have been answered.
    Closed,
    /// The reset failed: nothing but another one may be written.
    Shut,
}

impl Gate {
    /// Behind a reset that is being written.
    pub(super) fn behind(proof: Option<Prefix>) -> Self {
        proof.map_or(Self::Closed, Self::Ajar)
    }

    /// Requests may be written as if there were no reset.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// One request may be written, led in by a proof.
    pub(super) const fn is_ajar(&self) -> bool {
        matches!(self, Self::Ajar(_))
    }

    /// Lets one request through: what goes in front of it.
    pub(super) fn pass(&mut self) -> Option<Prefix> {
        match std::mem::replace(self, Self::Closed) {
            Self::Ajar(proof) => Some(proof),
            other => {
                *self = other;
                None
            }
        }
    }

    /// The reset has its ReadyForQuery; `followed`: a request was written behind it, whose proof is to be answered.
    pub(super) fn reset_answered(&mut self, followed: bool) {
        if self.is_ajar() || (matches!(self, Self::Closed) && !followed) {
            *self = Self::Open;
        }
    }

    /// The reset failed.
    pub(super) fn shut(&mut self) {
        *self = Self::Shut;
    }

    /// The proof has been answered, well or not.
    pub(super) fn proof_answered(&mut self) {
        if matches!(self, Self::Closed) {
            *self = Self::Open;
        }
    }
}
