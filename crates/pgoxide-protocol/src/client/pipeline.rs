//! Requests from their acceptance to their last reply.
//!
//! ```text
//!   submit ──▶ queued ──pump──▶ flying ──ReadyForQuery──▶ finished
//!                │                │ ▲
//!                │   57014 meant  │ │ pump, before what is queued
//!                │ for a neighbour└▶again
//!                │                   │
//!                └──cancel──▶ dropped◀┘
//! ```
//!
//! Each request ends with a Sync of its own, so an error fails only that request (protocol chapter,
//! "Pipelining"). A barrier travels alone: COPY, open portals, scripts and what a caller isolates. What may follow a reset of
//! the session, `gate.rs` says; a reset is written when nothing is in flight, before all that waits.
//!
//! Requests run in the order of `submit`, with one exception. One that a cancel meant for its neighbour hit is sent
//! again behind those that had been written with it, since these cannot be called back. That is done only while all of
//! them are single statements that end with their own Sync and change nothing but rows: behind a BEGIN it would run
//! inside that transaction and be lost with it, behind a SET under other settings.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::block::{Block, Standing};
use super::cancel::{CancelDelivered, CancelOutcome, Window};
use super::gate::Gate;
use super::queue::Queue;
use crate::codes::TransactionStatus;

/// Chosen by whoever submits; unique among a connection's unfinished requests.
pub type RequestId = u64;

/// What a request costs beside its bytes while it is held; keeps a flood of tiny requests bounded.
const OVERHEAD: usize = 256;

/// One reply the server owes, in the order of the messages written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// ParseComplete.
    Parse,
    /// ParameterDescription, then RowDescription or NoData.
    DescribeStatement,
    /// RowDescription or NoData.
    DescribePortal,
    /// BindComplete.
    Bind,
    /// Rows, then CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute,
    /// CloseComplete.
    Close,
    /// Any number of results of the simple protocol.
    Query,
    /// ParseComplete of a command of the transaction; see [`Commands`](super::Commands).
    CommandParse,
    /// Its BindComplete.
    CommandBind,
    /// Its CommandComplete.
    CommandExecute,
    /// CommandComplete of a command that opens a level of the transaction block.
    Open,
    /// RowDescription or NoData of the unnamed portal: the transaction is open.
    Guard,
    /// CommandComplete of a query without rows that fails unless what follows in the request may run.
    Check,
    /// RowDescription or NoData of a portal that proves that the session has been reset: see [`Connection::submit_reset`](super::Connection::submit_reset).
    Proof,
    /// ReadyForQuery: the end of a request.
    Sync,
}

/// Whether a request that another's cancel hit may be written a second time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resend {
    /// No: it may have had effects the server did not roll back. It may also change what a request means that was hit
    /// before it (BEGIN, SET): none is sent again behind it.
    Never,
    /// No; but it changes nothing but rows, so others may be sent again behind it.
    Passive,
    /// Once: one statement, which the server rolled back.
    Once(Prefix),
    /// As often as it is hit, whatever was written behind it: it has no effects (Parse and Describe).
    Always(Prefix),
}

/// What goes in front of a request when it is written again: it undoes what is left of the first attempt (Close of a
/// statement that it may have parsed), or does anew what the first attempt undid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// Encoded frontend messages.
    pub bytes: Vec<u8>,
    /// Replies they provoke.
    pub steps: SmallVec<[Step; 2]>,
}

/// A request ready to be written: its bytes, the replies they provoke, and what the caller ties to it.
#[derive(Debug)]
pub struct Request<J> {
    /// The caller's number for it.
    pub id: RequestId,
    /// Encoded frontend messages.
    pub bytes: Vec<u8>,
    /// Replies expected, the last one [`Step::Sync`] unless `open`.
    pub steps: SmallVec<[Step; 6]>,
    /// Nothing is written behind it before it has finished, and it waits for all before it.
    pub barrier: bool,
    /// Its Sync is withheld: the owner appends to it with [`extend`](super::Connection::extend).
    pub open: bool,
    /// May it run again?
    pub resend: Resend,
    /// The caller's own.
    pub job: J,
}

/// How often a request has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// At most once.
    First,
    /// A neighbour's cancel hit it: after its ReadyForQuery it is to be written again.
    Hit,
    /// What led it in failed, so the server skipped it: after its ReadyForQuery it is to be written as if it never had been.
    Skipped,
    /// It has been written again.
    Again,
}

/// An unfinished request.
#[derive(Debug)]
pub(super) struct Flight<J> {
    pub(super) request: Request<J>,
    pub(super) standing: Standing,
    /// The command that ends its level has been completed.
    pub(super) ended: bool,
    /// Nobody waits for its answer.
    pub(super) abandoned: bool,
    /// Cancelled while it ran, when another's CancelRequest was outstanding: its own is due after that.
    cancel_due: bool,
    attempt: Attempt,
    /// It resets the session.
    pub(super) resets: bool,
}

