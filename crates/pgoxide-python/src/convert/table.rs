//! What each codec reads and takes, in words: `docs/reference/types.md` is written from this (`tools/gen_types.py`), and a test
//! compares it with values of every type.
//!
//! Classes of the standard library stand with their module, our own without.

use pgoxide_protocol::codes::Format;
use pgoxide_types::geometry::Figure;
use pgoxide_types::oid;
use pyo3::prelude::*;

use super::scalar::Scalar;
use super::{Decoder, Encoder, Rules};

/// One type: its name, the class it is read as, the classes it takes, the format on the wire, a note.
type Line = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// The built-in types that are no arrays, in the order of their oids, as a connection without options treats them.
#[pyfunction]
pub(crate) fn codecs() -> Vec<Line> {
    /// Oids from here on are not the same on all servers.
    const FIRST_UNPINNED: u32 = 10_000;
    let rules = Rules::default();
    (1..FIRST_UNPINNED)
        .filter(|&oid| oid::element(oid).is_none())
        .filter_map(|oid| {
            let (name, decoder) = (oid::name(oid)?, Decoder::of(oid, &rules));
            let format = match decoder.format() {
                Format::Binary => "binary",
                Format::Text => "text",
            };
            Some((name, decoder.reads(), Encoder::of(oid, &rules).takes(), format, decoder.note()))
        })
        .collect()
}

impl Decoder {
    fn reads(&self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int2 | Self::Int4 | Self::Int8 | Self::Oid => "int",
            Self::Float4 | Self::Float4Shortest | Self::Float8 => "float",
            Self::Numeric => "decimal.Decimal",
            Self::Text | Self::Unknown => "str",
            Self::Bytea | Self::Char => "bytes",
            Self::Date => "datetime.date",
            Self::Timestamp | Self::TimestampTz | Self::TimestampTzLocal => "datetime.datetime",
            Self::Uuid => "uuid.UUID",
            Self::Json | Self::Jsonb => "dict, list, str, int, float, decimal.Decimal, bool, None",
            Self::Void => "None",
            Self::Scalar(scalar) => scalar.reads(),
            Self::Array(_) => "list",
            Self::Range(_) => "Range",
            Self::Multirange(_) => "Multirange",
            Self::Record => "tuple",
            Self::Composite(_) => "Row",
            Self::Hstore => "dict",
            Self::User(_) => "what the user's codec makes of it",
            Self::InText(inner) => inner.reads(),
        }
    }

    /// What one should know besides, options of `connect()` above all.
    const fn note(&self) -> &'static str {
        match self {
            Self::Float4 | Self::Float4Shortest => {
                "its exact value; `float4=\"shortest\"`: the shortest decimal that denotes it, as the server writes it"
            }
            Self::Numeric => "every digit, whatever the thread's decimal context",
            Self::Char => "one byte; the SQL type is written `\"char\"`",
            Self::Date => "`beyond=` for the years and infinities that `date` does not hold",
            Self::Timestamp => "naive; `beyond=` as for date",
            Self::TimestampTz | Self::TimestampTzLocal => {
                "aware, in UTC; `timestamptz_zone=` for another zone, `naive_timestamptz=` for naive arguments, `beyond=` as for date, \
                 by the local time"
            }
            Self::Json | Self::Jsonb => {
                "numbers exact: a float where it denotes the number, else a Decimal; `json=\"str\"`, `\"bytes\"`: the text; \
                 `json_null=\"special\"`: JsonNull for JSON's null; a key that comes twice raises"
            }
            Self::Record => "anonymous rows: fields have no names; in text results the fields are str",
            Self::Range(_) | Self::Multirange(_) => "of the values of the type of its bounds",
            Self::Scalar(scalar) => scalar.note(),
            _ => "",
        }
    }
}

