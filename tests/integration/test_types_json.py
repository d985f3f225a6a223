"""json and jsonb as Python objects, numbers exact."""

from __future__ import annotations

import enum
import json
import math
import subprocess
import sys
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import formats, same, sent
from pgoxide.errors import DataError

pytestmark = [pytest.mark.pg, pytest.mark.row("V21")]
both_types = pytest.mark.parametrize("name", ["json", "jsonb"])

DOCUMENTS = [
    ("null", None),
    ("true", True),
    ("false", False),
    ("0", 0),
    ("-1", -1),
    ("12345678901234567890123456789", 12345678901234567890123456789),
    ("9223372036854775807", 2**63 - 1),
    ("9223372036854775808", 2**63),
    ("-9223372036854775809", -(2**63) - 1),
    ("1.5", 1.5),
    ("-0.5", -0.5),
    ("0.1", 0.1),
    ("1.0", 1.0),
    ('""', ""),
    ('"é 名 😀"', "é 名 😀"),
    ('"\\u00e9\\ud83d\\ude00\\n\\t\\\\\\"\\/"', 'é😀\n\t\\"/'),
    ("[]", []),
    ("{}", {}),
    ("[1, [2, [3, null]]]", [1, [2, [3, None]]]),
    ('{"a": {"b": [1, 2.5, "x"]}, "": null}', {"a": {"b": [1, 2.5, "x"]}, "": None}),
    ('  [ 1 ,\n\t{ "a" : 2 } ]  ', [1, {"a": 2}]),
]


def literal(text):
    return "'" + text.replace("'", "''") + "'"


@both_types
@pytest.mark.parametrize(("text", "value"), DOCUMENTS, ids=[text[:20] for text, _ in DOCUMENTS])
async def test_reading(db, name, text, value):
    found = await same(db, f"{literal(text)}::{name}")
    assert found == value
    assert type(found) is type(value)


@both_types
@pytest.mark.parametrize(("text", "value"), DOCUMENTS[1:], ids=[text[:20] for text, _ in DOCUMENTS[1:]])
async def test_passing(db, name, text, value):
    found = await sent(db, name, value)
    assert found.back == value
    assert json.loads(found.text) == value


@both_types
async def test_none_is_sql_null_and_inside_it_is_json_null(db, name):
    for _ in range(2):
        row = await db.fetch_one(
            f"select $1::{name} is null, $2::{name}::text, {name}_typeof('null')", None, [None]
        )
        assert row == (True, "[null]", "null")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("0.10000000000000000000001", Decimal("0.10000000000000000000001")),
        ("1e400", Decimal("1e400")),
        ("123456789012345678901234567890.5", Decimal("123456789012345678901234567890.5")),
        ("1e2", 100.0),
        ("1.50", 1.5),
        ("0.30000000000000004", 0.1 + 0.2),
        ("5e-324", 5e-324),
        ("1e-400", Decimal("1e-400")),
        ("1.7976931348623157e308", 1.7976931348623157e308),
    ],
)
@pytest.mark.row("T01")
async def test_numbers_are_exact(db, text, value):
    """A float where the float denotes the number, else a Decimal; never a rounded one."""
    found = await same(db, f"'{text}'::json")
    assert found == value
    assert type(found) is type(value)
    assert Decimal(str(found)) == Decimal(text)
    # jsonb stores numeric: an exponent is written out, the number is the same.
    for one in await formats(db, f"'{text}'::jsonb"):
        assert Decimal(str(one)) == Decimal(text)


@both_types
@pytest.mark.parametrize(
    "value",
    [Decimal("1.50"), Decimal("1E+3"), Decimal("0.1000000000000000000000001"), Decimal(7), Decimal("-0.0")],
    ids=str,
)
async def test_decimals_are_passed_exactly(db, name, value):
    assert Decimal((await sent(db, name, value)).text) == value
    assert json.loads((await sent(db, name, [value])).text) == [float(value)]


class Count(enum.IntEnum):
    SEVEN = 7


class Mixed(int, enum.Enum):
    SEVEN = 7


class Colour(enum.StrEnum):
    RED = "red"


class MyFloat(float):
    def __repr__(self):
        return "mine"


class MyDict(dict):
    pass


class MyDecimal(Decimal):
    def __str__(self):
        return "mine"


@both_types
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Count.SEVEN, "7"),
        (Mixed.SEVEN, "7"),
        (Colour.RED, '"red"'),
        (MyFloat(1.5), "1.5"),
        (MyDict(a=1), '{"a": 1}'),
        ((1, (2,)), "[1, [2]]"),
        ({Colour.RED: True}, '{"red": true}'),
        (MyDecimal("1.5"), "1.5"),
        ([True, False, None], "[true, false, null]"),
        (1e22, "10000000000000000000000"),
        (2**70, str(2**70)),
    ],
    ids=str,
)
async def test_what_becomes_what(db, name, value, text):
    assert json.loads((await sent(db, name, value)).text) == json.loads(text)


@both_types
@pytest.mark.parametrize(
    "value",
    [
        {1: 2}, {None: 1}, {True: 1}, {"a": {1, 2}}, [object()], b"x", math.nan, [math.inf], Decimal("NaN"), Decimal("Infinity"), "\ud800",
        {"\udfff": 1}, {"a": 1j}, [b"x"],
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],  # the same in every process
)  # fmt: skip
async def test_what_is_no_json(db, name, value):
    for _ in range(2):
        with pytest.raises(DataError, match=rf"argument \$1 \({name}\)"):
            await db.fetch_value(f"select $1::{name}", value)
    assert await db.fetch_value(f"select $1::{name}", 1) == 1
    with pytest.raises(DataError, match=rf"argument \$1 \({name}\)"):
        await db.fetch_value(f"select $1::{name}", value)


