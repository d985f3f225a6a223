//! Sync (F). Source: "Message Formats", Sync.

use super::bodyless::bodyless;
use crate::codes::frontend;

bodyless! {
    /// Ends a batch of extended-query messages: closes the implicit transaction and asks for
    /// ReadyForQuery; after an error the backend skips everything up to it.
    Sync = frontend::SYNC
}
