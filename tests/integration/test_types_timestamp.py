"""timestamp as naive datetime, timestamptz as aware one; edges, policies, zones."""

# ruff: noqa: DTZ001, DTZ901  naive datetimes are half of the subject

from __future__ import annotations

import datetime as dt
import pickle
from contextlib import nullcontext
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import formats, same, sent
from pgoxide.errors import DataError
from pgoxide.types import PgTimestamp, PgTimestampTz

pytestmark = pytest.mark.pg

UTC = dt.UTC
both_types = pytest.mark.parametrize("name", ["timestamp", "timestamptz"])
TEXTS = ["0001-01-01 00:00:00", "0001-01-01 00:00:00.000001", "1582-10-10 12:00:00", "1883-11-18 12:03:57", "1969-12-31 23:59:59.999999",
         "1970-01-01 00:00:00", "1999-12-31 23:59:59.999999", "2000-01-01 00:00:00", "2000-02-29 01:02:03.4", "2020-03-04 05:06:07.089",
         "9999-12-31 23:59:59.999999"]  # fmt: skip
EXTREMES = [
    ("4714-11-24 00:00:00 BC", (-4713, 11, 24), dt.datetime.min),
    ("0044-03-15 12:34:56.789012 BC", (-43, 3, 15, 12, 34, 56, 789_012), dt.datetime.min),
    ("0044-03-15 12:34:56.5 BC", (-43, 3, 15, 12, 34, 56, 500_000), dt.datetime.min),
    ("0001-12-31 23:59:59.999999 BC", (0, 12, 31, 23, 59, 59, 999_999), dt.datetime.min),
    ("10000-01-01 00:00:00", (10_000, 1, 1), dt.datetime.max),
    ("294276-12-31 23:59:59.999999", (294_276, 12, 31, 23, 59, 59, 999_999), dt.datetime.max),
    ("infinity", "infinity", dt.datetime.max),
    ("-infinity", "negative_infinity", dt.datetime.min),
]
ids = [text for text, *_ in EXTREMES]


@dataclass
class Event:
    at: object


def python(name, text):
    value = dt.datetime.fromisoformat(text)
    return value.replace(tzinfo=UTC) if name == "timestamptz" else value


def special_of(name, fields):
    cls = PgTimestampTz if name == "timestamptz" else PgTimestamp
    return getattr(cls, fields) if isinstance(fields, str) else cls(*fields)


def utc_text(name, text):
    """The text with the zone a timestamptz shows when the session's is UTC."""
    if name == "timestamp" or "infinity" in text:
        return text
    return f"{text.removesuffix(' BC')}+00{' BC' if text.endswith(' BC') else ''}"


async def utc(connect, **options):
    db = await connect(**options)
    await db.execute("set timezone = 'UTC'")
    return db


@pytest.mark.row("V13", "V14")
@both_types
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("beyond", ["raise", "clamp", "text", "special"])
async def test_ordinary_moments(connect, name, text, beyond):
    db = await utc(connect, beyond=beyond)
    value, written = python(name, text), utc_text(name, text)
    found = await sent(db, name, value)
    assert found == (written, value)
    assert type(found.back) is dt.datetime
    read = await same(db, f"'{written}'::{name}")
    assert read == value
    assert read.tzinfo is value.tzinfo


@pytest.mark.row("V13", "V14", "T01")
@both_types
@pytest.mark.parametrize(("text", "fields", "clamped"), EXTREMES, ids=ids)
async def test_beyond_raise(connect, name, text, fields, clamped):
    db = await utc(connect)
    sql = f"select 1 as a, '{utc_text(name, text)}'::{name} as at"
    for call in (db.fetch_all, db.fetch_all, db.execute_script):
        with pytest.raises(DataError, match=rf'column "at" \({name}\): .*beyond='):
            await call(sql)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("V13", "V14", "T01")
