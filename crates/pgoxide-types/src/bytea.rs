//! bytea: binary is the bytes themselves; text is `\x` and hex digits, or with `bytea_output = escape`
//! printable ASCII with `\\` and `\ooo`.

use crate::{Result, ValueError};

const NAME: &str = "bytea";

/// Appends the bytes of a text bytea, either form, to `out`; one reservation, never more than the text's size.
///
/// # Errors
/// `Malformed`, with the byte offset; `out` is then as before.
#[inline]
pub fn decode_text(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    let decoded = match text {
        [b'\\', b'x', hex @ ..] => decode_hex(hex, out),
        _ => decode_escape(text, out),
    };
    if decoded.is_err() {
        out.truncate(start);
    }
    decoded
}

/// Appends the text (hex) form, for servers and places where no binary goes.
pub fn encode_text(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 + bytes.len() * 2);
    out.extend_from_slice(b"\\x");
    for &byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

fn decode_hex(hex: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let (pairs, rest) = hex.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ValueError::malformed(NAME, "odd number of hex digits"));
    }
    out.reserve(pairs.len());
    for (index, &[high, low]) in pairs.iter().enumerate() {
        let (high, low) = (hex_digit(high), hex_digit(low));
        if (high | low) > 15 {
            let at = 2 + index * 2 + usize::from(high <= 15);
            return Err(ValueError::malformed(NAME, format!("no hex digit at offset {at}")));
        }
        out.push(high << 4 | low);
    }
    Ok(())
}

/// The digit's value; 0xff, which spoils any `|` of digits, when it is none.
#[inline]
pub(crate) fn hex_digit(byte: u8) -> u8 {
    const VALUES: [u8; 256] = {
        let mut values = [0xff; 256];
        let mut digit = 0;
        while digit < 16 {
            values[b"0123456789abcdef"[digit] as usize] = digit as u8;
            values[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
            digit += 1;
        }
        values
    };
    VALUES[usize::from(byte)]
}

fn decode_escape(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.reserve(text.len());
    let mut rest = text;
    loop {
        match *rest {
            [] => return Ok(()),
            [b'\\', b'\\', ref tail @ ..] => {
                out.push(b'\\');
                rest = tail;
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ref tail @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            [byte @ b' '..=b'~', ref tail @ ..] if byte != b'\\' => {
                out.push(byte);
                rest = tail;
            }
            [byte, ..] => {
                let at = text.len() - rest.len();
                return Err(ValueError::malformed(
                    NAME,
                    if byte == b'\\' {
                        format!("unknown escape at offset {at}")
                    } else {
                        format!("unescaped byte 0x{byte:02x} at offset {at}")
                    },
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(text: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        decode_text(text, &mut out).map(|()| out)
    }

    /// `byteaout` of the server with `bytea_output = escape`.
    fn escape(bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        for &byte in bytes {
            match byte {
                b'\\' => text.extend_from_slice(b"\\\\"),
                b' '..=b'~' => text.push(byte),
                _ => text.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            }
        }
        text
    }

    #[test]
    fn all_bytes() {
        let all: Vec<u8> = (0..=255).collect();
        let mut hex = Vec::new();
        encode_text(&all, &mut hex);
        assert!(hex.starts_with(b"\\x000102"));
        assert_eq!(decoded(&hex), Ok(all.clone()));
        assert_eq!(decoded(&escape(&all)), Ok(all));
        assert_eq!(decoded(b""), Ok(vec![]));
        assert_eq!(decoded(b"\\x"), Ok(vec![]));
    }

    #[test]
    fn refused_and_out_untouched() {
        for (text, at) in [
            (&b"\\x0"[..], "odd"),
            (b"\\x0g", "offset 3"),
            (b"\\x00g0", "offset 4"),
            (b"ab\\", "escape at offset 2"),
            (b"\\400", "escape at offset 0"),
            (b"a\\8", "escape at offset 1"),
            (b"a\n", "byte 0x0a at offset 1"),
            (b"\x80", "byte 0x80"),
        ] {
            let mut out = b"keep".to_vec();
            let error = decode_text(text, &mut out).unwrap_err().to_string();
            assert!(error.contains(at), "{error}");
            assert_eq!(out, b"keep");
        }
    }

    proptest! {
        #[test]
        fn round_trips(bytes: Vec<u8>) {
            let mut hex = Vec::new();
            encode_text(&bytes, &mut hex);
            prop_assert_eq!(decoded(&hex).unwrap(), &bytes[..]);
            prop_assert_eq!(decoded(&escape(&bytes)).unwrap(), bytes);
        }
    }
}
