//! Row types by result shape, and rows out of DataRow frames.

use std::collections::HashMap;
use std::sync::Mutex;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::ffi::row_type;
use crate::ffi::tuple::TupleBuilder;
use crate::pyimport;
use crate::sync::lock;

/// Shapes kept. Applications have tens; a program that generates column names must not grow for ever.
const MAX_SHAPES: usize = 1_000;

/// Column names to the type and when it was last asked for.
type ByNames = HashMap<Box<[String]>, (Py<PyType>, u64)>;

struct Shapes {
    by_names: Option<ByNames>,
    clock: u64,
}

/// Shared by all connections: the type of a row depends on its column names only.
static SHAPES: Mutex<Shapes> = Mutex::new(Shapes { by_names: None, clock: 0 });

/// The row type for these columns: made on first use, the least recently asked for given up beyond the bound.
/// Statements keep theirs, so a type given up lives on with the rows and statements that use it.
pub(crate) fn row_type(py: Python<'_>, columns: &[String]) -> PyResult<Py<PyType>> {
    if let Some(known) = look_up(py, columns) {
        return Ok(known);
    }
    // Outside the lock: making a type runs Python.
    let made = row_type::make(pyimport::row(py)?, columns)?.unbind();
    let evicted = insert(columns, made.clone_ref(py));
    drop(evicted);
    Ok(made)
}

fn look_up(py: Python<'_>, columns: &[String]) -> Option<Py<PyType>> {
    let mut shapes = lock(&SHAPES);
    shapes.clock += 1;
    let now = shapes.clock;
    let (known, used) = shapes.by_names.as_mut()?.get_mut(columns)?;
    *used = now;
    Some(known.clone_ref(py))
}

/// What the new shape displaces, to be dropped by the caller when the lock is free again.
fn insert(columns: &[String], made: Py<PyType>) -> Option<Py<PyType>> {
    let mut shapes = lock(&SHAPES);
    let now = shapes.clock;
    let by_names = shapes.by_names.get_or_insert_default();
    let mut evicted = None;
    if by_names.len() >= MAX_SHAPES
        && let Some(oldest) = by_names.iter().min_by_key(|(_, (_, used))| *used).map(|(names, _)| names.clone())
    {
        evicted = by_names.remove(&oldest).map(|(made, _)| made);
    }
    let replaced = by_names.insert(columns.into(), (made, now)).map(|(made, _)| made);
    evicted.or(replaced)
}

/// A row of these columns and values: what unpickling and `_replace` need.
#[pyfunction]
#[pyo3(signature = (fields, values, /))]
pub(crate) fn make_row<'py>(fields: Vec<String>, values: Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    let py = values.py();
    if fields.len() != values.len() {
        return Err(PyValueError::new_err(format!("{} columns, {} values", fields.len(), values.len())));
    }
    let shape = row_type(py, &fields)?;
    // Whether the values may be part of a cycle is not known: the collector decides.
    let mut row = TupleBuilder::new(shape.bind(py), fields.len(), false)?;
    for value in values.iter() {
        row.push(value);
    }
    Ok(row.finish())
}
