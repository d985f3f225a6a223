//! Several statements in one flight with one Sync: one implicit transaction, one round trip, no future per query.

use std::sync::{Arc, Mutex};

use pgoxide_protocol::client::{Request, RequestId, Resend, Step};
use pgoxide_protocol::message::command_complete::CommandComplete;
use pgoxide_protocol::message::sync;
use pgoxide_sqltext::Command;
use pyo3::exceptions::PyStopIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use smallvec::SmallVec;

use crate::arguments::{Arguments, Parameters, freeze};
use crate::async_client::AsyncClient;
use crate::awaitable::Awaitable;
use crate::blocking_client::BlockingClient;
use crate::call::Asked;
use crate::convert::Rules;
use crate::error::{self, Kept};
use crate::job::{End, Fault, Job, Kind, Run, Verb};
use crate::named::Given;
use crate::plan::{Plan, SentAs};
use crate::prepared::{Prepared, Stage};
use crate::session::{Place, Session};
use crate::sync::lock;

/// One statement's answer in a batch; there once the batch has run.
#[pyclass(frozen, module = "pgoxide._core", name = "BatchReply")]
pub(crate) struct BatchReply {
    answer: Mutex<Option<Result<Py<PyAny>, Kept>>>,
}

impl BatchReply {
    fn set(&self, py: Python<'_>, answer: PyResult<Py<PyAny>>) {
        let answer = answer.map_err(|error| Kept::new(py, error));
        let earlier = lock(&self.answer).replace(answer);
        drop(earlier);
    }

    fn get(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let answer = lock(&self.answer).as_ref().map(|answer| match answer {
            Ok(value) => Ok(value.clone_ref(py)),
            Err(error) => Err(error.error(py)),
        });
        answer.unwrap_or_else(|| {
            Err(error::interface_error(py, "the batch has not run yet: take results after its block"))
        })
    }
}

