"""The next user of a pool's connection travels behind its reset: B03.

The server's answers are held back, so that what is written before them shows. A reset is made to fail by a cancel from outside
while it waits for a lock: another session holds one on the temporary table that it drops.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from fixtures.fix_pools import real
from pgoxide.errors import ConnectionClosed, Error, InterfaceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.fix_pgbouncer import PgBouncer

pytestmark = [pytest.mark.pg, pytest.mark.both_transports, pytest.mark.row("B03")]

RESET = "PBE" * 9 + "S"
PROOF = "DC"
"""Describe and Close of the cursor that the reset leaves."""


class Gate:
    """A relay that lets the server's answers through while it is open."""

    def __init__(self, proxy: Callable[..., Any]) -> None:
        self._open = threading.Event()
        self._open.set()
        self.line = proxy(alter=self._pass)
        self._watch: threading.Thread | None = None
        self.seen = ""

    def _pass(self, _kind: bytes, body: bytes) -> bytes:
        self._open.wait(30)
        return body

    def shut(self) -> None:
        """From now on nothing comes back. What was asked is recorded anew."""
        self.line.forget()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def open_after(self, *messages: str) -> None:
        """Opens it when one of these has been written, or after two seconds."""
        self._watch = threading.Thread(target=self._open_after, args=[messages])
        self._watch.start()

    def _open_after(self, messages: tuple[str, ...]) -> None:
        until = time.monotonic() + 2
        while time.monotonic() < until and self.line.sent not in messages:
            time.sleep(0.002)
        time.sleep(0.05)  # what else would be written now
        self.seen = self.line.sent
        self._open.set()

    def written(self) -> str:
        """What had been written before anything came back."""
        assert self._watch is not None
        self._watch.join()
        return self.seen


@pytest.fixture
def gate(proxy: Callable[..., Any]) -> Gate:
    return Gate(proxy)


async def used(pool: Any, *statements: str) -> int:
    """A user, who leaves something behind. The process of their connection."""
    async with pool.acquire() as db:
        for statement in statements or ["select 1"]:
            await db.execute(statement)
        return db.backend_pid


async def warmed(open_pool: Any, gate: Gate) -> Any:
    """A pool of one connection, which knows `select $1::int4`."""
    pool = await open_pool(max_size=1, to=gate.line)
    async with pool.acquire() as db:
        await db.fetch_value("select $1::int4", 7)
    return pool


async def given_back(pool: Any, gate: Gate, *statements: str) -> int:
    """The same; the reset is on its way, unanswered."""
    db = await pool.acquire()
    for statement in statements or ["select 1"]:
        await db.execute(statement)
    gate.shut()
    await pool.release(db)
    if not hasattr(pool, "real"):
        await asyncio.sleep(0)
    return real(db)._whole.backend_pid


async def pause(pool: Any) -> None:
    """What is on its way arrives."""
    if hasattr(pool, "real"):
        time.sleep(0.05)
    else:
        await asyncio.sleep(0.05)


# ---- it travels


async def test_a_users_first_statement(open_pool: Any, gate: Gate) -> None:
    pool = await open_pool(max_size=1, to=gate.line)
    async with pool.acquire() as db:
        assert await db.fetch_value("select $1::int4", 7) == 7
    pid = await given_back(pool, gate)
    gate.open_after(RESET + PROOF + "BES")
    async with pool.acquire(timeout=10) as db:
        assert await db.fetch_value("select $1::int4", 8) == 8
        assert db.backend_pid == pid
        assert await db.fetch_value("select $1::int4", 9) == 9
    assert gate.written() == RESET + PROOF + "BES"


async def test_a_statement_that_is_described_first(open_pool: Any, gate: Gate) -> None:
    pool = await open_pool(max_size=1, to=gate.line)
    await used(pool)
    await given_back(pool, gate)
    gate.open_after(RESET + PROOF + "PDS")
    async with pool.acquire(timeout=10) as db:
        assert await db.fetch_value("select $1::int4 + 1", 8) == 9
    assert gate.written() == RESET + PROOF + "PDS"


