"""Statements that are prepared and held, and what is known of them: Q19, Q26, T13."""

from __future__ import annotations

import asyncio
import gc
import threading
from dataclasses import dataclass

import pytest

import pgoxide
from pgoxide.errors import (
    ConnectionClosed,
    DataError,
    InterfaceError,
    MultipleRows,
    NoRow,
    QueryTimeout,
    StatementInvalidated,
    UndefinedTable,
)
from pgoxide.errors import (
    SyntaxError as ServerSyntaxError,
)
from pgoxide.types import ResultColumn, StatementDescription, StatementParameter

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]

NUMBERS = "select n, n::text as text from generate_series(1, $1::int4) as n"


@pytest.fixture
def line(proxy):
    return proxy()


async def server_side(db):
    """Names of the statements the server holds; the look itself is by the simple protocol."""
    (result,) = await db.execute_script("select name from pg_prepared_statements")
    return {row[0] for row in result.rows}


# ---- what it is


@pytest.mark.row("Q19")
async def test_what_is_known(db):
    await db.execute("create temp table t (id int4, price numeric(12,2), name varchar(7))")
    sql = "select id, price, name, 1 as one from t where id = $1 and name like $2"
    stmt = await db.prepare(sql)
    assert stmt.sql == sql
    assert stmt.name in await server_side(db)
    assert stmt.parameter_types == ("int4", "text")
    assert stmt.parameters == (StatementParameter(None, 23, "int4"), StatementParameter(None, 25, "text"))
    table = await db.fetch_value("select 't'::regclass::oid")
    assert stmt.columns == (
        ResultColumn("id", 23, "int4", -1, table, 1),
        ResultColumn("price", 1700, "numeric", (12 << 16 | 2) + 4, table, 2),
        ResultColumn("name", 1043, "varchar", 11, table, 3),
        ResultColumn("one", 23, "int4", -1, None, None),
    )
    assert stmt.returns_rows
    assert not stmt.closed
    assert stmt.status is None
    shown = getattr(stmt, "real", stmt)
    assert stmt.name in repr(shown)
    assert "select id" in repr(shown)
    await stmt.close()
    assert stmt.closed
    assert "closed" in repr(shown)


@pytest.mark.row("Q19")
async def test_status_is_the_tag_of_the_last_run(db):
    stmt = await db.prepare(NUMBERS)
    for run, status in (
        (lambda: stmt.fetch_all(3), "SELECT 3"),
        (lambda: stmt.execute(4), "SELECT 4"),
        (lambda: stmt.execute_many([(2,), (5,)]), "SELECT 5"),
    ):
        await run()
        assert stmt.status == status
    assert [row.n async for row in stmt.stream(6, batch=4)] == [1, 2, 3, 4, 5, 6]
    assert stmt.status == "SELECT 2"  # of its last batch, as the server says


@pytest.mark.row("Q19")
async def test_a_statement_without_rows(db):
    await db.execute("create temp table t (id int4)")
    stmt = await db.prepare("insert into t values ($1)")
    assert (stmt.columns, stmt.returns_rows) == ((), False)
    assert (await stmt.execute(1)).rows_affected == 1
    empty = await db.prepare("select")
    assert (empty.columns, empty.returns_rows) == ((), True)
    assert await empty.fetch_all() == [()]


@pytest.mark.row("Q19")
async def test_verbs(db):
    stmt = await db.prepare(NUMBERS)
    assert await stmt.fetch_all(2) == [(1, "1"), (2, "2")]
    assert (await stmt.fetch_all(1))[0].text == "1"
    assert await stmt.fetch_one(1) == (1, "1")
    assert await stmt.fetch_optional(0) is None
    assert await stmt.fetch_first(3) == (1, "1")
    assert (await stmt.execute(3)).rows_affected == 3
    with pytest.raises(NoRow):
        await stmt.fetch_one(0)
    with pytest.raises(MultipleRows):
        await stmt.fetch_optional(2)
    with pytest.raises(InterfaceError, match="one column"):
        await stmt.fetch_value(1)
    with pytest.raises(InterfaceError, match="1 parameter"):
        await stmt.fetch_all()
    with pytest.raises(DataError):
        await stmt.fetch_all("x")
    one = await db.prepare("select $1::int4")
    assert await one.fetch_value(7) == 7
    assert await one.fetch_value(None) is None
    assert await one.fetch_column(7) == [7]
    assert [row async for row in one.stream(7)] == [(7,)]


