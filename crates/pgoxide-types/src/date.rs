//! date: days since 2000-01-01 in the proleptic Gregorian calendar, four bytes; in text ISO 8601 with ` BC`.
//!
//! Range: 4714-11-24 BC to 5874897-12-31, and both infinities. The documentation's "4713 BC" is the same first
//! day, Julian day 0, in the Julian calendar; PostgreSQL counts and prints in the Gregorian one.

use crate::error::quote;
use crate::{Result, ValueError};

const NAME: &str = "date";

/// 4714-11-24 BC, the server's `DATETIME_MIN_JULIAN`.
const MIN_DAYS: i32 = -2_451_545;

/// 5874897-12-31, the last day before the server's `DATE_END_JULIAN`.
const MAX_DAYS: i32 = 2_147_483_493 - 2_451_545;

/// A date value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Date {
    /// `infinity`, later than all other dates.
    Infinity,
    /// `-infinity`, earlier than all other dates.
    NegInfinity,
    /// A day of the calendar.
    Ymd {
        /// Astronomical year: 0 is 1 BC, -1 is 2 BC.
        year: i32,
        /// 1 to 12.
        month: u8,
        /// 1 to 31.
        day: u8,
    },
}

/// The value of a binary date.
///
/// # Errors
/// `Length` when it is not four bytes, `OutOfRange` for a day the server cannot have sent.
#[inline]
pub fn decode_binary(bytes: &[u8]) -> Result<Date> {
    match bytes.try_into() {
        Ok(array) => from_days(i32::from_be_bytes(array)),
        Err(_) => Err(ValueError::length(NAME, 4, bytes.len())),
    }
}

/// The date `days` after 2000-01-01; the largest and smallest `i32` are the infinities.
///
/// # Errors
/// `OutOfRange` outside 4714-11-24 BC .. 5874897-12-31.
#[inline]
pub fn from_days(days: i32) -> Result<Date> {
    match days {
        i32::MAX => Ok(Date::Infinity),
        i32::MIN => Ok(Date::NegInfinity),
        MIN_DAYS..=MAX_DAYS => {
            let (year, month, day) = civil_from_days(days);
            Ok(Date::Ymd { year, month, day })
        }
        _ => Err(ValueError::out_of_range(NAME, format!("{days} days from 2000-01-01"))),
    }
}

/// Days from 2000-01-01 to a day of the calendar.
///
/// # Errors
/// `Malformed` when there is no such day, `OutOfRange` outside 4714-11-24 BC .. 5874897-12-31.
#[inline]
pub fn to_days(year: i32, month: u8, day: u8) -> Result<i32> {
    if !is_day(year, month, day) {
        return Err(ValueError::malformed(NAME, format!("there is no day {year:04}-{month:02}-{day:02}")));
    }
    match i32::try_from(days_from_civil(year, month, day)) {
        Ok(days @ MIN_DAYS..=MAX_DAYS) => Ok(days),
        _ => Err(ValueError::out_of_range(
            NAME,
            format!("{year}-{month:02}-{day:02} is not between 4714-11-24 BC and 5874897-12-31"),
        )),
    }
}

/// Appends the binary form of a day of the calendar (astronomical year: 0 is 1 BC).
///
/// # Errors
/// As [`to_days`].
#[inline]
pub fn encode_binary(year: i32, month: u8, day: u8, out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(&to_days(year, month, day)?.to_be_bytes());
    Ok(())
}

/// Appends the binary form of `infinity`, or of `-infinity`.
#[inline]
pub fn encode_infinity(negative: bool, out: &mut Vec<u8>) {
    let days = if negative { i32::MIN } else { i32::MAX };
    out.extend_from_slice(&days.to_be_bytes());
}

/// The value of a text date: `2024-02-29`, `0044-03-15 BC`, `12345-01-01`, `infinity`, `-infinity`.
///
/// # Errors
/// `Malformed` for other texts (another `DateStyle`, for example) and days that do not exist, `OutOfRange` as
/// [`to_days`].
#[inline]
pub fn decode_text(text: &[u8]) -> Result<Date> {
    match text {
        b"infinity" => return Ok(Date::Infinity),
        b"-infinity" => return Ok(Date::NegInfinity),
        _ => {}
    }
    let (body, bc) = split_bc(text);
    let Some((year, month, day, [])) = parse_ymd(body, bc) else {
        return Err(ValueError::unexpected_text(NAME, text));
    };
    match i32::try_from(days_from_civil(year, month, day)) {
        Ok(MIN_DAYS..=MAX_DAYS) => Ok(Date::Ymd { year, month, day }),
        _ => Err(ValueError::out_of_range(NAME, quote(text))),
    }
}

