//! NegotiateProtocolVersion (B). Source: "Message Formats", NegotiateProtocolVersion.

use super::list::List;
use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "NegotiateProtocolVersion";

/// The server does not speak the minor version, or know the protocol options, it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NegotiateProtocolVersion<'a> {
    /// The newest protocol version the server offers, such as [`PROTOCOL_3_2`](crate::codes::PROTOCOL_3_2).
    pub newest: i32,
    /// The protocol options (`_pq_.` parameters) it did not recognize.
    pub unrecognized: List<'a, &'a [u8]>,
}

impl<'a> NegotiateProtocolVersion<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let newest = reader.i32("protocol version")?;
        let count = reader.i32("option count")?;
        let count = usize::try_from(count).map_err(|_| reader.bad_value("option count", count))?;
        let unrecognized = List::read_counted(&mut reader, "options", count)?;
        reader.finish()?;
        Ok(NegotiateProtocolVersion { newest, unrecognized })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let count = self.unrecognized.len();
        let wire = i32::try_from(count).map_err(|_| EncodeError::TooMany {
            things: "options",
            count,
            limit: i32::MAX as usize,
        })?;
        frame(out, Some(backend::NEGOTIATE_PROTOCOL_VERSION), |out| {
            out.extend_from_slice(&self.newest.to_be_bytes());
            out.extend_from_slice(&wire.to_be_bytes());
            self.unrecognized.write_items(out)
        })
    }
}
