//! Transaction blocks: entered without a word to the server, ended by a request of their own or by that of their last
//! statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pgoxide_protocol::client::{Commands, LevelId, Prefix, Request, RequestId, Resend, Stage, Standing, Step};
use pgoxide_protocol::codes::TransactionStatus;
use pgoxide_protocol::error::EncodeError;
use pgoxide_protocol::message::{query, sync};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use smallvec::SmallVec;

use super::Session;
use super::owner::{Caller, Holder, Others, Owner, Verdict, verdict};
use crate::awaitable::Awaitable;
use crate::error;
use crate::ffi::frame::CallSite;
use crate::job::{End, Ending, Job, Kind};
use crate::prepared::Prepared;
use crate::pyimport;
use crate::sync::lock;

const COMMIT: &str = "commit";

/// What a block was made with, and where it is entered.
pub(crate) struct Entry {
    pub(crate) token: Py<PyAny>,
    /// BEGIN with its modes.
    pub(crate) begin: String,
    /// The modes were given, of which a savepoint has none.
    pub(crate) modes: bool,
    /// A savepoint's name, quoted.
    pub(crate) name: Option<String>,
    pub(crate) others: Others,
    /// The task or thread that enters.
    pub(crate) who: Option<Py<PyAny>>,
    pub(crate) site: Option<CallSite>,
    /// It is a plan that enters, in words.
    pub(crate) plan: Option<String>,
    /// The block's `rollback_only`.
    pub(crate) undone: Arc<AtomicBool>,
}

impl Entry {
    /// For the garbage collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.token)?;
        self.who.iter().try_for_each(|who| visit.call(who))
    }
}

/// What entering came to.
pub(crate) enum Entered {
    Yes,
    /// Not before the block that is open has been left.
    Later(Caller, Entry),
}

/// What there is to do when a block is left.
pub(crate) enum Leaving {
    /// Nothing was sent, or its last statement has ended it.
    Nothing,
    /// Its last statement was to end it well, and did not; there is nothing to undo either.
    Failed,
    /// A statement inside has ended the transaction.
    Over,
    /// The connection has ended.
    Lost,
    /// This level is to be ended or undone.
    Level(LevelId),
}

/// Why a block cannot be entered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    Refused(Verdict),
    /// A block where a plan's transaction is open.
    Plan,
    /// A plan's transaction where its own is open.
    Nested,
    /// That, where a block is.
    Block,
    ByHand,
    /// A name for a transaction.
    Name,
    /// Modes for a savepoint.
    Modes,
}

/// What opens a level, what undoes it, what ends it.
struct Level {
    open: Commands,
    undo: Commands,
    end: Commands,
}

impl Level {
    fn new(entry: &Entry, depth: usize) -> Result<Self, EncodeError> {
        if depth == 0 {
            let (undo, end) = (Commands::new(&["rollback"])?, Commands::new(&[COMMIT])?);
            return Ok(Self { open: Commands::new(&[&entry.begin])?, undo, end });
        }
        let automatic = || format!("pgoxide_{depth}");
        let name = entry.name.clone().unwrap_or_else(automatic);
        let release = format!("release savepoint {name}");
        let back = format!("rollback to savepoint {name}");
        let open = Commands::new(&[&format!("savepoint {name}")])?;
        Ok(Self { open, undo: Commands::new(&[&back, &release])?, end: Commands::new(&[&release])? })
    }
}

