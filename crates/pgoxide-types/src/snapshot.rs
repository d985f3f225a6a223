//! pg_snapshot and txid_snapshot: which transactions had ended; in text `xmin:xmax:xip,xip`.
//!
//! Source: `pg_snapshot_send` (src/backend/utils/adt/xid8funcs.c).

use crate::{Result, ValueError, int};

const NAME: &str = "pg_snapshot";

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// All transactions below had ended.
    pub xmin: u64,
    /// None from here on had.
    pub xmax: u64,
    /// Those between that had not, in rising order.
    pub xip: Vec<u64>,
}

impl Snapshot {
    /// What the server checks of one.
    fn check(self) -> Result<Self> {
        let Self { xmin, xmax, xip } = &self;
        let rising = xip.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = xip.iter().all(|xid| (xmin..xmax).contains(&xid));
        if *xmin == 0 || xmin > xmax || *xmax > i64::MAX.cast_unsigned() || !rising || !inside {
            return Err(ValueError::malformed(
                NAME,
                format!("transactions out of order between xmin {xmin} and xmax {xmax}"),
            ));
        }
        Ok(self)
    }
}

/// The value of a binary snapshot.
///
/// # Errors
/// `Length` when count and bytes do not agree, `Malformed` for a snapshot that cannot be.
pub fn decode_binary(bytes: &[u8]) -> Result<Snapshot> {
    let Some((count, rest)) = bytes.split_first_chunk::<4>() else {
        return Err(ValueError::length(NAME, 4, bytes.len()));
    };
    let Ok(count) = usize::try_from(i32::from_be_bytes(*count)) else {
        return Err(ValueError::malformed(NAME, "a negative number of transactions"));
    };
    let size = count.saturating_mul(8).saturating_add(16);
    let (words, []) = rest.as_chunks::<8>() else { return Err(ValueError::length(NAME, size, rest.len())) };
    match words {
        [xmin, xmax, xip @ ..] if xip.len() == count => Snapshot {
            xmin: u64::from_be_bytes(*xmin),
            xmax: u64::from_be_bytes(*xmax),
            xip: xip.iter().map(|xid| u64::from_be_bytes(*xid)).collect(),
        }
        .check(),
        _ => Err(ValueError::length(NAME, size, rest.len())),
    }
}

/// Appends the binary form.
///
/// # Errors
/// `Malformed` for a snapshot that cannot be.
pub fn encode_binary(value: Snapshot, out: &mut Vec<u8>) -> Result<()> {
    let Snapshot { xmin, xmax, xip } = value.check()?;
    let Ok(count) = i32::try_from(xip.len()) else {
        return Err(ValueError::out_of_range(NAME, format!("{} transactions", xip.len())));
    };
    out.extend_from_slice(&count.to_be_bytes());
    for word in [xmin, xmax].into_iter().chain(xip) {
        out.extend_from_slice(&word.to_be_bytes());
    }
    Ok(())
}

/// The value of a text snapshot.
///
/// # Errors
/// `Malformed` for other texts, and for a snapshot that cannot be.
pub fn decode_text(text: &[u8]) -> Result<Snapshot> {
    parse(text).ok_or_else(|| ValueError::unexpected_text(NAME, text))?.check()
}

fn parse(text: &[u8]) -> Option<Snapshot> {
    let mut parts = text.split(|byte| *byte == b':');
    let (Some(xmin), Some(xmax), Some(xip), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let number = |digits: &[u8]| int::decode_text_u64(digits).ok();
    let xip = match xip {
        [] => Vec::new(),
        xip => xip.split(|byte| *byte == b',').map(number).collect::<Option<_>>()?,
    };
    Some(Snapshot { xmin: number(xmin)?, xmax: number(xmax)?, xip })
}

/// Appends the text form.
pub fn encode_text(value: &Snapshot, out: &mut Vec<u8>) {
    let Snapshot { xmin, xmax, xip } = value;
    let xip = xip.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    out.extend_from_slice(format!("{xmin}:{xmax}:{xip}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        assert_eq!(decode_text(b"795:799:795,797").unwrap().xip, [795, 797]);
        assert_eq!(decode_text(b"1:1:").unwrap().xip, []);
        for text in [
            "",
            "1:1",
            "1:1:1",
            "2:1:",
            "0:1:",
            "1:3:2,1",
            "1:3:1,1",
            "1:3:1,",
            "1:x:",
            "1:1:::",
            "1:9223372036854775808:",
        ] {
            assert!(decode_text(text.as_bytes()).is_err(), "{text}");
        }
        for bytes in [&[0; 4][..], &[0; 3], &[0x7f, 0xff, 0xff, 0xff], &[0xff; 20], &[0; 21]] {
            assert!(decode_binary(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(xmin in 1..1_000_000u64, gaps in prop::collection::vec(0..1_000u64, 0..6), after in 1..1000u64) {
            let mut xip = Vec::new();
            let mut at = xmin;
            for gap in gaps {
                xip.push(at + gap);
                at += gap + 1;
            }
            let value = Snapshot { xmin, xmax: at + after, xip };
            let (mut binary, mut text) = (Vec::new(), Vec::new());
            encode_binary(value.clone(), &mut binary).unwrap();
            encode_text(&value, &mut text);
            prop_assert_eq!(decode_binary(&binary), Ok(value.clone()));
            prop_assert_eq!(decode_text(&text), Ok(value));
        }
    }
}
