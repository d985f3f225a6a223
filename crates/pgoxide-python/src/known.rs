//! What the connections of a pool know together of the statements they run: whether one may be routed, and whether its
//! runs are short enough for others to travel behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use pgoxide_sqltext::{Command, Keeps};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::call::NamedSource;
use crate::named::{NamedText, NamedTexts};
use crate::prepared::key;
use crate::session::Session;

/// A run that took longer is a long one: nothing is written behind it.
pub(crate) const LONG: Duration = Duration::from_millis(5);

/// Short runs count one, up to this many; a long one takes half of them and one more away.
const TRUSTED: u8 = 16;

/// Longer texts with named parameters are rewritten each time.
const LONGEST: usize = 16_384;

/// One statement, as all connections of a pool know it.
pub(crate) struct Known {
    command: Command,
    /// What it would leave behind in its session, so that it cannot be routed.
    pub(crate) keeps: Option<Keeps>,
    /// How short its runs were lately; 0: unknown, or long.
    trust: AtomicU8,
}

impl Known {
    fn new(sql: &str) -> Self {
        Self { command: pgoxide_sqltext::command(sql), keeps: pgoxide_sqltext::keeps(sql), trust: AtomicU8::new(0) }
    }

    /// Its runs are short, as far as is known.
    pub(crate) fn is_short(&self) -> bool {
        // COPY is alone on its connection: what is written behind it waits for it.
        self.trust.load(Ordering::Relaxed) > 0 && self.command != Command::Copy
    }

    /// A run took so long.
    pub(crate) fn took(&self, time: Duration) {
        let trust = self.trust.load(Ordering::Relaxed);
        let next = if time < LONG { (trust + 1).min(TRUSTED) } else { (trust / 2).saturating_sub(1) };
        if next != trust {
            self.trust.store(next, Ordering::Relaxed);
        }
    }
}

/// As Python's dictionary holds it.
#[pyclass(frozen, module = "pgoxide._core")]
struct Entry(Arc<Known>);

/// The statements of one pool, by text and declared types.
pub(crate) struct KnownStatements {
    by_sql: Py<PyDict>,
    /// About so many are remembered.
    most: AtomicUsize,
    named: NamedTexts,
    /// `standard_conforming_strings` of its connections.
    conforms: AtomicBool,
}

impl KnownStatements {
    pub(crate) fn new(py: Python<'_>) -> Self {
        const MOST: usize = 1_024;
        Self {
            by_sql: PyDict::new(py).unbind(),
            most: AtomicUsize::new(MOST),
            named: NamedTexts::new(py, MOST, LONGEST),
            conforms: AtomicBool::new(true),
        }
    }

    /// About `most` statements are remembered.
    pub(crate) fn remember(&self, most: usize) {
        self.most.store(most.max(16), Ordering::Relaxed);
    }

    /// What its connections tell of the meaning of texts.
    pub(crate) fn learn(&self, session: &Session) {
        self.conforms.store(session.conforms(), Ordering::Relaxed);
    }

    /// The statement for this text and these declared types.
    #[inline]
    pub(crate) fn get(&self, sql: &Bound<'_, PyString>, declared: &[u32], named: bool) -> PyResult<Arc<Known>> {
        let key = key(sql, declared, named)?;
        match self.by_sql.bind(sql.py()).get_item(&key)? {
            Some(entry) => Ok(Arc::clone(&entry.cast::<Entry>()?.get().0)),
            None => self.add(sql, &key),
        }
    }

    #[cold]
    fn add(&self, sql: &Bound<'_, PyString>, key: &Bound<'_, PyAny>) -> PyResult<Arc<Known>> {
        let (py, known) = (sql.py(), Arc::new(Known::new(sql.to_str()?)));
        let by_sql = self.by_sql.bind(py);
        let most = self.most.load(Ordering::Relaxed);
        if by_sql.len() >= most {
            // The oldest quarter: a dictionary keeps the order in which its items came.
            for old in by_sql.keys().iter().take(most / 4 + 1).collect::<Vec<_>>() {
                by_sql.del_item(old)?;
            }
        }
        by_sql.set_item(key, Bound::new(py, Entry(Arc::clone(&known)))?)?;
        Ok(known)
    }

    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(self.named.dictionary())?;
        visit.call(&self.by_sql)
    }
}

impl NamedSource for KnownStatements {
    fn named_text(&self, sql: &Bound<'_, PyString>) -> PyResult<Arc<NamedText>> {
        self.named.get(sql, self.conforms.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_won_by_short_runs_and_lost_by_long_ones() {
        let known = Known::new("select 1");
        assert!(!known.is_short());
        known.took(Duration::from_micros(50));
        assert!(known.is_short());
        known.took(LONG);
        assert!(!known.is_short());
        (0..100).for_each(|_| known.took(Duration::ZERO));
        // One that was long among many short ones may have waited for a lock, or for this program.
        known.took(LONG);
        assert!(known.is_short());
        (0..4).for_each(|_| known.took(LONG));
        assert!(!known.is_short());
    }
}
