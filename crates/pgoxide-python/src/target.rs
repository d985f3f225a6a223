//! `into=`: what a row becomes instead of the default row, decided once per statement and class.
//!
//! | `into` | built by |
//! | --- | --- |
//! | `tuple`, `dict` | the core |
//! | a named tuple | the core, as a tuple of that type |
//! | a dataclass with the generated `__init__` | the core, field by field, no intermediate dict |
//! | a TypedDict | a dict whose keys were compared |
//! | a scalar type (`int`, `str`, `UUID`, …) | the only column, whose type is checked |
//! | any other class (pydantic, msgspec, attrs, …) | `into(column=value, …)` |
//! | any other callable | `into(row)` |
//!
//! Columns and fields are compared when the statement's shape is known; both lists of mismatches go into one error.

use pgoxide_protocol::message::data_row::Values;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::convert::short_repr;
use crate::ffi::slots::{self, Slot};
use crate::plan::Plan;
use crate::{error, pyimport};

/// A field no column fills.
pub(crate) enum Unfilled {
    Value(Py<PyAny>),
    Factory(Py<PyAny>),
}

impl Unfilled {
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Value(value) => Ok(value.bind(py).clone()),
            Self::Factory(factory) => factory.bind(py).call0(),
        }
    }
}

/// Where a dataclass keeps a field.
pub(crate) enum Field {
    Slot(Slot),
    Name(Py<PyString>),
}

impl Field {
    fn of(class: &Bound<'_, PyType>, name: &str) -> PyResult<Self> {
        Ok(match Slot::of(class, name)? {
            Some(slot) => Self::Slot(slot),
            None => Self::Name(PyString::intern(class.py(), name).unbind()),
        })
    }

    #[inline]
    fn set(&self, object: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        match self {
            Self::Slot(slot) => slot.set(object, value),
            Self::Name(name) => slots::set(object, name.bind(object.py()), value),
        }
    }
}

/// How one row is built.
pub(crate) enum Target {
    Tuple,
    Dict(Box<[Py<PyString>]>),
    /// Column index per field, for named tuples whose fields come in another order.
    NamedTuple {
        make: Py<PyAny>,
        order: Box<[usize]>,
    },
    /// The field of each column, then the fields that keep their defaults.
    Dataclass {
        class: Py<PyType>,
        fields: Box<[Field]>,
        defaults: Box<[(Field, Unfilled)]>,
    },
    Scalar(Py<PyType>),
    Keywords {
        class: Py<PyAny>,
        names: Py<PyTuple>,
    },
    Row(Py<PyAny>),
}

