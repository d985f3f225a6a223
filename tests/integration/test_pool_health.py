"""Connections that die, age, or cannot be opened; hooks, numbers, and types known to all (O04-O11, O14, O17, B06)."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from fixtures.fix_pools import BlockingPool, real
from pgoxide.config import ConnectConfig
from pgoxide.driver.pooling import PoolEvent
from pgoxide.embedded import start
from pgoxide.errors import ConnectionClosed, ConnectionFailed, InterfaceError, OperationalError, PoolTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgoxide.embedded.locate import Binaries

pytestmark = [pytest.mark.pg]


async def until(pool: Any, holds: Callable[[], bool]) -> None:
    """Waits until it holds, at most ten seconds."""
    for _ in range(1_000):
        if holds():
            return
        if isinstance(pool, BlockingPool):
            time.sleep(0.01)
        else:
            await asyncio.sleep(0.01)
    raise AssertionError(f"{pool!r}: never")


async def kill_all(db: Any, name: str) -> None:
    named = "select pid from pg_stat_activity where application_name = $1"
    killed = await db.fetch_column(named, name, into=int)
    assert killed
    await db.execute("select pg_terminate_backend(pid) from unnest($1::int[]) as pid", killed)
    sql = "select count(*) from pg_stat_activity where pid = any($1)"
    while await db.fetch_value(sql, killed, into=int):
        pass


# ---- O04


@pytest.mark.row("O04")
@pytest.mark.both_transports
async def test_all_backends_killed_and_the_next_ten_users_hear_nothing(open_pool: Any, db: Any) -> None:
    pool = await open_pool(min_size=4, max_size=4, application_name="killed")
    await kill_all(db, "killed")
    for n in range(10):
        async with pool.acquire() as mine:
            assert await mine.fetch_value("select $1::int", n) == n
    await until(pool, lambda: pool.stats().size == 4)
    await kill_all(db, "killed")
    for n in range(10):
        assert await pool.fetch_value("select $1::int", n) == n
    stats = pool.stats()
    # Those that nobody took meanwhile are found when they are.
    assert stats.lost + stats.discarded.get("lost", 0) >= 2
    await until(pool, lambda: pool.stats().size == 4)


@pytest.mark.row("O04")
@pytest.mark.parametrize("face", ["async"])
async def test_killed_while_the_loop_does_not_turn(open_pool: Any, server: Any) -> None:
    """The loop has not told of the end yet: it is read before the connection is used."""
    pool = await open_pool(min_size=2, max_size=2, application_name="unseen")
    with pgoxide.Connection.connect(server.dsn()) as other:
        other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'unseen'"
        )
        time.sleep(0.3)
    assert await pool.fetch_value("select 1") == 1
    with pgoxide.Connection.connect(server.dsn()) as other:
        other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'unseen'"
        )
        time.sleep(0.3)
    async with pool.acquire() as mine:
        assert await mine.fetch_value("select 1") == 1


@pytest.mark.row("O04")
@pytest.mark.both_transports
@pytest.mark.parametrize("face", ["async"])
async def test_an_end_that_the_loop_has_not_told_yet_is_seen(open_pool: Any, server: Any) -> None:
    """As when who waits for the end of the backends is woken first, by what arrived in the same turn of the loop."""
    pool = await open_pool(min_size=2, max_size=2, application_name="untold")
    killer = pgoxide.Connection.connect(server.dsn())
    for n in range(10):
        await until(pool, lambda: pool.stats().size == 2)
        time.sleep(0.06)  # idle for long enough to be looked at, and the loop does not turn
        killer.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'untold'"
        )
        if n % 2:
            assert await pool.fetch_value("select $1::int", n) == n
        else:
            async with pool.acquire() as mine:
                assert await mine.fetch_value("select $1::int", n) == n
    killer.close()


@pytest.mark.row("O04")
async def test_a_ping_after_idleness(open_pool: Any, proxy: Any) -> None:
    line = proxy()
    pool = await open_pool(to=line, min_size=1, max_size=1, ping_after=0)
    line.forget()
    assert await pool.fetch_value("select 1") == 1
    assert line.sent.startswith("S")
    line.forget()
    async with pool.acquire() as mine:
        await mine.fetch_value("select 1")
    assert line.sent.startswith("S")
    other = await open_pool(to=line, min_size=1, max_size=1)
    line.forget()
    assert await other.fetch_value("select 1") == 1
    assert not line.sent.startswith("S")


@pytest.mark.row("O04")
@pytest.mark.parametrize(("ping_after", "asked"), [(60, False), (0.05, True)])
async def test_no_ping_before_so_much_idleness(
    open_pool: Any, proxy: Any, ping_after: float, asked: bool
) -> None:
    line = proxy()
    pool = await open_pool(to=line, min_size=1, max_size=1, ping_after=ping_after)
    time.sleep(0.2)
    line.forget()
    assert await pool.fetch_value("select 1") == 1
    assert line.sent.startswith("S") is asked
    time.sleep(0.2)
    line.forget()
    async with pool.acquire() as mine:
        assert await mine.fetch_value("select 1") == 1
    assert line.sent.startswith("S") is asked


@pytest.mark.row("O04")
async def test_a_line_that_died_without_a_word_is_found_by_the_ping(
    open_pool: Any, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pgoxide.driver import shelf
    from pgoxide.driver._async import pool as module

    monkeypatch.setattr(module, "PING_TIMEOUT", 0.1)
    monkeypatch.setattr(shelf, "PING_TIMEOUT", 0.1)
    silent = False

    def alter(kind: bytes, body: bytes) -> bytes:
        nonlocal silent
        while silent:
            time.sleep(0.01)
        return body

    line = proxy(alter=alter)
    pool = await open_pool(to=line, min_size=1, max_size=2, ping_after=0)
    assert await pool.fetch_value("select 1") == 1
    silent = True

    def wake() -> None:
        nonlocal silent
        time.sleep(0.4)
        silent = False

    threading.Thread(target=wake).start()
    assert await pool.fetch_value("select 2", timeout=20) == 2
    assert pool.stats().discarded["lost"] >= 1


# ---- O05, O06


@pytest.mark.row("O05")
async def test_lifetime_is_checked_when_taken_and_when_given_back(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1, max_lifetime=0.2)
    async with pool.acquire() as mine:
        first = mine.backend_pid
        if isinstance(pool, BlockingPool):
            time.sleep(0.3)
        else:
            await asyncio.sleep(0.3)
        assert await mine.fetch_value("select 1") == 1  # never under its user
    async with pool.acquire() as mine:
        assert mine.backend_pid != first
    assert pool.stats().discarded["lifetime"] >= 1
    await until(pool, lambda: pool.stats().discarded["lifetime"] >= 3)  # in the background, too
    assert await pool.fetch_value("select 1") == 1


@pytest.mark.row("O05")
def test_lifetimes_differ() -> None:
    from pgoxide.driver.pooling import Settings

    settings = Settings(1, 2, None, None, 100.0, None, None, None, "full")
    lifetimes = {settings.lifetime() for _ in range(100)}
    assert len(lifetimes) > 50
    assert all(lifetime is not None and 90 <= lifetime <= 110 for lifetime in lifetimes)


@pytest.mark.row("O05")
async def test_idle_ones_are_closed_down_to_the_least(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=3, max_idle=0.2)
    held = [await pool.acquire() for _ in range(3)]
    for one in held:
        await pool.release(one)
    assert pool.stats().size == 3
    await until(pool, lambda: pool.stats().size == 1)
    assert pool.stats().discarded["idle"] >= 2
    assert await pool.fetch_value("select 1") == 1


@pytest.mark.row("O06")
async def test_uses_are_counted(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1, max_uses=3)
    pids = [await pool.fetch_value("select pg_backend_pid()", into=int) for _ in range(7)]
    assert len(set(pids)) == 3
    assert max(pids.count(pid) for pid in pids) == 3
    assert pool.stats().discarded["uses"] == 2


@pytest.mark.row("O11")
async def test_expire_replaces_all(open_pool: Any) -> None:
    pool = await open_pool(min_size=2, max_size=2)
    used = await pool.acquire()
    async with pool.acquire() as idle:
        before = {used.backend_pid, idle.backend_pid}
    real(pool).expire()
    assert await used.fetch_value("select 1") == 1
    await pool.release(used)
    await until(pool, lambda: pool.stats().size == 2)
    after = set()
    held = [await pool.acquire() for _ in range(2)]
    for one in held:
        after.add(one.backend_pid)
        await pool.release(one)
    assert before.isdisjoint(after)


# ---- O08


def hook(face: str, work: Callable[[Any], Any]) -> Any:
    """A hook of the face: its connection's verbs are awaited on one of them."""

    async def awaited(db: Any) -> None:
        work_done = work(db)
        if work_done is not None:
            await work_done

    def called(db: Any) -> None:
        work(db)

    return awaited if face == "async" else called


