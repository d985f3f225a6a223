//! SQL as text, without a server: what can be read off a statement before it is sent.
//!
//! | file | subject |
//! | --- | --- |
//! | `command.rs` | which command a statement is |
//! | `created.rs` | which relations a text creates |
//! | `lexer.rs` | a text cut into tokens |
//! | `placeholders.rs` | `:name` becomes `$n` |
//! | `session.rs` | what a statement leaves behind in its session |
//! | `transaction.rs` | which of them begin or end a transaction |

#![forbid(unsafe_code)]

mod command;
mod created;
mod lexer;
mod placeholders;
mod session;
mod transaction;

pub use command::{Command, command, reads};
pub use created::created;
pub use lexer::{Kind, Token, Tokens, tokens};
pub use placeholders::{Named, PlaceholderError, characters};
pub use session::{Keeps, keeps};
pub use transaction::begins_or_ends_transaction;
