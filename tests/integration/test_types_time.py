"""time and timetz: exact, offsets to the second, and the end of a day by the four policies."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import same, sent
from pgoxide.errors import DataError
from pgoxide.types import PgTime, PgTimeTz

pytestmark = [pytest.mark.pg, pytest.mark.row("T03")]
both_types = pytest.mark.parametrize("name", ["time", "timetz"])


def zone(hours=0, minutes=0, seconds=0):
    return dt.timezone(dt.timedelta(hours=hours, minutes=minutes, seconds=seconds))


TIMES = [
    ("00:00:00", dt.time(0)),
    ("12:30:00.5", dt.time(12, 30, 0, 500_000)),
    ("00:00:00.000001", dt.time(0, 0, 0, 1)),
    ("23:59:59.999999", dt.time(23, 59, 59, 999_999)),
    ("01:02:03.04", dt.time(1, 2, 3, 40_000)),
]
ZONED = [
    ("12:30:00+00", dt.time(12, 30, tzinfo=dt.UTC)),
    ("12:30:00.000001+05:30:15", dt.time(12, 30, 0, 1, zone(5, 30, 15))),
    ("00:00:00-04:56:02", dt.time(0, tzinfo=zone(-4, -56, -2))),
    ("23:59:59.999999+15:59:59", dt.time(23, 59, 59, 999_999, zone(15, 59, 59))),
    ("00:00:00-15:59:59", dt.time(0, tzinfo=zone(-15, -59, -59))),
    ("08:00:00+05:45", dt.time(8, tzinfo=zone(5, 45))),
    ("08:00:00-00:00:01", dt.time(8, tzinfo=zone(0, 0, -1))),
]


@pytest.mark.row("V11")
@pytest.mark.parametrize(("text", "value"), TIMES, ids=[text for text, _ in TIMES])
async def test_time(db, text, value):
    assert await sent(db, "time", value) == (text, value)
    found = await same(db, f"'{text}'::time")
    assert (type(found), found, found.tzinfo) == (dt.time, value, None)


@pytest.mark.row("V12")
@pytest.mark.parametrize(("text", "value"), ZONED, ids=[text for text, _ in ZONED])
async def test_timetz(db, text, value):
    assert await sent(db, "timetz", value) == (text, value)
    found = await same(db, f"'{text}'::timetz")
    assert (type(found), found, found.utcoffset()) == (dt.time, value, value.utcoffset())
    assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == value


END = [
    pytest.param("time", "24:00:00", PgTime(24), dt.time(23, 59, 59, 999_999), marks=pytest.mark.row("V11")),
    pytest.param("timetz", "24:00:00+00", PgTimeTz(24), dt.time(23, 59, 59, 999_999, dt.UTC), marks=pytest.mark.row("V12")),
    pytest.param("timetz", "24:00:00-04:56:02", PgTimeTz(24, offset=-17_762), dt.time(23, 59, 59, 999_999, zone(-4, -56, -2)),
                 marks=pytest.mark.row("V12")),
]  # fmt: skip


@pytest.mark.row("T01")
@pytest.mark.parametrize("beyond", ["raise", "clamp", "text", "special"])
@pytest.mark.parametrize(("name", "text", "special", "clamped"), END)
async def test_the_end_of_a_day(connect, beyond, name, text, special, clamped):
    db = await connect(beyond=beyond)
    if beyond == "raise":
        for call in (db.fetch_all, db.fetch_all, db.execute_script):
            with pytest.raises(DataError, match=rf'column "t" \({name}\): .*24:00:00.*beyond='):
                await call(f"select '{text}'::{name} as t")
        assert await db.fetch_value("select 1") == 1
        return
    found = await same(db, f"'{text}'::{name}")
    expected = {"clamp": clamped, "text": text, "special": special}[beyond]
    assert (type(found), found) == (type(expected), expected)
    if beyond == "text":
        assert found == await db.fetch_value(f"select '{text}'::{name}::text")


@pytest.mark.row("V11", "V12")
async def test_the_end_of_a_day_as_argument(connect):
    db = await connect(beyond="special")
    assert await sent(db, "time", PgTime(24)) == ("24:00:00", PgTime(24))
    assert await sent(db, "timetz", PgTimeTz(24, offset=3600)) == ("24:00:00+01", PgTimeTz(24, offset=3600))
    # Ordinary ones come back as what they are.
    assert await sent(db, "time", PgTime(1, 2, 3, 4)) == ("01:02:03.000004", dt.time(1, 2, 3, 4))
    assert (await sent(db, "timetz", PgTimeTz(1, 2, 3, 4, -60))).back == dt.time(1, 2, 3, 4, zone(0, -1))


@pytest.mark.row("V11", "V12")
@both_types
@pytest.mark.parametrize(
    "value",
    [5, dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.timedelta(1), b"x", "25:00", "1", "é", 1.5],
    ids=repr,
)
async def test_what_is_no_time(db, name, value):
    for _ in range(2):
        with pytest.raises(DataError, match=rf"argument \$1 \({name}\)"):
            await db.fetch_value(f"select $1::{name}", value)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("V11", "V12")
async def test_a_zone_is_neither_lost_nor_made_up(db):
    for name, value, words in (
        ("time", dt.time(1, tzinfo=dt.UTC), "would be lost"),
        ("timetz", dt.time(1), "naive"),
        ("timetz", dt.time(1, tzinfo=ZoneInfo("Europe/Berlin")), "without a date"),
        ("timetz", dt.time(1, tzinfo=zone(16)), "sixteen hours"),
        ("timetz", dt.time(1, tzinfo=dt.timezone(dt.timedelta(microseconds=1))), "whole seconds"),
    ):
        with pytest.raises(DataError, match=words):
            await db.fetch_value(f"select $1::{name}", value)
    assert (await sent(db, "timetz", dt.time(1, tzinfo=ZoneInfo("UTC")))).text == "01:00:00+00"


@pytest.mark.row("V11", "V12")
async def test_texts_the_server_writes_are_taken(db):
    assert (await sent(db, "time", "12:30:00.5")).back == dt.time(12, 30, 0, 500_000)
    assert (await sent(db, "timetz", "12:30:00-03:30")).back == dt.time(12, 30, tzinfo=zone(-3, -30))


@pytest.mark.row("V11", "V12")
async def test_copy(db):
    """Binary, and text when another column asks for it."""
    await db.execute("create temp table t (a time, b timetz)")
    await db.execute("create temp table u (a time, b timetz, c regclass)")
    one, two = dt.time(1, 2, 3, 4), dt.time(5, tzinfo=zone(5, 30, 15))
    await db.copy_in("t", [(one, two), (None, None), (PgTime(24), PgTimeTz(24))])
    await db.copy_in("u", [(one, two, "pg_class"), (PgTime(24), PgTimeTz(24, offset=-17_762), None)])
    assert await db.fetch_all("select a::text, b::text from t") == [
        ("01:02:03.000004", "05:00:00+05:30:15"), (None, None), ("24:00:00", "24:00:00+00"),
    ]  # fmt: skip
    assert await db.fetch_all("select a::text, b::text, c::text from u") == [
        ("01:02:03.000004", "05:00:00+05:30:15", "pg_class"), ("24:00:00", "24:00:00-04:56:02", None),
    ]  # fmt: skip


def test_special_times_are_values():
    for value in (PgTime(24), PgTime(1, 2, 3, 4), PgTimeTz(24, offset=60), PgTimeTz(0)):
        assert pickle.loads(pickle.dumps(value)) == copy.copy(value) == eval(repr(value)) == value
        assert hash(copy.deepcopy(value)) == hash(value)
        with pytest.raises(AttributeError):
            value.hour = 5
    assert PgTime(23, 59) < PgTime(24)
    assert PgTime(1, 2).to_time() == dt.time(1, 2)
    assert PgTimeTz(1, offset=-60).to_time() == dt.time(1, tzinfo=zone(0, -1))
    for wrong in ((24, 0, 1), (25,), (-1,), (0, 60), (0, 0, 60), (0, 0, 0, 1_000_000)):
        with pytest.raises(DataError):
            PgTime(*wrong)
    for wrong in (16 * 3600, -16 * 3600):
        with pytest.raises(DataError):
            PgTimeTz(0, offset=wrong)
    with pytest.raises(DataError):
        PgTime(24).to_time()
    with pytest.raises(DataError):
        PgTimeTz(24).to_time()


@pytest.mark.row("V11", "V12")
def test_any(runner, db):
    offsets = st.integers(-57_599, 57_599).map(lambda seconds: zone(seconds=seconds))

    @settings(max_examples=150, deadline=None, database=None)
    @given(st.times(), offsets)
    def check(value, offset):
        async def body():
            text = await db.fetch_value("select $1::text::time::text", value.isoformat())
            assert await sent(db, "time", value) == (text, value)
            assert await same(db, f"'{text}'::time") == value
            zoned = value.replace(tzinfo=offset)
            text = await db.fetch_value("select $1::text::timetz::text", zoned.isoformat())
            assert await sent(db, "timetz", zoned) == (text, zoned)
            found = await same(db, f"'{text}'::timetz")
            assert (found, found.utcoffset()) == (zoned, zoned.utcoffset())

        runner.run(body())

    check()