impl Target {
    /// For the garbage collector, called by the only owner.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Tuple | Self::Dict(_) => Ok(()),
            Self::NamedTuple { make: callable, .. } | Self::Keywords { class: callable, .. } | Self::Row(callable) => {
                visit.call(callable)
            }
            Self::Scalar(class) => visit.call(class),
            Self::Dataclass { class, fields, defaults } => {
                visit.call(class)?;
                for field in fields.iter().chain(defaults.iter().map(|(field, _)| field)) {
                    if let Field::Slot(slot) = field {
                        slot.visit(visit)?;
                    }
                }
                defaults.iter().try_for_each(|(_, unfilled)| match unfilled {
                    Unfilled::Value(value) | Unfilled::Factory(value) => visit.call(value),
                })
            }
        }
    }

    /// How `into` is built from the plan's columns.
    pub(crate) fn new(into: &Bound<'_, PyAny>, plan: &Plan) -> PyResult<Self> {
        let py = into.py();
        let names = || plan.columns.iter().map(|column| PyString::intern(py, &column.name).unbind());
        let Ok(class) = into.cast::<PyType>() else {
            return if into.is_callable() {
                Ok(Self::Row(into.clone().unbind()))
            } else {
                Err(PyTypeError::new_err(format!("into= takes a class or a callable, not {}", short_repr(into))))
            };
        };
        if class.is(py.get_type::<PyTuple>()) {
            Ok(Self::Tuple)
        } else if class.is(py.get_type::<PyDict>()) {
            Ok(Self::Dict(names().collect()))
        } else if class.is_subclass_of::<PyTuple>()? && class.hasattr("_make")? {
            Self::named_tuple(class, plan)
        } else if class.is_subclass_of::<PyDict>()? && class.hasattr("__required_keys__")? {
            let required: Vec<String> =
                class.getattr("__required_keys__")?.try_iter()?.map(|k| k?.extract()).collect::<PyResult<_>>()?;
            let optional: Vec<String> =
                class.getattr("__optional_keys__")?.try_iter()?.map(|k| k?.extract()).collect::<PyResult<_>>()?;
            compare(class, plan, &required, &optional)?;
            Ok(Self::Dict(names().collect()))
        } else if pyimport::is_dataclass(py)?.call1((class,))?.is_truthy()? {
            Self::dataclass(class, plan)
        } else if is_scalar(class)? {
            if plan.columns.len() == 1 {
                Ok(Self::Scalar(class.clone().unbind()))
            } else {
                Err(error::programming_error(
                    py,
                    format!("into={} takes a result of one column; this one has {}", class.name()?, plan.columns.len()),
                ))
            }
        } else {
            compare_signature(class, plan)?;
            Ok(Self::Keywords { class: into.clone().unbind(), names: PyTuple::new(py, names())?.unbind() })
        }
    }

    fn named_tuple(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<Self> {
        let fields: Vec<String> = class.getattr("_fields")?.extract()?;
        let defaults = class.getattr("_field_defaults")?.cast_into::<PyDict>()?;
        let (optional, required): (Vec<String>, Vec<String>) =
            fields.iter().cloned().partition(|field| defaults.contains(field).unwrap_or(false));
        compare(class, plan, &required, &optional)?;
        let order: Box<[usize]> =
            fields.iter().map_while(|field| plan.columns.iter().position(|column| column.name == *field)).collect();
        if order.len() != plan.columns.len() {
            return Ok(Self::Keywords {
                class: class.clone().into_any().unbind(),
                names: PyTuple::new(class.py(), plan.columns.iter().map(|c| c.name.as_str()))?.unbind(),
            });
        }
        Ok(Self::NamedTuple { make: class.clone().into_any().unbind(), order })
    }

    fn dataclass(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<Self> {
        let py = class.py();
        let missing = pyimport::dataclass_missing(py)?;
        let (mut required, mut optional, mut defaults) = (Vec::new(), Vec::new(), Vec::new());
        let mut plain = is_plain(class)?;
        for field in pyimport::dataclass_fields(py)?.call1((class,))?.try_iter()? {
            let field = field?;
            let name: String = field.getattr("name")?.extract()?;
            let (value, factory) = (field.getattr("default")?, field.getattr("default_factory")?);
            let has_default = !value.is(missing) || !factory.is(missing);
            let filled = plan.columns.iter().any(|column| column.name == name);
            if !field.getattr("init")?.is_truthy()? {
                plain &= has_default;
                if filled {
                    // Only __init__ knows what to do with it; the comparison below calls it surplus.
                    continue;
                }
            } else if has_default {
                optional.push(name.clone());
            } else {
                required.push(name.clone());
            }
            if !filled && has_default {
                let default = if value.is(missing) {
                    Unfilled::Factory(factory.unbind())
                } else {
                    Unfilled::Value(value.unbind())
                };
                defaults.push((Field::of(class, &name)?, default));
            }
        }
        for name in init_only(class)? {
            plain = false;
            if class.hasattr(name.as_str())? {
                optional.push(name);
            } else {
                required.push(name);
            }
        }
        compare(class, plan, &required, &optional)?;
        Ok(if plain {
            let fields = plan.columns.iter().map(|column| Field::of(class, &column.name)).collect::<PyResult<_>>()?;
            Self::Dataclass { class: class.clone().unbind(), fields, defaults: defaults.into() }
        } else {
            let names = plan.columns.iter().map(|column| PyString::intern(py, &column.name).unbind());
            Self::Keywords { class: class.clone().into_any().unbind(), names: PyTuple::new(py, names)?.unbind() }
        })
    }

    /// One row, of the values of one DataRow; `None` as in [`Plan::row`].
    #[inline]
    pub(crate) fn build<'py>(
        &self,
        py: Python<'py>,
        plan: &Plan,
        mut values: Values<'_>,
        text: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Self::Row(callable) = self {
            return plan.row(py, values, text)?.map(|row| callable.bind(py).call1((row,))).transpose();
        }
        if values.left() != plan.columns.len() {
            return Ok(None);
        }
        let mut take = |index: usize| -> PyResult<Option<Bound<'py, PyAny>>> {
            values.next().map(|raw| plan.value(py, index, raw, text)).transpose()
        };
        let made = match self {
            Self::Dataclass { class, fields, defaults } => {
                let made = slots::allocate(class.bind(py))?;
                for (index, field) in fields.iter().enumerate() {
                    let Some(value) = take(index)? else { return Ok(None) };
                    field.set(&made, &value)?;
                }
                for (field, default) in defaults {
                    field.set(&made, &default.value(py)?)?;
                }
                made
            }
            Self::Dict(names) => {
                let dict = PyDict::new(py);
                for (index, name) in names.iter().enumerate() {
                    let Some(value) = take(index)? else { return Ok(None) };
                    dict.set_item(name.bind(py), value)?;
                }
                dict.into_any()
            }
            Self::Scalar(class) => match take(0)? {
                Some(value) => scalar(value, class.bind(py))?,
                None => return Ok(None),
            },
            Self::Tuple | Self::NamedTuple { .. } | Self::Keywords { .. } | Self::Row(_) => {
                let mut all = Vec::with_capacity(plan.columns.len());
                for index in 0..plan.columns.len() {
                    let Some(value) = take(index)? else { return Ok(None) };
                    all.push(value);
                }
                self.of_values(py, all)?
            }
        };
        Ok(values.is_complete().then_some(made))
    }

    /// For targets that need all values at once.
    fn of_values<'py>(&self, py: Python<'py>, values: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::NamedTuple { make, order } => {
                make.bind(py).call1(PyTuple::new(py, order.iter().map(|&index| &values[index]))?)
            }
            Self::Keywords { class, names } => {
                let arguments = PyDict::new(py);
                for (name, value) in names.bind(py).iter().zip(values) {
                    arguments.set_item(name, value)?;
                }
                class.bind(py).call((), Some(&arguments))
            }
            _ => Ok(PyTuple::new(py, values)?.into_any()),
        }
    }
}

