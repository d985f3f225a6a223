"""A connection of one's own, and what is left of its earlier users: nothing (O01, O02, O03, O07, O12, B03)."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import pgoxide
from fixtures.fix_pools import real
from pgoxide.errors import (
    ConnectionClosed,
    ConnectionFailed,
    InterfaceError,
    InvalidCatalogName,
    PoolFull,
    PoolTimeout,
    QueryTimeout,
)
from pgoxide.statement import Statement, fetch_value

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]


async def turns(pool: Any, until: Any) -> None:
    """Lets the loop turn until `until()` holds."""
    for _ in range(1_000):
        if until():
            return
        if hasattr(pool, "real"):
            break
        await asyncio.sleep(0.005)
    assert until()


async def later(call: Any, *args: Any) -> None:
    await asyncio.sleep(0.3)
    await call(*args)


# ---- opening


@pytest.mark.row("O01")
async def test_opening_gives_the_least_connections(open_pool: Any) -> None:
    pool = await open_pool(min_size=3, max_size=5)
    stats = pool.stats()
    assert (stats.size, stats.idle, stats.min_size, stats.max_size, stats.connects) == (3, 3, 3, 5, 3)
    await pool.wait(1)


@pytest.mark.row("O01")
async def test_nothing_is_opened_before_it_is_needed(open_pool: Any) -> None:
    pool = await open_pool(min_size=0)
    assert pool.stats().size == 0
    assert await pool.fetch_value("select 1") == 1
    assert pool.stats().size == 1


@pytest.mark.row("O01")
async def test_what_is_wrong_is_told_at_once(open_pool: Any) -> None:
    with pytest.raises(InvalidCatalogName):
        await open_pool(database="nowhere")
    with pytest.raises(ConnectionFailed):
        await open_pool(host="/nowhere")


@pytest.mark.parametrize("face", ["async"])
async def test_the_ways_to_open_a_pool(dsn: str, runner: Any) -> None:
    pool = await pgoxide.AsyncPool(dsn)
    async with pool as same:
        assert same is pool
        async with await pool.acquire() as db:
            assert await db.fetch_value("select 1") == 1
        assert pool.stats().used == 0
        task = asyncio.create_task(pool.acquire())
        await pool.release(await task)
    with pytest.raises(InterfaceError, match="closed"):
        await pool.fetch_value("select 1")
    async with await pgoxide.AsyncPool(dsn) as other:
        assert await other.fetch_value("select 1") == 1


@pytest.mark.parametrize("face", ["async"])
async def test_a_pool_that_was_not_opened_says_so(dsn: str, runner: Any) -> None:
    pool = pgoxide.AsyncPool(dsn)
    with pytest.raises(InterfaceError, match="not been opened"):
        await pool.fetch_value("select 1")
    with pytest.raises(InterfaceError, match="not been opened"):
        await pool.acquire()
    assert "not opened" in repr(pool)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_size": 0},
        {"min_size": -1},
        {"min_size": 3, "max_size": 2},
        {"max_waiting": -1},
        {"max_uses": 0},
        {"acquire_timeout": -1},
        {"max_idle": -1},
        {"max_lifetime": "long"},
        {"max_lifetime": 0},
        {"ping_after": float("nan")},
        {"reset": ""},
        {"max_size": True},
    ],
)
async def test_options_that_cannot_be_right(open_pool: Any, wrong: dict[str, Any]) -> None:
    (name,) = [name for name in wrong if name != "max_size" or len(wrong) == 1]
    with pytest.raises(InterfaceError, match=name):
        await open_pool(**wrong)


# ---- one's own


@pytest.mark.row("O07")
async def test_a_connection_comes_clean(open_pool: Any) -> None:
    """Each of these is left behind by a user, and missing for the next one."""
    pool = await open_pool(max_size=1)
    async with pool.acquire() as db:
        await db.execute("select set_config('app.user', 'ada', false)")
        await db.execute("set datestyle to 'German'")
        await db.execute("select pg_advisory_lock(42)")
        await db.execute("create temp table left_behind (n int)")
        await db.execute("declare kept cursor with hold for select 1")
        await db.execute("listen somewhere")
        await db.execute("create temp sequence counted")
        pid = db.backend_pid
    async with pool.acquire() as db:
        assert db.backend_pid == pid
        assert await db.fetch_value("select current_setting('app.user', true)") in (None, "")
        assert await db.fetch_value("show datestyle") == "ISO, MDY"
        assert await db.fetch_value("select count(*) from pg_locks where locktype = 'advisory'") == 0
        assert await db.fetch_value("select to_regclass('pg_temp.left_behind')::text") is None
        assert await db.fetch_column("select name from pg_cursors where name <> ''") == []
        assert await db.fetch_column("select * from pg_listening_channels()") == []


@pytest.mark.row("O07")
async def test_roles_and_limits_do_not_stand_in_the_way_of_the_reset(open_pool: Any, db: Any) -> None:
    await db.execute_script("drop role if exists pool_guest; create role pool_guest")
    pool = await open_pool(max_size=1)
    try:
        async with pool.acquire() as mine:
            pid = mine.backend_pid
            await mine.execute("create temp table t ()")
            await mine.execute("set role pool_guest")
            await mine.execute("set default_transaction_read_only to on")
            await mine.execute("set statement_timeout to '1s'")
        async with pool.acquire() as mine:
            assert mine.backend_pid == pid
            assert await mine.fetch_value("select current_user = session_user")
            assert await mine.fetch_value("show statement_timeout") == "0"
            assert await mine.fetch_value("show default_transaction_read_only") == "off"
            await mine.execute("set session authorization pool_guest")
        async with pool.acquire() as mine:
            assert await mine.fetch_value("select session_user <> 'pool_guest'")
    finally:
        await pool.close(1)
        await db.execute("drop role pool_guest")


@pytest.mark.row("O07")
@pytest.mark.parametrize("failed", [False, True])
async def test_an_open_transaction_is_rolled_back(open_pool: Any, db: Any, failed: bool) -> None:
    await db.execute_script("drop table if exists undone; create table undone (n int)")
    pool = await open_pool(max_size=1)
    notices: list[Any] = []
    async with pool.acquire() as mine:
        mine.add_notice_listener(notices.append)
        pid = mine.backend_pid
        await mine.execute("begin")
        await mine.execute("insert into undone values (1)")
        if failed:
            with pytest.raises(pgoxide.errors.DivisionByZero):
                await mine.execute("select 1/0")
    async with pool.acquire() as mine:
        assert (mine.backend_pid, mine.transaction_status) == (pid, "idle")
    assert await db.fetch_value("select count(*) from undone") == 0
    # No rollback is sent where nothing is to be rolled back: the server would warn.
    async with pool.acquire() as mine:
        await mine.execute("select 1")
    async with pool.acquire() as mine:
        pass
    assert [notice.message for notice in notices] == []
    await db.execute("drop table undone")


RESET = (
    b"reset session authorization",
    b"reset role",
    b"reset all",
    b"select pg_catalog.pg_advisory_unlock_all()",
    b"close all",
    b"unlisten *",
    b"discard temp",
    b"discard sequences",
)


@pytest.mark.row("O07")
async def test_the_reset_is_written_at_release_and_not_waited_for(open_pool: Any, proxy: Any) -> None:
    """The server's answers are held back: `release` returns, and all of the reset is on its way, before anybody asks for more."""
    may_answer = threading.Event()
    may_answer.set()

    def alter(kind: bytes, body: bytes) -> bytes:
        may_answer.wait(30)
        return body

    line = proxy(alter=alter)
    pool = await open_pool(to=line, max_size=1)
    db = await pool.acquire()
    await db.execute("select 1")
    line.forget()
    may_answer.clear()
    await pool.release(db)
    if not hasattr(pool, "real"):
        await asyncio.sleep(
            0
        )  # what is asked while an answer is handed out leaves behind it, in the same turn
    await arrived(line, 3 * (len(RESET) + 1) + 1)
    assert line.sent == "PBE" * (len(RESET) + 1) + "S"
    texts = [body.split(b"\0")[1] for kind, body in line.bodies if kind == "P"]
    assert texts[:-1] == list(RESET)
    assert texts[-1].startswith(b"declare pgoxide_reset_")
    assert pool.stats().resetting == 1
    # Somebody may have it at once; nothing is written for them before they ask something.
    await pool.release(await pool.acquire())
    assert line.sent == "PBE" * (len(RESET) + 1) + "S"
    assert pool.stats().resetting + pool.stats().idle == 1
    may_answer.set()
    line.forget()
    async with pool.acquire() as mine:
        await mine.execute("select 2")
    assert b"select 2" in b"".join(body for _, body in line.bodies)
    assert b"rollback" not in b"".join(body for _, body in line.bodies)


