//! Ranges as `Range`, multiranges as `Multirange`.

use pgoxide_types::range as wire;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};

use super::array::put_value;
use super::{Converted, Decoder, Encoder, Rules, refuse, wrong_type};
use crate::ffi::slots::{self, Slot};
use crate::{error, pyimport};

/// The words of `Range.bounds`, in an order that `word` knows.
const WORDS: [&str; 5] = ["()", "[)", "(]", "[]", "empty"];

const fn word<B>(range: &wire::Range<B>) -> usize {
    match (range.empty, range.lower_inc, range.upper_inc) {
        (true, ..) => 4,
        (_, lower, upper) => lower as usize + 2 * upper as usize,
    }
}

/// What a Range consists of, looked up once.
struct Parts {
    lower: Slot,
    upper: Slot,
    bounds: Slot,
    words: [Py<PyString>; 5],
    ranges: Slot,
}

impl Parts {
    fn of(py: Python<'_>) -> PyResult<&Self> {
        static PARTS: PyOnceLock<Parts> = PyOnceLock::new();
        PARTS.get_or_try_init(py, || {
            let class = pyimport::range(py)?;
            let slot = |class, name: &str| {
                Slot::of(class, name)?.ok_or_else(|| error::interface_error(py, format!("Range has no slot {name}")))
            };
            Ok(Self {
                lower: slot(class, "lower")?,
                upper: slot(class, "upper")?,
                bounds: slot(class, "bounds")?,
                words: WORDS.map(|word| PyString::intern(py, word).unbind()),
                ranges: slot(pyimport::multirange(py)?, "ranges")?,
            })
        })
    }
}

/// A Range filled without its `__init__`: what the server sends is in order.
fn build<'py, B>(
    py: Python<'py>,
    range: &wire::Range<B>,
    bound: impl Fn(&B) -> Converted<'py>,
    scalar: bool,
) -> Converted<'py> {
    let parts = Parts::of(py)?;
    let value = |side: &Option<B>| side.as_ref().map_or_else(|| Ok(py.None().into_bound(py)), &bound);
    let (lower, upper) = (value(&range.lower)?, value(&range.upper)?);
    let made = slots::allocate(pyimport::range(py)?)?;
    parts.lower.put(&made, lower)?;
    parts.upper.put(&made, upper)?;
    parts.bounds.set(&made, parts.words[word(range)].bind(py))?;
    if scalar {
        slots::untrack(&made);
    }
    Ok(made)
}

pub(super) fn decode<'py>(py: Python<'py>, bound: &Decoder, raw: &[u8], rules: &Rules) -> Converted<'py> {
    let range = wire::decode_binary(raw).map_err(|e| refuse(py, &e))?;
    build(py, &range, |raw| bound.binary(py, raw, rules), bound.is_scalar())
}

pub(super) fn decode_text<'py>(py: Python<'py>, bound: &Decoder, raw: &[u8], rules: &Rules) -> Converted<'py> {
    let range = wire::decode_text(raw).map_err(|e| refuse(py, &e))?;
    build(py, &range, |text| bound.text(py, text, rules), bound.is_scalar())
}

fn many<'py>(py: Python<'py>, ranges: Vec<Bound<'py, PyAny>>) -> Converted<'py> {
    let made = slots::allocate(pyimport::multirange(py)?)?;
    Parts::of(py)?.ranges.set(&made, PyTuple::new(py, ranges)?.as_any())?;
    Ok(made)
}

pub(super) fn decode_many<'py>(py: Python<'py>, bound: &Decoder, raw: &[u8], rules: &Rules) -> Converted<'py> {
    let ranges = wire::decode_binary_many(raw).map_err(|e| refuse(py, &e))?;
    many(py, ranges.into_iter().map(|raw| decode(py, bound, raw, rules)).collect::<PyResult<_>>()?)
}

