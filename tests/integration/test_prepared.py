"""Round trips and the statement cache, seen from the wire and from pg_prepared_statements."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from dataclasses import dataclass
from decimal import Decimal
from itertools import permutations

import pytest

from pgoxide.errors import DataError, InterfaceError, UndefinedTable
from pgoxide.statement import Statement

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]

# One letter per message: Parse, Describe, Bind, Execute, Sync, Close, Query, H for Flush.
SQL = "select $1::int4 + 1"


@pytest.fixture
def line(proxy):
    return proxy()


@pytest.mark.row("Q11")
async def test_flights_of_a_statement_with_parameters(connect, line):
    db = await connect(to=line)
    line.forget()
    assert await db.fetch_value(SQL, 1) == 2
    assert line.sent == "PDSBES"
    line.forget()
    for n in range(3):
        assert await db.fetch_value(SQL, n) == n + 1
    assert line.sent == "BES" * 3


@pytest.mark.row("Q11")
async def test_flights_of_a_query_without_parameters(connect, line):
    """A query is described first: results whose columns are unknown would have to come as text, which is not exact."""
    db = await connect(to=line)
    line.forget()
    assert await db.fetch_value("select 1") == 1
    assert line.sent == "PDSBES"
    line.forget()
    assert await db.fetch_value("select 1") == 1
    assert line.sent == "BES"


@pytest.mark.row("Q11")
async def test_flights_of_a_command_without_parameters(connect, line):
    db = await connect(to=line)
    for sent in ("PDBES", "BES"):
        line.forget()
        await db.execute("set application_name = 'x'")
        assert line.sent == sent


@pytest.mark.row("Q10", "Q11")
async def test_declared_types_under_another_datestyle(connect, line):
    """Text dates are read in ISO only: the round trip is not saved, the value is right."""
    db = await connect(to=line)
    await db.execute("set datestyle = 'German'")
    line.forget()
    day = dt.date(2020, 3, 4)
    assert await db.fetch_value("select $1", day, types=["date"]) == day
    assert line.sent == "PDSBES"


@pytest.mark.row("Q10", "Q11")
@pytest.mark.parametrize(
    ("statement", "arguments", "types"),
    [
        ("select $1 + 1", (1,), ["int4"]),
        ("select $1 + 1", (1,), [23]),
        ("select $1 + 1", (1,), ("int4",)),
        (Statement("select $1 + 1", (1,), types=["int4"]), (), None),
    ],
)
async def test_declared_types_save_a_round_trip(connect, line, statement, arguments, types):
    db = await connect(to=line)
    line.forget()
    options = {} if types is None else {"types": types}
    assert await db.fetch_value(statement, *arguments, **options) == 2
    assert line.sent == "PDBES"
    line.forget()
    assert await db.fetch_value(statement, *arguments, **options) == 2
    assert line.sent == "BES"


@pytest.mark.row("Q10")
async def test_declared_types_decide_what_the_server_sees(db):
    for _ in range(2):
        assert await db.fetch_value("select pg_typeof($1)::text", 1, types=["int2"]) == "smallint"
        assert await db.fetch_value("select pg_typeof($1)::text", 1, types=["int8"]) == "bigint"
        assert await db.fetch_value("select pg_typeof($1)::text", "1", types=["text"]) == "text"
        assert await db.fetch_value("select pg_typeof($1)::text", "1", types=[1043]) == "character varying"
    with pytest.raises(DataError, match="int2"):
        await db.fetch_value("select pg_typeof($1)::text", 40_000, types=["int2"])


@pytest.mark.row("Q10")
@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("text[]", "text[]"),
        ("_text", "text[]"),
        ("int[]", "integer[]"),
        ("int4[][]", "integer[]"),
        ("double precision[]", "double precision[]"),
        ("character varying[]", "character varying[]"),
        ("timestamp with time zone[]", "timestamp with time zone[]"),
        ("time without time zone", "time without time zone"),
        ("bit varying", "bit varying"),
        ("numeric []", "numeric[]"),
    ],
)
async def test_spellings_of_types(db, spelling, name):
    """As in the docstring of Statement: `[]` is how SQL writes arrays, whatever pg_type calls them."""
    for _ in range(2):
        assert await db.fetch_value("select pg_typeof($1)::text", None, types=[spelling]) == name
    assert await db.fetch_value(Statement("select pg_typeof($1)::text", (None,), types=(spelling,))) == name
    async with db.batch() as batch:
        reply = batch.fetch_value("select pg_typeof($1)::text", None, types=[spelling])
    assert reply.result() == name


@pytest.mark.row("Q10")
async def test_a_declared_array(db):
    assert await db.fetch_value("select $1", ["a", "b"], types=["text[]"]) == ["a", "b"]
    for unknown in ("nothing[]", "[]", "void[]"):
        with pytest.raises(InterfaceError, match="no built-in type"):
            await db.fetch_value("select $1", None, types=[unknown])


@pytest.mark.row("Q10")
async def test_some_types_declared(db):
    """Fewer types than parameters: the server finds the others."""
    for _ in range(2):
        row = await db.fetch_one(
            "select pg_typeof($1)::text, pg_typeof($2 || 'x')::text", 1, "a", types=["int8"]
        )
        assert row == ("bigint", "text")


@pytest.mark.row("Q10")
async def test_types_that_cannot_be(db):
    with pytest.raises(InterfaceError, match="no_such"):
        await db.fetch_value("select $1", 1, types=["no_such"])
    with pytest.raises(InterfaceError):
        await db.fetch_value("select $1", 1, types=["int4", "int4"])


@pytest.mark.row("Q10")
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ([-1], InterfaceError),
        ([1 << 40], InterfaceError),
        ([None], TypeError),
        ([1.5], TypeError),
        (7, TypeError),
    ],
)
async def test_types_of_the_wrong_type(db, wrong, error):
    with pytest.raises(error):
        await db.fetch_value("select $1", 1, types=wrong)


@pytest.mark.row("Q11")
async def test_a_refused_argument_sends_nothing_once_the_statement_is_known(connect, line):
    db = await connect(to=line)
    await db.fetch_value(SQL, 1)
    line.forget()
    with pytest.raises(DataError):
        await db.fetch_value(SQL, "x")
    assert line.sent == ""


@pytest.mark.row("Q11")
@pytest.mark.parametrize("face", ["async"])
async def test_many_first_uses_ask_for_one_description(connect, line):
    db = await connect(to=line)
    line.forget()
    answers = [db.fetch_value(SQL, n) for n in range(5)]
    assert [await answer for answer in answers] == [1, 2, 3, 4, 5]
    assert line.sent == "PDS" + "BES" * 5


@pytest.mark.row("Q11")
async def test_no_flush_is_ever_sent_without_a_sync(connect, line):
    db = await connect(to=line)
    await db.fetch_all(SQL, 1)
    await db.execute_script("select 1; select 2")
    async with db.batch() as batch:
        batch.execute("select 1")
        batch.fetch_all(SQL, 1)
    assert "H" not in line.sent


# ---- the cache


async def server_side(db):
    """Statements the server holds, this look included."""
    (result,) = await db.execute_script("select count(*) from pg_prepared_statements")
    return result.rows[0][0]


@pytest.mark.row("Q12")
@pytest.mark.parametrize("size", [0, 1, 10, 256])
async def test_a_thousand_statements_leave_no_more_than_the_size(connect, size):
    db = await connect(statement_cache_size=size)
    for n in range(1000):
        assert await db.fetch_value(f"select {n}") == n
    await db.fetch_value("select 'one more, which carries the last Close'")
    assert await server_side(db) <= size
    stats = db.statement_cache
    assert stats["size"] <= size
    assert (stats["hits"], stats["misses"]) == (0, 1001)
    assert stats["evictions"] == (1001 - size if size else 0)


@pytest.mark.row("Q12")
async def test_parameters_too_with_the_cache_off(connect):
    db = await connect(statement_cache_size=0)
    for n in range(20):
        assert await db.fetch_value("select $1::int4", n) == n
    assert await server_side(db) == 0
    assert db.statement_cache == {"size": 0, "hits": 0, "misses": 20, "evictions": 0}


@pytest.mark.row("Q12")
async def test_the_least_recently_used_goes(connect):
    db = await connect(statement_cache_size=2)
    for text in ("select 'a'", "select 'b'", "select 'a'", "select 'c'", "select 'a'"):
        await db.fetch_value(text)
    assert db.statement_cache == {"size": 2, "hits": 2, "misses": 3, "evictions": 1}
    (held,) = await db.execute_script("select statement from pg_prepared_statements order by 1")
    assert [row[0] for row in held.rows] == ["select 'a'", "select 'c'"]


@pytest.mark.row("Q12")
async def test_an_evicted_statement_is_closed_by_the_next_flight(connect, line):
    db = await connect(to=line, statement_cache_size=1)
    await db.fetch_value("select 1")
    line.forget()
    await db.fetch_value("select 2")
    assert line.sent == "CPDSBES"
    assert await server_side(db) == 1


@pytest.mark.row("Q12")
async def test_types_are_part_of_the_key(db):
    await db.fetch_value("select $1", 1, types=["int4"])
    await db.fetch_value("select $1", 1, types=["int8"])
    await db.fetch_value("select $1", "1")
    assert db.statement_cache["misses"] == 3
    await db.fetch_value("select $1", 1, types=["int8"])
    assert db.statement_cache["hits"] == 1


@pytest.mark.row("Q12")
async def test_equal_texts_are_one_statement_whatever_object_they_are(db):
    text = "select 'equal'"

    class Text(str):
        __slots__ = ()

        def __eq__(self, other):
            return False

        __hash__ = None

    await db.fetch_value(text)
    await db.fetch_value("".join(list(text)))
    await db.fetch_value(Text(text))
    assert db.statement_cache == {"size": 1, "hits": 2, "misses": 1, "evictions": 0}


@pytest.mark.row("Q12")
async def test_long_texts_are_not_kept(connect):
    """The limit counts characters: é is one, not two."""
    db = await connect(statement_cache_max_length=20)
    at_limit, above = "select 'éééééééééé'", "select 'ééééééééééé'"
    at_limit, above = f"{at_limit} ", f"{above} "
    assert (len(at_limit), len(above)) == (20, 21)
    for text in (at_limit, above):
        for _ in range(2):
            await db.fetch_value(text)
    assert db.statement_cache["size"] == 1
    assert await server_side(db) == 1
    assert db.statement_cache["hits"] == 1


@pytest.mark.row("Q12")
async def test_a_lifetime(connect, line):
    db = await connect(to=line, statement_cache_lifetime=0.05)
    await db.fetch_value("select 1")
    time.sleep(0.1)
    line.forget()
    assert await db.fetch_value("select 1") == 1
    assert line.sent == "CPDSBES"
    assert await server_side(db) == 1


@pytest.mark.row("Q12")
async def test_a_refused_statement_is_not_kept(db):
    for _ in range(2):
        with pytest.raises(UndefinedTable):
            await db.fetch_all("select * from not_there")
        with pytest.raises(UndefinedTable):
            await db.fetch_all("select * from not_there where n = $1", 1)
    assert db.statement_cache["size"] == 0
    await db.execute("create temp table not_there (n int)")
    assert await db.fetch_all("select * from not_there") == []
    assert await db.fetch_all("select * from not_there where n = $1", 1) == []


@pytest.mark.row("Q12")
async def test_a_statement_that_failed_to_run_is_still_prepared(db):
    for n in (0, 1, 0, 2):
        try:
            assert await db.fetch_value("select 2 / $1::int4", n) == 2 // n
        except Exception as error:
            assert n == 0, error
    assert db.statement_cache["misses"] == 1


# ---- what else tells calls of one text apart


@dataclass
class Named:
    n: int
    text: str


@dataclass
class Swapped:
    text: str
    n: int


INTO = {
    "row": (None, (7, "x")),
    "tuple": (tuple, (7, "x")),
    "dict": (dict, {"n": 7, "text": "x"}),
    "dataclass": (Named, Named(7, "x")),
    "another dataclass": (Swapped, Swapped("x", 7)),
    "callable": (lambda row: row.n, 7),
}


@pytest.mark.row("Q12", "R05")
async def test_one_statement_many_row_types(db):
    """`into=` is no part of the key, and each call gets its own, whichever was first and however they are mixed."""
    sql = "select $1::int4 as n, 'x' as text"
    for order in permutations(INTO, 2):
        text = f"{sql} /* {order} */"
        for name in order * 2:
            into, expected = INTO[name]
            got = await db.fetch_one(text, 7, **({} if into is None else {"into": into}))
            assert got == expected
            assert into is not tuple or type(got) is tuple
    stats = db.statement_cache
    assert stats["misses"] == len(INTO) * (len(INTO) - 1)
    assert stats["hits"] == 3 * stats["misses"]


@pytest.mark.row("Q12", "R05")
@pytest.mark.parametrize("face", ["async"])
async def test_row_types_in_one_flight(db):
    """Several first uses at once, before the description is known."""
    calls = [db.fetch_one("select $1::int4 as n, 'x' as text", 7, into=INTO[name][0]) for name in INTO]
    assert await asyncio.gather(*calls) == [expected for _, expected in INTO.values()]
    assert db.statement_cache["misses"] == 1


@pytest.mark.row("Q12", "Q10")
async def test_types_make_another_plan(db):
    """Parameters and results of one text follow the declared types: neither use sees the other's codecs."""
    sql = "select $1 as value, pg_typeof($1)::text"
    uses = [
        ("int4", 7),
        ("int8", 2**40),
        ("text", "x"),
        ("float8", 0.5),
        ("numeric", Decimal("1.10")),
        ("bytea", b"x"),
        ("bool", True),
    ]
    names = {"int4": "integer", "int8": "bigint", "float8": "double precision", "bool": "boolean"}
    for _ in range(3):
        for name, value in uses:
            got = await db.fetch_one(sql, value, types=[name])
            assert (got[0], got[1], type(got[0])) == (value, names.get(name, name), type(value))
    assert db.statement_cache == {
        "size": len(uses),
        "hits": 2 * len(uses),
        "misses": len(uses),
        "evictions": 0,
    }
    with pytest.raises(DataError, match="int4"):
        await db.fetch_one(sql, "x", types=["int4"])


