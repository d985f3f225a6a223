//! NoData (B). Source: "Message Formats", NoData.

use super::bodyless::bodyless;
use crate::codes::backend;

bodyless! {
    /// Answers a Describe of something that returns no rows.
    NoData = backend::NO_DATA
}
