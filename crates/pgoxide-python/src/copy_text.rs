//! COPY FROM STDIN of records in text or CSV format: because the caller wants it, or because a column's type has no binary
//! codec here.
//!
//! A COPY has one format for all its columns, so one column of an unknown type brings all of them here. Its own values
//! are `str` in the server's text form; those of known types are written by `convert/as_text.rs`, and
//! `pgoxide_types::copy` makes lines of them. Source: the manual's page of COPY, "File Formats".

use pgoxide_protocol::codes::Format;
use pgoxide_types::copy::Dialect;
use pgoxide_types::{ValueError, oid};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::convert::{Encoder, Rules, refuse};
use crate::copy_options::TextOptions;
use crate::copy_record::{Column, blame_column, check_object, check_width, keys_differ};
use crate::error;
use crate::feed::client_of;

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

/// Whether values of these types can be written: those that are not built in have been looked up.
#[pyfunction]
pub(crate) fn knows_types(client: &Bound<'_, PyAny>, types: Vec<u32>) -> PyResult<bool> {
    let client = client_of(client)?;
    Ok(client.session().options.rules.types.unknown(types).is_empty())
}

/// A COPY's target, written in text.
pub(crate) struct TextCopy {
    pub(crate) columns: Box<[Column]>,
    octal_char: bool,
    options: TextOptions,
}

impl TextCopy {
    /// `server_version` as the server reports it.
    pub(crate) fn new(columns: Box<[Column]>, server_version: Option<&str>, options: TextOptions) -> Self {
        let major = server_version.and_then(|text| text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
        Self { columns, octal_char: major.is_some_and(|major: u32| major >= READS_OCTAL_CHAR), options }
    }

    /// Appends the first line, if there is to be one: the server reads it as the columns' names, or skips it.
    pub(crate) fn begin(&self, py: Python<'_>, out: &mut Vec<u8>) -> PyResult<()> {
        if self.options.header {
            let start = out.len();
            for column in &self.columns {
                let name = column.name.bind(py).to_str()?.as_bytes();
                self.write(Some(name), out).map_err(|cause| refuse(py, &cause))?;
                out.push(self.options.dialect.delimiter);
            }
            end_line(py, start, out)?;
        }
        Ok(())
    }

    fn write(&self, value: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), ValueError> {
        self.options.dialect.write(value, self.columns.len() == 1, out)
    }

    /// Appends one line: a tuple or list in column order; a dict or an object by column name.
    pub(crate) fn encode(&self, record: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
        let (py, columns, start) = (record.py(), &self.columns, out.len());
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
            check_object(record)?;
            for column in columns {
                line.put(column, &record.getattr(&column.name)?)?;
            }
        }
        if columns.is_empty() {
            out.push(b'\n');
            return Ok(());
        }
        end_line(py, start, out)
    }
}

/// The last delimiter becomes the end of the line.
fn end_line(py: Python<'_>, start: usize, out: &mut [u8]) -> PyResult<()> {
    if let Some(last) = out.last_mut() {
        *last = b'\n';
    }
    if Dialect::ends_data(&out[start..]) {
        return Err(error::data_error(
            py,
            "with quote= or delimiter= a backslash there is no way to write this: the line would end the data",
        ));
    }
    Ok(())
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
        let written = if value.is_none() { self.put_null(column, value.py()) } else { self.put_value(column, value) };
        written.map_err(|cause| blame_column(column, value, cause))?;
        self.out.push(self.copy.options.dialect.delimiter);
        Ok(())
    }

    fn put_null(&mut self, column: &Column, py: Python<'_>) -> PyResult<()> {
        if self.copy.options.force_not_null.holds(py, &column.name)? {
            return Err(error::data_error(py, "with force_not_null there is no way to write NULL"));
        }
        self.out.extend_from_slice(&self.copy.options.dialect.null);
        Ok(())
    }

    fn put_value(&mut self, column: &Column, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, options) = (value.py(), &self.copy.options);
        self.text.clear();
        column.encoder.encode_text(value, self.rules, &mut self.text)?;
        self.check(column, py)?;
        if *self.text == *options.dialect.null && options.force_null.holds(py, &column.name)? {
            return Err(error::data_error(py, "with force_null the text of null= can only be NULL"));
        }
        self.copy.write(Some(&self.text), self.out).map_err(|cause| refuse(py, &cause))
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