async def arrived(line: Any, count: int) -> None:
    """Waits until the proxy has seen so many messages; the loop does not turn meanwhile."""
    until = time.monotonic() + 10
    while len(line.bodies) < count and time.monotonic() < until:
        time.sleep(0.005)  # nothing that comes later may be what wrote them


@pytest.mark.row("O07")
async def test_nothing_is_reset_where_nothing_ran(open_pool: Any, proxy: Any) -> None:
    line = proxy()
    pool = await open_pool(to=line, max_size=1)
    await pool.fetch_value("select 1")
    async with pool.acquire() as db:  # after a routed statement: whatever a function of it did is undone
        assert db.transaction_status == "idle"
    if not hasattr(pool, "real"):
        await asyncio.sleep(0)
    await arrived(line, 3 + 3 + 3 * (len(RESET) + 1) + 1)
    assert line.sent.count("P") > 1
    line.forget()
    for _ in range(3):
        async with pool.acquire() as db:
            assert db.transaction_status == "idle"
    assert line.sent == ""


@pytest.mark.row("O07")
async def test_reset_never(open_pool: Any, db: Any) -> None:
    pool = await open_pool(max_size=1, reset="never")
    async with pool.acquire() as mine:
        await mine.execute("select set_config('app.user', 'ada', false)")
    async with pool.acquire() as mine:
        assert await mine.fetch_value("select current_setting('app.user')") == "ada"
        await mine.execute("begin")
    async with pool.acquire() as mine:
        assert mine.transaction_status == "idle"


