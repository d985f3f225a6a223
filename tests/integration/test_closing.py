"""close() on loops with and without `add_reader`: what was asked finishes, Terminate leaves, the line is closed whatever happens."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from fixtures.fix_faces import NoReaders
from fixtures.fix_script import expect, greeting, int4_answer, send, stall
from pgoxide.errors import ConnectionClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "descriptor": asyncio.SelectorEventLoop,
    "buffered": NoReaders,
}
row = pytest.mark.row("S11", face="async")


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """`run(body)` on that loop."""

    def runs(body: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(asyncio.wait_for(body, 50))

    return runs


@row
def test_terminate_leaves_behind_what_is_unsent(run: Any, peer: Callable[..., Any]) -> None:
    """The peer has answered before it read all: more is unsent than the kernel's buffers hold, and Terminate is behind it."""
    begin = threading.Event()
    late = lambda _: begin.wait(20)  # noqa: E731  a step
    at = peer([send(greeting()), expect("P"), send(int4_answer(1)), late, expect("DBESX")])

    async def body() -> None:
        db = await pgoxide.AsyncConnection.connect(**at.where)
        assert await db.fetch_value("select $1", "x" * 4_000_000, types=["text"]) == 1
        asyncio.get_running_loop().call_later(0.2, begin.set)
        await db.close()
        assert db.closed

    run(body())


@row
def test_a_peer_that_never_reads_is_cut_in_time(
    run: Any, peer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgoxide.driver._async.connection.CLOSE_TIMEOUT", 0.2)
    at = peer([send(greeting()), expect("P"), send(int4_answer(1)), stall], lenient=True)

    async def body() -> None:
        db = await pgoxide.AsyncConnection.connect(**at.where)
        assert await db.fetch_value("select $1", "x" * 4_000_000, types=["text"]) == 1
        await db.close()
        assert db.closed

    run(body())


@row
def test_close_while_a_call_is_unanswered(run: Any, server: Any) -> None:
    async def body() -> None:
        db = await pgoxide.AsyncConnection.connect(server.config())
        call = db.fetch_one("select 7, pg_sleep(0.1)::text")
        await db.close()
        assert (await call)[0] == 7

    run(body())


@row
@pytest.mark.parametrize("again", [False, True])
def test_close_that_is_cancelled_closes_all_the_same(run: Any, peer: Callable[..., Any], again: bool) -> None:
    at = peer([send(greeting()), stall], lenient=True)

    async def body() -> None:
        db = await pgoxide.AsyncConnection.connect(**at.where)
        call = db.fetch_value("select 1")
        closing = asyncio.ensure_future(db.close())
        await asyncio.sleep(0.05)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert db.closed
        with pytest.raises(ConnectionClosed):
            await call
        if again:
            await db.close()

    run(body())


@row
def test_close_with_a_limit_of_the_callers(run: Any, peer: Callable[..., Any]) -> None:
    at = peer([send(greeting()), stall], lenient=True)

    async def body() -> None:
        db = await pgoxide.AsyncConnection.connect(**at.where)
        call = db.fetch_value("select 1")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await db.close()
        assert db.closed
        with pytest.raises(ConnectionClosed):
            await call

    run(body())


@row
def test_the_listener_hears_why(run: Any, server: Any) -> None:
    told: list[str] = []

    async def body() -> None:
        db = await pgoxide.AsyncConnection.connect(server.config())
        db.add_close_listener(lambda reason: told.append(str(reason)))
        await db.close()

    run(body())
    assert len(told) == 1
    assert "close() was called" in told[0]


# ---- the blocking face


@pytest.mark.row("S11", face="blocking")
def test_blocking_close_waits_for_another_thread_but_not_for_ever(
    peer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgoxide.driver._sync.connection.CLOSE_TIMEOUT", 0.2)
    at = peer([send(greeting()), stall], lenient=True)
    db = pgoxide.Connection.connect(**at.where)
    ended: list[BaseException] = []

    def waits() -> None:
        try:
            db.fetch_value("select 1")
        except ConnectionClosed as error:
            ended.append(error)

    thread = threading.Thread(target=waits)
    thread.start()
    time.sleep(0.05)
    db.close()
    assert db.closed
    thread.join(10)
    assert len(ended) == 1
