//! EmptyQueryResponse (B). Source: "Message Formats", EmptyQueryResponse.

use super::bodyless::bodyless;
use crate::codes::backend;

bodyless! {
    /// Stands in for CommandComplete when the query string was empty.
    EmptyQueryResponse = backend::EMPTY_QUERY_RESPONSE
}
