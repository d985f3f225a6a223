"""Verbs that a block or a pool hands to its connection: none of their options is lost on the way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from pgoxide.errors import PoolTimeout, QueryTimeout
from pgoxide.statement import Statement, fetch_value

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]

CSV = b"n;word\n1;one\n2;null\n3;three\n"
SLOW = "select pg_sleep(20)"


@pytest.fixture
def table(dsn: str, db: Any) -> Iterator[Any]:
    with pgoxide.Connection.connect(dsn) as other:
        other.execute_script(
            "drop table if exists passed_on; create table passed_on (n int4, word text, other text)"
        )
        yield db
        other.execute_script("drop table passed_on", timeout=20)


async def loaded(to: Any) -> None:
    """By COPY, with every option it has."""
    options = {"format": "csv", "delimiter": ";", "header": True, "null": "null"}
    tag = await to.copy_in("passed_on", CSV, columns=["n", "word"], where="n > 1", **options)
    assert tag.rows_affected == 2


async def endless() -> Any:
    while True:
        yield (1, None, None)


def endless_blocking() -> Any:
    while True:
        time.sleep(0.001)
        yield (1, None, None)


def source(face: str) -> Any:
    return endless() if face == "async" else endless_blocking()


@pytest.mark.row("X01")
async def test_a_blocks_verbs(table: Any, face: str) -> None:
    async with table.transaction() as tx:
        await loaded(tx)
        assert await tx.fetch_all("select * from passed_on order by n") == [
            (2, None, None),
            (3, "three", None),
        ]
        stmt = await tx.prepare("select $1 as n", types=["int8"], into=dict)
        assert stmt.parameter_types == ("int8",)
        assert await stmt.fetch_one(1) == {"n": 1}
        assert (await tx.describe("select $1", types=["date"])).parameters[0].type_name == "date"
        rows = [
            row async for row in tx.copy_out("passed_on", columns=["n"], into=int, format="csv", null="x")
        ]
        assert sorted(rows) == [2, 3]
        assert [row async for row in tx.copy_out(query="select 7 as seven", into=dict)] == [{"seven": 7}]
        got: list[bytes] = []
        await tx.copy_out(query="select null, 1", format="csv", null="-", delimiter=";", to=got.append)
        assert b"".join(got) == b"-;1\n"
        async with tx.transaction(name="given", others="join") as inner:
            await inner.execute("select 1")
            await table.execute("rollback to given")
        tx.rollback_only = True


@pytest.mark.row("K03", "X01")
@pytest.mark.parametrize(
    "verb", ["prepare", "describe", "copy_in", "copy_out", "save", "run", "many", "batch"]
)
async def test_time_limits_of_a_blocks_verbs(table: Any, connect: Any, face: str, verb: str) -> None:
    holder = await connect()
    await holder.execute("begin")
    await holder.execute("lock table passed_on")
    locked, limit = "select n from passed_on", {"timeout": 0.1}
    await table.execute("set lock_timeout to '8s'")  # so that a limit that is lost is told before long
    began = time.monotonic()
    with pytest.raises(QueryTimeout):
        async with table.transaction() as tx:
            if verb == "prepare":
                await tx.prepare(locked, **limit)
            elif verb == "describe":
                await tx.describe(locked, **limit)
            elif verb == "copy_in":
                await tx.copy_in("passed_on", source(face), **limit)
            elif verb == "copy_out":
                async for _ in tx.copy_out(query=SLOW, **limit):
                    pass
            elif verb == "save":
                await tx.copy_out(query=SLOW, format="csv", to=lambda _: None, **limit)
            elif verb == "run":
                await tx.run(fetch_value(Statement(SLOW)), **limit)
            elif verb == "many":
                await tx.execute_many("select pg_sleep($1)", [(20.0,)], **limit)
            else:
                async with tx.batch(**limit) as batch:
                    batch.execute(SLOW)
    assert time.monotonic() - began < 10
    await holder.execute("rollback")
    assert await table.fetch_value("select 1") == 1


@pytest.mark.row("O13", "Y02")
async def test_a_pools_verbs(table: Any, open_pool: Any) -> None:
    pool = await open_pool(max_size=1)
    await loaded(pool)
    assert await pool.fetch_all("select * from passed_on order by n") == [(2, None, None), (3, "three", None)]
    rows = pool.stream("select $1 + n as n from passed_on order by n", 1, types=["int4"], batch=1, into=dict)
    assert await rows.next_batch() == [{"n": 3}]
    assert await rows.next_batch() == [{"n": 4}]
    await rows.close()


@pytest.mark.row("K03", "O13")
@pytest.mark.parametrize("verb", ["copy_in", "run", "many", "batch", "stream"])
async def test_time_limits_of_a_pools_verbs(table: Any, open_pool: Any, face: str, verb: str) -> None:
    """They hold while a connection is waited for, and when there is one."""
    pool = await open_pool(max_size=1)

    async def call() -> None:
        limit = {"timeout": 0.2}
        if verb == "copy_in":
            await pool.copy_in("passed_on", source(face), **limit)
        elif verb == "run":
            await pool.run(fetch_value(Statement(SLOW)), **limit)
        elif verb == "many":
            await pool.execute_many("select pg_sleep($1)", [(20.0,)], **limit)
        elif verb == "stream":
            await pool.stream(SLOW, **limit).next_batch()
        else:
            async with pool.batch(**limit) as batch:
                batch.execute(SLOW)

    began = time.monotonic()
    async with pool.acquire():
        with pytest.raises(PoolTimeout):
            await call()
    with pytest.raises(QueryTimeout) as caught:
        await call()
    assert not isinstance(caught.value, PoolTimeout)
    assert time.monotonic() - began < 10
    assert await pool.fetch_value("select count(*) from passed_on") == 0


@pytest.mark.row("X09")
async def test_each_statement_commits_by_itself(table: Any, connect: Any) -> None:
    """Without a block; and leaving the connection's block commits nothing that was begun by hand."""
    other = await connect()
    await table.execute("insert into passed_on values (1)")
    assert await other.fetch_value("select count(*) from passed_on") == 1
    assert table.transaction_status == "idle"
    await other.execute("begin")
    await other.execute("insert into passed_on values (2)")
    await other.close()
    assert await table.fetch_column("select n from passed_on") == [1]
    with pytest.raises(AttributeError, match="transaction"):
        table.commit
