"""`stream()`: every row or an error, and the connection free again, however it is read and wherever it is left.

Semantics, section 5.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import re
import threading
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from fixtures.fix_script import (
    AGAIN,
    BOUND,
    CLOSED,
    INT4,
    PARSED,
    SUSPENDED,
    Line,
    answer,
    columns,
    complete,
    expect,
    greeting,
    ones,
    open_at,
    parameter_types,
    ready,
    row,
    send,
    wait,
)
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.pg]
ASYNC = pytest.mark.parametrize("face", ["async"])
BLOCKING = pytest.mark.parametrize("face", ["blocking"])

NUMBERS = "select n from generate_series(1, $1::int4) as n"
PATIENCE = 10.0
"""Seconds a call may take behind a stream that was left: it hangs for ever when the stream still holds the connection."""

_fresh = count()


def fresh(sql: str) -> str:
    """A text the connection has not seen: its first use takes another way than the second."""
    return f"{sql} -- {next(_fresh)}"


async def is_free(db: Any) -> None:
    """The connection answers, in step and outside a transaction."""
    assert await db.fetch_value("select 7", timeout=PATIENCE) == 7
    assert await db.fetch_value("select $1::int4", 8, timeout=PATIENCE) == 8
    assert db.transaction_status == "idle"


# ---- reading


@pytest.mark.row("P09")
@pytest.mark.parametrize("batch", [1, 7, 10, 100, 1_000_000])
async def test_every_row_in_order(db: Any, batch: int) -> None:
    for _ in range(2):
        assert [one.n async for one in db.stream(NUMBERS, 100, batch=batch)] == list(range(1, 101))
    await is_free(db)


@pytest.mark.row("P09")
@pytest.mark.parametrize(("rows", "sizes"), [(0, []), (10, [10]), (25, [10, 10, 5]), (30, [10, 10, 10])])
async def test_batches(db: Any, rows: int, sizes: list[int]) -> None:
    """At most `batch` rows each, an empty list at the end and ever after."""
    stream = db.stream(NUMBERS, rows, batch=10)
    got = []
    while batch := await stream.next_batch():
        got.append([one.n for one in batch])
    assert [len(one) for one in got] == sizes
    assert [n for one in got for n in one] == list(range(1, rows + 1))
    assert await stream.next_batch() == []
    assert [one async for one in stream] == []
    await is_free(db)


@pytest.mark.row("P09")
async def test_rows_and_batches_of_one_stream(db: Any) -> None:
    """A batch begun row by row goes on as a batch; an iteration left can be taken up again."""
    async with db.stream(NUMBERS, 20, batch=5, into=int) as stream:
        got = []
        async for n in stream:
            got.append(n)
            if n == 2:
                break
        got += await stream.next_batch()
        assert got == [1, 2, 3, 4, 5]
        got += [n async for n in stream]
    assert got == list(range(1, 21))
    await is_free(db)


@dataclasses.dataclass
class Number:
    n: int


@pytest.mark.row("P09")
async def test_into(db: Any) -> None:
    assert [one async for one in db.stream(NUMBERS, 3, into=int, batch=2)] == [1, 2, 3]
    assert [one async for one in db.stream(NUMBERS, 3, into=Number, batch=2)] == [
        Number(1),
        Number(2),
        Number(3),
    ]
    assert [one async for one in db.stream(NUMBERS, 3, into=lambda found: -found.n)] == [-1, -2, -3]
    assert [one async for one in db.stream("select $1", 3, types=["int4"])] == [(3,)]
    with pytest.raises(errors.ProgrammingError, match="into="):
        [one async for one in db.stream("select 1 as other", into=Number)]
    await is_free(db)


@pytest.mark.row("P09")
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select 1 where false", []),
        ("", []),
        ("-- nothing", []),
        ("select", [()]),
        ("set application_name = 'streamed'", []),
        ("show application_name", [("streamed",)]),
        ("create temp table made (n int4)", []),
        ("insert into made select generate_series(1, 3)", []),
        ("insert into made values (4) returning n", [(4,)]),
        ("update made set n = -n", []),
        ("table made order by n", [(-4,), (-3,), (-2,), (-1,)]),
        ("do $$ begin perform 1; end $$", []),
    ],
)
async def test_statements_of_every_kind(connect: Any, sql: str, expected: list[Any]) -> None:
    db = await connect()
    if "made" in sql and not sql.startswith("create"):
        await db.execute("create temp table made (n int4)")
        await db.execute(
            "insert into made values (1), (2), (3), (4)" if "table made" not in sql else "select 1"
        )
    if sql.startswith("show"):
        await db.execute("set application_name = 'streamed'")
    if sql.startswith("table"):
        await db.execute("insert into made select -generate_series(1, 4)")
    assert [one async for one in db.stream(sql, batch=2)] == expected
    await is_free(db)


@pytest.mark.row("P09")
async def test_huge_rows(db: Any) -> None:
    sizes = [
        len(one.x)
        async for one in db.stream(
            "select repeat('x', 5000000 + i) as x from generate_series(1, 8) i", batch=2
        )
    ]
    assert sizes == [5_000_000 + i for i in range(1, 9)]
    await is_free(db)


@pytest.mark.row("P05")
async def test_a_reader_that_rests_is_not_sent_more(
    connect: Any, proxy: Callable[..., Any], face: str
) -> None:
    """The batch being handed out, and at most two after it; who has read nothing of the second, only one."""
    relay = proxy()
    db = await connect(to=relay)
    await db.fetch_all(NUMBERS, 1)
    relay.forget()
    async with db.stream(NUMBERS, 100_000, batch=10) as stream:
        async for one in stream:
            assert one.n == 1
            break
        await (asyncio.sleep(0.2) if face == "async" else _rest(0.2))
        assert relay.sent.count("E") <= 2
        async for one in stream:
            if one.n == 100:
                break
        assert relay.sent.count("E") <= 12
    await is_free(db)


async def _rest(seconds: float) -> None:
    time.sleep(seconds)


@pytest.mark.row("P09")
@pytest.mark.parametrize("left", ["closed", "dropped"])
async def test_a_stream_that_is_left_lets_go_of_its_locks_at_once(
    db: Any, connect: Any, face: str, left: str
) -> None:
    """Not with the connection's next call, of which there may be none: who wants to alter the table would wait for it."""
    other = await connect()
    await db.execute_script(
        "drop table if exists streamed; create table streamed as select generate_series(1, 100) n"
    )
    for _ in range(2):
        stream = db.stream("select n from streamed", batch=5)
        async for one in stream:
            assert one.n <= 3
            if one.n == 3:
                break
        else:
            pytest.fail("no rows")
        # By now what had been asked for ahead is here: no answer to come will bring about that something is sent.
        await (asyncio.sleep(0.2) if face == "async" else _rest(0.2))
        if left == "closed":
            await stream.close()
        del stream
        gc.collect()
        await other.execute_script("begin; lock table streamed; commit", timeout=PATIENCE)
    await is_free(db)
    await other.execute("drop table streamed")


