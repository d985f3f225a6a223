"""What a user keeps of a connection that they gave back: nothing of it reaches the next user's session (O07, B03)."""

from __future__ import annotations

import asyncio
import gc
import inspect
import pickle
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from fixtures.fix_pools import BlockingPool, real
from pgoxide.errors import InterfaceError
from pgoxide.statement import Fetch, Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]

GIVEN_BACK = "given back to its pool"
LEAK = "select set_config('app.leaked', 'yes', false)"


def plan() -> Generator[Fetch[Any], Any, object]:
    return (yield Fetch(Statement(LEAK)))


async def work(tx: Any) -> object:
    return await tx.execute(LEAK)


def blocking_work(tx: Any) -> object:
    return tx.execute(LEAK)


async def settle(thing: object) -> object:
    """What a call came to, whether it has to be awaited for that or not."""
    return await thing if inspect.isawaitable(thing) else thing


def of_face(db: Any, work_of_async: Any, work_of_blocking: Any) -> Any:
    return work_of_async if isinstance(db, pgoxide.AsyncConnection) else work_of_blocking


CALLS: dict[str, Callable[[Any], object]] = {
    "abort": lambda db: db.abort(),
    "add_close_listener": lambda db: db.add_close_listener(print),
    "add_notice_listener": lambda db: db.add_notice_listener(print),
    "add_notification_listener": lambda db: db.add_notification_listener(print),
    "backend_pid": lambda db: db.backend_pid,
    "batch": lambda db: db.batch(),
    "cancel": lambda db: db.cancel(),
    "cancel_token": lambda db: db.cancel_token(),
    "close": lambda db: db.close(),
    "copy_in": lambda db: db.copy_in("leaked", [(1,)]),
    "copy_out": lambda db: db.copy_out(query=LEAK),
    "describe": lambda db: db.describe(LEAK),
    "execute": lambda db: db.execute(LEAK),
    "execute_many": lambda db: db.execute_many("select set_config('app.leaked', $1, false)", [("yes",)]),
    "execute_script": lambda db: db.execute_script(LEAK),
    "fetch_all": lambda db: db.fetch_all(LEAK),
    "fetch_column": lambda db: db.fetch_column(LEAK),
    "fetch_first": lambda db: db.fetch_first(LEAK),
    "fetch_one": lambda db: db.fetch_one(LEAK),
    "fetch_optional": lambda db: db.fetch_optional(LEAK),
    "fetch_value": lambda db: db.fetch_value(LEAK),
    "parameter": lambda db: db.parameter("TimeZone"),
    "portal": lambda db: db.portal(LEAK),
    "prepare": lambda db: db.prepare(LEAK),
    "reload_types": lambda db: db.reload_types(),
    "remove_close_listener": lambda db: db.remove_close_listener(print),
    "remove_notice_listener": lambda db: db.remove_notice_listener(print),
    "remove_notification_listener": lambda db: db.remove_notification_listener(print),
    "run": lambda db: db.run(plan()),
    "run_transaction": lambda db: db.run_transaction(of_face(db, work, blocking_work)),
    "server_version": lambda db: db.server_version,
    "statement_cache": lambda db: db.statement_cache,
    "stream": lambda db: db.stream(LEAK),
    "transaction": lambda db: db.transaction(),
    "transaction_attempts": lambda db: db.transaction_attempts(),
    "transaction_status": lambda db: db.transaction_status,
}
"""Every public name of a connection, used."""

HARMLESS = {
    "closed": "says True, so that who looks first need not be told",
    "config": "what it was opened with, which is the pool's for all of them",
    "connect": "opens another one",
}


async def busy_user(pool: Any) -> Any:
    """The next user, in the middle of something."""
    other = await pool.acquire()
    await other.execute("begin")
    await other.execute("select set_config('app.mine', 'kept', false)")
    return other


async def check_untouched(other: Any) -> None:
    assert other.transaction_status == "in transaction"
    kept = await other.fetch_one("select current_setting('app.mine'), current_setting('app.leaked', true)")
    assert (kept[0], kept[1]) in {("kept", None), ("kept", "")}
    await other.execute("rollback")


