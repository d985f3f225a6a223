"""interval: three parts that are never turned into one another, in all four styles, to the ends and beyond."""

from __future__ import annotations

import copy
import datetime as dt
import gc
import pickle
import sys
import weakref
from dataclasses import FrozenInstanceError, asdict, dataclass, fields, replace
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import same, sent
from pgoxide.errors import DataError
from pgoxide.types import Interval

pytestmark = [pytest.mark.pg, pytest.mark.row("V15", "T01", "T03")]
STYLES = ["postgres", "postgres_verbose", "sql_standard", "iso_8601"]

VALUES = [
    ("1 mon", Interval(1, 0, 0)),
    ("30 days", Interval(0, 30, 0)),
    ("24:00:00", Interval(0, 0, 86_400_000_000)),
    ("1 year 2 mons 3 days 04:05:06.789", Interval(14, 3, 14_706_789_000)),
    ("-1 years -2 mons +3 days -04:05:06.789", Interval(-14, 3, -14_706_789_000)),
    ("1 day -00:00:00.000001", Interval(0, 1, -1)),
    ("00:00:00", Interval()),
    ("178000000 years", Interval(178_000_000 * 12, 0, 0)),
    ("-178956970 years -8 mons", Interval(-(2**31), 0, 0)),
    ("2147483647 days", Interval(0, 2**31 - 1, 0)),
    ("2562047788:00:54.775807", Interval(0, 0, 2**63 - 1)),
    ("-2562047788:00:54.775807", Interval(0, 0, 1 - 2**63)),
    (
        "178956970 years 7 mons 2147483647 days 2562047788:00:54.775806",
        Interval(2**31 - 1, 2**31 - 1, 2**63 - 2),
    ),
]


@pytest.mark.parametrize(("text", "value"), VALUES, ids=[text for text, _ in VALUES])
async def test_each_part_is_kept(db, text, value):
    assert await sent(db, "interval", value) == (text, value)
    found = await same(db, f"'{text}'::interval")
    assert (type(found), found) == (Interval, value)
    assert str(found) == text


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("text", "value"), VALUES, ids=[text for text, _ in VALUES])
async def test_in_every_style(db, style, text, value):
    await db.execute(f"set intervalstyle = '{style}'")
    assert await same(db, f"'{text}'::interval") == value
    written = await db.fetch_value("select $1::interval::text", value)
    assert await db.fetch_value("select $1::interval", written) == value  # as a str argument, too


async def test_a_month_is_not_thirty_days(db):
    assert await same(db, "'1 mon'::interval") != await same(db, "'30 days'::interval")
    assert (
        await db.fetch_value("select '1 mon'::interval = '30 days'::interval") is True
    )  # the server's own opinion
    with pytest.raises(DataError, match="days_per_month"):
        (await same(db, "'1 mon'::interval")).to_timedelta()


async def test_infinity(db, server):
    version = int(await db.fetch_value("show server_version_num"))
    if version < 170_000:
        # The largest of all three is an ordinary value, and comes back as one.
        text = "178956970 years 7 mons 2147483647 days 2562047788:00:54.775807"
        assert (await sent(db, "interval", Interval.infinity)) == (text, Interval.infinity)
        assert await same(db, f"'{text}'::interval") == Interval.infinity
        return
    for text, value in (("infinity", Interval.infinity), ("-infinity", Interval.negative_infinity)):
        assert await sent(db, "interval", value) == (text, value)
        for style in STYLES:
            await db.execute(f"set intervalstyle = '{style}'")
            found = await same(db, f"'{text}'::interval")
            assert (found, str(found), found.is_finite) == (value, text, False)
        assert -value == (Interval.negative_infinity if value == Interval.infinity else Interval.infinity)
        with pytest.raises(DataError):
            value.to_timedelta()
        with pytest.raises(DataError):
            value + Interval(1)
        with pytest.raises(DataError):
            value * 2
        with pytest.raises(DataError):
            Interval(1) - value


TIMEDELTAS = [
    dt.timedelta(0), dt.timedelta(days=1), dt.timedelta(hours=24, microseconds=1), dt.timedelta(microseconds=-1), dt.timedelta.max,
    dt.timedelta.min, dt.timedelta(days=-3, seconds=5),
]  # fmt: skip


