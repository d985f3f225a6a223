"""Dates and moments that PostgreSQL holds and `datetime` does not: years before 1 and after 9999, and the infinities.

A connection made with `beyond="special"` returns them for such values only; ordinary values stay `date` and `datetime`.
A timestamptz is beyond when its local time in the connection's zone is. A column may so hold both kinds: they compare with one
another, and are equal (and hash alike) when they are the same day or moment.
Source: chapter "Date/Time Types".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import total_ordering
from typing import ClassVar, Self

from pgoxide.errors import DataError

__all__ = ["PgDate", "PgTimestamp", "PgTimestampTz"]


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class PgDate:
    """A date of PostgreSQL's whole range, 4714-11-24 BC to 5874897-12-31, or an infinity.

    year is astronomical: 0 is 1 BC, -1 is 2 BC. The infinities are `PgDate.infinity` and `PgDate.negative_infinity`;
    they order after and before everything.

    >>> PgDate(-43, 3, 15)
    PgDate(0044-03-15 BC)
    >>> PgDate.negative_infinity < PgDate(-4713, 11, 24) < date(2000, 1, 1) < PgDate.infinity
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

    @classmethod
    def from_date(cls, value: date) -> Self:
        """The same day. Raises TypeError for a datetime, whose time would be lost."""
        if isinstance(value, datetime):
            raise TypeError("a datetime is no day: pass its .date()")
        return cls(value.year, value.month, value.day)

    def to_date(self) -> date:
        """The same day. Raises DataError for one that `date` does not hold, an infinity among them.

        >>> PgDate(2000, 1, 2).to_date()
        datetime.date(2000, 1, 2)
        """
        try:
            return date(0 if self.sign else self.year, self.month, self.day)
        except ValueError as error:
            raise DataError(f"there is no datetime.date {self}") from error

    @property
    def _ymd(self) -> tuple[int, int, int]:
        return self.year, self.month, self.day

    def _key(self) -> tuple[int, int]:
        return self.sign, 0 if self.sign else _days(self.year, self.month, self.day)

    def __eq__(self, other: object) -> bool:
        other = _as_special(other, PgDate)
        return self._key() == other._key() if isinstance(other, PgDate) else NotImplemented

    def __lt__(self, other: object) -> bool:
        other = _as_special(other, PgDate)
        return self._key() < other._key() if isinstance(other, PgDate) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_date()) if _is_ordinary(self) else hash(self._key())

    def __str__(self) -> str:
        """As the server writes it."""
        return _sign_text(self.sign) or _with_era(self.year, f"-{self.month:02}-{self.day:02}")

    def __repr__(self) -> str:
        return f"PgDate({self})"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _restore, (type(self), self.sign, self._ymd)


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
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

    @classmethod
    def from_datetime(cls, value: datetime) -> Self:
        """The same local time. Raises TypeError for an aware datetime, whose zone would be lost."""
        if value.tzinfo is not None:
            raise TypeError("an aware datetime is no timestamp without time zone: see PgTimestampTz")
        return cls(
            value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond
        )

    def to_datetime(self) -> datetime:
        """The same as a naive datetime. Raises DataError for what that does not hold, the infinities among them.

        >>> PgTimestamp(2000, 1, 2, 3).to_datetime()
        datetime.datetime(2000, 1, 2, 3, 0)
        """
        try:
            return datetime(0 if self.sign else self.year, *self._fields_[1:])  # noqa: DTZ001  naive is what it is
        except ValueError as error:
            raise DataError(f"there is no datetime {self}") from error

    def _key(self) -> tuple[int, int]:
        clock = ((self.hour * 60 + self.minute) * 60 + self.second) * 1_000_000 + self.microsecond
        days = _days(self.year, self.month, self.day)
        return self.sign, 0 if self.sign else days * _DAY + clock

    def __eq__(self, other: object) -> bool:
        other = _as_special(other, type(self))
        return self._key() == other._key() if type(other) is type(self) else NotImplemented

    def __lt__(self, other: object) -> bool:
        other = _as_special(other, type(self))
        return self._key() < other._key() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_datetime()) if _is_ordinary(self) else hash(self._key())

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

    @classmethod
    def from_datetime(cls, value: datetime) -> Self:
        """The same moment, in UTC. Raises TypeError for a naive datetime, which names no moment.

        >>> PgTimestampTz.from_datetime(datetime(2000, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))))
        PgTimestampTz(1999-12-31 23:00:00+00)
        """
        offset = value.utcoffset()
        if offset is None:
            raise TypeError("a naive datetime names no moment: see PgTimestamp")
        _, micros = PgTimestamp.from_datetime(value.replace(tzinfo=None))._key()
        days, clock = divmod(micros - offset // timedelta(microseconds=1), _DAY)
        seconds, microsecond = divmod(clock, 1_000_000)
        return cls(*_civil(days), seconds // 3600, seconds // 60 % 60, seconds % 60, microsecond)

    def to_datetime(self) -> datetime:
        """The same moment as a datetime in UTC. Raises DataError for what that does not hold, the infinities among them."""
        return PgTimestamp.to_datetime(self).replace(tzinfo=UTC)

    def _zone(self) -> str:
        return "+00"


_DAY = 86_400_000_000
_YEARS = 400  # after which the calendar repeats itself, in _CYCLE days
_CYCLE = 146_097


def _days(year: int, month: int, day: int) -> int:
    """The number of a day, as `date.toordinal` counts, of any year."""
    cycle, year = divmod(year - 1, _YEARS)
    return date(year + 1, 1, 1).toordinal() + cycle * _CYCLE + _day_of_year(year + 1, month, day)


def _day_of_year(year: int, month: int, day: int) -> int:
    # A day that does not exist is not refused here: whoever makes one hears of it when it is used.
    months = min(max(month, 1), 12)
    return (date(year, months, 1) - date(year, 1, 1)).days + day - 1


def _civil(number: int) -> tuple[int, int, int]:
    cycle, number = divmod(number - 1, _CYCLE)
    found = date.fromordinal(number + 1)
    return found.year + cycle * _YEARS, found.month, found.day


def _is_ordinary(value: PgDate | PgTimestamp) -> bool:
    """Whether `datetime` has it."""
    try:
        value.to_date() if isinstance(value, PgDate) else value.to_datetime()
    except DataError:
        return False
    return True


def _as_special(value: object, cls: type[PgDate | PgTimestamp]) -> object:
    """A `date` or `datetime` as the class that it is compared with, where it is of that kind."""
    if cls is PgDate:
        return (
            PgDate.from_date(value) if isinstance(value, date) and not isinstance(value, datetime) else value
        )
    if not isinstance(value, datetime) or (value.utcoffset() is None) is (cls is PgTimestampTz):
        return value
    made = PgTimestampTz if cls is PgTimestampTz else PgTimestamp
    return made.from_datetime(value)


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
