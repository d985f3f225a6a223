//! Python object <-> wire, one file per type family, named as in `pgoxide-types`.
//!
//! A [`Decoder`] is chosen per column and an [`Encoder`] per parameter, once, when a statement is described.

pub(crate) mod array;
mod as_text;
mod bit;
mod bool;
mod bytea;
mod composite;
mod date;
mod float;
mod geometry;
mod hook;
mod hstore;
mod inet;
mod int;
mod interval;
mod json;
pub(crate) mod json_seen;
mod lsn;
mod macaddr;
mod money;
mod numeric;
mod numpy;
mod range;
mod record;
mod reg;
mod scalar;
mod snapshot;
pub(crate) mod table;
mod text;
mod tid;
mod time;
mod timestamp;
mod tsvector;
pub(crate) mod user;
mod uuid;
pub(crate) mod zone;

use std::sync::Arc;

use pgoxide_protocol::codes::Format;
use pgoxide_types::{ValueError, oid};
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyString};

use self::array::{ArrayDecoder, ArrayEncoder, Nesting};
use self::composite::{CompositeDecoder, CompositeEncoder, Field};
use self::scalar::Scalar;
use self::user::{Codecs, UserCodec};
use self::zone::{Naive, SessionZone, Zone};
use crate::arguments::type_name;
use crate::registry::{TypeInfo, TypeKind, Types};
use crate::{error, pyimport};

/// Containers within containers that an argument may have; the server's own JSON parser allows somewhat more.
pub(crate) const MAX_DEPTH: usize = 1_000;

/// What became of a value: a wire-level complaint is turned into a Python error by whoever knows the column.
pub(crate) type Converted<'py> = PyResult<Bound<'py, PyAny>>;

/// What to do with a date or timestamp that Python's types cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// DataError.
    #[default]
    Raise,
    /// The nearest value Python has.
    Clamp,
    /// The ISO text.
    Text,
    /// `PgDate`, `PgTimestamp`: exact.
    Special,
}

/// What a float4 is read as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Float4 {
    /// Its exact value, as the server's cast to float8 gives it.
    #[default]
    Exact,
    /// The float that prints as the server prints the float4.
    Shortest,
}

/// What a json or jsonb is read as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum JsonAs {
    /// The values it consists of.
    #[default]
    Python,
    /// Its text.
    Str,
    /// Its text in UTF-8.
    Bytes,
}

/// Settings of a connection that decoding and encoding depend on; shared by its plans.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) beyond: Beyond,
    pub(crate) float4: Float4,
    pub(crate) zone: Zone,
    pub(crate) naive: Naive,
    pub(crate) session_zone: SessionZone,
    /// Two columns of one name are an error.
    pub(crate) unique_columns: bool,
    /// Fraction digits of money, where it is to be a Decimal.
    pub(crate) money: Option<u8>,
    pub(crate) json: JsonAs,
    /// A document that is null comes as `JsonNull`.
    pub(crate) json_null: bool,
    /// An array whose subscripts do not begin at 1 comes as `Array`, which knows them.
    pub(crate) keep_array_bounds: bool,
    /// Types that are not built in.
    pub(crate) types: Types,
    /// The user's.
    pub(crate) codecs: Codecs,
}

/// How a column's values become Python objects. Containers share what they contain, so a clone is cheap.
#[derive(Clone, Debug)]
pub(crate) enum Decoder {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    /// `float4="shortest"`.
    Float4Shortest,
    Float8,
    Numeric,
    Text,
    Bytea,
    Char,
    Date,
    Timestamp,
    TimestampTz,
    /// In another zone than UTC.
    TimestampTzLocal,
    Uuid,
    Json,
    Jsonb,
    Void,
    Scalar(Scalar),
    /// No codec: the server's text form.
    Unknown,
    Array(Arc<ArrayDecoder>),
    /// Over the type of its bounds.
    Range(Arc<Self>),
    /// Over the type of its ranges' bounds.
    Multirange(Arc<Self>),
    /// Anonymous: in binary each field says its type.
    Record,
    Composite(Arc<CompositeDecoder>),
    Hstore,
    /// A container with a part that has no binary codec.
    InText(Arc<Self>),
    /// A codec of the user's.
    User(Arc<UserCodec<Self>>),
}