@both_types
@pytest.mark.parametrize("beyond", ["clamp", "text", "special"])
@pytest.mark.parametrize(("text", "fields", "clamped"), EXTREMES, ids=ids)
async def test_beyond(connect, name, beyond, text, fields, clamped):
    db = await utc(connect, beyond=beyond)
    clamped = clamped.replace(tzinfo=UTC) if name == "timestamptz" else clamped
    written = utc_text(name, text)
    expected = {"clamp": clamped, "text": written, "special": special_of(name, fields)}[beyond]
    found = await same(db, f"'{written}'::{name}")
    assert found == expected
    assert type(found) is type(expected)
    if beyond == "text":
        assert found == await db.fetch_value(f"select '{written}'::{name}::text")


@pytest.mark.row("V13", "V14", "T01")
@both_types
@pytest.mark.parametrize("beyond", ["raise", "clamp", "text", "special"])
@pytest.mark.parametrize(("text", "fields", "clamped"), EXTREMES, ids=ids)
async def test_beyond_in_one_flight_and_in_a_class(connect, name, beyond, text, fields, clamped):
    """With declared types the first use brings text, the second binary; a class is filled with the same values."""
    db = await utc(connect, beyond=beyond)
    clamped = clamped.replace(tzinfo=UTC) if name == "timestamptz" else clamped
    written = utc_text(name, text)
    for _ in range(2):
        if beyond == "raise":
            with pytest.raises(DataError, match=rf'column "at" \({name}\): .*beyond=') as caught:
                await db.fetch_one(f"select $1::text::{name} as at", written, types=["text"])
            assert written in str(caught.value)
        else:
            expected = {"clamp": clamped, "text": written, "special": special_of(name, fields)}[beyond]
            found = await db.fetch_one(f"select $1::text::{name} as at", written, into=Event, types=["text"])
            assert (found.at, type(found.at)) == (expected, type(expected))
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("V13", "V14")
@both_types
@pytest.mark.parametrize(("text", "fields", "clamped"), EXTREMES, ids=ids)
async def test_special_moments_are_passed_back(connect, name, text, fields, clamped):
    db = await utc(connect, beyond="special")
    special = special_of(name, fields)
    found = await sent(db, name, special)
    assert found == (utc_text(name, text), special)
    assert str(special) == utc_text(name, text)
    back = pickle.loads(pickle.dumps(special))
    assert back == special
    assert type(back) is type(special) is type(found.back)


@pytest.mark.row("V14")
async def test_beyond_python_in_another_zone(connect):
    """The session's zone changes neither the special value nor its text: both are in UTC."""
    db = await connect(beyond="special")
    other = await connect(beyond="text")
    for one in (db, other):
        await one.execute("set timezone = 'Asia/Tokyo'")
    assert await same(db, "'0044-03-15 12:00:00+00 BC'::timestamptz") == PgTimestampTz(-43, 3, 15, 12)
    assert await same(other, "'0044-03-15 12:00:00+00 BC'::timestamptz") == "0044-03-15 12:00:00+00 BC"
    # In Tokyo it is the year 10000 already, in UTC not yet.
    assert await same(db, "'9999-12-31 20:00:00+00'::timestamptz") == dt.datetime(
        9999, 12, 31, 20, tzinfo=UTC
    )
    assert await same(db, "'10000-01-01 05:00:00+09'::timestamptz") == dt.datetime(
        9999, 12, 31, 20, tzinfo=UTC
    )


# ---- zones


@pytest.mark.row("V14")
@pytest.mark.parametrize(
    "zone",
    [
        "UTC",
        "Asia/Tokyo",
        "America/New_York",
        "Asia/Kolkata",
        "Africa/Monrovia",
        "Europe/Amsterdam",
        "<+0330>-03:30",
    ],
)
@pytest.mark.parametrize(
    "text",
    ["2020-07-01 12:00:00+00", "1883-11-18 17:03:57+00", "1883-11-18 16:00:00+00", "1700-01-01 00:00:00.5+00", "1930-06-01 00:00:00+00", "0001-01-02 00:00:00+00"],
)  # fmt: skip
async def test_the_sessions_zone_does_not_change_the_moment(db, zone, text):
    """Sub-minute offsets of the past included: New York was at -04:56:02 until noon of 1883-11-18."""
    await db.execute(f"set timezone = '{zone}'")
    value = dt.datetime.fromisoformat(text)
    assert await formats(db, f"'{text}'::timestamptz") == [value] * 3
    assert await db.fetch_value("select $1 = $2::text::timestamptz", value, text) is True


