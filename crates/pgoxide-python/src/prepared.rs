//! Prepared statements of one connection and their cache.
//!
//! A statement is looked up by its `str`, so a literal in the user's code is found by identity. One given up by
//! the cache is closed by a Close that rides with the next request.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use pgoxide_sqltext::Command;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::error;
use crate::plan::Described;
use crate::sync::lock;

/// How far the server knows a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// No Parse was written.
    New = 0,
    /// Parse and Describe are on their way.
    Describing = 1,
    /// It exists.
    Described = 2,
}

/// One statement on one connection.
pub(crate) struct Prepared {
    pub(crate) sql: Py<PyString>,
    pub(crate) name: Box<[u8]>,
    /// Parameter types the caller declared; empty when the server is to say.
    pub(crate) declared: Box<[u32]>,
    pub(crate) command: Command,
    /// Not in the cache: closed by the flight that uses it.
    pub(crate) once: bool,
    described: OnceLock<Described>,
    stage: AtomicU8,
    /// A flight with its Parse ended before the description came: the server may know the name.
    parsed: AtomicBool,
    used: AtomicU64,
    made: Instant,
}

impl Prepared {
    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::New,
            1 => Stage::Describing,
            _ => Stage::Described,
        }
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
    }

    /// Its description did not come: the next use begins anew. `parsed`: its Parse may have been done.
    pub(crate) fn undescribed(&self, parsed: bool) {
        self.parsed.fetch_or(parsed, Ordering::Relaxed);
        self.set_stage(Stage::New);
    }

    /// Must it be closed before it can be parsed?
    pub(crate) fn may_be_parsed(&self) -> bool {
        self.parsed.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn described(&self) -> Option<&Described> {
        self.described.get()
    }

    /// Its description came. A second one (a first flight sent again) changes nothing.
    pub(crate) fn set_described(&self, described: Described) {
        let _ = self.described.set(described);
        self.set_stage(Stage::Described);
    }

    /// Raises for a COPY in a call that writes something behind its statement: the server would take that for data.
    pub(crate) fn refuse_copy(&self, py: Python<'_>, verb: &str) -> PyResult<()> {
        if self.command != Command::Copy {
            return Ok(());
        }
        Err(error::interface_error(
            py,
            format!("{verb} cannot run COPY: use copy_in() for data of the client, execute() for files of the server"),
        ))
    }

    /// The text as Rust sees it.
    pub(crate) fn text<'a>(&'a self, py: Python<'a>) -> PyResult<&'a str> {
        self.sql.bind(py).to_str()
    }
}

/// A statement as Python holds it: in the cache's dictionary, and between steps that need the same one.
#[pyclass(frozen, module = "pgoxide._core", name = "Prepared")]
pub(crate) struct Entry(pub(crate) Arc<Prepared>);

/// How many statements are kept, and which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheRules {
    /// 0: none.
    pub(crate) size: usize,
    /// Longer texts are not kept.
    pub(crate) longest: usize,
    pub(crate) lifetime: Option<Duration>,
}

/// Numbers since the connection was made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CacheStats {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) evictions: u64,
}

struct Inner {
    stats: CacheStats,
    clock: u64,
    count: u64,
    /// Names to close with the next request.
    given_up: Vec<Box<[u8]>>,
}

/// The cache of one connection.
pub(crate) struct Statements {
    /// `str` or `(str, oids)` -> Entry. A Python dictionary: its look-up compares by identity first.
    by_sql: Py<PyDict>,
    rules: CacheRules,
    nonce: String,
    inner: Mutex<Inner>,
}

impl Statements {
    pub(crate) fn new(py: Python<'_>, rules: CacheRules, nonce: String) -> Self {
        Self {
            by_sql: PyDict::new(py).unbind(),
            rules,
            nonce,
            inner: Mutex::new(Inner { stats: CacheStats::default(), clock: 0, count: 0, given_up: Vec::new() }),
        }
    }

    /// The statement for this text and these declared types, from the cache or new.
    #[inline]
    pub(crate) fn get(&self, sql: &Bound<'_, PyString>, declared: &[u32]) -> PyResult<Arc<Prepared>> {
        let py = sql.py();
        let key = key(sql, declared)?;
        if let Some(entry) = self.by_sql.bind(py).get_item(&key)? {
            let known = Arc::clone(&entry.cast::<Entry>()?.get().0);
            if self.is_fresh(&known) || Self::is_used(&known) {
                let mut inner = lock(&self.inner);
                inner.clock += 1;
                inner.stats.hits += 1;
                known.used.store(inner.clock, Ordering::Relaxed);
                return Ok(known);
            }
            self.forget(py, &known)?;
            let mut inner = lock(&self.inner);
            inner.stats.evictions += 1;
            inner.given_up.push(known.name.clone());
        }
        self.add(sql, &key, declared)
    }

