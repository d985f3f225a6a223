//! The command tag: what a statement did.

use pyo3::prelude::*;

/// What the server said a statement did: `INSERT 0 3`, `SELECT 10`, `CREATE TABLE`.
#[pyclass(frozen, eq, hash, module = "pgoxide", name = "CommandTag")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CommandTag {
    /// The tag as sent; empty for an empty statement.
    #[pyo3(get)]
    text: String,
    /// Rows inserted, updated, deleted, merged, selected, moved or copied; None for commands that count none.
    #[pyo3(get)]
    rows_affected: Option<u64>,
}

impl CommandTag {
    pub(crate) const fn new(text: String, rows_affected: Option<u64>) -> Self {
        Self { text, rows_affected }
    }
}

#[pymethods]
impl CommandTag {
    fn __str__(&self) -> &str {
        &self.text
    }

    fn __repr__(&self) -> String {
        match self.rows_affected {
            Some(rows) => format!("CommandTag({:?}, rows_affected={rows})", self.text),
            None => format!("CommandTag({:?})", self.text),
        }
    }
}
