//! Requests that are fed while they run: COPY FROM STDIN, and one statement with many parameter sets.
//!
//! ```text
//!   begin ──▶ (the server is ready) ──▶ feed block by block ──▶ finish ──▶ done
//!                                            │      └── the server refuses: feeding stops ──▶ done(error)
//!                                            └── the source raises: fail ──▶ done(error), undone at the server
//! ```
//!
//! A fed request is a barrier: nothing else travels beside it. Records are encoded into a block of our own while
//! the kernel still drains the one before; a source is asked for more only when there is room.
//!
//! COPY's data does not say of what types it is. Where records are written, a query of the same columns is described in front
//! of the COPY, in the same flight and transaction, whose lock keeps the table as it is from then on. If its types are not
//! those the records would be written in, the COPY is ended before its source is touched.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use pgoxide_protocol::client::{Request, RequestId, Resend, Step};
use pgoxide_protocol::codes::Format;
use pgoxide_protocol::error::EncodeError;
use pgoxide_protocol::message::command_complete::CommandComplete;
use pgoxide_protocol::message::copy_fail::CopyFail;
use pgoxide_protocol::message::row_description::RowDescription;
use pgoxide_protocol::message::{bind, close, copy_done, describe, execute, flush, parse, query, sync};
use pgoxide_sqltext::Command;
use pyo3::buffer::PyBuffer;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping, PyString, PyTuple};
use smallvec::SmallVec;

use crate::arguments::Arguments;
use crate::async_client::AsyncClient;
use crate::awaitable::Awaitable;
use crate::blocking_client::BlockingClient;
use crate::convert::{Encoder, Rules, short_repr};
use crate::copy_options::TextOptions;
use crate::copy_record::{Column, encode_copy_row, is_raw};
use crate::copy_text::TextCopy;
use crate::error;
use crate::job::{End, Job, Kind};
use crate::named::{SqlText, Values};
use crate::prepared::Prepared;
use crate::pyimport;
use crate::session::{Session, append_bind};
use crate::sync::lock;
use crate::tag::CommandTag;

/// Encoded records are handed over in blocks of about this size: several fit the kernel's buffer, so that encoding
/// and sending overlap.
const BLOCK: usize = 64 << 10;

/// Raw data is sent in messages of at most this size.
const LARGEST_PIECE: usize = 1 << 20;

/// One message that a server reads, and so one record, holds less than 1 GiB; with a longer one it would hang up.
const MOST: usize = (1 << 30) - 64;

/// Signature, flags and the length of the header extension: "Binary Format" in the manual's page of COPY.
const COPY_HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What the job of a fed request collects.
pub(crate) struct Fed {
    pub(crate) sql: String,
    /// Settles with True when the server waits for data; None once it has, or for statements.
    pub(crate) started: Option<Py<Awaitable>>,
    /// The server takes what it is fed.
    pub(crate) ready: bool,
    /// The statement of `execute_many`.
    prepared: Option<Arc<Prepared>>,
    /// What the columns of a COPY are taken for, until the server has described them.
    target: Option<Target>,
    /// How they differ.
    differs: Option<String>,
    /// That, or the statement, was lost before anything was taken from the source; None when it may not begin a second time.
    lost: Option<Arc<AtomicBool>>,
    rows: u64,
    tag: Option<CommandTag>,
    text: String,
}

impl Fed {
    fn new(sql: String, started: Option<Py<Awaitable>>, prepared: Option<Arc<Prepared>>) -> Self {
        let (target, differs, lost, tag) = (None, None, None, None);
        Self { sql, started, ready: false, prepared, target, differs, lost, rows: 0, tag, text: String::new() }
    }

    /// The server has described the statement, or the columns of a COPY. True when it may be fed now.
    pub(crate) fn described(&mut self, found: Option<&RowDescription<'_>>) -> bool {
        match self.target.take() {
            None => self.ready = true,
            Some(target) => self.differs = target.differs(found),
        }
        self.ready
    }

    /// Why a COPY that the server would take is not to be fed.
    pub(crate) fn differs(&self) -> Option<&str> {
        self.differs.as_deref()
    }

