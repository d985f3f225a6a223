//! timestamp as naive, timestamptz as aware `datetime`, in UTC unless the connection's rules name another zone.

use pgoxide_types::timestamp::{self as wire, Timestamp};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDateAccess, PyDateTime, PyDelta, PyDeltaAccess, PyTimeAccess, PyTzInfo, PyTzInfoAccess};

use super::date::{YEARS, infinity, iso_date, out_of_reach, special, text_refused, unreachable_infinity};
use super::zone::{self, Naive};
use super::{Beyond, Converted, Rules, refuse, wrong_type};
use crate::pyimport;

#[inline]
pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    build(py, wire::decode_binary(raw).map_err(|e| refuse(py, &e))?, None, rules)
}

#[inline]
pub(super) fn decode_tz<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    let moment = wire::decode_binary(raw).map_err(|e| refuse(py, &e))?;
    build(py, moment, Some(&*PyTzInfo::utc(py)?), rules)
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    build(py, wire::decode_text(raw).map_err(|e| text_refused(py, &e))?.0, None, rules)
}

pub(super) fn decode_tz_text<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    let moment = wire::decode_text_tz(raw).map_err(|e| text_refused(py, &e))?;
    build(py, moment, Some(&*PyTzInfo::utc(py)?), rules)
}

pub(super) fn decode_tz_local<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    build_local(py, wire::decode_binary(raw).map_err(|e| refuse(py, &e))?, rules)
}

pub(super) fn decode_tz_local_text<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    build_local(py, wire::decode_text_tz(raw).map_err(|e| text_refused(py, &e))?, rules)
}

fn build_local<'py>(py: Python<'py>, moment: Timestamp, rules: &Rules) -> Converted<'py> {
    let zone = rules.zone.tzinfo(py, &rules.session_zone)?;
    match zone::local_time(moment, &zone, rules.zone.is_proven())? {
        Some(local) => Ok(local.into_any()),
        None => beyond(py, moment, Some(&zone), rules.beyond),
    }
}

#[inline]
fn build<'py>(
    py: Python<'py>,
    moment: Timestamp,
    zone: Option<&Bound<'py, PyTzInfo>>,
    rules: &Rules,
) -> Converted<'py> {
    match moment {
        Timestamp::At { year, month, day, hour, minute, second, microsecond } if YEARS.contains(&year) => {
            Ok(PyDateTime::new(py, year, month, day, hour, minute, second, microsecond, zone)?.into_any())
        }
        _ => beyond(py, moment, zone, rules.beyond),
    }
}

#[cold]
fn beyond<'py>(
    py: Python<'py>,
    moment: Timestamp,
    zone: Option<&Bound<'py, PyTzInfo>>,
    policy: Beyond,
) -> Converted<'py> {
    let (early, text) = match moment {
        Timestamp::Infinity => (false, "infinity".to_owned()),
        Timestamp::NegInfinity => (true, "-infinity".to_owned()),
        // A moment of the years 1 and 9999 may be beyond in its zone.
        Timestamp::At { year, .. } => (year < 5_000, iso(moment, zone.is_some())),
    };
    match policy {
        Beyond::Raise => Err(match zone {
            None => out_of_reach(py, "timestamp", &text),
            Some(zone) if zone.is(&*PyTzInfo::utc(py)?) => out_of_reach(py, "timestamptz", &text),
            Some(zone) => out_of_reach(py, "timestamptz", &format!("{text} (read in the zone {})", zone.str()?)),
        }),
        Beyond::Text => Ok(text.into_pyobject(py)?.into_any()),
        Beyond::Clamp if early => Ok(PyDateTime::new(py, 1, 1, 1, 0, 0, 0, 0, zone)?.into_any()),
        Beyond::Clamp => Ok(PyDateTime::new(py, 9999, 12, 31, 23, 59, 59, 999_999, zone)?.into_any()),
        Beyond::Special => {
            let class = if zone.is_some() { pyimport::pg_timestamptz(py)? } else { pyimport::pg_timestamp(py)? };
            special(class, &text, |class| match moment {
                Timestamp::At { year, month, day, hour, minute, second, microsecond } => {
                    class.call1((year, month, day, hour, minute, second, microsecond))
                }
                _ => unreachable_infinity(class),
            })
        }
    }
}

