//! interval: months, days and microseconds, each with its own sign, sixteen bytes; in text any of the four IntervalStyles.
//!
//! The three are never turned into one another: a month has no fixed number of days, nor a day of hours. From PostgreSQL 17 on
//! the largest (and the smallest) value of all three together is `infinity` (`-infinity`); before, it was an ordinary value.

use crate::time::write_fraction;
use crate::timestamp::parse_fraction;
use crate::{Result, ValueError};

const NAME: &str = "interval";

const SECOND: i128 = 1_000_000;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;

/// An interval value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interval {
    /// Years and months.
    pub months: i32,
    /// Days, weeks included.
    pub days: i32,
    /// All below a day.
    pub microseconds: i64,
}

impl Interval {
    /// `infinity`.
    pub const INFINITY: Self = Self { months: i32::MAX, days: i32::MAX, microseconds: i64::MAX };
    /// `-infinity`.
    pub const NEG_INFINITY: Self = Self { months: i32::MIN, days: i32::MIN, microseconds: i64::MIN };
}

/// The value of a binary interval.
///
/// # Errors
/// `Length` when it is not sixteen bytes.
#[inline]
pub fn decode_binary(bytes: &[u8]) -> Result<Interval> {
    match <[u8; 16]>::try_from(bytes) {
        Ok([a, b, c, d, e, f, g, h, d1, d2, d3, d4, m1, m2, m3, m4]) => Ok(Interval {
            months: i32::from_be_bytes([m1, m2, m3, m4]),
            days: i32::from_be_bytes([d1, d2, d3, d4]),
            microseconds: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        }),
        Err(_) => Err(ValueError::length(NAME, 16, bytes.len())),
    }
}

/// Appends the binary form.
#[inline]
pub fn encode_binary(value: Interval, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.microseconds.to_be_bytes());
    out.extend_from_slice(&value.days.to_be_bytes());
    out.extend_from_slice(&value.months.to_be_bytes());
}

/// Appends a text form that every server reads alike, whatever its IntervalStyle: each part with its sign.
pub fn encode_text(value: Interval, out: &mut Vec<u8>) {
    let Interval { months, days, microseconds } = value;
    match value {
        Interval::INFINITY => out.extend_from_slice(b"infinity"),
        Interval::NEG_INFINITY => out.extend_from_slice(b"-infinity"),
        _ => {
            let micros = microseconds.unsigned_abs();
            let (seconds, sign) = (micros / 1_000_000, if microseconds < 0 { '-' } else { '+' });
            let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            out.extend_from_slice(
                format!("{months:+} mons {days:+} days {sign}{hour:02}:{minute:02}:{second:02}").as_bytes(),
            );
            #[allow(clippy::cast_possible_truncation)] // a remainder
            write_fraction((micros % 1_000_000) as u32, out);
        }
    }
}

/// The value of a text interval, in any of the styles `postgres`, `postgres_verbose`, `sql_standard` and `iso_8601`, as the
/// server writes them.
///
/// # Errors
/// `Malformed` for other texts, `OutOfRange` when a part does not fit.
pub fn decode_text(text: &[u8]) -> Result<Interval> {
    match text {
        b"infinity" => return Ok(Interval::INFINITY),
        b"-infinity" => return Ok(Interval::NEG_INFINITY),
        _ => {}
    }
    let parts = match text {
        [b'P', rest @ ..] => iso(rest),
        [b'@', b' ', rest @ ..] => verbose(rest),
        _ if text.iter().any(u8::is_ascii_alphabetic) => postgres(text),
        _ => standard(text),
    };
    let Some(Parts { months, days, micros }) = parts else {
        return Err(ValueError::unexpected_text(NAME, text));
    };
    match (i32::try_from(months), i32::try_from(days), i64::try_from(micros)) {
        (Ok(months), Ok(days), Ok(microseconds)) => Ok(Interval { months, days, microseconds }),
        _ => Err(ValueError::out_of_range(NAME, crate::error::quote(text))),
    }
}

