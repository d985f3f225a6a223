//! uuid: sixteen bytes, here one big-endian `u128`; in text hyphenated lower-case hex.

use crate::bytea::hex_digit;
use crate::{Result, ValueError};

const NAME: &str = "uuid";

/// Where the hyphens of the long form are.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The value of a binary uuid.
///
/// # Errors
/// `Length` when it is not sixteen bytes.
#[inline]
pub fn decode_binary(bytes: &[u8]) -> Result<u128> {
    match bytes.try_into() {
        Ok(array) => Ok(u128::from_be_bytes(array)),
        Err(_) => Err(ValueError::length(NAME, 16, bytes.len())),
    }
}

/// The value of a text uuid: `8-4-4-4-12` hex digits as the server writes it, or 32 hex digits, either in
/// braces or not, any case (what users type).
///
/// # Errors
/// `Malformed` for anything else.
#[inline]
pub fn decode_text(text: &[u8]) -> Result<u128> {
    parse(text).ok_or_else(|| ValueError::unexpected_text(NAME, text))
}

fn parse(text: &[u8]) -> Option<u128> {
    let bare = match text {
        [b'{', inner @ .., b'}'] => inner,
        other => other,
    };
    let mut digits = [0; 32];
    match bare.len() {
        32 => digits.copy_from_slice(bare),
        36 if HYPHENS.iter().all(|at| bare.get(*at) == Some(&b'-')) => {
            digits[..8].copy_from_slice(&bare[..8]);
            digits[8..12].copy_from_slice(&bare[9..13]);
            digits[12..16].copy_from_slice(&bare[14..18]);
            digits[16..20].copy_from_slice(&bare[19..23]);
            digits[20..].copy_from_slice(&bare[24..]);
        }
        _ => return None,
    }
    let mut value = [0; 16];
    let mut seen = 0; // any non-digit leaves its high bits here
    for (byte, [high, low]) in value.iter_mut().zip(digits.as_chunks::<2>().0) {
        let (high, low) = (hex_digit(*high), hex_digit(*low));
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen <= 15).then_some(u128::from_be_bytes(value))
}

/// Appends the binary form.
#[inline]
pub fn encode_binary(value: u128, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends the hyphenated lower-case text form, 36 bytes.
pub fn encode_text(value: u128, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(36);
    for (index, byte) in value.to_be_bytes().into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALUE: u128 = 0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11;

    #[test]
    fn text_forms() {
        for text in [
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11}",
        ] {
            assert_eq!(decode_text(text.as_bytes()), Ok(VALUE));
        }
        for text in [
            "",
            "{}",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
            "a0eebc999-c0b-4ef8-bb6d-6bb9bd380a11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ] {
            assert!(decode_text(text.as_bytes()).is_err(), "{text}");
        }
        assert!(decode_binary(&[0; 15]).is_err());
    }

    proptest! {
        #[test]
        fn round_trips(value: u128) {
            let (mut binary, mut text) = (Vec::new(), Vec::new());
            encode_binary(value, &mut binary);
            encode_text(value, &mut text);
            prop_assert_eq!(decode_binary(&binary), Ok(value));
            prop_assert_eq!(decode_text(&text), Ok(value));
        }
    }
}