fn scalar<'py>(value: Bound<'py, PyAny>, class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    if value.is_instance(class)? {
        return Ok(value);
    }
    Err(error::data_error(
        value.py(),
        format!("into={}: the column holds {} {}", class.name()?, value.get_type().name()?, short_repr(&value)),
    ))
}

/// Classes a column's value may be an instance of.
fn is_scalar(class: &Bound<'_, PyType>) -> PyResult<bool> {
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
    Ok(matches!(module.as_str(), "builtins" | "decimal" | "datetime" | "uuid")
        && SCALARS.contains(&class.name()?.to_str()?))
}

/// Would filling the fields do all that `cls(...)` does?
fn is_plain(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let py = class.py();
    let object = py.get_type::<PyAny>();
    let init = class.getattr(intern!(py, "__init__"))?;
    // The generated __init__ is compiled from a string; one written by hand has a file.
    let generated = match init.getattr("__code__") {
        Ok(code) => code.getattr("co_filename")?.extract::<String>()? == "<string>",
        Err(_) => false,
    };
    Ok(generated
        && !class.hasattr("__post_init__")?
        && class.getattr("__new__")?.is(&object.getattr("__new__")?)
        && class.getattr("__setattr__")?.is(&object.getattr("__setattr__")?) | is_frozen(class)?)
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

/// Compares the columns with what the class takes by keyword, as far as its signature tells.
fn compare_signature(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<()> {
    let py = class.py();
    let Ok(signature) = pyimport::signature(py)?.call1((class,)) else { return unique(class, plan) };
    let (mut required, mut optional) = (Vec::new(), Vec::new());
    for parameter in signature.getattr("parameters")?.call_method0("values")?.try_iter()? {
        let parameter = parameter?;
        let name: String = parameter.getattr("name")?.extract()?;
        match parameter.getattr("kind")?.getattr("name")?.extract::<String>()?.as_str() {
            // Takes anything: only the class itself can tell.
            "VAR_KEYWORD" => return unique(class, plan),
            "VAR_POSITIONAL" | "POSITIONAL_ONLY" => {}
            _ if parameter.getattr("default")?.is(&parameter.getattr("empty")?) => required.push(name),
            _ => optional.push(name),
        }
    }
    compare(class, plan, &required, &optional)
}

fn is_frozen(class: &Bound<'_, PyType>) -> PyResult<bool> {
    class.getattr("__dataclass_params__")?.getattr("frozen")?.is_truthy()
}

fn unique(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<()> {
    for (index, column) in plan.columns.iter().enumerate() {
        if plan.columns[..index].iter().any(|other| other.name == column.name) {
            return Err(error::programming_error(
                class.py(),
                format!("into={}: two columns are named {:?}; give one an alias", class.name()?, column.name),
            ));
        }
    }
    Ok(())
}

/// Both lists of mismatches in one error.
fn compare(class: &Bound<'_, PyType>, plan: &Plan, required: &[String], optional: &[String]) -> PyResult<()> {
    unique(class, plan)?;
    let missing: Vec<&str> = required
        .iter()
        .filter(|field| !plan.columns.iter().any(|column| column.name == **field))
        .map(String::as_str)
        .collect();
    let surplus: Vec<&str> = plan
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .filter(|name| !required.iter().chain(optional).any(|field| field == name))
        .collect();
    if missing.is_empty() && surplus.is_empty() {
        return Ok(());
    }
    let mut problems = Vec::new();
    if !missing.is_empty() {
        problems.push(format!(
            "no column for its field{} {}",
            if missing.len() > 1 { "s" } else { "" },
            missing.join(", ")
        ));
    }
    if !surplus.is_empty() {
        problems.push(format!(
            "no field for the column{} {}",
            if surplus.len() > 1 { "s" } else { "" },
            surplus.join(", ")
        ));
    }
    Err(error::programming_error(class.py(), format!("into={}: {}", class.name()?, problems.join("; "))))
}
