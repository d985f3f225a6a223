//! time and timetz: microseconds since midnight, eight bytes, and for timetz the zone in four more; in text ISO 8601.
//!
//! A day ends at `24:00:00`, which is a value of its own. On the wire a zone counts seconds west of Greenwich; here, as in
//! text, east is positive.

use crate::date::two_digits;
use crate::timestamp::{parse_fraction, parse_offset};
use crate::{Result, ValueError};

const NAME: &str = "time";
const NAME_TZ: &str = "timetz";

/// `24:00:00`.
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Offsets from UTC are smaller than sixteen hours, the server's `TZDISP_LIMIT`.
const MAX_OFFSET: i32 = 16 * 3600 - 1;

/// A time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Time {
    /// 0 to 24; 24 only for `24:00:00`.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 999999.
    pub microsecond: u32,
}

impl Time {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked by the caller
    fn from_micros(micros: i64) -> Self {
        let seconds = micros / 1_000_000;
        Self {
            hour: (seconds / 3600) as u8,
            minute: (seconds / 60 % 60) as u8,
            second: (seconds % 60) as u8,
            microsecond: (micros % 1_000_000) as u32,
        }
    }

    fn micros(self) -> Option<i64> {
        let Self { hour, minute, second, microsecond } = self;
        let micros =
            (i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)) * 1_000_000 + i64::from(microsecond);
        (minute < 60 && second < 60 && microsecond < 1_000_000 && micros <= MICROS_PER_DAY).then_some(micros)
    }
}

/// The value of a binary time.
///
/// # Errors
/// `Length` when it is not eight bytes, `OutOfRange` for what is not between midnight and midnight.
#[inline]
pub fn decode_binary(bytes: &[u8]) -> Result<Time> {
    match bytes.try_into() {
        Ok(array) => from_micros(i64::from_be_bytes(array), NAME),
        Err(_) => Err(ValueError::length(NAME, 8, bytes.len())),
    }
}

#[inline]
fn from_micros(micros: i64, name: &'static str) -> Result<Time> {
    match micros {
        0..=MICROS_PER_DAY => Ok(Time::from_micros(micros)),
        _ => Err(ValueError::out_of_range(name, format!("{micros} microseconds from midnight"))),
    }
}

/// The value of a binary timetz: the local time, and its offset from UTC in seconds (east is positive).
///
/// # Errors
/// `Length` when it is not twelve bytes, `OutOfRange` as [`decode_binary`] and for offsets of sixteen hours or more.
#[inline]
pub fn decode_binary_tz(bytes: &[u8]) -> Result<(Time, i32)> {
    let Some((micros, zone)) = bytes.split_first_chunk::<8>().and_then(|(micros, zone)| {
        let zone: [u8; 4] = zone.try_into().ok()?;
        Some((i64::from_be_bytes(*micros), i32::from_be_bytes(zone)))
    }) else {
        return Err(ValueError::length(NAME_TZ, 12, bytes.len()));
    };
    if !(-MAX_OFFSET..=MAX_OFFSET).contains(&zone) {
        return Err(ValueError::out_of_range(NAME_TZ, format!("{zone} seconds from UTC")));
    }
    Ok((from_micros(micros, NAME_TZ)?, -zone))
}

/// Appends the binary time.
///
/// # Errors
/// `Malformed` when a field is impossible.
#[inline]
pub fn encode_binary(time: Time, out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(&to_micros(time, NAME)?.to_be_bytes());
    Ok(())
}

fn to_micros(time: Time, name: &'static str) -> Result<i64> {
    time.micros().ok_or_else(|| {
        let Time { hour, minute, second, microsecond } = time;
        ValueError::malformed(name, format!("there is no time {hour:02}:{minute:02}:{second:02}.{microsecond:06}"))
    })
}

/// Appends the binary timetz; `offset` in seconds, east is positive.
///
/// # Errors
/// `Malformed` when a field is impossible, `OutOfRange` for offsets of sixteen hours or more.
#[inline]
pub fn encode_binary_tz(time: Time, offset: i32, out: &mut Vec<u8>) -> Result<()> {
    if !(-MAX_OFFSET..=MAX_OFFSET).contains(&offset) {
        return Err(ValueError::out_of_range(
            NAME_TZ,
            format!("an offset of {offset} seconds from UTC; it must be less than sixteen hours"),
        ));
    }
    out.extend_from_slice(&to_micros(time, NAME_TZ)?.to_be_bytes());
    out.extend_from_slice(&(-offset).to_be_bytes());
    Ok(())
}

/// The value of a text time: `12:30:00`, `12:30:00.5`, `24:00:00`.
///
/// # Errors
/// `Malformed` for other texts and impossible fields.
#[inline]
pub fn decode_text(text: &[u8]) -> Result<Time> {
    match parse(text) {
        Some((time, [])) => Ok(time),
        _ => Err(ValueError::unexpected_text(NAME, text)),
    }
}

