//! CancelRequest (F), an untyped first packet. Source: "Message Formats", CancelRequest.

use crate::codes::{CANCEL_REQUEST, MAX_CANCEL_KEY, MIN_CANCEL_KEY};
use crate::error::{DecodeError, EncodeError, Problem};
use crate::wire::{Reader, frame};

const NAME: &str = "CancelRequest";

/// Asks the server, over a connection of its own, to cancel what another session is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelRequest<'a> {
    /// The process ID from that session's BackendKeyData.
    pub process_id: i32,
    /// The secret key from there, 4 to 256 bytes.
    pub key: &'a [u8],
}

impl<'a> CancelRequest<'a> {
    /// Decodes the body, the request code included.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let code = reader.i32("request code")?;
        if code != CANCEL_REQUEST {
            return Err(reader.bad_value("request code", code));
        }
        let process_id = reader.i32("process ID")?;
        let key = read_key(&mut reader)?;
        reader.finish()?;
        Ok(CancelRequest { process_id, key })
    }

    /// Appends the whole packet.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, None, |out| {
            out.extend_from_slice(&CANCEL_REQUEST.to_be_bytes());
            out.extend_from_slice(&self.process_id.to_be_bytes());
            write_key(out, self.key)
        })
    }
}

/// Reads a cancel key: the rest of the body, within the lengths of protocol 3.2.
pub(super) fn read_key<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let left = reader.left();
    if left < MIN_CANCEL_KEY {
        return Err(reader.error(Problem::Short { field: "key", needed: MIN_CANCEL_KEY, left }));
    }
    let key = reader.bytes("key", left.min(MAX_CANCEL_KEY))?;
    match reader.left() {
        0 => Ok(key),
        extra => Err(reader.error(Problem::Trailing { extra })),
    }
}

/// Appends a cancel key, within the lengths of protocol 3.2.
pub(super) fn write_key(out: &mut Vec<u8>, key: &[u8]) -> Result<(), EncodeError> {
    if !(MIN_CANCEL_KEY..=MAX_CANCEL_KEY).contains(&key.len()) {
        return Err(EncodeError::KeyLength { length: key.len() });
    }
    out.extend_from_slice(key);
    Ok(())
}
