//! ParseComplete (B). Source: "Message Formats", ParseComplete.

use super::bodyless::bodyless;
use crate::codes::backend;

bodyless! {
    /// A Parse succeeded.
    ParseComplete = backend::PARSE_COMPLETE
}
