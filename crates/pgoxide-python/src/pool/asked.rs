//! A call as it waits in the pool's queue.

use std::sync::Arc;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::arguments::freeze_as;
use crate::call::Asked;
use crate::named::NamedText;

/// [`Asked`], to be kept.
pub(crate) struct KeptAsked {
    pub(crate) sql: Py<PyString>,
    pub(crate) named: Option<Arc<NamedText>>,
    pub(crate) arguments: Py<PyTuple>,
    pub(crate) types: Vec<u32>,
    pub(crate) into: Option<Py<PyAny>>,
    pub(crate) timeout: Option<f64>,
    pub(crate) isolate: bool,
}

impl From<Asked<'_>> for KeptAsked {
    fn from(asked: Asked<'_>) -> Self {
        Self {
            sql: asked.sql.unbind(),
            named: asked.named,
            arguments: asked.arguments.unbind(),
            types: asked.types,
            into: asked.into,
            timeout: asked.timeout,
            isolate: asked.isolate,
        }
    }
}

impl KeptAsked {
    /// With its arguments as they are now: changing them afterwards changes nothing.
    pub(super) fn frozen(self, py: Python<'_>) -> PyResult<Self> {
        let name = |index: usize| {
            let name = self.named.as_ref().and_then(|named| named.names().get(index));
            name.map_or_else(|| format!("${}", index + 1), |name| format!(":{name}"))
        };
        Ok(Self { arguments: freeze_as(self.arguments.bind(py), name)?, ..self })
    }

    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.arguments)?;
        self.into.iter().try_for_each(|into| visit.call(into))
    }
}
