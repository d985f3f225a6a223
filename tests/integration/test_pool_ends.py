"""Pools opened half-way, closed in the middle of something, or left by their loop; and what their numbers mean (O01, O09, O12, O13)."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import warnings
from typing import Any

import pytest

import pgoxide
from fixtures.fix_pools import BlockingPool, real
from pgoxide.driver.pooling import Settings
from pgoxide.errors import ConnectionClosed, DivisionByZero, InterfaceError, PoolTimeout, TooManyConnections

pytestmark = [pytest.mark.pg]


async def rest(pool: Any, seconds: float) -> None:
    if isinstance(pool, BlockingPool):
        time.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


async def none_is_left(db: Any, name: str) -> None:
    """No session of this application is open, or soon will not be."""
    sql = "select count(*) from pg_stat_activity where application_name = $1"
    until = time.monotonic() + 10
    while count := await db.fetch_value(sql, name, into=int):
        assert time.monotonic() < until, f"{count} sessions are left"


# ---- opening


@pytest.mark.row("O01")
@pytest.mark.both_transports
async def test_opening_tells_at_once_what_keeps_the_later_ones_away(open_pool: Any, db: Any) -> None:
    await db.execute_script(
        "drop role if exists confined; create role confined login connection limit 2; "
        "alter role confined set application_name to 'confined'"
    )
    began = time.monotonic()
    with pytest.raises(TooManyConnections) as raised:
        await open_pool(user="confined", min_size=4, max_size=4)
    assert time.monotonic() - began < 20
    assert [note for note in raised.value.__notes__ if "of the pool's min_size=4 connections" in note]
    await none_is_left(db, "confined")
    await db.execute("drop role confined")


@pytest.mark.row("O08")
async def test_opening_tells_at_once_what_configure_raised_for_a_later_one(open_pool: Any, face: str) -> None:
    seen: list[Any] = []

    def configure(own: Any) -> None:
        seen.append(own)
        if len(seen) > 1:
            raise LookupError("the hook's own")

    async def configure_later(own: Any) -> None:
        configure(own)

    began = time.monotonic()
    with pytest.raises(LookupError, match="own"):
        await open_pool(
            min_size=3, max_size=3, configure=configure if face == "blocking" else configure_later
        )
    assert time.monotonic() - began < 20


@pytest.mark.row("O12")
@pytest.mark.parametrize("face", ["async"])
async def test_closed_while_it_is_being_opened(open_pool: Any, server: Any, db: Any) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def wait(own: Any) -> None:
        begun.set()
        await gate.wait()

    pool = pgoxide.AsyncPool(server.dsn(), configure=wait, application_name="unfinished")
    opening = asyncio.create_task(pool.__aenter__())
    await begun.wait()
    await pool.close()
    gate.set()
    with pytest.raises(InterfaceError, match="closed while"):
        await opening
    await none_is_left(db, "unfinished")


# ---- closing


@pytest.mark.row("O12")
@pytest.mark.parametrize("face", ["blocking"])
async def test_one_that_is_opened_while_the_pool_closes_is_closed(
    open_pool: Any, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = real(await open_pool(min_size=1, max_size=2, application_name="closing"))
    opened, may_join = threading.Event(), threading.Event()
    lifetime = Settings.lifetime

    def late(settings: Settings) -> float | None:
        """Asked for when a connection is about to be the pool's."""
        opened.set()
        assert may_join.wait(10)
        return lifetime(settings)

    monkeypatch.setattr(Settings, "lifetime", late)
    held = pool.acquire()

    def wait() -> None:
        with pytest.raises(InterfaceError, match="closed"):
            pool.acquire()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert opened.wait(10)
    pool.release(held)
    pool.close()
    waiting.join(10)
    assert not waiting.is_alive()
    may_join.set()
    await none_is_left(db, "closing")


