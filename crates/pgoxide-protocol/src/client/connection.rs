//! [`Connection`]: bytes in, events out; requests in, bytes out.
//!
//! The whole contract:
//!
//! 1. [`start`](Connection::start) writes StartupMessage; requests may follow once `Event::Started` came.
//! 2. [`submit`](Connection::submit) accepts a request, [`pump`](Connection::pump) writes what may be written,
//!    [`outgoing`](Connection::outgoing) / [`sent`](Connection::sent) hand the bytes over.
//! 3. [`next_event`](Connection::next_event) reads; call it until it says `None`, then pump again.
//! 4. [`cancel`](Connection::cancel) and [`cancel_delivered`](Connection::cancel_delivered) around a side
//!    connection that the caller opens.
//! 5. [`abort`](Connection::abort) when the line is gone: every unfinished request comes back.

use super::block::{Commands, LevelId, Stage, Standing};
use super::cancel::{CancelDelivered, CancelKey, CancelOutcome};
use super::pipeline::{Pipeline, Prefix, Request, RequestId, Step};
use super::query::CopyDirection;
use super::startup::Phase;
use crate::codes::{PROTOCOL_3_0, TransactionStatus, backend};
use crate::error::{EncodeError, ProtocolError};
use crate::message::copy_fail::CopyFail;
use crate::message::startup_message::{Parameter, StartupMessage};
use crate::message::{sync, terminate};

/// Settings a hostile server could otherwise fill memory with. PostgreSQL reports about fifteen.
const MAX_PARAMETERS: usize = 1_000;

/// Bytes of their names and values together.
const MAX_PARAMETER_BYTES: usize = 1 << 20;

/// Bounds on what is held for a peer that does not keep up, or lies.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest message accepted, in bytes. The server itself cannot build a value above 1 GiB.
    pub message: usize,
    /// Bytes handed to the socket's queue before further requests wait.
    pub send_buffer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // 1 GiB is the server's own limit for one value; a row may hold several, but then a stream is the tool.
        Self { message: 1 << 30, send_buffer: 256 << 10 }
    }
}

/// The client's side of one session. `J` is whatever the caller ties to each request.
#[derive(Debug)]
pub struct Connection<J> {
    pub(super) limits: Limits,
    pub(super) phase: Phase,
    pub(super) pipeline: Pipeline<J>,
    pub(super) out: Vec<u8>,
    pub(super) sent: usize,
    pub(super) status: TransactionStatus,
    /// How many ReadyForQuery said that no transaction is open.
    pub(super) times_idle: u64,
    pub(super) key: Option<CancelKey>,
    /// The COPY that the statement at the head is in.
    pub(super) copy: Option<CopyDirection>,
    parameters: Vec<(String, String)>,
}