impl Session {
    /// Enters a block: a transaction, or inside one a savepoint. From now on its owner is the only one whose calls are
    /// taken, unless it lets others join.
    pub(crate) fn enter(&self, py: Python<'_>, entry: Entry, caller: Caller) -> PyResult<Entered> {
        let by_hand = {
            let state = lock(&self.state);
            state.conn.status() != TransactionStatus::Idle && state.conn.top_level().is_none()
        };
        loop {
            let depth = lock(&self.owners).len();
            let level = Level::new(&entry, depth).map_err(|e| error::encode_error(py, &e))?;
            let mut owners = lock(&self.owners);
            if owners.len() != depth {
                continue;
            }
            let (planned, plan) = (owners.last().is_some_and(Owner::is_plan), entry.plan.is_some());
            let obstacle = match verdict(py, &owners, &caller) {
                Verdict::Wait if !plan => {
                    drop(owners);
                    return Ok(Entered::Later(caller, entry));
                }
                Verdict::Inside(_) if plan && planned => Some(Obstacle::Nested),
                Verdict::Inside(_) if plan => Some(Obstacle::Block),
                Verdict::Inside(_) if planned => Some(Obstacle::Plan),
                Verdict::Outside if by_hand && plan => Some(Obstacle::Nested),
                Verdict::Outside if by_hand => Some(Obstacle::ByHand),
                Verdict::Outside if entry.name.is_some() => Some(Obstacle::Name),
                Verdict::Inside(_) if entry.modes => Some(Obstacle::Modes),
                Verdict::Outside | Verdict::Inside(_) => None,
                refused => Some(Obstacle::Refused(refused)),
            };
            let Some(obstacle) = obstacle else {
                let id = self.next_id();
                let Entry { token, others, who, site, plan, undone, .. } = entry;
                owners.push(Owner {
                    token,
                    level: id,
                    holder: plan.map_or_else(|| Holder::At { who, site }, Holder::Plan),
                    others,
                    end: level.end,
                    ending: false,
                    undone,
                    failed: false,
                    thread: std::thread::current().id(),
                });
                drop(owners);
                lock(&self.state).conn.enter(id, depth, level.open, level.undo);
                return Ok(Entered::Yes);
            };
            drop(owners);
            return Err(self.cannot_enter(py, obstacle));
        }
    }

    #[cold]
    fn cannot_enter(&self, py: Python<'_>, obstacle: Obstacle) -> PyErr {
        let text = match obstacle {
            Obstacle::Refused(verdict) => return self.refusal(py, verdict),
            Obstacle::Plan => "a plan's transaction is open: a plan nests with Savepoint",
            Obstacle::Nested => "a transaction is open already: a plan nests with Savepoint",
            Obstacle::Block => {
                "a transaction block is open: a plan that runs inside it nests with Savepoint, and neither begins nor commits"
            }
            Obstacle::ByHand => {
                "a transaction is open already, begun by hand: end it first, or use savepoints in it by hand"
            }
            Obstacle::Name => "name= is a savepoint's, and no transaction is open: a transaction has no name",
            Obstacle::Modes => {
                "isolation=, read_only= and deferrable= are the transaction's, which is open already: a block inside it is \
                 a savepoint, and has none"
            }
        };
        error::interface_error(py, text)
    }

    /// The end of the block of `token`, to be brought by a statement of its own; from now on it takes no other. None when the
    /// block is to be undone: then leaving it is its end.
    pub(crate) fn take_end(&self, py: Python<'_>, token: &Py<PyAny>) -> PyResult<Option<(LevelId, Commands, bool)>> {
        let found = {
            let mut owners = lock(&self.owners);
            let at = owners.iter().position(|owner| owner.token.is(token));
            let top = at.is_some_and(|at| at + 1 == owners.len());
            let owner = at.and_then(|at| owners.get_mut(at));
            match owner {
                None => Err(Verdict::Left),
                Some(_) if !top => Err(Verdict::Refuse),
                Some(owner) if owner.ending => Err(Verdict::Ending),
                Some(owner) => {
                    owner.ending = true;
                    let end = (owner.level, owner.end.clone(), at == Some(0));
                    Ok((!owner.undone.load(Ordering::Relaxed)).then_some(end))
                }
            }
        };
        found.map_err(|verdict| match verdict {
            Verdict::Refuse => error::interface_error(
                py,
                "commit=True is for the innermost block: leave the savepoint that is open inside this transaction first",
            ),
            other => self.refusal(py, other),
        })
    }

    /// The statement that was to bring the end of the block was never made, or has not brought it.
    pub(crate) fn give_end_back(&self, token: &Py<PyAny>) {
        if let Some(owner) = lock(&self.owners).iter_mut().find(|owner| owner.token.is(token)) {
            owner.ending = false;
        }
    }

