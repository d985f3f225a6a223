//! ReadyForQuery (B). Source: "Message Formats", ReadyForQuery.

use crate::codes::TransactionStatus;
use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "ReadyForQuery";

/// The backend has finished a query cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyForQuery {
    /// Where the session stands with its transaction.
    pub status: TransactionStatus,
}

impl ReadyForQuery {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let code = reader.u8("transaction status")?;
        let status = TransactionStatus::from_code(code).ok_or_else(|| reader.bad_value("transaction status", code))?;
        reader.finish()?;
        Ok(ReadyForQuery { status })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::READY_FOR_QUERY), |out| {
            out.push(self.status.code());
            Ok(())
        })
    }
}