@dataclass
class Number:
    n: int
    text: str


@pytest.mark.row("Q19", "R05")
async def test_a_row_type(db):
    stmt = await db.prepare(NUMBERS, into=Number)
    assert await stmt.fetch_all(2) == [Number(1, "1"), Number(2, "2")]
    assert await stmt.fetch_first(1) == Number(1, "1")
    assert [row async for row in stmt.stream(1)] == [Number(1, "1")]
    assert await (await db.prepare("select 1", into=int)).fetch_all() == [1]
    assert await (await db.prepare("select 1 as n", into=lambda row: row.n + 1)).fetch_one() == 2


@pytest.mark.row("Q19", "Q10")
async def test_declared_types(db, connect, line):
    stmt = await db.prepare("select pg_typeof($1)::text", types=["int8"])
    assert stmt.parameter_types == ("int8",)
    assert await stmt.fetch_value(1) == "bigint"
    named = await db.prepare("select pg_typeof(:a)::text, :b::int4", types={"a": "int2", "b": "int4"})
    assert [p.name for p in named.parameters] == ["a", "b"]
    assert await named.fetch_one(a=1, b=2) == ("smallint", 2)


@pytest.mark.row("Q19")
async def test_named_parameters(db):
    stmt = await db.prepare("select :first || :second || :first")
    assert stmt.sql == "select :first || :second || :first"
    assert await stmt.fetch_value(first="a", second="b") == "aba"
    assert await stmt.fetch_value(params={"first": "a", "second": "b"}) == "aba"
    assert (await stmt.execute_many([{"first": "a", "second": "b"}])).text == "SELECT 1"
    with pytest.raises(InterfaceError, match=":first, :second"):
        await stmt.fetch_value("a", "b")
    with pytest.raises(InterfaceError, match=":second"):
        await stmt.fetch_value(first="a")
    with pytest.raises(InterfaceError, match="no names"):
        await (await db.prepare("select $1::int4")).fetch_value(first=1)


@pytest.mark.row("Q19")
async def test_timeouts(db):
    stmt = await db.prepare("select pg_sleep($1)")
    with pytest.raises(QueryTimeout):
        await stmt.fetch_all(20.0, timeout=0.1)
    with pytest.raises(QueryTimeout):
        await stmt.execute_many([(20.0,)], timeout=0.1)
    with pytest.raises(QueryTimeout):
        _ = [row async for row in stmt.stream(20.0, timeout=0.1)]
    assert await db.fetch_value("select 1") == 1
    with pytest.raises(InterfaceError, match="timeout"):
        await db.prepare("select 1", timeout=-1)


@pytest.mark.row("Q19")
async def test_isolate(connect, line):
    """Nothing else is in flight beside it."""
    db = await connect(to=line)
    stmt = await db.prepare("select $1::int4")
    assert await stmt.fetch_value(1, isolate=True) == 1


@pytest.mark.row("Q19")
async def test_what_the_server_refuses(db):
    with pytest.raises(ServerSyntaxError) as caught:
        await db.prepare("selekt 1")
    assert caught.value.position == 1
    with pytest.raises(UndefinedTable):
        await db.describe("select * from not_there")
    with pytest.raises(InterfaceError, match="no_such"):
        await db.prepare("select $1", types=["no_such"])
    assert await server_side(db) == set()


@pytest.mark.row("Q19")
async def test_what_is_sent(connect, line):
    """Its description once, then runs; the connection's own cache does not count it."""
    db = await connect(to=line)
    line.forget()
    stmt = await db.prepare(NUMBERS)
    assert line.sent == "PDS"
    await stmt.fetch_all(1)
    await stmt.fetch_all(2)
    assert line.sent == "PDS" + "BES" * 2
    line.forget()
    await stmt.close()
    assert line.sent == "CS"
    assert db.statement_cache == {"size": 0, "hits": 0, "misses": 0, "evictions": 0}


