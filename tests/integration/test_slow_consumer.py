"""Streams whose reader is slow: memory stays bounded, others wait, who would wait for itself is told (P05).

Semantics, section 5. The two faces differ in who the others are: tasks on one, threads on the other.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from fixtures.fix_script import open_at
from pgoxide.errors import InterfaceError

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]

MANY = 5_000_000
SQL = "select i, repeat('x', 100) as text from generate_series(1, $1::int4) as i"


async def settled(face: str, way: Any) -> int:
    """Bytes that came from the server, once no more are coming."""
    before, still = -1, 0
    until = time.monotonic() + 20
    while still < 5:
        assert time.monotonic() < until, "the server goes on sending"
        still = still + 1 if way.passed == before else 0
        before = way.passed
        await (asyncio.sleep(0.05) if face == "async" else _pause())
    return before


async def _pause() -> None:
    time.sleep(0.05)


@pytest.mark.row("P05")
async def test_a_reader_that_stops_stops_the_server(face: str, runner: Any, server: Any, faults: Any) -> None:
    """Counted on the wire, which no allocator blurs: of half a gigabyte only two batches come, then nothing more."""
    relay = faults()
    config = server.config()
    db = await open_at(face, {"user": config.user, "database": config.database} | relay.where)
    size = 200
    stream = db.stream(SQL, MANY, batch=size)
    first = await stream.next_batch()
    assert [row.i for row in first] == list(range(1, size + 1))
    held = await settled(face, relay.backend)
    # A row is about 125 bytes on the wire: what was taken, one batch ahead, and one on its way.
    assert held < 3 * size * 200, f"{held} bytes came for one batch of {size} rows"
    second = await stream.next_batch()
    assert [row.i for row in second] == list(range(size + 1, 2 * size + 1))
    assert await settled(face, relay.backend) < 4 * size * 200
    await stream.close()
    assert await db.fetch_value("select 1") == 1
    await db.close()


@pytest.mark.slow
@pytest.mark.row("P05")
async def test_all_of_a_large_result_in_bounded_memory(face: str, db: Any) -> None:
    """Objects alive at any time: never more than two batches and what is being handed out."""

    class Counted:
        alive = most = 0

        def __init__(self, *, i: int, text: str) -> None:
            self.i, self.text = i, text
            Counted.alive += 1
            Counted.most = max(Counted.most, Counted.alive)

        def __del__(self) -> None:
            Counted.alive -= 1

    seen = 0
    stream = db.stream(SQL, 300_000, into=Counted, batch=500)
    async for row in stream:
        seen += 1
        assert row.i == seen
    assert seen == 300_000
    assert Counted.most <= 3 * 500 + 1
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("P05")
async def test_who_reads_cannot_call_meanwhile(face: str, db: Any) -> None:
    """It would wait for itself: told at once, by every kind of call; the stream goes on."""
    await db.fetch_value("select 1")
    stream = db.stream("select i from generate_series(1, 25) i", into=int, batch=10)
    got = await stream.next_batch()
    calls = [
        lambda: db.fetch_value("select 1"),
        lambda: db.execute("select $1::int4", 1),
        lambda: db.execute_script("select 1"),
        lambda: db.copy_in("pg_class", []),
        lambda: db.execute_many("select $1::int4", [(1,)]),
    ]
    for call in calls:
        with pytest.raises(InterfaceError, match="stream"):
            await call()
    while rows := await stream.next_batch():
        got += rows
    assert got == list(range(1, 26))
    await stream.close()
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("P05")
@pytest.mark.parametrize("ending", ["read to its end", "closed", "left by break", "dropped"])
async def test_others_wait_until_it_has_ended(face: str, db: Any, ending: str) -> None:
    """Another task, or another thread, is answered when the stream is over, however that came."""
    answers: list[Any] = []
    stream = db.stream("select i from generate_series(1, 30) i", into=int, batch=10)
    assert await stream.next_batch() == list(range(1, 11))

    async def other() -> None:
        answers.append(await db.fetch_value("select $1::int4", 7))

    if face == "async":
        task = asyncio.create_task(other())
        await asyncio.sleep(0.1)
        assert not answers
        await finish(stream, ending)
        del stream
        await asyncio.wait_for(task, 10)
    else:
        thread = threading.Thread(target=lambda: answers.append(db.real.fetch_value("select $1::int4", 7)))
        thread.start()
        time.sleep(0.1)
        assert not answers
        await finish(stream, ending)
        del stream
        thread.join(10)
        assert not thread.is_alive()
    assert answers == [7]


async def finish(stream: Any, ending: str) -> None:
    if ending == "read to its end":
        while await stream.next_batch():
            pass
    elif ending == "closed":
        await stream.close()
    elif ending == "left by break":
        async with stream as rows:
            async for _ in rows:
                break


@pytest.mark.row("P05")
async def test_a_stream_dropped_in_the_middle_frees_the_connection(face: str, db: Any) -> None:
    stream = db.stream(SQL, MANY, batch=100)
    assert len(await stream.next_batch()) == 100
    del stream
    begun = time.monotonic()
    assert await db.fetch_value("select 1") == 1
    assert time.monotonic() - begun < 20, "all rows were read first"
    for _ in range(5):
        rows = db.stream(SQL, MANY, batch=100)
        assert len(await rows.next_batch()) == 100
        await rows.close()
    assert await db.fetch_value("select 1") == 1
