"""An event loop is kept awake for an answer that is about to come, and only then."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from fixtures.tcp_relay import TcpRelay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from pgoxide.embedded import EmbeddedServer

pytestmark = pytest.mark.pg

SEVERAL = len(os.sched_getaffinity(0)) > 1
WAITS = 200


@contextmanager
def turns() -> Iterator[Callable[[], int]]:
    """How many turns connections have asked the running loop for."""
    loop: Any = asyncio.get_running_loop()
    real, asked = loop.call_soon, 0

    def call_soon(callback: Callable[..., object], *args: object, **options: Any) -> object:
        nonlocal asked
        asked += getattr(callback, "__name__", "") == "turn"
        return real(callback, *args, **options)

    loop.call_soon = call_soon
    try:
        yield lambda: asked
    finally:
        del loop.call_soon


async def waits_awake(ask: Callable[[], Awaitable[object]]) -> int:
    """In how many of 200 waits the loop was asked for turns."""
    awake = 0
    with turns() as asked:
        for _ in range(WAITS):
            before = asked()
            await ask()
            awake += asked() > before
    return awake


@pytest.mark.parametrize("face", ["async"])
async def test_for_the_first_answer_if_the_server_is_next_door(connect):
    db = await connect()
    awake = await waits_awake(lambda: db.fetch_value("select 1"))
    assert (awake > 0) is SEVERAL


@pytest.mark.parametrize("face", ["async"])
async def test_hardly_ever_for_statements_that_take_long(connect):
    """After each wait in vain twice as many are slept through: 9 of 200, if nothing else slows the loop down."""
    db = await connect()
    await db.fetch_value("select 1")
    assert await waits_awake(lambda: db.fetch_value("select pg_sleep(0.001)")) < 40


def test_not_over_the_network(server: EmbeddedServer):
    config = server.config()

    async def main(port: int) -> int:
        async with pgoxide.AsyncConnection.connect(
            host="127.0.0.1", port=port, user=config.user, database=config.database
        ) as db:
            return await waits_awake(lambda: db.fetch_value("select 1"))

    with TcpRelay(f"{config.host}/.s.PGSQL.{config.port}") as relay:
        assert asyncio.run(main(relay.port)) == 0


@pytest.mark.parametrize("face", ["async"])
async def test_not_by_one_of_many_in_flight(connect):
    """Nobody sleeps there, so nobody is to be kept awake: only the first of each hundred asks while it is alone."""
    db = await connect()
    await db.fetch_value("select 1")
    with turns() as asked:
        for _ in range(20):
            await asyncio.gather(*(db.fetch_value("select 1") for _ in range(100)))
    assert asked() <= 20, asked()


def test_a_loop_that_stops_meanwhile(server: EmbeddedServer):
    """It goes on later as if nothing had happened."""
    loop = asyncio.new_event_loop()
    complaints: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))

    async def main() -> object:
        async with pgoxide.AsyncConnection.connect(server.dsn()) as db:
            await db.fetch_value("select 1")
            reply = db.fetch_value("select 1")
            loop.stop()  # this turn is the last
            return await reply

    task = loop.create_task(main())
    with pytest.raises(RuntimeError, match="stopped before"):
        loop.run_until_complete(task)
    assert loop.run_until_complete(task) == 1
    loop.close()
    assert complaints == []


def test_a_loop_that_is_closed(server: EmbeddedServer):
    """A stream forgotten in it is ended when it is collected; nobody is kept awake for that."""
    unraisable: list[object] = []
    earlier, sys.unraisablehook = sys.unraisablehook, lambda args: unraisable.append(args.exc_value)
    try:
        for waits in range(
            6
        ):  # in one of them at least, whatever it has learnt, the connection would look for the answer
            forget_stream(server.dsn(), waits)
    finally:
        sys.unraisablehook = earlier
    assert unraisable == []


def forget_stream(dsn: str, waits: int) -> None:
    loop = asyncio.new_event_loop()

    async def begin() -> list[object]:
        db = await pgoxide.AsyncConnection.connect(dsn)
        for _ in range(waits):
            await db.fetch_value("select 1")
        stream = db.stream("select * from generate_series(1, 100000)")
        await stream.__aenter__()
        await stream.__anext__()
        return [stream, db]

    kept = loop.run_until_complete(begin())
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        while kept:
            del kept[0]
            gc.collect()


# ---- a Ctrl-C in the midst of it


class Interrupted(asyncio.SelectorEventLoop):
    """Ctrl-C comes while the loop's own code is asked for a callback of this name."""

    at: str | None = None

    def call_soon(self, callback: Any, *args: Any, **options: Any) -> Any:
        if (
            self.at is not None
            and getattr(callback, "__name__", "") == self.at
            and asyncio.current_task(self) is not None  # else it would end the loop
        ):
            self.at = None
            signal.raise_signal(signal.SIGINT)
        return super().call_soon(callback, *args, **options)


@pytest.fixture
def interrupted(server: EmbeddedServer) -> Iterator[tuple[Interrupted, Any]]:
    loop = Interrupted()
    db = loop.run_until_complete(pgoxide.AsyncConnection.connect(server.config()))
    yield loop, db
    loop.run_until_complete(db.close())
    loop.close()


@pytest.mark.skipif(not SEVERAL, reason="one processor: no loop is kept awake")
def test_rows_that_a_ctrl_c_came_across_are_not_lost(interrupted: tuple[Interrupted, Any]) -> None:
    loop, db = interrupted
    hits = 0

    async def read() -> list[int]:
        nonlocal hits
        rows: list[int] = []
        stream = db.stream("select generate_series(1, 4000)", batch=10)
        while True:
            loop.at = "turn"
            try:
                batch = await stream.next_batch()
            except KeyboardInterrupt:
                hits += 1
                continue
            finally:
                loop.at = None
            if not batch:
                return rows
            rows += [row[0] for row in batch]
            await asyncio.sleep(0.001)  # until then what was asked for has come, and the loop would sleep

    assert loop.run_until_complete(read()) == list(range(1, 4001))
    assert hits


@pytest.mark.skipif(not SEVERAL, reason="one processor: no loop is kept awake")
def test_the_loop_is_kept_awake_again_after_a_ctrl_c(interrupted: tuple[Interrupted, Any]) -> None:
    loop, db = interrupted

    async def ask() -> int:
        for _ in range(WAITS):
            loop.at = "turn"
            try:
                await db.fetch_value("select 1")
            except KeyboardInterrupt:
                break
        loop.at = None
        return await waits_awake(lambda: db.fetch_value("select 1"))

    assert loop.run_until_complete(ask()) > 1


def test_calls_are_sent_after_a_ctrl_c_among_them(server: EmbeddedServer, proxy: Any) -> None:
    loop = Interrupted()
    relay, config = proxy(), server.config()

    async def ask() -> None:
        async with pgoxide.AsyncConnection.connect(
            host=str(relay.folder), port=relay.port, user=config.user, database=config.database
        ) as db:
            assert await db.fetch_value("select 1") == 1
            slow = db.fetch_value("select pg_sleep(1)::text || 'slept'")
            await asyncio.sleep(0.1)
            loop.at = "flush"
            with pytest.raises(KeyboardInterrupt):
                db.fetch_value("select 1")
            sent = len(relay.sent)
            last = db.fetch_value("select 1")
            await asyncio.sleep(0.2)
            assert not slow.done()
            assert len(relay.sent) > sent
            assert await last == 1
            assert await slow == "slept"

    loop.run_until_complete(ask())
    loop.close()
