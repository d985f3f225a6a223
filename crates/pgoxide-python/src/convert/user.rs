//! Users' codecs: a pair of Python functions in front of, or in place of, the driver's own codec of a type.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use pgoxide_protocol::codes::Format;
use pgoxide_types::oid;
use pyo3::buffer::PyBuffer;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyTuple};

use super::{Converted, Decoder, Encoder, Rules, text, wrong_type};
use crate::call::type_oid;
use crate::ffi::unicode;
use crate::registry::{TypeInfo, TypeKind};
use crate::sync::lock;
use crate::{error, pyimport};

/// What a codec's functions take and give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Binary,
    /// The parts of the value.
    Tuple,
    /// What the driver's own codec gives and takes.
    Value,
}

/// One entry of `codecs=`.
#[derive(Debug)]
struct Given {
    /// A Codec, or a class that stands for one.
    object: Py<PyAny>,
    form: Form,
    decodes: bool,
    encodes: bool,
    /// Its functions, for each use of it. They may lead to the connection, so they are kept where the garbage collector is told
    /// of each once.
    made: Mutex<Vec<Arc<Functions>>>,
}

impl Given {
    fn keep(&self, functions: Functions) -> Arc<Functions> {
        let functions = Arc::new(functions);
        let unused: Vec<_> = {
            let mut made = lock(&self.made);
            let (used, unused) = std::mem::take(&mut *made).into_iter().partition(|one| Arc::strong_count(one) > 1);
            *made = used;
            made.push(Arc::clone(&functions));
            unused
        };
        drop(unused);
        functions
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.object)?;
        let Ok(made) = self.made.try_lock() else { return Ok(()) };
        made.iter().flat_map(|one| one.0.iter().chain(&one.1)).try_for_each(|function| visit.call(function))
    }
}

/// One entry as `pgoxide.types._codec.listed` gives it: key, codec or class, form, and which of the two functions it has.
pub(crate) type Listed<'py> = (Bound<'py, PyAny>, Py<PyAny>, String, bool, bool);

/// The codecs of a connection or statement.
#[derive(Debug, Default)]
pub(crate) struct Codecs {
    by_oid: HashMap<u32, Arc<Given>>,
    /// `name` or `schema.name` of types that are not built in.
    by_name: HashMap<String, Arc<Given>>,
    /// Of one statement's result.
    by_column: HashMap<String, Arc<Given>>,
    /// Those that are not another's.
    own: Vec<Arc<Given>>,
}

impl Codecs {
    pub(crate) fn new(listed: Vec<Listed<'_>>) -> PyResult<Self> {
        let mut codecs = Self::default();
        for (key, object, form, decodes, encodes) in listed {
            let form = match &*form {
                "binary" => Form::Binary,
                "tuple" => Form::Tuple,
                "value" => Form::Value,
                _ => Form::Text,
            };
            let given = Arc::new(Given { object, form, decodes, encodes, made: Mutex::default() });
            codecs.own.push(Arc::clone(&given));
            if key.is_instance_of::<PyInt>() {
                codecs.by_oid.insert(key.extract()?, given);
                continue;
            }
            let name: String = key.extract()?;
            let plain = name.strip_prefix("pg_catalog.").unwrap_or(&name);
            match type_oid(plain) {
                Some(oid) => {
                    codecs.by_oid.insert(oid, given);
                }
                None => {
                    codecs.by_name.insert(array_name(&name), given);
                }
            }
        }
        Ok(codecs)
    }

    /// Of one statement: a key that is a column's name is of that column alone. What is not given is as in `self`.
    pub(crate) fn for_statement(&self, listed: Vec<Listed<'_>>, columns: &[&str]) -> PyResult<Self> {
        let (of_columns, of_types): (Vec<Listed<'_>>, Vec<Listed<'_>>) =
            listed.into_iter().partition(|(key, ..)| key.extract::<&str>().is_ok_and(|key| columns.contains(&key)));
        let mut codecs = Self::new(of_types)?;
        for (key, object, form, decodes, encodes) in of_columns {
            let name: String = key.extract()?;
            let one = Self::new(vec![(0_u32.into_pyobject(key.py())?.into_any(), object, form, decodes, encodes)])?;
            codecs.by_column.extend(one.by_oid.into_values().map(|given| (name.clone(), given)));
            codecs.own.extend(one.own);
        }
        for (oid, given) in &self.by_oid {
            codecs.by_oid.entry(*oid).or_insert_with(|| Arc::clone(given));
        }
        for (name, given) in &self.by_name {
            codecs.by_name.entry(name.clone()).or_insert_with(|| Arc::clone(given));
        }
        Ok(codecs)
    }

