//! Prepared statements of one connection and their cache.
//!
//! A statement is looked up by its `str`, so a literal in the user's code is found by identity. Whoever uses one shares it:
//! the cache, runs that wait or are in flight, collected batches. When the last of them lets it go, and the server has it,
//! its name is left behind, and its Close rides in front of the next request:
//!
//! ```text
//!   New ──Parse written──▶ Describing ──described──▶ Described ──the last user lets go──▶ given up ──▶ closed
//!    ▲                         │                         │
//!    └──refused, or never sent─┘                         └──the server has it no more, or otherwise──▶ lost, replaced
//! ```
//!
//! A description says how the server reads parameters and writes rows, so it must be what the server itself goes by. It is,
//! because it came from the same server session for the same Parse: when a plan has to be made anew with other columns, the
//! server refuses the Bind (0A000), and a name it does not know it refuses too (26000); `session/recovery.rs` sees to both.
//! A description from elsewhere (another connection of a pool) proves nothing: that session may have had another
//! search_path, temporary table or DDL, and int4 would be read as float4 without a word. To declare its types in Parse is not
//! enough either: what is declared is cast to what this session makes of the statement, float8 to numeric for example, and
//! digits are lost. Whoever runs a statement by one must have the server compare it first (`session/borrowing.rs`).

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use pgoxide_protocol::client::RequestId;
use pgoxide_protocol::codes::Format;
use pgoxide_protocol::message::error_response::ErrorResponse;
use pgoxide_protocol::message::target::Target;
use pgoxide_sqltext::Command;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::descriptions::{Common, Known};
use crate::error;
use crate::ffi::frame::CallStack;
use crate::named::{NamedText, NamedTexts, text_of};
use crate::plan::Described;
use crate::sync::lock;

/// Frames kept of whoever first used a statement: a few of theirs behind a few of ours.
const FRAMES: usize = 10;

/// How far the server knows a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Nobody has asked for its description, or the server refused.
    New = 0,
    /// Parse and Describe are on their way.
    Describing = 1,
    /// Its description has come.
    Described = 2,
}

/// Names the server is still to close. Prepared statements put themselves here, from wherever they are dropped, so its lock
/// is the innermost: nothing is done while it is held.
#[derive(Default)]
pub(crate) struct GivenUp(Mutex<Vec<(Target, Box<[u8]>)>>);

impl GivenUp {
    /// The session closes all its portals.
    pub(crate) fn all_portals(&self) {
        lock(&self.0).retain(|(target, _)| *target != Target::Portal);
    }

    /// A portal nobody has any more.
    pub(crate) fn portal(&self, name: Box<[u8]>) {
        lock(&self.0).push((Target::Portal, name));
    }
}

/// Names whose Close is part of one request. They go back when it is dropped before the server had it.
pub(crate) struct Closing {
    names: Vec<(Target, Box<[u8]>)>,
    given_up: Arc<GivenUp>,
}

impl Closing {
    pub(crate) fn names(&self) -> impl Iterator<Item = (Target, &[u8])> {
        self.names.iter().map(|(target, name)| (*target, &**name))
    }

    /// The request has been answered. Its Close messages came first and cannot fail, whatever became of the rest.
    pub(crate) fn done(mut self) {
        self.names.clear();
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if !self.names.is_empty() {
            lock(&self.given_up.0).append(&mut self.names);
        }
    }
}

/// How long a statement is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// As long as the cache has it, or anybody uses it.
    Cached,
    /// It is closed by the flight that runs it.
    Once,
    /// As long as its `PreparedStatement` lives.
    Own,
}

/// One statement on one connection.
pub(crate) struct Prepared {
    /// As the server gets it.
    sql: Py<PyString>,
    /// As it was written, when its parameters have names.
    pub(crate) named: Option<Arc<NamedText>>,
    pub(crate) name: Box<[u8]>,
    /// Parameter types the caller declared; empty when the server is to say.
    pub(crate) declared: Box<[u32]>,
    pub(crate) command: Command,
    /// The relations it creates.
    pub(crate) creates: Box<[String]>,
    pub(crate) keep: Keep,
    described: OnceLock<Arc<Described>>,
    /// As the other connections of the pool know it.
    pub(crate) common: Option<Arc<Common>>,
    stage: AtomicU8,
    /// The request that describes it for those who wait; 0 when a run brings its description itself.
    describing: AtomicU64,
    /// ParseComplete has come, and no Close was answered since.
    exists: AtomicBool,
    /// The server has it no more, or otherwise than it was described.
    lost: AtomicBool,
    /// Who used it first.
    pub(crate) first_used: CallStack,
    /// What is used in its place once it is lost.
    replacement: OnceLock<Arc<Prepared>>,
    /// The command tag of its last run, of those that are asked.
    status: Mutex<Option<String>>,
    used: AtomicU64,
    made: Instant,
    given_up: Arc<GivenUp>,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if self.exists() {
            lock(&self.given_up.0).push((Target::Statement, std::mem::take(&mut self.name)));
        }
    }
}

