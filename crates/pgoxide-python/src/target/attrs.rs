//! attrs classes: filled by the core where the generated `__init__` does nothing else (no validators, converters, hooks),
//! else through `__init__`. Columns go by the names `__init__` takes: a field's alias, `x` for `_x`.

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::call::Called;
use super::columns::{self, Fields, Wanted, compare_signature};
use super::filled::{Filled, Filling, Source};
use super::{Target, class};
use crate::plan::Plan;

const FIELDS: &str = "__attrs_attrs__";

pub(super) fn is_one(class: &Bound<'_, PyType>) -> PyResult<bool> {
    class.hasattr(FIELDS)
}

pub(super) fn target(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<Target> {
    if !has_generated_init(class)? {
        compare_signature(class, plan)?;
        return Called::by_keyword(class, plan);
    }
    let (fields, filled) = fields(class, plan)?;
    fields.compare(class, plan)?;
    match filled {
        Some(filled) => Ok(Target::Filled(filled)),
        None => Called::by_keyword(class, plan),
    }
}

/// Its fields, and how they are filled if that is all there is to do.
fn fields(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<(Fields, Option<Filled>)> {
    let py = class.py();
    // The class has brought it: nothing is imported here.
    let attr = py.import("attr")?;
    let (nothing, factory) = (attr.getattr("NOTHING")?, attr.getattr("Factory")?);
    let (mut fields, mut filling) = (Fields::default(), Filling::new());
    let mut plain = class::is_ordinary(class)? && sets_plainly(class)? && !does_more(class)?;
    for field in class.getattr(FIELDS)?.try_iter()? {
        let field = field?;
        let (name, default) = (field.getattr("name")?.extract::<String>()?, field.getattr("default")?);
        let source = if default.is(&nothing) {
            None
        } else if !default.is_instance(&factory)? {
            Some(Source::Value(default.unbind()))
        } else {
            plain &= !default.getattr("takes_self")?.is_truthy()?;
            Some(Source::Factory(default.getattr("factory")?.unbind()))
        };
        plain &= field.getattr("validator")?.is_none() && field.getattr("converter")?.is_none();
        let column = if field.getattr("init")?.is_truthy()? {
            let alias: String = field.getattr("alias")?.extract()?;
            let column = columns::position(plan, &alias).map(Source::Column);
            fields.wanted.push(Wanted::new(alias, source.is_none()));
            column
        } else {
            None
        };
        if let Some(source) = column.or(source) {
            filling.add(class, &name, source)?;
        }
    }
    let filled = if plain { filling.finish(class, false) } else { None };
    Ok((fields, filled))
}

/// Is `__init__` the one that was generated for these very fields?
fn has_generated_init(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let Some(init) = class::python_init(class)? else { return Ok(false) };
    let file: String = init.getattr("__code__")?.getattr("co_filename")?.extract()?;
    Ok(file.starts_with("<attrs generated ") && class::defined_together(class, "__init__", FIELDS)?)
}

/// Does `__init__` set past a `__setattr__` that attrs has made itself?
fn sets_plainly(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let Ok(globals) = class.getattr("__setattr__")?.getattr("__globals__") else { return class::sets_plainly(class) };
    globals.get_item("__name__")?.eq("attr._make")
}

/// Hooks, and a place for the cached hash.
fn does_more(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let code = class.getattr("__init__")?.getattr("__code__")?;
    let hash = "_attrs_cached_hash";
    Ok(class.hasattr("__attrs_pre_init__")?
        || class.hasattr("__attrs_post_init__")?
        || code.getattr("co_names")?.contains(hash)?
        || code.getattr("co_consts")?.contains(hash)?)
}
