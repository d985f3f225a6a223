//! Bind (F). Source: "Message Formats", Bind.
//!
//! Two ways to write one: [`Bind::encode`] from values that exist, and [`begin`] for the client's
//! hot path, where each parameter is encoded straight into the send buffer:
//!
//! ```
//! use pgoxide_protocol::codes::Format;
//! use pgoxide_protocol::message::bind;
//!
//! let mut out = Vec::new();
//! let mut frame = bind::begin(&mut out, b"", b"s1", &[Format::Text])?;
//! frame.null(&mut out);
//! let mark = frame.begin_value(&mut out);
//! out.extend_from_slice(b"42");
//! frame.end_value(&mut out, mark)?;
//! frame.finish(&mut out, &[Format::Binary])?;
//! # Ok::<(), pgoxide_protocol::error::EncodeError>(())
//! ```

use super::list::List;
use crate::codes::{Format, frontend};
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, patch_frame_length, patch_value_length, put_count_u16, put_cstr, put_value};

const NAME: &str = "Bind";

/// Makes a portal from a prepared statement and parameter values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal's name; empty is the unnamed one.
    pub portal: &'a [u8],
    /// The prepared statement's name; empty is the unnamed one.
    pub statement: &'a [u8],
    /// None (all text), one for all, or one per parameter.
    pub parameter_formats: List<'a, Format>,
    /// The parameter values, NULL as `None`.
    pub parameters: List<'a, Option<&'a [u8]>>,
    /// None (all text), one for all, or one per result column.
    pub result_formats: List<'a, Format>,
}

impl<'a> Bind<'a> {
    /// Decodes the body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let bind = Bind {
            portal: reader.cstr("portal name")?,
            statement: reader.cstr("statement name")?,
            parameter_formats: List::read_u16(&mut reader, "parameter formats")?,
            parameters: List::read_u16(&mut reader, "parameters")?,
            result_formats: List::read_u16(&mut reader, "result formats")?,
        };
        reader.finish()?;
        Ok(bind)
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(frontend::BIND), |out| {
            put_cstr(out, "portal name", self.portal)?;
            put_cstr(out, "statement name", self.statement)?;
            self.parameter_formats.write_u16(out, "parameter formats")?;
            self.parameters.write_u16(out, "parameters")?;
            self.result_formats.write_u16(out, "result formats")
        })
    }
}

/// A Bind that is being written. Parameters are counted as they come; [`BindFrame::finish`] fills
/// in the count and the length.
///
/// Until then nothing else may be appended to the buffer. On any error call
/// [`BindFrame::abandon`], or truncate the buffer to [`BindFrame::start`].
#[derive(Debug)]
#[must_use = "the message has no length until it is finished"]
pub struct BindFrame {
    start: usize,
    count_at: usize,
    count: usize,
}

/// Writes the header of a Bind, up to the place of its parameter count. On an error the buffer is
/// as it was.
#[inline]
pub fn begin(
    out: &mut Vec<u8>,
    portal: &[u8],
    statement: &[u8],
    parameter_formats: &[Format],
) -> Result<BindFrame, EncodeError> {
    let start = out.len();
    match write_header(out, portal, statement, parameter_formats) {
        Ok(()) => Ok(BindFrame { start, count_at: out.len() - 2, count: 0 }),
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

#[inline]
fn write_header(
    out: &mut Vec<u8>,
    portal: &[u8],
    statement: &[u8],
    parameter_formats: &[Format],
) -> Result<(), EncodeError> {
    out.extend_from_slice(&[frontend::BIND, 0, 0, 0, 0]);
    put_cstr(out, "portal name", portal)?;
    put_cstr(out, "statement name", statement)?;
    put_formats(out, "parameter formats", parameter_formats)?;
    out.extend_from_slice(&[0; 2]);
    Ok(())
}

impl BindFrame {
    /// Where the message starts in the buffer.
    #[inline]
    pub const fn start(&self) -> usize {
        self.start
    }

    /// Appends a NULL parameter.
    #[inline]
    pub fn null(&mut self, out: &mut Vec<u8>) {
        self.count += 1;
        out.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    /// Appends a parameter whose bytes exist.
    #[inline]
    pub fn value(&mut self, out: &mut Vec<u8>, value: &[u8]) -> Result<(), EncodeError> {
        self.count += 1;
        put_value(out, Some(value))
    }

    /// Begins a parameter: append its bytes to the buffer, then call [`BindFrame::end_value`] with
    /// the mark returned here.
    #[inline]
    pub fn begin_value(&mut self, out: &mut Vec<u8>) -> usize {
        self.count += 1;
        let mark = out.len();
        out.extend_from_slice(&[0; 4]);
        mark
    }

    /// Ends the parameter begun at `mark`: fills in its length.
    #[inline]
    pub fn end_value(&self, out: &mut [u8], mark: usize) -> Result<(), EncodeError> {
        patch_value_length(out, mark)
    }

    /// Ends the message. On an error all of it is gone from the buffer.
    #[inline]
    pub fn finish(self, out: &mut Vec<u8>, result_formats: &[Format]) -> Result<(), EncodeError> {
        let result = self.write_tail(out, result_formats);
        if result.is_err() {
            self.abandon(out);
        }
        result
    }

    /// Takes everything written so far out of the buffer.
    #[inline]
    pub fn abandon(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }

    #[inline]
    fn write_tail(&self, out: &mut Vec<u8>, result_formats: &[Format]) -> Result<(), EncodeError> {
        let count = u16::try_from(self.count).map_err(|_| EncodeError::TooMany {
            things: "parameters",
            count: self.count,
            limit: usize::from(u16::MAX),
        })?;
        let place = out.get_mut(self.count_at..).and_then(<[u8]>::first_chunk_mut);
        if let Some(place) = place {
            *place = count.to_be_bytes();
        }
        put_formats(out, "result formats", result_formats)?;
        patch_frame_length(out, self.start + 1)
    }
}

#[inline]
fn put_formats(out: &mut Vec<u8>, things: &'static str, formats: &[Format]) -> Result<(), EncodeError> {
    put_count_u16(out, things, formats.len())?;
    for format in formats {
        out.extend_from_slice(&format.code().to_be_bytes());
    }
    Ok(())
}
