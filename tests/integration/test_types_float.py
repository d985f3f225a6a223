"""float4 and float8: the same bits both ways and in both formats."""

from __future__ import annotations

import math
import random
import struct
import sys
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import formats, same, sent
from pgoxide.errors import DataError, InterfaceError

pytestmark = [pytest.mark.pg, pytest.mark.row("V03")]

TINY = 5e-324
SINGLE_MAX = struct.unpack("!f", b"\x7f\x7f\xff\xff")[0]
SINGLE_TINY = struct.unpack("!f", b"\0\0\0\1")[0]


def bits(value):
    return struct.pack("!d", value).hex()


DOUBLES = [0.0, -0.0, 1.0, -1.5, 0.1, 1 / 3, math.pi, 1e16, 1e17, 123456789.0, 1e22, 1e23, 2.0**53, 2.0**63, sys.float_info.max,
           -sys.float_info.max, sys.float_info.min, TINY, -TINY, sys.float_info.epsilon, math.inf, -math.inf, math.nan]  # fmt: skip
SINGLES = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    0.5,
    16777216.0,
    SINGLE_MAX,
    -SINGLE_MAX,
    SINGLE_TINY,
    -SINGLE_TINY,
    math.inf,
    -math.inf,
    math.nan,
]


@pytest.mark.parametrize("value", DOUBLES, ids=repr)
async def test_float8(db, value):
    found = await sent(db, "float8", value)
    assert bits(found.back) == bits(value)
    assert bits(float(found.text)) == bits(value)
    for one in await formats(db, f"'{value!r}'::float8"):
        assert type(one) is float
        assert bits(one) == bits(value)


@pytest.mark.parametrize("value", SINGLES, ids=repr)
async def test_float4(db, value):
    found = await sent(db, "float4", value)
    assert bits(found.back) == bits(value)
    for one in await formats(db, f"'{found.text}'::float4"):
        assert bits(one) == bits(value)


async def test_a_float4_is_read_as_the_server_casts_it(db):
    exact = struct.unpack("!f", struct.pack("!f", 0.1))[0]
    assert await same(db, "0.1::float4") == exact == await db.fetch_value("select 0.1::float4::float8")
    assert (await sent(db, "float4", 0.1)).text == "0.1"


@pytest.mark.parametrize("digits", [-15, 0, 1, 3])
@pytest.mark.row("T01")
async def test_extra_float_digits_never_change_a_value(db, digits):
    """The setting shortens the server's text: a value must not depend on the format it happened to travel in."""
    await db.execute(f"set extra_float_digits = {digits}")
    for expression, value in (
        ("0.1::float8 + 0.2::float8", 0.1 + 0.2),
        ("1::float8 / 3", 1 / 3),
        ("pi()", math.pi),
    ):
        # A script's rows are the server's own text, so there the setting rules; nowhere else.
        one, two, _ = await formats(db, expression)
        assert bits(one) == bits(two) == bits(value)
    one, two, _ = await formats(db, "(1::float4 / 3::float4)")
    assert bits(one) == bits(two)


@pytest.mark.parametrize("value", [1e300, -1e300, 3.5e38, 1e-300, -1e-46, sys.float_info.max])
async def test_beyond_float4(db, value):
    """Too large or too small for four bytes: refused, as the server's own cast does."""
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(float4\)"):
            await db.fetch_value("select $1::float4", value)


@pytest.mark.parametrize("value", [0, 1, -1, 2**53, -(2**53), 2**60, 10**22, 2**1023])
async def test_integers_that_are_doubles(db, value):
    found = await sent(db, "float8", value)
    assert type(found.back) is float
    assert found.back == value


@pytest.mark.row("T01")
@pytest.mark.parametrize(
    "value",
    [2**53 + 1, -(2**53) - 1, 10**23, 2**1024, 10**400],
    ids=lambda v: f"{v:.0e}" if v < 1e300 else "huge",
)
async def test_integers_that_are_none_are_refused(db, value):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(float8\)"):
            await db.fetch_value("select $1::float8", value)


@pytest.mark.row("T01", "Q29")
@pytest.mark.parametrize("value", [2**24 + 1, -(2**24) - 1, 2**53, 10**12 + 1])
async def test_integers_beyond_a_float4(db, value):
    """A float is rounded, as it is everywhere; an int that four bytes hold in part only is refused."""
    exact = value == 2**53
    for _ in range(2):
        if exact:
            assert await db.fetch_value("select $1::float4", value) == value
            continue
        with pytest.raises(
            DataError, match=r"argument \$1 \(float4\): .* cannot be held exactly by a float4"
        ):
            await db.fetch_value("select $1::float4", value)
    assert await db.fetch_value("select $1::float4", float(value)) is not None


@pytest.mark.parametrize("name", ["float4", "float8"])
@pytest.mark.parametrize("value", ["1", True, Decimal(1), b"1", 1j], ids=repr)
async def test_what_is_no_float(db, name, value):
    for _ in range(2):
        with pytest.raises(
            DataError, match=rf"argument \$1 \({name}\): expected float, got {type(value).__name__}"
        ):
            await db.fetch_value(f"select $1::{name}", value)


