//! time and timetz as `datetime.time`, and 24:00, which it does not have, by the connection's policy.

use pgoxide_types::time::{self as wire, Time};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDelta, PyDeltaAccess, PyString, PyTime, PyTimeAccess, PyTzInfo, PyTzInfoAccess};

use super::{Beyond, Converted, Rules, refuse, wrong_type};
use crate::{error, pyimport};

pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    build(py, wire::decode_binary(raw).map_err(|e| refuse(py, &e))?, None, rules)
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    build(py, wire::decode_text(raw).map_err(|e| refuse(py, &e))?, None, rules)
}

pub(super) fn decode_tz<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    let (time, offset) = wire::decode_binary_tz(raw).map_err(|e| refuse(py, &e))?;
    build(py, time, Some(offset), rules)
}

pub(super) fn decode_tz_text<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    let (time, offset) = wire::decode_text_tz(raw).map_err(|e| refuse(py, &e))?;
    build(py, time, Some(offset), rules)
}

fn build<'py>(py: Python<'py>, time: Time, offset: Option<i32>, rules: &Rules) -> Converted<'py> {
    let Time { hour, minute, second, microsecond } = time;
    if hour == 24 {
        return end_of_day(py, offset, rules.beyond);
    }
    let zone = offset.map(|offset| zone(py, offset)).transpose()?;
    Ok(PyTime::new(py, hour, minute, second, microsecond, zone.as_ref())?.into_any())
}

#[cold]
fn end_of_day(py: Python<'_>, offset: Option<i32>, policy: Beyond) -> Converted<'_> {
    let time = Time { hour: 24, minute: 0, second: 0, microsecond: 0 };
    let (sql, text) = match offset {
        None => ("time", text_of(|out| wire::encode_text(time, out))),
        Some(offset) => ("timetz", text_of(|out| wire::encode_text_tz(time, offset, out))),
    };
    match (policy, offset) {
        (Beyond::Raise, _) => Err(error::data_error(
            py,
            format!(
                "the {sql} {text} is later than datetime.time can be; connect with beyond=\"special\" for exact values, or \
                 \"text\" or \"clamp\""
            ),
        )),
        (Beyond::Text, _) => Ok(PyString::new(py, &text).into_any()),
        (Beyond::Clamp, offset) => {
            let zone = offset.map(|offset| zone(py, offset)).transpose()?;
            Ok(PyTime::new(py, 23, 59, 59, 999_999, zone.as_ref())?.into_any())
        }
        (Beyond::Special, None) => pyimport::pg_time(py)?.call1((24,)),
        (Beyond::Special, Some(offset)) => pyimport::pg_timetz(py)?.call1((24, 0, 0, 0, offset)),
    }
}

fn text_of(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// A fixed offset as a `tzinfo`. Those of whole quarters of an hour, nearly all there are, are made once.
fn zone(py: Python<'_>, offset: i32) -> PyResult<Bound<'_, PyTzInfo>> {
    const QUARTER: i32 = 900;
    const COUNT: usize = 129;
    static KNOWN: [PyOnceLock<Py<PyTzInfo>>; COUNT] = [const { PyOnceLock::new() }; COUNT];
    if offset == 0 {
        return Ok(PyTzInfo::utc(py)?.to_owned());
    }
    let make = || PyTzInfo::fixed_offset(py, PyDelta::new(py, 0, offset, 0, true)?);
    let place = usize::try_from(offset / QUARTER + 64).unwrap_or(COUNT);
    match KNOWN.get(place) {
        Some(cell) if offset % QUARTER == 0 => {
            Ok(cell.get_or_try_init(py, || make().map(Bound::unbind))?.bind(py).clone())
        }
        _ => make(),
    }
}

fn fields(time: &Bound<'_, PyTime>) -> Time {
    Time {
        hour: time.get_hour(),
        minute: time.get_minute(),
        second: time.get_second(),
        microsecond: time.get_microsecond(),
    }
}

/// The numbers of a `PgTime` or `PgTimeTz`.
fn numbers<const N: usize>(value: &Bound<'_, PyAny>, names: [&str; N]) -> PyResult<[i32; N]> {
    let mut found = [0; N];
    for (number, name) in found.iter_mut().zip(names) {
        *number = value.getattr(name)?.extract()?;
    }
    Ok(found)
}

fn special_time(value: &Bound<'_, PyAny>, [hour, minute, second, microsecond]: [i32; 4]) -> PyResult<Time> {
    let small = |number: i32| u8::try_from(number).map_err(|_| wrong_type(value, "a time of the day"));
    Ok(Time {
        hour: small(hour)?,
        minute: small(minute)?,
        second: small(second)?,
        microsecond: u32::try_from(microsecond).map_err(|_| wrong_type(value, "a time of the day"))?,
    })
}

/// A naive `time`, or `PgTime`, or text; an aware one is refused, since its zone would be lost.
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let time = if let Ok(time) = value.cast::<PyTime>() {
        if time.get_tzinfo().is_some() {
            return Err(wrong_type(
                value,
                "naive time for time without time zone (its zone would be lost: use timetz, or .replace(tzinfo=None))",
            ));
        }
        fields(time)
    } else if value.is_instance(pyimport::pg_time(py)?)? {
        special_time(value, numbers(value, ["hour", "minute", "second", "microsecond"])?)?
    } else if let Ok(text) = value.cast::<PyString>() {
        wire::decode_text(text.to_string_lossy().as_bytes()).map_err(|e| refuse(py, &e))?
    } else {
        return Err(wrong_type(value, "time"));
    };
    wire::encode_binary(time, out).map_err(|e| refuse(py, &e))
}

/// An aware `time` whose offset needs no date, or `PgTimeTz`, or text.
pub(super) fn encode_tz(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let (time, offset) = if let Ok(time) = value.cast::<PyTime>() {
        (fields(time), offset_of(time)?)
    } else if value.is_instance(pyimport::pg_timetz(py)?)? {
        let [hour, minute, second, microsecond, offset] =
            numbers(value, ["hour", "minute", "second", "microsecond", "offset"])?;
        (special_time(value, [hour, minute, second, microsecond])?, offset)
    } else if let Ok(text) = value.cast::<PyString>() {
        wire::decode_text_tz(text.to_string_lossy().as_bytes()).map_err(|e| refuse(py, &e))?
    } else {
        return Err(wrong_type(value, "aware time"));
    };
    wire::encode_binary_tz(time, offset, out).map_err(|e| refuse(py, &e))
}

/// Seconds east of Greenwich.
fn offset_of(time: &Bound<'_, PyTime>) -> PyResult<i32> {
    let py = time.py();
    let Some(zone) = time.get_tzinfo() else {
        return Err(wrong_type(time, "aware time for timetz (a naive one has no zone: add a tzinfo)"));
    };
    if zone.is(&*PyTzInfo::utc(py)?) {
        return Ok(0);
    }
    let offset = time.call_method0(intern!(py, "utcoffset"))?;
    let Ok(offset) = offset.cast::<PyDelta>() else {
        return Err(wrong_type(time, "time with a fixed offset for timetz (this zone has none without a date)"));
    };
    if offset.get_microseconds() != 0 {
        return Err(wrong_type(time, "time whose offset is whole seconds, as timetz has"));
    }
    Ok(offset.get_days() * 86_400 + offset.get_seconds())
}
