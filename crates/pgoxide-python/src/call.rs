//! What the two clients share at the border: reading a call's arguments, options, names.

use std::sync::Arc;
use std::time::Duration;

use pgoxide_protocol::codes::TransactionStatus;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString, PyTuple};

use crate::convert::user::{Codecs, Listed};
use crate::convert::zone::{Naive, SessionZone, Zone};
use crate::convert::{Beyond, Float4, JsonAs, Rules, short_repr};
use crate::error;
use crate::named::{self, Given, NamedText, Values, text_of};
use crate::prepared::{CacheRules, Prepared};
use crate::registry::{TypeRegistry, Types};
use crate::session::Session;

/// Bind counts its parameters in 16 bits.
const MOST_PARAMETERS: usize = u16::MAX as usize;

/// SQL's own spellings of types whose `typname` is another.
const SPELLINGS: [(&str, &str); 15] = [
    ("integer", "int4"),
    ("int", "int4"),
    ("smallint", "int2"),
    ("bigint", "int8"),
    ("real", "float4"),
    ("double precision", "float8"),
    ("boolean", "bool"),
    ("decimal", "numeric"),
    ("character varying", "varchar"),
    ("character", "bpchar"),
    ("timestamp without time zone", "timestamp"),
    ("timestamp with time zone", "timestamptz"),
    ("time without time zone", "time"),
    ("time with time zone", "timetz"),
    ("bit varying", "varbit"),
];

/// The oid of a built-in type by its `typname` or as SQL writes it; with `[]` behind it, of arrays of it.
pub(crate) fn type_oid(name: &str) -> Option<u32> {
    let name = name.trim();
    if let Some(element) = name.strip_suffix("[]") {
        // Dimensions are no part of an array's type: `int4[][]` is `int4[]`.
        return pgoxide_types::oid::array(type_oid(element.trim_end_matches("[]"))?);
    }
    let typname = SPELLINGS.iter().find(|(sql, _)| *sql == name).map_or(name, |(_, typname)| typname);
    pgoxide_types::oid::by_name(typname)
}

/// Who knows what became of a text with named parameters.
pub(crate) trait NamedSource {
    fn named_text(&self, sql: &Bound<'_, PyString>) -> PyResult<Arc<NamedText>>;
}

impl NamedSource for Session {
    fn named_text(&self, sql: &Bound<'_, PyString>) -> PyResult<Arc<NamedText>> {
        self.statements.named.get(sql, self.conforms())
    }
}

/// One statement as it was asked for.
pub(crate) struct Asked<'py> {
    /// As it was written.
    pub(crate) sql: Bound<'py, PyString>,
    /// What became of it, when its parameters are given by name.
    pub(crate) named: Option<Arc<NamedText>>,
    /// By position, however they were given.
    pub(crate) arguments: Bound<'py, PyTuple>,
    pub(crate) types: Vec<u32>,
    /// The very statement, when its holder asks.
    prepared: Option<Arc<Prepared>>,
    pub(crate) into: Option<Py<PyAny>>,
    pub(crate) timeout: Option<f64>,
    pub(crate) isolate: bool,
}

impl<'py> Asked<'py> {
    /// `statement` is SQL text, or a Statement that brings its own parameters and row type.
    #[inline]
    pub(crate) fn new(
        source: &impl NamedSource,
        statement: &Bound<'py, PyAny>,
        given: Given<'_, 'py>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        types: Option<&Bound<'py, PyAny>>,
        isolate: bool,
    ) -> PyResult<Self> {
        let timeout = self::timeout(statement.py(), timeout)?;
        if given.args.len() > MOST_PARAMETERS {
            return Err(error::interface_error(
                statement.py(),
                format!(
                    "{} parameters: a statement has {MOST_PARAMETERS} at most; pass one array, or use execute_many or copy_in",
                    given.args.len()
                ),
            ));
        }
        let into = into.filter(|into| !into.is_none(statement.py()));
        let values = given.by_name()?;
        if values.is_none()
            && let Ok(sql) = statement.cast_exact::<PyString>()
        {
            let types = types.map_or_else(|| Ok(Vec::new()), type_oids)?;
            return Ok(Self {
                sql: sql.clone(),
                named: None,
                arguments: given.args,
                types,
                prepared: None,
                into,
                timeout,
                isolate,
            });
        }
        let mut asked = match statement.cast::<PyString>() {
            // A subclass may hash and compare as it likes; the cache needs the plain text.
            Ok(text) => {
                let sql = if text.is_exact_instance_of::<PyString>() {
                    text.clone()
                } else {
                    PyString::new(text.py(), text_of(text)?)
                };
                match values {
                    None => {
                        let types = types.map_or_else(|| Ok(Vec::new()), type_oids)?;
                        Self {
                            sql,
                            named: None,
                            arguments: given.args,
                            types,
                            prepared: None,
                            into,
                            timeout: None,
                            isolate: false,
                        }
                    }
                    Some(values) => Self::by_name(source, sql, &values, types, into)?,
                }
            }
            Err(_) => Self::from_statement(source, statement, &given.args, values.is_some(), into, types)?,
        };
        (asked.timeout, asked.isolate) = (timeout, isolate);
        Ok(asked)
    }

