//! The primitives every message is made of: reading a body without ever panicking, and writing
//! frames whose length is filled in afterwards.
//!
//! Source: "Message Data Types" (Int16, Int32, String, Byten) in the protocol chapter.

use crate::error::{DecodeError, EncodeError, Problem};

/// Reads the fields of one message body from front to back.
///
/// Every method takes the field's name, used only when the bytes do not suffice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    message: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over `body` (the bytes after type and length) of the message named `message`.
    #[inline]
    pub const fn new(message: &'static str, body: &'a [u8]) -> Self {
        Reader { message, rest: body }
    }

    /// The number of bytes not read yet.
    #[inline]
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next byte, left unread.
    #[inline]
    pub const fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// A Byte1.
    #[inline]
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_be_bytes)
    }

    /// An Int16.
    #[inline]
    pub fn i16(&mut self, field: &'static str) -> Result<i16, DecodeError> {
        self.array(field).map(i16::from_be_bytes)
    }

    /// An Int16 that is a count, which servers and clients read as unsigned.
    #[inline]
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// An Int32.
    #[inline]
    pub fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        self.array(field).map(i32::from_be_bytes)
    }

    /// An Int32 that is an OID.
    #[inline]
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// An Int64, used by the replication messages inside CopyData.
    #[inline]
    pub fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.array(field).map(i64::from_be_bytes)
    }

    /// Exactly `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk() {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(*head)
            }
            None => Err(self.short(field, N)),
        }
    }

    /// Exactly `count` bytes.
    #[inline]
    pub fn bytes(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(count) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => Err(self.short(field, count)),
        }
    }

    /// A String, without its terminating zero byte. The encoding is the server's affair: before
    /// authentication nobody has agreed on one.
    #[inline]
    pub fn cstr(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let end = memchr::memchr(0, self.rest).ok_or_else(|| self.error(Problem::Unterminated { field }))?;
        let text = self.bytes(field, end)?;
        self.u8(field)?;
        Ok(text)
    }

    /// A value with its length before it; length -1 is NULL. `index` counts from 1.
    #[inline]
    pub fn value(&mut self, item: &'static str, index: usize) -> Result<Option<&'a [u8]>, DecodeError> {
        let claimed = self.i32(item)?;
        if claimed == -1 {
            return Ok(None);
        }
        let value = usize::try_from(claimed).ok().and_then(|length| self.rest.split_at_checked(length));
        match value {
            Some((value, tail)) => {
                self.rest = tail;
                Ok(Some(value))
            }
            None => {
                Err(self.error(Problem::ItemLength { item, index, claimed: i64::from(claimed), left: self.left() }))
            }
        }
    }

    /// All bytes that are left.
    #[inline]
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Ends the message: an error when bytes are left.
    #[inline]
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            extra => Err(self.error(Problem::Trailing { extra })),
        }
    }

    /// The error that this message has `problem`.
    #[cold]
    pub const fn error(&self, problem: Problem) -> DecodeError {
        DecodeError { message: self.message, problem }
    }

    /// The error that `field` has a value the protocol does not define.
    #[cold]
    pub fn bad_value(&self, field: &'static str, value: impl Into<i64>) -> DecodeError {
        self.error(Problem::Value { field, value: value.into() })
    }

    #[cold]
    const fn short(&self, field: &'static str, needed: usize) -> DecodeError {
        self.error(Problem::Short { field, needed, left: self.left() })
    }
}

/// The largest length a value may claim: the length field is a signed Int32.
const MAX_LENGTH: usize = i32::MAX as usize;

/// The largest length of a message that a server reads (`PQ_LARGE_MESSAGE_LIMIT`: it allocates less than 1 GiB at once). A longer
/// one makes it hang up without a word.
const MAX_MESSAGE: usize = 0x3fff_fffe;