    /// What there is to do when the block of `token` is left. A block of which nothing was said leaves without a word.
    pub(crate) fn leaving(&self, token: &Py<PyAny>) -> Leaving {
        let owner =
            lock(&self.owners).iter().find(|owner| owner.token.is(token)).map(|owner| (owner.level, owner.failed));
        let Some((level, failed)) = owner else { return Leaving::Nothing };
        let mut state = lock(&self.state);
        let ended = state.ended.is_some();
        match state.conn.stage(level) {
            None if failed => Leaving::Failed,
            None => Leaving::Nothing,
            Some(Stage::Pending) if ended => Leaving::Nothing,
            Some(_) if ended => Leaving::Lost,
            Some(_) if state.conn.is_over(level) => {
                state.conn.leave_unsaid(level);
                Leaving::Over
            }
            // What is held was asked inside, for the most part; what was not is ended by one flight more.
            Some(_) if state.held.is_empty() && state.conn.leave_unsaid(level) => Leaving::Nothing,
            Some(_) => Leaving::Level(level),
        }
    }

    /// In a word, how the block of `token` stands.
    pub(crate) fn fate(&self, token: &Py<PyAny>) -> &'static str {
        let owner =
            lock(&self.owners).iter().find(|owner| owner.token.is(token)).map(|owner| (owner.level, owner.failed));
        let Some((level, failed)) = owner else { return "open" };
        let state = lock(&self.state);
        match state.conn.stage(level) {
            None if !failed => "done",
            Some(_) if state.conn.is_over(level) => "over",
            _ => "open",
        }
    }

    /// The block of `token` is to be ended: it is open, or may be, or the next statement opens it.
    pub(crate) fn stands(&self, token: &Py<PyAny>) -> bool {
        let level = lock(&self.owners).iter().find(|owner| owner.token.is(token)).map(|owner| owner.level);
        let Some(level) = level else { return false };
        let state = lock(&self.state);
        state.ended.is_none() && state.conn.stage(level).is_some() && !state.conn.is_over(level)
    }

    /// The block of `token` is a savepoint.
    pub(crate) fn is_nested(&self, token: &Py<PyAny>) -> bool {
        lock(&self.owners).iter().position(|owner| owner.token.is(token)).is_some_and(|at| at > 0)
    }

    /// As `leaving`, for a block that was to end well: its level, if there is something to end.
    pub(crate) fn leaving_well(&self, py: Python<'_>, token: &Py<PyAny>) -> PyResult<Option<LevelId>> {
        match self.leaving(token) {
            Leaving::Nothing => Ok(None),
            Leaving::Level(level) => Ok(Some(level)),
            Leaving::Failed => Err(crate::job::unexpected_rollback(py)),
            Leaving::Over => Err(over(py)),
            Leaving::Lost => Err(self.closed_error(py)),
        }
    }

    /// The end of a level was refused, or answered by ROLLBACK.
    pub(super) fn end_failed(&self, level: LevelId) {
        if let Some(owner) = lock(&self.owners).iter_mut().find(|owner| owner.level == level) {
            owner.failed = true;
        }
    }

    /// What ends the block of `token` well.
    pub(crate) fn end_request(
        &self,
        id: RequestId,
        level: LevelId,
        reply: Option<Py<Awaitable>>,
    ) -> (Request<Job>, Standing) {
        let (commands, commits) = {
            let owners = lock(&self.owners);
            let at = owners.iter().position(|owner| owner.level == level);
            let owner = at.and_then(|at| owners.get(at));
            (owner.map(|owner| owner.end.clone()).unwrap_or_default(), at == Some(0))
        };
        let mut bytes = Vec::with_capacity(64);
        let mut steps = SmallVec::new();
        if commits && self.may_end_simply(level) && query::write(&mut bytes, COMMIT.as_bytes()).is_ok() {
            // By the simple protocol, which spares the server a plan and three messages of four: 1 us of the 25 that a
            // transaction of two INSERTs costs it. The replies are those of an Execute and a Sync.
            steps.extend([Step::CommandExecute, Step::Sync]);
        } else {
            commands.append(&mut bytes, &mut steps);
            sync::write(&mut bytes);
            steps.push(Step::Sync);
        }
        let end = End { level, commands: Commands::default(), commits };
        let job = Job::new(Kind::Ending(Ending { undoes: false }), reply).ending(Some(end));
        let request = Request { id, bytes, steps, barrier: true, open: false, resend: Resend::Never, job };
        (request, Standing::Ends(level))
    }

    /// Nothing is on its way, so the level will be open still when its end is written, and nothing goes in front of that. What
    /// fails in front of a message of the simple protocol makes the server skip it, ReadyForQuery and all.
    fn may_end_simply(&self, level: LevelId) -> bool {
        let state = lock(&self.state);
        state.conn.stage(level) == Some(Stage::Open) && state.held.is_empty() && state.conn.is_idle()
    }

    /// What undoes a level, as far as there is something to undo when it is written. A cancel that hits it is of no avail.
    pub(crate) fn undo_request(
        id: RequestId,
        level: LevelId,
        reply: Option<Py<Awaitable>>,
    ) -> (Request<Job>, Standing) {
        let mut bytes = Vec::new();
        sync::write(&mut bytes);
        let steps = SmallVec::from_slice(&[Step::Sync]);
        let job = Job::new(Kind::Ending(Ending { undoes: true }), reply);
        let resend = Resend::Always(Prefix::default());
        let request = Request { id, bytes, steps, barrier: true, open: false, resend, job };
        (request, Standing::Undoes(level))
    }

    /// A Sync in front of which the block is opened: for requests of the simple protocol, before which nothing may travel.
    pub(crate) fn opening_request(&self, then: RequestId) -> Request<Job> {
        let mut bytes = Vec::new();
        sync::write(&mut bytes);
        let steps = SmallVec::from_slice(&[Step::Sync]);
        let (id, job) = (self.next_id(), Job::new(Kind::Opening(then), None));
        Request { id, bytes, steps, barrier: true, open: false, resend: Resend::Never, job }
    }

    /// A request inside may not be written before the block is open, and it is not, or not surely.
    pub(crate) fn must_open_first(&self, request: &Request<Job>, standing: Standing) -> bool {
        let Standing::Inside(level) = standing else { return false };
        request.steps.first() == Some(&Step::Query) && lock(&self.state).conn.stage(level) != Some(Stage::Open)
    }

    /// Raises for a command that begins or ends a transaction where a block does that.
    pub(crate) fn refuse_by_hand(&self, py: Python<'_>, prepared: &Prepared, standing: Standing) -> PyResult<()> {
        if standing == Standing::Outside || prepared.command != pgoxide_sqltext::Command::Transaction {
            return Ok(());
        }
        if !pgoxide_sqltext::begins_or_ends_transaction(prepared.text(py)?) {
            return Ok(());
        }
        let planned = lock(&self.owners).last().is_some_and(Owner::is_plan);
        let advice = if planned {
            "a plan's transaction is open: it ends by `yield from commit()` or `rollback()`"
        } else {
            "a transaction block is open, which begins and ends by itself: leave it to commit, raise pgoxide.Rollback or set \
             rollback_only to undo it, or begin and end by hand without a block"
        };
        let text = crate::convert::short_repr(prepared.original().bind(py));
        Err(error::interface_error(py, format!("{text}: {advice}")))
    }
}