@pytest.mark.row("O07")
async def test_calls_that_do_not_end_cost_the_connection(
    open_pool: Any, face: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given back under a call of another task or thread: that may run to its end, but not for ever."""
    module = "_async.pool" if face == "async" else "shelf"
    monkeypatch.setattr(f"pgoxide.driver.{module}.RESET_TIMEOUT", 0.3)
    pool = await open_pool(min_size=1, max_size=1, max_idle=0.1)
    db = await pool.acquire()
    before = db.backend_pid
    began = time.monotonic()
    if face == "async":
        call = db.fetch_value("select pg_sleep(50)")
        await asyncio.sleep(0)
        await pool.release(db)
        with pytest.raises(ConnectionClosed):
            await call
    else:
        ended = threading.Event()

        def run() -> None:
            with pytest.raises(ConnectionClosed):
                real(db).fetch_value("select pg_sleep(50)")
            ended.set()

        threading.Thread(target=run).start()
        time.sleep(0.2)
        await pool.release(db)
        assert ended.wait(20)
    assert time.monotonic() - began < 20
    other = await pool.acquire(timeout=10)
    assert other.backend_pid != before
    assert pool.stats().discarded["reset failed"] == 1
    await pool.release(other)


# ---- the loop's end


async def crowd(pool: pgoxide.AsyncPool, works: int) -> None:
    """Connections are on their way, and somebody waits for each, and for more."""

    async def work() -> None:
        async with pool.acquire() as own:
            await own.fetch_value("select pg_sleep(50)")

    tasks = [asyncio.create_task(work()) for _ in range(works)]
    await asyncio.sleep(0.03)
    assert not any(task.done() for task in tasks)


@pytest.mark.row("O12", face="async")
@pytest.mark.parametrize("min_size", [0, 1])
def test_a_loop_that_ends_with_an_open_pool_destroys_no_task(
    proxy: Any, caplog: pytest.LogCaptureFixture, min_size: int
) -> None:
    """What the pool would begin because its tasks are cancelled could never run. That it was not closed it says itself."""
    line = proxy(delay=0.02)

    async def main() -> None:
        pool = await pgoxide.AsyncPool(
            host=str(line.folder), port=line.port, user="postgres", min_size=min_size, max_size=4
        )
        await crowd(pool, 8)

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for _ in range(5):
            asyncio.run(main())
            gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    assert {issubclass(one.category, ResourceWarning) for one in heard} == {True}
    assert {str(one.message)[:8] for one in heard} == {"unclosed"}


@pytest.mark.row("O02")
@pytest.mark.parametrize("face", ["async"])
async def test_a_loop_that_goes_on_after_all_its_tasks_were_cancelled_has_its_pool(
    open_pool: Any, proxy: Any
) -> None:
    pool = await open_pool(to=proxy(delay=0.02), min_size=1, max_size=3, max_idle=0.2)
    taken = await pool.acquire()
    crowded = asyncio.create_task(crowd(pool, 3))
    await asyncio.sleep(0.02)
    assert pool.stats().opening
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.wait([crowded], timeout=5)
    others = [await pool.acquire(timeout=10) for _ in range(2)]
    assert pool.stats().size == 3
    for one in (taken, *others):
        assert await one.fetch_value("select 1") == 1
        await pool.release(one)
    until = time.monotonic() + 10
    while pool.stats().size > 1:  # the look at idle ones goes on, too
        assert time.monotonic() < until
        await asyncio.sleep(0.05)


# ---- streams


@pytest.mark.row("O13")
@pytest.mark.both_transports
async def test_a_stream_closed_while_it_waits_for_its_connection(open_pool: Any, face: str) -> None:
    pool = await open_pool(min_size=1, max_size=1)
    held = await pool.acquire()
    stream = real(pool).stream("select n from generate_series(1, 9) as n", into=int)
    if face == "async":
        reading = asyncio.create_task(stream.__anext__())
        await asyncio.sleep(0.05)
        with pytest.raises(InterfaceError, match="two tasks read one stream"):
            await stream.next_batch()
        await stream.close()
        await pool.release(held)
        with pytest.raises(InterfaceError, match="closed while it waited"):
            await reading
    else:
        said: list[BaseException] = []

        def read() -> None:
            try:
                said.append(AssertionError(next(stream)))
            except BaseException as error:
                said.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        time.sleep(0.1)
        with pytest.raises(InterfaceError, match="two tasks read one stream"):
            stream.next_batch()
        stream.close()
        await pool.release(held)
        thread.join(10)
        assert isinstance(said[0], InterfaceError)
        assert "closed while it waited" in str(said[0])
    assert pool.stats().used == 0
    async with pool.acquire(timeout=5) as db:
        assert await db.fetch_value("select 1") == 1


@pytest.mark.row("O13")
@pytest.mark.both_transports
async def test_who_reads_on_is_told_that_rows_are_missing(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1)
    sql = "select n from generate_series(1, 9) as n"

    async def read_on(stream: Any, error: type[BaseException], match: str) -> None:
        for _ in range(2):
            with pytest.raises(error, match=match):
                await stream.next_batch()
            with pytest.raises(error, match=match):
                async for row in stream:
                    raise AssertionError(row)

    unread = pool.stream(sql, batch=2)
    await unread.close()
    await read_on(unread, InterfaceError, "rows are missing")
    cut = pool.stream(sql, batch=2)
    assert len(await cut.next_batch()) == 2
    await cut.close()
    await read_on(cut, InterfaceError, "rows are missing")
    failing = pool.stream("select 1/(3 - n) from generate_series(1, 9) as n", batch=1)
    with pytest.raises(DivisionByZero):
        while await failing.next_batch():
            pass
    await read_on(failing, DivisionByZero, "zero")
    whole = pool.stream(sql, batch=20)
    assert len(await whole.next_batch()) == 9
    for _ in range(2):
        assert await whole.next_batch() == []
        assert [row async for row in whole] == []
        await whole.close()
    assert pool.stats().used == 0


# ---- numbers


@pytest.mark.row("O09")
async def test_who_waited_is_counted_apart_from_who_did_not(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1)
    for _ in range(3):
        async with pool.acquire():
            pass
        await rest(pool, 0.01)
    for _ in range(3):
        assert await pool.fetch_value("select 1") == 1
        await rest(pool, 0.01)  # idle for long enough to be looked at
    assert counted(pool) == (6, 0)
    held = await pool.acquire()  # what the statements left is undone first, and nobody waits for that
    assert counted(pool) == (7, 0)
    with pytest.raises(PoolTimeout):
        await pool.acquire(timeout=0.05)
    with pytest.raises(PoolTimeout):
        await pool.fetch_value("select 1", timeout=0.05)
    assert counted(pool) == (7, 0)
    await held.execute("select 1")
    await pool.release(held)
    await rest(pool, 0.2)  # its reset has been answered by then
    async with pool.acquire():
        pass
    assert counted(pool) == (8, 0)
    pinged = await open_pool(min_size=1, max_size=1, ping_after=0)
    assert await pinged.fetch_value("select 1") == 1
    async with pinged.acquire():
        pass
    assert counted(pinged) == (0, 2)
    fresh = await open_pool(min_size=0, max_size=1)
    assert await fresh.fetch_value("select 1") == 1
    assert counted(fresh) == (0, 1)


def counted(pool: Any) -> tuple[int, int]:
    """Who did not wait, and who did."""
    stats = pool.stats()
    return stats.at_once, sum(count for _, count in stats.waits)


@pytest.mark.row("O09")
async def test_a_wait_is_counted_whole(open_pool: Any) -> None:
    """Also that for a reset that takes longer than a blocking pool looks at one connection."""
    pool = await open_pool(min_size=1, max_size=1, reset="select pg_sleep(0.3)")
    async with pool.acquire() as db:
        await db.execute("select 1")
    async with pool.acquire():
        pass
    assert pool.stats().at_once == 1
    ((below, count),) = pool.stats().waits
    assert count == 1
    assert below > 0.25


@pytest.mark.row("O11")
async def test_what_expire_replaced_is_counted_as_that(open_pool: Any) -> None:
    pool = await open_pool(min_size=2, max_size=2)
    used = await pool.acquire()
    real(pool).expire()
    await pool.release(used)
    until = time.monotonic() + 10
    while pool.stats().discarded.get("expired", 0) < 2:
        assert time.monotonic() < until, pool.stats()
        await rest(pool, 0.01)
    assert pool.stats().discarded == {"expired": 2}
