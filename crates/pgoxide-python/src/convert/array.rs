//! Arrays as lists, lists of lists for more dimensions; int2vector and oidvector likewise.
//!
//! Arguments: lists, tuples, sets, other iterables, NumPy's arrays, `Array`. What is a dimension and what an element is decided
//! by the element type, see [`Nesting`].

use pgoxide_types::array::{self as wire, BinaryArray, Dimension, Elements, Event, Shape, TextArray};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyFloat, PyList, PyMemoryView, PyString, PyTuple};
use smallvec::SmallVec;

use super::{Converted, Decoder, Encoder, Rules, int, refuse, wrong_type};
use crate::ffi::list::ListBuilder;
use crate::{error, pyimport};

/// How an array's elements are read.
#[derive(Debug)]
pub(crate) struct ArrayDecoder {
    pub(crate) element: Decoder,
    pub(crate) delimiter: u8,
    /// int2vector, oidvector: one dimension from 0, in text only spaces.
    pub(crate) vector: bool,
}

impl ArrayDecoder {
    pub(super) fn binary<'py>(&self, py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
        let BinaryArray { shape, mut elements, .. } = wire::decode_binary(raw).map_err(|e| refuse(py, &e))?;
        let list = match shape.dimensions() {
            _ if elements.left() == 0 => PyList::empty(py),
            [only] => match self.fixed(py, &elements, only.length)? {
                Some(list) => return self.bounded(list, &shape, rules),
                None => self.level(py, shape.dimensions(), &mut elements, rules)?,
            },
            dimensions => self.level(py, dimensions, &mut elements, rules)?,
        };
        elements.finish().map_err(|e| refuse(py, &e))?;
        self.bounded(list, &shape, rules)
    }

    /// One dimension of numbers none of which is NULL, which is what most long arrays are.
    fn fixed<'py>(
        &self,
        py: Python<'py>,
        elements: &Elements<'_>,
        count: usize,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        match self.element {
            Decoder::Int2 => fill(py, elements, count, |raw| int::from_i64(py, i16::from_be_bytes(raw).into())),
            Decoder::Int4 => fill(py, elements, count, |raw| int::from_i64(py, i32::from_be_bytes(raw).into())),
            Decoder::Int8 => fill(py, elements, count, |raw| int::from_i64(py, i64::from_be_bytes(raw))),
            Decoder::Float4 => {
                fill(py, elements, count, |raw| PyFloat::new(py, f32::from_be_bytes(raw).into()).into_any())
            }
            Decoder::Float8 => fill(py, elements, count, |raw| PyFloat::new(py, f64::from_be_bytes(raw)).into_any()),
            _ => Ok(None),
        }
    }

    fn level<'py>(
        &self,
        py: Python<'py>,
        dimensions: &[Dimension],
        elements: &mut Elements<'_>,
        rules: &Rules,
    ) -> PyResult<Bound<'py, PyList>> {
        let Some((outer, inner)) = dimensions.split_first() else { return Ok(PyList::empty(py)) };
        let mut list = ListBuilder::new(py, outer.length)?;
        for _ in 0..outer.length {
            if !inner.is_empty() {
                list.push(self.level(py, inner, elements, rules)?.into_any());
                continue;
            }
            let value = elements.next_value().map_err(|e| refuse(py, &e))?;
            list.push(match value {
                None => py.None().into_bound(py),
                Some(raw) => match self.element.commonest(py, raw) {
                    Some(value) => value,
                    None => self.element.binary(py, raw, rules)?,
                },
            });
        }
        Ok(list.finish())
    }

    /// With its lower bounds, where the connection's rules keep them.
    #[inline]
    fn bounded<'py>(&self, list: Bound<'py, PyList>, shape: &Shape, rules: &Rules) -> Converted<'py> {
        if !rules.keep_array_bounds || self.vector || shape.is_plain() {
            return Ok(list.into_any());
        }
        keep_bounds(list, shape.dimensions().iter().map(|dimension| dimension.lower).collect())
    }

    pub(super) fn text<'py>(&self, py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
        if self.vector {
            let words = raw.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
            let values = words.map(|word| self.element.text(py, word, rules)).collect::<PyResult<Vec<_>>>()?;
            return Ok(PyList::new(py, values)?.into_any());
        }
        let mut array = TextArray::new(raw, self.delimiter).map_err(|e| refuse(py, &e))?;
        let bounds = array.lower_bounds().to_vec();
        let mut open: SmallVec<[Bound<'py, PyList>; 2]> = SmallVec::new();
        let mut whole = None;
        while let Some(event) = array.next_event().map_err(|e| refuse(py, &e))? {
            let value = match event {
                Event::Open => {
                    open.push(PyList::empty(py));
                    continue;
                }
                Event::Close => open.pop().map_or_else(|| py.None().into_bound(py), Bound::into_any),
                Event::Null => py.None().into_bound(py),
                Event::Value(text) => self.element.text(py, &text, rules)?,
            };
            match open.last() {
                Some(list) => list.append(value)?,
                None => whole = Some(value),
            }
        }
        let whole = whole.unwrap_or_else(|| PyList::empty(py).into_any()).cast_into::<PyList>()?;
        if rules.keep_array_bounds && bounds.iter().any(|bound| *bound != 1) {
            return keep_bounds(whole, bounds);
        }
        Ok(whole.into_any())
    }
}