/// The text without its ` BC`, and whether it had one.
#[inline]
pub(crate) fn split_bc(text: &[u8]) -> (&[u8], bool) {
    match text.strip_suffix(b" BC") {
        Some(body) => (body, true),
        None => (text, false),
    }
}

/// `YYYY-MM-DD` at the start of `text`, as an existing day, and what follows it.
#[inline]
pub(crate) fn parse_ymd(text: &[u8], bc: bool) -> Option<(i32, u8, u8, &[u8])> {
    let width = text.iter().position(|byte| !byte.is_ascii_digit())?;
    // Seven digits hold the largest year; the server pads to four and not beyond.
    if !(4..=7).contains(&width) || (width > 4 && text.first() == Some(&b'0')) {
        return None;
    }
    let (digits, rest) = text.split_at_checked(width)?;
    let year = digits.iter().fold(0i32, |year, digit| year * 10 + i32::from(digit - b'0'));
    let [b'-', m1, m2, b'-', d1, d2, rest @ ..] = rest else {
        return None;
    };
    let (month, day) = (two_digits(*m1, *m2)?, two_digits(*d1, *d2)?);
    // The era decides the sign, so year 0 cannot be written.
    let year = match (year, bc) {
        (0, _) => return None,
        (year, true) => 1 - year,
        (year, false) => year,
    };
    is_day(year, month, day).then_some((year, month, day, rest))
}

/// The number that two ASCII digits spell.
#[inline]
pub(crate) fn two_digits(tens: u8, ones: u8) -> Option<u8> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then_some(tens.wrapping_mul(10).wrapping_add(ones))
}

/// Whether the calendar has this day.
#[inline]
pub(crate) fn is_day(year: i32, month: u8, day: u8) -> bool {
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => return false,
    };
    (1..=last).contains(&day)
}

/// Days from 2000-01-01 to an existing day of any `i32` year.
#[inline]
pub(crate) fn days_from_civil(year: i32, month: u8, day: u8) -> i64 {
    // Hinnant, "chrono-compatible low-level date algorithms": years begin in March, so the leap day comes last.
    let month = i64::from(month);
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468 - 10_957 // 0000-03-01 to 1970-01-01 to 2000-01-01
}