    /// A call has it that may not have been written yet: a Close would go before it. The cache and the asker have one each.
    fn is_used(prepared: &Arc<Prepared>) -> bool {
        Arc::strong_count(prepared) > 2 || prepared.stage() != Stage::Described
    }

    fn is_fresh(&self, prepared: &Prepared) -> bool {
        self.rules.lifetime.is_none_or(|most| prepared.made.elapsed() < most)
    }

    #[cold]
    fn add(&self, sql: &Bound<'_, PyString>, key: &Bound<'_, PyAny>, declared: &[u32]) -> PyResult<Arc<Prepared>> {
        let py = sql.py();
        let text = sql.to_str()?;
        let keep = sql.len()? <= self.rules.longest && self.make_room(py)?;
        let (count, clock) = {
            let mut inner = lock(&self.inner);
            inner.stats.misses += 1;
            inner.count += 1;
            inner.clock += 1;
            (inner.count, inner.clock)
        };
        let prepared = Arc::new(Prepared {
            name: format!("pgoxide_{}_{count:x}", self.nonce).into_bytes().into(),
            declared: declared.into(),
            command: pgoxide_sqltext::command(text),
            sql: sql.clone().unbind(),
            once: !keep,
            described: OnceLock::new(),
            stage: AtomicU8::new(Stage::New as u8),
            parsed: AtomicBool::new(false),
            used: AtomicU64::new(clock),
            made: Instant::now(),
        });
        if keep {
            self.by_sql.bind(py).set_item(key, Bound::new(py, Entry(Arc::clone(&prepared)))?)?;
        }
        Ok(prepared)
    }

    /// Gives up the least recently used statement nobody runs. False when the cache is off or all are in use.
    fn make_room(&self, py: Python<'_>) -> PyResult<bool> {
        let cache = self.by_sql.bind(py);
        if cache.len() < self.rules.size {
            return Ok(true);
        }
        let mut oldest: Option<(u64, Arc<Prepared>)> = None;
        for entry in cache.values() {
            let prepared = &entry.cast::<Entry>()?.get().0;
            let used = prepared.used.load(Ordering::Relaxed);
            let idle = Arc::strong_count(prepared) == 1 && prepared.stage() == Stage::Described;
            if idle && oldest.as_ref().is_none_or(|(least, _)| used < *least) {
                oldest = Some((used, Arc::clone(prepared)));
            }
        }
        let Some((_, oldest)) = oldest else { return Ok(false) };
        self.forget(py, &oldest)?;
        let mut inner = lock(&self.inner);
        inner.stats.evictions += 1;
        inner.given_up.push(oldest.name.clone());
        Ok(true)
    }

    /// Takes a statement out of the cache: its Parse failed, or it is too old.
    pub(crate) fn forget(&self, py: Python<'_>, prepared: &Arc<Prepared>) -> PyResult<()> {
        let key = key(prepared.sql.bind(py), &prepared.declared)?;
        let cache = self.by_sql.bind(py);
        let same = match cache.get_item(&key)? {
            Some(entry) => Arc::ptr_eq(&entry.cast::<Entry>()?.get().0, prepared),
            None => false,
        };
        if same { cache.del_item(key) } else { Ok(()) }
    }

    /// As `forget`, for one that was refused. Should the server know it all the same, it is closed by the next request.
    pub(crate) fn forget_refused(&self, py: Python<'_>, prepared: &Arc<Prepared>) -> PyResult<()> {
        if prepared.may_be_parsed() {
            self.give_up(prepared);
        }
        self.forget(py, prepared)
    }

    /// Has a statement closed by the next request.
    pub(crate) fn give_up(&self, prepared: &Prepared) {
        lock(&self.inner).given_up.push(prepared.name.clone());
    }

    /// Names whose Close rides with the request being built.
    #[inline]
    pub(crate) fn take_given_up(&self) -> Vec<Box<[u8]>> {
        std::mem::take(&mut lock(&self.inner).given_up)
    }

    pub(crate) fn stats(&self, py: Python<'_>) -> (CacheStats, usize) {
        (lock(&self.inner).stats, self.by_sql.bind(py).len())
    }
}

#[inline]
fn key<'py>(sql: &Bound<'py, PyString>, declared: &[u32]) -> PyResult<Bound<'py, PyAny>> {
    if declared.is_empty() {
        return Ok(sql.clone().into_any());
    }
    let py = sql.py();
    Ok((sql.clone(), PyTuple::new(py, declared)?).into_pyobject(py)?.into_any())
}
