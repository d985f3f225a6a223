"""A server that stops reading: what is asked meanwhile waits in bounded memory, or is refused; then it goes on (P04).

Semantics, section 2. The peer is a script that reads nothing until a gate opens, then answers everything it is sent with
what it was sent: each call has its own answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import (
    BOUND,
    INT4,
    PARSED,
    close,
    columns,
    complete,
    expect,
    greeting,
    message,
    open_at,
    parameter_types,
    ready,
    row,
    send,
    text_columns,
)
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.fix_script import Line

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]
ASYNC = pytest.mark.parametrize("face", ["async"])

SQL = "select $1::int4"
MIB = 1 << 20


def resident() -> int:
    """Bytes of memory this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def echo(gate: threading.Event, taken: list[int]) -> Callable[[Line], None]:
    """Reads nothing before the gate opens; then answers runs of SQL, all of one size, with their parameter."""

    def step(line: Line) -> None:
        gate.wait(60)
        pending, size = b"", 0
        answer = (BOUND + row(b"????") + complete("SELECT 1") + ready()).split(b"????")
        with contextlib.suppress(OSError):
            while data := line.sock.recv(MIB):
                taken.append(len(data))
                pending += data
                if not size and len(pending) > 5:
                    size = flight_size(pending)
                whole = len(pending) // size if size else 0
                out = [value.join(answer) for value in parameters(pending, whole, size)]
                line.sock.sendall(b"".join(out))
                pending = pending[whole * size :]

    return step


def flight_size(data: bytes) -> int:
    """Bytes of the first run: Bind, Execute, Sync."""
    at = 0
    for kind in b"BES":
        assert data[at] == kind, data[:60]
        at += 1 + struct.unpack_from("!i", data, at + 1)[0]
    return at


def parameters(data: bytes, count: int, size: int) -> list[bytes]:
    """The 4 bytes of each run's only parameter: they end 4 bytes before the end of Bind, where one result format stands."""
    end = 1 + struct.unpack_from("!i", data, 1)[0] - 4 if count else 0
    return [data[at * size + end - 4 : at * size + end] for at in range(count)]


def described() -> list[Any]:
    """The script of SQL's description."""
    return [expect("PDS"), send(PARSED + parameter_types(INT4) + columns(("a", INT4)) + ready())]


async def opened(peer: Any, **options: Any) -> tuple[Any, threading.Event, list[int]]:
    """A connection that has SQL described, to a server that reads nothing more; its gate, and what it reads."""
    gate, taken = threading.Event(), list[int]()
    first = message("2") + row(struct.pack("!i", 0)) + complete("SELECT 1") + ready()
    at = peer([send(greeting()), *described(), expect("BES"), send(first), echo(gate, taken)], lenient=True)
    db = await open_at("async", at.where, **options)
    assert await db.fetch_value(SQL, 0) == 0
    return db, gate, taken


@ASYNC
@pytest.mark.row("P04")
async def test_ten_thousand_gathered_calls_wait_and_are_answered(face: str, runner: Any, peer: Any) -> None:
    db, gate, taken = await opened(peer)
    calls = asyncio.gather(*(db.fetch_value(SQL, number) for number in range(10_000)))
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not calls.done()
    gate.set()
    assert await calls == list(range(10_000))
    assert sum(taken) > 0
    assert await db.fetch_value(SQL, 7) == 7
    db.abort()


@ASYNC
@pytest.mark.row("P04")
async def test_max_queued_bounds_what_is_handed_over(face: str, runner: Any, peer: Any) -> None:
    """What is beyond the kernel's buffer and max_queued stays a request: cancelled, it is never sent."""
    db, gate, taken = await opened(peer, max_queued=1 << 10)
    count = 20_000
    calls = [db.fetch_value(SQL, number) for number in range(count)]
    await asyncio.sleep(0.1)
    for call in calls[1:]:
        call.cancel()
    gate.set()
    assert await calls[0] == 0
    assert await db.fetch_value(SQL, 7) == 7
    size = flight_size_of(count)
    # The kernel's buffers of a Unix socket and the transport's own are less than 1 MiB; all would be more.
    assert sum(taken) < 600_000 < count * size, f"{sum(taken)} bytes were sent of {count * size}"
    db.abort()


