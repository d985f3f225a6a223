//! NoticeResponse (B). Source: "Message Formats", NoticeResponse.

use super::fields::Fields;
use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "NoticeResponse";

/// A warning or a piece of information; may arrive at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoticeResponse<'a> {
    /// Severity, SQLSTATE, message and so on.
    pub fields: Fields<'a>,
}

impl<'a> NoticeResponse<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let fields = Fields::read(&mut reader)?;
        reader.finish()?;
        Ok(NoticeResponse { fields })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::NOTICE_RESPONSE), |out| self.fields.write(out))
    }
}
