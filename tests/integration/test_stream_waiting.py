"""Streams: what they give, what they hold, who waits for them, and how they end."""

from __future__ import annotations

import asyncio
import gc
import inspect
import resource
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.pg]
ASYNC = pytest.mark.parametrize("face", ["async"])
BLOCKING = pytest.mark.parametrize("face", ["blocking"])

ROWS = "select n, repeat('x', 50) as text from generate_series(1, $1::int4) n"


def resident() -> int:
    """Bytes of this process in memory, after whatever can be freed was."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


# ---- P05: bounded memory


@pytest.mark.row("P05")
async def test_a_reader_that_stops_holds_two_batches(face: str, db: Any) -> None:
    """Three million rows, 200 MB as objects; the reader takes some, pauses, takes some more: memory stands still."""
    reader = db.stream(ROWS, 3_000_000, batch=2_000)
    for _ in range(20):
        assert len(await reader.next_batch()) == 2_000
    before = resident()
    if face == "async":
        await asyncio.sleep(0.7)
    else:
        time.sleep(0.7)
    paused = resident() - before
    taken = 20
    while taken < 300:
        assert (await reader.next_batch())[-1][0] == (taken + 1) * 2_000
        taken += 1
    gone_on = resident() - before
    await reader.close()
    assert await db.fetch_value("select 1") == 1
    # Two batches of such rows are less than 1 MB; all of them are more than 200.
    assert paused < 16 << 20, f"{paused >> 20} MB more after a pause"
    assert gone_on < 16 << 20, f"{gone_on >> 20} MB more after {taken * 2_000} rows"


# ---- P05: who waits, and what they are told


@pytest.mark.row("P05")
async def test_the_reader_itself_cannot_call(face: str, db: Any) -> None:
    """It would wait for itself: told at once, whatever the verb; the stream goes on."""
    reader = db.stream(ROWS, 10, batch=5)
    assert len(await reader.next_batch()) == 5
    for call in (
        lambda: db.fetch_all("select 1"),
        lambda: db.execute_script("select 1"),
        lambda: db.copy_in("t", []),
        lambda: db.stream("select 1"),
    ):
        with pytest.raises(errors.InterfaceError, match="stream"):
            await call()
    assert [row[0] for row in await reader.next_batch()] == [6, 7, 8, 9, 10]
    assert await reader.next_batch() == []
    assert await db.fetch_value("select 1") == 1


@ASYNC
@pytest.mark.row("P05")
async def test_two_streams_of_two_tasks_and_each_ones_own_call(face: str, db: Any) -> None:
    """The second stream waits for the first; neither task may call meanwhile."""
    begun = asyncio.Event()

    async def second() -> int:
        async with db.stream("select 2", into=int) as rows:
            begun.set()
            with pytest.raises(errors.InterfaceError, match="stream"):
                await db.fetch_value("select 1")
            return [row async for row in rows][0]  # type: ignore[no-any-return]  # noqa: RUF015

    async with db.stream("select 1", into=int) as rows:
        task = asyncio.create_task(second())
        await begun.wait()
        with pytest.raises(errors.InterfaceError, match="stream"):
            await db.fetch_value("select 1")
        assert not task.done()
        assert [row async for row in rows] == [1]
    assert await task == 2
    assert await db.fetch_value("select 3") == 3


def line_of(function: Any, text: str) -> int:
    """The line of the function that holds the text."""
    lines, first = inspect.getsourcelines(function)
    return first + next(at for at, line in enumerate(lines) if text in line)


def in_task(call: Callable[[], Any]) -> asyncio.Task[Any]:
    """The call, made by a task of its own."""

    async def other() -> Any:
        return await call()

    return asyncio.create_task(other())


async def in_batch(db: Any) -> None:
    async with db.batch() as several:
        several.execute("select 7")


async def in_stream(db: Any) -> None:
    async with db.stream("select 7") as rows:
        async for _ in rows:
            pass


WAITERS = {
    "fetch": lambda db: db.fetch_value("select 7"),
    "first use": lambda db: db.fetch_value("select $1::int4", 7),
    "script": lambda db: db.execute_script("select 7"),
    "batch": in_batch,
    "stream": in_stream,
    "many": lambda db: db.execute_many("select $1::int4", [(7,)]),
}


@ASYNC
@pytest.mark.row("P05")
@pytest.mark.parametrize("kind", WAITERS)
async def test_other_tasks_wait_and_are_told_where(face: str, connect: Any, kind: str) -> None:
    db = await connect(stream_wait_warning=0.1)
    stream = db.stream(ROWS, 10, batch=5)
    place = line_of(test_other_tasks_wait_and_are_told_where, "stream = db.stream")
    await stream.next_batch()
    with pytest.warns(
        RuntimeWarning, match=rf"waited 0\.1 s .* made at .*test_stream_waiting\.py:{place}:"
    ) as told:
        waiting = in_task(lambda: WAITERS[kind](db))
        await asyncio.sleep(0.5)
    assert len(told) == 1
    assert not waiting.done()
    await stream.close()
    await waiting


@BLOCKING
@pytest.mark.row("P05")
@pytest.mark.parametrize("kind", ["fetch", "script", "stream", "many"])
async def test_other_threads_wait_and_are_told_where(face: str, connect: Any, kind: str) -> None:
    db = (await connect(stream_wait_warning=0.1)).real
    stream = db.stream(ROWS, 10, batch=5)
    place = line_of(test_other_threads_wait_and_are_told_where, "stream = db.stream")
    stream.next_batch()
    failures: list[BaseException] = []

    def call() -> None:
        try:
            if kind == "stream":
                db.stream("select 7").close()
            else:
                WAITERS[kind](db)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=call, daemon=True)
    with pytest.warns(
        RuntimeWarning, match=rf"waited 0\.1 s .* made at .*test_stream_waiting\.py:{place}:"
    ) as told:
        thread.start()
        thread.join(0.7)
    assert len(told) == 1
    if kind != "many":
        assert told[0].filename.endswith("test_stream_waiting.py")
    assert thread.is_alive()
    stream.close()
    thread.join(10)
    assert not thread.is_alive()
    assert failures == []


@ASYNC
@pytest.mark.row("P05")
async def test_the_warning_stands_at_the_line_that_waits(face: str, connect: Any) -> None:
    db = await connect(stream_wait_warning=0.05)
    stream = db.stream(ROWS, 10, batch=5)
    await stream.next_batch()

    async def other() -> None:
        await db.fetch_value("select 7")

    with pytest.warns(RuntimeWarning) as told:
        task = asyncio.create_task(other())
        await asyncio.sleep(0.3)
    assert (told[0].filename, told[0].lineno) == (__file__, line_of(other, "await db.fetch_value"))
    await stream.close()
    await task


@pytest.mark.row("P05")
async def test_nobody_is_told_before_the_time_or_when_it_is_off(face: str, connect: Any) -> None:
    for patience in (30.0, None):
        db = await connect(stream_wait_warning=patience)
        reader = db.stream(ROWS, 10, batch=5)
        await reader.next_batch()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            if face == "async":
                waiting = in_task(lambda db=db: db.fetch_value("select 7"))
                await asyncio.sleep(0.4)
                await reader.close()
                assert await waiting == 7
            else:
                got: list[int] = []
                thread = threading.Thread(
                    target=lambda db=db, got=got: got.append(db.real.fetch_value("select 7")), daemon=True
                )
                thread.start()
                thread.join(0.4)
                await reader.close()
                thread.join(10)
                assert got == [7]


async def test_a_time_that_cannot_be(face: str, connect: Any) -> None:
    for bad in (-1, "10"):
        with pytest.raises(errors.InterfaceError, match="stream_wait_warning"):
            await connect(stream_wait_warning=bad)


@ASYNC
@pytest.mark.row("P05")
async def test_deadlines_and_the_warning_share_a_timer(face: str, connect: Any) -> None:
    """A call times out while another is told, in either order."""
    for timeout, patience in ((0.1, 0.3), (0.3, 0.1)):
        db = await connect(stream_wait_warning=patience)
        stream = db.stream(ROWS, 10, batch=5)
        await stream.next_batch()
        with pytest.warns(RuntimeWarning, match="waited"):
            late = in_task(lambda db=db, timeout=timeout: db.fetch_value("select 7", timeout=timeout))
            other = in_task(lambda db=db: db.fetch_value("select 8"))
            begun = time.monotonic()
            with pytest.raises(errors.QueryTimeout):
                await late
            assert time.monotonic() - begun >= timeout - 0.01
            await asyncio.sleep(0.5)
        await stream.close()
        assert await other == 8


@ASYNC
@pytest.mark.row("P05", "K03")
async def test_a_stream_that_waits_for_another_times_out(face: str, db: Any) -> None:
    async def second() -> None:
        async with db.stream("select $1::int4", 7, timeout=0.1) as rows:
            async for _ in rows:
                pass

    stream = db.stream(ROWS, 10, batch=5)
    await stream.next_batch()
    with pytest.raises(errors.QueryTimeout):
        await asyncio.wait_for(asyncio.create_task(second()), 5)
    await stream.close()
    assert await db.fetch_value("select 1") == 1


@BLOCKING
@pytest.mark.row("P05")
async def test_as_an_error_the_warning_comes_out_of_the_call(face: str, connect: Any) -> None:
    """With warnings as errors, as in a test suite, the waiting call raises it, and has not run."""
    db = (await connect(stream_wait_warning=0.05)).real
    stream = db.stream(ROWS, 10, batch=5)
    stream.next_batch()
    got: list[BaseException] = []

    def call() -> None:
        try:
            db.fetch_value("select 7")
        except RuntimeWarning as warning:
            got.append(warning)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(10)
    assert len(got) == 1
    stream.close()
    assert db.fetch_value("select 1") == 1


# ---- P09: what a stream gives and how it ends


@pytest.mark.row("P05")
async def test_every_row_once_in_order(face: str, db: Any) -> None:
    for batch in (1, 7, 100, 1_000):
        reader, seen = db.stream(ROWS, 100, batch=batch), []
        while rows := await reader.next_batch():
            assert len(rows) <= batch
            seen += [row[0] for row in rows]
        assert seen == list(range(1, 101))
    for bad in (0, 1_000_001):
        with pytest.raises(errors.InterfaceError, match="batch"):
            db.stream("select 1", batch=bad)


async def test_break_and_forgetting_free_the_connection(face: str, db: Any) -> None:
    for _ in range(3):
        async for row in db.stream(ROWS, 1_000_000, batch=10):
            assert row[0] == 1
            break
        assert await db.fetch_value("select 1") == 1


async def test_an_error_in_the_middle(face: str, db: Any) -> None:
    """The rows before it come; then the error, where it happened; the connection is in step."""
    reader = db.stream("select 10 / (n - 25) from generate_series(1, 50) n", batch=10)
    assert [len(await reader.next_batch()) for _ in range(2)] == [10, 10]
    with pytest.raises(errors.DivisionByZero):
        await reader.next_batch()
    await reader.close()
    assert await db.fetch_value("select 1") == 1
