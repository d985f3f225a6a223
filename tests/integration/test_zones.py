"""timestamptz in other zones than UTC: `timestamptz_zone=` when reading, `naive_timestamptz=` when writing."""

# ruff: noqa: DTZ001, DTZ901  naive datetimes are half of the subject

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import formats, same
from pgoxide.errors import DataError, InterfaceError
from pgoxide.types import PgTimestampTz

pytestmark = [pytest.mark.pg, pytest.mark.row("V14")]

UTC = dt.UTC
TOKYO, BERLIN, NEW_YORK = ZoneInfo("Asia/Tokyo"), ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
NEPAL = dt.timezone(dt.timedelta(hours=5, minutes=45))
EAST, WEST = dt.timezone(dt.timedelta(hours=14)), dt.timezone(dt.timedelta(hours=-12))


def exactly(value):
    """All that a datetime says; `==` leaves out zone and fold."""
    return value.replace(tzinfo=None).isoformat(" "), value.fold, value.tzinfo


@dataclass
class Event:
    at: dt.datetime


# ---- reading: which zone


@pytest.mark.parametrize(
    ("zone", "kept"),
    [("utc", UTC), (UTC, UTC), (TOKYO, TOKYO), (NEPAL, NEPAL), (ZoneInfo("UTC"), ZoneInfo("UTC")), ("session", BERLIN)],
    ids=str,
)  # fmt: skip
async def test_the_zone_of_what_is_read(connect, zone, kept):
    """In every format and every shape of result: the moment, on the clocks of the zone asked for."""
    db = await connect(timestamptz_zone=zone)
    await db.execute("set timezone = 'Europe/Berlin'")
    moment = dt.datetime(2020, 1, 1, tzinfo=UTC)
    sql = "select '2020-01-01 00:00:00+00'::timestamptz as at"
    found = [
        *await formats(db, "'2020-01-01 00:00:00+00'::timestamptz"),
        (await db.fetch_one(sql)).at,
        (await db.fetch_one(sql, into=Event)).at,
        (await db.fetch_one(sql, into=dict))["at"],
        await db.fetch_value(sql, into=dt.datetime),
        *await db.fetch_column(sql),
        # one flight: its result is text
        await db.fetch_value("select $1::text::timestamptz", "2020-01-01 00:00:00+00", types=["text"]),
    ]
    for one in found:
        assert exactly(one) == exactly(moment.astimezone(kept))
        assert type(one) is dt.datetime
        assert one == moment


async def test_a_timestamp_without_zone_and_a_date_have_none(connect):
    db = await connect(timestamptz_zone=TOKYO, naive_timestamptz="utc")
    assert exactly(await same(db, "'2020-01-01 00:00:00'::timestamp")) == ("2020-01-01 00:00:00", 0, None)
    assert await same(db, "'2020-01-01'::date") == dt.date(2020, 1, 1)
    assert (
        await db.fetch_value("select $1::timestamp::text", dt.datetime(2020, 1, 1)) == "2020-01-01 00:00:00"
    )
    assert await same(db, "null::timestamptz") is None


@pytest.mark.parametrize(
    "wrong", ["", "UTC", "Asia/Tokyo", "local", None, 5, dt.timedelta(0), dt.tzinfo], ids=repr
)
async def test_a_zone_that_is_none(connect, wrong):
    with pytest.raises(InterfaceError, match=r"timestamptz_zone=.*\"session\""):
        await connect(timestamptz_zone=wrong)


# ---- reading: the session's


async def test_the_sessions_zone_may_change_at_any_time(connect):
    """A statement that is prepared and planned already reads its next rows in the new zone."""
    db = await connect(timestamptz_zone="session")
    sql = "select '2020-07-01 12:00:00+00'::timestamptz"
    for name, text in [
        ("Asia/Tokyo", "2020-07-01 21:00:00+09:00"),
        ("america/new_york", "2020-07-01 08:00:00-04:00"),  # the server reports it with its capitals
        ("UTC", "2020-07-01 12:00:00+00:00"),
        ("Etc/GMT+3", "2020-07-01 09:00:00-03:00"),
        ("Asia/Kathmandu", "2020-07-01 17:45:00+05:45"),
    ]:
        await db.execute(f"set timezone = '{name}'")
        found = await db.fetch_value(sql)
        assert str(found) == text
        assert found.tzinfo.key.lower() == name.lower()
    await db.execute("reset timezone")
    assert (await db.fetch_value(sql)).tzinfo.key == await db.fetch_value("show timezone")


