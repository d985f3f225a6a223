//! Cutting frames: one type byte, a length that counts itself, a body. Protocol chapter, "Message Formats".

use crate::error::ProtocolError;

/// Type byte and length field.
pub(super) const HEADER: usize = 5;

/// One complete message as it lies in the receive page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'p> {
    pub(super) kind: u8,
    pub(super) body: &'p [u8],
}

impl Frame<'_> {
    pub(super) const fn size(&self) -> usize {
        HEADER + self.body.len()
    }
}

/// The first message of `bytes`, or `None` while it is incomplete.
///
/// The length is checked as soon as the header is there, so a claim above `limit` is refused before its bytes
/// are waited for.
#[inline]
pub(super) fn cut(bytes: &[u8], limit: usize) -> Result<Option<Frame<'_>>, ProtocolError> {
    let &[kind, a, b, c, d, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    let length = i32::from_be_bytes([a, b, c, d]);
    let body = match usize::try_from(length) {
        Ok(length) if length >= 4 && length <= limit => length - 4,
        _ => return Err(ProtocolError::Length { kind, length: i64::from(length), limit }),
    };
    Ok(rest.get(..body).map(|body| Frame { kind, body }))
}
