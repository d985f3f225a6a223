"""Portals: P08."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass

import pytest

from pgoxide.errors import (
    ConnectionClosed,
    DivisionByZero,
    InFailedSqlTransaction,
    InterfaceError,
    InvalidCursorName,
    QueryTimeout,
    StatementInvalidated,
    UndefinedTable,
)
from pgoxide.statement import Statement

pytestmark = [pytest.mark.pg, pytest.mark.both_transports, pytest.mark.row("P08")]

TEN = "select n from generate_series(1, 10) as n"
SOME = "select n, n::text as text from generate_series(1, $1::int4) as n"


@pytest.fixture
def line(proxy):
    return proxy()


async def open_portals(db):
    (result,) = await db.execute_script("select name from pg_cursors where name like 'pgoxide%'")
    return {row[0] for row in result.rows}


async def test_ten_rows_by_three(db):
    await db.execute("begin")
    portal = await db.portal(TEN, into=int)
    assert not portal.suspended
    got = [await portal.fetch(3)]
    while portal.suspended:
        got.append(await portal.fetch(3))
    assert got == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]
    assert await portal.fetch(3) == []
    assert await portal.fetch_all() == []
    assert not portal.closed
    await portal.close()
    assert portal.closed
    await db.execute("commit")


async def test_a_count_that_comes_out_even(db):
    """The server cannot know that nothing is left before it is asked."""
    await db.execute("begin")
    portal = await db.portal(TEN)
    assert len(await portal.fetch(5)) == 5
    assert len(await portal.fetch(5)) == 5
    assert portal.suspended
    assert await portal.fetch(5) == []
    assert not portal.suspended
    await db.execute("rollback")


async def test_what_is_sent(connect, line):
    """Bind once; each fetch one Execute; a Sync each, so that others are not held up; nothing once all has come."""
    db = await connect(to=line)
    await db.execute("begin")
    line.forget()
    portal = await db.portal(TEN)
    assert line.sent == "PDS" + "BS"
    line.forget()
    await portal.fetch(3)
    await portal.fetch_all()
    assert line.sent == "ES" * 2
    line.forget()
    assert await portal.fetch(3) == []
    assert line.sent == ""
    await portal.close()
    await portal.close()
    assert line.sent == "CS"
    line.forget()
    await db.portal(TEN)
    assert line.sent == "BS"
    await db.execute("rollback")


async def test_other_statements_run_in_between(db):
    await db.execute("begin")
    one, two = await db.portal(TEN, into=int), await db.portal(SOME, 4)
    assert one.name != two.name
    assert await open_portals(db) == {one.name, two.name}
    assert await one.fetch(2) == [1, 2]
    assert await db.fetch_value("select 7") == 7
    assert await two.fetch(1) == [(1, "1")]
    assert await one.fetch(2) == [3, 4]
    assert [row async for row in db.stream(SOME, 2)] == [(1, "1"), (2, "2")]
    assert (await two.fetch(1))[0].text == "2"
    assert await one.fetch_all() == [5, 6, 7, 8, 9, 10]
    await one.close()
    assert await open_portals(db) == {two.name}
    await db.execute("rollback")


@dataclass
class Number:
    n: int
    text: str


async def test_parameters_and_row_types(db):
    await db.execute("begin")
    portal = await db.portal(SOME, 3, into=Number)
    assert await portal.fetch(2) == [Number(1, "1"), Number(2, "2")]
    by_name = await db.portal("select :a || :b as ab", a="x", b="y")
    assert (await by_name.fetch(9))[0].ab == "xy"
    by_params = await db.portal("select :a::text", params={"a": "x"})
    assert await by_params.fetch_all() == [("x",)]
    typed = await db.portal("select pg_typeof($1)::text", 1, types=["int8"], into=str)
    assert await typed.fetch_all() == ["bigint"]
    statement = await db.portal(Statement(SOME, (1,), into=Number))
    assert await statement.fetch(5) == [Number(1, "1")]
    with pytest.raises(InterfaceError, match="1 parameter"):
        await db.portal(SOME)
    await db.execute("rollback")


async def test_of_a_prepared_statement(db):
    stmt = await db.prepare(SOME, into=Number)
    await db.execute("begin")
    one, two = await stmt.portal(2), await stmt.portal(3)
    assert await one.fetch(1) == [Number(1, "1")]
    assert len(await two.fetch_all()) == 3
    await stmt.close()
    assert await one.fetch(1) == [Number(2, "2")]
    await db.execute("rollback")


async def test_statements_that_write(db):
    """Rows of `returning` come part by part; the effect is there once it has run to its end."""
    await db.execute("create temp table t (n int4)")
    await db.execute("begin")
    portal = await db.portal("insert into t select generate_series(1, 10) returning n", into=int)
    assert await db.fetch_value("select count(*) from t") == 0
    assert await portal.fetch(4) == [1, 2, 3, 4]
    assert await portal.fetch_all() == [5, 6, 7, 8, 9, 10]
    nothing = await db.portal("delete from t where n > $1", 5)
    assert await nothing.fetch_all() == []
    await db.execute("commit")
    assert await db.fetch_value("select count(*) from t") == 5


async def test_outside_a_transaction(connect, line):
    db = await connect(to=line)
    line.forget()
    with pytest.raises(InterfaceError, match=r"inside a transaction.*stream\(\)"):
        await db.portal(TEN)
    assert line.sent == ""
    assert await db.fetch_value("select 1") == 1


@pytest.mark.parametrize("face", ["async"])
async def test_begin_in_the_same_flight(db):
    """Whether there is a transaction is known when the portal's Bind is answered."""
    begin, opening = db.execute("begin"), db.portal(TEN, into=int)
    await begin
    portal = await opening
    first, second = portal.fetch(3), portal.fetch(3)
    assert await asyncio.gather(first, second) == [[1, 2, 3], [4, 5, 6]]
    await db.execute("commit")
    running, opening = db.fetch_value("select 1"), db.portal(TEN)
    await running
    with pytest.raises(InterfaceError, match="inside a transaction"):
        await opening
    assert await db.fetch_value("select 1") == 1


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_it_ends_with_its_transaction(connect, line, end):
    """And says so before anything is sent that would spoil the next one."""
    db = await connect(to=line)
    await db.execute("begin")
    portal = await db.portal(TEN)
    await portal.fetch(1)
    await db.execute(end)
    assert portal.closed
    await db.execute("begin")
    line.forget()
    with pytest.raises(InterfaceError, match="transaction has ended"):
        await portal.fetch(1)
    assert line.sent == ""
    await portal.close()
    assert await db.fetch_value("select 1") == 1
    await db.execute("commit")