/// Appends one frame: the type byte (none for first packets), the length, and what `body` writes.
///
/// On an error `out` is as it was before, so that a half-written message can never be sent.
#[inline]
pub fn frame<F>(out: &mut Vec<u8>, kind: Option<u8>, body: F) -> Result<(), EncodeError>
where
    F: FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
{
    let start = out.len();
    out.extend(kind);
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let result = body(out).and_then(|()| patch_frame_length(out, length_at));
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Fills in the length of the frame whose length field is at `length_at`; it counts itself.
#[inline]
pub fn patch_frame_length(out: &mut [u8], length_at: usize) -> Result<(), EncodeError> {
    patch_length(out, length_at, out.len() - length_at, MAX_MESSAGE)
}

/// Fills in the length of the value whose length field is at `length_at`; it does not count itself.
#[inline]
pub fn patch_value_length(out: &mut [u8], length_at: usize) -> Result<(), EncodeError> {
    let length = out.len().saturating_sub(length_at.saturating_add(4));
    patch_length(out, length_at, length, MAX_LENGTH)
}

/// The limit is a parameter so that a test need not allocate that much.
#[inline]
fn patch_length(out: &mut [u8], length_at: usize, length: usize, limit: usize) -> Result<(), EncodeError> {
    let wire = i32::try_from(length).ok().filter(|_| length <= limit);
    let field = out.get_mut(length_at..).and_then(<[u8]>::first_chunk_mut::<4>);
    match (wire, field) {
        (Some(wire), Some(field)) => {
            *field = wire.to_be_bytes();
            Ok(())
        }
        _ => Err(EncodeError::TooLong { length }),
    }
}

/// Appends a String with its terminating zero byte; one inside the text is refused.
#[inline]
pub fn put_cstr(out: &mut Vec<u8>, field: &'static str, text: impl AsRef<[u8]>) -> Result<(), EncodeError> {
    let text = text.as_ref();
    if memchr::memchr(0, text).is_some() {
        return Err(EncodeError::NulByte { field });
    }
    out.extend_from_slice(text);
    out.push(0);
    Ok(())
}

/// Appends a count as Int16, which both sides read as unsigned.
#[inline]
pub fn put_count_u16(out: &mut Vec<u8>, things: &'static str, count: usize) -> Result<(), EncodeError> {
    let wire =
        u16::try_from(count).map_err(|_| EncodeError::TooMany { things, count, limit: usize::from(u16::MAX) })?;
    out.extend_from_slice(&wire.to_be_bytes());
    Ok(())
}

/// Appends a value with its length before it, NULL as length -1.
#[inline]
pub fn put_value(out: &mut Vec<u8>, value: Option<&[u8]>) -> Result<(), EncodeError> {
    let Some(value) = value else {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return Ok(());
    };
    let length = i32::try_from(value.len()).map_err(|_| EncodeError::TooLong { length: value.len() })?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_frame_leaves_nothing() {
        let mut out = b"before".to_vec();
        let result = frame(&mut out, Some(b'Q'), |out| put_cstr(out, "query", "a\0b"));
        assert_eq!(result, Err(EncodeError::NulByte { field: "query" }));
        assert_eq!(out, b"before");
    }

    #[test]
    fn lengths_over_the_limit_are_refused() {
        let mut out = vec![0; 14];
        assert!(patch_length(&mut out, 0, 10, 10).is_ok());
        assert_eq!(out.first_chunk(), Some(&10_i32.to_be_bytes()));
        assert_eq!(patch_length(&mut out, 0, 11, 10), Err(EncodeError::TooLong { length: 11 }));
    }

    #[test]
    fn counts_stop_at_65535() {
        let mut out = Vec::new();
        assert!(put_count_u16(&mut out, "parameters", 65535).is_ok());
        assert_eq!(out, [255, 255]);
        let error = put_count_u16(&mut out, "parameters", 65536).map_err(|e| e.to_string());
        assert_eq!(error, Err("too many parameters: 65536 > 65535".into()));
    }

    #[test]
    fn a_reader_reports_what_is_missing() {
        let mut reader = Reader::new("Bind", &[0, 1, 2]);
        assert_eq!(reader.i16("first"), Ok(1));
        assert_eq!(
            reader.i32("second").map_err(|e| e.to_string()),
            Err("Bind: second needs 4 bytes, 1 are left".into())
        );
        assert!(reader.finish().is_err());
    }
}
