"""bit and varbit as BitString: any number of bits."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import same, sent
from pgoxide.errors import DataError
from pgoxide.types import BitString

pytestmark = [pytest.mark.pg, pytest.mark.row("V19", "T03")]

TEXTS = ["", "0", "1", "10110011", "101100111", "0" * 9, "1" * 9, "01" * 500 + "1"]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12] or "empty")
async def test_varbit(db, text):
    value = BitString(text)
    assert await sent(db, "varbit", value) == (text, value)
    assert await sent(db, "varbit", text) == (text, value)
    found = await same(db, f"'{text}'::varbit")
    assert (type(found), found, str(found), len(found)) == (BitString, value, text, len(text))


async def test_bit(db):
    assert await same(db, "B'101'") == BitString("101")
    assert await same(db, "'1'::bit(5)") == BitString("10000")
    assert await sent(db, "bit(3)", BitString("101")) == ("101", BitString("101"))
    await db.execute("create temp table t (b bit(3), v varbit(3))")
    await db.execute("insert into t values ($1, $2)", BitString("101"), BitString("1"))
    assert await db.fetch_one("select b, v from t") == (BitString("101"), BitString("1"))
    for wrong in ("1", "1111"):
        with pytest.raises(DataError):  # the server's, which says that the length is wrong
            await db.execute("insert into t (b) values ($1)", BitString(wrong))


async def test_copy_and_null(db):
    await db.execute("create temp table t (b varbit)")
    await db.execute("create temp table u (b varbit, c regclass)")
    values = [BitString(text) for text in TEXTS]
    await db.copy_in("t", [(value,) for value in [*values, None]])
    await db.copy_in("u", [(value, None) for value in [*values, None]])
    assert (
        await db.fetch_column("select b from t")
        == await db.fetch_column("select b from u")
        == [*values, None]
    )


@pytest.mark.parametrize("value", [5, True, b"\1", "2", "0 1", "é", [1, 0], 1.5], ids=ascii)
async def test_what_is_no_string_of_bits(db, value):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(varbit\)"):
            await db.fetch_value("select $1::varbit", value)
    assert await db.fetch_value("select 1") == 1


async def test_it_is_a_value(db):
    found, made = await same(db, "B'101100111'"), BitString("101100111")
    assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == eval(repr(found)) == made
    assert hash(found) == hash(made)
    for name in ("_data", "_length", "other"):
        with pytest.raises(AttributeError):
            setattr(found, name, 5)
        with pytest.raises(AttributeError):
            delattr(found, name)


def test_views():
    bits = BitString("101100111")
    assert (int(bits), bytes(bits), list(bits), len(bits)) == (
        0b101100111,
        b"\xb3\x80",
        [1, 0, 1, 1, 0, 0, 1, 1, 1],
        9,
    )
    assert [bits[0], bits[1], bits[8], bits[-1], bits[-9]] == [1, 0, 1, 1, 1]
    assert (bits[2:5], bits[::-1], bits[20:]) == (BitString("110"), BitString("111001101"), BitString())
    for index in (9, -10):
        with pytest.raises(IndexError):
            bits[index]
    assert bits + BitString("1") == bits + "1" == BitString("1011001111")
    assert ~BitString("10") == BitString("01")
    assert (BitString("11") & BitString("10"), BitString("01") | BitString("10"), BitString("11") ^ BitString("10")) == (
        BitString("10"), BitString("11"), BitString("01"),
    )  # fmt: skip
    assert ~BitString() == BitString()
    assert BitString("1") != "1"
    assert BitString("0") != BitString("00")
    assert not BitString()
    with pytest.raises(DataError, match="same number"):
        BitString("1") & BitString("11")
    with pytest.raises(TypeError):
        sorted([BitString("1"), "1"])


def test_making_one():
    assert BitString.from_int(5, 9) == BitString("000000101")
    assert BitString.from_int(0, 0) == BitString()
    assert BitString.from_bytes(b"\xff\x80", 9) == BitString("1" * 9)
    assert BitString.from_bytes(b"\x0f") == BitString("00001111")
    for wrong in (lambda: BitString("012"), lambda: BitString.from_int(4, 2), lambda: BitString.from_int(-1, 8), lambda: BitString.from_int(0, -1),
                  lambda: BitString.from_bytes(b"\xff", 7), lambda: BitString.from_bytes(b"\xff", 9)):  # fmt: skip
        with pytest.raises(DataError):
            wrong()


async def test_they_order_as_the_servers(db):
    values = [BitString(text) for text in ("", "0", "00", "01", "1", "10", "101", "0000000001", "1111111111")]
    ordered = await db.fetch_column(
        "select v::varbit from unnest(string_to_array($1, ',')) v order by v::varbit",
        ",".join(map(str, values)),
    )
    assert ordered == sorted(values)


def test_any(runner, db):
    @settings(max_examples=150, deadline=None, database=None)
    @given(st.text("01", max_size=70))
    @example("")
    def check(text):
        async def body():
            value = BitString(text)
            assert await sent(db, "varbit", value) == (text, value)
            assert await same(db, f"'{text}'::varbit") == value
            assert (
                BitString.from_int(int(value), len(value))
                == BitString.from_bytes(bytes(value), len(value))
                == value
            )

        runner.run(body())

    check()