    /// The text that the server is at.
    pub(crate) fn words(&self) -> &str {
        self.target.as_ref().map_or(&self.sql, |target| &target.query)
    }

    /// Nothing has been taken from its source, and it is the first attempt.
    pub(crate) const fn may_begin_again(&self) -> bool {
        !self.ready && self.lost.is_some()
    }

    /// It is to be begun anew by who feeds it.
    pub(crate) fn begin_again(&self) {
        if let Some(lost) = &self.lost {
            lost.store(true, Ordering::Release);
        }
    }

    /// The statement of `execute_many`; COPY goes by the simple protocol.
    pub(crate) const fn statement(&self) -> Option<&Arc<Prepared>> {
        self.prepared.as_ref()
    }

    /// All of it has run, the Close of a statement that is not kept included.
    pub(crate) fn fulfilled(&self) {
        if let Some(prepared) = &self.prepared
            && prepared.closes_itself()
        {
            prepared.set_exists(false);
        }
    }

    /// For the garbage collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.started.iter().try_for_each(|started| visit.call(started))
    }

    pub(crate) fn complete(&mut self, complete: &CommandComplete<'_>) {
        self.rows += complete.rows_affected().unwrap_or(0);
        if let Some(prepared) = &self.prepared {
            prepared.completed(complete.tag);
        }
        self.text.clear();
        self.text.push_str(&String::from_utf8_lossy(complete.tag));
    }

    /// The last statement's tag, with the rows of all of them.
    pub(crate) fn result(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let tag = self.tag.take().unwrap_or_else(|| CommandTag::new(std::mem::take(&mut self.text), Some(self.rows)));
        Ok(Bound::new(py, tag)?.into_any().unbind())
    }
}

/// The columns that records are written for.
struct Target {
    /// Has the same columns.
    query: String,
    types: Box<[u32]>,
}

impl Target {
    /// How the server's columns differ. It sends domains as what they are based on.
    fn differs(&self, found: Option<&RowDescription<'_>>) -> Option<String> {
        let found = found.map(|found| found.columns.iter()).into_iter().flatten();
        let mut known = self.types.iter();
        for column in found {
            if known.next() != Some(&column.type_oid) {
                let name = String::from_utf8_lossy(column.name);
                return Some(format!("column {name} is of another type than when it was looked up"));
            }
        }
        known.next().map(|_| "a column is missing that was there when it was looked up".to_owned())
    }
}

enum Shape {
    Copy(Box<[Column]>),
    /// As `Copy`, in text or CSV format.
    Text(TextCopy),
    /// Raw data only.
    Raw,
    Many(Arc<Prepared>),
}

pub(crate) enum Client {
    Async(Py<AsyncClient>),
    Blocking(Py<BlockingClient>),
}

impl Client {
    pub(crate) fn session(&self) -> &Session {
        match self {
            Self::Async(client) => &client.get().session,
            Self::Blocking(client) => &client.get().session,
        }
    }
}

/// A request being fed; see the module.
#[pyclass(frozen, module = "pgoxide._core")]
pub(crate) struct Feed {
    client: Client,
    id: RequestId,
    shape: Shape,
    started: Option<Py<Awaitable>>,
    /// Until it is awaited: an exception it raises leads to frames that hold the feed.
    done: Mutex<Option<Py<Awaitable>>>,
    lost: Arc<AtomicBool>,
    /// Records taken so far, for messages.
    records: AtomicU64,
    /// Its end has been written, good or bad.
    ended: AtomicBool,
    /// A COPY whose source may give bytes instead of records.
    takes_raw: bool,
    /// The end of its transaction block, to be written with its own; not before, so that a connection lost while it is fed
    /// leaves no doubt about a COMMIT.
    end: Mutex<Option<End>>,
    /// The block under construction.
    block: Mutex<Option<Block>>,
}

/// What a COPY's source has given so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    Nothing,
    Records,
    Raw,
}

/// What will be sent next.
struct Block {
    bytes: Vec<u8>,
    /// What the server answers to it.
    steps: Vec<Step>,
    /// Where its last CopyData begins.
    frame: usize,
    came: Came,
}