@pytest.mark.row("O08")
async def test_hooks_in_order(open_pool: Any, face: str) -> None:
    said: list[str] = []

    def note(name: str) -> Any:
        return hook(face, lambda db: (said.append(name), db.execute("select 1"))[1])

    pool = await open_pool(
        min_size=1,
        max_size=1,
        configure=note("configure"),
        on_acquire=note("acquire"),
        on_release=note("release"),
        before_close=note("close"),
    )
    for _ in range(2):
        async with pool.acquire() as db:
            said.append("use")
            await db.fetch_value("select 1")
    assert await pool.fetch_value("select 1") == 1
    await pool.close()
    assert said == ["configure", "acquire", "use", "release", "acquire", "use", "release", "close"]


@pytest.mark.row("O08")
async def test_a_hook_that_raises_costs_the_connection(open_pool: Any, face: str) -> None:
    def fail(db: Any) -> None:
        raise LookupError("the hook's own")

    for name in ("on_acquire", "on_release"):
        pool = await open_pool(min_size=1, max_size=1, **{name: hook(face, fail)})
        with pytest.raises(LookupError, match="own"):
            async with pool.acquire():
                pass
        assert pool.stats().discarded["hook failed"] == 1
        assert await pool.fetch_value("select 1") == 1
    with pytest.raises(LookupError, match="own"):
        await open_pool(configure=hook(face, fail))


