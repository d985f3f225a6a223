//! COPY FROM STDIN in text format: for tables that have a column whose type has no binary codec here.
//!
//! A COPY has one format for all its columns, so one column of an unknown type brings all of them here. Its own values
//! are `str` in the server's text form. Those of known types are first encoded in binary, by the same encoders that
//! binary COPY uses, and then written out as text: so both formats take the same objects, refuse the same ones, and
//! store the same values. Source: the manual's page of COPY, "Text Format".

use std::fmt::{Debug, Display};

use pgoxide_types::date::{self, Date};
use pgoxide_types::timestamp::{self, Timestamp};
use pgoxide_types::{bool as boolean, bytea, float, int, json, numeric, oid, uuid};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::convert::{Encoder, Rules, refuse};
use crate::error;
use crate::feed::{Column, blame_column, check_width, keys_differ};

/// `namein` cuts longer names in silence, where binary COPY refuses them (NAMEDATALEN is 64, NUL included).
const LONGEST_NAME: usize = 63;

/// From this version on "char" reads `\ooo`; before, bytes from 128 on have no text form that passes as UTF-8.
const READS_OCTAL_CHAR: u32 = 16;

/// The format that COPY of columns of these types takes: "binary", or "text" when one of them has no binary codec.
#[pyfunction]
pub(crate) fn copy_format(types: Vec<u32>) -> &'static str {
    if types.into_iter().map(Encoder::for_oid).any(|encoder| encoder == Encoder::Unknown) { "text" } else { "binary" }
}

/// A COPY's target, written in text.
pub(crate) struct TextCopy {
    pub(crate) columns: Box<[Column]>,
    octal_char: bool,
}

impl TextCopy {
    /// `server_version` as the server reports it.
    pub(crate) fn new(columns: Box<[Column]>, server_version: Option<&str>) -> Self {
        let major = server_version.and_then(|text| text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
        Self { columns, octal_char: major.is_some_and(|major: u32| major >= READS_OCTAL_CHAR) }
    }

    /// Appends one line: a tuple or list in column order; a dict or an object by column name.
    pub(crate) fn encode(&self, record: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
        let (py, columns) = (record.py(), &self.columns);
        let mut line = Line { copy: self, rules, out, binary: Vec::new(), text: Vec::new() };
        if let Ok(tuple) = record.cast::<PyTuple>() {
            check_width(py, columns.len(), tuple.len())?;
            for (column, value) in columns.iter().zip(tuple.iter_borrowed()) {
                line.put(column, &value)?;
            }
        } else if let Ok(list) = record.cast::<PyList>() {
            check_width(py, columns.len(), list.len())?;
            for (column, value) in columns.iter().zip(list.iter()) {
                line.put(column, &value)?;
            }
        } else if let Ok(dict) = record.cast::<PyDict>() {
            if dict.len() != columns.len() {
                return Err(keys_differ(dict, columns));
            }
            for column in columns {
                let Some(value) = dict.get_item(&column.name)? else { return Err(keys_differ(dict, columns)) };
                line.put(column, &value)?;
            }
        } else {
            for column in columns {
                line.put(column, &record.getattr(&column.name)?)?;
            }
        }
        line.end();
        Ok(())
    }
}

/// A line under construction.
struct Line<'a> {
    copy: &'a TextCopy,
    rules: &'a Rules,
    out: &'a mut Vec<u8>,
    /// The value as binary COPY would send it.
    binary: Vec<u8>,
    /// The value as the server's input function reads it, before COPY's own escapes.
    text: Vec<u8>,
}

impl Line<'_> {
    /// One value and the tab behind it.
    fn put(&mut self, column: &Column, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if value.is_none() {
            self.out.extend_from_slice(b"\\N\t");
            return Ok(());
        }
        self.binary.clear();
        let encoded = column
            .encoder
            .encode(value, self.rules, &mut self.binary)
            .and_then(|()| self.write_text(column, value.py()));
        encoded.map_err(|cause| blame_column(column, value, cause))?;
        escape(&self.text, self.out);
        self.out.push(b'\t');
        Ok(())
    }

    /// The last tab becomes the end of the line.
    fn end(&mut self) {
        if let Some(last) = self.out.last_mut() {
            *last = b'\n';
        }
    }

    fn write_text(&mut self, column: &Column, py: Python<'_>) -> PyResult<()> {
        let Self { binary, text, .. } = self;
        text.clear();
        let written = match column.encoder {
            Encoder::Text if column.oid == oid::NAME && binary.len() > LONGEST_NAME => {
                let message = format!("a name of {} bytes; PostgreSQL's have {LONGEST_NAME} at most", binary.len());
                return Err(error::data_error(py, message));
            }
            Encoder::Char => return self.write_char(py),
            Encoder::Text | Encoder::Unknown | Encoder::Json => {
                text.extend_from_slice(binary);
                Ok(())
            }
            Encoder::Jsonb => json::strip_jsonb(binary).map(|document| text.extend_from_slice(document)),
            Encoder::Bool => boolean::decode_binary(binary).map(|value| text.push(if value { b't' } else { b'f' })),
            Encoder::Int2 => int::decode_binary_i16(binary).map(|value| write_int(value, text)),
            Encoder::Int4 => int::decode_binary_i32(binary).map(|value| write_int(value, text)),
            Encoder::Int8 => int::decode_binary_i64(binary).map(|value| write_int(value, text)),
            Encoder::Oid => int::decode_binary_u32(binary).map(|value| write_int(value, text)),
            // The shortest digits that denote the very same number.
            Encoder::Float4 => float::decode_binary_f32(binary).map(|value| write_float(value, f64::from(value), text)),
            Encoder::Float8 => float::decode_binary_f64(binary).map(|value| write_float(value, value, text)),
            Encoder::Numeric => numeric::decode_binary(binary, text),
            Encoder::Bytea => {
                bytea::encode_text(binary, text);
                Ok(())
            }
            Encoder::Date => date::decode_binary(binary).map(|value| write_date(value, text)),
            Encoder::Timestamp => timestamp::decode_binary(binary).map(|value| write_timestamp(value, "", text)),
            Encoder::TimestampTz => timestamp::decode_binary(binary).map(|value| write_timestamp(value, "+00", text)),
            Encoder::Uuid => uuid::decode_binary(binary).map(|value| uuid::encode_text(value, text)),
        };
        written.map_err(|cause| refuse(py, &cause))
    }

    /// "char": one byte, nothing for the byte 0.
    fn write_char(&mut self, py: Python<'_>) -> PyResult<()> {
        match self.binary.as_slice() {
            [0] => Ok(()),
            [byte @ ..128] => {
                self.text.push(*byte);
                Ok(())
            }
            [byte] if self.copy.octal_char => {
                self.text.extend_from_slice(format!("\\{byte:03o}").as_bytes());
                Ok(())
            }
            _ => Err(error::data_error(
                py,
                "a \"char\" from 128 on has no text form before PostgreSQL 16, and another column of this COPY has no \
                 binary one",
            )),
        }
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

/// Backslash, tab and the ends of lines mean themselves only behind a backslash.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 1);
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r')) {
        let letter = match rest[at] {
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            other => other,
        };
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', letter]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}
