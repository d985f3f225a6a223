//! The transaction block: what opens it travels in front of the first request inside it, in the same flight.
//!
//! ```text
//!   enter ──▶ pending ──the first request inside is written──▶ opening ──CommandComplete──▶ open ──▶ (removed by its end)
//!               ▲                                                │                            │
//!               └──────── its BEGIN or SAVEPOINT failed ─────────┘                            │
//!                                    a statement inside ended the transaction: over ◀─────────┘
//! ```
//!
//! Levels nest: the first is the transaction, those above it are savepoints. Until the server has said that BEGIN
//! succeeded, what is pipelined behind it must not run if it failed: alone it would commit by itself. So it is led in by a
//! Describe of the unnamed portal. Inside a transaction that portal is the statement's before it; portals end with their
//! transaction, so outside there is none, the Describe fails, and the server skips the rest up to the Sync.

use std::collections::VecDeque;

use super::pipeline::Step;
use crate::codes::TransactionStatus;
use crate::error::EncodeError;
use crate::message::{bind, describe, execute, parse};

/// Chosen by whoever enters a level; rises from level to level.
pub type LevelId = u64;

/// Commands without parameters and rows (BEGIN, SAVEPOINT, ROLLBACK, …), each as Parse, Bind, Execute of the unnamed
/// statement: whatever prepared statements come and go, these are not missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    bytes: Vec<u8>,
    count: usize,
}

impl Commands {
    /// Encodes them.
    ///
    /// # Errors
    /// When a text holds a NUL byte.
    pub fn new(texts: &[&str]) -> Result<Self, EncodeError> {
        let mut bytes = Vec::with_capacity(64);
        for text in texts {
            parse::write(&mut bytes, b"", text.as_bytes(), &[])?;
            let frame = bind::begin(&mut bytes, b"", b"", &[])?;
            frame.finish(&mut bytes, &[])?;
            execute::write(&mut bytes, b"", 0)?;
        }
        Ok(Self { bytes, count: texts.len() })
    }

    /// Appends them to a request's messages.
    pub fn append(&self, bytes: &mut Vec<u8>, steps: &mut impl Extend<Step>) {
        bytes.extend_from_slice(&self.bytes);
        for _ in 0..self.count {
            steps.extend([Step::CommandParse, Step::CommandBind, Step::CommandExecute]);
        }
    }
}

/// How a request stands to the transaction block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Apart from it: before it, after it, or there is none.
    #[default]
    Outside,
    /// Inside this level, the innermost one when it was asked.
    Inside(LevelId),
    /// Inside, and the commands at its end are the end of that level and of those above it.
    Ends(LevelId),
    /// A Sync, in front of which goes what undoes that level and those above it, if anything has been begun by then. It
    /// is a barrier.
    Undoes(LevelId),
}

impl Standing {
    /// The level that it runs inside.
    #[must_use]
    pub const fn level(self) -> Option<LevelId> {
        match self {
            Self::Inside(level) | Self::Ends(level) => Some(level),
            Self::Outside | Self::Undoes(_) => None,
        }
    }
}

/// How far the server is with a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing of it has been written, or what was has failed.
    Pending,
    /// What opens it is on its way.
    Opening,
    /// It is open.
    Open,
    /// A statement inside has ended the transaction.
    Over,
}

#[derive(Debug)]
struct Level {
    id: LevelId,
    /// How many levels it lies in; 0: the transaction.
    depth: usize,
    open: Commands,
    undo: Commands,
    stage: Stage,
}

/// The levels, outermost first. Behind one that is being ended the next one of its depth may have been entered.
#[derive(Debug, Default)]
pub(super) struct Block {
    levels: Vec<Level>,
}

impl Block {
    pub(super) const fn new() -> Self {
        Self { levels: Vec::new() }
    }

    pub(super) fn enter(&mut self, id: LevelId, depth: usize, open: Commands, undo: Commands) {
        self.levels.push(Level { id, depth, open, undo, stage: Stage::Pending });
    }

