//! CopyBothResponse (B). Source: "Message Formats", CopyBothResponse.

use super::copy_columns;
use super::list::List;
use crate::codes::Format;
use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "CopyBothResponse";

/// CopyData may flow both ways: streaming replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyBothResponse<'a> {
    /// The format of the whole stream.
    pub format: Format,
    /// The format of each column; all text when the stream is text.
    pub columns: List<'a, Format>,
}

impl<'a> CopyBothResponse<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let (format, columns) = copy_columns::read(&mut reader)?;
        reader.finish()?;
        Ok(CopyBothResponse { format, columns })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::COPY_BOTH_RESPONSE), |out| copy_columns::write(out, self.format, &self.columns))
    }
}