async def test_subclasses(db):
    numpy = pytest.importorskip("numpy")

    class Mine(float):
        __slots__ = ()

        def __repr__(self):
            return "mine"

        def __float__(self):
            return 5.0

    for value in (Mine(1.5), numpy.float64(1.5)):
        assert await sent(db, "float8", value) == ("1.5", 1.5)
        assert await sent(db, "float4", value) == ("1.5", 1.5)


def test_any_float8(runner, db):
    @settings(max_examples=200, deadline=None, database=None)
    @given(st.floats())
    def check(value):
        value = math.nan if math.isnan(value) else value  # the server keeps one NaN in text

        async def body():
            found = await sent(db, "float8", value)
            assert bits(found.back) == bits(value) == bits(float(found.text))
            assert {bits(one) for one in await formats(db, f"'{value!r}'::float8")} == {bits(value)}

        runner.run(body())

    check()


def test_any_float4(runner, db):
    @settings(max_examples=200, deadline=None, database=None)
    @given(st.floats(width=32, allow_nan=False))
    def check(value):
        async def body():
            found = await sent(db, "float4", value)
            assert bits(found.back) == bits(value)
            assert {bits(one) for one in await formats(db, f"'{found.text}'::float4")} == {bits(value)}

        runner.run(body())

    check()


# ---- float4="shortest"


def _patterns():
    """float4 values by their bits: around every power of two, decimals midway between two of them, and many others."""
    picked = [exponent << 23 | mantissa for exponent in range(255) for mantissa in (0, 1, 2, 0x3FFFFF, 0x400000, 0x7FFFFE, 0x7FFFFF)]  # fmt: skip
    picked += [struct.unpack("!I", struct.pack("!f", value))[0] for value in (0.1, 4159131e1, 269515.125, 1e10, 16777216.0, 33554432.0, 8.5e9, 1e-45, 123456.789)]  # fmt: skip
    chosen = random.Random(4)
    picked += [chosen.getrandbits(31) for _ in range(5_000)]
    # from 10^4 to 10^8 two shortest decimals are often equally near
    picked += [chosen.randrange(0x461C4000, 0x4CBEBC20) for _ in range(5_000)]
    values = [struct.unpack("!f", struct.pack("!I", bits))[0] for bits in picked]
    return [sign * value for value in values if math.isfinite(value) for sign in (1, -1)]


async def test_shortest_is_what_the_server_writes(connect):
    db = await connect(float4="shortest")
    values = _patterns()
    assert len(values) > 20_000
    literals = ",".join(map(repr, values))
    sql = "select v::float4 as read, v::float4::text as written from unnest(string_to_array($1, ',')) v"
    described = await db.fetch_all(sql, literals)
    as_text = await db.fetch_all(sql, literals, types=["text"])  # one flight: results are text
    script = await db.execute_script(sql.replace("$1", f"'{literals}'"))
    for rows in (described, as_text, script[0].rows):
        assert len(rows) == len(values)
        for value, (read, written) in zip(values, rows, strict=True):
            assert bits(read) == bits(float(written)), written
            assert struct.pack("!f", read) == struct.pack("!f", value)


@pytest.mark.parametrize(
    "text", ["0", "-0", "NaN", "Infinity", "-Infinity", "0.1", "-1.5", "1e-45", "3.4028235e38", "16777216"]
)
async def test_shortest(connect, text):
    db = await connect(float4="shortest")
    value = float(text)
    for one in await formats(db, f"'{text}'::float4"):
        assert bits(one) == bits(value)
    assert await db.fetch_one(f"select '{text}'::float4 as x", into=dict) == pytest.approx(
        {"x": value}, nan_ok=True, rel=0
    )
    assert await same(db, "null::float4") is None
    # What was read is the same float4 when it is written.
    assert await db.fetch_value("select $1::float4::text", value) == await db.fetch_value(
        f"select '{text}'::float4::text"
    )


async def test_shortest_is_about_float4_only(connect):
    db, exact = await connect(float4="shortest"), await connect(float4="exact")
    assert await same(db, "0.1::float4") == 0.1
    assert await same(exact, "0.1::float4") == 0.10000000149011612
    for one in (db, exact):
        assert await same(one, "0.1::float4::float8") == 0.10000000149011612
        assert (await sent(one, "float4", 0.1)).text == "0.1"


@pytest.mark.parametrize("digits", [-15, 0, 1, 3])
async def test_shortest_whatever_the_extra_float_digits(connect, digits):
    db = await connect(float4="shortest")
    await db.execute(f"set extra_float_digits = {digits}")
    for _ in range(2):
        assert bits(await db.fetch_value("select 1::float4 / 3::float4")) == bits(0.33333334)


@pytest.mark.parametrize("wrong", ["", "short", None, 4], ids=repr)
async def test_a_way_to_read_float4_that_does_not_exist(connect, wrong):
    with pytest.raises(InterfaceError, match=r"float4=.*\"shortest\""):
        await connect(float4=wrong)


def test_any_float4_shortest(runner, connect):
    db = runner.run(connect(float4="shortest"))

    @settings(max_examples=200, deadline=None, database=None)
    @given(st.floats(width=32, allow_nan=False))
    def check(value):
        async def body():
            found = await sent(db, "float4", value)
            assert bits(found.back) == bits(float(found.text))
            assert {bits(one) for one in await formats(db, f"'{found.text}'::float4")} == {
                bits(float(found.text))
            }

        runner.run(body())

    check()