@pytest.mark.parametrize("value", TIMEDELTAS, ids=repr)
async def test_a_timedelta_is_taken(db, value):
    found = (await sent(db, "interval", value)).back
    assert found == Interval.from_timedelta(value)
    assert found.to_timedelta() == value
    seconds = Decimal(value // dt.timedelta(microseconds=1)).scaleb(-6)
    assert await db.fetch_value("select extract(epoch from $1::interval)", value) == seconds


@pytest.mark.parametrize(
    "value", [5, 1.5, "1 fortnight", "", b"x", dt.time(1), (1, 2, 3), None.__class__], ids=repr
)
async def test_what_is_no_interval(db, value):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(interval\)"):
            await db.fetch_value("select $1::interval", value)
    assert await db.fetch_value("select 1") == 1


async def test_null(db):
    for _ in range(2):
        assert await db.fetch_one("select $1::interval, null::interval", None) == (None, None)


async def test_copy(db):
    await db.execute("create temp table t (i interval)")
    await db.execute("create temp table u (i interval, c regclass)")
    values = [value for _, value in VALUES]
    await db.copy_in("t", [(value,) for value in [*values, dt.timedelta(1)]])
    assert await db.fetch_column("select i from t") == [*values, Interval(0, 1)]
    for style in STYLES:  # in text, whatever the session reads by
        await db.execute("truncate u")
        await db.execute(f"set intervalstyle = '{style}'")
        await db.copy_in("u", [(value, None) for value in values])
        assert await db.fetch_column("select i from u") == values


async def test_it_is_a_value(db):
    found = await same(db, "'1 year -3 days 00:00:01'::interval")
    made = Interval(12, -3, 1_000_000)
    assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == eval(repr(found)) == made
    assert hash(found) == hash(made)
    assert (found.months, found.days, found.microseconds) == (12, -3, 1_000_000)
    with pytest.raises(AttributeError):
        found.days = 5
    with pytest.raises((AttributeError, TypeError)):
        found.weeks = 5
    assert eval(repr(Interval.infinity)) == Interval.infinity
    assert eval(repr(Interval.negative_infinity)) == Interval.negative_infinity


def test_arithmetic():
    one = Interval(1, 2, 3)
    assert one + one == one * 2 == 2 * one == Interval(2, 4, 6)
    assert one - Interval(1) == Interval(0, 2, 3)
    assert (
        one + dt.timedelta(days=1, microseconds=1)
        == dt.timedelta(days=1, microseconds=1) + one
        == Interval(1, 3, 4)
    )
    assert one - dt.timedelta(days=1) == Interval(1, 1, 3)
    assert -one == Interval(-1, -2, -3)
    assert bool(one)
    assert not Interval()
    for wrong in (lambda: one + 1, lambda: one * 1.5, lambda: one - "x", lambda: one < Interval()):
        with pytest.raises(TypeError):
            wrong()
    assert Interval(2, 1, 5).to_timedelta(days_per_month=30) == dt.timedelta(days=61, microseconds=5)


def test_parts_that_do_not_fit():
    for parts in ({"months": 2**31}, {"days": -(2**31) - 1}, {"microseconds": 2**63}):
        with pytest.raises(DataError):
            Interval(**parts)
    for parts in ({"months": 1.5}, {"days": "1"}, {"microseconds": True}):
        with pytest.raises(TypeError):
            Interval(**parts)
    with pytest.raises(DataError):
        Interval(2**31 - 1) + Interval(1)
    with pytest.raises(DataError):
        Interval(days=2**31 - 1).to_timedelta()


PART = st.integers(-(2**31), 2**31 - 1) | st.integers(-20, 20)
MICROS = st.integers(1 - 2**63, 2**63 - 2) | st.integers(-(10**8), 10**8)


def test_any(runner, db):
    """Every value in every style and both formats, and by the server's own text."""

    @settings(max_examples=150, deadline=None, database=None)
    @given(PART, PART, MICROS, st.sampled_from(STYLES))
    @example(0, 0, -500_000, "postgres_verbose")
    @example(0, -1, 500_000, "sql_standard")
    @example(1, 0, -1, "sql_standard")
    def check(months, days, micros, style):
        async def body():
            value = Interval(months, days, micros)
            await db.execute("set intervalstyle = 'postgres'")
            assert await sent(db, "interval", value) == (str(value), value)
            await db.execute(f"set intervalstyle = '{style}'")
            written = await db.fetch_value("select $1::interval::text", value)
            assert await db.fetch_value("select $1::interval", written) == value
            assert (
                await same(
                    db,
                    f"make_interval(0, {months}) + make_interval(0, 0, 0, {days}) + '{micros} microseconds'::interval",
                )
                == value
            )

        runner.run(body())

    check()


class Named(Interval):
    """Derived, with a dictionary."""


@dataclass(frozen=True, init=False)
class Labelled(Interval):
    """Its parts are taken by `__new__`."""

    label: str = "none"


@pytest.mark.parametrize("name", ["__init__", "__post_init__"])
def test_what_would_not_be_called_is_refused(name):
    def called(self, *args):
        raise AssertionError(self)

    with pytest.raises(TypeError, match=f"Hours.{name}: an Interval takes its parts in __new__"):
        type("Hours", (Interval,), {name: called})


class Hours(Interval):
    """Other arguments than its base's."""

    def __new__(cls, hours):
        return super().__new__(cls, 0, 0, hours * 3_600_000_000)


class Late(Interval):
    """The arguments of its base in another order, and attributes of both kinds."""

    __slots__ = ("__dict__", "reason")

    def __new__(cls, microseconds=0, days=0, months=0):
        made = super().__new__(cls, months, days, microseconds)
        made.reason = "rain"
        return made


def test_a_derived_class_with_arguments_of_its_own():
    assert Hours(2).to_timedelta() == dt.timedelta(hours=2)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_copies_of_derived_classes_with_arguments_of_their_own(protocol):
    late = Late(1, 2, 3)
    late.reason, late.noted = "snow", True
    for value in (Hours(2), late, Labelled(1, 2, 3)):
        for again in (pickle.loads(pickle.dumps(value, protocol)), copy.copy(value), copy.deepcopy(value)):
            assert (type(again), again) == (type(value), value)
            assert (again.months, again.days, again.microseconds) == (
                value.months,
                value.days,
                value.microseconds,
            )
            assert getattr(again, "reason", None) == getattr(value, "reason", None)
            assert vars(again) == vars(value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_copies(protocol):
    made = Interval(1, -2, 3)
    derived = Named(1, -2, 3)
    derived.name = "three"
    for value in (made, Interval(), Interval.infinity, derived):
        for again in (pickle.loads(pickle.dumps(value, protocol)), copy.copy(value), copy.deepcopy(value)):
            assert (type(again), again) == (type(value), value)
            assert repr(again) == repr(value)
    assert pickle.loads(pickle.dumps(derived, protocol)).name == copy.copy(derived).name == "three"


def test_it_is_a_dataclass():
    value = Interval(1, days=2)
    assert [(one.name, one.default) for one in fields(Interval)] == [
        ("months", 0),
        ("days", 0),
        ("microseconds", 0),
    ]
    assert asdict(value) == {"months": 1, "days": 2, "microseconds": 0}
    assert replace(value, microseconds=-5) == Interval(1, 2, -5)
    with pytest.raises(DataError, match="days=2147483648 is outside"):
        replace(value, days=2**31)
    match value:
        case Interval(months, days, microseconds=micro):
            assert (months, days, micro) == (1, 2, 0)
        case _:
            raise AssertionError(value)
    for name in ("months", "days", "microseconds"):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, 3)
        with pytest.raises(FrozenInstanceError):
            delattr(value, name)
        with pytest.raises(AttributeError):
            object.__setattr__(value, name, 3)
    assert not hasattr(value, "__dict__")
    assert Labelled(1).label == "none"


def test_equality_is_of_one_class():
    made, derived = Interval(1, 2, 3), Named(1, 2, 3)
    assert made == Interval(1, 2, 3) != Interval(1, 2, 4)
    assert made != derived != made
    assert derived == Named(1, 2, 3)
    assert made.__eq__((1, 2, 3)) is NotImplemented
    assert made != (1, 2, 3)
    assert hash(made) == hash((1, 2, 3))
    with pytest.raises(TypeError):
        made < derived  # noqa: B015  it raises


@pytest.mark.parametrize("name", ["months", "days", "microseconds"])
@pytest.mark.parametrize("value", [True, "1", 1.0, None, Decimal(1)], ids=repr)
def test_a_part_is_an_int(name, value):
    with pytest.raises(TypeError, match=f"{name} must be an int, not "):
        Interval(**{name: value})


@pytest.mark.parametrize(("name", "bits"), [("months", 31), ("days", 31), ("microseconds", 63)])
def test_the_ends_of_a_part(name, bits):
    for end in (-(2**bits), 2**bits - 1):
        assert getattr(Interval(**{name: end}), name) == end
    for beyond in (-(2**bits) - 1, 2**bits, 10**50):
        with pytest.raises(DataError, match=f"{name}=-?[0-9]+…? is outside what an interval holds"):
            Interval(**{name: beyond})


def test_it_has_no_head_for_the_collector():
    """Its instances refer to nothing; where interpreters are not known to allow it, they keep the head."""
    known = sys.version_info < (3, 15) and getattr(sys, "_is_gil_enabled", lambda: True)()
    for made in (Interval(1, 2, 3), Interval.infinity):
        assert sys.getsizeof(made) == (32 if known else 48)
        assert not gc.is_tracked(made) or not known


def test_what_is_derived_from_it_has_a_head_and_is_collected():
    gone = []

    class Watched(Interval):
        __slots__ = ("__weakref__", "itself")

        def __del__(self):
            gone.append(self.days)

    for number in range(3):
        one = Watched(0, number)
        object.__setattr__(one, "itself", one)
        assert gc.is_tracked(one)
    watched = weakref.ref(one)
    del one
    gc.collect()
    assert sorted(gone) == [0, 1, 2]
    assert watched() is None
    Watched(0, 3)
    assert gone[3:] == [3]
    named = Named(1)
    named.itself = named
    found = weakref.ref(named)
    del named
    gc.collect()
    assert found() is None


def test_its_class_is_referred_to_by_its_instances_only_while_they_live():
    def make():
        return [[kind(n) for n in range(1000)] for kind in (Interval, Named, Labelled, Hours, Late)]

    make()
    gc.collect()
    counts = [sys.getrefcount(kind) for kind in (Interval, Named, Labelled, Hours, Late)]
    blocks = sys.getallocatedblocks()
    for _ in range(5):
        made = make()
        assert sys.getrefcount(Interval) > counts[0] + 900
        del made
    gc.collect()
    assert [sys.getrefcount(kind) for kind in (Interval, Named, Labelled, Hours, Late)] == counts
    assert abs(sys.getallocatedblocks() - blocks) < 500
