//! Parse (F). Source: "Message Formats", Parse.

use super::list::List;
use crate::codes::frontend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_cstr};

const NAME: &str = "Parse";

/// Prepares a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The prepared statement's name; empty is the unnamed one.
    pub statement: &'a [u8],
    /// The query string, one statement.
    pub sql: &'a [u8],
    /// Type OIDs of the leading parameters; 0, or an absent one, leaves the type to the server.
    pub parameter_types: List<'a, u32>,
}

impl<'a> Parse<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let statement = reader.cstr("statement name")?;
        let sql = reader.cstr("query string")?;
        let parameter_types = List::read_u16(&mut reader, "parameter types")?;
        reader.finish()?;
        Ok(Parse { statement, sql, parameter_types })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(frontend::PARSE), |out| {
            put_cstr(out, "statement name", self.statement)?;
            put_cstr(out, "query string", self.sql)?;
            self.parameter_types.write_u16(out, "parameter types")
        })
    }
}

/// Appends a Parse.
#[inline]
pub fn write(out: &mut Vec<u8>, statement: &[u8], sql: &[u8], parameter_types: &[u32]) -> Result<(), EncodeError> {
    let parameter_types = parameter_types.into();
    let parse = Parse { statement, sql, parameter_types };
    parse.encode(out)
}