impl Decoder {
    /// By type and the connection's rules, so that a value pays for no option it does not use.
    pub(crate) fn of(type_oid: u32, rules: &Rules) -> Self {
        Self::at_depth(type_oid, rules, &rules.codecs, 0)
    }

    /// Of a statement's column, by codecs of its own.
    pub(crate) fn of_column(name: &str, type_oid: u32, rules: &Rules, codecs: &Codecs) -> Self {
        match UserCodec::of_column(name, type_oid, rules, codecs, || Self::at_depth(type_oid, rules, codecs, 0)) {
            Some(user) => Self::User(Arc::new(user)),
            None => Self::at_depth(type_oid, rules, codecs, 0),
        }
    }

    fn at_depth(type_oid: u32, rules: &Rules, codecs: &Codecs, depth: usize) -> Self {
        if !codecs.is_empty()
            && let Some(user) =
                UserCodec::decoding(type_oid, rules, codecs, || Self::own(type_oid, rules, codecs, depth))
        {
            return Self::User(Arc::new(user));
        }
        Self::own(type_oid, rules, codecs, depth)
    }

    /// Our own codec.
    fn own(type_oid: u32, rules: &Rules, codecs: &Codecs, depth: usize) -> Self {
        match (Self::scalar(type_oid), rules) {
            (Some(Self::Float4), Rules { float4: Float4::Shortest, .. }) => Self::Float4Shortest,
            (Some(Self::TimestampTz), Rules { zone: Zone::Session | Zone::Given { .. }, .. }) => Self::TimestampTzLocal,
            (Some(Self::Scalar(scalar)), rules) => Self::Scalar(scalar.under(rules)),
            (Some(Self::Json), Rules { json: JsonAs::Str | JsonAs::Bytes, .. }) => Self::Scalar(Scalar::JsonText),
            (Some(Self::Jsonb), Rules { json: JsonAs::Str | JsonAs::Bytes, .. }) => Self::Scalar(Scalar::JsonbText),
            (Some(plain), _) => plain,
            (None, _) if depth > MOST_NESTED => Self::Unknown,
            (None, _) => Self::container(type_oid, rules, codecs, depth + 1)
                .or_else(|| Self::described(&*rules.types.get(type_oid)?, rules, codecs, depth + 1))
                .map_or(Self::Unknown, Self::in_its_format),
        }
    }

    fn in_its_format(self) -> Self {
        match self {
            Self::Unknown | Self::InText(_) | Self::User(_) => self,
            other if other.format() == Format::Text => Self::InText(Arc::new(other)),
            other => other,
        }
    }

    /// A built-in type that consists of others.
    fn container(type_oid: u32, rules: &Rules, codecs: &Codecs, depth: usize) -> Option<Self> {
        let part = |oid| Self::at_depth(oid, rules, codecs, depth);
        if type_oid == oid::RECORD {
            return Some(Self::Record);
        }
        if let Some(Elements { oid, delimiter, vector }) = Elements::of(type_oid) {
            return Some(Self::Array(Arc::new(ArrayDecoder { element: part(oid), delimiter, vector })));
        }
        if let Some(bound) = oid::range_subtype(type_oid) {
            return Some(Self::Range(Arc::new(part(bound))));
        }
        let bound = oid::multirange_range(type_oid).and_then(oid::range_subtype)?;
        Some(Self::Multirange(Arc::new(part(bound))))
    }

    /// A type that the catalog described.
    fn described(info: &TypeInfo, rules: &Rules, codecs: &Codecs, depth: usize) -> Option<Self> {
        let part = |oid| Self::at_depth(oid, rules, codecs, depth);
        Some(match &info.kind {
            TypeKind::Array { element, delimiter } => {
                let (element, delimiter) = (part(*element), *delimiter);
                Self::Array(Arc::new(ArrayDecoder { element, delimiter, vector: false }))
            }
            TypeKind::Domain { base } => part(*base),
            // Its binary form is its label.
            TypeKind::Enum { .. } => Self::Text,
            TypeKind::Composite { fields } => {
                let fields = fields.iter().map(|field| Field {
                    name: field.name.clone(),
                    oid: field.oid,
                    codec: part(field.oid),
                });
                Self::Composite(Arc::new(CompositeDecoder::new(info.name.clone(), fields.collect())))
            }
            TypeKind::Range { bound } => Self::Range(Arc::new(part(*bound))),
            TypeKind::Multirange { range } => Self::Multirange(Arc::new(part(rules.range_bound(*range)?))),
            TypeKind::Base => match info.of_extension()? {
                ("hstore", "hstore") => Self::Hstore,
                ("citext", "citext") => Self::Text,
                _ => return None,
            },
            TypeKind::Missing => return None,
        })
    }

