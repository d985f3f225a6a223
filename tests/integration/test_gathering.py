"""A COPY's data gather in the socket while an event loop waits for an alarm instead: it is woken less often, and nothing is lost.

Counted where the loop is told what to wait for.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide.errors import ConnectionClosed, QueryTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.pg, pytest.mark.parametrize("face", ["async"])]

PATIENCE = 10.0
LONG = "select n, repeat('x', 90) as filler from generate_series(1, 200000) as n"
"""20 MB: the server needs longer for it than we do."""


class Registered:
    """What the running loop is asked to read, as it happens."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.added: list[int] = []
        self.now: set[int] = set()
        self.ready = 0
        self._earlier = {name: getattr(self.loop, name) for name in ("add_reader", "remove_reader")}
        self.loop.add_reader = self._add  # type: ignore[method-assign]
        self.loop.remove_reader = self._remove  # type: ignore[method-assign]

    def _add(self, descriptor: int, callback: Callable[..., Any], *args: Any) -> None:
        self.added.append(descriptor)
        self.now.add(descriptor)

        def counted() -> None:
            self.ready += 1
            callback(*args)

        self._earlier["add_reader"](descriptor, counted)

    def _remove(self, descriptor: int) -> bool:
        self.now.discard(descriptor)
        return bool(self._earlier["remove_reader"](descriptor))

    def undo(self) -> None:
        for name, earlier in self._earlier.items():
            setattr(self.loop, name, earlier)

    def alarms(self) -> list[int]:
        return [one for one in self.added if is_alarm(one)]


def is_alarm(descriptor: int) -> bool:
    try:
        return "timerfd" in str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except FileNotFoundError:
        return False


@pytest.fixture
def registered(runner: Any) -> Iterator[Callable[[], Registered]]:
    made: list[Registered] = []

    def begin() -> Registered:
        made.append(Registered())
        return made[-1]

    yield begin
    for one in made:
        one.undo()


async def is_free(db: Any) -> None:
    assert await db.fetch_value("select $1::int4", 8, timeout=PATIENCE) == 8
    assert db.transaction_status == "idle"


@pytest.mark.row("Y03")
async def test_a_long_copy_is_looked_at_by_the_clock(
    face: str, connect: Any, registered: Callable[[], Registered]
) -> None:
    loop = registered()
    db = await connect()
    before = set(loop.now)
    size, blocks = 0, 0
    async for block in db.copy_out(query=LONG, format="text").blocks():
        size, blocks = size + len(block), blocks + 1
    assert size == sum(len(str(n)) + 92 for n in range(1, 200_001))
    assert loop.alarms()
    # 2 500 writes of 8 kB: without it most of them would be a turn of the loop.
    assert loop.ready < size / 16_384
    await is_free(db)
    assert loop.now == before
    await db.close()
    assert not loop.now


@pytest.mark.row("Y03")
async def test_a_small_one_is_not(face: str, connect: Any, registered: Callable[[], Registered]) -> None:
    """It would only be told later that it is over."""
    loop = registered()
    db = await connect()
    for _ in range(20):
        blocks = [
            b async for b in db.copy_out(query="select generate_series(1, 3000)", format="csv").blocks()
        ]
        assert len(b"".join(blocks).splitlines()) == 3000
    assert not loop.alarms()
    await is_free(db)


@pytest.mark.row("Y03")
@pytest.mark.parametrize("leaving", ["closed", "dropped", "connection aborted", "connection closed", "late"])
async def test_left_in_the_middle(
    face: str, connect: Any, registered: Callable[[], Registered], leaving: str
) -> None:
    """Wherever it is left, the loop is back at the socket, or at nothing."""
    loop = registered()
    for wanted in range(1, 40, 4):
        db = await connect()
        copied = db.copy_out(
            query=f"select repeat('x', 9000) from generate_series(1, 5000) -- {leaving}",
            format="text",
            timeout=0.2 if leaving == "late" else None,
        ).blocks()
        for _ in range(wanted):
            assert await copied.next_batch()
        if leaving == "closed":
            await copied.close()
        elif leaving == "dropped":
            del copied
        elif leaving == "late":
            with pytest.raises(QueryTimeout):
                for _ in range(100):
                    await copied.next_batch()
                    await asyncio.sleep(0.02)
        elif leaving == "connection aborted":
            db.abort()
            with pytest.raises(ConnectionClosed):
                while await copied.next_batch():
                    pass
        if leaving not in ("connection aborted", "connection closed"):
            await is_free(db)
            assert not any(map(is_alarm, loop.now))
        await db.close()
        assert not loop.now
    assert loop.alarms()


@pytest.mark.row("Y03", "P05")
async def test_a_reader_that_rests_and_a_server_that_does(
    face: str, connect: Any, registered: Callable[[], Registered]
) -> None:
    """Where nothing comes, or nothing is taken, no clock is looked at."""
    loop = registered()
    db = await connect()
    paused = (
        "select case when n % 20000 = 0 then repeat('y', 90 + length(pg_sleep(0.05)::text)) else repeat('x', 90) end"
        " from generate_series(1, 60000) as n"
    )
    size = 0
    async for block in db.copy_out(query=paused, format="text").blocks():
        size += len(block)
    assert size == 60_000 * 91
    await is_free(db)
    copied = db.copy_out(query=LONG, format="text").blocks()
    for _ in range(12):
        assert await copied.next_batch()
    await asyncio.sleep(0.2)
    looks = loop.ready
    await asyncio.sleep(0.2)
    assert loop.ready == looks
    assert not loop.now
    rest = 0
    while batch := await copied.next_batch():
        rest += sum(map(len, batch))
    assert rest > 10_000_000
    await is_free(db)
    await db.close()


@pytest.mark.row("Y03")
async def test_other_tasks_go_on_meanwhile(
    face: str, connect: Any, registered: Callable[[], Registered]
) -> None:
    """The loop waits, it does not sleep."""
    loop = registered()
    db, other = await connect(), await connect()
    over, answers = asyncio.Event(), 0

    async def ask() -> None:
        nonlocal answers
        while not over.is_set():
            assert await other.fetch_value("select $1::int4", answers) == answers
            answers += 1

    asking = asyncio.create_task(ask())
    for _ in range(3):
        async for _ in db.copy_out(query=LONG, format="text").blocks():
            pass
    over.set()
    await asking
    assert answers > 50
    assert loop.alarms()
    await is_free(db)