async def test_a_zone_set_for_a_transaction_only(connect):
    db = await connect(timestamptz_zone="session")
    await db.execute("set timezone = 'Asia/Tokyo'")
    sql = "select '2020-07-01 12:00:00+00'::timestamptz"
    await db.execute("begin")
    await db.execute("set local timezone = 'Europe/Berlin'")
    assert exactly(await db.fetch_value(sql)) == ("2020-07-01 14:00:00", 0, BERLIN)
    await db.execute("rollback")
    assert exactly(await db.fetch_value(sql)) == ("2020-07-01 21:00:00", 0, TOKYO)


async def test_a_zone_set_by_a_function(connect):
    db = await connect(timestamptz_zone="session")
    await db.fetch_value("select set_config('timezone', 'Europe/Berlin', false)")
    assert exactly(await db.fetch_value("select '2020-07-01 12:00:00+00'::timestamptz")) == ("2020-07-01 14:00:00", 0, BERLIN)  # fmt: skip


async def test_a_zone_given_to_the_session_at_its_start(connect):
    db = await connect(timestamptz_zone="session", parameters={"TimeZone": "Asia/Tokyo"})
    assert exactly(await db.fetch_value("select '2020-01-01 00:00:00+00'::timestamptz")) == ("2020-01-01 09:00:00", 0, TOKYO)  # fmt: skip


@pytest.mark.parametrize("face", ["async"])
async def test_pipelined_calls_read_in_the_zone_of_their_turn(connect):
    """Rows are read when they come: before the new zone is reported in the old one, after it in the new."""
    db = await connect(timestamptz_zone="session")
    sql = "select '2020-07-01 12:00:00+00'::timestamptz"
    await db.execute("set timezone = 'Asia/Tokyo'")
    await db.fetch_value(sql)
    calls = [db.fetch_value(sql), db.execute("set timezone = 'Europe/Berlin'"), db.fetch_value(sql)]
    first, _, second = [await call for call in calls]
    assert (first.tzinfo, second.tzinfo) == (TOKYO, BERLIN)


@pytest.mark.parametrize(
    ("zone", "offset"),
    [
        ("<+03>-3", dt.timedelta(hours=3)),
        ("<-0330>+03:30", -dt.timedelta(hours=3, minutes=30)),
        ("FOO5", -dt.timedelta(hours=5)),
        ("FOO+1:02", -dt.timedelta(hours=1, minutes=2)),
        ("GMT+5", -dt.timedelta(hours=5)),
    ],
)
async def test_a_fixed_posix_zone_is_read_as_the_server_does(connect, zone, offset):
    db = await connect(timestamptz_zone="session")
    await db.execute(f"set timezone = '{zone}'")
    found = await same(db, "'2020-07-01 12:00:00+00'::timestamptz")
    assert found.utcoffset() == offset
    clock = await db.fetch_value("select ('2020-07-01 12:00:00+00'::timestamptz)::timestamp")
    assert exactly(found)[:2] == (clock.isoformat(" "), 0)


@pytest.mark.parametrize("setting", ["3", "-7.5", "interval '-05:30' hour to minute", "interval '05:30:15'"])
async def test_a_zone_set_by_its_offset(connect, setting):
    db = await connect(timestamptz_zone="session")
    await db.execute(f"set time zone {setting}")
    moment = "('2020-07-01 12:00:00+00'::timestamptz)"
    clock = await db.fetch_value(f"select {moment}::timestamp")
    assert (await same(db, moment)).replace(tzinfo=None) == clock
    assert await same(db, moment) == dt.datetime(2020, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["FOO3BAR,M3.2.0,M11.1.0", "<+03>-3<+04>,J1/0,J365/25"])
