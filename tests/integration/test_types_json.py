"""json and jsonb as Python objects, numbers exact."""

from __future__ import annotations

import copy
import decimal
import enum
import json
import math
import pickle
import subprocess
import sys
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import formats, same, sent
from pgoxide.errors import DataError, InterfaceError, InvalidTextRepresentation
from pgoxide.types import Json, Jsonb, JsonNull, JsonNullType

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


async def test_json_keeps_the_order_of_keys(db):
    assert list(await same(db, """'{"b": 3, "a": 2}'::json""")) == ["b", "a"]


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


# ---- T17: what a plain value would not say


@pytest.mark.row("T17", "T01")
async def test_a_key_that_comes_twice(db, connect):
    """A dict would lose all but the last value: refused, at any depth. jsonb has thrown the others away itself."""
    for text in ('{"b": 1, "a": 2, "b": 3}', '[[{"x": {"b": 1, "b": 1}}]]'):
        for call in (db.fetch_all, db.fetch_all, db.execute_script):
            with pytest.raises(
                DataError, match=r"column \"doc\" \(json\): .*key 'b' more than once.*json=\"str\""
            ):
                await call(f"select '{text}'::json as doc")
        assert await db.fetch_value("select 1") == 1
        raw = await connect(json="str")
        assert await same(raw, f"'{text}'::json") == text
    assert await same(db, """'{"b": 1, "a": 2, "b": 3}'::jsonb""") == {"a": 2, "b": 3}
    assert await same(db, """'[{"a": 1}, {"a": 2}]'::json""") == [{"a": 1}, {"a": 2}]


@pytest.mark.row("T17")
@both_types
async def test_json_null_and_sql_null(db, connect, name):
    special = await connect(json_null="special")
    for one, null in ((db, None), (special, JsonNull)):
        assert await same(one, f"'null'::{name}") is null
        assert await same(one, f"null::{name}") is None
        assert await same(one, f"'[null]'::{name}") == [None]
        # As an argument JsonNull is JSON's null everywhere.
        sql = f"select $1::{name} is null, $1::{name}::text"
        for _ in range(2):
            assert (
                await one.fetch_one(sql, JsonNull) == await one.fetch_one(sql, Json(None)) == (False, "null")
            )
            assert await one.fetch_one(sql, None) == (True, None)
            assert (await one.fetch_value(f"select $1::{name}::text", {"a": JsonNull})).replace(
                " ", ""
            ) == '{"a":null}'
    assert (
        await special.fetch_value(f"select $1::{name}", await special.fetch_value(f"select ' null '::{name}"))
        is JsonNull
    )


@pytest.mark.row("T17")
def test_there_is_one_json_null():
    for other in (
        JsonNullType(),
        copy.copy(JsonNull),
        copy.deepcopy([JsonNull])[0],
        pickle.loads(pickle.dumps(JsonNull)),
        eval(repr(JsonNull)),
    ):
        assert other is JsonNull
    assert not JsonNull
    assert JsonNull is not None


@pytest.mark.row("T17")
@both_types
@pytest.mark.parametrize("mode", ["str", "bytes"])
async def test_raw(connect, name, mode):
    """Texts as they are, both ways; nothing is parsed, so nothing is refused but what the server refuses."""
    db = await connect(json=mode)
    make = str if mode == "str" else str.encode
    for text in ('{"a": 1.50, "é": "\\\\u0041"}', "null", "1e400", '"x"', "[]"):
        stored = await db.fetch_value(f"select {literal(text)}::{name}::text")
        for argument in (
            text,
            text.encode(),
            Json.text(text),
            Json.text(text.encode()),
            Json(json.loads(text)) if "e400" not in text else text,
        ):
            found = await db.fetch_value(f"select $1::{name}", argument)
            if not isinstance(argument, Json) or argument.dumps:
                assert found == make(stored)
        found = await same(db, f"{literal(text)}::{name}")
        assert (type(found), found) == (type(make("")), make(stored))
    for wrong in ({"a": 1}, [1], 1, 1.5, True, b"\xff", "\ud800"):
        with pytest.raises(DataError, match=rf"argument \$1 \({name}\)"):
            await db.fetch_value(f"select $1::{name}", wrong)
    with pytest.raises(InvalidTextRepresentation):
        await db.fetch_value(f"select $1::{name}", "{")
    await db.execute(f"create temp table t (d {name}, a {name}[])")
    await db.copy_in("t", [("[1]", ["[2]", None]), (None, None)])
    assert await db.fetch_all("select d, a from t") == [(make("[1]"), [make("[2]"), None]), (None, None)]
    await db.execute(f"create temp table u (d {name}, q tsquery)")
    await db.copy_in("u", [("[1]", "a")])
    assert await db.fetch_value("select d from u") == make("[1]")


