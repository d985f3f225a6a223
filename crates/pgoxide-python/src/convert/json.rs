//! json and jsonb as Python objects, numbers exact: an integer of any size is an `int`; a number with a fraction is
//! a `float` when the float denotes the same number, else a `Decimal`.

use pgoxide_types::{ValueError, json as wire};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use super::{Converted, MAX_DEPTH, plain_text, refuse, short_repr, wrong_type};
use crate::ffi::unicode;
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

/// A container not yet closed.
enum Open<'py> {
    Array(Bound<'py, PyList>),
    Object(Bound<'py, PyDict>, Option<Bound<'py, PyString>>),
}

struct Builder<'py> {
    py: Python<'py>,
    open: Vec<Open<'py>>,
    document: Option<Bound<'py, PyAny>>,
}

impl<'py> Builder<'py> {
    fn put(&mut self, value: Bound<'py, PyAny>) -> Result<(), Fault> {
        match self.open.last_mut() {
            None => self.document = Some(value),
            Some(Open::Array(list)) => list.append(value)?,
            Some(Open::Object(dict, key)) => {
                if let Some(key) = key.take() {
                    dict.set_item(key, value)?;
                }
            }
        }
        Ok(())
    }
}

impl wire::Sink for Builder<'_> {
    type Error = Fault;

    fn null(&mut self) -> Result<(), Fault> {
        self.put(self.py.None().into_bound(self.py))
    }

    fn boolean(&mut self, value: bool) -> Result<(), Fault> {
        self.put(PyBool::new(self.py, value).to_owned().into_any())
    }

    fn integer(&mut self, literal: &str) -> Result<(), Fault> {
        let number = match literal.parse::<i64>() {
            Ok(small) => small.into_pyobject(self.py).map_err(PyErr::from)?.into_any(),
            // Through Decimal, which has no limit on digits.
            Err(_) => self.py.get_type::<PyInt>().call1((pyimport::decimal(self.py)?.call1((literal,))?,))?,
        };
        self.put(number)
    }

    fn number(&mut self, literal: &str) -> Result<(), Fault> {
        let number = match wire::float_is_exact(literal) {
            Some(float) => PyFloat::new(self.py, float).into_any(),
            None => pyimport::decimal(self.py)?.call1((literal,))?,
        };
        self.put(number)
    }

    fn string(&mut self, value: &str) -> Result<(), Fault> {
        self.put(unicode::from_utf8(self.py, value.as_bytes())?.into_any())
    }

    fn key(&mut self, value: &str) -> Result<(), Fault> {
        if let Some(Open::Object(_, key)) = self.open.last_mut() {
            *key = Some(unicode::from_utf8(self.py, value.as_bytes())?);
        }
        Ok(())
    }

    fn begin_array(&mut self) -> Result<(), Fault> {
        self.open.push(Open::Array(PyList::empty(self.py)));
        Ok(())
    }

    fn end_array(&mut self) -> Result<(), Fault> {
        self.end()
    }

    fn begin_object(&mut self) -> Result<(), Fault> {
        self.open.push(Open::Object(PyDict::new(self.py), None));
        Ok(())
    }

    fn end_object(&mut self) -> Result<(), Fault> {
        self.end()
    }
}

impl Builder<'_> {
    fn end(&mut self) -> Result<(), Fault> {
        match self.open.pop() {
            Some(Open::Array(list)) => self.put(list.into_any()),
            Some(Open::Object(dict, _)) => self.put(dict.into_any()),
            None => Ok(()),
        }
    }
}

pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let mut builder = Builder { py, open: Vec::new(), document: None };
    match wire::parse(raw, &mut builder) {
        Ok(()) => Ok(builder.document.unwrap_or_else(|| py.None().into_bound(py))),
        Err(Fault::Value(error)) => Err(refuse(py, &error)),
        Err(Fault::Python(error)) => Err(error),
    }
}

pub(super) fn decode_jsonb<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    decode(py, wire::strip_jsonb(raw).map_err(|e| refuse(py, &e))?)
}

pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    write(value, out, 0)
}

pub(super) fn encode_jsonb(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    // The only version of the binary form.
    out.push(1);
    write(value, out, 0)
}

fn write(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> PyResult<()> {
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
        write_text(text, out)?;
    } else if let Ok(flag) = value.cast::<PyBool>() {
        out.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
    } else if value.is_instance_of::<PyInt>() {
        out.extend_from_slice(plain_text(value)?.to_str()?.as_bytes());
    } else if let Ok(float) = value.cast::<PyFloat>() {
        write_float(float, out)?;
    } else if let Ok(dict) = value.cast::<PyDict>() {
        write_object(dict, out, depth)?;
    } else if let Ok(list) = value.cast::<PyList>() {
        write_array(list.iter(), out, depth)?;
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        write_array(tuple.iter(), out, depth)?;
    } else if value.is_instance(pyimport::decimal(py)?)? && value.call_method0("is_finite")?.is_truthy()? {
        out.extend_from_slice(plain_text(value)?.to_str()?.as_bytes());
    } else {
        return Err(wrong_type(value, "a JSON value (dict, list, str, int, float, Decimal, bool or None)"));
    }
    Ok(())
}

fn write_text(text: &Bound<'_, PyString>, out: &mut Vec<u8>) -> PyResult<()> {
    let utf8 = text.to_str().map_err(|cause| {
        let py = text.py();
        error::caused_by(py, error::data_error(py, "a lone surrogate cannot be stored in JSON"), cause)
    })?;
    wire::write_string(utf8, out);
    Ok(())
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

fn write_object(dict: &Bound<'_, PyDict>, out: &mut Vec<u8>, depth: usize) -> PyResult<()> {
    out.push(b'{');
    for (i, (key, value)) in dict.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        // json.dumps turns 1 and "1" into the same key in silence.
        let key = key.cast::<PyString>().map_err(|_| wrong_type(&key, "str as the key of a JSON object"))?;
        write_text(key, out)?;
        out.push(b':');
        write(&value, out, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_array<'py>(items: impl Iterator<Item = Bound<'py, PyAny>>, out: &mut Vec<u8>, depth: usize) -> PyResult<()> {
    out.push(b'[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(&item, out, depth + 1)?;
    }
    out.push(b']');
    Ok(())
}