/// A list of values of `WIDTH` bytes. `None`: they are not all of that width.
#[inline]
fn fill<'py, const WIDTH: usize>(
    py: Python<'py>,
    elements: &Elements<'_>,
    count: usize,
    make: impl Fn([u8; WIDTH]) -> Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyList>>> {
    if count.checked_mul(4 + WIDTH) != Some(elements.rest().len()) {
        return Ok(None);
    }
    let mut list = ListBuilder::new(py, count)?;
    for element in elements.rest().chunks_exact(4 + WIDTH) {
        let (length, raw) = element.split_at(4);
        match (<[u8; 4]>::try_from(length), raw.try_into()) {
            (Ok(length), Ok(raw)) if u32::from_be_bytes(length) as usize == WIDTH => list.push(make(raw)),
            _ => return Ok(None),
        }
    }
    Ok(Some(list.finish()))
}

#[cold]
fn keep_bounds(list: Bound<'_, PyList>, bounds: Vec<i32>) -> Converted<'_> {
    let py = list.py();
    pyimport::array(py)?.call1((list, PyTuple::new(py, bounds)?))
}

/// Which items of a list given for an array are further dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nesting {
    /// Lists and tuples.
    Sequences,
    /// Lists; a tuple is an element.
    Lists,
    /// `Array` only: elements may be lists themselves.
    Arrays,
}

/// How an array's elements are written.
#[derive(Debug)]
pub(crate) struct ArrayEncoder {
    pub(crate) element: Encoder,
    pub(crate) element_oid: u32,
    pub(crate) delimiter: u8,
    pub(crate) vector: bool,
}

impl ArrayEncoder {
    pub(super) fn binary(&self, value: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
        let start = out.len();
        let mut writer = Writer::new(self, value, rules, out, false)?;
        writer.level(value, 0)?;
        writer.finish(value, start)
    }

    pub(super) fn text(&self, value: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
        let start = out.len();
        if self.vector {
            for (index, item) in sequence(value)?.try_iter()?.enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                self.element.encode_text(&item?, rules, out)?;
            }
            return Ok(());
        }
        let mut writer = Writer::new(self, value, rules, out, true)?;
        writer.level(value, 0)?;
        writer.finish(value, start)
    }
}

