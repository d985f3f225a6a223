//! Query (F). Source: "Message Formats", Query.

use crate::codes::frontend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_cstr};

const NAME: &str = "Query";

/// A simple query: one or more statements in one string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The query string.
    pub sql: &'a [u8],
}

impl<'a> Query<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let sql = reader.cstr("query string")?;
        reader.finish()?;
        Ok(Query { sql })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        write(out, self.sql)
    }
}

/// Appends a Query.
#[inline]
pub fn write(out: &mut Vec<u8>, sql: &[u8]) -> Result<(), EncodeError> {
    frame(out, Some(frontend::QUERY), |out| put_cstr(out, "query string", sql))
}
