//! The untyped first packets: a length and a code, where every later message has a type byte.
//! Source: "Message Flow", "Start-up" and "Canceling Requests in Progress".

use super::{CancelRequest, GssencRequest, SslRequest, StartupMessage};
use crate::codes::{CANCEL_REQUEST, GSSENC_REQUEST, SSL_REQUEST};
use crate::error::{DecodeError, EncodeError};
use crate::wire::Reader;

/// A packet that may open a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Startup<'a> {
    /// StartupMessage.
    StartupMessage(StartupMessage<'a>),
    /// SSLRequest.
    SslRequest(SslRequest),
    /// GSSENCRequest.
    GssencRequest(GssencRequest),
    /// CancelRequest.
    CancelRequest(CancelRequest<'a>),
}

impl<'a> Startup<'a> {
    /// Decodes the body: everything after the length, the code included.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        match Reader::new("StartupMessage", body).i32("protocol version")? {
            SSL_REQUEST => SslRequest::decode(body).map(Startup::SslRequest),
            GSSENC_REQUEST => GssencRequest::decode(body).map(Startup::GssencRequest),
            CANCEL_REQUEST => CancelRequest::decode(body).map(Startup::CancelRequest),
            _ => StartupMessage::decode(body).map(Startup::StartupMessage),
        }
    }

    /// Appends the whole packet.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Startup::StartupMessage(message) => message.encode(out),
            Startup::SslRequest(message) => message.encode(out),
            Startup::GssencRequest(message) => message.encode(out),
            Startup::CancelRequest(message) => message.encode(out),
        }
    }

    /// The documentation's name of the packet.
    pub const fn name(&self) -> &'static str {
        match self {
            Startup::StartupMessage(_) => "StartupMessage",
            Startup::SslRequest(_) => "SSLRequest",
            Startup::GssencRequest(_) => "GSSENCRequest",
            Startup::CancelRequest(_) => "CancelRequest",
        }
    }
}