async def test_no_public_name_is_forgotten(open_pool: Any) -> None:
    pool = await open_pool(max_size=1)
    async with pool.acquire() as db:
        public = {name for name in dir(real(db)) if not name.startswith("_")}
    assert public == CALLS.keys() | HARMLESS.keys()


@pytest.mark.parametrize("name", sorted(CALLS))
async def test_whatever_is_asked_of_it_afterwards_raises(open_pool: Any, proxy: Any, name: str) -> None:
    """While the pool has it, and in the middle of the next user's transaction: nothing is written, nothing is told."""
    line = proxy()
    pool = await open_pool(to=line, min_size=1, max_size=1)
    db = real(await pool.acquire())
    await settle(db.fetch_value("select 1"))
    await pool.release(db)
    assert await pool.fetch_value("select 2") == 2  # the reset has been answered
    line.forget()
    with pytest.raises(InterfaceError, match=GIVEN_BACK):
        await settle(CALLS[name](db))
    assert line.sent == ""
    other = await busy_user(pool)
    line.forget()
    with pytest.raises(InterfaceError, match=GIVEN_BACK):
        await settle(CALLS[name](db))
    assert line.sent == ""
    assert db.closed
    assert "given back" in repr(db)
    assert not other.closed
    await check_untouched(other)
    with pytest.raises(InterfaceError, match="given back before"):
        await pool.release(db)
    await pool.release(other)


async def test_the_verbs_of_its_transaction_block_raise(open_pool: Any, proxy: Any) -> None:
    """Also of one that was still open: it has been rolled back, and leaving it touches nobody."""
    line = proxy()
    pool = await open_pool(to=line, min_size=1, max_size=1)
    db = await pool.acquire()
    block, unentered = db.transaction(), db.transaction()
    tx = await block.__aenter__()
    await tx.execute(LEAK)
    await pool.release(db)
    other = await busy_user(pool)
    line.forget()
    for verb in ("fetch_all", "fetch_one", "fetch_optional", "fetch_first", "fetch_value", "fetch_column"):
        with pytest.raises(InterfaceError, match=GIVEN_BACK):
            await getattr(tx, verb)(LEAK)
    for call in (
        lambda: tx.execute(LEAK, commit=True),
        lambda: tx.stream(LEAK),
        lambda: tx.portal(LEAK),
        lambda: tx.copy_in("leaked", [(1,)]),
        lambda: tx.execute_many("select $1::int", [(1,)]),
        lambda: tx.prepare(LEAK),
        unentered.__aenter__,
        lambda: tx.transaction().__aenter__(),
    ):
        with pytest.raises(InterfaceError, match=GIVEN_BACK):
            await settle(call())
    with pytest.raises(InterfaceError, match=GIVEN_BACK):
        await block.__aexit__(None, None, None)
    assert line.sent == ""
    await check_untouched(other)
    async with other.transaction() as mine:  # the next user's own block is not in the way, nor is it left
        await mine.execute("select 1")
        assert other.transaction_status == "in transaction"
    await pool.release(other)