    /// A type that consists of no others; anything without a codec is read as text.
    const fn scalar(type_oid: u32) -> Option<Self> {
        Some(match type_oid {
            oid::BOOL => Self::Bool,
            oid::INT2 => Self::Int2,
            oid::INT4 => Self::Int4,
            oid::INT8 => Self::Int8,
            oid::OID | oid::XID | oid::CID => Self::Oid,
            oid::FLOAT4 => Self::Float4,
            oid::FLOAT8 => Self::Float8,
            oid::NUMERIC => Self::Numeric,
            oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN | oid::CSTRING | oid::XML => Self::Text,
            oid::BYTEA => Self::Bytea,
            oid::CHAR => Self::Char,
            oid::DATE => Self::Date,
            oid::TIMESTAMP => Self::Timestamp,
            oid::TIMESTAMPTZ => Self::TimestampTz,
            oid::UUID => Self::Uuid,
            oid::JSON => Self::Json,
            oid::JSONB => Self::Jsonb,
            oid::VOID => Self::Void,
            _ => match Scalar::of(type_oid) {
                Some(scalar) => Self::Scalar(scalar),
                None => return None,
            },
        })
    }

    /// The format to ask the server for: binary when every part has a binary codec.
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::Unknown | Self::InText(_) => Format::Text,
            Self::User(user) => user.format(),
            Self::Array(array) => array.element.format(),
            Self::Range(bound) | Self::Multirange(bound) => bound.format(),
            Self::Scalar(scalar) => scalar.format(),
            Self::Composite(composite) => worst(composite.fields.iter().map(|field| field.codec.format())),
            _ => Format::Binary,
        }
    }

    /// Values of this column cannot be part of a reference cycle.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Self::Json | Self::Jsonb | Self::Array(_) | Self::Record | Self::Hstore | Self::User(_) => false,
            Self::Composite(composite) => composite.scalar,
            Self::Range(bound) | Self::Multirange(bound) | Self::InText(bound) => bound.is_scalar(),
            Self::Scalar(scalar) => scalar.is_scalar(),
            _ => true,
        }
    }

    /// The value read from `raw` is what was encoded as that, in any of Python's terms.
    pub(crate) fn tells_exactly(&self, raw: &[u8], text: bool) -> bool {
        match self {
            Self::Float4 | Self::Float4Shortest => !text && float::is_short(raw),
            Self::Unknown => text,
            _ => self.has_no_float4(),
        }
    }

    /// What this reads, `encoder` writes as it would what was given. A row stands for tuples and dicts, which are the same only
    /// while the fields are; and what a number, a text or a row is in JSON depends on the object it was.
    pub(crate) fn stands_for(&self, encoder: &Encoder) -> bool {
        match (self, encoder) {
            (Self::InText(inner), encoder) => inner.stands_for(encoder),
            (decoder, Encoder::InText(inner)) => decoder.stands_for(inner),
            (Self::Composite(old), Encoder::Composite(new)) => {
                old.fields.len() == new.fields.len()
                    && old.fields.iter().zip(&new.fields).all(|(a, b)| a.name == b.name && a.codec.stands_for(&b.codec))
            }
            (Self::Array(old), Encoder::Array(new)) => old.element.stands_for(&new.element),
            (Self::Range(old), Encoder::Range(new)) | (Self::Multirange(old), Encoder::Multirange(new)) => {
                old.stands_for(new)
            }
            (Self::Json | Self::Jsonb, Encoder::Json | Encoder::Jsonb) => true,
            (Self::Composite(_), _) | (_, Encoder::Json | Encoder::Jsonb) => false,
            (Self::Array(old), other) => old.element.stands_for(other),
            (Self::Range(old) | Self::Multirange(old), other) => old.stands_for(other),
            _ => true,
        }
    }

    /// Nor a user's codec.
    fn has_no_float4(&self) -> bool {
        match self {
            Self::Float4 | Self::Float4Shortest | Self::User(_) | Self::Record => false,
            Self::Array(array) => array.element.has_no_float4(),
            Self::Range(inner) | Self::Multirange(inner) | Self::InText(inner) => inner.has_no_float4(),
            Self::Composite(composite) => composite.fields.iter().all(|field| field.codec.has_no_float4()),
            _ => true,
        }
    }

    /// One value in binary format of the types that most columns have, small enough to be compiled into the loop over
    /// a row. `None`: see [`binary`](Self::binary), which also explains a wrong length.
    #[inline(always)]
    pub(crate) fn commonest<'py>(&self, py: Python<'py>, raw: &[u8]) -> Option<Bound<'py, PyAny>> {
        match self {
            Self::Int4 => Some(int::from_i64(py, i32::from_be_bytes(raw.try_into().ok()?).into())),
            Self::Int8 => Some(int::from_i64(py, i64::from_be_bytes(raw.try_into().ok()?))),
            Self::Float8 => Some(PyFloat::new(py, f64::from_be_bytes(raw.try_into().ok()?)).into_any()),
            Self::Text => text::decode(py, raw).ok(),
            _ => None,
        }
    }

    /// One value in the format that is asked for, see [`format`](Self::format).
    #[inline]
    pub(crate) fn binary<'py>(&self, py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
        match self {
            Self::Int4 => int::decode_int4(py, raw),
            Self::Int8 => int::decode_int8(py, raw),
            Self::Text | Self::Unknown => text::decode(py, raw),
            Self::Bool => bool::decode(py, raw),
            Self::Int2 => int::decode_int2(py, raw),
            Self::Oid => int::decode_oid(py, raw),
            Self::Float4 => float::decode_float4(py, raw),
            Self::Float4Shortest => float::decode_float4_shortest(py, raw),
            Self::Float8 => float::decode_float8(py, raw),
            Self::Numeric => numeric::decode(py, raw),
            Self::Bytea | Self::Char => bytea::decode(py, raw),
            Self::Date => date::decode(py, raw, rules),
            Self::Timestamp => timestamp::decode(py, raw, rules),
            Self::TimestampTz => timestamp::decode_tz(py, raw, rules),
            Self::TimestampTzLocal => timestamp::decode_tz_local(py, raw, rules),
            Self::Uuid => uuid::decode(py, raw),
            Self::Json => json::decode(py, raw, rules),
            Self::Jsonb => json::decode_jsonb(py, raw, rules),
            Self::Scalar(scalar) => scalar.binary(py, raw, rules),
            Self::Void => Ok(py.None().into_bound(py)),
            Self::Array(array) => array.binary(py, raw, rules),
            Self::Range(bound) => range::decode(py, bound, raw, rules),
            Self::Multirange(bound) => range::decode_many(py, bound, raw, rules),
            Self::Record => record::decode(py, raw, rules),
            Self::Composite(composite) => composite.binary(py, raw, rules),
            Self::Hstore => hstore::decode(py, raw),
            Self::User(user) => user.binary(py, raw, rules),
            Self::InText(inner) => inner.text(py, raw, rules),
        }
    }

    /// One value in text format, as the simple protocol and a statement's first, undescribed use bring it.
    pub(crate) fn text<'py>(&self, py: Python<'py>, raw: &[u8], rules: &Rules) -> Converted<'py> {
        match self {
            Self::Bool => bool::decode_text(py, raw),
            Self::Int2 | Self::Int4 | Self::Int8 | Self::Oid => int::decode_text(py, raw),
            Self::Float4 => float::decode_float4_text(py, raw),
            Self::Float4Shortest => float::decode_float4_shortest_text(py, raw),
            Self::Float8 => float::decode_float8_text(py, raw),
            Self::Numeric => numeric::decode_text(py, raw),
            Self::Text | Self::Unknown => text::decode(py, raw),
            Self::Bytea => bytea::decode_text(py, raw),
            Self::Char => bytea::decode_char_text(py, raw),
            Self::Date => date::decode_text(py, raw, rules),
            Self::Timestamp => timestamp::decode_text(py, raw, rules),
            Self::TimestampTz => timestamp::decode_tz_text(py, raw, rules),
            Self::TimestampTzLocal => timestamp::decode_tz_local_text(py, raw, rules),
            Self::Uuid => uuid::decode_text(py, raw),
            Self::Json | Self::Jsonb => json::decode(py, raw, rules),
            Self::Scalar(scalar) => scalar.text(py, raw, rules),
            Self::Void => Ok(py.None().into_bound(py)),
            Self::Array(array) => array.text(py, raw, rules),
            Self::Range(bound) => range::decode_text(py, bound, raw, rules),
            Self::Multirange(bound) => range::decode_text_many(py, bound, raw, rules),
            Self::Record => record::decode_text(py, raw),
            Self::Composite(composite) => composite.text(py, raw, rules),
            Self::Hstore => hstore::decode_text(py, raw),
            Self::User(user) => user.text(py, raw, rules),
            Self::InText(inner) => inner.text(py, raw, rules),
        }
    }
}