/// Puts `token` among those of the running context.
pub(crate) fn hold_token(py: Python<'_>, token: &Py<PyAny>) -> PyResult<()> {
    let variable = pyimport::transaction_tokens(py)?;
    let held = variable.call_method0(pyo3::intern!(py, "get"))?.cast_into::<PyTuple>()?;
    let mut all: SmallVec<[Bound<'_, PyAny>; 2]> = held.iter().collect();
    all.push(token.bind(py).clone());
    let all = PyTuple::new(py, all)?;
    variable.call_method1(pyo3::intern!(py, "set"), (all,))?;
    Ok(())
}

/// Takes it out again.
pub(crate) fn drop_token(py: Python<'_>, token: &Py<PyAny>) -> PyResult<()> {
    let variable = pyimport::transaction_tokens(py)?;
    let held = variable.call_method0(pyo3::intern!(py, "get"))?.cast_into::<PyTuple>()?;
    let others: SmallVec<[Bound<'_, PyAny>; 2]> = held.iter().filter(|other| !other.is(token)).collect();
    if others.len() < held.len() {
        variable.call_method1(pyo3::intern!(py, "set"), (PyTuple::new(py, others)?,))?;
    }
    Ok(())
}

#[cold]
pub(crate) fn over(py: Python<'_>) -> PyErr {
    error::interface_error(
        py,
        "a statement inside the transaction block has ended the transaction (COMMIT or ROLLBACK in a script?): what came \
         before it has been committed or rolled back as it said, and nothing more runs in this block",
    )
}
