//! DataRow (B). Source: "Message Formats", DataRow.
//!
//! The hottest message, so it does without [`List`](super::list::List): a decoded row is a count
//! and the bytes, checked once; [`write()`] makes one from a slice.

use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_count_u16, put_value};

const NAME: &str = "DataRow";

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataRow<'a> {
    count: u16,
    raw: &'a [u8],
}

impl<'a> DataRow<'a> {
    /// Decodes the body and checks every length in it, without allocating.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let count = reader.u16("column count")?;
        let mut values = reader;
        for index in 1..=count {
            values.value("value", usize::from(index))?;
        }
        values.finish()?;
        let raw = reader.rest();
        Ok(DataRow { count, raw })
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::DATA_ROW), |out| {
            out.extend_from_slice(&self.count.to_be_bytes());
            out.extend_from_slice(self.raw);
            Ok(())
        })
    }

    /// The number of columns.
    #[inline]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are no columns, as in `SELECT FROM t`.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values in order, NULL as `None`.
    #[inline]
    pub const fn iter(&self) -> Values<'a> {
        Values { left: self.count, rest: self.raw }
    }
}

impl<'a> IntoIterator for DataRow<'a> {
    type Item = Option<&'a [u8]>;
    type IntoIter = Values<'a>;

    #[inline]
    fn into_iter(self) -> Values<'a> {
        self.iter()
    }
}

/// Iterates over the values of a row.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    left: u16,
    rest: &'a [u8],
}

impl<'a> Values<'a> {
    /// The values of a DataRow whose `body` was decoded before and only kept as bytes.
    ///
    /// Checks nothing beforehand: over a malformed body the values end early.
    #[inline]
    pub fn over(body: &'a [u8]) -> Self {
        match body.split_first_chunk() {
            Some((count, rest)) => Values { left: u16::from_be_bytes(*count), rest },
            None => Values { left: 0, rest: body },
        }
    }

    /// How many values the row says it still has.
    #[inline]
    #[must_use]
    pub const fn left(&self) -> usize {
        self.left as usize
    }

    /// Every value has come and nothing is left over: what [`DataRow::decode`] checks beforehand.
    #[inline]
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.left == 0 && self.rest.is_empty()
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Option<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let left = self.left.checked_sub(1)?;
        let (length, tail) = self.rest.split_first_chunk()?;
        let length = i32::from_be_bytes(*length);
        let (value, tail) = match length {
            -1 => (None, tail),
            _ => {
                let (value, tail) = tail.split_at_checked(usize::try_from(length).ok()?)?;
                (Some(value), tail)
            }
        };
        *self = Values { left, rest: tail };
        Some(value)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(usize::from(self.left)))
    }
}

/// Appends a DataRow made of `values`.
pub fn write(out: &mut Vec<u8>, values: &[Option<&[u8]>]) -> Result<(), EncodeError> {
    frame(out, Some(backend::DATA_ROW), |out| {
        put_count_u16(out, "columns", values.len())?;
        values.iter().try_for_each(|value| put_value(out, *value))
    })
}
