//! Execute (F). Source: "Message Formats", Execute.

use crate::codes::frontend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_cstr};

const NAME: &str = "Execute";

/// Runs a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The portal's name; empty is the unnamed one.
    pub portal: &'a [u8],
    /// The most rows to return before PortalSuspended; 0 is no limit. At most 2147483647.
    pub max_rows: u32,
}

impl<'a> Execute<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let portal = reader.cstr("portal name")?;
        // Servers take a negative limit for none, so it is read as 0.
        let max_rows = u32::try_from(reader.i32("row limit")?).unwrap_or(0);
        reader.finish()?;
        Ok(Execute { portal, max_rows })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        write(out, self.portal, self.max_rows)
    }
}

/// Appends an Execute.
#[inline]
pub fn write(out: &mut Vec<u8>, portal: &[u8], max_rows: u32) -> Result<(), EncodeError> {
    let wire = i32::try_from(max_rows).map_err(|_| EncodeError::TooMany {
        things: "rows for one Execute",
        count: max_rows as usize,
        limit: i32::MAX as usize,
    })?;
    frame(out, Some(frontend::EXECUTE), |out| {
        put_cstr(out, "portal name", portal)?;
        out.extend_from_slice(&wire.to_be_bytes());
        Ok(())
    })
}
