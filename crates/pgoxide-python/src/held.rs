//! Calls that wait: for the description of their statement, or for their turn behind one that does. All calls keep
//! their order, so the queue moves by its front alone.
//!
//! ```text
//!   hold ──▶ held ──front, described, the machine has room──▶ encoded, submitted
//!              │ └──its statement is refused──▶ fails
//!              └──cancelled──▶ gone
//! ```
//!
//! Each call is looked at once for what it needs described, and each step afterwards costs the same however many wait:
//! sixty thousand calls of one new statement are an ordinary `gather`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pgoxide_protocol::client::{Queue, Request, RequestId, Standing};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use smallvec::SmallVec;

use crate::arguments::Parameters;
use crate::awaitable::Awaitable;
use crate::batch::Batch;
use crate::job::{Job, Kind, Prepare, Run};
use crate::prepared::{Describing, Entry, Prepared, Stage};
use crate::session::{Session, fits_one_flight};
use crate::stream::{Shared, StreamCall};
use crate::sync::lock;

/// What a held call counts beside its arguments or bytes.
const COST: usize = 1_024;

/// What is held.
pub(crate) enum Call {
    Run(Box<Run>, Parameters),
    Batch(BatchCall),
    Stream(StreamCall),
    /// Only wants to know when the statement is described.
    Described(Arc<Prepared>),
    /// Needs nothing, only its turn.
    Ready(Box<Request<Job>>),
}

/// A batch, and which of its statements were not described when it came, the first one last.
pub(crate) struct BatchCall {
    batch: Box<Batch>,
    undescribed: Vec<Arc<Prepared>>,
}

impl BatchCall {
    pub(crate) fn new(batch: Box<Batch>) -> Self {
        let undescribed = batch.missing().into_iter().rev().collect();
        Self { batch, undescribed }
    }

    pub(crate) fn into_batch(self) -> Box<Batch> {
        self.batch
    }
}

impl Call {
    /// The first statement whose description it waits for.
    fn waits_for(&mut self, iso: bool) -> Option<&Arc<Prepared>> {
        if let Self::Batch(call) = self {
            while call.undescribed.last().is_some_and(|statement| statement.described().is_some()) {
                call.undescribed.pop();
            }
        }
        self.missing(iso).next()
    }

    /// All statements whose descriptions it waits for.
    fn missing(&self, iso: bool) -> impl Iterator<Item = &Arc<Prepared>> {
        let statements = match self {
            Self::Run(run, Parameters::Values(_)) if run.prepared.stage() == Stage::New => {
                let alone = fits_one_flight(run, iso);
                if alone { &[] } else { std::slice::from_ref(&run.prepared) }
            }
            Self::Run(run, _) => std::slice::from_ref(&run.prepared),
            Self::Batch(call) => &call.undescribed,
            Self::Stream(stream) => std::slice::from_ref(&stream.run.prepared),
            Self::Described(prepared) => std::slice::from_ref(prepared),
            Self::Ready(_) => &[],
        };
        statements.iter().rev().filter(|statement| statement.described().is_none())
    }

    /// About how many bytes it keeps.
    fn weight(&self, py: Python<'_>) -> usize {
        match self {
            Self::Run(_, arguments) => arguments.weight(py),
            Self::Batch(call) => call.batch.weight(py),
            Self::Stream(call) => call.arguments.weight(py),
            Self::Described(_) => 0,
            Self::Ready(request) => request.bytes.len(),
        }
    }
}

/// One call that waits.
pub(crate) struct Held {
    id: RequestId,
    /// To the transaction block, when it was made.
    standing: Standing,
    /// `Call::Ready` keeps its own.
    reply: Option<Py<Awaitable>>,
    call: Call,
    cost: usize,
}

impl Held {
    pub(crate) fn new(py: Python<'_>, id: RequestId, reply: Option<Py<Awaitable>>, call: Call) -> Self {
        let cost = COST + call.weight(py);
        Self { id, standing: Standing::Outside, reply, call, cost }
    }

    /// The same, standing so to the transaction block.
    pub(crate) const fn standing_at(mut self, standing: Standing) -> Self {
        self.standing = standing;
        self
    }

    pub(crate) const fn id(&self) -> RequestId {
        self.id
    }