async def test_a_call_given_to_the_pool(open_pool: Any, gate: Gate) -> None:
    pool = await open_pool(max_size=1, to=gate.line)
    assert await pool.fetch_value("select $1::int4", 7) == 7
    await used(pool)
    await given_back(pool, gate)
    gate.open_after(RESET + PROOF + "BES")
    assert await pool.fetch_value("select $1::int4", 8) == 8
    assert gate.written() == RESET + PROOF + "BES"
    assert await pool.fetch_value("select $1::int4", 9) == 9


@pytest.mark.parametrize("isolation", [None, "serializable"])
async def test_a_transaction_block(open_pool: Any, db: Any, gate: Gate, isolation: str | None) -> None:
    """BEGIN goes with its first statement: with a proof that runs a query, the isolation level would come too late."""
    await db.execute_script("drop table if exists followed; create table followed (n int)")
    pool = await open_pool(max_size=1, to=gate.line)
    async with pool.acquire() as mine:
        await mine.fetch_value("select current_setting('transaction_isolation')")
        await mine.execute("insert into followed values ($1)", 0)
    await given_back(pool, gate)
    gate.open_after(RESET + PROOF + "PBE" + "BES")
    async with pool.transaction(isolation=isolation) as tx:
        level = await tx.fetch_value("select current_setting('transaction_isolation')")
        assert level == (isolation or "read committed")
        await tx.execute("insert into followed values ($1)", 1)
    assert gate.written() == RESET + PROOF + "PBE" + "BES"
    assert await db.fetch_column("select n from followed order by n") == [0, 1]
    await db.execute("drop table followed")


async def test_what_runs_only_outside_transactions(open_pool: Any, db: Any, gate: Gate) -> None:
    await db.execute_script("drop table if exists followed; create table followed (n int)")
    pool = await open_pool(max_size=1, to=gate.line)
    await used(pool)
    await given_back(pool, gate)
    gate.open_after(*(RESET + PROOF + rest for rest in ("PDS", "PDBES")))
    async with pool.acquire(timeout=10) as mine:
        await mine.execute("vacuum followed")
    assert gate.written() in {RESET + PROOF + rest for rest in ("PDS", "PDBES")}
    await db.execute("drop table followed")


@pytest.mark.parametrize("face", ["async"])
async def test_who_waits_in_the_queue(open_pool: Any, gate: Gate) -> None:
    pool = await warmed(open_pool, gate)
    db = await pool.acquire()
    await db.execute("select 1")

    async def next_user() -> int:
        async with pool.acquire() as mine:
            value: int = await mine.fetch_value("select $1::int4", 8)
            return value

    waiting = asyncio.create_task(next_user())
    await asyncio.sleep(0.05)
    gate.shut()
    gate.open_after(RESET + PROOF + "BES")
    await pool.release(db)
    assert await waiting == 8
    assert gate.written() == RESET + PROOF + "BES"


@pytest.mark.parametrize("face", ["blocking"])
async def test_threads_wait_in_the_queue(open_pool: Any, gate: Gate) -> None:
    pool = await warmed(open_pool, gate)
    db = await pool.acquire()
    await db.execute("select 1")
    got: list[int] = []

    def next_user() -> None:
        with real(pool).acquire(timeout=10) as mine:
            got.append(mine.fetch_value("select $1::int4", 8))

    thread = threading.Thread(target=next_user)
    thread.start()
    while pool.stats().waiting == 0:
        time.sleep(0.01)
    gate.shut()
    gate.open_after(RESET + PROOF + "BES")
    await pool.release(db)
    thread.join()
    assert got == [8]
    assert gate.written() == RESET + PROOF + "BES"