/// Sums that cannot overflow: every number in a text has at most [`DIGITS`] digits, and there are few units.
#[derive(Default)]
struct Parts {
    months: i64,
    days: i64,
    micros: i128,
}

/// Digits of the largest number: 2562047788 hours.
const DIGITS: usize = 10;

impl Parts {
    fn negate(self) -> Self {
        Self { months: -self.months, days: -self.days, micros: -self.micros }
    }

    /// Adds a number of units; only seconds have a fraction.
    fn add(&mut self, unit: Unit, number: &Number) -> Option<()> {
        let sign = if number.negative { -1 } else { 1 };
        let whole = number.whole * sign;
        if number.fraction != 0 && unit != Unit::Second {
            return None;
        }
        match unit {
            Unit::Year => self.months += whole * 12,
            Unit::Month => self.months += whole,
            Unit::Day => self.days += whole,
            Unit::Hour => self.micros += i128::from(whole) * HOUR,
            Unit::Minute => self.micros += i128::from(whole) * MINUTE,
            Unit::Second => self.micros += i128::from(whole) * SECOND + i128::from(number.fraction * sign),
        }
        Some(())
    }
}

/// In the order in which texts have them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

/// A number with its sign apart, since -0.5 has a whole part of 0.
struct Number {
    negative: bool,
    whole: i64,
    /// Microseconds.
    fraction: i64,
}

/// The number at the start of `text`, and what follows it.
fn number(text: &[u8]) -> Option<(Number, &[u8])> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let width = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=DIGITS).contains(&width) {
        return None;
    }
    let (digits, rest) = digits.split_at_checked(width)?;
    let whole = digits.iter().fold(0i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let (fraction, rest) = match rest {
        [b'.', fraction @ ..] => parse_fraction(fraction)?,
        _ => (0, rest),
    };
    Some((Number { negative, whole, fraction: fraction.into() }, rest))
}

/// `1Y2M3DT4H5M6.789S`, after the P.
fn iso(text: &[u8]) -> Option<Parts> {
    let mut parts = Parts::default();
    let (mut rest, mut time, mut last) = (text, false, None);
    while !rest.is_empty() {
        if let ([b'T', after @ ..], false) = (rest, time) {
            (rest, time) = (after, true);
            if rest.is_empty() {
                return None;
            }
            continue;
        }
        let (count, after) = number(rest)?;
        let [letter, after @ ..] = after else { return None };
        let unit = match (letter, time) {
            (b'Y', false) => Unit::Year,
            (b'M', false) => Unit::Month,
            (b'D', false) => Unit::Day,
            (b'H', true) => Unit::Hour,
            (b'M', true) => Unit::Minute,
            (b'S', true) => Unit::Second,
            _ => return None,
        };
        if last.replace(unit).is_some_and(|last| last >= unit) {
            return None;
        }
        parts.add(unit, &count)?;
        rest = after;
    }
    last.map(|_| parts)
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b' ')
}

fn unit(word: &[u8]) -> Option<Unit> {
    Some(match word {
        b"year" | b"years" => Unit::Year,
        b"mon" | b"mons" => Unit::Month,
        b"day" | b"days" => Unit::Day,
        b"hour" | b"hours" => Unit::Hour,
        b"min" | b"mins" => Unit::Minute,
        b"sec" | b"secs" => Unit::Second,
        _ => return None,
    })
}

/// `1 year 2 mons -3 days 4 hours 5 mins 6.789 secs ago`, after `@ `; nothing is `0`.
fn verbose(text: &[u8]) -> Option<Parts> {
    if text == b"0" {
        return Some(Parts::default());
    }
    let (body, ago) = match text.strip_suffix(b" ago") {
        Some(body) => (body, true),
        None => (text, false),
    };
    let (parts, []) = with_units(body)? else { return None };
    Some(if ago { parts.negate() } else { parts })
}

/// `1 year 2 mons -3 days +04:05:06.789`.
fn postgres(text: &[u8]) -> Option<Parts> {
    let (mut parts, rest) = with_units(text)?;
    if !rest.is_empty() {
        parts.micros += clock(rest)?;
    }
    Some(parts)
}

