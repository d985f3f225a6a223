//! Composite types, table rows among them: rows with their fields' names, and from rows, tuples, dicts and objects.

use std::sync::OnceLock;

use pgoxide_types::composite as wire;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType};

use super::array::put_value;
use super::{Converted, Decoder, Encoder, Rules, hook, inside, refuse, short_repr, wrong_type};
use crate::error;
use crate::ffi::tuple::TupleBuilder;
use crate::row;

#[derive(Debug)]
pub(crate) struct Field<C> {
    pub(crate) name: Box<str>,
    pub(crate) oid: u32,
    pub(crate) codec: C,
}

/// How a composite type's values are read.
#[derive(Debug)]
pub(crate) struct CompositeDecoder {
    pub(crate) name: Box<str>,
    pub(crate) fields: Box<[Field<Decoder>]>,
    pub(crate) scalar: bool,
    /// Made on first use.
    row_type: OnceLock<Py<PyType>>,
}

impl CompositeDecoder {
    pub(super) fn new(name: Box<str>, fields: Box<[Field<Decoder>]>) -> Self {
        let scalar = fields.iter().all(|field| field.codec.is_scalar());
        Self { name, fields, scalar, row_type: OnceLock::new() }
    }

    fn row<'py>(&self, py: Python<'py>) -> PyResult<TupleBuilder<'py>> {
        let row_type = match self.row_type.get() {
            Some(row_type) => row_type,
            None => {
                // Outside the lock: making a type runs Python.
                let names: Vec<String> = self.fields.iter().map(|field| field.name.to_string()).collect();
                let made = row::row_type(py, &names)?;
                self.row_type.get_or_init(|| made)
            }
        };
        TupleBuilder::new(row_type.bind(py), self.fields.len(), self.scalar)
    }

    pub(super) fn binary<'py>(&self, py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
        let mut values = wire::decode_binary(raw).map_err(|e| refuse(py, &e))?;
        if values.left() != self.fields.len() {
            return Err(self.outdated(py, values.left(), rules));
        }
        let mut row = self.row(py)?;
        for field in &self.fields {
            let (type_oid, value) = values.next_field().map_err(|e| refuse(py, &e))?;
            if type_oid != field.oid {
                return Err(self.outdated(py, self.fields.len(), rules));
            }
            row.push(match value {
                None => py.None().into_bound(py),
                Some(raw) => match field.codec.commonest(py, raw) {
                    Some(value) => value,
                    None => field.codec.binary(py, raw, rules).map_err(|cause| in_field(py, &field.name, cause))?,
                },
            });
        }
        values.finish().map_err(|e| refuse(py, &e))?;
        Ok(row.finish())
    }

    pub(super) fn text<'py>(&self, py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
        let values = if self.fields.is_empty() && raw == b"()" {
            Vec::new()
        } else {
            wire::decode_text(raw).map_err(|e| refuse(py, &e))?
        };
        if values.len() != self.fields.len() {
            return Err(self.outdated(py, values.len(), rules));
        }
        let mut row = self.row(py)?;
        for (field, value) in self.fields.iter().zip(values) {
            row.push(match value {
                None => py.None().into_bound(py),
                Some(text) => field.codec.text(py, &text, rules).map_err(|cause| in_field(py, &field.name, cause))?,
            });
        }
        Ok(row.finish())
    }

    /// What is known about types is forgotten, so that the next use asks for them.
    #[cold]
    fn outdated(&self, py: Python<'_>, fields: usize, rules: &Rules) -> PyErr {
        rules.types.forget();
        let what = if fields == self.fields.len() {
            "with fields of other types".to_owned()
        } else {
            format!("with {fields} fields instead of {}", self.fields.len())
        };
        error::outdated_type(
            py,
            format!(
                "the type {} was altered after it had been looked up: a value came {what}; run it again, its types are then \
                 looked up anew",
                self.name
            ),
        )
    }
}