    /// For the garbage collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.own.iter().try_for_each(|given| given.visit(visit))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_oid.is_empty() && self.by_name.is_empty() && self.by_column.is_empty()
    }

    /// By OID, by name with schema, by name: the most exact.
    fn of(&self, type_oid: u32, info: Option<&TypeInfo>) -> Option<&Arc<Given>> {
        if let Some(given) = self.by_oid.get(&type_oid) {
            return Some(given);
        }
        let info = info?;
        self.by_name.get(&format!("{}.{}", info.schema, info.name)).or_else(|| self.by_name.get(&*info.name))
    }
}

/// `mood[]` is called `_mood` in the catalog.
fn array_name(name: &str) -> String {
    let Some(element) = name.strip_suffix("[]") else { return name.to_owned() };
    let element = element.trim_end_matches("[]");
    match element.split_once('.') {
        Some((schema, element)) => format!("{schema}._{element}"),
        None => format!("_{element}"),
    }
}

/// What a codec's functions are made for.
#[derive(Debug)]
struct Subject {
    oid: u32,
    name: String,
    kind: &'static str,
    /// Labels or fields.
    parts: Vec<String>,
}

impl Subject {
    fn of(type_oid: u32, info: Option<&TypeInfo>) -> Self {
        let (kind, parts) = match info.map(|info| &info.kind) {
            Some(TypeKind::Enum { labels }) => ("enum", labels.iter().map(ToString::to_string).collect()),
            Some(TypeKind::Composite { fields }) => {
                ("composite", fields.iter().map(|field| field.name.to_string()).collect())
            }
            _ => ("other", Vec::new()),
        };
        let name = info.map_or_else(|| oid::name(type_oid).unwrap_or("?").to_owned(), |info| info.name.to_string());
        Self { oid: type_oid, name, kind, parts }
    }
}

/// A codec in its place: `C` is the driver's own.
#[derive(Debug)]
pub(crate) struct UserCodec<C> {
    given: Arc<Given>,
    subject: Subject,
    own: C,
    /// Decode and encode, as the codec or class says when it is first used.
    functions: OnceLock<Arc<Functions>>,
}

/// Decode and encode.
#[derive(Debug, FromPyObject)]
struct Functions(Option<Py<PyAny>>, Option<Py<PyAny>>);

impl UserCodec<Decoder> {
    /// The codec for a type, if there is one that decodes. `own` gives the driver's.
    pub(super) fn decoding(
        type_oid: u32,
        rules: &Rules,
        codecs: &Codecs,
        own: impl FnOnce() -> Decoder,
    ) -> Option<Self> {
        let info = rules.types.get(type_oid);
        let given = codecs.of(type_oid, info.as_deref()).filter(|given| given.decodes)?;
        Some(Self::made(given, type_oid, info.as_deref(), own()))
    }

    /// The codec of a statement's column, if there is one that decodes.
    pub(super) fn of_column(
        name: &str,
        type_oid: u32,
        rules: &Rules,
        codecs: &Codecs,
        own: impl FnOnce() -> Decoder,
    ) -> Option<Self> {
        let given = codecs.by_column.get(name).filter(|given| given.decodes)?;
        Some(Self::made(given, type_oid, rules.types.get(type_oid).as_deref(), own()))
    }
}

impl UserCodec<Encoder> {
    /// The codec for a type, if there is one that encodes. `own` gives the driver's.
    pub(super) fn encoding(type_oid: u32, rules: &Rules, own: impl FnOnce() -> Encoder) -> Option<Self> {
        let info = rules.types.get(type_oid);
        let given = rules.codecs.of(type_oid, info.as_deref()).filter(|given| given.encodes)?;
        Some(Self::made(given, type_oid, info.as_deref(), own()))
    }
}

impl<C> UserCodec<C> {
    fn made(given: &Arc<Given>, type_oid: u32, info: Option<&TypeInfo>, own: C) -> Self {
        Self { given: Arc::clone(given), subject: Subject::of(type_oid, info), own, functions: OnceLock::new() }
    }

