//! The scalar types that few columns have, in one enumeration: what the commonest pay for choosing stays small.
//!
//! One [`Scalar`] names a type in both directions. Each has a file of its own beside this one.

use pgoxide_protocol::codes::Format;
use pgoxide_types::geometry::Figure;
use pgoxide_types::{Result, geometry as shapes, inet as net, int as ints, macaddr as mac, oid};
use pgoxide_types::{
    bit as bits, interval as spans, lsn as positions, snapshot as snapshots, tid as tids, time as times,
    tsvector as documents,
};
use pyo3::prelude::*;

use super::{
    Converted, Rules, bit, geometry, inet, int, interval, json, lsn, macaddr, money, reg, snapshot, text, tid, time,
    tsvector,
};

/// A scalar type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Time,
    TimeTz,
    Interval,
    Inet,
    Cidr,
    MacAddr,
    MacAddr8,
    /// bit, varbit
    Bit,
    /// point, line, lseg, box, circle
    Figure(Figure),
    Path,
    Polygon,
    TsVector,
    Xid8,
    Lsn,
    Tid,
    /// pg_snapshot, txid_snapshot
    Snapshot,
    /// `str` in text; with a number of fraction digits Decimal in binary.
    Money(Option<u8>),
    /// A json that is read and passed as its text.
    JsonText,
    /// A jsonb likewise.
    JsonbText,
    /// regclass and its kin: the name, in text; an argument may be the number.
    Reg,
}

impl Scalar {
    pub(crate) const fn of(type_oid: u32) -> Option<Self> {
        Some(match type_oid {
            oid::TIME => Self::Time,
            oid::TIMETZ => Self::TimeTz,
            oid::INTERVAL => Self::Interval,
            oid::INET => Self::Inet,
            oid::CIDR => Self::Cidr,
            oid::MACADDR => Self::MacAddr,
            oid::MACADDR8 => Self::MacAddr8,
            oid::BIT | oid::VARBIT => Self::Bit,
            oid::POINT => Self::Figure(Figure::Point),
            oid::LINE => Self::Figure(Figure::Line),
            oid::LSEG => Self::Figure(Figure::Lseg),
            oid::BOX => Self::Figure(Figure::Box),
            oid::CIRCLE => Self::Figure(Figure::Circle),
            oid::PATH => Self::Path,
            oid::POLYGON => Self::Polygon,
            oid::TSVECTOR => Self::TsVector,
            oid::XID8 => Self::Xid8,
            oid::PG_LSN => Self::Lsn,
            oid::TID => Self::Tid,
            oid::PG_SNAPSHOT | oid::TXID_SNAPSHOT => Self::Snapshot,
            oid::MONEY => Self::Money(None),
            oid::REGPROC
            | oid::REGPROCEDURE
            | oid::REGOPER
            | oid::REGOPERATOR
            | oid::REGCLASS
            | oid::REGCOLLATION
            | oid::REGTYPE
            | oid::REGCONFIG
            | oid::REGDICTIONARY
            | oid::REGNAMESPACE
            | oid::REGROLE => Self::Reg,
            _ => return None,
        })
    }

    /// As the connection's rules have it.
    pub(crate) const fn under(self, rules: &Rules) -> Self {
        match self {
            Self::Money(_) => Self::Money(rules.money),
            other => other,
        }
    }

    /// In both directions.
    pub(crate) const fn format(self) -> Format {
        match self {
            Self::Reg | Self::Money(None) => Format::Text,
            _ => Format::Binary,
        }
    }

    /// Its values cannot refer to other objects. An interface or a network has a dictionary that anybody may add to.
    pub(crate) const fn is_scalar(self) -> bool {
        !matches!(self, Self::Inet | Self::Cidr)
    }

    /// Its values are tuples, which are elements of an array and not dimensions.
    pub(crate) const fn is_tuple(self) -> bool {
        matches!(self, Self::Figure(_) | Self::Path | Self::Polygon | Self::Tid)
    }

