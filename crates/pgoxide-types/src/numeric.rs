//! numeric: exact decimal numbers.
//!
//! Binary form (`numeric_send`), four 16-bit words and then the digit groups, all big-endian:
//!
//! | Word | Meaning |
//! | --- | --- |
//! | ndigits | number of groups; each holds four decimal digits (0 to 9999) |
//! | weight | power of 10000 of the first group, signed |
//! | sign | 0x0000 positive, 0x4000 negative, 0xC000 NaN, 0xD000 Infinity, 0xF000 -Infinity |
//! | dscale | digits shown after the point, 0 to 16383 |
//!
//! Leading and trailing zero groups are left out. The plain Rust value is decimal text, because it is the one
//! exact form that every receiver can read; `1.500` keeps its zeros.

use crate::error::quote;
use crate::{Result, ValueError};

const NAME: &str = "numeric";

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEG_INFINITY: u16 = 0xF000;

/// Most digits after the point (the server's `NUMERIC_DSCALE_MAX`).
pub const MAX_SCALE: u16 = 0x3FFF;

/// Most digits before the point (weight 32767 is the last).
pub const MAX_INTEGER_DIGITS: usize = 4 * 32_768;

/// `00` to `99`, for writing two digits at once.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// A validated header and the groups behind it.
struct Wire<'a> {
    weight: i32,
    sign: u16,
    scale: u16,
    groups: &'a [[u8; 2]],
}

impl<'a> Wire<'a> {
    #[inline]
    fn parse(bytes: &'a [u8]) -> Result<Self> {
        let [n0, n1, w0, w1, s0, s1, d0, d1, body @ ..] = bytes else {
            return Err(ValueError::length(NAME, 8, bytes.len()));
        };
        let count = usize::from(u16::from_be_bytes([*n0, *n1]));
        let sign = u16::from_be_bytes([*s0, *s1]);
        let scale = u16::from_be_bytes([*d0, *d1]);
        if body.len() != count * 2 {
            return Err(ValueError::length(NAME, 8 + count * 2, bytes.len()));
        }
        match sign {
            POSITIVE | NEGATIVE if scale <= MAX_SCALE => {}
            POSITIVE | NEGATIVE => {
                return Err(ValueError::malformed(NAME, format!("display scale {scale}, the largest is {MAX_SCALE}")));
            }
            NAN | INFINITY | NEG_INFINITY => {}
            _ => {
                return Err(ValueError::malformed(NAME, format!("unknown sign 0x{sign:04x}")));
            }
        }
        Ok(Self { weight: i32::from(i16::from_be_bytes([*w0, *w1])), sign, scale, groups: body.as_chunks::<2>().0 })
    }
}

/// Appends the exact decimal text the server would show: `1.500`, `0.00`, `-7`, `NaN`, `Infinity`, `-Infinity`.
///
/// At most 131072 + 16383 digits, a sign and a point. Groups beyond the display scale are cut off, as in the
/// server's own output.
///
/// # Errors
/// `Length` when the size is not what the header says, `Malformed` for an unknown sign, a group above 9999 or a
/// display scale above 16383; `out` is then as before.
#[inline]
pub fn decode_binary(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let wire = Wire::parse(bytes)?;
    match wire.sign {
        NAN => out.extend_from_slice(b"NaN"),
        INFINITY => out.extend_from_slice(b"Infinity"),
        NEG_INFINITY => out.extend_from_slice(b"-Infinity"),
        _ => return decode_finite(&wire, out),
    }
    Ok(())
}