/// An array being written.
struct Writer<'a> {
    array: &'a ArrayEncoder,
    rules: &'a Rules,
    out: &'a mut Vec<u8>,
    text: bool,
    nesting: Nesting,
    lower_bounds: Vec<i32>,
    shape: Shape,
    /// How many dimensions lie around the elements; known from the first one on.
    around: Option<usize>,
    nulls: bool,
    path: SmallVec<[usize; wire::MAX_DIMENSIONS]>,
    /// One element in text, before it is quoted.
    element: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(
        array: &'a ArrayEncoder,
        value: &Bound<'_, PyAny>,
        rules: &'a Rules,
        out: &'a mut Vec<u8>,
        text: bool,
    ) -> PyResult<Self> {
        let lower_bounds = if value.is_exact_instance_of::<PyList>() || !is_array(value)? {
            Vec::new()
        } else {
            value.getattr(intern!(value.py(), "lower_bounds"))?.extract()?
        };
        Ok(Self {
            array,
            rules,
            out,
            text,
            nesting: array.element.nesting(),
            lower_bounds,
            shape: Shape::default(),
            around: None,
            nulls: false,
            path: SmallVec::new(),
            element: Vec::new(),
        })
    }

    fn level(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        let items = sequence(value)?;
        let length = items.len()?;
        match self.shape.dimensions().get(depth) {
            Some(dimension) if dimension.length != length => {
                return Err(self.ragged(value.py(), format!("{length} items where the first has {}", dimension.length)));
            }
            Some(_) => {}
            None => {
                let default = i32::from(!self.array.vector);
                let lower = self.lower_bounds.get(depth).copied().unwrap_or(default);
                if !self.shape.push(Dimension { length, lower }) {
                    return Err(self.ragged(value.py(), format!("more than {} dimensions", wire::MAX_DIMENSIONS)));
                }
            }
        }
        if self.text {
            self.out.push(b'{');
        }
        let mut seen = 0;
        if let Ok(list) = items.cast::<PyList>() {
            for item in list.iter() {
                self.item(&item, depth, seen)?;
                seen += 1;
            }
        } else {
            for item in items.cast::<PyTuple>()?.iter_borrowed() {
                self.item(&item, depth, seen)?;
                seen += 1;
            }
        }
        if seen != length {
            return Err(error::data_error(value.py(), "the list changed while it was encoded"));
        }
        if self.text {
            self.out.push(b'}');
        }
        Ok(())
    }

    fn item(&mut self, item: &Bound<'_, PyAny>, depth: usize, index: usize) -> PyResult<()> {
        if self.text && index > 0 {
            self.out.push(self.array.delimiter);
        }
        self.path.push(index);
        if self.is_dimension(item)? {
            if self.around == Some(depth + 1) {
                return Err(self.ragged(item.py(), "a list among elements"));
            }
            self.level(item, depth + 1)?;
        } else {
            match self.around {
                Some(around) if around != depth + 1 => return Err(self.ragged(item.py(), "an element among lists")),
                Some(_) => {}
                None => {
                    self.around = Some(depth + 1);
                    self.begin(item.py())?;
                }
            }
            self.leaf(item)?;
        }
        self.path.pop();
        Ok(())
    }

    /// What comes before the first element. Whether there are NULLs is filled in at the end.
    fn begin(&mut self, py: Python<'_>) -> PyResult<()> {
        if self.text {
            return Ok(());
        }
        wire::encode_binary_shape(&self.shape, false, self.array.element_oid, self.out).map_err(|e| refuse(py, &e))
    }

    fn leaf(&mut self, item: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.text {
            if item.is_none() {
                self.out.extend_from_slice(b"NULL");
                return Ok(());
            }
            self.element.clear();
            let encoded = self.array.element.encode_text(item, self.rules, &mut self.element);
            encoded.map_err(|cause| self.blame(item.py(), cause))?;
            wire::encode_text_element(&self.element, self.array.delimiter, self.out);
            return Ok(());
        }
        self.nulls |= item.is_none();
        put_value(&self.array.element, item, self.rules, self.out).map_err(|cause| self.blame(item.py(), cause))
    }

    fn finish(self, value: &Bound<'_, PyAny>, start: usize) -> PyResult<()> {
        let py = value.py();
        if self.around.is_none() && self.shape.dimensions().len() > 1 {
            return Err(error::data_error(
                py,
                "a list of empty lists: PostgreSQL has no array with an empty dimension; pass [] for the empty array",
            ));
        }
        if self.text {
            if self.around.is_some() && !self.shape.is_plain() {
                let mut bounds = Vec::new();
                wire::encode_text_bounds(&self.shape, &mut bounds);
                self.out.splice(start..start, bounds);
            }
            return Ok(());
        }
        if self.around.is_none() {
            let shape = Shape::default();
            return wire::encode_binary_shape(&shape, false, self.array.element_oid, self.out)
                .map_err(|e| refuse(py, &e));
        }
        // The second word.
        if let Some(flag) = self.out.get_mut(start + 7) {
            *flag = self.nulls.into();
        }
        Ok(())
    }

    fn is_dimension(&self, item: &Bound<'_, PyAny>) -> PyResult<bool> {
        match self.nesting {
            Nesting::Sequences => {
                Ok(item.is_instance_of::<PyList>() || item.is_instance_of::<PyTuple>() || is_numpy_array(item)?)
            }
            Nesting::Lists => Ok(item.is_instance_of::<PyList>()),
            Nesting::Arrays => is_array(item),
        }
    }

    /// The place in the argument, as Python would write it.
    fn place(&self) -> String {
        self.path.iter().map(|index| format!("[{index}]")).collect()
    }

    #[cold]
    fn ragged(&self, py: Python<'_>, what: impl Into<String>) -> PyErr {
        let place = self.place();
        let place = if place.is_empty() { "the list".to_owned() } else { format!("item {place}") };
        error::data_error(py, format!("{place} has another shape: {}", what.into()))
    }

    #[cold]
    fn blame(&self, py: Python<'_>, cause: PyErr) -> PyErr {
        super::inside(py, &format!("element {}", self.place()), cause)
    }
}

