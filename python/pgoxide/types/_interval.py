"""interval, with its three parts apart.

Source: the manual's chapter "Date/Time Types".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from pgoxide import _core
from pgoxide.errors import DataError

__all__ = ["Interval"]


# The parts are the base's, numbers where slots would refer to three objects: a quarter of the memory, and 10 ms CPU instead of 18
# for a result of 100 000.
@dataclass(frozen=True, init=False, repr=False, eq=False)
class Interval(_core.IntervalParts):
    """An interval: months, days and microseconds, each with its own sign, exactly as PostgreSQL keeps it.

    A month has no fixed number of days and a day no fixed number of hours, so none is turned into another: two intervals are
    equal when all three parts are, and they have no order. `timedelta` has no months; where you know that there are none, or
    what they should count, `to_timedelta` gives one. A parameter may be a `timedelta`, whose days stay days.

    The infinities of PostgreSQL 17 are `Interval.infinity` and `Interval.negative_infinity`: the largest and the smallest
    values of all three parts together, which on older servers are ordinary values.

    Raises DataError for parts beyond the server's: months and days are 32-bit, microseconds 64-bit integers.

    >>> Interval(months=14, days=3, microseconds=500_000)
    Interval(months=14, days=3, microseconds=500000)
    >>> str(Interval(months=14, microseconds=-1))
    '1 year 2 mons -00:00:00.000001'
    >>> Interval(days=1) + Interval(months=1) * 2
    Interval(months=2, days=1, microseconds=0)
    """

    __slots__ = ()

    months: int = 0
    days: int = 0
    microseconds: int = 0

    infinity: ClassVar[Interval]
    negative_infinity: ClassVar[Interval]

    def __init_subclass__(cls) -> None:
        for name in ("__init__", "__post_init__"):
            if name in cls.__dict__ and "__new__" not in cls.__dict__:
                raise TypeError(
                    f"{cls.__qualname__}.{name}: an Interval takes its parts in __new__, define that instead"
                )

    @classmethod
    def from_timedelta(cls, value: timedelta) -> Interval:
        """The interval of as many days, and of what is below a day.

        >>> Interval.from_timedelta(timedelta(days=2, seconds=1))
        Interval(months=0, days=2, microseconds=1000000)
        """
        return cls(0, value.days, value.seconds * 1_000_000 + value.microseconds)

    @property
    def is_finite(self) -> bool:
        """Whether it is none of the infinities."""
        return self not in (Interval.infinity, Interval.negative_infinity)

    def to_timedelta(self, *, days_per_month: int | None = None) -> timedelta:
        """The same as a `timedelta`, in which a day has 24 hours.

        days_per_month: what a month is to count; without it an interval with months raises DataError, as do infinities and
        what is longer than a timedelta can be (about 2.7 million years).

        >>> Interval(days=1, microseconds=90_000_000).to_timedelta()
        datetime.timedelta(days=1, seconds=90)
        >>> Interval(months=1).to_timedelta(days_per_month=30)
        datetime.timedelta(days=30)
        """
        if not self.is_finite:
            raise DataError(f"{self} is no timedelta")
        if self.months and days_per_month is None:
            raise DataError(
                f"the interval {self} has months, which have no fixed length: say days_per_month="
            )
        try:
            return timedelta(self.days + self.months * (days_per_month or 0), 0, self.microseconds)
        except OverflowError as error:
            raise DataError(f"the interval {self} is longer than a timedelta can be") from error

    def __add__(self, other: Interval | timedelta) -> Interval:
        """Part by part. A timedelta counts as its interval."""
        if isinstance(other, timedelta):
            other = Interval.from_timedelta(other)
        if not isinstance(other, Interval):
            return NotImplemented
        _finite(self, other)
        return Interval(
            self.months + other.months, self.days + other.days, self.microseconds + other.microseconds
        )

    def __radd__(self, other: timedelta) -> Interval:
        return self.__add__(other)

    def __neg__(self) -> Interval:
        if not self.is_finite:
            return Interval.negative_infinity if self == Interval.infinity else Interval.infinity
        return Interval(-self.months, -self.days, -self.microseconds)

    def __sub__(self, other: Interval | timedelta) -> Interval:
        if isinstance(other, timedelta):
            other = Interval.from_timedelta(other)
        if not isinstance(other, Interval):
            return NotImplemented
        return self + -other

    def __mul__(self, factor: int) -> Interval:
        """Part by part, by an int."""
        if not isinstance(factor, int):
            return NotImplemented
        _finite(self)
        return Interval(self.months * factor, self.days * factor, self.microseconds * factor)

    def __rmul__(self, factor: int) -> Interval:
        return self.__mul__(factor)

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class: one derived from this may take other arguments.
        return _restore, (type(self), self.months, self.days, self.microseconds), self.__getstate__()

    def __bool__(self) -> bool:
        return bool(self.months or self.days or self.microseconds)

    def __repr__(self) -> str:
        if not self.is_finite:
            return "Interval.infinity" if self.months > 0 else "Interval.negative_infinity"
        return f"Interval(months={self.months}, days={self.days}, microseconds={self.microseconds})"

    def __str__(self) -> str:
        """As the server writes it with IntervalStyle postgres."""
        if not self.is_finite:
            return "infinity" if self.months > 0 else "-infinity"
        years, months = divmod(abs(self.months), 12)
        sign = -1 if self.months < 0 else 1
        parts: list[str] = []
        before = False
        for count, unit in ((years * sign, "year"), (months * sign, "mon"), (self.days, "day")):
            if count:
                parts.append(
                    f"{'+' if before and count > 0 else ''}{count} {unit}{'' if count == 1 else 's'}"
                )
                before = count < 0
        if self.microseconds or not parts:
            seconds, fraction = divmod(abs(self.microseconds), 1_000_000)
            sign_text = "-" if self.microseconds < 0 else "+" if before else ""
            clock = f"{sign_text}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            parts.append(clock + re.sub("0+$", "", f".{fraction:06}").removesuffix("."))
        return " ".join(parts)


def _restore(cls: type[Interval], months: int, days: int, microseconds: int) -> Interval:
    return Interval.__new__(cls, months, days, microseconds)


def _finite(*values: Interval) -> None:
    for value in values:
        if not value.is_finite:
            raise DataError(f"{value} is not for arithmetic in Python: let the server do it")


# What `dataclass` has taken for defaults of attributes hides the base's.
for _part in ("months", "days", "microseconds"):
    delattr(Interval, _part)

Interval.infinity = Interval(2**31 - 1, 2**31 - 1, 2**63 - 1)
Interval.negative_infinity = Interval(-(2**31), -(2**31), -(2**63))