@pytest.mark.row("P09")
@pytest.mark.parametrize("batch", [0, 1_000_001, -1])
async def test_a_batch_has_a_size(db: Any, batch: int) -> None:
    with pytest.raises(errors.InterfaceError, match=f"batch={batch}: rows at a time"):
        db.stream("select 1", batch=batch)
    await is_free(db)


RETURNING = "insert into made select generate_series(1, $1::int4) returning n"
SURPLUS = [
    RETURNING,
    f"with made as ({RETURNING}) select n from made",
    "with made as (insert into made select generate_series(1, $1::int4)) select generate_series(1, $1::int4) as n",
    "update made set n = n from (select $1::int4) as x where n <= $1 returning n",
    "select n from made where n <= $1::int4 order by n for update",
    NUMBERS,
]
"""Of every kind of portal that has rows: ONE_SELECT, ONE_RETURNING and ONE_MOD_WITH, as the server calls them."""


@pytest.mark.row("P09")
@pytest.mark.parametrize("within", [True, False], ids=["within", "alone"])
@pytest.mark.parametrize("sql", SURPLUS, ids=range(len(SURPLUS)))
async def test_asking_behind_the_last_row_changes_nothing(
    connect: Any, proxy: Callable[..., Any], sql: str, within: bool
) -> None:
    """A portal at its end is asked once more, for that was written before its end was known."""
    relay = proxy()
    db = await connect(to=relay)
    await db.execute("create temp table made (n int4)")
    rows, batch, surplus = 11, 2, False
    for _ in range(20):
        await db.execute("truncate made")
        await db.execute("insert into made select generate_series(1, 11)")
        if within:
            await db.execute("begin")
        relay.forget()
        got = [one.n async for one in db.stream(sql, rows, batch=batch)]
        executed = relay.sent.count("E")
        if within:
            await db.execute("commit")
        assert got == list(range(1, rows + 1))
        assert await db.fetch_value("select count(*) from made") == (22 if "insert" in sql else 11)
        await is_free(db)
        # Without it the sixth is the last; a description is not executed.
        surplus |= executed == 7
        assert executed in (6, 7)
    assert surplus


@pytest.mark.row("P09")
async def test_asking_behind_the_last_row_where_rules_rewrite(db: Any) -> None:
    """Several statements stand behind one of these portals; each of them runs once."""
    await db.execute_script(
        "create temp table made (n int4); create temp table noted (n int4);"
        "create rule also as on insert to made do also insert into noted values (new.n);"
        "create temp view shown as select n from made;"
        "create rule instead as on insert to shown do instead insert into made values (new.n) returning n"
    )
    for _ in range(10):
        for into in ("made", "shown"):
            sql = f"insert into {into} select generate_series(1, 11) returning n"
            assert [n async for n in db.stream(sql, batch=2, into=int)] == list(range(1, 12))
    assert await db.fetch_value("select count(*) from made") == 220
    assert await db.fetch_value("select count(*) from noted") == 220


