//! CopyFail (F). Source: "Message Formats", CopyFail.

use crate::codes::frontend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_cstr};

const NAME: &str = "CopyFail";

/// The frontend gives up a COPY FROM; the backend answers with an error that quotes the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyFail<'a> {
    /// What the error message is to say.
    pub reason: &'a [u8],
}

impl<'a> CopyFail<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let reason = reader.cstr("reason")?;
        reader.finish()?;
        Ok(CopyFail { reason })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(frontend::COPY_FAIL), |out| put_cstr(out, "reason", self.reason))
    }
}