# ---- how long it lives


@pytest.mark.row("Q19")
async def test_close(db):
    one, two = await db.prepare(NUMBERS), await db.prepare(NUMBERS)
    assert len({one.name, two.name} & await server_side(db)) == 2
    name = one.name
    await one.close()
    assert name not in await server_side(db)
    await one.close()
    for use in (
        lambda: one.fetch_all(1),
        lambda: one.stream(1),
        lambda: one.execute_many([(1,)]),
        lambda: one.columns,
        lambda: one.parameters,
        lambda: one.name,
        lambda: one.sql,
    ):
        with pytest.raises(InterfaceError, match="has been closed"):
            result = use()
            await result
    assert len(await two.fetch_all(2)) == 2


@pytest.mark.row("Q19")
async def test_a_block(db):
    async with await db.prepare(NUMBERS) as stmt:
        assert len(await stmt.fetch_all(2)) == 2
        assert stmt.name in await server_side(db)
    assert stmt.closed
    assert await server_side(db) == set()
    with pytest.raises(ZeroDivisionError):
        async with await db.prepare(NUMBERS):
            1 / 0
    assert await server_side(db) == set()


@pytest.mark.row("Q19", "Q12")
async def test_the_cache_does_not_close_it(connect):
    """Neither its size, nor its lifetime, nor being off."""
    for options in (
        {"statement_cache_size": 1},
        {"statement_cache_size": 0},
        {"statement_cache_lifetime": 0.0},
        {"statement_cache_max_length": 3},
    ):
        db = await connect(**options)
        stmt = await db.prepare(NUMBERS)
        name = stmt.name
        for n in range(20):
            await db.fetch_value(f"select {n}")
        assert await db.fetch_all(NUMBERS, 1) == [(1, "1")]
        for _ in range(3):
            assert len(await stmt.fetch_all(2)) == 2
        assert name in await server_side(db)
        assert stmt.name == name


@pytest.mark.row("Q19")
async def test_a_thousand_leave_nothing(db):
    """Closed, dropped, or dropped in a cycle: the leak test."""
    for n in range(300):
        stmt = await db.prepare(f"select {n}")
        assert await stmt.fetch_value() == n
        await stmt.close()
    assert await server_side(db) == set()
    for n in range(300):
        stmt = await db.prepare(f"select {n}")
        assert await stmt.fetch_value() == n
    del stmt
    await db.execute("set application_name = 'carries the last Close'")
    assert len(await server_side(db)) == 1
    for n in range(300):
        stmt = await db.prepare(f"select {n}", into=lambda row: row[0])
        cycle = [stmt]
        cycle.append(cycle)
    del stmt, cycle
    gc.collect()
    await db.execute("set application_name = 'carries the last Close'")
    assert len(await server_side(db)) == 1


@pytest.mark.row("Q19")
async def test_dropped_by_another_thread(db):
    held = [await db.prepare(f"select {n}") for n in range(50)]
    assert len(await server_side(db)) == 50

    def drop():
        while held:
            held.pop()
        gc.collect()

    thread = threading.Thread(target=drop)
    thread.start()
    thread.join()
    assert await db.fetch_value("select 1") == 1
    assert len(await server_side(db)) == 1


@pytest.mark.row("Q19")
async def test_dropped_while_it_runs(db):
    stmt = await db.prepare(NUMBERS)
    stream = stmt.stream(5, batch=1)
    del stmt
    assert [row.n async for row in stream] == [1, 2, 3, 4, 5]
    await db.fetch_value("select 1")
    assert len(await server_side(db)) == 1


@pytest.mark.row("Q19")
@pytest.mark.parametrize("face", ["async"])
async def test_cancelled_while_it_is_prepared(connect, proxy):
    """Nobody got it, so it is closed."""
    db = await connect(to=proxy(delay=0.05))
    for _ in range(3):
        task = asyncio.ensure_future(db.prepare(NUMBERS))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await db.fetch_value("select 1") == 1
    await db.fetch_value("select 2")
    assert len(await server_side(db)) == 2