@pytest.mark.row("Q12", "Q10")
async def test_types_by_name_and_by_oid_are_one(db):
    for spelt in ("int4", "integer", 23):
        assert await db.fetch_value("select $1", 7, types=[spelt]) == 7
    assert db.statement_cache["misses"] == 1


@pytest.mark.row("Q12")
async def test_timeout_and_isolate_are_no_part_of_the_key(db):
    for options in ({}, {"timeout": 5}, {"isolate": True}, {"timeout": None, "isolate": False}):
        assert await db.fetch_value("select $1::int4", 7, **options) == 7
    assert db.statement_cache["misses"] == 1


@pytest.mark.row("Q12")
async def test_all_verbs_share_the_cache(db):
    for verb in (
        "fetch_all",
        "fetch_one",
        "fetch_optional",
        "fetch_first",
        "fetch_value",
        "fetch_column",
        "execute",
    ):
        await getattr(db, verb)("select $1::int4", 7)
    assert db.statement_cache == {"size": 1, "hits": 6, "misses": 1, "evictions": 0}


@pytest.mark.row("Q12")
async def test_the_lifetime_counts_from_the_first_use_and_in_the_statistics(connect):
    """A statement that is too old is given up like one for which there is no room."""
    db = await connect(statement_cache_lifetime=0.3)
    for _ in range(3):
        await db.fetch_value("select 1")
    assert db.statement_cache == {"size": 1, "hits": 2, "misses": 1, "evictions": 0}
    time.sleep(0.35)
    await db.fetch_value("select 1")
    assert db.statement_cache == {"size": 1, "hits": 2, "misses": 2, "evictions": 1}
    assert await server_side(db) == 1


