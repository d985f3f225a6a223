//! [`Reader`]: what the event loop calls.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use super::{AsyncClient, Line};
use crate::sync::lock;

/// What the event loop holds of a connection. It refers to it weakly, so that one that was forgotten open can be
/// collected and say so; while requests are in flight strongly, so that tasks waiting for them live.
#[pyclass(frozen, module = "pgoxide._core")]
pub(crate) struct Reader {
    pub(super) client: Py<PyWeakrefReference>,
    pub(super) busy: Mutex<Option<Py<AsyncClient>>>,
}

impl Reader {
    #[inline]
    pub(super) fn keep(&self, client: &Bound<'_, AsyncClient>) {
        let mut busy = lock(&self.busy);
        if busy.is_none() {
            // What a pool's user has may be forgotten meanwhile, and says so.
            let lent = client.get().lent.as_ref().map(|lent| lent.whole.clone_ref(client.py()));
            *busy = Some(lent.unwrap_or_else(|| client.clone().unbind()));
        }
    }

    pub(super) fn release(&self) {
        let held = lock(&self.busy).take();
        drop(held);
    }

    pub(super) fn client<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, AsyncClient>>> {
        self.client.bind(py).upgrade_as::<AsyncClient>()
    }
}

#[pymethods]
impl Reader {
    /// The loop says that the descriptor can be read.
    fn readable(&self, py: Python<'_>) -> PyResult<()> {
        let Some(client) = self.client(py)? else { return Ok(()) };
        if client.get().session.home.is_elsewhere() {
            return Ok(());
        }
        let line = *lock(&client.get().line);
        match line {
            Line::Descriptor(socket) => AsyncClient::read(&client, socket, true),
            Line::None | Line::Transport => Ok(()),
        }
    }

    /// The loop says that the descriptor can be written.
    fn writable(&self, py: Python<'_>) -> PyResult<()> {
        self.client(py)?.map_or(Ok(()), |client| client.get().flush(py))
    }

    /// The loop's turn has come for what was asked in it.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let Some(client) = self.client(py)? else { return Ok(()) };
        client.get().flush_armed.store(false, Ordering::Relaxed);
        client.get().flush(py)
    }

    /// The turn it was kept awake for.
    fn turn(&self, py: Python<'_>) -> PyResult<()> {
        let Some(client) = self.client(py)? else { return Ok(()) };
        let client = client.get();
        let unfinished = lock(&client.session.state).conn.unfinished();
        if client.wakeful.get().is_some_and(|wakeful| wakeful.turn(unfinished)) {
            client.one_more_turn(py)
        } else {
            Ok(())
        }
    }

    /// The transport holds as many bytes as it wants to.
    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(client) = self.client(py)? {
            client.get().transport_full.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The transport takes bytes again.
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        let Some(client) = self.client(py)? else { return Ok(()) };
        client.get().transport_full.store(false, Ordering::Relaxed);
        client.get().flush(py)
    }

    /// Bytes that a transport has received.
    fn received(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        self.client(py)?.map_or(Ok(()), |client| AsyncClient::received(&client, bytes))
    }

    /// The line has ended.
    fn lost(&self, py: Python<'_>, reason: Bound<'_, PyAny>) -> PyResult<()> {
        self.client(py)?.map_or(Ok(()), |client| client.get().finish(py, PyErr::from_value(reason)))
    }

    /// The timer rang: calls past their deadline fail. Seconds until the next one, or None.
    fn expire(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        self.client(py)?.map_or(Ok(None), |client| AsyncClient::expire(&client))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.client)?;
        match self.busy.try_lock().as_deref() {
            Ok(Some(client)) => visit.call(client),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        self.release();
    }
}