    fn by_name(
        source: &impl NamedSource,
        sql: Bound<'py, PyString>,
        values: &Values<'py>,
        types: Option<&Bound<'py, PyAny>>,
        into: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let text = source.named_text(&sql)?;
        let arguments = values.in_order_of(&text)?;
        let types = match types {
            None => Vec::new(),
            Some(types) => type_oids(&text.types(types)?)?,
        };
        Ok(Self { sql, named: Some(text), arguments, types, prepared: None, into, timeout: None, isolate: false })
    }

    #[cold]
    fn from_statement(
        source: &impl NamedSource,
        statement: &Bound<'py, PyAny>,
        arguments: &Bound<'py, PyTuple>,
        by_name: bool,
        into: Option<Py<PyAny>>,
        types: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        let py = statement.py();
        if !statement.hasattr(intern!(py, "sql"))? {
            return Err(error::interface_error(
                py,
                format!("a statement is SQL text or a Statement, not {}", short_repr(statement)),
            ));
        }
        if by_name || !arguments.is_empty() {
            return Err(error::interface_error(py, "a Statement brings its own parameters; none can be added"));
        }
        let own_types = Some(statement.getattr(intern!(py, "types"))?).filter(|types| !types.is_none());
        let own_into = statement.getattr(intern!(py, "into"))?;
        let into = into.or_else(|| (!own_into.is_none()).then(|| own_into.unbind()));
        let sql = statement.getattr(intern!(py, "sql"))?.cast_into::<PyString>()?;
        let arguments = statement.getattr(intern!(py, "parameters"))?.cast_into::<PyTuple>()?;
        if let Some(names) = named::statement_names(statement)? {
            let own_types = match own_types {
                Some(types) => Some(named::zipped(&names, types.cast::<PyTuple>()?)?.into_any()),
                None => None,
            };
            let values = named::zipped(&names, &arguments)?;
            return Self::by_name(source, sql, &Values::of(&values)?, types.or(own_types.as_ref()), into);
        }
        let types = types.or(own_types.as_ref()).map_or_else(|| Ok(Vec::new()), type_oids)?;
        Ok(Self { sql, named: None, arguments, types, prepared: None, into, timeout: None, isolate: false })
    }

    /// By who holds it prepared.
    pub(crate) fn of_prepared(
        prepared: Arc<Prepared>,
        given: Given<'_, 'py>,
        into: Option<Py<PyAny>>,
        timeout: Option<f64>,
        isolate: bool,
    ) -> PyResult<Self> {
        let py = given.args.py();
        let timeout = self::timeout(py, timeout)?;
        let arguments = match (given.by_name()?, &prepared.named) {
            (Some(values), Some(text)) => values.in_order_of(text)?,
            (None, None) => given.args,
            (Some(_), None) => {
                return Err(error::interface_error(py, "the parameters of this statement have no names ($1, $2 …)"));
            }
            (None, Some(text)) => {
                let names: Vec<String> = text.names().iter().map(|name| format!(":{name}")).collect();
                let message = format!("the parameters of this statement are given by name: {}", names.join(", "));
                return Err(error::interface_error(py, message));
            }
        };
        let sql = prepared.original().bind(py).clone();
        Ok(Self { sql, named: None, arguments, types: Vec::new(), prepared: Some(prepared), into, timeout, isolate })
    }

    /// Its statement on this connection, known or new.
    #[inline]
    pub(crate) fn prepared(&self, session: &Session) -> PyResult<Arc<Prepared>> {
        if let Some(prepared) = &self.prepared {
            return Ok(Arc::clone(prepared));
        }
        session.statements.get(&self.sql, &self.types, self.named.as_ref())
    }
}

/// Types by OID or by name.
pub(crate) fn type_oids(types: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    types
        .try_iter()?
        .map(|one| {
            let one = one?;
            if one.is_instance_of::<PyInt>() {
                return one.extract::<u32>().map_err(|cause| {
                    let message = format!("types: {} is no oid (0 to 4294967295)", short_repr(&one));
                    error::caused_by(one.py(), error::interface_error(one.py(), message), cause)
                });
            }
            let Ok(name) = one.cast::<PyString>() else {
                let message = format!("types: {} is neither the name of a type nor its oid", short_repr(&one));
                return Err(PyTypeError::new_err(message));
            };
            let name = name.to_string_lossy();
            type_oid(&name).ok_or_else(|| {
                error::interface_error(
                    one.py(),
                    format!("types: no built-in type is called {name:?}; give its oid, or a cast in the SQL"),
                )
            })
        })
        .collect()
}

pub(crate) fn cache_rules(size: usize, longest: usize, lifetime: Option<f64>) -> CacheRules {
    CacheRules { size, longest, lifetime: lifetime.and_then(|s| Duration::try_from_secs_f64(s).ok()) }
}

