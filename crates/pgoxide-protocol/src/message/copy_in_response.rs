//! CopyInResponse (B). Source: "Message Formats", CopyInResponse.

use super::copy_columns;
use super::list::List;
use crate::codes::Format;
use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "CopyInResponse";

/// The backend is ready to receive CopyData: COPY FROM STDIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyInResponse<'a> {
    /// The format of the whole stream.
    pub format: Format,
    /// The format of each column; all text when the stream is text.
    pub columns: List<'a, Format>,
}

impl<'a> CopyInResponse<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let (format, columns) = copy_columns::read(&mut reader)?;
        reader.finish()?;
        Ok(CopyInResponse { format, columns })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::COPY_IN_RESPONSE), |out| copy_columns::write(out, self.format, &self.columns))
    }
}
