//! Instances of pydantic models for rows whose values are of exactly the types of plain fields. Their validation gives back
//! the very objects it was given, so it need not run: the instance is filled as pydantic-core fills it.
//!
//! What a model's validator does is said by its core schema, which is public. Each key of it must be known to change nothing
//! for such values; with any other the validator runs.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDate, PyDateTime, PyDelta, PyDict, PyFloat, PyInt, PySet, PyString, PyTime, PyType,
};

use super::columns::{Fields, position};
use crate::ffi::set;
use crate::ffi::slots::{self, Slot};
use crate::plan::Plan;
use crate::pyimport;

/// What a value must be to be taken as it is.
enum Kind {
    Any,
    Of(Py<PyType>),
    /// A Decimal that is a number.
    Finite(Py<PyType>),
}

enum Source {
    Column { index: usize, kind: Kind, nullable: bool },
    Default(Py<PyAny>),
}

/// How instances of a model are filled.
pub(super) struct Exact {
    class: Py<PyType>,
    /// In the order of the fields, which is that of the instance's dictionary.
    fields: Box<[(Py<PyString>, Source)]>,
    /// Its keys.
    empty: Py<PyDict>,
    /// The names of the fields that columns fill.
    filled: Py<PySet>,
    fields_set: Slot,
    extra: Slot,
    private: Slot,
}

impl Exact {
    /// `None`: the model's validator may do something.
    pub(super) fn new(class: &Bound<'_, PyType>, plan: &Plan, fields: &Fields) -> PyResult<Option<Self>> {
        let py = class.py();
        let Some(schema) = model_fields(class)? else { return Ok(None) };
        let slot = |name| Slot::of(class, name);
        let (Some(fields_set), Some(extra), Some(private)) =
            (slot("__pydantic_fields_set__")?, slot("__pydantic_extra__")?, slot("__pydantic_private__")?)
        else {
            return Ok(None);
        };
        let (empty, filled, mut all) = (PyDict::new(py), PySet::empty(py)?, Vec::new());
        // `fields` comes from there.
        if fields.open || !schema.keys().eq(class.getattr("model_fields")?.cast::<PyDict>()?.keys())? {
            return Ok(None);
        }
        for ((name, field), wanted) in schema.iter().zip(&fields.wanted) {
            let name = name.cast_into::<PyString>()?;
            // Of two names of one field the first one counts: that is the validator's to know.
            let mut columns = wanted.names.iter().filter_map(|name| position(plan, name));
            let (column, second) = (columns.next(), columns.next());
            let Some(field) = known(&field, "model-field", FIELD)? else { return Ok(None) };
            let alias = field.get_item("validation_alias")?;
            if second.is_some() || alias.is_some_and(|alias| !alias.is_instance_of::<PyString>()) {
                return Ok(None);
            }
            let Some(source) = source(&field, column)? else { return Ok(None) };
            if column.is_some() {
                filled.add(&name)?;
            }
            empty.set_item(&name, py.None())?;
            all.push((name.unbind(), source));
        }
        Ok(Some(Self {
            class: class.clone().unbind(),
            fields: all.into(),
            empty: empty.unbind(),
            filled: filled.unbind(),
            fields_set,
            extra,
            private,
        }))
    }

