//! GSSENCRequest (F), an untyped first packet. Source: "Message Formats", GSSENCRequest.

use crate::codes::GSSENC_REQUEST;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "GSSENCRequest";

/// Asks for GSSAPI encryption before the startup packet; answered by one byte, `G` or `N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GssencRequest;

impl GssencRequest {
    /// Decodes the body, the request code included.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let code = reader.i32("request code")?;
        if code != GSSENC_REQUEST {
            return Err(reader.bad_value("request code", code));
        }
        reader.finish()?;
        Ok(GssencRequest)
    }

    /// Appends the whole packet.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, None, |out| {
            out.extend_from_slice(&GSSENC_REQUEST.to_be_bytes());
            Ok(())
        })
    }
}
