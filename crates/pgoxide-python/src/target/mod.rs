//! `into=`: what a row becomes instead of the default row, decided once per statement and class.
//!
//! | `into` | built by | file |
//! | --- | --- | --- |
//! | `tuple`, a named tuple | the core, as a tuple of that type | `named_tuple.rs` |
//! | `dict`, a TypedDict | the core | `dict.rs` |
//! | a dataclass, an attrs class | the core, field by field, if the generated `__init__` does no more | `dataclass.rs`, `attrs.rs`, `filled.rs` |
//! | a msgspec Struct | its constructor, by position | `structs.rs` |
//! | a pydantic model | its validator, of a dict; the core, if all values are of its fields' very types | `pydantic.rs`, `exact.rs` |
//! | a scalar type (`int`, `str`, `UUID`, …) | the only column, whose type is checked | `scalar.rs` |
//! | any other class | `into(column=value, …)` | `call.rs` |
//! | any other callable | `into(row)` | |
//!
//! Columns and fields are compared when the statement's shape is known (`columns.rs`); both lists of mismatches go into one
//! error. What calling a class would do is asked in `class.rs`: where it is more than the core can do as well, the class is
//! called. None of these packages is imported unless a class of theirs has come.

mod attrs;
mod call;
mod class;
mod columns;
mod dataclass;
mod dict;
mod exact;
mod filled;
mod named_tuple;
mod pydantic;
mod scalar;
mod structs;

use pgoxide_protocol::message::data_row::Values;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use self::call::Called;
use self::dict::Keys;
use self::filled::Filled;
use self::named_tuple::NamedTuple;
use self::pydantic::Model;
use crate::convert::short_repr;
use crate::ffi::tuple::TupleBuilder;
use crate::ffi::version;
use crate::plan::Plan;
use crate::pyimport;

/// How one row is built.
enum Target {
    Tuple,
    Dict(Keys),
    NamedTuple(NamedTuple),
    Filled(Filled),
    Model(Model),
    Scalar(Py<PyType>),
    Called(Called),
    Row(Py<PyAny>),
}

/// How rows are built for one `into`.
pub(crate) struct Into {
    target: Target,
    /// The class that was looked at, and its version then.
    seen: Option<(Py<PyType>, Option<u32>)>,
}

/// Values of one row on their way into an object.
struct Row<'r, 'py> {
    py: Python<'py>,
    plan: &'r Plan,
    raw: Values<'r>,
    text: bool,
    index: usize,
    /// Empty before and after: it is kept for the next row.
    values: &'r mut Vec<Bound<'py, PyAny>>,
}

impl<'py> Row<'_, 'py> {
    /// The next column's value. `None`: the message is not what it says.
    #[inline]
    fn take(&mut self) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(raw) = self.raw.next() else { return Ok(None) };
        let value = self.plan.value(self.py, self.index, raw, self.text)?;
        self.index += 1;
        Ok(Some(value))
    }

    /// Appends the values of all columns. False as `None` above.
    #[inline]
    fn take_all(&mut self) -> PyResult<bool> {
        for _ in 0..self.plan.columns.len() {
            let Some(value) = self.take()? else { return Ok(false) };
            self.values.push(value);
        }
        Ok(true)
    }
}

impl Into {
    /// How `into` is built from the plan's columns.
    pub(crate) fn new(into: &Bound<'_, PyAny>, plan: &Plan) -> PyResult<Self> {
        if let Ok(class) = into.cast::<PyType>() {
            let target = Target::of_class(class, plan)?;
            // Only now: looking at a class may complete it.
            return Ok(Self { target, seen: Some((class.clone().unbind(), version::of(class))) });
        }
        if !into.is_callable() {
            return Err(PyTypeError::new_err(format!("into= takes a class or a callable, not {}", short_repr(into))));
        }
        // `Box[int]` of a generic class, `dict[str, int]`.
        let origin =
            into.getattr_opt(intern!(into.py(), "__origin__"))?.and_then(|origin| origin.cast_into::<PyType>().ok());
        let target = match origin.map(|class| Target::of_class(&class, plan)).transpose()? {
            None => Target::Row(into.clone().unbind()),
            Some(plain @ (Target::Tuple | Target::Dict(_) | Target::Scalar(_))) => plain,
            Some(_) => Called::alias(into, plan)?,
        };
        Ok(Self { target, seen: None })
    }

