"""Q21, Q14: types and columns that are altered after they were looked up, by this session, in its transaction, by another."""

from __future__ import annotations

import contextlib
import itertools
import time
from decimal import Decimal

import pytest

from pgoxide.errors import DataError, StatementInvalidated
from pgoxide.types import Array, Codec, Json, PgDate, Range

pytestmark = [pytest.mark.pg, pytest.mark.row("Q21")]

_schemas = itertools.count()

SWAP = "alter type {0} rename attribute a to c; alter type {0} rename attribute b to a; alter type {0} rename attribute c to b"


@pytest.fixture
def schema(runner, connect):
    name = f"altered_{next(_schemas)}"

    async def make():
        other = await connect()
        await other.execute_script(
            f"drop schema if exists {name} cascade; create schema {name}; set search_path = {name};"
            "create type pair as (a int4, b int4); create table t (a int4, b int4); insert into t values (1, 2)"
        )
        return other

    other = runner.run(make())
    yield name
    runner.run(_drop(other, name))


async def _drop(other, name):
    await other.execute_script(f"rollback; drop schema {name} cascade")


async def both(db, schema):
    """A pair read and a pair written, by the names of its fields."""
    read = await db.fetch_value(f"select row(1, 2)::{schema}.pair")
    written = await db.fetch_value(f"select $1::{schema}.pair::text", {"a": 1, "b": 2})
    return read._asdict(), written


OLD = ({"a": 1, "b": 2}, "(1,2)")
NEW = ({"b": 1, "a": 2}, "(2,1)")


async def test_fields_that_change_their_names(db, schema):
    """Values look as before: nothing but the command tells."""
    assert await both(db, schema) == OLD
    for command in SWAP.format(f"{schema}.pair").split(";"):
        await db.execute(command)
    assert await both(db, schema) == NEW
    statement = await db.prepare(f"select row(1, 2)::{schema}.pair")
    assert (await statement.fetch_value())._asdict() == NEW[0]
    await db.execute_script(SWAP.format(f"{schema}.pair"))
    assert await both(db, schema) == OLD
    assert (await statement.fetch_value())._asdict() == OLD[0]


async def test_columns_of_a_row_type_that_change_their_order(db, schema):
    sql = f"select t from {schema}.t"
    assert (await db.fetch_value(sql))._asdict() == {"a": 1, "b": 2}
    async with db.batch() as batch:
        batch.execute(f"alter table {schema}.t drop column a")
        batch.execute(f"alter table {schema}.t add column a int4 not null default 10")
    assert (await db.fetch_value(sql))._asdict() == {"b": 2, "a": 10}


@pytest.mark.parametrize("back", ["rollback", "savepoint"])
async def test_altered_in_a_transaction_that_is_rolled_back(db, schema, back):
    assert await both(db, schema) == OLD
    await db.execute("begin")
    await db.execute("savepoint s")
    for command in SWAP.format(f"{schema}.pair").split(";"):
        await db.execute(command)
    assert await both(db, schema) == NEW
    if back == "savepoint":
        await db.execute("rollback to s")
        assert await both(db, schema) == OLD
    await db.execute("rollback")
    assert await both(db, schema) == OLD


async def test_a_transaction_that_is_chained(open_pool, schema):
    pool = await open_pool(min_size=2, max_size=2)
    one, two = await pool.acquire(), await pool.acquire()
    assert (await both(one, schema), await both(two, schema)) == (OLD, OLD)
    await one.execute("begin")
    for command in SWAP.format(f"{schema}.pair").split(";"):
        await one.execute(command)
    assert (await both(one, schema), await both(two, schema)) == (NEW, OLD)
    await one.execute("commit and chain")
    assert (await both(one, schema), await both(two, schema)) == (NEW, NEW)
    await one.execute("rollback")
    await pool.release(one)
    await pool.release(two)