@pytest.mark.row("O08")
async def test_a_hook_that_was_overtaken_costs_the_next_user_nothing(open_pool: Any, face: str) -> None:
    """Given back twice at once: the hook of the one must not end the connection that the other has handed on."""
    if face == "async":
        begun, gate = asyncio.Event(), asyncio.Event()

        async def wait(db: Any) -> None:
            if not begun.is_set():
                begun.set()
                await gate.wait()
                await db.fetch_value("select 1")

        pool = await open_pool(min_size=1, max_size=1, on_release=wait)
        db = await pool.acquire()
        slow = asyncio.create_task(pool.release(db))
        await begun.wait()
        with pytest.raises(InterfaceError, match="given back before"):
            await pool.release(db)
        gate.set()
        await slow
    else:
        entered, open_ = threading.Event(), threading.Event()

        def stay(db: Any) -> None:
            if not entered.is_set():
                entered.set()
                assert open_.wait(10)
                db.fetch_value("select 1")

        pool = await open_pool(min_size=1, max_size=1, on_release=stay)
        db = await pool.acquire()
        thread = threading.Thread(target=pool.real.release, args=(real(db),))
        thread.start()
        assert entered.wait(10)
        with pytest.raises(InterfaceError, match="given back before"):
            await pool.release(db)
        open_.set()
        thread.join()
    async with pool.acquire() as following:
        assert await following.fetch_value("select 1") == 1
    assert not pool.stats().discarded