def flight_size_of(number: int) -> int:
    """Bytes of one run of SQL, at least: three headers and a parameter."""
    return 3 * 5 + 4 + 8 + 10


@ASYNC
@pytest.mark.slow
@pytest.mark.row("P04")
async def test_a_million_calls_against_a_stalled_server(face: str, runner: Any, peer: Any) -> None:
    """Memory is bounded by max_queued_hard: beyond it QueueFull. Then the server goes on, and all accepted are answered."""
    db, gate, _ = await opened(peer, max_queued_hard=32 * MIB)
    before = resident()
    accepted: dict[int, Any] = {}
    refused = 0
    for number in range(1_000_000):
        try:
            accepted[number] = db.fetch_value(SQL, number)
        except errors.QueueFull:
            refused += 1
        if number % 100_000 == 0:
            await asyncio.sleep(0)
    grown = resident() - before
    assert refused + len(accepted) == 1_000_000
    assert refused > 500_000
    assert len(accepted) > 50_000
    # max_queued_hard counts bytes and an allowance per request; the replies and their jobs are Python's and Rust's own.
    assert grown < 12 * 32 * MIB, f"{grown >> 20} MiB for {len(accepted)} calls"
    gate.set()
    got = await asyncio.gather(*accepted.values())
    assert got == list(accepted)
    accepted.clear()
    assert await db.fetch_value(SQL, 7) == 7
    db.abort()


@pytest.mark.row("P04", "Y02", "Q22")
@pytest.mark.parametrize("verb", ["copy_in", "execute_many"])
async def test_a_source_is_asked_for_more_only_when_there_is_room(
    face: str, runner: Any, peer: Any, verb: str
) -> None:
    """An endless source into a server that stopped reading: it is taken from until the buffers are full, and no more."""
    script = {
        "copy_in": [
            expect("PDBES"),  # the columns: types are declared, so one flight
            send(
                PARSED
                + parameter_types(25)
                + text_columns(("attname", 19), ("type", 26))
                + BOUND
                + row(b"a", b"23")
                + complete("SELECT 1")
                + ready()
            ),
            expect("PDPBEH"),
            send(
                PARSED + parameter_types() + columns(("a", 23)) + PARSED + BOUND + message("G", b"\1\0\1\0\1")
            ),
        ],
        "execute_many": [*described(), expect("DH"), send(parameter_types(INT4) + columns(("a", INT4)))],
    }[verb]
    gate = threading.Event()
    at = peer([send(greeting()), *script, lambda _: gate.wait(60), close], lenient=True)
    db = await open_at(face, at.where)
    taken = 0

    def source() -> Any:
        nonlocal taken
        while True:
            taken += 1
            if taken > 3_000_000:
                raise AssertionError("the source is taken from without end")
            yield (taken,)

    def call() -> Any:
        return db.copy_in("t", source()) if verb == "copy_in" else db.execute_many(SQL, source())

    if face == "async":
        task = asyncio.ensure_future(call())
        before = -1
        while taken != before or taken == 0:
            before = taken
            await asyncio.sleep(0.1)
        assert not task.done()
        gate.set()
        with pytest.raises(errors.ConnectionClosed):
            await asyncio.wait_for(task, 10)
    else:
        watch = threading.Thread(target=_open_when_still, args=(lambda: taken, gate))
        watch.start()
        with pytest.raises(errors.ConnectionClosed):
            await call()
        watch.join()
    assert 0 < taken < 3_000_000
    assert db.closed


def _open_when_still(read: Callable[[], int], gate: threading.Event) -> None:
    before = -1
    until = time.monotonic() + 30
    while time.monotonic() < until and (read() != before or before == 0):
        before = read()
        time.sleep(0.1)
    gate.set()