@both_types
async def test_nul_in_a_string(db, name):
    r"""json keeps \u0000 as written and it is read; jsonb cannot hold it and says so."""
    if name == "json":
        assert await same(db, "'\"a\\u0000b\"'::json") == "a\0b"
    try:
        assert (await sent(db, name, "a\0b")).back == "a\0b"
    except DataError:
        assert name == "jsonb"
    assert await db.fetch_value("select 1") == 1


@both_types
async def test_depth(db, name):
    deep = []
    for _ in range(900):
        deep = [deep]
    found = await sent(db, name, deep)
    levels, one = 0, found.back
    while one:
        one, levels = one[0], levels + 1
    assert levels == 900


TOO_DEEP = """
import asyncio, sys
import pgoxide
from pgoxide.errors import DataError

itself, lists, dicts = [], [], {}
itself.append(itself)
for _ in range(100_000):
    lists, dicts = [lists], {"a": dicts}
value, sql = {"itself": itself, "lists": lists, "dicts": dicts}[sys.argv[3]], f"select $1::{sys.argv[4]}"

def check(error):
    assert "$1" in str(error) and "deep" in str(error), error
    return True

async def asynchronous():
    async with pgoxide.AsyncConnection.connect(sys.argv[1]) as db:
        for described in (False, True):
            try:
                await db.fetch_value(sql, value)
                raise AssertionError("taken")
            except DataError as error:
                check(error)
            assert await db.fetch_value(sql, [1]) == [1]

def blocking():
    with pgoxide.Connection.connect(sys.argv[1]) as db:
        for described in (False, True):
            try:
                db.fetch_value(sql, value)
                raise AssertionError("taken")
            except DataError as error:
                check(error)
            assert db.fetch_value(sql, [1]) == [1]

asyncio.run(asynchronous()) if sys.argv[2] == "async" else blocking()
"""


@both_types
@pytest.mark.parametrize("what", ["itself", "lists", "dicts"])
def test_too_deep(server, face, name, what):
    """In a process of its own: a recursion without an end would take this one along."""
    done = subprocess.run(
        [sys.executable, "-c", TOO_DEEP, server.dsn(), face, what, name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-500:]}"


@both_types
async def test_a_deep_answer(db, name):
    """As deep as the server lets through: read or refused, but never a crash."""
    sql = f"select (repeat('[', 5000) || repeat(']', 5000))::{name}"
    for _ in range(2):
        with suppress(DataError):
            await db.fetch_value(sql)
        assert await db.fetch_value("select 1") == 1


@both_types
async def test_a_number_of_more_digits_than_python_parses(db, name):
    for _ in range(2):
        value = await db.fetch_value(f"select ('1' || repeat('0', 5000))::{name}")
        assert value == 10**5000


async def test_json_keeps_its_text_jsonb_its_last_key(db):
    text = '{"b": 1, "a": 2, "b": 3}'
    assert await same(db, f"'{text}'::json") == {"b": 3, "a": 2}
    assert await same(db, f"'{text}'::jsonb") == {"a": 2, "b": 3}
    assert list(await same(db, f"'{text}'::json")) == ["b", "a"]


async def test_jsonpath_is_text(db):
    assert await same(db, "'$.a[*]'::jsonpath") == '$."a"[*]'
    assert await sent(db, "jsonpath", "$.a") == ('$."a"', '$."a"')


async def test_a_version_of_jsonb_we_do_not_know(connect, proxy):
    """The binary form starts with 1; a 2 is refused, and the connection goes on."""

    def alter(kind, body):
        return body.replace(b'\x01{"secret"', b'\x02{"secret"') if kind == b"D" else body

    db = await connect(to=proxy(alter=alter))
    sql = "select '{\"secret\": 1}'::jsonb as doc"
    (script,) = await db.execute_script(sql)
    assert script.rows[0].doc == {"secret": 1}  # in text there is no version
    with pytest.raises(DataError, match=r'column "doc" \(jsonb\).*version'):
        await db.fetch_value(sql)
    assert await db.fetch_value("select '[1]'::jsonb") == [1]
    assert await db.fetch_value("select '[1]'::jsonb") == [1]


@both_types
async def test_a_malformed_document(connect, proxy, name):
    """No server sends one; bytes changed on the way do."""

    def alter(kind, body):
        return body.replace(b'"truth"', b'"truth]') if kind == b"D" else body

    db = await connect(to=proxy(alter=alter))
    for _ in range(3):
        with pytest.raises(DataError, match=rf'column "doc" \({name}\)'):
            await db.fetch_value(f"select '[1, \"truth\"]'::{name} as doc")
        assert await db.fetch_value("select 1") == 1


DOCUMENT = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(-1e15, 1e15)  # jsonb writes larger ones out as integers
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@both_types
def test_any(runner, db, name):
    @settings(max_examples=150, deadline=None, database=None)
    @given(DOCUMENT)
    def check(value):
        async def body():
            found = await sent(db, name, value)
            if value is not None:
                assert found.back == value == json.loads(found.text)
            assert await same(db, f"{literal(json.dumps(value))}::{name}") == value

        runner.run(body())

    check()
