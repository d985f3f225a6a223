//! Whose transaction is open: a stack of tokens, of which calls must hold the topmost one.
//!
//! A transaction block, or a plan that begins, puts its token on the stack before anything is sent, and a block its savepoints
//! above it.
//! A call belongs to the block when it is made through the block's own object, or in a context that holds the topmost token,
//! child tasks included. What becomes of others' calls the topmost block says: they raise, wait, or join it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::ThreadId;

use pgoxide_protocol::client::{Commands, LevelId, Standing};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::Session;
use crate::error;
use crate::ffi::frame::CallSite;
use crate::pyimport;
use crate::sync::lock;

/// What becomes of calls from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    Raise,
    Wait,
    Join,
}

impl Others {
    pub(crate) fn from_word(py: Python<'_>, word: &str) -> PyResult<Self> {
        match word {
            "raise" => Ok(Self::Raise),
            "wait" => Ok(Self::Wait),
            "join" => Ok(Self::Join),
            other => Err(error::interface_error(py, format!("others={other:?}: one of \"raise\", \"wait\", \"join\""))),
        }
    }
}

/// Who has it open, for those who meet it.
pub(crate) enum Holder {
    /// A plan, in words.
    Plan(String),
    /// A task or thread, and where it entered the block.
    At { who: Option<Py<PyAny>>, site: Option<CallSite> },
}

impl Holder {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Plan(name) => Self::Plan(name.clone()),
            Self::At { who, site } => Self::At {
                who: who.as_ref().map(|who| who.clone_ref(py)),
                site: site.as_ref().map(|site| site.clone_ref(py)),
            },
        }
    }

    /// `task 'name' (transaction at file:line)`.
    fn in_words(&self, py: Python<'_>) -> String {
        let (who, site) = match self {
            Self::Plan(name) => return name.clone(),
            Self::At { who, site } => (who, site),
        };
        let who = match who.as_ref().map(|who| who.bind(py)).filter(|who| !who.is_none()) {
            None => "a callback".to_owned(),
            // A task has a method for it, a thread an attribute.
            Some(who) => match who.call_method0("get_name") {
                Ok(name) => format!("task {}", crate::convert::short_repr(&name)),
                Err(_) => who.getattr("name").map_or_else(
                    |_| "somebody".to_owned(),
                    |name| format!("thread {}", crate::convert::short_repr(&name)),
                ),
            },
        };
        match site.as_ref().map(|site| site.place(py)) {
            Some((file, line)) => format!("{who} (transaction at {file}:{line})"),
            None => who,
        }
    }
}

/// One entry of the stack.
pub(crate) struct Owner {
    pub(crate) token: Py<PyAny>,
    /// Its level of the transaction block.
    pub(crate) level: LevelId,
    pub(crate) holder: Holder,
    pub(crate) others: Others,
    /// What ends its level well: COMMIT, or RELEASE.
    pub(crate) end: Commands,
    /// A statement that brings this end has been made.
    pub(crate) ending: bool,
    /// Leaving it undoes it, so nothing may bring its end: the block's `rollback_only`.
    pub(crate) undone: Arc<AtomicBool>,
    /// Its end was refused, or answered by ROLLBACK.
    pub(crate) failed: bool,
    pub(crate) thread: ThreadId,
}

impl Owner {
    /// It is a plan's, which nests and ends by requests of its own.
    pub(crate) const fn is_plan(&self) -> bool {
        matches!(self.holder, Holder::Plan(_))
    }

    /// For the garbage collector.
    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.token)?;
        match &self.holder {
            Holder::At { who: Some(who), .. } => visit.call(who),
            _ => Ok(()),
        }
    }
}

/// Who makes a call.
pub(crate) struct Caller {
    /// The tokens of its context.
    pub(crate) tokens: Option<Py<PyTuple>>,
    /// The token of the block whose object it was made through.
    pub(crate) via: Option<Py<PyAny>>,
}

impl Caller {
    /// The running context, and the block it speaks through.
    pub(crate) fn here(py: Python<'_>, via: Option<&Py<PyAny>>) -> PyResult<Self> {
        let tokens = pyimport::transaction_tokens(py)?.call_method0(intern!(py, "get"))?.cast_into::<PyTuple>()?;
        Ok(Self { tokens: Some(tokens.unbind()), via: via.map(|via| via.clone_ref(py)) })
    }

