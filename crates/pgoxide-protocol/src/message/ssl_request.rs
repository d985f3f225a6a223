//! SSLRequest (F), an untyped first packet. Source: "Message Formats", SSLRequest.

use crate::codes::SSL_REQUEST;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "SSLRequest";

/// Asks for TLS before the startup packet; answered by one byte, `S` or `N`, or by an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SslRequest;

impl SslRequest {
    /// Decodes the body, the request code included.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let code = reader.i32("request code")?;
        if code != SSL_REQUEST {
            return Err(reader.bad_value("request code", code));
        }
        reader.finish()?;
        Ok(SslRequest)
    }

    /// Appends the whole packet.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, None, |out| {
            out.extend_from_slice(&SSL_REQUEST.to_be_bytes());
            Ok(())
        })
    }
}
