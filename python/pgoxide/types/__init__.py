"""Python types for values and rows that the standard library has no type for.

- `Row` (`_row.py`): what a row is unless `into=` asks for something else.
- `Notice` (`_notice.py`): what the server says beside its answers.
- `PgDate`, `PgTimestamp`, `PgTimestampTz` (`_beyond.py`): dates and moments outside `datetime`'s years, and infinity.
- `_zone.py`: the time zone of a session; for the core.

What values come as, and which option of `connect()` changes it (all of them: `ConnectionOptions`):

| PostgreSQL | Python | option |
| --- | --- | --- |
| float4 | `float`, its exact value | `float4="shortest"`: the shortest decimal that denotes it, as the server writes it |
| date | `date` | `beyond=` for the years and infinities that `date` does not hold |
| timestamp | naive `datetime` | `beyond=` likewise |
| timestamptz | aware `datetime` in UTC | `timestamptz_zone="session"` or a `tzinfo`; `beyond=`, judged by the local time |
| a naive `datetime` as timestamptz | refused | `naive_timestamptz="utc"`, `"local"`, `"session"` |
| two columns of one name | the last, by name | `duplicate_columns="raise"` |
"""

from __future__ import annotations

from pgoxide.types._beyond import PgDate, PgTimestamp, PgTimestampTz
from pgoxide.types._notice import Notice
from pgoxide.types._row import Row

__all__ = ["Notice", "PgDate", "PgTimestamp", "PgTimestampTz", "Row"]
