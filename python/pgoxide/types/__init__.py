"""Python types for values and rows that the standard library has no type for.

- `Row` (`_row.py`): what a row is unless `into=` asks for something else.
- `Notice` (`_notice.py`): what the server says beside its answers.
- `ResultColumn`, `StatementParameter`, `StatementDescription` (`_description.py`): what a statement takes and gives.
- `Array` (`_array.py`): a list that knows an array's lower bounds.
- `Codec`, `Codecs`, `Columns` (`_codec.py`): users' codecs.
- `Range`, `Multirange` (`_range.py`): what range types come as.
- `PgDate`, `PgTimestamp`, `PgTimestampTz` (`_beyond.py`): dates and moments outside `datetime`'s years, and infinity.
- `PgTime`, `PgTimeTz` (`_time.py`): the end of a day, which `datetime.time` does not have.
- `Interval` (`_interval.py`), `BitString` (`_bits.py`), `TsVector` (`_tsvector.py`).
- `Point`, `Line`, `LineSegment`, `Box`, `Path`, `Polygon`, `Circle` (`_geometry.py`).
- `Json` (also named `Jsonb`), `JsonNull` (`_json.py`): documents as arguments, and JSON's null.
- `Lsn`, `Tid`, `Snapshot` (`_system.py`): what PostgreSQL tells of itself.
- `_zone.py`: the time zone of a session; for the core.

What each SQL type comes as: docs/reference/types.md, which is written from the codecs.
"""

from __future__ import annotations

from pgoxide.types._array import Array
from pgoxide.types._beyond import PgDate, PgTimestamp, PgTimestampTz
from pgoxide.types._bits import BitString
from pgoxide.types._codec import Codec, CodecFormat, Codecs, Columns
from pgoxide.types._description import ResultColumn, StatementDescription, StatementParameter
from pgoxide.types._geometry import Box, Circle, Line, LineSegment, Path, Point, Polygon
from pgoxide.types._interval import Interval
from pgoxide.types._json import Json, Jsonb, JsonNull, JsonNullType
from pgoxide.types._notice import Notice
from pgoxide.types._range import Bounds, Multirange, Range
from pgoxide.types._row import Row
from pgoxide.types._system import Lsn, Snapshot, Tid
from pgoxide.types._time import PgTime, PgTimeTz
from pgoxide.types._tsvector import TsVector

__all__ = [
    "Array",
    "BitString",
    "Bounds",
    "Box",
    "Circle",
    "Codec",
    "CodecFormat",
    "Codecs",
    "Columns",
    "Interval",
    "Json",
    "JsonNull",
    "JsonNullType",
    "Jsonb",
    "Line",
    "LineSegment",
    "Lsn",
    "Multirange",
    "Notice",
    "Path",
    "PgDate",
    "PgTime",
    "PgTimeTz",
    "PgTimestamp",
    "PgTimestampTz",
    "Point",
    "Polygon",
    "Range",
    "ResultColumn",
    "Row",
    "Snapshot",
    "StatementDescription",
    "StatementParameter",
    "Tid",
    "TsVector",
]