/// Pairs of a number and a unit, in falling order, and what follows them when it is one more word.
fn with_units(text: &[u8]) -> Option<(Parts, &[u8])> {
    let (mut parts, mut last) = (Parts::default(), None);
    let mut words = words(text);
    while let Some(word) = words.next() {
        let Some(name) = words.next() else { return Some((parts, word)) };
        let ((count, []), unit) = (number(word)?, unit(name)?) else { return None };
        if last.replace(unit).is_some_and(|last| last >= unit) {
            return None;
        }
        parts.add(unit, &count)?;
    }
    Some((parts, &[]))
}

/// `-04:05:06.789` in microseconds.
fn clock(text: &[u8]) -> Option<i128> {
    let (hours, rest) = number(text)?;
    let [b':', m1, m2, b':', seconds @ ..] = rest else { return None };
    let ((seconds, []), [s1, s2, ..]) = (number(seconds)?, seconds) else { return None };
    let two = |tens: &u8, ones: &u8| crate::date::two_digits(*tens, *ones).filter(|value| *value < 60);
    if hours.fraction != 0 || seconds.whole != i64::from(two(s1, s2)?) {
        return None;
    }
    let minutes = i128::from(two(m1, m2)?);
    let micros = i128::from(hours.whole) * HOUR
        + minutes * MINUTE
        + i128::from(seconds.whole) * SECOND
        + i128::from(seconds.fraction);
    Some(if hours.negative { -micros } else { micros })
}

/// `1-2`, in months.
fn years_months(text: &[u8]) -> Option<i64> {
    let (years, rest) = number(text)?;
    let [b'-', months @ ..] = rest else { return None };
    let (months, []) = number(months)? else { return None };
    if months.negative || months.whole > 11 || years.fraction != 0 || months.fraction != 0 {
        return None;
    }
    let total = years.whole * 12 + months.whole;
    Some(if years.negative { -total } else { total })
}

/// `1-2`, `3 4:05:06`, `4:05:06` and `0`, one sign for all of it; or `+1-2 -3 +4:05:06`, each with its own.
fn standard(text: &[u8]) -> Option<Parts> {
    let mut words = words(text);
    match (words.next()?, words.next(), words.next(), words.next()) {
        (first, Some(second), Some(third), None) => {
            let (days, []) = number(second)? else { return None };
            let mut parts = Parts { months: years_months(first)?, days: 0, micros: clock(third)? };
            parts.add(Unit::Day, &days)?;
            Some(parts)
        }
        (first, second, None, None) => {
            let (bare, negative) = match first {
                [b'-', bare @ ..] => (bare, true),
                bare => (bare, false),
            };
            let parts = unsigned(bare, second)?;
            Some(if negative { parts.negate() } else { parts })
        }
        _ => None,
    }
}

