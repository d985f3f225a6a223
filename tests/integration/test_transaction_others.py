"""Whose calls belong to a transaction block, and what becomes of the others: no test here needs a timeout to end."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from pgoxide.errors import ConnectionClosed, InterfaceError, QueryTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.pg, pytest.mark.row("P07")]

ASYNC = pytest.mark.parametrize("face", ["async"])
BLOCKING = pytest.mark.parametrize("face", ["blocking"])
INSERT = "insert into kept values ($1)"


@pytest.fixture
def table(db: Any, runner: Any) -> Any:
    async def make() -> None:
        await db.execute_script("create temp table kept (n int4)")

    runner.run(make())
    return db


async def kept(db: Any) -> list[int]:
    return await db.fetch_column("select n from kept order by n")  # type: ignore[no-any-return]


def outside(function: Callable[..., Any], *args: Any) -> Any:
    """Starts a task in a context of its own."""
    return asyncio.get_running_loop().create_task(function(*args), context=contextvars.Context())


async def call(db: Any, *numbers: int) -> None:
    for n in numbers:
        await db.execute(INSERT, n)


# ---- who belongs to it


async def test_the_block_itself(table: Any) -> None:
    async with table.transaction() as tx:
        await tx.execute(INSERT, 1)
        await table.execute(INSERT, 2)
        tx.rollback_only = True
    assert await kept(table) == []


@ASYNC
async def test_gather(table: Any) -> None:
    async with table.transaction() as tx:
        await asyncio.gather(call(table, 1, 2), call(tx, 3, 4), table.execute(INSERT, 5))
        tx.rollback_only = True
    assert await kept(table) == []


@ASYNC
async def test_task_group(table: Any) -> None:
    async with table.transaction() as tx:
        async with asyncio.TaskGroup() as group:
            for n in range(5):
                group.create_task(call(table if n % 2 else tx, n))
        tx.rollback_only = True
    assert await kept(table) == []


@ASYNC
async def test_a_child_that_outlives_the_block(table: Any) -> None:
    """The token dies with the block: what a child does afterwards is in autocommit."""
    left = asyncio.Event()

    async def child() -> None:
        await left.wait()
        await table.execute(INSERT, 1)
        with pytest.raises(InterfaceError, match="left"):
            await block.execute(INSERT, 2)

    async with table.transaction() as block:
        task = asyncio.create_task(child())
        await block.execute(INSERT, 3)
        block.rollback_only = True
    left.set()
    await task
    assert await kept(table) == [1]


@ASYNC
@pytest.mark.parametrize(
    "verb", ["execute", "batch", "stream", "script", "many", "copy", "savepoint", "run", "portal", "prepare"]
)
async def test_the_blocks_object_belongs_to_it_anywhere(table: Any, verb: str) -> None:
    async def use(tx: Any) -> None:
        if verb == "execute":
            await tx.execute(INSERT, 1)
        elif verb == "batch":
            async with tx.batch() as batch:
                batch.execute(INSERT, 1)
        elif verb == "stream":
            async with tx.stream("insert into kept values (1) returning n") as stream:
                assert [row.n async for row in stream] == [1]
        elif verb == "script":
            await tx.execute_script("insert into kept values (1)")
        elif verb == "many":
            await tx.execute_many(INSERT, [(1,)])
        elif verb == "copy":
            await tx.copy_in("kept", [(1,)])
        elif verb == "run":
            from pgoxide.statement import Statement, execute

            await tx.run(execute(Statement(INSERT, (1,))))
        elif verb == "portal":
            portal = await tx.portal("insert into kept values ($1), ($2) returning n", 1, 2, into=int)
            assert await portal.fetch(1) == [1]
            assert await portal.fetch_all() == [2]
            await portal.close()
        elif verb == "prepare":
            assert (await tx.describe(INSERT)).parameters[0].type_name == "int4"
            async with await tx.prepare("select n from kept") as statement:
                assert [column.type_name for column in statement.columns] == ["int4"]
        else:
            async with tx.transaction() as inner:
                await inner.execute(INSERT, 1)

    async with table.transaction() as tx:
        await outside(use, tx)
        with pytest.raises(InterfaceError, match="has a transaction open"):
            await outside(call, table, 2)
        tx.rollback_only = True
    assert await kept(table) == []


@ASYNC
async def test_a_fixtures_transaction(table: Any) -> None:
    """What a test fixture opens is joined by tests, which run in contexts and tasks of their own."""

    async def application(db: Any) -> None:
        async with db.transaction() as tx:
            await tx.execute(INSERT, 1)
        async with db.transaction() as tx:
            await tx.execute(INSERT, 2)
            raise pgoxide.Rollback
        await asyncio.gather(*(db.execute(INSERT, n) for n in (3, 4)))

    async with table.transaction(others="join") as tx:
        await outside(application, table)
        assert await kept(table) == [1, 3, 4]
        tx.rollback_only = True
    assert await kept(table) == []


# ---- the others: refused


@ASYNC
async def test_outsiders_are_told_at_once(table: Any) -> None:
    async with table.transaction() as tx:
        await tx.execute(INSERT, 1)
        for use in (call, enter, leave_streams, script):
            with pytest.raises(InterfaceError) as caught:
                await outside(use, table, 2)
            here = test_outsiders_are_told_at_once.__code__
            assert asyncio.current_task().get_name() in str(caught.value)  # type: ignore[union-attr]  # there is one
            assert f"{__file__}:{here.co_firstlineno + 2}" in str(caught.value)
    assert await kept(table) == [1]
    await outside(call, table, 2)


async def enter(db: Any, n: int) -> None:
    async with db.transaction() as tx:
        await tx.execute(INSERT, n)


async def leave_streams(db: Any, n: int) -> None:
    async with db.stream(f"insert into kept values ({n}) returning n") as stream:
        async for _ in stream:
            pass


async def script(db: Any, n: int) -> None:
    await db.execute_script(f"insert into kept values ({n})")


@ASYNC
async def test_before_begin_is_sent_too(table: Any) -> None:
    """The block is owned from its entry, though nothing has been sent."""
    async with table.transaction():
        with pytest.raises(InterfaceError, match="has a transaction open"):
            await outside(call, table, 1)


@BLOCKING
async def test_another_thread_is_refused(table: Any) -> None:
    db, told = table.real, []

    def other() -> None:
        for use in (
            lambda: db.execute(INSERT, 2),
            lambda: db.transaction().__enter__(),
            lambda: db.stream("select 1"),
        ):
            with pytest.raises(InterfaceError, match="has a transaction open") as caught:
                use()
            told.append(str(caught.value))

    with db.transaction() as tx:
        tx.execute(INSERT, 1)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(20)
    assert len(told) == 3
    assert all("MainThread" in text and __file__ in text for text in told)
    assert db.fetch_column("select n from kept") == [1]


@ASYNC
async def test_two_nested_blocks_at_once(table: Any) -> None:
    """The second is refused: its savepoint would be taken along by the first one's end."""
    entered = asyncio.Event()

    async def nested(n: int) -> None:
        async with table.transaction() as inner:
            await inner.execute(INSERT, n)
            entered.set()
            await asyncio.sleep(0.01)

    async def late(n: int) -> None:
        await entered.wait()
        await nested(n)

    async with table.transaction():
        results = await asyncio.gather(nested(1), late(2), return_exceptions=True)
        assert results[0] is None
        assert isinstance(results[1], InterfaceError)
    assert await kept(table) == [1]


