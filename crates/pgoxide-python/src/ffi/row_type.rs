//! Making a row type: a tuple subtype with its own deallocation, one member per column and look-up by name.
//!
//! Members are slot descriptors at the tuple's item offsets, which the interpreter specialises like `__slots__`:
//! `row.name` costs what an attribute of a slotted class costs.

use std::ffi::{CString, c_int, c_void};

use pyo3::exceptions::{PyKeyError, PyMemoryError, PyTypeError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use super::{nesting, tuple};

/// Names that CPython reads a meaning into when they appear among a type's members, and Python's own protocol
/// names: a column so named is reached by position or `row["…"]` only.
fn is_special(name: &str) -> bool {
    (name.starts_with("__") && name.ends_with("__")) || name == "keys"
}

/// A new subtype of `base` (the Python class `Row`, itself a slot-less tuple subclass) for these columns.
///
/// A name that occurs twice belongs to its last column, as in `dict(row)`.
pub(crate) fn make<'py>(base: &Bound<'py, PyType>, columns: &[String]) -> PyResult<Bound<'py, PyType>> {
    let py = base.py();
    let mut names: Vec<CString> = Vec::with_capacity(columns.len());
    let mut members: Vec<ffi::PyMemberDef> = Vec::with_capacity(columns.len() + 1);
    for (i, column) in columns.iter().enumerate() {
        let shadowed = columns[i + 1..].contains(column);
        if shadowed || is_special(column) {
            continue;
        }
        let Ok(name) = CString::new(column.as_str()) else { continue };
        // SAFETY: only computes an address inside a struct layout.
        let first = std::mem::offset_of!(ffi::PyTupleObject, ob_item);
        members.push(ffi::PyMemberDef {
            name: name.as_ptr(),
            type_code: ffi::Py_T_OBJECT_EX,
            offset: (first + i * size_of::<*mut ffi::PyObject>()) as ffi::Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: std::ptr::null(),
        });
        names.push(name);
    }
    members.push(ffi::PyMemberDef::default());
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_mp_subscript, subscript as *mut c_void),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(0, std::ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"pgoxide.Row".as_ptr(),
        basicsize: 0, // inherited
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as _,
        slots: slots.as_mut_ptr(),
    };
    let bases = PyTuple::new(py, [base])?;
    // SAFETY: the spec and its arrays outlive the call, which copies the member definitions; what they point to
    // (the names) is kept by a capsule in the type's own dictionary, set below before anybody sees the type.
    let made =
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpecWithBases(&raw mut spec, bases.as_ptr()))? };
    check_layout(made.cast()?)?;
    made.setattr(intern!(py, "_fields"), PyTuple::new(py, columns.iter().map(|c| PyString::intern(py, c)))?)?;
    made.setattr(intern!(py, "__member_names__"), keep(py, names)?)?;
    made.setattr(intern!(py, "__slots__"), PyTuple::empty(py))?;
    made.cast_into().map_err(Into::into)
}

/// Rows are allocated as tuples are (`tuple.rs`): with tuple's sizes, and nothing in front but the collector's head.
fn check_layout(made: &Bound<'_, PyType>) -> PyResult<()> {
    // Instance dictionaries and weak references that CPython keeps in front of an object (3.11 on, 3.12 on).
    const IN_FRONT: std::ffi::c_ulong = 1 << 4 | 1 << 3;
    // SAFETY: both are ready types.
    let fits = unsafe {
        let (row, tuple) = (made.as_type_ptr(), &raw const ffi::PyTuple_Type);
        (*row).tp_basicsize == (*tuple).tp_basicsize
            && (*row).tp_itemsize == (*tuple).tp_itemsize
            && (*row).tp_flags & IN_FRONT == 0
    };
    if fits { Ok(()) } else { Err(PyTypeError::new_err("pgoxide.Row must stay a tuple subclass without slots")) }
}

const fn slot(slot: c_int, pfunc: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc }
}