/// The value of a text timetz: `12:30:00+02`, `12:30:00.5-04:56:02`.
///
/// # Errors
/// `Malformed` for other texts and impossible fields.
#[inline]
pub fn decode_text_tz(text: &[u8]) -> Result<(Time, i32)> {
    parse(text)
        .and_then(|(time, zone)| Some((time, parse_offset(zone)?)))
        .ok_or_else(|| ValueError::unexpected_text(NAME_TZ, text))
}

/// The time at the start of `text`, and what follows it.
fn parse(text: &[u8]) -> Option<(Time, &[u8])> {
    let [h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = text else { return None };
    let (microsecond, rest) = match rest {
        [b'.', fraction @ ..] => parse_fraction(fraction)?,
        _ => (0, rest),
    };
    let (hour, minute, second) = (two_digits(*h1, *h2)?, two_digits(*m1, *m2)?, two_digits(*s1, *s2)?);
    let time = Time { hour, minute, second, microsecond };
    time.micros().map(|_| (time, rest))
}

/// Appends the text form, as the server writes it: no trailing zeros.
pub fn encode_text(time: Time, out: &mut Vec<u8>) {
    let Time { hour, minute, second, microsecond } = time;
    out.extend_from_slice(format!("{hour:02}:{minute:02}:{second:02}").as_bytes());
    write_fraction(microsecond, out);
}

/// Appends the text form with the offset: `+02`, `-04:56:02`.
pub fn encode_text_tz(time: Time, offset: i32, out: &mut Vec<u8>) {
    encode_text(time, out);
    let (hours, minutes, seconds) =
        (offset.unsigned_abs() / 3600, offset.unsigned_abs() / 60 % 60, offset.unsigned_abs() % 60);
    let sign = if offset < 0 { '-' } else { '+' };
    out.extend_from_slice(format!("{sign}{hours:02}").as_bytes());
    if minutes != 0 || seconds != 0 {
        out.extend_from_slice(format!(":{minutes:02}").as_bytes());
    }
    if seconds != 0 {
        out.extend_from_slice(format!(":{seconds:02}").as_bytes());
    }
}

/// `.5` for half a second, nothing for a whole one.
pub(crate) fn write_fraction(microsecond: u32, out: &mut Vec<u8>) {
    if microsecond != 0 {
        let fraction = format!(".{microsecond:06}");
        out.extend_from_slice(fraction.trim_end_matches('0').as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(hour: u8, minute: u8, second: u8, microsecond: u32) -> Time {
        Time { hour, minute, second, microsecond }
    }

    #[test]
    fn ends_of_the_day() {
        assert_eq!(decode_binary(&0i64.to_be_bytes()), Ok(time(0, 0, 0, 0)));
        assert_eq!(decode_binary(&(MICROS_PER_DAY - 1).to_be_bytes()), Ok(time(23, 59, 59, 999_999)));
        assert_eq!(decode_binary(&MICROS_PER_DAY.to_be_bytes()), Ok(time(24, 0, 0, 0)));
        for micros in [-1, MICROS_PER_DAY + 1, i64::MAX, i64::MIN] {
            assert!(matches!(decode_binary(&micros.to_be_bytes()), Err(ValueError::OutOfRange { .. })));
        }
        for impossible in [
            time(24, 0, 0, 1),
            time(24, 1, 0, 0),
            time(25, 0, 0, 0),
            time(0, 60, 0, 0),
            time(0, 0, 60, 0),
            time(0, 0, 0, 1_000_000),
        ] {
            assert!(encode_binary(impossible, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn texts() {
        assert_eq!(decode_text(b"24:00:00"), Ok(time(24, 0, 0, 0)));
        assert_eq!(decode_text(b"01:02:03.000004"), Ok(time(1, 2, 3, 4)));
        assert_eq!(decode_text_tz(b"01:02:03.4-04:56:02"), Ok((time(1, 2, 3, 400_000), -17_762)));
        for text in ["", "1:02:03", "01:02", "01:02:03.", "01:02:03.1234567", "24:00:00.1", "01:02:60", "01:02:03+00"] {
            assert!(decode_text(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["01:02:03", "01:02:03+16", "01:02:03Z", "01:02:03+1"] {
            assert!(decode_text_tz(text.as_bytes()).is_err(), "{text}");
        }
        assert!(encode_binary_tz(time(1, 0, 0, 0), 16 * 3600, &mut Vec::new()).is_err());
        assert!(decode_binary_tz(&[0; 11]).is_err());
    }

    proptest! {
        #[test]
        fn round_trips(micros in 0..=MICROS_PER_DAY, offset in -MAX_OFFSET..=MAX_OFFSET) {
            let value = decode_binary(&micros.to_be_bytes()).unwrap();
            let (mut binary, mut text) = (Vec::new(), Vec::new());
            encode_binary_tz(value, offset, &mut binary).unwrap();
            encode_text_tz(value, offset, &mut text);
            prop_assert_eq!(decode_binary_tz(&binary), Ok((value, offset)));
            prop_assert_eq!(decode_text_tz(&text), Ok((value, offset)));
        }
    }
}
