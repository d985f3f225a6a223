//! Row values: composite types, table rows, and `record`.
//!
//! Binary: how many fields, then each one's type and its value behind its length; dropped columns are left out. Text:
//! `(1,"a b",)`, where nothing at all is NULL. Source: `record_send`, `record_out`; the manual's chapter "Composite Types".

use std::borrow::Cow;

use crate::array::{int, value};
use crate::quoted;
use crate::{Result, ValueError};

const NAME: &str = "record";

/// The fields of a binary row value.
#[derive(Clone, Debug)]
pub struct BinaryFields<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> BinaryFields<'a> {
    /// How many are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left
    }

    /// The next field's type and value.
    ///
    /// # Errors
    /// `Malformed` when the bytes end too early.
    #[inline]
    pub fn next_field(&mut self) -> Result<(u32, Option<&'a [u8]>)> {
        self.left = self.left.saturating_sub(1);
        let type_oid = int(NAME, &mut self.rest)?.cast_unsigned();
        Ok((type_oid, value(NAME, &mut self.rest)?))
    }

    /// Whether all bytes were fields.
    ///
    /// # Errors
    /// `Malformed` when some are left.
    pub fn finish(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(ValueError::malformed(NAME, "bytes behind its last field")) }
    }
}

/// The fields of a binary row value.
///
/// # Errors
/// `Malformed` when it counts more than its bytes could hold.
#[inline]
pub fn decode_binary(bytes: &[u8]) -> Result<BinaryFields<'_>> {
    let mut rest = bytes;
    let count = usize::try_from(int(NAME, &mut rest)?).ok().filter(|count| *count <= rest.len() / 8);
    match count {
        Some(left) => Ok(BinaryFields { rest, left }),
        None => Err(ValueError::malformed(NAME, "more fields than bytes")),
    }
}

/// The fields of a text row value, NULL as `None`.
///
/// # Errors
/// `Malformed` when it is not what the server writes.
pub fn decode_text(text: &[u8]) -> Result<Vec<Option<Cow<'_, [u8]>>>> {
    let mut fields = Vec::new();
    let mut at = 1;
    if !text.starts_with(b"(") {
        return Err(ValueError::unexpected_text(NAME, text));
    }
    loop {
        fields.push(quoted::part(NAME, text, &mut at, |byte| matches!(byte, b',' | b')'))?);
        at += 1;
        if text.get(at - 1) == Some(&b')') {
            break;
        }
    }
    if at == text.len() { Ok(fields) } else { Err(ValueError::unexpected_text(NAME, text)) }
}

/// Appends one field of a text row value, given in the text form of its type.
pub fn encode_text_field(value: &[u8], out: &mut Vec<u8>) {
    quoted::quote(value, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text() {
        let fields = |text: &str| -> Vec<Option<String>> {
            let read = decode_text(text.as_bytes()).unwrap();
            read.into_iter().map(|field| field.map(|bytes| String::from_utf8(bytes.into_owned()).unwrap())).collect()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(fields("()"), [None]);
        assert_eq!(fields("(1,,\"\")"), [some("1"), None, some("")]);
        assert_eq!(fields(r#"("a ""b"" \\,)",x)"#), [some("a \"b\" \\,)"), some("x")]);
        for text in ["", "(", "(1", "1)", "(1)x", "(\"a)", "(1,"] {
            assert!(decode_text(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn binary() {
        let bytes = [0, 0, 0, 2, 0, 0, 0, 23, 0, 0, 0, 1, 9, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff];
        let mut fields = decode_binary(&bytes).unwrap();
        assert_eq!(fields.left(), 2);
        assert_eq!(fields.next_field().unwrap(), (23, Some(&[9][..])));
        assert_eq!(fields.next_field().unwrap(), (25, None));
        fields.finish().unwrap();
        assert!(decode_binary(&[0x7f, 0, 0, 0]).is_err());
        assert!(decode_binary(&bytes[..17]).is_err());
    }
}
