"""Calls that wait for the description of their statement: in order, in bounded memory, in constant steps, and never for
ever.

Semantics, sections 2 and 3.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import (
    AGAIN,
    BOUND,
    CLOSED,
    INT4,
    ONE_FLIGHT,
    PARSED,
    columns,
    complete,
    error,
    expect,
    greeting,
    int4_answer,
    open_at,
    parameter_types,
    ready,
    row,
    send,
    stall,
    text_columns,
    until_end,
    wait,
)
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.pg]
ASYNC = pytest.mark.parametrize("face", ["async"])

_numbers = itertools.count()

TYPED = ["int4"]
DESCRIBE = "PDS"
ONE = row(b"\0\0\0\1")
DESCRIBED = PARSED + parameter_types(INT4) + columns(("a", INT4)) + ready()
ANSWER = BOUND + ONE + complete("SELECT 1") + ready()


def new(sql: str) -> str:
    """A text that no connection has seen."""
    return f"{sql} /* held {next(_numbers)} */"


# ---- a first use that fails while it is encoded


@pytest.mark.row("Q11")
async def test_a_first_use_that_cannot_be_encoded_holds_up_nobody(face: str, db: Any) -> None:
    sql = new("select $1::int4")
    for _ in range(2):
        with pytest.raises(errors.DataError):
            await db.fetch_value(sql, "x", types=TYPED)
    assert await db.fetch_value(sql, 1, types=TYPED, timeout=10) == 1
    assert await db.fetch_value(sql, 2, types=TYPED, timeout=10) == 2


@pytest.mark.row("Q11")
async def test_a_first_use_with_a_nul_holds_up_nobody(face: str, db: Any) -> None:
    for sql in (new("set application_name = 'a\0b'"), new("select '\0'"), new("select $1::int4, '\0'")):
        for _ in range(2):
            with pytest.raises(errors.Error) as caught:
                await db.execute(sql, *([1] if "$1" in sql else []), timeout=10)
            assert not isinstance(caught.value, errors.QueryTimeout)
    assert await db.fetch_value("select 1", timeout=10) == 1


@ASYNC
@pytest.mark.row("Q11", "P02")
async def test_one_that_waited_and_cannot_be_encoded_holds_up_nobody(face: str, db: Any) -> None:
    """It is encoded when its turn comes, behind a call whose statement had to be described."""
    sql = new("select $1::int4")
    got = await asyncio.wait_for(
        asyncio.gather(
            db.fetch_value(new("select $1::int4"), 0),
            db.fetch_value(sql, "x", types=TYPED),
            db.fetch_value(sql, "y", types=TYPED),
            db.fetch_value(sql, 3, types=TYPED),
            return_exceptions=True,
        ),
        10,
    )
    assert got[0] == 0
    assert got[3] == 3
    assert [type(one) for one in got[1:3]] == [errors.DataError] * 2
    assert await db.fetch_value("select 1", timeout=10) == 1


# ---- who lets others go while it fails, or is encoded


@ASYNC
@pytest.mark.row("P01", "Q11")
async def test_one_that_fails_when_its_turn_comes_lets_the_next_one_go(face: str, connect: Any) -> None:
    """With nothing in flight, nobody else would."""
    db = await connect(max_queued=1 << 10)
    length, one = new("select length($1)"), new("select 1")
    assert [await db.fetch_value(length, ""), await db.fetch_value(one)] == [0, 1]
    calls = [
        db.fetch_value(length, "x" * 100_000),  # more than the machine takes at once
        db.fetch_value(new("select length($1)"), 1),
        db.fetch_value(one),
        db.fetch_value(new("select length($1)"), 2),
        db.fetch_value(new("select length($1)"), 3),
        db.fetch_value(new("select 2")),
    ]
    got = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
    assert [got[n] for n in (0, 2, 5)] == [100_000, 1, 2]
    assert [type(got[n]) for n in (1, 3, 4)] == [errors.DataError] * 3


class Meddling(dt.tzinfo):
    """Encoding a time of this zone runs `act`."""

    act: Callable[[], object] | None = None

    def utcoffset(self, moment: dt.datetime | None, /) -> dt.timedelta:
        if self.act is not None:
            act, self.act = self.act, None
            act()
        return dt.timedelta(0)


@ASYNC
@pytest.mark.row("P01")
@pytest.mark.parametrize("what", ["cancel", "script", "fetch"])
async def test_nothing_overtakes_a_call_that_is_being_encoded(face: str, db: Any, what: str) -> None:
    """A call that the encoding makes, and calls that wait: behind it, as they were made."""
    await db.execute("create temp table t (at serial, n int, moment timestamptz)")
    known = "insert into t (n) values ($1)"
    await db.execute(known, 0)
    zone = Meddling()
    calls = [
        db.fetch_value(new("select $1::int4"), 1),  # the others wait until this is described
        db.execute(new("insert into t (n, moment) values (1, $1)"), dt.datetime(2020, 1, 1, tzinfo=zone)),
    ]
    if what == "cancel":
        calls.append(db.execute(known, 2))
        last = db.execute(known, 3)
        zone.act = last.cancel
    else:
        ask: dict[str, Any] = {
            "script": lambda: db.execute_script("insert into t (n) values (2)"),
            "fetch": lambda: db.execute(known, 2),
        }
        zone.act = lambda: calls.append(ask[what]())
    await asyncio.wait_for(asyncio.gather(*calls), 10)
    await asyncio.wait_for(asyncio.gather(*calls[2:]), 10)
    assert zone.act is None
    assert await db.fetch_column("select n from t order by at", timeout=10) == [0, 1, 2]


@ASYNC
@pytest.mark.row("P03")
async def test_a_batch_is_told_when_encoding_ends_the_connection(face: str, db: Any) -> None:
    zone = Meddling()
    zone.act = db.abort
    with pytest.raises(errors.ConnectionClosed):
        async with db.batch(timeout=10) as several:
            reply = several.fetch_value(new("select $1::timestamptz"), dt.datetime(2020, 1, 1, tzinfo=zone))
            other = several.fetch_value(new("select 1"))
    for one in (reply, other):
        with pytest.raises((errors.ConnectionClosed, errors.BatchAborted)):
            one.result()


# ---- how many, and how much


@ASYNC
@pytest.mark.row("P01")
async def test_very_many_first_uses_of_one_statement(face: str, connect: Any) -> None:
    """Each costs the same however many wait; quadratic steps would take minutes."""
    db = await connect(max_queued_hard=1 << 30)
    sql = new("select $1::int4")
    assert await asyncio.gather(*(db.fetch_value(sql, n) for n in range(150_000))) == list(range(150_000))


@ASYNC
@pytest.mark.row("P01", "K01", "K03")
async def test_very_many_that_wait_are_cancelled(face: str, runner: Any, peer: Any) -> None:
    """From the last to the first, by the caller; then as many by their time limits."""
    at = peer([send(greeting()), expect(DESCRIBE), stall], lenient=True)
    db = await open_at(face, at.where, max_queued_hard=1 << 30)
    first = db.fetch_value("select $1::int4", 0)
    calls = [db.fetch_value("select $1::int4", n) for n in range(60_000)]
    for one in reversed(calls):
        assert one.cancel()
    late = [db.fetch_value("select $1::int4", n, timeout=0.001) for n in range(60_000)]
    got = await asyncio.gather(*late, return_exceptions=True)
    assert {type(one) for one in got} == {errors.QueryTimeout}
    assert not first.done()
    db.abort()
    assert isinstance(first.exception(), errors.ConnectionClosed)


@ASYNC
@pytest.mark.row("P01")
@pytest.mark.parametrize("max_queued", [1 << 10, 1 << 18])
async def test_all_keep_their_order(face: str, connect: Any, max_queued: int) -> None:
    """Far more than the machine takes at once: those that wait follow as it empties, and so do those behind them."""
    db = await connect(max_queued=max_queued)
    await db.execute("create temp table t (at serial, n int, filler text)")
    first, second, filler = (
        "insert into t (n, filler) values ($1, $2)",
        "insert into t (filler, n) values ($2, $1)",
        "x" * 500,
    )
    calls = []
    for n in range(3_000):
        match n % 7:
            case 0:
                calls.append(db.execute(second, n, filler))
            case 1 if n < 300:
                calls.append(db.execute_script(f"insert into t (n) values ({n})"))
            case _:
                calls.append(db.execute(first, n, filler))
    await asyncio.gather(*calls)
    assert await db.fetch_column("select n from t order by at") == list(range(3_000))


@ASYNC
@pytest.mark.row("P04")
@pytest.mark.parametrize("what", ["waits", "nested", "described"])
async def test_what_waits_counts_what_it_holds(face: str, connect: Any, what: str) -> None:
    """A megabyte counts a megabyte, whether it is encoded already or not, shared or not."""
    db = await connect(max_queued_hard=8 << 20)
    blob, sql = b"x" * (1 << 20), new("select length($1::bytea)")
    argument: object = blob
    if what == "nested":
        sql, argument = new("select length($1::jsonb::text) > 0"), ["x" * (1 << 10)] * (1 << 10)
    if what == "described":
        await db.fetch_value(sql, b"")
    waits = db.fetch_value(new("select $1::int4"), 1)
    calls: list[Any] = []
    with pytest.raises(errors.QueueFull):
        for _ in range(100):
            calls.append(db.fetch_value(sql, argument))
    assert 4 <= len(calls) <= 12
    assert await waits == 1
    await asyncio.gather(*calls)
    assert await db.fetch_value("select 1") == 1


IN_BOUNDED_MEMORY = """
    import asyncio, resource, sys
    import pgoxide

    async def main() -> None:
        async with pgoxide.AsyncConnection.connect(sys.argv[1], max_queued_hard=1 << 40) as db:
            await db.fetch_value("select 1")
            blob = b"x" * (4 << 20)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            lengths = await asyncio.gather(*(db.fetch_value("select length($1::bytea)", blob) for _ in range(150)))
            assert lengths == [len(blob)] * 150
            print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)

    asyncio.run(main())