async def test_a_zone_that_is_unknown_here_is_an_error(connect, zone):
    """Never read as UTC, and the connection goes on: other types, and another zone."""
    db = await connect(timestamptz_zone="session", naive_timestamptz="session")
    await db.execute(f"set timezone = '{zone}'")
    for call in (db.fetch_all, db.fetch_all, db.execute_script):
        with pytest.raises(DataError, match=r'column "at" \(timestamptz\): .*TimeZone.*unknown to zoneinfo'):
            await call("select '2020-01-01 00:00:00+00'::timestamptz as at")
    with pytest.raises(DataError, match=r"argument \$1 \(timestamptz\): .*TimeZone.*unknown to zoneinfo"):
        await db.fetch_value("select $1::timestamptz::text", dt.datetime(2020, 1, 1))
    assert await db.fetch_value("select 1") == 1
    await db.execute("set timezone = 'Asia/Tokyo'")
    assert (await db.fetch_value("select now()")).tzinfo is TOKYO


async def test_an_unknown_zone_matters_only_where_the_sessions_is_asked_for(connect):
    for options in ({}, {"timestamptz_zone": TOKYO}):
        db = await connect(**options)
        await db.execute("set timezone = 'FOO3BAR,M3.2.0,M11.1.0'")
        assert await same(db, "'2020-01-01 00:00:00+00'::timestamptz") == dt.datetime(2020, 1, 1, tzinfo=UTC)


def _without_zone(kind, body):
    return body.replace(b"TimeZone", b"TimeZonf") if kind == b"S" else body


async def test_a_server_that_reports_no_zone(connect, proxy):
    """S10: some peers report no settings."""
    db = await connect(to=proxy(alter=_without_zone), timestamptz_zone="session")
    with pytest.raises(DataError, match="has not reported the session's TimeZone"):
        await db.fetch_value("select now()")
    assert await db.fetch_value("select 1") == 1


@pytest.mark.parametrize(
    "name", ["localtime", "posix/localtime", "posixrules", "../../etc/passwd", "Europe", "\xe4/\xf6"]
)
async def test_a_server_that_reports_a_strange_zone(connect, proxy, name):
    """`localtime` exists on most machines and means the machine's own: the server's is not ours."""

    def alter(kind, body):
        return (
            b"TimeZone\0" + name.encode() + b"\0" if kind == b"S" and body.startswith(b"TimeZone\0") else body
        )

    db = await connect(to=proxy(alter=alter), timestamptz_zone="session")
    with pytest.raises(DataError, match="the session's TimeZone"):
        await db.fetch_value("select now()")
    assert await db.fetch_value("select 1") == 1


# ---- reading: repeated hours, odd offsets


@pytest.mark.parametrize(
    ("moment", "clock", "fold", "offset"),
    [
        ("2024-10-27 00:30:00+00", "2024-10-27 02:30:00", 0, 7200),
        ("2024-10-27 01:30:00+00", "2024-10-27 02:30:00", 1, 3600),
        ("2024-10-27 00:59:59.999999+00", "2024-10-27 02:59:59.999999", 0, 7200),
        ("2024-10-27 01:00:00+00", "2024-10-27 02:00:00", 1, 3600),
        ("2024-10-27 02:00:00+00", "2024-10-27 03:00:00", 0, 3600),
        ("2024-03-31 00:59:59+00", "2024-03-31 01:59:59", 0, 3600),
        ("2024-03-31 01:00:00+00", "2024-03-31 03:00:00", 0, 7200),
    ],
)
@pytest.mark.parametrize("zone", [BERLIN, "session"], ids=str)
async def test_repeated_and_missing_hours(connect, zone, moment, clock, fold, offset):
    db = await connect(timestamptz_zone=zone)
    await db.execute("set timezone = 'Europe/Berlin'")
    for found in await formats(db, f"'{moment}'::timestamptz"):
        assert exactly(found) == (clock, fold, BERLIN)
        assert found.utcoffset() == dt.timedelta(seconds=offset)
        # and back, fold respected
        assert await db.fetch_value("select $1 = $2::text::timestamptz", found, moment) is True


