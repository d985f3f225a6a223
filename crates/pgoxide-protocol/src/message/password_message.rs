//! PasswordMessage (F). Source: "Message Formats", PasswordMessage.

use crate::codes::frontend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_cstr};

const NAME: &str = "PasswordMessage";

/// The password, in clear or as the MD5 answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PasswordMessage<'a> {
    /// The password, without its terminating zero byte.
    pub password: &'a [u8],
}

impl<'a> PasswordMessage<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let password = reader.cstr("password")?;
        reader.finish()?;
        Ok(PasswordMessage { password })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(frontend::AUTHENTICATION_RESPONSE), |out| put_cstr(out, "password", self.password))
    }
}

/// Hides the password, so that no log of messages can hold it.
impl std::fmt::Debug for PasswordMessage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(NAME).finish_non_exhaustive()
    }
}
