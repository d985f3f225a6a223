//! The server side of a conversation, without I/O: bytes in, requests out; replies in, bytes out.
//!
//! Tests use it to stand in for PostgreSQL; a real server can be built on it. It knows the order of
//! messages, not what they mean: it parses no SQL and keeps no statements or portals.
//!
//! ```text
//! connection   the verbs: receive, poll_event, take_output; the phases of a connection
//! startup      the handshake, one struct per state
//! turn         whose turn it is once the session is open: a table of transitions
//! reply        the verbs that answer, each checked against the turn
//! request      what the client asks, owned
//! input        cutting bytes into packets and messages, with limits
//! ```
//!
//! Source: "Message Flow" in the chapter "Frontend/Backend Protocol".

mod connection;
mod input;
mod reply;
mod request;
mod startup;
#[cfg(test)]
mod tests;
mod turn;

pub use connection::{Connection, DEFAULT_MESSAGE_LIMIT};
pub use request::Request;