fn decode_finite(wire: &Wire<'_>, out: &mut Vec<u8>) -> Result<()> {
    let (mut weight, mut groups) = (wire.weight, wire.groups);
    // The server leaves leading zero groups out; without them the first group decides the number of digits.
    while let [[0, 0], tail @ ..] = groups {
        groups = tail;
        weight -= 1;
    }
    if groups.is_empty() {
        weight = -1; // zero has no weight
    }
    // Every group is written or passed over below, so judge all of them first and write without checks.
    let largest = groups.iter().map(|group| u16::from_be_bytes(*group)).max();
    if let Some(group @ 10_000..) = largest {
        return Err(ValueError::malformed(NAME, format!("digit group {group}, the largest is 9999")));
    }
    let scale = usize::from(wire.scale);
    let integer_groups = usize::try_from(weight + 1).unwrap_or(0);
    out.reserve(integer_groups * 4 + scale + 8); // sign, "0", point, and up to three digits to cut

    let start = out.len();
    if wire.sign == NEGATIVE && !groups.is_empty() {
        out.push(b'-');
    }
    let (integer, fraction) = groups.split_at(integer_groups.min(groups.len()));
    match integer {
        [] => out.push(b'0'),
        [first, rest @ ..] => {
            let digits = four_digits(*first);
            // Not zero, so at least the last of the four is kept.
            out.extend_from_slice(match digits {
                [b'0', b'0', b'0', _] => &digits[3..],
                [b'0', b'0', ..] => &digits[2..],
                [b'0', ..] => &digits[1..],
                _ => &digits,
            });
            for group in rest {
                out.extend_from_slice(&four_digits(*group));
            }
            fill_zeros(out, (integer_groups - integer.len()) * 4);
        }
    }
    if scale > 0 {
        out.push(b'.');
        let end = out.len() + scale;
        // Weight -2 means that one zero group stands between the point and the first group.
        let gap = usize::try_from(-1 - weight).unwrap_or(0) * 4;
        fill_zeros(out, gap.min(scale));
        for group in fraction {
            if out.len() >= end {
                break;
            }
            out.extend_from_slice(&four_digits(*group));
        }
        if out.len() < end {
            fill_zeros(out, end - out.len());
        }
        out.truncate(end);
    }
    // Only a number without integer digits can have been cut to zero, and zero has no sign.
    if integer.is_empty() && out.get(start) == Some(&b'-') && !out[start..].iter().any(|d| (b'1'..=b'9').contains(d)) {
        out.remove(start);
    }
    Ok(())
}

/// The four digits of a group; nonsense, but no panic, above 9999.
#[inline]
fn four_digits(group: [u8; 2]) -> [u8; 4] {
    let group = usize::from(u16::from_be_bytes(group));
    let [a, b] = PAIRS[group / 100 % 100];
    let [c, d] = PAIRS[group % 100];
    [a, b, c, d]
}

#[inline]
fn fill_zeros(out: &mut Vec<u8>, count: usize) {
    out.resize(out.len() + count, b'0');
}

/// A binary numeric as `value * 10^-scale`, when it is finite and fits: for columns of decimals and for sums.
///
/// `None` for NaN, infinities, numbers beyond an `i128`, and whatever [`decode_binary`] refuses.
#[inline]
#[must_use]
pub fn as_scaled_i128(bytes: &[u8]) -> Option<(i128, u32)> {
    let wire = Wire::parse(bytes).ok()?;
    if !matches!(wire.sign, POSITIVE | NEGATIVE) {
        return None;
    }
    let mut value = 0i128;
    for group in wire.groups {
        let group = u16::from_be_bytes(*group);
        if group > 9999 {
            return None;
        }
        value = value.checked_mul(10_000)?.checked_add(i128::from(group))?;
    }
    if value != 0 {
        // Digits after the point that the groups hold, against those the scale shows.
        let held = (i32::try_from(wire.groups.len()).ok()? - wire.weight - 1) * 4;
        let shift = i32::from(wire.scale) - held;
        let factor = |exponent: i32| 10i128.checked_pow(exponent.unsigned_abs());
        value = if shift >= 0 {
            value.checked_mul(factor(shift)?)?
        } else {
            factor(shift).map_or(0, |factor| value / factor)
        };
    }
    if wire.sign == NEGATIVE {
        value = -value;
    }
    Some((value, u32::from(wire.scale)))
}

