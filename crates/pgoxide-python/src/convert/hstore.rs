//! hstore as `dict[str, str | None]`.

use std::borrow::Cow;

use pgoxide_types::hstore as wire;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::{Converted, inside, refuse, text, wrong_type};
use crate::ffi::unicode;

pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_binary(raw).map_err(|e| refuse(py, &e))?)
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_text(raw).map_err(|e| refuse(py, &e))?)
}

fn build<'py>(py: Python<'py>, pairs: Vec<wire::Pair<'_>>) -> Converted<'py> {
    let dict = PyDict::new(py);
    for (key, value) in pairs {
        let value = value.map(|value: Cow<'_, [u8]>| unicode::from_utf8(py, &value)).transpose()?;
        dict.set_item(unicode::from_utf8(py, &key)?, value)?;
    }
    Ok(dict.into_any())
}

/// Key and value as UTF-8.
type Pair = (Vec<u8>, Option<Vec<u8>>);

/// The pairs of a dict.
fn pairs(value: &Bound<'_, PyAny>) -> PyResult<Vec<Pair>> {
    let py = value.py();
    let Ok(dict) = value.cast::<PyDict>() else { return Err(wrong_type(value, "dict[str, str | None]")) };
    let utf8 = |text: &Bound<'_, PyAny>| {
        let mut bytes = Vec::new();
        text::encode(text, &mut bytes).map(|()| bytes)
    };
    let mut pairs = Vec::with_capacity(dict.len());
    for (key, value) in dict.iter() {
        let name = utf8(&key).map_err(|cause| inside(py, "a key", cause))?;
        let value = if value.is_none() {
            None
        } else {
            let shown = key.cast::<PyString>()?.to_string_lossy().into_owned();
            Some(utf8(&value).map_err(|cause| inside(py, &format!("the value of {shown:?}"), cause))?)
        };
        pairs.push((name, value));
    }
    Ok(pairs)
}

pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let pairs = pairs(value)?;
    out.extend_from_slice(&u32::try_from(pairs.len())?.to_be_bytes());
    for (key, value) in &pairs {
        put(key, out)?;
        match value {
            Some(value) => put(value, out)?,
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
    Ok(())
}

fn put(bytes: &[u8], out: &mut Vec<u8>) -> PyResult<()> {
    out.extend_from_slice(&u32::try_from(bytes.len())?.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

pub(super) fn encode_text(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    for (index, (key, value)) in pairs(value)?.iter().enumerate() {
        wire::encode_text_pair(key, value.as_deref(), index == 0, out);
    }
    Ok(())
}