/// The right to describe a statement, held by the request that carries its Parse. However that request ends, the next one
/// may try unless the description came.
pub(crate) struct Describing(Arc<Prepared>);

impl Describing {
    /// `by`: the request that does nothing else, or 0.
    pub(crate) fn begin(prepared: &Arc<Prepared>, by: RequestId) -> Self {
        prepared.describing.store(by, Ordering::Release);
        prepared.set_stage(Stage::Describing);
        Self(Arc::clone(prepared))
    }

    pub(crate) const fn statement(&self) -> &Arc<Prepared> {
        &self.0
    }
}

impl Drop for Describing {
    fn drop(&mut self) {
        if self.0.described().is_none() {
            self.0.set_stage(Stage::New);
        }
    }
}

impl Prepared {
    /// Row types asked for with `into=` may lead anywhere. What is shared is visited by its last owner, so that no reference
    /// is counted twice.
    pub(crate) fn visit(self: &Arc<Self>, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.described().and_then(|described| described.plan.as_ref()) {
            Some(plan) if Arc::strong_count(self) == 1 && Arc::strong_count(plan) == 1 => plan.visit(visit),
            _ => Ok(()),
        }
    }

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

    /// The request that describes it, when nobody waits for that but who holds `mine` references. The cache and the request have
    /// one each.
    pub(crate) fn described_for(self: &Arc<Self>, mine: usize) -> Option<RequestId> {
        let by = self.describing.load(Ordering::Acquire);
        (by != 0 && self.stage() == Stage::Describing && Arc::strong_count(self) <= mine + 2).then_some(by)
    }

    /// Whether the server has a statement of this name.
    pub(crate) fn exists(&self) -> bool {
        self.exists.load(Ordering::Acquire)
    }

    /// The server has parsed it, or closed it.
    pub(crate) fn set_exists(&self, exists: bool) {
        self.exists.store(exists, Ordering::Release);
    }

    /// Whether the flight that runs it closes it too. Not that of COPY: the server would take the Close for data.
    pub(crate) fn closes_itself(&self) -> bool {
        self.keep == Keep::Once && self.command != Command::Copy
    }

    /// A run of it came to its end. Only kept for whoever holds it as such, and may ask.
    #[inline]
    pub(crate) fn completed(&self, tag: &[u8]) {
        if self.keep == Keep::Own {
            let earlier = lock(&self.status).replace(String::from_utf8_lossy(tag).into_owned());
            drop(earlier);
        }
    }

