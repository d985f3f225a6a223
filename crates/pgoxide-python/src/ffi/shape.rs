//! Dicts with the keys of one that was made before, as the dicts of a class's instances are to each other: they share the table
//! of their keys, so that each is little more than an array of its values, written without looking for their places.
//!
//! CPython has no API that makes such a dict from keys, but copies one as what it is. So the first is an instance's, and each
//! further one a copy of it. How its values lie is CPython's own affair: it is not trusted, but compared with what the dict
//! itself says is under its keys, for each shape. Where it differs (another interpreter) there is no shape.

use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use super::unborn;

/// Keys in a given order, and how to make dicts of them.
pub(crate) struct Shape {
    /// A dict with these keys, each at None.
    empty: Py<PyDict>,
    len: usize,
}

impl Shape {
    /// CPython shares the keys of dicts of up to 30, of which one is kept free for a key that is added later.
    pub(crate) const MOST: usize = 29;

    /// Of keys that differ: `str` exactly. `None` where dicts do not share them.
    #[cold]
    pub(crate) fn new<'py>(py: Python<'py>, keys: &[Bound<'py, PyAny>]) -> PyResult<Option<Self>> {
        let len = keys.len();
        if len == 0 || len > Self::MOST || cfg!(any(Py_GIL_DISABLED, Py_3_15)) {
            return Ok(None);
        }
        let class = py.get_type::<PyType>().call1(("Shape", (), PyDict::new(py)))?;
        let fill = |dict: &Bound<'py, PyDict>, value: &dyn Fn(usize) -> Bound<'py, PyAny>| -> PyResult<()> {
            keys.iter().enumerate().try_for_each(|(index, key)| dict.set_item(key, value(index)))
        };
        let of_instance = || class.call0()?.getattr("__dict__")?.cast_into::<PyDict>().map_err(PyErr::from);
        let none = |_| py.None().into_bound(py);
        fill(&of_instance()?, &none)?;
        // The class expects as many more attributes as there is room for, one less with each new instance.
        for _ in 0..=Self::MOST {
            class.call0()?;
        }
        let first = of_instance()?;
        fill(&first, &none)?;
        let shape = Self { empty: first.copy()?.unbind(), len };
        // A number of its own under each key.
        let numbers = (0..len).map(|index| (10_000 + index).into_pyobject(py).map(Bound::into_any));
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
        let proof = shape.empty.bind(py).copy()?;
        fill(&proof, &|index| numbers[index].clone())?;
        // SAFETY: a dict that nobody changes meanwhile; what is found is only compared.
        let found = unsafe { values_of(&proof) };
        let Some(found) = found else { return Ok(None) };
        for (index, number) in numbers.iter().enumerate() {
            // SAFETY: a dict that has `values` has room there for each of its keys and, in front of them, for nothing or one
            // word; as there is room for one key more than `len`, all this is inside of it whichever it is.
            if !std::ptr::eq(unsafe { found.add(index).read() }, number.as_ptr()) {
                return Ok(None);
            }
        }
        Ok(Some(shape))
    }

    /// A dict of these values, as many as there are keys and in their order. `containers`: some of them may be part of a cycle;
    /// the dict is held back from the collector like other containers.
    #[inline]
    pub(crate) fn dict<'py>(
        &self,
        py: Python<'py>,
        values: impl ExactSizeIterator<Item = Bound<'py, PyAny>>,
        containers: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        assert_eq!(values.len(), self.len, "a value for each key");
        let dict = self.empty.bind(py).copy()?;
        // SAFETY: nobody else has seen the dict. A copy of `empty` is laid out as it is, of which `new` has found that the
        // values lie there in the order of the keys; each is None, and given up for the value that takes its place.
        unsafe {
            let Some(places) = values_of(&dict) else {
                return Err(PySystemError::new_err("a copy of a dict that shares its keys has its own"));
            };
            for (index, value) in values.enumerate() {
                ffi::Py_DECREF(places.add(index).replace(value.into_ptr()));
            }
        }
        // As `dict.__setitem__` would have it: one of scalars need not be known. Later interpreters tell of all of them.
        if cfg!(Py_3_14) {
            unborn::hold_back(&dict);
        } else if containers {
            // SAFETY: complete; the collector does not know it, as a copy of a dict of None is not told of.
            unsafe { unborn::finished(&dict) }
        }
        Ok(dict)
    }
}

/// Where a dict's values lie that shares its keys.
///
/// # Safety
/// It is not changed while they are used.
#[inline]
unsafe fn values_of(dict: &Bound<'_, PyDict>) -> Option<*mut *mut ffi::PyObject> {
    /// Words in front of them: since 3.13 they begin with four bytes about them.
    const WORDS: usize = if cfg!(Py_3_13) { 1 } else { 0 };
    // SAFETY: the public layout of a dict.
    let values = unsafe { (*dict.as_ptr().cast::<ffi::PyDictObject>()).ma_values }.cast::<*mut ffi::PyObject>();
    // SAFETY: they are followed by at least one more.
    (!values.is_null()).then(|| unsafe { values.add(WORDS) })
}