@pytest.mark.row("Q19")
async def test_closing_where_no_call_can_be_made(db, connect):
    stmt = await db.prepare(NUMBERS)
    stream = db.stream("select generate_series(1, 10)", batch=1)
    await stream.next_batch()
    name = stmt.name
    await stmt.close()
    assert stmt.closed
    await stream.close()
    assert await db.fetch_value("select 1") == 1
    assert name not in await server_side(db)
    stmt = await db.prepare(NUMBERS)
    await db.close()
    assert stmt.closed
    await stmt.close()
    with pytest.raises((ConnectionClosed, InterfaceError)):
        await stmt.fetch_all(1)


@pytest.mark.row("Q19")
async def test_in_a_failed_transaction_it_can_be_closed(db):
    stmt = await db.prepare(NUMBERS)
    await db.execute("begin")
    with pytest.raises(DataError):
        await db.execute("select 1/0")
    await stmt.close()
    await db.execute("rollback")
    assert stmt.closed
    assert len(await server_side(db)) <= 3


@pytest.mark.row("Q19", "Q14", "Q16")
async def test_it_survives_what_the_server_does(db, connect):
    """Prepared anew under another name, with its new columns, whoever of its uses meets it."""
    other = await connect()
    await other.execute_script("drop table if exists held; create table held as select 1 as id")
    stmt = await db.prepare("select * from held where id = $1")
    assert await stmt.fetch_all(1) == [(1,)]
    name = stmt.name
    await other.execute("alter table held add more text default 'x'")
    assert await stmt.fetch_all(1) == [(1, "x")]
    assert [column.name for column in stmt.columns] == ["id", "more"]
    assert stmt.name != name
    for drop in ("discard all", "do $$ begin execute 'deallocate all'; end $$"):
        await db.execute(drop)
        assert await stmt.fetch_all(1) == [(1, "x")]
        await db.execute(drop)
        assert (await stmt.execute_many([(1,), (2,)])).text == "SELECT 0"
        await db.execute(drop)
        assert [row async for row in stmt.stream(1)] == [(1, "x")]
        assert len([one for one in await server_side(db) if one == stmt.name]) == 1
    await db.execute("begin")
    await other.execute("alter table held add again text")
    with pytest.raises(StatementInvalidated):
        await stmt.fetch_all(1)
    await db.execute("rollback")
    assert await stmt.fetch_all(1) == [(1, "x", None)]
    await stmt.close()
    await other.execute("drop table held")


@pytest.mark.row("Q19", "P01")
@pytest.mark.parametrize("face", ["async"])
async def test_pipelined(db):
    stmt = await db.prepare(NUMBERS)
    answers = await asyncio.gather(*(stmt.fetch_all(n) for n in range(20)))
    assert [len(answer) for answer in answers] == list(range(20))
    with pytest.warns(RuntimeWarning, match=r"fetch_all\(\) was never awaited") as caught:
        stmt.fetch_all(1)
        await db.fetch_value("select 1")
        await asyncio.sleep(0.01)
        gc.collect()
    assert caught[0].filename == __file__


# ---- describe, and the metadata


@pytest.mark.row("Q26")
async def test_describe(connect, line):
    db = await connect(to=line)
    line.forget()
    described = await db.describe("select $1::int4 as n")
    assert line.sent == "PDS" + "CS"
    assert described == StatementDescription(
        (StatementParameter(None, 23, "int4"),), (ResultColumn("n", 23, "int4"),), returns_rows=True
    )
    assert (await db.describe("set application_name = 'x'")).returns_rows is False
    named = await db.describe("select :n::int4 + :m", types={"n": "int4", "m": "int8"})
    assert [(p.name, p.type_name) for p in named.parameters] == [("n", "int4"), ("m", "int8")]
    assert await server_side(db) == set()
    with pytest.raises(InterfaceError, match="timeout"):
        await db.describe("select 1", timeout=-1)


