//! RowDescription (B). Source: "Message Formats", RowDescription.

use super::list::{Item, List};
use crate::codes::backend;
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame, put_cstr};

const NAME: &str = "RowDescription";

/// The columns of the rows that follow, or would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowDescription<'a> {
    /// The columns in order.
    pub columns: List<'a, Column<'a>>,
}

impl<'a> RowDescription<'a> {
    /// Decodes the body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let columns = List::read_u16(&mut reader, "columns")?;
        reader.finish()?;
        Ok(RowDescription { columns })
    }

    /// Appends the whole message.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::ROW_DESCRIPTION), |out| self.columns.write_u16(out, "columns"))
    }
}

/// One column of a RowDescription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    /// The column's name, in the client encoding.
    pub name: &'a [u8],
    /// The OID of the table it comes from, or 0.
    pub table_oid: u32,
    /// Its attribute number in that table, or 0.
    pub attnum: i16,
    /// The OID of its type.
    pub type_oid: u32,
    /// The type's size (`pg_type.typlen`); negative for variable ones.
    pub typlen: i16,
    /// The type modifier (`pg_attribute.atttypmod`), -1 for none.
    pub typmod: i32,
    /// The format code of its values; 0, text, when only a statement was described.
    pub format: i16,
}

impl<'a> Item<'a> for Column<'a> {
    const MIN_BYTES: usize = 19;

    #[inline]
    fn read(reader: &mut Reader<'a>, _index: usize) -> Result<Self, DecodeError> {
        Ok(Column {
            name: reader.cstr("column name")?,
            table_oid: reader.u32("table OID")?,
            attnum: reader.i16("attribute number")?,
            type_oid: reader.u32("type OID")?,
            typlen: reader.i16("type size")?,
            typmod: reader.i32("type modifier")?,
            format: reader.i16("format code")?,
        })
    }

    #[inline]
    fn write(self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_cstr(out, "column name", self.name)?;
        out.extend_from_slice(&self.table_oid.to_be_bytes());
        out.extend_from_slice(&self.attnum.to_be_bytes());
        out.extend_from_slice(&self.type_oid.to_be_bytes());
        out.extend_from_slice(&self.typlen.to_be_bytes());
        out.extend_from_slice(&self.typmod.to_be_bytes());
        out.extend_from_slice(&self.format.to_be_bytes());
        Ok(())
    }
}
