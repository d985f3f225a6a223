//! `pgoxide._core`: the extension module. Everything Python can see of it is declared here.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod arguments;
mod async_client;
mod awaitable;
mod batch;
mod blocking_client;
mod call;
mod client_options;
mod convert;
mod copy_options;
mod copy_out;
mod copy_record;
mod copy_text;
mod descriptions;
mod error;
mod event_loop;
mod feed;
mod ffi;
mod fork;
mod gather;
mod held;
mod interpreter;
mod interval;
mod introspect;
mod io;
mod job;
mod known;
mod lending;
mod named;
mod open_streams;
mod outsiders;
mod plan;
mod pool;
mod portal;
mod prepared;
mod prepared_statement;
mod pyimport;
mod registry;
mod row;
mod script;
mod session;
mod spin;
mod stream;
mod sync;
mod tag;
mod target;
mod transaction;
mod turn;
mod unraisable;

use pyo3::prelude::*;

/// The Rust core of pgoxide.
#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::arguments::frozen_arguments;
    #[pymodule_export]
    use crate::async_client::{AsyncClient, Reader};
    #[pymodule_export]
    use crate::awaitable::Awaitable;
    #[pymodule_export]
    use crate::batch::{BatchBuilder, BatchReply};
    #[pymodule_export]
    use crate::blocking_client::BlockingClient;
    #[pymodule_export]
    use crate::client_options::ClientOptions;
    #[pymodule_export]
    use crate::convert::table::codecs;
    #[pymodule_export]
    use crate::copy_text::{copy_format, knows_types};
    #[pymodule_export]
    use crate::descriptions::Descriptions;
    #[pymodule_export]
    use crate::feed::Feed;
    #[pymodule_export]
    use crate::fork::forked;
    #[pymodule_export]
    use crate::interval::IntervalParts;
    #[pymodule_export]
    use crate::pool::{BlockingPool, PoolRouter};
    #[pymodule_export]
    use crate::portal::Portal;
    #[pymodule_export]
    use crate::prepared::Entry;
    #[pymodule_export]
    use crate::prepared_statement::{AsyncPreparedVerbs, PreparedVerbs};
    #[pymodule_export]
    use crate::registry::TypeRegistry;
    #[pymodule_export]
    use crate::row::make_row;
    #[pymodule_export]
    use crate::script::ScriptResult;
    #[pymodule_export]
    use crate::stream::{Stream, StreamStep};
    #[pymodule_export]
    use crate::tag::CommandTag;
    #[pymodule_export]
    use crate::transaction::{AsyncTransactionBlock, TransactionBlock};
    #[pymodule_export]
    use crate::unraisable::report_unraisable;

    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        crate::interpreter::claim(module.py())
    }
}
