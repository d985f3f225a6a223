//! bit and varbit: a count of bits and the bits, the last byte filled up with zeros; in text `0` and `1`.

use crate::{Result, ValueError};

const NAME: &str = "varbit";

/// The number of bits of a binary bit or varbit, and its bytes.
///
/// # Errors
/// `Length` when count and bytes do not agree, `Malformed` for a negative count or a bit set behind the last one.
#[inline]
pub fn decode_binary(bytes: &[u8]) -> Result<(usize, &[u8])> {
    let Some((count, bits)) = bytes.split_first_chunk::<4>() else {
        return Err(ValueError::length(NAME, 4, bytes.len()));
    };
    let Ok(count) = usize::try_from(i32::from_be_bytes(*count)) else {
        return Err(ValueError::malformed(NAME, "a negative number of bits"));
    };
    if bits.len() != count.div_ceil(8) {
        return Err(ValueError::length(NAME, count.div_ceil(8) + 4, bytes.len()));
    }
    check_padding(count, bits)?;
    Ok((count, bits))
}

fn check_padding(count: usize, bits: &[u8]) -> Result<()> {
    let padding = match count % 8 {
        0 => 0,
        used => 0xff_u8 >> used,
    };
    match bits.last() {
        Some(last) if last & padding != 0 => Err(ValueError::malformed(NAME, "bits set behind the last one")),
        _ => Ok(()),
    }
}

/// Appends the binary form of the first `count` bits.
///
/// # Errors
/// `Length` and `Malformed` as [`decode_binary`], `OutOfRange` for more bits than a count can say.
#[inline]
pub fn encode_binary(count: usize, bits: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let Ok(length) = i32::try_from(count) else {
        return Err(ValueError::out_of_range(NAME, format!("{count} bits")));
    };
    if bits.len() != count.div_ceil(8) {
        return Err(ValueError::length(NAME, count.div_ceil(8), bits.len()));
    }
    check_padding(count, bits)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bits);
    Ok(())
}

/// Appends the bytes of a text value to `bits`; the number of bits is the text's length.
///
/// # Errors
/// `Malformed` for other characters than `0` and `1`.
pub fn decode_text(text: &[u8], bits: &mut Vec<u8>) -> Result<usize> {
    if !text.iter().all(|byte| matches!(byte, b'0' | b'1')) {
        return Err(ValueError::unexpected_text(NAME, text));
    }
    bits.extend(text.chunks(8).map(|eight| {
        let value = eight.iter().fold(0, |sum, digit| sum << 1 | (digit & 1));
        value << (8 - eight.len())
    }));
    Ok(text.len())
}

/// Appends the text form of the first `count` bits.
pub fn encode_text(count: usize, bits: &[u8], out: &mut Vec<u8>) {
    out.extend(bits.iter().flat_map(|byte| (0..8).rev().map(move |shift| b'0' + (byte >> shift & 1))).take(count));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths() {
        assert_eq!(decode_binary(&[0, 0, 0, 0]), Ok((0, &[][..])));
        assert_eq!(decode_binary(&[0, 0, 0, 9, 0xff, 0x80]), Ok((9, &[0xff, 0x80][..])));
        for bytes in [
            &[][..],
            &[0, 0, 0],
            &[0, 0, 0, 1],
            &[0, 0, 0, 8, 1, 2],
            &[0xff, 0xff, 0xff, 0xff],
            &[0, 0, 0, 1, 0x40],
            &[0x7f, 0xff, 0xff, 0xff],
        ] {
            assert!(decode_binary(bytes).is_err(), "{bytes:?}");
        }
        assert!(decode_text(b"012", &mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn round_trips(text in "[01]{0,40}") {
            let (mut bits, mut binary, mut back) = (Vec::new(), Vec::new(), Vec::new());
            let count = decode_text(text.as_bytes(), &mut bits).unwrap();
            encode_binary(count, &bits, &mut binary).unwrap();
            prop_assert_eq!(decode_binary(&binary), Ok((count, &bits[..])));
            encode_text(count, &bits, &mut back);
            prop_assert_eq!(back, text.as_bytes());
        }
    }
}