@pytest.mark.parametrize("face", ["async"])
async def test_one_request_follows_and_the_next_waits(open_pool: Any, gate: Gate) -> None:
    """A second one would run before the first, should only the first one's proof fail."""
    pool = await warmed(open_pool, gate)
    await given_back(pool, gate)
    gate.open_after(RESET + PROOF + "BES" + "BES")
    async with pool.acquire() as db:
        values = await asyncio.gather(*(db.fetch_value("select $1::int4", n) for n in range(5)))
    assert values == [0, 1, 2, 3, 4]
    assert gate.written() == RESET + PROOF + "BES"


async def test_an_idle_connection_is_preferred(open_pool: Any, gate: Gate) -> None:
    pool = await open_pool(min_size=2, max_size=2, to=gate.line)
    first, second = await pool.acquire(), await pool.acquire()
    for db in (first, second):
        await db.fetch_value("select $1::int4", 7)
    other = second.backend_pid
    await pool.release(second)
    await pause(pool)
    if hasattr(pool, "real"):  # somebody reads the answer
        await pool.release(await pool.acquire())
    await first.execute("select 1")
    await pool.release(first)
    async with pool.acquire() as db:
        assert db.backend_pid == other


# ---- what waits for the reset's answer instead


async def _script(db: Any) -> None:
    await db.execute_script("select 1; select 2")


async def _copy(db: Any) -> None:
    await db.copy_in("followed", [b"1\n", b"2\n"], format="text")


async def _stream(db: Any) -> None:
    assert [n async for n in db.stream("select $1::int4", 3, into=int)] == [3]


@pytest.mark.parametrize("use", [_script, _copy, _stream])
async def test_barriers(open_pool: Any, db: Any, gate: Gate, use: Callable[[Any], Any]) -> None:
    """Scripts, COPY and streams: they go alone, or are kept open."""
    await db.execute_script("drop table if exists followed; create table followed (n int)")
    pool = await warmed(open_pool, gate)
    await given_back(pool, gate)
    gate.open_after("never")
    async with pool.acquire(timeout=10) as mine:
        await use(mine)
    # COPY looks its columns up first.
    assert gate.written() == (RESET + PROOF + "PDBES" if use is _copy else RESET)
    await db.execute("drop table followed")


async def test_a_call_that_is_isolated(open_pool: Any, gate: Gate, face: str) -> None:
    """Nothing may hit it by mistake, a reset's cancel included. A blocking connection has one call at a time anyway."""
    pool = await warmed(open_pool, gate)
    await given_back(pool, gate)
    gate.open_after("never")
    async with pool.acquire(timeout=10) as mine:
        assert await mine.fetch_value("select $1::int4", 3, isolate=True) == 3
    assert gate.written() == (RESET if face == "async" else RESET + PROOF + "BES")


@pytest.mark.parametrize(
    "left",
    [
        ["begin", "select 1"],
        ["set datestyle to german"],
        ["set timezone to 'Asia/Kathmandu'"],
        ["set role pg_monitor"],
    ],
)
async def test_behind_what_the_driver_goes_by(open_pool: Any, gate: Gate, left: list[str]) -> None:
    """An open transaction, or settings that the server reports: what is written goes by them, and they are about to change."""
    pool = await open_pool(max_size=1, to=gate.line)
    async with pool.acquire() as db:
        await db.fetch_value("select $1::date::text", None)
        zone = await db.fetch_value("select current_setting('timezone')")
    await given_back(pool, gate, *left)
    gate.open_after(RESET + "never", "PBE" + RESET + "never")
    async with pool.acquire(timeout=10) as db:
        assert await db.fetch_value("select '2026-11-27'::date::text") == "2026-11-27"
        assert await db.fetch_value("select current_setting('timezone')") == zone
        assert await db.fetch_value("select current_user = session_user")
        assert db.transaction_status == "idle"
    assert gate.written() in {RESET, "PBE" + RESET}