#[pymethods]
impl BatchReply {
    /// The statement's result. Raises its error, BatchAborted when an earlier statement failed, InterfaceError
    /// while the batch has not run.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.get(py)
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<()> {
        let value = self.get(py)?;
        Err(PyStopIteration::new_err((value,)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.answer.try_lock().as_deref() {
            Ok(Some(Ok(value))) => visit.call(value),
            Ok(Some(Err(error))) => error.visit(&visit),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        let answer = lock(&self.answer).take();
        drop(answer);
    }
}

struct Item {
    run: Run,
    /// Kept while the statement is not described.
    arguments: Option<Parameters>,
    reply: Py<BatchReply>,
    /// Its rows could not be read: only it has failed.
    error: Option<PyErr>,
}

/// A batch being collected, then in flight.
pub(crate) struct Batch {
    items: Vec<Item>,
    bytes: Vec<u8>,
    steps: SmallVec<[Step; 6]>,
    /// Items whose messages are in `bytes`.
    encoded: usize,
    /// The item the server is at.
    at: usize,
    /// It brings the end of its transaction block.
    pub(crate) end: Option<End>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self { items: Vec::new(), bytes: Vec::new(), steps: SmallVec::new(), encoded: 0, at: 0, end: None }
    }

    /// Adds a statement: written at once when it is described and nothing before it waits.
    pub(crate) fn add(
        &mut self,
        session: &Session,
        mut run: Run,
        arguments: &Bound<'_, PyTuple>,
    ) -> PyResult<Py<BatchReply>> {
        let py = arguments.py();
        if self.copy().is_some() {
            return Err(error::interface_error(
                py,
                "a COPY must be the last statement of its batch: the server would take what follows for its data",
            ));
        }
        let reply = Py::new(py, BatchReply { answer: Mutex::new(None) })?;
        let mut kept = None;
        if self.encoded == self.items.len() && run.prepared.described().is_some() {
            let start = (self.bytes.len(), self.steps.len());
            let arguments = Arguments::Values(arguments);
            if let Err(error) = session.append_run(py, &mut run, arguments, &mut self.bytes, &mut self.steps) {
                self.bytes.truncate(start.0);
                self.steps.truncate(start.1);
                return Err(error);
            }
            self.encoded += 1;
        } else {
            kept = Some(Parameters::Values(freeze(arguments, &run.prepared)?));
        }
        self.items.push(Item { run, arguments: kept, reply: reply.clone_ref(py), error: None });
        Ok(reply)
    }

    /// The COPY that ends it.
    pub(crate) fn copy(&self) -> Option<&Arc<Prepared>> {
        self.items.last().map(|item| &item.run.prepared).filter(|prepared| prepared.command == Command::Copy)
    }

    /// Statements that must be described before the batch can be written.
    pub(crate) fn missing(&self) -> SmallVec<[Arc<Prepared>; 1]> {
        let mut missing: SmallVec<[Arc<Prepared>; 1]> = SmallVec::new();
        for item in &self.items[self.encoded..] {
            let known = missing.iter().any(|other| Arc::ptr_eq(other, &item.run.prepared));
            if item.run.prepared.stage() != Stage::Described && !known {
                missing.push(Arc::clone(&item.run.prepared));
            }
        }
        missing
    }

    /// The relations its statements create.
    pub(crate) fn creates(&self) -> impl Iterator<Item = &[String]> {
        self.items.iter().map(|item| &*item.run.prepared.creates).filter(|names| !names.is_empty())
    }

    /// Its statements change nothing but rows.
    fn is_plain(&self) -> bool {
        self.items.iter().all(|item| item.run.prepared.command == Command::Plain)
    }

    /// The statement it has come to is lost, nothing of that has run, and the server has undone all that came before.
    pub(crate) fn may_run_again(&self) -> bool {
        self.items.get(..=self.at).is_some_and(|begun| {
            begun.iter().all(|item| !item.run.again)
                && begun.iter().take(self.at).all(|item| item.run.prepared.command == Command::Plain)
        })
    }

    /// It is to run from its beginning: `renew` gives each run another statement, and its parameters.
    pub(crate) fn start_again(&mut self, mut renew: impl FnMut(&mut Run) -> PyResult<Parameters>) -> PyResult<()> {
        (self.at, self.encoded) = (0, 0);
        for item in &mut self.items {
            item.error = None;
            item.arguments = Some(renew(&mut item.run)?);
        }
        Ok(())
    }

    /// For the garbage collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.items.iter().try_for_each(|item| {
            item.run.visit(visit)?;
            item.arguments.iter().try_for_each(|arguments| arguments.visit(visit))?;
            visit.call(&item.reply)
        })
    }

    /// All of it has run, the Close of statements that are not kept included.
    pub(crate) fn fulfilled(&self) {
        self.items.iter().for_each(|item| item.run.fulfilled());
    }

    /// About how many bytes it keeps.
    pub(crate) fn weight(&self, py: Python<'_>) -> usize {
        let kept = self.items.iter().filter_map(|item| item.arguments.as_ref());
        self.bytes.len() + kept.map(|arguments| arguments.weight(py)).sum::<usize>()
    }

    fn current(&mut self) -> Option<&mut Run> {
        self.items.get_mut(self.at).map(|item| &mut item.run)
    }

    pub(crate) fn statement(&self) -> Option<&Arc<Prepared>> {
        self.items.get(self.at).map(|item| &item.run.prepared)
    }

    pub(crate) fn parameters_described(&mut self, oids: Vec<u32>) {
        if let Some(run) = self.current() {
            run.parameters_described(oids);
        }
    }

    pub(crate) fn described(
        &mut self,
        py: Python<'_>,
        plan: Option<Arc<Plan>>,
        sent: SentAs,
        rules: &Rules,
    ) -> PyResult<()> {
        let Some(item) = self.items.get_mut(self.at) else { return Ok(()) };
        if let Err(error) = item.run.described(py, plan, sent, rules) {
            item.error.get_or_insert(error);
        }
        Ok(())
    }

    pub(crate) fn rows(&mut self, py: Python<'_>, frames: &[u8], count: usize) -> Result<(), Fault> {
        let Some(item) = self.items.get_mut(self.at).filter(|item| item.error.is_none()) else { return Ok(()) };
        match item.run.rows(py, frames, count) {
            Err(Fault::Call(error)) => {
                item.error = Some(error);
                Ok(())
            }
            other => other,
        }
    }

    /// Types that must be asked for before it can come to its end.
    pub(crate) fn unknown_types(&self, into: &mut Vec<u32>) {
        self.items.iter().for_each(|item| item.run.unknown_types(into));
    }

    /// The types it waited for are known.
    pub(crate) fn resolve(&mut self, py: Python<'_>, rules: &Rules) -> Result<(), Fault> {
        for item in &mut self.items {
            match item.run.resolve(py, rules) {
                Err(Fault::Call(error)) => item.error = item.error.take().or(Some(error)),
                other => other?,
            }
        }
        Ok(())
    }

    pub(crate) fn complete(&mut self, complete: &CommandComplete<'_>) {
        if let Some(run) = self.current() {
            run.complete(complete);
        }
        self.at += 1;
    }

    pub(crate) const fn empty(&mut self) {
        self.at += 1;
    }

    /// All statements ran: each reply gets its result. The batch's own result is the list of them, or the first
    /// refusal of a row count.
    pub(crate) fn result(&mut self, py: Python<'_>, session: &Session) -> PyResult<Py<PyAny>> {
        let mut first = None;
        for mut item in std::mem::take(&mut self.items) {
            let answer = item.error.take().map_or_else(|| item.run.result(py), Err);
            let answer = answer.map_err(|error| session.explained(py, error, Some(&item.run.prepared)));
            if let (Err(error), None) = (&answer, &first) {
                first = Some(error.clone_ref(py));
            }
            item.reply.get().set(py, answer);
        }
        first.map_or_else(|| Ok(py.None()), Err)
    }

    /// The description of `statement` was refused: nothing ran, and it is the one to blame.
    pub(crate) fn stop_at(&mut self, statement: &Arc<Prepared>) {
        self.at = self.items.iter().position(|item| Arc::ptr_eq(&item.run.prepared, statement)).unwrap_or(0);
    }

    /// A statement failed: it gets the error, all others were undone with it or never ran.
    pub(crate) fn abort(&mut self, py: Python<'_>, error: &PyErr) {
        let at = self.at;
        for (index, item) in std::mem::take(&mut self.items).into_iter().enumerate() {
            let answer = if index == at {
                error.clone_ref(py)
            } else {
                let what = if index < at { "undone" } else { "not run" };
                let aborted = error::batch_aborted(
                    py,
                    format!("{what}: statement {} of the batch failed: {}", at + 1, error.value(py)),
                );
                error::caused_by(py, aborted, error.clone_ref(py))
            };
            item.reply.get().set(py, Err(answer));
        }
    }
}

