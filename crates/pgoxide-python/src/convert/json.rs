//! json and jsonb as Python objects, numbers exact: an integer of any size is an `int`; a number with a fraction is
//! a `float` when the float denotes the same number, else a `Decimal`.

use std::sync::Mutex;

use pgoxide_types::{ValueError, json as wire};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use smallvec::SmallVec;

use super::{Converted, JsonAs, MAX_DEPTH, Rules, plain_text, refuse, short_repr, wrong_type};
use crate::ffi::list::ListBuilder;
use crate::ffi::{unborn, unicode};
use crate::sync::lock;
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

/// Builds a document: values wait, keys among them, until their container ends and its size is known.
struct Builder<'py> {
    py: Python<'py>,
    values: SmallVec<[Bound<'py, PyAny>; 32]>,
    /// Where among them each container begins that is not closed.
    open: SmallVec<[usize; 8]>,
    seen: Seen,
}

impl<'py> Builder<'py> {
    #[inline]
    fn put(&mut self, value: Bound<'py, PyAny>) {
        self.values.push(value);
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
            None => pyimport::decimal(self.py)?.call1((literal,))?,
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
        self.put(key.into_any());
        Ok(())
    }

    #[inline]
    fn expected_key(&mut self, text: &[u8]) -> Option<usize> {
        let (key, length) = self.seen.keys.expected(self.py, text)?;
        self.put(key.into_any());
        Some(length)
    }

    #[inline]
    fn begin_array(&mut self) -> Result<(), Fault> {
        self.open.push(self.values.len());
        Ok(())
    }

    fn end_array(&mut self) -> Result<(), Fault> {
        let begin = self.open.pop().unwrap_or(0);
        let mut list = ListBuilder::new(self.py, self.values.len() - begin)?;
        self.values.drain(begin..).for_each(|value| list.push(value));
        self.put(list.finish().into_any());
        Ok(())
    }

    #[inline]
    fn begin_object(&mut self) -> Result<(), Fault> {
        self.open.push(self.values.len());
        Ok(())
    }

    fn end_object(&mut self) -> Result<(), Fault> {
        let begin = self.open.pop().unwrap_or(0);
        let members = self.values.get(begin..).unwrap_or_default();
        let dict = PyDict::new(self.py);
        for member in members.chunks_exact(2) {
            dict.set_item(&member[0], &member[1])?;
        }
        if dict.len() * 2 != members.len() {
            return Err(Fault::Python(repeated(self.py, members)));
        }
        self.values.truncate(begin);
        unborn::hold_back(&dict);
        self.put(dict.into_any());
        Ok(())
    }
}

/// What earlier documents had. It is taken out by whoever decodes a document; another one meanwhile, started by code that
/// making an object may run, begins without.
static SEEN: Mutex<Seen> = Mutex::new(Seen { keys: Keys { known: Vec::new(), last: 0 }, texts: None });

struct Seen {
    keys: Keys,
    /// Only while one result is read.
    texts: Option<Texts>,
}

impl Seen {
    fn take() -> Self {
        let mut seen = lock(&SEEN);
        Self { keys: std::mem::take(&mut seen.keys), texts: seen.texts.take() }
    }

    /// For the next document.
    fn give_back(self) {
        let replaced = std::mem::replace(&mut *lock(&SEEN), self);
        drop(replaced);
    }

    #[inline]
    fn text<'py>(&mut self, py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyString>> {
        match &mut self.texts {
            Some(texts) => texts.get(py, text),
            None => unicode::from_utf8(py, text),
        }
    }
}

/// Runs `read`, which reads documents of one result: short texts that they have in common are made once.
pub(crate) fn sharing_texts<R>(read: impl FnOnce() -> R) -> R {
    lock(&SEEN).texts = Some(Texts::default());
    let result = read();
    // No value of the user's is kept.
    let texts = lock(&SEEN).texts.take();
    drop(texts);
    result
}

/// Texts by their length and their first and last bytes, which is all there is of such short ones.
#[derive(Default)]
struct Texts(Vec<Option<(Tag, Py<PyString>)>>);

type Tag = (u64, u64, usize);

impl Texts {
    const COUNT: usize = 256;

