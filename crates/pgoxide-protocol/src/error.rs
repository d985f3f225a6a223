//! What can go wrong between bytes and messages, split by whose fault it is.
//!
//! [`EncodeError`] is ours: a caller asked for a message the protocol cannot carry, or for a reply
//! that is not due. [`DecodeError`] and [`ProtocolError`] are the peer's: it sent bytes the
//! protocol chapter does not allow. An ErrorResponse is neither; it is a message like any other.

use std::error::Error;
use std::fmt;

use crate::codes::{backend_name, frontend_name};

/// A message that does not have the layout "Message Formats" gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The message as the documentation names it.
    pub message: &'static str,
    /// What is wrong with its bytes.
    pub problem: Problem,
}

/// What is wrong with the bytes of a message. Items are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A field of fixed size does not fit into what is left.
    Short {
        /// The field.
        field: &'static str,
        /// Its size in bytes.
        needed: usize,
        /// The bytes left.
        left: usize,
    },
    /// A length-prefixed item is longer than what is left, or has a negative length other than -1.
    ItemLength {
        /// What is repeated, in the singular.
        item: &'static str,
        /// Which one, from 1.
        index: usize,
        /// The length as sent.
        claimed: i64,
        /// The bytes left after the length.
        left: usize,
    },
    /// More items are announced than could fit into what is left.
    Count {
        /// What is repeated, in the plural.
        items: &'static str,
        /// The count as sent.
        count: i64,
        /// The bytes left after the count.
        left: usize,
    },
    /// A string has no terminating zero byte.
    Unterminated {
        /// The string.
        field: &'static str,
    },
    /// A field has a value the protocol does not define.
    Value {
        /// The field.
        field: &'static str,
        /// The value as sent.
        value: i64,
    },
    /// Bytes are left after the last field.
    Trailing {
        /// How many.
        extra: usize,
    },
    /// No message has this type byte.
    UnknownKind {
        /// The byte as sent.
        kind: u8,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.message, self.problem)
    }
}

impl Error for DecodeError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Problem::Short { field, needed, left } => write!(f, "{field} needs {needed} bytes, {left} are left"),
            Problem::ItemLength { item, index, claimed, left } => {
                write!(f, "{item} {index} claims {claimed} bytes, {left} are left")
            }
            Problem::Count { items, count, left } => {
                write!(f, "{count} {items} are announced, {left} bytes are left")
            }
            Problem::Unterminated { field } => write!(f, "the zero byte after {field} is missing"),
            Problem::Value { field, value } => write!(f, "{field} cannot be {value}"),
            Problem::Trailing { extra } => write!(f, "{extra} bytes are left after the last field"),
            Problem::UnknownKind { kind } => {
                write!(f, "no message has type '{}'", kind.escape_ascii())
            }
        }
    }
}

/// A message the protocol cannot carry, or one that is not due: the caller's mistake. Nothing of
/// it has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// A string holds the byte that ends strings on the wire.
    NulByte {
        /// The string.
        field: &'static str,
    },
    /// A string may not be empty, because an empty one ends the list it is in.
    Empty {
        /// The string.
        field: &'static str,
    },
    /// More items than the count field, or the named limit, allows.
    TooMany {
        /// What there is too much of, in the plural.
        things: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A cancel key outside 4 to 256 bytes.
    KeyLength {
        /// The key's length in bytes.
        length: usize,
    },
    /// A message is longer than a server reads, or one value in it does not fit the signed 32-bit length before it.
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A reply that does not answer what was asked; only the server's machine reports it.
    OutOfTurn {
        /// The reply as the documentation names it.
        reply: &'static str,
        /// What the conversation waits for instead.
        state: &'static str,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            EncodeError::NulByte { field } => write!(f, "NUL byte in {field}"),
            EncodeError::Empty { field } => write!(f, "{field} is empty"),
            EncodeError::TooMany { things, count, limit } => write!(f, "too many {things}: {count} > {limit}"),
            EncodeError::KeyLength { length } => {
                write!(f, "a cancel key has 4 to 256 bytes, not {length}")
            }
            EncodeError::TooLong { length } => {
                write!(f, "a message of {length} bytes: PostgreSQL takes less than 1 GiB at once")
            }
            EncodeError::OutOfTurn { reply, state } => {
                write!(f, "{reply} is not due while the conversation waits for {state}")
            }
        }
    }
}