    pub(crate) fn status(&self) -> Option<String> {
        lock(&self.status).clone()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn described(&self) -> Option<&Described> {
        self.described.get().map(|described| &**described)
    }

    /// The same, to be kept.
    pub(crate) fn description(&self) -> Option<Arc<Described>> {
        self.described.get().cloned()
    }

    /// Its description came. A second one (a first flight sent again) changes nothing.
    pub(crate) fn set_described(&self, described: Described) {
        let described = Arc::new(described);
        if self.described.set(Arc::clone(&described)).is_ok()
            && let Some(common) = &self.common
        {
            common.describe(&described);
        }
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

    /// As it was written.
    pub(crate) fn original(&self) -> &Py<PyString> {
        self.named.as_ref().map_or(&self.sql, |named| &named.original)
    }

    /// A parameter's name for messages, by its index.
    pub(crate) fn parameter_name(&self, index: usize) -> String {
        let name = self.named.as_ref().and_then(|named| named.names().get(index));
        name.map_or_else(|| format!("${}", index + 1), |name| format!(":{name}"))
    }

    /// The server's refusal of it.
    #[cold]
    pub(crate) fn server_error(&self, py: Python<'_>, refusal: &ErrorResponse<'_>) -> PyErr {
        self.refused(py, refusal, self.described())
    }

    /// The same, when it went by `described`.
    #[cold]
    pub(crate) fn refused(&self, py: Python<'_>, refusal: &ErrorResponse<'_>, described: Option<&Described>) -> PyErr {
        let types = described.map(|described| described.parameter_types.to_vec());
        error::server_error(py, refusal, self.original().to_str(py).ok(), types, self.named.as_deref())
    }

    /// The text as the server gets it, as Rust sees it.
    pub(crate) fn text<'a>(&'a self, py: Python<'a>) -> PyResult<&'a str> {
        self.sql.bind(py).to_str()
    }
}

/// A statement as Python holds it: in the cache's dictionary, and between steps that need the same one.
#[pyclass(frozen, module = "pgoxide._core", name = "Prepared")]
pub(crate) struct Entry(pub(crate) Arc<Prepared>);

#[pymethods]
impl Entry {
    /// Every column of its result has a binary codec here, as a COPY in binary format needs.
    #[getter]
    fn binary(&self) -> bool {
        let plan = self.0.described().and_then(|described| described.plan.as_ref());
        plan.is_some_and(|plan| plan.formats.iter().all(|format| *format == Format::Binary))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.visit(&visit)
    }

    fn __clear__(&self) {
        if let Some(plan) = self.0.described().and_then(|described| described.plan.as_ref()) {
            plan.forget_targets();
        }
    }
}

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
}

/// The cache of one connection.
pub(crate) struct Statements {
    /// Of a text as it was written, see `key` -> Entry. A Python dictionary: its look-up compares by identity first.
    by_sql: Py<PyDict>,
    pub(crate) named: NamedTexts,
    rules: CacheRules,
    nonce: String,
    /// What the connections of its pool know of their descriptions.
    descriptions: OnceLock<Arc<Known>>,
    inner: Mutex<Inner>,
    given_up: Arc<GivenUp>,
}

impl Statements {
    pub(crate) fn new(py: Python<'_>, rules: CacheRules, nonce: String) -> Self {
        Self {
            by_sql: PyDict::new(py).unbind(),
            named: NamedTexts::new(py, rules.size, rules.longest),
            rules,
            nonce,
            descriptions: OnceLock::new(),
            inner: Mutex::new(Inner { stats: CacheStats::default(), clock: 0, count: 0 }),
            given_up: Arc::default(),
        }
    }

    /// The statement for this text and these declared types, from the cache or new.
    #[inline]
    pub(crate) fn get(
        &self,
        sql: &Bound<'_, PyString>,
        declared: &[u32],
        named: Option<&Arc<NamedText>>,
    ) -> PyResult<Arc<Prepared>> {
        let py = sql.py();
        let key = key(sql, declared, named.is_some())?;
        if let Some(entry) = self.by_sql.bind(py).get_item(&key)? {
            let known = Arc::clone(&entry.cast::<Entry>()?.get().0);
            let outdated = known.described().is_some_and(Described::is_outdated);
            if !outdated && (self.is_fresh(&known) || Self::is_used(&known)) {
                let mut inner = lock(&self.inner);
                inner.clock += 1;
                inner.stats.hits += 1;
                known.used.store(inner.clock, Ordering::Relaxed);
                return Ok(known);
            }
            self.forget(py, &known)?;
            lock(&self.inner).stats.evictions += 1;
        }
        self.add(sql, &key, declared, named)
    }

    /// A call has it: another need not parse it anew, however old it is. The cache and the asker have one each.
    fn is_used(prepared: &Arc<Prepared>) -> bool {
        Arc::strong_count(prepared) > 2 || prepared.stage() != Stage::Described
    }

    fn is_fresh(&self, prepared: &Prepared) -> bool {
        self.rules.lifetime.is_none_or(|most| prepared.made.elapsed() < most)
    }

    #[cold]
    fn add(
        &self,
        sql: &Bound<'_, PyString>,
        key: &Bound<'_, PyAny>,
        declared: &[u32],
        named: Option<&Arc<NamedText>>,
    ) -> PyResult<Arc<Prepared>> {
        let py = sql.py();
        let command = pgoxide_sqltext::command(text_of(sql)?);
        let room = command != Command::Indirect && sql.len()? <= self.rules.longest && self.make_room(py)?;
        let keep = if room { Keep::Cached } else { Keep::Once };
        let common = if keep == Keep::Cached { self.common(sql, declared, named)? } else { None };
        let prepared = self.make(sql, declared, named, command, keep, common);
        lock(&self.inner).stats.misses += 1;
        if keep == Keep::Cached {
            self.by_sql.bind(py).set_item(key, Bound::new(py, Entry(Arc::clone(&prepared)))?)?;
        }
        Ok(prepared)
    }

    /// The statement as the other connections of the pool know it.
    fn common(
        &self,
        sql: &Bound<'_, PyString>,
        declared: &[u32],
        named: Option<&Arc<NamedText>>,
    ) -> PyResult<Option<Arc<Common>>> {
        let Some(descriptions) = self.descriptions.get() else { return Ok(None) };
        let sent = named.map_or(sql, |named| named.sql.bind(sql.py()));
        Ok(descriptions.get(sent.to_str()?, declared))
    }

