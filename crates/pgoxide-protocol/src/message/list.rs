//! The repeated part of a message: format codes, OIDs, columns, values, names, fields.
//!
//! One type serves both directions. Decoded, a [`List`] is a view of bytes that were checked once,
//! so that walking it neither fails nor allocates; to encode, it borrows a slice of items.

use std::fmt;
use std::marker::PhantomData;

use crate::codes::Format;
use crate::error::{DecodeError, EncodeError, Problem};
use crate::wire::{Reader, put_count_u16, put_cstr, put_value};

/// One item of a [`List`]: how it is read and written.
pub trait Item<'a>: Copy {
    /// The fewest bytes an item takes, by which impossible counts are refused at once.
    const MIN_BYTES: usize;

    /// Reads one item; `index` counts from 1 and appears in error texts only.
    fn read(reader: &mut Reader<'a>, index: usize) -> Result<Self, DecodeError>;

    /// Appends one item.
    fn write(self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
}

/// Items that were decoded (checked bytes) or are to be encoded (a slice).
#[derive(Clone, Copy)]
pub struct List<'a, T>(Source<'a, T>);

#[derive(Clone, Copy)]
enum Source<'a, T> {
    Wire { count: usize, raw: &'a [u8] },
    Slice(&'a [T]),
}

impl<'a, T: Item<'a>> List<'a, T> {
    /// The number of items.
    #[inline]
    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Wire { count, .. } => count,
            Source::Slice(items) => items.len(),
        }
    }

    /// Whether there are no items.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items in order.
    #[inline]
    pub fn iter(&self) -> Iter<'a, T> {
        match self.0 {
            Source::Wire { count, raw } => Iter::Wire { left: count, reader: Reader::new("", raw), item: PhantomData },
            Source::Slice(items) => Iter::Slice(items.iter()),
        }
    }

    /// Reads an Int16 count and that many items.
    pub(crate) fn read_u16(reader: &mut Reader<'a>, items: &'static str) -> Result<Self, DecodeError> {
        let count = reader.u16(items)?;
        Self::read_counted(reader, items, usize::from(count))
    }

    /// Reads `count` items; the bytes left are held against the count first.
    pub(crate) fn read_counted(
        reader: &mut Reader<'a>,
        items: &'static str,
        count: usize,
    ) -> Result<Self, DecodeError> {
        let left = reader.left();
        if count.saturating_mul(T::MIN_BYTES) > left {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            return Err(reader.error(Problem::Count { items, count, left }));
        }
        let mut probe = *reader;
        for index in 1..=count {
            T::read(&mut probe, index)?;
        }
        let raw = reader.bytes(items, left - probe.left())?;
        Ok(List(Source::Wire { count, raw }))
    }

    /// Reads items up to a zero byte in the place of the next one, and that byte.
    pub(crate) fn read_terminated(reader: &mut Reader<'a>, items: &'static str) -> Result<Self, DecodeError> {
        let left = reader.left();
        let mut probe = *reader;
        let mut count = 0;
        while probe.peek().is_some_and(|byte| byte != 0) {
            count += 1;
            T::read(&mut probe, count)?;
        }
        if probe.left() == 0 {
            return Err(reader.error(Problem::Unterminated { field: items }));
        }
        let raw = reader.bytes(items, left - probe.left())?;
        reader.u8(items)?;
        Ok(List(Source::Wire { count, raw }))
    }

    /// Appends an Int16 count and the items.
    pub(crate) fn write_u16(&self, out: &mut Vec<u8>, items: &'static str) -> Result<(), EncodeError> {
        put_count_u16(out, items, self.len())?;
        self.write_items(out)
    }

    /// Appends the items alone.
    pub(crate) fn write_items(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self.0 {
            Source::Wire { raw, .. } => {
                out.extend_from_slice(raw);
                Ok(())
            }
            Source::Slice(items) => items.iter().try_for_each(|item| item.write(out)),
        }
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        List(Source::Slice(&[]))
    }
}

impl<'a, T> From<&'a [T]> for List<'a, T> {
    fn from(items: &'a [T]) -> Self {
        List(Source::Slice(items))
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for List<'a, T> {
    fn from(items: &'a [T; N]) -> Self {
        List(Source::Slice(items))
    }
}

impl<'a, T> From<&'a Vec<T>> for List<'a, T> {
    fn from(items: &'a Vec<T>) -> Self {
        List(Source::Slice(items))
    }
}

impl<'a, T: Item<'a> + PartialEq> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, T: Item<'a> + Eq> Eq for List<'a, T> {}

impl<'a, T: Item<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Item<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    #[inline]
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<'a, T: Item<'a>> IntoIterator for &List<'a, T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    #[inline]
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// Iterates over a [`List`].
#[derive(Clone, Debug)]
pub enum Iter<'a, T> {
    /// Over decoded bytes.
    Wire {
        /// Items not read yet.
        left: usize,
        /// Their bytes.
        reader: Reader<'a>,
        /// The bytes are `T`s.
        item: PhantomData<T>,
    },
    /// Over a slice.
    Slice(std::slice::Iter<'a, T>),
}

impl<'a, T: Item<'a>> Iterator for Iter<'a, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        match self {
            Iter::Wire { left, reader, .. } => {
                *left = left.checked_sub(1)?;
                // Cannot fail: the same bytes were read once when the list was decoded.
                T::read(reader, 0).ok()
            }
            Iter::Slice(items) => items.next().copied(),
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self {
            Iter::Wire { left, .. } => *left,
            Iter::Slice(items) => items.len(),
        };
        (left, Some(left))
    }
}

impl<'a, T: Item<'a>> ExactSizeIterator for Iter<'a, T> {}

/// A format code.
impl<'a> Item<'a> for Format {
    const MIN_BYTES: usize = 2;

    #[inline]
    fn read(reader: &mut Reader<'a>, _index: usize) -> Result<Self, DecodeError> {
        let code = reader.i16("format code")?;
        Format::from_code(code).ok_or_else(|| reader.bad_value("format code", code))
    }

    #[inline]
    fn write(self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&self.code().to_be_bytes());
        Ok(())
    }
}

/// A type's OID.
impl<'a> Item<'a> for u32 {
    const MIN_BYTES: usize = 4;

    #[inline]
    fn read(reader: &mut Reader<'a>, _index: usize) -> Result<Self, DecodeError> {
        reader.u32("type OID")
    }

    #[inline]
    fn write(self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&self.to_be_bytes());
        Ok(())
    }
}

/// A value with its length before it.
impl<'a> Item<'a> for Option<&'a [u8]> {
    const MIN_BYTES: usize = 4;

    #[inline]
    fn read(reader: &mut Reader<'a>, index: usize) -> Result<Self, DecodeError> {
        reader.value("value", index)
    }

    #[inline]
    fn write(self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_value(out, self)
    }
}

/// A name, zero-terminated, not empty where an empty one would end the list.
impl<'a> Item<'a> for &'a [u8] {
    const MIN_BYTES: usize = 1;

    #[inline]
    fn read(reader: &mut Reader<'a>, _index: usize) -> Result<Self, DecodeError> {
        reader.cstr("name")
    }

    #[inline]
    fn write(self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.is_empty() {
            return Err(EncodeError::Empty { field: "name" });
        }
        put_cstr(out, "name", self)
    }
}
