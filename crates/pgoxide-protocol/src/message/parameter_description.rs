//! ParameterDescription (B). Source: "Message Formats", ParameterDescription.

use super::list::List;
use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "ParameterDescription";

/// The parameter types of a described statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterDescription<'a> {
    /// One type OID per parameter.
    pub types: List<'a, u32>,
}

impl<'a> ParameterDescription<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let types = List::read_u16(&mut reader, "parameters")?;
        reader.finish()?;
        Ok(ParameterDescription { types })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::PARAMETER_DESCRIPTION), |out| self.types.write_u16(out, "parameters"))
    }
}
