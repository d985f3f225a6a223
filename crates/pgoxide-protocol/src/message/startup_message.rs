//! StartupMessage (F), an untyped first packet. Source: "Message Formats", StartupMessage.

use super::list::{Item, List};
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_cstr};

const NAME: &str = "StartupMessage";

/// Opens a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartupMessage<'a> {
    /// The protocol version asked for; only major version 3 has this layout.
    pub protocol: i32,
    /// `user` (required), `database`, `replication`, settings, and protocol options (`_pq_.`).
    pub parameters: List<'a, Parameter<'a>>,
}

/// One name and value of a StartupMessage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// The name, never empty: an empty one ends the list.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

impl<'a> StartupMessage<'a> {
    /// Decodes the body, the protocol version included.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let protocol = reader.i32("protocol version")?;
        if protocol >> 16 != 3 {
            return Err(reader.bad_value("protocol version", protocol));
        }
        let parameters = List::read_terminated(&mut reader, "parameters")?;
        reader.finish()?;
        Ok(StartupMessage { protocol, parameters })
    }

    /// Appends the whole packet.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, None, |out| {
            out.extend_from_slice(&self.protocol.to_be_bytes());
            self.parameters.write_items(out)?;
            out.push(0);
            Ok(())
        })
    }
}

impl<'a> Item<'a> for Parameter<'a> {
    const MIN_BYTES: usize = 2;

    fn read(reader: &mut Reader<'a>, _index: usize) -> Result<Self, DecodeError> {
        Ok(Parameter { name: reader.cstr("parameter name")?, value: reader.cstr("parameter value")? })
    }

    fn write(self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.name.is_empty() {
            return Err(EncodeError::Empty { field: "parameter name" });
        }
        put_cstr(out, "parameter name", self.name)?;
        put_cstr(out, "parameter value", self.value)
    }
}
