//! FunctionCall (F). Source: "Message Formats", FunctionCall.

use super::list::{Item, List};
use crate::codes::Format;
use crate::codes::frontend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "FunctionCall";

/// Calls a function by OID: the legacy fast path. pgoxide decodes it and never sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    /// The function's OID.
    pub function: u32,
    /// None (all text), one for all, or one per argument.
    pub argument_formats: List<'a, Format>,
    /// The argument values.
    pub arguments: List<'a, Option<&'a [u8]>>,
    /// The format wanted for the result.
    pub result_format: Format,
}

impl<'a> FunctionCall<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let function = reader.u32("function OID")?;
        let argument_formats = List::read_u16(&mut reader, "argument formats")?;
        let arguments = List::read_u16(&mut reader, "arguments")?;
        let result_format = Format::read(&mut reader, 1)?;
        reader.finish()?;
        Ok(FunctionCall { function, argument_formats, arguments, result_format })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(frontend::FUNCTION_CALL), |out| {
            out.extend_from_slice(&self.function.to_be_bytes());
            self.argument_formats.write_u16(out, "argument formats")?;
            self.arguments.write_u16(out, "arguments")?;
            self.result_format.write(out)
        })
    }
}