/// How a parameter's argument becomes wire bytes. Containers share what they contain, so a clone is cheap.
#[derive(Clone, Debug)]
pub(crate) enum Encoder {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytea,
    Char,
    Date,
    Timestamp,
    TimestampTz,
    Uuid,
    Json,
    Jsonb,
    Scalar(Scalar),
    /// No codec: a `str` in the server's text form.
    Unknown,
    Array(Arc<ArrayEncoder>),
    Range(Arc<Self>),
    Multirange(Arc<Self>),
    Composite(Arc<CompositeEncoder>),
    Hstore,
    /// A container with a part that has no binary codec.
    InText(Arc<Self>),
    /// A codec of the user's.
    User(Arc<UserCodec<Self>>),
}

impl Encoder {
    /// By type and the connection's rules.
    pub(crate) fn of(type_oid: u32, rules: &Rules) -> Self {
        Self::at_depth(type_oid, rules, 0)
    }

    fn at_depth(type_oid: u32, rules: &Rules, depth: usize) -> Self {
        if !rules.codecs.is_empty()
            && let Some(user) = UserCodec::encoding(type_oid, rules, || Self::own(type_oid, rules, depth))
        {
            return Self::User(Arc::new(user));
        }
        Self::own(type_oid, rules, depth)
    }

