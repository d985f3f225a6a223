//! CopyData (F & B). Source: "Message Formats", CopyData.

use crate::codes::frontend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "CopyData";

/// A piece of a COPY stream. The byte is the same in both directions. A backend sends one row per
/// message, a frontend may cut anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyData<'a> {
    /// The stream's bytes, all of the body.
    pub data: &'a [u8],
}

impl<'a> CopyData<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let data = reader.rest();
        reader.finish()?;
        Ok(CopyData { data })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        write(out, self.data)
    }
}

/// Appends a CopyData.
#[inline]
pub fn write(out: &mut Vec<u8>, data: &[u8]) -> Result<(), EncodeError> {
    frame(out, Some(frontend::COPY_DATA), |out| {
        out.extend_from_slice(data);
        Ok(())
    })
}
