//! Requests from their acceptance to their last reply.
//!
//! ```text
//!   submit ──▶ queued ──pump──▶ flying ──ReadyForQuery──▶ finished
//!                │                 └──57014 meant for a neighbour──▶ queued again, at the front, once
//!                └──cancel──▶ dropped
//! ```
//!
//! Each request ends with a Sync of its own, so an error fails only that request (protocol chapter,
//! "Pipelining"). A barrier travels alone: COPY, open portals, scripts and what a caller isolates.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::cancel::{CancelOutcome, Window};

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
    /// ReadyForQuery: the end of a request.
    Sync,
}

/// Whether a request that another's cancel hit may run a second time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resend {
    /// It may have had effects the server did not roll back: fail it.
    Never,
    /// As `Never`, and it may open a transaction: what was written before it is not run again behind it, which
    /// would make it part of that transaction.
    Opens,
    /// One statement the server rolled back. The bytes are written in front of it (a Close of the statement a
    /// first attempt may have parsed), and answer with that many CloseComplete.
    Once {
        /// Bytes to write first.
        prefix: Vec<u8>,
        /// How many Close messages they hold.
        closes: usize,
    },
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

/// A request the server has been asked to run.
#[derive(Debug)]
pub(super) struct Flight<J> {
    pub(super) request: Request<J>,
    pub(super) abandoned: bool,
    /// In flight while a cancel meant for another was outstanding.
    pub(super) exposed: bool,
    pub(super) resend_now: bool,
}

/// The queue and the flight, oldest first.
#[derive(Debug)]
pub(super) struct Pipeline<J> {
    pub(super) queued: VecDeque<Flight<J>>,
    pub(super) flying: VecDeque<Flight<J>>,
    pub(super) expected: VecDeque<Step>,
    pub(super) window: Option<Window>,
    held: usize,
}

impl<J> Pipeline<J> {
    pub(super) const fn new() -> Self {
        Self { queued: VecDeque::new(), flying: VecDeque::new(), expected: VecDeque::new(), window: None, held: 0 }
    }

    /// Bytes of all unfinished requests, bookkeeping included.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    pub(super) fn submit(&mut self, request: Request<J>) {
        self.held += request.bytes.len() + OVERHEAD;
        self.queued.push_back(Flight { request, abandoned: false, exposed: false, resend_now: false });
    }

    /// Writes what may be written now behind what is in flight. `room` bounds the bytes not yet sent.
    pub(super) fn pump(&mut self, out: &mut Vec<u8>, room: usize) {
        if self.window.is_some() {
            return;
        }
        while let Some(next) = self.queued.front() {
            let blocked = self.flying.back().is_some_and(|last| last.request.barrier || next.request.barrier);
            if blocked || (!out.is_empty() && out.len() + next.request.bytes.len() > room) {
                return;
            }
            if let Some(mut flight) = self.queued.pop_front() {
                self.write(&mut flight, out);
                self.flying.push_back(flight);
            }
        }
    }

    fn write(&mut self, flight: &mut Flight<J>, out: &mut Vec<u8>) {
        if std::mem::take(&mut flight.resend_now)
            && let Resend::Once { prefix, closes } = std::mem::replace(&mut flight.request.resend, Resend::Never)
        {
            out.extend_from_slice(&prefix);
            self.expected.extend(std::iter::repeat_n(Step::Close, closes));
        }
        out.extend_from_slice(&flight.request.bytes);
        self.expected.extend(flight.request.steps.iter().copied());
    }

    /// The head has its ReadyForQuery.
    pub(super) fn finish(&mut self) -> Option<Flight<J>> {
        let flight = self.flying.pop_front()?;
        if let Some(window) = &mut self.window
            && window.target == flight.request.id
        {
            window.target_done = true;
        }
        self.close_window();
        if flight.resend_now {
            self.queued.push_front(flight);
            return None;
        }
        self.held -= flight.request.bytes.len() + OVERHEAD;
        Some(flight)
    }

    pub(super) fn cancel(&mut self, id: RequestId) -> CancelOutcome<J> {
        let queued = self.queued.iter().position(|flight| flight.request.id == id);
        if let Some(flight) = queued.and_then(|at| self.queued.remove(at)) {
            self.held -= flight.request.bytes.len() + OVERHEAD;
            return CancelOutcome::Dropped(flight.request.job);
        }
        let Some(at) = self.flying.iter().position(|flight| flight.request.id == id) else {
            return CancelOutcome::Unknown;
        };
        let flight = &mut self.flying[at];
        if std::mem::replace(&mut flight.abandoned, true) {
            return CancelOutcome::Unknown;
        }
        if at > 0 || self.window.is_some() {
            return CancelOutcome::Discarding;
        }
        self.window = Some(Window::new(id));
        for neighbour in self.flying.iter_mut().skip(1) {
            neighbour.exposed = true;
        }
        CancelOutcome::Running
    }

    /// The side connection reached its end. True while the target still runs, so that the caller may try again.
    pub(super) fn cancel_delivered(&mut self, id: RequestId) -> bool {
        let Some(window) = self.window.as_mut().filter(|window| window.target == id) else { return false };
        window.delivered = true;
        self.close_window();
        self.window.is_some()
    }

    fn close_window(&mut self) {
        if self.window.as_ref().is_some_and(Window::is_over) {
            self.window = None;
        }
    }

    /// Everything unfinished, in order, for a connection that is gone.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Flight<J>> + use<J> {
        self.held = 0;
        self.window = None;
        self.expected.clear();
        std::mem::take(&mut self.flying).into_iter().chain(std::mem::take(&mut self.queued))
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
