"""The server's name of a time zone as a `tzinfo`."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from pgoxide.errors import DataError
from pgoxide.types._zone import session_zone

pytestmark = pytest.mark.row("V14", face="both")


@pytest.mark.parametrize("name", ["UTC", "Etc/UTC", "GMT", "Europe/Berlin", "EST5EDT", "Etc/GMT+5"])
def test_names(name: str) -> None:
    assert session_zone(name) is ZoneInfo(name)


@pytest.mark.parametrize(
    ("name", "hours", "shown"),
    [
        ("<+03>-3", 3, "+03"),
        ("<-07>+07", -7, "-07"),
        ("FOO5", -5, "FOO"),
        ("<+0530>-05:30", 5.5, "+0530"),
        ("<+05:45>-05:45", 5.75, "+05:45"),
        ("<x>-00:00:36", 0.01, "x"),
        ("UTC-14", 14, "UTC"),
        ("<0>0", 0, "0"),
    ],
)
def test_fixed_posix_specifications(name: str, hours: float, shown: str) -> None:
    """POSIX counts westwards."""
    zone = session_zone(name)
    assert (zone.utcoffset(None), zone.tzname(None)) == (dt.timedelta(hours=hours), shown)


@pytest.mark.parametrize(
    "name",
    [
        "", "Mars/Olympus", "FOO3BAR", "FOO3BAR,M3.2.0,M11.1.0", "<+03>-3<+04>", "FO5", "FOO", "FOO24", "FOO167", "FOO5:60", "FOO5:00:60",
        "FOO5:", "<>5", "<a>b>5", "FOO５", "Europe", "/etc/localtime", "../UTC", "UTC\0", "localtime", "posix/localtime", "posixrules",
        "<+03>-3\n",
    ],
)  # fmt: skip
def test_what_is_unknown_is_an_error(name: str) -> None:
    with pytest.raises(DataError, match="the session's TimeZone"):
        session_zone(name)
