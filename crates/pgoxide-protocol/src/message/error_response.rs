//! ErrorResponse (B). Source: "Message Formats", ErrorResponse.

use super::fields::Fields;
use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "ErrorResponse";

/// The server refuses: an error, or the reason it closes the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorResponse<'a> {
    /// Severity, SQLSTATE, message and so on.
    pub fields: Fields<'a>,
}

impl<'a> ErrorResponse<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let fields = Fields::read(&mut reader)?;
        reader.finish()?;
        Ok(ErrorResponse { fields })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::ERROR_RESPONSE), |out| self.fields.write(out))
    }
}
