//! COPY FROM STDIN in text format: for tables that have a column whose type has no binary codec here.
//!
//! A COPY has one format for all its columns, so one column of an unknown type brings all of them here. Its own values
//! are `str` in the server's text form; those of known types are written by `convert/as_text.rs`. Source: the manual's page of COPY, "Text Format".

use pgoxide_protocol::codes::Format;
use pgoxide_types::oid;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::convert::{Encoder, Rules};
use crate::error;
use crate::feed::{Column, blame_column, check_width, client_of, keys_differ};

/// `namein` cuts longer names in silence, where binary COPY refuses them (NAMEDATALEN is 64, NUL included).
const LONGEST_NAME: usize = 63;

/// From this version on "char" reads `\ooo`; before, bytes from 128 on have no text form that passes as UTF-8.
const READS_OCTAL_CHAR: u32 = 16;

/// The format that COPY of columns of these types takes on this connection: "binary", or "text" when one of them has no
/// binary codec.
#[pyfunction]
pub(crate) fn copy_format(client: &Bound<'_, PyAny>, types: Vec<u32>) -> PyResult<&'static str> {
    let client = client_of(client)?;
    let rules = &client.session().options.rules;
    let text = types.into_iter().any(|oid| Encoder::of(oid, rules).format() == Format::Text);
    Ok(if text { "text" } else { "binary" })
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
        let mut line = Line { copy: self, rules, out, text: Vec::new() };
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
        self.text.clear();
        let encoded = column.encoder.encode_text(value, self.rules, &mut self.text);
        encoded.and_then(|()| self.check(column, value.py())).map_err(|cause| blame_column(column, value, cause))?;
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

    /// What the two formats would not store the same.
    fn check(&self, column: &Column, py: Python<'_>) -> PyResult<()> {
        if column.oid == oid::NAME && self.text.len() > LONGEST_NAME {
            let message = format!("a name of {} bytes; PostgreSQL's have {LONGEST_NAME} at most", self.text.len());
            return Err(error::data_error(py, message));
        }
        if column.oid == oid::CHAR && self.text.len() > 1 && !self.copy.octal_char {
            return Err(error::data_error(
                py,
                "a \"char\" from 128 on has no text form before PostgreSQL 16, and another column of this COPY has no \
                 binary one",
            ));
        }
        Ok(())
    }
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