    /// Who waits for it.
    pub(crate) const fn reply(&self) -> Option<&Py<Awaitable>> {
        match &self.call {
            Call::Ready(request) => request.job.reply.as_ref(),
            _ => self.reply.as_ref(),
        }
    }

    /// What it is to run, or waits for.
    pub(crate) fn statement(&self) -> Option<&Arc<Prepared>> {
        match &self.call {
            Call::Run(run, _) => Some(&run.prepared),
            Call::Batch(call) => call.undescribed.last(),
            Call::Stream(stream) => Some(&stream.run.prepared),
            Call::Described(prepared) => Some(prepared),
            Call::Ready(request) => request.job.statement(),
        }
    }

    /// The requests that describe statements for it and for nobody else.
    pub(crate) fn described_by(&self) -> SmallVec<[RequestId; 1]> {
        let one = |statement: &Arc<Prepared>| statement.described_for(1).into_iter().collect();
        match &self.call {
            Call::Run(run, _) => one(&run.prepared),
            Call::Stream(stream) => one(&stream.run.prepared),
            Call::Described(prepared) => one(prepared),
            // A batch has them a second time.
            Call::Batch(call) => call.undescribed.iter().filter_map(|statement| statement.described_for(2)).collect(),
            Call::Ready(_) => SmallVec::new(),
        }
    }

    /// The reader of a stream.
    pub(crate) fn stream(&self) -> Option<&Arc<Shared>> {
        match &self.call {
            Call::Stream(call) => Some(&call.shared),
            Call::Ready(request) => request.job.stream.as_ref(),
            _ => None,
        }
    }

    /// For the garbage collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(reply) = &self.reply {
            visit.call(reply)?;
        }
        match &self.call {
            Call::Run(run, arguments) => {
                arguments.visit(visit)?;
                run.visit(visit)
            }
            Call::Batch(call) => call.batch.visit(visit),
            Call::Stream(stream) => {
                stream.arguments.visit(visit)?;
                stream.run.visit(visit)
            }
            Call::Ready(request) => request.job.visit(visit),
            Call::Described(_) => Ok(()),
        }
    }

    /// The job it would have been, to be told its end.
    pub(crate) fn into_job(self) -> Job {
        let kind = match self.call {
            Call::Ready(request) => return request.job,
            Call::Run(run, _) => Kind::Run(run),
            Call::Batch(call) => Kind::Batch(call.batch),
            Call::Stream(call) => return Job::new(Kind::Taken, None).of_stream(call.shared),
            Call::Described(_) => Kind::Taken,
        };
        Job::new(kind, self.reply)
    }
}

/// The machine belongs to one request, which must not have others behind it: it may have to be asked otherwise, in its place.
/// Until this is dropped, or ended, the calls wait.
pub(crate) struct Lent(Option<Arc<AtomicBool>>);

impl Lent {
    /// Gives it back.
    pub(crate) fn end(&mut self) {
        if let Some(lent) = self.0.take() {
            lent.store(false, Ordering::Release);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.end();
    }
}

/// The calls that wait, oldest first.
#[derive(Default)]
pub(crate) struct HeldCalls {
    /// Those that are made a second time (`session/recovery.rs`). They were made before all others, and go first.
    again: Queue<Held>,
    calls: Queue<Held>,
    /// One of them is being let go. Encoding it may run code that uses the connection: what that asks comes behind it.
    advancing: bool,
    /// See [`Lent`].
    lent: Arc<AtomicBool>,
    /// The descriptions that calls before this place need have been asked for.
    asked: u64,
    cost: usize,
}

/// What the front of the queue needs.
enum Front {
    Nobody,
    Description,
    Turn(Held),
}

impl HeldCalls {
    /// For the garbage collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.iter().try_for_each(|held| held.visit(visit))
    }

    pub(crate) fn push(&mut self, held: Held) {
        self.cost += held.cost;
        self.calls.push_back(held.id, held);
    }

    /// A call that is made a second time.
    pub(crate) fn push_again(&mut self, held: Held) {
        self.cost += held.cost;
        self.again.push_back(held.id, held);
    }

    fn iter(&self) -> impl Iterator<Item = &Held> {
        self.again.iter().chain(self.calls.iter()).map(|(_, held)| held)
    }

