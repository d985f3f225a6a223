"""The time of day that `datetime.time` does not have: 24:00, the end of a day.

A connection made with `beyond="special"` returns these for such values only; all others stay `datetime.time`.
Source: the manual's chapter "Date/Time Types".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time, timedelta, timezone

from pgoxide.errors import DataError

__all__ = ["PgTime", "PgTimeTz"]


@dataclass(frozen=True, slots=True, order=True)
class PgTime:
    """A time without time zone, 00:00 to 24:00.

    >>> PgTime(24)
    PgTime(24, 0, 0, 0)
    >>> str(PgTime(24)), PgTime(24) > PgTime(23, 59, 59, 999_999)
    ('24:00:00', True)
    """

    hour: int
    minute: int = 0
    second: int = 0
    microsecond: int = 0

    def __post_init__(self) -> None:
        _check(self.hour, self.minute, self.second, self.microsecond)

    def to_time(self) -> time:
        """The `datetime.time`. Raises DataError for 24:00."""
        if self.hour == 24:
            raise DataError("datetime.time has no 24:00")
        return time(self.hour, self.minute, self.second, self.microsecond)

    def __str__(self) -> str:
        """As the server writes it."""
        return _clock(self.hour, self.minute, self.second, self.microsecond)

    def __repr__(self) -> str:
        return f"PgTime({self.hour}, {self.minute}, {self.second}, {self.microsecond})"


@dataclass(frozen=True, slots=True)
class PgTimeTz:
    """A time with time zone, 00:00 to 24:00, and its offset from UTC in seconds, east positive.

    >>> str(PgTimeTz(24, offset=-17_762))
    '24:00:00-04:56:02'
    """

    hour: int
    minute: int = 0
    second: int = 0
    microsecond: int = 0
    offset: int = 0

    def __post_init__(self) -> None:
        _check(self.hour, self.minute, self.second, self.microsecond)
        if not -57_600 < self.offset < 57_600:
            raise DataError(f"offset={self.offset}: seconds, less than sixteen hours")

    def to_time(self) -> time:
        """The aware `datetime.time`. Raises DataError for 24:00."""
        if self.hour == 24:
            raise DataError("datetime.time has no 24:00")
        zone = timezone(timedelta(seconds=self.offset))
        return time(self.hour, self.minute, self.second, self.microsecond, zone)

    def __str__(self) -> str:
        """As the server writes it."""
        hours, rest = divmod(abs(self.offset), 3600)
        minutes, seconds = divmod(rest, 60)
        zone = f"{'-' if self.offset < 0 else '+'}{hours:02}"
        zone += f":{minutes:02}" if rest else ""
        zone += f":{seconds:02}" if seconds else ""
        return _clock(self.hour, self.minute, self.second, self.microsecond) + zone

    def __repr__(self) -> str:
        return (
            f"PgTimeTz({self.hour}, {self.minute}, {self.second}, {self.microsecond}, offset={self.offset})"
        )


def _check(hour: int, minute: int, second: int, microsecond: int) -> None:
    fits = 0 <= hour <= 24 and 0 <= minute < 60 and 0 <= second < 60 and 0 <= microsecond < 1_000_000
    if not fits or (hour == 24 and (minute or second or microsecond)):
        raise DataError(f"there is no time {_clock(hour, minute, second, microsecond)}")


def _clock(hour: int, minute: int, second: int, microsecond: int) -> str:
    return f"{hour:02}:{minute:02}:{second:02}" + f".{microsecond:06}".rstrip("0").rstrip(".")
