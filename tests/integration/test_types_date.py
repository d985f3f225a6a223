"""date: ordinary ones, the edges of Python's and of PostgreSQL's range, and the four policies beyond Python's."""

from __future__ import annotations

import datetime as dt
import pickle
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import same, sent
from pgoxide.errors import DataError, InterfaceError
from pgoxide.types import PgDate, PgTimestamp, PgTimestampTz


@dataclass
class Day:
    day: object


pytestmark = [pytest.mark.pg, pytest.mark.row("V10")]

# The server's earliest date is 4714-11-24 BC (Julian day 0), its latest 5874897-12-31.
EXTREMES = [
    ("4714-11-24 BC", PgDate(-4713, 11, 24), dt.date.min),
    ("0044-03-15 BC", PgDate(-43, 3, 15), dt.date.min),
    ("0005-02-29 BC", PgDate(-4, 2, 29), dt.date.min),
    ("0001-12-31 BC", PgDate(0, 12, 31), dt.date.min),
    ("10000-01-01", PgDate(10_000, 1, 1), dt.date.max),
    ("5874897-12-31", PgDate(5_874_897, 12, 31), dt.date.max),
    ("infinity", PgDate.infinity, dt.date.max),
    ("-infinity", PgDate.negative_infinity, dt.date.min),
]
ORDINARY = ["0001-01-01", "0001-12-31", "0004-02-29", "1582-10-10", "1899-12-31", "1970-01-01", "1999-12-31", "2000-01-01", "2000-02-29",
            "2024-02-29", "2100-03-01", "9999-12-31"]  # fmt: skip


@pytest.mark.parametrize("text", ORDINARY)
@pytest.mark.parametrize("beyond", ["raise", "clamp", "text", "special"])
async def test_ordinary_dates_are_dates_whatever_the_policy(connect, text, beyond):
    db = await connect(beyond=beyond)
    value = dt.date.fromisoformat(text)
    assert await sent(db, "date", value) == (text, value)
    assert await same(db, f"'{text}'::date") == value


@pytest.mark.row("T01")
@pytest.mark.parametrize(("text", "special", "clamped"), EXTREMES, ids=[text for text, *_ in EXTREMES])
async def test_beyond_raise(db, text, special, clamped):
    sql = f"select 1 as a, '{text}'::date as day"
    for call in (db.fetch_all, db.fetch_all, db.execute_script):
        with pytest.raises(DataError, match=rf'column "day" \(date\): .*{text}.*beyond='):
            await call(sql)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("T01")
@pytest.mark.parametrize("beyond", ["clamp", "text", "special"])
@pytest.mark.parametrize(("text", "special", "clamped"), EXTREMES, ids=[text for text, *_ in EXTREMES])
async def test_beyond(connect, beyond, text, special, clamped):
    db = await connect(beyond=beyond)
    expected = {"clamp": clamped, "text": text, "special": special}[beyond]
    found = await same(db, f"'{text}'::date")
    assert found == expected
    assert type(found) is type(expected)
    if beyond == "text":
        assert found == await db.fetch_value(f"select '{text}'::date::text")


@pytest.mark.row("T01")
@pytest.mark.parametrize("beyond", ["raise", "clamp", "text", "special"])
@pytest.mark.parametrize(("text", "special", "clamped"), EXTREMES, ids=[text for text, *_ in EXTREMES])
async def test_beyond_in_one_flight_and_in_a_class(connect, beyond, text, special, clamped):
    """With declared types the first use brings text, the second binary; a class is filled with the same values."""
    db = await connect(beyond=beyond)
    sql = f"select $1::text::date as day /* {beyond} */"
    for _ in range(2):
        if beyond == "raise":
            with pytest.raises(DataError, match=rf'column "day" \(date\): .*{text}.*beyond='):
                await db.fetch_one(sql, text, types=["text"])
        else:
            expected = {"clamp": clamped, "text": text, "special": special}[beyond]
            found = await db.fetch_one(sql, text, into=Day, types=["text"])
            assert (found.day, type(found.day)) == (expected, type(expected))
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("T01")
async def test_a_policy_that_does_not_exist(connect):
    for wrong in ("ignore", "", None, 5):
        with pytest.raises(InterfaceError, match="beyond="):
            await connect(beyond=wrong)


