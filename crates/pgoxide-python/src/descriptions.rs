//! How the statements of a pool's connections were described, so that the first use of one on a further connection need not
//! wait for its description.
//!
//! ```text
//!   a connection describes ──▶ lent to the others ──a connection finds it stale──▶ withdrawn: those who have it describe anew
//!                                   ▲                                                       │
//!                                   └──────────────── the next one that describes ──────────┘
//! ```
//!
//! What is lent is a guess: another session may have another search_path, temporary table or role, and DDL may have come in
//! between. `session/borrowing.rs` has the server compare it with what the session itself makes of the statement before
//! anything runs. Nothing here holds a Python object.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use pyo3::prelude::*;

use crate::plan::Described;
use crate::sync::lock;

/// Connections that disagree so often about a statement will go on: each looks for itself from then on.
const MOST_CHANGES: u32 = 8;

/// The types of a statement's parameters and columns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) parameters: Box<[u32]>,
    /// `None`: it returns no rows.
    pub(crate) columns: Option<Box<[u32]>>,
}

impl Shape {
    fn of(described: &Described) -> Self {
        let columns = described.plan.as_ref().map(|plan| plan.columns.iter().map(|column| column.type_oid).collect());
        Self { parameters: described.parameter_oids.clone(), columns }
    }
}

#[derive(Default)]
struct Inner {
    /// As it was described last.
    shape: Option<Arc<Shape>>,
    /// It has been found stale since.
    stale: bool,
    /// What a connection was misled by.
    doubted: Option<Arc<Shape>>,
    /// What the server compares is not what it describes, as with columns of domains: it is not lent.
    incomparable: bool,
    /// How often it was described otherwise than before.
    changes: u32,
    /// The descriptions of the connections that have it.
    holders: Vec<Weak<Described>>,
}

impl Inner {
    /// Whoever has it describes it anew before they use it again.
    fn tell(&mut self) {
        self.stale = true;
        for holder in self.holders.drain(..) {
            if let Some(described) = holder.upgrade() {
                described.set_outdated();
            }
        }
    }

    const fn is_settled(&self) -> bool {
        self.changes < MOST_CHANGES
    }
}

/// One statement, as the connections of a pool described it.
#[derive(Default)]
pub(crate) struct Common(Mutex<Inner>);

impl Common {
    /// A connection has described it.
    pub(crate) fn describe(&self, described: &Arc<Described>) {
        let shape = Shape::of(described);
        let mut inner = lock(&self.0);
        inner.incomparable |= inner.doubted.take().is_some_and(|doubted| *doubted == shape);
        if inner.shape.as_ref().is_some_and(|known| **known != shape) {
            inner.changes = inner.changes.saturating_add(1);
            if inner.is_settled() {
                inner.tell();
            }
        }
        inner.holders.retain(|holder| holder.strong_count() > 0);
        inner.holders.push(Arc::downgrade(described));
        if inner.shape.as_ref().is_none_or(|known| **known != shape) {
            inner.shape = Some(Arc::new(shape));
        }
        inner.stale = false;
    }

    /// A connection found that it is no longer what it was.
    pub(crate) fn withdraw(&self) {
        let mut inner = lock(&self.0);
        if inner.is_settled() {
            inner.tell();
        }
    }

    /// A connection's check of `shape` came out otherwise: it describes the statement next.
    pub(crate) fn doubt(&self, shape: &Arc<Shape>) {
        lock(&self.0).doubted = Some(Arc::clone(shape));
    }

    /// What it is likely to be.
    pub(crate) fn lend(&self) -> Option<Arc<Shape>> {
        let inner = lock(&self.0);
        inner.shape.as_ref().filter(|_| !inner.stale && !inner.incomparable && inner.is_settled()).map(Arc::clone)
    }
}

struct Entry {
    common: Arc<Common>,
    used: u64,
}

#[derive(Default)]
struct Entries {
    by_text: HashMap<(Box<str>, Box<[u32]>), Entry>,
    clock: u64,
}

/// The statements of a pool.
pub(crate) struct Known {
    entries: Mutex<Entries>,
    most: usize,
    /// Its server cannot compare: it is no PostgreSQL, or statements have other names behind a pooler.
    incomparable: AtomicBool,
}

impl Known {
    /// The statement that is sent as `text` with these declared types.
    pub(crate) fn get(&self, text: &str, declared: &[u32]) -> Option<Arc<Common>> {
        if self.most == 0 {
            return None;
        }
        let mut entries = lock(&self.entries);
        entries.clock += 1;
        let clock = entries.clock;
        let key = (Box::from(text), Box::from(declared));
        if let Some(entry) = entries.by_text.get_mut(&key) {
            entry.used = clock;
            return Some(Arc::clone(&entry.common));
        }
        if entries.by_text.len() >= self.most {
            entries.make_room();
        }
        let common = Arc::<Common>::default();
        entries.by_text.insert(key, Entry { common: Arc::clone(&common), used: clock });
        Some(common)
    }

    pub(crate) fn is_comparable(&self) -> bool {
        !self.incomparable.load(Ordering::Relaxed)
    }

    pub(crate) fn set_incomparable(&self) {
        self.incomparable.store(true, Ordering::Relaxed);
    }
}

impl Entries {
    /// Forgets the quarter that was not asked for longest.
    #[cold]
    fn make_room(&mut self) {
        let mut used: Vec<u64> = self.by_text.values().map(|entry| entry.used).collect();
        let place = used.len() / 4;
        let (_, oldest, _) = used.select_nth_unstable(place);
        let oldest = *oldest;
        self.by_text.retain(|_, entry| entry.used > oldest);
    }
}

/// What the connections of a pool know together of how their statements are described.
#[pyclass(frozen, module = "pgoxide._core")]
pub(crate) struct Descriptions(pub(crate) Arc<Known>);

#[pymethods]
impl Descriptions {
    #[new]
    fn new(most: usize) -> Self {
        Self(Arc::new(Known { entries: Mutex::default(), most, incomparable: AtomicBool::new(false) }))
    }

    /// How many statements are known.
    fn __len__(&self) -> usize {
        lock(&self.0.entries).by_text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(most: usize) -> Arc<Known> {
        Descriptions::new(most).0
    }

    #[test]
    fn so_many_are_remembered_those_that_were_asked_for_last() {
        let known = known(8);
        let place = |text: &str, declared: &[u32]| known.get(text, declared).map(|common| Arc::as_ptr(&common));
        let first = known.get("0", &[]);
        let kept = first.as_ref().map(Arc::as_ptr);
        for n in 1..100 {
            assert!(place(&n.to_string(), &[]).is_some());
            // What is in use stays.
            assert_eq!(place("0", &[]), kept);
            assert!(lock(&known.entries).by_text.len() <= 8);
        }
        assert_ne!(place("0", &[23]), kept);
    }

    #[test]
    fn none_is_remembered_when_the_cache_is_off() {
        let known = known(0);
        assert!(known.get("select 1", &[]).is_none());
        assert!(lock(&known.entries).by_text.is_empty());
    }
}
