"""Lengths that lie: refused before anything is allocated."""

from __future__ import annotations

import resource
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import (
    BOUND,
    ONE_FLIGHT,
    PARSED,
    answer,
    complete,
    expect,
    greeting,
    message,
    ones,
    open_at,
    parameter_types,
    ready,
    send,
    stall,
    text_columns,
    until_end,
)
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable


def resident() -> int:
    """Bytes of memory this process has touched at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.row("S08")
@pytest.mark.parametrize("length", [0, 1, 2, 3, -1, -(2**31), 2**31 - 1, 2**30 + 1])
@pytest.mark.parametrize("kind", ["D", "R", "T", "N", "E", "S", "Z", "d", "\0"])
async def test_impossible_lengths(
    face: str, runner: Any, peer: Callable[..., Any], kind: str, length: int
) -> None:
    """Refused as soon as the header is there, in start-up as later."""
    header = kind.encode() + struct.pack("!i", length)
    at = peer(
        [send(header), stall],
        [send(greeting()), expect(ONE_FLIGHT), send(header), stall],
        lenient=True,
    )
    before, begun = resident(), time.monotonic()
    with pytest.raises(errors.OperationalError) as caught:
        await open_at(face, at.where, connect_timeout=5)
    assert not isinstance(caught.value, errors.QueryTimeout)
    db = await open_at(face, at.where)
    with pytest.raises(errors.OperationalError) as caught:
        await db.fetch_value("show 1", timeout=5)
    assert not isinstance(caught.value, errors.QueryTimeout)
    assert db.closed
    assert time.monotonic() - begun < 2
    assert resident() - before < 64 << 20


@pytest.mark.row("S08")
async def test_a_large_claim_allocates_nothing(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """1 GiB is allowed and announced, and a few bytes come: memory follows what came."""
    header = b"D" + struct.pack("!i", 2**30) + bytes(1000)
    described = PARSED + parameter_types() + text_columns(("a", 23)) + BOUND
    at = peer([send(greeting()), expect(ONE_FLIGHT), send(described + header), stall], lenient=True)
    db = await open_at(face, at.where)
    before = resident()
    with pytest.raises(errors.QueryTimeout):
        await db.fetch_value("show 1", timeout=0.3)
    assert resident() - before < 64 << 20
    db.abort()


@pytest.mark.row("S08")
async def test_max_message_is_the_users_choice(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    large = message("D", struct.pack("!hi", 1, 5000) + b"x" * 5000)
    described = PARSED + parameter_types() + text_columns(("a", 25)) + BOUND
    whole = described + large + complete("SELECT 1") + ready()
    at = peer(
        [send(greeting()), expect(ONE_FLIGHT), send(whole), answer(ones)],
        [send(greeting()), expect(ONE_FLIGHT), send(whole), until_end],
        lenient=True,
    )
    db = await open_at(face, at.where, max_message=6000)
    assert await db.fetch_value("show 1") == "x" * 5000
    await db.close()
    db = await open_at(face, at.where, max_message=4000)
    with pytest.raises(errors.OperationalError, match=r"5010|4000"):
        await db.fetch_value("show 1", timeout=3)
    await db.close()


@pytest.mark.row("S08")
async def test_a_row_of_many_pages_byte_by_byte(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """A value larger than the page, in chunks that never end with a message."""
    value = bytes(range(32, 127)) * 8000
    described = PARSED + parameter_types() + text_columns(("a", 25)) + BOUND
    large = message("D", struct.pack("!hi", 1, len(value)) + value)
    at = peer(
        [
            send(greeting(), 1),
            expect(ONE_FLIGHT),
            send(described, 1),
            send(large * 3, 9973),
            send(complete("SELECT 3") + ready(), 1),
            until_end,
        ]
    )
    db = await open_at(face, at.where)
    assert await db.fetch_column("show 1") == [value.decode()] * 3
    await db.close()
