//! timestamp and timestamptz: microseconds since 2000-01-01 00:00 (UTC for timestamptz), eight bytes; in text
//! ISO 8601 with a space, an optional offset and ` BC`.
//!
//! Range: 4714-11-24 BC 00:00 (see `date.rs` on the year) to the end of 294276 AD, and both infinities. There
//! are no leap seconds: the server never sends `:60`.

use crate::date::{civil_from_days, days_from_civil, is_day, parse_ymd, split_bc, two_digits};
use crate::error::quote;
use crate::{Result, ValueError};

const NAME: &str = "timestamp";

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// 4714-11-24 BC 00:00:00, the server's `MIN_TIMESTAMP`.
const MIN_MICROS: i64 = -211_813_488_000_000_000;

/// 294276-12-31 23:59:59.999999, one before the server's `END_TIMESTAMP`.
const MAX_MICROS: i64 = 9_223_371_331_200_000_000 - 1;

/// A timestamp value: local time for timestamp, UTC for timestamptz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timestamp {
    /// `infinity`, later than all other timestamps.
    Infinity,
    /// `-infinity`, earlier than all other timestamps.
    NegInfinity,
    /// A moment.
    At {
        /// Astronomical year: 0 is 1 BC, -1 is 2 BC.
        year: i32,
        /// 1 to 12.
        month: u8,
        /// 1 to 31.
        day: u8,
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
        /// 0 to 59.
        second: u8,
        /// 0 to 999999.
        microsecond: u32,
    },
}

/// The value of a binary timestamp or timestamptz (then in UTC).
///
/// # Errors
/// `Length` when it is not eight bytes, `OutOfRange` for a moment the server cannot have sent.
#[inline]
pub fn decode_binary(bytes: &[u8]) -> Result<Timestamp> {
    match bytes.try_into() {
        Ok(array) => from_micros(i64::from_be_bytes(array)),
        Err(_) => Err(ValueError::length(NAME, 8, bytes.len())),
    }
}

/// The moment `micros` microseconds after 2000-01-01 00:00; the largest and smallest `i64` are the infinities.
///
/// # Errors
/// `OutOfRange` outside 4714-11-24 BC .. 294276-12-31.
#[inline]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the range is checked first
pub fn from_micros(micros: i64) -> Result<Timestamp> {
    match micros {
        i64::MAX => return Ok(Timestamp::Infinity),
        i64::MIN => return Ok(Timestamp::NegInfinity),
        MIN_MICROS..=MAX_MICROS => {}
        _ => {
            return Err(ValueError::out_of_range(NAME, format!("{micros} microseconds from 2000-01-01")));
        }
    }
    let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY) as i32);
    let of_day = micros.rem_euclid(MICROS_PER_DAY) as u64;
    let microsecond = (of_day % 1_000_000) as u32;
    let seconds = (of_day / 1_000_000) as u32;
    Ok(Timestamp::At {
        year,
        month,
        day,
        hour: (seconds / 3600) as u8,
        minute: (seconds / 60 % 60) as u8,
        second: (seconds % 60) as u8,
        microsecond,
    })
}

/// Microseconds from 2000-01-01 00:00, the binary form's number.
///
/// # Errors
/// `Malformed` when a field is impossible (31 June, hour 24), `OutOfRange` outside 4714-11-24 BC .. 294276-12-31.
#[inline]
pub fn to_micros(value: Timestamp) -> Result<i64> {
    let micros = match value {
        Timestamp::Infinity => return Ok(i64::MAX),
        Timestamp::NegInfinity => return Ok(i64::MIN),
        Timestamp::At { .. } => unchecked_micros(value),
    };
    match micros {
        None => Err(ValueError::malformed(NAME, format!("there is no moment {}", describe(value)))),
        Some(micros) => {
            i64::try_from(micros).ok().filter(|micros| (MIN_MICROS..=MAX_MICROS).contains(micros)).ok_or_else(|| {
                ValueError::out_of_range(
                    NAME,
                    format!("{} is not between 4714-11-24 BC and 294276-12-31", describe(value)),
                )
            })
        }
    }
}

/// Appends the binary form; for timestamptz the fields must be in UTC.
///
/// # Errors
/// As [`to_micros`].
#[inline]
pub fn encode_binary(value: Timestamp, out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(&to_micros(value)?.to_be_bytes());
    Ok(())
}

