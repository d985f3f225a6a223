//! Arguments whose types the server has not told yet: frozen in the call, encoded when they are known. And arguments that
//! were encoded, for a statement that has to be prepared anew.

use std::sync::Arc;

use pgoxide_protocol::codes::{Format, frontend};
use pgoxide_protocol::message::bind::Bind;
use pyo3::buffer::PyBuffer;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDate, PyDateTime, PyDict, PyFloat, PyInt, PyIterator, PyList, PyMemoryView,
    PyString, PyTuple,
};

use crate::convert::{MAX_DEPTH, Rules, short_repr};
use crate::plan::Described;
use crate::prepared::Prepared;
use crate::{error, pyimport};

/// What a call that waits gives for its statement's parameters.
pub(crate) enum Parameters {
    /// Frozen: their types are not known yet.
    Values(Py<PyTuple>),
    Encoded(Encoded),
}

impl Parameters {
    pub(crate) fn bind<'a, 'py>(&'a self, py: Python<'py>) -> Arguments<'a, 'py> {
        match self {
            Self::Values(values) => Arguments::Values(values.bind(py)),
            Self::Encoded(encoded) => Arguments::Encoded(encoded),
        }
    }

    /// About how many bytes it keeps.
    pub(crate) fn weight(&self, py: Python<'_>) -> usize {
        match self {
            Self::Values(values) => weight(values.bind(py)),
            Self::Encoded(encoded) => encoded.bind.len(),
        }
    }

    /// For the garbage collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Values(values) => visit.call(values),
            Self::Encoded(_) => Ok(()),
        }
    }
}

/// [`Parameters`], borrowed.
#[derive(Clone, Copy)]
pub(crate) enum Arguments<'a, 'py> {
    Values(&'a Bound<'py, PyTuple>),
    Encoded(&'a Encoded),
}

/// The parameters of a Bind that was written before.
pub(crate) struct Encoded {
    bind: Box<[u8]>,
    /// What they were encoded for.
    by: Arc<Described>,
}

impl Encoded {
    /// From the next Bind in `frames`, which is moved behind it. None when there is none.
    pub(crate) fn next(frames: &mut &[u8], by: Arc<Described>) -> Option<Self> {
        loop {
            let length = frames.get(1..5)?;
            let size = 1 + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
            let (frame, rest) = frames.split_at_checked(size)?;
            *frames = rest;
            if frame.first() == Some(&frontend::BIND) {
                return Some(Self { bind: frame.get(5..)?.into(), by });
            }
        }
    }

    /// They are good for these types as they are.
    pub(crate) fn are_for(&self, parameter_oids: &[u32]) -> bool {
        *self.by.parameter_oids == *parameter_oids
    }

    /// The values, as they are read back: for parameters of other types. Raises unless what is read is certain to be what was
    /// given, or as good: encoded again it gives the same bytes.
    pub(crate) fn values<'py>(&self, py: Python<'py>, now: &Described, rules: &Rules) -> PyResult<Bound<'py, PyTuple>> {
        let bind = Bind::decode(&self.bind).map_err(|e| error::protocol_error(py, &e.into()))?;
        let value = |(index, raw): (usize, Option<&[u8]>)| {
            let Some(raw) = raw else { return Ok(py.None().into_bound(py)) };
            let read = self.by.read_back(py, index, raw, now, rules);
            read.ok_or_else(|| {
                error::statement_invalidated(
                    py,
                    format!(
                        "the parameters of this statement have other types than when it was prepared, and argument {} cannot be \
                         read back as it was given; nothing of it has run: run it again",
                        index + 1
                    ),
                )
            })
        };
        PyTuple::new(py, bind.parameters.iter().enumerate().map(value).collect::<PyResult<Vec<_>>>()?)
    }

    /// The same parameters for the statement `name`, whose results are to come in `result_formats`.
    pub(crate) fn append(
        &self,
        py: Python<'_>,
        name: &[u8],
        result_formats: &[Format],
        bytes: &mut Vec<u8>,
    ) -> PyResult<()> {
        let ours = Bind::decode(&self.bind).map_err(|e| error::protocol_error(py, &e.into()))?;
        let bind = Bind { statement: name, result_formats: result_formats.into(), ..ours };
        bind.encode(bytes).map_err(|e| error::encode_error(py, &e))
    }
}