@pytest.mark.row("P09")
@pytest.mark.parametrize(
    "sql",
    [
        "insert into made select generate_series(1, 11)",
        "update made set n = n",
        "set application_name = 'streamed'",
        "do $$ begin perform 1; end $$",
        "show application_name",
        "explain select 1",
        "execute many",
        "fetch all from cursor",
        "call called(1)",
        "",
    ],
)
async def test_only_portals_that_can_are_asked_ahead(
    connect: Any, proxy: Callable[..., Any], sql: str
) -> None:
    """A portal without rows refuses to run twice, and one of a utility command may change from run to run."""
    relay = proxy()
    db = await connect(to=relay)
    await db.execute_script(
        "create temp table made (n int4); prepare many as select generate_series(1, 11);"
        "create procedure pg_temp.called(inout x int4) language sql as 'select x'"
    )
    sql = sql.replace("called", "pg_temp.called")
    for _ in range(2):
        await db.execute("begin")
        await db.execute("declare cursor scroll cursor for select generate_series(1, 11)")
        relay.forget()
        rows = [one async for one in db.stream(sql, batch=2)]
        executed = relay.sent.count("E")
        assert executed == len(rows) // 2 + 1
        await db.execute("commit")
        await is_free(db)


@pytest.mark.row("P09")
async def test_a_failure_at_the_commit_behind_the_rows(connect: Any) -> None:
    """The portal came to its end, the statement did not: read to the end means that it holds."""
    db = await connect()
    await db.execute_script(
        "create temp table held (n int4 primary key); "
        "create temp table holds (n int4 references held deferrable initially deferred)"
    )
    sql = "insert into holds select generate_series(1, 11) returning n"
    got: list[int] = []
    for _ in range(3):
        got.clear()
        with pytest.raises(errors.class_for("23503")):
            async for n in db.stream(sql, batch=2, into=int):
                got.append(n)
        assert got == list(range(1, 12))
        await is_free(db)
    assert await db.fetch_value("select count(*) from holds") == 0


@pytest.mark.row("P09")
@pytest.mark.parametrize("within", [True, False], ids=["within", "alone"])
async def test_an_error_in_every_place(db: Any, within: bool) -> None:
    """Whichever of the batches asked for it comes in, those before it are whole."""
    for place in range(1, 26):
        if within:
            await db.execute("begin")
        got: list[int] = []
        with pytest.raises(errors.class_for("22012")):
            async for n in db.stream(
                "select n + 0 / ($1::int4 - n) from generate_series(1, 100) n", place, batch=4, into=int
            ):
                got.append(n)
        assert got == list(range(1, len(got) + 1))
        assert len(got) == (place - 1) // 4 * 4
        if within:
            assert db.transaction_status == "failed transaction"
            await db.execute("rollback")
        await is_free(db)


# ---- leaving


async def leave_by_break(stream: Any) -> None:
    async for _ in stream:
        break


async def leave_by_close(stream: Any) -> None:
    await stream.close()
    await stream.close()


async def leave_by_block(stream: Any) -> None:
    async with stream:
        pass