impl<J> Flight<J> {
    fn new(request: Request<J>, standing: Standing, resets: bool) -> Self {
        let attempt = Attempt::First;
        Self { request, standing, ended: false, abandoned: false, cancel_due: false, attempt, resets }
    }

    /// It may be written behind a reset: its messages are those of the extended protocol, and it ends with its own Sync.
    fn may_be_led_in(&self) -> bool {
        !self.request.barrier && !self.request.open && !matches!(self.standing, Standing::Undoes(_))
    }
}

/// The queue and the flight, oldest first.
#[derive(Debug)]
pub(super) struct Pipeline<J> {
    queued: Queue<Flight<J>>,
    /// What was hit and waits to be written again.
    again: Queue<Flight<J>>,
    /// A reset, and what proves it, that waits until nothing is in flight.
    reset: Option<(Flight<J>, Option<Prefix>)>,
    pub(super) gate: Gate,
    pub(super) flying: Queue<Flight<J>>,
    pub(super) expected: VecDeque<Step>,
    pub(super) window: Option<Window>,
    pub(super) block: Block,
    /// Flights with places below this were written when a window opened: its signal may hit them, and they may say so
    /// long after it closed, since the server is ahead of what has been read.
    exposed: u64,
    held: usize,
    /// Unfinished requests that do not stand apart from the transaction block.
    inside: usize,
}

impl<J> Pipeline<J> {
    pub(super) const fn new() -> Self {
        Self {
            queued: Queue::new(),
            again: Queue::new(),
            reset: None,
            gate: Gate::Open,
            flying: Queue::new(),
            expected: VecDeque::new(),
            window: None,
            block: Block::new(),
            exposed: 0,
            held: 0,
            inside: 0,
        }
    }

    /// Bytes of all unfinished requests, bookkeeping included.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    pub(super) fn unfinished(&self) -> usize {
        usize::from(self.reset.is_some()) + self.queued.len() + self.again.len() + self.flying.len()
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &J> {
        let all = self.flying.iter().chain(self.again.iter()).chain(self.queued.iter()).map(|(_, flight)| flight);
        let reset = self.reset.iter().map(|(flight, _)| flight);
        reset.chain(all).map(|flight| &flight.request.job)
    }

    pub(super) fn job(&mut self, id: RequestId) -> Option<&mut J> {
        let waiting = self.again.get_mut(id).or_else(|| self.queued.get_mut(id));
        self.flying.get_mut(id).or(waiting).map(|flight| &mut flight.request.job)
    }

    pub(super) fn submit(&mut self, request: Request<J>, standing: Standing) {
        self.held += cost(&request);
        self.inside += usize::from(standing != Standing::Outside);
        self.queued.push_back(request.id, Flight::new(request, standing, false));
    }

    /// The next thing to be written when nothing is in flight. `proof`: what one request may follow it behind, if any may.
    pub(super) fn submit_reset(&mut self, request: Request<J>, proof: Option<Prefix>) {
        self.held += cost(&request);
        self.reset = Some((Flight::new(request, Standing::Outside, true), proof));
    }

    pub(super) fn may_follow_reset(&self) -> bool {
        self.reset.as_ref().map_or_else(|| self.gate.is_ajar(), |(_, proof)| proof.is_some())
    }

    /// Requests inside the block that have not finished.
    pub(super) const fn has_inside(&self) -> bool {
        self.inside > 0
    }

    /// Those that wait to be written inside a transaction that is over or has been left.
    pub(super) fn take_stranded(&mut self) -> Vec<(RequestId, J)> {
        if self.inside == 0 || !self.block.may_strand() {
            return Vec::new();
        }
        let inside = |flight: &Flight<J>| flight.standing.level().is_some_and(|level| self.block.is_over(level));
        let ids: Vec<RequestId> =
            self.queued.iter().filter(|(_, flight)| inside(flight)).map(|(_, flight)| flight.request.id).collect();
        let taken = ids.into_iter().filter_map(|id| self.queued.remove(id));
        let jobs: Vec<Flight<J>> = taken.collect();
        self.held -= jobs.iter().map(|flight| cost(&flight.request)).sum::<usize>();
        self.inside -= jobs.len();
        jobs.into_iter().map(|flight| (flight.request.id, flight.request.job)).collect()
    }

