"""Types that are not built in: composite types, table rows, enums, domains, ranges of one's own, extensions' types.

Each test makes its types in a schema of its own, so that tests beside it find none of them known.
"""

from __future__ import annotations

import datetime as dt
import itertools
import pickle
from collections import namedtuple
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import same, sent
from pgoxide.errors import DataError, Error, InvalidTextRepresentation, OutdatedType
from pgoxide.types import Multirange, Range, Row

pytestmark = [pytest.mark.pg, pytest.mark.row("T03")]

DAY = dt.date(2020, 2, 29)
_schemas = itertools.count()


@pytest.fixture
def schema(runner, db):
    """A schema of this test's own, first in the search path of `db`."""
    name = f"types_{next(_schemas)}"
    runner.run(
        _script(db, f"drop schema if exists {name} cascade; create schema {name}; set search_path = {name}")
    )
    yield name
    runner.run(_script(db, f"rollback; drop schema {name} cascade"))


async def _script(db, sql):
    await db.execute_script(sql)


# ---- composite types


@pytest.mark.row("T09")
async def test_composite(db, schema):
    await db.execute_script(
        "create type pair as (a int4, b text); create type twice as (p pair, d date, q pair[])"
    )
    one = await same(db, "row(1, 'x')::pair")
    assert isinstance(one, Row)
    assert (one, one.a, one["b"], one._fields) == ((1, "x"), 1, "x", ("a", "b"))
    assert pickle.loads(pickle.dumps(one)) == one
    assert await same(db, "row(null, null)::pair") == (None, None)
    assert await same(db, "null::pair") is None
    for text in ("", " ", ",", "(", ")", '"', "\\", "'", 'a"b\\c', "NULL", "ä€😀", "\n\t"):
        assert (await sent(db, "pair", (7, text))).back == (7, text)
        assert await same(db, "row(7, '" + text.replace("'", "''") + "')::pair") == (7, text)
    two = await same(db, "row(row(1, 'x'), date '2020-02-29', array[row(2, null), null]::pair[])::twice")
    assert two == ((1, "x"), DAY, [(2, None), None])
    assert two.p.b == "x"
    assert (await sent(db, "twice", two)).back == two


@dataclass
class Pair:
    a: int
    b: str | None


Named = namedtuple("Named", "a b")  # noqa: PYI024  what users have


@pytest.mark.row("T09")
@pytest.mark.parametrize(
    "value",
    [(1, "x"), [1, "x"], {"b": "x", "a": 1}, Pair(1, "x"), Named(1, "x"), SimpleNamespace(a=1, b="x", c=3)],
    ids=lambda v: type(v).__name__,
)
async def test_composite_arguments(db, schema, value):
    await db.execute("create type pair as (a int4, b text)")
    assert await sent(db, "pair", value) == ("(1,x)", (1, "x"))
    if not isinstance(value, list):
        # In a list given for an array lists are dimensions, and tuples are values.
        assert (await sent(db, "pair[]", [value, None])).back == [(1, "x"), None]
        assert (await sent(db, "pair[]", [[value], [value]])).back == [[(1, "x")], [(1, "x")]]


@pytest.mark.row("T09")
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((1,), r"1 values for the 2 fields of pair: a, b"),
        ({"a": 1}, r'the keys are not the fields of pair: missing "b"; surplus none'),
        ({"a": 1, "b": "x", "c": 1}, r"the keys are not the fields of pair: missing none; surplus 'c'"),
        (("x", "x"), r'field "a": expected int, got str'),
        ((2**31, "x"), r'field "a": 2147483648 is out of range for int4'),
        ("(1,x)", r"expected a tuple, dict or object with the fields of pair \(a, b\), got str"),
        (7, r"expected a tuple, dict or object .* got int 7"),
        (SimpleNamespace(a=1), r"expected a tuple, dict or object .* got SimpleNamespace"),
    ],
    ids=repr,
)
async def test_composite_refused(db, schema, value, words):
    await db.execute("create type pair as (a int4, b text)")
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(pair\): " + words):
            await db.fetch_value("select $1::pair", value)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("V35")