impl Block {
    fn new() -> Self {
        Self { bytes: Vec::with_capacity(BLOCK + BLOCK / 4), steps: Vec::new(), frame: 0, came: Came::Nothing }
    }

    fn of_copy() -> Self {
        let mut block = Self::new();
        block.begin_copy_data();
        block
    }

    fn begin_copy_data(&mut self) {
        self.frame = self.bytes.len();
        self.bytes.extend_from_slice(&[b'd', 0, 0, 0, 0]);
    }

    /// Fills in the length of the last CopyData.
    fn end_copy_data(&mut self) {
        // Below MOST, which `add` checks.
        let length = u32::try_from(self.bytes.len() - self.frame - 1).unwrap_or(0);
        self.bytes[self.frame + 1..self.frame + 5].copy_from_slice(&length.to_be_bytes());
    }

    /// Raw data, in messages of a size that the server takes without much memory.
    fn add_raw(&mut self, data: &[u8]) {
        for piece in data.chunks(LARGEST_PIECE) {
            if self.bytes.len() - self.frame + piece.len() > LARGEST_PIECE + 5 {
                self.end_copy_data();
                self.begin_copy_data();
            }
            self.bytes.extend_from_slice(piece);
        }
    }
}

/// A query of the columns that are to be filled, and name and type of each.
pub(crate) type Filled<'py> = (SqlText, Vec<(Bound<'py, PyString>, u32)>);

/// A COPY FROM STDIN as it is asked for.
pub(crate) struct CopyAsked<'py> {
    pub(crate) sql: String,
    /// None: its data is raw.
    pub(crate) columns: Option<Filled<'py>>,
    /// "binary", "text" or "csv".
    pub(crate) format: &'py str,
    pub(crate) options: Bound<'py, PyDict>,
    /// The source may give bytes instead of records.
    pub(crate) takes_raw: bool,
    /// It is not to be begun once more.
    pub(crate) last: bool,
}

impl CopyAsked<'_> {
    /// What the columns are taken for.
    fn target(&self) -> Option<Target> {
        let (SqlText(query), columns) = self.columns.as_ref()?;
        Some(Target { query: query.clone(), types: columns.iter().map(|(_, oid)| *oid).collect() })
    }

    /// What goes to the server, and the replies it provokes. Where there is a target its Sync is withheld: the server would not
    /// see it among the data.
    fn written(&self) -> Result<(Vec<u8>, SmallVec<[Step; 6]>), EncodeError> {
        let mut bytes = Vec::with_capacity(2 * self.sql.len() + 64);
        let Some((SqlText(query), _)) = &self.columns else {
            query::write(&mut bytes, self.sql.as_bytes())?;
            return Ok((bytes, SmallVec::from_slice(&[Step::Query, Step::Sync])));
        };
        parse::write(&mut bytes, b"", query.as_bytes(), &[])?;
        describe::write_statement(&mut bytes, b"")?;
        parse::write(&mut bytes, b"", self.sql.as_bytes(), &[])?;
        bind::begin(&mut bytes, b"", b"", &[])?.finish(&mut bytes, &[])?;
        execute::write(&mut bytes, b"", 0)?;
        flush::write(&mut bytes);
        let steps = [Step::Parse, Step::DescribeStatement, Step::Parse, Step::Bind, Step::Execute];
        Ok((bytes, SmallVec::from_slice(&steps)))
    }
}

impl Shape {
    fn of_copy(client: &Client, asked: &CopyAsked<'_>) -> PyResult<Self> {
        let Some((_, columns)) = &asked.columns else { return Ok(Self::Raw) };
        let py = asked.options.py();
        let rules = &client.session().options.rules;
        let columns: Box<[Column]> = columns
            .iter()
            .map(|(name, oid)| Column {
                name: name.clone().unbind(),
                oid: *oid,
                type_name: rules.types.name(*oid),
                encoder: Encoder::of(*oid, rules),
            })
            .collect();
        if asked.format != "binary" {
            let version = lock(&client.session().state).conn.parameter("server_version").map(str::to_owned);
            let options = TextOptions::new(asked.format, &asked.options)?;
            return Ok(Self::Text(TextCopy::new(columns, version.as_deref(), options)));
        }
        match columns.iter().find(|column| column.encoder.format() == Format::Text) {
            None => Ok(Self::Copy(columns)),
            Some(column) => Err(error::not_supported_error(
                py,
                format!(
                    "column {} ({}) has no binary codec here: leave format= out, or copy in text or csv format",
                    column.name.bind(py),
                    column.type_name
                ),
            )),
        }
    }
}