/// Appends the binary form of microseconds since 2000-01-01 00:00; the ends of `i64` are the infinities.
///
/// # Errors
/// `OutOfRange` outside 4714-11-24 BC .. 294276-12-31.
#[inline]
pub fn encode_micros(micros: i64, out: &mut Vec<u8>) -> Result<()> {
    if !matches!(micros, i64::MIN | i64::MAX | MIN_MICROS..=MAX_MICROS) {
        return Err(ValueError::out_of_range(NAME, format!("{micros} microseconds from 2000-01-01")));
    }
    out.extend_from_slice(&micros.to_be_bytes());
    Ok(())
}

/// Appends the binary form of `infinity`, or of `-infinity`.
#[inline]
pub fn encode_infinity(negative: bool, out: &mut Vec<u8>) {
    let micros = if negative { i64::MIN } else { i64::MAX };
    out.extend_from_slice(&micros.to_be_bytes());
}

/// The fields of a text timestamp as written, and the offset from UTC in seconds (east is positive) when the
/// text has one: `2024-02-29 12:30:00.5`, `1883-11-18 12:03:57-04:56:02`, `0044-03-15 10:00:00 BC`, `infinity`.
///
/// # Errors
/// `Malformed` for other texts (another `DateStyle`, for example), `OutOfRange` as [`to_micros`], judged in UTC.
#[inline]
pub fn decode_text(text: &[u8]) -> Result<(Timestamp, Option<i32>)> {
    parse(text).map(|(value, offset, _)| (value, offset))
}

/// The moment of a text timestamptz, in UTC.
///
/// # Errors
/// As [`decode_text`], and `Malformed` when the text has no offset.
#[inline]
pub fn decode_text_tz(text: &[u8]) -> Result<Timestamp> {
    match parse(text)? {
        (Timestamp::At { .. }, None, _) => {
            Err(ValueError::malformed("timestamptz", format!("no offset from UTC in {}", quote(text))))
        }
        (at @ Timestamp::At { .. }, Some(0), _) => Ok(at),
        (_, _, micros) => from_micros(micros),
    }
}

/// Fields as written, offset, and microseconds in UTC, which are in range.
fn parse(text: &[u8]) -> Result<(Timestamp, Option<i32>, i64)> {
    match text {
        b"infinity" => return Ok((Timestamp::Infinity, None, i64::MAX)),
        b"-infinity" => return Ok((Timestamp::NegInfinity, None, i64::MIN)),
        _ => {}
    }
    let parsed = parse_fields(text).and_then(|(value, offset)| {
        let micros = unchecked_micros(value)? - i128::from(offset.unwrap_or(0)) * 1_000_000;
        Some((value, offset, micros))
    });
    let Some((value, offset, micros)) = parsed else {
        return Err(ValueError::unexpected_text(NAME, text));
    };
    match i64::try_from(micros) {
        Ok(micros @ MIN_MICROS..=MAX_MICROS) => Ok((value, offset, micros)),
        _ => Err(ValueError::out_of_range(NAME, quote(text))),
    }
}

fn parse_fields(text: &[u8]) -> Option<(Timestamp, Option<i32>)> {
    let (body, bc) = split_bc(text);
    let (year, month, day, rest) = parse_ymd(body, bc)?;
    let [b' ', h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = rest else {
        return None;
    };
    let (microsecond, rest) = match rest {
        [b'.', fraction @ ..] => parse_fraction(fraction)?,
        _ => (0, rest),
    };
    let offset = match rest {
        [] => None,
        zone => Some(parse_offset(zone)?),
    };
    let value = Timestamp::At {
        year,
        month,
        day,
        hour: two_digits(*h1, *h2)?,
        minute: two_digits(*m1, *m2)?,
        second: two_digits(*s1, *s2)?,
        microsecond,
    };
    Some((value, offset))
}

/// One to six digits as microseconds, and what follows them.
pub(crate) fn parse_fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let mut micros = 0;
    let mut width = 0;
    while let Some(digit @ b'0'..=b'9') = text.get(width) {
        if width == 6 {
            return None;
        }
        micros = micros * 10 + u32::from(digit - b'0');
        width += 1;
    }
    if width == 0 {
        return None;
    }
    for _ in width..6 {
        micros *= 10;
    }
    Some((micros, text.get(width..)?))
}