async def test_it_ends_with_its_savepoint(db):
    await db.execute("begin")
    await db.execute("savepoint s")
    portal = await db.portal(TEN)
    await db.execute("rollback to savepoint s")
    await db.execute("savepoint s2")
    with pytest.raises(InvalidCursorName) as caught:
        await portal.fetch(1)
    assert "savepoint" in str(caught.value.hint)
    await db.execute("rollback to savepoint s2")
    assert await db.fetch_value("select 1") == 1
    await db.execute("commit")


async def test_errors_of_its_statement(db):
    await db.execute("begin")
    with pytest.raises(UndefinedTable):
        await db.portal("select * from not_there")
    with pytest.raises(InFailedSqlTransaction):
        await db.portal(TEN + " offset 0")
    await db.execute("rollback")
    await db.execute("begin")
    portal = await db.portal("select 1 / (3 - n) from generate_series(1, 5) as n", into=int)
    assert await portal.fetch(2) == [0, 1]
    with pytest.raises(DivisionByZero):
        await portal.fetch(2)
    with pytest.raises((InFailedSqlTransaction, InvalidCursorName)):
        await portal.fetch(1)
    await portal.close()
    await db.execute("rollback")


async def test_a_lost_statement(db, connect):
    other = await connect()
    await other.execute_script("drop table if exists portals; create table portals as select 1 as n")
    await db.fetch_all("select * from portals")
    await other.execute("alter table portals add more int4")
    await db.execute("begin")
    with pytest.raises(StatementInvalidated):
        await db.portal("select * from portals")
    await db.execute("rollback")
    await db.execute("begin")
    assert await (await db.portal("select * from portals")).fetch_all() == [(1, None)]
    await db.execute("commit")
    await other.execute("drop table portals")


