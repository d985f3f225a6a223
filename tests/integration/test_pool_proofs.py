"""Proofs: no connection is lost to a cancel, nothing leaks to the next user (O02, O07)."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest

from fixtures.fix_pools import real
from pgoxide.errors import PoolTimeout

pytestmark = [pytest.mark.pg]


@pytest.mark.slow
@pytest.mark.row("O02", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_ten_thousand_cancelled_users_lose_no_connection(open_pool: Any) -> None:
    """Cancelled while they wait, in the moment they are served, while they use it, and while they give it back."""
    pool = await open_pool(min_size=4, max_size=4)
    dice = random.Random(20_26)
    gate = asyncio.Semaphore(60)
    served = cancelled = 0

    async def user() -> None:
        nonlocal served
        async with pool.acquire() as db:
            served += 1
            if dice.random() < 0.3:
                await db.fetch_value("select 1")

    async def one() -> None:
        nonlocal cancelled
        async with gate:
            task = asyncio.create_task(user())
            for _ in range(dice.randrange(8)):
                await asyncio.sleep(0)
            if dice.random() < 0.7:
                task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                cancelled += 1

    await asyncio.gather(*(one() for _ in range(10_000)))
    assert served > 1_000
    assert cancelled > 1_000
    # All four are there at once, and work.
    held = [await pool.acquire(timeout=20) for _ in range(4)]
    assert sorted([await db.fetch_value("select $1::int", n) for n, db in enumerate(held)]) == [0, 1, 2, 3]
    stats = pool.stats()
    assert (stats.size, stats.used, stats.waiting) == (4, 4, 0)
    assert stats.connects == 4
    for db in held:
        await pool.release(db)


@pytest.mark.slow
@pytest.mark.row("O02", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_cancelled_calls_and_time_limits_lose_no_connection(open_pool: Any) -> None:
    pool = await open_pool(min_size=2, max_size=2)
    dice = random.Random(7)

    async def call() -> None:
        reply = pool.fetch_value("select pg_sleep($1)::text", dice.choice([0.0, 0.0, 0.001]))
        if dice.random() < 0.3:
            await asyncio.sleep(dice.random() / 1_000)
            reply.cancel()
        await reply

    async def user() -> None:
        try:
            async with asyncio.timeout(dice.random() / 100), pool.acquire() as db:
                await db.fetch_value("select 1")
        except TimeoutError:
            pass

    for _ in range(20):
        work = [call() if dice.random() < 0.7 else user() for _ in range(50)]
        for result in await asyncio.gather(*work, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), result
    held = [await pool.acquire(timeout=20) for _ in range(2)]
    assert pool.stats().used == 2
    for db in held:
        await pool.release(db)
    assert await pool.fetch_value("select 1", timeout=20) == 1


@pytest.mark.slow
@pytest.mark.row("O02", face="blocking")
@pytest.mark.parametrize("face", ["blocking"])
async def test_threads_that_give_up_lose_no_connection(open_pool: Any) -> None:
    pool = real(await open_pool(min_size=2, max_size=2))
    late = served = 0
    count = threading.Lock()

    def work(seed: int) -> None:
        nonlocal late, served
        dice = random.Random(seed)
        for _ in range(250):
            try:
                with pool.acquire(timeout=dice.choice([0, 0.0005, 0.002, 5])) as db:
                    if dice.random() < 0.5:
                        db.fetch_value("select 1")
                with count:
                    served += 1
            except PoolTimeout:
                with count:
                    late += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert (late + served, late > 50, served > 50) == (2_000, True, True)
    held = [pool.acquire(timeout=20) for _ in range(2)]
    assert sorted(db.fetch_value("select $1::int", n) for n, db in enumerate(held)) == [0, 1]
    assert (pool.stats().size, pool.stats().connects) == (2, 2)
    for db in held:
        pool.release(db)


@pytest.mark.row("O07")
async def test_settings_and_advisory_locks_never_reach_the_next_user(open_pool: Any) -> None:
    """A hundred users on one connection, each leaving something; no tag and no status shows it."""
    pool = await open_pool(min_size=1, max_size=1)
    dirt = [
        "select set_config('app.tenant', 'mine', false)",
        "select pg_advisory_lock(4711)",
        "do $$ begin perform set_config('app.tenant', 'hidden', false), pg_advisory_lock_shared(12); end $$",
        "begin",
        "select set_config('role', 'none', false), set_config('app.tenant', 'x', false)",
    ]
    for number in range(100):
        async with pool.acquire() as db:
            tenant, locks = await db.fetch_one(
                "select current_setting('app.tenant', true),"
                " (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())"
            )
            assert (tenant or "", locks) == ("", 0)
            assert db.transaction_status == "idle"
            await db.execute(dirt[number % len(dirt)])
    assert pool.stats().connects == 1
