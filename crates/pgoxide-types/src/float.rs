//! float4 and float8: IEEE 754, big-endian; in text the shortest digits that read back as the same value.

use crate::error::quote;
use crate::{Result, ValueError};
use std::fmt::LowerExp;
use std::io::Write as _;
use std::str::FromStr;

macro_rules! fixed {
    ($($decode:ident $encode:ident $text:ident $rust:ty, $name:literal;)*) => {$(
        #[doc = concat!("The value of a binary ", $name, ", bit for bit.")]
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

        #[doc = concat!("Appends the binary ", $name, ", bit for bit.")]
        #[inline]
        pub fn $encode(value: $rust, out: &mut Vec<u8>) {
            out.extend_from_slice(&value.to_be_bytes());
        }

        #[doc = concat!("The value of a text ", $name, ": digits, `NaN`, `Infinity` or `-Infinity`.")]
        ///
        /// # Errors
        /// `Malformed` for what the server never writes, `OutOfRange` for digits beyond the largest value.
        #[inline]
        pub fn $text(text: &[u8]) -> Result<$rust> {
            match text {
                b"NaN" => return Ok(<$rust>::NAN),
                b"Infinity" => return Ok(<$rust>::INFINITY),
                b"-Infinity" => return Ok(<$rust>::NEG_INFINITY),
                _ => {}
            }
            let value: $rust = match plain_digits(text).and_then(|digits| digits.parse().ok()) {
                Some(value) => value,
                None => return Err(ValueError::unexpected_text($name, text)),
            };
            if value.is_finite() {
                Ok(value)
            } else {
                Err(ValueError::out_of_range($name, quote(text)))
            }
        }
    )*};
}

fixed! {
    decode_binary_f32 encode_binary_f32 decode_text_f32 f32, "float4";
    decode_binary_f64 encode_binary_f64 decode_text_f64 f64, "float8";
}

/// The text when it can only be a decimal number: Rust's own parser also takes `inf`, `nan` and a leading `+`.
#[inline]
fn plain_digits(text: &[u8]) -> Option<&str> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if !digits.first()?.is_ascii_digit() || !digits.last()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(text).ok()
}

/// Appends the shortest text that denotes the double, as the server reads it.
pub fn write_f64(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else {
        out.extend_from_slice(format!("{value:?}").as_bytes());
    }
}

/// `value` as a float4, rounded to the nearest; infinities and NaN pass.
///
/// # Errors
/// `OutOfRange` when a finite value would become infinite, or a non-zero one zero (the server's cast refuses
/// both too).
#[inline]
pub fn f64_to_f32_checked(value: f64) -> Result<f32> {
    #[allow(clippy::cast_possible_truncation)] // rounding is the point, the ends are checked below
    let narrow = value as f32;
    if (narrow.is_infinite() && value.is_finite()) || (narrow == 0.0 && value != 0.0) {
        return Err(ValueError::out_of_range("float4", format!("{value:e} does not fit in four bytes")));
    }
    Ok(narrow)
}

/// The float8 that prints as the server prints the float4: 0.1 for the float4 0.1, not 0.10000000149011612.
#[inline]
#[must_use]
pub fn f32_shortest_as_f64(value: f32) -> f64 {
    let exact = f64::from(value);
    if !value.is_finite() {
        return exact;
    }
    let sure = if value.is_normal() { f32::DIGITS } else { 0 };
    let mut buffer = [0; 64];
    let shortest = shortest(value, sure, &mut buffer);
    let Some(found) = shortest.and_then(|digits| digits.parse().ok()) else {
        return exact;
    };
    if !is_midway(found, value) {
        return found;
    }
    // The server never writes a decimal midway between two float4 (it takes 41591312, not the shorter 4159131e1).
    for digits in 6..9 {
        let mut rest = &mut buffer[..];
        if write!(rest, "{value:.digits$e}").is_err() {
            break;
        }
        let used = 64 - rest.len();
        let nearest = std::str::from_utf8(&buffer[..used]).ok();
        if let Some(nearest) = nearest.and_then(|digits| digits.parse::<f64>().ok())
            && nearest as f32 == value
            && !is_midway(nearest, value)
        {
            return nearest;
        }
    }
    exact
}

/// Whether `near` lies exactly between `value` and a neighbour; a float8 holds all such points exactly.
#[inline]
fn is_midway(near: f64, value: f32) -> bool {
    let exact = f64::from(value);
    near != exact
        && (near - exact == (f64::from(value.next_up()) - exact) / 2.0
            || exact - near == (exact - f64::from(value.next_down())) / 2.0)
}