    /// For the garbage collector.
    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for slot in [&self.fields_set, &self.extra, &self.private] {
            slot.visit(visit)?;
        }
        for (_, source) in &self.fields {
            match source {
                Source::Default(value) => visit.call(value)?,
                Source::Column { kind: Kind::Of(class) | Kind::Finite(class), .. } => visit.call(class)?,
                Source::Column { kind: Kind::Any, .. } => {}
            }
        }
        visit.call(&self.empty)?;
        visit.call(&self.filled)?;
        visit.call(&self.class)
    }

    /// `None`: a value is of another type.
    #[inline]
    pub(super) fn build<'py>(
        &self,
        py: Python<'py>,
        values: &[Bound<'py, PyAny>],
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let dict = self.empty.bind(py).copy()?;
        for (name, source) in &self.fields {
            let value = match source {
                Source::Default(value) => value.bind(py),
                Source::Column { index, kind, nullable } => {
                    let value = &values[*index];
                    if !(kind.is_met(value)? || *nullable && value.is_none()) {
                        return Ok(None);
                    }
                    value
                }
            };
            dict.set_item(name.bind(py), value)?;
        }
        let made = slots::allocate(self.class.bind(py))?;
        slots::set(&made, intern!(py, "__dict__").as_any(), dict.as_any())?;
        self.fields_set.put(&made, set::copy(self.filled.bind(py))?)?;
        self.extra.put(&made, py.None().into_bound(py))?;
        self.private.put(&made, py.None().into_bound(py))?;
        Ok(Some(made))
    }
}

impl Kind {
    #[inline]
    fn is_met(&self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = value.py();
        match self {
            Self::Any => Ok(true),
            Self::Of(class) => Ok(value.get_type_ptr() == class.as_ptr().cast()),
            Self::Finite(class) => Ok(value.get_type_ptr() == class.as_ptr().cast()
                && value.call_method0(intern!(py, "is_finite"))?.is_truthy()?),
        }
    }
}

// Keys that say nothing about what becomes of a value of the right type.
const MODEL: &[&str] =
    &["type", "cls", "schema", "config", "metadata", "ref", "generic_origin", "custom_init", "root_model", "frozen"];
const CONFIG: &[&str] = &[
    "title",
    "strict",
    "extra_fields_behavior",
    "from_attributes",
    "validate_by_alias",
    "validate_by_name",
    "populate_by_name",
    "loc_by_alias",
    "hide_input_in_errors",
];
const FIELDS: &[&str] = &["type", "fields", "computed_fields", "model_name", "metadata", "ref", "from_attributes"];
const FIELD: &[&str] = &[
    "type",
    "schema",
    "metadata",
    "validation_alias",
    "serialization_alias",
    "serialization_exclude",
    "serialization_exclude_if",
    "frozen",
];
const DEFAULT: &[&str] = &[
    "type",
    "schema",
    "metadata",
    "ref",
    "serialization",
    "default",
    "default_factory",
    "default_factory_takes_data",
    "copy_default",
    "validate_default",
];
const NULLABLE: &[&str] = &["type", "schema", "metadata", "ref", "serialization"];
// The precision is about text and numbers.
const SCALAR: &[&str] = &["type", "metadata", "ref", "serialization", "strict", "microseconds_precision"];

/// A schema of this type with no other keys.
fn known<'py>(schema: &Bound<'py, PyAny>, kind: &str, keys: &[&str]) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Ok(schema) = schema.cast::<PyDict>() else { return Ok(None) };
    if !schema.get_item("type")?.is_some_and(|found| found.eq(kind).unwrap_or(false)) || !has_only(schema, keys)? {
        return Ok(None);
    }
    Ok(Some(schema.clone()))
}

