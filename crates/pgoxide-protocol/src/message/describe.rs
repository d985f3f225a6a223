//! Describe (F). Source: "Message Formats", Describe.

use super::target::Target;
use crate::codes::frontend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_cstr};

const NAME: &str = "Describe";

/// Asks for the parameters and columns of a statement, or the columns of a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Describe<'a> {
    /// Whether the name is a statement's or a portal's.
    pub target: Target,
    /// The name; empty is the unnamed one.
    pub name: &'a [u8],
}

impl<'a> Describe<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let target = Target::read(&mut reader)?;
        let name = reader.cstr("name")?;
        reader.finish()?;
        Ok(Describe { target, name })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(frontend::DESCRIBE), |out| {
            out.push(self.target.code());
            put_cstr(out, "name", self.name)
        })
    }
}

/// Appends a Describe of a prepared statement.
#[inline]
pub fn write_statement(out: &mut Vec<u8>, name: &[u8]) -> Result<(), EncodeError> {
    let target = Target::Statement;
    Describe { target, name }.encode(out)
}

/// Appends a Describe of a portal.
#[inline]
pub fn write_portal(out: &mut Vec<u8>, name: &[u8]) -> Result<(), EncodeError> {
    let target = Target::Portal;
    Describe { target, name }.encode(out)
}
