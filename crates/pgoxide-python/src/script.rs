//! The simple protocol: several statements in one text, each with its rows and tag.

use std::sync::Arc;

use pgoxide_protocol::error::ProtocolError;
use pgoxide_protocol::message::command_complete::CommandComplete;
use pgoxide_protocol::message::data_row::Values;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::job::{Fault, malformed};
use crate::plan::{Frames, Plan};
use crate::tag::CommandTag;

/// One statement's outcome in a script.
#[pyclass(frozen, module = "pgoxide._core", name = "ScriptResult")]
pub(crate) struct ScriptResult {
    /// What the statement did.
    #[pyo3(get)]
    tag: Py<CommandTag>,
    /// Its rows; empty for a statement that returns none.
    #[pyo3(get)]
    rows: Py<PyList>,
}

#[pymethods]
impl ScriptResult {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("ScriptResult(tag={}, rows={})", self.tag.bind(py).repr()?, self.rows.bind(py).repr()?))
    }
}

/// A script that runs.
pub(crate) struct Script {
    pub(crate) sql: String,
    /// The relations it creates.
    pub(crate) creates: Vec<String>,
    plan: Option<Arc<Plan>>,
    rows: Vec<Py<PyAny>>,
    /// Rows of the statement that runs, whose types are not known.
    frames: Vec<u8>,
    results: Vec<(CommandTag, Vec<Py<PyAny>>)>,
    /// Results, by their number, whose rows wait until their types are known.
    deferred: Vec<(usize, Arc<Plan>, Vec<u8>)>,
}

impl Script {
    pub(crate) fn new(sql: String) -> Self {
        let creates = pgoxide_sqltext::created(&sql);
        Self {
            sql,
            creates,
            plan: None,
            rows: Vec::new(),
            frames: Vec::new(),
            results: Vec::new(),
            deferred: Vec::new(),
        }
    }

    pub(crate) fn described(&mut self, py: Python<'_>, plan: Arc<Plan>) -> PyResult<()> {
        if let Err(error) = plan.check_names(py) {
            let which = format!("in statement {} of the script", self.completed() + 1);
            // A note that cannot be added is no reason to lose the error.
            let _ = error.value(py).call_method1("add_note", (which,));
            return Err(error);
        }
        self.plan = Some(plan);
        Ok(())
    }

    pub(crate) fn rows(&mut self, py: Python<'_>, frames: &[u8]) -> Result<(), Fault> {
        let Some(plan) = &self.plan else {
            return Err(Fault::Protocol(ProtocolError::unexpected(b'D', "RowDescription")));
        };
        if !self.frames.is_empty() || !plan.unknown_types().is_empty() {
            self.frames.extend_from_slice(frames);
            return Ok(());
        }
        read(py, plan, frames, &mut self.rows)
    }

    /// Types that must be asked for before it can come to its end.
    pub(crate) fn unknown_types(&self, into: &mut Vec<u32>) {
        self.deferred.iter().for_each(|(_, plan, _)| into.extend(plan.unknown_types()));
    }

    /// The types it waited for are known, as far as they were asked for.
    pub(crate) fn resolve(&mut self, py: Python<'_>) -> Result<(), Fault> {
        for (index, plan, frames) in std::mem::take(&mut self.deferred) {
            let plan = Arc::new(plan.again(py)?);
            if !plan.unknown_types().is_empty() {
                self.deferred.push((index, plan, frames));
            } else if let Some((_, rows)) = self.results.get_mut(index) {
                read(py, &plan, &frames, rows)?;
            }
        }
        Ok(())
    }

    /// A statement came to its end. What described its rows comes back, to be dropped once nothing is locked.
    pub(crate) fn complete(&mut self, complete: Option<&CommandComplete<'_>>) -> Option<Arc<Plan>> {
        let tag = complete.map_or_else(
            || CommandTag::new(String::new(), None),
            |complete| CommandTag::new(String::from_utf8_lossy(complete.tag).into_owned(), complete.rows_affected()),
        );
        if !self.frames.is_empty()
            && let Some(plan) = &self.plan
        {
            self.deferred.push((self.results.len(), Arc::clone(plan), std::mem::take(&mut self.frames)));
        }
        self.results.push((tag, std::mem::take(&mut self.rows)));
        self.plan.take()
    }

    /// How many statements came to their end: the one after them is the one an error is about.
    pub(crate) fn completed(&self) -> usize {
        self.results.len()
    }

    pub(crate) fn result(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let results = std::mem::take(&mut self.results)
            .into_iter()
            .map(|(tag, rows)| {
                let rows = PyList::new(py, rows)?.unbind();
                Bound::new(py, ScriptResult { tag: Py::new(py, tag)?, rows })
            })
            .collect::<PyResult<Vec<_>>>()?;
        Ok(PyList::new(py, results)?.into_any().unbind())
    }
}

fn read(py: Python<'_>, plan: &Plan, frames: &[u8], rows: &mut Vec<Py<PyAny>>) -> Result<(), Fault> {
    for body in Frames::new(frames) {
        let row = plan.row(py, Values::over(body), true)?;
        rows.push(row.ok_or_else(|| malformed(body))?.unbind());
    }
    Ok(())
}
