//! Close (F). Source: "Message Formats", Close.

use super::target::Target;
use crate::codes::frontend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_cstr};

const NAME: &str = "Close";

/// Closes a statement (and its portals) or a portal; not an error when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// Whether the name is a statement's or a portal's.
    pub target: Target,
    /// The name; empty is the unnamed one.
    pub name: &'a [u8],
}

impl<'a> Close<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let target = Target::read(&mut reader)?;
        let name = reader.cstr("name")?;
        reader.finish()?;
        Ok(Close { target, name })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(frontend::CLOSE), |out| {
            out.push(self.target.code());
            put_cstr(out, "name", self.name)
        })
    }
}

/// Appends a Close of a prepared statement.
#[inline]
pub fn write_statement(out: &mut Vec<u8>, name: &[u8]) -> Result<(), EncodeError> {
    let target = Target::Statement;
    Close { target, name }.encode(out)
}

/// Appends a Close of a portal.
#[inline]
pub fn write_portal(out: &mut Vec<u8>, name: &[u8]) -> Result<(), EncodeError> {
    let target = Target::Portal;
    Close { target, name }.encode(out)
}
