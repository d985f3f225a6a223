"""COPY in and execute_many: all or nothing, lazily pulled, the connection in step afterwards."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from fixtures.fix_script import (
    BOUND,
    ONE_FLIGHT,
    PARSED,
    TEXT,
    answer,
    complete,
    error,
    expect,
    greeting,
    message,
    ones,
    open_at,
    parameter_types,
    ready,
    row,
    send,
    text_columns,
    wait,
)
from pgoxide.errors import (
    DataError,
    InterfaceError,
    ProgrammingError,
    QueryTimeout,
    UndefinedTable,
    UniqueViolation,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]
ASYNC = pytest.mark.parametrize("face", ["async"])

NOON = dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)


async def table(db: Any) -> None:
    await db.execute(
        "create temp table c (a int4 unique, b text, t timestamptz, g int4 generated always as (a + 1) stored)"
    )


@pytest.mark.row("Y02")
@pytest.mark.parametrize(
    "records",
    [
        [(1, "x", NOON), (2, None, None)],
        [[1, "x", NOON], [2, None, None]],
        [{"b": "x", "a": 1, "t": NOON}, {"a": 2, "b": None, "t": None}],
        [SimpleNamespace(a=1, b="x", t=NOON), SimpleNamespace(a=2, b=None, t=None)],
    ],
    ids=["tuples", "lists", "dicts", "objects"],
)
async def test_records_of_every_shape(db: Any, records: list[Any]) -> None:
    await table(db)
    tag = await db.copy_in("c", records)
    assert (tag.text, tag.rows_affected) == ("COPY 2", 2)
    assert await db.fetch_all("select * from c order by a") == [(1, "x", NOON, 2), (2, None, None, 3)]


@pytest.mark.row("Y02")
async def test_chosen_columns_and_a_condition(db: Any) -> None:
    await table(db)
    tag = await db.copy_in("c", (("x", n) for n in range(10)), columns=["b", "a"], where="a >= 7")
    assert tag.rows_affected == 3
    assert await db.fetch_column("select a from c order by a") == [7, 8, 9]
    with pytest.raises(ProgrammingError, match="no column nope"):
        await db.copy_in("c", [], columns=["nope"])
    with pytest.raises(UndefinedTable):
        await db.copy_in("not_there", [])


@pytest.mark.row("Y05")
async def test_an_exception_of_the_source_comes_out_and_nothing_was_loaded(db: Any) -> None:
    await table(db)

    def source() -> Iterator[tuple[int, str, None]]:
        for n in range(20_000):
            yield n, "x", None
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        await db.copy_in("c", source())
    assert await db.fetch_value("select count(*) from c") == 0


@pytest.mark.row("Y05")
async def test_a_bad_value_names_record_and_column(db: Any) -> None:
    await table(db)
    with pytest.raises(DataError, match=r"record 10000: column a \(int4\)"):
        await db.copy_in("c", ((n if n != 10_000 else "bad", "x", None) for n in range(20_000)))
    assert await db.fetch_value("select count(*) from c") == 0


@pytest.mark.row("Y05")
async def test_the_servers_refusal_stops_the_source(db: Any) -> None:
    await table(db)
    taken = 0

    def source() -> Iterator[tuple[int, str, None]]:
        nonlocal taken
        for n in range(3_000_000):
            taken += 1
            if n % 1_000 == 0:
                # The server keeps up, so no send ever waits: the answer must be looked for all the same. And by 200 000
                # it has been given, however slow the machine.
                time.sleep(0.2 if n == 200_000 else 0.001)
            yield (n if n != 1_000 else 5), "x", None

    with pytest.raises(UniqueViolation):
        await db.copy_in("c", source())
    assert taken < 250_000
    assert await db.fetch_value("select count(*) from c") == 0


@ASYNC
@pytest.mark.row("Y05")
async def test_the_servers_refusal_stops_an_asynchronous_source(db: Any) -> None:
    """One that never waits: nothing but the feeding itself gives the loop a turn in which the answer can be read."""
    await table(db)
    taken = 0

    async def source() -> AsyncIterator[tuple[int, str, None]]:
        nonlocal taken
        for n in range(1_000_000):
            taken += 1
            if n % 1_000 == 0:
                time.sleep(0.2 if n == 200_000 else 0.001)
            yield (n if n != 1_000 else 5), "x", None

    with pytest.raises(UniqueViolation):
        await db.copy_in("c", source())
    assert taken < 250_000
    assert await db.fetch_value("select count(*) from c") == 0


@pytest.mark.row("Q22")
async def test_execute_many_is_lazy_and_counts(db: Any) -> None:
    await table(db)
    tag = await db.execute_many("insert into c values ($1, $2)", ((n, str(n)) for n in range(10_000)))
    assert tag.rows_affected == 10_000
    assert await db.fetch_one("select count(*), sum(a) from c") == (10_000, sum(range(10_000)))
    assert (await db.execute_many("insert into c values ($1, $2)", [])).rows_affected == 0


@pytest.mark.row("Q22")
async def test_execute_many_is_all_or_nothing(db: Any) -> None:
    await table(db)
    with pytest.raises(UniqueViolation):
        await db.execute_many("insert into c(a) values ($1)", ((n % 5_000,) for n in range(9_000)))
    assert await db.fetch_value("select count(*) from c") == 0

    def source() -> Iterator[tuple[int]]:
        yield from ((n,) for n in range(5_000))
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError):
        await db.execute_many("insert into c(a) values ($1)", source())
    with pytest.raises(DataError, match="record 1"):
        await db.execute_many("insert into c(a) values ($1)", [(1,), ("x",)])
    with pytest.raises(DataError, match="record 0: the statement takes 1 parameter"):
        await db.execute_many("insert into c(a) values ($1)", [(1, 2)])
    assert await db.fetch_value("select count(*) from c") == 0


@pytest.mark.row("Y02", "Q22", "Y05")
@pytest.mark.parametrize("face", ["async"])
@pytest.mark.parametrize("verb", ["copy_in", "execute_many"])
async def test_an_asynchronous_source(db: Any, verb: str) -> None:
    """As any other: complete, lazy, all or nothing, and its own exception comes out."""
    await table(db)
    taken = 0

    async def source(
        count: int, fails: BaseException | None = None, bad: object = None
    ) -> AsyncIterator[Any]:
        nonlocal taken
        for n in range(count):
            taken += 1
            yield (n, "x")
            if n % 100 == 0:
                await asyncio.sleep(0)
        if bad is not None:
            yield (bad, "x")
            yield (count, "x")
        if fails is not None:
            raise fails

    async def call(records: AsyncIterator[Any]) -> Any:
        if verb == "copy_in":
            return await db.copy_in("c", records, columns=["a", "b"])
        return await db.execute_many("insert into c values ($1, $2)", records)

    assert (await call(source(3_333))).rows_affected == 3_333
    assert (await call(source(0))).rows_affected == 0
    assert await db.fetch_one("select count(*), sum(a) from c") == (3_333, sum(range(3_333)))
    await db.execute("truncate c")
    with pytest.raises(ZeroDivisionError, match="mine"):
        await call(source(3_333, ZeroDivisionError("mine")))
    with pytest.raises(DataError, match="record 777"):
        await call(source(777, bad="not a number"))
    await db.execute("insert into c values (5)")
    taken = 0
    with pytest.raises(UniqueViolation):
        await call(source(2_000_000))
    assert taken < 1_000_000
    assert await db.fetch_column("select a from c") == [5]
    assert db.transaction_status == "idle"


@pytest.mark.row("Y05")
@pytest.mark.parametrize("cache", [256, 0])
async def test_copy_through_another_verb_is_refused_and_the_session_lives(connect: Any, cache: int) -> None:
    """Whatever is behind a COPY FROM STDIN in its flight the server takes for data, or for the end of the session."""
    db = await connect(statement_cache_size=cache)
    pid = db.backend_pid
    await table(db)
    sql = "copy c (a) from stdin"

    async def in_a_batch(*statements: str) -> None:
        async with db.batch() as batch:
            for statement in statements:
                batch.execute(statement)

    async def streamed() -> None:
        db.stream(sql)

    calls = [
        (lambda: db.execute(sql), ProgrammingError),
        (lambda: db.fetch_all(sql), ProgrammingError),
        (lambda: db.execute_script(f"{sql}; select 1"), ProgrammingError),
        (lambda: in_a_batch("select 1", sql), ProgrammingError),
        (lambda: in_a_batch(sql, "select 1"), InterfaceError),
        (streamed, InterfaceError),
        (lambda: db.execute_many(sql, [(), ()]), InterfaceError),
    ]
    for _ in range(2):
        for call, kind in calls:
            with pytest.raises(kind, match=r"copy_in|last statement of its batch"):
                await call()
            assert await db.fetch_value("select $1::int4", 1) == 1
    assert db.backend_pid == pid
    assert db.transaction_status == "idle"
    if cache == 0:  # not kept means closed, though not in the flight itself
        assert await db.fetch_value("select count(*) from pg_prepared_statements") <= 1
    assert (await db.copy_in("c", [(1, "x", None)])).rows_affected == 1


@pytest.mark.row("Y05")
@pytest.mark.parametrize("face", ["async"])
async def test_what_is_called_behind_such_a_batch_is_not_taken_for_data(db: Any) -> None:
    await table(db)
    await db.fetch_value("select $1::int4", 0)

    async def copying() -> None:
        async with db.batch() as batch:
            batch.execute("select 1")
            batch.execute("copy c (a) from stdin")

    calls = [copying(), *(db.fetch_value("select $1::int4", number) for number in range(5))]
    got = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(got[0], ProgrammingError)
    assert got[1:] == list(range(5))


@pytest.mark.row("Y02")
async def test_copy_on_the_server_runs_as_any_statement(db: Any) -> None:
    """COPY to and from a program needs nothing of the client, in every verb that may hold it."""
    await table(db)
    tag = await db.execute("copy c (a) from program 'printf \"1\\n2\\n\"'")
    assert (tag.text, tag.rows_affected) == ("COPY 2", 2)
    async with db.batch() as batch:
        batch.execute("select 1")
        copied = batch.execute("copy c (a) to program 'cat > /dev/null'")
    assert copied.result().rows_affected == 2


# ---- giving up


@pytest.fixture
def locked(server: Any) -> Iterator[pgoxide.Connection]:
    """A session that keeps everybody off the table `locked` until it rolls back, half a minute at most."""
    with pgoxide.Connection.connect(server.config()) as other:
        other.execute_script("drop table if exists locked; create table locked (a int4)")
        other.execute_script("begin; lock table locked in access exclusive mode")
        timer = threading.Timer(30, other.abort)
        timer.start()
        yield other
        timer.cancel()
        timer.join()
        other.execute_script("rollback; drop table locked")


@pytest.mark.row("Y05")
async def test_copy_that_waits_for_a_lock_times_out(db: Any, locked: pgoxide.Connection) -> None:
    """The server is told to stop waiting; the connection goes on."""
    pid = db.backend_pid
    with pytest.raises(QueryTimeout, match=r"0\.3 s"):
        await db.copy_in("locked", [(1,)], timeout=0.3)
    assert await db.fetch_value("select 1", timeout=10) == 1
    assert db.backend_pid == pid
    assert not db.closed


@pytest.mark.row("Y05", "K03")
async def test_execute_many_is_described_within_its_time(db: Any, locked: pgoxide.Connection) -> None:
    """The server describes an insert once it has the table."""
    with pytest.raises(QueryTimeout, match=r"0\.3 s"):
        await db.execute_many("insert into locked values ($1)", [(1,)], timeout=0.3)
    locked.execute("rollback")
    assert await db.fetch_value("select 1", timeout=10) == 1


@pytest.mark.row("Y05")
@pytest.mark.parametrize("why", ["timeout", "source"])
async def test_what_was_fed_and_not_run_is_cancelled(db: Any, why: str) -> None:
    """Thousands of runs have been written; none of them stays, and the connection is free at once."""
    pid = db.backend_pid
    await db.execute("create temp table slow (n int4)")

    def source() -> Iterator[tuple[int]]:
        yield from ((n,) for n in range(3_000))
        if why == "source":
            raise ZeroDivisionError
        yield from ((n,) for n in range(100_000))

    kind, limit = (QueryTimeout, 0.5) if why == "timeout" else (ZeroDivisionError, None)
    with pytest.raises(kind):
        await db.execute_many("insert into slow select $1 from pg_sleep(0.05)", source(), timeout=limit)
    assert await db.fetch_value("select count(*) from slow", timeout=20) == 0
    assert db.backend_pid == pid


@ASYNC
@pytest.mark.row("Y05")
async def test_a_cancelled_task_that_feeds(face: str, db: Any) -> None:
    await table(db)
    pid = db.backend_pid

    async def source() -> Any:
        for n in range(100_000):
            yield n, "x", None
            if n % 1_000 == 999:
                await asyncio.sleep(0.01)

    for turns in (0, 1, 2, 3, 5, 8, 13, 100):
        for call in (
            db.copy_in("c", source()),
            db.execute_many("insert into c(a, b, t) values ($1, $2, $3)", source()),
        ):
            task = asyncio.create_task(call)
            for _ in range(turns):
                await asyncio.sleep(0)
            if turns == 100:
                await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await db.fetch_value("select count(*) from c", timeout=20) == 0
    assert db.backend_pid == pid


def columns_of_a_table() -> bytes:
    """The answer to what `copy_in` asks the catalogue."""
    shape = PARSED + parameter_types(TEXT) + text_columns(("attname", TEXT), ("type", 26))
    return shape + BOUND + row(b"a", b"23") + complete("SELECT 1") + ready()


COPY_FLIGHT = "PDPBEH"
"""A COPY behind a question for its columns, without a Sync."""

COPY_IN = PARSED + parameter_types() + text_columns(("a", 23)) + PARSED + BOUND + message("G", b"\1\0\1\0\1")


@pytest.mark.row("Y05")
async def test_given_up_while_copy_begins(face: str, runner: Any, peer: Any) -> None:
    """The server begins to wait for data nobody will send: it is told so."""
    script = [
        send(greeting()),
        expect(ONE_FLIGHT),
        send(columns_of_a_table()),
        expect(COPY_FLIGHT),
        wait(0.5),
        expect("S"),
        send(COPY_IN),
        expect("fS"),
        send(error("57014") + ready()),
        answer(ones),
    ]
    db = await open_at(face, peer(script).where)
    with pytest.raises(QueryTimeout):
        await db.copy_in("t", [(1,)], timeout=0.2)
    assert await db.fetch_value("select 1", timeout=10) == 1
    await db.close()


@pytest.mark.row("Y05", "K03")
async def test_one_limit_over_all_steps(face: str, runner: Any, peer: Any) -> None:
    """What the catalogue took is not given to the COPY once more."""
    script = [
        send(greeting()),
        expect(ONE_FLIGHT),
        wait(0.6),
        send(columns_of_a_table()),
        expect(COPY_FLIGHT),
        wait(0.8),
        expect("S"),
        send(COPY_IN),
        expect("fS"),
        send(error("57014") + ready()),
        answer(ones),
    ]
    db = await open_at(face, peer(script, lenient=True).where)
    with pytest.raises(QueryTimeout, match=r"within 1\.0 s"):
        await db.copy_in("t", [(1,)], timeout=1.0)
    assert await db.fetch_value("select 1", timeout=10) == 1
    await db.close()


@pytest.mark.row("Y05", "K03")
async def test_the_catalogue_is_asked_within_the_limit(face: str, runner: Any, peer: Any) -> None:
    at = peer([send(greeting()), expect(ONE_FLIGHT), wait(0.6), send(columns_of_a_table()), answer(ones)])
    db = await open_at(face, at.where)
    with pytest.raises(QueryTimeout, match=r"within 0\.2 s"):
        await db.copy_in("t", [(1,)], timeout=0.2)
    assert await db.fetch_value("select 1", timeout=10) == 1
    assert "H" not in at.lines[0].seen
    await db.close()


@pytest.mark.row("Y05", "K03")
@pytest.mark.parametrize("bad", [-1, float("nan"), float("-inf")])
async def test_limits_that_make_no_sense(db: Any, bad: float) -> None:
    await table(db)
    with pytest.raises(InterfaceError, match="timeout="):
        await db.copy_in("c", [], timeout=bad)
    with pytest.raises(InterfaceError, match="timeout="):
        await db.execute_many("insert into c values ($1)", [], timeout=bad)


@pytest.mark.row("K04")
async def test_no_limit_is_none(face: str, connect: Any) -> None:
    """`timeout=inf` switches the connection's default off for the call; without it that applies to the whole of it."""
    db = await connect(command_timeout=0.3)
    await table(db)

    def slowly() -> Iterator[tuple[int]]:
        for n in range(5):
            time.sleep(0.1)
            yield (n,)

    endless = float("inf")
    assert (await db.copy_in("c", slowly(), columns=["a"], timeout=endless)).rows_affected == 5
    await db.execute("delete from c")
    sql = "insert into c(a) select $1 from pg_sleep(0.1)"
    assert (await db.execute_many(sql, [(n,) for n in range(5)], timeout=endless)).rows_affected == 5
    assert await db.fetch_value("select pg_sleep(0.5) is null", timeout=endless) is False
    assert len(await db.execute_script("select pg_sleep(0.5)", timeout=endless)) == 1
    async with db.batch(timeout=endless) as batch:
        slept = batch.fetch_value("select pg_sleep(0.5) is null")
    assert slept.result() is False
    with pytest.raises(QueryTimeout):
        await db.execute_many(sql, [(n,) for n in range(10, 110)])
    with pytest.raises(QueryTimeout):
        await db.fetch_value("select pg_sleep(5)")
    assert await db.fetch_value("select count(*) from c", timeout=10) == 5


