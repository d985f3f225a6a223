//! The pool's queue: calls and users that wait, first come first served, and how long they may.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgoxide_protocol::client::Queue as Places;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::{KeptAsked, Rules};
use crate::arguments::weight;
use crate::awaitable::Awaitable;
use crate::job::Verb;
use crate::known::Known;

/// What a queued call counts beside its arguments.
const COST: usize = 1_024;

/// The timer is not set for less: limits in the queue are this coarse.
const TICK: Duration = Duration::from_millis(10);

/// Powers of two of microseconds that waits are counted by: the last one is above two minutes.
pub(super) const BUCKETS: usize = 28;

/// One statement that any connection may run.
pub(super) struct RoutedCall {
    pub(super) verb: Verb,
    pub(super) asked: KeptAsked,
    pub(super) known: Arc<Known>,
}

/// What somebody waits for.
pub(super) enum Wanted {
    Call(Box<RoutedCall>),
    /// A connection of their own.
    Connection,
}

/// Somebody who waits.
pub(super) struct Waiting {
    pub(super) wanted: Wanted,
    pub(super) reply: Py<Awaitable>,
    since: Instant,
    /// When waiting has taken too long.
    due: Option<Instant>,
    /// When a call must have its answer, and the seconds that its caller gave.
    pub(super) until: Option<(Instant, f64)>,
    cost: usize,
}

impl Waiting {
    pub(super) fn call(py: Python<'_>, call: RoutedCall, reply: Py<Awaitable>, rules: &Rules) -> Self {
        let since = Instant::now();
        let limit = call.asked.timeout.or(rules.command_timeout);
        let until = limit.and_then(|limit| Some((after(since, limit)?, limit)));
        let patience = rules.acquire_timeout.and_then(|limit| after(since, limit));
        let due = until.map(|(at, _)| at).into_iter().chain(patience).min();
        let cost = COST + weight(call.asked.arguments.bind(py));
        Self { wanted: Wanted::Call(Box::new(call)), reply, since, due, until, cost }
    }

    pub(super) fn connection(reply: Py<Awaitable>, timeout: Option<f64>) -> Self {
        let since = Instant::now();
        let due = timeout.and_then(|limit| after(since, limit));
        Self { wanted: Wanted::Connection, reply, since, due, until: None, cost: COST }
    }

    pub(super) fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.reply)?;
        match &self.wanted {
            Wanted::Call(call) => call.asked.visit(visit),
            Wanted::Connection => Ok(()),
        }
    }
}

/// So many seconds later; None for never.
fn after(start: Instant, seconds: f64) -> Option<Instant> {
    Duration::try_from_secs_f64(seconds).ok().and_then(|wait| start.checked_add(wait))
}

/// Those who wait, oldest first.
pub(super) struct Queue {
    places: Places<Waiting>,
    cost: usize,
    connections: usize,
    /// Who has just come, and is served at once if it is served now.
    arriving: Option<u64>,
    /// When the timer is to ring, if it is set.
    ring: Option<Instant>,
    pub(super) at_once: u64,
    pub(super) waits: [u64; BUCKETS],
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            places: Places::new(),
            cost: 0,
            connections: 0,
            arriving: None,
            ring: None,
            at_once: 0,
            waits: [0; BUCKETS],
        }
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// About how many bytes what waits keeps.
    pub(super) const fn cost(&self) -> usize {
        self.cost
    }

    /// How many wait for a connection of their own.
    pub(super) const fn connections(&self) -> usize {
        self.connections
    }

    pub(super) fn front(&self) -> Option<&Waiting> {
        self.places.front()
    }

    /// Adds to the end. Seconds when the timer is to be set anew.
    pub(super) fn push(&mut self, place: u64, waiting: Waiting) -> Option<f64> {
        let due = waiting.due;
        self.cost += waiting.cost;
        self.connections += usize::from(matches!(waiting.wanted, Wanted::Connection));
        self.places.push_back(place, waiting);
        self.arriving = Some(place);
        let due = due?;
        if self.ring.is_some_and(|ring| ring <= due) {
            return None;
        }
        self.ring = Some(due);
        Some(due.saturating_duration_since(Instant::now()).as_secs_f64())
    }

    /// Who came last has not been served at once: it waits.
    pub(super) fn arrived(&mut self) {
        self.arriving = None;
    }

    /// Takes the oldest out: it is served.
    pub(super) fn serve(&mut self) -> Option<Waiting> {
        let at_once = self.arriving.is_some() && self.places.front_id() == self.arriving;
        let waiting = self.places.pop_front()?;
        self.gone(&waiting);
        if at_once {
            self.at_once += 1;
            return Some(waiting);
        }
        let microseconds = u64::try_from(waiting.waited().as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - microseconds.leading_zeros()) as usize;
        self.waits[bucket.min(BUCKETS - 1)] += 1;
        Some(waiting)
    }

    pub(super) fn remove(&mut self, place: u64) -> Option<Waiting> {
        let waiting = self.places.remove(place)?;
        self.gone(&waiting);
        Some(waiting)
    }

    fn gone(&mut self, waiting: &Waiting) {
        self.cost -= waiting.cost;
        self.connections -= usize::from(matches!(waiting.wanted, Wanted::Connection));
    }

    pub(super) fn take_all(&mut self) -> Vec<Waiting> {
        (self.cost, self.connections) = (0, 0);
        self.places.take_all().collect()
    }

    /// Takes out who has waited too long; seconds until the timer is to ring again, if it is.
    pub(super) fn take_late(&mut self) -> (Vec<Waiting>, Option<f64>) {
        let now = Instant::now();
        // A limit that ends within a tick is over now: the timer does not ring more often than that.
        let late: Vec<u64> = self
            .places
            .iter_with_ids()
            .filter(|(_, waiting)| waiting.due.is_some_and(|due| due <= now))
            .map(|(place, _)| place)
            .collect();
        let late = late.into_iter().filter_map(|place| self.remove(place)).collect();
        let next = self.places.iter().filter_map(|(_, waiting)| waiting.due).min();
        self.ring = next.map(|next| next.max(now + TICK));
        (late, self.ring.map(|ring| ring.saturating_duration_since(now).as_secs_f64()))
    }

    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.places.iter().try_for_each(|(_, waiting)| waiting.visit(visit))
    }
}
