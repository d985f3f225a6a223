//! One connection's state and the way from a call to bytes and from bytes to a result: what the asynchronous and the
//! blocking client share.
//!
//! ```text
//!   call ─▶ request ─▶ [held.rs: its statement is being described] ─▶ machine ─▶ bytes
//!   bytes ─▶ machine ─▶ event ─▶ job collects ─▶ outcome ─▶ (client: settle, return)
//! ```
//!
//! The rule everything here keeps: while `state` is locked, no Python object is created, called or dropped. What an
//! event concerns is taken out, the lock released, Python runs, and the job is put back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use pgoxide_protocol::buffer::RecvBuffer;
use pgoxide_protocol::client::{
    Connection, CopyDirection, Event, Failure, Limits, Prefix, Request, RequestId, Resend, Step,
};
use pgoxide_protocol::codes::{Format, TransactionStatus};
use pgoxide_protocol::error::ProtocolError;
use pgoxide_protocol::message::authentication::Authentication;
use pgoxide_protocol::message::command_complete::CommandComplete;
use pgoxide_protocol::message::error_response::ErrorResponse;
use pgoxide_protocol::message::{bind, close, describe, execute, fields, parse, query, sync};
use pgoxide_sqltext::Command;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use smallvec::SmallVec;

use crate::awaitable::Awaitable;
use crate::convert::{Rules, short_repr};
use crate::error::{self, Kept};
use crate::held::{Held, HeldCalls};
use crate::job::{self, Fault, Job, Kind, Prepare, Run};
use crate::plan::{Described, SentAs};
use crate::prepared::{Closing, Describing, Prepared, Statements};
use crate::script::Script;
use crate::stream::Shared;
use crate::sync::lock;

/// Everything behind the lock.
pub(crate) struct State {
    pub(crate) conn: Connection<Job>,
    pub(crate) held: HeldCalls,
    pub(crate) ended: Option<Ended>,
    /// The text of a FATAL error that announced the end.
    pub(crate) last_words: Option<PyErr>,
}

/// Why the connection ended.
pub(crate) struct Ended {
    text: String,
    /// Later calls get it as their cause. None once it was raised itself: it then leads to its caller's frames, and from
    /// there back to the connection.
    reason: Option<Kept>,
}

/// What a page of bytes led to, for the client to act on once the page is put back.
pub(crate) enum Outcome {
    Started,
    Finished(RequestId, Job, bool),
    /// A fed request may be fed.
    FeedStarted(RequestId),
    /// A stream's batch has come.
    Batch {
        id: RequestId,
        shared: Arc<Shared>,
        rows: Vec<Py<PyAny>>,
        more: bool,
        size: u32,
    },
    Notice(Py<PyDict>),
    Notification {
        channel: String,
        payload: String,
        process_id: i32,
    },
}

/// Options that do not change.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) rules: Arc<Rules>,
    /// Bytes accepted for one connection before a call raises QueueFull.
    pub(crate) max_queued_hard: usize,
}

/// One connection's shared half.
pub(crate) struct Session {
    pub(crate) state: Mutex<State>,
    pub(crate) statements: Statements,
    pub(crate) options: Options,
    last_id: AtomicU64,
    /// Who has a transaction open: the token its context holds, and its name.
    owner: Mutex<Option<(Py<PyAny>, String)>>,
}

/// Parse, Describe, Bind, Execute, Sync in one flight: when nothing must be known before Bind is written.
///
/// Bind names the formats of the results, so a statement whose columns are unknown gets text. Text depends on
/// settings (`extra_float_digits`, DateStyle) of which the server does not report all: a float could come rounded the
/// first time and exact the second. So a query is described first, unless its caller declared the types to save that
/// round trip; utility commands, whose rows are text anyway, go in one flight. `iso`: dates are written as we read them.
pub(crate) fn fits_one_flight(prepared: &Prepared, arguments: usize, iso: bool) -> bool {
    let may_return_values = matches!(prepared.command, Command::Plain | Command::Typed | Command::Indirect);
    arguments == prepared.declared.len() && (!may_return_values || (iso && !prepared.declared.is_empty()))
}

impl Session {
    pub(crate) fn new(statements: Statements, limits: Limits, options: Options) -> Self {
        let state = State { conn: Connection::new(limits), held: HeldCalls::default(), ended: None, last_words: None };
        Self { state: Mutex::new(state), statements, options, last_id: AtomicU64::new(0), owner: Mutex::new(None) }
    }

