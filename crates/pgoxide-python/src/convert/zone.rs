//! The zone a timestamptz is read in, and the zone a naive `datetime` is taken to be in.

use std::sync::Mutex;

use pgoxide_types::timestamp::{self as wire, Timestamp};
use pyo3::exceptions::PyOverflowError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDateAccess, PyDateTime, PyDict, PyTimeAccess, PyTzInfo, PyTzInfoAccess};

use super::date::YEARS;
use super::timestamp::{fields, utc_offset};
use super::{refuse, short_repr};
use crate::sync::lock;
use crate::{error, pyimport};

/// After so many years the calendar repeats, weekdays and leap years included, and with it the rules of a zone.
const CYCLE: i32 = 400;

/// What a timestamptz is read in.
#[derive(Debug, Default)]
pub(crate) enum Zone {
    #[default]
    Utc,
    /// The session's TimeZone, as last reported.
    Session,
    Given {
        zone: Py<PyTzInfo>,
        /// A `timezone` or a `ZoneInfo`, whose `fromutc` is known to be right.
        proven: bool,
    },
}

impl Zone {
    /// From the option `timestamptz_zone=`.
    pub(crate) fn asked(option: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = option.py();
        if let Ok(zone) = option.cast::<PyTzInfo>() {
            let utc = PyTzInfo::utc(py)?;
            if zone.is(&*utc) {
                return Ok(Self::Utc);
            }
            let class = zone.get_type();
            let proven = class.is(utc.get_type()) || class.is(pyimport::zone_info(py)?);
            return Ok(Self::Given { zone: zone.clone().unbind(), proven });
        }
        match option.extract::<&str>() {
            Ok("utc") => Ok(Self::Utc),
            Ok("session") => Ok(Self::Session),
            _ => Err(error::interface_error(
                py,
                format!(
                    "timestamptz_zone={}: \"utc\", \"session\" or a tzinfo, such as zoneinfo.ZoneInfo(\"Asia/Tokyo\")",
                    short_repr(option)
                ),
            )),
        }
    }

    pub(super) fn tzinfo<'py>(&self, py: Python<'py>, session: &SessionZone) -> PyResult<Bound<'py, PyTzInfo>> {
        match self {
            Self::Utc => Ok(PyTzInfo::utc(py)?.to_owned()),
            Self::Session => session.tzinfo(py),
            Self::Given { zone, .. } => Ok(zone.bind(py).clone()),
        }
    }

    /// Local times need no check: a session's zone is a ZoneInfo too.
    pub(super) const fn is_proven(&self) -> bool {
        !matches!(self, Self::Given { proven: false, .. })
    }
}

/// What to do with a naive `datetime` as timestamptz.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Naive {
    #[default]
    Refuse,
    Utc,
    /// It is in the system's zone.
    Local,
    /// It is in the session's TimeZone, as last reported.
    Session,
}

#[derive(Debug, Default)]
struct Known {
    name: Option<String>,
    /// Looked up on first use.
    zone: Option<Py<PyTzInfo>>,
}

/// The session's TimeZone. Its lock is held for moves and reference counts only.
#[derive(Debug, Default)]
pub(crate) struct SessionZone(Mutex<Known>);

impl SessionZone {
    /// ParameterStatus told a TimeZone.
    pub(crate) fn reported(&self, py: Python<'_>, name: &[u8]) {
        let name = String::from_utf8_lossy(name).into_owned();
        let earlier = std::mem::replace(&mut *lock(&self.0), Known { name: Some(name), zone: None });
        drop(earlier.zone.map(|zone| zone.into_bound(py)));
    }

    /// Raises DataError when the zone is unknown here, which is never read as another.
    pub(super) fn tzinfo<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTzInfo>> {
        let name = {
            let known = lock(&self.0);
            if let Some(zone) = &known.zone {
                return Ok(zone.bind(py).clone());
            }
            known.name.clone()
        };
        let Some(name) = name else {
            return Err(error::data_error(
                py,
                "the server has not reported the session's TimeZone: connect with timestamptz_zone=\"utc\" or a tzinfo",
            ));
        };
        let found = pyimport::session_zone(py)?.call1((&name,))?.cast_into::<PyTzInfo>()?;
        let displaced = {
            let mut known = lock(&self.0);
            // Looking it up ran Python, which may have read another report.
            if known.name.as_deref() == Some(&name) { known.zone.replace(found.clone().unbind()) } else { None }
        };
        drop(displaced);
        Ok(found)
    }
}

