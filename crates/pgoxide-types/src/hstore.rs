//! hstore: keys with text values or NULL.
//!
//! Binary: how many pairs, then key and value behind their lengths. Text: `"a"=>"1", "b"=>NULL`. Source: `hstore_send`,
//! `hstore_out`; the manual's appendix "hstore".

use std::borrow::Cow;

use crate::array::{int, value};
use crate::{Result, ValueError};

const NAME: &str = "hstore";

/// A key and its value.
pub type Pair<'a> = (Cow<'a, [u8]>, Option<Cow<'a, [u8]>>);

/// The pairs of a binary hstore.
///
/// # Errors
/// `Malformed` when it counts more than its bytes hold, or a key is NULL.
pub fn decode_binary(bytes: &[u8]) -> Result<Vec<Pair<'_>>> {
    let mut rest = bytes;
    let count = usize::try_from(int(NAME, &mut rest)?).ok().filter(|count| *count <= rest.len() / 8);
    let Some(count) = count else { return Err(ValueError::malformed(NAME, "more pairs than bytes")) };
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let Some(key) = value(NAME, &mut rest)? else { return Err(ValueError::malformed(NAME, "a key that is NULL")) };
        pairs.push((Cow::Borrowed(key), value(NAME, &mut rest)?.map(Cow::Borrowed)));
    }
    if rest.is_empty() { Ok(pairs) } else { Err(ValueError::malformed(NAME, "bytes behind its last pair")) }
}

/// The pairs of a text hstore.
///
/// # Errors
/// `Malformed` when it is not what the server writes.
pub fn decode_text(text: &[u8]) -> Result<Vec<Pair<'_>>> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let key = string(text, &mut rest)?;
        skip(text, &mut rest, b"=>")?;
        let value = match rest.strip_prefix(b"NULL") {
            Some(behind) => {
                rest = behind;
                None
            }
            None => Some(string(text, &mut rest)?),
        };
        pairs.push((key, value));
        if !rest.is_empty() {
            skip(text, &mut rest, b", ")?;
            if rest.is_empty() {
                return Err(ValueError::unexpected_text(NAME, text));
            }
        }
    }
    Ok(pairs)
}

fn skip(text: &[u8], rest: &mut &[u8], expected: &[u8]) -> Result<()> {
    match rest.strip_prefix(expected) {
        Some(behind) => {
            *rest = behind;
            Ok(())
        }
        None => Err(ValueError::unexpected_text(NAME, text)),
    }
}

/// A quoted string; quotes and backslashes inside are behind a backslash.
fn string<'a>(text: &[u8], rest: &mut &'a [u8]) -> Result<Cow<'a, [u8]>> {
    skip(text, rest, b"\"")?;
    let whole = *rest;
    let mut owned: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(&byte) = whole.get(at) {
        match byte {
            b'"' => {
                *rest = &whole[at + 1..];
                return Ok(owned.map_or(Cow::Borrowed(&whole[..at]), Cow::Owned));
            }
            b'\\' => {
                let owned = owned.get_or_insert_with(|| whole[..at].to_vec());
                at += 1;
                owned.extend(whole.get(at));
            }
            byte => {
                if let Some(owned) = &mut owned {
                    owned.push(byte);
                }
            }
        }
        at += 1;
    }
    Err(ValueError::malformed(NAME, "it ends too early"))
}

/// Appends one pair of a text hstore and, before it, what separates it from the one in front.
pub fn encode_text_pair(key: &[u8], value: Option<&[u8]>, first: bool, out: &mut Vec<u8>) {
    if !first {
        out.extend_from_slice(b", ");
    }
    quote(key, out);
    out.extend_from_slice(b"=>");
    match value {
        Some(value) => quote(value, out),
        None => out.extend_from_slice(b"NULL"),
    }
}

fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text() {
        let mut out = Vec::new();
        encode_text_pair(b"a\"\\", Some(b"=>, "), true, &mut out);
        encode_text_pair(b"", None, false, &mut out);
        assert_eq!(out, br#""a\"\\"=>"=>, ", ""=>NULL"#);
        let read = decode_text(&out).unwrap();
        assert_eq!(read[0], (Cow::Borrowed(&b"a\"\\"[..]), Some(Cow::Borrowed(&b"=>, "[..]))));
        assert_eq!(read[1], (Cow::Borrowed(&b""[..]), None));
        assert!(decode_text(b"").unwrap().is_empty());
        for text in ["a", "\"a\"", "\"a\"=>", "\"a\"=>\"b\", ", "\"a\"=>\"b\"\"c\"=>NULL", "\"a=>b", "\"a\"=>NUL"] {
            assert!(decode_text(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn binary() {
        let bytes = [0, 0, 0, 1, 0, 0, 0, 1, b'k', 0xff, 0xff, 0xff, 0xff];
        assert_eq!(decode_binary(&bytes).unwrap(), [(Cow::Borrowed(&b"k"[..]), None)]);
        for cut in 0..bytes.len() {
            assert!(decode_binary(&bytes[..cut]).is_err());
        }
        assert!(decode_binary(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]).is_err());
    }
}
