//! tsvector as `TsVector`.

use std::borrow::Cow;

use pgoxide_types::tsvector::{self as wire, Lexeme, Position, Weight};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use super::{Converted, refuse, wrong_type};
use crate::ffi::slots::{self, Slot};
use crate::ffi::{tuple, unicode};
use crate::pyimport;

fn build<'py>(py: Python<'py>, lexemes: &[Lexeme<'_>]) -> Converted<'py> {
    static SLOT: PyOnceLock<Option<Slot>> = PyOnceLock::new();
    let class = pyimport::ts_vector(py)?;
    let found = PyDict::new(py);
    for Lexeme { text, positions } in lexemes {
        let positions = tuple::scalars(py, positions.iter().map(|position| place(py, *position)))?;
        found.set_item(unicode::from_utf8(py, text.as_bytes())?, positions)?;
    }
    let Some(slot) = SLOT.get_or_try_init(py, || Slot::of(class, "_lexemes"))? else {
        return class.call1((found,));
    };
    let made = slots::allocate(class)?;
    slot.set(&made, found.as_any())?;
    // Its lexemes are not for users to change, and refer to texts and numbers only.
    slots::untrack(&made);
    Ok(made)
}

/// A number and a letter. Most documents are short: positions of their beginning are made once.
fn place(py: Python<'_>, Position { at, weight }: Position) -> Converted<'_> {
    const COUNT: usize = 64;
    static KNOWN: [[PyOnceLock<Py<PyAny>>; COUNT]; 4] = [const { [const { PyOnceLock::new() }; COUNT] }; 4];
    let make = || -> Converted<'_> {
        let pair = [at.into_pyobject(py)?.into_any(), letter(py, weight).clone().into_any()];
        tuple::scalars(py, pair.into_iter().map(Ok))
    };
    match KNOWN[weight as usize].get(usize::from(at)) {
        Some(cell) => Ok(cell.get_or_try_init(py, || make().map(Bound::unbind))?.bind(py).clone()),
        None => make(),
    }
}

fn letter(py: Python<'_>, weight: Weight) -> &Bound<'_, PyString> {
    match weight {
        Weight::A => intern!(py, "A"),
        Weight::B => intern!(py, "B"),
        Weight::C => intern!(py, "C"),
        Weight::D => intern!(py, "D"),
    }
}

pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, &wire::decode_binary(raw).map_err(|e| refuse(py, &e))?)
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, &wire::decode_text(raw).map_err(|e| refuse(py, &e))?)
}

/// `TsVector`, or text.
pub(super) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    if let Ok(text) = value.cast::<PyString>() {
        let lexemes = wire::decode_text(super::text::utf8(text)?.as_bytes()).map_err(|e| refuse(py, &e))?;
        return wire::encode_binary(&lexemes, out).map_err(|e| refuse(py, &e));
    }
    if !value.is_instance(pyimport::ts_vector(py)?)? {
        return Err(wrong_type(value, "TsVector"));
    }
    let known = value.getattr(intern!(py, "_lexemes"))?.cast_into::<PyDict>()?;
    let lexemes = known.iter().map(|(lexeme, positions)| read(&lexeme, &positions)).collect::<PyResult<Vec<_>>>()?;
    wire::encode_binary(&lexemes, out).map_err(|e| refuse(py, &e))
}

fn read(lexeme: &Bound<'_, PyAny>, positions: &Bound<'_, PyAny>) -> PyResult<Lexeme<'static>> {
    let unknown = || wrong_type(positions, "positions, each a number and a weight A to D");
    let positions = positions.extract::<Vec<(u16, char)>>().map_err(|_| unknown())?;
    let positions = positions.into_iter().map(|(at, letter)| Some(Position { at, weight: Weight::of(letter)? }));
    Ok(Lexeme {
        text: Cow::Owned(lexeme.extract().map_err(|_| wrong_type(lexeme, "str as a lexeme"))?),
        positions: positions.collect::<Option<_>>().ok_or_else(unknown)?,
    })
}