/// The moment on the clocks of the zone; `None` when that is outside the years of `datetime`.
///
/// A moment of the year 0 or 10000 may be inside in its zone: the zone is asked about the year that is like it.
pub(super) fn local_time<'py>(
    moment: Timestamp,
    zone: &Bound<'py, PyTzInfo>,
    proven: bool,
) -> PyResult<Option<Bound<'py, PyDateTime>>> {
    let py = zone.py();
    let Timestamp::At { year, month, day, hour, minute, second, microsecond } = moment else { return Ok(None) };
    let shift = match year {
        0 => CYCLE,
        10_000 => -CYCLE,
        year if YEARS.contains(&year) => 0,
        _ => return Ok(None),
    };
    let utc = PyDateTime::new(py, year + shift, month, day, hour, minute, second, microsecond, Some(zone))?;
    let local = match zone.call_method1(intern!(py, "fromutc"), (utc,)) {
        Ok(local) => local.cast_into::<PyDateTime>()?,
        // No offset reaches a day, so elsewhere it is the zone's own trouble.
        Err(error) if matches!(year, 1 | 9999) && error.is_instance_of::<PyOverflowError>(py) => return Ok(None),
        Err(error) => return Err(error),
    };
    if shift == 0 {
        return if proven { Ok(Some(local)) } else { checked(moment, local).map(Some) };
    }
    let year = local.get_year() - shift;
    if !YEARS.contains(&year) {
        return Ok(None);
    }
    let fields = PyDict::new(py);
    fields.set_item(intern!(py, "year"), year)?;
    let local = local.call_method(intern!(py, "replace"), (), Some(&fields))?.cast_into()?;
    checked(moment, local).map(Some)
}

/// The local time, when it denotes the moment: `tzinfo.fromutc` as inherited is wrong in a repeated hour.
fn checked<'py>(moment: Timestamp, local: Bound<'py, PyDateTime>) -> PyResult<Bound<'py, PyDateTime>> {
    let py = local.py();
    let wanted = wire::to_micros(moment).map_err(|e| refuse(py, &e))?;
    let clock = wire::to_micros(fields(&local)).map_err(|e| refuse(py, &e))?;
    if clock - utc_offset(local.as_any())? == wanted {
        // A subclass's instance may refer to anything; rows of scalars are hidden from the collector.
        let plain = local.is_exact_instance_of::<PyDateTime>();
        return if plain { Ok(local) } else { placed(&local, 0, local.get_microsecond(), local.get_tzinfo().as_ref()) };
    }
    Err(error::data_error(
        py,
        format!(
            "timestamptz_zone={}: its fromutc() gives {}, which is another moment by its utcoffset()",
            short_repr(local.get_tzinfo().as_deref().unwrap_or(local.as_any())),
            local.str()?
        ),
    ))
}

/// A plain `datetime` of these fields, fold included, `shift` years later and in the zone.
pub(super) fn placed<'py>(
    value: &Bound<'py, PyDateTime>,
    shift: i32,
    microsecond: u32,
    zone: Option<&Bound<'py, PyTzInfo>>,
) -> PyResult<Bound<'py, PyDateTime>> {
    PyDateTime::new_with_fold(
        value.py(),
        value.get_year() + shift,
        value.get_month(),
        value.get_day(),
        value.get_hour(),
        value.get_minute(),
        value.get_second(),
        microsecond,
        zone,
        value.get_fold(),
    )
}

/// The system's offset from UTC at a naive local time, in microseconds.
pub(super) fn system_offset(value: &Bound<'_, PyDateTime>) -> PyResult<i64> {
    /// 2000-01-01, where the wire's count begins, by the count of `timestamp()`.
    const EPOCH: i64 = 946_684_800;
    let py = value.py();
    // At the ends of its range `timestamp` overflows.
    let shift = match value.get_year() {
        1 => CYCLE,
        9999 => -CYCLE,
        _ => 0,
    };
    // No offset changes within a second, and a float of seconds is exact only for whole ones.
    let local = placed(value, shift, 0, None)?;
    let clock = wire::to_micros(fields(&local)).map_err(|e| refuse(py, &e))?;
    // Not `astimezone`, which reads a missing hour with the offset of the other side (seen with CPython 3.11).
    let seconds: f64 = local.call_method0(intern!(py, "timestamp"))?.extract()?;
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds of the years 1 to 9999")]
    let moment = (seconds as i64 - EPOCH) * 1_000_000;
    Ok(clock - moment)
}