@pytest.mark.row("T09")
async def test_table_rows(db, schema):
    await db.execute_script(
        "create table t (a int4, gone text, b numeric, c int4 generated always as (a * 2) stored);"
        "alter table t drop column gone; insert into t values (1, 1.50), (2, null)"
    )
    assert await db.fetch_column("select t from t order by a") == [(1, Decimal("1.50"), 2), (2, None, 4)]
    assert await same(db, "(select array_agg(t order by a) from t)") == [
        (1, Decimal("1.50"), 2),
        (2, None, 4),
    ]
    row = await db.fetch_value("select t from t where a = 1")
    assert row._fields == ("a", "b", "c")
    assert await db.fetch_value("select ($1::t).b", row) == Decimal("1.50")
    # A table row of the catalogs, whose type has an oid below those of users' types.
    namespace = await db.fetch_value("select n from pg_namespace n where nspname = 'pg_catalog'")
    assert namespace.nspname == "pg_catalog"


@pytest.mark.row("T09")
@pytest.mark.row("V34")
async def test_anonymous_records_of_own_types(db, schema):
    """Nothing announces what is in a record: its types are looked up when they are met."""
    await db.execute_script("create type mood as enum ('sad', 'ok'); create type pair as (a int4, b mood)")
    rows = await db.fetch_all(
        "select row(i, 'ok'::mood, row(i, 'sad')::pair, array['ok']::mood[]) as r from generate_series(1, 3) i"
    )
    assert [row.r for row in rows] == [(i, "ok", (i, "sad"), ["ok"]) for i in (1, 2, 3)]
    await db.execute("create type other as enum ('x')")
    async with db.batch() as batch:
        one = batch.fetch_value("select row('x'::other)")
        two = batch.fetch_all("select row(1)")
    assert one.result() == ("x",)
    assert two.result() == [((1,),)]


@pytest.mark.row("T09")
async def test_no_fields(db, schema):
    await db.execute("create type nothing as ()")
    assert await same(db, "row()::nothing") == ()


@pytest.mark.row("T03")
async def test_a_part_without_a_binary_codec_makes_all_of_it_text(db, schema):
    await db.execute_script(
        "create type grants as (a int4, item aclitem, n numeric, s text); create type more as (g grants[], b bytea)"
    )
    value = ([(1, "postgres=r/postgres", Decimal("1.50"), 'a"b\\ (c)')], b"\x00\xff")
    sql = """row(array[row(1, 'postgres=r/postgres', 1.50, 'a"b\\ (c)')::grants], '\\x00ff')::more"""
    assert await same(db, sql) == value
    assert (await sent(db, "more", value)).back == value


# ---- enums


@pytest.mark.row("T08")
async def test_enum(db, schema):
    await db.execute("create type mood as enum ('sad', 'ok', 'a \"b\\c')")
    assert await same(db, "'ok'::mood") == "ok"
    assert await same(db, "array['ok', null, 'a \"b\\c']::mood[]") == ["ok", None, 'a "b\\c']
    assert await sent(db, "mood", "sad") == ("sad", "sad")
    assert (await sent(db, "mood[]", ["ok", None])).back == ["ok", None]
    with pytest.raises(InvalidTextRepresentation):
        await db.fetch_value("select $1::mood", "happy")
    with pytest.raises(DataError, match=r"argument \$1 \(mood\): expected str, got int"):
        await db.fetch_value("select $1::mood", 1)


@pytest.mark.row("T08")
@pytest.mark.row("Q21")
async def test_labels_added_later(db, schema):
    await db.execute("create type mood as enum ('sad')")
    sql = "select $1::mood"
    assert await db.fetch_value(sql, "sad") == "sad"
    await db.execute("alter type mood add value 'happy'")
    assert await db.fetch_value(sql, "happy") == "happy"
    await db.execute("alter type mood rename value 'sad' to 'blue'")
    assert await db.fetch_value("select 'blue'::mood") == "blue"


# ---- domains


@pytest.mark.row("T07")
async def test_domains(db, schema):
    await db.execute_script(
        "create type pair as (a int4, b text); create domain small as int4 check (value < 10); create domain tiny as small;"
        "create domain numbers as int4[]; create domain couple as pair; create domain span as int4range"
    )
    assert await same(db, "5::small") == 5
    assert await same(db, "5::tiny") == 5
    assert await same(db, "array[1, 2]::numbers") == [1, 2]
    assert await same(db, "row(1, 'x')::couple") == (1, "x")
    assert await same(db, "array[5, null]::tiny[]") == [5, None]
    assert await same(db, "array['{1,2}', '{}']::numbers[]") == [[1, 2], []]
    assert await same(db, "'[1,3)'::span") == Range(1, 3)
    for name, value in (("small", 3), ("tiny", 3), ("numbers", [1, None]), ("couple", (1, "x")), ("span", Range(1, 3)),
                        ("tiny[]", [1, 2]), ("couple[]", [(1, "x")]), ("numbers[]", [[1, 2], []])):  # fmt: skip
        assert (await sent(db, name, value)).back == value
    with pytest.raises(DataError, match=r"argument \$1 .*expected int"):
        await db.fetch_value("select $1::tiny", "5")
    with pytest.raises(Error, match="violates check constraint"):
        await db.fetch_value("select $1::tiny", 50)
    # What a result says of a domain is the type below; in a composite it is the domain.
    await db.execute("create type has as (d tiny, n numbers)")
    assert (await sent(db, "has", (1, [2]))).back == (1, [2])


