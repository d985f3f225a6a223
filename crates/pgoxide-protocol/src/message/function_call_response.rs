//! FunctionCallResponse (B). Source: "Message Formats", FunctionCallResponse.

use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_value};

const NAME: &str = "FunctionCallResponse";

/// The result of a FunctionCall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionCallResponse<'a> {
    /// The result in the format asked for; `None` is NULL.
    pub value: Option<&'a [u8]>,
}

impl<'a> FunctionCallResponse<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let value = reader.value("result", 1)?;
        reader.finish()?;
        Ok(FunctionCallResponse { value })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::FUNCTION_CALL_RESPONSE), |out| put_value(out, self.value))
    }
}