# ---- the others: waiting


@ASYNC
@pytest.mark.parametrize("use", [call, enter, leave_streams, script])
async def test_outsiders_wait(table: Any, use: Callable[[Any, int], Any]) -> None:
    async with table.transaction(others="wait") as tx:
        waiting = [outside(use, table, n) for n in (1, 2, 3)]
        await asyncio.sleep(0)
        await tx.execute(INSERT, 10)
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in waiting)
        assert await kept(tx) == [10]
        tx.rollback_only = True
    await asyncio.gather(*waiting)
    assert await kept(table) == [1, 2, 3]


@ASYNC
async def test_outsiders_wait_while_a_savepoint_is_open(table: Any) -> None:
    """Whatever is open inside the block that lets them wait; tasks of that block itself are told."""
    async with table.transaction(others="wait") as tx:
        entered = asyncio.Event()

        async def child() -> None:
            await entered.wait()
            with pytest.raises(InterfaceError, match="has a transaction open"):
                await table.execute(INSERT, 9)

        task = asyncio.create_task(child())
        async with tx.transaction() as inner:
            await inner.execute(INSERT, 1)
            entered.set()
            await task
            waiting = [outside(call, table, 2), outside(call, table, 3)]
            await asyncio.sleep(0)
        await tx.execute(INSERT, 4)
        assert not any(task.done() for task in waiting)
        assert await tx.fetch_column("select n from kept order by n") == [1, 4]
    await asyncio.gather(*waiting)
    assert await kept(table) == [1, 2, 3, 4]