impl Feed {
    /// COPY FROM STDIN. `sql` must name the format.
    pub(crate) fn copy(client: &Bound<'_, PyAny>, asked: CopyAsked<'_>) -> PyResult<(Self, Request<Job>)> {
        let py = client.py();
        let client = client_of(client)?;
        let shape = Shape::of_copy(&client, &asked)?;
        let (bytes, steps) = asked.written().map_err(|e| error::encode_error(py, &e))?;
        let target = asked.target();
        let id = client.session().next_id();
        let started = client.reply(py, id, "copy_in")?;
        let done = client.reply(py, id, "copy_in")?;
        let lost = Arc::new(AtomicBool::new(false));
        let mut fed = Fed::new(asked.sql, started.as_ref().map(|reply| reply.clone_ref(py)), None);
        fed.lost = (target.is_some() && !asked.last).then(|| Arc::clone(&lost));
        let open = target.is_some();
        fed.target = target;
        let request = Request {
            id,
            bytes,
            steps,
            barrier: true,
            open,
            resend: Resend::Never,
            job: Job::new(Kind::Fed(Box::new(fed)), done.as_ref().map(|reply| reply.clone_ref(py))),
        };
        let feed = Self {
            client,
            id,
            shape,
            started,
            done: Mutex::new(done),
            lost,
            records: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            takes_raw: asked.takes_raw,
            end: Mutex::new(None),
            block: Mutex::new(Some(Block::of_copy())),
        };
        Ok((feed, request))
    }

    /// One described statement with many parameter sets. `last`: it is not to be begun once more.
    pub(crate) fn many(
        client: &Bound<'_, PyAny>,
        prepared: Arc<Prepared>,
        last: bool,
    ) -> PyResult<(Self, Request<Job>)> {
        let py = client.py();
        let client = client_of(client)?;
        let id = client.session().next_id();
        let started = client.reply(py, id, "execute_many")?;
        let done = client.reply(py, id, "execute_many")?;
        let waits = started.as_ref().map(|reply| reply.clone_ref(py));
        let mut fed = Fed::new(prepared.text(py)?.to_owned(), waits, Some(Arc::clone(&prepared)));
        let lost = Arc::new(AtomicBool::new(false));
        fed.lost = (!last).then(|| Arc::clone(&lost));
        let mut bytes = Vec::new();
        let mut steps = SmallVec::new();
        let closing = client.session().close_given_up(py, &mut bytes, &mut steps)?;
        // The answer tells that the request is at the head, and that the server still has the statement as it was described:
        // from here to the end of the implicit transaction that cannot change, for its tables are locked.
        describe::write_statement(&mut bytes, &prepared.name).map_err(|e| error::encode_error(py, &e))?;
        flush::write(&mut bytes);
        steps.push(Step::DescribeStatement);
        let request = Request {
            id,
            bytes,
            steps,
            barrier: true,
            open: true,
            resend: if prepared.command == Command::Plain { Resend::Passive } else { Resend::Never },
            job: Job::new(Kind::Fed(Box::new(fed)), done.as_ref().map(|reply| reply.clone_ref(py))).closing(closing),
        };
        let feed = Self {
            client,
            id,
            shape: Shape::Many(prepared),
            started,
            done: Mutex::new(done),
            lost,
            records: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            takes_raw: false,
            end: Mutex::new(None),
            block: Mutex::new(Some(Block::new())),
        };
        Ok((feed, request))
    }

    /// Encodes records until the block is full. True when the source is exhausted.
    fn fill(&self, source: &Bound<'_, PyAny>, block: &mut Block) -> PyResult<bool> {
        let mut records = source.try_iter()?;
        while block.bytes.len() < BLOCK {
            let Some(record) = records.next() else { return Ok(true) };
            self.add(&record?, block)?;
        }
        Ok(false)
    }

