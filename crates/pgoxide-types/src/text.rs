//! text, varchar, bpchar, name, and every type whose wire form is plain text: UTF-8, no NUL.

use crate::{Result, ValueError};

const NAME: &str = "text";

/// The value as a string, borrowed; padding of bpchar is kept.
///
/// # Errors
/// `Malformed`, with the byte offset, when it is not UTF-8 (a `SQL_ASCII` database, or a `client_encoding`
/// changed behind our back).
#[inline]
pub fn decode(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| not_utf8(NAME, bytes, error))
}

#[cold]
pub(crate) fn not_utf8(type_name: &'static str, bytes: &[u8], error: std::str::Utf8Error) -> ValueError {
    let at = error.valid_up_to();
    let byte = bytes.get(at).copied().unwrap_or(0);
    ValueError::malformed(type_name, format!("not UTF-8: byte 0x{byte:02x} at offset {at}"))
}

/// Whether the server can hold this text: PostgreSQL has no way to store the character NUL.
///
/// # Errors
/// `Malformed`, with the byte offset of the NUL.
#[inline]
pub fn check_encode(text: &str) -> Result<()> {
    if text.as_bytes().contains(&0) {
        return Err(nul(text));
    }
    Ok(())
}

#[cold]
fn nul(text: &str) -> ValueError {
    let at = text.find('\0').unwrap_or(0);
    ValueError::malformed(NAME, format!("PostgreSQL text cannot contain NUL (0x00), found at byte offset {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn offsets_are_told() {
        assert_eq!(
            decode(b"ab\xffc").unwrap_err().to_string(),
            "malformed text value: not UTF-8: byte 0xff at offset 2"
        );
        assert_eq!(
            decode("ä".as_bytes().split_at(1).0).unwrap_err().to_string(),
            "malformed text value: not UTF-8: byte 0xc3 at offset 0"
        );
        assert!(check_encode("ä\0").unwrap_err().to_string().ends_with("offset 2"));
        assert_eq!(check_encode(""), Ok(()));
        assert_eq!(decode(b"ab   "), Ok("ab   "));
    }

    proptest! {
        #[test]
        fn round_trip(text: String) {
            prop_assert_eq!(decode(text.as_bytes()), Ok(text.as_str()));
            prop_assert_eq!(check_encode(&text).is_err(), text.contains('\0'));
        }
    }
}