/// Of `connect()`'s options those that choose between two forms of a type's values.
pub(crate) struct Forms<'a> {
    pub(crate) array_bounds: &'a str,
    pub(crate) money: Option<u8>,
    pub(crate) json: &'a str,
    pub(crate) json_null: &'a str,
}

/// The connection's rules as `connect()` was told.
#[expect(clippy::too_many_arguments, reason = "called from the two constructors")]
pub(crate) fn rules(
    py: Python<'_>,
    beyond: &str,
    float4: &str,
    timestamptz_zone: &Bound<'_, PyAny>,
    naive_timestamptz: &str,
    duplicate_columns: &str,
    forms: &Forms<'_>,
    type_registry: Option<&Bound<'_, TypeRegistry>>,
    codecs: Vec<Listed<'_>>,
) -> PyResult<Rules> {
    const BEYOND: [(&str, Beyond); 4] =
        [("raise", Beyond::Raise), ("clamp", Beyond::Clamp), ("text", Beyond::Text), ("special", Beyond::Special)];
    const FLOAT4: [(&str, Float4); 2] = [("exact", Float4::Exact), ("shortest", Float4::Shortest)];
    const NAIVE: [(&str, Naive); 4] =
        [("refuse", Naive::Refuse), ("utc", Naive::Utc), ("local", Naive::Local), ("session", Naive::Session)];
    const UNIQUE: [(&str, bool); 2] = [("last", false), ("raise", true)];
    const JSON: [(&str, JsonAs); 3] = [("python", JsonAs::Python), ("str", JsonAs::Str), ("bytes", JsonAs::Bytes)];
    const JSON_NULL: [(&str, bool); 2] = [("none", false), ("special", true)];
    const BOUNDS: [(&str, bool); 2] = [("ignore", false), ("keep", true)];
    Ok(Rules {
        beyond: choose(py, "beyond", beyond, &BEYOND)?,
        float4: choose(py, "float4", float4, &FLOAT4)?,
        zone: Zone::asked(timestamptz_zone)?,
        naive: choose(py, "naive_timestamptz", naive_timestamptz, &NAIVE)?,
        session_zone: SessionZone::default(),
        unique_columns: choose(py, "duplicate_columns", duplicate_columns, &UNIQUE)?,
        money: forms.money,
        json: choose(py, "json", forms.json, &JSON)?,
        json_null: choose(py, "json_null", forms.json_null, &JSON_NULL)?,
        keep_array_bounds: choose(py, "array_bounds", forms.array_bounds, &BOUNDS)?,
        codecs: Codecs::new(codecs)?,
        types: type_registry.map_or_else(Types::default, |registry| Types::shared(registry.get())),
    })
}

/// What an option's word means.
fn choose<T: Copy>(py: Python<'_>, option: &str, word: &str, meanings: &[(&str, T)]) -> PyResult<T> {
    if let Some((_, meaning)) = meanings.iter().find(|(known, _)| *known == word) {
        return Ok(*meaning);
    }
    let known: Vec<String> = meanings.iter().map(|(known, _)| format!("{known:?}")).collect();
    Err(error::interface_error(py, format!("{option}={word:?}: one of {}", known.join(", "))))
}

pub(crate) const fn status_name(status: TransactionStatus) -> &'static str {
    match status {
        TransactionStatus::Idle => "idle",
        TransactionStatus::InTransaction => "in transaction",
        TransactionStatus::Failed => "failed transaction",
    }
}

pub(crate) fn cache_stats<'py>(py: Python<'py>, session: &Session) -> PyResult<Bound<'py, PyDict>> {
    let (stats, size) = session.statements.stats(py);
    let dict = PyDict::new(py);
    dict.set_item("size", size)?;
    dict.set_item("hits", stats.hits)?;
    dict.set_item("misses", stats.misses)?;
    dict.set_item("evictions", stats.evictions)?;
    Ok(dict)
}

/// A time limit in seconds; infinity is none.
pub(crate) fn timeout(py: Python<'_>, seconds: Option<f64>) -> PyResult<Option<f64>> {
    match seconds {
        Some(seconds) if seconds.is_nan() || seconds < 0.0 => {
            Err(error::interface_error(py, format!("timeout={seconds}: seconds, not negative")))
        }
        // Beyond a century no clock is needed. Not None: that is "not given", and takes the connection's default.
        Some(seconds) if seconds > 3.2e9 => Ok(Some(f64::INFINITY)),
        other => Ok(other),
    }
}

/// Rows a batch holds at most.
pub(crate) fn batch_size(py: Python<'_>, batch: i64) -> PyResult<u32> {
    match u32::try_from(batch) {
        // 0 means "all rows" to the protocol, which is what a stream is not for.
        Ok(size @ 1..=1_000_000) => Ok(size),
        _ => Err(error::interface_error(py, format!("batch={batch}: rows at a time, from 1 to 1000000"))),
    }
}