fn unsigned(first: &[u8], second: Option<&[u8]>) -> Option<Parts> {
    if !first.first()?.is_ascii_digit() {
        return None;
    }
    let mut parts = Parts::default();
    match second {
        Some(time) if time.first()?.is_ascii_digit() => {
            let (days, []) = number(first)? else { return None };
            parts.add(Unit::Day, &days)?;
            parts.micros = clock(time)?;
        }
        Some(_) => return None,
        None if first == b"0" => {}
        None if first.contains(&b':') => parts.micros = clock(first)?,
        None => parts.months = years_months(first)?,
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interval(months: i32, days: i32, microseconds: i64) -> Interval {
        Interval { months, days, microseconds }
    }

    #[test]
    fn all_styles() {
        let six = 14_706_789_000;
        for (value, texts) in [
            (
                interval(14, 3, six),
                [
                    "1 year 2 mons 3 days 04:05:06.789",
                    "@ 1 year 2 mons 3 days 4 hours 5 mins 6.789 secs",
                    "+1-2 +3 +4:05:06.789",
                    "P1Y2M3DT4H5M6.789S",
                ],
            ),
            (
                interval(-14, 3, -six),
                [
                    "-1 years -2 mons +3 days -04:05:06.789",
                    "@ 1 year 2 mons -3 days 4 hours 5 mins 6.789 secs ago",
                    "-1-2 +3 -4:05:06.789",
                    "P-1Y-2M3DT-4H-5M-6.789S",
                ],
            ),
            (interval(0, 0, 0), ["00:00:00", "@ 0", "0", "PT0S"]),
            (interval(0, 0, -500_000), ["-00:00:00.5", "@ 0.5 secs ago", "-0:00:00.5", "PT-0.5S"]),
            (interval(0, 1, -500_000), ["1 day -00:00:00.5", "@ 1 day -0.5 secs", "+0-0 +1 -0:00:00.5", "P1DT-0.5S"]),
            (interval(14, 0, 0), ["1 year 2 mons", "@ 1 year 2 mons", "1-2", "P1Y2M"]),
            (interval(-14, 0, 0), ["-1 years -2 mons", "@ 1 year 2 mons ago", "-1-2", "P-1Y-2M"]),
            (interval(0, -3, -3_600_000_000), ["-3 days -01:00:00", "@ 3 days 1 hour ago", "-3 1:00:00", "P-3DT-1H"]),
            (
                interval(i32::MAX, i32::MAX, i64::MAX - 1),
                [
                    "178956970 years 7 mons 2147483647 days 2562047788:00:54.775806",
                    "@ 178956970 years 7 mons 2147483647 days 2562047788 hours 54.775806 secs",
                    "+178956970-7 +2147483647 +2562047788:00:54.775806",
                    "P178956970Y7M2147483647DT2562047788H54.775806S",
                ],
            ),
            (
                interval(i32::MIN, i32::MIN, i64::MIN + 1),
                [
                    "-178956970 years -8 mons -2147483648 days -2562047788:00:54.775807",
                    "@ 178956970 years 8 mons 2147483648 days 2562047788 hours 54.775807 secs ago",
                    "-178956970-8 -2147483648 -2562047788:00:54.775807",
                    "P-178956970Y-8M-2147483648DT-2562047788H-54.775807S",
                ],
            ),
        ] {
            for text in texts {
                assert_eq!(decode_text(text.as_bytes()), Ok(value), "{text}");
            }
        }
        assert_eq!(decode_text(b"infinity"), Ok(Interval::INFINITY));
        assert_eq!(decode_text(b"-infinity"), Ok(Interval::NEG_INFINITY));
    }

    #[test]
    fn what_no_server_writes() {
        for text in [
            "",
            "1",
            "1 day 1 day",
            "1 day 1 year",
            "P",
            "PT",
            "P1",
            "P1D1Y",
            "P1DT1D",
            "1:00",
            "01:60:00",
            "01:00:60",
            "01:00:6",
            "1-12",
            "1 fortnight",
            "@",
            "@ 1",
            "@ ago",
            "1.5 days",
            "P1.5D",
            "1 day 1 hour 00:00:01 x",
            "+1-2 +3",
            "12345678901 days",
            "1-2 3:00:00",
            "--1-2",
            "-+1:00:00",
            "1 -2:00:00",
        ] {
            assert!(matches!(decode_text(text.as_bytes()), Err(ValueError::Malformed { .. })), "{text}");
        }
        for text in ["178956970 years 8 mons", "2147483648 days", "P9999999999Y", "2562047788:00:54.775808"] {
            assert!(matches!(decode_text(text.as_bytes()), Err(ValueError::OutOfRange { .. })), "{text}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(months: i32, days: i32, microseconds: i64) {
            let value = interval(months, days, microseconds);
            let (mut binary, mut text) = (Vec::new(), Vec::new());
            encode_binary(value, &mut binary);
            encode_text(value, &mut text);
            prop_assert_eq!(decode_binary(&binary), Ok(value));
            prop_assert_eq!(decode_text(&text), Ok(value));
        }
    }
}
