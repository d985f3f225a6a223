"""A peer that stops reading: a call's time limit counts while its bytes are unsent, too.

The peer accepts the session, and then takes nothing more. A request of some megabytes fills the kernel's buffers and stays.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import (
    BOUND,
    PARSED,
    PATIENCE,
    TEXT,
    Line,
    answer,
    columns,
    complete,
    expect,
    greeting,
    message,
    ones,
    open_at,
    parameter_types,
    ready,
    row,
    send,
    stall,
    text_columns,
)
from pgoxide.errors import ConnectionClosed, QueryTimeout
from pgoxide.transport import asyncio as transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

pytestmark = [pytest.mark.both_transports, pytest.mark.row("K07")]

LARGE = bytes(8 << 20)
LIMIT = 0.2
AT_ONCE = 3.0
"""Seconds within which a call of LIMIT has ended, on a busy machine; a call that waits for the peer takes 10 or more."""


async def plain(db: Any) -> None:
    await db.execute("select $1", LARGE, types=["bytea"], timeout=LIMIT)


async def script(db: Any) -> None:
    await db.execute_script(f"select '{'x' * len(LARGE)}'", timeout=LIMIT)


async def batch(db: Any) -> None:
    async with db.batch(timeout=LIMIT) as collected:
        collected.execute(f"select '{'x' * len(LARGE)}'")


async def preparing(db: Any) -> None:
    await db.fetch_all(f"select '{'x' * len(LARGE)}'", timeout=LIMIT)


async def streaming(db: Any) -> None:
    async with db.stream(f"select '{'x' * len(LARGE)}'", timeout=LIMIT) as rows:
        async for _ in rows:
            raise AssertionError


async def default(db: Any) -> None:
    await db.execute("select $1", LARGE, types=["bytea"])


@pytest.mark.parametrize("call", [plain, script, batch, preparing, streaming, default])
async def test_a_peer_that_stops_reading(
    face: str, runner: Any, peer: Any, call: Callable[[Any], Awaitable[None]]
) -> None:
    at = peer([send(greeting()), stall], lenient=True)
    options = {"command_timeout": LIMIT} if call is default else {}
    db = await open_at(face, at.where, **options)
    began = time.monotonic()
    with pytest.raises(QueryTimeout) as caught:
        await call(db)
    assert time.monotonic() - began < AT_ONCE
    if face == "blocking":
        # A blocking call leaves nothing behind it that could still go wrong.
        assert "the connection was closed" in str(caught.value)
        assert db.closed
        with pytest.raises(ConnectionClosed, match="had not taken the whole request"):
            await db.execute("show x")
    else:
        # Others have their own limits; this one's is kept too, behind what is unsent.
        began = time.monotonic()
        with pytest.raises(QueryTimeout):
            await db.execute("show x", timeout=LIMIT)
        assert time.monotonic() - began < AT_ONCE
        db.abort()


def copying(line: Line) -> None:
    """The answer to copy_in's question for columns, then CopyInResponse; nothing of the data is read."""
    described = PARSED + parameter_types(TEXT) + columns(("attname", 19), ("type", 26))
    expect("PDBES")(line)
    line.send(
        described.replace(columns(("attname", 19), ("type", 26)), text_columns(("attname", 19), ("type", 26)))
    )
    line.send(BOUND + row(b"a", b"17") + complete("SELECT 1") + ready())
    expect("PDPBEH")(line)
    line.send(PARSED + parameter_types() + columns(("a", 17)) + PARSED + BOUND + message("G", b"\1\0\1\0\1"))
    stall(line)


def many(line: Line) -> None:
    """The description of `execute_many`'s statement, then the word that it may be fed; nothing more is read."""
    described = parameter_types(17) + message("n")
    expect("PDS")(line)
    line.send(PARSED + described + ready())
    expect("DH")(line)
    line.send(described)
    stall(line)


@pytest.mark.parametrize("what", ["copy_in", "execute_many"])
async def test_feeding_a_peer_that_stops_reading(face: str, runner: Any, peer: Any, what: str) -> None:
    at = peer([send(greeting()), copying if what == "copy_in" else many], lenient=True)
    db = await open_at(face, at.where)
    taken = []

    def source() -> Iterator[tuple[bytes]]:
        while True:
            taken.append(1)
            yield (LARGE,)

    began = time.monotonic()
    with pytest.raises(QueryTimeout):
        if what == "copy_in":
            await db.copy_in("t", source(), timeout=LIMIT)
        else:
            await db.execute_many("insert into t values ($1)", source(), timeout=LIMIT)
    assert time.monotonic() - began < AT_ONCE
    assert len(taken) < 10  # it was asked for no more than there was room for
    db.abort()


@pytest.mark.parametrize("face", ["async"])
async def test_a_peer_that_reads_again(face: str, runner: Any, peer: Any) -> None:
    """In time, the connection goes on as if nothing had been."""
    gate = threading.Event()
    at = peer([send(greeting()), lambda _: gate.wait(PATIENCE) and None, answer(ones)], lenient=True)
    db = await open_at(face, at.where)
    with pytest.raises(QueryTimeout):
        await plain(db)
    following = db.fetch_value("select 1")
    gate.set()
    assert await following == 1
    assert at.cancels
    await db.close()


@pytest.mark.parametrize("face", ["async"])
async def test_a_peer_that_never_reads_again(
    face: str, runner: Any, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was given up half-written has a limit of its own: those behind it need not wait for ever."""
    monkeypatch.setattr(transport, "SEND_DEADLINE", 0.5)
    at = peer([send(greeting()), stall], lenient=True)
    db = await open_at(face, at.where)
    with pytest.raises(QueryTimeout):
        await plain(db)
    with pytest.raises(ConnectionClosed) as caught:
        await asyncio.wait_for(db.fetch_value("select 1"), AT_ONCE * 3)
    assert "took no more of it" in str(caught.value)
    assert db.closed


async def test_a_slow_peer_is_waited_for(face: str, runner: Any, server: Any, faults: Any) -> None:
    """A limit is a limit for all of the call, not for each write: what arrives in time arrives."""
    relay = faults()
    db = await open_at(
        face, {**relay.where, "user": server.config().user, "database": server.config().database}
    )
    relay.frontend.rate = 4 << 20
    assert await db.fetch_value("select length($1)", bytes(1 << 20), types=["bytea"], timeout=30) == 1 << 20
    await db.close()