    /// From now on its statements are described together with those of others. Once: it has one pool.
    pub(crate) fn share(&self, descriptions: &Arc<Known>) {
        self.descriptions.get_or_init(|| Arc::clone(descriptions));
    }

    pub(crate) fn descriptions(&self) -> Option<&Arc<Known>> {
        self.descriptions.get()
    }

    /// The name of the statement by which lent descriptions are compared.
    pub(crate) fn check_name(&self) -> Vec<u8> {
        format!("pgoxide_{}_check", self.nonce).into_bytes()
    }

    fn make(
        &self,
        sql: &Bound<'_, PyString>,
        declared: &[u32],
        named: Option<&Arc<NamedText>>,
        command: Command,
        keep: Keep,
        common: Option<Arc<Common>>,
    ) -> Arc<Prepared> {
        // A text that cannot be read is refused where it is written.
        let text = text_of(sql).unwrap_or_default();
        let creates = if command == Command::Other { pgoxide_sqltext::created(text) } else { Vec::new() };
        let (count, clock) = {
            let mut inner = lock(&self.inner);
            inner.count += 1;
            inner.clock += 1;
            (inner.count, inner.clock)
        };
        Arc::new(Prepared {
            name: format!("pgoxide_{}_{count:x}", self.nonce).into_bytes().into(),
            declared: declared.into(),
            command,
            creates: creates.into(),
            sql: named.map_or_else(|| sql.clone().unbind(), |named| named.sql.clone_ref(sql.py())),
            named: named.cloned(),
            keep,
            described: OnceLock::new(),
            common,
            stage: AtomicU8::new(Stage::New as u8),
            describing: AtomicU64::new(0),
            exists: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            first_used: CallStack::here(sql.py(), FRAMES),
            replacement: OnceLock::new(),
            status: Mutex::new(None),
            used: AtomicU64::new(clock),
            made: Instant::now(),
            given_up: Arc::clone(&self.given_up),
        })
    }

    /// A statement that is its holder's alone: apart from the cache, and closed when it is let go.
    pub(crate) fn own(
        &self,
        sql: &Bound<'_, PyString>,
        declared: &[u32],
        named: Option<&Arc<NamedText>>,
    ) -> PyResult<Arc<Prepared>> {
        let command = pgoxide_sqltext::command(text_of(sql)?);
        Ok(self.make(sql, declared, named, command, Keep::Own, None))
    }

    /// Gives up the least recently used statement that nobody but the cache holds. False when the cache is off or all are
    /// in use.
    fn make_room(&self, py: Python<'_>) -> PyResult<bool> {
        let cache = self.by_sql.bind(py);
        if cache.len() < self.rules.size {
            return Ok(true);
        }
        let mut oldest: Option<(u64, Arc<Prepared>)> = None;
        for entry in cache.values() {
            let prepared = &entry.cast::<Entry>()?.get().0;
            let used = prepared.used.load(Ordering::Relaxed);
            let idle = Arc::strong_count(prepared) == 1;
            if idle && oldest.as_ref().is_none_or(|(least, _)| used < *least) {
                oldest = Some((used, Arc::clone(prepared)));
            }
        }
        let Some((_, oldest)) = oldest else { return Ok(false) };
        self.forget(py, &oldest)?;
        lock(&self.inner).stats.evictions += 1;
        Ok(true)
    }

    /// Takes a statement out of the cache: its Parse failed, or it is too old.
    pub(crate) fn forget(&self, py: Python<'_>, prepared: &Arc<Prepared>) -> PyResult<()> {
        let key = key(prepared.original().bind(py), &prepared.declared, prepared.named.is_some())?;
        let cache = self.by_sql.bind(py);
        let same = match cache.get_item(&key)? {
            Some(entry) => Arc::ptr_eq(&entry.cast::<Entry>()?.get().0, prepared),
            None => false,
        };
        if same { cache.del_item(key) } else { Ok(()) }
    }

    /// The server refused to run it as it was described: other calls of this connection no longer get it, nor those of the
    /// other connections of its pool, which describe it anew.
    pub(crate) fn outdated(&self, py: Python<'_>, prepared: &Arc<Prepared>) -> PyResult<()> {
        prepared.lost.store(true, Ordering::Release);
        if let Some(described) = prepared.described() {
            described.set_outdated();
        }
        if let Some(common) = &prepared.common {
            common.withdraw();
        }
        self.forget(py, prepared)
    }