@pytest.mark.row("O07")
async def test_reset_of_ones_own(open_pool: Any) -> None:
    pool = await open_pool(max_size=1, reset="reset app.who; select 1")
    async with pool.acquire() as mine:
        await mine.execute(
            "select set_config('app.who', 'ada', false), set_config('app.other', 'kept', false)"
        )
        await mine.execute("begin")
    async with pool.acquire() as mine:
        assert mine.transaction_status == "idle"
        assert await mine.fetch_value("select current_setting('app.who', true)") in (None, "")
        assert await mine.fetch_value("select current_setting('app.other')") == "kept"


@pytest.mark.row("O07")
async def test_a_reset_that_fails_costs_the_connection(open_pool: Any) -> None:
    """The next user gets another one, and hears nothing of it."""
    pool = await open_pool(max_size=1, reset="select 1/0")
    async with pool.acquire() as mine:
        await mine.execute("select set_config('app.user', 'ada', false)")
        pid = mine.backend_pid
    async with pool.acquire() as mine:
        assert mine.backend_pid != pid
        assert await mine.fetch_value("select current_setting('app.user', true)") is None
    assert pool.stats().discarded["reset failed"] >= 1


async def test_a_connection_given_back_takes_no_calls(open_pool: Any) -> None:
    pool = await open_pool(max_size=1)
    db = await pool.acquire()
    await pool.release(db)
    with pytest.raises(InterfaceError, match="given back to its pool"):
        await db.fetch_value("select 1")
    with pytest.raises(InterfaceError, match="given back before"):
        await pool.release(db)


async def test_a_strangers_connection_is_refused(open_pool: Any, db: Any) -> None:
    pool, other = await open_pool(max_size=1), await open_pool(max_size=1)
    with pytest.raises(InterfaceError, match="not one of the pool's"):
        await pool.release(db)
    mine = await pool.acquire()
    with pytest.raises(InterfaceError, match="not one of the pool's"):
        await other.release(mine)
    await pool.release(mine)


async def test_a_stream_ends_with_its_checkout(open_pool: Any) -> None:
    pool = await open_pool(max_size=1)
    async with pool.acquire() as db:
        stream = db.stream("select n from generate_series(1, 1000000) as n", batch=10)
        assert (await anext(aiter(stream)))[0] == 1
    async with pool.acquire() as db:
        assert await db.fetch_value("select 1") == 1
    with pytest.raises(InterfaceError, match="given back"):
        while True:
            await anext(aiter(stream))