impl<J> Connection<J> {
    /// A session before its StartupMessage.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            phase: Phase::Authenticating,
            pipeline: Pipeline::new(),
            out: Vec::new(),
            sent: 0,
            status: TransactionStatus::Idle,
            times_idle: 0,
            key: None,
            copy: None,
            parameters: Vec::new(),
        }
    }

    /// Writes StartupMessage with `parameters` (user, database, …).
    ///
    /// # Errors
    /// When a name or value holds a NUL byte: nothing is written.
    pub fn start(&mut self, parameters: &[(&[u8], &[u8])]) -> Result<(), EncodeError> {
        let parameters: Vec<Parameter<'_>> =
            parameters.iter().map(|&(name, value)| Parameter { name, value }).collect();
        StartupMessage { protocol: PROTOCOL_3_0, parameters: parameters.as_slice().into() }.encode(&mut self.out)
    }

    /// The first ReadyForQuery has come.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.phase == Phase::Started
    }

    /// Accepts a request; it is written by [`pump`](Self::pump).
    pub fn submit(&mut self, request: Request<J>) {
        self.pipeline.submit(request, Standing::Outside);
    }

    /// Accepts a request that stands to the transaction block as `standing` says.
    pub fn submit_at(&mut self, request: Request<J>, standing: Standing) {
        self.pipeline.submit(request, standing);
    }

    /// Accepts a reset of the session: it is written before all that waits, once nothing is in flight. What waits is written when
    /// it has been answered well, never when it failed: the caller submits another one, or ends the connection.
    ///
    /// `proof` lets one request of the extended protocol follow without waiting. Its steps end with [`Step::Proof`]: what
    /// fails unless this reset has been committed. Should it fail, the request has not run ([`Event::Unproven`](super::Event)).
    pub fn submit_reset(&mut self, request: Request<J>, proof: Option<Prefix>) {
        self.pipeline.submit_reset(request, proof);
    }

    /// A reset is in flight or about to be, and one request may follow it.
    #[must_use]
    pub fn may_follow_reset(&self) -> bool {
        self.pipeline.may_follow_reset()
    }

    /// Enters a level of the transaction block: `open` is written in front of the next request inside, `undo` by one that
    /// undoes it. `depth`: how many levels it lies in; 0 is the transaction, the others are savepoints.
    pub fn enter(&mut self, id: LevelId, depth: usize, open: Commands, undo: Commands) {
        self.pipeline.block.enter(id, depth, open, undo);
    }

    /// How far the server is with a level. None: it has been left, or the connection has ended.
    #[must_use]
    pub fn stage(&self, id: LevelId) -> Option<Stage> {
        self.pipeline.block.stage(id)
    }

    /// The innermost level.
    #[must_use]
    pub fn top_level(&self) -> Option<LevelId> {
        self.pipeline.block.top()
    }

    /// Leaves level `id` and those above it without a word to the server. False when there is something to end: requests
    /// inside that have not finished, or levels that are open.
    pub fn leave_unsaid(&mut self, id: LevelId) -> bool {
        let Some(stage) = self.stage(id) else { return true };
        let over = self.is_over(id);
        let said = matches!(stage, Stage::Opening | Stage::Open) && !over;
        let unsaid = !said && (over || !self.pipeline.has_inside());
        if unsaid {
            self.pipeline.block.remove(id);
        }
        unsaid
    }

    /// Leaves all levels, whatever the server is at: what waits to be written inside never is.
    pub fn forget_block(&mut self) {
        self.pipeline.block.clear();
    }

    /// Level `id` has been left, or a statement inside has ended its transaction: nothing more is written inside.
    #[must_use]
    pub fn is_over(&self, id: LevelId) -> bool {
        self.pipeline.block.is_over(id)
    }

    /// The requests that wait to be written inside a transaction that is over or has been left: they came too late.
    pub fn take_stranded(&mut self) -> Vec<(RequestId, J)> {
        self.pipeline.take_stranded()
    }

    /// How many requests have been written and are unanswered; [`abort`](Self::abort) gives them first.
    #[must_use]
    pub fn flying(&self) -> usize {
        self.pipeline.flying.len()
    }

    /// Writes what may be written now.
    pub fn pump(&mut self) {
        self.pipeline.pump(&mut self.out, self.sent + self.limits.send_buffer, self.status);
    }

    /// Bytes to hand to the socket.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// The socket took the first `count` bytes of [`outgoing`](Self::outgoing).
    pub fn sent(&mut self, count: usize) {
        self.sent = (self.sent + count).min(self.out.len());
        let unsent = self.out.len() - self.sent;
        // Under load there may always be something unsent: what is sent must go all the same. It outweighs what is
        // moved, so each byte is moved once, averaged.
        if unsent == 0 || (self.sent > self.limits.send_buffer && self.sent >= unsent) {
            self.out.drain(..self.sent);
            self.sent = 0;
            // One huge parameter must not stay with the connection.
            self.out.shrink_to(4 * self.limits.send_buffer);
        }
    }

    /// Nothing is queued, in flight or unsent.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pipeline.unfinished() == 0
    }

    /// Nothing is in flight.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.pipeline.flying.is_empty()
    }

    /// Bytes held for unfinished requests, with an allowance for each request's bookkeeping.
    #[must_use]
    pub fn held(&self) -> usize {
        self.pipeline.held()
    }

    /// So much is unfinished that more would only wait here: four times what goes to the socket at once, so that a far
    /// server does not run dry meanwhile.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.pipeline.held() > 4 * self.limits.send_buffer
    }

    /// Requests accepted and not finished.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.pipeline.unfinished()
    }

    /// What the caller tied to the request at the head, which the events concern.
    pub fn running(&mut self) -> Option<&mut J> {
        self.pipeline.flying.front_mut().map(|flight| &mut flight.request.job)
    }

    /// What the caller tied to all unfinished requests, in order.
    pub fn jobs(&self) -> impl Iterator<Item = &J> {
        self.pipeline.jobs()
    }

    /// What the caller tied to an unfinished request.
    pub fn job(&mut self, id: RequestId) -> Option<&mut J> {
        self.pipeline.job(id)
    }

    /// Id of the request at the head.
    #[must_use]
    pub fn running_id(&self) -> Option<RequestId> {
        self.pipeline.flying.front_id()
    }

    /// The request at the head was cancelled: its rows need not be kept.
    #[must_use]
    pub fn running_abandoned(&self) -> bool {
        self.pipeline.flying.front().is_some_and(|flight| flight.abandoned)
    }

    /// The request at the head will be written again after its ReadyForQuery: forget its rows.
    #[must_use]
    pub fn running_resends(&self) -> bool {
        self.pipeline.head_goes_again()
    }

    /// What was written for the request at the head, without what it was extended by.
    #[must_use]
    pub fn running_bytes(&self) -> &[u8] {
        self.pipeline.flying.front().map_or(&[], |flight| &flight.request.bytes)
    }

    /// What the request at the head asks may be asked once more behind all that has been submitted: nothing of it is
    /// [`Resend::Never`](super::Resend::Never), or nothing is behind it.
    #[must_use]
    pub fn running_may_come_last(&self) -> bool {
        self.pipeline.head_may_come_last()
    }

    /// What is submitted now will run outside a transaction: none is open, no block has been entered, and all that is
    /// unfinished changes nothing but rows.
    #[must_use]
    pub fn stays_idle(&self) -> bool {
        self.status == TransactionStatus::Idle && self.top_level().is_none() && self.pipeline.is_orderless()
    }

    /// Appends `bytes`, which `steps` answer, to the open request `id` at the head: more of a portal, COPY data,
    /// or its closing Sync. False when that request is not (or no longer) open.
    pub fn extend(&mut self, id: RequestId, bytes: &[u8], steps: &[Step]) -> bool {
        let open = self.pipeline.extend(id, steps);
        if open {
            self.out.extend_from_slice(bytes);
        }
        open
    }

    /// Appends COPY data (or its end) for the request `id` while the server waits for it. False once it failed.
    pub fn copy_bytes(&mut self, id: RequestId, bytes: &[u8]) -> bool {
        let ours = self.running_id() == Some(id) && self.copy == Some(CopyDirection::In);
        if ours {
            self.out.extend_from_slice(bytes);
        }
        ours
    }

    /// The statement at the head is in a COPY to us.
    #[must_use]
    pub fn copies_out(&self) -> bool {
        self.copy == Some(CopyDirection::Out)
    }

    /// Whether the request `id` is at the head and open: see [`extend`](Self::extend).
    #[must_use]
    pub fn is_open(&self, id: RequestId) -> bool {
        self.pipeline.flying.front().is_some_and(|head| head.request.id == id && head.request.open)
    }

    /// The server waits for COPY data that a plain statement asked for and nobody has: ends it with CopyFail. The
    /// Sync that travelled behind an extended-protocol statement was swallowed as COPY data, so it is sent again; an open
    /// request gets its Sync when it fails. Anything but Sync behind such a statement ends the session: the server calls it
    /// a lost synchronization, so callers keep COPY at the end of a barrier.
    ///
    /// # Errors
    /// When `reason` holds a NUL byte.
    pub fn refuse_copy(&mut self, reason: &[u8]) -> Result<(), EncodeError> {
        CopyFail { reason }.encode(&mut self.out)?;
        let expected = &self.pipeline.expected;
        if expected.front() == Some(&Step::Execute) && expected.get(1) == Some(&Step::Sync) {
            sync::write(&mut self.out);
        }
        Ok(())
    }

    /// Asks that request `id` be given up. An open one gets its Sync now: the server may be idle, with nothing to
    /// cancel and nothing to say. It would not see that among the data of a COPY, which is therefore ended first.
    pub fn cancel(&mut self, id: RequestId) -> CancelOutcome<J> {
        if self.is_open(id) {
            if self.copy == Some(CopyDirection::In) {
                // Only a reason with a NUL byte cannot be encoded.
                let _ = CopyFail { reason: b"the call was given up" }.encode(&mut self.out);
            }
            self.close_open_head();
        }
        self.pipeline.cancel(id)
    }

    /// The side connection that carried the CancelRequest for `id` reached its end, or could not be made.
    pub fn cancel_delivered(&mut self, id: RequestId) -> CancelDelivered {
        self.pipeline.cancel_delivered(id)
    }

    /// A further CancelRequest for the same target is on its way. False when the target has ended meanwhile.
    pub fn cancel_again(&mut self, id: RequestId) -> bool {
        self.pipeline.cancel_again(id)
    }

    /// Whether request `id` still runs and its cancel is wanted: to be asked last thing before the bytes are sent.
    #[must_use]
    pub fn cancel_wanted(&self, id: RequestId) -> bool {
        self.pipeline.window.as_ref().is_some_and(|window| window.target == id && !window.target_done)
    }

    /// A CancelRequest is outstanding: nothing new is written.
    #[must_use]
    pub fn is_cancelling(&self) -> bool {
        self.pipeline.window.is_some()
    }

    /// Appends Terminate, after which nothing may be submitted.
    pub fn terminate(&mut self) {
        terminate::write(&mut self.out);
    }

    /// The line is gone: all unfinished jobs, in order. `abandoned` ones are told apart.
    pub fn abort(&mut self) -> Vec<(RequestId, J, bool)> {
        self.out.clear();
        self.sent = 0;
        self.pipeline.drain().map(|flight| (flight.request.id, flight.request.job, flight.abandoned)).collect()
    }

    /// Transaction status of the last ReadyForQuery.
    #[must_use]
    pub const fn status(&self) -> TransactionStatus {
        self.status
    }

    /// How many times the server has said that no transaction is open: what lived in one when it was less is gone.
    #[must_use]
    pub const fn times_idle(&self) -> u64 {
        self.times_idle
    }

    /// What identifies the session to a CancelRequest; poolers may send none.
    #[must_use]
    pub const fn cancel_key(&self) -> Option<&CancelKey> {
        self.key.as_ref()
    }

    /// The value the server last reported for a setting.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All reported settings.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn set_parameter(&mut self, name: &[u8], value: &[u8]) -> Result<(), ProtocolError> {
        let name = String::from_utf8_lossy(name);
        let value = String::from_utf8_lossy(value);
        let others = self.parameters.iter().filter(|(key, _)| *key != name);
        let (count, bytes) = others.fold((0, 0), |(n, size), (key, text)| (n + 1, size + key.len() + text.len()));
        if count >= MAX_PARAMETERS || bytes + name.len() + value.len() > MAX_PARAMETER_BYTES {
            return Err(ProtocolError::unexpected(
                backend::PARAMETER_STATUS,
                "at most 1000 settings of 1 MiB together",
            ));
        }
        match self.parameters.iter_mut().find(|(key, _)| *key == name) {
            Some(entry) => entry.1 = value.into_owned(),
            None => self.parameters.push((name.into_owned(), value.into_owned())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use smallvec::SmallVec;

    use super::super::{Resend, Step};
    use super::*;

    fn request(id: RequestId, size: usize) -> Request<()> {
        let steps = SmallVec::from_slice(&[Step::Sync]);
        Request { id, bytes: vec![0; size], steps, barrier: false, open: false, resend: Resend::Never, job: () }
    }

    #[test]
    fn sent_bytes_go_though_some_are_always_unsent() {
        let mut client = Connection::new(Limits { send_buffer: 1 << 10, ..Limits::default() });
        let mut most = 0;
        for id in 0..10_000 {
            client.submit(request(id, 100));
            client.pump();
            // The line never takes the last byte.
            client.sent(client.outgoing().len().saturating_sub(1).min(100));
            most = most.max(client.out.len());
        }
        assert!(!client.outgoing().is_empty());
        assert!(most <= 4 << 10, "{most} bytes");
    }

    #[test]
    fn a_huge_request_leaves_no_huge_buffer() {
        let mut client = Connection::new(Limits { send_buffer: 1 << 10, ..Limits::default() });
        client.submit(request(0, 1 << 20));
        for id in 1..100 {
            client.submit(request(id, 100));
        }
        client.pump();
        while client.outgoing().len() > 100 {
            client.sent(100);
            client.pump();
            assert!(client.out.len() <= (1 << 20) + (1 << 10));
        }
        assert!(client.out.capacity() <= 8 << 10, "{} bytes", client.out.capacity());
    }
}