    /// The server does not know its name: DISCARD ALL, DEALLOCATE, or another session behind a proxy. Then it knows none of
    /// them. They are closed all the same, should it know some: closing what is not there is no error.
    pub(crate) fn gone(&self, py: Python<'_>, prepared: &Arc<Prepared>) -> PyResult<()> {
        prepared.lost.store(true, Ordering::Release);
        self.forget(py, prepared)?;
        self.lose_all(py, |_| {})
    }

    /// There are new relations. The server makes a plan anew when what it reads has changed, or the search path, but not when a
    /// new table or view comes in front of an old one of its name: statements that name it are parsed anew.
    pub(crate) fn shadowed(&self, py: Python<'_>, names: &[String]) -> PyResult<()> {
        let names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        for entry in self.by_sql.bind(py).values() {
            let prepared = &entry.cast::<Entry>()?.get().0;
            let text = prepared.text(py)?.to_lowercase();
            if prepared.exists() && names.iter().any(|name| text.contains(name)) {
                prepared.lost.store(true, Ordering::Release);
                self.forget(py, prepared)?;
            }
        }
        Ok(())
    }

    /// The server said that it has dropped all it had.
    pub(crate) fn all_dropped(&self, py: Python<'_>) -> PyResult<()> {
        self.lose_all(py, |prepared| prepared.set_exists(false))
    }

    fn lose_all(&self, py: Python<'_>, each: impl Fn(&Prepared)) -> PyResult<()> {
        for entry in self.by_sql.bind(py).values() {
            let prepared = &entry.cast::<Entry>()?.get().0;
            if prepared.exists() {
                each(prepared);
                prepared.lost.store(true, Ordering::Release);
                self.forget(py, prepared)?;
            }
        }
        Ok(())
    }

    /// The statement to use: `prepared` itself, or once it is lost what all its users use in its place.
    pub(crate) fn current(&self, py: Python<'_>, prepared: &Arc<Prepared>) -> PyResult<Arc<Prepared>> {
        let mut current = prepared;
        while let Some(next) = current.replacement.get() {
            current = next;
        }
        if !current.is_lost() && !current.described().is_some_and(Described::is_outdated) {
            return Ok(Arc::clone(current));
        }
        let (sql, declared, named) = (current.original().bind(py), &current.declared, current.named.as_ref());
        let made = match current.keep {
            Keep::Cached | Keep::Once => self.get(sql, declared, named)?,
            Keep::Own => self.own(sql, declared, named)?,
        };
        Ok(Arc::clone(current.replacement.get_or_init(|| made)))
    }

    /// A name for a portal that no other has, before or after it.
    pub(crate) fn portal_name(&self) -> Box<[u8]> {
        let mut inner = lock(&self.inner);
        inner.count += 1;
        format!("pgoxide_{}_p{:x}", self.nonce, inner.count).into_bytes().into()
    }

    /// Where names are put that the server is to close.
    pub(crate) fn given_up(&self) -> Arc<GivenUp> {
        Arc::clone(&self.given_up)
    }

    /// Names whose Close rides with the request being built.
    #[inline]
    pub(crate) fn take_given_up(&self) -> Option<Box<Closing>> {
        let names = std::mem::take(&mut *lock(&self.given_up.0));
        (!names.is_empty()).then(|| Box::new(Closing { names, given_up: Arc::clone(&self.given_up) }))
    }

    /// The connection has ended: no statement will be asked for again.
    pub(crate) fn clear(&self, py: Python<'_>) {
        self.by_sql.bind(py).clear();
        self.named.clear(py);
    }

    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(self.named.dictionary())?;
        visit.call(&self.by_sql)
    }

    pub(crate) fn stats(&self, py: Python<'_>) -> (CacheStats, usize) {
        (lock(&self.inner).stats, self.by_sql.bind(py).len())
    }
}

/// `str`, or with what else sets statements of one text apart: `(str, oids)`, and `(str, oids, None)` when its parameters
/// have names.
#[inline]
pub(crate) fn key<'py>(sql: &Bound<'py, PyString>, declared: &[u32], named: bool) -> PyResult<Bound<'py, PyAny>> {
    if declared.is_empty() && !named {
        return Ok(sql.clone().into_any());
    }
    let py = sql.py();
    let declared = PyTuple::new(py, declared)?;
    Ok(match named {
        false => (sql.clone(), declared).into_pyobject(py)?.into_any(),
        true => (sql.clone(), declared, py.None()).into_pyobject(py)?.into_any(),
    })
}
