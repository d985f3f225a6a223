//! The client's side of a conversation, as a machine without I/O.
//!
//! | file | subject |
//! | --- | --- |
//! | `connection.rs` | [`Connection`] and its few verbs |
//! | `startup.rs` | from StartupMessage to the first ReadyForQuery |
//! | `pipeline.rs` | requests: queued, written, finished; barriers and back-pressure |
//! | `block.rs` | the transaction block, opened by the first request inside it |
//! | `gate.rs` | what may be written behind a reset of the session |
//! | `queue.rs` | a queue whose items are also found by their id |
//! | `query.rs` | each backend message matched against the reply expected next |
//! | `cancel.rs` | the window in which a CancelRequest may hit a neighbour |
//! | `frame.rs` | cutting frames off the received bytes |

mod block;
mod cancel;
mod connection;
mod frame;
mod gate;
mod pipeline;
mod query;
mod queue;
mod startup;

pub use block::{Commands, LevelId, Stage, Standing};
pub use cancel::{CancelDelivered, CancelKey, CancelOutcome};
pub use connection::{Connection, Limits};
pub use pipeline::{Prefix, Request, RequestId, Resend, Step};
pub use query::{CopyDirection, Event, Failure};
pub use queue::Queue;
