//! macaddr and macaddr8: six and eight bytes; in text pairs of lower-case hex digits with colons.

use crate::bytea::hex_digit;
use crate::{Result, ValueError};

/// The value of a binary macaddr (`N` = 6) or macaddr8 (`N` = 8).
///
/// # Errors
/// `Length` when the size is wrong.
#[inline]
pub fn decode_binary<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| ValueError::length(name::<N>(), N, bytes.len()))
}

const fn name<const N: usize>() -> &'static str {
    if N == 8 { "macaddr8" } else { "macaddr" }
}

/// The value of a text macaddr or macaddr8, in any form the manual lists: pairs of digits with `:` or `-`, groups of four or
/// six digits with `:`, `-` or `.`, or digits alone. Six bytes as macaddr8 get `ff:fe` in the middle, as the server does.
///
/// # Errors
/// `Malformed` for other texts.
pub fn decode_text<const N: usize>(text: &[u8]) -> Result<[u8; N]> {
    parse(text).ok_or_else(|| ValueError::unexpected_text(name::<N>(), text))
}

fn parse<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let separator = text.iter().find(|byte| !byte.is_ascii_hexdigit()).copied();
    let groups = match separator {
        None => 0,
        Some(b':' | b'-' | b'.') => text
            .split(|byte| Some(*byte) == separator)
            .map(<[u8]>::len)
            .try_fold(0, |width, next| (width == 0 || width == next).then_some(next))?,
        Some(_) => return None,
    };
    if !matches!((separator, groups), (None, _) | (Some(b':' | b'-'), 2 | 4 | 6) | (Some(b'.'), 4)) {
        return None;
    }
    let mut bytes = [0; 8];
    let mut count = 0;
    let mut digits = text.iter().filter(|byte| Some(**byte) != separator);
    while let Some(high) = digits.next() {
        let (high, low) = (hex_digit(*high), hex_digit(*digits.next()?));
        if high | low > 15 {
            return None;
        }
        *bytes.get_mut(count)? = high << 4 | low;
        count += 1;
    }
    match (count, N) {
        (6, 8) => {
            let [a, b, c, d, e, f, ..] = bytes;
            [a, b, c, 0xff, 0xfe, d, e, f].as_slice().try_into().ok()
        }
        (count, _) if count == N => bytes.get(..N)?.try_into().ok(),
        _ => None,
    }
}

/// Appends the text form.
pub fn encode_text(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 {
            out.push(b':');
        }
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        for text in [
            "08:00:2b:01:02:03",
            "08-00-2B-01-02-03",
            "08002b:010203",
            "08002b-010203",
            "0800.2b01.0203",
            "0800-2b01-0203",
            "08002b010203",
        ] {
            assert_eq!(decode_text(text.as_bytes()), Ok([8, 0, 0x2b, 1, 2, 3]), "{text}");
            assert_eq!(decode_text(text.as_bytes()), Ok([8, 0, 0x2b, 0xff, 0xfe, 1, 2, 3]), "{text}");
        }
        assert_eq!(decode_text(b"08:00:2b:01:02:03:04:05"), Ok([8, 0, 0x2b, 1, 2, 3, 4, 5]));
        for text in [
            "",
            "08:00:2b:01:02",
            "08:00:2b:01:02:0g",
            "08:00-2b:01:02:03",
            "8:0:2b:1:2:3",
            "08002b01020",
            "08002b.010203",
            ":::::",
            "08:00:2b:01:02:03:",
        ] {
            assert!(decode_text::<6>(text.as_bytes()).is_err(), "{text}");
            assert!(decode_text::<8>(text.as_bytes()).is_err(), "{text}");
        }
        assert!(decode_text::<6>(b"08:00:2b:01:02:03:04:05").is_err());
        assert!(decode_binary::<6>(&[0; 8]).is_err());
    }

    proptest! {
        #[test]
        fn round_trips(bytes: [u8; 8]) {
            let mut text = Vec::new();
            encode_text(&bytes, &mut text);
            prop_assert_eq!(decode_text::<8>(&text), Ok(bytes));
            text.truncate(17);
            let six = decode_text::<6>(&text).unwrap();
            prop_assert_eq!(&six[..], &bytes[..6]);
        }
    }
}