@pytest.mark.parametrize(
    ("zone", "moment", "clock", "offset"),
    [
        (NEW_YORK, "1883-11-18 16:00:00+00", "1883-11-18 11:03:58", "-04:56:02"),
        (NEW_YORK, "1883-11-18 17:04:00+00", "1883-11-18 12:04:00", "-05:00"),
        (NEW_YORK, "1700-01-01 00:00:00.5+00", "1699-12-31 19:03:58.500000", "-04:56:02"),
        (ZoneInfo("Africa/Monrovia"), "1930-01-01 00:00:00+00", "1929-12-31 23:15:30", "-00:44:30"),
        (dt.timezone(dt.timedelta(seconds=1)), "2020-01-01 00:00:00+00", "2020-01-01 00:00:01", "+00:00:01"),
    ],
)
async def test_offsets_with_seconds(connect, zone, moment, clock, offset):
    db = await connect(timestamptz_zone=zone)
    found = await same(db, f"'{moment}'::timestamptz")
    assert exactly(found) == (clock, 0, zone)
    assert found.isoformat().endswith(offset)
    assert await db.fetch_value("select $1 = $2::text::timestamptz", found, moment) is True


class Homemade(dt.tzinfo):
    """A zone with a repeated hour, whose inherited `fromutc` knows no fold: 2020-10-25 from +02:00 to +01:00."""

    CHANGE = dt.datetime(2020, 10, 25, 2)

    def utcoffset(self, moment):
        clock = moment.replace(tzinfo=None, fold=0)
        summer = clock < self.CHANGE or (clock < self.CHANGE + dt.timedelta(hours=1) and not moment.fold)
        return dt.timedelta(hours=2 if summer else 1)

    def dst(self, moment):
        return self.utcoffset(moment) - dt.timedelta(hours=1)


class Liar(dt.tzinfo):
    """Its `fromutc` and its `utcoffset` disagree."""

    def fromutc(self, moment):
        return moment + dt.timedelta(hours=1)

    def utcoffset(self, moment):
        return dt.timedelta(hours=2)


class Overflowing(dt.tzinfo):
    def fromutc(self, moment):
        raise OverflowError("mine")


class Mine(dt.datetime):
    pass


class Subclassing(dt.tzinfo):
    def fromutc(self, moment):
        clock = moment.time()
        return Mine(
            moment.year,
            moment.month,
            moment.day,
            clock.hour,
            clock.minute,
            clock.second,
            clock.microsecond,
            self,
            fold=1,
        )

    def utcoffset(self, moment):
        return dt.timedelta(0)


async def test_a_zone_that_makes_instances_of_its_own_class(connect):
    zone = Subclassing()
    db = await connect(timestamptz_zone=zone)
    found = await db.fetch_value("select '2020-01-02 03:04:05.678901+00'::timestamptz")
    assert exactly(found) == ("2020-01-02 03:04:05.678901", 1, zone)
    assert type(found) is dt.datetime


async def test_a_homemade_zone_gives_the_moment_or_an_error(connect):
    db = await connect(timestamptz_zone=Homemade())
    for moment in ("2020-10-24 23:30:00+00", "2020-10-25 00:30:00+00", "2020-10-25 02:30:00+00"):
        found = await same(db, f"'{moment}'::timestamptz")
        assert found - found.utcoffset() == dt.datetime.fromisoformat(moment).replace(tzinfo=found.tzinfo)
        assert await db.fetch_value("select $1 = $2::text::timestamptz", found, moment) is True
    for zone, moment, problem in (
        (
            Homemade(),
            "2020-10-25 01:30:00+00",
            "another moment",
        ),  # the second pass, which fromutc does not know
        (Liar(), "2020-01-01 00:00:00+00", "another moment"),
        (dt.tzinfo(), "2020-01-01 00:00:00+00", "fromutc|utcoffset"),
        (Overflowing(), "2020-01-01 00:00:00+00", "mine"),
    ):
        db = await connect(timestamptz_zone=zone, beyond="clamp")
        for call in (db.fetch_all, db.execute_script):
            with pytest.raises(DataError, match=rf'column "at" \(timestamptz\): .*({problem})'):
                await call(f"select '{moment}'::timestamptz as at")
        assert await db.fetch_value("select 1") == 1


# ---- reading: the ends of Python's years