    #[inline]
    fn get<'py>(&mut self, py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyString>> {
        let Some(tag) = Self::tag(text) else { return unicode::from_utf8(py, text) };
        if self.0.is_empty() {
            self.0.resize_with(Self::COUNT, || None);
        }
        let known = &mut self.0[place(text) % Self::COUNT];
        if let Some((same, text)) = known
            && *same == tag
        {
            return Ok(text.bind(py).clone());
        }
        let made = unicode::from_utf8(py, text)?;
        *known = Some((tag, made.clone().unbind()));
        Ok(made)
    }

    #[inline]
    fn tag(text: &[u8]) -> Option<Tag> {
        let (first, last) = match text.len() {
            2..4 => (u16::from_le_bytes(*text.first_chunk()?).into(), u16::from_le_bytes(*text.last_chunk()?).into()),
            4..8 => (u32::from_le_bytes(*text.first_chunk()?).into(), u32::from_le_bytes(*text.last_chunk()?).into()),
            8..=16 => (u64::from_le_bytes(*text.first_chunk()?), u64::from_le_bytes(*text.last_chunk()?)),
            _ => return None,
        };
        Some((first, last, text.len()))
    }
}

/// The names of members seen lately. Documents of one table have the same ones: each is made and hashed once, and dicts
/// find them by identity. No value of the user's is kept.
#[derive(Default)]
struct Keys {
    known: Vec<Known>,
    /// The place of the last one.
    last: usize,
}

/// A name, as the bytes of the document and as Python has it.
#[derive(Default)]
struct Known {
    length: usize,
    /// With its closing quote.
    name: [u8; Keys::LONGEST + 1],
    /// It stands in documents as it is.
    plain: bool,
    key: Option<Py<PyString>>,
    /// The place of the one that followed it.
    next: usize,
}

impl Known {
    /// `text` begins with it and its closing quote.
    #[inline]
    fn begins(&self, text: &[u8]) -> bool {
        match (text.first_chunk(), self.name.first_chunk()) {
            (Some(text), Some(name)) if self.length < 8 => {
                let differs = u64::from_le_bytes(*text) ^ u64::from_le_bytes(*name);
                differs << (56 - 8 * self.length) == 0
            }
            _ => text.starts_with(self.name.get(..=self.length).unwrap_or(b"\"")),
        }
    }
}

impl Keys {
    const COUNT: usize = 512;
    const LONGEST: usize = 31;

    #[inline]
    fn get<'py>(&mut self, py: Python<'py>, name: &[u8]) -> PyResult<Bound<'py, PyString>> {
        if name.len() > Self::LONGEST {
            return unicode::from_utf8(py, name);
        }
        if self.known.is_empty() {
            self.known.resize_with(Self::COUNT, Known::default);
        }
        let at = place(name) % Self::COUNT;
        self.known[self.last].next = at;
        self.last = at;
        let known = &mut self.known[at];
        if let Some(key) = &known.key
            && known.name.get(..known.length) == Some(name)
        {
            return Ok(key.bind(py).clone());
        }
        let made = unicode::from_utf8(py, name)?;
        known.length = name.len();
        known.name[..name.len()].copy_from_slice(name);
        known.name[name.len()] = b'"';
        known.plain = name.iter().all(|byte| !matches!(byte, 0..0x20 | b'"' | b'\\'));
        known.key = Some(made.clone().unbind());
        Ok(made)
    }

    /// The name that followed the last one before, if `text` begins with it; and its length. Documents of one table have their
    /// members in the same order, so that most names are only compared.
    #[inline]
    fn expected<'py>(&mut self, py: Python<'py>, text: &[u8]) -> Option<(Bound<'py, PyString>, usize)> {
        let next = self.known.get(self.last)?.next;
        let known = self.known.get(next)?;
        let key = known.key.as_ref().filter(|_| known.plain)?;
        if !known.begins(text) {
            return None;
        }
        self.last = next;
        Some((key.bind(py).clone(), known.length))
    }
}

/// Where a text is kept: by its length, its beginning and its end. A bad choice costs time only: texts displace each other.
#[inline]
fn place(name: &[u8]) -> usize {
    let mix = |one: u64, other: u64| {
        let mixed = (one ^ other.rotate_left(29) ^ name.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 40) as usize
    };
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        mix(u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        mix(u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into())
    } else {
        name.iter().fold(0, |hash, byte| hash * 31 + usize::from(*byte))
    }
}

/// Only json keeps such a document; a dict would silently lose all but the last value.
#[cold]
fn repeated(py: Python<'_>, members: &[Bound<'_, PyAny>]) -> PyErr {
    let earlier = |index: usize, key: &Bound<'_, PyAny>| {
        members.iter().step_by(2).take(index).any(|other| other.eq(key).unwrap_or(false))
    };
    let again = members.iter().step_by(2).enumerate().find(|(index, key)| earlier(*index, key));
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
    let mut builder = Builder { py, values: SmallVec::new(), open: SmallVec::new(), seen: Seen::take() };
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