fn has_only(dict: &Bound<'_, PyDict>, keys: &[&str]) -> PyResult<bool> {
    for key in dict.keys() {
        if !keys.contains(&key.extract::<String>()?.as_str()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The schemas of the model's fields, if there is nothing around them.
fn model_fields<'py>(class: &Bound<'py, PyType>) -> PyResult<Option<Bound<'py, PyDict>>> {
    // A plugin's validator is of another class and wants to see each validation.
    let validator = class.getattr("__pydantic_validator__")?.get_type();
    if validator.fully_qualified_name()? != "pydantic_core._pydantic_core.SchemaValidator" {
        return Ok(None);
    }
    let Some(model) = known(&class.getattr("__pydantic_core_schema__")?, "model", MODEL)? else { return Ok(None) };
    let off = |key: &str| PyResult::Ok(model.get_item(key)?.is_none_or(|flag| flag.is(PyBool::new(class.py(), false))));
    if !off("custom_init")? || !off("root_model")? || !model.get_item("cls")?.is_some_and(|cls| cls.is(class)) {
        return Ok(None);
    }
    if let Some(config) = model.get_item("config")? {
        let config = config.cast_into::<PyDict>()?;
        let extra = config.get_item("extra_fields_behavior")?;
        if !has_only(&config, CONFIG)? || extra.is_some_and(|extra| extra.eq("allow").unwrap_or(true)) {
            return Ok(None);
        }
    }
    let Some(schema) = model.get_item("schema")? else { return Ok(None) };
    let Some(inner) = known(&schema, "model-fields", FIELDS)? else { return Ok(None) };
    Ok(inner.get_item("fields")?.and_then(|fields| fields.cast_into::<PyDict>().ok()))
}

/// What fills a field: its column, or its default. `None`: only the validator can tell.
fn source(field: &Bound<'_, PyDict>, column: Option<usize>) -> PyResult<Option<Source>> {
    let Some(mut schema) = field.get_item("schema")? else { return Ok(None) };
    let default = known(&schema, "default", DEFAULT)?;
    let Some(index) = column else { return default.map_or(Ok(None), |default| plain_default(&default)) };
    if let Some(inside) = inside(default)? {
        schema = inside;
    }
    let mut nullable = false;
    if let Some(inside) = inside(known(&schema, "nullable", NULLABLE)?)? {
        (schema, nullable) = (inside, true);
    }
    Ok(kind(&schema)?.map(|kind| Source::Column { index, kind, nullable }))
}

fn inside(outer: Option<Bound<'_, PyDict>>) -> PyResult<Option<Bound<'_, PyAny>>> {
    outer.map_or(Ok(None), |outer| outer.get_item("schema"))
}

/// A default that every instance may share, and that is not validated.
fn plain_default(default: &Bound<'_, PyDict>) -> PyResult<Option<Source>> {
    let validated = default.get_item("validate_default")?.map_or(Ok(false), |flag| flag.is_truthy())?;
    Ok(default.get_item("default")?.and_then(|value| {
        let shared = value.is_none()
            || value.is_exact_instance_of::<PyBool>()
            || value.is_exact_instance_of::<PyInt>()
            || value.is_exact_instance_of::<PyFloat>()
            || value.is_exact_instance_of::<PyString>()
            || value.is_exact_instance_of::<PyBytes>();
        (shared && !validated).then(|| Source::Default(value.unbind()))
    }))
}

/// Of which type a plain value must be.
fn kind(schema: &Bound<'_, PyAny>) -> PyResult<Option<Kind>> {
    let py = schema.py();
    let Ok(schema) = schema.cast::<PyDict>() else { return Ok(None) };
    let Some(name) = schema.get_item("type")? else { return Ok(None) };
    if !has_only(schema, SCALAR)? {
        return Ok(None);
    }
    Ok(Some(Kind::Of(
        match name.extract::<String>()?.as_str() {
            "any" => return Ok(Some(Kind::Any)),
            "decimal" => return Ok(Some(Kind::Finite(pyimport::decimal(py)?.clone().unbind()))),
            "int" => py.get_type::<PyInt>(),
            "str" => py.get_type::<PyString>(),
            "float" => py.get_type::<PyFloat>(),
            "bool" => py.get_type::<PyBool>(),
            "bytes" => py.get_type::<PyBytes>(),
            "date" => py.get_type::<PyDate>(),
            "datetime" => py.get_type::<PyDateTime>(),
            "time" => py.get_type::<PyTime>(),
            "timedelta" => py.get_type::<PyDelta>(),
            "uuid" => pyimport::uuid(py)?.clone(),
            _ => return Ok(None),
        }
        .unbind(),
    )))
}