@ASYNC
async def test_blocks_one_after_the_other(table: Any) -> None:
    """Each is whole: what the others do is not between its statements."""
    order: list[int] = []

    async def block(n: int) -> None:
        async with table.transaction(others="wait") as tx:
            order.append(n)
            await tx.execute(INSERT, n)
            await asyncio.sleep(0.001)
            assert await tx.fetch_value("select count(*) from kept") == (len(order) + 1) // 2
            order.append(n)

    await asyncio.gather(*(outside(block, n) for n in range(5)))
    assert order == [n for n in range(5) for _ in range(2)]


@ASYNC
async def test_arguments_of_who_waits_are_taken_at_once(table: Any) -> None:
    numbers = [1, 2]
    async with table.transaction(others="wait"):
        reply = contextvars.Context().run(table.fetch_value, "select $1::int4[]", numbers)
        numbers.append(3)
    assert await reply == [1, 2]


@ASYNC
async def test_who_waits_may_give_up(table: Any) -> None:
    async with table.transaction(others="wait") as tx:
        given_up = [outside(call, table, 1), outside(enter, table, 2)]
        await asyncio.sleep(0)
        late = contextvars.Context().run(table.execute, INSERT, 3, timeout=0.01)
        with pytest.raises(QueryTimeout):
            await late
        for task in given_up:
            task.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)
        await tx.execute(INSERT, 10)
    await table.execute(INSERT, 11)
    assert await kept(table) == [10, 11]


@ASYNC
async def test_the_connection_ends_while_others_wait(table: Any) -> None:
    async with table.transaction(others="wait"):
        waiting = [outside(call, table, 1), outside(enter, table, 2)]
        await asyncio.sleep(0)
        table.abort()
        for task in waiting:
            with pytest.raises(ConnectionClosed):
                await task


@ASYNC
async def test_nested_blocks_wait_for_each_other(table: Any) -> None:
    async def nested(n: int) -> None:
        async with table.transaction(others="wait") as inner:
            await inner.execute(INSERT, n)
            await asyncio.sleep(0.001)
            if n == 2:
                raise pgoxide.Rollback

    async with table.transaction():
        await asyncio.gather(*(nested(n) for n in (1, 2, 3)))
    assert await kept(table) == [1, 3]