    pub(crate) fn id(&self) -> RequestId {
        self.id
    }

    /// It brings the end of its transaction block.
    pub(crate) fn brings(&self, end: End) {
        let earlier = lock(&self.end).replace(end);
        drop(earlier);
    }

    fn rules(&self) -> &Rules {
        &self.client.session().options.rules
    }

    /// Encodes one record behind those in the block. On an error the block is as before.
    fn add(&self, record: &Bound<'_, PyAny>, block: &mut Block) -> PyResult<()> {
        let py = record.py();
        let number = self.records.load(Ordering::Relaxed);
        if self.takes_raw && (is_raw(record) || matches!(self.shape, Shape::Raw)) {
            return self.add_raw(record, block);
        }
        if block.came != Came::Records {
            self.begin_records(py, block)?;
        }
        let start = (block.bytes.len(), block.steps.len());
        let mut encoded = self.encode(record, block);
        if encoded.is_ok() && block.bytes.len() - block.frame > MOST {
            encoded = Err(error::data_error(py, "a record of 1 GiB or more: PostgreSQL takes less at once"));
        }
        if let Err(cause) = encoded {
            block.bytes.truncate(start.0);
            block.steps.truncate(start.1);
            return Err(blame_record(py, number, cause));
        }
        self.records.store(number + 1, Ordering::Relaxed);
        Ok(())
    }

    /// A piece of raw data, wherever it ends.
    fn add_raw(&self, piece: &Bound<'_, PyAny>, block: &mut Block) -> PyResult<()> {
        let py = piece.py();
        if block.came == Came::Records {
            return Err(error::data_error(py, "the source gives records and raw data: it must be one or the other"));
        }
        block.came = Came::Raw;
        if let Ok(bytes) = piece.cast::<PyBytes>() {
            block.add_raw(bytes.as_bytes());
            return Ok(());
        }
        match PyBuffer::<u8>::get(piece) {
            Ok(buffer) => block.add_raw(&buffer.to_vec(py)?),
            Err(_) if piece.is_instance_of::<PyString>() => {
                return Err(error::data_error(
                    py,
                    "raw data is bytes, not str: open a file in binary mode, encode a text",
                ));
            }
            Err(_) => return Err(error::data_error(py, format!("raw data is bytes, not {}", short_repr(piece)))),
        }
        Ok(())
    }

    /// What stands before the first record.
    fn begin_records(&self, py: Python<'_>, block: &mut Block) -> PyResult<()> {
        if block.came == Came::Raw {
            return Err(error::data_error(py, "the source gives records and raw data: it must be one or the other"));
        }
        block.came = Came::Records;
        match &self.shape {
            Shape::Copy(_) => block.bytes.extend_from_slice(&COPY_HEADER),
            Shape::Text(copy) => copy.begin(py, &mut block.bytes)?,
            Shape::Raw | Shape::Many(_) => {}
        }
        Ok(())
    }

    /// Works on the block, which is out meanwhile: a record's own code may come back here.
    fn with_block<T>(&self, py: Python<'_>, work: impl FnOnce(&mut Block) -> PyResult<T>) -> PyResult<T> {
        let Some(mut block) = lock(&self.block).take() else {
            return Err(error::interface_error(py, "the source of records uses the COPY it feeds"));
        };
        let result = work(&mut block);
        *lock(&self.block) = Some(block);
        result
    }

    fn encode(&self, record: &Bound<'_, PyAny>, block: &mut Block) -> PyResult<()> {
        match &self.shape {
            Shape::Copy(columns) => encode_copy_row(record, columns, self.rules(), &mut block.bytes),
            Shape::Text(copy) => copy.encode(record, self.rules(), &mut block.bytes),
            Shape::Raw => Ok(()), // `add` has seen to it
            Shape::Many(prepared) => {
                let py = record.py();
                let Some(described) = prepared.described() else {
                    return Err(error::interface_error(py, "the statement has not been described"));
                };
                let arguments = parameter_set(record, prepared)?;
                let arguments = Arguments::Values(&arguments);
                append_bind(py, self.rules(), prepared, described, arguments, &[], &mut block.bytes)?;
                execute::write(&mut block.bytes, b"", 0).map_err(|e| error::encode_error(py, &e))?;
                block.steps.extend([Step::Bind, Step::Execute]);
                Ok(())
            }
        }
    }