@pytest.mark.row("O08")
async def test_a_hook_that_gives_back_and_raises_costs_the_next_user_nothing(
    open_pool: Any, face: str
) -> None:
    """Whoever has the connection by then hears nothing of it."""
    kept: list[Any] = []

    async def awaited(db: Any) -> None:
        if not kept:
            kept.append(db)
            await pool.release(db)
            kept.append(await pool.acquire())
            raise LookupError("the hook's own")

    def plain(db: Any) -> None:
        if not kept:
            kept.append(db)
            pool.real.release(db)
            kept.append(pool.real.acquire())
            raise LookupError("the hook's own")

    pool = await open_pool(min_size=1, max_size=1, on_acquire=awaited if face == "async" else plain)
    with pytest.raises(LookupError, match="own"):
        await pool.acquire()
    value = kept[1].fetch_value("select 1")
    assert (await value if face == "async" else value) == 1
    await pool.release(kept[1])


@pytest.mark.row("O12")
async def test_a_hook_that_never_ends_does_not_keep_the_pool_from_closing(
    open_pool: Any, face: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "_async" if face == "async" else "_sync"
    monkeypatch.setattr(f"pgoxide.driver.{module}.pool.CLOSE_TIMEOUT", 0.3)

    async def awaited(db: Any) -> None:
        with pytest.raises(ConnectionClosed):
            await db.fetch_value("select pg_sleep(50)")

    def plain(db: Any) -> None:
        with pytest.raises(ConnectionClosed):
            db.fetch_value("select pg_sleep(50)")

    pool = await open_pool(min_size=1, max_size=1, before_close=awaited if face == "async" else plain)
    began = time.monotonic()
    await pool.close(0.1)
    assert time.monotonic() - began < 10


@pytest.mark.row("O07")
async def test_a_reset_that_is_not_answered_costs_the_connection(
    open_pool: Any, face: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that died without a word during the reset must not keep its place in the pool for ever."""
    module = "_async.pool" if face == "async" else "shelf"
    monkeypatch.setattr(f"pgoxide.driver.{module}.RESET_TIMEOUT", 0.3)
    pool = await open_pool(min_size=1, max_size=1, max_idle=0.1, reset="select pg_sleep(50)")
    db = await pool.acquire()
    before = db.backend_pid
    await db.execute("select 1")
    await pool.release(db)
    db = await pool.acquire(timeout=10)
    assert db.backend_pid != before
    assert pool.stats().discarded["reset failed"] == 1
    await pool.release(db)


@pytest.mark.row("O02")
async def test_a_slow_reset_counts_in_the_users_time_limit(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1, reset="select pg_sleep(2)")
    async with pool.acquire() as db:
        before = db.backend_pid
        await db.execute("select 1")
    began = time.monotonic()
    with pytest.raises(PoolTimeout):
        await pool.acquire(timeout=0.3)
    assert time.monotonic() - began < 1.5
    async with pool.acquire(timeout=10) as db:
        assert db.backend_pid == before  # its reset went on


@pytest.mark.row("O08")
async def test_what_configure_sets_would_not_last(open_pool: Any, face: str) -> None:
    set_zone = hook(face, lambda db: db.execute("set timezone to 'Asia/Tokyo'"))
    with pytest.raises(InterfaceError, match="TimeZone"):
        await open_pool(configure=set_zone)
    pool = await open_pool(max_size=1, configure=set_zone, reset="never")
    async with pool.acquire() as db:
        assert await db.fetch_value("show timezone") == "Asia/Tokyo"
    pool = await open_pool(max_size=1, parameters={"TimeZone": "Asia/Tokyo"})
    for _ in range(2):
        async with pool.acquire() as db:
            assert await db.fetch_value("show timezone") == "Asia/Tokyo"
            await db.execute("set timezone to 'UTC'")
    with pytest.raises(InterfaceError, match="transaction open"):
        await open_pool(configure=hook(face, lambda db: db.execute("begin")))


@pytest.mark.row("O08")
async def test_where_to_connect_is_asked_each_time(
    open_pool: Any, face: str, server: Any, runner: Any
) -> None:
    asked: list[int] = []

    def where() -> ConnectConfig:
        asked.append(1)
        return ConnectConfig.parse(server.dsn(), application_name=f"number {len(asked)}")

    async def later() -> ConnectConfig:
        return where()

    pool: Any
    if face == "async":
        pool = await pgoxide.AsyncPool(later, max_size=2)
    else:
        pool = BlockingPool(pgoxide.Pool(where, max_size=2))
    first, second = await pool.acquire(), await pool.acquire()
    names = {await db.fetch_value("show application_name") for db in (first, second)}
    assert names == {"number 1", "number 2"}
    await pool.release(first)
    await pool.release(second)
    await pool.close()


# ---- O09


@pytest.mark.row("O09")
async def test_numbers(open_pool: Any, face: str) -> None:
    pool = await open_pool(min_size=1, max_size=2)
    used = await pool.acquire()
    assert await pool.fetch_value("select 1") == 1
    stats = pool.stats()
    assert (stats.size, stats.used, stats.idle, stats.connects, stats.failures) == (2, 1, 1, 2, 0)
    assert sum(count for _, count in stats.waits) + stats.at_once == 2
    assert "2 of 2 connections (1 idle, 1 used)" in str(stats)
    assert str(stats) in repr(real(pool))
    await pool.release(used)
    await until(pool, lambda: pool.stats().idle == 2 or pool.stats().resetting == 1)


@pytest.mark.row("O09")
async def test_what_happens_is_told(open_pool: Any, face: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, whatever another listener raises, and in numbers as `stats` has them."""
    fails, unraisable = False, []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    def configure(_: Any) -> None:
        if fails:
            raise ValueError("mine")

    async def configure_later(own: Any) -> None:
        configure(own)

    def broken(_: PoolEvent) -> None:
        raise KeyError

    pool = await open_pool(
        min_size=0,
        max_size=1,
        acquire_timeout=5,
        configure=configure if face == "blocking" else configure_later,
    )
    told: list[PoolEvent] = []
    pool.add_event_listener(broken)
    pool.add_event_listener(told.append)
    first = await pool.fetch_value("select pg_backend_pid()")
    assert told == [PoolEvent("opened", process_id=first)]
    async with pool.acquire() as db:
        with pytest.raises(ConnectionClosed):
            await db.fetch_value("select pg_terminate_backend(pg_backend_pid())")
    await until(pool, lambda: len(told) == 2)
    assert told[1][:2] == ("lost", None)
    assert isinstance(told[1].error, ConnectionClosed)
    assert told[1].process_id == first
    second = await pool.fetch_value("select pg_backend_pid()")
    pool.expire()
    await until(pool, lambda: len(told) == 4)
    assert told[2:] == [
        PoolEvent("opened", process_id=second),
        PoolEvent("discarded", "expired", process_id=second),
    ]
    fails = True
    with pytest.raises(PoolTimeout):
        await pool.fetch_value("select 1", timeout=0.3)
    failed = [event for event in told if event.kind == "failed"]
    assert failed == told[4:]
    assert {str(event.error) for event in failed} == {"mine"}
    stats = pool.stats()
    assert (stats.connects, stats.lost, stats.failures, stats.discarded) == (
        2,
        1,
        len(failed),
        {"expired": 1},
    )
    assert {one.exc_type for one in unraisable} == {KeyError}
    fails = False
    pool.remove_event_listener(told.append)
    assert await pool.fetch_value("select 1") == 1
    assert not [event for event in told if event.kind == "opened" and event.process_id not in {first, second}]
    with pytest.raises(ValueError, match="not in list"):
        pool.remove_event_listener(told.append)
    pool.remove_event_listener(broken)


@pytest.mark.row("O09")
async def test_an_error_tells_how_its_pool_stood(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=2)
    with pytest.raises(pgoxide.errors.DivisionByZero) as raised:
        await pool.fetch_value("select 1/0")
    assert any("of 2 connections" in note for note in raised.value.__notes__)


# ---- O10


@pytest.mark.row("O10")
@pytest.mark.slow
async def test_the_server_stops_and_starts_again(binaries: Binaries, face: str, runner: Any) -> None:
    """Nothing hangs meanwhile, who waits too long is told why, and the pool heals by itself."""
    server = start(binaries=binaries)
    options: dict[str, Any] = {"min_size": 2, "max_size": 3, "acquire_timeout": 0.5}
    pool: Any
    if face == "async":
        pool = await pgoxide.AsyncPool(server.dsn(), **options)
    else:
        pool = BlockingPool(pgoxide.Pool(server.dsn(), **options))
    assert await pool.fetch_value("select 1") == 1
    folder, port = Path(str(server.config().host)), server.config().port
    server.stop()
    for _ in range(4):
        with pytest.raises(OperationalError) as raised:
            await pool.fetch_value("select 1", timeout=5)
        if isinstance(raised.value, PoolTimeout):
            break
    with pytest.raises(PoolTimeout, match="opening one failed: ConnectionFailed") as late:
        async with pool.acquire():
            pass
    assert isinstance(late.value.__cause__, ConnectionFailed)
    assert pool.stats().failures >= 1
    again = start(binaries=binaries)
    try:
        link(again, folder, port)
        await pool.wait(30)
        assert await pool.fetch_value("select 1") == 1
        assert pool.stats().size >= 2
        assert pool.stats().last_failure is None
    finally:
        await pool.close(1)
        again.stop()


@pytest.mark.row("O01")
async def test_who_waits_in_vain_is_told_why(open_pool: Any, face: str) -> None:
    """`wait` ends without an error only when the connections are there."""
    fails = False

    def configure(_: Any) -> None:
        if fails:
            raise ValueError("mine")

    async def configure_later(own: Any) -> None:
        configure(own)

    hook = configure if face == "blocking" else configure_later
    pool = await open_pool(min_size=1, max_size=1, configure=hook)
    fails = True
    pool.expire()  # a blocking pool learns of an idle connection's end only when it is used
    await until(pool, lambda: pool.stats().failures >= 1)
    with pytest.raises(PoolTimeout, match="opening one failed: ValueError: mine") as late:
        await pool.wait(0.2)
    assert isinstance(late.value.__cause__, ValueError)
    fails = False
    await pool.wait(30)
    assert pool.stats().size == 1


AWAY = 60.0
"""Seconds."""

PATIENCE = 1.0
"""Seconds who waits for a connection waits at most."""


class Users:
    """Who goes on calling the pool, whatever becomes of the server; from several tasks or threads."""

    def __init__(self) -> None:
        self.over = False
        self.good: list[float] = []
        self.bad: list[float] = []
        self.longest = 0.0
        self.wrong: list[BaseException] = []

    def note(self, began: float, error: BaseException | None) -> None:
        now = time.monotonic()
        self.longest = max(self.longest, now - began)
        (self.good if error is None else self.bad).append(now)
        if error is not None and not isinstance(error, OperationalError):
            self.wrong.append(error)

    async def call(self, pool: pgoxide.AsyncPool, whole: bool) -> None:
        while not self.over:
            began = time.monotonic()
            try:
                if whole:
                    async with pool.acquire() as db:
                        await db.fetch_value("select 1", timeout=5)
                else:
                    await pool.fetch_value("select 1", timeout=5)
            except Exception as error:
                self.note(began, error)
            else:
                self.note(began, None)
            await asyncio.sleep(0.05)

    def call_blocking(self, pool: pgoxide.Pool, whole: bool) -> None:
        while not self.over:
            began = time.monotonic()
            try:
                if whole:
                    with pool.acquire() as db:
                        db.fetch_value("select 1", timeout=5)
                else:
                    pool.fetch_value("select 1", timeout=5)
            except Exception as error:
                self.note(began, error)
            else:
                self.note(began, None)
            time.sleep(0.05)


@pytest.mark.row("O10")
@pytest.mark.slow
def test_the_server_is_away_for_a_whole_minute(binaries: Binaries, face: str) -> None:
    """Users go on calling all the time: each is told within its patience, and the pool heals without anybody's doing."""
    server, users = start(binaries=binaries), Users()
    options: dict[str, Any] = {"min_size": 2, "max_size": 3, "acquire_timeout": PATIENCE}
    folder, port = Path(str(server.config().host)), server.config().port
    again: list[Any] = []

    def outage() -> None:
        """In a thread beside the users."""
        time.sleep(0.5)
        server.stop()
        time.sleep(AWAY)
        again.append(start(binaries=binaries))
        link(again[0], folder, port)
        back, until = time.monotonic(), time.monotonic() + 30
        while time.monotonic() < until and sum(at > back for at in users.good) < 40:
            time.sleep(0.1)
        users.over = True

    async def asynchronous() -> pgoxide.AsyncPool:
        async with pgoxide.AsyncPool(server.dsn(), **options) as pool:
            await asyncio.gather(
                asyncio.to_thread(outage), *(users.call(pool, whole) for whole in (True, False) * 3)
            )
            check(pool.stats())
            return pool

    def blocking() -> None:
        with pgoxide.Pool(server.dsn(), **options) as pool:
            work = [
                threading.Thread(target=users.call_blocking, args=(pool, whole))
                for whole in (True, False) * 3
            ]
            for thread in (*work, threading.Thread(target=outage)):
                thread.start()
                work.append(thread)
            for thread in work:
                thread.join(AWAY + 60)
                assert not thread.is_alive()
            check(pool.stats())

    def check(stats: Any) -> None:
        assert users.wrong == []
        assert users.longest < PATIENCE + 5
        gone, back = users.bad[0], users.bad[-1]
        assert back - gone > AWAY - 5
        assert [at for at in users.good if gone + 1 < at < back - 1] == []
        # All of them were being served again, not only some.
        assert sum(at > back for at in users.good) >= 20
        assert (stats.size >= 2, stats.last_failure) == (True, None)
        # One attempt at a time, and ever more seldom.
        assert 3 <= stats.failures <= AWAY

    try:
        if face == "async":
            asyncio.run(asynchronous())
        else:
            blocking()
    finally:
        server.stop()
        for one in again:
            one.stop()


def link(server: Any, folder: Path, port: int) -> None:
    """Puts the new server's socket where the old one's was."""
    folder.mkdir(parents=True, exist_ok=True)
    config = server.config()
    (folder / f".s.PGSQL.{port}").symlink_to(f"{config.host}/.s.PGSQL.{config.port}")


@pytest.mark.row("O10")
async def test_while_it_cannot_connect_one_attempt_at_a_time(open_pool: Any, proxy: Any) -> None:
    line = proxy()
    pool = await open_pool(to=line, min_size=1, max_size=8, acquire_timeout=0.4)
    folder = line.folder
    line.close()
    folder.mkdir(exist_ok=True)
    if isinstance(pool, BlockingPool):
        with pytest.raises(OperationalError):
            await pool.fetch_value("select 1")
    else:
        results = await asyncio.gather(
            *(pool.fetch_value("select 1") for _ in range(50)), return_exceptions=True
        )
        assert {isinstance(result, OperationalError) for result in results} == {True}
    assert pool.stats().failures <= 20


# ---- O14, O17


@pytest.mark.row("O14", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_a_pool_belongs_to_its_loop(open_pool: Any) -> None:
    pool = await open_pool()

    async def elsewhere() -> None:
        await pool.fetch_value("select 1")

    async def taken() -> None:
        await pool.acquire()

    def other_loop(body: Any) -> None:
        with pytest.raises(InterfaceError, match="another event loop"):
            asyncio.run(body())
        with pytest.raises(InterfaceError, match="outside its event loop"):
            pool.fetch_value("select 1").close()

    thread = threading.Thread(target=other_loop, args=(elsewhere,))
    thread.start()
    thread.join(20)
    await asyncio.to_thread(other_loop, taken)
    for call in (pool.close, pool.wait, pool.__aenter__):
        await asyncio.to_thread(other_loop, call)
    with pytest.raises(InterfaceError, match="another event loop"):
        await asyncio.to_thread(pool.expire)
    assert await pool.fetch_value("select 1") == 1


@pytest.mark.row("O14", face="blocking")
@pytest.mark.parametrize("face", ["blocking"])
async def test_threads_share_a_pool(open_pool: Any) -> None:
    """Each gets its own answers, in calls, acquired connections and transactions, and every connection comes back."""
    pool = real(await open_pool(min_size=0, max_size=3))
    pool.execute("create table if not exists shared (thread int4, n int4)")
    pool.execute("truncate shared")

    def user(thread: int) -> int:
        for n in range(thread * 1000, thread * 1000 + 40):
            assert pool.fetch_value("select $1::int4", n) == n
            with pool.acquire() as db:
                assert db.fetch_one("select $1::int4, pg_backend_pid()", n) == (n, db.backend_pid)
            with pool.transaction() as tx:
                tx.execute("insert into shared values ($1, $2)", thread, n)
                assert tx.fetch_value("select max(n) from shared where thread = $1", thread) == n
        return thread

    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(user, range(12))) == list(range(12))
    assert pool.fetch_all("select thread, count(*)::int4 from shared group by 1 order by 1") == [
        (n, 40) for n in range(12)
    ]
    stats = pool.stats()
    assert (stats.used, stats.busy, stats.waiting) == (0, 0, 0)
    assert 1 <= stats.size <= 3
    assert stats.idle + stats.resetting == stats.size
    with pool.acquire(timeout=10) as one, pool.acquire(timeout=10) as two, pool.acquire(timeout=10) as three:
        assert len({one.backend_pid, two.backend_pid, three.backend_pid}) == 3
    pool.execute("drop table shared")


@pytest.mark.row("O17")
async def test_after_a_fork_it_says_so(open_pool: Any) -> None:
    pool = real(await open_pool())
    reading, writing = os.pipe()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads and forks, from 3.12 on
        child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            call = pool.fetch_value("select 1")
            said = f"it ran: {call!r}"
        except BaseException as error:
            said = str(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert "before a fork" in pipe.read()
    os.waitpid(child, 0)  # noqa: ASYNC222  it has ended


# ---- B06


@pytest.mark.row("B06")
async def test_a_type_is_looked_up_once_for_all_connections(open_pool: Any, proxy: Any, db: Any) -> None:
    await db.execute_script("drop type if exists mood; create type mood as enum ('sad', 'ok')")
    line = proxy()
    pool = await open_pool(to=line, min_size=2, max_size=2)
    asked: list[bool] = []
    held = [await pool.acquire() for _ in range(2)]
    for one in held:
        line.forget()
        assert await one.fetch_value("select 'ok'::mood") == "ok"
        asked.append(b"pg_type" in b"".join(body for _, body in line.bodies))
    for one in held:
        await pool.release(one)
    assert asked == [True, False]
    await pool.close()
    await db.execute("drop type mood")