pub(super) fn decode_text_many<'py>(py: Python<'py>, bound: &Decoder, raw: &[u8], rules: &Rules) -> Converted<'py> {
    let ranges = wire::decode_text_many(raw).map_err(|e| refuse(py, &e))?;
    let scalar = bound.is_scalar();
    let made = ranges.iter().map(|range| build(py, range, |text| bound.text(py, text, rules), scalar));
    many(py, made.collect::<PyResult<_>>()?)
}

/// A Range's parts, its bounds as they are.
fn parts<'py>(value: &Bound<'py, PyAny>) -> PyResult<wire::Range<Bound<'py, PyAny>>> {
    let py = value.py();
    if !value.is_instance(pyimport::range(py)?)? {
        return Err(wrong_type(value, "pgoxide.types.Range"));
    }
    let bounds = value.getattr(intern!(py, "bounds"))?;
    let bounds = bounds.extract::<&str>()?;
    let side = |bound: Bound<'py, PyAny>| if bound.is_none() { None } else { Some(bound) };
    Ok(wire::Range {
        empty: bounds == "empty",
        lower: side(value.getattr(intern!(py, "lower"))?),
        upper: side(value.getattr(intern!(py, "upper"))?),
        lower_inc: bounds.starts_with('['),
        upper_inc: bounds.ends_with(']'),
    })
}

pub(super) fn encode(value: &Bound<'_, PyAny>, bound: &Encoder, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let range = parts(value)?;
    out.push(wire::flags(&range));
    if range.empty {
        return Ok(());
    }
    for (side, name) in [(&range.lower, "lower"), (&range.upper, "upper")] {
        if let Some(side) = side {
            put_value(bound, side, rules, out)
                .map_err(|cause| super::inside(py, &format!("its {name} bound"), cause))?;
        }
    }
    Ok(())
}

pub(super) fn encode_text(value: &Bound<'_, PyAny>, bound: &Encoder, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let range = parts(value)?;
    let text = |side: &Option<Bound<'_, PyAny>>, name: &str| {
        let Some(side) = side else { return Ok(None) };
        let mut text = Vec::new();
        bound
            .encode_text(side, rules, &mut text)
            .map_err(|cause| super::inside(py, &format!("its {name} bound"), cause))?;
        Ok::<_, PyErr>(Some(text))
    };
    let (lower, upper) = (text(&range.lower, "lower")?, text(&range.upper, "upper")?);
    let written = wire::Range {
        empty: range.empty,
        lower: lower.as_deref(),
        upper: upper.as_deref(),
        lower_inc: range.lower_inc,
        upper_inc: range.upper_inc,
    };
    wire::encode_text(&written, out);
    Ok(())
}

/// The ranges of a Multirange, or of a list of Range.
fn ranges<'py>(value: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let py = value.py();
    let many = value.is_instance(pyimport::multirange(py)?)?
        || value.is_instance_of::<pyo3::types::PyList>()
        || value.is_instance_of::<PyTuple>();
    if !many {
        return Err(wrong_type(value, "pgoxide.types.Multirange"));
    }
    value.try_iter()?.collect()
}

pub(super) fn encode_many(value: &Bound<'_, PyAny>, bound: &Encoder, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
    let ranges = ranges(value)?;
    let Ok(count) = u32::try_from(ranges.len()) else { return Err(wrong_type(value, "fewer ranges")) };
    out.extend_from_slice(&count.to_be_bytes());
    for range in &ranges {
        let mark = out.len();
        out.extend_from_slice(&[0; 4]);
        encode(range, bound, rules, out)?;
        // Two bounds below 1 GiB each; a larger message is refused as a whole.
        let length = u32::try_from(out.len() - mark - 4)?;
        out[mark..mark + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

pub(super) fn encode_text_many(
    value: &Bound<'_, PyAny>,
    bound: &Encoder,
    rules: &Rules,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    out.push(b'{');
    for (index, range) in ranges(value)?.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        encode_text(range, bound, rules, out)?;
    }
    out.push(b'}');
    Ok(())
}