    fn holds(&self, py: Python<'_>, token: &Py<PyAny>) -> bool {
        self.via.as_ref().is_some_and(|via| via.is(token))
            || self.tokens.as_ref().is_some_and(|held| held.bind(py).iter_borrowed().any(|other| other.is(token)))
    }

    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.tokens.iter().try_for_each(|tokens| visit.call(tokens))?;
        self.via.iter().try_for_each(|via| visit.call(via))
    }
}

/// Where a call belongs.
pub(crate) enum Place {
    Now(Standing),
    /// Its caller waits until the block is over.
    Later(Caller),
}

impl Place {
    /// Apart from any transaction block.
    pub(crate) const OUTSIDE: Self = Self::Now(Standing::Outside);
}

/// What the stack says of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody has a transaction open.
    Outside,
    /// It belongs to the topmost block, which is this level.
    Inside(LevelId),
    /// That block has been given its end.
    Ending,
    Wait,
    Refuse,
    /// The block that it speaks through has been left.
    Left,
}

/// Compares addresses only: no Python runs.
pub(crate) fn verdict(py: Python<'_>, owners: &[Owner], caller: &Caller) -> Verdict {
    if caller.via.as_ref().is_some_and(|via| !owners.iter().any(|owner| owner.token.is(via))) {
        return Verdict::Left;
    }
    let Some(top) = owners.last() else { return Verdict::Outside };
    let mine = caller.holds(py, &top.token);
    // A block that lets strangers wait does so too while a savepoint is open inside it; its own tasks are told.
    let waits = |first: &Owner| first.others == Others::Wait && !owners.iter().any(|one| caller.holds(py, &one.token));
    match (mine, top.others) {
        (true, _) | (false, Others::Join) if top.ending => Verdict::Ending,
        (true, _) | (false, Others::Join) => Verdict::Inside(top.level),
        // Through its own object a call of an outer block does not wait for the inner one: that may wait for it.
        (false, Others::Wait) if caller.via.is_none() => Verdict::Wait,
        (false, Others::Raise) if caller.via.is_none() && owners.first().is_some_and(waits) => Verdict::Wait,
        (false, _) => Verdict::Refuse,
    }
}

impl Session {
    /// Where a call belongs that is made here, through the block of `via` if it is. Raises when it is nowhere.
    #[inline]
    pub(crate) fn place(&self, py: Python<'_>, via: Option<&Py<PyAny>>) -> PyResult<Place> {
        self.check_home(py)?;
        if lock(&self.owners).is_empty() && via.is_none() {
            return Ok(Place::Now(Standing::Outside));
        }
        let caller = Caller::here(py, via)?;
        let found = verdict(py, &lock(&self.owners), &caller);
        match found {
            Verdict::Outside => Ok(Place::Now(Standing::Outside)),
            Verdict::Inside(level) => Ok(Place::Now(Standing::Inside(level))),
            Verdict::Wait => Ok(Place::Later(caller)),
            other => Err(self.refusal(py, other)),
        }
    }

    /// Who has entered the block of `token`, in words.
    pub(crate) fn holder_of(&self, py: Python<'_>, token: &Py<PyAny>) -> Option<String> {
        let holder = {
            let owners = lock(&self.owners);
            owners.iter().find(|owner| owner.token.is(token)).map(|owner| owner.holder.clone_ref(py))
        };
        holder.map(|holder| holder.in_words(py))
    }

    #[cold]
    pub(crate) fn refusal(&self, py: Python<'_>, verdict: Verdict) -> PyErr {
        match verdict {
            Verdict::Left => error::interface_error(py, "this transaction block has been left, or not been entered"),
            Verdict::Ending => error::interface_error(
                py,
                "the transaction has been given its last statement (commit=True): leave its block before the next one",
            ),
            _ => {
                let holder = lock(&self.owners).last().map(|owner| owner.holder.clone_ref(py));
                let holder = holder.map_or_else(|| "somebody".to_owned(), |holder| holder.in_words(py));
                owned(py, &holder)
            }
        }
    }

    /// The transaction of `token` is over, and whatever is above it. One that is another's goes on.
    pub(crate) fn disown(&self, token: &Bound<'_, PyAny>) {
        let over = {
            let mut owners = lock(&self.owners);
            match owners.iter().position(|owner| owner.token.is(token)) {
                Some(at) => owners.split_off(at),
                None => Vec::new(),
            }
        };
        self.owner_changed.notify_all();
        drop(over);
    }
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