async def test_a_connection_closed_by_its_user_is_replaced(open_pool: Any) -> None:
    pool = await open_pool(max_size=1)
    async with pool.acquire() as db:
        pid = db.backend_pid
        await db.close()
    async with pool.acquire() as db:
        assert db.backend_pid != pid


# ---- waiting


@pytest.mark.row("O02", "O10")
async def test_who_waits_too_long_is_told_how_the_pool_stands(open_pool: Any) -> None:
    pool = await open_pool(max_size=1, acquire_timeout=0.05)
    async with pool.acquire():
        with pytest.raises(PoolTimeout, match=r"1 of 1 connections \(1 used\)") as raised:
            await pool.acquire()
        assert isinstance(raised.value, QueryTimeout)
        with pytest.raises(PoolTimeout):
            await pool.fetch_value("select 1")
        with pytest.raises(PoolTimeout):
            await pool.acquire(timeout=0.01)
    assert await pool.fetch_value("select 1") == 1
    assert (pool.stats().waiting, pool.stats().queued) == (0, 0)


@pytest.mark.row("O02")
async def test_a_calls_own_timeout_counts_in_the_queue(open_pool: Any) -> None:
    pool = await open_pool(max_size=1)
    async with pool.acquire():
        with pytest.raises(PoolTimeout, match=r"^no connection of the pool became free within 0\.05 s, "):
            await pool.fetch_value("select 1", timeout=0.05)
        with pytest.raises(QueryTimeout):
            await pool.execute_many("select $1::int", [(1,)], timeout=0.05)
        with pytest.raises(PoolTimeout):
            await pool.stream("select 1", timeout=0.05).next_batch()
        with pytest.raises(PoolTimeout):
            async with pool.batch(timeout=0.05) as batch:
                batch.execute("select 1")
    # What was waited for the connection is not there for the rows.
    db = await pool.acquire()
    stream = pool.stream("select pg_sleep(0.3)", timeout=0.4)
    if hasattr(pool, "real"):
        threading.Timer(0.3, pool.real.release, [real(db)]).start()
    else:
        giving_back = asyncio.create_task(later(pool.release, db))
    with pytest.raises(QueryTimeout):
        await stream.next_batch()
    if not hasattr(pool, "real"):
        await giving_back
    assert await pool.fetch_value("select 1") == 1


@pytest.mark.row("K03")
@pytest.mark.parametrize("call", ["execute_many", "copy_in", "run"])
async def test_a_limit_counts_the_wait_for_a_connection(open_pool: Any, db: Any, call: str) -> None:
    """0.3 s for the connection and 0.35 s for the rest are more than 0.5 s, though each of them is less."""

    def plan() -> Any:
        yield from fetch_value(Statement("select pg_sleep(0.35)"))

    await db.execute_script("drop table if exists waited; create table waited (n int)")
    pool = await open_pool(max_size=1)
    held = await pool.acquire()
    released: list[Any] = []
    if hasattr(pool, "real"):
        timer = threading.Timer(0.3, pool.release, [held])
        timer.start()
    else:
        asyncio.get_running_loop().call_later(
            0.3, lambda: released.append(asyncio.ensure_future(pool.release(held)))
        )
    with pytest.raises(QueryTimeout):
        if call == "execute_many":
            await pool.execute_many("select pg_sleep($1)", [(0.35,)], timeout=0.5)
        elif call == "copy_in":
            await pool.copy_in("waited", [(1,)], where="pg_sleep(0.35)::text is not null", timeout=0.5)
        else:
            await pool.run(plan(), timeout=0.5)
    assert await pool.fetch_value("select count(*) from waited") == 0
    await db.execute("drop table waited")


@pytest.mark.row("O02")
async def test_the_default_is_finite(open_pool: Any) -> None:
    pool = await open_pool()
    assert real(pool)._settings.acquire_timeout == 30.0