    fn functions(&self, py: Python<'_>) -> PyResult<&Functions> {
        if let Some(functions) = self.functions.get() {
            return Ok(functions);
        }
        // Outside the lock: it runs Python.
        let Subject { name, kind, parts, .. } = &self.subject;
        let made = pyimport::codec_functions(py)?.call1((&self.given.object, name, *kind, parts.clone()))?;
        let made = self.given.keep(made.extract()?);
        Ok(self.functions.get_or_init(|| made))
    }

    #[cold]
    fn needs_binary(&self, py: Python<'_>) -> PyErr {
        error::data_error(
            py,
            format!(
                "the codec of {} works on binary values, and this one travels as text (a script, or beside a part that has no \
                 binary form)",
                self.subject.name
            ),
        )
    }

    #[cold]
    fn no_tuple(&self, py: Python<'_>) -> PyErr {
        error::data_error(
            py,
            format!("values of {} have no tuple form: use \"text\", \"binary\" or \"value\"", self.subject.name),
        )
    }

    /// The widths of the integers that binary values of the type consist of.
    const fn words(&self) -> &'static [usize] {
        match self.subject.oid {
            oid::DATE => &[4],
            oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::TIME => &[8],
            oid::TIMETZ => &[8, 4],
            // Microseconds, days, months; in a tuple the other way round.
            oid::INTERVAL => &[8, 4, 4],
            oid::TID => &[4, 2],
            _ => &[],
        }
    }
}

impl UserCodec<Decoder> {
    pub(super) fn format(&self) -> Format {
        match self.given.form {
            Form::Text => Format::Text,
            Form::Binary => Format::Binary,
            Form::Tuple if !self.words().is_empty() => Format::Binary,
            Form::Tuple | Form::Value => self.own.format(),
        }
    }

    /// A value in the format that is asked for.
    pub(super) fn binary<'py>(&self, py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
        let Functions(Some(decode), _) = self.functions(py)? else { return self.own.binary(py, raw, rules) };
        let value = match self.given.form {
            Form::Text => text::decode(py, raw)?,
            Form::Binary => PyBytes::new(py, raw).into_any(),
            Form::Value => self.own.binary(py, raw, rules)?,
            Form::Tuple if !self.words().is_empty() => self.integers(py, raw)?,
            Form::Tuple => self.parts(self.own.binary(py, raw, rules)?)?,
        };
        decode.bind(py).call1((value,))
    }

    pub(super) fn text<'py>(&self, py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
        let Functions(Some(decode), _) = self.functions(py)? else { return self.own.text(py, raw, rules) };
        let value = match self.given.form {
            Form::Text => text::decode(py, raw)?,
            Form::Binary => return Err(self.needs_binary(py)),
            Form::Tuple if !self.words().is_empty() => return Err(self.needs_binary(py)),
            Form::Value => self.own.text(py, raw, rules)?,
            Form::Tuple => self.parts(self.own.text(py, raw, rules)?)?,
        };
        decode.bind(py).call1((value,))
    }

    /// The driver's own value of a composite type or range, as a tuple.
    fn parts<'py>(&self, value: Bound<'py, PyAny>) -> Converted<'py> {
        let py = value.py();
        if value.is_instance(pyimport::range(py)?)? {
            let part = |name: &str| value.getattr(name);
            return Ok((part("lower")?, part("upper")?, part("bounds")?).into_pyobject(py)?.into_any());
        }
        match value.cast::<PyTuple>() {
            Ok(row) => Ok(PyTuple::new(py, row.iter())?.into_any()),
            Err(_) => Err(self.no_tuple(py)),
        }
    }

    fn integers<'py>(&self, py: Python<'py>, raw: &[u8]) -> Converted<'py> {
        let (mut rest, mut values) = (raw, Vec::with_capacity(3));
        for width in self.words() {
            let Some((word, behind)) = rest.split_at_checked(*width) else { return Err(self.malformed(py)) };
            rest = behind;
            let unsigned = word.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
            let shift = 64 - 8 * *width;
            let signed = (unsigned << shift).cast_signed() >> shift;
            // A tid has no negative parts.
            let value = if self.subject.oid == oid::TID { unsigned.cast_signed() } else { signed };
            values.push(value);
        }
        if !rest.is_empty() {
            return Err(self.malformed(py));
        }
        if self.subject.oid == oid::INTERVAL {
            values.reverse();
        }
        Ok(PyTuple::new(py, values)?.into_any())
    }

    #[cold]
    fn malformed(&self, py: Python<'_>) -> PyErr {
        error::data_error(py, format!("malformed {} value: it has another length", self.subject.name))
    }
}