async def test_what_was_made_through_it_raises(open_pool: Any, proxy: Any, tmp_path: Path) -> None:
    line = proxy()
    pool = await open_pool(to=line, min_size=1, max_size=1)
    db = await pool.acquire()
    statement = await db.prepare("select set_config('app.leaked', $1, false)")
    assert await statement.fetch_value("no") == "no"
    stream = db.stream("select n from generate_series(1, 100000) as n", batch=10)
    await anext(aiter(stream))
    await stream.close()
    await db.execute("begin")
    portal = await db.portal("select generate_series(1, 1000)")
    assert len(await portal.fetch(1)) == 1
    builder = real(real(db).batch())
    reply = builder.execute(LEAK)
    sink = tmp_path / "kept"
    sink.write_text("kept")
    lazy = [
        real(db).copy_out(query=LEAK),
        real(db).transaction_attempts(),
    ]
    coroutines = []
    if not isinstance(pool, BlockingPool):
        coroutines = [
            db.prepare(LEAK),
            db.run(plan()),
            db.execute_many("select $1::int", [(1,)]),
            db.copy_in("leaked", [(1,)]),
            db.copy_out(query=LEAK, format="csv", to=sink),
            db.run_transaction(work),
            db.cancel(),
        ]
    token = db.cancel_token()
    await pool.release(db)
    other = await busy_user(pool)
    line.forget()
    for call in (
        lambda: statement.fetch_value("yes"),
        lambda: statement.execute_many([("yes",)]),
        lambda: statement.portal("yes"),
        lambda: real(statement).stream("yes"),
        lambda: portal.fetch(1),
        portal.fetch_all,
        lambda: builder.execute(LEAK),
        token.cancel,
        lambda: real(lazy[0]).next_batch(),
    ):
        with pytest.raises(
            InterfaceError, match=rf"{GIVEN_BACK}|its transaction has ended|portal's transaction"
        ):
            await settle(call())
    for coroutine in coroutines:
        with pytest.raises(InterfaceError, match=GIVEN_BACK):
            await coroutine
    assert sink.read_text() == "kept"
    with pytest.raises(InterfaceError, match=GIVEN_BACK):
        if isinstance(pool, BlockingPool):
            with next(iter(lazy[1])):
                pass
        else:
            async with await anext(aiter(lazy[1])):
                pass
    with pytest.raises(InterfaceError, match=GIVEN_BACK):
        await settle(
            builder.__exit__(None, None, None)
            if isinstance(pool, BlockingPool)
            else builder.__aexit__(None, None, None)
        )
    with pytest.raises(InterfaceError):
        reply.result()
    for held in (statement, portal):
        await held.close()  # lets it go; says nothing
    assert line.sent == ""
    await check_untouched(other)
    await pool.release(other)
    again = pickle.loads(pickle.dumps(token))
    assert again == token  # and cannot know, elsewhere, that it counts no longer


async def test_a_stream_that_was_open_raises(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1)
    db = await pool.acquire()
    stream = db.stream("select n from generate_series(1, 1000000) as n", batch=10)
    await anext(aiter(stream))
    await pool.release(db)
    other = await busy_user(pool)
    with pytest.raises(InterfaceError, match=GIVEN_BACK):
        while True:
            await anext(aiter(stream))
    await stream.close()
    await check_untouched(other)
    await pool.release(other)


async def test_its_listeners_hear_nothing_of_the_next_user(open_pool: Any, face: str) -> None:
    heard: list[Any] = []
    of_the_pool: list[Any] = []

    async def configure(db: Any) -> None:
        db.add_notice_listener(of_the_pool.append)

    def configure_blocking(db: Any) -> None:
        db.add_notice_listener(of_the_pool.append)

    pool = await open_pool(
        min_size=1, max_size=1, configure=configure if face == "async" else configure_blocking
    )
    raise_notice = "do $$ begin raise notice 'said'; end $$"
    async with pool.acquire() as db:
        db.add_notice_listener(heard.append)
        db.add_notification_listener(heard.append)
        db.add_close_listener(heard.append)
        taken_back: list[Any] = []
        db.add_notice_listener(taken_back.append)
        db.remove_notice_listener(taken_back.append)
        await db.execute(raise_notice)
        assert [notice.message for notice in heard] == ["said"]
    heard.clear()
    async with pool.acquire() as db:
        await db.execute("listen mine")
        await db.execute_script(f"notify mine; {raise_notice}")
        assert await db.fetch_value("select 1") == 1
        await db.close()
    assert heard == []
    # Those that the pool's own hook added stay.
    assert [notice.message for notice in of_the_pool] == ["said", "said"]


@pytest.mark.parametrize("face", ["async"])
async def test_a_call_that_was_made_in_time_runs_before_the_reset(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1)
    db = await pool.acquire()
    sleep = db.execute("select pg_sleep(0.05)")
    reply = db.fetch_value(LEAK)
    late = db.fetch_value("select current_setting('app.leaked')")
    await pool.release(db)
    async with pool.acquire() as other:
        assert await other.fetch_value("select current_setting('app.leaked', true)") in (None, "")
    assert await late == "yes"
    assert await reply == "yes"
    await sleep


