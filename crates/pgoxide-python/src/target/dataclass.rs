//! Dataclasses: filled by the core where the generated `__init__` does nothing else, else through `__init__`.

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::call::Called;
use super::columns::{self, Fields, Wanted, compare_signature};
use super::filled::{Filling, Source};
use super::{Target, class};
use crate::plan::Plan;
use crate::pyimport;

pub(super) fn target(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<Target> {
    let py = class.py();
    if !has_generated_init(class)? {
        compare_signature(class, plan)?;
        return Called::by_keyword(class, plan);
    }
    let missing = pyimport::dataclass_missing(py)?;
    let (mut fields, mut filling) = (Fields::default(), Filling::new());
    for field in pyimport::dataclass_fields(py)?.call1((class,))?.try_iter()? {
        let field = field?;
        let name: String = field.getattr("name")?.extract()?;
        let (value, factory) = (field.getattr("default")?, field.getattr("default_factory")?);
        let default = if !value.is(missing) {
            Some(Source::Value(value.unbind()))
        } else if !factory.is(missing) {
            Some(Source::Factory(factory.unbind()))
        } else {
            None
        };
        let column = if field.getattr("init")?.is_truthy()? {
            fields.wanted.push(Wanted::new(name.clone(), default.is_none()));
            columns::position(plan, &name).map(Source::Column)
        } else {
            None
        };
        if let Some(source) = column.or(default) {
            filling.add(class, &name, source)?;
        }
    }
    let init_only = init_only(class)?;
    let plain =
        init_only.is_empty() && class::is_ordinary(class)? && (class::sets_plainly(class)? || is_frozen(class)?);
    for name in init_only {
        let required = !class.hasattr(name.as_str())?;
        fields.wanted.push(Wanted::new(name, required));
    }
    fields.compare(class, plan)?;
    if plain && let Some(filled) = filling.finish(class, calls_post_init(class)?) {
        return Ok(Target::Filled(filled));
    }
    Called::by_keyword(class, plan)
}

/// Is `__init__` the one that was generated for these very fields?
fn has_generated_init(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let Some(init) = class::python_init(class)? else { return Ok(false) };
    let code = init.getattr("__code__")?;
    // It is compiled from a text, inside of a function of this name.
    Ok(code.getattr("co_filename")?.extract::<String>()? == "<string>"
        && code.getattr("co_qualname")?.extract::<String>()? == "__create_fn__.<locals>.__init__"
        && class::defined_together(class, "__init__", "__dataclass_fields__")?)
}

/// A `__post_init__` that came after the class was made is not called.
fn calls_post_init(class: &Bound<'_, PyType>) -> PyResult<bool> {
    class.getattr("__init__")?.getattr("__code__")?.getattr("co_names")?.contains("__post_init__")
}

/// Then `__init__` sets past `__setattr__`.
fn is_frozen(class: &Bound<'_, PyType>) -> PyResult<bool> {
    class.getattr("__dataclass_params__")?.getattr("frozen")?.is_truthy()
}

/// Names of a dataclass's InitVar pseudo-fields, which only `__init__` takes.
fn init_only(class: &Bound<'_, PyType>) -> PyResult<Vec<String>> {
    let mut names = Vec::new();
    for field in class.getattr("__dataclass_fields__")?.call_method0("values")?.try_iter()? {
        let field = field?;
        if field.getattr("_field_type")?.getattr("name")?.eq("_FIELD_INITVAR")? {
            names.push(field.getattr("name")?.extract()?);
        }
    }
    Ok(names)
}
