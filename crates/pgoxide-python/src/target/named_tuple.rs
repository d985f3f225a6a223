//! Named tuples: made by the core as tuples of that type where `__new__` is the generated one, else by keywords.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::call::Called;
use super::columns::{self, Fields, Wanted, compare_signature};
use super::{Row, Target};
use crate::ffi::tuple::TupleBuilder;
use crate::plan::Plan;

pub(super) fn is_one(class: &Bound<'_, PyType>) -> PyResult<bool> {
    Ok(class.is_subclass_of::<PyTuple>()? && class.hasattr("_make")? && class.hasattr("_field_defaults")?)
}

/// What fills an item.
enum Source {
    Column(usize),
    Value(Py<PyAny>),
}

/// A named tuple that is nothing but a tuple.
pub(crate) struct NamedTuple {
    class: Py<PyType>,
    items: Box<[Source]>,
    /// No item is a default.
    columns_only: bool,
    /// Neither, and they come in the order of the columns.
    in_order: bool,
}

pub(super) fn target(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<Target> {
    if !is_plain(class)? {
        compare_signature(class, plan)?;
        return Called::by_keyword(class, plan);
    }
    let names: Vec<String> = class.getattr("_fields")?.extract()?;
    let defaults = class.getattr("_field_defaults")?.cast_into::<PyDict>()?;
    let mut fields = Fields::default();
    let mut items = Vec::with_capacity(names.len());
    for name in names {
        let default = defaults.get_item(&name)?;
        items.extend(
            columns::position(plan, &name).map(Source::Column).or(default.clone().map(|v| Source::Value(v.unbind()))),
        );
        fields.wanted.push(Wanted::new(name, default.is_none()));
    }
    fields.compare(class, plan)?;
    let in_order =
        items.iter().enumerate().all(|(place, item)| matches!(item, Source::Column(index) if *index == place));
    let columns_only = items.iter().all(|item| matches!(item, Source::Column(_)));
    Ok(Target::NamedTuple(NamedTuple { class: class.clone().unbind(), items: items.into(), columns_only, in_order }))
}

/// Would calling it do nothing but make a tuple of its arguments?
fn is_plain(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let py = class.py();
    let (init, call) = (intern!(py, "__init__"), intern!(py, "__call__"));
    // The generated __new__ lives in a namespace of its own.
    let generated = match class.getattr("__new__")?.getattr("__globals__") {
        Ok(globals) => globals.get_item("__name__")?.extract::<String>()?.starts_with("namedtuple_"),
        Err(_) => false,
    };
    Ok(generated
        && class.getattr(init)?.is(&py.get_type::<PyAny>().getattr(init)?)
        && class.get_type().getattr(call)?.is(&py.get_type::<PyType>().getattr(call)?))
}

impl NamedTuple {
    /// For the garbage collector.
    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.class)?;
        self.items.iter().try_for_each(|item| if let Source::Value(value) = item { visit.call(value) } else { Ok(()) })
    }

    #[inline]
    pub(super) fn build<'py>(&self, row: &mut Row<'_, 'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = row.py;
        if !self.in_order && !row.take_all()? {
            return Ok(None);
        }
        let mut made =
            TupleBuilder::of_class(self.class.bind(py), self.items.len(), row.plan.is_scalar() && self.columns_only)?;
        for item in &self.items {
            made.push(match item {
                Source::Column(_) if self.in_order => match row.take()? {
                    Some(value) => value,
                    None => return Ok(None),
                },
                Source::Column(index) => row.values[*index].clone(),
                Source::Value(value) => value.bind(py).clone(),
            });
        }
        Ok(Some(made.finish()))
    }
}
