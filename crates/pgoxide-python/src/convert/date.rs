//! date, and the policies for dates and timestamps that Python's types cannot hold.

use pgoxide_types::ValueError;
use pgoxide_types::date::{self as wire, Date};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDate, PyDateAccess, PyDateTime};

use super::{Beyond, Converted, Rules, refuse, wrong_type};
use crate::{error, pyimport};

/// Years `datetime` holds.
pub(super) const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

#[inline]
pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    build(py, wire::decode_binary(raw).map_err(|e| refuse(py, &e))?, rules)
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    build(py, wire::decode_text(raw).map_err(|e| text_refused(py, &e))?, rules)
}

#[inline]
fn build<'py>(py: Python<'py>, date: Date, rules: &Rules) -> Converted<'py> {
    match date {
        Date::Ymd { year, month, day } if YEARS.contains(&year) => Ok(PyDate::new(py, year, month, day)?.into_any()),
        _ => beyond(py, date, rules.beyond),
    }
}

#[cold]
fn beyond(py: Python<'_>, date: Date, policy: Beyond) -> Converted<'_> {
    let (early, text) = match date {
        Date::Infinity => (false, "infinity".to_owned()),
        Date::NegInfinity => (true, "-infinity".to_owned()),
        Date::Ymd { year, month, day } => (year < 1, iso_date(year, month, day)),
    };
    match policy {
        Beyond::Raise => Err(out_of_reach(py, "date", &text)),
        Beyond::Text => Ok(text.into_pyobject(py)?.into_any()),
        Beyond::Clamp if early => Ok(PyDate::new(py, 1, 1, 1)?.into_any()),
        Beyond::Clamp => Ok(PyDate::new(py, 9999, 12, 31)?.into_any()),
        Beyond::Special => special(pyimport::pg_date(py)?, &text, |class| match date {
            Date::Ymd { year, month, day } => class.call1((year, month, day)),
            _ => unreachable_infinity(class),
        }),
    }
}

/// The class's own infinities are class attributes.
pub(super) fn special<'py>(
    class: &Bound<'py, PyAny>,
    text: &str,
    moment: impl FnOnce(&Bound<'py, PyAny>) -> Converted<'py>,
) -> Converted<'py> {
    let py = class.py();
    match text {
        "infinity" => class.getattr(intern!(py, "infinity")),
        "-infinity" => class.getattr(intern!(py, "negative_infinity")),
        _ => moment(class),
    }
}

pub(super) fn unreachable_infinity<'py>(class: &Bound<'py, PyAny>) -> Converted<'py> {
    class.getattr(intern!(class.py(), "infinity"))
}

/// A date in text that is not ISO's: nearly always another DateStyle.
#[cold]
pub(super) fn text_refused(py: Python<'_>, cause: &ValueError) -> PyErr {
    error::data_error(py, format!("{cause}; text results are read in DateStyle ISO only: set datestyle to 'ISO'"))
}

/// The server's ISO text. Year 0 is 1 BC.
pub(super) fn iso_date(year: i32, month: u8, day: u8) -> String {
    if year < 1 { format!("{:04}-{month:02}-{day:02} BC", 1 - year) } else { format!("{year:04}-{month:02}-{day:02}") }
}

#[cold]
pub(super) fn out_of_reach(py: Python<'_>, sql: &str, text: &str) -> PyErr {
    error::data_error(
        py,
        format!(
            "the {sql} {text} is outside what Python's datetime holds (years 1 to 9999, no infinity); connect with \
             beyond=\"special\" for exact values, or \"text\" or \"clamp\""
        ),
    )
}

/// `date`; a `datetime` is refused, since its time would be lost. `PgDate` is accepted.
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    if let Ok(date) = value.cast::<PyDate>() {
        if value.is_instance_of::<PyDateTime>() {
            return Err(wrong_type(value, "date (a datetime would lose its time: pass its .date())"));
        }
        return wire::encode_binary(date.get_year(), date.get_month(), date.get_day(), out).map_err(|e| refuse(py, &e));
    }
    let class = pyimport::pg_date(py)?;
    if value.is_instance(class)? {
        return match infinity(value)? {
            Some(negative) => {
                wire::encode_infinity(negative, out);
                Ok(())
            }
            None => {
                let (year, month, day) = value.getattr("_ymd")?.extract()?;
                wire::encode_binary(year, month, day, out).map_err(|e| refuse(py, &e))
            }
        };
    }
    Err(wrong_type(value, "date"))
}

/// Is this one of the class's infinities, and is it the negative one?
pub(super) fn infinity(value: &Bound<'_, PyAny>) -> PyResult<Option<bool>> {
    match value.getattr(intern!(value.py(), "sign"))?.extract::<i32>()? {
        0 => Ok(None),
        sign => Ok(Some(sign < 0)),
    }
}