async def test_a_reset_of_ones_own(open_pool: Any, gate: Gate) -> None:
    """Nothing proves that it did all it says."""
    pool = await open_pool(max_size=1, to=gate.line, reset="select 1; reset all")
    await used(pool)
    await given_back(pool, gate)
    gate.open_after("never")
    async with pool.acquire(timeout=10) as db:
        assert await db.fetch_value("select 5") == 5
    assert gate.written() == "Q"


# ---- what a user finds


async def test_nothing_is_left_of_the_user_before(open_pool: Any, db: Any, gate: Gate) -> None:
    pool = await open_pool(max_size=1, to=gate.line)
    look = """
        select current_setting('app.user', true), current_user = session_user, to_regclass('pg_temp.mine') is null,
            (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
            (select count(*) from pg_cursors), (select count(*) from pg_listening_channels()),
            current_setting('statement_timeout')"""
    async with pool.acquire() as mine:
        clean = tuple(await mine.fetch_one(look))
    assert clean[:2] == (None, True)
    for _ in range(3):
        await given_back(
            pool,
            gate,
            "select set_config('app.user', 'ada', false)",
            "select pg_advisory_lock(42)",
            "create temp table mine (n int)",
            "declare c cursor with hold for select 1",
            "listen news",
            "set statement_timeout = '1min'",
            "prepare p as select 1",
            "deallocate p",
        )
        # Described anew: it names a table that has been created.
        gate.open_after(RESET + PROOF + "PDS")
        async with pool.acquire(timeout=10) as mine:
            found = tuple(await mine.fetch_one(look))
        assert found == ("", *clean[1:])
        assert gate.written() == RESET + PROOF + "PDS"


async def test_the_cursor_that_proves_it_is_closed(open_pool: Any, gate: Gate) -> None:
    pool = await open_pool(max_size=1, to=gate.line)
    names = "select name from pg_cursors where name <> ''"  # but the portal that this runs in
    async with pool.acquire() as mine:
        await mine.fetch_column(names)
    await given_back(pool, gate)
    gate.open_after(RESET + PROOF + "BES")
    async with pool.acquire(timeout=10) as mine:
        assert await mine.fetch_column(names) == []
        assert await mine.fetch_column(names) == []
    assert gate.written() == RESET + PROOF + "BES"
    await given_back(pool, gate)
    gate.open()
    await pause(pool)
    assert await pool.fetch_column(names) == []
    async with pool.acquire() as mine:
        assert await mine.fetch_column(names) == []


async def test_notifications_for_the_user_before(open_pool: Any, db: Any, gate: Gate) -> None:
    """What they listened to is not for whoever has the connection now."""
    pool = await warmed(open_pool, gate)
    mine = await pool.acquire()
    await mine.execute("listen news")
    gate.shut()
    await db.execute("notify news, 'for the user before'")
    await pause(pool)
    await pool.release(mine)
    gate.open_after(RESET + PROOF + "BES")
    heard: list[str] = []
    async with pool.acquire(timeout=10) as mine:
        real(mine).add_notification_listener(lambda notification: heard.append(notification.payload))
        assert await mine.fetch_value("select $1::int4", 8) == 8
        assert gate.written() == RESET + PROOF + "BES"
        assert heard == []
        await mine.execute("listen news")
        await db.execute("notify news, 'for me'")
        await pause(pool)
        await mine.execute("select 1")
        await pause(pool)
    assert heard == ["for me"]


async def test_after_deallocate_all(open_pool: Any, gate: Gate) -> None:
    pool = await open_pool(max_size=1, to=gate.line)
    for forgets in ("deallocate all", "discard all"):
        await given_back(pool, gate, forgets)
        gate.open_after(RESET + PROOF + "PDS")
        async with pool.acquire(timeout=10) as mine:
            assert await mine.fetch_value("select $1::int4 + 1", 1) == 2
        assert gate.written() == RESET + PROOF + "PDS"


