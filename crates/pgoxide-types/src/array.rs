//! Arrays: dimensions with their lower bounds, then the elements, row by row.
//!
//! Binary: number of dimensions, whether there are NULLs, the element type's OID, a length and a lower bound for each
//! dimension, then each element behind its length. Text: `{1,NULL,"a b"}`, braces for each dimension, `[0:2]={…}` when a
//! lower bound is not 1. Source: `array_send`, `array_out`; the manual's chapter "Arrays".

use std::borrow::Cow;

use crate::{Result, ValueError};

const NAME: &str = "array";

/// Dimensions an array has at most (`MAXDIM`).
pub const MAX_DIMENSIONS: usize = 6;

/// One dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dimension {
    /// How many elements it has.
    pub length: usize,
    /// The subscript of the first one; 1 unless somebody wanted it otherwise.
    pub lower: i32,
}

/// An array's shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    count: usize,
    dimensions: [Dimension; MAX_DIMENSIONS],
}

impl Shape {
    /// The dimensions, outermost first; none for an empty array.
    #[must_use]
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions[..self.count]
    }

    /// Adds a dimension inside those there are. False when there are six.
    pub fn push(&mut self, dimension: Dimension) -> bool {
        match self.dimensions.get_mut(self.count) {
            Some(place) => {
                *place = dimension;
                self.count += 1;
                true
            }
            None => false,
        }
    }

    /// All dimensions begin at 1.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.dimensions().iter().all(|dimension| dimension.lower == 1)
    }

    /// How many elements there are; `None` when no computer can count them.
    #[must_use]
    pub fn elements(&self) -> Option<usize> {
        if self.count == 0 {
            return Some(0);
        }
        self.dimensions().iter().try_fold(1usize, |product, dimension| product.checked_mul(dimension.length))
    }
}

/// A binary array, its elements not read yet.
#[derive(Clone, Debug)]
pub struct BinaryArray<'a> {
    /// Its dimensions.
    pub shape: Shape,
    /// The type of its elements.
    pub element_oid: u32,
    /// As many as the shape says, if the message is what it says.
    pub elements: Elements<'a>,
}

/// Elements behind their lengths.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Elements<'a> {
    /// How many are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left
    }

    /// All bytes that are left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next element, NULL as `None`.
    ///
    /// # Errors
    /// `Malformed` when the bytes end too early.
    #[inline]
    pub fn next_value(&mut self) -> Result<Option<&'a [u8]>> {
        self.left = self.left.saturating_sub(1);
        value(NAME, &mut self.rest)
    }

    /// Whether all bytes were elements.
    ///
    /// # Errors
    /// `Malformed` when some are left.
    pub fn finish(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(ValueError::malformed(NAME, "bytes behind its last element")) }
    }
}

/// A value behind its length, -1 for NULL.
#[inline]
pub(crate) fn value<'a>(type_name: &'static str, bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    let length = int(type_name, bytes)?;
    if length == -1 {
        return Ok(None);
    }
    let split = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length));
    let Some((value, rest)) = split else { return Err(ValueError::malformed(type_name, "it ends too early")) };
    *bytes = rest;
    Ok(Some(value))
}

/// Four bytes.
#[inline]
pub(crate) fn int(type_name: &'static str, bytes: &mut &[u8]) -> Result<i32> {
    match bytes.split_first_chunk::<4>() {
        Some((word, rest)) => {
            *bytes = rest;
            Ok(i32::from_be_bytes(*word))
        }
        None => Err(ValueError::malformed(type_name, "it ends too early")),
    }
}

/// The shape and elements of a binary array.
///
/// # Errors
/// `Malformed` when it has more than six dimensions, or more elements than bytes could hold.
#[inline]
pub fn decode_binary(bytes: &[u8]) -> Result<BinaryArray<'_>> {
    let mut rest = bytes;
    let count = int(NAME, &mut rest)?;
    let _nulls = int(NAME, &mut rest)?;
    let element_oid = int(NAME, &mut rest)?.cast_unsigned();
    let mut shape = Shape::default();
    for _ in 0..count {
        let (length, lower) = (int(NAME, &mut rest)?, int(NAME, &mut rest)?);
        let Ok(length) = usize::try_from(length) else {
            return Err(ValueError::malformed(NAME, format!("a dimension of {length} elements")));
        };
        if !shape.push(Dimension { length, lower }) {
            return Err(ValueError::malformed(NAME, format!("{count} dimensions; there are {MAX_DIMENSIONS} at most")));
        }
    }
    let left = shape.elements().filter(|elements| elements.checked_mul(4).is_some_and(|least| least <= rest.len()));
    let Some(left) = left else { return Err(ValueError::malformed(NAME, "more elements than bytes")) };
    Ok(BinaryArray { shape, element_oid, elements: Elements { rest, left } })
}