    /// Is the class still what it was?
    #[inline]
    pub(crate) fn is_current(&self, py: Python<'_>) -> bool {
        match &self.seen {
            Some((class, seen)) => seen.is_some() && version::of(class.bind(py)) == *seen,
            None => true,
        }
    }

    /// No code of the user's runs while a row is built.
    pub(crate) fn is_plain(&self) -> bool {
        match &self.target {
            Target::Tuple | Target::Dict(_) | Target::NamedTuple(_) | Target::Scalar(_) => true,
            Target::Filled(filled) => filled.is_plain(),
            Target::Model(_) | Target::Called(_) | Target::Row(_) => false,
        }
    }

    /// For the garbage collector, called by the only owner.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some((class, _)) = &self.seen {
            visit.call(class)?;
        }
        self.target.visit(visit)
    }

    /// One row, of the values of one DataRow; `None` as in [`Plan::row`]. `scratch` is empty, and is so again when this has
    /// succeeded.
    #[inline]
    pub(crate) fn build<'py>(
        &self,
        py: Python<'py>,
        plan: &Plan,
        values: Values<'_>,
        text: bool,
        scratch: &mut Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Target::Row(callable) = &self.target {
            return plan.row(py, values, text)?.map(|row| callable.bind(py).call1((row,))).transpose();
        }
        if values.left() != plan.columns.len() {
            return Ok(None);
        }
        let mut row = Row { py, plan, raw: values, text, index: 0, values: scratch };
        let made = self.target.build(&mut row)?;
        let complete = row.raw.is_complete();
        scratch.clear();
        Ok(made.filter(|_| complete))
    }
}

impl Target {
    fn of_class(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<Self> {
        let py = class.py();
        if class.is(py.get_type::<PyTuple>()) {
            Ok(Self::Tuple)
        } else if class.is(py.get_type::<PyDict>()) {
            Ok(Self::Dict(Keys::new(py, plan)?))
        } else if named_tuple::is_one(class)? {
            named_tuple::target(class, plan)
        } else if class::is_typed_dict(class)? {
            dict::typed(class, plan)
        } else if pyimport::is_dataclass(py)?.call1((class,))?.is_truthy()? {
            dataclass::target(class, plan)
        } else if attrs::is_one(class)? {
            attrs::target(class, plan)
        } else if structs::is_one(class)? {
            structs::target(class, plan)
        } else if pydantic::is_one(class)? {
            pydantic::target(class, plan)
        } else if scalar::is_one(class)? {
            scalar::target(class, plan)
        } else {
            columns::compare_signature(class, plan)?;
            Called::by_keyword(class, plan)
        }
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Tuple | Self::Dict(_) => Ok(()),
            Self::NamedTuple(tuple) => tuple.visit(visit),
            Self::Filled(filled) => filled.visit(visit),
            Self::Model(model) => model.visit(visit),
            Self::Scalar(class) => visit.call(class),
            Self::Called(called) => called.visit(visit),
            Self::Row(callable) => visit.call(callable),
        }
    }

    #[inline]
    fn build<'py>(&self, row: &mut Row<'_, 'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self {
            Self::Filled(filled) => filled.build(row),
            Self::Called(called) => called.build(row),
            Self::Model(model) => model.build(row),
            Self::NamedTuple(tuple) => tuple.build(row),
            Self::Dict(keys) => Ok(keys.build(row)?.map(Bound::into_any)),
            Self::Tuple => {
                let mut tuple = TupleBuilder::of_class(
                    &row.py.get_type::<PyTuple>(),
                    row.plan.columns.len(),
                    row.plan.is_scalar(),
                )?;
                for _ in 0..row.plan.columns.len() {
                    let Some(value) = row.take()? else { return Ok(None) };
                    tuple.push(value);
                }
                Ok(Some(tuple.finish()))
            }
            Self::Scalar(class) => row.take()?.map(|value| scalar::checked(value, class.bind(row.py))).transpose(),
            // Taken apart by `Into::build`.
            Self::Row(_) => Ok(None),
        }
    }
}