    /// None waits or would have to, and none is being let go.
    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.again.is_empty() && !self.advancing && !self.is_lent()
    }

    fn is_lent(&self) -> bool {
        self.lent.load(Ordering::Acquire)
    }

    /// Gives the machine to one request, if no call waits.
    pub(crate) fn lend(&self) -> Option<Lent> {
        if !self.is_empty() {
            return None;
        }
        self.lent.store(true, Ordering::Release);
        Some(Lent(Some(Arc::clone(&self.lent))))
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len() + self.again.len()
    }

    /// About how many bytes all of them keep.
    pub(crate) const fn cost(&self) -> usize {
        self.cost
    }

    pub(crate) fn get(&mut self, id: RequestId) -> Option<&Held> {
        self.again.get_mut(id).or_else(|| self.calls.get_mut(id)).map(|held| &*held)
    }

    pub(crate) fn remove(&mut self, id: RequestId) -> Option<Held> {
        let held = self.again.remove(id).or_else(|| self.calls.remove(id))?;
        self.cost -= held.cost;
        Some(held)
    }

    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Held> + use<> {
        self.cost = 0;
        self.again.take_all().chain(self.calls.take_all())
    }

    /// Takes the front out when its turn has come.
    fn next(&mut self, iso: bool) -> Front {
        if self.is_lent() {
            return Front::Nobody;
        }
        let queue = if self.again.is_empty() { &mut self.calls } else { &mut self.again };
        let Some(front) = queue.front_mut() else { return Front::Nobody };
        if front.call.waits_for(iso).is_some() {
            return Front::Description;
        }
        let Some(front) = queue.pop_front() else { return Front::Nobody };
        self.cost -= front.cost;
        Front::Turn(front)
    }

    /// The statements to be described now, marked as such: all that the calls at the front need, as far as there are
    /// only calls that need some. Behind another call a statement may mean something else.
    fn undescribed(&mut self, iso: bool) -> (Vec<Arc<Prepared>>, Standing) {
        let mut wanted = Vec::new();
        // Ahead of a call outside the transaction block nothing opens it.
        let front = self.again.front().or_else(|| self.calls.front());
        let level = front.and_then(|front| front.standing.level());
        let standing = level.map_or(Standing::Outside, Standing::Inside);
        let mut want = |statement: &Arc<Prepared>| {
            if statement.stage() == Stage::New {
                statement.set_stage(Stage::Describing);
                wanted.push(Arc::clone(statement));
            }
        };
        if !self.again.is_empty() {
            self.again.iter().flat_map(|(_, held)| held.call.missing(iso)).for_each(want);
            return (wanted, standing);
        }
        // The front in any case: who was to bring its description may have been given up.
        if let Some(statement) = self.calls.front_mut().and_then(|front| front.call.waits_for(iso)) {
            want(statement);
        }
        for (place, held) in self.calls.iter_from(self.asked) {
            let mut missing = held.call.missing(iso).peekable();
            if missing.peek().is_none() {
                break;
            }
            missing.for_each(&mut want);
            self.asked = place + 1;
        }
        (wanted, standing)
    }

    /// Takes out all that wait for `statement`.
    fn take_waiting(&mut self, statement: &Arc<Prepared>, iso: bool) -> Vec<Held> {
        let waits = |held: &Held| held.call.missing(iso).any(|other| Arc::ptr_eq(other, statement));
        let waiting: Vec<RequestId> = self.iter().filter(|held| waits(held)).map(|held| held.id).collect();
        waiting.into_iter().filter_map(|id| self.remove(id)).collect()
    }
}

/// A call that came to its end without reaching the server, and what its caller is told.
pub(crate) type Ended = (Job, PyResult<Py<PyAny>>);

impl Session {
    /// Can this run be written at once, or must it wait for its turn or its description?
    pub(crate) fn must_wait(&self, run: &Run) -> bool {
        if !lock(&self.state).held.is_empty() {
            return true;
        }
        match run.prepared.stage() {
            Stage::Described => false,
            Stage::New => !fits_one_flight(run, self.writes_iso_dates()),
            Stage::Describing => true,
        }
    }