@pytest.mark.parametrize("commit", [True, False])
async def test_a_pool_sees_what_is_committed(open_pool, schema, commit):
    """While one connection has altered types in its transaction, it has its own idea of them; then they all have the same."""
    pool = await open_pool(min_size=2, max_size=2)
    one, two = await pool.acquire(), await pool.acquire()
    assert (await both(one, schema), await both(two, schema)) == (OLD, OLD)
    await one.execute("begin")
    for command in SWAP.format(f"{schema}.pair").split(";"):
        await one.execute(command)
    for _ in range(2):
        assert (await both(two, schema), await both(one, schema)) == (OLD, NEW)
    await one.execute("commit" if commit else "rollback")
    for _ in range(2):
        expected = NEW if commit else OLD
        assert (await both(two, schema), await both(one, schema)) == (expected, expected)
    await pool.release(one)
    await pool.release(two)


async def until_taken(call):
    """An argument that is refused has its statement described anew, but not more often than ten times a second."""
    began = time.monotonic()
    while True:
        try:
            return await call()
        except DataError:
            assert time.monotonic() - began < 10
        time.sleep(0.02)


@pytest.mark.row("Q14")
@pytest.mark.parametrize("own", [True, False])
async def test_a_column_of_another_type(db, connect, schema, own):
    """Arguments that fit the column now were refused for ever by what the statement had been described as."""
    other = db if own else await connect()
    sql = f"select b from {schema}.t where a = $1"
    assert await db.fetch_all(sql, 1) == [(2,)]
    statement = await db.prepare(sql)
    assert await statement.fetch_all(1) == [(2,)]
    await other.execute(f"alter table {schema}.t alter a type text")
    assert await until_taken(lambda: db.fetch_all(sql, "1")) == [(2,)]
    assert await until_taken(lambda: statement.fetch_all("1")) == [(2,)]
    await other.execute(f"alter table {schema}.t alter a type int8 using a::int8")
    assert await until_taken(lambda: statement.fetch_all(1)) == [(2,)]
    await other.execute(f"insert into {schema}.t values (2 ^ 40, 40)")
    assert await until_taken(lambda: db.fetch_all(sql, 2**40)) == [(40,)]


@pytest.mark.row("Q14")
async def test_a_type_made_anew(db, connect, schema):
    other = await connect()
    await other.execute(f"create domain {schema}.d as int4")
    sql = f"select $1::{schema}.d"
    assert await db.fetch_value(sql, 1) == 1
    await other.execute_script(f"drop domain {schema}.d; create domain {schema}.d as text")
    assert await until_taken(lambda: db.fetch_value(sql, "x")) == "x"
    await other.execute_script(f"drop domain {schema}.d; create type {schema}.d as (a int4, b text)")
    assert await until_taken(lambda: db.fetch_value(sql, (1, "x"))) == (1, "x")


MADE_ANEW = {
    "composite": ("create type {0}.thing as (a int4, b text)", (1, "x"), (1, "x")),
    "domain": ("create domain {0}.thing as int4", 7, 7),
    "enum": ("create type {0}.thing as enum ('x')", "x", "x"),
    "range": ("create type {0}.thing as range (subtype = float8)", Range(1.5, 2.5), Range(1.5, 2.5)),
}


@pytest.mark.parametrize("kind", MADE_ANEW)
async def test_a_type_dropped_and_made_anew(db, connect, schema, kind):
    """The server looks for the old one, in vain, and calls that an internal error: for ever, were the statement kept."""
    other = await connect()
    make, value, back = MADE_ANEW[kind]
    sql = f"select $1::{schema}.thing as one, $2::{schema}.thing[] as many"
    empty = f"select null::{schema}.thing where $1"
    for _ in range(3):
        await other.execute_script(f"drop type if exists {schema}.thing; {make.format(schema)}")
        for _ in range(2):
            assert await db.fetch_one(sql, value, [value, None]) == (back, [back, None])
            assert await db.fetch_all(empty, True) == [(None,)]
    await db.execute("begin")
    await other.execute_script(f"drop type {schema}.thing; {make.format(schema)}")
    await db.fetch_all(f"table {schema}.t")  # a lock is where the server session hears of that
    with pytest.raises(
        StatementInvalidated, match="a type of this statement was dropped since it was prepared"
    ):
        await db.fetch_one(sql, value, [value])
    await db.execute("rollback")
    assert await db.fetch_one(sql, value, [value]) == (back, [back])


cents = Codec(encode=lambda count: Decimal(count) / 100, format="value")

