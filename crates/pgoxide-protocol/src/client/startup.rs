//! From StartupMessage to the first ReadyForQuery. Protocol chapter, "Start-up".
//!
//! ```text
//!   StartupMessage ─▶ Authenticating ─AuthenticationOk─▶ Preparing ─ReadyForQuery─▶ (started)
//!                        │ NegotiateProtocolVersion         │ BackendKeyData, ParameterStatus
//!                        └ AuthenticationXxx: asked of the caller
//! ```

use super::Connection;
use super::cancel::CancelKey;
use super::query::{Event, Failure};
use crate::codes::backend;
use crate::error::ProtocolError;
use crate::message::authentication::Authentication;
use crate::message::backend_key_data::BackendKeyData;
use crate::message::error_response::ErrorResponse;
use crate::message::negotiate_protocol_version::NegotiateProtocolVersion;
use crate::message::ready_for_query::ReadyForQuery;

/// Where the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Authenticating,
    Preparing,
    Started,
}

impl<J> Connection<J> {
    pub(super) fn startup_message<'p>(
        &mut self,
        kind: u8,
        body: &'p [u8],
    ) -> Result<Option<Event<'p, J>>, ProtocolError> {
        match (self.phase, kind) {
            (Phase::Authenticating | Phase::Preparing, backend::ERROR_RESPONSE) => {
                Ok(Some(Event::Failed(ErrorResponse::decode(body)?, Failure::Session, None)))
            }
            (Phase::Authenticating, backend::NEGOTIATE_PROTOCOL_VERSION) => {
                NegotiateProtocolVersion::decode(body)?;
                Ok(None)
            }
            (Phase::Authenticating, backend::AUTHENTICATION) => match Authentication::decode(body)? {
                Authentication::Ok => {
                    self.phase = Phase::Preparing;
                    Ok(None)
                }
                other => Ok(Some(Event::AuthenticationRequested(other))),
            },
            (Phase::Preparing, backend::BACKEND_KEY_DATA) => {
                let key = BackendKeyData::decode(body)?;
                self.key = Some(CancelKey { process_id: key.process_id, secret: key.key.to_vec() });
                Ok(None)
            }
            (Phase::Preparing, backend::READY_FOR_QUERY) => {
                self.status = ReadyForQuery::decode(body)?.status;
                self.phase = Phase::Started;
                Ok(Some(Event::Started))
            }
            (Phase::Authenticating, _) => {
                Err(ProtocolError::Unexpected { message: kind, state: "an authentication request" })
            }
            (_, _) => Err(ProtocolError::Unexpected { message: kind, state: "the end of start-up" }),
        }
    }
}
