"""The time zone of a session, for `timestamptz_zone="session"`: the server's name for it as a `tzinfo`.

Source: the manual's appendix "POSIX Time Zone Specifications", and `pg_tzset` (src/timezone/pgtz.c), whose order this
keeps: the zone of that name, else a POSIX specification.
"""

from __future__ import annotations

import re
from datetime import timedelta, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pgoxide.errors import DataError

if TYPE_CHECKING:
    from datetime import tzinfo

__all__ = ["session_zone"]

# `<+03>-3`, `EST5`, `<+0530>-05:30`: an abbreviation and hours west of Greenwich, without daylight-saving rules. What SET
# TIME ZONE makes of a number or an interval is written so.
_FIXED = re.compile(
    r"(?:<(?P<quoted>[^<>]+)>|(?P<plain>[A-Za-z]{3,}))(?P<sign>[+-]?)(?P<h>\d{1,3})(?::(?P<m>\d{1,2})(?::(?P<s>\d{1,2}))?)?",
    re.ASCII,
)

# Files that stand for another zone on every machine: the server's is not ours.
_OF_THE_MACHINE = frozenset({"localtime", "posixrules"})


def session_zone(name: str) -> tzinfo:
    """The zone that the server calls `name`: a ZoneInfo, or a `timezone` for a fixed POSIX specification.

    Raises DataError for one that is not known here, among them POSIX specifications with daylight-saving rules, which
    PostgreSQL and zoneinfo do not read alike for the past.

    >>> session_zone("Asia/Tokyo")
    zoneinfo.ZoneInfo(key='Asia/Tokyo')
    >>> session_zone("<+0330>-03:30")
    datetime.timezone(datetime.timedelta(seconds=12600), '+0330')
    """
    if name.rpartition("/")[2] in _OF_THE_MACHINE:
        raise DataError(
            f"the session's TimeZone is {name!r}, whatever the server's machine means by it; set timezone to a name, or connect "
            'with timestamptz_zone="utc"'
        )
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # unknown; not a name; a folder of zones
        fixed = _fixed(name)
        if fixed is None:
            raise DataError(
                f"the session's TimeZone {name!r} is unknown to zoneinfo on this machine; set timezone to a name it knows (the "
                'package tzdata brings them where the system has none), or connect with timestamptz_zone="utc" or a tzinfo'
            ) from error
        return fixed


def _fixed(name: str) -> timezone | None:
    found = _FIXED.fullmatch(name)
    if found is None:
        return None
    hours, minutes, seconds = (int(found[part] or 0) for part in "hms")
    west = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if minutes > 59 or seconds > 59 or west >= timedelta(days=1):
        return None
    return timezone(west if found["sign"] == "-" else -west, found["quoted"] or found["plain"])