impl Encoder {
    fn takes(&self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int2 | Self::Int4 | Self::Int8 | Self::Oid => "int, bool, __index__",
            Self::Float4 | Self::Float8 => "float, int",
            Self::Numeric => "decimal.Decimal, int, float",
            Self::Text => "str, os.PathLike, Json",
            Self::Unknown => "str",
            Self::Bytea => "bytes, bytearray, memoryview, buffers of bytes",
            Self::Char => "bytes",
            Self::Date => "datetime.date, PgDate",
            Self::Timestamp => "datetime.datetime, PgTimestamp",
            Self::TimestampTz => "datetime.datetime, PgTimestampTz",
            Self::Uuid => "uuid.UUID, str",
            Self::Json | Self::Jsonb => "dict, list, tuple, str, int, float, decimal.Decimal, bool, Json, JsonNull",
            Self::Scalar(scalar) => scalar.takes(),
            Self::Array(array) if array.vector => "list, tuple, set, iterables",
            Self::Array(_) => "list, tuple, set, iterables, Array",
            Self::Range(_) => "Range",
            Self::Multirange(_) => "Multirange, list, tuple of Range",
            Self::Composite(_) => "tuple, dict, objects with the fields' attributes",
            Self::Hstore => "dict",
            Self::User(_) => "what the user's codec takes",
            Self::InText(inner) => inner.takes(),
        }
    }
}

impl Scalar {
    const fn reads(self) -> &'static str {
        match self {
            Self::Time | Self::TimeTz => "datetime.time",
            Self::Interval => "Interval",
            Self::Inet => {
                "ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Interface, ipaddress.IPv6Interface"
            }
            Self::Cidr => "ipaddress.IPv4Network, ipaddress.IPv6Network",
            Self::MacAddr | Self::MacAddr8 | Self::Reg | Self::Money(None) | Self::JsonText | Self::JsonbText => "str",
            Self::Bit => "BitString",
            Self::Figure(Figure::Point) => "Point",
            Self::Figure(Figure::Line) => "Line",
            Self::Figure(Figure::Lseg) => "LineSegment",
            Self::Figure(Figure::Box) => "Box",
            Self::Figure(Figure::Circle) => "Circle",
            Self::Path => "Path",
            Self::Polygon => "Polygon",
            Self::TsVector => "TsVector",
            Self::Xid8 => "int",
            Self::Lsn => "Lsn",
            Self::Tid => "Tid",
            Self::Snapshot => "Snapshot",
            Self::Money(Some(_)) => "decimal.Decimal",
        }
    }

    const fn takes(self) -> &'static str {
        match self {
            Self::Time => "datetime.time, PgTime, str",
            Self::TimeTz => "datetime.time, PgTimeTz, str",
            Self::Interval => "Interval, datetime.timedelta, str",
            Self::Inet => "addresses, interfaces and networks of ipaddress, str",
            Self::Cidr => "networks and addresses of ipaddress, str",
            Self::MacAddr | Self::MacAddr8 => "str, in any form the server takes in full",
            Self::Bit => "BitString, str",
            Self::Figure(Figure::Point) => "Point, tuple, list, str",
            Self::Figure(Figure::Line) => "Line, tuple, list, str",
            Self::Figure(Figure::Lseg) => "LineSegment, tuple, list, str",
            Self::Figure(Figure::Box) => "Box, tuple, list, str",
            Self::Figure(Figure::Circle) => "Circle, tuple, list, str",
            Self::Path => "Path, str",
            Self::Polygon => "Polygon, tuple, list of points, str",
            Self::TsVector => "TsVector, str",
            Self::Xid8 => "int, bool, __index__",
            Self::Lsn => "Lsn, int, str",
            Self::Tid => "Tid, tuple, str",
            Self::Snapshot => "Snapshot, str",
            Self::Money(None) => "str",
            Self::Money(Some(_)) => "decimal.Decimal, int",
            Self::Reg => "str, int",
            Self::JsonText | Self::JsonbText => "str, bytes, Json, JsonNull",
        }
    }

    const fn note(self) -> &'static str {
        match self {
            Self::Time => "naive; `beyond=` for 24:00",
            Self::TimeTz => "aware, with a fixed offset to the second; `beyond=` for 24:00",
            Self::Interval => {
                "always, so that no column changes its type by value: months, days and microseconds are never turned into one another"
            }
            Self::Inet => "an interface when there is a mask",
            Self::Money(_) => {
                "in the form of the session's `lc_monetary`; `money=2`, the digits of a fraction there: Decimal"
            }
            Self::Reg => "the name, quoted where it must be; cast to oid for the number",
            Self::Bit => "an int would have no number of bits",
            _ => "",
        }
    }
}
