//! An instance whose fields are filled one by one: what a generated `__init__` does, without calling it.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use super::Row;
use crate::ffi::slots::{self, Slot};
use crate::ffi::unborn;

/// Where a class keeps a field.
enum Place {
    Slot(Slot),
    Dictionary(Py<PyString>),
}

impl Place {
    /// `None`: a descriptor of the user's own, which may do anything when it is set.
    fn of(class: &Bound<'_, PyType>, name: &str) -> PyResult<Option<Self>> {
        let py = class.py();
        if let Some(attribute) = class.getattr_opt(name)?
            && let Some(slot) = Slot::behind(class, &attribute)
        {
            return Ok(Some(Self::Slot(slot)));
        }
        // As stored, not as got: a descriptor may answer for its class with something else, or refuse.
        for base in class.mro().iter() {
            if let Ok(stored) = base.getattr(intern!(py, "__dict__"))?.get_item(name) {
                let kind = stored.get_type();
                let sets = kind.hasattr(intern!(py, "__set__"))? || kind.hasattr(intern!(py, "__delete__"))?;
                return Ok((!sets).then(|| Self::Dictionary(PyString::intern(py, name).unbind())));
            }
        }
        Ok(Some(Self::Dictionary(PyString::intern(py, name).unbind())))
    }

    #[inline]
    fn put<'py>(&self, object: &Bound<'py, PyAny>, value: Bound<'py, PyAny>) -> PyResult<()> {
        match self {
            Self::Slot(slot) => slot.put(object, value),
            Self::Dictionary(name) => slots::set(object, name.bind(object.py()), &value),
        }
    }
}

/// What fills a field.
pub(super) enum Source {
    Column(usize),
    Value(Py<PyAny>),
    Factory(Py<PyAny>),
}

/// The fields of a class in the order in which its `__init__` fills them, as far as they are known.
pub(super) struct Filling {
    steps: Vec<(Place, Source)>,
    plain: bool,
}

impl Filling {
    pub(super) const fn new() -> Self {
        Self { steps: Vec::new(), plain: true }
    }

    pub(super) fn add(&mut self, class: &Bound<'_, PyType>, name: &str, source: Source) -> PyResult<()> {
        match Place::of(class, name)? {
            Some(place) => self.steps.push((place, source)),
            None => self.plain = false,
        }
        Ok(())
    }

    /// `None`: only `__init__` itself can fill them.
    pub(super) fn finish(mut self, class: &Bound<'_, PyType>, post_init: bool) -> Option<Filled> {
        if !self.plain {
            return None;
        }
        let column = |source: &Source| if let Source::Column(index) = source { *index } else { usize::MAX };
        if self.steps.iter().all(|(place, _)| matches!(place, Place::Slot(_))) {
            // Nobody can tell in which order slots were filled, but of a dictionary it is the order of its keys.
            self.steps.sort_by_key(|(_, source)| column(source));
        }
        let in_order = self
            .steps
            .iter()
            .map(|(_, source)| column(source))
            .filter(|index| *index != usize::MAX)
            .enumerate()
            .all(|(place, index)| place == index);
        Some(Filled { class: class.clone().unbind(), steps: self.steps.into(), in_order, post_init })
    }
}

/// A class whose instances the core fills.
pub(crate) struct Filled {
    class: Py<PyType>,
    steps: Box<[(Place, Source)]>,
    /// The columns come in the order of the steps.
    in_order: bool,
    /// `__post_init__` is called at the end.
    post_init: bool,
}

impl Filled {
    /// For the garbage collector.
    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.class)?;
        self.steps.iter().try_for_each(|(place, source)| {
            if let Place::Slot(slot) = place {
                slot.visit(visit)?;
            }
            match source {
                Source::Value(value) | Source::Factory(value) => visit.call(value),
                Source::Column(_) => Ok(()),
            }
        })
    }

    /// No code of the user's runs while one is built.
    pub(super) fn is_plain(&self) -> bool {
        !self.post_init && !self.steps.iter().any(|(_, source)| matches!(source, Source::Factory(_)))
    }

    #[inline]
    pub(super) fn build<'py>(&self, row: &mut Row<'_, 'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = row.py;
        if !self.in_order && !row.take_all()? {
            return Ok(None);
        }
        let made = slots::allocate(self.class.bind(py))?;
        for (place, source) in &self.steps {
            let value = match source {
                Source::Column(_) if self.in_order => match row.take()? {
                    Some(value) => value,
                    None => return Ok(None),
                },
                Source::Column(index) => row.values[*index].clone(),
                Source::Value(value) => value.bind(py).clone(),
                Source::Factory(factory) => factory.bind(py).call0()?,
            };
            place.put(&made, value)?;
        }
        if self.post_init {
            made.call_method0(intern!(py, "__post_init__"))?;
        }
        unborn::hold_back(&made);
        Ok(Some(made))
    }
}