/// Appends what comes before the elements of a binary array.
///
/// # Errors
/// `OutOfRange` when a dimension has more elements than PostgreSQL counts.
pub fn encode_binary_shape(shape: &Shape, nulls: bool, element_oid: u32, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    // At most six.
    out.extend_from_slice(&u32::try_from(shape.count).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&u32::from(nulls).to_be_bytes());
    out.extend_from_slice(&element_oid.to_be_bytes());
    for dimension in shape.dimensions() {
        let Ok(length) = i32::try_from(dimension.length) else {
            out.truncate(start);
            return Err(ValueError::out_of_range(NAME, format!("a dimension of {} elements", dimension.length)));
        };
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&dimension.lower.to_be_bytes());
    }
    Ok(())
}

/// What a text array consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A dimension begins.
    Open,
    /// A dimension ends.
    Close,
    /// An element.
    Value(Cow<'a, [u8]>),
    /// An element that is NULL.
    Null,
}

/// A text array, read piece by piece.
#[derive(Clone, Debug)]
pub struct TextArray<'a> {
    text: &'a [u8],
    at: usize,
    delimiter: u8,
    depth: usize,
    /// An element or dimension has just ended.
    after: bool,
    /// Something was inside the braces that were opened last.
    lower: Lower,
}

/// Lower bounds, outermost first.
#[derive(Clone, Copy, Debug, Default)]
struct Lower {
    count: usize,
    bounds: [i32; MAX_DIMENSIONS],
}

impl<'a> TextArray<'a> {
    /// `delimiter` is `typdelim` of the element type: a comma, but a semicolon for box.
    ///
    /// # Errors
    /// `Malformed` when it does not begin as an array does.
    pub fn new(text: &'a [u8], delimiter: u8) -> Result<Self> {
        let mut this = Self { text, at: 0, delimiter, depth: 0, after: false, lower: Lower::default() };
        while this.text.get(this.at) == Some(&b'[') {
            let bound = this.bound()?;
            let Some(place) = this.lower.bounds.get_mut(this.lower.count) else {
                return Err(ValueError::malformed(NAME, format!("more than {MAX_DIMENSIONS} dimensions")));
            };
            *place = bound;
            this.lower.count += 1;
        }
        if this.lower.count > 0 {
            this.expect(b'=')?;
        }
        if this.text.get(this.at) != Some(&b'{') {
            return Err(ValueError::unexpected_text(NAME, text));
        }
        Ok(this)
    }

    /// The lower bounds it names, outermost first; none when all are 1.
    #[must_use]
    pub fn lower_bounds(&self) -> &[i32] {
        &self.lower.bounds[..self.lower.count]
    }

    /// `[lower:upper]`, of which the lower is wanted.
    fn bound(&mut self) -> Result<i32> {
        self.expect(b'[')?;
        let start = self.at;
        let end = self.text[start..].iter().position(|byte| *byte == b']').map(|length| start + length);
        let words = end.and_then(|end| std::str::from_utf8(&self.text[start..end]).ok());
        let lower = words.and_then(|words| words.split_once(':')).and_then(|(lower, _)| lower.parse().ok());
        match (lower, end) {
            (Some(lower), Some(end)) => {
                self.at = end + 1;
                Ok(lower)
            }
            _ => Err(ValueError::unexpected_text(NAME, self.text)),
        }
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.text.get(self.at) == Some(&byte) {
            self.at += 1;
            return Ok(());
        }
        Err(ValueError::unexpected_text(NAME, self.text))
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// `Malformed` when it is not what the server writes.
    pub fn next_event(&mut self) -> Result<Option<Event<'a>>> {
        let Some(&byte) = self.text.get(self.at) else {
            let ended = self.depth == 0 && self.at > 0;
            return if ended { Ok(None) } else { Err(ValueError::malformed(NAME, "it ends too early")) };
        };
        if self.after && self.depth > 0 && byte == self.delimiter {
            self.at += 1;
            self.after = false;
            // A delimiter is followed by something.
            return match self.text.get(self.at) {
                Some(b'}') => Err(ValueError::unexpected_text(NAME, self.text)),
                _ => self.next_event(),
            };
        }
        match byte {
            b'{' if !self.after && self.depth < MAX_DIMENSIONS => {
                self.at += 1;
                self.depth += 1;
                Ok(Some(Event::Open))
            }
            b'}' if self.depth > 0 => {
                self.at += 1;
                self.depth -= 1;
                self.after = true;
                Ok(Some(Event::Close))
            }
            b'"' if !self.after && self.depth > 0 => self.quoted().map(Some),
            b'{' | b'}' => Err(ValueError::unexpected_text(NAME, self.text)),
            _ if !self.after && self.depth > 0 => self.plain().map(Some),
            _ => Err(ValueError::unexpected_text(NAME, self.text)),
        }
    }

