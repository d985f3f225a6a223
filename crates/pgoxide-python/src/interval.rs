//! What `pgoxide.types.Interval` is made of: its three parts as numbers, in one small object without references.

use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};

use pgoxide_types::interval::Interval;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyNotImplemented, PyType};

use crate::convert::short_repr;
use crate::ffi::headless;
use crate::{error, pyimport};

/// The base of `Interval`, which has all else.
///
/// Any bytes are a valid value, so an allocation alone makes one. The cells are atomic so that it can be filled then, before anybody
/// sees it; it is not changed any more.
#[pyclass(frozen, subclass, module = "pgoxide._core", name = "IntervalParts")]
#[derive(Default)]
pub(crate) struct IntervalParts {
    microseconds: AtomicI64,
    months: AtomicI32,
    days: AtomicI32,
}

/// An argument: 0 unless it is given.
enum Part<'py> {
    Zero,
    Given(Bound<'py, PyAny>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Part<'py> {
    type Error = PyErr;

    fn extract(given: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self::Given(given.to_owned()))
    }
}

impl Part<'_> {
    fn number<T: Default + for<'a, 'py> FromPyObject<'a, 'py>>(&self, name: &str) -> PyResult<T> {
        let Self::Given(given) = self else { return Ok(T::default()) };
        let py = given.py();
        if !given.is_instance_of::<PyInt>() || given.is_instance_of::<PyBool>() {
            return Err(PyTypeError::new_err(format!("{name} must be an int, not {}", short_repr(given))));
        }
        given.extract().map_err(|_| {
            error::data_error(py, format!("{name}={} is outside what an interval holds", short_repr(given)))
        })
    }
}

impl IntervalParts {
    /// A new `Interval`.
    #[inline]
    pub(crate) fn make(py: Python<'_>, value: Interval) -> PyResult<Bound<'_, PyAny>> {
        let made = headless::allocate(pyimport::interval(py)?)?;
        made.cast::<Self>()?.get().fill(value);
        Ok(made)
    }

    #[inline]
    fn fill(&self, Interval { months, days, microseconds }: Interval) {
        self.months.store(months, Ordering::Relaxed);
        self.days.store(days, Ordering::Relaxed);
        self.microseconds.store(microseconds, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> Interval {
        Interval { months: self.months(), days: self.days(), microseconds: self.microseconds() }
    }
}

#[pymethods]
impl IntervalParts {
    #[new]
    #[pyo3(signature = (months = Part::Zero, days = Part::Zero, microseconds = Part::Zero),
           text_signature = "(months=0, days=0, microseconds=0)")]
    fn new(months: Part<'_>, days: Part<'_>, microseconds: Part<'_>) -> PyResult<Self> {
        let made = Self::default();
        made.fill(Interval {
            months: months.number("months")?,
            days: days.number("days")?,
            microseconds: microseconds.number("microseconds")?,
        });
        Ok(made)
    }

    /// `Interval`, made right now. Classes derived from that do not get here.
    #[classmethod]
    fn __init_subclass__(class: &Bound<'_, PyType>) {
        headless::behead(class);
    }

    /// Of the very same class, as dataclasses compare.
    fn __eq__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> Bound<'py, PyAny> {
        let py = slf.py();
        match other.cast::<Self>() {
            Ok(other) if other.get_type().is(slf.get_type()) => {
                PyBool::new(py, slf.get().value() == other.get().value()).to_owned().into_any()
            }
            _ => PyNotImplemented::get(py).to_owned().into_any(),
        }
    }

    fn __hash__(slf: &Bound<'_, Self>) -> PyResult<isize> {
        let Interval { months, days, microseconds } = slf.get().value();
        (months, days, microseconds).into_pyobject(slf.py())?.hash()
    }

    #[getter]
    fn months(&self) -> i32 {
        self.months.load(Ordering::Relaxed)
    }

    #[getter]
    fn days(&self) -> i32 {
        self.days.load(Ordering::Relaxed)
    }

    #[getter]
    fn microseconds(&self) -> i64 {
        self.microseconds.load(Ordering::Relaxed)
    }
}
