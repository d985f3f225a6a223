//! msgspec Structs: called with their fields by position as far as they have one, which is what their constructor is
//! quickest with. It takes fields by their own names: `rename` is about encoding.

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::Target;
use super::call::Called;
use super::columns::{self, Fields};
use crate::plan::Plan;
use crate::pyimport;

pub(super) fn is_one(class: &Bound<'_, PyType>) -> PyResult<bool> {
    Ok(class.hasattr("__struct_fields__")? && class.hasattr("__struct_config__")?)
}

pub(super) fn target(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<Target> {
    let Some(fields) = Fields::of_signature(class)? else { return Called::by_keyword(class, plan) };
    fields.compare(class, plan)?;
    let columns = || {
        fields.wanted.iter().filter_map(|field| field.names.first()).map(|name| (columns::position(plan, name), name))
    };
    let first = pyimport::signature(class.py())?
        .call1((class,))?
        .getattr("parameters")?
        .call_method0("values")?
        .try_iter()?
        .map(|parameter| parameter?.getattr("kind")?.getattr("name")?.eq("POSITIONAL_OR_KEYWORD"))
        .take_while(|by_position| matches!(by_position, Ok(true)))
        .count();
    let positional: Vec<usize> = columns().take(first).map_while(|(column, _)| column).collect();
    let by_name: Vec<(usize, String)> =
        columns().skip(positional.len()).filter_map(|(column, name)| Some((column?, name.clone()))).collect();
    if positional.len() + by_name.len() < plan.columns.len() {
        return Called::by_keyword(class, plan);
    }
    Called::mixed(class, &positional, &by_name)
}
