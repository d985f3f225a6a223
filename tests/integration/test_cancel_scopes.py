"""anyio's cancel scopes, on asyncio (K06): every `await` in a cancelled scope is cancelled, again and again, until it is left.

So what tidies up must be shielded, and must have an end of its own. Trio itself takes a transport of ours that does not exist
yet: these scopes are the same, its event loop is not.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import pgoxide
from fixtures.fix_script import (
    BOUND,
    NO_DATA,
    PARSED,
    complete,
    expect,
    greeting,
    open_at,
    parameter_types,
    ready,
    send,
    stall,
)
from pgoxide.driver._async import running
from pgoxide.statement import Plan, PlanCancelled, Statement, begin, execute, fetch_value, rollback, sleep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

pytestmark = [
    pytest.mark.pg,
    pytest.mark.both_transports,
    pytest.mark.row("K06"),
    pytest.mark.parametrize("face", ["async"]),
]

SOON = 0.1
SLOW = "select pg_sleep(30)"


async def usable(db: Any) -> None:
    """In step, idle, and at once."""
    assert await db.fetch_value("select 1", timeout=10) == 1
    assert db.transaction_status == "idle"


async def verb(db: Any) -> None:
    await db.fetch_all(SLOW)


async def first_use(db: Any) -> None:
    await db.fetch_one("select pg_sleep(30)::text, $1::int4", 1)


async def script(db: Any) -> None:
    await db.execute_script(f"select 1; {SLOW}")


async def batch(db: Any) -> None:
    async with db.batch() as collected:
        collected.execute("insert into scoped values (1)")
        collected.fetch_value(SLOW)


async def stream(db: Any) -> None:
    async with db.stream("select n, pg_sleep(0.01) from generate_series(1, 100000) as n", batch=1) as rows:
        async for _ in rows:
            pass


async def stream_body(db: Any) -> None:
    async with db.stream("select n from generate_series(1, 1000000) as n", batch=10) as rows:
        async for _ in rows:
            await anyio.sleep(30)


def endless() -> Iterator[tuple[int]]:
    while True:
        yield (1,)


async def endless_later() -> AsyncIterator[tuple[int]]:
    while True:
        await anyio.sleep(0.01)
        yield (1,)


async def copy_in(db: Any) -> None:
    await db.copy_in("scoped", endless())


async def copy_in_later(db: Any) -> None:
    await db.copy_in("scoped", endless_later())


async def copy_out(db: Any) -> None:
    async with db.copy_out(
        query="select n, pg_sleep(0.01)::text from generate_series(1, 100000) as n"
    ) as rows:
        async for _ in rows:
            pass


async def execute_many(db: Any) -> None:
    await db.execute_many("insert into scoped values ($1)", endless())


async def group(db: Any) -> None:
    # Those behind the one that runs have been written, so they run too: that is what pipelining means.
    async with anyio.create_task_group() as tasks:
        for statement in (SLOW, "select 1", "select 2", "select 3"):
            tasks.start_soon(db.fetch_value, statement)


async def plan(db: Any) -> None:
    def steps() -> Plan[None]:
        yield from begin()
        yield from execute(Statement("insert into scoped values (1)"))
        yield from fetch_value(Statement(SLOW))

    await db.run(steps())


CALLS = [
    verb, first_use, script, batch, stream, stream_body, copy_in, copy_in_later, copy_out, execute_many, group, plan,
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
async def test_a_cancelled_scope(face: str, db: Any, call: Callable[[Any], Awaitable[None]]) -> None:
    await db.execute("create temp table scoped (n int)")
    began = time.monotonic()
    with anyio.move_on_after(SOON) as scope:
        await call(db)
    assert scope.cancelled_caught
    await usable(db)
    assert time.monotonic() - began < 10
    assert await db.fetch_value("select count(*) from scoped") == 0


@pytest.mark.parametrize("call", CALLS)
async def test_begun_in_a_scope_that_is_cancelled_already(
    face: str, db: Any, call: Callable[[Any], Awaitable[None]]
) -> None:
    await db.execute("create temp table scoped (n int)")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await call(db)
    assert scope.cancelled_caught
    await usable(db)
    assert await db.fetch_value("select count(*) from scoped") == 0


async def test_a_shielded_call_within(face: str, db: Any) -> None:
    with anyio.move_on_after(SOON) as scope:
        try:
            await db.fetch_value(SLOW)
        finally:
            with anyio.CancelScope(shield=True):
                assert await db.fetch_value("select 2") == 2
            with pytest.raises(asyncio.CancelledError):
                await db.fetch_value("select 3")
    assert scope.cancelled_caught
    await usable(db)


async def test_a_connection_of_its_own(face: str, db: Any, dsn: str) -> None:
    """Leaving its block closes it, though nothing can be awaited."""
    pids, opened = [], []
    with anyio.move_on_after(1.0) as scope:
        async with pgoxide.AsyncConnection.connect(dsn) as own:
            opened.append(own)
            pids.append(own.backend_pid)
            await own.fetch_value(SLOW)
    assert scope.cancelled_caught
    assert opened[0].closed
    for _ in range(200):
        if not await db.fetch_value("select count(*) from pg_stat_activity where pid = $1", pids[0]):
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("the session is still there")


async def test_connecting(face: str, runner: Any, peer: Any) -> None:
    at = peer([stall], lenient=True)
    with anyio.move_on_after(SOON) as scope:
        await pgoxide.AsyncConnection.connect(connect_timeout=30, **at.where)
    assert scope.cancelled_caught


async def test_a_plan_tidies_up(face: str, db: Any) -> None:
    """Each request of its clean-up is carried out, however often the scope cancels meanwhile."""
    steps = []

    def tidy() -> Plan[None]:
        yield from begin()
        yield from fetch_value(Statement("select pg_advisory_lock(4711)"))
        try:
            yield from fetch_value(Statement(SLOW))
        except PlanCancelled:
            steps.append("cancelled")
            raise
        finally:
            yield from rollback()
            steps.append("rolled back")
            yield from execute(Statement("select pg_sleep(0.2)"))
            yield from execute(Statement("select pg_advisory_unlock(4711)"))
            steps.append("unlocked")

    with anyio.move_on_after(SOON) as scope:
        await db.run(tidy())
    assert scope.cancelled_caught
    assert steps == ["cancelled", "rolled back", "unlocked"]
    await usable(db)
    assert (
        await db.fetch_value("select count(*) from pg_locks where locktype = 'advisory' and objid = 4711")
        == 0
    )


async def test_clean_up_has_an_end(
    face: str, runner: Any, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server says nothing more: the shield ends, the connection is given up."""
    monkeypatch.setattr(running, "CLEANUP_TIMEOUT", 0.3)
    begun = PARSED + BOUND + complete("BEGIN") + PARSED + parameter_types() + NO_DATA + ready("T")
    done = BOUND + complete("INSERT 0 1") + ready("T")
    script = [send(greeting()), expect("PBEPDS"), send(begun), expect("BES"), send(done), stall]
    at = peer(script, lenient=True)
    db = await open_at(face, at.where)

    def steps() -> Plan[None]:
        yield from begin()
        yield from execute(Statement("insert"))
        began.append(1)
        yield from sleep(30)

    began: list[int] = []
    started = time.monotonic()
    with anyio.move_on_after(SOON * 5) as scope:
        await db.run(steps())
    assert scope.cancelled_caught
    assert began
    assert time.monotonic() - started < 5
    assert db.closed


