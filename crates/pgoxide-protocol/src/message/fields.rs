//! The fields of ErrorResponse and NoticeResponse. Source: "Error and Notice Message Fields".

use super::list::{Item, Iter, List};
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, put_cstr};

/// Severity, localized: `ERROR`, `FATAL`, `PANIC`, `WARNING`, `NOTICE`, `DEBUG`, `INFO`, `LOG`.
pub const SEVERITY: u8 = b'S';
/// Severity, never localized.
pub const SEVERITY_NONLOCALIZED: u8 = b'V';
/// SQLSTATE.
pub const SQLSTATE: u8 = b'C';
/// The primary message.
pub const MESSAGE: u8 = b'M';
/// Detail.
pub const DETAIL: u8 = b'D';
/// Hint.
pub const HINT: u8 = b'H';
/// Position in the query string, in characters from 1.
pub const POSITION: u8 = b'P';
/// Position in an internally generated command.
pub const INTERNAL_POSITION: u8 = b'p';
/// The internally generated command.
pub const INTERNAL_QUERY: u8 = b'q';
/// The context in which the error occurred.
pub const WHERE: u8 = b'W';
/// Schema name.
pub const SCHEMA: u8 = b's';
/// Table name.
pub const TABLE: u8 = b't';
/// Column name.
pub const COLUMN: u8 = b'c';
/// Data type name.
pub const DATA_TYPE: u8 = b'd';
/// Constraint name.
pub const CONSTRAINT: u8 = b'n';
/// Source file in the server.
pub const FILE: u8 = b'F';
/// Source line in the server.
pub const LINE: u8 = b'L';
/// Source routine in the server.
pub const ROUTINE: u8 = b'R';

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// What the field is: one of this module's constants, or a code of a newer server.
    pub code: u8,
    /// Its text, in an encoding nobody has agreed on before authentication has ended.
    pub value: &'a [u8],
}

/// All fields of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a>(List<'a, Field<'a>>);

impl<'a> Fields<'a> {
    /// The fields in `fields`, to be encoded.
    pub fn new(fields: &'a [Field<'a>]) -> Self {
        Fields(fields.into())
    }

    /// The first field with this code.
    pub fn find(&self, code: u8) -> Option<&'a [u8]> {
        self.iter().find(|field| field.code == code).map(|field| field.value)
    }

    /// The fields in the server's order.
    pub fn iter(&self) -> Iter<'a, Field<'a>> {
        self.0.iter()
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        List::read_terminated(reader, "fields").map(Fields)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.0.write_items(out)?;
        out.push(0);
        Ok(())
    }
}

impl<'a> IntoIterator for &Fields<'a> {
    type Item = Field<'a>;
    type IntoIter = Iter<'a, Field<'a>>;

    fn into_iter(self) -> Iter<'a, Field<'a>> {
        self.iter()
    }
}

impl<'a> Item<'a> for Field<'a> {
    const MIN_BYTES: usize = 2;

    fn read(reader: &mut Reader<'a>, _index: usize) -> Result<Self, DecodeError> {
        Ok(Field { code: reader.u8("field code")?, value: reader.cstr("field value")? })
    }

    fn write(self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.code == 0 {
            return Err(EncodeError::NulByte { field: "field code" });
        }
        out.push(self.code);
        put_cstr(out, "field value", self.value)
    }
}
