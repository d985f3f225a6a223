//! What is told about a call that has failed, in a note on its error: where its statement was first used, how the session
//! stands, what the server noticed last, how its pool stands. Nothing of it costs a call that succeeds: what is needed is kept
//! when a statement is made and when a notice comes, both seldom, and put into words here.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::Session;
use crate::call::status_name;
use crate::named::NamedText;
use crate::prepared::Prepared;
use crate::pyimport;
use crate::sync::lock;

/// What is kept to be told.
#[derive(Default)]
pub(crate) struct Surroundings(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    notice: Option<(Instant, Py<PyDict>)>,
    /// Gives a line about the pool.
    pool: Option<Py<PyAny>>,
}

impl Surroundings {
    pub(crate) fn noticed(&self, notice: Py<PyDict>) {
        let earlier = lock(&self.0).notice.replace((Instant::now(), notice));
        drop(earlier);
    }

    pub(crate) fn set_pool(&self, pool: Option<Py<PyAny>>) {
        let earlier = std::mem::replace(&mut lock(&self.0).pool, pool);
        drop(earlier);
    }

    /// For the garbage collector.
    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.0.try_lock().as_deref() {
            Ok(Inner { pool: Some(pool), .. }) => visit.call(pool),
            _ => Ok(()),
        }
    }

    pub(super) fn clear(&self) {
        let inner = std::mem::take(&mut *lock(&self.0));
        drop(inner);
    }
}

impl Session {
    /// The error of a call, with a note about `statement` and the rest. Errors that are not ours stay as they are.
    #[cold]
    pub(crate) fn explained(&self, py: Python<'_>, error: PyErr, statement: Option<&Prepared>) -> PyErr {
        match pyimport::error(py) {
            Ok(ours) if error.is_instance(py, ours) => {}
            _ => return error,
        }
        if let Err(fault) = self.explain(py, &error, statement) {
            // What went wrong with the note must not hide what the note is about.
            fault.write_unraisable(py, None);
        }
        error
    }

    fn explain(&self, py: Python<'_>, error: &PyErr, statement: Option<&Prepared>) -> PyResult<()> {
        let (process_id, status) = {
            let state = lock(&self.state);
            (state.conn.cancel_key().map(|key| key.process_id), status_name(state.conn.status()))
        };
        let (notice, age, pool) = {
            let inner = lock(&self.surroundings.0);
            let (notice, age) = match &inner.notice {
                Some((came, notice)) => (Some(notice.clone_ref(py)), came.elapsed().as_secs_f64()),
                None => (None, 0.0),
            };
            (notice, age, inner.pool.as_ref().map(|pool| pool.clone_ref(py)))
        };
        let types = statement.and_then(Prepared::described).map(|described| described.parameter_types.to_vec());
        let names = statement.and_then(|statement| statement.named.as_deref()).map(NamedText::names);
        let stack = statement.map(|statement| statement.first_used.places(py)).unwrap_or_default();
        let sql = statement.map(Prepared::original);
        let facts: [Bound<'_, PyAny>; 9] = [
            sql.into_pyobject(py)?.into_any(),
            types.into_pyobject(py)?.into_any(),
            names.into_pyobject(py)?.into_any(),
            stack.into_pyobject(py)?.into_any(),
            process_id.into_pyobject(py)?.into_any(),
            status.into_pyobject(py)?.into_any(),
            notice.into_pyobject(py)?.into_any(),
            age.into_pyobject(py)?.into_any(),
            pool.into_pyobject(py)?.into_any(),
        ];
        let about = pyimport::surroundings(py)?.call1(PyTuple::new(py, facts)?)?;
        pyimport::explain(py)?.call1((error.value(py), about))?;
        Ok(())
    }

    /// As `explained`, for request `id`, which is unfinished.
    #[cold]
    pub(crate) fn explained_of(&self, py: Python<'_>, error: PyErr, id: pgoxide_protocol::client::RequestId) -> PyErr {
        let statement: Option<Arc<Prepared>> = {
            let mut state = lock(&self.state);
            let super::State { conn, held, .. } = &mut *state;
            match held.get(id) {
                Some(held) => held.statement().cloned(),
                None => conn.job(id).and_then(|job| job.statement().cloned()),
            }
        };
        self.explained(py, error, statement.as_deref())
    }
}