@pytest.mark.row("T17")
@both_types
async def test_own_writers(db, name):
    calls = []

    def dumps(value):
        calls.append(value)
        return json.dumps(value, sort_keys=True).encode()

    for wrapper in (Json, Jsonb):
        assert await db.fetch_value(f"select $1::{name}", wrapper({"b": 1, "a": [2]}, dumps)) == {
            "a": [2],
            "b": 1,
        }
        assert await db.fetch_value(f"select $1::{name}", wrapper({"b": 1})) == {"b": 1}
        assert await db.fetch_value(f"select $1::{name}", [wrapper.text('{"a": 1}'), wrapper("x")]) == [
            {"a": 1},
            "x",
        ]
        # For text parameters too.
        assert await db.fetch_value("select $1::text", wrapper([1, None])) == "[1,null]"
    assert calls == [{"b": 1, "a": [2]}] * 2
    assert await db.fetch_value("select $1::text", JsonNull) == "null"
    for wrong, kind in (
        (Json(object()), DataError),
        (Json(1, lambda value: value), DataError),
        (Json.text(5), DataError),
        (Json(math.nan), DataError),
    ):
        for _ in range(2):
            with pytest.raises(kind, match=rf"argument \$1 \({name}\)"):
                await db.fetch_value(f"select $1::{name}", wrong)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("T17")
def test_wrappers_are_values():
    value = Json({"a": 1}, json.dumps)
    assert pickle.loads(pickle.dumps(value)) == copy.copy(value) == value
    assert eval(repr(Json([1]))) == Json([1])
    assert (Json([1]).document(), value.document(), Json.text(b"1").document()) == (None, '{"a": 1}', b"1")
    with pytest.raises(AttributeError):
        value.value = 5


@pytest.mark.row("T17")
async def test_words_that_do_not_exist(connect):
    for options in ({"json": "text"}, {"json": None}, {"json_null": "null"}, {"json_null": True}):
        with pytest.raises(InterfaceError, match="json"):
            await connect(**options)


@pytest.mark.row("T18")
async def test_the_context_of_the_thread_does_not_matter(db):
    with decimal.localcontext(prec=3, traps=[decimal.Inexact, decimal.Rounded, decimal.FloatOperation]):
        assert str(await same(db, "'0.12345678901234567890123'::json")) == "0.12345678901234567890123"
        assert (
            await db.fetch_value("select $1::jsonb::text", Decimal("0.12345678901234567890123"))
            == "0.12345678901234567890123"
        )


@pytest.mark.row("T17")
async def test_big_numbers_are_exact(db):
    """What other drivers round to a float."""
    for text in ("12345678901234567890123", "-12345678901234567890123456789012345678901234567890"):
        found = await same(db, f"'{text}'::jsonb")
        assert (type(found), found) == (int, int(text))


# ---- many documents: names and short texts that they have in common are made once


def text_of(value):
    """Without `json.dumps`' escapes, and now and then with others, and white space."""
    return st.one_of(
        st.just(json.dumps(value)),
        st.just(json.dumps(value, ensure_ascii=False)),
        st.just(json.dumps(value, indent=1)),
        st.just(json.dumps(value, separators=(",", ":"))),
    )


ALIKE = [
    "a",
    "ab",
    "b",
    'a"b',
    "a\\b",
    "a\nb",
    "",
    "é",
    "aé",
    "x" * 7,
    "x" * 8,
    "x" * 9,
    "abcdefg",
    "abcdefgh",
]
NAMES = st.sampled_from([*ALIKE, "n" * 30, "n" * 31, "n" * 32, "n" * 40, "n" * 30 + "m"])
TEXTS = st.sampled_from([
    *ALIKE, "ö", "ööö", "x" * 15 + "y", "x" * 16, "x" * 17, "x" * 20, "12345678-12345678", "12345678912345678", "1234567812345678",
]) | st.text("ab", max_size=18)  # fmt: skip
TREES = st.recursive(
    TEXTS | st.integers(-9, 99_999) | st.none() | st.booleans() | st.decimals(-999, 999, places=3).map(float),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)


def test_many_documents_are_each_what_they_are(runner, db):
    @given(st.lists(TREES, min_size=1, max_size=12), st.data())
    @settings(max_examples=100, deadline=None)
    def check(trees, data):
        texts = [data.draw(text_of(tree)) for tree in trees] * 6

        async def body():
            return await db.fetch_column("select unnest($1::text[])::json", texts)

        rows = runner.run(body())
        assert rows == [json.loads(text) for text in texts]
        assert [json.dumps(row) for row in rows] == [json.dumps(json.loads(text)) for text in texts]

    check()


async def test_a_name_is_not_expected_where_it_would_be_malformed(connect, proxy):
    """The names of earlier documents have a quote; in one it comes without its backslash."""
    damaged = False

    def alter(kind, body):
        return body.replace(rb'"a\"b"', b'"a"b" ') if kind == b"D" and damaged else body

    db = await connect(to=proxy(alter=alter))
    sql = r"""select ('{"a\"b": ' || g || ', "b": 2}')::json from generate_series(1, 200) g"""
    assert await db.fetch_column(sql) == [{'a"b': n, "b": 2} for n in range(1, 201)]
    damaged = True
    with pytest.raises(DataError, match="expected ':'"):
        await db.fetch_column(sql)


async def test_texts_are_not_kept_beyond_their_result(db):
    sql = "select jsonb_build_object('a', 'secret ' || g % 3) from generate_series(1, 300) g"
    rows = await db.fetch_all(sql)
    first, again = rows[0][0]["a"], rows[3][0]["a"]
    assert first is again
    other = (await db.fetch_all(sql))[0][0]["a"]
    assert other == first
    assert other is not first