/// A value behind its length, -1 for None.
#[inline]
pub(super) fn put_value(encoder: &Encoder, value: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
    if value.is_none() {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return Ok(());
    }
    let mark = out.len();
    out.extend_from_slice(&[0; 4]);
    encoder.encode(value, rules, out)?;
    let length = out.len() - mark - 4;
    let Ok(length) = i32::try_from(length) else {
        return Err(error::data_error(
            value.py(),
            format!("a value of {length} bytes; PostgreSQL holds less than 1 GiB"),
        ));
    };
    out[mark..mark + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn is_array(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.is_instance(pyimport::array(value.py())?)
}

/// A NumPy array, without importing NumPy: it has dimensions and gives its items as Python's own.
fn is_numpy_array(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    Ok(value.hasattr(intern!(py, "tolist"))?
        && value.hasattr(intern!(py, "ndim"))?
        && value.getattr(intern!(py, "ndim"))?.extract::<usize>().is_ok_and(|dimensions| dimensions > 0))
}

/// A NumPy array of times: as Python's own, those in nanoseconds would be bare numbers.
fn is_numpy_time(value: &Bound<'_, PyAny>) -> bool {
    let py = value.py();
    let kind = value.getattr(intern!(py, "dtype")).and_then(|dtype| dtype.getattr(intern!(py, "kind")));
    kind.is_ok_and(|kind| kind.extract::<&str>().is_ok_and(|kind| matches!(kind, "M" | "m")))
}

/// The items as a list or tuple.
fn sequence<'py>(value: &Bound<'py, PyAny>) -> Converted<'py> {
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        return Ok(value.clone());
    }
    // Iterable, and never meant as a list.
    let single = value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
        || value.is_instance_of::<PyMemoryView>()
        || value.is_instance_of::<PyDict>();
    if single {
        return Err(wrong_type(value, "a list"));
    }
    if is_numpy_array(value)? && !is_numpy_time(value) {
        return value.call_method0(intern!(value.py(), "tolist"));
    }
    let Ok(items) = value.try_iter() else { return Err(wrong_type(value, "a list")) };
    let items = items.collect::<PyResult<Vec<_>>>()?;
    Ok(PyList::new(value.py(), items)?.into_any())
}