"""


@pytest.mark.row("P04", face="async")
def test_a_shared_blob_is_not_encoded_for_all_at_once(dsn: str) -> None:
    """150 calls of one 4 MiB value: 600 MiB of requests, of which a few exist at a time."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(IN_BOUNDED_MEMORY), dsn],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150, f"{done.stdout} MiB"


# ---- time limits of what waits


@ASYNC
@pytest.mark.row("K03")
@pytest.mark.parametrize("what", ["fetch", "script", "stream", "batch"])
async def test_a_time_limit_counts_while_another_is_described(
    face: str, runner: Any, peer: Any, what: str
) -> None:
    at = peer([send(greeting()), expect(DESCRIBE), stall], lenient=True)
    db = await open_at(face, at.where)
    first = db.fetch_value("select $1::int4", 1)

    async def batch() -> None:
        async with db.batch(timeout=0.1) as several:
            several.execute("select $1::int4", 1)

    async def stream() -> None:
        async for _ in db.stream("select $1::int4", 1, timeout=0.1):
            pass

    calls: dict[str, Any] = {
        "fetch": lambda: db.fetch_value("select $1::int4", 1, timeout=0.1),
        "script": lambda: db.execute_script("select 1", timeout=0.1),
        "stream": stream,
        "batch": batch,
    }
    with pytest.raises(errors.QueryTimeout):
        await asyncio.wait_for(calls[what](), 10)
    assert not first.done()
    db.abort()
    assert isinstance(first.exception(), errors.ConnectionClosed)