    pub(crate) fn next_id(&self) -> RequestId {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    // ---- from a call to a request ----------------------------------------------------------------------------

    /// Raises when the connection has ended, or holds so much that it takes no more.
    pub(crate) fn check_open(&self, py: Python<'_>) -> PyResult<()> {
        let (ended, held) = {
            let state = lock(&self.state);
            (state.ended.is_some(), state.conn.held() + state.held.cost())
        };
        if ended {
            return Err(self.closed_error(py));
        }
        self.check_owner(py)?;
        if held > self.options.max_queued_hard {
            return Err(error::queue_full(
                py,
                format!(
                    "{held} bytes of requests are waiting on this connection, more than max_queued_hard ({}); await \
                     some before issuing more, or use several connections",
                    self.options.max_queued_hard
                ),
            ));
        }
        Ok(())
    }

    /// Makes the holder of `token` the only one whose calls are taken. Raises when another has a transaction open.
    pub(crate) fn own(&self, py: Python<'_>, token: Py<PyAny>, holder: String) -> PyResult<()> {
        let (refused, unused) = {
            let mut owner = lock(&self.owner);
            match &*owner {
                Some((other, name)) if !other.is(&token) => (Some(name.clone()), Some((token, holder))),
                _ => (None, owner.replace((token, holder))),
            }
        };
        drop(unused);
        refused.map_or(Ok(()), |name| Err(owned(py, &name)))
    }

    /// The transaction of `token` is over. One that is another's goes on.
    pub(crate) fn disown(&self, token: &Bound<'_, PyAny>) {
        let over = lock(&self.owner).take_if(|(owner, _)| owner.is(token));
        drop(over);
    }

    /// Raises when another context has a transaction open: the call would become part of it.
    pub(crate) fn check_owner(&self, py: Python<'_>) -> PyResult<()> {
        let owner = lock(&self.owner).as_ref().map(|(token, holder)| (token.clone_ref(py), holder.clone()));
        let Some((token, holder)) = owner else { return Ok(()) };
        let held = crate::pyimport::transaction_tokens(py)?.call_method0("get")?.cast_into::<PyTuple>()?;
        if held.iter_borrowed().any(|other| other.is(&token)) {
            return Ok(());
        }
        Err(owned(py, &holder))
    }

    /// ConnectionClosed with the reason as its cause.
    #[cold]
    pub(crate) fn closed_error(&self, py: Python<'_>) -> PyErr {
        // `ended` stays in its place: to whoever looks meanwhile, the connection would be open again.
        let ended = {
            let state = lock(&self.state);
            let copy = |ended: &Ended| (ended.text.clone(), ended.reason.as_ref().map(|reason| reason.clone_ref(py)));
            state.ended.as_ref().map(copy)
        };
        let Some((text, reason)) = ended else { return error::connection_closed(py, "the connection is closed") };
        let closed = error::connection_closed(py, format!("the connection is closed: {text}"));
        match reason {
            Some(reason) => error::caused_by(py, closed, reason.error(py)),
            None => closed,
        }
    }

    /// The request of a run whose statement is described, or that fits one flight with its description.
    pub(crate) fn run_request(
        &self,
        py: Python<'_>,
        id: RequestId,
        mut run: Box<Run>,
        arguments: &Bound<'_, PyTuple>,
        reply: Option<Py<Awaitable>>,
    ) -> PyResult<Request<Job>> {
        let prepared = Arc::clone(&run.prepared);
        let mut bytes = Vec::with_capacity(128);
        let mut steps = SmallVec::new();
        let closing = self.close_given_up(py, &mut bytes, &mut steps)?;
        let resend = resend_rule(py, &prepared)?;
        self.append_run(py, &mut run, arguments, &mut bytes, &mut steps)?;
        sync::write(&mut bytes);
        steps.push(Step::Sync);
        let barrier = run.isolate || prepared.command == Command::Copy;
        let job = Job::new(Kind::Run(run), reply).closing(closing);
        Ok(Request { id, bytes, steps, barrier, open: false, resend, job })
    }

    /// Closes the statements nobody uses any more, in front of whatever is written next. What comes back belongs to the
    /// request's job.
    pub(crate) fn close_given_up(
        &self,
        py: Python<'_>,
        bytes: &mut Vec<u8>,
        steps: &mut SmallVec<[Step; 6]>,
    ) -> PyResult<Option<Box<Closing>>> {
        let Some(closing) = self.statements.take_given_up() else { return Ok(None) };
        for name in closing.names() {
            close::write_statement(bytes, name).map_err(|e| error::encode_error(py, &e))?;
            steps.push(Step::Close);
        }
        Ok(Some(closing))
    }

    /// The messages of one run, without Sync. On the first use they carry Parse and Describe.
    pub(crate) fn append_run(
        &self,
        py: Python<'_>,
        run: &mut Run,
        arguments: &Bound<'_, PyTuple>,
        bytes: &mut Vec<u8>,
        steps: &mut SmallVec<[Step; 6]>,
    ) -> PyResult<()> {
        let prepared = Arc::clone(&run.prepared);
        match prepared.described() {
            Some(described) => {
                run.use_plan(py, described.plan.as_ref())?;
                append_bind(
                    py,
                    &self.options.rules,
                    &prepared.name,
                    described,
                    arguments,
                    described.result_formats(),
                    bytes,
                )?;
                steps.push(Step::Bind);
                describe_portal(py, &prepared, bytes, steps)?;
            }
            None => {
                // Before its arguments are encoded: a call that their own code makes waits for this description.
                run.first = Some(Describing::begin(&prepared));
                run.text = true;
                append_description(py, &prepared, bytes, steps)?;
                let declared = Described::new(prepared.declared.to_vec(), None);
                append_bind(py, &self.options.rules, &prepared.name, &declared, arguments, &[], bytes)?;
                steps.push(Step::Bind);
            }
        }
        execute::write(bytes, b"", 0).map_err(|e| error::encode_error(py, &e))?;
        steps.push(Step::Execute);
        if prepared.closes_itself() {
            close::write_statement(bytes, &prepared.name).map_err(|e| error::encode_error(py, &e))?;
            steps.push(Step::Close);
        }
        Ok(())
    }

    /// Parse and Describe of statements that calls wait for.
    pub(crate) fn prepare_request(&self, py: Python<'_>, statements: Vec<Arc<Prepared>>) -> PyResult<Request<Job>> {
        let mut bytes = Vec::with_capacity(128);
        let mut steps = SmallVec::new();
        let closing = self.close_given_up(py, &mut bytes, &mut steps)?;
        let statements: Vec<Describing> = statements.iter().map(Describing::begin).collect();
        let mut again = Prefix::default();
        for statement in statements.iter().map(Describing::statement) {
            append_description(py, statement, &mut bytes, &mut steps)?;
            append_close(py, statement, &mut again.bytes)?;
            again.steps.push(Step::Close);
        }
        sync::write(&mut bytes);
        steps.push(Step::Sync);
        let job = Job::new(Kind::Prepare(Box::new(Prepare::new(statements))), None).closing(closing);
        let resend = Resend::Always(again);
        Ok(Request { id: self.next_id(), bytes, steps, barrier: false, open: false, resend, job })
    }

    /// A text for the simple protocol. A barrier: it may hold anything, COPY included.
    pub(crate) fn script_request(
        &self,
        py: Python<'_>,
        id: RequestId,
        sql: String,
        reply: Option<Py<Awaitable>>,
    ) -> PyResult<Request<Job>> {
        let mut bytes = Vec::with_capacity(sql.len() + 8);
        query::write(&mut bytes, sql.as_bytes()).map_err(|e| error::encode_error(py, &e))?;
        Ok(Request {
            id,
            bytes,
            steps: SmallVec::from_slice(&[Step::Query, Step::Sync]),
            barrier: true,
            open: false,
            resend: Resend::Never,
            job: Job::new(Kind::Script(Box::new(Script::new(sql))), reply),
        })
    }

    /// Hands a request to the machine. Raises when the connection has ended meanwhile: encoding its arguments may have
    /// run code that closed it.
    pub(crate) fn submit(&self, py: Python<'_>, request: Request<Job>) -> PyResult<()> {
        let refused = {
            let mut state = lock(&self.state);
            if state.ended.is_none() {
                state.conn.submit(request);
                None
            } else {
                Some(request)
            }
        };
        match refused {
            None => Ok(()),
            Some(mut request) => {
                let closed = self.closed_error(py);
                if let Kind::Batch(batch) = &mut request.job.kind {
                    batch.abort(py, &closed);
                }
                Err(closed)
            }
        }
    }

    /// A Sync and nothing else: answered when all before it has been.
    pub(crate) fn sync_request(id: RequestId, reply: Option<Py<Awaitable>>) -> Request<Job> {
        let mut bytes = Vec::new();
        sync::write(&mut bytes);
        let steps = SmallVec::from_slice(&[Step::Sync]);
        let job = Job::new(Kind::Taken, reply);
        // A barrier: what is sent again comes before it too.
        Request { id, bytes, steps, barrier: true, open: false, resend: Resend::Never, job }
    }

    /// A fed request is at the head, and the server takes what it is fed.
    pub(crate) fn may_feed(&self, id: RequestId) -> bool {
        let mut state = lock(&self.state);
        state.conn.is_open(id) || matches!(state.conn.job(id), Some(Job { kind: Kind::Fed(fed), .. }) if fed.copying)
    }

    /// Who waits for request `id`, if anybody still does.
    pub(crate) fn reply_of(&self, py: Python<'_>, id: RequestId) -> Option<Py<Awaitable>> {
        let mut state = lock(&self.state);
        let State { conn, held, .. } = &mut *state;
        let reply = match held.get(id) {
            Some(held) => held.reply(),
            None => conn.job(id).and_then(|job| job.reply.as_ref()),
        };
        reply.map(|reply| reply.clone_ref(py))
    }

    /// The reader of request `id`, if that is a stream.
    pub(crate) fn stream_of(&self, id: RequestId) -> Option<Arc<Shared>> {
        let mut state = lock(&self.state);
        let State { conn, held, .. } = &mut *state;
        let shared = match held.get(id) {
            Some(held) => held.stream(),
            None => conn.job(id).and_then(|job| job.stream.as_ref()),
        };
        shared.cloned()
    }

    /// Nothing is held, queued or in flight.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = lock(&self.state);
        state.held.is_empty() && state.conn.is_idle()
    }