/// A finite binary numeric of at most 19 digits: whether it is negative, all its digits as one number, and how many of
/// them stand after the point. `1.500` is `(false, 1500, 3)`.
///
/// `None` for NaN, infinities, numbers of more digits, and whatever [`decode_binary`] refuses.
#[inline]
#[must_use]
pub fn as_scaled_u64(bytes: &[u8]) -> Option<(bool, u64, u16)> {
    /// Powers of ten that a word holds.
    const TENS: [u64; 20] = {
        let mut tens = [1; 20];
        let mut n = 1;
        while n < 20 {
            tens[n] = tens[n - 1] * 10;
            n += 1;
        }
        tens
    };
    let wire = Wire::parse(bytes).ok()?;
    // Four groups are 16 digits, far from overflowing.
    if !matches!(wire.sign, POSITIVE | NEGATIVE) || wire.groups.len() > 4 {
        return None;
    }
    let mut value = 0u64;
    for group in wire.groups {
        let group = u16::from_be_bytes(*group);
        if group > 9999 {
            return None;
        }
        value = value * 10_000 + u64::from(group);
    }
    if value != 0 {
        // Digits after the point that the groups hold, against those the scale shows.
        let held = (wire.groups.len() as i32 - wire.weight - 1) * 4;
        let shift = i32::from(wire.scale) - held;
        let tens = *TENS.get(shift.unsigned_abs() as usize)?;
        value = if shift >= 0 { value.checked_mul(tens)? } else { value / tens };
    }
    Some((wire.sign == NEGATIVE && value != 0, value, wire.scale))
}

/// A text numeric, checked to be what the server writes.
///
/// # Errors
/// `Malformed` unless it is digits with an optional sign and point, `NaN`, `Infinity` or `-Infinity`.
#[inline]
pub fn decode_text(text: &[u8]) -> Result<&str> {
    let well_formed = match text {
        b"NaN" | b"Infinity" | b"-Infinity" => true,
        _ => {
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            let (integer, fraction) = split_point(digits);
            is_digits(integer) && fraction.is_none_or(is_digits)
        }
    };
    well_formed.then(|| std::str::from_utf8(text).ok()).flatten().ok_or_else(|| ValueError::unexpected_text(NAME, text))
}

#[inline]
fn split_point(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b'.') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

#[inline]
fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Appends the binary form of a decimal text, in any form Python's `str(Decimal)`, `str(int)` or `repr(float)`
/// has: sign, digits, point, exponent (`1E+1000`, `1.5e-7`), `NaN`, `Infinity`, `inf`, in any case.
///
/// The display scale is the number of digits after the point once the exponent is applied, never negative. Zero
/// loses its sign, because numeric has no negative zero.
///
/// # Errors
/// `Malformed` for other texts, a signalling NaN and a NaN with a payload; `OutOfRange` beyond 131072 digits
/// before the point or 16383 after it. `out` is then as before.
#[inline]
pub fn encode_binary(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let (sign, unsigned) = match text {
        [b'-', rest @ ..] => (NEGATIVE, rest),
        [b'+', rest @ ..] => (POSITIVE, rest),
        _ => (POSITIVE, text),
    };
    if !unsigned.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return encode_special(sign, unsigned, text, out);
    }
    let Some(number) = Decimal::parse(unsigned) else {
        return Err(ValueError::unexpected_text(NAME, text));
    };
    number.encode(sign, text, out)
}

#[cold]
fn encode_special(sign: u16, unsigned: &[u8], text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let is = |name: &str| unsigned.eq_ignore_ascii_case(name.as_bytes());
    let word = if is("nan") {
        NAN
    } else if is("infinity") || is("inf") {
        if sign == NEGATIVE { NEG_INFINITY } else { INFINITY }
    } else if unsigned.len() >= 4 && unsigned[..4].eq_ignore_ascii_case(b"snan") {
        return Err(ValueError::malformed(NAME, "PostgreSQL has no signalling NaN (sNaN)"));
    } else if unsigned.len() >= 4 && unsigned[..3].eq_ignore_ascii_case(b"nan") {
        return Err(ValueError::malformed(NAME, "PostgreSQL has no NaN with a payload"));
    } else {
        return Err(ValueError::unexpected_text(NAME, text));
    };
    write_header(0, 0, word, 0, out);
    Ok(())
}