/// A capsule that owns the C strings for as long as the type's dictionary holds it.
fn keep(py: Python<'_>, names: Vec<CString>) -> PyResult<Bound<'_, PyAny>> {
    unsafe extern "C" fn free(capsule: *mut ffi::PyObject) {
        // SAFETY: called once by the capsule's deallocation; the pointer came from Box::into_raw below.
        unsafe {
            let names = ffi::PyCapsule_GetPointer(capsule, std::ptr::null());
            if !names.is_null() {
                drop(Box::from_raw(names.cast::<Vec<CString>>()));
            }
        }
    }
    let names = Box::into_raw(Box::new(names));
    // SAFETY: a non-NULL pointer with a destructor that takes it back.
    unsafe {
        let capsule = ffi::PyCapsule_New(names.cast(), std::ptr::null(), Some(free));
        if capsule.is_null() {
            drop(Box::from_raw(names));
            return Err(PyMemoryError::new_err("no memory for a row type"));
        }
        Ok(Bound::from_owned_ptr(py, capsule))
    }
}

/// tuple's own deallocation serves exact tuples; the generic one for subtypes costs twice as much.
unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: called by the interpreter with the last reference gone, and untracked before its items are given up.
    unsafe {
        if tuple::untrack(object) {
            nesting::bounded(object, |object| release(object));
        } else {
            // A row of scalars: it holds no rows.
            release(object);
        }
    }
}

/// Gives up a row's items and its memory.
///
/// # Safety
/// The last reference is gone and the collector does not know it any more.
#[inline]
unsafe fn release(object: *mut ffi::PyObject) {
    // SAFETY: the caller's. Items may be NULL when a row was dropped half-way. Heap types are referenced by their
    // instances.
    unsafe {
        let len = ffi::Py_SIZE(object);
        let tuple = object.cast::<ffi::PyTupleObject>();
        let items = (&raw mut (*tuple).ob_item).cast::<*mut ffi::PyObject>();
        for i in 0..len {
            ffi::Py_XDECREF(*items.offset(i));
        }
        let made = ffi::Py_TYPE(object);
        tuple::free(object);
        ffi::Py_DECREF(made.cast());
    }
}

/// What the collector sees of a row: its type, and each value once. The traversal that a Python class hands down visits
/// the members and then the tuple's items, so each value twice, which makes the collector clear living objects.
unsafe extern "C" fn traverse(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: called by the collector for a tracked, so completely filled, row; nothing is changed.
    unsafe {
        let made = ffi::Py_TYPE(object).cast::<ffi::PyObject>();
        let status = visit(made, arg);
        if status != 0 {
            return status;
        }
        let tuple = object.cast::<ffi::PyTupleObject>();
        let items = (&raw mut (*tuple).ob_item).cast::<*mut ffi::PyObject>();
        for i in 0..ffi::Py_SIZE(object) {
            let status = visit(*items.offset(i), arg);
            if status != 0 {
                return status;
            }
        }
        0
    }
}

/// `row[0]`, `row[-1]`, `row[1:3]` as tuple does; `row["name"]` by column name.
unsafe extern "C" fn subscript(object: *mut ffi::PyObject, key: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter, attached, with two live borrowed objects. tuple's own mapping slot
    // takes any object of tuple's layout.
    unsafe {
        if ffi::PyUnicode_Check(key) != 0 {
            let py = Python::assume_attached();
            return match by_name(&Bound::from_borrowed_ptr(py, object), &Bound::from_borrowed_ptr(py, key)) {
                Ok(item) => item.into_ptr(),
                Err(error) => {
                    error.restore(py);
                    std::ptr::null_mut()
                }
            };
        }
        let mapping = ffi::PyTuple_Type.tp_as_mapping;
        match (*mapping).mp_subscript {
            Some(get) => get(object, key),
            None => std::ptr::null_mut(),
        }
    }
}

fn by_name<'py>(row: &Bound<'py, PyAny>, name: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = row.py();
    let fields = row.get_type().getattr(intern!(py, "_fields"))?.cast_into::<PyTuple>()?;
    // Backwards: a name that occurs twice belongs to its last column. Names are interned, so a literal in the
    // user's code is found by identity.
    let identical = (0..fields.len()).rev().find(|&i| fields.get_item(i).is_ok_and(|field| field.is(name)));
    let found = match identical {
        Some(i) => Some(i),
        None => {
            let mut found = None;
            for i in (0..fields.len()).rev() {
                if fields.get_item(i)?.eq(name)? {
                    found = Some(i);
                    break;
                }
            }
            found
        }
    };
    match found {
        Some(i) => row.cast::<PyTuple>()?.get_item(i),
        None => Err(PyKeyError::new_err(format!("no column {}; the row has {}", name.repr()?, fields.repr()?))),
    }
}