    /// DateStyle as the server last reported it; a peer that reports none writes what PostgreSQL does by default.
    pub(crate) fn writes_iso_dates(&self) -> bool {
        lock(&self.state).conn.parameter("DateStyle").is_none_or(|style| style.starts_with("ISO"))
    }

    /// Why the connection ended, as the exception itself, which is to be raised now.
    pub(crate) fn reason(&self, py: Python<'_>) -> PyErr {
        let reason = lock(&self.state).ended.as_mut().and_then(|ended| ended.reason.take());
        reason.map_or_else(|| self.closed_error(py), |reason| reason.error(py))
    }

    // ---- from bytes to outcomes ------------------------------------------------------------------------------

    /// Reads all complete messages of the page. An error means that the connection cannot go on.
    pub(crate) fn process(&self, py: Python<'_>, page: &mut RecvBuffer, out: &mut Vec<Outcome>) -> PyResult<()> {
        let mut used = 0;
        let result = loop {
            let event = lock(&self.state).conn.next_event(page.data(), &mut used);
            match event {
                Ok(None) => break Ok(()),
                Ok(Some(event)) => {
                    if let Err(error) = self.handle(py, event, out) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error::protocol_error(py, &error)),
            }
        };
        page.consume(used);
        result
    }

    fn handle(&self, py: Python<'_>, event: Event<'_, Job>, out: &mut Vec<Outcome>) -> PyResult<()> {
        match event {
            Event::Rows { frames, count } => return self.rows(py, frames, count),
            Event::Finished { id, mut job, abandoned, status: _ } => {
                job.answered();
                out.push(Outcome::Finished(id, job, abandoned));
            }
            Event::Complete(complete) if self.runs_stream() => {
                let _ = complete; // how many rows there were, the reader has counted
                self.batch_ended(false, out);
            }
            Event::Complete(complete) => self.completed(Some(&complete)),
            Event::Empty if self.runs_stream() => self.batch_ended(false, out),
            Event::Empty => self.completed(None),
            Event::Suspended => self.batch_ended(true, out),
            Event::Parsed => self.with_job(Job::parsed),
            Event::ParameterDescription(description) => {
                let oids: Vec<u32> = description.types.iter().collect();
                self.with_job(|job| match &mut job.kind {
                    Kind::Prepare(prepare) => prepare.parameters_described(oids),
                    Kind::Run(run) => run.parameters_described(oids),
                    Kind::Batch(batch) => batch.parameters_described(oids),
                    _ => {}
                });
            }
            Event::RowDescription(description) => {
                let plan = job::describe(py, &description, &self.options.rules)?;
                let sent = plan.sent_as(&description);
                self.described(py, Some(plan), sent)?;
            }
            Event::NoData => self.described(py, None, SentAs::Wanted)?,
            Event::Failed(refusal, failure) => self.failed(py, &refusal, failure)?,
            Event::Notice(notice) => {
                out.push(Outcome::Notice(error::fields(py, notice.fields.iter().map(|f| (f.code, f.value)))?.unbind()));
            }
            Event::Notification(notification) => out.push(Outcome::Notification {
                channel: String::from_utf8_lossy(notification.channel).into_owned(),
                payload: String::from_utf8_lossy(notification.payload).into_owned(),
                process_id: notification.process_id,
            }),
            Event::Parameter { name, value } => {
                if name == b"TimeZone" {
                    self.options.rules.session_zone.reported(py, value);
                }
            }
            Event::Started => out.push(Outcome::Started),
            Event::AuthenticationRequested(asked) => return Err(not_yet_supported(py, &asked)),
            Event::Closed => {
                let state = lock(&self.state);
                if let Some(id) = state.conn.running_id() {
                    out.push(Outcome::FeedStarted(id));
                }
            }
            Event::CopyStarted(direction) => self.copy_started(py, direction, out)?,
            Event::CopyData(_) | Event::CopyDone => {}
        }
        Ok(())
    }

