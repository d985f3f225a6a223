//! The handshake, one struct per state, each consumed by what comes next.
//!
//! ```text
//!              SSLRequest, GSSENCRequest: 'N' (each once)
//!              +------+
//!              v      |
//!            AwaitPacket --CancelRequest--> over
//!                 | StartupMessage (NegotiateProtocolVersion when it asks too much)
//!                 v
//!            Authenticating --AuthenticationOk--> Announcing --ReadyForQuery--> conversation
//!                                                  ^      | ParameterStatus,
//!                                                  +------+ BackendKeyData
//! ```
//!
//! Source: "Message Flow", "Start-up", "Canceling Requests in Progress", "SSL Session Encryption".

use super::request::Request;
use crate::codes::{PROTOCOL_3_2, backend};
use crate::error::{EncodeError, ProtocolError};
use crate::message::{NegotiateProtocolVersion, Startup, StartupMessage};

/// The server's answer to a request for encryption it does not offer.
const REFUSED: u8 = b'N';

/// Waits for an untyped packet. Each kind of encryption may be asked for once, as in PostgreSQL.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AwaitPacket {
    tls_refused: bool,
    gss_refused: bool,
}

/// What comes after an untyped packet.
#[derive(Debug)]
pub(super) enum Next {
    /// Another one.
    AwaitPacket(AwaitPacket),
    /// The server decides about the client it now knows.
    Authenticating(Authenticating, Request),
    /// Nothing: it was a CancelRequest.
    Over(Request),
}

impl AwaitPacket {
    pub(super) fn handle(self, packet: Startup<'_>, out: &mut Vec<u8>) -> Result<Next, ProtocolError> {
        match packet {
            Startup::SslRequest(_) if !self.tls_refused => {
                out.push(REFUSED);
                let tls_refused = true;
                Ok(Next::AwaitPacket(AwaitPacket { tls_refused, ..self }))
            }
            Startup::GssencRequest(_) if !self.gss_refused => {
                out.push(REFUSED);
                let gss_refused = true;
                Ok(Next::AwaitPacket(AwaitPacket { gss_refused, ..self }))
            }
            Startup::SslRequest(_) | Startup::GssencRequest(_) => Err(ProtocolError::UnexpectedFrontend {
                message: 0,
                state: "a StartupMessage, having refused this encryption",
            }),
            Startup::CancelRequest(cancel) => {
                Ok(Next::Over(Request::Cancel { process_id: cancel.process_id, key: cancel.key.to_vec() }))
            }
            Startup::StartupMessage(message) => {
                // Fails only above 2^31 options; a first packet has at most 10000 bytes.
                let _ = negotiate(&message, out);
                let request = Request::from_startup(&message);
                Ok(Next::Authenticating(Authenticating, request))
            }
        }
    }
}

/// Tells a client that asks for more than protocol 3.2, or for any protocol option, what it gets.
fn negotiate(message: &StartupMessage<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let options: Vec<&[u8]> =
        message.parameters.iter().map(|parameter| parameter.name).filter(|name| name.starts_with(b"_pq_.")).collect();
    if message.protocol <= PROTOCOL_3_2 && options.is_empty() {
        return Ok(());
    }
    let newest = message.protocol.min(PROTOCOL_3_2);
    let unrecognized = (&options).into();
    NegotiateProtocolVersion { newest, unrecognized }.encode(out)
}

/// The client waits for AuthenticationOk; only trust is spoken here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authenticating;

impl Authenticating {
    pub(super) fn reply(self, kind: u8) -> Option<Announcing> {
        (kind == backend::AUTHENTICATION).then_some(Announcing)
    }
}

/// The client is let in and told about the session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announcing;

/// What comes after an announcement.
#[derive(Debug)]
pub(super) enum Announced {
    /// Another one.
    Announcing(Announcing),
    /// The session is open.
    Open,
}

impl Announcing {
    pub(super) fn reply(self, kind: u8) -> Option<Announced> {
        match kind {
            backend::BACKEND_KEY_DATA => Some(Announced::Announcing(self)),
            backend::READY_FOR_QUERY => Some(Announced::Open),
            _ => None,
        }
    }
}
