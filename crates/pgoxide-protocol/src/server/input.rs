//! Bytes as they came, cut into packets and messages. A length is held against its limit as soon
//! as it is there, so that nobody makes us wait for, or hold, more than that.

use crate::error::ProtocolError;

/// PostgreSQL's MAX_STARTUP_PACKET_LENGTH: 10000 bytes after the length.
const FIRST_PACKET_LIMIT: usize = 10_000 + LENGTH;
/// The length field, which counts itself.
const LENGTH: usize = 4;
/// The least a first packet holds: its length and a code.
const FIRST_PACKET_MIN: usize = 8;

/// Received bytes and how far they have been read.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    read: usize,
}

impl Input {
    /// Appends received bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        // Moving the unread rest is worth it only when most of the buffer has been read.
        if self.read * 2 >= self.bytes.len() {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The number of bytes not read yet.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.read
    }

    /// The body of the next untyped packet; `None` until all of it is there.
    pub(super) fn first_packet(&mut self) -> Result<Option<&[u8]>, ProtocolError> {
        self.cut(0, 0, FIRST_PACKET_MIN, FIRST_PACKET_LIMIT)
    }

    /// The next message's type byte and body; `None` until all of it is there.
    pub(super) fn message(&mut self, limit: usize) -> Result<Option<(u8, &[u8])>, ProtocolError> {
        let Some(&kind) = self.bytes.get(self.read) else {
            return Ok(None);
        };
        let body = self.cut(kind, 1, LENGTH, limit)?;
        Ok(body.map(|body| (kind, body)))
    }

    /// Cuts one frame whose length field comes `prefix` bytes from here.
    fn cut(&mut self, kind: u8, prefix: usize, min: usize, limit: usize) -> Result<Option<&[u8]>, ProtocolError> {
        let at = self.read + prefix;
        let field = self.bytes.get(at..).and_then(<[u8]>::first_chunk::<LENGTH>);
        let Some(field) = field else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*field);
        let size = usize::try_from(length)
            .ok()
            .filter(|size| (min..=limit).contains(size))
            .ok_or(ProtocolError::Length { kind, length: i64::from(length), limit })?;
        let body = self.bytes.get(at + LENGTH..at + size);
        if body.is_some() {
            self.read = at + size;
        }
        Ok(body)
    }
}