BEYOND_HERE = [
    # zone, the moment in UTC, the field values of the special, clamped
    (EAST, "9999-12-31 12:00:00+00", (9999, 12, 31, 12), dt.datetime.max),
    (TOKYO, "9999-12-31 23:59:59.999999+00", (9999, 12, 31, 23, 59, 59, 999_999), dt.datetime.max),
    (TOKYO, "9999-12-31 15:00:00+00", (9999, 12, 31, 15), dt.datetime.max),
    (WEST, "0001-01-01 11:59:59+00", (1, 1, 1, 11, 59, 59), dt.datetime.min),
    (NEW_YORK, "0001-01-01 00:00:00+00", (1, 1, 1), dt.datetime.min),
    (NEW_YORK, "10000-01-01 05:00:00+00", (10_000, 1, 1, 5), dt.datetime.max),
    (TOKYO, "10000-01-01 00:00:00+00", (10_000, 1, 1), dt.datetime.max),
    (TOKYO, "0001-12-31 14:00:00+00 BC", (0, 12, 31, 14), dt.datetime.min),
    (NEW_YORK, "0001-12-31 23:59:59+00 BC", (0, 12, 31, 23, 59, 59), dt.datetime.min),
    (TOKYO, "294276-12-31 23:59:59.999999+00", (294_276, 12, 31, 23, 59, 59, 999_999), dt.datetime.max),
    (TOKYO, "4714-11-24 00:00:00+00 BC", (-4713, 11, 24), dt.datetime.min),
    (TOKYO, "infinity", "infinity", dt.datetime.max),
    (TOKYO, "-infinity", "negative_infinity", dt.datetime.min),
]


@pytest.mark.row("T01")
@pytest.mark.parametrize("beyond", ["raise", "clamp", "text", "special"])
@pytest.mark.parametrize(("zone", "text", "fields", "clamped"), BEYOND_HERE, ids=[f"{zone} {text}" for zone, text, *_ in BEYOND_HERE])  # fmt: skip
async def test_moments_outside_the_years_of_the_zone(connect, beyond, zone, text, fields, clamped):
    """The local time decides; text and special values are in UTC, whatever the zone."""
    db = await connect(beyond=beyond, timestamptz_zone=zone)
    sql = f"select '{text}'::timestamptz as at"
    if beyond == "raise":
        for call in (db.fetch_all, db.fetch_all, db.execute_script):
            with pytest.raises(DataError, match=r'column "at" \(timestamptz\): .*beyond=') as caught:
                await call(sql)
            assert text.replace(".5", "") in str(caught.value)
        assert await db.fetch_value("select 1") == 1
        return
    found = await same(db, f"'{text}'::timestamptz")
    if beyond == "clamp":
        assert exactly(found) == exactly(clamped.replace(tzinfo=zone))
    elif beyond == "text":
        assert found == text
    else:
        assert found == (
            getattr(PgTimestampTz, fields) if isinstance(fields, str) else PgTimestampTz(*fields)
        )
        assert type(found) is PgTimestampTz


@pytest.mark.parametrize(
    ("zone", "text", "clock"),
    [
        (TOKYO, "9999-12-31 14:59:59.999999+00", "9999-12-31 23:59:59.999999"),
        (NEW_YORK, "9999-12-31 23:00:00+00", "9999-12-31 18:00:00"),
        # In UTC beyond, here not.
        (NEW_YORK, "10000-01-01 04:59:59.999999+00", "9999-12-31 23:59:59.999999"),
        (WEST, "10000-01-01 11:00:00+00", "9999-12-31 23:00:00"),
        (TOKYO, "0001-12-31 14:41:01+00 BC", "0001-01-01 00:00:00"),  # mean local time, +9:18:59
        (EAST, "0001-12-31 10:00:00+00 BC", "0001-01-01 00:00:00"),
        (NEW_YORK, "0001-01-01 04:56:02+00", "0001-01-01 00:00:00"),
        (WEST, "0001-01-01 12:00:00+00", "0001-01-01 00:00:00"),
    ],
)
async def test_moments_just_inside_the_years_of_the_zone(connect, zone, text, clock):
    db = await connect(timestamptz_zone=zone)
    found = await same(db, f"'{text}'::timestamptz")
    assert exactly(found) == (clock, 0, zone)
    assert await db.fetch_value("select $1 = $2::text::timestamptz", found, text) is True