@pytest.mark.parametrize(("text", "special", "clamped"), EXTREMES, ids=[text for text, *_ in EXTREMES])
async def test_special_dates_are_passed_back(connect, text, special, clamped):
    db = await connect(beyond="special")
    assert await sent(db, "date", special) == (text, special)
    assert str(special) == text
    for other in (
        pickle.loads(pickle.dumps(special)),
        PgDate(special.year, special.month, special.day) if not special.sign else special,
    ):
        assert other == special
        assert hash(other) == hash(special)


async def test_special_dates_order_as_the_servers(connect):
    db = await connect(beyond="special")
    values = [special for _, special, _ in EXTREMES]
    column = await db.fetch_column(
        "select x::date from unnest(string_to_array($1, ',')) x order by x::date", ",".join(map(str, values))
    )
    assert column == sorted(values)


async def test_an_ordinary_date_may_be_passed_as_a_special_one(db):
    assert await sent(db, "date", PgDate(2020, 1, 2)) == ("2020-01-02", dt.date(2020, 1, 2))


@pytest.mark.parametrize(
    "value",
    [
        dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "2020-01-01", 5, b"x", dt.time(1), dt.timedelta(1), PgDate(-4713, 11, 23), PgDate(5_874_898, 1, 1),
        PgDate(2020, 13, 1), PgDate(2021, 2, 29), PgDate(2020, 0, 1), PgDate(1900, 2, 29),
    ],
    ids=repr,
)  # fmt: skip
async def test_what_is_no_date(db, value):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(date\)"):
            await db.fetch_value("select $1::date", value)
    assert await db.fetch_value("select 1") == 1


async def test_a_subclass_is_a_date(db):
    class Mine(dt.date):
        pass

    found = await sent(db, "date", Mine(2020, 1, 2))
    assert found == ("2020-01-02", dt.date(2020, 1, 2))
    assert type(found.back) is dt.date


@pytest.mark.parametrize(
    "style", ["ISO, DMY", "German", "SQL, MDY", "SQL, DMY", "Postgres, MDY", "Postgres, DMY"]
)
@pytest.mark.row("T01")
async def test_datestyle_does_not_matter(connect, style):
    """The session may choose how the server writes dates; a value must not change or become unreadable by it."""
    db = await connect(beyond="special")
    await db.execute(f"set datestyle = '{style}'")
    for expression, value in (
        ("'2020-03-04'::date", dt.date(2020, 3, 4)),
        ("'0044-03-15 BC'::date", PgDate(-43, 3, 15)),
    ):
        assert await db.fetch_value(f"select {expression}") == value
        assert await db.fetch_value(f"select {expression}") == value
        if style.startswith("ISO"):
            continue
        with pytest.raises(DataError, match="DateStyle ISO only"):  # a script's rows are text
            await db.execute_script(f"select {expression}")
    assert await db.fetch_value("select $1::date = '2020-03-04'", dt.date(2020, 3, 4)) is True


def test_any(runner, db):
    @settings(max_examples=200, deadline=None, database=None)
    @given(st.dates())
    def check(value):
        async def body():
            assert await sent(db, "date", value) == (value.isoformat(), value)
            assert await same(db, f"'{value.isoformat()}'::date") == value

        runner.run(body())

    check()


def test_any_day_of_the_servers(runner, connect):
    """Any day number from the first to the last, in every format, back as a parameter, and by the server's own text."""
    db = runner.run(connect(beyond="special"))

    @settings(max_examples=200, deadline=None, database=None)
    @given(st.integers(-2_451_545, 2_145_031_948))
    def check(number):
        async def body():
            text = await db.fetch_value("select (date '2000-01-01' + $1::int4)::text", number)
            value = await same(db, f"(date '2000-01-01' + ({number}))")
            assert (value.isoformat() if isinstance(value, dt.date) else str(value)) == text
            assert await sent(db, "date", value) == (text, value)

        runner.run(body())

    check()