    /// One value in binary format, in text for those that have no other.
    pub(crate) fn binary<'py>(self, py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
        match self {
            Self::Time => time::decode(py, raw, rules),
            Self::TimeTz => time::decode_tz(py, raw, rules),
            Self::Interval => interval::decode(py, raw),
            Self::Inet => inet::decode(py, raw),
            Self::Cidr => inet::decode_cidr(py, raw),
            Self::MacAddr => macaddr::decode::<6>(py, raw),
            Self::MacAddr8 => macaddr::decode::<8>(py, raw),
            Self::Bit => bit::decode(py, raw),
            Self::Figure(figure) => geometry::decode(py, figure, raw),
            Self::Path => geometry::decode_path(py, raw),
            Self::Polygon => geometry::decode_polygon(py, raw),
            Self::TsVector => tsvector::decode(py, raw),
            Self::Xid8 => int::decode_xid8(py, raw),
            Self::Lsn => lsn::decode(py, raw),
            Self::Tid => tid::decode(py, raw),
            Self::Snapshot => snapshot::decode(py, raw),
            Self::Money(Some(digits)) => money::decode(py, raw, digits),
            Self::JsonText => json::decode_raw(py, raw, rules),
            Self::JsonbText => json::decode_raw_jsonb(py, raw, rules),
            Self::Reg | Self::Money(None) => text::decode(py, raw),
        }
    }

    /// One value in text format.
    pub(crate) fn text<'py>(self, py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
        match self {
            Self::Time => time::decode_text(py, raw, rules),
            Self::TimeTz => time::decode_tz_text(py, raw, rules),
            Self::Interval => interval::decode_text(py, raw),
            Self::Inet => inet::decode_text(py, raw),
            Self::Cidr => inet::decode_cidr_text(py, raw),
            Self::MacAddr => macaddr::decode_text::<6>(py, raw),
            Self::MacAddr8 => macaddr::decode_text::<8>(py, raw),
            Self::Bit => bit::decode_text(py, raw),
            Self::Figure(figure) => geometry::decode_text(py, figure, raw),
            Self::Path => geometry::decode_path_text(py, raw),
            Self::Polygon => geometry::decode_polygon_text(py, raw),
            Self::TsVector => tsvector::decode_text(py, raw),
            Self::Xid8 => int::decode_xid8_text(py, raw),
            Self::Lsn => lsn::decode_text(py, raw),
            Self::Tid => tid::decode_text(py, raw),
            Self::Snapshot => snapshot::decode_text(py, raw),
            Self::Money(Some(digits)) => money::decode_text(py, raw, digits),
            Self::JsonText | Self::JsonbText => json::decode_raw(py, raw, rules),
            Self::Reg | Self::Money(None) => text::decode(py, raw),
        }
    }

    /// Appends the value of one argument that is not `None`, in the type's format.
    pub(crate) fn encode(self, value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
        match self {
            Self::Time => time::encode(value, out),
            Self::TimeTz => time::encode_tz(value, out),
            Self::Interval => interval::encode(value, out),
            Self::Inet => inet::encode(value, false, out),
            Self::Cidr => inet::encode(value, true, out),
            Self::MacAddr => macaddr::encode::<6>(value, out),
            Self::MacAddr8 => macaddr::encode::<8>(value, out),
            Self::Bit => bit::encode(value, out),
            Self::Figure(figure) => geometry::encode(value, figure, out),
            Self::Path => geometry::encode_path(value, out),
            Self::Polygon => geometry::encode_polygon(value, out),
            Self::TsVector => tsvector::encode(value, out),
            Self::Xid8 => int::encode_xid8(value, out),
            Self::Lsn => lsn::encode(value, out),
            Self::Tid => tid::encode(value, out),
            Self::Snapshot => snapshot::encode(value, out),
            Self::Money(digits) => money::encode(value, digits, out),
            Self::JsonText => json::encode_raw(value, out),
            Self::JsonbText => json::encode_raw_jsonb(value, out),
            Self::Reg => reg::encode(value, out),
        }
    }

    /// Appends the text form of what [`encode`](Self::encode) wrote.
    pub(crate) fn write_text(self, encoded: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Time => times::encode_text(times::decode_binary(encoded)?, out),
            Self::TimeTz => {
                let (time, offset) = times::decode_binary_tz(encoded)?;
                times::encode_text_tz(time, offset, out);
            }
            Self::Interval => spans::encode_text(spans::decode_binary(encoded)?, out),
            Self::Inet => net::encode_text(net::decode_binary(encoded)?, false, out),
            Self::Cidr => net::encode_text(net::decode_binary(encoded)?, true, out),
            Self::MacAddr | Self::MacAddr8 => mac::encode_text(encoded, out),
            Self::Bit => {
                let (count, data) = bits::decode_binary(encoded)?;
                bits::encode_text(count, data, out);
            }
            Self::Figure(figure) => {
                let values = shapes::decode_binary(figure, encoded)?;
                shapes::encode_text(figure, &values[..figure.width()], out);
            }
            Self::Path => {
                let (closed, points) = shapes::decode_path(encoded)?;
                shapes::points_to_text(Some(closed), points, out);
            }
            Self::Polygon => shapes::points_to_text(None, shapes::decode_polygon(encoded)?, out),
            Self::TsVector => documents::encode_text(&documents::decode_binary(encoded)?, out),
            Self::Xid8 => out.extend_from_slice(ints::decode_binary_u64(encoded)?.to_string().as_bytes()),
            Self::Lsn => positions::encode_text(positions::decode_binary(encoded)?, out),
            Self::Tid => {
                let (block, offset) = tids::decode_binary(encoded)?;
                tids::encode_text(block, offset, out);
            }
            Self::Snapshot => snapshots::encode_text(&snapshots::decode_binary(encoded)?, out),
            // A number has no text that is sure to be read as the same money, whatever the session's lc_monetary.
            Self::Money(Some(_)) => {
                return Err(pgoxide_types::ValueError::Malformed {
                    type_name: "money",
                    what: "a number has no text form: pass money as str beside columns that have no binary form".into(),
                });
            }
            Self::JsonbText => out.extend_from_slice(pgoxide_types::json::strip_jsonb(encoded)?),
            Self::Reg | Self::Money(None) | Self::JsonText => out.extend_from_slice(encoded),
        }
        Ok(())
    }
}