    /// Our own codec.
    fn own(type_oid: u32, rules: &Rules, depth: usize) -> Self {
        match Self::scalar(type_oid) {
            Some(Self::Scalar(scalar)) => Self::Scalar(scalar.under(rules)),
            Some(Self::Json) if rules.json != JsonAs::Python => Self::Scalar(Scalar::JsonText),
            Some(Self::Jsonb) if rules.json != JsonAs::Python => Self::Scalar(Scalar::JsonbText),
            Some(scalar) => scalar,
            None if depth > MOST_NESTED => Self::Unknown,
            None => Self::container(type_oid, rules, depth + 1)
                .or_else(|| Self::described(&*rules.types.get(type_oid)?, rules, depth + 1))
                .map_or(Self::Unknown, Self::in_its_format),
        }
    }

    fn in_its_format(self) -> Self {
        match self {
            Self::Unknown | Self::InText(_) | Self::User(_) => self,
            other if other.format() == Format::Text => Self::InText(Arc::new(other)),
            other => other,
        }
    }

    /// A built-in type that consists of others.
    fn container(type_oid: u32, rules: &Rules, depth: usize) -> Option<Self> {
        let part = |oid| Self::at_depth(oid, rules, depth);
        if let Some(Elements { oid, delimiter, vector }) = Elements::of(type_oid) {
            let array = ArrayEncoder { element: part(oid), element_oid: oid, delimiter, vector };
            return Some(Self::Array(Arc::new(array)));
        }
        if let Some(bound) = oid::range_subtype(type_oid) {
            return Some(Self::Range(Arc::new(part(bound))));
        }
        let bound = oid::multirange_range(type_oid).and_then(oid::range_subtype)?;
        Some(Self::Multirange(Arc::new(part(bound))))
    }

