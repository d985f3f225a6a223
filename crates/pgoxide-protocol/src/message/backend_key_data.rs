//! BackendKeyData (B). Source: "Message Formats", BackendKeyData.

use super::cancel_request;
use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "BackendKeyData";

/// What a CancelRequest must quote. The key has 4 bytes in protocol 3.0, up to 256 in 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendKeyData<'a> {
    /// The backend's process ID.
    pub process_id: i32,
    /// The secret key.
    pub key: &'a [u8],
}

impl<'a> BackendKeyData<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let process_id = reader.i32("process ID")?;
        let key = cancel_request::read_key(&mut reader)?;
        reader.finish()?;
        Ok(BackendKeyData { process_id, key })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::BACKEND_KEY_DATA), |out| {
            out.extend_from_slice(&self.process_id.to_be_bytes());
            cancel_request::write_key(out, self.key)
        })
    }
}
