//! json and jsonb as Python objects, numbers exact: an integer of any size is an `int`; a number with a fraction is
//! a `float` when the float denotes the same number, else a `Decimal`.

use pgoxide_types::{ValueError, json as wire};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use smallvec::SmallVec;

use super::json_seen::Seen;
use super::{Converted, JsonAs, MAX_DEPTH, Rules, plain_text, refuse, short_repr, wrong_type};
use crate::ffi::list::ListBuilder;
use crate::ffi::{unborn, unicode};
use crate::{error, pyimport};

/// Either the document is malformed or Python refused to build something.
enum Fault {
    Value(ValueError),
    Python(PyErr),
}

impl From<ValueError> for Fault {
    fn from(error: ValueError) -> Self {
        Self::Value(error)
    }
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

/// Builds a document: keys and values wait until their container ends and its size is known.
struct Builder<'py> {
    py: Python<'py>,
    keys: SmallVec<[Bound<'py, PyAny>; 16]>,
    values: SmallVec<[Bound<'py, PyAny>; 32]>,
    /// The containers that are not closed.
    open: SmallVec<[Opened; 8]>,
    seen: Box<Seen>,
}

/// Where a container's keys and values begin.
#[derive(Clone, Copy, Default)]
struct Opened {
    keys: usize,
    values: usize,
    /// Some of its values are objects that the collector knows.
    containers: bool,
}

impl<'py> Builder<'py> {
    #[inline]
    fn put(&mut self, value: Bound<'py, PyAny>) {
        self.values.push(value);
    }

    /// The container around what is put next has it.
    #[inline]
    fn holds_container(&mut self) {
        if let Some(around) = self.open.last_mut() {
            around.containers = true;
        }
    }

    #[inline]
    fn begin(&mut self) {
        self.open.push(Opened { keys: self.keys.len(), values: self.values.len(), containers: false });
    }
}

impl wire::Sink for Builder<'_> {
    type Error = Fault;

    #[inline]
    fn null(&mut self) -> Result<(), Fault> {
        self.put(self.py.None().into_bound(self.py));
        Ok(())
    }

    #[inline]
    fn boolean(&mut self, value: bool) -> Result<(), Fault> {
        self.put(PyBool::new(self.py, value).to_owned().into_any());
        Ok(())
    }

    #[inline]
    fn integer(&mut self, literal: &str) -> Result<(), Fault> {
        let number = match literal.parse::<i64>() {
            Ok(small) => small.into_pyobject(self.py).map_err(PyErr::from)?.into_any(),
            // Through Decimal, which has no limit on digits.
            Err(_) => self.py.get_type::<PyInt>().call1((pyimport::decimal(self.py)?.call1((literal,))?,))?,
        };
        self.put(number);
        Ok(())
    }

    #[inline]
    fn number(&mut self, literal: &str) -> Result<(), Fault> {
        let number = match wire::float_is_exact(literal) {
            Some(float) => PyFloat::new(self.py, float).into_any(),
            None => {
                let number = pyimport::decimal(self.py)?.call1((literal,))?;
                if unborn::is_container(&number) {
                    self.holds_container();
                }
                number
            }
        };
        self.put(number);
        Ok(())
    }

    #[inline]
    fn string(&mut self, value: &str) -> Result<(), Fault> {
        let text = self.seen.text(self.py, value.as_bytes())?;
        self.put(text.into_any());
        Ok(())
    }

    #[inline]
    fn key(&mut self, value: &str) -> Result<(), Fault> {
        let key = self.seen.keys.get(self.py, value.as_bytes())?;
        self.keys.push(key.into_any());
        Ok(())
    }

    #[inline]
    fn expected_key(&mut self, text: &[u8]) -> Option<usize> {
        let (key, length) = self.seen.keys.expected(self.py, text)?;
        self.keys.push(key.into_any());
        Some(length)
    }

    #[inline]
    fn begin_array(&mut self) -> Result<(), Fault> {
        self.begin();
        Ok(())
    }

    fn end_array(&mut self) -> Result<(), Fault> {
        let begin = self.open.pop().unwrap_or_default().values;
        let mut list = ListBuilder::new(self.py, self.values.len() - begin)?;
        self.values.drain(begin..).for_each(|value| list.push(value));
        self.holds_container();
        self.put(list.finish().into_any());
        Ok(())
    }

    #[inline]
    fn begin_object(&mut self) -> Result<(), Fault> {
        self.begin();
        Ok(())
    }

    fn end_object(&mut self) -> Result<(), Fault> {
        let begin = self.open.pop().unwrap_or_default();
        let keys = self.keys.get(begin.keys..).unwrap_or_default();
        let dict = match self.seen.shapes.of(self.py, keys)? {
            Some(shape) => shape.dict(self.py, self.values.drain(begin.values..), begin.containers)?,
            None => {
                let dict = PyDict::new(self.py);
                for (key, value) in keys.iter().zip(self.values.drain(begin.values..)) {
                    dict.set_item(key, value)?;
                }
                if dict.len() != keys.len() {
                    return Err(Fault::Python(repeated(self.py, keys)));
                }
                unborn::hold_back(&dict);
                dict
            }
        };
        self.keys.truncate(begin.keys);
        self.holds_container();
        self.put(dict.into_any());
        Ok(())
    }
}

/// Only json keeps such a document; a dict would silently lose all but the last value.
#[cold]
fn repeated(py: Python<'_>, keys: &[Bound<'_, PyAny>]) -> PyErr {
    let earlier =
        |index: usize, key: &Bound<'_, PyAny>| keys.iter().take(index).any(|other| other.eq(key).unwrap_or(false));
    let again = keys.iter().enumerate().find(|(index, key)| earlier(*index, key));
    error::data_error(
        py,
        format!(
            "a JSON object has the key {} more than once; connect with json=\"str\" for the text, or cast to jsonb, which keeps \
             the last",
            again.map_or_else(String::new, |(_, key)| short_repr(key))
        ),
    )
}

pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    let mut builder =
        Builder { py, keys: SmallVec::new(), values: SmallVec::new(), open: SmallVec::new(), seen: Seen::take() };
    let parsed = wire::parse(raw, &mut builder);
    builder.seen.give_back();
    match parsed {
        Ok(()) => {
            let document = builder.values.pop().unwrap_or_else(|| py.None().into_bound(py));
            if rules.json_null && document.is_none() { Ok(pyimport::json_null(py)?.clone()) } else { Ok(document) }
        }
        Err(Fault::Value(error)) => Err(refuse(py, &error)),
        Err(Fault::Python(error)) => Err(error),
    }
}

pub(super) fn decode_jsonb<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    decode(py, wire::strip_jsonb(raw).map_err(|e| refuse(py, &e))?, rules)
}

/// The document's text.
pub(super) fn decode_raw<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    match rules.json {
        JsonAs::Bytes => Ok(PyBytes::new(py, raw).into_any()),
        JsonAs::Str | JsonAs::Python => Ok(unicode::from_utf8(py, raw)?.into_any()),
    }
}

pub(super) fn decode_raw_jsonb<'py>(py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
    decode_raw(py, wire::strip_jsonb(raw).map_err(|e| refuse(py, &e))?, rules)
}

/// A document that has been written already, or `Json`, or `JsonNull`.
pub(super) fn encode_raw(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() {
        return write_document(value, out);
    }
    match document(value)? {
        Some(document) => {
            out.extend_from_slice(&document);
            Ok(())
        }
        None => Err(wrong_type(value, "str or bytes of JSON (this connection has json= set; or Json(value))")),
    }
}

pub(super) fn encode_raw_jsonb(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    out.push(VERSION);
    encode_raw(value, out)
}

pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    write::<false>(value, out, 0)
}

pub(super) fn encode_jsonb(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    out.push(VERSION);
    write::<true>(value, out, 0)
}

/// The only version of jsonb's binary form.
const VERSION: u8 = 1;

/// The text of a `Json` or of `JsonNull`; `None` for anything else.
pub(super) fn document(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    let py = value.py();
    if !value.is(pyimport::json_null(py)?) && !value.is_instance(pyimport::json(py)?)? {
        return Ok(None);
    }
    let mut document = Vec::new();
    write::<false>(value, &mut document, 0)?;
    Ok(Some(document))
}

