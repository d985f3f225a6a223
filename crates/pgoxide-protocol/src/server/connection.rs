//! One client's connection: the verbs, and the phases they move it through.
//!
//! ```text
//! AwaitPacket -> Authenticating -> Announcing -> Open(turn) -> Closed
//!      |               |               |                         ^
//!      +---------------+---------------+-- CancelRequest, fatal, a broken protocol, Terminate
//! ```
//!
//! The first three are in [`startup`](super::startup), the order of messages in an open session in
//! [`turn`](super::turn). Source: "Message Flow" in the protocol chapter.

use super::input::Input;
use super::request::Request;
use super::startup::{Announced, Announcing, Authenticating, AwaitPacket, Next};
use super::turn::{Step, Turn};
use crate::codes::{backend, backend_name, frontend_name};
use crate::error::{EncodeError, ProtocolError};
use crate::message::{Frontend, Startup};

/// The largest message accepted unless told otherwise: what PostgreSQL can allocate at once
/// (MaxAllocSize).
pub const DEFAULT_MESSAGE_LIMIT: usize = 0x3fff_ffff;

/// The server's end of one connection.
///
/// Feed it with [`receive`](Connection::receive), then call
/// [`poll_event`](Connection::poll_event) until it returns `None`, answer each request with the
/// reply methods, and send what [`take_output`](Connection::take_output) returns. After every
/// completed reply poll again: requests wait in the input while one is being answered.
#[derive(Debug)]
pub struct Connection {
    pub(super) phase: Phase,
    input: Input,
    pub(super) output: Vec<u8>,
    message_limit: usize,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    AwaitPacket(AwaitPacket),
    Authenticating(Authenticating),
    Announcing(Announcing),
    Open(Turn),
    Closed,
}

/// What one message led to.
enum Progress {
    Event(Request),
    /// Handled here; there may be another message.
    Silent,
    /// The rest of it has not come yet.
    Incomplete,
}

impl Connection {
    /// A connection that waits for its first packet.
    pub fn new() -> Self {
        Self::with_message_limit(DEFAULT_MESSAGE_LIMIT)
    }

    /// The same, refusing messages whose length is over `limit` bytes. The first packet has a limit
    /// of its own, PostgreSQL's 10000 bytes.
    pub fn with_message_limit(limit: usize) -> Self {
        Connection {
            phase: Phase::AwaitPacket(AwaitPacket::default()),
            input: Input::default(),
            output: Vec::new(),
            message_limit: limit,
        }
    }

    /// Takes bytes the client sent, cut anywhere.
    ///
    /// Fails when the conversation is over. Read from the socket only while
    /// [`buffered`](Connection::buffered) is small, or a client that never waits fills the memory.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        if self.is_closed() {
            return Err(ProtocolError::Closed);
        }
        self.input.extend(bytes);
        Ok(())
    }

    /// The number of bytes received that have not become an event yet.
    pub fn buffered(&self) -> usize {
        self.input.left()
    }

    /// The next request; `None` when its bytes have not come yet, when a reply is owed first, or
    /// when the conversation is over. An error ends the conversation.
    pub fn poll_event(&mut self) -> Result<Option<Request>, ProtocolError> {
        let event = self.next_event();
        if event.is_err() {
            self.phase = Phase::Closed;
        }
        event
    }

    /// The bytes to send, which are gone from here afterwards.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether the conversation is over: send what is left and close the socket.
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    fn next_event(&mut self) -> Result<Option<Request>, ProtocolError> {
        loop {
            let progress = match self.phase {
                Phase::AwaitPacket(state) => self.first_packet(state)?,
                Phase::Open(turn) if turn.is_clients() => self.message(turn)?,
                Phase::Authenticating(_) | Phase::Announcing(_) | Phase::Open(_) | Phase::Closed => return Ok(None),
            };
            match progress {
                Progress::Event(request) => return Ok(Some(request)),
                Progress::Silent => {}
                Progress::Incomplete => return Ok(None),
            }
        }
    }

    fn first_packet(&mut self, state: AwaitPacket) -> Result<Progress, ProtocolError> {
        let Some(body) = self.input.first_packet()? else {
            return Ok(Progress::Incomplete);
        };
        let next = state.handle(Startup::decode(body)?, &mut self.output)?;
        let (phase, progress) = match next {
            Next::AwaitPacket(state) => (Phase::AwaitPacket(state), Progress::Silent),
            Next::Authenticating(state, request) => (Phase::Authenticating(state), Progress::Event(request)),
            Next::Over(request) => (Phase::Closed, Progress::Event(request)),
        };
        self.phase = phase;
        Ok(progress)
    }

    fn message(&mut self, turn: Turn) -> Result<Progress, ProtocolError> {
        let Some((kind, body)) = self.input.message(self.message_limit)? else {
            return Ok(Progress::Incomplete);
        };
        let unexpected = ProtocolError::UnexpectedFrontend { message: kind, state: turn.awaited() };
        if turn.skips(kind) && frontend_name(kind) != frontend_name(0) {
            return Ok(Progress::Silent);
        }
        let message = Frontend::decode(kind, body)?;
        if let Frontend::Terminate(_) = message {
            self.phase = Phase::Closed;
            return Ok(Progress::Event(Request::Terminate));
        }
        match turn.request(&message).ok_or(unexpected)? {
            Step::Drop(next) => {
                self.phase = Phase::Open(next);
                Ok(Progress::Silent)
            }
            Step::Deliver(next) => {
                let request = Request::from_message(message).ok_or(unexpected)?;
                self.phase = Phase::Open(next);
                Ok(Progress::Event(request))
            }
        }
    }

    /// Appends a reply when it is due; nothing has happened when it is not, or cannot be encoded.
    pub(super) fn reply(
        &mut self,
        kind: u8,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let next = self
            .phase
            .reply(kind)
            .ok_or(EncodeError::OutOfTurn { reply: backend_name(kind), state: self.phase.awaited() })?;
        write(&mut self.output)?;
        self.phase = next;
        Ok(())
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

impl Phase {
    /// The phase after a reply; `None` when it is not due.
    fn reply(self, kind: u8) -> Option<Phase> {
        // "Asynchronous Operations": these three may come at any time once the session has begun.
        let asynchronous =
            matches!(kind, backend::NOTICE_RESPONSE | backend::PARAMETER_STATUS | backend::NOTIFICATION_RESPONSE);
        match self {
            Phase::Announcing(_) | Phase::Open(_) if asynchronous => Some(self),
            Phase::Authenticating(_) if kind == backend::NOTICE_RESPONSE => Some(self),
            Phase::Authenticating(state) => state.reply(kind).map(Phase::Announcing),
            Phase::Announcing(state) => state.reply(kind).map(|next| match next {
                Announced::Announcing(state) => Phase::Announcing(state),
                Announced::Open => Phase::Open(Turn::START),
            }),
            Phase::Open(turn) => turn.reply(kind).map(Phase::Open),
            Phase::AwaitPacket(_) | Phase::Closed => None,
        }
    }

    /// What is awaited, for error texts.
    const fn awaited(self) -> &'static str {
        match self {
            Phase::AwaitPacket(_) => "a first packet",
            Phase::Authenticating(_) => "AuthenticationOk",
            Phase::Announcing(_) => "ReadyForQuery",
            Phase::Open(turn) => turn.awaited(),
            Phase::Closed => "nothing, being closed",
        }
    }
}
