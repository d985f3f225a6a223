//! The options of COPY that decide how rows are written in text or CSV format, as the caller gave them.
//!
//! They go to the server by name, all of them; these are also needed here when rows are made or read on this side.

use pgoxide_types::copy::{Dialect, Style};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::convert::{refuse, short_repr};
use crate::error;

/// Which columns an option is about.
pub(crate) enum Columns {
    All,
    Named(Vec<String>),
}

impl Columns {
    pub(crate) fn holds(&self, py: Python<'_>, name: &Py<PyString>) -> PyResult<bool> {
        match self {
            Self::All => Ok(true),
            Self::Named(names) if names.is_empty() => Ok(false),
            Self::Named(names) => Ok(names.iter().any(|known| name.bind(py).to_str().is_ok_and(|name| name == known))),
        }
    }
}

/// How lines are written and read.
pub(crate) struct TextOptions {
    pub(crate) dialect: Dialect,
    /// There is a first line of names.
    pub(crate) header: bool,
    pub(crate) force_null: Columns,
    pub(crate) force_not_null: Columns,
}

impl TextOptions {
    /// `format` is "text" or "csv".
    pub(crate) fn new(format: &str, options: &Bound<'_, PyDict>) -> PyResult<Self> {
        let py = options.py();
        let mut dialect = if format == "csv" { Dialect::csv() } else { Dialect::text() };
        if let Some(delimiter) = byte(options, "delimiter")? {
            dialect.delimiter = delimiter;
        }
        if let Some(null) = text(options, "null")? {
            dialect.null = null;
        }
        dialect.default = text(options, "default")?;
        if let Style::Csv { quote, escape } = &mut dialect.style {
            *quote = byte(options, "quote")?.unwrap_or(*quote);
            // By default a quote is doubled.
            *escape = byte(options, "escape")?.unwrap_or(*quote);
        }
        dialect.check().map_err(|cause| refuse(py, &cause))?;
        refuse_encoding(options)?;
        let header = match options.get_item("header")? {
            None => false,
            Some(word) if word.is_instance_of::<PyString>() => true,
            Some(flag) => flag.is_truthy()?,
        };
        Ok(Self {
            dialect,
            header,
            force_null: columns(options, "force_null")?,
            force_not_null: columns(options, "force_not_null")?,
        })
    }
}

/// Rows are Python values: they are written and read in the session's own encoding.
fn refuse_encoding(options: &Bound<'_, PyDict>) -> PyResult<()> {
    let Some(encoding) = options.get_item("encoding")? else { return Ok(()) };
    let plain: String = encoding.str()?.to_str()?.chars().filter(char::is_ascii_alphanumeric).collect();
    if matches!(plain.to_ascii_lowercase().as_str(), "utf8" | "unicode") {
        return Ok(());
    }
    let message = format!("encoding={}: that is for raw data; rows go in UTF-8", short_repr(&encoding));
    Err(error::interface_error(options.py(), message))
}

fn text(options: &Bound<'_, PyDict>, name: &str) -> PyResult<Option<Box<[u8]>>> {
    let Some(value) = options.get_item(name)? else { return Ok(None) };
    match value.cast::<PyString>() {
        Ok(text) => Ok(Some(text.to_str()?.as_bytes().into())),
        Err(_) => Err(error::interface_error(options.py(), format!("{name}={}: a str", short_repr(&value)))),
    }
}

fn byte(options: &Bound<'_, PyDict>, name: &str) -> PyResult<Option<u8>> {
    match text(options, name)?.as_deref() {
        None => Ok(None),
        Some(&[byte]) => Ok(Some(byte)),
        Some(_) => Err(error::interface_error(options.py(), format!("{name}= takes one single-byte character"))),
    }
}

fn columns(options: &Bound<'_, PyDict>, name: &str) -> PyResult<Columns> {
    match options.get_item(name)? {
        None => Ok(Columns::Named(Vec::new())),
        Some(all) if all.is_instance_of::<PyString>() => Ok(Columns::All),
        Some(names) => Ok(Columns::Named(names.extract()?)),
    }
}