# ---- beside datetime's own


@pytest.mark.row("B05")
async def test_a_column_of_both_kinds_is_in_order(connect):
    db = await connect(beyond="special")
    texts = [
        "-infinity",
        "4714-11-24 BC",
        "0001-12-31 BC",
        "0001-01-01",
        "2020-02-29",
        "9999-12-31",
        "10000-01-01",
        "infinity",
    ]
    for name in ("date", "timestamp", "timestamptz"):
        sql = f"select t::{name} from unnest($1::text[]) t order by md5(t)"
        mixed = await db.fetch_column(sql, texts)
        assert sorted(mixed) == await db.fetch_column(
            f"select t::{name} from unnest($1::text[]) t order by t::{name}", texts
        )
        assert len({type(value) for value in mixed}) == 2


@pytest.mark.row("B05")
def test_conversions_and_equality():
    utc, east = dt.UTC, dt.timezone(dt.timedelta(hours=14))
    for value in (dt.date.min, dt.date(2020, 2, 29), dt.date.max):
        special = PgDate.from_date(value)
        assert special == value
        assert value == special
        assert hash(special) == hash(value)
        assert special.to_date() == value
    lowest, highest = map(dt.datetime.fromisoformat, ("0001-01-01", "9999-12-31T23:59:59.999999"))
    for value in (lowest, dt.datetime.fromisoformat("2020-02-29T01:02:03.000004"), highest):
        special = PgTimestamp.from_datetime(value)
        assert special == value
        assert hash(special) == hash(value)
        assert special.to_datetime() == value
        moment = PgTimestampTz.from_datetime(value.replace(tzinfo=utc))
        assert moment == value.replace(tzinfo=utc)
        assert hash(moment) == hash(value.replace(tzinfo=utc))
        assert moment.to_datetime() == value.replace(tzinfo=utc)
        assert moment != special
        assert moment != value
        with pytest.raises(TypeError):
            sorted([moment, special])
        with pytest.raises(TypeError):
            sorted([moment, value])
    # The last hours of 9999 in the west are the year 10000 in UTC, the first of 1 in the east the year 0.
    west = dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-1)))
    assert str(PgTimestampTz.from_datetime(west)) == "10000-01-01 00:59:59.999999+00"
    assert (
        str(PgTimestampTz.from_datetime(dt.datetime.min.replace(tzinfo=east))) == "0001-12-31 10:00:00+00 BC"
    )
    assert PgTimestampTz.from_datetime(west) == west
    for wrong in (PgDate.infinity, PgDate(0, 1, 1), PgDate(2021, 2, 29)):
        with pytest.raises(DataError):
            wrong.to_date()
    for wrong in (PgTimestamp.infinity, PgTimestampTz.negative_infinity, PgTimestamp(10_000, 1, 1)):
        with pytest.raises(DataError):
            wrong.to_datetime()
    for wrong in (lambda: PgDate.from_date(dt.datetime.now(utc)), lambda: PgTimestamp.from_datetime(dt.datetime.now(utc)),
                  lambda: PgTimestampTz.from_datetime(lowest)):  # fmt: skip
        with pytest.raises(TypeError):
            wrong()
    assert PgDate(2020, 1, 1) != dt.datetime(2020, 1, 1, tzinfo=utc)
    assert PgDate(2020, 1, 1) != "2020-01-01"


@pytest.mark.row("B05")
@given(st.integers(-2_451_545, 2_145_031_948), st.integers(-2_451_545, 2_145_031_948))
def test_order_is_that_of_days(first, second):
    from pgoxide.types._beyond import _civil, _days

    a, b = PgDate(*_civil(first)), PgDate(*_civil(second))
    assert _days(*_civil(first)) == first
    assert (a < b, a == b) == (first < second, first == second)