    /// Request `id` is the one the server is at.
    pub(crate) fn is_running(&self, id: RequestId) -> bool {
        lock(&self.state).conn.running_id() == Some(id)
    }

    fn runs_stream(&self) -> bool {
        matches!(lock(&self.state).conn.running(), Some(Job { kind: Kind::Stream(_), .. }))
    }

    /// A stream's Execute has been answered.
    fn batch_ended(&self, more: bool, out: &mut Vec<Outcome>) {
        let mut state = lock(&self.state);
        let id = state.conn.running_id();
        if let (Some(id), Some(Job { kind: Kind::Stream(stream), error, .. })) = (id, state.conn.running()) {
            let rows = stream.take_batch();
            // A row that could not be built is the end: its reader is told once the portal is closed.
            let more = more && error.is_none();
            out.push(Outcome::Batch { id, shared: Arc::clone(&stream.shared), rows, more, size: stream.size });
        }
    }

    fn with_job(&self, act: impl FnOnce(&mut Job)) {
        if let Some(job) = lock(&self.state).conn.running() {
            act(job);
        }
    }

    /// A statement came to its end. None: its text was empty.
    fn completed(&self, complete: Option<&CommandComplete<'_>>) {
        let mut over = None;
        self.with_job(|job| match (&mut job.kind, complete) {
            (Kind::Script(script), _) => over = script.complete(complete),
            (Kind::Run(run), Some(complete)) => run.complete(complete),
            (Kind::Fed(fed), Some(complete)) => fed.complete(complete),
            (Kind::Batch(batch), Some(complete)) => batch.complete(complete),
            (Kind::Batch(batch), None) => batch.empty(),
            (Kind::Run(_) | Kind::Fed(_), None) | (Kind::Prepare(_) | Kind::Stream(_) | Kind::Taken, _) => {}
        });
        drop(over);
    }