def test_any_moment_in_any_zone(runner, connect):
    """As zoneinfo itself converts it, and back to the same moment, in both formats."""
    zones = {name: ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia")}  # fmt: skip
    given_zone = {name: runner.run(connect(timestamptz_zone=zone)) for name, zone in zones.items()}
    session = runner.run(connect(timestamptz_zone="session"))

    @settings(max_examples=200, deadline=None, database=None)
    @given(st.sampled_from(sorted(zones)), st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)))
    def check(name, clock):
        moment = clock.replace(tzinfo=UTC)
        expected = exactly(moment.astimezone(zones[name]))

        async def body():
            await session.execute(f"set timezone = '{name}'")
            for db in (given_zone[name], session):
                found = await same(db, f"'{clock.isoformat()}+00'::timestamptz")
                assert exactly(found) == expected
                assert (
                    await db.fetch_value(
                        "select $1 = $2::text::timestamptz", found, f"{clock.isoformat()}+00"
                    )
                    is True
                )

        runner.run(body())

    check()


# ---- writing: naive datetimes


async def _stored(db, value):
    """What the server takes the parameter for, by every way in, in UTC."""
    sql = "select $1::timestamptz at time zone 'UTC'"
    await db.execute_script("drop table if exists moments; create temp table moments (at timestamptz)")
    await db.copy_in("moments", [(value,)])
    await db.copy_in("moments", [{"at": value}, Event(value), [value]])
    await db.execute_many("insert into moments values ($1)", [(value,)])
    async with db.batch() as batch:
        batched = batch.fetch_value(sql, value)
    found = [
        await db.fetch_value(sql, value),
        await db.fetch_value(sql, value),
        await db.fetch_value("select $1 at time zone 'UTC'", value, types=["timestamptz"]),
        batched.result(),
        *await db.fetch_column("select at at time zone 'UTC' from moments"),
    ]
    assert len(found) == 9
    assert len(set(found)) == 1, found
    return found[0].isoformat(" ")