@pytest.mark.row("V14")
async def test_what_is_read_is_in_utc(db):
    await db.execute("set timezone = 'Asia/Tokyo'")
    for value in await formats(db, "'2020-01-01 09:00:00'::timestamptz"):
        assert value == dt.datetime(2020, 1, 1, tzinfo=UTC)
        assert value.tzinfo is UTC


@pytest.mark.row("V14")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (dt.datetime(2020, 1, 1, 9, tzinfo=ZoneInfo("Asia/Tokyo")), "2020-01-01 00:00:00+00"),
        (dt.datetime(2021, 11, 7, 1, 30, tzinfo=ZoneInfo("America/New_York")), "2021-11-07 05:30:00+00"),
        (
            dt.datetime(2021, 11, 7, 1, 30, fold=1, tzinfo=ZoneInfo("America/New_York")),
            "2021-11-07 06:30:00+00",
        ),
        (dt.datetime(1883, 11, 18, 11, 0, tzinfo=ZoneInfo("America/New_York")), "1883-11-18 15:56:02+00"),
        (
            dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-23, minutes=-59))),
            "2020-01-01 23:59:00+00",
        ),
        (
            dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=1, microseconds=5))),
            "2019-12-31 23:59:58.999995+00",
        ),
        (dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=9))), "0001-12-31 15:00:00+00 BC"),
        (
            dt.datetime(9999, 12, 31, 23, tzinfo=dt.timezone(dt.timedelta(hours=-9))),
            "10000-01-01 08:00:00+00",
        ),
        (dt.datetime(2020, 1, 1, tzinfo=ZoneInfo("UTC")), "2020-01-01 00:00:00+00"),
    ],
    ids=str,
)
async def test_aware_datetimes_of_any_zone(connect, value, text):
    db = await utc(connect, beyond="text")
    assert (await sent(db, "timestamptz", value)).text == text


class Strange(dt.tzinfo):
    """A zone whose answer is the test's."""

    def __init__(self, answer):
        self.answer = answer

    def utcoffset(self, moment):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def __deepcopy__(self, memo):
        return self


@pytest.mark.row("V14")
@pytest.mark.parametrize("answer", [None, 5, dt.timedelta(hours=25), ZeroDivisionError("mine")], ids=repr)
async def test_zones_without_an_offset(db, answer):
    value = dt.datetime(2020, 1, 1, tzinfo=Strange(answer))
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(timestamptz\)"):
            await db.fetch_value("select $1::timestamptz", value)
    assert await db.fetch_value("select 1") == 1


# ---- refusals


@pytest.mark.row("V13")
@pytest.mark.parametrize("value", [dt.datetime(2020, 1, 1, tzinfo=UTC), dt.date(2020, 1, 1), "2020-01-01", 5, PgTimestamp(294_277, 1, 1),
                                   PgTimestamp(-4713, 11, 23), PgTimestamp(2020, 1, 1, 24), PgTimestamp(2020, 2, 30), dt.time(1)], ids=repr)  # fmt: skip
async def test_what_is_no_timestamp(db, value):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(timestamp\)"):
            await db.fetch_value("select $1::timestamp", value)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("V13", "T01")
async def test_a_special_moment_with_a_zone_is_no_timestamp(db):
    """It names a moment: as a timestamp without zone it would lose that, like an aware datetime."""
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(timestamp\)"):
            await db.fetch_value("select $1::timestamp", PgTimestampTz(2020, 1, 1))


