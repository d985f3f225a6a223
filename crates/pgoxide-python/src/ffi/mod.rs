//! The only unsafe code of the project: one CPython API per file, behind safe wrappers.
//!
//! | file | API |
//! | --- | --- |
//! | `tuple.rs` | allocating and filling instances of tuple, of row types and of named tuples |
//! | `list.rs` | lists filled item by item in memory of their final size |
//! | `shape.rs` | dicts that share the table of their keys |
//! | `unborn.rs` | containers kept from the collector until they are handed out |
//! | `row_type.rs` | making a row type: a tuple subtype with its own deallocation, members and look-up |
//! | `nesting.rs` | deallocation of rows in rows in rows, on a bounded stack |
//! | `unicode.rs` | `str` from wire bytes without an intermediate copy |
//! | `decimal.rs` | `decimal.Decimal` from a coefficient, its layout proved on first use |
//! | `slots.rs` | instances of Python classes filled without calling `__init__` |
//! | `headless.rs` | instances of a class of numbers without the collector's head |
//! | `call.rs` | calls whose arguments lie side by side, some by keyword |
//! | `set.rs` | copying a set |
//! | `version.rs` | whether a class has changed since it was looked at |
//! | `subtype.rs` | instances of subclasses of `int` |
//! | `task.rs` | waking an asyncio task from a reader callback, in its own context |
//! | `descriptor.rs` | borrowing a file descriptor |
//! | `interpreter.rs` | which interpreter of the process runs |
//! | `iteration.rs` | ending an iteration with a value |
//! | `frame.rs` | where in Python a call came from |
//!
//! Invariants all of them rely on: the GIL (or an attached thread state) is held, proven by a `Python` token; an
//! object is published to Python code only after every slot is filled.

pub(crate) mod call;
pub(crate) mod decimal;
pub(crate) mod descriptor;
pub(crate) mod frame;
pub(crate) mod headless;
pub(crate) mod interpreter;
pub(crate) mod iteration;
pub(crate) mod list;
mod nesting;
pub(crate) mod row_type;
pub(crate) mod set;
pub(crate) mod shape;
pub(crate) mod slots;
pub(crate) mod subtype;
pub(crate) mod task;
pub(crate) mod tuple;
pub(crate) mod unborn;
pub(crate) mod unicode;
pub(crate) mod version;
