//! tid: where a row version lies, a block number and an offset in the block; in text `(0,1)`.

use crate::{Result, ValueError, int};

const NAME: &str = "tid";

/// Block and offset of a binary tid.
///
/// # Errors
/// `Length` when it is not six bytes.
#[inline]
pub fn decode_binary(bytes: &[u8]) -> Result<(u32, u16)> {
    match <[u8; 6]>::try_from(bytes) {
        Ok([a, b, c, d, e, f]) => Ok((u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f]))),
        Err(_) => Err(ValueError::length(NAME, 6, bytes.len())),
    }
}

/// Appends the binary form.
#[inline]
pub fn encode_binary(block: u32, offset: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&block.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes());
}

/// Block and offset of a text tid.
///
/// # Errors
/// `Malformed` for other texts.
pub fn decode_text(text: &[u8]) -> Result<(u32, u16)> {
    parse(text).ok_or_else(|| ValueError::unexpected_text(NAME, text))
}

fn parse(text: &[u8]) -> Option<(u32, u16)> {
    let [b'(', inner @ .., b')'] = text else { return None };
    let comma = inner.iter().position(|byte| *byte == b',')?;
    let offset = int::decode_text_u32(inner.get(comma + 1..)?).ok()?;
    Some((int::decode_text_u32(inner.get(..comma)?).ok()?, offset.try_into().ok()?))
}

/// Appends the text form.
pub fn encode_text(block: u32, offset: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("({block},{offset})").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        assert_eq!(decode_text(b"(4294967295,65535)"), Ok((u32::MAX, u16::MAX)));
        for text in ["", "()", "(1)", "(1,2", "1,2", "(-1,2)", "(1,65536)", "(4294967296,1)", "(1,2,3)", "(01,2)"] {
            assert!(decode_text(text.as_bytes()).is_err(), "{text}");
        }
        assert!(decode_binary(&[0; 5]).is_err());
    }

    proptest! {
        #[test]
        fn round_trips(block: u32, offset: u16) {
            let (mut binary, mut text) = (Vec::new(), Vec::new());
            encode_binary(block, offset, &mut binary);
            encode_text(block, offset, &mut text);
            prop_assert_eq!(decode_binary(&binary), Ok((block, offset)));
            prop_assert_eq!(decode_text(&text), Ok((block, offset)));
        }
    }
}