@pytest.mark.row("Q12")
async def test_without_a_lifetime_statements_stay(connect, line):
    db = await connect(to=line, statement_cache_lifetime=None)
    await db.fetch_value("select 1")
    time.sleep(0.1)
    line.forget()
    await db.fetch_value("select 1")
    assert line.sent == "BES"


@pytest.mark.row("Q12")
@pytest.mark.parametrize("face", ["async"])
@pytest.mark.parametrize("lifetime", [0.0, 0.001])
async def test_a_statement_in_use_is_not_closed_under_its_callers(connect, lifetime):
    db = await connect(statement_cache_lifetime=lifetime)
    for _ in range(20):
        got = await asyncio.gather(*(db.fetch_value("select $1::int4", n) for n in range(20)))
        assert got == list(range(20))
    await db.fetch_value("select 'the last Close'")
    assert await server_side(db) <= 2


@pytest.mark.row("Q12")
@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("statement_cache_size", -1),
        ("statement_cache_size", 1.5),
        ("statement_cache_max_length", -1),
        ("statement_cache_lifetime", -0.1),
        ("statement_cache_lifetime", "1"),
    ],
)
async def test_options_that_cannot_be(connect, name, bad):
    with pytest.raises(InterfaceError, match=name):
        await connect(**{name: bad})