    /// A type that the catalog described.
    fn described(info: &TypeInfo, rules: &Rules, depth: usize) -> Option<Self> {
        let part = |oid| Self::at_depth(oid, rules, depth);
        Some(match &info.kind {
            TypeKind::Array { element, delimiter } => {
                let (element_oid, delimiter) = (*element, *delimiter);
                let array = ArrayEncoder { element: part(element_oid), element_oid, delimiter, vector: false };
                Self::Array(Arc::new(array))
            }
            TypeKind::Domain { base } => part(*base),
            TypeKind::Enum { .. } => Self::Text,
            TypeKind::Composite { fields } => {
                let fields = fields.iter().map(|field| Field {
                    name: field.name.clone(),
                    oid: field.oid,
                    codec: part(field.oid),
                });
                Self::Composite(Arc::new(CompositeEncoder { name: info.name.clone(), fields: fields.collect() }))
            }
            TypeKind::Range { bound } => Self::Range(Arc::new(part(*bound))),
            TypeKind::Multirange { range } => Self::Multirange(Arc::new(part(rules.range_bound(*range)?))),
            TypeKind::Base => match info.of_extension()? {
                ("hstore", "hstore") => Self::Hstore,
                ("citext", "citext") => Self::Text,
                _ => return None,
            },
            TypeKind::Missing => return None,
        })
    }

    const fn scalar(type_oid: u32) -> Option<Self> {
        Some(match type_oid {
            oid::BOOL => Self::Bool,
            oid::INT2 => Self::Int2,
            oid::INT4 => Self::Int4,
            oid::INT8 => Self::Int8,
            oid::OID | oid::XID | oid::CID => Self::Oid,
            oid::FLOAT4 => Self::Float4,
            oid::FLOAT8 => Self::Float8,
            oid::NUMERIC => Self::Numeric,
            oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN | oid::CSTRING => Self::Text,
            // In binary the server would take the document to be in the encoding that it declares.
            oid::XML => Self::Unknown,
            oid::BYTEA => Self::Bytea,
            oid::CHAR => Self::Char,
            oid::DATE => Self::Date,
            oid::TIMESTAMP => Self::Timestamp,
            oid::TIMESTAMPTZ => Self::TimestampTz,
            oid::UUID => Self::Uuid,
            oid::JSON => Self::Json,
            oid::JSONB => Self::Jsonb,
            _ => match Scalar::of(type_oid) {
                Some(scalar) => Self::Scalar(scalar),
                None => return None,
            },
        })
    }

    /// The format it writes: binary when every part has a binary codec.
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::Unknown | Self::InText(_) => Format::Text,
            Self::User(user) => user.format(),
            Self::Array(array) => array.element.format(),
            Self::Range(bound) | Self::Multirange(bound) => bound.format(),
            Self::Scalar(scalar) => scalar.format(),
            Self::Composite(composite) => worst(composite.fields.iter().map(|field| field.codec.format())),
            _ => Format::Binary,
        }
    }

    /// Of what is given for an array of it, what is a further dimension.
    pub(crate) fn nesting(&self) -> Nesting {
        match self {
            Self::Json | Self::Jsonb | Self::Array(_) | Self::User(_) => Nesting::Arrays,
            Self::Scalar(scalar) if scalar.is_tuple() => Nesting::Lists,
            Self::Composite(_) => Nesting::Lists,
            Self::InText(inner) => inner.nesting(),
            _ => Nesting::Sequences,
        }
    }

    /// Appends the value of one argument that is not `None`, in the format it writes.
    #[inline]
    pub(crate) fn encode(&self, value: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
        let start = out.len();
        self.encode_given(value, rules, out).or_else(|refusal| {
            // Looked at only when refused: most are what the codec takes already.
            out.truncate(start);
            match numpy::plain(value) {
                Some(plain) => self.encode_given(&plain, rules, out).map_err(|_| refusal),
                None => self.encode_given(&hook::given(value, refusal)?, rules, out),
            }
        })
    }

    #[inline]
    fn encode_given(&self, value: &Bound<'_, PyAny>, rules: &Rules, out: &mut Vec<u8>) -> PyResult<()> {
        match self {
            Self::Int4 => int::encode_int4(value, out),
            Self::Text | Self::Unknown => text::encode(value, out),
            Self::Int8 => int::encode_int8(value, out),
            Self::Int2 => int::encode_int2(value, out),
            Self::Oid => int::encode_oid(value, out),
            Self::Bool => bool::encode(value, out),
            Self::Float4 => float::encode_float4(value, out),
            Self::Float8 => float::encode_float8(value, out),
            Self::Numeric => numeric::encode(value, out),
            Self::Bytea => bytea::encode(value, out),
            Self::Char => bytea::encode_char(value, out),
            Self::Date => date::encode(value, out),
            Self::Timestamp => timestamp::encode(value, out),
            Self::TimestampTz => timestamp::encode_tz(value, rules, out),
            Self::Uuid => uuid::encode(value, out),
            Self::Json => json::encode(value, out),
            Self::Jsonb => json::encode_jsonb(value, out),
            Self::Array(array) => array.binary(value, rules, out),
            Self::Range(bound) => range::encode(value, bound, rules, out),
            Self::Multirange(bound) => range::encode_many(value, bound, rules, out),
            Self::Composite(composite) => composite.binary(value, rules, out),
            Self::Hstore => hstore::encode(value, out),
            Self::User(user) => user.encode(value, rules, out),
            Self::InText(inner) => inner.encode_text(value, rules, out),
            Self::Scalar(scalar) => scalar.encode(value, out),
        }
    }
}