/// The arguments of `statement` as they are now: changing them afterwards changes nothing.
pub(crate) fn freeze(arguments: &Bound<'_, PyTuple>, statement: &Prepared) -> PyResult<Py<PyTuple>> {
    freeze_as(arguments, |index| statement.parameter_name(index))
}

/// As `freeze`, of a statement that is not known on a connection yet. `name`: a parameter's, for messages.
pub(crate) fn freeze_as(arguments: &Bound<'_, PyTuple>, name: impl Fn(usize) -> String) -> PyResult<Py<PyTuple>> {
    if arguments.iter_borrowed().all(|value| is_immutable(&value)) {
        return Ok(arguments.clone().unbind());
    }
    let frozen = arguments
        .iter()
        .enumerate()
        .map(|(index, value)| freeze_one(&value, 0).map_err(|cause| blame(&value, &name(index), cause)))
        .collect::<PyResult<Vec<_>>>()?;
    Ok(PyTuple::new(arguments.py(), frozen)?.unbind())
}

/// The arguments of a call that is made later, as they are now.
#[pyfunction]
pub(crate) fn frozen_arguments(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyTuple>> {
    freeze_as(arguments, |index| format!("${}", index + 1))
}

/// What a value counts whose size does not vary, or is not looked at.
const SCALAR: usize = 32;

/// About how many bytes the arguments hold. At most a thousand values are looked at; what a container holds beyond is
/// taken to be like what was seen of it.
pub(crate) fn weight(arguments: &Bound<'_, PyTuple>) -> usize {
    let mut looks = 1_000;
    container(arguments.len(), arguments.iter_borrowed().map(|value| weight_of(&value, &mut looks)))
}

fn weight_of(value: &Bound<'_, PyAny>, looks: &mut usize) -> usize {
    if *looks == 0 {
        return SCALAR;
    }
    *looks -= 1;
    if let Ok(bytes) = value.cast_exact::<PyBytes>() {
        SCALAR + bytes.as_bytes().len()
    } else if let Ok(text) = value.cast_exact::<PyString>() {
        SCALAR + text.len().unwrap_or(0)
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        container(list.len(), list.iter().map(|item| weight_of(&item, looks)))
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        container(tuple.len(), tuple.iter_borrowed().map(|item| weight_of(&item, looks)))
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        container(dict.len(), dict.iter().map(|(_, item)| weight_of(&item, looks)))
    } else {
        SCALAR
    }
}

/// By the average of its first items.
fn container(length: usize, weights: impl Iterator<Item = usize>) -> usize {
    let seen = length.clamp(1, 1_000);
    let total = weights.take(seen).fold(0, usize::saturating_add);
    SCALAR.saturating_add((total / seen).saturating_mul(length))
}

fn is_immutable(value: &Bound<'_, PyAny>) -> bool {
    value.is_none()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyBytes>()
        || value.is_exact_instance_of::<PyDateTime>()
        || value.is_exact_instance_of::<PyDate>()
}

/// DataError naming the argument.
#[cold]
fn blame(value: &Bound<'_, PyAny>, name: &str, cause: PyErr) -> PyErr {
    let py = value.py();
    let message = format!("argument {name}: {} cannot be taken: {}", short_repr(value), cause.value(py));
    error::caused_by(py, error::data_error(py, message), cause)
}

fn freeze_one<'py>(value: &Bound<'py, PyAny>, depth: usize) -> PyResult<Bound<'py, PyAny>> {
    if is_immutable(value) || value.is_exact_instance_of::<FrozenItems>() {
        return Ok(value.clone());
    }
    if depth > MAX_DEPTH {
        return Err(error::data_error(value.py(), format!("nested deeper than {MAX_DEPTH} levels (or into itself)")));
    }
    if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        // A view of anything but bytes stays as it is: its codec refuses it, with the right words.
        return match PyBuffer::<u8>::get(value) {
            Ok(buffer) => Ok(PyBytes::new(value.py(), &buffer.to_vec(value.py())?).into_any()),
            Err(_) => Ok(value.clone()),
        };
    }
    if let Ok(list) = value.cast_exact::<PyList>() {
        let items = list.iter().map(|item| freeze_one(&item, depth + 1)).collect::<PyResult<Vec<_>>>()?;
        return Ok(PyList::new(value.py(), items)?.into_any());
    }
    if let Ok(dict) = value.cast_exact::<PyDict>() {
        let copy = PyDict::new(value.py());
        for (key, item) in dict.iter() {
            copy.set_item(freeze_one(&key, depth + 1)?, freeze_one(&item, depth + 1)?)?;
        }
        return Ok(copy.into_any());
    }
    match pyimport::deepcopy(value.py())?.call1((value,)) {
        Ok(copy) => Ok(copy),
        Err(cause) if !error::is_error(value.py(), &cause) => Err(cause),
        Err(_) => freeze_shallow(value, depth),
    }
}

