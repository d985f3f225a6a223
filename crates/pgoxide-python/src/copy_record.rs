//! Records of a COPY FROM STDIN in binary format, and what both formats need to know of a record.

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMemoryView, PyString, PyTuple};

use crate::convert::{Encoder, Rules, short_repr};
use crate::error;

/// One column of the COPY's target.
pub(crate) struct Column {
    pub(crate) name: Py<PyString>,
    pub(crate) oid: u32,
    /// The type's name, for messages.
    pub(crate) type_name: String,
    pub(crate) encoder: Encoder,
}

/// A tuple, list or other sequence in column order; a mapping or an object by column name.
pub(crate) fn encode_copy_row(
    record: &Bound<'_, PyAny>,
    columns: &[Column],
    rules: &Rules,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    let py = record.py();
    // More columns than a table may have (1600) do not occur.
    out.extend_from_slice(&u16::try_from(columns.len()).unwrap_or(u16::MAX).to_be_bytes());
    if let Ok(tuple) = record.cast::<PyTuple>() {
        check_width(py, columns.len(), tuple.len())?;
        for (column, value) in columns.iter().zip(tuple.iter_borrowed()) {
            encode_copy_value(column, &value, rules, out)?;
        }
    } else if let Ok(list) = record.cast::<PyList>() {
        check_width(py, columns.len(), list.len())?;
        for (column, value) in columns.iter().zip(list.iter()) {
            encode_copy_value(column, &value, rules, out)?;
        }
    } else if let Ok(dict) = record.cast::<PyDict>() {
        if dict.len() != columns.len() {
            return Err(keys_differ(dict, columns));
        }
        for column in columns {
            let Some(value) = dict.get_item(&column.name)? else { return Err(keys_differ(dict, columns)) };
            encode_copy_value(column, &value, rules, out)?;
        }
    } else {
        check_object(record)?;
        for column in columns {
            encode_copy_value(column, &record.getattr(column.name.bind(py))?, rules, out)?;
        }
    }
    Ok(())
}

pub(crate) fn check_width(py: Python<'_>, columns: usize, values: usize) -> PyResult<()> {
    if columns == values {
        return Ok(());
    }
    Err(error::data_error(py, format!("{values} values for {columns} columns")))
}

#[inline]
fn encode_copy_value(column: &Column, value: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
    if value.is_none() {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return Ok(());
    }
    let mark = out.len();
    out.extend_from_slice(&[0; 4]);
    column.encoder.encode(value, rules, out).map_err(|cause| blame_column(column, value, cause))?;
    let length = out.len() - mark - 4;
    let Ok(length) = i32::try_from(length) else {
        return Err(error::data_error(
            value.py(),
            format!("a value of {length} bytes; PostgreSQL holds less than 1 GiB"),
        ));
    };
    out[mark..mark + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Which of the columns the dict lacks, and which keys are none of them.
#[cold]
pub(crate) fn keys_differ(dict: &Bound<'_, PyDict>, columns: &[Column]) -> PyErr {
    let py = dict.py();
    let names: Vec<&Bound<'_, PyString>> = columns.iter().map(|column| column.name.bind(py)).collect();
    let listed = |keys: Vec<String>| if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
    let missing = names.iter().filter(|name| !dict.contains(name).unwrap_or(false)).map(|name| short_repr(name));
    let surplus = dict.keys().iter().filter(|key| !names.iter().any(|name| key.eq(name).unwrap_or(false)));
    let surplus: Vec<String> = surplus.map(|key| short_repr(&key)).collect();
    let message =
        format!("the keys are not the columns: missing {}; surplus {}", listed(missing.collect()), listed(surplus));
    error::data_error(py, message)
}

#[cold]
pub(crate) fn blame_column(column: &Column, value: &Bound<'_, PyAny>, cause: PyErr) -> PyErr {
    let py = value.py();
    let message = format!("column {} ({}): {}", column.name.bind(py), column.type_name, cause.value(py));
    error::caused_by(py, error::data_error(py, message), cause)
}

/// bytes and the like: raw data, and never a record.
pub(crate) fn is_raw(piece: &Bound<'_, PyAny>) -> bool {
    piece.is_instance_of::<PyBytes>() || piece.is_instance_of::<PyByteArray>() || piece.is_instance_of::<PyMemoryView>()
}

/// What is neither a tuple, a list nor a dict is an object with the columns as attributes, unless it is plainly something
/// else.
#[inline]
pub(crate) fn check_object(record: &Bound<'_, PyAny>) -> PyResult<()> {
    if !is_raw(record) && !record.is_instance_of::<PyString>() {
        return Ok(());
    }
    let message = format!(
        "{} is no record: a tuple, list, dict or object with the columns; raw data needs format=",
        short_repr(record)
    );
    Err(error::data_error(record.py(), message))
}
