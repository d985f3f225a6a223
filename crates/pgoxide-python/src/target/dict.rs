//! Dicts with a column's value under its name: of `into=dict`, of TypedDicts, and for validators.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};

use super::columns::{Fields, Wanted};
use super::{Row, Target};
use crate::plan::Plan;

/// The keys of a row's dict.
pub(crate) struct Keys {
    names: Box<[Py<PyString>]>,
    /// A dict that has them already: a copy of it need not grow while it is filled.
    empty: Py<PyDict>,
}

impl Keys {
    pub(super) fn new(py: Python<'_>, plan: &Plan) -> PyResult<Self> {
        let empty = PyDict::new(py);
        let names: Box<[_]> = plan.columns.iter().map(|column| PyString::intern(py, &column.name).unbind()).collect();
        for name in &names {
            empty.set_item(name.bind(py), py.None())?;
        }
        Ok(Self { names, empty: empty.unbind() })
    }

    #[inline]
    pub(super) fn build<'py>(&self, row: &mut Row<'_, 'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let dict = self.empty.bind(row.py).copy()?;
        for name in &self.names {
            let Some(value) = row.take()? else { return Ok(None) };
            dict.set_item(name.bind(row.py), value)?;
        }
        Ok(Some(dict))
    }

    pub(super) fn of_values<'py>(&self, py: Python<'py>, values: &[Bound<'py, PyAny>]) -> PyResult<Bound<'py, PyDict>> {
        let dict = self.empty.bind(py).copy()?;
        for (name, value) in self.names.iter().zip(values) {
            dict.set_item(name.bind(py), value)?;
        }
        Ok(dict)
    }
}

/// A TypedDict: its keys are compared with the columns, and at run time it is a dict.
pub(super) fn typed(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<Target> {
    let mut fields = Fields::default();
    for (names, required) in [("__required_keys__", true), ("__optional_keys__", false)] {
        for name in class.getattr(names)?.try_iter()? {
            fields.wanted.push(Wanted::new(name?.extract()?, required));
        }
    }
    fields.compare(class, plan)?;
    Ok(Target::Dict(Keys::new(class.py(), plan)?))
}
