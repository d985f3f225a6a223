//! The Python objects the core needs, each imported once, on first use: `import pgoxide` pays for none of them.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

macro_rules! imported {
    ($($(#[$doc:meta])* $name:ident = $module:literal, $attr:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
            static CELL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
            CELL.import(py, $module, $attr)
        }
    )*};
}

macro_rules! imported_type {
    ($($(#[$doc:meta])* $name:ident = $module:literal, $attr:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
            static CELL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            CELL.import(py, $module, $attr)
        }
    )*};
}

imported! {
    /// Dates beyond Python.
    pg_date = "pgoxide.types._beyond", "PgDate";
    pg_timestamp = "pgoxide.types._beyond", "PgTimestamp";
    pg_timestamptz = "pgoxide.types._beyond", "PgTimestampTz";
    json_null = "pgoxide.types._json", "JsonNull";
    /// The zone of a session whose TimeZone has this name.
    session_zone = "pgoxide.types._zone", "session_zone";
    /// A users' codec or class as functions.
    codec_functions = "pgoxide.types._codec", "functions";
    /// Builds the exception of a server's ErrorResponse.
    server_error = "pgoxide.errors", "from_fields";
    /// Notes on errors what is known beside their text.
    explain = "pgoxide.driver.explaining", "explain";
    surroundings = "pgoxide.driver.explaining", "Surroundings";
    /// `copy.deepcopy`, for arguments that must be frozen before their types are known.
    deepcopy = "copy", "deepcopy";
    /// For those that have no such copy.
    copy = "copy", "copy";
    gc_is_enabled = "gc", "isenabled";
    gc_count = "gc", "get_count";
    gc_threshold = "gc", "get_threshold";
    gc_collect = "gc", "collect";
    warn = "warnings", "warn_explicit";
    copy_context = "contextvars", "copy_context";
    current_task = "asyncio", "current_task";
    current_thread = "threading", "current_thread";
    transaction_tokens = "pgoxide.driver.ownership", "TOKENS";
    running_loop = "asyncio", "_get_running_loop";
    safe_uuid_unknown = "uuid", "SafeUUID";
    generic_alias = "types", "GenericAlias";
    signature = "inspect", "signature";
    is_dataclass = "dataclasses", "is_dataclass";
    dataclass_fields = "dataclasses", "fields";
    dataclass_missing = "dataclasses", "MISSING";
}

imported_type! {
    row = "pgoxide.types._row", "Row";
    array = "pgoxide.types._array", "Array";
    range = "pgoxide.types._range", "Range";
    multirange = "pgoxide.types._range", "Multirange";
    columns = "pgoxide.types._codec", "Columns";
    decimal = "decimal", "Decimal";
    uuid = "uuid", "UUID";
    json = "pgoxide.types._json", "Json";
    pg_time = "pgoxide.types._time", "PgTime";
    pg_timetz = "pgoxide.types._time", "PgTimeTz";
    interval = "pgoxide.types._interval", "Interval";
    bit_string = "pgoxide.types._bits", "BitString";
    point = "pgoxide.types._geometry", "Point";
    line = "pgoxide.types._geometry", "Line";
    line_segment = "pgoxide.types._geometry", "LineSegment";
    rectangle = "pgoxide.types._geometry", "Box";
    path = "pgoxide.types._geometry", "Path";
    polygon = "pgoxide.types._geometry", "Polygon";
    circle = "pgoxide.types._geometry", "Circle";
    ts_vector = "pgoxide.types._tsvector", "TsVector";
    lsn = "pgoxide.types._system", "Lsn";
    tid = "pgoxide.types._system", "Tid";
    snapshot = "pgoxide.types._system", "Snapshot";
    zone_info = "zoneinfo", "ZoneInfo";
    task = "asyncio", "Task";
    future = "asyncio", "Future";
    cancelled_error = "asyncio", "CancelledError";
    invalid_state_error = "asyncio", "InvalidStateError";
    error = "pgoxide.errors", "Error";
    interface_error = "pgoxide.errors", "InterfaceError";
    data_error = "pgoxide.errors", "DataError";
    outdated_type = "pgoxide.errors", "OutdatedType";
    protocol_error = "pgoxide.errors", "ProtocolError";
    programming_error = "pgoxide.errors", "ProgrammingError";
    not_supported_error = "pgoxide.errors", "NotSupportedError";
    connection_closed = "pgoxide.errors", "ConnectionClosed";
    no_row = "pgoxide.errors", "NoRow";
    multiple_rows = "pgoxide.errors", "MultipleRows";
    cancelled_by_neighbour = "pgoxide.errors", "CancelledByNeighbour";
    queue_full = "pgoxide.errors", "QueueFull";
    pool_full = "pgoxide.errors", "PoolFull";
    query_timeout = "pgoxide.errors", "QueryTimeout";
    batch_aborted = "pgoxide.errors", "BatchAborted";
    statement_invalidated = "pgoxide.errors", "StatementInvalidated";
    unexpected_rollback = "pgoxide.errors", "UnexpectedRollback";
    transaction_not_begun = "pgoxide.errors", "TransactionNotBegun";
    transaction_outcome_unknown = "pgoxide.errors", "TransactionOutcomeUnknown";
}