    pub(super) fn stage(&self, id: LevelId) -> Option<Stage> {
        self.levels.iter().find(|level| level.id == id).map(|level| level.stage)
    }

    /// The innermost level.
    pub(super) fn top(&self) -> Option<LevelId> {
        self.levels.last().map(|level| level.id)
    }

    /// Takes out level `id` and those inside it.
    pub(super) fn remove(&mut self, id: LevelId) {
        let Some(at) = self.levels.iter().position(|level| level.id == id) else { return };
        let depth = self.levels[at].depth;
        let inside = self.levels[at + 1..].iter().take_while(|level| level.depth > depth).count();
        self.levels.drain(at..=at + inside);
    }

    pub(super) fn clear(&mut self) {
        self.levels.clear();
    }

    /// Level `id` has been left, or its transaction has been ended by a statement inside.
    pub(super) fn is_over(&self, id: LevelId) -> bool {
        let over = self.levels.first().is_some_and(|level| level.stage == Stage::Over);
        let next = self.levels.iter().skip(1).find(|level| level.depth == 0);
        let found = self.levels.iter().any(|level| level.id == id);
        !found || (over && next.is_none_or(|next| id < next.id))
    }

    /// The transaction has been ended by a statement inside, or there is none.
    pub(super) fn may_strand(&self) -> bool {
        self.levels.first().is_none_or(|level| level.stage == Stage::Over)
    }

    /// A level is to be opened below one whose opening was written when that one seemed open: what is on its way will
    /// fail, and nothing is written until it has.
    pub(super) fn is_torn(&self) -> bool {
        let pending = self.levels.iter().position(|level| level.stage == Stage::Pending);
        pending.is_some_and(|at| self.levels[at..].iter().any(|level| level.stage == Stage::Opening))
    }

    /// Writes what goes in front of a request inside level `id`. True when that opens a level.
    pub(super) fn lead_in(
        &mut self,
        id: LevelId,
        barrier: bool,
        out: &mut Vec<u8>,
        expected: &mut VecDeque<Step>,
    ) -> bool {
        let mut opens = false;
        // What was entered later is not for it.
        for level in self.levels.iter_mut().filter(|level| level.id <= id && level.stage == Stage::Pending) {
            out.extend_from_slice(&level.open.bytes);
            expected.extend([Step::CommandParse, Step::CommandBind, Step::Open]);
            level.stage = Stage::Opening;
            opens = true;
        }
        let unsure = self.levels.first().is_some_and(|level| level.stage == Stage::Opening);
        // The empty name is never refused. A barrier comes when all before it has been answered.
        if !opens && unsure && !barrier && describe::write_portal(out, b"").is_ok() {
            expected.push_back(Step::Guard);
        }
        opens
    }

    /// Writes what undoes level `id`, if there is something.
    pub(super) fn undo(
        &self,
        id: LevelId,
        status: TransactionStatus,
        out: &mut Vec<u8>,
        expected: &mut VecDeque<Step>,
    ) {
        let begun = self.levels.iter().find(|level| level.id == id && level.stage == Stage::Open);
        if let Some(level) = begun.filter(|_| status != TransactionStatus::Idle) {
            level.undo.append(out, expected);
        }
    }

    /// The server has opened a level.
    pub(super) fn opened(&mut self) {
        if let Some(level) = self.levels.iter_mut().find(|level| level.stage == Stage::Opening) {
            level.stage = Stage::Open;
        }
    }

    /// `count` levels were not opened: the next request inside tries again.
    pub(super) fn not_opened(&mut self, count: usize) {
        for level in self.levels.iter_mut().filter(|level| level.stage == Stage::Opening).take(count) {
            level.stage = Stage::Pending;
        }
    }

    /// The server has ended the transaction, though nothing that ends the block has been answered.
    pub(super) fn lost(&mut self) {
        if let Some(level) = self.levels.first_mut().filter(|level| level.stage == Stage::Open) {
            level.stage = Stage::Over;
        }
    }
}
