//! Ranges and multiranges over any type.
//!
//! Binary: a byte of flags, then each bound that there is, behind its length; a multirange counts its ranges and puts each
//! behind its length. Text: `empty`, `[1,10)`, `(,"2020-01-01 00:00:00"]`; `{[1,3),[5,9)}`. Source: `range_send`,
//! `range_out`; the manual's chapter "Range Types".

use std::borrow::Cow;

use crate::array::{int, value};
use crate::quoted;
use crate::{Result, ValueError};

const NAME: &str = "range";
const MANY: &str = "multirange";

const EMPTY: u8 = 0x01;
const LOWER_INC: u8 = 0x02;
const UPPER_INC: u8 = 0x04;
const LOWER_INF: u8 = 0x08;
const UPPER_INF: u8 = 0x10;

/// A range, its bounds not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range<B> {
    /// It contains nothing; it has no bounds then.
    pub empty: bool,
    /// `None`: it goes on for ever.
    pub lower: Option<B>,
    /// As `lower`.
    pub upper: Option<B>,
    /// The lower bound is part of it.
    pub lower_inc: bool,
    /// The upper bound is part of it.
    pub upper_inc: bool,
}

/// The bounds of a binary range.
///
/// # Errors
/// `Malformed` when it is not what its flags say.
#[inline]
pub fn decode_binary(bytes: &[u8]) -> Result<Range<&[u8]>> {
    let Some((&flags, mut rest)) = bytes.split_first() else {
        return Err(ValueError::malformed(NAME, "it has no flags"));
    };
    let mut bound = |absent: u8| {
        if flags & (EMPTY | absent) != 0 {
            return Ok(None);
        }
        match value(NAME, &mut rest)? {
            Some(bound) => Ok(Some(bound)),
            None => Err(ValueError::malformed(NAME, "a bound that is NULL")),
        }
    };
    let (lower, upper) = (bound(LOWER_INF)?, bound(UPPER_INF)?);
    if !rest.is_empty() {
        return Err(ValueError::malformed(NAME, "bytes behind its bounds"));
    }
    Ok(Range {
        empty: flags & EMPTY != 0,
        lower_inc: lower.is_some() && flags & LOWER_INC != 0,
        upper_inc: upper.is_some() && flags & UPPER_INC != 0,
        lower,
        upper,
    })
}

/// The flags of a binary range.
#[must_use]
pub fn flags<B>(range: &Range<B>) -> u8 {
    if range.empty {
        return EMPTY;
    }
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    flag(range.lower.is_none(), LOWER_INF)
        | flag(range.upper.is_none(), UPPER_INF)
        | flag(range.lower.is_some() && range.lower_inc, LOWER_INC)
        | flag(range.upper.is_some() && range.upper_inc, UPPER_INC)
}

/// The bounds of a text range.
///
/// # Errors
/// `Malformed` when it is not what the server writes.
pub fn decode_text(text: &[u8]) -> Result<Range<Cow<'_, [u8]>>> {
    let mut at = 0;
    let range = at_place(text, &mut at)?;
    if at == text.len() { Ok(range) } else { Err(ValueError::unexpected_text(NAME, text)) }
}

fn at_place<'a>(text: &'a [u8], at: &mut usize) -> Result<Range<Cow<'a, [u8]>>> {
    if text[*at..].starts_with(b"empty") {
        *at += 5;
        return Ok(Range { empty: true, lower: None, upper: None, lower_inc: false, upper_inc: false });
    }
    let lower_inc = match text.get(*at) {
        Some(b'[') => true,
        Some(b'(') => false,
        _ => return Err(ValueError::unexpected_text(NAME, text)),
    };
    *at += 1;
    let lower = quoted::part(NAME, text, at, |byte| matches!(byte, b',' | b')' | b']'))?;
    if text.get(*at) != Some(&b',') {
        return Err(ValueError::unexpected_text(NAME, text));
    }
    *at += 1;
    let upper = quoted::part(NAME, text, at, |byte| matches!(byte, b')' | b']'))?;
    // `part` stops at one of the two.
    let upper_inc = text.get(*at) == Some(&b']');
    *at += 1;
    Ok(Range {
        empty: false,
        lower_inc: lower.is_some() && lower_inc,
        upper_inc: upper.is_some() && upper_inc,
        lower,
        upper,
    })
}

