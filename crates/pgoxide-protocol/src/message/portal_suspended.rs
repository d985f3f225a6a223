//! PortalSuspended (B). Source: "Message Formats", PortalSuspended.

use super::bodyless::bodyless;
use crate::codes::backend;

bodyless! {
    /// An Execute reached its row limit before the end of the portal.
    PortalSuspended = backend::PORTAL_SUSPENDED
}
