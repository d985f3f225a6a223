//! How a connection behaves, as `connect()` was told: what the clients of both faces are made of.

use std::sync::{Arc, Mutex};

use pgoxide_protocol::client::Limits;
use pyo3::prelude::*;

use crate::call;
use crate::convert::Rules;
use crate::convert::user::Listed;
use crate::error;
use crate::prepared::{CacheRules, Statements};
use crate::registry::TypeRegistry;
use crate::session::{Options, Session};
use crate::sync::lock;

/// The options, checked.
pub(crate) struct Given {
    nonce: String,
    cache: CacheRules,
    rules: Rules,
    max_message: usize,
    pub(crate) max_queued: usize,
    max_queued_hard: usize,
    pub(crate) command_timeout: Option<f64>,
    pub(crate) stream_wait_warning: Option<f64>,
}

impl Given {
    /// A session before its start.
    pub(crate) fn session(self, py: Python<'_>) -> Session {
        let limits = Limits { message: self.max_message, send_buffer: self.max_queued };
        let options = Options { rules: Arc::new(self.rules), max_queued_hard: self.max_queued_hard };
        Session::new(Statements::new(py, self.cache, self.nonce), limits, options)
    }
}

/// For one connection: `AsyncClient(ClientOptions(…))`.
#[pyclass(frozen, module = "pgoxide._core")]
pub(crate) struct ClientOptions(Mutex<Option<Given>>);

impl ClientOptions {
    /// Hands them over, once: two connections must not name their statements alike.
    pub(crate) fn take(&self, py: Python<'_>) -> PyResult<Given> {
        lock(&self.0).take().ok_or_else(|| error::interface_error(py, "these options have made a connection already"))
    }
}

#[expect(clippy::too_many_arguments, reason = "Python hands them over by keyword")]
#[pymethods]
impl ClientOptions {
    #[new]
    #[pyo3(signature = (*, nonce, statement_cache_size, statement_cache_longest, statement_cache_lifetime, beyond, float4, timestamptz_zone, naive_timestamptz, duplicate_columns, array_bounds, money, json, json_null, type_registry, codecs, max_message, max_queued, max_queued_hard, command_timeout, stream_wait_warning))]
    fn new(
        py: Python<'_>,
        nonce: String,
        statement_cache_size: usize,
        statement_cache_longest: usize,
        statement_cache_lifetime: Option<f64>,
        beyond: &str,
        float4: &str,
        timestamptz_zone: &Bound<'_, PyAny>,
        naive_timestamptz: &str,
        duplicate_columns: &str,
        array_bounds: &str,
        money: Option<u8>,
        json: &str,
        json_null: &str,
        type_registry: Option<&Bound<'_, TypeRegistry>>,
        codecs: Vec<Listed<'_>>,
        max_message: usize,
        max_queued: usize,
        max_queued_hard: usize,
        command_timeout: Option<f64>,
        stream_wait_warning: Option<f64>,
    ) -> PyResult<Self> {
        let cache = call::cache_rules(statement_cache_size, statement_cache_longest, statement_cache_lifetime);
        let forms = call::Forms { array_bounds, money, json, json_null };
        let rules = call::rules(
            py,
            beyond,
            float4,
            timestamptz_zone,
            naive_timestamptz,
            duplicate_columns,
            &forms,
            type_registry,
            codecs,
        )?;
        let given = Given {
            nonce,
            cache,
            rules,
            max_message,
            max_queued,
            max_queued_hard,
            command_timeout,
            stream_wait_warning,
        };
        Ok(Self(Mutex::new(Some(given))))
    }
}