@pytest.mark.row("O03")
async def test_no_more_wait_than_may(open_pool: Any) -> None:
    pool = await open_pool(max_size=1, max_waiting=0)
    async with pool.acquire():
        with pytest.raises(PoolFull, match="max_waiting"):
            await pool.acquire()
        with pytest.raises(PoolFull, match="max_waiting"):
            await pool.fetch_value("select 1")
    assert await pool.fetch_value("select 1") == 1


@pytest.mark.row("O02", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_first_come_first_served(open_pool: Any) -> None:
    pool = await open_pool(max_size=2)
    order: list[int] = []

    async def user(number: int) -> None:
        async with pool.acquire() as db:
            order.append(number)
            await db.fetch_value("select 1")

    held = [await pool.acquire(), await pool.acquire()]
    users = [asyncio.create_task(user(n)) for n in range(20)]
    await asyncio.sleep(0)
    assert pool.stats().waiting == 20
    for one in held:
        await pool.release(one)
    await asyncio.gather(*users)
    assert order == list(range(20))


@pytest.mark.row("O02", face="blocking")
@pytest.mark.parametrize("face", ["blocking"])
async def test_first_come_first_served_among_threads(open_pool: Any) -> None:
    pool = real(await open_pool(max_size=1))
    order: list[int] = []

    def user(number: int) -> None:
        with pool.acquire() as db:
            order.append(number)
            db.fetch_value("select 1")

    threads = []
    with pool.acquire():
        for number in range(10):
            threads.append(threading.Thread(target=user, args=(number,)))
            threads[-1].start()
            while pool.stats().waiting <= number:
                threads[-1].join(0.001)
    for thread in threads:
        thread.join(30)
    assert order == list(range(10))


@pytest.mark.row("O02", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_a_front_that_gives_up_lets_the_others_by(open_pool: Any) -> None:
    """Routed calls may share a connection, but not before the one who came first for a whole one."""
    pool = await open_pool(max_size=1)
    await pool.fetch_value("select 1")
    slow = pool.fetch_value("select pg_sleep(0.2)::text")
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    behind = pool.fetch_value("select 2")
    assert (pool.stats().waiting, pool.stats().queued) == (1, 1)
    waiting.cancel()
    assert await behind == 2
    await slow


# ---- closing


@pytest.mark.row("O12")
async def test_close_waits_for_users_then_cuts(open_pool: Any) -> None:
    pool = await open_pool(max_size=2, debug=True)
    db = await pool.acquire()
    with pytest.warns(ResourceWarning, match="(?s)not given back.*acquired at:.*test_close_waits"):
        await pool.close(0.05)
    assert db.closed
    with pytest.raises(ConnectionClosed):
        await db.fetch_value("select 1")
    for call in (pool.acquire, lambda: pool.fetch_value("select 1")):
        with pytest.raises(InterfaceError, match="closed"):
            await call()
    await pool.close()
    assert pool.stats().size == 0


@pytest.mark.row("O12", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_close_lets_what_runs_finish(open_pool: Any) -> None:
    pool = await open_pool(max_size=2)
    running = pool.fetch_value("select pg_sleep(0.1)::text")
    holding = await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    closing = asyncio.create_task(pool.close(10))
    with pytest.raises(InterfaceError, match="closed while this waited"):
        await waiting
    assert await holding.fetch_value("select 1") == 1
    await pool.release(holding)
    await closing
    assert await running == ""
    assert holding.closed


@pytest.mark.row("O12")
async def test_a_forgotten_pool_warns(open_pool: Any) -> None:
    import gc
    import warnings

    pool = real(await open_pool(max_size=1))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        open_pool._opened.clear()
        del pool
        gc.collect()
        if open_pool.face == "async":
            await asyncio.sleep(0)
            gc.collect()
    assert any("unclosed <" in str(one.message) for one in told)


@pytest.mark.row("O12")
async def test_a_closed_pool_is_not_entered_again(open_pool: Any) -> None:
    pool = real(await open_pool())
    if isinstance(pool, pgoxide.Pool):
        pool.close()
        with pytest.raises(InterfaceError, match="the pool is closed"), pool:
            pass
        return
    await pool.close()
    with pytest.raises(InterfaceError, match="the pool is closed"):
        await pool
    with pytest.raises(InterfaceError, match="the pool is closed"):
        async with pool:
            pass
