//! CopyDone (F & B). Source: "Message Formats", CopyDone.

use super::bodyless::bodyless;
use crate::codes::frontend;

bodyless! {
    /// The sender has no more CopyData. The byte is the same in both directions.
    CopyDone = frontend::COPY_DONE
}
