//! CommandComplete (B). Source: "Message Formats", CommandComplete.

use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_cstr};

const NAME: &str = "CommandComplete";

/// A command finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandComplete<'a> {
    /// The command tag, such as `INSERT 0 5`.
    pub tag: &'a [u8],
}

impl<'a> CommandComplete<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let tag = reader.cstr("command tag")?;
        reader.finish()?;
        Ok(CommandComplete { tag })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::COMMAND_COMPLETE), |out| put_cstr(out, "command tag", self.tag))
    }
}

impl CommandComplete<'_> {
    /// The number of rows the command affected or returned: the tag's last word, when that is a
    /// number. `None` for commands that do not count rows, such as `BEGIN`.
    pub fn rows_affected(&self) -> Option<u64> {
        let space = memchr::memrchr(b' ', self.tag)?;
        let digits = self.tag.get(space + 1..)?;
        if digits.is_empty() {
            return None;
        }
        digits.iter().try_fold(0_u64, |rows, &byte| {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
            rows.checked_mul(10)?.checked_add(u64::from(digit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_affected() {
        let rows = |tag: &str| {
            let tag = tag.as_bytes();
            CommandComplete { tag }.rows_affected()
        };
        assert_eq!(rows("INSERT 0 5"), Some(5));
        assert_eq!(rows("SELECT 3"), Some(3));
        assert_eq!(rows("COPY 18446744073709551615"), Some(u64::MAX));
        assert_eq!(rows("COPY 18446744073709551616"), None);
        for tag in ["BEGIN", "CREATE TABLE", "", "SELECT ", "SELECT -1", "7"] {
            assert_eq!(rows(tag), None, "{tag}");
        }
    }
}