@pytest.mark.parametrize("face", ["async"])
async def test_a_call_that_waited_for_a_block_is_turned_away(open_pool: Any) -> None:
    """Else it would be let in when the next user leaves theirs."""
    pool = await open_pool(min_size=1, max_size=1)
    db = await pool.acquire()
    entered, leave = asyncio.Event(), asyncio.Event()

    async def holder() -> None:
        with pytest.raises(InterfaceError, match=GIVEN_BACK):
            async with db.transaction(others="wait") as tx:
                await tx.execute("select 1")
                entered.set()
                await leave.wait()

    async def outsider() -> None:
        await entered.wait()
        with pytest.raises(InterfaceError, match=GIVEN_BACK):
            await db.execute(LEAK)

    async def next_block() -> None:
        await entered.wait()
        with pytest.raises(InterfaceError, match=GIVEN_BACK):
            async with db.transaction():
                raise AssertionError("entered")

    tasks = [asyncio.create_task(one()) for one in (holder, outsider, next_block)]
    await entered.wait()
    await asyncio.sleep(0.01)
    await pool.release(db)
    other = await pool.acquire()
    async with other.transaction():
        await other.execute("select set_config('app.mine', 'kept', false)")
    leave.set()
    await asyncio.gather(*tasks)
    await other.execute("begin")
    await check_untouched(other)
    await pool.release(other)