#[inline]
fn write_header(count: u16, weight: i16, sign: u16, scale: u16, out: &mut Vec<u8>) {
    let ([a, b], [c, d]) = (count.to_be_bytes(), weight.to_be_bytes());
    let ([e, f], [g, h]) = (sign.to_be_bytes(), scale.to_be_bytes());
    out.extend_from_slice(&[a, b, c, d, e, f, g, h]);
}

/// An unsigned decimal literal in its parts.
struct Decimal<'a> {
    integer: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Decimal<'a> {
    #[inline]
    fn parse(text: &'a [u8]) -> Option<Self> {
        let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
            Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let (integer, fraction) = split_point(mantissa);
        let fraction = fraction.unwrap_or_default();
        let all_digits = integer.iter().chain(fraction).all(u8::is_ascii_digit);
        (all_digits && !(integer.is_empty() && fraction.is_empty())).then_some(Self { integer, fraction, exponent })
    }

    fn encode(&self, sign: u16, text: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let too_large = |limit: &str| ValueError::out_of_range(NAME, format!("{} has more than {limit}", quote(text)));
        let Some(scale) = u16::try_from((signed(self.fraction.len()) - self.exponent).max(0))
            .ok()
            .filter(|scale| *scale <= MAX_SCALE)
        else {
            return Err(too_large("16383 digits after the point"));
        };
        let all = || self.integer.iter().chain(self.fraction);
        let zeros = all().take_while(|digit| **digit == b'0').count();
        let left = self.integer.len() + self.fraction.len() - zeros;
        if left == 0 {
            write_header(0, 0, POSITIVE, scale, out);
            return Ok(());
        }
        // Digits before the point; leading zeros do not count, so it is negative for 0.0001.
        let before = signed(self.integer.len()) + self.exponent - signed(zeros);
        let Ok(weight) = i16::try_from((before - 1).div_euclid(4)) else {
            return Err(too_large("131072 digits before the point"));
        };

        let start = out.len();
        out.reserve(8 + left / 2 + 4);
        write_header(0, weight, sign, scale, out);
        let mut missing = (before - 1).rem_euclid(4) + 1; // digits until the group is full
        let mut group = 0u16;
        for digit in all().skip(zeros) {
            group = group * 10 + u16::from(digit - b'0');
            missing -= 1;
            if missing == 0 {
                out.extend_from_slice(&group.to_be_bytes());
                (group, missing) = (0, 4);
            }
        }
        if missing < 4 {
            for _ in 0..missing {
                group *= 10;
            }
            out.extend_from_slice(&group.to_be_bytes());
        }
        while out.len() > start + 8 && out.ends_with(&[0, 0]) {
            out.truncate(out.len() - 2);
        }
        let count = u16::try_from((out.len() - start - 8) / 2).unwrap_or(u16::MAX);
        if let Some(word) = out.get_mut(start..start + 2) {
            word.copy_from_slice(&count.to_be_bytes());
        }
        Ok(())
    }
}

/// A length as a signed number; no slice is as long as the bound.
#[inline]
fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX / 4)
}