/// What has been written already: str, or bytes in UTF-8, as it is.
fn write_document(document: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    if let Ok(bytes) = document.cast::<PyBytes>() {
        let text = std::str::from_utf8(bytes.as_bytes())
            .map_err(|cause| error::data_error(document.py(), format!("a JSON document that is not UTF-8: {cause}")))?;
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    let text = document.cast::<PyString>().map_err(|_| wrong_type(document, "str or bytes of JSON"))?;
    out.extend_from_slice(utf8(text)?.as_bytes());
    Ok(())
}

/// A `Json`: its value, or what its own writer makes of it.
fn write_wrapped<const JSONB: bool>(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> PyResult<()> {
    let py = value.py();
    let (inner, dumps) = (value.getattr(intern!(py, "value"))?, value.getattr(intern!(py, "dumps"))?);
    if dumps.is_none() { write::<JSONB>(&inner, out, depth + 1) } else { write_document(&dumps.call1((inner,))?, out) }
}

/// `JSONB`: of a value for jsonb, which holds texts as PostgreSQL does; json keeps the document as it is written.
fn write<const JSONB: bool>(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> PyResult<()> {
    let py = value.py();
    if depth > MAX_DEPTH {
        return Err(error::data_error(
            py,
            format!("a JSON document nested deeper than {MAX_DEPTH} levels (or into itself)"),
        ));
    }
    if value.is_none() {
        out.extend_from_slice(b"null");
    } else if let Ok(text) = value.cast::<PyString>() {
        write_text::<JSONB>(text, out)?;
    } else if let Ok(flag) = value.cast::<PyBool>() {
        out.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
    } else if value.is_instance_of::<PyInt>() {
        out.extend_from_slice(plain_text(value)?.to_str()?.as_bytes());
    } else if let Ok(float) = value.cast::<PyFloat>() {
        write_float(float, out)?;
    } else if let Ok(dict) = value.cast::<PyDict>() {
        write_object::<JSONB>(dict, out, depth)?;
    } else if let Ok(list) = value.cast::<PyList>() {
        write_array::<_, JSONB>(list.iter(), out, depth)?;
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        write_array::<_, JSONB>(tuple.iter(), out, depth)?;
    } else if value.is_instance(pyimport::decimal(py)?)? && value.call_method0("is_finite")?.is_truthy()? {
        out.extend_from_slice(plain_text(value)?.to_str()?.as_bytes());
    } else if value.is(pyimport::json_null(py)?) {
        out.extend_from_slice(b"null");
    } else if value.is_instance(pyimport::json(py)?)? {
        write_wrapped::<JSONB>(value, out, depth)?;
    } else {
        return Err(wrong_type(value, "a JSON value (dict, list, str, int, float, Decimal, bool or None)"));
    }
    Ok(())
}

fn write_text<const JSONB: bool>(text: &Bound<'_, PyString>, out: &mut Vec<u8>) -> PyResult<()> {
    let utf8 = utf8(text)?;
    if JSONB && utf8.as_bytes().contains(&0) {
        return Err(error::data_error(text.py(), "jsonb cannot hold the character NUL (\\x00); json can"));
    }
    wire::write_string(utf8, out);
    Ok(())
}

fn utf8<'a>(text: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    text.to_str().map_err(|cause| {
        let py = text.py();
        error::caused_by(py, error::data_error(py, "a lone surrogate cannot be stored in JSON"), cause)
    })
}

fn write_float(float: &Bound<'_, PyFloat>, out: &mut Vec<u8>) -> PyResult<()> {
    if !float.value().is_finite() {
        return Err(error::data_error(float.py(), format!("JSON has no {}", short_repr(float))));
    }
    out.extend_from_slice(
        float.py().get_type::<PyFloat>().call_method1("__repr__", (float,))?.str()?.to_str()?.as_bytes(),
    );
    Ok(())
}

fn write_object<const JSONB: bool>(dict: &Bound<'_, PyDict>, out: &mut Vec<u8>, depth: usize) -> PyResult<()> {
    out.push(b'{');
    for (i, (key, value)) in dict.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        // json.dumps turns 1 and "1" into the same key in silence.
        let key = key.cast::<PyString>().map_err(|_| wrong_type(&key, "str as the key of a JSON object"))?;
        write_text::<JSONB>(key, out)?;
        out.push(b':');
        write::<JSONB>(&value, out, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_array<'py, I: Iterator<Item = Bound<'py, PyAny>>, const JSONB: bool>(
    items: I,
    out: &mut Vec<u8>,
    depth: usize,
) -> PyResult<()> {
    out.push(b'[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write::<JSONB>(&item, out, depth + 1)?;
    }
    out.push(b']');
    Ok(())
}