def pool_of(dsn: str, **options: Any) -> pgoxide.AsyncPool:
    return pgoxide.AsyncPool(dsn, min_size=1, max_size=2, **options)


async def test_a_pool_gets_its_connections_back(face: str, runner: Any, dsn: str) -> None:
    async with pool_of(dsn) as pool:
        for _ in range(5):
            with anyio.move_on_after(SOON) as scope:
                async with pool.acquire() as db:
                    await db.execute("set application_name to 'scoped'")
                    await db.execute("select pg_advisory_lock(4712)")
                    await db.execute("begin")
                    await db.fetch_value(SLOW)
            assert scope.cancelled_caught
        with anyio.fail_after(10):
            async with pool.acquire() as db, pool.acquire() as other:
                for one in (db, other):
                    assert await one.fetch_value("show application_name") != "scoped"
                    assert one.transaction_status == "idle"
                count = "select count(*) from pg_locks where locktype = 'advisory' and objid = 4712"
                assert await db.fetch_value(count) == 0
        with anyio.move_on_after(SOON) as scope:
            await pool.fetch_value(SLOW)
        assert scope.cancelled_caught
        assert await pool.fetch_value("select 1") == 1
        stats = pool.stats()
        assert stats.size <= 2


async def test_waiting_for_a_connection_of_a_pool(face: str, runner: Any, dsn: str) -> None:
    async with pool_of(dsn) as pool:
        async with pool.acquire(), pool.acquire():
            for _ in range(20):
                with anyio.move_on_after(0.01) as scope:
                    async with pool.acquire():
                        raise AssertionError("there is none")
                assert scope.cancelled_caught
            with anyio.CancelScope() as scope:
                scope.cancel()
                await pool.acquire()
            assert scope.cancelled_caught
        with anyio.fail_after(10):
            async with pool.acquire(), pool.acquire():
                pass