/// The exponent behind the `e`; beyond any that matters it stays at a bound, so that no sum overflows.
#[inline]
fn parse_exponent(text: &[u8]) -> Option<i64> {
    const BOUND: i64 = 1_000_000_000_000_000;
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if !is_digits(digits) {
        return None;
    }
    let value = digits.iter().fold(0i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(BOUND));
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(count: u16, weight: i16, sign: u16, scale: u16, groups: &[u16]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_header(count, weight, sign, scale, &mut bytes);
        bytes.extend(groups.iter().flat_map(|g| g.to_be_bytes()));
        bytes
    }

    fn encoded(text: &str) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        encode_binary(text.as_bytes(), &mut out).map(|()| out)
    }

    fn decoded(bytes: &[u8]) -> Result<String> {
        let mut out = Vec::new();
        decode_binary(bytes, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn known_values() {
        // Bytes as `select numeric_send(...)` of PostgreSQL 15 gives them.
        for (text, bytes) in [
            ("0", wire(0, 0, POSITIVE, 0, &[])),
            ("0.00", wire(0, 0, POSITIVE, 2, &[])),
            ("1.500", wire(2, 0, POSITIVE, 3, &[1, 5000])),
            ("-1.5", wire(2, 0, NEGATIVE, 1, &[1, 5000])),
            ("10000", wire(1, 1, POSITIVE, 0, &[1])),
            ("12345678.9", wire(3, 1, POSITIVE, 1, &[1234, 5678, 9000])),
            ("0.0001", wire(1, -1, POSITIVE, 4, &[1])),
            ("0.00001", wire(1, -2, POSITIVE, 5, &[1000])),
            ("0.000000001", wire(1, -3, POSITIVE, 9, &[1000])),
            ("100000000.00000001", wire(5, 2, POSITIVE, 8, &[1, 0, 0, 0, 1])),
            ("NaN", wire(0, 0, NAN, 0, &[])),
            ("Infinity", wire(0, 0, INFINITY, 0, &[])),
            ("-Infinity", wire(0, 0, NEG_INFINITY, 0, &[])),
        ] {
            assert_eq!(encoded(text).unwrap(), bytes, "{text}");
            assert_eq!(decoded(&bytes).unwrap(), text);
            assert_eq!(decode_text(text.as_bytes()), Ok(text));
        }
    }

    #[test]
    fn python_forms() {
        for (text, plain) in [
            ("1E+3", "1000"),
            ("1.5e-7", "0.00000015"),
            ("1.5E2", "150"),
            ("15E-1", "1.5"),
            ("0E-7", "0.0000000"),
            ("0E+5", "0"),
            ("-0", "0"),
            ("-0.00", "0.00"),
            ("+7", "7"),
            ("000123.4500", "123.4500"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e16", "10000000000000000"),
            ("inf", "Infinity"),
            ("-inf", "-Infinity"),
            ("nan", "NaN"),
            ("-NaN", "NaN"),
            ("0e999999999999999999999999999999", "0"),
        ] {
            assert_eq!(decoded(&encoded(text).unwrap()).unwrap(), plain, "{text}");
        }
        let big = decoded(&encoded("1E+1000").unwrap()).unwrap();
        assert_eq!(big, format!("1{}", "0".repeat(1000)));
    }

    #[test]
    fn refused_texts() {
        for text in [
            "", "-", "+", ".", "e5", "1e", "1e+", "1.2.3", "1_000", " 1", "1 ", "--1", "1e5.5", "sNaN", "-sNaN1",
            "NaN123", "infinit", "0x10", "١",
        ] {
            let mut out = vec![7];
            assert!(matches!(encode_binary(text.as_bytes(), &mut out), Err(ValueError::Malformed { .. })), "{text}");
            assert_eq!(out, [7]);
        }
        for text in ["", "-", "+1", "1.", ".1", "1e5", "nan", "-NaN", "1.2.3"] {
            assert!(decode_text(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn limits() {
        let widest = format!("{}.{}", "9".repeat(MAX_INTEGER_DIGITS), "9".repeat(16_383));
        assert_eq!(decoded(&encoded(&widest).unwrap()).unwrap(), widest);
        let smallest = format!("0.{}1", "0".repeat(16_382));
        assert_eq!(decoded(&encoded(&smallest).unwrap()).unwrap(), smallest);
        assert_eq!(encoded("1E-16383").unwrap(), encoded(&smallest).unwrap());
        assert!(encoded("1E+131071").is_ok());
        for text in
            ["1E+131072", "1E-16384", "0E-16384", "0.1E+131073", "1E+99999999999999999999", "1E-99999999999999999999"]
        {
            assert!(matches!(encoded(text), Err(ValueError::OutOfRange { .. })), "{text}");
        }
        let error = encoded(&"9".repeat(200_000)).unwrap_err().to_string();
        assert!(error.len() < 160, "{error}");
    }

    #[test]
    fn hostile_binary() {
        for (bytes, what) in [
            (vec![], "0 bytes long"),
            (vec![0; 7], "7 bytes long"),
            (wire(2, 0, POSITIVE, 0, &[1]), "expected 12"),
            (wire(0, 0, POSITIVE, 0, &[1]), "expected 8"),
            (wire(1, 0, POSITIVE, 0, &[10_000]), "digit group 10000"),
            (wire(2, 0, POSITIVE, 0, &[1, 65_535]), "digit group 65535"),
            (wire(1, 0, 0x8000, 0, &[1]), "unknown sign 0x8000"),
            (wire(1, 0, POSITIVE, 0x4000, &[1]), "display scale 16384"),
        ] {
            let error = decoded(&bytes).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
            assert_eq!(as_scaled_i128(&bytes), None);
            assert_eq!(as_scaled_u64(&bytes), None);
        }
        // Forms the server does not send but which have one meaning.
        assert_eq!(decoded(&wire(0, 32_767, NEGATIVE, 0, &[])).unwrap(), "0");
        assert_eq!(decoded(&wire(3, 2, POSITIVE, 1, &[0, 0, 7])).unwrap(), "7.0");
        assert_eq!(decoded(&wire(1, -1, NEGATIVE, 2, &[12])).unwrap(), "0.00");
        assert_eq!(decoded(&wire(2, 0, POSITIVE, 1, &[1, 2999])).unwrap(), "1.2");
        assert_eq!(decoded(&wire(1, -32_768, POSITIVE, 3, &[1])).unwrap(), "0.000");
        assert_eq!(
            decoded(&wire(1, 32_767, POSITIVE, 16_383, &[9999])).unwrap().len(),
            MAX_INTEGER_DIGITS + 1 + 16_383
        );
    }

    #[test]
    fn scaled() {
        for (text, value) in [
            ("0.00", Some((0, 2))),
            ("1.500", Some((1500, 3))),
            ("-12345678.9", Some((-123_456_789, 1))),
            ("1E+10", Some((10_000_000_000, 0))),
            ("0.00001", Some((1, 5))),
            ("170141183460469231731687303715884105727", Some((i128::MAX, 0))),
            ("170141183460469231731687303715884105728", None),
            ("1E+40", None),
            ("NaN", None),
            ("Infinity", None),
        ] {
            assert_eq!(as_scaled_i128(&encoded(text).unwrap()), value, "{text}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(text in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?") {
            let zero = !text.bytes().any(|b| (b'1'..=b'9').contains(&b));
            let plain = if zero { text.trim_start_matches('-') } else { &text };
            prop_assert_eq!(decoded(&encoded(&text).unwrap()).unwrap(), plain);
        }

        #[test]
        fn exponents_move_the_point(digits in 1u64.., exponent in -300i32..300) {
            let text = format!("{digits}e{exponent}");
            let plain = if exponent >= 0 {
                format!("{digits}{}", "0".repeat(exponent as usize))
            } else {
                let places = exponent.unsigned_abs() as usize;
                let padded = format!("{digits:0>width$}", width = places + 1);
                let (integer, fraction) = padded.split_at(padded.len() - places);
                format!("{integer}.{fraction}")
            };
            prop_assert_eq!(decoded(&encoded(&text).unwrap()).unwrap(), plain);
        }

        #[test]
        fn scaled_agrees_with_text(value: i64, scale in 0u32..30) {
            let text = format!("{value}e-{scale}");
            prop_assert_eq!(as_scaled_i128(&encoded(&text).unwrap()), Some((i128::from(value), scale)));
            if let Some((negative, digits, of_scale)) = as_scaled_u64(&encoded(&text).unwrap()) {
                prop_assert_eq!((negative, digits, u32::from(of_scale)), (value < 0, value.unsigned_abs(), scale));
            } else {
                prop_assert!(value.unsigned_abs() >= 10_000_000_000_000);
            }
        }
    }
}
