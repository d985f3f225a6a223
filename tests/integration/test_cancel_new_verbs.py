"""Cancelling and limits in the verbs beside the plain ones: copy_out, prepared statements, pools, and by name (K01 to K05).

The plain verbs are in `test_cancel.py`, streams in `test_stream.py`, feeding in `test_feeding.py`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from integration.test_cancel import python
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]

ASYNC = pytest.mark.parametrize("face", ["async"])
SLOW = "select :n::int4, pg_sleep(10)"
TRICKLE = "select n, pg_sleep(0.02)::text from generate_series(1, 100000) as n"
ENOUGH = 5.0
"""Seconds within which what takes 10 or more has been given up, on a busy machine."""


async def by_name(db: Any, timeout: float | None) -> None:
    await db.fetch_all(SLOW, n=1, timeout=timeout)


async def prepared(db: Any, timeout: float | None) -> None:
    statement = await db.prepare(SLOW)
    try:
        await statement.fetch_one(n=1, timeout=timeout)
    finally:
        await statement.close()


async def prepared_streamed(db: Any, timeout: float | None) -> None:
    async with await db.prepare(TRICKLE) as statement, statement.stream(batch=1, timeout=timeout) as rows:
        async for _ in rows:
            pass


async def prepared_many(db: Any, timeout: float | None) -> None:
    async with await db.prepare("select pg_sleep(0.02), :n::int4") as statement:
        await statement.execute_many(({"n": n} for n in range(10_000)), timeout=timeout)


async def preparing(db: Any, timeout: float | None) -> None:
    """The server waits for a lock before it can describe: see `locked`."""
    await db.prepare("select * from k_locked where :n = 1", timeout=timeout)


async def copied_rows(db: Any, timeout: float | None) -> None:
    async with db.copy_out(query=TRICKLE, timeout=timeout) as rows:
        async for _ in rows:
            pass


async def copied_blocks(db: Any, timeout: float | None) -> None:
    async with db.copy_out(query=TRICKLE, format="csv", timeout=timeout) as blocks:
        async for _ in blocks:
            pass


CALLS = [by_name, prepared, prepared_streamed, prepared_many, copied_rows, copied_blocks]


async def usable(db: Any) -> None:
    assert await db.fetch_value("select 1", timeout=10) == 1
    assert db.transaction_status == "idle"


@ASYNC
@pytest.mark.row("K01")
@pytest.mark.parametrize("call", CALLS)
async def test_a_cancelled_task(
    face: str, db: Any, call: Callable[[Any, float | None], Awaitable[None]]
) -> None:
    session = db.backend_pid
    for after in (0.0, 0.001, 0.2):
        begun = time.monotonic()
        task = asyncio.ensure_future(call(db, None))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await usable(db)
        assert time.monotonic() - begun < ENOUGH
    assert await db.fetch_value("select pg_backend_pid()") == session


@pytest.mark.row("K02")
@pytest.mark.parametrize("call", CALLS)
async def test_a_token(face: str, db: Any, call: Callable[[Any, float | None], Awaitable[None]]) -> None:
    token, over = db.cancel_token(), threading.Event()

    def cancel() -> None:
        # Between two statements, or two batches of a stream, it hits nothing: as often as it takes.
        while not over.wait(0.3):
            if face == "async":
                asyncio.run(token.cancel())
            else:
                token.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    begun = time.monotonic()
    try:
        with pytest.raises(errors.QueryCanceled):
            await call(db, None)
        assert time.monotonic() - begun < ENOUGH
    finally:
        over.set()
        thread.join()
    with suppress(errors.QueryCanceled):  # the last one may have come too late for the call
        await db.fetch_value("select 1")
    await usable(db)


@pytest.mark.row("K03")
@pytest.mark.parametrize("call", CALLS)
async def test_a_limit(face: str, db: Any, call: Callable[[Any, float | None], Awaitable[None]]) -> None:
    begun = time.monotonic()
    with pytest.raises(errors.QueryTimeout) as caught:
        await call(db, 0.2)
    assert isinstance(caught.value, TimeoutError)
    assert time.monotonic() - begun < ENOUGH
    await usable(db)


@pytest.mark.row("K04")
@pytest.mark.parametrize("call", CALLS)
async def test_a_limit_of_the_connection(
    face: str, connect: Any, call: Callable[[Any, float | None], Awaitable[None]]
) -> None:
    db = await connect(command_timeout=0.2)
    begun = time.monotonic()
    with pytest.raises(errors.QueryTimeout):
        await call(db, None)
    assert time.monotonic() - begun < ENOUGH
    await usable(db)


@pytest.mark.row("K03", "K04")
async def test_a_limit_of_preparing(face: str, connect: Any) -> None:
    db, other = await connect(), await connect()
    await other.execute("create table k_locked (n int)")
    try:
        await other.execute("begin")
        await other.execute("lock table k_locked in access exclusive mode")
        with pytest.raises(errors.QueryTimeout):
            await preparing(db, 0.2)
        await usable(db)
        hurried = await connect(command_timeout=0.2)
        with pytest.raises(errors.QueryTimeout):
            await preparing(hurried, None)
        with pytest.raises(errors.QueryTimeout):
            await hurried.describe("select n from k_locked")
        await other.execute("rollback")
        await preparing(db, 10)
    finally:
        await other.execute("rollback")
        await other.execute("drop table k_locked")


# ---- a description that waits for a lock, and nobody for it

BEHIND = "select count(*) from k_behind where n > $1"


async def read(db: Any) -> None:
    await db.fetch_value(BEHIND, 0)


async def read_in_a_batch(db: Any) -> None:
    async with db.batch() as batch:
        batch.fetch_value("select 1")
        batch.fetch_value(BEHIND, 0)


async def read_as_a_stream(db: Any) -> None:
    async with db.stream(BEHIND, 0) as rows:
        async for _ in rows:
            pass


async def read_many(db: Any) -> None:
    await db.execute_many(BEHIND, [(0,)])


@ASYNC
@pytest.mark.row("K01")
@pytest.mark.parametrize("call", [read, read_in_a_batch, read_as_a_stream, read_many])
async def test_those_behind_a_description_nobody_waits_for(
    face: str, connect: Any, call: Callable[[Any], Awaitable[None]]
) -> None:
    """Parse waits for the table. When the only call that wants it is given up, it is cancelled, and the others go on."""
    db, other = await connect(), await connect()
    await other.execute_script(
        "drop table if exists k_behind; create table k_behind (n int); insert into k_behind values (1)"
    )
    try:
        await other.execute("begin")
        await other.execute("lock table k_behind in access exclusive mode")
        task = asyncio.ensure_future(call(db))
        await asyncio.sleep(0.1)
        following = db.fetch_value("select 2")
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.wait_for(following, ENOUGH) == 2

        # Two wait for one description: it goes on for the other. And who comes while it is cancelled has it made anew.
        first, second = db.fetch_value(BEHIND, 0), db.fetch_value(BEHIND, 0)
        await asyncio.sleep(0.1)
        first.cancel()
        await asyncio.sleep(0.1)
        assert not second.done()
        second.cancel()
        third = db.fetch_value(BEHIND, 0)
        await asyncio.sleep(0.2)
        await other.execute("rollback")
        assert await asyncio.wait_for(third, ENOUGH) == 1
        await usable(db)
    finally:
        if other.transaction_status != "idle":
            await other.execute("rollback")
        await other.execute("drop table k_behind")


# ---- on a pool


@ASYNC
@pytest.mark.row("K01", "K03", "K04")
async def test_on_an_asynchronous_pool(face: str, runner: Any, dsn: str) -> None:
    async with pgoxide.AsyncPool(dsn, max_size=1) as pool:
        for _ in range(3):
            task = asyncio.ensure_future(pool.fetch_value("select pg_sleep(10)"))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(errors.QueryTimeout):
                await pool.fetch_value("select pg_sleep(10)", timeout=0.1)
            with pytest.raises(errors.QueryTimeout):
                async with pool.stream(TRICKLE, timeout=0.2, batch=1) as rows:
                    async for _ in rows:
                        pass
            with pytest.raises(errors.QueryTimeout):
                async with pool.batch(timeout=0.1) as batch:
                    batch.fetch_value("select pg_sleep(10)")
            with pytest.raises(errors.QueryTimeout):
                await pool.execute_many(
                    "select pg_sleep(0.02), $1::int4", ((n,) for n in range(10_000)), timeout=0.2
                )
        assert await pool.fetch_value("select 1", timeout=10) == 1
    async with pgoxide.AsyncPool(dsn, max_size=1, command_timeout=0.2) as hurried:
        with pytest.raises(errors.QueryTimeout):
            await hurried.fetch_value("select pg_sleep(10)")
        async with hurried.acquire() as db:
            with pytest.raises(errors.QueryTimeout):
                await db.fetch_value("select pg_sleep(10)")
        assert await hurried.fetch_value("select 1", timeout=10) == 1


@pytest.mark.parametrize("face", ["blocking"])
@pytest.mark.row("K03", "K04")
async def test_on_a_blocking_pool(face: str, runner: Any, dsn: str) -> None:
    with pgoxide.Pool(dsn, max_size=1) as pool:
        with pytest.raises(errors.QueryTimeout):
            pool.fetch_value("select pg_sleep(10)", timeout=0.1)
        with pytest.raises(errors.QueryTimeout), pool.stream(TRICKLE, timeout=0.2, batch=1) as rows:
            list(rows)
        with pytest.raises(errors.QueryTimeout), pool.batch(timeout=0.1) as batch:
            batch.fetch_value("select pg_sleep(10)")
        with pytest.raises(errors.QueryTimeout):
            pool.execute_many("select pg_sleep(0.02), $1::int4", ((n,) for n in range(10_000)), timeout=0.2)
        assert pool.fetch_value("select 1", timeout=10) == 1
    with pgoxide.Pool(dsn, max_size=1, command_timeout=0.2) as hurried:
        with pytest.raises(errors.QueryTimeout):
            hurried.fetch_value("select pg_sleep(10)")
        with hurried.acquire() as db, pytest.raises(errors.QueryTimeout):
            db.fetch_value("select pg_sleep(10)")
        assert hurried.fetch_value("select 1", timeout=10) == 1


# ---- Ctrl-C

INTERRUPTED = """
    import os, signal, sys, threading
    import pgoxide
    db = pgoxide.Connection.connect(sys.argv[1])
    pid = db.backend_pid
    trickle = "select n, pg_sleep(0.02)::text from generate_series(1, 100000) as n"

    def interrupted(call):
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            call()
        except KeyboardInterrupt:
            print("interrupted", db.fetch_value("select pg_backend_pid()") == pid, db.transaction_status)

    def copied():
        with db.copy_out(query=trickle) as rows:
            list(rows)

    def blocks():
        with db.copy_out(query=trickle, format="text") as data:
            list(data)

    def prepared():
        with db.prepare("select pg_sleep(10), :n::int4") as statement:
            statement.fetch_one(n=1)

    def streamed():
        with db.prepare(trickle) as statement, statement.stream(batch=1) as rows:
            list(rows)

    for call in (copied, blocks, prepared, streamed):
        interrupted(call)
    db.close()
    with pgoxide.Pool(sys.argv[1], max_size=1) as pool:
        db = pool
        pid = pool.fetch_value("select pg_backend_pid()")
        pool.transaction_status = "idle"
        interrupted(lambda: pool.fetch_value("select pg_sleep(10)"))

        def owned():
            with pool.acquire() as connection:
                connection.execute("begin")
                connection.fetch_value("select pg_sleep(10)")

        interrupted(owned)
"""


@pytest.mark.row("K05", face="blocking")
def test_ctrl_c(dsn: str) -> None:
    assert python(INTERRUPTED, dsn).splitlines() == ["interrupted True idle"] * 6
