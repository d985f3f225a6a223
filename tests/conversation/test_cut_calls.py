"""The line ends in the middle of each kind of call, after any byte, in either direction: a typed error in time.

`test_cut.py` cuts start-up and plain queries at every byte, from a script. Here a real server is behind a relay, which is
armed when the session stands and cut after every byte of the call: extended queries, a batch, a stream, COPY in,
execute_many, and a call that is cancelled. On the blocking face and on both transports of the asynchronous one.

What must hold after each cut: no hang; an OperationalError, or the right result if all of it had come; the connection says
that it is closed; what is all or nothing was all or nothing; and the session has gone from the server.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import open_at
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.pg, pytest.mark.fault, pytest.mark.slow, pytest.mark.both_transports]

LIMIT = 5.0
"""Seconds after which a cut counts as a hang."""

RECORDS = [(number, f"text {number}") for number in range(4)]


async def queries(face: str, db: Any) -> object:
    """A first use in one flight, one in two, and a second use."""
    return (
        await db.fetch_value("show server_encoding"),
        [tuple(row) for row in await db.fetch_all("select i, 'x' || i from generate_series(1, $1) i", 3)],
        await db.fetch_value("show server_encoding"),
    )


async def batch(face: str, db: Any) -> object:
    async with db.batch() as several:
        one = several.fetch_value("select $1::int4", 1)
        several.execute("insert into cut values ($1, $2)", 1, "a")
        several.execute("insert into cut values ($1, $2)", 2, "b")
        several.execute("insert into cut values ($1, $2)", 3, "c")
        several.execute("insert into cut values ($1, $2)", 4, "d")
    return one.result()


async def stream(face: str, db: Any) -> object:
    """Five batches, and the end."""
    async with db.stream("select i from generate_series(1, 9) i", into=int, batch=2) as rows:
        return [number async for number in rows]


async def copy_in(face: str, db: Any) -> object:
    return (await db.copy_in("cut", iter(RECORDS))).rows_affected


async def execute_many(face: str, db: Any) -> object:
    return (await db.execute_many("insert into cut values ($1, $2)", iter(RECORDS))).rows_affected


async def cancelled(face: str, db: Any) -> object:
    """A time limit sends a CancelRequest through the same relay; then the connection goes on.

    When the CancelRequest itself is cut, nothing can end the statement early.
    """
    with pytest.raises(errors.QueryTimeout):
        await db.fetch_value("select pg_sleep(0.3)", timeout=0.01)
    return await db.fetch_value("select 1")


CALLS: dict[str, tuple[Callable[[str, Any], Any], object]] = {
    "queries": (queries, ("UTF8", [(1, "x1"), (2, "x2"), (3, "x3")], "UTF8")),
    "batch": (batch, 1),
    "stream": (stream, list(range(1, 10))),
    "copy_in": (copy_in, len(RECORDS)),
    "execute_many": (execute_many, len(RECORDS)),
    "cancelled": (cancelled, 1),
}


@pytest.mark.row("E07", "S05")
@pytest.mark.parametrize("way", ["backend", "frontend"])
@pytest.mark.parametrize("call", CALLS)
async def test_cut_after_every_byte(
    face: str, runner: Any, connect: Any, server: Any, faults: Any, call: str, way: str
) -> None:
    book = await connect()
    await book.execute_script("drop table if exists cut; create table cut (number int4, text text)")
    config = server.config()
    relay = faults()
    where = {"user": config.user, "database": config.database, "application_name": "cut"} | relay.where
    body, expected = CALLS[call]

    async def attempt(cut_after: int | None) -> int | None:
        """Bytes the call took in this direction; None when the cut ended it."""
        relay.reset()
        db = await open_at(face, where, connect_timeout=LIMIT)
        direction = getattr(relay, way)
        before = direction.passed
        if cut_after is not None:
            direction.cut_after = before + cut_after
        begun = time.monotonic()
        try:
            got = await body(face, db)
        except errors.Error as problem:
            assert isinstance(problem, errors.OperationalError), f"cut after {cut_after} bytes: {problem!r}"
            assert not isinstance(problem, errors.QueryTimeout), f"cut after {cut_after} bytes: hung"
            assert time.monotonic() - begun < LIMIT, f"cut after {cut_after} bytes: {problem!r} came late"
            assert db.closed, f"cut after {cut_after} bytes: {problem!r}, and the connection says it is open"
            with pytest.raises(errors.ConnectionClosed):
                await db.fetch_value("select 1")
            return None
        assert got == expected, f"cut after {cut_after} bytes"
        taken = direction.passed - before
        await db.close()
        return taken

    total = await attempt(None)
    assert total is not None
    assert total > 50
    complete = [offset for offset in range(total) if await attempt(offset) is not None]
    # Of what the server says the very end may be missing without harm to what was asked; of what we say, nothing.
    # When a time limit runs out early the cancelled call takes fewer bytes: then nothing can be said.
    if call != "cancelled":
        assert not [offset for offset in complete if offset < total - 40], f"{complete} of {total}"
    assert await attempt(None) is not None
    counts = await book.fetch_column("select count(*) from cut group by number")
    assert len(set(counts)) <= 1, f"part of it was done: {counts}"
    for _ in range(200):
        if not await book.fetch_value("select count(*) from pg_stat_activity where application_name = 'cut'"):
            break
        await book.execute("select pg_sleep(0.05)")
    else:
        pytest.fail("sessions of cut lines are still there")
    await book.execute("drop table cut")
