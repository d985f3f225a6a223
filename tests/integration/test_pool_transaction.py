"""Transactions of a pool: its options are their defaults, they are tried again elsewhere, and their connection comes back."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import pgoxide
from pgoxide.errors import (
    ConnectionClosed,
    DivisionByZero,
    InterfaceError,
    SerializationFailure,
)

pytestmark = pytest.mark.pg

MODES = (
    "select current_setting('transaction_isolation'), current_setting('transaction_read_only'), "
    "current_setting('transaction_deferrable')"
)


@pytest.mark.row("X02")
async def test_defaults_of_the_pool(open_pool: Any) -> None:
    pool = await open_pool(
        max_size=2,
        transaction_isolation="serializable",
        transaction_read_only=True,
        transaction_deferrable=True,
    )
    async with pool.transaction() as tx:
        assert tuple(await tx.fetch_one(MODES)) == ("serializable", "on", "on")
    async with pool.transaction(isolation="repeatable read", read_only=False) as tx:
        assert tuple(await tx.fetch_one(MODES)) == ("repeatable read", "off", "on")
    async for attempt in pool.transaction_attempts(deferrable=False):
        async with attempt as tx:
            assert tuple(await tx.fetch_one(MODES)) == ("serializable", "on", "off")
    async with pool.acquire() as db, db.transaction() as tx:
        assert tuple(await tx.fetch_one(MODES)) == ("serializable", "on", "on")
    assert tuple(await pool.fetch_one(MODES)) == ("read committed", "off", "off")


@pytest.mark.row("X02")
async def test_a_mode_there_is_not(open_pool: Any) -> None:
    with pytest.raises(InterfaceError, match="isolation="):
        await open_pool(max_size=1, transaction_isolation="snapshot")


async def numbers(pool: Any, failures: list[str | None], **options: Any) -> list[int]:
    """Attempt numbers of a loop whose attempts fail by these statements."""
    seen: list[int] = []
    async for attempt in pool.transaction_attempts(backoff=0, **options):
        async with attempt as tx:
            seen.append(attempt.number)
            await tx.execute("insert into attempted values ($1)", attempt.number)
            if (sql := failures[len(seen) - 1]) is not None:
                await tx.execute(sql)
    return seen


LOST = "select pg_terminate_backend(pg_backend_pid())"
CLASH = "do $$ begin raise exception 'mine' using errcode = '40001'; end $$"


@pytest.mark.row("X07")
async def test_tried_again_after_a_lost_connection_if_asked(open_pool: Any, db: Any) -> None:
    await db.execute_script("drop table if exists attempted; create table attempted (n int4)")
    pool = await open_pool(max_size=2)
    with pytest.raises(pgoxide.errors.DatabaseError) as caught:
        await numbers(pool, [LOST, None])
    assert caught.value.is_connection_error
    assert await numbers(pool, [LOST, CLASH, None], connection_errors=True) == [1, 2, 3]
    with pytest.raises(pgoxide.errors.DatabaseError) as caught:
        await numbers(pool, [CLASH, LOST], connection_errors=True, attempts=2)
    assert caught.value.is_connection_error
    assert any("attempt 1 failed" in note for note in caught.value.__notes__)
    with pytest.raises(SerializationFailure):
        await numbers(pool, [CLASH], attempts=1)
    with pytest.raises(DivisionByZero):
        await numbers(pool, ["select 1 / 0"], connection_errors=True)
    assert await pool.fetch_column("select n from attempted", into=int) == [3]
    assert pool.stats().used == 0
    await db.execute("drop table attempted")


@pytest.mark.row("X07")
@pytest.mark.parametrize("face", ["async"])
async def test_a_function_in_a_transaction(open_pool: Any) -> None:
    pool = await open_pool(max_size=1)
    seen: list[str] = []

    async def work(tx: Any) -> int:
        seen.append(await tx.fetch_value("show transaction_isolation"))
        await tx.execute([LOST, CLASH, "select 1"][len(seen) - 1])
        return len(seen)

    assert await pool.run_transaction(work, isolation="serializable", connection_errors=True, backoff=0) == 3
    assert seen == ["serializable"] * 3
    seen.clear()
    with pytest.raises(SerializationFailure):
        await pool.run_transaction(work, connection_errors=True, attempts=2, backoff=0, read_only=True)
    assert pool.stats().used == 0


@pytest.mark.row("X01")
async def test_entered_once(open_pool: Any) -> None:
    """A second connection would never come back."""
    pool = await open_pool(max_size=2)
    block = pool.transaction()
    async with block as tx:
        with pytest.raises(InterfaceError, match="entered once"):
            async with block:
                pass
        assert await tx.fetch_value("select 1") == 1
    with pytest.raises(InterfaceError, match="entered once"):
        async with block:
            pass
    assert pool.stats().used == 0


@pytest.mark.row("X01")
async def test_given_back_with_its_block_open(open_pool: Any, db: Any) -> None:
    """The next user has a session without a transaction; the block can do nothing any more."""
    pool = await open_pool(max_size=1)
    taken = await pool.acquire()
    block = taken.transaction()
    tx = await block.__aenter__()
    await tx.execute("create table never_there ()")
    await pool.release(taken)
    async with pool.acquire() as again, again.transaction() as other:
        assert await other.fetch_value("select to_regclass('never_there')::text") is None
        with pytest.raises(InterfaceError):
            await tx.execute("select 1")
        assert await other.fetch_value("select 1") == 1
    with pytest.raises((InterfaceError, ConnectionClosed)):
        await tx.execute("select 1")
    assert pool.stats().used == 0
    assert await db.fetch_value("select to_regclass('never_there')::text") is None


@pytest.mark.row("X01")
@pytest.mark.parametrize("face", ["async"])
@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_after_so_many_turns_of_the_loop(open_pool: Any, turns: int) -> None:
    """Wherever it is, entering, inside or leaving: the connection comes back and is idle."""
    pool = await open_pool(max_size=1)

    async def work() -> None:
        async with pool.transaction() as tx:
            await tx.execute("select 1")
            async with tx.transaction() as inner:
                await inner.execute("select 2")

    task = asyncio.create_task(work())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert pool.stats().used == 0
    async with pool.transaction() as tx:
        assert await tx.fetch_value("select 1") == 1


@pytest.mark.row("X01", "P07")
@pytest.mark.parametrize("others", ["raise", "join"])
async def test_strangers_to_a_pools_block(open_pool: Any, face: str, others: str) -> None:
    """Nobody else has its connection; but a statement that was prepared in it may be run from anywhere."""
    pool = await open_pool(max_size=1)
    async with pool.transaction(others=others) as tx:
        number = await tx.fetch_value("select txid_current()")
        statement = await tx.prepare("select txid_current()")

        async def stranger() -> Any:
            if face == "async":
                running = asyncio.get_running_loop()
                return await running.create_task(_value(statement), context=contextvars.Context())
            with ThreadPoolExecutor(1) as thread:
                return thread.submit(statement.real.fetch_value).result(20)

        if others == "join":
            assert await stranger() == number
        else:
            with pytest.raises(InterfaceError, match="has a transaction open"):
                await stranger()
    assert pool.stats().used == 0
    with pytest.raises(InterfaceError, match='others="no"'):
        async with pool.transaction(others="no"):
            pass


async def _value(statement: Any) -> Any:
    return await statement.fetch_value()