    /// Appends a block to the running request. False when the server has ended it.
    fn push(&self, block: &mut Block) -> bool {
        let pushed = match &self.shape {
            Shape::Many(_) => {
                flush::write(&mut block.bytes);
                self.extend(&block.bytes, &block.steps)
            }
            Shape::Copy(_) | Shape::Text(_) | Shape::Raw => {
                block.end_copy_data();
                lock(&self.client.session().state).conn.copy_bytes(self.id, &block.bytes)
            }
        };
        block.bytes.clear();
        block.steps.clear();
        // One large piece must not stay with the feed.
        block.bytes.shrink_to(4 * BLOCK);
        if !matches!(self.shape, Shape::Many(_)) {
            block.begin_copy_data();
        }
        pushed
    }

    /// Writes the failure, waits for the server's end of it, gives the turn back.
    fn give_up(&self, reason: &Bound<'_, PyAny>, client: &BlockingClient) -> PyResult<()> {
        let failed = if client.session.is_ended() { Ok(()) } else { self.write_failure(reason) };
        client.abandon(reason.py(), self.id);
        failed
    }

    fn write_failure(&self, reason: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = reason.py();
        if self.ended.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        match &self.shape {
            Shape::Copy(_) | Shape::Text(_) | Shape::Raw => {
                let reason = failure_text(reason);
                CopyFail { reason: reason.as_bytes() }.encode(&mut bytes).map_err(|e| error::encode_error(py, &e))?;
                self.end_copy(&bytes);
            }
            Shape::Many(_) => {
                // An implicit transaction commits at Sync unless a message has failed: this portal does not exist.
                execute::write(&mut bytes, b"pgoxide: undo", 0).map_err(|e| error::encode_error(py, &e))?;
                sync::write(&mut bytes);
                self.extend(&bytes, &[Step::Execute, Step::Sync]);
            }
        }
        Ok(())
    }

    fn extend(&self, bytes: &[u8], steps: &[Step]) -> bool {
        lock(&self.client.session().state).conn.extend(self.id, bytes, steps)
    }

    /// Writes the end of a COPY, and the Sync that has been withheld.
    fn end_copy(&self, bytes: &[u8]) {
        let mut sync = Vec::new();
        sync::write(&mut sync);
        let conn = &mut lock(&self.client.session().state).conn;
        if conn.copy_bytes(self.id, bytes) {
            // Not where it was not withheld, nor when it has been written since: the COPY is over at the server.
            conn.extend(self.id, &sync, &[Step::Sync]);
        }
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        match &self.client {
            Client::Async(client) => client.get().flush(py),
            Client::Blocking(client) => client.get().push_out(py, self.id),
        }
    }
}

/// One parameter set in the order of the statement's parameters.
fn parameter_set<'py>(record: &Bound<'py, PyAny>, prepared: &Prepared) -> PyResult<Bound<'py, PyTuple>> {
    let py = record.py();
    if let Some(named) = &prepared.named {
        return Values::of(record)?.in_order_of(named);
    }
    if let Ok(tuple) = record.cast::<PyTuple>() {
        return Ok(tuple.clone());
    }
    if record.is_instance_of::<PyString>() {
        return Err(error::interface_error(py, "a parameter set is a sequence, not a str"));
    }
    if record.cast::<PyMapping>().is_ok() {
        return Err(error::interface_error(
            py,
            "the parameter set is a mapping, and the text has no placeholder with a name (:name)",
        ));
    }
    PyTuple::new(py, record.try_iter()?.collect::<PyResult<Vec<_>>>()?)
}