impl Error for EncodeError {}

/// The peer broke the protocol. The connection cannot be used any further, because where its next
/// message starts, or what it answers, is no longer known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A message does not have its layout.
    Decode(DecodeError),
    /// The server sent a message that answers nothing we asked.
    Unexpected {
        /// The message's type byte.
        message: u8,
        /// What was awaited, completing the sentence "while we waited for ...".
        state: &'static str,
    },
    /// The client sent a message that is not allowed where the conversation stands.
    UnexpectedFrontend {
        /// The message's type byte, 0 for an untyped first packet.
        message: u8,
        /// What was awaited, completing the sentence "while we waited for ...".
        state: &'static str,
    },
    /// A message's length is below 4, which counts itself, or above the limit.
    Length {
        /// The message's type byte, 0 for an untyped first packet.
        kind: u8,
        /// The length as sent.
        length: i64,
        /// The limit it was held against.
        limit: usize,
    },
    /// The conversation is over; nothing more may be received.
    Closed,
}

impl ProtocolError {
    /// The server sent `message` while `state` was awaited.
    #[cold]
    pub const fn unexpected(message: u8, state: &'static str) -> Self {
        ProtocolError::Unexpected { message, state }
    }
}

impl From<DecodeError> for ProtocolError {
    fn from(error: DecodeError) -> Self {
        ProtocolError::Decode(error)
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ProtocolError::Decode(error) => error.fmt(f),
            ProtocolError::Unexpected { message, state } => {
                let name = Named(backend_name(message), message);
                write!(f, "the server sent {name} while we waited for {state}")
            }
            ProtocolError::UnexpectedFrontend { message, state } => {
                let name = Named(frontend_name(message), message);
                write!(f, "the client sent {name} while we waited for {state}")
            }
            ProtocolError::Length { kind, length, limit } => {
                if kind == 0 {
                    write!(f, "a startup packet")?;
                } else {
                    write!(f, "a message of type '{}'", kind.escape_ascii())?;
                }
                if i128::from(length) > limit as i128 {
                    write!(f, " claims {length} bytes, the limit is {limit}")
                } else {
                    write!(f, " claims {length} bytes, too few for its own header")
                }
            }
            ProtocolError::Closed => write!(f, "the connection is closed"),
        }
    }
}

impl Error for ProtocolError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ProtocolError::Decode(error) => Some(error),
            ProtocolError::Unexpected { .. }
            | ProtocolError::UnexpectedFrontend { .. }
            | ProtocolError::Length { .. }
            | ProtocolError::Closed => None,
        }
    }
}

/// A message's name with its type byte, for bytes that have no name of their own.
struct Named(&'static str, u8);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            0 => write!(f, "a startup packet"),
            kind => write!(f, "{} ('{}')", self.0, kind.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let error = DecodeError {
            message: "DataRow",
            problem: Problem::ItemLength { item: "value", index: 3, claimed: 900, left: 12 },
        };
        assert_eq!(error.to_string(), "DataRow: value 3 claims 900 bytes, 12 are left");
        assert_eq!(
            ProtocolError::unexpected(b'T', "BindComplete").to_string(),
            "the server sent RowDescription ('T') while we waited for BindComplete"
        );
        let short = ProtocolError::Length { kind: b'D', length: 3, limit: 100 };
        assert_eq!(short.to_string(), "a message of type 'D' claims 3 bytes, too few for its own header");
        let long = ProtocolError::Length { kind: b'D', length: 300, limit: 100 };
        assert_eq!(long.to_string(), "a message of type 'D' claims 300 bytes, the limit is 100");
    }
}