impl Session {
    /// The batch's one request. All its statements are described.
    pub(crate) fn batch_request(
        &self,
        py: Python<'_>,
        id: RequestId,
        mut batch: Box<Batch>,
        reply: Option<Py<Awaitable>>,
    ) -> PyResult<Request<Job>> {
        let mut bytes = Vec::with_capacity(batch.bytes.len() + 64);
        let mut steps = SmallVec::new();
        let closing = self.close_given_up(py, &mut bytes, &mut steps)?;
        bytes.append(&mut batch.bytes);
        steps.append(&mut batch.steps);
        let encoded = batch.encoded;
        for index in encoded..batch.items.len() {
            let item = &mut batch.items[index];
            let Some(arguments) = item.arguments.take() else { continue };
            if let Err(error) = self.append_run(py, &mut item.run, arguments.bind(py), &mut bytes, &mut steps) {
                batch.at = index;
                batch.abort(py, &error);
                return Err(error);
            }
        }
        let end = batch.end.take();
        if let Some(end) = &end {
            end.commands.append(&mut bytes, &mut steps);
        }
        sync::write(&mut bytes);
        steps.push(Step::Sync);
        let barrier = batch.copy().is_some();
        let resend = if batch.is_plain() && end.is_none() { Resend::Passive } else { Resend::Never };
        let job = Job::new(Kind::Batch(batch), reply).closing(closing).ending(end);
        Ok(Request { id, bytes, steps, barrier, open: false, resend, job })
    }
}

/// Collects the statements of a batch: the core of `Batch` and `AsyncBatch`.
#[pyclass(frozen, subclass, module = "pgoxide._core")]
pub(crate) struct BatchBuilder {
    client: Client,
    /// The token of the transaction block it was made through.
    pub(crate) via: Option<Py<PyAny>>,
    /// It may hold BEGIN, COMMIT and ROLLBACK where a block is open: a plan's own.
    by_hand: bool,
    /// Gone once the batch has been submitted.
    batch: Mutex<Option<Box<Batch>>>,
}

enum Client {
    Async(Py<AsyncClient>),
    Blocking(Py<BlockingClient>),
}

impl BatchBuilder {
    fn session(&self) -> &Session {
        match &self.client {
            Client::Async(client) => &client.get().session,
            Client::Blocking(client) => &client.get().session,
        }
    }

