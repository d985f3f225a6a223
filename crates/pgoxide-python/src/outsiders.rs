//! Calls of others that wait until a transaction block has been left (`others="wait"`). They keep their order, and behind
//! the block they take their place among all calls.

use std::collections::VecDeque;

use pgoxide_protocol::client::{RequestId, Standing};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::awaitable::Awaitable;
use crate::held::Held;
use crate::job::{Job, Kind};
use crate::session::{Caller, Entered, Entry, Session, Verdict, verdict};
use crate::sync::lock;

/// What waits.
enum What {
    Call(Held),
    /// A block that wants to be entered.
    Block(RequestId, Entry, Py<Awaitable>),
}

/// One that waits, and who asked for it.
pub(crate) struct Outsider {
    caller: Caller,
    what: What,
}

impl Outsider {
    pub(crate) const fn call(caller: Caller, held: Held) -> Self {
        Self { caller, what: What::Call(held) }
    }

    pub(crate) const fn block(caller: Caller, id: RequestId, entry: Entry, reply: Py<Awaitable>) -> Self {
        Self { caller, what: What::Block(id, entry, reply) }
    }

    fn id(&self) -> RequestId {
        match &self.what {
            What::Call(held) => held.id(),
            What::Block(id, ..) => *id,
        }
    }

    /// For the garbage collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.caller.visit(visit)?;
        match &self.what {
            What::Call(held) => held.visit(visit),
            What::Block(_, entry, reply) => {
                visit.call(reply)?;
                entry.visit(visit)
            }
        }
    }

    /// The job it would have been, to be told its end.
    pub(crate) fn into_job(self) -> Job {
        match self.what {
            What::Call(held) => held.into_job(),
            What::Block(_, _, reply) => Job::new(Kind::Taken, Some(reply)),
        }
    }
}

/// All that wait, oldest first.
#[derive(Default)]
pub(crate) struct Outsiders(VecDeque<Outsider>);

impl Outsiders {
    pub(crate) fn push(&mut self, outsider: Outsider) {
        self.0.push_back(outsider);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The call of this id.
    pub(crate) fn get(&self, id: RequestId) -> Option<&Held> {
        self.0.iter().find_map(|outsider| match &outsider.what {
            What::Call(held) if held.id() == id => Some(held),
            _ => None,
        })
    }

    pub(crate) fn remove(&mut self, id: RequestId) -> Option<Outsider> {
        let at = self.0.iter().position(|outsider| outsider.id() == id)?;
        self.0.remove(at)
    }

    pub(crate) fn take_all(&mut self) -> VecDeque<Outsider> {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.iter().try_for_each(|outsider| outsider.visit(visit))
    }
}

impl Session {
    /// A block has been left: lets go who need no longer wait for it. Calls take their place among those that are held. The
    /// first block takes the place of the one that was left, and the others go on waiting; whoever waits to enter is to be
    /// told what came of it.
    pub(crate) fn let_in(&self, py: Python<'_>) -> Vec<(Py<Awaitable>, PyResult<()>)> {
        let mut told = Vec::new();
        let mut waiting = VecDeque::new();
        let all = lock(&self.state).outsiders.take_all();
        for Outsider { caller, what } in all {
            let found = verdict(py, &lock(&self.owners), &caller);
            match what {
                What::Call(held) => match found {
                    Verdict::Outside => lock(&self.state).held.push(held.standing_at(Standing::Outside)),
                    Verdict::Inside(level) => lock(&self.state).held.push(held.standing_at(Standing::Inside(level))),
                    _ => waiting.push_back(Outsider::call(caller, held)),
                },
                What::Block(_, _, reply) if !reply.get().is_pending() => told.push((reply, Ok(()))),
                // Whoever waited goes on waiting, also when the next block is one that refuses others.
                What::Block(id, entry, reply) if matches!(found, Verdict::Wait | Verdict::Refuse | Verdict::Ending) => {
                    waiting.push_back(Outsider::block(caller, id, entry, reply));
                }
                What::Block(id, entry, reply) => match self.enter(py, entry, caller) {
                    Ok(Entered::Yes) => told.push((reply, Ok(()))),
                    Ok(Entered::Later(caller, entry)) => waiting.push_back(Outsider::block(caller, id, entry, reply)),
                    Err(error) => told.push((reply, Err(error))),
                },
            }
        }
        let late = {
            let mut state = lock(&self.state);
            let later = std::mem::replace(&mut state.outsiders.0, waiting);
            state.outsiders.0.extend(later);
            // The connection may have ended meanwhile, and told all whom it knew.
            if state.ended.is_some() { state.outsiders.take_all() } else { VecDeque::new() }
        };
        for outsider in late {
            if let Some(reply) = outsider.into_job().reply.take() {
                told.push((reply, Err(self.closed_error(py))));
            }
        }
        told
    }
}
