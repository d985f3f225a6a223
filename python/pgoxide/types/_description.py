"""What a statement takes and gives, as the server describes it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ResultColumn", "StatementDescription", "StatementParameter"]

# How the type modifiers are packed. Source: the typmodin functions of the types (numeric.c, varchar.c, timestamp.c).
_HEADER = 4
_NUMERIC = frozenset({"numeric"})
_CHARACTERS = frozenset({"varchar", "bpchar"})
_BITS = frozenset({"bit", "varbit"})
_TIMES = frozenset({"time", "timetz", "timestamp", "timestamptz"})
_INTERVAL_FULL = 0x7FFF
_INTERVAL_UNITS = {2: "year", 1: "month", 3: "day", 10: "hour", 11: "minute", 12: "second"}


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """One column of a result, as RowDescription tells it.

    name: its name. type_oid, type_name: its type by OID and by `pg_type.typname` (of an array its elements' with `[]`); of a
    column whose type is a domain, the type below it. type_modifier: `atttypmod`, -1 for none; `precision`, `scale`, `length`
    and `interval_fields` say what it means.
    table_oid, attnum: the table and the number of the column in it, when it is a table's column unchanged; else None.

    Source: protocol chapter, "Message Formats", RowDescription.

    >>> ResultColumn("price", 1700, "numeric", (12 << 16 | 2) + 4).scale
    2
    """

    name: str
    type_oid: int
    type_name: str
    type_modifier: int = -1
    table_oid: int | None = None
    attnum: int | None = None

    @property
    def precision(self) -> int | None:
        """Digits of a numeric(precision, scale); digits of a second of a time, timestamp or interval. None: not limited."""
        kind, modifier = self._modifier()
        if kind in _NUMERIC:
            return (modifier - _HEADER) >> 16 & 0xFFFF
        if kind in _TIMES:
            return modifier
        if kind == "interval" and modifier & 0xFFFF != 0xFFFF:
            return modifier & 0xFFFF
        return None

    @property
    def scale(self) -> int | None:
        """Digits behind the point of a numeric(precision, scale), below 0 when it is rounded before it. None for others."""
        kind, modifier = self._modifier()
        if kind not in _NUMERIC:
            return None
        return ((modifier - _HEADER & 0x7FF) ^ 1024) - 1024  # 11 bits, signed since PostgreSQL 15

    @property
    def length(self) -> int | None:
        """Characters of a varchar(n) or char(n), bits of a bit(n) or varbit(n). None: not limited."""
        kind, modifier = self._modifier()
        if kind in _CHARACTERS:
            return modifier - _HEADER
        return modifier if kind in _BITS else None

    @property
    def interval_fields(self) -> str | None:
        """Which fields an interval is limited to: `"year to month"`, `"day to second"`, `"hour"`. None: not limited."""
        kind, modifier = self._modifier()
        mask = modifier >> 16 & _INTERVAL_FULL
        if kind != "interval" or mask == _INTERVAL_FULL:
            return None
        units = [unit for bit, unit in _INTERVAL_UNITS.items() if mask >> bit & 1]
        return units[0] if len(units) == 1 else f"{units[0]} to {units[-1]}"

    def _modifier(self) -> tuple[str, int]:
        """What the modifier belongs to, "" when there is none, and the modifier. An array's is its elements'."""
        if self.type_modifier < 0:
            return "", -1
        return self.type_name.removesuffix("[]"), self.type_modifier


@dataclass(frozen=True, slots=True)
class StatementParameter:
    """One parameter of a statement.

    name: what it is called in the text (`:name`); None for `$1`, `$2` … type_oid, type_name: its type, as that of a column.
    """

    name: str | None
    type_oid: int
    type_name: str


@dataclass(frozen=True, slots=True)
class StatementDescription:
    """What a statement takes and gives; from `describe()`.

    parameters: in the order of `$1`, `$2` …; named ones in the order of their first appearance.
    columns: of its rows. returns_rows: False for a statement that gives none (`insert` without `returning`), which has no
    columns then; `select` without a list gives rows without columns.
    """

    parameters: tuple[StatementParameter, ...]
    columns: tuple[ResultColumn, ...]
    returns_rows: bool