async def test_a_connection_that_comes_as_its_scope_is_cancelled(face: str, runner: Any, dsn: str) -> None:
    """In the same turn of the loop: nobody has it then, so it must be the pool's again."""
    async with pgoxide.AsyncPool(dsn, max_size=1) as pool:
        for _ in range(3):
            scope = anyio.CancelScope()
            got: list[Any] = []

            async def wait(scope: anyio.CancelScope = scope, got: list[Any] = got) -> None:
                with scope:
                    got.append(await pool.acquire())

            held = await pool.acquire(timeout=5)
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0.01)
            assert pool.stats().waiting == 1
            await pool.release(held)  # not used, so there is no reset that the next user would wait for
            assert not pool.stats().waiting
            scope.cancel()
            await waiting
            assert scope.cancelled_caught
            assert not got
            assert pool.stats().used == 0
        assert await pool.fetch_value("select 1", timeout=5) == 1


async def test_a_pool_that_is_left_in_a_cancelled_scope(face: str, db: Any, dsn: str) -> None:
    name = "scoped_pool"
    with anyio.move_on_after(1.0) as scope:
        async with pool_of(dsn, application_name=name) as pool, pool.acquire() as own:
            await own.fetch_value(SLOW)
    assert scope.cancelled_caught
    for _ in range(200):
        if not await db.fetch_value(
            "select count(*) from pg_stat_activity where application_name = $1", name
        ):
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("sessions of the pool are still there")


async def test_a_transaction_block(face: str, db: Any) -> None:
    """ROLLBACK is carried out, and the next one may begin."""
    await db.execute("create temp table scoped (n int)")
    for already in (False, True):
        with anyio.CancelScope() as scope:
            async with db.transaction() as tx:
                await tx.execute("insert into scoped values (:n)", n=1)
                async with tx.transaction() as inner:
                    await inner.execute("insert into scoped values (2)")
                    scope.deadline = anyio.current_time() + SOON
                    if already:
                        scope.cancel()
                    await inner.fetch_value(SLOW)
        assert scope.cancelled_caught
        await usable(db)
    async with db.transaction() as tx:
        await tx.execute("insert into scoped values (3)")
    assert await db.fetch_column("select n from scoped") == [3]


async def test_attempts_of_a_transaction(face: str, db: Any) -> None:
    with anyio.move_on_after(SOON) as scope:
        async for attempt in db.transaction_attempts(attempts=3):
            async with attempt as tx:
                await tx.fetch_value(SLOW)
    assert scope.cancelled_caught
    await usable(db)


async def test_a_transaction_of_a_pool(face: str, runner: Any, dsn: str) -> None:
    async with pool_of(dsn) as pool:
        for _ in range(3):
            with anyio.move_on_after(SOON) as scope:
                async with pool.acquire() as db, db.transaction() as tx:
                    await tx.fetch_value(SLOW)
            assert scope.cancelled_caught
        with anyio.fail_after(10):
            async with pool.acquire() as db:
                await usable(db)