    fn quoted(&mut self) -> Result<Event<'a>> {
        self.after = true;
        self.at += 1;
        let start = self.at;
        let mut owned: Option<Vec<u8>> = None;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    let borrowed = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(Event::Value(owned.map_or(Cow::Borrowed(borrowed), Cow::Owned)));
                }
                b'\\' => {
                    let owned = owned.get_or_insert_with(|| self.text[start..self.at].to_vec());
                    self.at += 1;
                    owned.extend(self.text.get(self.at));
                }
                byte => {
                    if let Some(owned) = &mut owned {
                        owned.push(byte);
                    }
                }
            }
            self.at += 1;
        }
        Err(ValueError::malformed(NAME, "it ends too early"))
    }

    fn plain(&mut self) -> Result<Event<'a>> {
        self.after = true;
        let start = self.at;
        let length = self.text[start..].iter().position(|byte| *byte == self.delimiter || *byte == b'}');
        let Some(length) = length else { return Err(ValueError::malformed(NAME, "it ends too early")) };
        self.at += length;
        Ok(match &self.text[start..self.at] {
            b"NULL" => Event::Null,
            plain => Event::Value(Cow::Borrowed(plain)),
        })
    }
}

/// Appends an element's text, quoted where it must be.
pub fn encode_text_element(value: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    let special = |byte: &u8| {
        *byte == delimiter || matches!(byte, b'"' | b'\\' | b'{' | b'}') || byte.is_ascii_whitespace() || *byte == 0x0b
    };
    if !value.is_empty() && !value.eq_ignore_ascii_case(b"NULL") && !value.iter().any(special) {
        out.extend_from_slice(value);
        return;
    }
    out.push(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Appends what comes before the braces of a text array: nothing when all its dimensions begin at 1.
pub fn encode_text_bounds(shape: &Shape, out: &mut Vec<u8>) {
    if shape.is_plain() {
        return;
    }
    for Dimension { length, lower } in shape.dimensions() {
        // The last subscript. Lengths and bounds beyond what PostgreSQL counts it refuses itself.
        let upper = i64::from(*lower) + i64::try_from(*length).unwrap_or(i64::from(u32::MAX)) - 1;
        out.extend_from_slice(format!("[{lower}:{upper}]").as_bytes());
    }
    out.push(b'=');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str, delimiter: u8) -> Result<Vec<Event<'_>>> {
        let mut array = TextArray::new(text.as_bytes(), delimiter)?;
        let mut found = Vec::new();
        while let Some(event) = array.next_event()? {
            found.push(event);
        }
        Ok(found)
    }

    fn value(text: &str) -> Event<'_> {
        Event::Value(Cow::Borrowed(text.as_bytes()))
    }

    #[test]
    fn text() {
        assert_eq!(events("{}", b',').unwrap(), [Event::Open, Event::Close]);
        assert_eq!(
            events(r#"{1,NULL,"NULL","a\"b,\\",""}"#, b',').unwrap(),
            [Event::Open, value("1"), Event::Null, value("NULL"), value("a\"b,\\"), value(""), Event::Close]
        );
        assert_eq!(events("{{1},{2}}", b',').unwrap().len(), 8);
        assert_eq!(events("{(1,1),(0,0);(2,2),(1,1)}", b';').unwrap()[2], value("(2,2),(1,1)"));
        let array = TextArray::new(b"[0:1][-3:-2]={{1,2},{3,4}}", b',').unwrap();
        assert_eq!(array.lower_bounds(), [0, -3]);
    }

    #[test]
    fn malformed_text() {
        for text in [
            "",
            "1",
            "{",
            "{1",
            "{1,}",
            "{,1}",
            "{1}}",
            "{1}{2}",
            "{\"a",
            "[0:1]{1}",
            "[x:1]={1}",
            "{{{{{{{1}}}}}}}",
            "{\"a\"b}",
            "{1}x",
        ] {
            // An element that is not there is read as empty text, which its own decoder refuses.
            if text != "{,1}" {
                assert!(events(text, b',').is_err(), "{text}");
            }
        }
    }

    #[test]
    fn binary() {
        let mut shape = Shape::default();
        assert!(shape.push(Dimension { length: 2, lower: 0 }));
        let mut bytes = Vec::new();
        encode_binary_shape(&shape, true, 23, &mut bytes).unwrap();
        bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff]);
        let mut array = decode_binary(&bytes).unwrap();
        assert_eq!((array.shape, array.element_oid), (shape, 23));
        assert!(!array.shape.is_plain());
        assert_eq!(array.elements.next_value().unwrap(), Some(&[0, 0, 0, 7][..]));
        assert_eq!(array.elements.next_value().unwrap(), None);
        array.elements.finish().unwrap();
        for cut in 0..bytes.len() {
            let read = decode_binary(&bytes[..cut]).and_then(|mut array| {
                array.elements.next_value()?;
                array.elements.next_value()
            });
            assert!(read.is_err(), "{cut}");
        }
    }

    #[test]
    fn elements_are_quoted_where_they_must_be() {
        for (value, text) in [
            ("a", "a"),
            ("", "\"\""),
            ("null", "\"null\""),
            ("a b", "\"a b\""),
            ("a\"\\", r#""a\"\\""#),
            (",", "\",\""),
        ] {
            let mut out = Vec::new();
            encode_text_element(value.as_bytes(), b',', &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
