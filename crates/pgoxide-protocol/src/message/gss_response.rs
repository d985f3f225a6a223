//! GSSResponse (F). Source: "Message Formats", GSSResponse.

use crate::codes::frontend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "GSSResponse";

/// One GSSAPI or SSPI token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GssResponse<'a> {
    /// The mechanism's data, all of the body.
    pub data: &'a [u8],
}

impl<'a> GssResponse<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let data = reader.rest();
        reader.finish()?;
        Ok(GssResponse { data })
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
