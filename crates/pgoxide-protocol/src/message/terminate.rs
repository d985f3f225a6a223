//! Terminate (F). Source: "Message Formats", Terminate.

use super::bodyless::bodyless;
use crate::codes::frontend;

bodyless! {
    /// The frontend closes the session; nothing answers it.
    Terminate = frontend::TERMINATE
}