/// `+HH`, `+HH:MM` or `+HH:MM:SS` as seconds; the server's limit is below 16 hours.
pub(crate) fn parse_offset(zone: &[u8]) -> Option<i32> {
    let (hours, minutes, seconds) = match *zone {
        [_, a, b] => (two_digits(a, b)?, 0, 0),
        [_, a, b, b':', c, d] => (two_digits(a, b)?, two_digits(c, d)?, 0),
        [_, a, b, b':', c, d, b':', e, f] => (two_digits(a, b)?, two_digits(c, d)?, two_digits(e, f)?),
        _ => return None,
    };
    if hours > 15 || minutes > 59 || seconds > 59 {
        return None;
    }
    let total = i32::from(hours) * 3600 + i32::from(minutes) * 60 + i32::from(seconds);
    match zone.first()? {
        b'+' => Some(total),
        b'-' => Some(-total),
        _ => None,
    }
}

/// Microseconds of a moment, of any `i32` year; `None` when a field is impossible.
#[inline]
fn unchecked_micros(value: Timestamp) -> Option<i128> {
    let Timestamp::At { year, month, day, hour, minute, second, microsecond } = value else {
        return None;
    };
    if !is_day(year, month, day) || hour > 23 || minute > 59 || second > 59 || microsecond > 999_999 {
        return None;
    }
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    let of_day = seconds * 1_000_000 + i64::from(microsecond);
    Some(i128::from(days_from_civil(year, month, day)) * i128::from(MICROS_PER_DAY) + i128::from(of_day))
}

