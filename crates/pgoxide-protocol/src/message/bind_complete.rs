//! BindComplete (B). Source: "Message Formats", BindComplete.

use super::bodyless::bodyless;
use crate::codes::backend;

bodyless! {
    /// A Bind succeeded.
    BindComplete = backend::BIND_COMPLETE
}
