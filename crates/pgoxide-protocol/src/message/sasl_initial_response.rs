//! SASLInitialResponse (F). Source: "Message Formats", SASLInitialResponse.

use crate::codes::frontend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_cstr, put_value};

const NAME: &str = "SASLInitialResponse";

/// Chooses a SASL mechanism and opens its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaslInitialResponse<'a> {
    /// The name of the chosen mechanism.
    pub mechanism: &'a [u8],
    /// The mechanism's initial response; `None` when it has none.
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitialResponse<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let mechanism = reader.cstr("mechanism")?;
        let data = reader.value("initial response", 1)?;
        reader.finish()?;
        Ok(SaslInitialResponse { mechanism, data })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(frontend::AUTHENTICATION_RESPONSE), |out| {
            put_cstr(out, "mechanism", self.mechanism)?;
            put_value(out, self.data)
        })
    }
}
