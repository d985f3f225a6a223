//! The answer to an authentication request, before anyone has said which of the four it is.
//!
//! PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse share the byte `p`; "the
//! exact message type can be deduced from the context" ("Message Formats", PasswordMessage). So
//! [`Frontend::decode`](super::Frontend::decode) keeps the body, and whoever knows the context asks.

use super::{GssResponse, PasswordMessage, SaslInitialResponse, SaslResponse};
use crate::codes::frontend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::frame;

/// A message of type `p`, its body not looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthenticationResponse<'a> {
    /// The body.
    pub body: &'a [u8],
}

impl<'a> AuthenticationResponse<'a> {
    /// Keeps the body; every body is accepted.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(AuthenticationResponse { body })
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(frontend::AUTHENTICATION_RESPONSE), |out| {
            out.extend_from_slice(self.body);
            Ok(())
        })
    }

    /// As the answer to AuthenticationCleartextPassword or AuthenticationMD5Password.
    pub fn password(&self) -> Result<PasswordMessage<'a>, DecodeError> {
        PasswordMessage::decode(self.body)
    }

    /// As the answer to AuthenticationSASL.
    pub fn sasl_initial(&self) -> Result<SaslInitialResponse<'a>, DecodeError> {
        SaslInitialResponse::decode(self.body)
    }

    /// As the answer to AuthenticationSASLContinue.
    pub fn sasl(&self) -> Result<SaslResponse<'a>, DecodeError> {
        SaslResponse::decode(self.body)
    }

    /// As the answer to AuthenticationGSS, AuthenticationSSPI or AuthenticationGSSContinue.
    pub fn gss(&self) -> Result<GssResponse<'a>, DecodeError> {
        GssResponse::decode(self.body)
    }
}

/// Hides the body, which may be a password.
impl std::fmt::Debug for AuthenticationResponse<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthenticationResponse").finish_non_exhaustive()
    }
}
