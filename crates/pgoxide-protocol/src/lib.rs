//! PostgreSQL's frontend/backend protocol as a pure machine: bytes to messages to states, and back.
//!
//! No I/O, no clock, no threads, no Python: whoever owns the socket feeds bytes in and takes bytes
//! out. The rooms, lowest first:
//!
//! ```text
//! codes     message types and every other number the protocol fixes
//! error     what went wrong, and whose fault it was
//! wire      reading and writing the primitives
//! message   one file per message, encode and decode together
//! buffer    the receive page
//! server    the server's side of a conversation
//! client    the client's side of a conversation
//! ```
//!
//! Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol".

#![forbid(unsafe_code)]

pub mod buffer;
pub mod client;
pub mod codes;
pub mod error;
pub mod message;
pub mod server;
pub mod wire;
