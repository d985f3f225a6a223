//! Arguments in the server's text form: inside containers and COPYs that have no binary form as a whole.
//!
//! Values are first encoded in binary, by the same encoders that are used elsewhere, and then written out as text: so both
//! formats take the same objects, refuse the same ones, and store the same values.

use std::fmt::{Debug, Display};

use pgoxide_types::date::{self, Date};
use pgoxide_types::timestamp::{self, Timestamp};
use pgoxide_types::{bool as boolean, bytea, float, int, json, numeric, uuid};
use pyo3::prelude::*;

use super::{Encoder, Rules, hook, hstore, range, refuse};

impl Encoder {
    /// Appends the text form of one argument that is not `None`, as the type's input function reads it.
    pub(crate) fn encode_text(&self, value: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
        let mark = out.len();
        self.write_text(value, rules, out).or_else(|cause| {
            let given = hook::given(value, cause)?;
            out.truncate(mark);
            self.write_text(&given, rules, out)
        })
    }

    fn write_text(&self, value: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
        let text = out;
        match self {
            // Their binary form is their text.
            Self::Text | Self::Unknown | Self::Json => return self.encode(value, rules, text),
            Self::Array(array) => return array.text(value, rules, text),
            Self::Range(bound) => return range::encode_text(value, bound, rules, text),
            Self::Multirange(bound) => return range::encode_text_many(value, bound, rules, text),
            Self::Composite(composite) => return composite.text(value, rules, text),
            Self::Hstore => return hstore::encode_text(value, text),
            Self::User(user) => return user.encode_text(value, rules, text),
            Self::InText(inner) => return inner.encode_text(value, rules, text),
            _ => {}
        }
        let mut binary = Vec::new();
        self.encode(value, rules, &mut binary)?;
        let binary = &binary;
        let written = match self {
            Self::Text | Self::Unknown | Self::Json => Ok(()),
            Self::Array(_) | Self::Range(_) | Self::Multirange(_) => Ok(()),
            Self::Composite(_) | Self::Hstore | Self::InText(_) | Self::User(_) => Ok(()),
            Self::Jsonb => json::strip_jsonb(binary).map(|document| text.extend_from_slice(document)),
            Self::Bool => boolean::decode_binary(binary).map(|value| text.push(if value { b't' } else { b'f' })),
            Self::Int2 => int::decode_binary_i16(binary).map(|value| write_int(value, text)),
            Self::Int4 => int::decode_binary_i32(binary).map(|value| write_int(value, text)),
            Self::Int8 => int::decode_binary_i64(binary).map(|value| write_int(value, text)),
            Self::Oid => int::decode_binary_u32(binary).map(|value| write_int(value, text)),
            // The shortest digits that denote the very same number.
            Self::Float4 => float::decode_binary_f32(binary).map(|value| write_float(value, f64::from(value), text)),
            Self::Float8 => float::decode_binary_f64(binary).map(|value| write_float(value, value, text)),
            Self::Numeric => numeric::decode_binary(binary, text),
            Self::Bytea => {
                bytea::encode_text(binary, text);
                Ok(())
            }
            // The byte itself; one that is no ASCII has a text form only from PostgreSQL 16 on.
            Self::Char => {
                match binary.as_slice() {
                    [0] => {}
                    [byte @ ..128] => text.push(*byte),
                    other => other.iter().for_each(|byte| text.extend_from_slice(format!("\\{byte:03o}").as_bytes())),
                }
                Ok(())
            }
            Self::Date => date::decode_binary(binary).map(|value| write_date(value, text)),
            Self::Timestamp => timestamp::decode_binary(binary).map(|value| write_timestamp(value, "", text)),
            Self::TimestampTz => timestamp::decode_binary(binary).map(|value| write_timestamp(value, "+00", text)),
            Self::Scalar(scalar) => scalar.write_text(binary, text),
            Self::Uuid => uuid::decode_binary(binary).map(|value| uuid::encode_text(value, text)),
        };
        written.map_err(|cause| refuse(value.py(), &cause))
    }
}

fn write_int(value: impl Display, text: &mut Vec<u8>) {
    text.extend_from_slice(value.to_string().as_bytes());
}

/// `value` in its own precision, whose shortest digits differ from those of the same number as a double.
fn write_float(value: impl Debug, double: f64, text: &mut Vec<u8>) {
    if double.is_nan() {
        text.extend_from_slice(b"NaN");
    } else if double.is_infinite() {
        text.extend_from_slice(if double > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else {
        text.extend_from_slice(format!("{value:?}").as_bytes());
    }
}

/// ISO's order of year, month and day is read the same under every DateStyle.
fn write_date(value: Date, text: &mut Vec<u8>) {
    match value {
        Date::Infinity => text.extend_from_slice(b"infinity"),
        Date::NegInfinity => text.extend_from_slice(b"-infinity"),
        Date::Ymd { year, month, day } => {
            text.extend_from_slice(format!("{:04}-{month:02}-{day:02}{}", of_era(year), era(year)).as_bytes());
        }
    }
}

fn write_timestamp(value: Timestamp, zone: &str, text: &mut Vec<u8>) {
    match value {
        Timestamp::Infinity => text.extend_from_slice(b"infinity"),
        Timestamp::NegInfinity => text.extend_from_slice(b"-infinity"),
        Timestamp::At { year, month, day, hour, minute, second, microsecond } => {
            let date = format!("{:04}-{month:02}-{day:02}", of_era(year));
            let time = format!("{hour:02}:{minute:02}:{second:02}.{microsecond:06}");
            text.extend_from_slice(format!("{date} {time}{zone}{}", era(year)).as_bytes());
        }
    }
}

/// Year 0 is 1 BC.
const fn of_era(year: i32) -> i32 {
    if year < 1 { 1 - year } else { year }
}

const fn era(year: i32) -> &'static str {
    if year < 1 { " BC" } else { "" }
}