# ---- ranges of one's own


@pytest.mark.row("T11")
@pytest.mark.row("T12")
async def test_own_ranges(db, schema):
    await db.execute_script(
        'create type textrange as range (subtype = text, collation = "C"); create type pair as (a int4, b int4);'
        "create type pairrange as range (subtype = pair)"
    )
    assert await same(db, "textrange('a', 'b\"c', '[]')") == Range("a", 'b"c', "[]")
    assert (await sent(db, "textrange", Range("", "(x,]"))).back == Range("", "(x,]")
    assert await same(db, "textmultirange(textrange('a', 'b'))") == Multirange([Range("a", "b")])
    assert (await sent(db, "textmultirange", Multirange([Range("a", None)]))).back == Multirange(
        [Range("a", None)]
    )
    value = Range((1, 2), (3, None))
    assert (await sent(db, "pairrange", value)).back == value
    assert (await sent(db, "pairrange[]", [value, None])).back == [value, None]


# ---- extensions


@pytest.fixture
def extension(runner, db, schema):
    """Creates an extension in a schema of its own, or skips."""

    async def create(name):
        if not await db.fetch_value("select count(*) from pg_available_extensions where name = $1", name):
            pytest.skip(f"this server has no extension {name}")
        await db.execute_script(
            f"create schema {schema}_ext; create extension {name} schema {schema}_ext; set search_path = {schema}, {schema}_ext"
        )

    yield create
    runner.run(_script(db, f"rollback; drop schema if exists {schema}_ext cascade"))


@pytest.mark.row("T14")
async def test_hstore(db, extension):
    await extension("hstore")
    assert await same(db, "''::hstore") == {}
    value = {"a": "1", "b": None, "": "", 'q"\\': "=>, ", "NULL": "NULL", "ä": "😀"}
    assert (await sent(db, "hstore", value)).back == value
    assert await same(db, """'a=>1, b=>NULL, "q\\"\\\\"=>"=>, "'::hstore""") == {
        "a": "1",
        "b": None,
        'q"\\': "=>, ",
    }
    assert (await sent(db, "hstore[]", [value, None, {}])).back == [value, None, {}]
    with pytest.raises(
        DataError,
        match=r"the value of 'a': expected str, got int 1|the value of \"a\": expected str, got int 1",
    ):
        await db.fetch_value("select $1::hstore", {"a": 1})
    with pytest.raises(DataError, match="a key: expected str, got int 1"):
        await db.fetch_value("select $1::hstore", {1: "a"})
    with pytest.raises(DataError, match=r"expected dict\[str, str \| None\], got str"):
        await db.fetch_value("select $1::hstore", "a=>1")


@pytest.mark.row("T14")
async def test_citext(db, extension):
    await extension("citext")
    assert await same(db, "'Abc'::citext") == "Abc"
    assert await db.fetch_value("select $1::citext = 'ABC'", "abc") is True
    assert await same(db, "array['A', null]::citext[]") == ["A", None]


@pytest.mark.row("T14")
async def test_ltree(db, extension):
    await extension("ltree")
    assert await same(db, "'a.b'::ltree") == "a.b"
    assert await same(db, "'*.b'::lquery") == "*.b"
    assert await same(db, "'a & b'::ltxtquery") == "a & b"
    assert await db.fetch_value("select $1::ltree <@ 'a'", "a.b.c") is True
    assert (await sent(db, "ltree[]", ["a.b", None])).back == ["a.b", None]


@pytest.mark.row("T04")
async def test_types_of_extensions_without_a_codec(db, extension):
    await extension("cube")
    assert await same(db, "'(1,2)'::cube") == "(1, 2)"
    assert await sent(db, "cube", "(1, 2)") == ("(1, 2)", "(1, 2)")
    assert await same(db, "array['(1,2)', null]::cube[]") == ["(1, 2)", None]
    with pytest.raises(DataError, match=r"argument \$1 \(cube\): expected str, got int"):
        await db.fetch_value("select $1::cube", 1)


