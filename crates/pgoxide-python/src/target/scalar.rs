//! The only column's value, whose type is checked.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::Target;
use crate::convert::short_repr;
use crate::error;
use crate::plan::Plan;

/// Classes a column's value may be an instance of.
pub(super) fn is_one(class: &Bound<'_, PyType>) -> PyResult<bool> {
    const SCALARS: [&str; 14] = [
        "int",
        "str",
        "float",
        "bool",
        "bytes",
        "list",
        "Decimal",
        "date",
        "time",
        "datetime",
        "timedelta",
        "UUID",
        "object",
        "complex",
    ];
    let module = class.getattr(intern!(class.py(), "__module__"))?.extract::<String>()?;
    if module == "ipaddress" || module.starts_with("pgoxide.types.") {
        return Ok(true);
    }
    Ok(matches!(module.as_str(), "builtins" | "decimal" | "datetime" | "uuid")
        && SCALARS.contains(&class.name()?.to_str()?))
}

pub(super) fn target(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<Target> {
    if plan.columns.len() == 1 {
        return Ok(Target::Scalar(class.clone().unbind()));
    }
    Err(error::programming_error(
        class.py(),
        format!("into={} takes a result of one column; this one has {}", class.name()?, plan.columns.len()),
    ))
}

/// The value, if it is of this class.
pub(super) fn checked<'py>(value: Bound<'py, PyAny>, class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    if value.is_instance(class)? {
        return Ok(value);
    }
    Err(error::data_error(
        value.py(),
        format!("into={}: the column holds {} {}", class.name()?, value.get_type().name()?, short_repr(&value)),
    ))
}