async def test_who_asks_nothing_gives_it_on(open_pool: Any, gate: Gate) -> None:
    pool = await warmed(open_pool, gate)
    await given_back(pool, gate)
    gate.open_after(RESET + PROOF + "BES")
    for _ in range(3):
        await pool.release(await pool.acquire(timeout=10))
    async with pool.acquire(timeout=10) as db:
        assert await db.fetch_value("select $1::int4", 8) == 8
    assert gate.written() == RESET + PROOF + "BES"


@pytest.mark.parametrize("face", ["async"])
async def test_a_call_that_is_given_up(open_pool: Any, gate: Gate) -> None:
    """Its cancel must hit neither the reset nor whoever comes next."""
    pool = await open_pool(max_size=1, to=gate.line)
    async with pool.acquire() as db:
        await db.fetch_value("select $1::int4", 7)
        pid = db.backend_pid
    await given_back(pool, gate, "select set_config('app.user', 'ada', false)")
    async with pool.acquire() as db:
        task = asyncio.create_task(db.fetch_value("select $1::int4", 8))
        await asyncio.sleep(0.05)
        assert gate.line.sent == RESET + PROOF + "BES"
        task.cancel()
        await asyncio.wait([task])
        gate.open()
        assert await db.fetch_value("select current_setting('app.user')") == ""
        assert db.backend_pid == pid
    async with pool.acquire() as db:
        assert await db.fetch_value("select $1::int4", 9) == 9


# ---- the reset fails


class Trouble(threading.Thread):
    """Another session, which keeps a reset waiting for a lock on the temporary table that it drops, and cancels it."""

    def __init__(self, pool: Any, where: dict[str, Any], table: str, pid: int, times: int) -> None:
        super().__init__()
        self._pool = pool
        self._db = pgoxide.Connection.connect(**where)
        self._pid, self._times = pid, times
        self.cancelled = 0
        self._db.execute("begin")
        self._db.execute(f"lock table {table} in access share mode")

    def run(self) -> None:
        """Once somebody follows, cancels it so many times, each time when it waits; lets it go then."""
        before: object = None
        until = time.monotonic() + 10
        while not self._followed() and time.monotonic() < until:
            time.sleep(0.005)
        state = "select query_start from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'"
        while self.cancelled < self._times and time.monotonic() < until:
            since = self._db.fetch_optional(state, self._pid)
            if since is not None and since[0] != before:
                before = since[0]
                self._db.fetch_value("select pg_cancel_backend($1)", self._pid)
                self.cancelled += 1
            time.sleep(0.01)
            self._db.execute("select pg_stat_clear_snapshot()")
        self._db.close()

    def _followed(self) -> bool:
        stats = self._pool.stats()
        return bool(stats.used or stats.busy)


async def in_trouble(pool: Any, where: dict[str, Any], times: int) -> Trouble:
    """Gives back a connection with a role, a setting and a lock, whose reset will be cancelled so many times."""
    async with pool.acquire() as db:
        await db.fetch_value(STATE)
        await db.execute("insert into followed values ($1)", 0)
        await db.execute("select set_config('app.user', 'ada', false), pg_advisory_lock(77)")
        await db.execute("create temp table mine (n int)")
        table = await db.fetch_value(
            "select relnamespace::regnamespace || '.mine' from pg_class where oid = 'mine'::regclass"
        )
        pid = await db.fetch_value("select pg_backend_pid()")  # behind a pooler not what the connection knows
        trouble = Trouble(pool, where, table, pid, times)
    trouble.start()
    return trouble


STATE = "select coalesce(current_setting('app.user', true), '') || to_regclass('pg_temp.mine')::text"
"""'ada' where it is not clean; NULL where it is."""


async def _fetches(pool: Any) -> None:
    async with pool.acquire(timeout=20) as db:
        assert await db.fetch_value(STATE) is None
        await db.execute("insert into followed values ($1)", 1)


async def _writes(pool: Any) -> None:
    async with pool.acquire(timeout=20) as db:
        await db.execute("insert into followed values ($1)", 1)
        assert await db.fetch_value(STATE) is None