UNREADABLE = {
    "a float4, whose digits are not known": ("domain", "float4", "float8", 0.1, "0.1", {}),
    "bounds that the connection does not keep": (
        "domain",
        "int4[]",
        "int8[]",
        Array([1, 2], [0]),
        "[0:1]={1,2}",
        {},
    ),
    "a date that it clamps": (
        "type",
        "(d date)",
        "(d date)",
        (PgDate.infinity,),
        "(infinity)",
        {"beyond": "clamp"},
    ),
    "what a codec makes of it": ("domain", "numeric", "numeric", 150, "1.5", {"codecs": {"thing": cents}}),
}


@pytest.mark.row("Q14")
@pytest.mark.parametrize("what", UNREADABLE)
async def test_a_parameter_that_cannot_be_read_back(connect, schema, what):
    """A call is made again with its parameters in their new types only if they are certain to be those that were given."""
    kind, before, now, value, expected, options = UNREADABLE[what]
    db, other = await connect(**options), await connect()
    sql = f"select $1::{schema}.thing::text"
    await other.execute(f"create {kind} {schema}.thing as {before}")
    assert await db.fetch_value(sql, value) == expected
    await other.execute_script(f"drop {kind} {schema}.thing; create {kind} {schema}.thing as {now}")
    with pytest.raises(
        StatementInvalidated, match="argument 1 cannot be read back as it was given; nothing of it has run"
    ):
        await db.fetch_value(sql, value)
    for _ in range(2):
        assert await db.fetch_value(sql, value) == expected


@pytest.mark.row("Q14", "Q15")
async def test_another_type_of_the_name_with_its_fields_in_another_order(db, schema):
    """As where each tenant has a schema, and the search_path says whose turn it is. A dict must not become a tuple on the way."""
    await db.execute_script(f"create schema {schema}_b; create type {schema}_b.pair as (b int4, a int4)")
    sql = "select ($1::pair).a, ($1::pair).b"
    for _ in range(3):
        for name in (schema, f"{schema}_b"):
            await db.execute(f"set search_path = {name}")
            with contextlib.suppress(StatementInvalidated):
                assert await db.fetch_one(sql, {"a": 1, "b": 2}) == (1, 2)
            for _ in range(2):
                assert await db.fetch_one(sql, {"a": 1, "b": 2}) == (1, 2)
    await db.execute(f"drop schema {schema}_b cascade")


@pytest.mark.row("Q14")
@pytest.mark.parametrize(
    ("before", "now"), [("text", "json"), ("text", "jsonb"), ("int4", "jsonb"), ("text[]", "json[]")]
)
async def test_what_a_value_is_in_json_depends_on_what_was_given(db, connect, schema, before, now):
    other = await connect()
    await other.execute(f"create domain {schema}.thing as {before}")
    value = {"text": Json({"a": 1}), "int4": True, "text[]": [Json([1])]}[before]
    expected = {"text": {"a": 1}, "int4": True, "text[]": [[1]]}[before]
    sql = f"select $1::{schema}.thing"
    await db.fetch_value(sql, value)
    await other.execute_script(f"drop domain {schema}.thing; create domain {schema}.thing as {now}")
    with pytest.raises(StatementInvalidated):
        await db.fetch_value(sql, value)
    assert await db.fetch_value(sql, value) == expected


@pytest.mark.row("Q14")
async def test_a_float4_of_few_digits_can_be_read_back(db, connect, schema):
    other = await connect()
    sql = f"select $1::{schema}.thing::text"
    await other.execute(f"create domain {schema}.thing as float4")
    assert await db.fetch_value(sql, 1.5) == "1.5"
    await other.execute_script(f"drop domain {schema}.thing; create domain {schema}.thing as float8")
    assert await db.fetch_value(sql, 1.5) == "1.5"


@pytest.mark.row("Q29")
async def test_bad_arguments_do_not_have_a_statement_described_each_time(connect, proxy):
    relay = proxy()
    db = await connect(to=relay)
    assert await db.fetch_value("select $1::int4", 1) == 1
    time.sleep(0.15)
    relay.forget()
    for _ in range(20):
        with pytest.raises(DataError, match="expected int, got str 'x'"):
            await db.fetch_value("select $1::int4", "x")
    assert relay.sent.count("P") <= 1
    assert await db.fetch_value("select $1::int4", 1) == 1
