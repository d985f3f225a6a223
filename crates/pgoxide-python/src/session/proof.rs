//! What proves to the server that a session has been reset: a look in front of the one request that follows a reset whose
//! answer has not come.
//!
//! ```text
//!   ... ─ declare pgoxide_reset_7 cursor with hold ─ Sync │ Describe pgoxide_reset_7 ─ Close it ─ (the next user's request) ─ Sync
//!                                                         │    └──no such portal: the server skips the rest
//! ```
//!
//! A cursor that is held outlives its transaction if that is committed, and ends with it otherwise: it is there if and only if
//! all of the reset was done. Its name is used once; where nobody follows, the next request closes it. To describe it takes no snapshot and runs
//! nothing, so what follows may be anything: BEGIN ISOLATION LEVEL, VACUUM. A prepared statement would do the same, but outlives
//! a rollback, and PgBouncer parses those it knows anew wherever they are missing. A setting could only be asked for by a query.
//! It costs the server 6 us.

use std::sync::atomic::{AtomicU8, Ordering};

use pgoxide_protocol::client::{Prefix, RequestId, Step};
use pgoxide_protocol::error::EncodeError;
use pgoxide_protocol::message::close::Close;
use pgoxide_protocol::message::describe;
use pgoxide_protocol::message::target::Target;
use smallvec::smallvec;

/// A reset that was answered well, and a proof of it that was not: the session is another from request to request, as behind
/// a pooler in transaction mode. One may be a cancel's doing.
const TOO_OFTEN: u8 = 2;

/// The cursor that reset `number` leaves.
pub(super) fn name(number: RequestId) -> String {
    format!("pgoxide_reset_{number}")
}

/// The last command of reset `number`.
pub(super) fn declaration(number: RequestId) -> String {
    format!("declare {} no scroll cursor with hold for select", name(number))
}

/// What leads in the request that follows reset `number`.
pub(super) fn lead_in(number: RequestId) -> Result<Prefix, EncodeError> {
    let mut proof = Prefix { bytes: Vec::new(), steps: smallvec![Step::Proof, Step::Close] };
    let name = name(number).into_bytes();
    describe::write_portal(&mut proof.bytes, &name)?;
    Close { target: Target::Portal, name: &name }.encode(&mut proof.bytes)?;
    Ok(proof)
}

/// Whether proofs are worth anything on this connection: how often in a row one failed though nothing was wrong.
#[derive(Default)]
pub(crate) struct Proofs(AtomicU8);

impl Proofs {
    pub(super) fn succeeded(&self) {
        self.0.store(0, Ordering::Release);
    }

    pub(super) fn failed(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn are_of_use(&self) -> bool {
        self.0.load(Ordering::Acquire) < TOO_OFTEN
    }
}