    fn add(&self, verb: Verb, asked: Asked<'_>) -> PyResult<Py<BatchReply>> {
        let session = self.session();
        let py = asked.sql.py();
        match &self.client {
            Client::Async(client) => client.get().check_mine(py)?,
            Client::Blocking(client) => client.get().check_mine(py)?,
        }
        let place = session.admit(py, self.via.as_ref())?;
        let prepared = asked.prepared(session)?;
        if let Place::Now(standing) = place
            && !self.by_hand
        {
            session.refuse_by_hand(py, &prepared, standing)?;
        }
        let run = Run::new(prepared, verb, asked.into, asked.arguments.len());
        // Out while Python encodes: an argument's own code may use this batch, which then says so.
        let Some(mut batch) = lock(&self.batch).take() else { return Err(closed(py)) };
        let added = batch.add(session, run, &asked.arguments);
        *lock(&self.batch) = Some(batch);
        added
    }

    /// The collected statements, to be submitted.
    pub(crate) fn take(&self, py: Python<'_>) -> PyResult<Box<Batch>> {
        lock(&self.batch).take().ok_or_else(|| closed(py))
    }
}

#[cold]
fn closed(py: Python<'_>) -> PyErr {
    error::interface_error(py, "the batch has been sent: statements are added inside its block, one at a time")
}

#[pymethods]
impl BatchBuilder {
    #[new]
    #[pyo3(signature = (client, token=None, by_hand=false))]
    fn new(client: &Bound<'_, PyAny>, token: Option<Py<PyAny>>, by_hand: bool) -> PyResult<Self> {
        let client = match client.cast::<AsyncClient>() {
            Ok(client) => Client::Async(client.clone().unbind()),
            Err(_) => Client::Blocking(client.cast::<BlockingClient>()?.clone().unbind()),
        };
        Ok(Self { client, via: token, by_hand, batch: Mutex::new(Some(Box::new(Batch::new()))) })
    }

    /// How many statements have been added.
    fn __len__(&self) -> usize {
        lock(&self.batch).as_ref().map_or(0, |batch| batch.items.len())
    }

    /// Forgets what was collected: nothing is sent.
    fn _discard(&self) {
        let batch = lock(&self.batch).take();
        drop(batch);
    }

    #[pyo3(signature = (statement, /, *args, into=None, types=None, params=None, **named))]
    fn fetch_all<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        types: Option<&Bound<'py, PyAny>>,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<BatchReply>> {
        self.add(
            Verb::All,
            Asked::new(self.session(), statement, Given { args, params, named }, into, None, types, false)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, types=None, params=None, **named))]
    fn fetch_one<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        types: Option<&Bound<'py, PyAny>>,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<BatchReply>> {
        self.add(
            Verb::One,
            Asked::new(self.session(), statement, Given { args, params, named }, into, None, types, false)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, types=None, params=None, **named))]
    fn fetch_optional<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        types: Option<&Bound<'py, PyAny>>,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<BatchReply>> {
        self.add(
            Verb::Optional,
            Asked::new(self.session(), statement, Given { args, params, named }, into, None, types, false)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, types=None, params=None, **named))]
    fn fetch_first<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        types: Option<&Bound<'py, PyAny>>,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<BatchReply>> {
        self.add(
            Verb::First,
            Asked::new(self.session(), statement, Given { args, params, named }, into, None, types, false)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, types=None, params=None, **named))]
    fn fetch_value<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        types: Option<&Bound<'py, PyAny>>,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<BatchReply>> {
        self.add(
            Verb::Value,
            Asked::new(self.session(), statement, Given { args, params, named }, into, None, types, false)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, into=None, types=None, params=None, **named))]
    fn fetch_column<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        into: Option<Py<PyAny>>,
        types: Option<&Bound<'py, PyAny>>,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<BatchReply>> {
        self.add(
            Verb::Column,
            Asked::new(self.session(), statement, Given { args, params, named }, into, None, types, false)?,
        )
    }

    #[pyo3(signature = (statement, /, *args, types=None, params=None, **named))]
    fn execute<'py>(
        &self,
        statement: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        types: Option<&Bound<'py, PyAny>>,
        params: Option<&Bound<'py, PyAny>>,
        named: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<BatchReply>> {
        self.add(
            Verb::Execute,
            Asked::new(self.session(), statement, Given { args, params, named }, None, None, types, false)?,
        )
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.client {
            Client::Async(client) => visit.call(client)?,
            Client::Blocking(client) => visit.call(client)?,
        }
        match self.batch.try_lock().as_deref() {
            Ok(Some(batch)) => batch.visit(&visit),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        self._discard();
    }
}
