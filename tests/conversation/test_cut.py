"""The line ends between any two bytes: a typed error in time, and a fresh connection works."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import Line, expect, open_at, send, until_end
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.pg, pytest.mark.fault, pytest.mark.slow, pytest.mark.both_transports]

LIMIT = 2.0
"""Seconds after which a cut counts as a hang."""


async def conversation(face: str, where: dict[str, Any]) -> tuple[int, list[tuple[Any, ...]], bool]:
    """Start-up, a query in one flight, a query in two, Terminate."""
    db = await open_at(face, where, connect_timeout=LIMIT, command_timeout=LIMIT)
    try:
        one = await db.fetch_value("select 1")
        rows = await db.fetch_all("select i, 'x' || i from generate_series(1, $1) i", 3)
        again = await db.fetch_value("select 1")
    finally:
        await db.close()
    return one, [tuple(each) for each in rows], again == 1


EXPECTED = (1, [(1, "x1"), (2, "x2"), (3, "x3")], True)


async def survives(face: str, where: dict[str, Any], offset: int) -> bool:
    """Whether the conversation came to its end; a hang or an error of the wrong kind fails the test."""
    begun = time.monotonic()
    try:
        result = await conversation(face, where)
    except errors.QueryTimeout:
        pytest.fail(f"cut at byte {offset}: the call hung")
    except errors.Error as error:
        assert isinstance(error, errors.OperationalError), f"cut at byte {offset}: {error!r}"
        assert time.monotonic() - begun < LIMIT
        return False
    assert result == EXPECTED, f"cut at byte {offset}"
    return True


@pytest.mark.row("E07", "S05")
@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_backend_bytes(
    face: str, connect: Any, server: Any, faults: Callable[..., Any], peer: Callable[..., Any], ending: str
) -> None:
    """What a real server sent, replayed and cut at every byte; each cut followed by a whole conversation now and then."""
    relay = faults()
    config = server.config()
    to_relay = {"user": config.user, "database": config.database} | relay.where
    assert await conversation(face, to_relay) == EXPECTED
    flights = split_at_ready(bytes(relay.backend.recorded))
    asked = ["", *asked_in_flights(bytes(relay.frontend.recorded))]
    assert len(flights) == len(asked)
    total = sum(map(len, flights))

    def script(cut: int) -> list[Any]:
        left, steps = cut, []
        for kinds, said in zip(asked, flights, strict=True):
            steps += [expect(kinds), send(said[:left])]
            if left < len(said):
                return [*steps, reset] if ending == "reset" else steps
            left -= len(said)
        return [*steps, until_end]

    offsets = range(total) if ending == "close" else range(0, total, 3)
    scripts = []
    for offset in offsets:
        scripts.append(script(offset))
        if offset % 16 == 0:
            scripts.append(script(total))
    at = peer(*scripts, script(total), lenient=True)
    for offset in offsets:
        assert not await survives(face, at.where, offset), f"{offset} of {total} bytes were enough"
        if offset % 16 == 0:
            assert await survives(face, at.where, total)
    assert await survives(face, at.where, total)


def reset(line: Line) -> None:
    """Ends the line so that the client sees more than a plain end, where the system has such a thing."""
    line.sock.close()


def asked_in_flights(data: bytes) -> list[str]:
    """The frontend's message types, a flight for each Sync."""
    from fixtures.fix_script import messages_of

    startup = int.from_bytes(data[:4])
    kinds = "".join(chr(one[0]) for one in messages_of(data[startup:]))
    return [f"{flight}S" for flight in kinds.removesuffix("X").split("S")[:-1]]


def split_at_ready(data: bytes) -> list[bytes]:
    """The flights of a backend: each ends with ReadyForQuery."""
    from fixtures.fix_script import messages_of

    flights = [b""]
    for one in messages_of(data):
        flights[-1] += one
        if one[:1] == b"Z":
            flights.append(b"")
    assert flights.pop() == b""
    return flights


@pytest.mark.row("E07", "S05")
async def test_frontend_bytes(face: str, connect: Any, server: Any, faults: Callable[..., Any]) -> None:
    """What we send, cut at every byte on its way to a real server."""
    relay = faults()
    config = server.config()
    where = {"user": config.user, "database": config.database} | relay.where
    assert await conversation(face, where) == EXPECTED
    time.sleep(0.2)
    total = relay.frontend.passed
    complete = 0
    for offset in range(0, total, 2):
        relay.reset()
        relay.frontend.cut_after = offset
        complete += await survives(face, where, offset)
    assert complete <= 3  # Only Terminate may be missing without harm.
    relay.reset()
    assert await conversation(face, where) == EXPECTED


@pytest.mark.row("E07")
@pytest.mark.parametrize("inject", [True, False])
async def test_a_slow_line_changes_nothing(
    face: str, connect: Any, server: Any, faults: Callable[..., Any], inject: bool
) -> None:
    """A real server through a relay that injects notices everywhere, and one that throttles both ways."""
    from fixtures.fix_script import notice, notification, parameter

    relay = faults(notice() + notification() + parameter("TimeZone", "UTC") if inject else b"")
    config = server.config()
    if not inject:
        relay.frontend.rate = relay.backend.rate = 200_000
    assert (
        await conversation(face, {"user": config.user, "database": config.database} | relay.where) == EXPECTED
    )


@pytest.mark.row("S09")
async def test_asynchronous_messages_within_copy(
    face: str, connect: Any, server: Any, faults: Callable[..., Any]
) -> None:
    """Between CopyInResponse and its end, accepted or refused, and among the data of a COPY to us."""
    from fixtures.fix_script import notice, notification, open_at, parameter

    relay = faults(notice("within") + notification() + parameter("TimeZone", "Asia/Tokyo"))
    config = server.config()
    db = await open_at(face, {"user": config.user, "database": config.database} | relay.where)
    await db.execute_script("create temp table copied (n int4 primary key)")
    for _ in range(2):
        tag = await db.copy_in("copied", [(n,) for n in range(3)])
        assert tag.rows_affected == 3
        with pytest.raises(errors.UniqueViolation):
            await db.copy_in("copied", [(1,)])
        for refused in ("copy copied to stdout", "copy copied from stdin"):
            with pytest.raises(errors.Error, match="COPY"):
                await db.execute_script(refused)
        assert await db.fetch_column("delete from copied returning n") == [0, 1, 2]
    assert db.parameter("TimeZone") == "Asia/Tokyo"
    await db.close()