    /// Lets go what no longer has to wait, in order, as long as the machine has room; asks for the descriptions that are
    /// missing. To be called when a request has finished or was dropped: each makes room. Called by code that runs
    /// meanwhile it does nothing: the outer call goes on with whatever has changed.
    pub(crate) fn advance_held(&self, py: Python<'_>) -> Vec<Ended> {
        let mut ended = Vec::new();
        {
            let held = &mut lock(&self.state).held;
            if held.is_empty() || std::mem::replace(&mut held.advancing, true) {
                return ended;
            }
        }
        let iso = self.writes_iso_dates();
        loop {
            let front = {
                let mut state = lock(&self.state);
                if state.conn.is_full() { Front::Nobody } else { state.held.next(iso) }
            };
            match front {
                // What cannot be asked for fails its calls, and then there is another front.
                Front::Description if self.ask_for_descriptions(py, iso, &mut ended) => {}
                Front::Description | Front::Nobody => break,
                Front::Turn(held) => ended.extend(self.release(py, held)),
            }
        }
        lock(&self.state).held.advancing = false;
        ended
    }

    /// Encodes and submits a call whose turn has come.
    fn release(&self, py: Python<'_>, held: Held) -> Option<Ended> {
        let Held { id, standing, reply, call, .. } = held;
        let stream = if let Call::Stream(call) = &call { Some(Arc::clone(&call.shared)) } else { None };
        let waiting = reply.as_ref().map(|reply| reply.clone_ref(py));
        let request = match call {
            Call::Described(prepared) => {
                let entry = Py::new(py, Entry(prepared)).map(Py::into_any);
                return Some((Job::new(Kind::Taken, reply), entry));
            }
            Call::Ready(request) => Ok(*request),
            Call::Run(run, arguments) => self.run_request(py, id, run, arguments.bind(py), reply),
            Call::Stream(call) => self.stream_request(py, id, call),
            Call::Batch(call) => self.batch_request(py, id, call.batch, reply),
        };
        let error = request.and_then(|request| self.submit(py, request, standing)).err()?;
        let mut job = Job::new(Kind::Taken, waiting);
        job.stream = stream;
        Some((job, Err(error)))
    }

    /// A flight of Parse and Describe for each statement, so that one bad text fails only its own calls. False when all
    /// have been asked for before.
    fn ask_for_descriptions(&self, py: Python<'_>, iso: bool, ended: &mut Vec<Ended>) -> bool {
        let (wanted, standing) = lock(&self.state).held.undescribed(iso);
        let asked = !wanted.is_empty();
        for statement in wanted {
            let request = self.prepare_request(py, vec![Arc::clone(&statement)]);
            if let Err(error) = request.and_then(|request| self.submit(py, request, standing)) {
                statement.set_stage(Stage::New);
                ended.extend(self.fail_held(py, &statement, |_| error.clone_ref(py)));
            }
        }
        asked
    }

    /// Takes out all held calls that wait for `statement`.
    pub(crate) fn fail_held(
        &self,
        py: Python<'_>,
        statement: &Arc<Prepared>,
        error: impl Fn(Python<'_>) -> PyErr,
    ) -> Vec<Ended> {
        let iso = self.writes_iso_dates();
        let waiting = lock(&self.state).held.take_waiting(statement, iso);
        let fail = |held: Held| {
            let mut job = held.into_job();
            if let Kind::Batch(batch) = &mut job.kind {
                batch.stop_at(statement);
            }
            (job, Err(error(py)))
        };
        waiting.into_iter().map(fail).collect()
    }

    /// After a Prepare has ended: calls that waited for a refused statement fail, the others go on. `abandoned`: it was
    /// cancelled because nobody waited for it; who came since has it described anew.
    pub(crate) fn prepared(&self, py: Python<'_>, prepare: &mut Prepare, abandoned: bool) -> PyResult<Vec<Ended>> {
        if abandoned && prepare.was_cancelled() {
            prepare.statements.clear();
            return Ok(self.advance_held(py));
        }
        let mut ended = Vec::new();
        for statement in prepare.refused().iter().map(Describing::statement) {
            self.statements.forget(py, statement)?;
            ended.extend(
                self.fail_held(py, statement, |py| self.explained(py, prepare.error(py, statement), Some(statement))),
            );
        }
        let undescribed = prepare.take_undescribed();
        if !undescribed.is_empty() {
            self.submit(py, self.describe_types(py, undescribed)?, Standing::Outside)?;
        }
        ended.extend(self.advance_held(py));
        Ok(ended)
    }
}
