//! inet and cidr: family, prefix length, a flag, and the address; in text `10.0.0.1/24`, `2001:db8::/32`.
//!
//! Source: `network_send` (src/backend/utils/adt/network.c).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{Result, ValueError};

const NAME: &str = "inet";
const NAME_CIDR: &str = "cidr";

/// The server's numbers of the families, the same on every platform.
const V4: u8 = 2;
const V6: u8 = 3;

/// An address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Address {
    /// Of four bytes.
    V4(u32),
    /// Of sixteen bytes.
    V6(u128),
}

impl Address {
    /// Bits of the whole address: 32 or 128.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4(_) => 32,
            Self::V6(_) => 128,
        }
    }
}

/// An address and how many of its bits name the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Inet {
    /// The address, host bits included.
    pub address: Address,
    /// 0 to 32 or to 128.
    pub prefix: u8,
}

impl Inet {
    /// Whether the bits right of the prefix are all zero, as a cidr's must be.
    #[must_use]
    pub fn is_network(self) -> bool {
        let host = u32::from(self.address.bits() - self.prefix.min(self.address.bits()));
        match self.address {
            Address::V4(address) => address.trailing_zeros() >= host,
            Address::V6(address) => address.trailing_zeros() >= host,
        }
    }
}

/// The value of a binary inet or cidr.
///
/// # Errors
/// `Malformed` for a family, a prefix or a length that does not exist.
#[inline]
pub fn decode_binary(bytes: &[u8]) -> Result<Inet> {
    let (address, prefix) = match bytes {
        [V4, prefix, 0 | 1, 4, address @ ..] if address.len() == 4 => {
            (Address::V4(address.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))), *prefix)
        }
        [V6, prefix, 0 | 1, 16, address @ ..] => match <[u8; 16]>::try_from(address) {
            Ok(address) => (Address::V6(u128::from_be_bytes(address)), *prefix),
            Err(_) => return Err(malformed(bytes)),
        },
        _ => return Err(malformed(bytes)),
    };
    if prefix > address.bits() {
        return Err(malformed(bytes));
    }
    Ok(Inet { address, prefix })
}

#[cold]
fn malformed(bytes: &[u8]) -> ValueError {
    let head = &bytes[..bytes.len().min(4)];
    ValueError::malformed(NAME, format!("{} bytes that begin with {head:?}", bytes.len()))
}

/// Appends the binary form. What is a cidr must be a network.
///
/// # Errors
/// `Malformed` for a prefix that is too long, and for a cidr with host bits.
#[inline]
pub fn encode_binary(value: Inet, cidr: bool, out: &mut Vec<u8>) -> Result<()> {
    check(value, cidr)?;
    match value.address {
        Address::V4(address) => {
            out.extend_from_slice(&[V4, value.prefix, cidr.into(), 4]);
            out.extend_from_slice(&address.to_be_bytes());
        }
        Address::V6(address) => {
            out.extend_from_slice(&[V6, value.prefix, cidr.into(), 16]);
            out.extend_from_slice(&address.to_be_bytes());
        }
    }
    Ok(())
}

fn check(value: Inet, cidr: bool) -> Result<()> {
    let name = if cidr { NAME_CIDR } else { NAME };
    if value.prefix > value.address.bits() {
        return Err(ValueError::malformed(name, format!("there is no prefix of {} bits", value.prefix)));
    }
    if cidr && !value.is_network() {
        let mut text = Vec::new();
        encode_text(value, cidr, &mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        return Err(ValueError::malformed(name, format!("{text} has bits set to the right of its mask")));
    }
    Ok(())
}

/// The value of a text inet or cidr: an address written in full, with or without a prefix length.
///
/// # Errors
/// `Malformed` for other texts, abbreviated ones (`10/8`) among them, and for a cidr with host bits.
pub fn decode_text(text: &[u8], cidr: bool) -> Result<Inet> {
    let name = if cidr { NAME_CIDR } else { NAME };
    let value = parse(text).ok_or_else(|| ValueError::unexpected_text(name, text))?;
    check(value, cidr)?;
    Ok(value)
}

fn parse(text: &[u8]) -> Option<Inet> {
    let text = std::str::from_utf8(text).ok()?;
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address = if address.contains(':') {
        Address::V6(address.parse::<Ipv6Addr>().ok()?.into())
    } else {
        Address::V4(address.parse::<Ipv4Addr>().ok()?.into())
    };
    let prefix = match prefix {
        None => address.bits(),
        Some(digits) if digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|prefix| *prefix <= address.bits())?
        }
        Some(_) => return None,
    };
    Some(Inet { address, prefix })
}

/// Appends the text form; a cidr always has its prefix length, an inet when it is not the whole address.
pub fn encode_text(value: Inet, cidr: bool, out: &mut Vec<u8>) {
    let address = match value.address {
        Address::V4(address) => Ipv4Addr::from(address).to_string(),
        Address::V6(address) => Ipv6Addr::from(address).to_string(),
    };
    out.extend_from_slice(address.as_bytes());
    if cidr || value.prefix < value.address.bits() {
        out.extend_from_slice(format!("/{}", value.prefix).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(address: u32, prefix: u8) -> Inet {
        Inet { address: Address::V4(address), prefix }
    }

    #[test]
    fn texts() {
        assert_eq!(decode_text(b"10.0.0.1/24", false), Ok(v4(0x0a00_0001, 24)));
        assert_eq!(decode_text(b"10.0.0.1", false), Ok(v4(0x0a00_0001, 32)));
        assert_eq!(decode_text(b"0.0.0.0/0", true), Ok(v4(0, 0)));
        assert_eq!(
            decode_text(b"::ffff:1.2.3.4/96", false),
            Ok(Inet { address: Address::V6(0xffff_0102_0304), prefix: 96 })
        );
        assert!(
            decode_text(b"10.0.0.1/24", true)
                .unwrap_err()
                .to_string()
                .ends_with("10.0.0.1/24 has bits set to the right of its mask")
        );
        for text in [
            "",
            "10",
            "10/8",
            "10.0.0.1/33",
            "10.0.0.1/",
            "10.0.0.1/+1",
            "::1/129",
            "10.0.0.01",
            "fe80::1%eth0",
            "1.2.3.4/0x8",
            " 1.2.3.4",
        ] {
            assert!(decode_text(text.as_bytes(), false).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_no_server_sends() {
        for bytes in [
            &[][..],
            &[2, 32, 0, 4, 1, 2, 3],
            &[2, 33, 0, 4, 1, 2, 3, 4],
            &[3, 32, 0, 4, 1, 2, 3, 4],
            &[2, 32, 2, 4, 1, 2, 3, 4],
            &[3, 129, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(decode_binary(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(small: u32, large: u128, four in 0..=32u8, six in 0..=128u8) {
            for value in [v4(small, four), Inet { address: Address::V6(large), prefix: six }] {
                let (mut binary, mut text) = (Vec::new(), Vec::new());
                encode_binary(value, false, &mut binary).unwrap();
                encode_text(value, false, &mut text);
                prop_assert_eq!(decode_binary(&binary), Ok(value));
                prop_assert_eq!(decode_text(&text, false), Ok(value));
                prop_assert_eq!(encode_binary(value, true, &mut Vec::new()).is_ok(), value.is_network());
            }
        }
    }
}