#[cold]
fn in_field(py: Python<'_>, name: &str, cause: PyErr) -> PyErr {
    inside(py, &format!("field {name:?}"), cause)
}

/// How a composite type's values are written.
#[derive(Debug)]
pub(crate) struct CompositeEncoder {
    pub(crate) name: Box<str>,
    pub(crate) fields: Box<[Field<Encoder>]>,
}

impl CompositeEncoder {
    pub(super) fn binary(&self, value: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
        let values = self.values(value)?;
        // At most 1600.
        out.extend_from_slice(&u32::try_from(self.fields.len())?.to_be_bytes());
        for (field, value) in self.fields.iter().zip(&values) {
            out.extend_from_slice(&field.oid.to_be_bytes());
            put_value(&field.codec, value, rules, out).map_err(|cause| in_field(value.py(), &field.name, cause))?;
        }
        Ok(())
    }

    pub(super) fn text(&self, value: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
        let mut text = Vec::new();
        out.push(b'(');
        for (index, (field, value)) in self.fields.iter().zip(self.values(value)?).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            if value.is_none() {
                continue;
            }
            text.clear();
            field
                .codec
                .encode_text(&value, rules, &mut text)
                .map_err(|cause| in_field(value.py(), &field.name, cause))?;
            wire::encode_text_field(&text, out);
        }
        out.push(b')');
        Ok(())
    }

    /// The fields' values: of a tuple or list in order, of a dict by key, of any other object by attribute.
    fn values<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = value.py();
        if let Ok(tuple) = value.cast::<PyTuple>() {
            return self.in_order(value, tuple.iter().collect());
        }
        if let Ok(list) = value.cast::<PyList>() {
            return self.in_order(value, list.iter().collect());
        }
        if let Ok(dict) = value.cast::<PyDict>() {
            let known = self.fields.iter().map(|field| dict.get_item(&*field.name)).collect::<PyResult<Vec<_>>>()?;
            if dict.len() != self.fields.len() || known.iter().any(Option::is_none) {
                return Err(self.keys_differ(dict));
            }
            return Ok(known.into_iter().flatten().collect());
        }
        // Attributes of what is certainly meant as something else would be a puzzle.
        if hook::is_there(value)?
            || value.is_instance_of::<PyString>()
            || value.hasattr("__index__")?
            || value.hasattr("__float__")?
        {
            return Err(wrong_type(value, &self.expected()));
        }
        let values = self.fields.iter().map(|field| value.getattr(&*field.name));
        values
            .collect::<PyResult<_>>()
            .map_err(|cause| error::caused_by(py, wrong_type(value, &self.expected()), cause))
    }

    fn in_order<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        items: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        if items.len() == self.fields.len() {
            return Ok(items);
        }
        let message =
            format!("{} values for the {} fields of {}: {}", items.len(), self.fields.len(), self.name, self.names());
        Err(error::data_error(value.py(), message))
    }

    fn names(&self) -> String {
        self.fields.iter().map(|field| &*field.name).collect::<Vec<_>>().join(", ")
    }

    fn expected(&self) -> String {
        format!("a tuple, dict or object with the fields of {} ({})", self.name, self.names())
    }

    #[cold]
    fn keys_differ(&self, dict: &Bound<'_, PyDict>) -> PyErr {
        let listed = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let missing = self.fields.iter().filter(|field| !dict.contains(&*field.name).unwrap_or(false));
        let missing = missing.map(|field| format!("{:?}", &*field.name)).collect();
        let surplus = dict
            .keys()
            .iter()
            .filter(|key| !key.extract::<&str>().is_ok_and(|key| self.fields.iter().any(|field| &*field.name == key)));
        let surplus = surplus.map(|key| short_repr(&key)).collect();
        let message = format!(
            "the keys are not the fields of {}: missing {}; surplus {}",
            self.name,
            listed(missing),
            listed(surplus)
        );
        error::data_error(dict.py(), message)
    }
}
