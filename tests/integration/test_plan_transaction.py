"""A plan's transaction is a block of its connection: BEGIN rides with the first statement, and nothing of it runs outside."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import open_at
from pgoxide.errors import (
    CheckViolation,
    DataError,
    DivisionByZero,
    InFailedSqlTransaction,
    InterfaceError,
    NoRow,
    QueryTimeout,
    StatementInvalidated,
    UndefinedTable,
    UnexpectedRollback,
    UniqueViolation,
)
from pgoxide.statement import (
    Statement,
    batch,
    begin,
    commit,
    copy_in,
    execute,
    fetch_all,
    fetch_one,
    fetch_value,
    release,
    rollback,
    savepoint,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgoxide.embedded import EmbeddedServer
    from pgoxide.statement import Plan

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]

INSERT = "insert into kept values ($1)"


def insert(n: int) -> Plan[Any]:
    return execute(Statement(INSERT, (n,)))


@pytest.fixture
def table(db: Any, runner: Any) -> Any:
    """A connection that has described its statement."""

    async def make() -> None:
        await db.execute_script(
            "create temp table kept (n int4 unique deferrable check (n < 100)); create temp view seen as select n from kept"
        )
        await db.execute(INSERT, 0)
        await db.execute("delete from kept")

    runner.run(make())
    return db


async def kept(db: Any) -> list[int]:
    return await db.fetch_column("select n from kept order by n")  # type: ignore[no-any-return]


# ---- what is sent


def plainly() -> Plan[None]:
    yield from begin()
    yield from insert(1)
    yield from commit()


def with_last() -> Plan[None]:
    yield from begin()
    yield from insert(1)
    yield from batch(insert(2), commit())


def in_two_requests() -> Plan[None]:
    yield from begin()
    yield from batch(insert(1), commit())


def in_one_request() -> Plan[None]:
    yield from batch(begin("serializable"), insert(1), commit())


def undone() -> Plan[None]:
    yield from begin()
    yield from insert(1)
    yield from rollback()


def with_savepoint() -> Plan[None]:
    yield from begin()
    yield from savepoint("one")
    yield from batch(insert(1), release("one"), commit())


def one_after_the_other() -> Plan[None]:
    yield from batch(begin(), insert(1))
    yield from batch(commit(), begin(), insert(2))
    yield from commit()


def dry_run() -> Plan[None]:
    yield from batch(begin(), insert(1), rollback())


def empty() -> Plan[None]:
    yield from begin()
    yield from commit()
    yield from begin()
    yield from rollback()
    yield from batch(begin(), commit())


SENT: list[tuple[Callable[[], Plan[None]], str, list[int]]] = [
    (plainly, "PBE" + "BES" + "Q", [1]),
    (with_last, "PBE" + "BES" + "BE" + "PBES", [1, 2]),
    (in_two_requests, "PBE" + "BE" + "PBES", [1]),
    (in_one_request, "PBE" + "BE" + "PBES", [1]),
    (undone, "PBE" + "BES" + "PBES", []),
    (with_savepoint, "PBE" + "BES" + "BEBE" + "PBES", [1]),
    # What ends a transaction amid a flight is a statement like others.
    (one_after_the_other, "PBE" + "BES" + "BEBEBES" + "Q", [1, 2]),
    (dry_run, "PBE" + "BEBES", []),
    (empty, "", []),
]


@pytest.mark.row("B04", "X01")
@pytest.mark.parametrize(("plan", "sent", "rows"), SENT, ids=[plan.__name__ for plan, *_ in SENT])
async def test_what_is_sent(
    connect: Any, proxy: Callable[..., Any], plan: Callable[[], Plan[None]], sent: str, rows: list[int]
) -> None:
    """BEGIN has no flight of its own; COMMIT has none where the plan puts it behind a statement."""
    relay = proxy()
    db = await connect(to=relay)
    await db.execute_script("create temp table kept (n int4)")
    await db.execute(INSERT, 0)
    await db.run(plan())  # what it uses is described
    await db.execute("delete from kept")
    relay.forget()
    await db.run(plan())
    assert relay.sent == sent
    assert await kept(db) == rows
    assert db.transaction_status == "idle"


@pytest.mark.row("B04")
async def test_modes_travel_too(table: Any) -> None:
    def plan() -> Plan[list[Any]]:
        yield from begin("serializable", read_only=True, deferrable=True)
        shown: list[Any] = []
        for name in ("isolation", "read_only", "deferrable"):
            shown.append((yield from fetch_value(Statement(f"show transaction_{name}"))))
        yield from rollback()
        return shown

    assert await table.run(plan()) == ["serializable", "on", "on"]


# ---- a first statement that is refused


def undescribed() -> Plan[Any]:
    """Refused at its description."""
    return execute(Statement("insert into nowhere values ($1)", (1,)))


def undescribed_without_parameters() -> Plan[Any]:
    return fetch_all(Statement("select * from nowhere"))


def undescribed_batch() -> Plan[Any]:
    return batch(insert(1), undescribed())


def failing() -> Plan[Any]:
    return fetch_value(Statement("select 1 / 0"))


def failing_batch() -> Plan[Any]:
    return batch(insert(1), failing(), insert(2))


def violating() -> Plan[Any]:
    return insert(100)


def copying() -> Plan[Any]:
    return copy_in("kept", [(1,), (100,)])


def copying_nowhere() -> Plan[Any]:
    return copy_in("nowhere", [(1,)])


REFUSED: list[tuple[Callable[[], Plan[Any]], type[Exception]]] = [
    (undescribed, UndefinedTable),
    (undescribed_without_parameters, UndefinedTable),
    (undescribed_batch, UndefinedTable),
    (failing, DivisionByZero),
    (failing_batch, DivisionByZero),
    (violating, CheckViolation),
    (copying, CheckViolation),
    (copying_nowhere, UndefinedTable),
]


def separately(first: Callable[[], Plan[Any]]) -> Plan[None]:
    yield from begin()
    yield from first()


def together(first: Callable[[], Plan[Any]]) -> Plan[None]:
    yield from batch(begin(), first())


def whole(first: Callable[[], Plan[Any]]) -> Plan[None]:
    yield from batch(begin(), first(), commit())


def behind(first: Callable[[], Plan[Any]]) -> Plan[None]:
    """BEGIN in the middle takes in what came before it."""
    yield from batch(insert(5), begin(), first())


STARTS = [(separately, first, error) for first, error in REFUSED] + [
    (start, first, error)
    for start in (together, whole, behind)
    for first, error in REFUSED
    if first in {undescribed, undescribed_without_parameters, failing, violating}  # of one statement each
]


@pytest.mark.row("B04", "X01", "P07")
@pytest.mark.parametrize(
    ("start", "first", "error"),
    STARTS,
    ids=[f"{start.__name__}-{first.__name__}" for start, first, _ in STARTS],
)
async def test_a_refused_first_statement_leaves_it_inside(
    table: Any,
    start: Callable[[Callable[[], Plan[Any]]], Plan[Any]],
    first: Callable[[], Plan[Any]],
    error: type[Exception],
) -> None:
    """The plan catches it and goes on: in the transaction, which has failed, and never in autocommit."""
    statuses: list[str] = []

    def plan() -> Plan[None]:
        with pytest.raises(error):
            yield from start(first)
        statuses.append(table.transaction_status)
        for step in (lambda: insert(7), lambda: batch(insert(8), commit()), lambda: copy_in("kept", [(9,)])):
            with pytest.raises(InFailedSqlTransaction):
                yield from step()
        with pytest.raises(InterfaceError, match="nests with Savepoint"):
            yield from begin()
        yield from rollback()
        statuses.append(table.transaction_status)

    await table.run(plan())
    assert statuses == ["failed transaction", "idle"]
    assert await kept(table) == []
    # And a plan that commits it all the same is told.
    if start is separately:
        with pytest.raises(UnexpectedRollback):
            await table.run(commits_all_the_same(first, error))
        assert table.transaction_status == "idle"
        assert await kept(table) == []


def commits_all_the_same(first: Callable[[], Plan[Any]], error: type[Exception]) -> Plan[None]:
    yield from begin()
    with pytest.raises(error):
        yield from first()
    yield from commit()


@pytest.mark.row("B04", "P07")
@pytest.mark.parametrize("start", [separately, together, whole, behind], ids=lambda start: start.__name__)
async def test_an_argument_that_does_not_fit_leaves_it_inside(
    table: Any, start: Callable[[Callable[[], Plan[Any]]], Plan[Any]]
) -> None:
    """Nothing was sent: the next statement brings BEGIN."""

    def plan(end: Callable[[], Plan[None]]) -> Plan[None]:
        with pytest.raises(DataError):
            yield from start(lambda: execute(Statement(INSERT, ("x",))))
        assert table.transaction_status == "idle"
        with pytest.raises(InterfaceError, match="nests with Savepoint"):
            yield from begin()
        yield from insert(7)
        assert table.transaction_status == "in transaction"
        yield from end()

    await table.run(plan(rollback))
    assert await kept(table) == []
    await table.run(plan(commit))
    assert await kept(table) == [7]


@pytest.mark.row("B04", "Q16")
async def test_a_lost_first_statement_leaves_it_inside(table: Any) -> None:
    """The server has dropped it, unseen: BEGIN has succeeded, so the transaction has failed, and nothing runs again by itself."""

    def plan() -> Plan[None]:
        yield from begin()
        with pytest.raises(StatementInvalidated):
            yield from insert(1)
        with pytest.raises(InFailedSqlTransaction):
            yield from insert(2)
        yield from rollback()
        yield from begin()
        yield from insert(3)
        yield from commit()

    await table.execute("do $$ begin execute 'deallocate all'; end $$")
    await table.run(plan())
    assert await kept(table) == [3]


# ---- how it ends


@pytest.mark.row("B04", "X03")
async def test_a_flight_that_does_not_reach_its_commit(table: Any) -> None:
    """The transaction goes on where a savepoint takes it back to."""

    def plan() -> Plan[None]:
        yield from begin()
        yield from batch(insert(1), savepoint("one"))
        with pytest.raises(CheckViolation):
            yield from batch(insert(100), commit())
        assert table.transaction_status == "failed transaction"
        yield from rollback("one")
        yield from batch(insert(2), commit())
        assert table.transaction_status == "idle"
        yield from insert(3)

    await table.run(plan())
    assert await kept(table) == [1, 2, 3]


@pytest.mark.row("X04")
@pytest.mark.parametrize("how", ["alone", "batch"])
async def test_a_commit_that_fails_is_an_end(table: Any, how: str) -> None:
    def plan() -> Plan[None]:
        yield from begin()
        yield from execute(Statement("set constraints all deferred"))
        yield from batch(insert(1), insert(1))
        with pytest.raises(UniqueViolation):
            if how == "alone":
                yield from commit()
            else:
                yield from batch(insert(2), commit())
        assert table.transaction_status == "idle"
        yield from rollback()  # there is nothing to undo
        yield from insert(3)
        yield from plainly()

    await table.run(plan())
    assert await kept(table) == [1, 3]


async def test_a_refused_row_count_comes_after_the_commit(table: Any) -> None:
    def plan() -> Plan[None]:
        yield from begin()
        with pytest.raises(NoRow):
            yield from batch(insert(1), fetch_one(Statement("select 1 where false")), commit())
        yield from plainly()

    with pytest.raises(UniqueViolation):
        await table.run(plan())
    assert await kept(table) == [1]


@pytest.mark.row("X11")
@pytest.mark.parametrize("text", ["commit", "ROLLBACK", "begin", "prepare transaction 'x'"])
async def test_it_is_not_ended_by_hand(table: Any, text: str) -> None:
    def plan() -> Plan[None]:
        yield from begin()
        yield from insert(1)
        for request in (lambda: execute(Statement(text)), lambda: batch(execute(Statement(text)))):
            with pytest.raises(InterfaceError, match=r"yield from commit\(\)"):
                yield from request()
        yield from commit()

    await table.run(plan())
    assert await kept(table) == [1]


@pytest.mark.row("X03")
async def test_no_block_inside_it(table: Any) -> None:
    real = getattr(table, "real", table)

    def plan() -> Plan[None]:
        yield from begin()
        yield from insert(1)
        block = real.transaction()
        with pytest.raises(InterfaceError, match="nests with Savepoint"):
            block._enter()
        yield from rollback()

    await table.run(plan())
    async with table.transaction():
        with pytest.raises(InterfaceError, match="transaction block is open"):
            await table.run(plainly())
    assert await kept(table) == []


async def test_it_is_told_that_it_left_it_open(table: Any) -> None:
    """Whether anything was sent or not."""

    def plan(first: bool) -> Plan[None]:
        yield from begin()
        if first:
            yield from insert(1)

    for first in (False, True):
        with pytest.raises(InterfaceError, match="with its transaction open"):
            await table.run(plan(first))
        assert table.transaction_status == "idle"
    await table.execute(INSERT, 2)
    assert await kept(table) == [2]


# ---- given up

NEVER = 30.0
SLOW: Statement[Any] = Statement("select pg_sleep($1)::text", (NEVER,), types=["float8"])


@pytest.mark.row("B04", "K05", "X01")
@pytest.mark.parametrize("tidies", [True, False])
@pytest.mark.parametrize("in_flight", ["first", "commit", "last", "last running", "amid", "rollback"])
async def test_given_up_while_in_flight(
    face: str, runner: Any, server: EmbeddedServer, faults: Any, in_flight: str, tidies: bool
) -> None:
    """Cancelled, or Ctrl-C, while the server's answer is under way. What the plan does to clean up runs in a session that is
    known: with rollback, or behind a flight that was to end the transaction, outside; else inside, where it is undone.
    """
    config = server.config()
    relay = faults()
    db = await open_at(face, {"user": config.user, "database": config.database} | relay.where)
    await db.execute_script("drop table if exists kept; create table kept (n int4)")
    ends = in_flight != "first"

    def requests(armed: Callable[[], None]) -> Plan[None]:
        yield from begin()
        if in_flight == "first":
            armed()
            yield from insert(1)
        yield from insert(1)
        if in_flight != "last running":
            armed()
        if in_flight == "commit":
            yield from commit()
        elif in_flight == "last":
            yield from batch(insert(2), commit())
        elif in_flight == "last running":
            relay.backend.gate.set()
            armed()
            yield from batch(execute(SLOW), commit())
        elif in_flight == "amid":
            yield from batch(insert(2), commit(), begin(), insert(3))
        else:
            yield from rollback()

    def plan(armed: Callable[[], None]) -> Plan[None]:
        try:
            yield from requests(armed)
        except BaseException:
            if tidies:
                yield from rollback()
            yield from execute(Statement("insert into kept values (50)"))
            raise

    await db.run(
        batch(
            execute(Statement(INSERT, (0,))),
            execute(Statement("select pg_sleep($1)::text", (0,), types=["float8"])),
        )
    )
    await db.run(one_after_the_other())
    await db.execute("truncate kept")
    begun = time.monotonic()
    threads: list[threading.Thread] = []

    def interrupt(cancel: Callable[[], object], passed: int) -> None:
        until = time.monotonic() + 10
        while relay.frontend.passed == passed and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(0.05)
        cancel()
        time.sleep(0.05)
        relay.backend.gate.set()

    def arm(cancel: Callable[[], object]) -> Callable[[], None]:
        def armed() -> None:
            if in_flight != "last running":
                relay.backend.gate.clear()
            thread = threading.Thread(target=interrupt, args=(cancel, relay.frontend.passed), daemon=True)
            threads.append(thread)
            thread.start()

        return armed

    if face == "async":
        loop = asyncio.get_running_loop()
        task: asyncio.Task[None]
        task = asyncio.ensure_future(db.run(plan(arm(lambda: loop.call_soon_threadsafe(task.cancel)))))
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    else:
        main = threading.main_thread().ident
        assert main is not None
        with pytest.raises(KeyboardInterrupt) as caught:
            await db.run(plan(arm(lambda: signal.pthread_kill(main, signal.SIGINT))))
    for thread in threads:
        thread.join(15)
    assert len(threads) == 1
    assert time.monotonic() - begun < NEVER / 2
    assert db.transaction_status == "idle"
    rows = await kept(db)
    committed = {"commit": [1], "last": [1, 2], "amid": [1, 2]}.get(in_flight, [])
    # The server had done what was asked before the cancel came; a COMMIT that came too late is not undone.
    done = [row for row in rows if row != 50]
    assert done in (committed, []), rows
    if tidies or ends:
        assert 50 in rows, getattr(caught.value, "__notes__", None)
    else:
        assert rows == []
        assert any(
            "left" in note or "cleaning up" in note or "open" in note for note in caught.value.__notes__
        )
    await db.run(plainly())
    await db.execute("drop table kept")
    await db.close()


async def test_time_that_runs_out_in_the_last_flight(table: Any) -> None:
    """It ends the transaction, since nobody knows what became of it: what is not committed is undone."""

    def plan() -> Plan[None]:
        yield from begin()
        yield from insert(1)
        yield from batch(execute(SLOW), commit())

    with pytest.raises(QueryTimeout):
        await table.run(plan(), timeout=0.2)
    assert table.transaction_status == "idle"
    await table.execute(INSERT, 2)
    assert await kept(table) == [2]
