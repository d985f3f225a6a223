"""Python types for values and rows that the standard library has no type for.

- `Row` (`_row.py`): what a row is unless `into=` asks for something else.
- `Notice` (`_notice.py`): what the server says beside its answers.
- `PgDate`, `PgTimestamp`, `PgTimestampTz` (`_beyond.py`): dates and moments outside `datetime`'s years, and infinity.
- `_zone.py`: the time zone of a session; for the core.
"""

from __future__ import annotations

from pgoxide.types._beyond import PgDate, PgTimestamp, PgTimestampTz
from pgoxide.types._notice import Notice
from pgoxide.types._row import Row

__all__ = ["Notice", "PgDate", "PgTimestamp", "PgTimestampTz", "Row"]
