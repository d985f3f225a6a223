//! int2, int4, int8, oid and xid8: big-endian two's complement; in text plain decimal digits.

use crate::error::quote;
use crate::{Result, ValueError};

macro_rules! fixed {
    ($($decode:ident $encode:ident $text:ident $rust:ty, $name:literal;)*) => {$(
        #[doc = concat!("The value of a binary ", $name, ".")]
        ///
        /// # Errors
        /// `Length` when the size is wrong.
        #[inline]
        pub fn $decode(bytes: &[u8]) -> Result<$rust> {
            match bytes.try_into() {
                Ok(array) => Ok(<$rust>::from_be_bytes(array)),
                Err(_) => Err(ValueError::length($name, size_of::<$rust>(), bytes.len())),
            }
        }

        #[doc = concat!("Appends the binary ", $name, ".")]
        #[inline]
        pub fn $encode(value: $rust, out: &mut Vec<u8>) {
            out.extend_from_slice(&value.to_be_bytes());
        }

        #[doc = concat!("The value of a text ", $name, ".")]
        ///
        /// # Errors
        /// `Malformed` for what the server never writes (sign `+`, leading zeros, spaces), `OutOfRange` for
        /// digits that do not fit.
        #[inline]
        pub fn $text(text: &[u8]) -> Result<$rust> {
            parse(text, $name)
                .and_then(|value| value.try_into().map_err(|_| too_large(text, $name)))
        }
    )*};
}

fixed! {
    decode_binary_i16 encode_binary_i16 decode_text_i16 i16, "int2";
    decode_binary_i32 encode_binary_i32 decode_text_i32 i32, "int4";
    decode_binary_i64 encode_binary_i64 decode_text_i64 i64, "int8";
    decode_binary_u32 encode_binary_u32 decode_text_u32 u32, "oid";
    decode_binary_u64 encode_binary_u64 decode_text_u64 u64, "xid8";
}

#[inline]
fn parse(text: &[u8], name: &'static str) -> Result<i128> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Ok(0),
        [b'1'..=b'9', ..] => {}
        _ => return Err(ValueError::unexpected_text(name, text)),
    }
    let mut value = 0i128;
    let mut fits = true;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(ValueError::unexpected_text(name, text));
        }
        match value.checked_mul(10).and_then(|v| v.checked_add(i128::from(digit))) {
            Some(next) => value = next,
            None => fits = false,
        }
    }
    if fits { Ok(if negative { -value } else { value }) } else { Err(too_large(text, name)) }
}

#[cold]
fn too_large(text: &[u8], name: &'static str) -> ValueError {
    ValueError::out_of_range(name, quote(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_exact() {
        assert!(decode_binary_i16(&[0]).is_err());
        assert!(decode_binary_i32(&[0; 5]).is_err());
        assert!(decode_binary_i64(&[]).is_err());
        assert_eq!(decode_binary_u32(&[0; 8]), Err(ValueError::Length { type_name: "oid", expected: 4, got: 8 }));
    }

    #[test]
    fn text_edges() {
        assert_eq!(decode_text_i64(b"-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(decode_text_i64(b"9223372036854775807"), Ok(i64::MAX));
        assert_eq!(decode_text_u32(b"4294967295"), Ok(u32::MAX));
        assert_eq!(decode_text_u64(b"18446744073709551615"), Ok(u64::MAX));
        for text in [&b"9223372036854775808"[..], b"-9223372036854775809", b"99999999999999999999999999"] {
            assert!(matches!(decode_text_i64(text), Err(ValueError::OutOfRange { .. })));
        }
        assert!(matches!(decode_text_i16(b"32768"), Err(ValueError::OutOfRange { .. })));
        assert!(matches!(decode_text_u32(b"-1"), Err(ValueError::OutOfRange { .. })));
        assert!(matches!(decode_text_u64(b"18446744073709551616"), Err(ValueError::OutOfRange { .. })));
        for text in [&b""[..], b"-", b"+1", b" 1", b"1 ", b"01", b"-0", b"1.0", b"99999999999999999999x"] {
            assert!(matches!(decode_text_i64(text), Err(ValueError::Malformed { .. })));
        }
    }

    proptest! {
        #[test]
        fn round_trips(a: i16, b: i32, c: i64, d: u32) {
            let mut out = Vec::new();
            encode_binary_i16(a, &mut out);
            encode_binary_i32(b, &mut out);
            encode_binary_i64(c, &mut out);
            encode_binary_u32(d, &mut out);
            prop_assert_eq!(decode_binary_i16(&out[..2]), Ok(a));
            prop_assert_eq!(decode_binary_i32(&out[2..6]), Ok(b));
            prop_assert_eq!(decode_binary_i64(&out[6..14]), Ok(c));
            prop_assert_eq!(decode_binary_u32(&out[14..]), Ok(d));
            prop_assert_eq!(decode_text_i16(a.to_string().as_bytes()), Ok(a));
            prop_assert_eq!(decode_text_i32(b.to_string().as_bytes()), Ok(b));
            prop_assert_eq!(decode_text_i64(c.to_string().as_bytes()), Ok(c));
            prop_assert_eq!(decode_text_u32(d.to_string().as_bytes()), Ok(d));
        }
    }
}