/// The shortest decimal (`1.5e-7`) that reads back as `value`, which is finite: the one that the server and
/// Python write, so that texts can be compared.
///
/// Rust alone is not enough: when two shortest decimals are equally near, it takes the larger, while they take
/// the even one (269515.125 as float4 is 269515.12). Decimals of up to `sure` digits are never in doubt.
#[inline]
pub(crate) fn shortest<T>(value: T, sure: u32, buffer: &mut [u8; 64]) -> Option<&str>
where
    T: LowerExp + FromStr + PartialEq,
{
    let mut rest = &mut buffer[..];
    write!(rest, "{value:e}").ok()?; // "-1.7976931348623157e308" is about the longest
    let first = 64 - rest.len();
    let digits = buffer[..first].iter().take_while(|byte| **byte != b'e').filter(|byte| byte.is_ascii_digit()).count();
    let mut found = 0..first;
    if digits > usize::try_from(sure).ok()? {
        // As many digits, the nearest, and of two the even one. It need not read back beside a power of two.
        let mut rest = &mut buffer[first..];
        write!(rest, "{value:.*e}", digits - 1).ok()?;
        let second = first..64 - rest.len();
        if std::str::from_utf8(&buffer[second.clone()]).ok()?.parse().is_ok_and(|nearest: T| nearest == value) {
            found = second;
        }
    }
    std::str::from_utf8(&buffer[found]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn special_values() {
        assert!(decode_text_f64(b"NaN").unwrap().is_nan());
        assert_eq!(decode_text_f64(b"Infinity"), Ok(f64::INFINITY));
        assert_eq!(decode_text_f32(b"-Infinity"), Ok(f32::NEG_INFINITY));
        assert_eq!(decode_text_f64(b"-0").unwrap().to_bits(), (-0.0f64).to_bits());
        assert_eq!(decode_text_f64(b"1e+20"), Ok(1e20));
        assert_eq!(decode_text_f64(b"1.7976931348623157e+308"), Ok(f64::MAX));
        assert_eq!(decode_text_f64(b"5e-324"), Ok(5e-324));
    }

    #[test]
    fn refused_text() {
        for text in [
            &b""[..],
            b"-",
            b"nan",
            b"inf",
            b"infinity",
            b"+1",
            b".5",
            b"5.",
            b"1e",
            b"1 ",
            b"0x10",
            b"1_0",
            b"--1",
            b"-inf",
            b"1\xff1",
        ] {
            assert!(matches!(decode_text_f64(text), Err(ValueError::Malformed { .. })), "{text:?}");
        }
        assert!(matches!(decode_text_f64(b"1e400"), Err(ValueError::OutOfRange { .. })));
        assert!(matches!(decode_text_f32(b"1e39"), Err(ValueError::OutOfRange { .. })));
    }

    #[test]
    fn narrowing() {
        assert_eq!(f64_to_f32_checked(0.1), Ok(0.1));
        assert_eq!(f64_to_f32_checked(f64::INFINITY), Ok(f32::INFINITY));
        assert!(f64_to_f32_checked(f64::NAN).unwrap().is_nan());
        assert_eq!(f64_to_f32_checked(-0.0).unwrap().to_bits(), (-0.0f32).to_bits());
        assert_eq!(f64_to_f32_checked(f64::from(f32::MAX)), Ok(f32::MAX));
        for value in [3.5e38, -1e300, 1e-60, f64::MAX] {
            assert!(matches!(f64_to_f32_checked(value), Err(ValueError::OutOfRange { .. })));
        }
    }

    #[test]
    fn float4_shortest() {
        assert_eq!(f32_shortest_as_f64(0.1), 0.1);
        assert_eq!(f32_shortest_as_f64(-2_156_121.0 / 8.0), -269_515.12);
        assert_eq!(f32_shortest_as_f64(1e-45), 1e-45);
        assert_eq!(f32_shortest_as_f64(41_591_312.0), 41_591_312.0);
        assert_eq!(f32_shortest_as_f64(-16_777_216.0), -16_777_216.0);
        assert!(f32_shortest_as_f64(f32::NAN).is_nan());
        assert_eq!(f32_shortest_as_f64(f32::MIN_POSITIVE), 1.175_494_4e-38);
        assert_eq!(f32_shortest_as_f64(-0.0).to_bits(), (-0.0f64).to_bits());
    }

    proptest! {
        #[test]
        fn round_trips(a: u32, b: u64) {
            let (x, y) = (f32::from_bits(a), f64::from_bits(b));
            let mut out = Vec::new();
            encode_binary_f32(x, &mut out);
            encode_binary_f64(y, &mut out);
            prop_assert_eq!(decode_binary_f32(&out[..4]).unwrap().to_bits(), a);
            prop_assert_eq!(decode_binary_f64(&out[4..]).unwrap().to_bits(), b);
            if x.is_finite() {
                prop_assert_eq!(decode_text_f32(format!("{x:e}").as_bytes()), Ok(x));
                prop_assert_eq!(f64_to_f32_checked(f32_shortest_as_f64(x)), Ok(x));
            }
            if y.is_finite() {
                prop_assert_eq!(decode_text_f64(format!("{y}").as_bytes()), Ok(y));
            }
        }
    }
}
