//! pg_lsn: a position in the write-ahead log, an unsigned number of eight bytes; in text its halves in hex, `16/B374D848`.

use crate::bytea::hex_digit;
use crate::{Result, ValueError};

const NAME: &str = "pg_lsn";

/// The value of a binary pg_lsn.
///
/// # Errors
/// `Length` when it is not eight bytes.
#[inline]
pub fn decode_binary(bytes: &[u8]) -> Result<u64> {
    match bytes.try_into() {
        Ok(array) => Ok(u64::from_be_bytes(array)),
        Err(_) => Err(ValueError::length(NAME, 8, bytes.len())),
    }
}

/// Appends the binary form.
#[inline]
pub fn encode_binary(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// The value of a text pg_lsn.
///
/// # Errors
/// `Malformed` unless it is two numbers of one to eight hex digits.
pub fn decode_text(text: &[u8]) -> Result<u64> {
    parse(text).ok_or_else(|| ValueError::unexpected_text(NAME, text))
}

fn parse(text: &[u8]) -> Option<u64> {
    let slash = text.iter().position(|byte| *byte == b'/')?;
    Some(half(text.get(..slash)?)? << 32 | half(text.get(slash + 1..)?)?)
}

fn half(digits: &[u8]) -> Option<u64> {
    if !(1..=8).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0, |sum, digit| {
        let digit = hex_digit(*digit);
        (digit < 16).then_some(sum << 4 | u64::from(digit))
    })
}

/// Appends the text form.
pub fn encode_text(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{:X}/{:X}", value >> 32, value & 0xffff_ffff).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        assert_eq!(decode_text(b"16/B374D848"), Ok(0x16_b374_d848));
        assert_eq!(decode_text(b"FFFFFFFF/00000000"), Ok(0xffff_ffff_0000_0000));
        for text in ["", "/", "1/", "/1", "1", "100000000/0", "0/100000000", "x/0", "1/2/3", "-1/0"] {
            assert!(decode_text(text.as_bytes()).is_err(), "{text}");
        }
        assert!(decode_binary(&[0; 7]).is_err());
    }

    proptest! {
        #[test]
        fn round_trips(value: u64) {
            let (mut binary, mut text) = (Vec::new(), Vec::new());
            encode_binary(value, &mut binary);
            encode_text(value, &mut text);
            prop_assert_eq!(decode_binary(&binary), Ok(value));
            prop_assert_eq!(decode_text(&text), Ok(value));
        }
    }
}
