//! pydantic models: each row is validated by the model's own validator, as `Model.model_validate({…})` does. Where that would
//! find each value of exactly the type it asks for, and do nothing else, the instance is filled without it (`exact.rs`).

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};

use super::call::Called;
use super::columns::{Fields, Wanted, compare_signature, unique};
use super::dict::Keys;
use super::exact::Exact;
use super::{Row, Target};
use crate::plan::Plan;

const VALIDATOR: &str = "__pydantic_validator__";

pub(super) fn is_one(class: &Bound<'_, PyType>) -> PyResult<bool> {
    // A pydantic dataclass has a validator too, and an __init__ that hands its arguments to it.
    Ok(class.hasattr(VALIDATOR)? && class.hasattr("model_fields")?)
}

/// A model and what a row is made into for its validator.
pub(crate) struct Model {
    validate: Py<PyAny>,
    keys: Keys,
    /// For rows that need none.
    exact: Option<Exact>,
}

pub(super) fn target(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<Target> {
    let py = class.py();
    let ordinary = class.getattr("__new__")?.is(&py.get_type::<PyAny>().getattr("__new__")?)
        && class.get_type().getattr("__call__")?.is(&py.get_type::<PyType>().getattr("__call__")?);
    if !ordinary || class.getattr("__pydantic_custom_init__")?.is_truthy()? {
        compare_signature(class, plan)?;
        return Called::by_keyword(class, plan);
    }
    // First, since it completes a model that was waiting for names defined later.
    let validate = class.getattr(VALIDATOR)?.getattr("validate_python")?.unbind();
    let mut exact = None;
    if takes_anything(class)? {
        unique(class, plan)?;
    } else {
        let fields = fields(class)?;
        fields.compare(class, plan)?;
        exact = Exact::new(class, plan, &fields)?;
    }
    Ok(Target::Model(Model { validate, keys: Keys::new(py, plan)?, exact }))
}

/// Is the row seen by code of the user's before its fields are looked for? Then only the model itself can tell.
fn takes_anything(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let py = class.py();
    if class.getattr("__pydantic_root_model__")?.is_truthy()? {
        return Ok(true);
    }
    let decorators = class.getattr("__pydantic_decorators__")?;
    for kind in ["model_validators", "root_validators"] {
        for decorator in decorators.getattr(kind)?.call_method0("values")?.try_iter()? {
            let mode: String = decorator?.getattr("info")?.getattr("mode")?.extract()?;
            if mode != "after" {
                return Ok(true);
            }
        }
    }
    // The class has brought it: nothing is imported here.
    let base = py.import("pydantic")?.getattr("BaseModel")?;
    let (hook, function) = ("__get_pydantic_core_schema__", "__func__");
    Ok(!class.getattr(hook)?.getattr(function)?.is(&base.getattr(hook)?.getattr(function)?))
}

fn fields(class: &Bound<'_, PyType>) -> PyResult<Fields> {
    let config = class.getattr("model_config")?;
    let setting = |name: &str| config.call_method1("get", (name,));
    let by_name = setting("validate_by_name")?.is_truthy()? || setting("populate_by_name")?.is_truthy()?;
    let by_alias = !setting("validate_by_alias")?.extract::<bool>().is_ok_and(|by_alias| !by_alias);
    let mut fields = Fields { wanted: Vec::new(), open: setting("extra")?.eq("allow")? };
    for (name, field) in class.getattr("model_fields")?.cast::<PyDict>()? {
        let mut names = Vec::new();
        if by_alias {
            aliases(&field.getattr("validation_alias")?, &mut names)?;
        }
        if by_name || names.is_empty() {
            names.push(name.extract()?);
        }
        fields.wanted.push(Wanted { names, required: field.call_method0("is_required")?.is_truthy()? });
    }
    Ok(fields)
}

/// The keys that a validation alias looks up: a name, the beginning of a path, or several of them.
fn aliases(alias: &Bound<'_, PyAny>, names: &mut Vec<String>) -> PyResult<()> {
    if alias.is_none() {
        return Ok(());
    }
    if let Ok(name) = alias.cast::<PyString>() {
        names.push(name.extract()?);
        return Ok(());
    }
    if let Some(choices) = alias.getattr_opt(intern!(alias.py(), "choices"))? {
        return choices.try_iter()?.try_for_each(|choice| aliases(&choice?, names));
    }
    aliases(&alias.getattr("path")?.get_item(0)?, names)
}

impl Model {
    /// For the garbage collector.
    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(exact) = &self.exact {
            exact.visit(visit)?;
        }
        visit.call(&self.validate)
    }

    #[inline]
    pub(super) fn build<'py>(&self, row: &mut Row<'_, 'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        // A dict of its own for each row: a validator may keep it.
        let Some(exact) = &self.exact else {
            let Some(fields) = self.keys.build(row)? else { return Ok(None) };
            return self.validated(fields);
        };
        if !row.take_all()? {
            return Ok(None);
        }
        match exact.build(row.py, row.values)? {
            Some(made) => Ok(Some(made)),
            None => self.validated(self.keys.of_values(row.py, row.values)?),
        }
    }

    fn validated<'py>(&self, fields: Bound<'py, PyDict>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.validate.bind(fields.py()).call1((fields,)).map(Some)
    }
}