@pytest.mark.row("T04")
async def test_an_unknown_type_is_text_and_says_its_name(db):
    """Without any extension: this type has neither a codec here nor a binary form there."""
    assert await same(db, "'postgres=r/postgres'::aclitem") == "postgres=r/postgres"
    assert (await sent(db, "aclitem", "postgres=r/postgres")).back == "postgres=r/postgres"
    with pytest.raises(DataError, match=r"argument \$1 \(aclitem\): expected str"):
        await db.fetch_value("select $1::aclitem", 1)


# ---- altered types


@pytest.mark.row("Q21")
async def test_an_altered_composite_type(db, connect, schema):
    """Altered by another session: its own DDL a connection sees (`test_altered_types.py`)."""
    other = await connect(options=f"-csearch_path={schema}")
    await db.execute("create type pair as (a int4, b text)")
    sql = "select row(1, 'x', 2.5)::pair"
    read = "select p from t"
    await db.execute_script("create table t (p pair); insert into t values (row(1, 'x'))")
    assert await db.fetch_value(read) == (1, "x")
    await other.execute("alter type pair add attribute c numeric")
    with pytest.raises(OutdatedType, match=r'column "p".*the type pair was altered.*3 fields instead of 2'):
        await db.fetch_value(read)
    assert await db.fetch_value(read) == (1, "x", None)
    assert await db.fetch_value(sql) == (1, "x", Decimal("2.5"))
    await other.execute("alter type pair drop attribute a")
    db.reload_types()
    assert await db.fetch_value(read) == ("x", None)
    await other.execute("alter type pair rename attribute b to z")
    db.reload_types()
    assert (await db.fetch_value(read))._fields == ("z", "c")


@pytest.mark.row("Q21")
async def test_a_type_changed_inside(db, connect, schema):
    other = await connect(options=f"-csearch_path={schema}")
    await db.execute_script("create type pair as (a int4, b text)")
    assert await db.fetch_value("select row(1, 'x')::pair") == (1, "x")
    await other.execute("alter type pair alter attribute a type int8")
    with pytest.raises(OutdatedType, match="with fields of other types"):
        # Another text: PostgreSQL 15 itself stumbles over the plan it has kept for the first one.
        await db.fetch_value("select row(1, 'x')::pair as again")
    assert await db.fetch_value("select row(1, 'x')::pair as again") == (1, "x")


@pytest.mark.row("Q21")
async def test_dropped_and_made_anew(db, schema):
    await db.execute("create type thing as (a int4)")
    sql = "select $1::thing"
    assert await db.fetch_value(sql, (1,)) == (1,)
    await db.execute_script("drop type thing; create type thing as enum ('x')")
    assert await db.fetch_value("select 'x'::thing") == "x"
    assert await db.fetch_value(sql + " -- anew", "x") == "x"


@pytest.mark.row("Q21")
async def test_arguments_of_an_altered_type(db, schema):
    """The server says so, and the next use is right."""
    await db.execute("create type pair as (a int4, b text)")
    sql = "select ($1::pair).a"
    assert await db.fetch_value(sql, (1, "x")) == 1
    await db.execute("alter type pair add attribute c numeric")
    with pytest.raises(Error):
        await db.fetch_value(sql, (1, "x"))
    assert await db.fetch_value(sql, (1, "x", Decimal(2))) == 1


def test_any(runner, db, schema):
    runner.run(
        _script(
            db,
            "create type inner_ as (a int4, t text); create type outer_ as (i inner_, n numeric, l text[], b bool)",
        )
    )
    text = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
    inner = st.none() | st.tuples(st.none() | st.integers(-(2**31), 2**31 - 1), text)
    numbers = st.none() | st.decimals(
        allow_nan=False, allow_infinity=False, places=2, min_value=-(10**6), max_value=10**6
    )
    outer = st.tuples(inner, numbers, st.none() | st.lists(text, max_size=3), st.none() | st.booleans())

    @settings(max_examples=150, deadline=None, database=None)
    @given(outer)
    def one(value):
        async def body():
            found = await sent(db, "outer_", value)
            assert found.back == value
            script = await db.execute_script("select '" + found.text.replace("'", "''") + "'::outer_")
            assert repr(script[0].rows[0][0]) == repr(found.back)

        runner.run(body())

    one()