@pytest.fixture
def berlin_time(monkeypatch):
    """The system's zone is Berlin's for a test."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


NOON = dt.datetime(2024, 7, 1, 12)


@pytest.mark.parametrize(
    ("naive", "stored"),
    [("utc", "2024-07-01 12:00:00"), ("local", "2024-07-01 10:00:00"), ("session", "2024-07-01 03:00:00")],
)
@pytest.mark.usefixtures("berlin_time")
async def test_naive_datetimes(connect, naive, stored):
    db = await connect(naive_timestamptz=naive)
    await db.execute("set timezone = 'Asia/Tokyo'")
    assert await _stored(db, NOON) == stored
    # Aware ones are what they are.
    assert await _stored(db, NOON.replace(tzinfo=NEW_YORK)) == "2024-07-01 16:00:00"
    # And reading is another option's.
    assert exactly(await db.fetch_value("select $1::timestamptz", NOON)) == (stored, 0, UTC)


@pytest.mark.parametrize(
    "options", [{}, {"naive_timestamptz": "refuse"}, {"timestamptz_zone": TOKYO}], ids=str
)
async def test_naive_datetimes_are_refused_unless_somebody_says_where_they_are(connect, options):
    db = await connect(**options)
    await db.execute("create temp table moments (at timestamptz)")
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(timestamptz\): .*naive_timestamptz="):
            await db.fetch_value("select $1::timestamptz", NOON)
    with pytest.raises(DataError, match=r"record 0: column at \(timestamptz\): .*naive_timestamptz="):
        await db.copy_in("moments", [(NOON,)])
    with pytest.raises(DataError, match="naive_timestamptz="):
        await db.execute_many("insert into moments values ($1)", [(NOON,)])
    assert await db.fetch_value("select count(*) from moments") == 0


@pytest.mark.parametrize("wrong", ["", "UTC", "allow", None, 5], ids=repr)
async def test_a_naive_policy_that_does_not_exist(connect, wrong):
    with pytest.raises(InterfaceError, match=r"naive_timestamptz=.*\"session\""):
        await connect(naive_timestamptz=wrong)


@pytest.mark.parametrize("naive", ["local", "session"])
@pytest.mark.parametrize(
    ("clock", "fold", "stored"),
    [
        (dt.datetime(2024, 10, 27, 2, 30), 0, "2024-10-27 00:30:00"),
        (dt.datetime(2024, 10, 27, 2, 30), 1, "2024-10-27 01:30:00"),
        # A missing hour: read with the offset before the change, or after it (PEP 495).
        (dt.datetime(2024, 3, 31, 2, 30), 0, "2024-03-31 01:30:00"),
        (dt.datetime(2024, 3, 31, 2, 30), 1, "2024-03-31 00:30:00"),
        (dt.datetime(2024, 1, 15, 23, 59, 59, 999_999), 1, "2024-01-15 22:59:59.999999"),
        (dt.datetime(1, 1, 1), 0, None),
        (dt.datetime(9999, 12, 31, 23, 59, 59, 999_999), 0, "9999-12-31 22:59:59.999999"),
    ],
)
@pytest.mark.usefixtures("berlin_time")
async def test_naive_datetimes_in_repeated_and_missing_hours(connect, naive, clock, fold, stored):
    db = await connect(naive_timestamptz=naive)
    await db.execute("set timezone = 'Europe/Berlin'")
    value = clock.replace(fold=fold)
    if stored is not None:
        assert await _stored(db, value) == stored
    else:
        # Mean local time, +0:53:28: the year before the first.
        assert (
            await db.fetch_value("select ($1::timestamptz at time zone 'UTC')::text", value)
            == "0001-12-31 23:06:32 BC"
        )


@pytest.mark.parametrize(
    ("zone", "stored"), [("UTC+12", "10000-01-01 11:00:00"), ("UTC-14", "9999-12-31 09:00:00")]
)
async def test_a_local_time_that_is_beyond_in_utc(connect, monkeypatch, zone, stored):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        db = await connect(naive_timestamptz="local")
        value = dt.datetime(9999, 12, 31, 23)
        assert await db.fetch_value("select ($1::timestamptz at time zone 'UTC')::text", value) == stored
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.usefixtures("berlin_time")
async def test_a_naive_subclass_of_datetime(connect):
    """Its own methods do not speak: a pandas Timestamp refuses astimezone() when it is naive."""

    class Mine(dt.datetime):
        def astimezone(self, tz=None):
            raise TypeError("mine")

        def utcoffset(self):
            raise TypeError("mine")

    value = Mine(2024, 7, 1, 12)
    for naive, stored in (("utc", 12), ("local", 10), ("session", 3)):
        db = await connect(naive_timestamptz=naive)
        await db.execute("set timezone = 'Asia/Tokyo'")
        assert await db.fetch_value("select $1::timestamptz", value) == dt.datetime(
            2024, 7, 1, stored, tzinfo=UTC
        )


async def test_what_is_no_datetime_stays_refused(connect):
    for naive in ("utc", "local", "session"):
        db = await connect(naive_timestamptz=naive)
        for value in (dt.date(2020, 1, 1), "2020-01-01", 5, dt.time(1)):
            with pytest.raises(DataError, match=r"argument \$1 \(timestamptz\)"):
                await db.fetch_value("select $1::timestamptz", value)


def test_any_naive_datetime_is_what_the_server_reads(runner, connect):
    """Against the server's own reading of the text, where it and PEP 495 agree: outside of repeated hours."""
    db = runner.run(connect(naive_timestamptz="session", parameters={"TimeZone": "America/New_York"}))

    @settings(max_examples=200, deadline=None, database=None)
    @given(st.datetimes())
    def check(clock):
        async def body():
            ambiguous = (
                clock.replace(tzinfo=NEW_YORK).utcoffset()
                != clock.replace(tzinfo=NEW_YORK, fold=1).utcoffset()
            )
            if not ambiguous:
                assert await db.fetch_value(
                    "select $1::timestamptz = $2::text::timestamptz", clock, clock.isoformat()
                )

        runner.run(body())

    check()
