//! SQL as text, without a server: what can be read off a statement before it is sent.
//!
//! | file | subject |
//! | --- | --- |
//! | `command.rs` | which command a statement is |

#![forbid(unsafe_code)]

mod command;

pub use command::{Command, command};
