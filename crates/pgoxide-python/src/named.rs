//! Parameters given by name: `:name` placeholders, and the values for them.
//!
//! ```text
//!   text ──once──▶ NamedText: what the server gets, and the names in the order of $1, $2 …
//!   values by name ──every call──▶ a tuple in that order ──▶ as if they had been given by position
//! ```

use std::sync::Arc;

use pgoxide_sqltext::{Named, PlaceholderError, characters};
use pyo3::Borrowed;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString, PyTuple};

use crate::convert::short_repr;
use crate::error;

/// What verbs call their options: a placeholder of such a name gets its value by `params=`.
const OPTIONS: [&str; 8] = ["into", "timeout", "types", "isolate", "params", "commit", "batch", "codecs"];

/// A call's parameters as Python hands them over.
pub(crate) struct Given<'a, 'py> {
    pub(crate) args: Bound<'py, PyTuple>,
    pub(crate) params: Option<&'a Bound<'py, PyAny>>,
    /// Keywords that are no options; None, without a dictionary, when there are none.
    pub(crate) named: Option<&'a Bound<'py, PyDict>>,
}

impl<'py> Given<'_, 'py> {
    /// None when they are given by position; that is also what nothing at all counts as.
    #[inline]
    pub(crate) fn by_name(&self) -> PyResult<Option<Values<'py>>> {
        match (self.params, self.named) {
            (None, None) => Ok(None),
            (params, named) => self.values(params, named).map(Some),
        }
    }

    #[cold]
    fn values(&self, params: Option<&Bound<'py, PyAny>>, named: Option<&Bound<'py, PyDict>>) -> PyResult<Values<'py>> {
        let py = self.args.py();
        let given = match (params, named) {
            (Some(_), Some(named)) => {
                return Err(error::interface_error(
                    py,
                    format!("parameters by name are keywords or params=, not both: {} and params", list(named)),
                ));
            }
            (Some(params), None) => Values::of(params)?,
            (None, named) => {
                let values = named.map_or_else(|| PyDict::new(py), Clone::clone);
                Values { values, by_keyword: true }
            }
        };
        if self.args.is_empty() {
            return Ok(given);
        }
        Err(error::interface_error(
            py,
            format!(
                "parameters are given by position ($1) or by name (:name), not both: {} by position, and {}",
                self.args.len(),
                list(&given.values)
            ),
        ))
    }
}

/// Values by name.
pub(crate) struct Values<'py> {
    values: Bound<'py, PyDict>,
    by_keyword: bool,
}

impl<'py> Values<'py> {
    /// A mapping's items as they are now.
    pub(crate) fn of(params: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(values) = params.cast_exact::<PyDict>() {
            return Ok(Self { values: values.clone(), by_keyword: false });
        }
        let py = params.py();
        let Ok(mapping) = params.cast::<PyMapping>() else {
            return Err(error::interface_error(
                py,
                format!(
                    "parameters by name are one mapping of names to values, not {}; values for $1, $2 … follow the SQL text",
                    short_repr(params)
                ),
            ));
        };
        let values = PyDict::new(py);
        values.update(mapping)?;
        Ok(Self { values, by_keyword: false })
    }

    /// In the order of the statement's parameters. Raises unless each has one, and none is left over.
    pub(crate) fn in_order_of(&self, text: &NamedText) -> PyResult<Bound<'py, PyTuple>> {
        let py = self.values.py();
        let mut ordered = Vec::with_capacity(text.names.len());
        for name in &text.names {
            match self.values.get_item(name)? {
                Some(value) => ordered.push(value),
                None => return Err(self.mismatch(text)),
            }
        }
        if self.values.len() != ordered.len() {
            return Err(self.mismatch(text));
        }
        PyTuple::new(py, ordered)
    }

    /// What is missing and what is too much.
    #[cold]
    fn mismatch(&self, text: &NamedText) -> PyErr {
        let py = self.values.py();
        let missing: Vec<&str> = text
            .names()
            .iter()
            .map(String::as_str)
            .filter(|name| !self.values.contains(*name).unwrap_or(false))
            .collect();
        let surplus: Vec<String> = self
            .values
            .keys()
            .iter()
            .filter(|key| !key.extract::<String>().is_ok_and(|key| text.names().contains(&key)))
            .map(|key| key.extract::<String>().unwrap_or_else(|_| short_repr(&key)))
            .collect();
        let mut told = Vec::new();
        if !missing.is_empty() {
            told.push(format!("no value for :{}", missing.join(", :")));
        }
        if !surplus.is_empty() {
            let has = if text.names.is_empty() { "none".to_owned() } else { format!(":{}", text.names().join(", :")) };
            told.push(format!("no placeholder :{} in the text, which has {has}", surplus.join(", :")));
            if self.by_keyword {
                told.push("nor is that an option of the call".to_owned());
            }
        }
        let options: Vec<&&str> = missing.iter().filter(|name| self.by_keyword && OPTIONS.contains(name)).collect();
        if let Some(name) = options.first() {
            told.push(format!("{name} is an option of the call, so a placeholder of that name takes its value from params={{\"{name}\": …}}"));
        }
        error::interface_error(py, told.join("; "))
    }
}

fn list(values: &Bound<'_, PyDict>) -> String {
    let names: Vec<String> = values.keys().iter().map(|key| short_repr(&key)).collect();
    if names.is_empty() { "params".to_owned() } else { names.join(", ") }
}

/// A text with `:name` placeholders, and what became of it.
pub(crate) struct NamedText {
    pub(crate) original: Py<PyString>,
    /// With `$1`, `$2` … : what the server gets.
    pub(crate) sql: Py<PyString>,
    /// In the order of `$1`, `$2` …
    names: Box<[Py<PyString>]>,
    text: Named,
    conforming: bool,
}