async def leave_by_exception(stream: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async with stream:
            raise ZeroDivisionError


async def leave_by_exception_between_rows(stream: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async with stream:
            async for _ in stream:
                raise ZeroDivisionError


async def leave_by_forgetting(stream: Any) -> None:
    del stream


async def leave_after_a_batch(stream: Any) -> None:
    assert len(await stream.next_batch()) == 3
    await stream.close()


LEAVINGS = [
    leave_by_break,
    leave_by_close,
    leave_by_block,
    leave_by_exception,
    leave_by_exception_between_rows,
    leave_by_forgetting,
    leave_after_a_batch,
]


@pytest.mark.row("P09")
@pytest.mark.parametrize("leave", LEAVINGS)
@pytest.mark.parametrize("rows", [3, 100_000])
@pytest.mark.parametrize("first", [True, False], ids=["first", "again"])
async def test_left_early(db: Any, leave: Any, rows: int, first: bool) -> None:
    """Also before anything was sent: on first use the stream still waits for its description."""
    sql = fresh("select i, repeat('x', 100) from generate_series(1, $1::int4) i")
    if not first:
        await db.fetch_all(sql, 1)
    for _ in range(2):
        await leave(db.stream(sql, rows, batch=3))
        await is_free(db)


@pytest.mark.row("P09")
@pytest.mark.parametrize("within", [True, False], ids=["within", "alone"])
async def test_left_at_every_row(db: Any, within: bool) -> None:
    """Whatever has been asked for by then comes and is let go; the connection answers at once."""
    sql = "insert into left_early select generate_series(1, 60) returning n"
    await db.execute("create temp table left_early (n int4)")
    for last in range(1, 40):
        await db.execute("truncate left_early")
        if within:
            await db.execute("begin")
        stream = db.stream(sql, batch=7, into=int)
        async for n in stream:
            if n == last:
                break
        if last % 2:
            await stream.close()
        del stream
        if within:
            assert await db.fetch_value("select 1", timeout=PATIENCE) == 1
            assert db.transaction_status == "in transaction"
            await db.execute("commit")
        await is_free(db)
        # The first Execute has made all of them.
        assert await db.fetch_value("select count(*) from left_early") == 60


@ASYNC
@pytest.mark.row("P09")
@pytest.mark.parametrize("leave", [leave_by_close, leave_by_block, leave_by_exception, leave_by_forgetting])
@pytest.mark.parametrize("first", [True, False], ids=["first", "again"])
async def test_left_behind_a_running_call(face: str, db: Any, leave: Any, first: bool) -> None:
    """It was never sent, and what waits behind it goes on."""
    sql = fresh("insert into pg_temp.never values ($1::int4)")
    await db.execute("create temp table never (n int4)")
    if not first:
        await db.execute(sql, 0)
        await db.execute("delete from never")
    slow = db.fetch_value("select pg_sleep(0.2) is null")
    stream = db.stream(sql, 1)
    behind = asyncio.ensure_future(_value(db))
    await asyncio.sleep(0)
    await leave(stream)
    del stream
    assert await slow is False
    assert await asyncio.wait_for(behind, PATIENCE) == 1
    assert await db.fetch_value("select count(*) from never", timeout=PATIENCE) == 0
    await is_free(db)


async def _value(db: Any) -> Any:
    return await db.fetch_value("select 1")


@BLOCKING
@pytest.mark.row("P09")
async def test_left_behind_a_forgotten_one(face: str, db: Any) -> None:
    """The first one's end has not been read when the second is closed, still unsent."""
    await db.fetch_all(NUMBERS, 1)
    for leave in (leave_by_close, leave_by_forgetting, leave_by_block):
        forgotten = db.stream(NUMBERS, 100_000, batch=50_000)
        del forgotten
        await leave(db.stream(NUMBERS, 10))
        await is_free(db)


@BLOCKING
@pytest.mark.row("P09")
async def test_break_ends_the_statement_at_once(face: str, connect: Any) -> None:
    """Not only with the connection's next call: until then its locks and snapshot would stay."""
    db, other = await connect(), await connect()
    await other.execute("drop table if exists streamed")
    await other.execute("create table streamed as select generate_series(1, 1000) as n")
    pid = db.backend_pid
    async for _ in db.stream("select n from streamed for update", batch=10):
        break
    until = time.monotonic() + PATIENCE
    while await other.fetch_value("select count(*) from pg_locks where pid = $1", pid):
        assert time.monotonic() < until, "the locks of the stream are still there"
    await other.execute("drop table streamed")
    await is_free(db)


@pytest.mark.row("P09")
async def test_inside_a_transaction(db: Any) -> None:
    await db.execute("begin")
    async for one in db.stream(NUMBERS, 1000, batch=10):
        if one.n == 3:
            break
    assert await db.fetch_value("select 1", timeout=PATIENCE) == 1
    assert db.transaction_status == "in transaction"
    await db.execute("commit")
    await is_free(db)


@pytest.mark.row("P09")
async def test_a_statement_that_is_not_kept_is_closed(connect: Any) -> None:
    """However the stream ends."""
    db = await connect(statement_cache_size=0)
    left = "select count(*) from pg_prepared_statements where statement like '%generate_series%'"
    for leave in (*LEAVINGS, _read_all):
        await leave(db.stream(NUMBERS, 1000, batch=3))
        await db.execute("select 1")  # until it is answered the stream may not have ended
        assert await db.fetch_value(_others(left)) == 0
    with pytest.raises(errors.class_for("22012")):
        await _read_all(db.stream("select 1 / (5 - n) from generate_series(1, 10) n", batch=2))
    await db.execute("select 1")
    assert await db.fetch_value(_others(left)) == 0


def _others(sql: str) -> str:
    return f"{sql} and statement not like '%pg_prepared_statements%'"


async def _read_all(stream: Any) -> None:
    async for _ in stream:
        pass


@pytest.mark.row("P09")
async def test_reading_on_after_close(db: Any) -> None:
    """What is missing is not an end."""
    stream = db.stream(NUMBERS, 100, batch=10)
    await stream.next_batch()
    await stream.close()
    with pytest.raises(errors.InterfaceError, match="closed"):
        await stream.next_batch()
    with pytest.raises(errors.InterfaceError, match="closed"):
        await _read_all(stream)
    whole = db.stream(NUMBERS, 3)
    await _read_all(whole)
    await whole.close()
    assert await whole.next_batch() == []
    await is_free(db)


# ---- several


@pytest.mark.row("P09")
async def test_one_after_the_other(db: Any) -> None:
    for _ in range(3):
        async for one in db.stream(NUMBERS, 1000, batch=10):
            if one.n == 15:
                break
        assert [one.n async for one in db.stream(NUMBERS, 5)] == [1, 2, 3, 4, 5]
    await is_free(db)


@pytest.mark.row("P05")
async def test_a_call_of_who_reads_raises_at_once(db: Any) -> None:
    """It would wait for itself."""
    async for one in db.stream(NUMBERS, 1000, batch=10):
        with pytest.raises(errors.InterfaceError, match="stream"):
            await db.fetch_value("select 1", timeout=PATIENCE)
        with pytest.raises(errors.InterfaceError, match="stream"):
            db.stream(NUMBERS, 1)
        if one.n == 15:
            break
    await is_free(db)


@pytest.mark.row("P05")
async def test_the_end_of_one_does_not_let_calls_into_the_next(db: Any) -> None:
    """The first one's last answer comes while the second is read."""
    for _ in range(5):
        async for _ in db.stream(NUMBERS, 1000, batch=10):
            break
        async for one in db.stream(NUMBERS, 30, batch=10):
            with pytest.raises(errors.InterfaceError, match="stream"):
                await db.fetch_value("select 1", timeout=PATIENCE)
            if one.n == 25:
                break
    await is_free(db)


@ASYNC
@pytest.mark.row("P05")
async def test_streams_of_two_tasks(face: str, db: Any) -> None:
    """The second waits; neither may ask anything else meanwhile."""
    opened, asked = asyncio.Event(), asyncio.Event()

    async def first() -> int:
        total = 0
        async for one in db.stream(NUMBERS, 30, batch=10):
            if one.n == 1:
                opened.set()
                await asked.wait()
            with pytest.raises(errors.InterfaceError, match="stream"):
                await db.fetch_value("select 1", timeout=PATIENCE)
            total += one.n
        await db.fetch_value("select 1", timeout=PATIENCE)
        return total

    async def second() -> int:
        await opened.wait()
        stream = db.stream(NUMBERS, 20, batch=10)
        asked.set()
        total = 0
        async for one in stream:
            with pytest.raises(errors.InterfaceError, match="stream"):
                await db.fetch_value("select 1", timeout=PATIENCE)
            total += one.n
        return total

    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(first(), second()) == [465, 210]
    await is_free(db)


@ASYNC
@pytest.mark.row("P05")
async def test_two_readers_of_one_stream(face: str, db: Any) -> None:
    """The one who came second is told; the first gets its rows."""
    stream = db.stream("select pg_sleep(0.2)::text, n from generate_series(1, 2) n", batch=1)

    async def read() -> Any:
        return await stream.next_batch()

    first = asyncio.create_task(read())
    await asyncio.sleep(0.05)
    for _ in range(2):
        with pytest.raises(errors.InterfaceError, match="two tasks"):
            await stream.next_batch()
    assert [one.n for one in await asyncio.wait_for(first, PATIENCE)] == [1]
    assert [one.n for one in await stream.next_batch()] == [2]
    assert await stream.next_batch() == []
    await is_free(db)


@BLOCKING
@pytest.mark.row("P05")
async def test_two_threads_read_one_stream(face: str, db: Any) -> None:
    """The one who came second is told; the first gets its rows."""
    stream = db.real.stream("select pg_sleep(0.5)::text, n from generate_series(1, 2) n", batch=1)
    got: list[Any] = []
    first = threading.Thread(target=lambda: got.append(stream.next_batch()))
    first.start()
    time.sleep(0.1)
    with pytest.raises(errors.InterfaceError, match="two threads"):
        stream.next_batch()
    first.join(PATIENCE)
    assert [one.n for one in got[0]] == [1]
    assert [one.n for one in stream] == [2]
    await is_free(db)


# ---- errors


@pytest.mark.row("P09")
async def test_an_error_in_the_middle(db: Any) -> None:
    """The rows before it are given, then it is raised, and raised again: nobody takes it for an end."""
    stream = db.stream("select 10 / (6 - n) as x from generate_series(1, 10) n", batch=2, into=int)
    got: list[int] = []
    with pytest.raises(errors.class_for("22012")):
        async for x in stream:
            got.append(x)
    assert got == [2, 2, 3, 5]
    with pytest.raises(errors.class_for("22012")):
        await stream.next_batch()
    await is_free(db)


@pytest.mark.row("P09")
@pytest.mark.parametrize(
    ("sql", "args", "kind"),
    [
        ("selekt 1", (), errors.class_for("42601")),
        ("select * from nowhere", (), errors.class_for("42P01")),
        ("select 1 / 0", (), errors.class_for("22012")),
        ("select $1::int4", (), errors.InterfaceError),
        ("select $1::int4", (1, 2), errors.InterfaceError),
        ("select $1::int4", ("one",), errors.DataError),
    ],
)
async def test_errors_at_the_beginning(
    db: Any, sql: str, args: tuple[Any, ...], kind: type[Exception]
) -> None:
    """Raised where the first row is asked for, or before."""
    for _ in range(2):
        with pytest.raises(kind):
            await _read_all(db.stream(sql, *args))
        await is_free(db)


@pytest.mark.row("P09")
async def test_a_row_that_cannot_be_built_ends_the_statement(connect: Any, proxy: Callable[..., Any]) -> None:
    """It is not read to its end first: that may be far away."""

    def picky(found: Any) -> int:
        if found.n == 25:
            raise ZeroDivisionError("mine")
        return found.n  # type: ignore[no-any-return]

    relay = proxy()
    db = await connect(to=relay)
    await db.fetch_all(NUMBERS, 1)
    relay.forget()
    got: list[int] = []
    with pytest.raises(ZeroDivisionError, match="mine"):
        async for n in db.stream(NUMBERS, 20_000, into=picky, batch=10):
            got.append(n)
    assert got == list(range(1, 25))
    assert relay.sent.count("E") <= 4
    await is_free(db)


@pytest.mark.row("S05")
async def test_closed_connections(connect: Any) -> None:
    db, other = await connect(), await connect()
    await db.fetch_all(NUMBERS, 1)
    stream = db.stream("select repeat('x', 1000), pg_sleep(0.001) from generate_series(1, 100000)", batch=10)
    await stream.next_batch()
    await other.execute("select pg_terminate_backend($1)", db.backend_pid)
    with pytest.raises(errors.Error, match="terminating connection"):
        await _read_all(stream)
    with pytest.raises(errors.Error):
        await stream.next_batch()
    await stream.close()
    with pytest.raises(errors.ConnectionClosed):
        await _read_all(db.stream(NUMBERS, 1))

    db = await connect()
    stream = db.stream(NUMBERS, 100_000, batch=10)
    await stream.next_batch()
    db.abort()
    with pytest.raises(errors.ConnectionClosed):
        await _read_all(stream)
    await stream.close()


@pytest.mark.row("P09", "R05")
@pytest.mark.parametrize("rows", [1, 100])
async def test_a_row_that_ends_the_connection(db: Any, rows: int) -> None:
    """The reader is told, and so is whoever calls later: no stream is open any more."""

    class Ending:
        def __init__(self, n: int) -> None:
            db.abort()

    with pytest.raises(errors.ConnectionClosed):
        await _read_all(db.stream(NUMBERS, rows, into=Ending, batch=10))
    with pytest.raises(errors.ConnectionClosed):
        await db.fetch_value("select 1")


@pytest.mark.row("P09")
async def test_a_connection_closed_under_a_stream(connect: Any) -> None:
    db = await connect()
    stream = db.stream(NUMBERS, 100_000, batch=10)
    await stream.next_batch()
    await stream.close()
    await db.close()
    with pytest.raises(errors.ConnectionClosed):
        db.stream(NUMBERS, 1)


# ---- time limits


@pytest.mark.row("K03")
async def test_timeout_while_reading(db: Any) -> None:
    stream = db.stream(
        "select pg_sleep(0.1) is null, n from generate_series(1, 1000) n", batch=1, timeout=0.5
    )
    got = 0
    with pytest.raises(errors.QueryTimeout, match=r"0\.5 s"):
        async for _ in stream:
            got += 1
    assert got < 100
    with pytest.raises(errors.QueryTimeout):
        await stream.next_batch()
    await is_free(db)


@pytest.mark.row("K03")
async def test_timeout_while_data_flows(db: Any) -> None:
    """Rows that never cease to come do not put it off."""
    with pytest.raises(errors.QueryTimeout):
        await _read_all(db.stream("select generate_series(1, 1000000000)", timeout=0.5))
    await is_free(db)


@ASYNC
@pytest.mark.row("K03")
@pytest.mark.parametrize("first", [True, False], ids=["first", "again"])
async def test_timeout_before_its_turn(face: str, db: Any, first: bool) -> None:
    """Behind another call, described or not, it times out while that call still runs."""
    sql = fresh(NUMBERS)
    if not first:
        await db.fetch_all(sql, 1)
    slow = asyncio.ensure_future(db.fetch_value("select pg_sleep(3)"))
    await asyncio.sleep(0.05)
    stream = db.stream(sql, 1, timeout=0.2)
    with pytest.raises(errors.QueryTimeout):
        await stream.next_batch()
    assert not slow.done()
    slow.cancel()
    await is_free(db)


@pytest.mark.row("K04")
async def test_command_timeout_and_none(connect: Any) -> None:
    """Infinity is no limit, whatever the connection's default."""
    db = await connect(command_timeout=0.3)
    sql = "select pg_sleep(0.1) is null from generate_series(1, 6)"
    with pytest.raises(errors.QueryTimeout):
        await _read_all(db.stream(sql, batch=1))
    await is_free(db)
    assert len([one async for one in db.stream(sql, batch=1, timeout=float("inf"))]) == 6
    assert len([one async for one in db.stream(sql, batch=1, timeout=30)]) == 6
    await is_free(db)


# ---- cancelling


@ASYNC
@pytest.mark.row("K01")
async def test_a_cancelled_read_is_no_end(face: str, db: Any) -> None:
    """It gives up the statement; whoever reads on is told, as often as he tries."""
    stream = db.stream("select pg_sleep(0.3) is null, n from generate_series(1, 3) n", batch=1)
    for _ in range(2):
        with pytest.raises((TimeoutError, errors.InterfaceError)):
            await asyncio.wait_for(stream.next_batch(), 0.05)
    for _ in range(2):
        with pytest.raises(errors.InterfaceError, match="cancelled"):
            await stream.next_batch()
        with pytest.raises(errors.InterfaceError, match="cancelled"):
            await _read_all(stream)
    await is_free(db)
    with pytest.raises(errors.InterfaceError, match="cancelled"):
        await stream.next_batch()
    await stream.close()
    await is_free(db)


@ASYNC
@pytest.mark.row("K01")
async def test_cancelled_before_its_turn(face: str, db: Any) -> None:
    slow = db.fetch_value("select pg_sleep(0.3) is null")
    stream = db.stream(fresh(NUMBERS), 3)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stream.next_batch(), 0.05)
    with pytest.raises(errors.InterfaceError, match="cancelled"):
        await stream.next_batch()
    assert await slow is False
    with pytest.raises(errors.InterfaceError, match="cancelled"):
        await stream.next_batch()
    await is_free(db)


@ASYNC
@pytest.mark.row("K01")
async def test_a_read_that_was_dropped_does_not_block_the_next(face: str, db: Any) -> None:
    """As a coroutine may be that is closed while it waits."""
    stream = db.stream("select pg_sleep(0.1) is null, n from generate_series(1, 3) n", batch=1)
    step = stream.next_batch()
    step.send(None)
    step.close()
    assert [one.n async for one in stream] == [1, 2, 3]
    await is_free(db)


@ASYNC
@pytest.mark.row("K01")
@pytest.mark.parametrize("first", [True, False], ids=["first", "again"])
async def test_cancelled_at_every_point(face: str, db: Any, first: bool) -> None:
    """After each number of turns of the loop, and at odd moments between."""
    sql = "select i, repeat('x', 200) from generate_series(1, $1::int4) i"

    async def read(text: str) -> int:
        got = 0
        async with db.stream(text, 2_000, batch=100) as stream:
            async for one in stream:
                got += 1
                assert one.i == got
        return got

    for turns in range(60):
        text = fresh(sql) if first else sql
        task = asyncio.create_task(read(text))
        for _ in range(turns):
            await asyncio.sleep(0 if turns % 3 else 0.0002)
        task.cancel()
        try:
            assert await asyncio.wait_for(task, PATIENCE) == 2_000
        except asyncio.CancelledError:
            pass
        assert await db.fetch_value("select $1::int4", turns, timeout=PATIENCE) == turns
    await is_free(db)


@ASYNC
@pytest.mark.row("K01")
async def test_a_cancelled_task_stops_the_server(face: str, db: Any) -> None:
    async def read() -> None:
        async for _ in db.stream("select pg_sleep(100)"):
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await is_free(db)


@ASYNC
async def test_dropped_in_a_cycle(face: str, db: Any) -> None:
    stream = db.stream(NUMBERS, 1000, batch=10)
    await stream.next_batch()
    cycle: list[Any] = [stream]
    cycle.append(cycle)
    del stream, cycle
    gc.collect()
    await is_free(db)


# ---- exact moments, by a scripted peer


def described() -> list[Any]:
    """The conversation that describes NUMBERS."""
    return [expect("PDS"), send(PARSED + parameter_types(INT4) + columns(("n", INT4)) + ready())]


def numbers(*values: int) -> bytes:
    return b"".join(row(value.to_bytes(4)) for value in values)


def portal(*batches: bytes, hold: float = 0.0) -> Callable[[Line], None]:
    """Answers each Execute with the next batch, after `hold` seconds, then as a portal that has none; until Sync."""

    def step(line: Line) -> None:
        left = list(batches)
        while (kind := line.next()) != "S":
            if kind == "E":
                time.sleep(hold)
                line.send(left.pop(0) if left else complete("SELECT 0"))
            elif kind in "BC":
                line.send(BOUND if kind == "B" else CLOSED)
        line.send(ready())

    return step


FIVE = (numbers(1, 2) + SUSPENDED, numbers(3, 4) + SUSPENDED, numbers(5) + complete("SELECT 5"))


@pytest.mark.row("P09")
async def test_the_conversation(face: str, runner: Any, peer: Any) -> None:
    """Batch n+1 is asked for before batch n is handed out, n+2 too if batches come quickly; Sync comes last."""
    there = peer([send(greeting()), *described(), portal(*FIVE), answer(ones)])
    db = await open_at(face, there.where)
    assert [one.n async for one in db.stream(NUMBERS, 5, batch=2)] == [1, 2, 3, 4, 5]
    assert await db.fetch_value("select 1") == 1
    said = there.lines[0].seen.removeprefix("PDS")
    assert re.match(r"BEH(EH){2,3}CSP", said), said
    await db.close()


@pytest.mark.row("P09")
async def test_slow_batches_are_asked_for_one_by_one(face: str, runner: Any, peer: Any) -> None:
    """Who closed the stream would wait for both."""
    there = peer([send(greeting()), *described(), portal(*FIVE, hold=0.03), answer(ones)])
    db = await open_at(face, there.where)
    assert [one.n async for one in db.stream(NUMBERS, 5, batch=2)] == [1, 2, 3, 4, 5]
    assert await db.fetch_value("select 1") == 1
    assert re.match(r"BEHEHEHCSP", there.lines[0].seen.removeprefix("PDS"))
    await db.close()


@pytest.mark.row("P09")
async def test_two_batches_are_asked_for_while_they_come_quickly(face: str, runner: Any, peer: Any) -> None:
    """The third is asked for while the server is still silent about the second, once the first has been read."""
    silent: list[bool] = []

    def keeps_silent(line: Line) -> None:
        expect("BEH")(line)
        line.send(BOUND + FIVE[0])
        expect("EH")(line)
        line.sock.settimeout(1)
        try:
            silent.append(line.next() + line.next() == "EH")
        except TimeoutError:
            silent.append(False)
        line.sock.settimeout(PATIENCE)
        line.send(FIVE[1] + FIVE[2] * silent[-1])
        portal(*FIVE[2:] * (not silent[-1]))(line)

    # Where this process was held up while the first batch came, that was not quick: then once more.
    for _ in range(20):
        db = await open_at(face, peer([send(greeting()), *described(), keeps_silent, answer(ones)]).where)
        assert [one.n async for one in db.stream(NUMBERS, 5, batch=2)] == [1, 2, 3, 4, 5]
        assert await db.fetch_value("select 1") == 1
        await db.close()
        if silent[-1]:
            break
    assert silent[-1]


@pytest.mark.row("P09")
async def test_closed_before_its_rows_come(face: str, runner: Any, peer: Any) -> None:
    """The portal's end is written once, whatever comes in between."""
    script = [
        send(greeting()),
        *described(),
        expect("BEH"),
        expect("CS"),
        wait(0.1),
        send(BOUND + numbers(1, 2) + SUSPENDED + CLOSED + ready()),
        expect("PDS"),
        send(PARSED + parameter_types() + columns(("a", INT4)) + ready()),
        expect(AGAIN),
        send(BOUND + numbers(1) + complete("SELECT 1") + ready()),
        answer(ones),
    ]
    db = await open_at(face, peer(script).where)
    stream = db.stream(NUMBERS, 5, batch=2)
    if face == "async":
        await asyncio.sleep(0.1)
    await stream.close()
    assert await db.fetch_value("select 1", timeout=PATIENCE) == 1
    await db.close()


# ---- COPY moves data by other verbs


@pytest.mark.row("Y05")
@pytest.mark.parametrize("cache", [100, 0], ids=["kept", "once"])
@pytest.mark.parametrize("sql", ["copy pg_temp.target from stdin", "copy pg_temp.target to stdout"])
async def test_copy_is_refused_everywhere(connect: Any, sql: str, cache: int) -> None:
    """Never a connection lost, nor a neighbour."""
    db = await connect(statement_cache_size=cache)
    pid = db.backend_pid
    await db.execute("create temp table target (n int4)")
    verb = "copy_in" if "stdin" in sql else "copy_out"
    for _ in range(2):
        with pytest.raises(errors.ProgrammingError, match=verb):
            await db.execute(sql)
        await is_free(db)
        with pytest.raises(errors.ProgrammingError, match=verb):
            await db.fetch_all(sql)
        await is_free(db)
        with pytest.raises(errors.InterfaceError, match=r"copy_in\(\)"):
            await _read_all(db.stream(sql))
        await is_free(db)
        with pytest.raises(errors.InterfaceError, match=r"copy_in\(\)"):
            await db.execute_many(sql, [()], timeout=PATIENCE)
        await is_free(db)
        with pytest.raises(errors.InterfaceError, match="last statement of its batch"):
            async with db.batch(timeout=PATIENCE) as batch:
                batch.fetch_value("select 1")
                batch.execute(sql)
                batch.fetch_value("select 2")
        await is_free(db)
    assert await db.fetch_value(
        _others("select count(*) from pg_prepared_statements where statement like 'copy %'")
    ) == (0 if not cache else 1)
    assert db.backend_pid == pid
    assert not db.closed


@ASYNC
@pytest.mark.row("Y05")
async def test_copy_disturbs_no_neighbour(face: str, db: Any) -> None:
    await db.execute("create temp table target (n int4)")
    calls = [
        db.fetch_value("select 1"),
        db.execute("copy target from stdin"),
        db.fetch_value("select 2"),
        db.execute(fresh("copy target from stdin")),
        db.fetch_value("select 3"),
    ]
    got = await asyncio.gather(*calls, return_exceptions=True)
    assert [one for one in got if not isinstance(one, errors.ProgrammingError)] == [1, 2, 3]
    await is_free(db)


def test_what_a_stream_is() -> None:
    """One class for both faces, not to be made by hand."""
    with pytest.raises(TypeError):
        pgoxide._core.Stream()


@pytest.mark.row("P10")
async def test_batches_of_rows(db):
    """Lists of a thousand rows, the last one shorter, then an empty one; rows and batches may be mixed."""
    stream = db.stream("select n from generate_series(1, 3500) as n", batch=1000, into=int)
    sizes = []
    while batch := await stream.next_batch():
        sizes.append(len(batch))
        assert isinstance(batch, list)
    assert sizes == [1000, 1000, 1000, 500]
    assert await stream.next_batch() == []
    mixed = db.stream("select n from generate_series(1, 10) as n", batch=4, into=int)
    assert await mixed.__anext__() == 1
    assert await mixed.next_batch() == [2, 3, 4]
    assert await mixed.next_batch() == [5, 6, 7, 8]
    assert [n async for n in mixed] == [9, 10]