/// The day `days` after 2000-01-01; `days` must be in `MIN_DAYS..=MAX_DAYS`.
#[inline]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // every quotient is bounded, see the comments
pub(crate) fn civil_from_days(days: i32) -> (i32, u8, u8) {
    // Neri and Schneider, "Euclidean affine functions and their application to calendar algorithms" (2022),
    // figure 12, moved by twelve eras of 400 years so that the earliest day (4714 BC) is positive.
    const ERAS: i64 = 12;
    let n = (i64::from(days) + 719_468 + 10_957 + ERAS * 146_097) as u64;
    let n1 = 4 * n + 3;
    let century = n1 / 146_097;
    let n2 = (n1 % 146_097) / 4 * 4 + 3; // below 146_100
    let p2 = 2_939_745 * n2;
    let year_of_century = p2 >> 32;
    let day_of_year = (p2 & 0xffff_ffff) / 2_939_745 / 4; // below 366, counted from 1 March
    let n3 = 2_141 * day_of_year + 197_913;
    let (month, day) = ((n3 >> 16) as u8, ((n3 & 0xffff) / 2_141) as u8 + 1);
    let january = day_of_year >= 306;
    let year = (100 * century + year_of_century) as i32 - 400 * ERAS as i32 + i32::from(january);
    (year, if january { month - 12 } else { month }, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ymd(year: i32, month: u8, day: u8) -> Date {
        Date::Ymd { year, month, day }
    }

    #[test]
    fn every_day_of_many_years_follows_the_one_before() {
        // An independent walk: start at both known ends and at 1 BC, count days one by one.
        for (days, start) in [
            (MIN_DAYS, (-4713, 11, 24)),
            (-730_485, (0, 1, 1)),
            (MAX_DAYS - 400_000, {
                let (year, month, day) = civil_from_days(MAX_DAYS - 400_000);
                (year, month, day)
            }),
        ] {
            let (mut year, mut month, mut day) = start;
            for days in days..=days + 400_000 {
                assert_eq!(civil_from_days(days), (year, month, day));
                assert_eq!(days_from_civil(year, month, day), i64::from(days));
                day += 1;
                if !is_day(year, month, day) {
                    day = 1;
                    month += 1;
                    if month > 12 {
                        month = 1;
                        year += 1;
                    }
                }
            }
        }
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!(from_days(0), Ok(ymd(2000, 1, 1)));
        assert_eq!(from_days(MIN_DAYS), Ok(ymd(-4713, 11, 24)));
        assert_eq!(from_days(MAX_DAYS), Ok(ymd(5_874_897, 12, 31)));
        assert_eq!(to_days(-4713, 11, 24), Ok(MIN_DAYS));
        assert_eq!(to_days(5_874_897, 12, 31), Ok(MAX_DAYS));
        for days in [MIN_DAYS - 1, MAX_DAYS + 1, i32::MIN + 1, i32::MAX - 1] {
            assert!(matches!(from_days(days), Err(ValueError::OutOfRange { .. })));
        }
        for (year, month, day) in [(-4713, 11, 23), (5_874_898, 1, 1), (i32::MIN, 1, 1), (i32::MAX, 12, 31)] {
            assert!(matches!(to_days(year, month, day), Err(ValueError::OutOfRange { .. })));
        }
        for (year, month, day) in
            [(2023, 2, 29), (1900, 2, 29), (2024, 0, 1), (2024, 13, 1), (2024, 4, 31), (2024, 1, 0)]
        {
            assert!(matches!(to_days(year, month, day), Err(ValueError::Malformed { .. })));
        }
    }

    #[test]
    fn infinities() {
        for (negative, value, text) in
            [(false, Date::Infinity, &b"infinity"[..]), (true, Date::NegInfinity, b"-infinity")]
        {
            let mut out = Vec::new();
            encode_infinity(negative, &mut out);
            assert_eq!(decode_binary(&out), Ok(value));
            assert_eq!(decode_text(text), Ok(value));
        }
    }

    #[test]
    fn texts() {
        for (text, value) in [
            ("2024-02-29", ymd(2024, 2, 29)),
            ("0001-01-01", ymd(1, 1, 1)),
            ("0001-12-31 BC", ymd(0, 12, 31)),
            ("0001-02-29 BC", ymd(0, 2, 29)),
            ("4714-11-24 BC", ymd(-4713, 11, 24)),
            ("10000-01-01", ymd(10_000, 1, 1)),
            ("5874897-12-31", ymd(5_874_897, 12, 31)),
        ] {
            assert_eq!(decode_text(text.as_bytes()), Ok(value), "{text}");
        }
        for text in [
            "",
            "2024",
            "2024-02-30",
            "2024-2-3",
            "24-02-03",
            "0000-01-01",
            "02024-01-01",
            "2024-01-01 AD",
            "2024-01-01BC",
            "01/02/2024",
            "2024-01-01 ",
            "Infinity",
            "99999999-01-01",
        ] {
            assert!(matches!(decode_text(text.as_bytes()), Err(ValueError::Malformed { .. })), "{text}");
        }
        for text in ["4714-11-23 BC", "5874898-01-01"] {
            assert!(matches!(decode_text(text.as_bytes()), Err(ValueError::OutOfRange { .. })));
        }
    }

    proptest! {
        #[test]
        fn round_trips(days in MIN_DAYS..=MAX_DAYS) {
            let value = decode_binary(&days.to_be_bytes()).unwrap();
            let Date::Ymd { year, month, day } = value else { unreachable!() };
            let mut out = Vec::new();
            encode_binary(year, month, day, &mut out).unwrap();
            prop_assert_eq!(out, days.to_be_bytes());
            let text = if year > 0 {
                format!("{year:04}-{month:02}-{day:02}")
            } else {
                format!("{:04}-{month:02}-{day:02} BC", 1 - year)
            };
            prop_assert_eq!(decode_text(text.as_bytes()), Ok(value));
        }
    }
}