/// Types within types that are followed. PostgreSQL lets no type contain itself; an answer that says so is not believed.
const MOST_NESTED: usize = 64;

impl Rules {
    /// The type of a range type's bounds.
    fn range_bound(&self, range: u32) -> Option<u32> {
        if let Some(bound) = oid::range_subtype(range) {
            return Some(bound);
        }
        match self.types.get(range)?.kind {
            TypeKind::Range { bound } => Some(bound),
            _ => None,
        }
    }
}

/// Text when one of them is.
fn worst(mut formats: impl Iterator<Item = Format>) -> Format {
    if formats.any(|format| format == Format::Text) { Format::Text } else { Format::Binary }
}

/// What a built-in array type consists of.
struct Elements {
    oid: u32,
    delimiter: u8,
    vector: bool,
}

impl Elements {
    fn of(type_oid: u32) -> Option<Self> {
        let (oid, vector) = match type_oid {
            oid::INT2VECTOR => (oid::INT2, true),
            oid::OIDVECTOR => (oid::OID, true),
            _ => (oid::element(type_oid)?, false),
        };
        // `typdelim` of all others is a comma.
        Some(Self { oid, delimiter: if oid == oid::BOX { b';' } else { b',' }, vector })
    }
}

/// DataError about a part of a value: "element [3]: …".
#[cold]
pub(crate) fn inside(py: Python<'_>, place: &str, cause: PyErr) -> PyErr {
    let message = format!("{place}: {}", cause.value(py));
    error::said_better(py, message, cause)
}

/// A wire-level complaint as DataError.
#[cold]
pub(crate) fn refuse(py: Python<'_>, error: &ValueError) -> PyErr {
    error::value_error(py, error)
}

/// "expected X, got Y": the argument's Python type cannot become the parameter's.
#[cold]
pub(crate) fn wrong_type(value: &Bound<'_, PyAny>, expected: &str) -> PyErr {
    let py = value.py();
    error::data_error(py, format!("expected {expected}, got {} {}", type_name(value), short_repr(value)))
}

/// `repr(value)`, cut to a length that fits a message.
pub(crate) fn short_repr(value: &Bound<'_, PyAny>) -> String {
    const LONGEST: usize = 40;
    match value.repr() {
        Ok(repr) => {
            let text = repr.to_string_lossy();
            if text.chars().count() > LONGEST {
                format!("{}…", text.chars().take(LONGEST).collect::<String>())
            } else {
                text.into_owned()
            }
        }
        Err(_) => "(its repr() raises)".to_owned(),
    }
}

/// The digits of an `int`, `float` or `Decimal`, written by that very class: a subclass's own `__str__` or `__repr__`
/// does not speak, and an int may have more digits than `str(int)` allows.
pub(crate) fn plain_text<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    let py = value.py();
    let text = if value.is_instance_of::<PyInt>() {
        match py.get_type::<PyInt>().call_method1("__repr__", (value,)) {
            Ok(text) => text,
            Err(_) => decimal_text(&pyimport::decimal(py)?.call1((value,))?)?,
        }
    } else if value.is_instance_of::<PyFloat>() {
        py.get_type::<PyFloat>().call_method1("__repr__", (value,))?
    } else {
        decimal_text(value)?
    };
    Ok(text.cast_into()?)
}

fn decimal_text<'py>(value: &Bound<'py, PyAny>) -> Converted<'py> {
    pyimport::decimal(value.py())?.call_method1("__str__", (value,))
}