# ---- a description that a neighbour's cancel hits


@ASYNC
@pytest.mark.row("P06")
@pytest.mark.parametrize("parsed", [False, True])
async def test_a_description_that_is_hit_is_asked_for_again(
    face: str, runner: Any, peer: Any, parsed: bool
) -> None:
    hit = (PARSED if parsed else b"") + error("57014") + ready()
    at = peer(
        [
            send(greeting()),
            expect(ONE_FLIGHT + DESCRIBE),
            wait(0.2),
            send(int4_answer(1) + hit),
            expect("C" + DESCRIBE),
            send(CLOSED + DESCRIBED),
            expect(AGAIN * 2),
            send(ANSWER * 2),
            until_end,
        ]
    )
    db = await open_at(face, at.where)
    slow = db.fetch_value("show 1")
    calls = [asyncio.ensure_future(db.fetch_value("select $1::int4", 1)) for _ in range(2)]
    await asyncio.sleep(0.05)
    slow.cancel()
    assert await asyncio.wait_for(asyncio.gather(*calls), 10) == [1, 1]
    db.abort()


@ASYNC
@pytest.mark.row("P06")
async def test_in_a_transaction_it_is_the_neighbours_fault(face: str, runner: Any, peer: Any) -> None:
    """The transaction has failed, so asking again would too: who waited is told whose cancel it was; nothing stays prepared."""
    at = peer(
        [
            send(greeting()[:-1] + b"T"),
            expect(ONE_FLIGHT + DESCRIBE),
            wait(0.2),
            send(int4_answer(1)[:-1] + b"T" + PARSED + error("57014") + ready("E")),
            expect("C" + DESCRIBE),
            send(CLOSED + DESCRIBED),
            expect(AGAIN),
            send(ANSWER),
            until_end,
        ]
    )
    db = await open_at(face, at.where)
    slow = db.fetch_value("show 1")
    call = asyncio.ensure_future(db.fetch_value("select $1::int4", 1))
    await asyncio.sleep(0.05)
    slow.cancel()
    with pytest.raises(errors.CancelledByNeighbour) as caught:
        await asyncio.wait_for(call, 10)
    assert isinstance(caught.value.__cause__, errors.QueryCanceled)
    assert await asyncio.wait_for(db.fetch_value("select $1::int4", 1), 10) == 1
    db.abort()


@ASYNC
@pytest.mark.row("P06", "Q12")
async def test_a_first_flight_that_is_hit_and_then_refused_is_parsed_anew(
    face: str, runner: Any, peer: Any
) -> None:
    """Its description is known from the first attempt, but the second one closed the statement and could not parse it."""
    described = PARSED + parameter_types(INT4) + text_columns(("a", INT4))
    at = peer(
        [
            send(greeting()),
            expect(ONE_FLIGHT * 2),
            wait(0.2),
            send(int4_answer(1) + described + BOUND + error("57014") + ready()),
            expect("C" + ONE_FLIGHT),
            send(CLOSED + error("42P01") + ready()),
            expect(DESCRIBE[:-1]),
            send(described),
            expect("BES"),
            send(BOUND + row(b"1") + complete("SELECT 1") + ready()),
            until_end,
        ]
    )
    db = await open_at(face, at.where)
    slow = db.fetch_value("show 1")
    call = asyncio.ensure_future(db.fetch_value("select f($1)", 1, types=TYPED))
    await asyncio.sleep(0.05)
    slow.cancel()
    with pytest.raises(errors.UndefinedTable):
        await asyncio.wait_for(call, 10)
    assert await asyncio.wait_for(db.fetch_value("select f($1)", 1, types=TYPED), 10) == 1
    db.abort()