TYPES = {
    "numeric(12,2)": (12, 2, None, None),
    "numeric(7)": (7, 0, None, None),
    "numeric": (None, None, None, None),
    "numeric(5,-2)": (5, -2, None, None),
    "varchar(7)": (None, None, 7, None),
    "varchar": (None, None, None, None),
    "char(3)": (None, None, 3, None),
    "char": (None, None, 1, None),
    "bit(5)": (None, None, 5, None),
    "bit": (None, None, 1, None),
    "bit varying(9)": (None, None, 9, None),
    "bit varying": (None, None, None, None),
    "time(3)": (3, None, None, None),
    "timetz(0)": (0, None, None, None),
    "timestamp(6)": (6, None, None, None),
    "timestamptz(2)": (2, None, None, None),
    "timestamptz": (None, None, None, None),
    "interval": (None, None, None, None),
    "interval(3)": (3, None, None, None),
    "interval year": (None, None, None, "year"),
    "interval month": (None, None, None, "month"),
    "interval year to month": (None, None, None, "year to month"),
    "interval day to hour": (None, None, None, "day to hour"),
    "interval day to second": (None, None, None, "day to second"),
    "interval day to second(2)": (2, None, None, "day to second"),
    "interval hour to minute": (None, None, None, "hour to minute"),
    "interval minute to second(0)": (0, None, None, "minute to second"),
    "interval second(1)": (1, None, None, "second"),
    "numeric(12,2)[]": (12, 2, None, None),
    "varchar(7)[]": (None, None, 7, None),
    "int4": (None, None, None, None),
    "text": (None, None, None, None),
}


@pytest.mark.row("Q26", "T13")
async def test_type_modifiers(db):
    """Of columns of a table, of casts, and of domains over them."""
    if db.server_version < 150000:
        pytest.skip("numeric(5,-2) came with 15")
    await db.execute(f"create temp table t ({', '.join(f'c{n} {name}' for n, name in enumerate(TYPES))})")
    columns = (await db.describe("select * from t")).columns
    casts = (await db.describe(f"select {', '.join(f'null::{name}' for name in TYPES)}")).columns
    table = await db.fetch_value("select 't'::regclass::oid")
    for place, (name, column, cast) in enumerate(zip(TYPES, columns, casts, strict=True), 1):
        for one in (column, cast):
            assert (one.precision, one.scale, one.length, one.interval_fields) == TYPES[name], name
        assert (column.table_oid, column.attnum) == (table, place)
        assert (cast.table_oid, cast.attnum) == (None, None)
        assert column.type_name.endswith("[]") == name.endswith("[]")
        assert await db.fetch_value("select $1::text::regtype::oid", name) == column.type_oid
        assert await db.fetch_value("select $1::text::regtype::oid", column.type_name) == column.type_oid


@pytest.mark.row("Q26", "T13")
async def test_domains_and_origins(db):
    await db.execute("create domain pg_temp.money2 as numeric(9,3)")
    await db.execute("create temp table t (a int4, b pg_temp.money2)")
    await db.execute("alter table t drop a")
    await db.execute("create temp view v as select b, b + 1 as c from t")
    one, two = (await db.describe("select * from v")).columns
    assert (one.type_name, one.precision, one.scale) == ("numeric", 9, 3)
    assert (one.table_oid, one.attnum) == (await db.fetch_value("select 'v'::regclass::oid"), 1)
    assert (two.table_oid, two.attnum) == (await db.fetch_value("select 'v'::regclass::oid"), 2)
    (again,) = (await db.describe("select b from t as x")).columns
    assert (again.table_oid, again.attnum) == (await db.fetch_value("select 't'::regclass::oid"), 2)


def test_public_names():
    assert {"AsyncPreparedStatement", "PreparedStatement"} <= set(pgoxide.__all__)


@pytest.mark.row("Q26", "Q19")
async def test_types_that_are_not_built_in(db):
    """They have the names the catalog gives them."""
    await db.execute("create type pg_temp.mood as enum ('sad', 'ok')")
    await db.execute("create domain pg_temp.short as varchar(3)")
    stmt = await db.prepare(
        "select $1::pg_temp.mood as a, array[$1]::pg_temp.mood[] as b, 'x'::pg_temp.short as c"
    )
    assert stmt.parameter_types == ("mood",)
    assert [(column.type_name, column.length) for column in stmt.columns] == [
        ("mood", None),
        ("mood[]", None),
        ("varchar", 3),
    ]
    assert await stmt.fetch_one("ok") == ("ok", ["ok"], "x")