fn describe(value: Timestamp) -> String {
    match value {
        Timestamp::Infinity => "infinity".to_owned(),
        Timestamp::NegInfinity => "-infinity".to_owned(),
        Timestamp::At { year, month, day, hour, minute, second, microsecond } => {
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{microsecond:06}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(year: i32, month: u8, day: u8, time: (u8, u8, u8, u32)) -> Timestamp {
        let (hour, minute, second, microsecond) = time;
        Timestamp::At { year, month, day, hour, minute, second, microsecond }
    }

    const MIDNIGHT: (u8, u8, u8, u32) = (0, 0, 0, 0);
    const LAST: (u8, u8, u8, u32) = (23, 59, 59, 999_999);

    #[test]
    fn ends_of_the_range() {
        assert_eq!(from_micros(0), Ok(at(2000, 1, 1, MIDNIGHT)));
        assert_eq!(from_micros(-1), Ok(at(1999, 12, 31, LAST)));
        assert_eq!(from_micros(MIN_MICROS), Ok(at(-4713, 11, 24, MIDNIGHT)));
        assert_eq!(from_micros(MAX_MICROS), Ok(at(294_276, 12, 31, LAST)));
        assert_eq!(to_micros(at(294_276, 12, 31, LAST)), Ok(MAX_MICROS));
        assert_eq!(to_micros(at(-4713, 11, 24, MIDNIGHT)), Ok(MIN_MICROS));
        for micros in [MIN_MICROS - 1, MAX_MICROS + 1, i64::MIN + 1, i64::MAX - 1] {
            assert!(matches!(from_micros(micros), Err(ValueError::OutOfRange { .. })));
            assert!(encode_micros(micros, &mut Vec::new()).is_err());
        }
        for value in [
            at(294_277, 1, 1, MIDNIGHT),
            at(-4713, 11, 23, LAST),
            at(i32::MAX, 1, 1, MIDNIGHT),
            at(i32::MIN, 1, 1, MIDNIGHT),
        ] {
            assert!(matches!(to_micros(value), Err(ValueError::OutOfRange { .. })));
        }
        for value in [
            at(2023, 2, 29, MIDNIGHT),
            at(2024, 1, 1, (24, 0, 0, 0)),
            at(2024, 1, 1, (0, 60, 0, 0)),
            at(2024, 1, 1, (0, 0, 60, 0)),
            at(2024, 1, 1, (0, 0, 0, 1_000_000)),
        ] {
            assert!(matches!(to_micros(value), Err(ValueError::Malformed { .. })));
        }
    }

    #[test]
    fn infinities() {
        for (negative, value, text) in
            [(false, Timestamp::Infinity, &b"infinity"[..]), (true, Timestamp::NegInfinity, b"-infinity")]
        {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            encode_infinity(negative, &mut a);
            encode_binary(value, &mut b).unwrap();
            assert_eq!(a, b);
            assert_eq!(decode_binary(&a), Ok(value));
            assert_eq!(decode_text(text), Ok((value, None)));
            assert_eq!(decode_text_tz(text), Ok(value));
        }
    }

    #[test]
    fn texts() {
        for (text, value, offset) in [
            ("2024-02-29 12:30:00", at(2024, 2, 29, (12, 30, 0, 0)), None),
            ("2024-02-29 12:30:00.5", at(2024, 2, 29, (12, 30, 0, 500_000)), None),
            ("2024-02-29 12:30:00.000001+00", at(2024, 2, 29, (12, 30, 0, 1)), Some(0)),
            ("1883-11-18 12:03:57-04:56:02", at(1883, 11, 18, (12, 3, 57, 0)), Some(-17_762)),
            ("2024-01-01 00:00:00+05:30", at(2024, 1, 1, MIDNIGHT), Some(19_800)),
            ("0044-03-15 10:00:00+00 BC", at(-43, 3, 15, (10, 0, 0, 0)), Some(0)),
            ("294276-12-31 23:59:59.999999", at(294_276, 12, 31, LAST), None),
            ("4714-11-24 00:00:00 BC", at(-4713, 11, 24, MIDNIGHT), None),
            // Local fields beyond the range, while the moment is inside.
            ("294277-01-01 08:59:59.999999+09", at(294_277, 1, 1, (8, 59, 59, 999_999)), Some(32_400)),
        ] {
            assert_eq!(decode_text(text.as_bytes()), Ok((value, offset)), "{text}");
        }
        for text in [
            "",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01 24:00:00",
            "2024-01-01 00:00:60",
            "2024-01-01 00:00",
            "2024-01-01 00:00:00.",
            "2024-01-01 00:00:00.1234567",
            "2024-01-01 00:00:00Z",
            "2024-01-01 00:00:00 UTC",
            "2024-01-01 00:00:00+0",
            "2024-01-01 00:00:00+16",
            "2024-01-01 00:00:00+00:60",
            "2024-01-01 00:00:00+00:00:00:00",
            "2024-02-30 00:00:00",
            "Thu Feb 29 12:30:00 2024",
        ] {
            assert!(matches!(decode_text(text.as_bytes()), Err(ValueError::Malformed { .. })), "{text}");
        }
        assert!(matches!(decode_text(b"294277-01-01 00:00:00"), Err(ValueError::OutOfRange { .. })));
    }

    #[test]
    fn text_to_utc() {
        assert_eq!(decode_text_tz(b"1883-11-18 12:03:57-04:56:02"), Ok(at(1883, 11, 18, (16, 59, 59, 0))));
        assert_eq!(decode_text_tz(b"2024-01-01 00:00:00+05:30"), Ok(at(2023, 12, 31, (18, 30, 0, 0))));
        assert_eq!(decode_text_tz(b"0001-12-31 23:00:00-02 BC"), Ok(at(1, 1, 1, (1, 0, 0, 0))));
        assert_eq!(decode_text_tz(b"294277-01-01 08:59:59.999999+09"), Ok(at(294_276, 12, 31, LAST)));
        assert!(decode_text_tz(b"2024-01-01 00:00:00").is_err());
    }

    proptest! {
        #[test]
        fn round_trips(micros in MIN_MICROS..=MAX_MICROS) {
            let value = decode_binary(&micros.to_be_bytes()).unwrap();
            let mut out = Vec::new();
            encode_binary(value, &mut out).unwrap();
            prop_assert_eq!(&out[..], micros.to_be_bytes());
            let Timestamp::At { year, month, day, hour, minute, second, microsecond } = value else { unreachable!() };
            let (era_year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
            let text = format!("{era_year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{microsecond:06}+00{era}");
            prop_assert_eq!(decode_text_tz(text.as_bytes()), Ok(value));
        }
    }
}
