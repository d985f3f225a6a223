//! Quoting as ranges and row values have it: parts in double quotes, where a quote is doubled or behind a backslash.

use std::borrow::Cow;

use crate::{Result, ValueError};

/// The text from `at` up to a byte that `stops`, outside quotes; `at` is then there. `None`: there is nothing at all, not
/// even quotes.
pub(crate) fn part<'a>(
    type_name: &'static str,
    text: &'a [u8],
    at: &mut usize,
    stops: impl Fn(u8) -> bool,
) -> Result<Option<Cow<'a, [u8]>>> {
    let start = *at;
    // Nearly all parts have no quotes and no backslashes.
    while let Some(byte) = text.get(*at) {
        if stops(*byte) {
            let plain = &text[start..*at];
            return Ok((!plain.is_empty()).then_some(Cow::Borrowed(plain)));
        }
        if matches!(byte, b'"' | b'\\') {
            return unquote(type_name, text, start, at, stops).map(|part| Some(Cow::Owned(part)));
        }
        *at += 1;
    }
    Err(ValueError::malformed(type_name, "it ends too early"))
}

fn unquote(
    type_name: &'static str,
    text: &[u8],
    start: usize,
    at: &mut usize,
    stops: impl Fn(u8) -> bool,
) -> Result<Vec<u8>> {
    let mut part = text[start..*at].to_vec();
    let mut quoted = false;
    while let Some(&byte) = text.get(*at) {
        match byte {
            b'\\' => {
                *at += 1;
                part.extend(text.get(*at));
            }
            b'"' if quoted && text.get(*at + 1) == Some(&b'"') => {
                *at += 1;
                part.push(b'"');
            }
            b'"' => quoted = !quoted,
            byte if !quoted && stops(byte) => return Ok(part),
            byte => part.push(byte),
        }
        *at += 1;
    }
    Err(ValueError::malformed(type_name, "it ends too early"))
}

/// Appends a value between quotes, its quotes and backslashes doubled.
pub(crate) fn quote(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(*byte);
        }
        out.push(*byte);
    }
    out.push(b'"');
}