impl Drop for Feed {
    /// A signal came between the call that made it and the block that sees to its end, or before that end was written: it is
    /// ended here, else nobody would ever get the turn again. Blocking face only, where others wait for that.
    fn drop(&mut self) {
        let Client::Blocking(client) = &self.client else { return };
        // In a child of its process it is not this one's to end.
        if client.get().session.home.is_elsewhere() || !client.get().is_feeding(self.id) {
            return;
        }
        // Not while the interpreter shuts down: the line goes with it.
        let _ = Python::try_attach(|py| {
            let pending = PyErr::take(py);
            let dropped = error::interface_error(py, "the COPY or execute_many was dropped before its end");
            if let Err(error) = self.give_up(dropped.value(py), client.get()) {
                error.write_unraisable(py, None);
            }
            if let Some(error) = pending {
                error.restore(py);
            }
        });
    }
}

/// What CopyFail says of an exception. It must be written whatever that is: until then the server waits for data. And
/// it is short, since the server ends a session that sends a CopyFail of more than 10 000 bytes.
fn failure_text(reason: &Bound<'_, PyAny>) -> String {
    const LONGEST: usize = 1_000;
    let class =
        reason.get_type().name().map_or_else(|_| "an exception".into(), |name| name.to_string_lossy().into_owned());
    let text = match reason.str() {
        Ok(text) => format!("{class}: {}", text.to_string_lossy()),
        Err(_) => class,
    };
    let text = text.replace('\0', "\u{fffd}");
    text[..text.floor_char_boundary(LONGEST)].to_owned()
}

#[cold]
fn blame_record(py: Python<'_>, number: u64, cause: PyErr) -> PyErr {
    let message = format!("record {number}: {}", cause.value(py));
    error::caused_by(py, error::data_error(py, message), cause)
}

pub(crate) fn client_of(client: &Bound<'_, PyAny>) -> PyResult<Client> {
    Ok(match client.cast::<AsyncClient>() {
        Ok(client) => Client::Async(client.clone().unbind()),
        Err(_) => Client::Blocking(client.cast::<BlockingClient>()?.clone().unbind()),
    })
}

impl Client {
    fn reply(&self, py: Python<'_>, id: RequestId, verb: &'static str) -> PyResult<Option<Py<Awaitable>>> {
        match self {
            Self::Async(client) => {
                let reply = Py::new(py, Awaitable::new(py, client.clone_ref(py), id, verb))?;
                // The orchestration awaits it, or has given the request up.
                reply.get().close_unseen();
                Ok(Some(reply))
            }
            Self::Blocking(_) => Ok(None),
        }
    }
}

#[pymethods]
impl Feed {
    /// Settles with True when the server waits for data, with False when it refused.
    #[getter]
    fn started(&self, py: Python<'_>) -> Option<Py<Awaitable>> {
        self.started.as_ref().map(|reply| reply.clone_ref(py))
    }

    /// Settles with the command tag. To be awaited, once.
    #[getter]
    fn done(&self) -> Option<Py<Awaitable>> {
        lock(&self.done).take()
    }

