"""Dates and moments that PostgreSQL holds and `datetime` does not: years before 1 and after 9999, and the infinities.

A connection made with `beyond="special"` returns them for such values only; ordinary values stay `date` and `datetime`.
A timestamptz is beyond when its local time in the connection's zone is.
Source: chapter "Date/Time Types".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

__all__ = ["PgDate", "PgTimestamp", "PgTimestampTz"]


@dataclass(frozen=True, slots=True, order=True)
class PgDate:
    """A date of PostgreSQL's whole range, 4714-11-24 BC to 5874897-12-31, or an infinity.

    year is astronomical: 0 is 1 BC, -1 is 2 BC. The infinities are `PgDate.infinity` and `PgDate.negative_infinity`;
    they order after and before everything.

    >>> PgDate(-43, 3, 15)
    PgDate(0044-03-15 BC)
    >>> PgDate.negative_infinity < PgDate(-4713, 11, 24) < PgDate.infinity
    True
    """

    sign: int
    year: int
    month: int
    day: int

    infinity: ClassVar[PgDate]
    negative_infinity: ClassVar[PgDate]

    def __init__(self, year: int, month: int, day: int) -> None:
        _set(self, sign=0, year=year, month=month, day=day)

    @classmethod
    def _infinite(cls, sign: int) -> Self:
        made = cls(0, 0, 0)
        _set(made, sign=sign)
        return made

    @property
    def _ymd(self) -> tuple[int, int, int]:
        return self.year, self.month, self.day

    def __str__(self) -> str:
        """As the server writes it."""
        return _sign_text(self.sign) or _with_era(self.year, f"-{self.month:02}-{self.day:02}")

    def __repr__(self) -> str:
        return f"PgDate({self})"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _restore, (type(self), self.sign, self._ymd)


@dataclass(frozen=True, slots=True, order=True)
class PgTimestamp:
    """A timestamp without time zone of PostgreSQL's whole range, or an infinity. Fields as in `PgDate`."""

    sign: int
    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    microsecond: int

    infinity: ClassVar[Self]
    negative_infinity: ClassVar[Self]

    def __init__(  # noqa: PLR0917  as datetime's
        self,
        year: int,
        month: int,
        day: int,
        hour: int = 0,
        minute: int = 0,
        second: int = 0,
        microsecond: int = 0,
    ) -> None:
        _set(
            self, sign=0, year=year, month=month, day=day, hour=hour, minute=minute, second=second,
            microsecond=microsecond,
        )  # fmt: skip

    @classmethod
    def _infinite(cls, sign: int) -> Self:
        made = cls(0, 0, 0)
        _set(made, sign=sign)
        return made

    @property
    def _fields_(self) -> tuple[int, int, int, int, int, int, int]:
        return self.year, self.month, self.day, self.hour, self.minute, self.second, self.microsecond

    def _zone(self) -> str:
        return ""

    def __str__(self) -> str:
        """As the server writes it with DateStyle ISO."""
        fraction = f".{self.microsecond:06}".rstrip("0").rstrip(".")
        time = f" {self.hour:02}:{self.minute:02}:{self.second:02}{fraction}{self._zone()}"
        return _sign_text(self.sign) or _with_era(self.year, f"-{self.month:02}-{self.day:02}{time}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _restore, (type(self), self.sign, self._fields_)


class PgTimestampTz(PgTimestamp):
    """A timestamp with time zone of PostgreSQL's whole range, in UTC whatever `timestamptz_zone=` says, or an infinity."""

    __slots__ = ()

    def _zone(self) -> str:
        return "+00"


def _set(target: object, **values: int) -> None:
    for name, value in values.items():
        object.__setattr__(target, name, value)


def _sign_text(sign: int) -> str:
    return {1: "infinity", -1: "-infinity"}.get(sign, "")


def _with_era(year: int, rest: str) -> str:
    return f"{1 - year:04}{rest} BC" if year < 1 else f"{year:04}{rest}"


def _restore(cls: type[PgDate | PgTimestamp], sign: int, fields: tuple[int, ...]) -> PgDate | PgTimestamp:
    return cls._infinite(sign) if sign else cls(*fields)


PgDate.infinity, PgDate.negative_infinity = PgDate._infinite(1), PgDate._infinite(-1)
PgTimestamp.infinity, PgTimestamp.negative_infinity = PgTimestamp._infinite(1), PgTimestamp._infinite(-1)
PgTimestampTz.infinity, PgTimestampTz.negative_infinity = (
    PgTimestampTz._infinite(1),
    PgTimestampTz._infinite(-1),
)
