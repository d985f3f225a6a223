//! ParameterStatus (B). Source: "Message Formats", ParameterStatus.

use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_cstr};

const NAME: &str = "ParameterStatus";

/// The value of a setting the server reports at startup and whenever it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterStatus<'a> {
    /// The setting's name.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> ParameterStatus<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let name = reader.cstr("name")?;
        let value = reader.cstr("value")?;
        reader.finish()?;
        Ok(ParameterStatus { name, value })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::PARAMETER_STATUS), |out| {
            put_cstr(out, "name", self.name)?;
            put_cstr(out, "value", self.value)
        })
    }
}