@pytest.mark.row("V14")
@pytest.mark.parametrize(
    "value",
    [
        dt.datetime(2020, 1, 1),
        dt.date(2020, 1, 1),
        "2020-01-01",
        5,
        PgTimestamp(2020, 1, 1),
        PgTimestampTz(294_277, 1, 1),
    ],
    ids=repr,
)
async def test_what_is_no_timestamptz(db, value):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(timestamptz\)"):
            await db.fetch_value("select $1::timestamptz", value)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("V13", "T01")
@both_types
@pytest.mark.parametrize(
    "style", ["ISO, DMY", "German", "SQL, MDY", "SQL, DMY", "Postgres, MDY", "Postgres, DMY"]
)
async def test_datestyle_does_not_matter(connect, name, style):
    db = await utc(connect, beyond="special")
    await db.execute(f"set datestyle = '{style}'")
    value = python(name, "2020-03-04 05:06:07.089000")
    for _ in range(2):
        assert await db.fetch_value(f"select '2020-03-04 05:06:07.089'::{name}") == value
    with nullcontext() if style.startswith("ISO") else pytest.raises(DataError, match="DateStyle ISO only"):
        # a script's rows are text
        await db.execute_script(f"select '2020-03-04 05:06:07.089'::{name}")
    assert await formats(db, f"'infinity'::{name}") == [special_of(name, "infinity")] * 3


@pytest.mark.row("V13")
async def test_subclasses_and_midnight(db):
    class Mine(dt.datetime):
        pass

    found = await sent(db, "timestamp", Mine(2020, 1, 2, 3))
    assert found == ("2020-01-02 03:00:00", dt.datetime(2020, 1, 2, 3))
    assert type(found.back) is dt.datetime
    assert await same(db, "'2020-01-01 24:00:00'::timestamp") == dt.datetime(2020, 1, 2)
    assert await same(db, "'2020-01-01 23:59:59.9999999'::timestamp") == dt.datetime(2020, 1, 2)
    assert await same(db, "'2020-01-01 00:00:01.2345'::timestamp(2)") == dt.datetime(
        2020, 1, 1, 0, 0, 1, 230_000
    )


@pytest.mark.row("V13")
def test_any_timestamp(runner, db):
    @settings(max_examples=200, deadline=None, database=None)
    @given(st.datetimes())
    def check(value):
        async def body():
            found = await sent(db, "timestamp", value)
            assert found.back == value.replace(fold=0)
            assert dt.datetime.fromisoformat(found.text) == value
            assert await same(db, f"'{value.isoformat()}'::timestamp") == value

        runner.run(body())

    check()


@pytest.mark.row("V14")
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_any_timestamptz(runner, db, zone):
    async def choose():
        await db.execute(f"set timezone = '{zone}'")

    runner.run(choose())

    @settings(max_examples=200, deadline=None, database=None)
    @given(
        st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31), timezones=st.timezones() | st.just(UTC))
    )
    def check(value):
        async def body():
            found = await sent(db, "timestamptz", value)
            assert found.back == value.astimezone(UTC)
            assert found.back.tzinfo is UTC
            assert await same(db, f"'{value.astimezone(UTC).isoformat()}'::timestamptz") == value.astimezone(
                UTC
            )

        runner.run(body())

    check()


@pytest.mark.row("V13", "V14")
@both_types
def test_any_moment_of_the_servers(runner, connect, name):
    db = runner.run(utc(connect, beyond="special"))

    @settings(max_examples=200, deadline=None, database=None)
    @given(st.integers(-2_451_545, 106_751_982), st.integers(0, 86_399_999_999))
    def check(days, micros):
        async def body():
            expression = f"(timestamp '2000-01-01' + {days} * interval '1 day' + {micros} * interval '1 microsecond')::{name}"
            text = await db.fetch_value(f"select {expression}::text")
            value = await same(db, expression)
            if not isinstance(value, dt.datetime):
                assert str(value) == text
            assert await sent(db, name, value) == (text, value)

        runner.run(body())

    check()