class Untellable(Exception):
    """One whose text cannot be had."""

    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.row("Y05")
@pytest.mark.parametrize(
    "problem",
    [
        ValueError("x" * 100_000),
        ValueError("é" * 20_000),
        ValueError("\ud800 lone"),
        ValueError("a\0b"),
        ValueError(),
        Untellable(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
    ],
    ids=["long", "long, not ascii", "surrogate", "nul", "empty", "untellable", "several arguments"],
)
async def test_any_exception_of_a_source(db: Any, problem: Exception) -> None:
    """CopyFail is written whatever its text, and the server takes it."""
    await table(db)
    pid = db.backend_pid

    def source() -> Iterator[tuple[int, str, None]]:
        yield 1, "x", None
        raise problem

    with pytest.raises(type(problem)) as caught:
        await db.copy_in("c", source(), timeout=10)
    assert caught.value is problem
    assert await db.fetch_value("select count(*) from c", timeout=10) == 0
    assert db.backend_pid == pid


@pytest.mark.row("Y05")
async def test_the_server_hears_why(face: str, runner: Any, peer: Any) -> None:
    script = [
        send(greeting()),
        expect(ONE_FLIGHT),
        send(columns_of_a_table()),
        expect(COPY_FLIGHT),
        send(COPY_IN),
        expect("fS"),
        send(error("57014") + ready()),
        answer(ones),
    ]
    at = peer(script)
    db = await open_at(face, at.where)

    def source() -> Iterator[tuple[int]]:
        raise KeyError("mine" + "é" * 5_000)
        yield (1,)

    with pytest.raises(KeyError):
        await db.copy_in("t", source())
    assert await db.fetch_value("select 1", timeout=10) == 1
    said = next(body for kind, body in zip(at.lines[0].seen, at.lines[0].bodies, strict=True) if kind == "f")
    assert said.startswith(b"KeyError: 'mine")
    assert len(said) <= 1_001
    said[:-1].decode()
    await db.close()


@pytest.mark.row("Y05")
async def test_given_up_when_all_has_been_fed(face: str, runner: Any, peer: Any) -> None:
    """The server has the end of the data: no second end is sent behind it."""
    script = [
        send(greeting()),
        expect(ONE_FLIGHT),
        send(columns_of_a_table()),
        expect(COPY_FLIGHT),
        send(COPY_IN),
        expect("ddcS"),
        wait(0.5),
        send(error("57014") + ready()),
        expect("PDS"),
        send(PARSED + parameter_types() + text_columns(("a", 23)) + ready()),
        answer(ones),
    ]
    at = peer(script)
    db = await open_at(face, at.where)
    with pytest.raises(QueryTimeout):
        await db.copy_in("t", [(1,)], timeout=0.2)
    assert await db.fetch_value("select 1", timeout=10) == 1
    assert at.cancels
    await db.close()