impl UserCodec<Encoder> {
    pub(super) fn format(&self) -> Format {
        match self.given.form {
            Form::Text => Format::Text,
            Form::Binary => Format::Binary,
            Form::Tuple if !self.words().is_empty() => Format::Binary,
            Form::Tuple | Form::Value => self.own.format(),
        }
    }

    pub(super) fn encode(&self, value: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
        let py = value.py();
        let Functions(_, Some(encode)) = self.functions(py)? else { return self.own.encode(value, rules, out) };
        let made = encode.bind(py).call1((value,))?;
        match self.given.form {
            Form::Text => self.put_text(&made, out),
            Form::Binary => {
                let bytes = PyBuffer::<u8>::get(&made).map_err(|cause| self.given_back(py, "bytes", cause))?;
                out.extend_from_slice(&bytes.to_vec(py)?);
                Ok(())
            }
            Form::Value => self.own.encode(&made, rules, out),
            Form::Tuple if !self.words().is_empty() => self.put_integers(&made, out),
            Form::Tuple => self.own.encode(&self.whole(made)?, rules, out),
        }
    }

    pub(super) fn encode_text(&self, value: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
        let py = value.py();
        let Functions(_, Some(encode)) = self.functions(py)? else { return self.own.encode_text(value, rules, out) };
        match self.given.form {
            Form::Binary => return Err(self.needs_binary(py)),
            Form::Tuple if !self.words().is_empty() => return Err(self.needs_binary(py)),
            _ => {}
        }
        let made = encode.bind(py).call1((value,))?;
        match self.given.form {
            Form::Text => self.put_text(&made, out),
            Form::Tuple => self.own.encode_text(&self.whole(made)?, rules, out),
            Form::Value | Form::Binary => self.own.encode_text(&made, rules, out),
        }
    }

    /// A text, also as the UTF-8 bytes that writers of JSON give.
    fn put_text(&self, made: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
        let py = made.py();
        let put = match made.cast::<PyBytes>() {
            Ok(bytes) => unicode::from_utf8(py, bytes.as_bytes()).and_then(|text| text::encode(text.as_any(), out)),
            Err(_) => text::encode(made, out),
        };
        put.map_err(|cause| self.given_back(py, "str", cause))
    }

    /// What the driver's own codec takes, of the tuple form.
    fn whole<'py>(&self, parts: Bound<'py, PyAny>) -> Converted<'py> {
        let py = parts.py();
        let Ok(tuple) = parts.cast::<PyTuple>() else { return Err(wrong_type(&parts, "a tuple from the codec")) };
        match &self.own {
            Encoder::Range(_) => pyimport::range(py)?.call1(tuple.clone()),
            Encoder::Composite(_) => Ok(parts),
            Encoder::InText(own) if matches!(**own, Encoder::Composite(_)) => Ok(parts),
            Encoder::InText(own) if matches!(**own, Encoder::Range(_)) => pyimport::range(py)?.call1(tuple.clone()),
            _ => Err(self.no_tuple(py)),
        }
    }

    fn put_integers(&self, parts: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
        let py = parts.py();
        let Ok(tuple) = parts.cast::<PyTuple>() else { return Err(wrong_type(parts, "a tuple from the codec")) };
        let mut values = tuple.iter().map(|part| part.extract::<i64>()).collect::<PyResult<Vec<_>>>()?;
        if values.len() != self.words().len() {
            let message = format!("{} values from the codec of {}", values.len(), self.subject.name);
            return Err(error::data_error(py, message));
        }
        if self.subject.oid == oid::INTERVAL {
            values.reverse();
        }
        for (value, width) in values.into_iter().zip(self.words()) {
            let shift = 64 - 8 * *width;
            let unsigned = self.subject.oid == oid::TID && value >= 0 && value >> (8 * *width) == 0;
            if !unsigned && (value << shift) >> shift != value {
                let message = format!("{value} from the codec does not fit {width} bytes of {}", self.subject.name);
                return Err(error::data_error(py, message));
            }
            out.extend_from_slice(&value.to_be_bytes()[8 - width..]);
        }
        Ok(())
    }

    #[cold]
    fn given_back(&self, py: Python<'_>, expected: &str, cause: PyErr) -> PyErr {
        let message = format!("encode of the codec of {} must give {expected}: {}", self.subject.name, cause.value(py));
        error::caused_by(py, error::data_error(py, message), cause)
    }
}
