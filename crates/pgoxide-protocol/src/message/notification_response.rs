//! NotificationResponse (B). Source: "Message Formats", NotificationResponse.

use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_cstr};

const NAME: &str = "NotificationResponse";

/// A NOTIFY reached a channel the session listens on; may arrive at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationResponse<'a> {
    /// The process ID of the notifying backend.
    pub process_id: i32,
    /// The channel.
    pub channel: &'a [u8],
    /// The payload, empty when none was given.
    pub payload: &'a [u8],
}

impl<'a> NotificationResponse<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let process_id = reader.i32("process ID")?;
        let channel = reader.cstr("channel")?;
        let payload = reader.cstr("payload")?;
        reader.finish()?;
        Ok(NotificationResponse { process_id, channel, payload })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::NOTIFICATION_RESPONSE), |out| {
            out.extend_from_slice(&self.process_id.to_be_bytes());
            put_cstr(out, "channel", self.channel)?;
            put_cstr(out, "payload", self.payload)
        })
    }
}
