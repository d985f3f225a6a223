//! What a Describe or a Close means: a prepared statement or a portal.

use crate::error::DecodeError;
use crate::wire::Reader;

/// The first byte of Describe and Close ("Message Formats", Describe).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A prepared statement, `S`.
    Statement,
    /// A portal, `P`.
    Portal,
}

impl Target {
    /// The byte on the wire.
    #[inline]
    pub const fn code(self) -> u8 {
        match self {
            Target::Statement => b'S',
            Target::Portal => b'P',
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8("target")? {
            b'S' => Ok(Target::Statement),
            b'P' => Ok(Target::Portal),
            other => Err(reader.bad_value("target", other)),
        }
    }
}
