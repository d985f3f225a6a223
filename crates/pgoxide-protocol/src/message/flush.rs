//! Flush (F). Source: "Message Formats", Flush.

use super::bodyless::bodyless;
use crate::codes::frontend;

bodyless! {
    /// Asks the backend to send what it has ready, without ending the batch.
    Flush = frontend::FLUSH
}