@BLOCKING
async def test_threads_wait(table: Any) -> None:
    db, begun = table.real, threading.Event()

    def other(n: int) -> None:
        begun.wait(20)
        if n % 2:
            db.execute(INSERT, n)
        else:
            with db.transaction(others="wait") as tx:
                tx.execute(INSERT, n)
                assert tx.fetch_value("select count(*) from kept where n = 10") == 1

    threads = [threading.Thread(target=other, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    with db.transaction(others="wait") as tx:
        tx.execute(INSERT, 10)
        begun.set()
        time.sleep(0.05)
        assert tx.fetch_column("select n from kept") == [10]
    for thread in threads:
        thread.join(20)
    assert await kept(table) == [1, 2, 3, 4, 10]


@BLOCKING
async def test_a_thread_does_not_wait_for_itself(table: Any) -> None:
    db = table.real
    with db.transaction(others="wait"), pytest.raises(InterfaceError, match="wait for itself"):
        contextvars.Context().run(db.execute, INSERT, 1)


@BLOCKING
async def test_a_thread_that_waits_has_a_limit(table: Any) -> None:
    db, told = table.real, []

    def other() -> None:
        with pytest.raises(QueryTimeout):
            db.execute(INSERT, 1, timeout=0.05)
        told.append(1)

    with db.transaction(others="wait"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(20)
    assert told == [1]


# ---- the others: joining


@BLOCKING
async def test_threads_join(table: Any) -> None:
    db = table.real

    def other(n: int) -> None:
        db.execute(INSERT, n)

    with db.transaction(others="join") as tx:
        threads = [threading.Thread(target=other, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert tx.fetch_value("select count(*) from kept") == 4
        tx.rollback_only = True
    assert db.fetch_column("select n from kept") == []


# ---- cancelled


@ASYNC
@pytest.mark.row("X01")
@pytest.mark.parametrize("turns", range(10))
async def test_cancelled_after_so_many_turns_of_the_loop(table: Any, turns: int) -> None:
    """Whenever it comes: the block is undone or done, the connection idle, and nobody's."""

    async def block() -> None:
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1)
            await tx.execute(INSERT, 2)

    task = outside(block)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await kept(table) in ([], [1, 2])
    assert table.transaction_status == "idle"


@ASYNC
@pytest.mark.row("X01")
@pytest.mark.parametrize("again", [False, True])
async def test_cancelled_inside(table: Any, again: bool) -> None:
    """Rolled back before the task goes on, also when it is cancelled further."""
    inside = asyncio.Event()

    async def block() -> None:
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1)
            inside.set()
            await tx.execute("select pg_sleep(20)")

    task = outside(block)
    await inside.wait()
    await asyncio.sleep(0.02)
    task.cancel("stop")
    while again and not task.done():
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert table.transaction_status == "idle"
    assert await kept(table) == []


@ASYNC
async def test_timed_out_inside(table: Any) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), table.transaction() as tx:
            await tx.execute(INSERT, 1)
            await tx.execute("select pg_sleep(20)")
    assert table.transaction_status == "idle"
    with pytest.raises(QueryTimeout):
        async with table.transaction() as tx:
            await tx.execute("select pg_sleep(20)", timeout=0.05)
    assert await kept(table) == []


# ---- generators


@pytest.mark.row("X12")
async def test_an_abandoned_generator(table: Any, face: str) -> None:
    """Its transaction is rolled back, and it is told where it was entered."""

    async def rows() -> Any:
        async with table.transaction() as tx:  # the line that is named
            await tx.execute(INSERT, 1)
            yield 1
            yield 2

    def blocking_rows() -> Any:
        with table.real.transaction() as tx:
            tx.execute(INSERT, 1)
            yield 1
            yield 2

    if face == "async":
        with pytest.warns(
            ResourceWarning, match=rf"abandoned.*{__file__}:{rows.__code__.co_firstlineno + 1}"
        ):
            generator = rows()
            assert await anext(generator) == 1
            del generator
            await asyncio.sleep(0.05)
    else:
        place = f"{__file__}:{blocking_rows.__code__.co_firstlineno + 1}"
        with pytest.warns(ResourceWarning, match=rf"abandoned.*{place}"):
            blocking = blocking_rows()
            assert next(blocking) == 1
            del blocking
    assert await kept(table) == []
    assert table.transaction_status == "idle"
    async with table.transaction() as tx:
        await tx.execute(INSERT, 2)
    assert await kept(table) == [2]


@ASYNC
@pytest.mark.row("X12")
async def test_a_generator_that_is_closed_by_its_own_task(
    table: Any, recwarn: pytest.WarningsRecorder
) -> None:
    async def rows() -> Any:
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1)
            yield 1

    generator = rows()
    await anext(generator)
    await generator.aclose()
    assert not [w for w in recwarn if w.category is ResourceWarning]
    assert await kept(table) == []


@ASYNC
@pytest.mark.row("X12")
async def test_a_coroutine_thrown_away(table: Any) -> None:
    """Nothing can be awaited: the rollback runs before whatever the connection is asked next."""

    async def block() -> None:
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1)
            await asyncio.sleep(20)

    coroutine = block()
    reply = coroutine.send(None)
    while not reply.done():  # noqa: ASYNC110  nobody is woken by it
        await asyncio.sleep(0.001)
    coroutine.send(None)
    coroutine.close()
    assert await kept(table) == []
    assert table.transaction_status == "idle"


@ASYNC
async def test_a_call_that_the_collector_ends_elsewhere(table: Any) -> None:
    """Its context variable was set in a context that is not there any more: nothing is said of that."""
    async with table.transaction() as tx:

        async def begin() -> Any:
            waiting = tx.execute_many(INSERT, [(1,)])
            waiting.send(None)
            return waiting

        waiting = await outside(begin)
        waiting.close()  # in this context, not in that one
        await asyncio.sleep(0)
        tx.rollback_only = True
    assert await kept(table) == []
    assert table.transaction_status == "idle"


@pytest.mark.row("X03")
@pytest.mark.parametrize("others", ["raise", "join"])
async def test_others_of_a_block_inside_a_block(table: Any, face: str, others: str) -> None:
    """What it says is for the inner block: of strangers, and of the outer one's own tasks."""
    go = asyncio.Event()

    async def child() -> None:
        await go.wait()
        await table.execute(INSERT, 2)

    def thread() -> None:
        try:
            table.real.execute(INSERT, 2)
        except InterfaceError as error:
            refused.append(error)

    refused: list[InterfaceError] = []
    async with table.transaction() as tx:
        await tx.execute(INSERT, 1)
        task = asyncio.create_task(child()) if face == "async" else None
        async with tx.transaction(others=others) as inner:
            await inner.execute(INSERT, 3)
            if task is None:
                stranger = threading.Thread(target=thread)
                stranger.start()
                stranger.join(20)
            else:
                go.set()
                try:
                    await task
                except InterfaceError as error:
                    refused.append(error)
    assert await kept(table) == ([1, 2, 3] if others == "join" else [1, 3])
    assert len(refused) == (0 if others == "join" else 1)
