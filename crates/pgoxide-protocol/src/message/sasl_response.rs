//! SASLResponse (F). Source: "Message Formats", SASLResponse.

use crate::codes::frontend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "SASLResponse";

/// One step of the SASL exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaslResponse<'a> {
    /// The mechanism's data, all of the body.
    pub data: &'a [u8],
}

impl<'a> SaslResponse<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let data = reader.rest();
        reader.finish()?;
        Ok(SaslResponse { data })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(frontend::AUTHENTICATION_RESPONSE), |out| {
            out.extend_from_slice(self.data);
            Ok(())
        })
    }
}
