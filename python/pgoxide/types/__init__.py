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

What values come as, and which option of `connect()` changes it (all of them: `ConnectionOptions`):

| PostgreSQL | Python | option |
| --- | --- | --- |
| float4 | `float`, its exact value | `float4="shortest"`: the shortest decimal that denotes it, as the server writes it |
| date | `date` | `beyond=` for the years and infinities that `date` does not hold |
| timestamp | naive `datetime` | `beyond=` likewise |
| time, timetz | `time`, with a fixed offset for timetz | `beyond=` for 24:00 |
| timestamptz | aware `datetime` in UTC | `timestamptz_zone="session"` or a `tzinfo`; `beyond=`, judged by the local time |
| a naive `datetime` as timestamptz | refused | `naive_timestamptz="utc"`, `"local"`, `"session"` |
| money | `str`, as the session's `lc_monetary` has it | `money=2`, the digits of a fraction: `Decimal` |
| json, jsonb | the values it consists of, numbers exact | `json="str"` or `"bytes"`: its text; `json_null="special"`: `JsonNull` |
| arrays | `list`, of lists for more dimensions | `array_bounds="keep"`: `Array` where subscripts do not begin at 1 |
| ranges, multiranges | `Range`, `Multirange` | |
| record | `tuple` | |
| two columns of one name | the last, by name | `duplicate_columns="raise"` |
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