/// Appends a range in text. The bounds are given in the text form of their type.
pub fn encode_text(range: &Range<&[u8]>, out: &mut Vec<u8>) {
    if range.empty {
        out.extend_from_slice(b"empty");
        return;
    }
    out.push(if range.lower_inc { b'[' } else { b'(' });
    if let Some(lower) = range.lower {
        quoted::quote(lower, out);
    }
    out.push(b',');
    if let Some(upper) = range.upper {
        quoted::quote(upper, out);
    }
    out.push(if range.upper_inc { b']' } else { b')' });
}

/// The ranges of a binary multirange.
///
/// # Errors
/// `Malformed` when there are not as many as it says.
pub fn decode_binary_many(bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let mut rest = bytes;
    let count = usize::try_from(int(MANY, &mut rest)?).ok().filter(|count| *count <= rest.len() / 4);
    let Some(count) = count else { return Err(ValueError::malformed(MANY, "more ranges than bytes")) };
    let mut ranges = Vec::with_capacity(count);
    for _ in 0..count {
        match value(MANY, &mut rest)? {
            Some(range) => ranges.push(range),
            None => return Err(ValueError::malformed(MANY, "a range that is NULL")),
        }
    }
    if rest.is_empty() { Ok(ranges) } else { Err(ValueError::malformed(MANY, "bytes behind its last range")) }
}

/// The ranges of a text multirange.
///
/// # Errors
/// `Malformed` when it is not what the server writes.
pub fn decode_text_many(text: &[u8]) -> Result<Vec<Range<Cow<'_, [u8]>>>> {
    let [b'{', inner @ .., b'}'] = text else { return Err(ValueError::unexpected_text(MANY, text)) };
    let (mut at, mut ranges) = (0, Vec::new());
    while at < inner.len() {
        if !ranges.is_empty() {
            if inner[at] != b',' {
                return Err(ValueError::unexpected_text(MANY, text));
            }
            at += 1;
        }
        ranges.push(at_place(inner, &mut at)?);
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range<'a>(lower: Option<&'a [u8]>, upper: Option<&'a [u8]>, bounds: &str) -> Range<&'a [u8]> {
        let empty = bounds == "empty";
        Range { empty, lower, upper, lower_inc: bounds.starts_with('['), upper_inc: bounds.ends_with(']') }
    }

    #[test]
    fn both_formats() {
        for (expected, text, plain) in [
            (range(None, None, "empty"), "empty", "empty"),
            (range(Some(b"1"), Some(b"10"), "[)"), "[\"1\",\"10\")", "[1,10)"),
            (range(None, Some(b"a\"b"), "(]"), "(,\"a\"\"b\"]", "(,a\\\"b]"),
            (range(Some(b""), None, "[)"), "[\"\",)", "[\"\",)"),
            (range(None, None, "()"), "(,)", "(,)"),
        ] {
            let mut written = Vec::new();
            encode_text(&expected, &mut written);
            assert_eq!(written, text.as_bytes());
            for text in [text, plain] {
                let read = decode_text(text.as_bytes()).unwrap();
                assert_eq!((read.lower.as_deref(), read.upper.as_deref()), (expected.lower, expected.upper));
                assert_eq!((read.lower_inc, read.upper_inc), (expected.lower_inc, expected.upper_inc));
            }
            let mut bytes = vec![flags(&expected)];
            for bound in [expected.lower, expected.upper].into_iter().flatten() {
                bytes.extend_from_slice(&u32::try_from(bound.len()).unwrap().to_be_bytes());
                bytes.extend_from_slice(bound);
            }
            assert_eq!(decode_binary(&bytes).unwrap(), expected);
        }
    }

    #[test]
    fn malformed() {
        for text in ["", "[", "[1", "[1,2", "1,2", "[1)", "[1,2)x", "[\"1,2)", "emptyx", "[1,2,3\""] {
            assert!(decode_text(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["", "{", "{[1,2)", "{[1,2)[3,4)}", "[1,2)"] {
            assert!(decode_text_many(text.as_bytes()).is_err(), "{text}");
        }
        for bytes in [&[][..], &[0], &[0, 0, 0, 0, 9], &[1, 1], &[0, 0xff, 0xff, 0xff, 0xff]] {
            assert!(decode_binary(bytes).is_err(), "{bytes:?}");
        }
        assert!(decode_binary_many(&[0x7f, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn many() {
        assert_eq!(decode_text_many(b"{}").unwrap().len(), 0);
        assert_eq!(decode_text_many(b"{[1,3),(5,)}").unwrap().len(), 2);
        assert_eq!(decode_binary_many(&[0, 0, 0, 1, 0, 0, 0, 1, 1]).unwrap(), [&[1][..]]);
    }
}