fn iso(moment: Timestamp, utc: bool) -> String {
    let Timestamp::At { year, month, day, hour, minute, second, microsecond } = moment else {
        return String::new();
    };
    let (date, era) = match iso_date(year, month, day) {
        date if date.ends_with(" BC") => (date.trim_end_matches(" BC").to_owned(), " BC"),
        date => (date, ""),
    };
    let fraction = format!(".{microsecond:06}");
    // As the server writes it: no trailing zeros.
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let zone = if utc { "+00" } else { "" };
    format!("{date} {hour:02}:{minute:02}:{second:02}{fraction}{zone}{era}")
}

pub(super) fn fields(value: &Bound<'_, PyDateTime>) -> Timestamp {
    Timestamp::At {
        year: value.get_year(),
        month: value.get_month(),
        day: value.get_day(),
        hour: value.get_hour(),
        minute: value.get_minute(),
        second: value.get_second(),
        microsecond: value.get_microsecond(),
    }
}

/// A naive `datetime`; an aware one is refused, since its zone would be lost.
#[inline]
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let Ok(moment) = value.cast::<PyDateTime>() else {
        return encode_special(value, pyimport::pg_timestamp(py)?, "datetime", out);
    };
    if moment.get_tzinfo().is_some() {
        return Err(wrong_type(
            value,
            "naive datetime for timestamp without time zone (its zone would be lost: use timestamptz, or .replace(tzinfo=None))",
        ));
    }
    wire::encode_binary(fields(moment), out).map_err(|e| refuse(py, &e))
}

/// An aware `datetime`; a naive one names no moment, unless the connection's rules say in which zone it is.
#[inline]
pub(super) fn encode_tz(value: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let Ok(moment) = value.cast::<PyDateTime>() else {
        return encode_special(value, pyimport::pg_timestamptz(py)?, "aware datetime", out);
    };
    let Some(zone) = moment.get_tzinfo() else {
        return encode_naive(moment, rules, out);
    };
    let micros = wire::to_micros(fields(moment)).map_err(|e| refuse(py, &e))?;
    // A pointer comparison saves a call into Python for the commonest zone.
    let offset = if zone.is(&*PyTzInfo::utc(py)?) { 0 } else { utc_offset(value)? };
    wire::encode_micros(micros - offset, out).map_err(|e| refuse(py, &e))
}

#[cold]
fn encode_naive(value: &Bound<'_, PyDateTime>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let offset = match rules.naive {
        Naive::Refuse => {
            return Err(wrong_type(
                value,
                "aware datetime for timestamptz (a naive one names no moment: add a tzinfo, or connect with naive_timestamptz=)",
            ));
        }
        Naive::Utc => 0,
        Naive::Local => zone::system_offset(value)?,
        Naive::Session => utc_offset(zone::placed(value, 0, 0, Some(&rules.session_zone.tzinfo(py)?))?.as_any())?,
    };
    let micros = wire::to_micros(fields(value)).map_err(|e| refuse(py, &e))?;
    wire::encode_micros(micros - offset, out).map_err(|e| refuse(py, &e))
}

/// `value.utcoffset()` in microseconds; it knows `fold` and offsets with seconds.
pub(super) fn utc_offset(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    let py = value.py();
    let offset = value.call_method0(intern!(py, "utcoffset"))?;
    let Ok(offset) = offset.cast::<PyDelta>() else {
        return Err(wrong_type(value, "aware datetime for timestamptz (its tzinfo gives no offset)"));
    };
    let seconds = i64::from(offset.get_days()) * 86_400 + i64::from(offset.get_seconds());
    Ok(seconds * 1_000_000 + i64::from(offset.get_microseconds()))
}

fn encode_special(
    value: &Bound<'_, PyAny>,
    class: &Bound<'_, PyAny>,
    expected: &str,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    // Exactly: PgTimestampTz is a PgTimestamp to Python, but its zone must not be lost.
    if !value.get_type().is(class) {
        return Err(wrong_type(value, expected));
    }
    match infinity(value)? {
        Some(negative) => {
            wire::encode_infinity(negative, out);
            Ok(())
        }
        None => {
            let (year, month, day, hour, minute, second, microsecond) = value.getattr("_fields_")?.extract()?;
            let moment = Timestamp::At { year, month, day, hour, minute, second, microsecond };
            wire::encode_binary(moment, out).map_err(|e| refuse(value.py(), &e))
        }
    }
}