    /// Writes what may be written now behind what is in flight. `room` bounds the bytes not yet sent.
    pub(super) fn pump(&mut self, out: &mut Vec<u8>, room: usize, status: TransactionStatus) {
        // Behind a head that is to be written again only what was there when that was decided.
        if self.window.is_some() || self.head_goes_again() {
            return;
        }
        if self.reset.is_some() {
            if !self.flying.is_empty() {
                return;
            }
            self.write_reset(out, status);
        }
        loop {
            let waiting = if self.again.is_empty() { &mut self.queued } else { &mut self.again };
            let Some(next) = waiting.front() else { return };
            let blocked = if self.gate.is_open() {
                self.flying.back().is_some_and(|last| last.request.barrier || next.request.barrier)
            } else {
                !self.gate.is_ajar() || !next.may_be_led_in()
            };
            let torn = next.standing.level().is_some_and(|level| self.block.is_torn() || self.block.is_over(level));
            if blocked || torn || (!out.is_empty() && out.len() + next.request.bytes.len() > room) {
                return;
            }
            if let Some(flight) = waiting.pop_front() {
                self.write(flight, out, status);
            }
        }
    }

    fn write_reset(&mut self, out: &mut Vec<u8>, status: TransactionStatus) {
        if let Some((flight, proof)) = self.reset.take() {
            self.gate = Gate::Open;
            self.write(flight, out, status);
            self.gate = Gate::behind(proof);
        }
    }

    fn write(&mut self, mut flight: Flight<J>, out: &mut Vec<u8>, status: TransactionStatus) {
        if let Some(proof) = self.gate.pass() {
            out.extend_from_slice(&proof.bytes);
            self.expected.extend(proof.steps);
        }
        if flight.attempt == Attempt::Skipped {
            flight.attempt = Attempt::First;
        }
        if flight.attempt == Attempt::Hit
            && let Resend::Once(prefix) | Resend::Always(prefix) = &flight.request.resend
        {
            out.extend_from_slice(&prefix.bytes);
            self.expected.extend(prefix.steps.iter().copied());
            flight.attempt = Attempt::Again;
        }
        match flight.standing {
            Standing::Outside => {}
            Standing::Inside(level) | Standing::Ends(level) => {
                if self.block.lead_in(level, flight.request.barrier, out, &mut self.expected) {
                    // Nothing that was hit may be sent again behind it, nor may it be without what opens its level.
                    flight.request.resend = Resend::Never;
                }
            }
            Standing::Undoes(level) => self.block.undo(level, status, out, &mut self.expected),
        }
        out.extend_from_slice(&flight.request.bytes);
        self.expected.extend(flight.request.steps.iter().copied());
        self.flying.push_back(flight.request.id, flight);
    }

    /// The head has its ReadyForQuery. None when it is to be written again.
    pub(super) fn finish(&mut self, status: TransactionStatus) -> Option<Flight<J>> {
        let flight = self.flying.pop_front()?;
        let id = flight.request.id;
        if let Some(window) = self.window.as_mut().filter(|window| window.target == id) {
            window.target_done = true;
            self.close_window();
        }
        if flight.resets {
            self.gate.reset_answered(!self.flying.is_empty());
        }
        if matches!(flight.attempt, Attempt::Hit | Attempt::Skipped) {
            self.again.push_back(id, flight);
            return None;
        }
        self.end_levels(&flight, status);
        self.inside -= usize::from(flight.standing != Standing::Outside);
        self.held -= cost(&flight.request);
        Some(flight)
    }

    /// What becomes of the block when `flight` has been answered.
    fn end_levels(&mut self, flight: &Flight<J>, status: TransactionStatus) {
        let idle = status == TransactionStatus::Idle;
        match flight.standing {
            Standing::Ends(level) if flight.ended || idle => self.block.remove(level),
            Standing::Undoes(level) => self.block.remove(level),
            _ if idle => self.block.lost(),
            _ => {}
        }
    }

    // ---- cancelling --------------------------------------------------------------------------------------------

    pub(super) fn cancel(&mut self, id: RequestId) -> CancelOutcome<J> {
        if let Some(flight) = self.again.remove(id).or_else(|| self.queued.remove(id)) {
            self.held -= cost(&flight.request);
            self.inside -= usize::from(flight.standing != Standing::Outside);
            return CancelOutcome::Dropped(flight.request.job);
        }
        let runs = self.flying.front_id() == Some(id);
        let Some(flight) = self.flying.get_mut(id) else { return CancelOutcome::Unknown };
        if std::mem::replace(&mut flight.abandoned, true) {
            return CancelOutcome::Unknown;
        }
        if matches!(flight.attempt, Attempt::Hit | Attempt::Skipped) {
            // It has failed already: all that is wanted is that it does not run again.
            flight.attempt = Attempt::First;
            return CancelOutcome::Discarding;
        }
        if runs && self.window.is_none() {
            self.open_window(id);
            return CancelOutcome::Running;
        }
        flight.cancel_due = runs;
        CancelOutcome::Discarding
    }

