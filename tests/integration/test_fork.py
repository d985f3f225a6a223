"""fork(): a child cannot use the parent's connections, and whatever it does to them the parent does not notice."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from pgoxide.errors import InterfaceError

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.pg, pytest.mark.row("S12"), pytest.mark.both_transports]


def in_child(act: Callable[[], object]) -> None:
    """Runs it in a child of this process; what it raises there fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # of fork() beside threads, of which the tests have some
        process = os.fork()
    if process == 0:
        try:
            signal.alarm(20)
            act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    assert os.waitpid(process, 0)[1] == 0, "see the child's traceback"


def drive(awaitable: Any) -> None:
    """Runs a coroutine that never waits; there is no event loop in the child."""
    try:
        awaitable.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


@pytest.fixture
def recorded(connect: Any, proxy: Callable[..., Any], runner: Any) -> tuple[Any, Any]:
    relay = proxy()

    async def start() -> Any:
        db = await connect(to=relay)
        await db.fetch_value("select 1")
        await db.fetch_value("select 1")
        return db

    db = runner.run(start())
    relay.forget()
    return db, relay


async def unharmed(db: Any, relay: Any) -> None:
    """Nothing came from the child, and the connection goes on."""
    assert relay.sent == ""
    for _ in range(3):
        assert await db.fetch_value("select 1") == 1
    assert relay.sent == "BES" * 3


async def test_every_use_raises(recorded: Any, face: str) -> None:
    db, relay = recorded
    real = getattr(db, "real", db)

    def uses() -> None:
        block = real.transaction()
        for use in (
            lambda: real.fetch_value("select 1"),
            lambda: real.execute_script("select 1"),
            lambda: real.stream("select 1"),
            lambda: drive(block.__aenter__()) if face == "async" else block.__enter__(),
            lambda: real._copy_out("copy (select 1) to stdout"),
        ):
            with pytest.raises(InterfaceError, match="before fork"):
                use()
        assert real.closed

    in_child(uses)
    await unharmed(db, relay)


@pytest.mark.parametrize("end", ["close", "abort", "collect", "exit"])
async def test_its_end_in_the_child_is_not_the_parents(recorded: Any, face: str, end: str) -> None:
    db, relay = recorded
    holder = [getattr(db, "real", db)]

    def act() -> None:
        if end == "close":
            drive(holder[0].close()) if face == "async" else holder[0].close()
            drive(holder[0].close()) if face == "async" else holder[0].close()
        elif end == "abort":
            holder[0].abort()
        elif end == "collect":
            holder[0].__del__()
            holder.clear()
            gc.collect()

    in_child(act)
    await unharmed(db, relay)


async def test_a_stream_dropped_in_the_child(recorded: Any, face: str) -> None:
    db, relay = recorded
    real = getattr(db, "real", db)
    stream = real.stream("select generate_series(1, 10)", batch=3)
    rows = [(await anext(stream)).generate_series] if face == "async" else [next(stream).generate_series]
    time.sleep(0.1)  # the next rows are asked for ahead
    sent = relay.sent
    streams = [stream]
    del stream

    def act() -> None:
        streams.clear()
        gc.collect()

    in_child(act)
    assert relay.sent == sent
    if face == "async":
        rows += [row.generate_series async for row in streams[0]]
    else:
        rows += [row.generate_series for row in streams[0]]
    assert rows == list(range(1, 11))
    streams.clear()
    assert await db.fetch_value("select 1") == 1


@pytest.mark.parametrize("kind", ["stream", "copy"])
@pytest.mark.parametrize("end", ["close", "leave", "read"])
async def test_a_stream_ended_in_the_child(recorded: Any, face: str, kind: str, end: str) -> None:
    db, relay = recorded
    real = getattr(db, "real", db)
    query = "select n, repeat('x', 90) from generate_series(1, 30000) as n"
    opened = real.stream(query, batch=500) if kind == "stream" else real.copy_out(query=query)
    rows = [(await anext(opened))[0]] if face == "async" else [next(opened)[0]]
    time.sleep(0.1)  # what is asked for ahead has come
    sent = relay.sent

    def act() -> None:
        if end == "close":
            ended = opened.close()
        elif end == "leave":
            ended = (
                opened.__aexit__(None, None, None) if face == "async" else opened.__exit__(None, None, None)
            )
        else:
            with pytest.raises(InterfaceError, match="before fork"):
                while True:  # what has come already is there in the child too
                    drive(opened.__anext__()) if face == "async" else next(opened)
            return
        if face == "async":
            with pytest.raises(StopIteration):
                next(ended.__await__())
        if kind == "stream":
            with pytest.raises(InterfaceError, match="closed before its end"):
                drive(opened.__anext__()) if face == "async" else next(opened)

    in_child(act)
    assert relay.sent == sent
    if face == "async":
        async with asyncio.timeout(10):
            rows += [row[0] async for row in opened]
    else:
        rows += [row[0] for row in opened]
    assert rows == list(range(1, 30001))
    assert await db.fetch_value("select 1") == 1


@pytest.mark.parametrize("face", ["async"])
async def test_a_call_given_up_in_the_child(recorded: Any, face: str) -> None:
    db, relay = recorded
    reply = db.fetch_value("select 'slept' from pg_sleep(0.3)")
    await asyncio.sleep(0.1)
    sent = relay.sent

    def act() -> None:
        reply.cancel()
        assert reply.cancelled()

    in_child(act)
    assert relay.sent == sent
    async with asyncio.timeout(10):
        assert await reply == "slept"


async def test_a_transaction_left_in_the_child(recorded: Any, face: str) -> None:
    db, relay = recorded
    real = getattr(db, "real", db)
    async with db.transaction() as tx:
        await tx.execute("create temp table kept (n int)")
        sent = relay.sent
        block = getattr(tx, "real", tx)

        def act() -> None:
            leave = block.__aexit__ if face == "async" else block.__exit__
            with pytest.raises(InterfaceError, match="before fork"):
                left = leave(None, None, None)
                if face == "async":
                    drive(left)

        in_child(act)
        assert relay.sent == sent
    assert await db.fetch_value("select count(*) from kept") == 0
    assert not real.closed


@pytest.mark.parametrize("face", ["blocking"])
def test_a_connection_of_the_childs_own(server: Any, face: str) -> None:
    with pgoxide.Connection.connect(server.config()) as parent:

        def act() -> None:
            with pgoxide.Connection.connect(server.config()) as own:
                assert own.fetch_value("select 1") == 1

        in_child(act)
        assert parent.fetch_value("select 1") == 1
