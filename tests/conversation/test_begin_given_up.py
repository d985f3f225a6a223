"""BEGIN that is cancelled or timed out while it is under way: it may take effect, so it is undone and nobody joins it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import (
    BOUND,
    CLOSED,
    NO_DATA,
    PARSED,
    complete,
    error,
    greeting,
    open_at,
    parameter_types,
    ready,
    send,
)
from pgoxide.errors import InterfaceError, QueryTimeout
from pgoxide.statement import Statement, batch, begin, commit, execute, fetch_value, rollback

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from fixtures.fix_script import Line
    from pgoxide.statement import Plan

ASYNC = pytest.mark.parametrize("face", ["async"])


class Server:
    """Speaks the extended protocol for commands without rows; answers BEGIN only when told to. Knows what it ran."""

    def __init__(self, refuse: bool = False) -> None:
        self.seen = threading.Event()
        self.answer = threading.Event()
        self.ran: list[str] = []
        self.status = "I"
        self._refuse = refuse

    def __call__(self, line: Line) -> None:
        texts: dict[bytes, str] = {}
        portal, skipping = "", False
        with suppress(EOFError, OSError):
            while (kind := line.next()) != "X":
                body = line.bodies[-1]
                if kind == "S":
                    skipping = False
                    line.send(ready(self.status))
                if skipping:
                    continue
                if kind == "P":
                    name, text, _ = body.split(b"\0", 2)
                    texts[name] = text.decode()
                    line.send(PARSED)
                elif kind == "D":
                    line.send(parameter_types() + NO_DATA)
                elif kind == "B":
                    portal = texts[body.split(b"\0", 2)[1]]
                    line.send(BOUND)
                elif kind == "C":
                    line.send(CLOSED)
                elif kind == "E":
                    skipping = not self._run(line, portal)

    def _run(self, line: Line, sql: str) -> bool:
        word = sql.split(maxsplit=1)[0].upper()
        if word == "BEGIN":
            self.seen.set()
            self.answer.wait(20)
            if self._refuse:
                line.send(error("25001", "no transactions today"))
                return False
        self.ran.append(f"{sql} in {self.status}")
        self.status = {"BEGIN": "T", "COMMIT": "I", "ROLLBACK": "I"}.get(word, self.status)
        line.send(complete(word))
        return True


def insert() -> Statement[object]:
    return Statement("insert")


def tidy(ending: Callable[[], Plan[None]] = commit) -> Generator[Any, Any, None]:
    try:
        yield from begin()
        yield from execute(insert())
        yield from ending()
    except BaseException:
        yield from rollback()
        raise


def untidy() -> Generator[Any, Any, None]:
    yield from begin()
    yield from execute(insert())
    yield from commit()


def in_one_flight() -> Generator[Any, Any, None]:
    try:
        yield from batch(begin(), execute(insert()))
        yield from commit()
    except BaseException:
        yield from rollback()
        raise


async def seen(server: Server) -> None:
    while not server.seen.is_set():  # noqa: ASYNC110  the peer is a thread
        await asyncio.sleep(0.001)


@ASYNC
@pytest.mark.parametrize("plan", [tidy, untidy, in_one_flight])
async def test_cancelled(
    face: str, runner: Any, peer: Callable[..., Any], plan: Callable[[], Plan[None]]
) -> None:
    server = Server()
    db = await open_at(face, peer([send(greeting()), server]).where)
    running = asyncio.ensure_future(db.run(plan()))
    await seen(server)
    running.cancel()
    await asyncio.sleep(0.01)
    with pytest.raises(InterfaceError, match="has a transaction open"):
        await db.execute("insert")
    server.answer.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert "rollback in T" in server.ran
    await db.execute("update")
    assert server.ran[-1] == "update in I"
    assert "insert in I" not in server.ran


@ASYNC
async def test_cancelled_again_and_again(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    server = Server()
    db = await open_at(face, peer([send(greeting()), server]).where)
    running = asyncio.ensure_future(db.run(tidy()))
    await seen(server)
    for _ in range(2):
        running.cancel()
        await asyncio.sleep(0.01)
    server.answer.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    await db.execute("update")
    assert server.ran[-2:] == ["rollback in T", "update in I"]


@pytest.mark.parametrize("plan", [tidy, untidy])
async def test_timed_out(
    face: str, runner: Any, peer: Callable[..., Any], plan: Callable[[], Plan[None]]
) -> None:
    """The answer comes when the CancelRequest did not stop it; on the blocking face while the call is being given up."""
    server = Server()
    at = peer([send(greeting()), server])
    db = await open_at(face, at.where)

    def late() -> None:
        while not at.cancels:
            if server.answer.wait(0.01):
                return
        server.answer.set()

    watch = threading.Thread(target=late)
    watch.start()
    with pytest.raises(QueryTimeout):
        await db.run(plan(), timeout=0.1)
    watch.join()
    assert server.ran == ["begin in I", "rollback in T"]
    await db.execute("update")
    assert server.ran[-1] == "update in I"


async def test_refused(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    server = Server(refuse=True)
    server.answer.set()
    db = await open_at(face, peer([send(greeting()), server]).where)
    with pytest.raises(Exception, match="no transactions today"):
        await db.run(tidy())
    await db.execute("update")  # nobody owns it any more
    assert server.ran == ["update in I"]


@ASYNC
async def test_a_plan_thrown_away_half_way(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """Nothing can be awaited any more: the transaction ends with the connection."""
    server = Server()
    db = await open_at(face, peer([send(greeting()), server], lenient=True).where)
    coroutine = db.run(untidy())
    coroutine.send(None)
    coroutine.close()
    server.answer.set()
    assert db.closed


@ASYNC
async def test_time_that_is_over_before_begin(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """BEGIN is not sent, and nothing is undone."""
    server = Server()
    db = await open_at(face, peer([send(greeting()), server]).where)

    def plan() -> Generator[Any, Any, None]:
        with suppress(QueryTimeout):
            yield from fetch_value(Statement("select"))
        yield from begin()

    with pytest.raises(QueryTimeout):
        await db.run(plan(), timeout=0)
    await db.execute("update")
    assert server.ran == ["update in I"]