    /// Takes records from the iterator until a block is full, and sends it. True while the source has more and the
    /// server takes it.
    fn feed(&self, py: Python<'_>, source: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (accepted, exhausted) = self.with_block(py, |block| {
            let exhausted = self.fill(source, block)?;
            Ok((self.push(block), exhausted))
        })?;
        self.flush(py)?;
        Ok(accepted && !exhausted)
    }

    /// Encodes one record; nothing is sent. True when the block is full.
    fn put(&self, record: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.with_block(record.py(), |block| {
            self.add(record, block)?;
            Ok(block.bytes.len() >= BLOCK)
        })
    }

    /// Sends what `put` has encoded. True while the server takes more.
    fn send(&self, py: Python<'_>) -> PyResult<bool> {
        let accepted = self.with_block(py, |block| Ok(self.push(block)))?;
        self.flush(py)?;
        Ok(accepted)
    }

    /// All records have been fed: the server may complete.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        self.ended.store(true, Ordering::Relaxed);
        let mut bytes = Vec::new();
        match &self.shape {
            Shape::Copy(_) | Shape::Text(_) | Shape::Raw => {
                self.with_block(py, |block| {
                    if block.came == Came::Nothing {
                        self.begin_records(py, block)?;
                    }
                    if block.came == Came::Records && matches!(self.shape, Shape::Copy(_)) {
                        block.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
                    }
                    self.push(block);
                    Ok(())
                })?;
                copy_done::write(&mut bytes);
                self.end_copy(&bytes);
            }
            Shape::Many(_) => {
                let mut steps: SmallVec<[Step; 6]> = SmallVec::new();
                if let Shape::Many(prepared) = &self.shape
                    && prepared.closes_itself()
                {
                    close::write_statement(&mut bytes, &prepared.name).map_err(|e| error::encode_error(py, &e))?;
                    steps.push(Step::Close);
                }
                let end = lock(&self.end).take();
                if let Some(end) = &end {
                    end.commands.append(&mut bytes, &mut steps);
                }
                sync::write(&mut bytes);
                steps.push(Step::Sync);
                let conn = &mut lock(&self.client.session().state).conn;
                if conn.extend(self.id, &bytes, &steps)
                    && let Some(job) = conn.job(self.id)
                {
                    job.brings(end.as_ref());
                }
            }
        }
        self.flush(py)
    }

    /// The source failed, or the caller was cancelled: the server undoes what it has, and the connection is in step
    /// again once it said so. What runs is cancelled, after the failure was written: cancelling alone would end an open
    /// request with its Sync, which commits what has run.
    fn fail(&self, reason: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = reason.py();
        self.write_failure(reason)?;
        if let Client::Async(client) = &self.client {
            AsyncClient::cancel_request(client.bind(py), self.id)?;
        }
        self.flush(py)
    }

    /// The current task waits for an asynchronous source, or no longer does: its calls would wait for themselves. Asynchronous
    /// face only.
    fn pulls(&self, py: Python<'_>, on: bool) -> PyResult<()> {
        if let Client::Async(client) = &self.client {
            let task = if on { Some(pyimport::current_task(py)?.call0()?.unbind()) } else { None };
            client.get().streaming.pulls(self.id, task);
        }
        Ok(())
    }

    /// None when more may be fed at once; else settles when there is room. Asynchronous face only.
    fn room(&self, py: Python<'_>) -> PyResult<Option<Py<Awaitable>>> {
        match &self.client {
            Client::Async(client) => AsyncClient::room(client.bind(py)),
            Client::Blocking(_) => Ok(None),
        }
    }

    /// Waits until the server waits for data: True; or has refused: False. Blocking face only.
    fn wait_started(&self, py: Python<'_>) -> PyResult<bool> {
        match &self.client {
            Client::Blocking(client) => client.get().wait_started(py, self.id),
            Client::Async(_) => Err(error::interface_error(py, "await `started`")),
        }
    }

    /// Waits for the end; the command tag. Blocking face only.
    fn wait_done(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &self.client {
            Client::Blocking(client) => client.get().wait_done(py, self.id),
            Client::Async(_) => Err(error::interface_error(py, "await `done`")),
        }
    }

    /// As `fail`, and waits for the server's end of it. Blocking face only.
    fn abandon(&self, reason: &Bound<'_, PyAny>) -> PyResult<()> {
        match &self.client {
            Client::Blocking(client) => self.give_up(reason, client.get()),
            Client::Async(_) => Err(error::interface_error(reason.py(), "use `fail`")),
        }
    }

    /// Nothing was taken from the source, for the server no longer had the statement, or the columns, as they were described:
    /// they are to be described anew, and it begun once more. To be asked when it is done.
    #[getter]
    fn lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Records taken from the source so far.
    #[getter]
    fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        match &self.shape {
            Shape::Copy(columns) => format!("<COPY of {} columns>", columns.len()),
            Shape::Text(copy) => format!("<COPY of {} columns, as text>", copy.columns.len()),
            Shape::Raw => "<COPY of raw data>".to_owned(),
            Shape::Many(prepared) => format!("<many {}>", short_repr(prepared.original().bind(py))),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.client {
            Client::Async(client) => visit.call(client)?,
            Client::Blocking(client) => visit.call(client)?,
        }
        self.started.iter().try_for_each(|reply| visit.call(reply))?;
        match self.done.try_lock().as_deref() {
            Ok(Some(done)) => visit.call(done),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        drop(self.done());
    }
}
