"""What no class of values takes."""

from __future__ import annotations

import pgoxide
from pgoxide.types import BitString, Interval, Lsn, Point

Interval(months="1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Interval(1).months = 2  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
wrong = Interval(1) + 1  # type: ignore[operator] # pyright: ignore[reportOperatorIssue, reportUnknownVariableType]
BitString(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Lsn(None)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Point("1", 2)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
pgoxide.Connection.connect(json="text")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
pgoxide.Connection.connect(money=1.5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
