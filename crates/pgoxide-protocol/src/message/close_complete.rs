//! CloseComplete (B). Source: "Message Formats", CloseComplete.

use super::bodyless::bodyless;
use crate::codes::backend;

bodyless! {
    /// A Close succeeded, also one of something that did not exist.
    CloseComplete = backend::CLOSE_COMPLETE
}
