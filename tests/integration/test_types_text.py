"""text, varchar, bpchar, name, "char": characters both ways, in both formats."""

from __future__ import annotations

import enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import same, sent
from pgoxide.errors import ConnectionClosed, DataError, NameTooLong, StringDataRightTruncation

pytestmark = [pytest.mark.pg, pytest.mark.row("V06")]

TEXTS = [
    "",
    " ",
    "a",
    "é",
    "名前",
    "😀",
    "e\u0301",
    "\u200f",
    "a\nb\r\n\tc",
    "'\"\\$1",
    "\x01\x7f",
    "\ufeff",
    "\uffff",
    "\U0010ffff",
    "x" * 70_000,
    "é" * 70_000,
]


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize("name", ["text", "varchar"])
@pytest.mark.parametrize("value", TEXTS, ids=lambda v: ascii(v[:8]))
async def test_both_ways(db, name, value):
    assert await sent(db, name, value) == (value, value)
    assert await same(db, f"{quoted(value)}::{name}") == value
    row = await db.fetch_one(f"select char_length($1::{name}), octet_length($1::{name})", value)
    assert row == (len(value), len(value.encode()))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'ab'::char(5)", "ab   "),
        ("'é'::char(3)", "é  "),
        ("''::char(2)", "  "),
        ("'abcdef'::char(3)", "abc"),
        ("'a '::varchar(5)", "a "),
        ("'abc'::varchar(2)", "ab"),
        ("'x'", "x"),
        ("current_user", "postgres"),
        ("'pg_class'::regclass", "pg_class"),
        ("'x'::name", "x"),
    ],
)
async def test_reading(db, expression, value):
    assert await same(db, expression) == value


async def test_the_padding_of_char_is_kept(db):
    await db.execute("create temp table t (c char(5))")
    for n in range(2):
        await db.execute("insert into t values ($1)", f"a{n}")
        with pytest.raises(StringDataRightTruncation):
            await db.execute("insert into t values ($1)", "abcdef")
    for _ in range(2):
        assert await db.fetch_column("select c from t order by c") == ["a0   ", "a1   "]
    assert await sent(db, "bpchar", "ab ") == ("ab", "ab ")  # the server's cast to text drops the padding


async def test_a_name_has_63_bytes(db):
    longest = "é" * 31 + "x"
    assert len(longest.encode()) == 63
    assert await sent(db, "name", longest) == (longest, longest)
    assert await same(db, f"'{longest}y'::name") == longest  # the server cuts literals
    for _ in range(2):
        with pytest.raises((DataError, NameTooLong)):  # and refuses what comes in binary
            await db.fetch_value("select $1::name", longest + "y")
    assert await db.fetch_value("select 1") == 1


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "mine"


class Colour(enum.StrEnum):
    RED = "red"


class Mixed(str, enum.Enum):  # noqa: UP042  the older way
    RED = "red"


@pytest.mark.parametrize("value", [Text("red"), Colour.RED, Mixed.RED], ids=["subclass", "strenum", "enum"])
async def test_subclasses(db, value):
    found = await sent(db, "text", value)
    assert found == ("red", "red")
    assert type(found.back) is str


@pytest.mark.parametrize("name", ["text", "varchar", "bpchar", "name"])
@pytest.mark.parametrize("value", ["a\0b", "\0", "\ud800", "a\udfff", 1, b"x", ["x"], 1.5], ids=ascii)
async def test_what_is_no_text(db, name, value):
    for _ in range(2):
        with pytest.raises(DataError, match=rf"argument \$1 \({name}\)"):
            await db.fetch_value(f"select $1::{name}", value)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("V07", "T03")
async def test_the_internal_char_type_is_one_byte(db):
    """All of them, both ways; and in text, where from 128 on they are written in octal (PostgreSQL 16)."""
    old = int(await db.fetch_value("show server_version_num")) < 160_000
    for number in range(256):
        byte = bytes([number])
        assert await db.fetch_value('select $1::"char"', byte) == byte
        if number and (number < 128 or not old):
            assert (
                await same(
                    db,
                    f"convert_from(decode('{number:02x}', 'hex'), 'UTF8')::\"char\""
                    if number < 128
                    else f"E'\\\\{number:03o}'::\"char\"",
                )
                == byte
            )


@pytest.mark.row("V07")
async def test_the_internal_char_type_of_nothing(db):
    assert await same(db, "''::\"char\"") == b"\0"
    for _ in range(2):
        assert await db.fetch_value('select $1::"char"', None) is None
    assert await same(db, "(select relkind from pg_class where relname = 'pg_class' limit 1)") == b"r"


@pytest.mark.row("V07")
@pytest.mark.parametrize("value", [b"", b"ab", "A", 65, bytearray(b"AB")], ids=repr)
async def test_what_is_no_internal_char(db, value):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(char\)|argument \$1 \(\"char\"\)"):
            await db.fetch_value('select $1::"char"', value)


@pytest.mark.row("T01")
@pytest.mark.parametrize(
    "change", ["set client_encoding = 'latin1'", "select set_config('client_encoding', 'win1252', false)"]
)
async def test_another_client_encoding_ends_the_connection(db, connect, change):
    """The server tells that it changed. Texts read would be garbled, and those written be stored as other characters."""
    with pytest.raises(
        ConnectionClosed, match=r"client_encoding was set to (LATIN1|WIN1252), and pgoxide speaks UTF8 only"
    ):
        await db.execute(change)
    with pytest.raises(ConnectionClosed):
        await db.fetch_value("select $1::text", "é")
    assert db.closed
    other = await connect()
    for spelling in ("utf8", "UNICODE", "UTF-8"):
        await other.execute(f"set client_encoding = '{spelling}'")
        assert await other.fetch_value("select $1::text", "é") == "é"
    await other.execute("reset client_encoding")
    assert await other.fetch_value("select length($1::text)", "é") == 1


def test_any(runner, db):
    @settings(max_examples=200, deadline=None, database=None)
    @given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
    def check(value):
        async def body():
            assert await sent(db, "text", value) == (value, value)
            assert await same(db, f"{quoted(value)}::text") == value

        runner.run(body())

    check()