@pytest.mark.parametrize("count", [0, -1, 1 << 31, 1 << 70])
async def test_counts_that_cannot_be(db, count):
    await db.execute("begin")
    portal = await db.portal(TEN)
    with pytest.raises(InterfaceError, match="from 1 to"):
        await portal.fetch(count)
    with pytest.raises(TypeError):
        await portal.fetch("1")
    assert len(await portal.fetch((1 << 31) - 1)) == 10
    await db.execute("rollback")


@pytest.mark.parametrize("sql", ["fetch all from c", "call p()", "copy t to stdout", "begin"])
async def test_statements_without_a_portal_of_their_own(db, sql):
    await db.execute("begin")
    with pytest.raises(InterfaceError, match="portal"):
        await db.portal(sql)
    assert await db.fetch_value("select 1") == 1
    await db.execute("rollback")


async def test_limits(db):
    await db.execute("begin")
    portal = await db.portal("select pg_sleep(20)")
    with pytest.raises(QueryTimeout):
        await portal.fetch(1, timeout=0.1)
    await db.execute("rollback")
    with pytest.raises(InterfaceError, match="timeout"):
        await db.portal(TEN, timeout=-1)


async def test_closing(db):
    await db.execute("begin")
    async with await db.portal(TEN) as portal:
        assert len(await portal.fetch(1)) == 1
    with pytest.raises(InterfaceError, match="has been closed"):
        await portal.fetch(1)
    assert await open_portals(db) == set()
    portals = [await db.portal(TEN) for _ in range(20)]
    assert len(await open_portals(db)) == 20
    assert len({portal.name for portal in portals}) == 20
    del portals, portal
    gc.collect()
    await db.fetch_value("select 1")
    assert await open_portals(db) == set()
    await db.execute("rollback")
    await db.execute("begin")
    portal = await db.portal(TEN)
    await db.close()
    assert portal.closed
    await portal.close()
    with pytest.raises((ConnectionClosed, InterfaceError)):
        await portal.fetch(1)


async def test_faces_do_not_mix(face, db):
    await db.execute("begin")
    portal = await db.portal(TEN)
    real = getattr(portal, "real", portal)
    assert real.name in repr(real)
    with pytest.raises(InterfaceError, match="with"):
        if face == "async":
            with real:
                pass
        else:
            await real.__aenter__()
    await db.execute("rollback")


@pytest.mark.parametrize("face", ["async"])
async def test_cancelled(db):
    await db.execute("begin")
    portal = await db.portal("select pg_sleep(20)")
    call = portal.fetch(1)
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(InFailedSqlTransaction):
        await db.fetch_value("select 1")
    await db.execute("rollback")


async def test_in_a_block(connect, line):
    """A portal as the first statement of a block takes its BEGIN along."""
    db = await connect(to=line)
    async with db.transaction():
        portal = await db.portal(TEN, into=int)
        assert await portal.fetch(3) == [1, 2, 3]
        assert db.transaction_status == "in transaction"
        async with db.transaction():
            assert await portal.fetch(3) == [4, 5, 6]
        assert await portal.fetch_all() == [7, 8, 9, 10]
    with pytest.raises(InterfaceError, match="transaction has ended"):
        await portal.fetch(1)
    stmt = await db.prepare(SOME)
    async with db.transaction():
        assert len(await (await stmt.portal(5)).fetch(2)) == 2
    assert await db.fetch_value("select 1") == 1