impl NamedText {
    fn of(original: &Bound<'_, PyString>, conforming: bool) -> PyResult<Self> {
        let py = original.py();
        let source = text_of(original)?;
        let text = Named::of(source, conforming).map_err(|fault| refuse(py, source, &fault))?;
        Ok(Self {
            original: original.clone().unbind(),
            sql: PyString::new(py, &text.sql).unbind(),
            // Interned, as keywords are: found by identity.
            names: text.names.iter().map(|name| PyString::intern(py, name).unbind()).collect(),
            text,
            conforming,
        })
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.text.names
    }

    /// Where in the original a place in what was sent is. Both count characters from 1.
    pub(crate) fn original_position(&self, py: Python<'_>, position: usize) -> usize {
        self.original.to_str(py).map_or(position, |original| self.text.original_position(original, position))
    }

    /// Types given by name, in the order of the parameters.
    pub(crate) fn types<'py>(&self, types: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = types.py();
        if types.cast::<PyMapping>().is_err() {
            return Err(error::interface_error(
                py,
                "types: of parameters given by name the types are given by name too, as a mapping",
            ));
        }
        Ok(Values::of(types)?
            .in_order_of(self)
            .map_err(|cause| {
                error::caused_by(py, error::interface_error(py, format!("types: {}", cause.value(py))), cause)
            })?
            .into_any())
    }
}

#[cold]
fn refuse(py: Python<'_>, source: &str, fault: &PlaceholderError) -> PyErr {
    match fault {
        PlaceholderError::Positional { at } => error::interface_error(
            py,
            format!(
                "the parameters are given by name, and the text has a numbered placeholder (character {}): use :name or $1, \
                 not both",
                characters(source, *at)
            ),
        ),
        PlaceholderError::TooMany => error::interface_error(
            py,
            "a statement has 65535 parameters at most; pass arrays, or use execute_many or copy_in",
        ),
    }
}

/// SQL text as Rust sees it.
pub(crate) fn text_of<'a>(sql: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    let text = sql.to_str().map_err(|cause| {
        let message = "the SQL text has a lone surrogate: it has no UTF-8 form";
        error::caused_by(sql.py(), error::data_error(sql.py(), message), cause)
    })?;
    if text.as_bytes().contains(&0) {
        let at = characters(text, text.bytes().position(|byte| byte == 0).unwrap_or(0));
        return Err(error::data_error(
            sql.py(),
            format!("the SQL text has the character NUL (\\x00), at character {at}"),
        ));
    }
    Ok(text)
}

/// SQL text that goes by the simple protocol.
pub(crate) struct SqlText(pub(crate) String);

impl<'py> FromPyObject<'_, 'py> for SqlText {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let text = value.cast::<PyString>()?;
        text_of(&text).map(|sql| Self(sql.to_owned()))
    }
}

/// A rewritten text as the cache's dictionary holds it.
#[pyclass(frozen, module = "pgoxide._core")]
struct Rewritten(Arc<NamedText>);

/// The texts one connection has rewritten.
pub(crate) struct NamedTexts {
    by_sql: Py<PyDict>,
    /// So many are kept, and none that is longer.
    size: usize,
    longest: usize,
}

impl NamedTexts {
    pub(crate) fn new(py: Python<'_>, size: usize, longest: usize) -> Self {
        Self { by_sql: PyDict::new(py).unbind(), size, longest }
    }

    /// Rewrites a text whose parameters are given by name, unless it is known. `conforming`: the session's
    /// `standard_conforming_strings`.
    pub(crate) fn get(&self, sql: &Bound<'_, PyString>, conforming: bool) -> PyResult<Arc<NamedText>> {
        let py = sql.py();
        let known = self.by_sql.bind(py);
        if let Some(entry) = known.get_item(sql)? {
            let text = Arc::clone(&entry.cast::<Rewritten>()?.get().0);
            if text.conforming == conforming {
                return Ok(text);
            }
        }
        let text = Arc::new(NamedText::of(sql, conforming)?);
        if self.size > 0 && sql.len()? <= self.longest {
            // Rewriting takes microseconds: no need to know which text was used last.
            if known.len() >= self.size {
                known.clear();
            }
            known.set_item(sql, Bound::new(py, Rewritten(Arc::clone(&text)))?)?;
        }
        Ok(text)
    }

    /// For calls that see the text before any parameters: with names when it has some and no `$1`.
    pub(crate) fn if_any(&self, sql: &Bound<'_, PyString>, conforming: bool) -> PyResult<Option<Arc<NamedText>>> {
        match Named::of(text_of(sql)?, conforming) {
            Ok(text) if text.names.is_empty() => Ok(None),
            Err(PlaceholderError::Positional { .. }) => Ok(None),
            Ok(_) | Err(PlaceholderError::TooMany) => self.get(sql, conforming).map(Some),
        }
    }

    pub(crate) fn clear(&self, py: Python<'_>) {
        self.by_sql.bind(py).clear();
    }

    pub(crate) fn dictionary(&self) -> &Py<PyDict> {
        &self.by_sql
    }
}

/// The names of a Statement whose parameters were given by name.
pub(crate) fn statement_names<'py>(statement: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyTuple>>> {
    match statement.getattr_opt(intern!(statement.py(), "names"))? {
        Some(names) if !names.is_none() => Ok(Some(names.cast_into::<PyTuple>()?)),
        _ => Ok(None),
    }
}

/// `names` with a value each.
pub(crate) fn zipped<'py>(names: &Bound<'py, PyTuple>, values: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    let zipped = PyDict::new(names.py());
    for (name, value) in names.iter_borrowed().zip(values.iter_borrowed()) {
        zipped.set_item(name, value)?;
    }
    Ok(zipped.into_any())
}