    /// The side connection reached its end.
    pub(super) fn cancel_delivered(&mut self, id: RequestId) -> CancelDelivered {
        let Some(window) = self.window.as_mut().filter(|window| window.target == id) else {
            return CancelDelivered::Closed;
        };
        window.delivered = true;
        self.close_window();
        if self.window.is_some() {
            return CancelDelivered::StillRunning;
        }
        match self.flying.front().filter(|head| head.cancel_due).map(|head| head.request.id) {
            Some(next) => {
                self.open_window(next);
                CancelDelivered::Next(next)
            }
            None => CancelDelivered::Closed,
        }
    }

    /// A further CancelRequest for the target of the window is on its way. False when it has ended.
    pub(super) fn cancel_again(&mut self, id: RequestId) -> bool {
        let Some(window) = self.window.as_mut().filter(|window| window.target == id && !window.target_done) else {
            return false;
        };
        window.delivered = false;
        true
    }

    /// A CancelRequest for the head is on its way.
    fn open_window(&mut self, target: RequestId) {
        self.exposed = self.flying.end();
        self.window = Some(Window::new(target));
    }

    fn close_window(&mut self) {
        if self.window.as_ref().is_some_and(Window::is_over) {
            self.window = None;
        }
    }

    /// Whether a cancel meant for another may have hit the head.
    pub(super) fn head_is_exposed(&self) -> bool {
        self.flying.front_place().is_some_and(|place| place < self.exposed)
            && self.flying.front().is_some_and(|head| !head.abandoned)
    }

    /// The head was hit, outside a transaction: it is written again if that changes nothing for anybody.
    pub(super) fn write_again(&mut self) {
        let orderless = Self::orderless(self.flying.iter().skip(1));
        if let Some(head) = self.flying.front_mut()
            && match head.request.resend {
                Resend::Never | Resend::Passive => false,
                Resend::Once(_) => orderless && head.attempt == Attempt::First,
                Resend::Always(_) => true,
            }
        {
            head.attempt = Attempt::Hit;
        }
    }

    /// What the head asks may be asked once more behind all that is here, without a change of meaning for anybody.
    pub(super) fn head_may_come_last(&self) -> bool {
        let inert = self.flying.front().is_some_and(|head| head.request.resend != Resend::Never);
        let behind = || self.flying.iter().skip(1).chain(self.again.iter()).chain(self.queued.iter());
        (inert && Self::orderless(behind())) || behind().next().is_none()
    }

    /// All that is unfinished changes nothing but rows: it neither opens a transaction nor changes a setting.
    pub(super) fn is_orderless(&self) -> bool {
        Self::orderless(self.flying.iter().chain(self.again.iter()).chain(self.queued.iter()))
    }

    fn orderless<'a>(mut flights: impl Iterator<Item = (u64, &'a Flight<J>)>) -> bool
    where
        J: 'a,
    {
        flights.all(|(_, flight)| flight.request.resend != Resend::Never)
    }

    pub(super) fn head_goes_again(&self) -> bool {
        self.flying.front().is_some_and(|head| matches!(head.attempt, Attempt::Hit | Attempt::Skipped))
    }

    /// What led the head in failed. Unless nobody waits for it, it is written again once the gate is open.
    pub(super) fn head_skipped(&mut self) {
        self.gate.proof_answered();
        if let Some(head) = self.flying.front_mut().filter(|head| !head.abandoned) {
            head.attempt = Attempt::Skipped;
        }
    }

    /// The head was refused; one that resets the session shuts the gate.
    pub(super) fn head_refused(&mut self) {
        if self.flying.front().is_some_and(|head| head.resets) {
            self.gate.shut();
        }
    }

    // ---- the end, and open requests ----------------------------------------------------------------------------

    /// Everything unfinished, in order, for a connection that is gone.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Flight<J>> + use<J> {
        self.held = 0;
        self.inside = 0;
        self.window = None;
        self.expected.clear();
        // COMMIT has been answered: only ReadyForQuery is missing.
        if let Some(Standing::Ends(level)) = self.flying.front().filter(|head| head.ended).map(|head| head.standing) {
            self.block.remove(level);
        }
        self.gate = Gate::Open;
        let reset = self.reset.take().map(|(flight, _)| flight);
        self.flying.take_all().chain(reset).chain(self.again.take_all()).chain(self.queued.take_all())
    }

    /// Appends messages to the open head.
    pub(super) fn extend(&mut self, id: RequestId, steps: &[Step]) -> bool {
        match self.flying.front_mut() {
            Some(head) if head.request.id == id && head.request.open => {
                if steps.last() == Some(&Step::Sync) {
                    head.request.open = false;
                }
                self.expected.extend(steps.iter().copied());
                true
            }
            _ => false,
        }
    }
}

/// What a request counts while it is unfinished.
const fn cost<J>(request: &Request<J>) -> usize {
    request.bytes.len() + OVERHEAD
}
