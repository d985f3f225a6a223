//! Where Rust's errors become Python's. Three branches: misuse by the caller (InterfaceError, DataError), bad bytes
//! from the peer (ProtocolError), "no" from the server (a class per SQLSTATE, built by `pgoxide.errors`).

use pgoxide_protocol::error::{EncodeError, ProtocolError};
use pgoxide_protocol::message::error_response::ErrorResponse;
use pgoxide_types::ValueError;
use pyo3::exceptions::{PyBaseException, PyException};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use crate::named::NamedText;
use crate::pyimport;

type Import = for<'py> fn(Python<'py>) -> PyResult<&'py Bound<'py, PyType>>;

/// An exception of the class that `class` imports; when that import fails, its own error.
#[cold]
fn make(py: Python<'_>, class: Import, message: impl Into<String>) -> PyErr {
    // Made at once: PyO3 would put it off until somebody looks, which panics while the interpreter shuts down.
    match class(py).and_then(|class| class.call1((message.into(),))) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

macro_rules! branches {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[cold]
        pub(crate) fn $name(py: Python<'_>, message: impl Into<String>) -> PyErr {
            make(py, pyimport::$name, message)
        }
    )*};
}

branches! {
    /// The caller asked for something that cannot be.
    interface_error;
    /// A value does not fit.
    data_error;
    /// A type is no longer what it was known as.
    outdated_type;
    programming_error;
    not_supported_error;
    connection_closed;
    no_row;
    multiple_rows;
    cancelled_by_neighbour;
    queue_full;
    pool_full;
    query_timeout;
    batch_aborted;
    statement_invalidated;
    /// COMMIT did not commit.
    unexpected_rollback;
    transaction_not_begun;
    transaction_outcome_unknown;
}

/// The peer broke the protocol.
#[cold]
pub(crate) fn protocol_error(py: Python<'_>, error: &ProtocolError) -> PyErr {
    make(py, pyimport::protocol_error, error.to_string())
}

/// A request could not be written as a message.
#[cold]
pub(crate) fn encode_error(py: Python<'_>, error: &EncodeError) -> PyErr {
    make(py, pyimport::data_error, error.to_string())
}

/// A value could not be read or written.
#[cold]
pub(crate) fn value_error(py: Python<'_>, error: &ValueError) -> PyErr {
    make(py, pyimport::data_error, error.to_string())
}

/// The server's refusal as Python sees it. `statement`: as it was written, with `named` for what became of it. Texts may be in another encoding before start-up has ended: bytes
/// that are not UTF-8 are replaced.
#[cold]
pub(crate) fn server_error(
    py: Python<'_>,
    error: &ErrorResponse<'_>,
    statement: Option<&str>,
    parameter_types: Option<Vec<String>>,
    named: Option<&NamedText>,
) -> PyErr {
    let built = (|| {
        let fields = fields(py, error.fields.iter().map(|field| (field.code, field.value)))?;
        if let Some(named) = named
            && let Some(position) = fields.get_item("P")?
            && let Ok(position) = position.extract::<String>()?.parse()
        {
            fields.set_item("P", named.original_position(py, position).to_string())?;
        }
        pyimport::server_error(py)?.call1((fields, statement, parameter_types, named.map(NamedText::names)))
    })();
    match built {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// The fields of an error or notice, keyed by their one-letter codes.
pub(crate) fn fields<'py, 'a>(
    py: Python<'py>,
    fields: impl Iterator<Item = (u8, &'a [u8])>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (code, value) in fields {
        dict.set_item(char::from(code).to_string(), String::from_utf8_lossy(value))?;
    }
    Ok(dict)
}

/// DataError that says more than `cause`, which is its cause; or what is a DataError of its own kind, of that kind.
#[cold]
pub(crate) fn said_better(py: Python<'_>, message: String, cause: PyErr) -> PyErr {
    let outdated = pyimport::outdated_type(py).is_ok_and(|class| cause.is_instance(py, class));
    let error = if outdated { outdated_type(py, message) } else { data_error(py, message) };
    caused_by(py, error, cause)
}

/// `error` with `cause` as its `__cause__`. What is no error, a Ctrl-C that came while a user's code ran, or the end of a task,
/// stays what it is.
pub(crate) fn caused_by(py: Python<'_>, error: PyErr, cause: PyErr) -> PyErr {
    if !is_error(py, &cause) {
        return cause;
    }
    error.set_cause(py, Some(cause));
    error
}

/// An `Exception`: something that code may have expected, unlike `KeyboardInterrupt`, `SystemExit` and `CancelledError`.
pub(crate) fn is_error(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyException>(py)
}

/// An exception that is kept: one the garbage collector can follow, as it cannot follow a PyErr. Once raised, an exception
/// leads to frames and so to anything.
pub(crate) struct Kept(Py<PyBaseException>);

impl Kept {
    pub(crate) fn new(py: Python<'_>, error: PyErr) -> Self {
        Self(error.into_value(py))
    }

    /// The same exception, to be raised.
    pub(crate) fn error(&self, py: Python<'_>) -> PyErr {
        PyErr::from_value(self.0.bind(py).clone().into_any())
    }

    /// Counts one reference more: no Python runs.
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self(self.0.clone_ref(py))
    }

    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}