@pytest.mark.parametrize("face", ["blocking"])
async def test_threads_that_still_use_it(open_pool: Any) -> None:
    """A thread that is in the middle of calling it when it is given back: its call is made before the reset, or not at all."""
    pool = real(await open_pool(min_size=1, max_size=1))
    made = 0

    def use(db: Any) -> None:
        nonlocal made
        try:
            while True:
                db.execute(LEAK)
                made += 1
        except InterfaceError as error:
            assert GIVEN_BACK in str(error)

    for _ in range(200):
        db = pool.acquire()
        threads = [threading.Thread(target=use, args=(db,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        pool.release(db)
        with pool.acquire() as other:
            for _ in range(3):
                assert other.fetch_value("select current_setting('app.leaked', true)") in (None, "")
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
    assert made


async def test_one_that_is_forgotten_comes_back(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1)
    db = await pool.acquire()
    await db.execute(LEAK)
    if not isinstance(pool, BlockingPool):
        await asyncio.sleep(0)  # who is woken by an answer runs inside its delivery
    with pytest.warns(ResourceWarning, match="was not given back"):
        del db
        gc.collect()
    async with pool.acquire(timeout=5) as other:
        assert await other.fetch_value("select current_setting('app.leaked', true)") in (None, "")


async def test_what_a_hook_keeps_counts_no_longer(open_pool: Any, face: str) -> None:
    kept: dict[str, Any] = {}

    def keep(name: str) -> Any:
        async def hook(db: Any) -> None:
            kept[name] = db
            await db.execute("select 1")

        def blocking(db: Any) -> None:
            kept[name] = db
            db.execute("select 1")

        return hook if face == "async" else blocking

    names = ("configure", "on_acquire", "on_release", "before_close")
    pool = await open_pool(min_size=1, max_size=1, **{name: keep(name) for name in names})
    async with pool.acquire() as db:
        assert kept["on_acquire"] is real(db)
        with pytest.raises(InterfaceError, match=GIVEN_BACK):
            await settle(kept["configure"].execute(LEAK))
    assert kept["on_release"] is kept["on_acquire"]
    for name in ("configure", "on_acquire", "on_release"):
        with pytest.raises(InterfaceError, match=GIVEN_BACK):
            await settle(kept[name].execute(LEAK))
    await pool.close()
    with pytest.raises(InterfaceError):
        await settle(kept["before_close"].execute(LEAK))


@pytest.mark.parametrize("failing", ["on_acquire", "on_release"])
async def test_after_a_hook_failed_too(open_pool: Any, face: str, failing: str) -> None:
    kept: list[Any] = []

    async def fail(db: Any) -> None:
        kept.append(db)
        raise LookupError("the hook's own")

    def fail_blocking(db: Any) -> None:
        kept.append(db)
        raise LookupError("the hook's own")

    pool = await open_pool(min_size=1, max_size=1, **{failing: fail if face == "async" else fail_blocking})
    with pytest.raises(LookupError):
        async with pool.acquire():
            pass
    with pytest.raises(pgoxide.errors.ConnectionClosed):
        await settle(kept[0].execute(LEAK))


@pytest.mark.parametrize("face", ["async"])
async def test_a_close_that_was_overtaken_ends_nobody(open_pool: Any) -> None:
    """It waits for what is unfinished; meanwhile the connection is given back, and somebody else has it."""
    pool = await open_pool(min_size=1, max_size=1)
    db = await pool.acquire()
    sleep = db.execute("select pg_sleep(0.05)")
    closing = asyncio.create_task(db.close())
    await asyncio.sleep(0)
    await pool.release(db)
    other = await pool.acquire()
    await sleep
    with pytest.raises(InterfaceError, match=GIVEN_BACK):
        await closing
    assert await other.fetch_value("select 1") == 1
    assert not other.closed
    await pool.release(other)


@pytest.mark.parametrize("how", ["given back", "forgotten"])
async def test_a_cancel_that_is_on_its_way_hits_nobody_else(
    open_pool: Any, monkeypatch: pytest.MonkeyPatch, face: str, how: str
) -> None:
    """The connection is not handed out again: the signal may come at any time."""
    from pgoxide.driver._async import cancel as of_async
    from pgoxide.driver._sync import cancel as of_blocking

    sent, may_end = threading.Event(), threading.Event()
    send, send_blocking = of_async.transport.send_cancel, of_blocking.transport.send_cancel

    async def late(address: Any, request: bytes, timeout: float) -> None:
        sent.set()
        await asyncio.to_thread(may_end.wait, 10)
        await send(address, request, timeout)

    def late_blocking(address: Any, request: bytes, timeout: float) -> None:
        sent.set()
        may_end.wait(10)
        send_blocking(address, request, timeout)

    monkeypatch.setattr(of_async.transport, "send_cancel", late)
    monkeypatch.setattr(of_blocking.transport, "send_cancel", late_blocking)
    pool = await open_pool(min_size=1, max_size=1)
    db = await pool.acquire()
    pid = db.backend_pid
    cancelling: Any
    if face == "async":
        cancelling = asyncio.create_task(db.cancel_token().cancel())
        await asyncio.to_thread(sent.wait, 10)
    else:
        cancelling = threading.Thread(target=real(db).cancel_token().cancel)
        cancelling.start()
        assert sent.wait(10)
    if how == "given back":
        await pool.release(db)
    else:
        with pytest.warns(ResourceWarning, match="was not given back"):
            del db
            gc.collect()
    other = await pool.acquire()
    assert other.backend_pid != pid
    may_end.set()
    assert await other.fetch_value("select 1 from pg_sleep(0.1)") == 1
    if face == "async":
        await cancelling
    else:
        cancelling.join(10)
    await pool.release(other)
    assert pool.stats().discarded["cancelled"] == 1
    # One that has come to its end in time costs nothing.
    db = await pool.acquire()
    pid = db.backend_pid
    await settle(real(db).cancel())
    await pool.release(db)
    async with pool.acquire() as again:
        assert again.backend_pid == pid


@pytest.mark.parametrize(
    ("face", "at"),
    [("async", "_lend"), *(("blocking", at) for at in ("_lend", "_unpark", "_asked", "_park"))],
    indirect=["face"],
)
async def test_an_interrupt_while_it_changes_hands(
    open_pool: Any, face: str, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The connection stays the pool's: one that counts as used by nobody would be lost for good. What is the core's on the
    asynchronous face nothing interrupts.
    """
    pool = await open_pool(min_size=1, max_size=1)
    owner = pgoxide.AsyncConnection if face == "async" else pgoxide.Connection
    method = getattr(owner, at)
    for call in ("acquire", "fetch_value"):
        interrupts = ["now"]

        def interrupted(self: Any, *given: Any, _left: list[str] = interrupts, **named: Any) -> Any:
            if _left:
                _left.pop()
                raise KeyboardInterrupt
            return method(self, *given, **named)

        monkeypatch.setattr(owner, at, interrupted)
        with suppress(KeyboardInterrupt):
            if call == "acquire":
                await pool.release(await pool.acquire(timeout=5))
            else:
                await pool.fetch_value("select 1", timeout=5)
        monkeypatch.undo()
        assert await pool.fetch_value("select 2", timeout=5) == 2
        async with pool.acquire(timeout=5) as db:
            assert await db.fetch_value("select 3") == 3
    stats = pool.stats()
    assert (stats.size, stats.used, stats.busy) == (1, 0, 0)
