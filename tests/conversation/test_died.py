"""The peer dies in the middle of a stream, a COPY or an execute_many: a typed error at once, no hang, nothing left behind."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import (
    BOUND,
    INT4,
    PARSED,
    SUSPENDED,
    Line,
    close,
    error,
    expect,
    greeting,
    open_at,
    parameter_types,
    ready,
    row,
    send,
    text_columns,
)
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.fault]

LIMIT = 5.0
"""Seconds after which an end counts as a hang."""

FATAL = error("57P01", "terminating connection due to administrator command", "FATAL")
COPY_FLIGHT = "PDPBEH"
COPY_IN = (
    PARSED
    + parameter_types()
    + text_columns(("n", INT4))
    + PARSED
    + BOUND
    + b"G"
    + struct.pack("!ibh", 7, 1, 0)
)
MANY = 200_000


def abrupt(line: Line) -> None:
    """Closes with our data unread: the client sees a reset."""
    line.sock.close()


ENDS: dict[str, list[Callable[[Line], None]]] = {
    "close": [close],
    "reset": [abrupt],
    "words": [send(FATAL), close],
}


def check(caught: errors.Error, how: str) -> None:
    """ConnectionClosed; when the server said why, its words are the cause."""
    assert isinstance(caught, errors.ConnectionClosed), repr(caught)
    if how == "words":
        assert isinstance(caught.__cause__, errors.class_for("57P01")), repr(caught.__cause__)


async def dead(db: Any, begun: float) -> None:
    """In time, closed, and later calls say so."""
    assert time.monotonic() - begun < LIMIT
    assert db.closed
    with pytest.raises(errors.ConnectionClosed):
        await db.fetch_value("select 1")
    await db.close()


# ---- streams


def rows(*numbers: int) -> bytes:
    return b"".join(row(struct.pack("!i", number)) for number in numbers)


PREPARED = [expect("PDS"), send(PARSED + parameter_types() + text_columns(("n", INT4)) + ready())]
MOMENTS: dict[str, list[Callable[[Line], None]]] = {
    "while it is described": [expect("PDS")],
    "before the first batch": [*PREPARED, expect("BEH")],
    "within a batch": [*PREPARED, expect("BEH"), send(BOUND + rows(1, 2))],
    "within a row": [*PREPARED, expect("BEH"), send(BOUND + rows(1) + rows(2)[:7])],
    "between batches": [*PREPARED, expect("BEH"), send(BOUND + rows(1, 2, 3) + SUSPENDED), expect("EH")],
    "after the last row": [*PREPARED, expect("BEH"), send(BOUND + rows(1, 2, 3) + b"C\0\0\0\x0dSELECT 3\0")],
}


@pytest.mark.row("S05", "P05")
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("moment", MOMENTS)
async def test_stream(face: str, runner: Any, peer: Callable[..., Any], moment: str, how: str) -> None:
    if moment == "within a row" and how == "words":
        return  # half a message, then another one: bytes that mean something else
    at = peer([send(greeting()), *MOMENTS[moment], *ENDS[how]], lenient=True)
    db = await open_at(face, at.where)
    begun, seen = time.monotonic(), []
    with pytest.raises(errors.Error) as caught:
        stream = (db if face == "async" else db.real).stream("select n", batch=3, into=int)
        while True:
            got = stream.next_batch()
            seen += await got if face == "async" else got
            if not (seen and moment == "after the last row"):
                continue
            got = stream.next_batch()
            assert (await got if face == "async" else got) == []
            await db.fetch_value("select 1")  # all rows had come: only the connection is gone
    check(caught.value, how)
    assert seen in ([], [1, 2, 3])
    await dead(db, begun)


# ---- COPY and execute_many


def endless() -> Iterator[tuple[int]]:
    """Records until somebody stops asking."""
    for number in range(MANY * 100):
        yield (number,)


CATALOG = [
    expect("PDBES"),
    send(
        PARSED + parameter_types(25) + text_columns(("attname", 19), ("type", 26))
        + BOUND + row(b"n", b"23") + b"C\0\0\0\x0dSELECT 1\0" + ready()
    ),
]  # fmt: skip

COPIES: dict[str, list[Callable[[Line], None]]] = {
    "before it begins": [expect(COPY_FLIGHT)],
    "after some data": [expect(COPY_FLIGHT), send(COPY_IN), expect("ddd")],
    "before its end is known": [expect(COPY_FLIGHT), send(COPY_IN), lambda line: until(line, "S")],
}


def until(line: Line, kind: str) -> None:
    """Reads up to that message."""
    while line.next() != kind:
        pass


@pytest.mark.row("S05", "Y05")
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("moment", COPIES)
async def test_copy_in(face: str, runner: Any, peer: Callable[..., Any], moment: str, how: str) -> None:
    at = peer([send(greeting()), *CATALOG, *COPIES[moment], *ENDS[how]], lenient=True)
    db = await open_at(face, at.where)
    begun = time.monotonic()
    source = ((n,) for n in range(100)) if moment == "before its end is known" else endless()
    with pytest.raises(errors.Error) as caught:
        await db.copy_in("t", source)
    check(caught.value, how)
    await dead(db, begun)


MANIES: dict[str, list[Callable[[Line], None]]] = {
    "while it is described": [expect("PDS")],
    "before it begins": [
        expect("PDS"), send(PARSED + parameter_types(INT4) + b"n\0\0\0\4" + ready()), expect("DH"),
    ],
    "after some runs": [
        expect("PDS"), send(PARSED + parameter_types(INT4) + b"n\0\0\0\4" + ready()), expect("DH"), send(parameter_types(INT4) + b"n\0\0\0\4"),
        expect("BEBEBE"), send((BOUND + b"C\0\0\0\x0fINSERT 0 1\0") * 2),
    ],
    "before its end is known": [
        expect("PDS"), send(PARSED + parameter_types(INT4) + b"n\0\0\0\4" + ready()), expect("DH"), send(parameter_types(INT4) + b"n\0\0\0\4"),
        lambda line: until(line, "S"),
    ],
}  # fmt: skip


@pytest.mark.row("S05", "Q22")
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("moment", MANIES)
async def test_execute_many(face: str, runner: Any, peer: Callable[..., Any], moment: str, how: str) -> None:
    at = peer([send(greeting()), *MANIES[moment], *ENDS[how]], lenient=True)
    db = await open_at(face, at.where)
    begun = time.monotonic()
    source = ((n,) for n in range(100)) if moment == "before its end is known" else endless()
    with pytest.raises(errors.Error) as caught:
        await db.execute_many("insert into t values ($1)", source)
    check(caught.value, how)
    await dead(db, begun)


# ---- a real backend, killed


@pytest.mark.pg
@pytest.mark.row("S05")
@pytest.mark.parametrize("what", ["stream", "copy", "many"])
async def test_a_killed_backend(face: str, db: Any, connect: Any, what: str) -> None:
    killer = await connect()
    await db.execute("create temp table t (n int4)")
    pid, killed = db.backend_pid, False

    async def stream() -> None:
        nonlocal killed
        rows = (db if face == "async" else db.real).stream(
            "select n from generate_series(1, 5000000) n", batch=1000
        )
        while True:
            got = rows.next_batch()
            assert await got if face == "async" else got
            if not killed:
                killed = True
                await killer.execute("select pg_terminate_backend($1)", pid)

    def source() -> Iterator[tuple[int]]:
        nonlocal killed
        for number in range(30_000_000):
            if number == 50_000:
                killed = True
                kill()
            yield (number,)

    def kill() -> None:
        if face == "blocking":
            killer.real.execute("select pg_terminate_backend($1)", pid)
        else:
            doing.append(killer.execute("select pg_terminate_backend($1)", pid))

    doing: list[Any] = []
    begun = time.monotonic()
    with pytest.raises(errors.Error) as caught:
        if what == "stream":
            await stream()
        elif what == "copy":
            await db.copy_in("t", source())
        else:
            await db.execute_many("insert into t values ($1)", source())
    for one in doing:
        await one
    assert killed
    assert isinstance(caught.value, errors.ConnectionClosed | errors.class_for("57P01")), repr(caught.value)
    assert time.monotonic() - begun < 30
    assert db.closed
