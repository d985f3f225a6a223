//! bool: one byte, 0 or 1; in text `t` or `f`.

use crate::{Result, ValueError};

const NAME: &str = "bool";

/// The value of a binary bool.
///
/// # Errors
/// `Length` when it is not one byte, `Malformed` when the byte is neither 0 nor 1.
#[inline]
pub fn decode_binary(bytes: &[u8]) -> Result<bool> {
    match bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(ValueError::malformed(NAME, format!("byte {other}, expected 0 or 1"))),
        _ => Err(ValueError::length(NAME, 1, bytes.len())),
    }
}

/// The value of a text bool, `t` or `f`.
///
/// # Errors
/// `Malformed` for any other text.
#[inline]
pub fn decode_text(text: &[u8]) -> Result<bool> {
    match text {
        b"t" => Ok(true),
        b"f" => Ok(false),
        _ => Err(ValueError::unexpected_text(NAME, text)),
    }
}

/// Appends the binary form.
#[inline]
pub fn encode_binary(value: bool, out: &mut Vec<u8>) {
    out.push(u8::from(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_values_both_forms() {
        for (value, text) in [(true, b"t"), (false, b"f")] {
            let mut out = Vec::new();
            encode_binary(value, &mut out);
            assert_eq!(decode_binary(&out), Ok(value));
            assert_eq!(decode_text(text), Ok(value));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(matches!(decode_binary(&[2]), Err(ValueError::Malformed { .. })));
        assert!(matches!(decode_binary(&[]), Err(ValueError::Length { got: 0, .. })));
        for text in [&b"true"[..], b"T", b"", b"1", b"t "] {
            assert!(decode_text(text).is_err());
        }
    }
}
