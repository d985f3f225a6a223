//! The body that CopyInResponse, CopyOutResponse and CopyBothResponse share.

use super::list::List;
use crate::codes::Format;
use crate::error::{DecodeError, EncodeError};
use crate::wire::Reader;

/// Reads the overall format, which is one byte here, and the format codes of the columns.
pub(super) fn read<'a>(reader: &mut Reader<'a>) -> Result<(Format, List<'a, Format>), DecodeError> {
    let code = reader.u8("overall format")?;
    let format = Format::from_code(i16::from(code)).ok_or_else(|| reader.bad_value("overall format", code))?;
    Ok((format, List::read_u16(reader, "columns")?))
}

/// Appends what [`read`] reads.
pub(super) fn write(out: &mut Vec<u8>, format: Format, columns: &List<'_, Format>) -> Result<(), EncodeError> {
    out.push(match format {
        Format::Text => 0,
        Format::Binary => 1,
    });
    columns.write_u16(out, "columns")
}