/// What has no copy down to its last part, since it holds a lock, say: the object itself and its attributes as far as they go;
/// of an iterator, or the view of a dictionary, the items. What is neither no codec takes: it says so.
fn freeze_shallow<'py>(value: &Bound<'py, PyAny>, depth: usize) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    // Within a list only lists are lists: a codec refuses others there.
    let has = |name| Ok::<_, PyErr>(depth == 0 && value.get_type().hasattr(name)?);
    if has(intern!(py, "__next__"))? {
        return freeze_items(value);
    }
    match pyimport::copy(py)?.call1((value,)) {
        Ok(copy) if copy.is(value) => Ok(copy),
        Ok(copy) => freeze_attributes(copy),
        Err(_) if has(intern!(py, "__iter__"))? => freeze_items(value),
        Err(_) => Ok(value.clone()),
    }
}

/// What an iterator, or the view of a dictionary, gave: to be taken where it would be, and refused where it would be, in its name.
#[pyclass(frozen, module = "pgoxide._core")]
pub(crate) struct FrozenItems {
    items: Py<PyList>,
    type_name: String,
    repr: String,
}

#[pymethods]
impl FrozenItems {
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.items.bind(py).try_iter()
    }

    fn __repr__(&self) -> &str {
        &self.repr
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.items)
    }
}

/// The name of a value's type, for messages.
pub(crate) fn type_name(value: &Bound<'_, PyAny>) -> String {
    match value.cast_exact::<FrozenItems>() {
        Ok(frozen) => frozen.get().type_name.clone(),
        Err(_) => value.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string()),
    }
}

fn freeze_items<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    let (type_name, repr) = (type_name(value), short_repr(value));
    let items = value.try_iter()?.map(|item| freeze_one(&item?, 1)).collect::<PyResult<Vec<_>>>()?;
    let items = PyList::new(py, items)?.unbind();
    Ok(Bound::new(py, FrozenItems { items, type_name, repr })?.into_any())
}

/// Those that have a copy themselves. Of an object without a dictionary its class alone knows.
fn freeze_attributes(object: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let py = object.py();
    let deepcopy = pyimport::deepcopy(py)?;
    if let Ok(attributes) = object.getattr(intern!(py, "__dict__"))
        && let Ok(attributes) = attributes.cast::<PyDict>()
    {
        for item in attributes.items() {
            let (name, attribute): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
            if let Ok(frozen) = deepcopy.call1((attribute,)) {
                attributes.set_item(name, frozen)?;
            }
        }
    }
    Ok(object)
}
