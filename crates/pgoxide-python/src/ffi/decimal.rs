//! `decimal.Decimal` filled from a coefficient, without writing and parsing text (which takes three times as long).
//!
//! There is no C API for it, so the layout below is `_decimal.c`'s own. It is not trusted: on first use decimals made by
//! the class itself are compared with ours field by field, and where one differs (another interpreter, a class in Python)
//! the text is the way.

use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Decimal digits in one word of a coefficient.
const WORD: u64 = 10_000_000_000_000_000_000;

/// libmpdec's flags of a small number that lies inside its object, and of a negative one.
const INSIDE: u8 = 0x10 | 0x20;
const NEGATIVE: u8 = 1;

const WORDS: usize = 4;

/// `PyDecObject` of CPython 3.11 to 3.14 on 64-bit machines.
#[repr(C)]
struct Object {
    head: ffi::PyObject,
    hash: ffi::Py_hash_t,
    flags: u8,
    exponent: isize,
    digits: isize,
    used: isize,
    allocated: isize,
    data: *mut u64,
    words: [u64; WORDS],
}

/// `-coefficient` or `coefficient`, with `scale` digits after the point. `None`: it must be made from its text.
#[inline]
pub(crate) fn finite<'py>(
    class: &Bound<'py, PyType>,
    negative: bool,
    coefficient: u64,
    scale: u16,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let known = match KNOWN.get() {
        Some(known) => *known,
        None => {
            let known = layout_is_known(class)?;
            *KNOWN.get_or_init(|| known)
        }
    };
    if !known || coefficient >= WORD {
        return Ok(None);
    }
    build(class, negative, coefficient, scale).map(Some)
}

/// As [`finite`], for a layout that was found to be ours.
#[inline]
fn build<'py>(class: &Bound<'py, PyType>, negative: bool, coefficient: u64, scale: u16) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    // SAFETY: the class's own allocation gives an object of tp_basicsize bytes, which is `Object`'s size, its reference
    // count and type set; all other fields are written before anybody sees it. A decimal refers to no other object, so the
    // collector need not know it.
    unsafe {
        let kind = class.as_type_ptr();
        let Some(allocate) = (*kind).tp_alloc else { return Err(pyo3::exceptions::PyTypeError::new_err("Decimal")) };
        let made = allocate(kind, 0);
        if made.is_null() {
            return Err(PyErr::fetch(py));
        }
        let object = made.cast::<Object>();
        (*object).hash = -1;
        (*object).flags = if negative { INSIDE | NEGATIVE } else { INSIDE };
        (*object).exponent = -(scale as isize);
        (*object).digits = coefficient.checked_ilog10().map_or(1, |log| log as isize + 1);
        (*object).used = 1;
        (*object).allocated = WORDS as isize;
        (*object).data = (&raw mut (*object).words).cast();
        (*object).words[0] = coefficient;
        if ffi::PyObject_IS_GC(made) != 0 {
            ffi::PyObject_GC_UnTrack(made.cast());
        }
        Ok(Bound::from_owned_ptr(py, made))
    }
}

/// Compares what the class makes of texts with what we would make.
#[cold]
fn layout_is_known(class: &Bound<'_, PyType>) -> PyResult<bool> {
    const SAMPLES: [(&str, bool, u64, u16); 6] = [
        ("0", false, 0, 0),
        ("0.00", false, 0, 2),
        ("-7", true, 7, 0),
        ("123.45", false, 12_345, 2),
        ("-0.0000000001", true, 1, 10),
        ("9999999999999999.999", false, WORD - 1, 3),
    ];
    // SAFETY: reads two fields of a ready type.
    let fits = unsafe {
        let kind = class.as_type_ptr();
        (*kind).tp_basicsize == size_of::<Object>() as ffi::Py_ssize_t
            && (*kind).tp_itemsize == 0
            && (*kind).tp_dictoffset == 0
            && (*kind).tp_weaklistoffset == 0
    };
    if !fits || size_of::<usize>() != 8 || cfg!(Py_GIL_DISABLED) {
        return Ok(false);
    }
    for (text, negative, coefficient, scale) in SAMPLES {
        let theirs = class.call1((text,))?;
        if !same_fields(&theirs, negative, coefficient, scale) {
            return Ok(false);
        }
        let ours = build(class, negative, coefficient, scale)?;
        if !ours.eq(&theirs)? || ours.str()?.to_str()? != theirs.str()?.to_str()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Does an instance of a class of this size hold what we would write?
fn same_fields(theirs: &Bound<'_, PyAny>, negative: bool, coefficient: u64, scale: u16) -> bool {
    // SAFETY: the object is as large as `Object`, of which only plain integers are read.
    let object = unsafe { &*theirs.as_ptr().cast::<Object>() };
    object.hash == -1
        && object.flags == if negative { INSIDE | NEGATIVE } else { INSIDE }
        && object.exponent == -(scale as isize)
        && object.digits == coefficient.checked_ilog10().map_or(1, |log| log as isize + 1)
        && object.used == 1
        && object.allocated == WORDS as isize
        && std::ptr::eq(object.data, object.words.as_ptr())
        && object.words[0] == coefficient
}
