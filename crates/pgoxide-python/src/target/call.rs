//! Any other class: called with the columns as keywords, or what that call comes to.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};
use smallvec::SmallVec;

use super::{Row, Target, class};
use crate::ffi::{call, slots};
use crate::plan::Plan;

/// How the class is called.
enum Way {
    /// As it is, with the columns in this order, or in their own.
    Class(Option<Box<[usize]>>),
    /// An empty object, handed to `__init__`, which is written in Python. Calling the class would do the same, with a dict
    /// in between.
    Init(Py<PyAny>),
}

/// A class and the names of its arguments.
pub(crate) struct Called {
    class: Py<PyAny>,
    way: Way,
    names: Py<PyTuple>,
}

fn names<'py>(py: Python<'py>, plan: &Plan) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, plan.columns.iter().map(|column| PyString::intern(py, &column.name)))
}

impl Called {
    /// `class(column=value, …)`, the columns being known to be unique.
    pub(super) fn by_keyword(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<Target> {
        let py = class.py();
        let way = match class::python_init(class)? {
            Some(init) if class::is_ordinary(class)? => Way::Init(init.into_any().unbind()),
            _ => Way::Class(None),
        };
        let names = names(py, plan)?.unbind();
        Ok(Target::Called(Self { class: class.clone().into_any().unbind(), way, names }))
    }

    /// The same of what stands for a class, as `Box[int]` does for `Box`.
    pub(super) fn alias(alias: &Bound<'_, PyAny>, plan: &Plan) -> PyResult<Target> {
        let names = names(alias.py(), plan)?.unbind();
        Ok(Target::Called(Self { class: alias.clone().unbind(), way: Way::Class(None), names }))
    }

    /// `class(value, …, field=value, …)`: these columns by position, then those by the names of their fields, which are
    /// all.
    pub(super) fn mixed(
        class: &Bound<'_, PyType>,
        positional: &[usize],
        by_name: &[(usize, String)],
    ) -> PyResult<Target> {
        let py = class.py();
        let order: Box<[usize]> = positional.iter().copied().chain(by_name.iter().map(|(index, _)| *index)).collect();
        let order = order.iter().enumerate().any(|(place, index)| place != *index).then_some(order);
        let names = PyTuple::new(py, by_name.iter().map(|(_, name)| PyString::intern(py, name)))?.unbind();
        Ok(Target::Called(Self { class: class.clone().into_any().unbind(), way: Way::Class(order), names }))
    }

    /// For the garbage collector.
    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.names)?;
        if let Way::Init(init) = &self.way {
            visit.call(init)?;
        }
        visit.call(&self.class)
    }

    #[inline]
    pub(super) fn build<'py>(&self, row: &mut Row<'_, 'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = row.py;
        let names = self.names.bind(py);
        let names = (!names.is_empty()).then_some(names);
        match &self.way {
            Way::Class(order) => {
                if !row.take_all()? {
                    return Ok(None);
                }
                let Some(order) = order else { return call::call(self.class.bind(py), row.values, names).map(Some) };
                let ordered: SmallVec<[Bound<'py, PyAny>; 16]> =
                    order.iter().map(|index| row.values[*index].clone()).collect();
                call::call(self.class.bind(py), &ordered, names).map(Some)
            }
            Way::Init(init) => {
                let class = self.class.bind(py).cast::<PyType>()?;
                let made = slots::allocate(class)?;
                row.values.push(made.clone());
                if !row.take_all()? {
                    return Ok(None);
                }
                let answer = call::call(init.bind(py), row.values, names)?;
                if !answer.is_none() {
                    return Err(pyo3::exceptions::PyTypeError::new_err(format!(
                        "__init__() should return None, not '{}'",
                        answer.get_type().name()?
                    )));
                }
                Ok(Some(made))
            }
        }
    }
}