    /// Takes the head's job apart so that Python may run, and puts it together again. Nothing is done for a job
    /// nobody waits for.
    fn with_kind<R>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&mut Kind) -> Result<R, Fault>,
    ) -> Result<Option<R>, Fault> {
        let abandoned = lock(&self.state).conn.running_abandoned();
        self.with_kind_if(py, !abandoned, act)
    }

    fn with_kind_if<R>(
        &self,
        py: Python<'_>,
        wanted: bool,
        act: impl FnOnce(&mut Kind) -> Result<R, Fault>,
    ) -> Result<Option<R>, Fault> {
        let taken = {
            let mut state = lock(&self.state);
            if !wanted {
                None
            } else {
                state.conn.running().map(|job| (job.error.is_some(), std::mem::replace(&mut job.kind, Kind::Taken)))
            }
        };
        let Some((has_failed, mut kind)) = taken else { return Ok(None) };
        let result = if has_failed { Ok(None) } else { act(&mut kind).map(Some) };
        self.put_together(py, kind)?;
        result
    }

    /// The head's job is whole again. When the connection has ended meanwhile, who waits for parts of `kind` is told, as
    /// those of all other jobs have been.
    fn put_together(&self, py: Python<'_>, kind: Kind) -> PyResult<()> {
        let mut orphan = {
            let mut state = lock(&self.state);
            match state.conn.running() {
                Some(job) => std::mem::replace(&mut job.kind, kind),
                None => kind,
            }
        };
        match &mut orphan {
            Kind::Batch(batch) => batch.abort(py, &self.closed_error(py)),
            Kind::Fed(fed) => {
                if let Some(started) = fed.started.take()
                    && started.get().settle(Err(self.closed_error(py)))
                {
                    Awaitable::wake(started.into_bound(py), false)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rows(&self, py: Python<'_>, frames: &[u8], count: usize) -> PyResult<()> {
        let result = self.with_kind(py, |kind| match kind {
            Kind::Run(run) => run.rows(py, frames, count),
            Kind::Script(script) => script.rows(py, frames),
            Kind::Batch(batch) => batch.rows(py, frames, count),
            Kind::Stream(stream) => stream.rows(py, frames, count),
            Kind::Prepare(_) | Kind::Fed(_) | Kind::Taken => Ok(()),
        });
        self.settle_fault(py, result.map(|_| ()))
    }

    fn described(&self, py: Python<'_>, plan: Option<Arc<crate::plan::Plan>>, sent: SentAs) -> PyResult<()> {
        // Also for a call that was given up: others wait for the description it carried.
        let result = self.with_kind_if(py, true, |kind| {
            match kind {
                Kind::Prepare(prepare) => prepare.described(plan),
                Kind::Run(run) => run.described(py, plan, sent)?,
                Kind::Batch(batch) => batch.described(py, plan, sent)?,
                Kind::Stream(stream) => stream.described(py, plan, sent)?,
                Kind::Script(script) => {
                    if let Some(plan) = plan {
                        script.described(py, plan)?;
                    }
                }
                Kind::Fed(_) | Kind::Taken => {}
            }
            Ok(())
        });
        self.settle_fault(py, result.map(|_| ()))
    }

    /// A call's own failure is remembered until its ReadyForQuery; a broken message ends the connection.
    fn settle_fault(&self, py: Python<'_>, result: Result<(), Fault>) -> PyResult<()> {
        match result {
            Ok(()) => Ok(()),
            Err(Fault::Protocol(error)) => Err(error::protocol_error(py, &error)),
            Err(Fault::Call(error)) => {
                self.remember(error);
                Ok(())
            }
        }
    }

    /// The first failure of the head is its failure.
    fn remember(&self, error: PyErr) {
        let surplus = {
            let mut state = lock(&self.state);
            match state.conn.running() {
                Some(job) if job.error.is_none() => {
                    job.error = Some(error);
                    None
                }
                _ => Some(error),
            }
        };
        drop(surplus);
    }

    fn failed(&self, py: Python<'_>, refusal: &ErrorResponse<'_>, failure: Failure) -> PyResult<()> {
        if failure == Failure::Session {
            let words = error::server_error(py, refusal, None, None);
            let earlier = lock(&self.state).last_words.replace(words);
            drop(earlier);
            return Ok(());
        }
        if failure == Failure::Neighbour && lock(&self.state).conn.running_resends() {
            self.with_job(|job| job.parsed = false);
            let restart = self.with_kind(py, |kind| {
                match kind {
                    Kind::Run(run) => run.restart(),
                    Kind::Prepare(prepare) => prepare.restart(),
                    _ => {}
                }
                Ok(())
            });
            return self.settle_fault(py, restart.map(|_| ()));
        }
        let (taken, abandoned) = {
            let mut state = lock(&self.state);
            let abandoned = state.conn.running_abandoned();
            let running = state.conn.running();
            let taken = running.map(|job| {
                job.refused = true;
                (std::mem::replace(&mut job.kind, Kind::Taken), job.parsed)
            });
            (taken, abandoned)
        };
        let Some((mut kind, parsed)) = taken else { return Ok(()) };
        if let Kind::Prepare(prepare) = &mut kind {
            prepare.refuse(body_of(refusal), failure == Failure::Neighbour);
        }
        if let Kind::Run(run) = &mut kind
            && let Some(first) = run.first.take()
        {
            let statement = Arc::clone(first.statement());
            // Sent again it may be described already, but what was described is closed.
            let gone = !parsed && statement.described().is_some();
            if gone {
                statement.set_exists(false);
            }
            let cancelled = refusal.fields.find(fields::SQLSTATE) == Some(b"57014");
            if gone || (statement.described().is_none() && !cancelled) {
                self.statements.forget(py, &statement)?;
            }
        }
        let which = match &kind {
            Kind::Script(script) => Some(script.completed() + 1),
            _ => None,
        };
        let job = Job::new(kind, None);
        let error = (!abandoned && !matches!(job.kind, Kind::Prepare(_))).then(|| {
            let error = job.server_error(py, refusal);
            if let Some(number) = which {
                // A note that cannot be added is no reason to lose the error.
                let _ = error.value(py).call_method1("add_note", (format!("in statement {number} of the script"),));
            }
            if failure == Failure::Neighbour { victim(py, error) } else { error }
        });
        self.put_together(py, job.kind)?;
        if let Some(error) = error {
            self.remember(error);
        }
        Ok(())
    }

    fn copy_started(&self, py: Python<'_>, direction: CopyDirection, out: &mut Vec<Outcome>) -> PyResult<()> {
        let fed = {
            let mut state = lock(&self.state);
            let (id, given_up) = (state.conn.running_id(), state.conn.running_abandoned());
            match (id, state.conn.running()) {
                (Some(id), Some(Job { kind: Kind::Fed(fed), .. })) if direction == CopyDirection::In => {
                    if !given_up {
                        fed.copying = true;
                        out.push(Outcome::FeedStarted(id));
                        return Ok(());
                    }
                    true
                }
                _ => false,
            }
        };
        let refused = match (fed, direction) {
            // Given up while the answer was on its way: nobody will feed it.
            (true, _) => lock(&self.state).conn.refuse_copy(b"the call was given up"),
            (false, CopyDirection::In) => {
                self.remember(copy_error(py, "copy_in"));
                lock(&self.state).conn.refuse_copy(b"COPY FROM STDIN needs copy_in()")
            }
            (false, CopyDirection::Out) => {
                self.remember(copy_error(py, "copy_out"));
                Ok(())
            }
        };
        refused.map_err(|e| error::encode_error(py, &e))
    }

    // ---- the end ---------------------------------------------------------------------------------------------

    /// The connection is gone. All unfinished jobs come back, held ones too; `reason` is what later calls hear,
    /// unless the server announced the end itself. The flag: it had not ended before. Two threads may end it at once, and
    /// what must be done once is the first one's to do.
    pub(crate) fn end(&self, py: Python<'_>, reason: PyErr) -> (bool, Vec<Job>) {
        let words = lock(&self.state).last_words.take();
        let reason = words.unwrap_or(reason);
        let ended = Ended { text: reason.value(py).to_string(), reason: Some(Kept::new(py, reason)) };
        let (jobs, held, first, unused) = {
            let mut state = lock(&self.state);
            let first = state.ended.is_none();
            let unused = if first { state.ended.replace(ended) } else { Some(ended) };
            (state.conn.abort(), state.held.take_all(), first, unused)
        };
        drop(unused);
        self.statements.clear(py);
        let held = held.map(Held::into_job);
        (first, jobs.into_iter().map(|(_, job, _)| job).chain(held).collect())
    }

    /// For the garbage collector, whom nothing may keep waiting.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.statements.visit(visit)?;
        if let Ok(Some((token, _))) = self.owner.try_lock().as_deref() {
            visit.call(token)?;
        }
        let Ok(state) = self.state.try_lock() else { return Ok(()) };
        if let Some(Ended { reason: Some(reason), .. }) = &state.ended {
            reason.visit(visit)?;
        }
        state.conn.jobs().try_for_each(|job| job.visit(visit))?;
        state.held.visit(visit)
    }

    /// For the garbage collector: nobody can reach the connection any more.
    pub(crate) fn clear(&self, py: Python<'_>) {
        let (jobs, held, ended, words) = {
            let mut state = lock(&self.state);
            let (ended, words) = (state.ended.take(), state.last_words.take());
            (state.conn.abort(), std::mem::take(&mut state.held), ended, words)
        };
        let owner = lock(&self.owner).take();
        drop((jobs, held, ended, words, owner));
        self.statements.clear(py);
    }

    pub(crate) fn is_ended(&self) -> bool {
        lock(&self.state).ended.is_some()
    }

    pub(crate) fn status(&self) -> TransactionStatus {
        lock(&self.state).conn.status()
    }
}

/// Bind with arguments encoded for their parameters.
pub(crate) fn append_bind(
    py: Python<'_>,
    rules: &Rules,
    name: &[u8],
    described: &Described,
    arguments: &Bound<'_, PyTuple>,
    result_formats: &[Format],
    bytes: &mut Vec<u8>,
) -> PyResult<()> {
    if arguments.len() != described.encoders.len() {
        return Err(wrong_count(py, described.encoders.len(), arguments.len()));
    }
    let mut frame =
        bind::begin(bytes, b"", name, parameter_formats(described)).map_err(|e| error::encode_error(py, &e))?;
    for (index, value) in arguments.iter_borrowed().enumerate() {
        if value.is_none() {
            frame.null(bytes);
            continue;
        }
        let mark = frame.begin_value(bytes);
        if let Err(cause) = described.encoders[index].encode(&value, rules, bytes) {
            frame.abandon(bytes);
            return Err(blame_argument(py, index, described.parameter_oids[index], &value, cause));
        }
        if let Err(fault) = frame.end_value(bytes, mark) {
            frame.abandon(bytes);
            return Err(error::encode_error(py, &fault));
        }
    }
    frame.finish(bytes, result_formats).map_err(|e| error::encode_error(py, &e))
}

/// One code stands for all when they agree, as nearly always.
fn parameter_formats(described: &Described) -> &[Format] {
    match described.parameter_formats.first() {
        Some(first) if described.parameter_formats.iter().all(|format| format == first) => {
            &described.parameter_formats[..1]
        }
        _ => &described.parameter_formats,
    }
}

fn append_parse(py: Python<'_>, prepared: &Prepared, bytes: &mut Vec<u8>) -> PyResult<()> {
    let sql = prepared.text(py)?;
    parse::write(bytes, &prepared.name, sql.as_bytes(), &prepared.declared).map_err(|e| error::encode_error(py, &e))
}

/// Parse and Describe. A statement that was parsed in a flight that then failed is closed first.
fn append_description(
    py: Python<'_>,
    prepared: &Prepared,
    bytes: &mut Vec<u8>,
    steps: &mut SmallVec<[Step; 6]>,
) -> PyResult<()> {
    if prepared.exists() {
        append_close(py, prepared, bytes)?;
        steps.push(Step::Close);
    }
    append_parse(py, prepared, bytes)?;
    describe::write_statement(bytes, &prepared.name).map_err(|e| error::encode_error(py, &e))?;
    steps.extend([Step::Parse, Step::DescribeStatement]);
    Ok(())
}

/// Behind Bind, for commands whose columns the statement's description does not settle: another cursor may have the name by
/// now, and the rows must not be read as if they were the old one's.
pub(crate) fn describe_portal(
    py: Python<'_>,
    prepared: &Prepared,
    bytes: &mut Vec<u8>,
    steps: &mut SmallVec<[Step; 6]>,
) -> PyResult<()> {
    if matches!(prepared.command, Command::Typed | Command::Indirect) {
        describe::write_portal(bytes, b"").map_err(|e| error::encode_error(py, &e))?;
        steps.push(Step::DescribePortal);
    }
    Ok(())
}

fn append_close(py: Python<'_>, prepared: &Prepared, bytes: &mut Vec<u8>) -> PyResult<()> {
    close::write_statement(bytes, &prepared.name).map_err(|e| error::encode_error(py, &e))
}

/// May the run be written a second time after another's cancel hit it?
fn resend_rule(py: Python<'_>, prepared: &Prepared) -> PyResult<Resend> {
    if prepared.command != Command::Plain {
        return Ok(Resend::Never);
    }
    let mut prefix = Prefix::default();
    let first = prepared.described().is_none();
    if first || prepared.once {
        // Whether the first attempt came as far as its own Parse or Close is not known.
        append_close(py, prepared, &mut prefix.bytes)?;
        prefix.steps.push(Step::Close);
    }
    if prepared.once && !first {
        append_parse(py, prepared, &mut prefix.bytes)?;
        prefix.steps.push(Step::Parse);
    }
    Ok(Resend::Once(prefix))
}

#[cold]
pub(crate) fn wrong_count(py: Python<'_>, takes: usize, given: usize) -> PyErr {
    error::interface_error(
        py,
        format!("the statement takes {takes} parameter{}, {given} given", if takes == 1 { "" } else { "s" }),
    )
}

#[cold]
fn blame_argument(py: Python<'_>, index: usize, oid: u32, value: &Bound<'_, PyAny>, cause: PyErr) -> PyErr {
    let place = format!("argument ${} ({})", index + 1, type_name(oid));
    let explained = match cause.is_instance(
        py,
        match crate::pyimport::data_error(py) {
            Ok(class) => class.as_any(),
            Err(error) => return error,
        },
    ) {
        true => format!("{place}: {}", cause.value(py)),
        false => format!("{place}: {} could not be encoded: {}", short_repr(value), cause.value(py)),
    };
    error::caused_by(py, error::data_error(py, explained), cause)
}

/// CancelledByNeighbour, with the server's own error as its cause.
#[cold]
pub(crate) fn victim(py: Python<'_>, cause: PyErr) -> PyErr {
    let error = error::cancelled_by_neighbour(
        py,
        "another call's cancel hit this one, and it was not run again: that might have repeated its effects, or run it \
         behind a transaction, setting or call that had been written after it; isolate=True makes a call safe from its \
         neighbours",
    );
    error::caused_by(py, error, cause)
}

#[cold]
fn owned(py: Python<'_>, holder: &str) -> PyErr {
    error::interface_error(
        py,
        format!(
            "{holder} has a transaction open on this connection: a call from outside would become part of it; wait, or use \
             another connection"
        ),
    )
}

#[cold]
fn not_yet_supported(py: Python<'_>, asked: &Authentication<'_>) -> PyErr {
    let method = match asked {
        Authentication::CleartextPassword => "a cleartext password",
        Authentication::Md5Password { .. } => "an MD5 password",
        Authentication::Sasl { .. } | Authentication::SaslContinue { .. } | Authentication::SaslFinal { .. } => "SASL",
        Authentication::Gss | Authentication::GssContinue { .. } => "GSSAPI",
        Authentication::Sspi => "SSPI",
        Authentication::KerberosV5 => "Kerberos V5",
        Authentication::Unknown { .. } | Authentication::Ok => "a method this version does not know",
    };
    error::not_supported_error(py, format!("the server asks for {method}; this version authenticates by trust only"))
}

fn body_of(refusal: &ErrorResponse<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    // What was decoded can be encoded; should it not, the error arrives without fields rather than not at all.
    match refusal.encode(&mut frame) {
        Ok(()) => frame.split_off(5),
        Err(_) => vec![0],
    }
}

pub(crate) fn refusal_error(py: Python<'_>, body: &[u8], statement: &Prepared) -> PyErr {
    match ErrorResponse::decode(body) {
        Ok(refusal) => error::server_error(py, &refusal, statement.text(py).ok(), None),
        Err(fault) => error::protocol_error(py, &ProtocolError::from(fault)),
    }
}

/// A type's name for messages.
pub(crate) fn type_name(oid: u32) -> String {
    pgoxide_types::oid::name(oid).map_or_else(|| format!("type {oid}"), str::to_owned)
}

#[cold]
fn copy_error(py: Python<'_>, verb: &str) -> PyErr {
    error::programming_error(py, format!("COPY with the client needs {verb}(), which moves its data"))
}