async def _calls(pool: Any) -> None:
    assert await pool.fetch_value(STATE) is None
    await pool.execute("insert into followed values ($1)", 1)


async def _transacts(pool: Any) -> None:
    async with pool.transaction(isolation="repeatable read") as tx:
        await tx.execute("insert into followed values ($1)", 1)
        assert await tx.fetch_value(STATE) is None
        assert await tx.fetch_value("show transaction_isolation") == "repeatable read"


async def _commits(pool: Any) -> None:
    async with pool.transaction() as tx:
        await tx.execute("insert into followed values ($1)", 1, commit=True)


async def _describes(pool: Any) -> None:
    async with pool.acquire(timeout=20) as db:
        assert await db.fetch_value("select $1::int4 * 3", 5) == 15
        await db.execute("insert into followed values ($1)", 1)


async def _copies(pool: Any) -> None:
    async with pool.acquire(timeout=20) as db:
        await db.copy_in("followed", [(1,)])


async def _prepares(pool: Any) -> None:
    async with pool.acquire(timeout=20) as db:
        statement = await db.prepare("insert into followed values ($1)")
        await statement.execute(1)


async def _batches(pool: Any) -> None:
    async with pool.acquire(timeout=20) as db:
        async with db.batch() as batch:
            state = batch.fetch_value(STATE)
            batch.execute("insert into followed values ($1)", 1)
        assert state.result() is None


ACTS = [_fetches, _writes, _calls, _transacts, _commits, _describes, _copies, _prepares, _batches]


@pytest.fixture
def where(server: Any) -> dict[str, Any]:
    config = server.config()
    return {"host": config.host, "port": config.port, "user": config.user, "database": config.database}


@pytest.mark.parametrize("act", ACTS)
async def test_a_reset_that_fails_once(
    open_pool: Any, db: Any, where: dict[str, Any], act: Callable[[Any], Any]
) -> None:
    """What followed it has not run, and runs once, in a session that has been reset."""
    await db.execute_script("drop table if exists followed; create table followed (n int)")
    pool = await open_pool(max_size=1)
    trouble = await in_trouble(pool, where, 1)
    await act(pool)
    trouble.join()
    assert trouble.cancelled == 1
    assert await db.fetch_column("select n from followed order by n") == [0, 1]
    assert await db.fetch_value("select count(*) from pg_locks where locktype = 'advisory'") == 0
    assert pool.stats().connects == 1
    await db.execute("drop table followed")


@pytest.mark.parametrize("act", ACTS)
async def test_a_reset_that_fails_twice(
    open_pool: Any, db: Any, where: dict[str, Any], act: Callable[[Any], Any]
) -> None:
    """The connection ends; nothing of what followed has run, and that is what its user hears."""
    await db.execute_script("drop table if exists followed; create table followed (n int)")
    pool = await open_pool(max_size=1)
    trouble = await in_trouble(pool, where, 2)
    with pytest.raises(ConnectionClosed, match="nothing that was asked since has run") as told:
        await act(pool)
    trouble.join()
    assert trouble.cancelled == 2
    assert "canceling statement due to user request" in str(told.value)
    assert await db.fetch_column("select n from followed order by n") == [0]
    await act(pool)
    assert await db.fetch_column("select n from followed order by n") == [0, 1]
    assert pool.stats().connects == 2
    await db.execute("drop table followed")


LENT = "select count(*) + $1::int8 from followed"


async def _lent_to_a_call(pool: Any) -> None:
    assert await pool.fetch_value(LENT, 10) == 11
    assert await pool.fetch_value(STATE) is None


async def _lent_to_a_user(pool: Any) -> None:
    async with pool.acquire(timeout=20) as db:
        assert await db.fetch_value(LENT, 10) == 11
        assert await db.fetch_value(STATE) is None


async def _lent_to_a_transaction(pool: Any) -> None:
    async with pool.transaction() as tx:
        assert await tx.fetch_value(LENT, 10) == 11
        assert await tx.fetch_value(STATE) is None


