"""A transaction of a plan has one owner: others are told who and where, and cannot end it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide.errors import InterfaceError
from pgoxide.statement import Statement, begin, commit, execute, fetch_value, rollback, sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

pytestmark = pytest.mark.pg

ASYNC = pytest.mark.parametrize("face", ["async"])
INSERT = Statement("insert into owned values (1)")


def transfer(pause: float = 0.05) -> Generator[Any, Any, str]:
    try:
        yield from begin()  # the line that is named
        yield from execute(INSERT)
        yield from sleep(pause)
        status = yield from fetch_value(Statement("select pg_current_xact_id()::text"))
        yield from commit()
    except BaseException:
        yield from rollback()
        raise
    return str(status)


def count() -> Generator[Any, Any, int]:
    total = 0
    for _ in range(10):
        total += yield from fetch_value(Statement("select 1"))
    return total


@pytest.fixture
def table(db: Any, runner: Any) -> Any:
    async def make() -> None:
        await db.execute_script("create temp table owned (n int4)")

    runner.run(make())
    return db


@ASYNC
async def test_two_plans_at_once(table: Any) -> None:
    """The second is refused at once, and ends neither the first one's transaction nor its ownership."""
    first, second = await asyncio.gather(table.run(transfer()), table.run(transfer()), return_exceptions=True)
    assert isinstance(first, str)
    assert isinstance(second, InterfaceError)
    assert await table.fetch_value("select count(*) from owned") == 1


@ASYNC
async def test_who_and_where_is_named(table: Any) -> None:
    running = asyncio.create_task(table.run(transfer()), name="the transfer")
    await asyncio.sleep(0)
    with pytest.raises(InterfaceError) as caught:
        await table.execute("insert into owned values (2)")
    line = transfer.__code__.co_firstlineno + 2
    for part in ("'the transfer'", "transfer", f"{__file__}:{line}"):
        assert part in str(caught.value)
    await running
    assert await table.fetch_value("select array_agg(n)::text from owned") == "{1}"


@pytest.mark.parametrize("face", ["blocking"])
async def test_another_thread_is_told_at_once(table: Any) -> None:
    """Also while a statement of the transaction runs: it does not wait for its turn first."""
    busy = threading.Event()
    told: list[BaseException] = []

    def long() -> Generator[Any, Any, None]:
        yield from begin()
        busy.set()
        yield from execute(Statement("select pg_sleep(1)"))
        assert told, "the other thread waited for the statement"
        yield from commit()

    def other() -> None:
        busy.wait(20)
        try:
            table.real.execute("insert into owned values (2)")
        except InterfaceError as error:
            told.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    await table.run(long())
    thread.join()
    assert threading.current_thread().name in str(told[0])


@ASYNC
async def test_plans_without_transactions_share(table: Any) -> None:
    assert await asyncio.gather(table.run(count()), table.run(count())) == [10, 10]


async def test_a_transaction_begun_by_hand(table: Any) -> None:
    """Nobody owns it: a plan neither begins inside it nor ends it."""
    await table.execute("begin")
    with pytest.raises(InterfaceError, match="open already"):
        await table.run(begin_only())
    assert table.transaction_status == "in transaction"
    await table.execute("insert into owned values (3)")
    await table.execute("commit")
    assert await table.fetch_value("select count(*) from owned") == 1


def begin_only() -> Generator[Any, Any, None]:
    yield from begin()


async def test_left_open_is_told_and_undone(table: Any) -> None:
    def leaves(fail: bool) -> Generator[Any, Any, None]:
        yield from begin()
        yield from execute(INSERT)
        if fail:
            raise KeyError("mine")

    with pytest.raises(InterfaceError, match="with its transaction open"):
        await table.run(leaves(False))
    with pytest.raises(KeyError, match="mine") as caught:
        await table.run(leaves(True))
    assert "rolled back" in caught.value.__notes__[0]
    assert await table.fetch_value("select count(*) from owned") == 0


@ASYNC
async def test_a_cancelled_plan_without_clean_up_is_still_cancelled(table: Any) -> None:
    def careless() -> Generator[Any, Any, None]:
        yield from begin()
        yield from execute(INSERT)
        yield from sleep(20)

    running = asyncio.create_task(table.run(careless()))
    while table.transaction_status == "idle":  # noqa: ASYNC110  the status has no event
        await asyncio.sleep(0.005)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert table.transaction_status == "idle"
    assert await table.fetch_value("select count(*) from owned") == 0


@ASYNC
@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_after_so_many_turns_of_the_loop(table: Any, turns: int) -> None:
    """Whenever it comes: what others do afterwards is in autocommit."""
    running = asyncio.create_task(table.run(transfer(0)))
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    before = await table.fetch_value("select count(*) from owned")
    await table.execute("insert into owned values (4)")
    await table.execute_script("rollback")
    assert await table.fetch_value("select count(*) from owned") == before + 1
    assert table.transaction_status == "idle"


@pytest.mark.parametrize("end", [commit, rollback])
async def test_free_again_afterwards(table: Any, end: Callable[[], Any]) -> None:
    def plan() -> Generator[Any, Any, None]:
        for _ in range(2):
            yield from begin()
            yield from execute(INSERT)
            yield from end()

    await table.run(plan())
    await table.execute(INSERT)
    assert await table.fetch_value("select count(*) from owned") == (3 if end is commit else 1)
