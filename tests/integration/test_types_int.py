"""int2, int4, int8, oid: edges, what counts as an integer, both formats."""

from __future__ import annotations

import enum
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import same, sent
from pgoxide.errors import DataError

pytestmark = [pytest.mark.pg, pytest.mark.row("V02")]

RANGES = {
    "int2": (-(2**15), 2**15 - 1),
    "int4": (-(2**31), 2**31 - 1),
    "int8": (-(2**63), 2**63 - 1),
    "oid": (0, 2**32 - 1),
}


@pytest.mark.parametrize("name", RANGES)
async def test_edges(db, name):
    least, most = RANGES[name]
    for value in (least, least + 1, -1 if least else 0, 0, 1, most - 1, most):
        found = await sent(db, name, value)
        assert found == (str(value), value)
        assert type(found.back) is int
        assert await same(db, f"'{value}'::{name}") == value


@pytest.mark.parametrize("name", RANGES)
async def test_beyond_the_edges(db, name):
    least, most = RANGES[name]
    for value in (least - 1, most + 1, -(10**30), 10**30):
        for _ in range(2):
            with pytest.raises(
                DataError,
                match=rf"argument \$1 \({name}\): .* is out of range for {name} \({least} to {most}\)",
            ):
                await db.fetch_value(f"select $1::{name}", value)
        assert await db.fetch_value(f"select $1::{name}", most) == most
        with pytest.raises(DataError, match="out of range"):
            await db.fetch_value(f"select $1::{name}", value)


class Index:
    def __index__(self):
        return 7


class Number(enum.IntEnum):
    SEVEN = 7


class Mixed(int, enum.Enum):
    SEVEN = 7


class MyInt(int):
    pass


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize(
    "value", [Index(), Number.SEVEN, Mixed.SEVEN, MyInt(7)], ids=["index", "intenum", "enum", "subclass"]
)
async def test_integers_of_other_types(db, name, value):
    assert await sent(db, name, value) == ("7", 7)


@pytest.mark.parametrize("name", RANGES)
async def test_numpy_integers(db, name):
    numpy = pytest.importorskip("numpy")
    for kind in (numpy.int8, numpy.int16, numpy.int32, numpy.int64, numpy.uint8, numpy.uint64):
        assert await sent(db, name, kind(7)) == ("7", 7)
    with pytest.raises(DataError, match="out of range"):
        await db.fetch_value(f"select $1::{name}", numpy.uint64(2**64 - 1))


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [1.0, "1", Decimal(1), b"1", [1]], ids=str)
async def test_what_is_no_integer(db, name, value):
    for _ in range(2):
        with pytest.raises(
            DataError, match=rf"argument \$1 \({name}\): expected int, got {type(value).__name__}"
        ):
            await db.fetch_value(f"select $1::{name}", value)


async def test_a_bool_is_an_int(db):
    assert await sent(db, "int4", True) == ("1", 1)


async def test_xid_and_cid(db):
    assert await same(db, "'4294967295'::xid") == 4_294_967_295
    assert await same(db, "'7'::cid") == 7
    assert await sent(db, "xid", 7) == ("7", 7)


@pytest.mark.parametrize("name", RANGES)
def test_any(runner, db, name):
    least, most = RANGES[name]

    @settings(max_examples=100, deadline=None, database=None)
    @given(st.integers(least, most))
    def check(value):
        async def body():
            assert await sent(db, name, value) == (str(value), value)
            assert await same(db, f"'{value}'::{name}") == value

        runner.run(body())

    check()