@pytest.mark.parametrize("times", [0, 1])
@pytest.mark.parametrize("act", [_lent_to_a_call, _lent_to_a_user, _lent_to_a_transaction])
async def test_a_statement_that_another_connection_knows(
    open_pool: Any, db: Any, where: dict[str, Any], act: Callable[[Any], Any], times: int
) -> None:
    """It goes by that one's description, whatever becomes of the reset."""
    await db.execute_script("drop table if exists followed; create table followed (n int)")
    pool = await open_pool(min_size=2, max_size=2)
    async with pool.acquire() as other:
        assert await other.fetch_value(LENT, 1) == 1
        trouble = await in_trouble(pool, where, times)
        await act(pool)
        trouble.join()
        assert trouble.cancelled == times
    assert pool.stats().connects == 2
    await db.execute("drop table followed")


async def test_an_attempt_is_made_again(open_pool: Any, db: Any, where: dict[str, Any]) -> None:
    """By who asks for that: nothing of the transaction has run."""
    await db.execute_script("drop table if exists followed; create table followed (n int)")
    pool = await open_pool(max_size=1)
    trouble = await in_trouble(pool, where, 2)
    ran: list[Any] = []
    async for attempt in pool.transaction_attempts(connection_errors=True):
        async with attempt as tx:
            ran.append(await tx.execute("insert into followed values ($1)", 1))
    trouble.join()
    assert trouble.cancelled == 2
    assert len(ran) == 1
    assert await db.fetch_column("select n from followed order by n") == [0, 1]
    await db.execute("drop table followed")


async def test_the_server_goes_meanwhile(open_pool: Any, db: Any, gate: Gate) -> None:
    """Nobody knows what has run: the call says so, and the pool goes on."""
    pool = await open_pool(max_size=1, to=gate.line)
    await used(pool)
    pid = await given_back(pool, gate)
    gate.open_after(RESET + PROOF + "PDS")
    taken = await pool.acquire(timeout=10)
    await db.execute("select pg_terminate_backend($1)", pid)
    with pytest.raises(Error):
        await taken.fetch_value("select $1::int4 + 1", 1)
    with suppress(InterfaceError):
        await pool.release(taken)
    gate.open()
    async with pool.acquire(timeout=10) as mine:
        assert await mine.fetch_value("select $1::int4 + 1", 1) == 2
        assert mine.backend_pid != pid


# ---- through a pooler


@pytest.mark.parametrize("act", [_fetches, _calls, _transacts])
async def test_a_reset_that_fails_behind_pgbouncer(
    open_pool: Any, pgbouncer: PgBouncer, act: Callable[[Any], Any]
) -> None:
    """In session mode it is as without. It parses statements that it knows anew, so those would prove nothing."""
    where = pgbouncer.where("session")
    with pgoxide.Connection.connect(**where) as other:
        other.execute_script("drop table if exists followed; create table followed (n int)")
        pool = await open_pool(max_size=1, **where)
        trouble = await in_trouble(pool, where, 1)
        await act(pool)
        trouble.join()
        assert trouble.cancelled == 1
        assert other.fetch_column("select n from followed order by n") == [0, 1]
        await pool.close()
        other.execute("drop table followed")


async def test_a_session_that_is_another_each_time(open_pool: Any, pgbouncer: PgBouncer) -> None:
    """In transaction mode nothing is proven: the calls run all the same."""
    where = pgbouncer.where("transaction")
    pool = await open_pool(max_size=1, **where)
    with pgoxide.Connection.connect(**where) as other:
        for n in range(30):
            async with pool.acquire(timeout=10) as db:
                assert await db.fetch_value("select $1::int4", n) == n
            other.execute_script("begin; select 1")  # takes the server session that the reset ran in
            async with pool.acquire(timeout=10) as db:
                assert await db.fetch_value("select $1::int4 + 1", n) == n + 1
            other.execute_script("commit")
    assert pool.stats().connects == 1
