"""What an asynchronous verb returns: a Future to gather, wait_for and shield, a Coroutine to create_task and TaskGroup.

Semantics, section 2. The core cases run on asyncio, on uvloop, and on a selector loop without `add_reader` (section 8).
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from fixtures.fix_faces import NoReaders
from fixtures.fix_script import answer, greeting, ones, open_at, send
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pgoxide.embedded import EmbeddedServer

pytestmark = [pytest.mark.pg]
ASYNC = pytest.mark.parametrize("face", ["async"])
LIMIT = 10.0


def uvloop_loop() -> asyncio.AbstractEventLoop:
    return pytest.importorskip("uvloop").new_event_loop()  # type: ignore[no-any-return]


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop_loop,
    "buffered": NoReaders,
}


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest, server: EmbeddedServer) -> Callable[..., Any]:
    """`run(body)`: `body(db)` on that loop, with an open connection, in the time limit."""
    factory = LOOPS[request.param]

    def runs(body: Callable[[Any], Coroutine[Any, Any, Any]], debug: bool = False, **options: Any) -> Any:
        async def whole() -> Any:
            async with asyncio.timeout(LIMIT):
                db = await pgoxide.AsyncConnection.connect(server.config())
                try:
                    return await body(db)
                finally:
                    db.abort()

        with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
            return runner.run(whole())

    return runs


row = pytest.mark.row("Z07", face="async")


# ---- awaiting in every way


@row
def test_awaited(run: Any) -> None:
    async def body(db: Any) -> None:
        assert await db.fetch_value("select 1") == 1
        assert await db.fetch_value("select $1::int4 + 1", 2) == 3
        with pytest.raises(errors.class_for("22012")):
            await db.fetch_value("select 1/0")

    run(body)


@row
def test_gather(run: Any) -> None:
    async def body(db: Any) -> None:
        got = await asyncio.gather(*(db.fetch_value("select $1::int4", i) for i in range(50)))
        assert got == list(range(50))
        got = await asyncio.gather(*(db.fetch_value(f"select {i}") for i in range(20)))
        assert got == list(range(20))

    run(body)


@row
def test_gather_of_one_new_statement_without_parameters(run: Any) -> None:
    """The first carries the description; those behind it wait for it, and must not wait for ever."""

    async def body(db: Any) -> None:
        calls = [db.fetch_value("select 41 + 1") for _ in range(5)]
        assert await asyncio.wait_for(_all(calls), 2) == [42] * 5

    run(body)


async def _all(calls: list[Any]) -> list[Any]:
    return [await one for one in calls]


@row
def test_gather_with_exceptions(run: Any) -> None:
    async def body(db: Any) -> None:
        got = await asyncio.gather(
            db.fetch_value("select 1"),
            db.fetch_value("select 1/0"),
            db.fetch_value("select 3"),
            return_exceptions=True,
        )
        assert (got[0], got[2]) == (1, 3)
        assert isinstance(got[1], errors.class_for("22012"))

    run(body)


@row
@pytest.mark.row("K01", face="async")
def test_gather_with_a_cancelled_call(run: Any) -> None:
    """gather asks its children for `_make_cancelled_error` (or `_cancel_message`): a Future has them."""

    async def body(db: Any) -> None:
        slow = db.fetch_value("select pg_sleep(10)")
        both = asyncio.gather(slow, db.fetch_value("select 2"), return_exceptions=True)
        await asyncio.sleep(0.05)
        slow.cancel()
        got = await asyncio.wait_for(both, 5)
        assert isinstance(got[0], asyncio.CancelledError)
        assert got[1] == 2
        slow = db.fetch_value("select pg_sleep(10)")
        both = asyncio.gather(slow, db.fetch_value("select 2"))
        await asyncio.sleep(0.05)
        slow.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(both, 5)

    run(body)


@row
@pytest.mark.row("K01", face="async")
def test_cancelling_a_gather(run: Any) -> None:
    async def body(db: Any) -> None:
        both = asyncio.gather(db.fetch_value("select pg_sleep(10)"), db.fetch_value("select pg_sleep(0)"))
        await asyncio.sleep(0.05)
        both.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(both), 5)
        begun = time.monotonic()
        assert await db.fetch_value("select 1") == 1
        assert time.monotonic() - begun < 1

    run(body)


@row
@pytest.mark.row("K01", face="async")
def test_wait_for(run: Any) -> None:
    async def body(db: Any) -> None:
        assert await asyncio.wait_for(db.fetch_value("select 1"), 5) == 1
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(db.fetch_value("select pg_sleep(10)"), 0.1)
        assert await db.fetch_value("select 2") == 2
        assert time.monotonic() - begun < 1

    run(body)


@row
def test_shield(run: Any) -> None:
    async def body(db: Any) -> None:
        inner = db.fetch_value("select pg_sleep(0.2) is null")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(inner), 0.05)
        assert not inner.cancelled()
        assert await inner is False

    run(body)


@row
def test_wait(run: Any) -> None:
    """asyncio.wait refuses everything that is a coroutine, so a reply goes into it as a task."""

    async def body(db: Any) -> None:
        replies = [asyncio.create_task(db.fetch_value("select $1::int4", i)) for i in range(3)]
        done, pending = await asyncio.wait(replies)
        assert {one.result() for one in done} == {0, 1, 2}
        assert not pending

    run(body)


@row
def test_as_completed_and_ensure_future(run: Any) -> None:
    async def body(db: Any) -> None:
        got = [
            await one
            for one in asyncio.as_completed([db.fetch_value("select $1::int4", i) for i in range(3)])
        ]
        assert sorted(got) == [0, 1, 2]
        reply = db.fetch_value("select 7")
        assert asyncio.isfuture(reply)
        assert asyncio.iscoroutine(reply)
        assert inspect.isawaitable(reply)
        assert asyncio.ensure_future(reply) is reply
        assert await reply == 7

    run(body)


@row
def test_create_task_and_task_group(run: Any) -> None:
    async def body(db: Any) -> None:
        task = asyncio.create_task(db.fetch_value("select 1"), name="one")
        assert await task == 1
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(db.fetch_value("select $1::int4", i)) for i in range(10)]
        assert [one.result() for one in tasks] == list(range(10))

    run(body)


@row
@pytest.mark.row("K01", face="async")
def test_a_failing_task_group_cancels_the_rest(run: Any) -> None:
    async def body(db: Any) -> None:
        begun = time.monotonic()
        with pytest.raises(BaseExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(db.fetch_value("select 1/0"))
                group.create_task(db.fetch_value("select pg_sleep(10)"))
        assert caught.group_contains(errors.class_for("22012"))
        assert await db.fetch_value("select 1") == 1
        assert time.monotonic() - begun < 2

    run(body)


def test_anyio_task_group(run: Any) -> None:
    anyio = pytest.importorskip("anyio")

    async def body(db: Any) -> None:
        got: list[int] = []

        async def one(number: int) -> None:
            got.append(await db.fetch_value("select $1::int4", number))

        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(one, number)
        assert sorted(got) == [0, 1, 2, 3, 4]
        with anyio.move_on_after(0.1) as scope:
            await db.fetch_value("select pg_sleep(10)")
        assert scope.cancelled_caught
        assert await db.fetch_value("select 1") == 1
        with anyio.move_on_after(0.1) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(db.fetch_value, "select pg_sleep(10)")
        assert await db.fetch_value("select 1") == 1

    run(body)


@pytest.mark.parametrize("loop", LOOPS)
def test_connect_is_a_coroutine_to_run(server: EmbeddedServer, loop: str) -> None:
    """asyncio.run(connect()), create_task(connect()), wait_for(connect()), and the three ways to open a block."""
    config = server.config()
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        db = runner.run(pgoxide.AsyncConnection.connect(config))

        async def more() -> None:
            assert await db.fetch_value("select 1") == 1
            await db.close()
            async with pgoxide.AsyncConnection.connect(config) as second:
                assert await second.fetch_value("select 2") == 2
            assert second.closed
            async with await pgoxide.AsyncConnection.connect(config) as third:
                assert await third.fetch_value("select 3") == 3
            assert third.closed
            task = asyncio.create_task(pgoxide.AsyncConnection.connect(config))
            await (await task).close()
            fourth = await asyncio.wait_for(pgoxide.AsyncConnection.connect(config), 5)
            await fourth.close()
            both = await asyncio.gather(*(pgoxide.AsyncConnection.connect(config) for _ in range(2)))
            for one in both:
                await one.close()

        runner.run(more())


@row
def test_connect_cancelled_leaves_nothing(run: Any, server: EmbeddedServer) -> None:
    async def body(db: Any) -> None:
        for turns in range(12):
            task = asyncio.ensure_future(_opened(server))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await (await task).close()
            except asyncio.CancelledError:
                pass
        gc.collect()
        for _ in range(100):
            if (
                await db.fetch_value("select count(*) from pg_stat_activity where application_name = 'cut'")
                == 0
            ):
                return
            await asyncio.sleep(0.02)
        raise AssertionError("sessions of cancelled connects are still there")

    run(body)


async def _opened(server: EmbeddedServer) -> Any:
    config = server.config()
    return await pgoxide.AsyncConnection.connect(
        host=config.host, port=config.port, user=config.user, database=config.database, application_name="cut"
    )


# ---- being a future


@row
def test_state_and_result(run: Any) -> None:
    async def body(db: Any) -> None:
        reply = db.fetch_value("select 1")
        assert not reply.done()
        assert not reply.cancelled()
        for look in (reply.result, reply.exception):
            with pytest.raises(asyncio.InvalidStateError):
                look()
        assert reply.get_loop() is asyncio.get_running_loop()
        assert await reply == 1
        assert reply.done()
        assert reply.result() == 1
        assert reply.exception() is None
        assert not reply.cancel()
        bad = db.fetch_value("select 1/0")
        with pytest.raises(errors.class_for("22012")):
            await bad
        assert isinstance(bad.exception(), errors.class_for("22012"))
        with pytest.raises(errors.class_for("22012")):
            bad.result()
        gone = db.fetch_value("select 1")
        assert gone.cancel("why")
        assert gone.cancelled()
        assert gone.done()
        assert not gone.cancel()
        for look in (gone.result, gone.exception):
            with pytest.raises(asyncio.CancelledError):
                look()
        with pytest.raises(asyncio.CancelledError) as caught:
            await gone
        assert caught.value.args == ("why",)

    run(body)


@row
def test_awaiting_twice_gives_the_answer_twice(run: Any) -> None:
    async def body(db: Any) -> None:
        reply = db.fetch_value("select 1")
        assert (await reply, await reply) == (1, 1)
        reply = db.fetch_value("select 2")

        async def waits() -> int:
            return await reply  # type: ignore[no-any-return]

        assert list(await asyncio.gather(waits(), waits())) == [2, 2]

    run(body)


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="none")


@row
def test_done_callbacks(run: Any) -> None:
    """In their order, each in its context, never at once; those taken back are not called."""

    async def body(db: Any) -> None:
        seen: list[tuple[int, str, bool]] = []
        reply = db.fetch_value("select 1")

        def note(number: int) -> Callable[[Any], None]:
            return lambda one: seen.append((number, VARIABLE.get(), one is reply))

        VARIABLE.set("first")
        reply.add_done_callback(note(1))
        VARIABLE.set("second")
        reply.add_done_callback(note(2))
        other = contextvars.copy_context()
        other.run(VARIABLE.set, "given")
        reply.add_done_callback(note(3), context=other)
        gone = note(4)
        reply.add_done_callback(gone)
        reply.add_done_callback(gone)
        assert reply.remove_done_callback(gone) == 2
        assert reply.remove_done_callback(gone) == 0
        VARIABLE.set("late")
        await reply
        reply.add_done_callback(note(5))
        assert [one[0] for one in seen if one[0] == 5] == []
        await asyncio.sleep(0.01)
        assert seen == [(1, "first", True), (2, "second", True), (3, "given", True), (5, "late", True)]

    run(body)


class Compared:
    """A callback with code of its own where it is compared."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, seen: list[str], act: Callable[[], object]) -> None:
        self.seen = seen
        self.act = act

    def __call__(self, _: Any) -> None:
        self.seen.append("called")

    def __eq__(self, other: object) -> bool:
        self.act()
        return False


@row
def test_taking_a_callback_back_harms_no_other(run: Any) -> None:
    """Whatever happens while callbacks are compared, those that stay are called: a task may be among them."""

    async def body(db: Any) -> None:
        seen: list[str] = []
        reply = db.fetch_value("select 1")

        def refuse() -> None:
            raise ValueError("compared")

        reply.add_done_callback(Compared(seen, refuse))
        reply.add_done_callback(lambda _: seen.append("plain"))
        with pytest.raises(ValueError, match="compared"):
            reply.remove_done_callback(print)
        assert await reply == 1
        await asyncio.sleep(0)
        assert seen == ["called", "plain"]

        seen.clear()
        given_up = db.fetch_value("select pg_sleep(5)")
        given_up.add_done_callback(Compared(seen, given_up.cancel))
        assert given_up.remove_done_callback(print) == 0
        with pytest.raises(asyncio.CancelledError):
            await given_up
        await asyncio.sleep(0)
        assert seen == ["called"]

    run(body)


@row
def test_tasks_keep_their_contexts(run: Any) -> None:
    """A task woken directly sees its own variables, not its neighbour's."""

    async def body(db: Any) -> None:
        async def one(name: str) -> None:
            VARIABLE.set(name)
            for _ in range(5):
                await db.fetch_value("select pg_sleep(0) is null")
                assert VARIABLE.get() == name
                assert asyncio.current_task() is not None
                assert asyncio.current_task().get_name() == name  # type: ignore[union-attr]

        async with asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(one(f"task {number}"), name=f"task {number}")

    run(body)


@row
def test_a_raising_callback_goes_to_the_loop(run: Any) -> None:
    async def body(db: Any) -> None:
        heard: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: heard.append(context["exception"])
        )
        reply = db.fetch_value("select 1")

        def broken(_: object) -> None:
            raise ValueError("callback")

        reply.add_done_callback(broken)
        assert await reply == 1
        await asyncio.sleep(0.01)
        assert [type(one) for one in heard] == [ValueError]
        assert await db.fetch_value("select 2") == 2

    run(body)


@row
def test_order_of_results_is_the_order_of_calls(run: Any) -> None:
    async def body(db: Any) -> None:
        order: list[int] = []

        async def one(number: int) -> None:
            await db.fetch_value(f"select {number}")
            order.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(one(number))
        assert order == sorted(order)

    run(body)


@row
@pytest.mark.filterwarnings("default")
def test_dropped_unawaited_warns_with_the_call_site(run: Any) -> None:
    async def body(db: Any) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            db.fetch_value("select 1")
            line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
            assert await db.fetch_value("select 2") == 2
            await asyncio.sleep(0.01)
            gc.collect()
        mine = [one for one in caught if issubclass(one.category, RuntimeWarning)]
        assert len(mine) == 1, caught
        assert "fetch_value() was never awaited" in str(mine[0].message)
        assert (mine[0].filename, mine[0].lineno) == (__file__, line)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            db.fetch_value("select 1/0")
            await db.fetch_value("select 2")
            await asyncio.sleep(0.01)
            gc.collect()
        assert any("division by zero" in str(one.message) for one in caught), caught

    run(body)


@row
def test_seen_results_do_not_warn(run: Any) -> None:
    async def body(db: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reply = db.fetch_value("select 1")
            reply.add_done_callback(lambda _: None)
            gone = db.fetch_value("select 1")
            gone.cancel()
            shut = db.fetch_value("select 1")
            shut.close()
            with pytest.raises(errors.InterfaceError):
                db.fetch_value("select 1", timeout=-1)
            del reply, gone, shut
            await db.fetch_value("select 2")
            gc.collect()

    run(body)


@row
def test_throw_and_close_give_the_call_up(run: Any) -> None:
    async def body(db: Any) -> None:
        reply = db.fetch_value("select pg_sleep(10)")
        with pytest.raises(KeyError):
            reply.throw(KeyError("x"))
        assert reply.cancelled()
        other = db.fetch_value("select pg_sleep(10)")
        other.close()
        assert other.cancelled()
        begun = time.monotonic()
        assert await asyncio.wait_for(db.fetch_value("select 1"), 5) == 1
        assert time.monotonic() - begun < 2

    run(body)


@row
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_task_that_ends_the_loop_loses_nobodys_answer(
    server: EmbeddedServer, kind: type[BaseException]
) -> None:
    """It raises out of the loop, as from any callback; run the loop again and the others have their answers."""
    for factory in (asyncio.SelectorEventLoop, NoReaders):
        loop = factory()
        try:
            db = loop.run_until_complete(_opened(server))

            async def stops(db: Any = db) -> None:
                await db.fetch_value("select 100")
                raise kind

            async def goes_on(number: int, db: Any = db) -> int:
                return await db.fetch_value(f"select {number}")  # type: ignore[no-any-return]

            before = [loop.create_task(goes_on(i)) for i in range(3)]
            task = loop.create_task(stops())
            after = [loop.create_task(goes_on(i)) for i in range(3, 6)]
            with pytest.raises(kind):
                loop.run_until_complete(asyncio.sleep(LIMIT))
            assert isinstance(task.exception(), kind)
            got = loop.run_until_complete(asyncio.wait_for(_gathered(before + after), LIMIT))
            assert got == list(range(6))
            assert loop.run_until_complete(goes_on(9)) == 9
            loop.run_until_complete(db.close())
        finally:
            loop.close()


async def _gathered(tasks: list[Any]) -> list[Any]:
    await asyncio.wait(tasks)
    return [one.result() for one in tasks]


@row
def test_debug_mode(run: Any) -> None:
    async def body(db: Any) -> None:
        assert await db.fetch_value("select 1") == 1
        got = await asyncio.gather(*(db.fetch_value("select $1::int4", i) for i in range(10)))
        assert got == list(range(10))
        task = asyncio.create_task(db.fetch_value("select pg_sleep(10)"))
        await asyncio.sleep(0.05)
        assert "fetch_value" in repr(task) or "Reply" in repr(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await db.fetch_value("select 1") == 1

    run(body, debug=True)


@row
def test_large_answers_and_parameters(run: Any) -> None:
    """Both directions together, more than any socket buffer."""

    async def body(db: Any) -> None:
        text = "x" * 3_000_000
        got = await asyncio.gather(*(db.fetch_value("select $1::text", text) for _ in range(8)))
        assert [len(one) for one in got] == [len(text)] * 8
        rows = await db.fetch_all("select i, repeat('y', 100) from generate_series(1, 50000) i")
        assert len(rows) == 50_000
        assert rows[-1][0] == 50_000

    run(body)


@row
@pytest.mark.row("S05", face="async")
def test_a_killed_backend_fails_everything_queued(run: Any, server: EmbeddedServer) -> None:
    async def body(db: Any) -> None:
        heard: list[Any] = []
        db.add_close_listener(heard.append)
        calls = [asyncio.ensure_future(db.fetch_value("select pg_sleep(10)")) for _ in range(5)]
        killer = pgoxide.Connection.connect(server.config())
        await asyncio.sleep(0.05)
        killer.execute("select pg_terminate_backend($1)", db.backend_pid)
        killer.close()
        got = await asyncio.wait_for(_settled(calls), 5)
        assert all(isinstance(one, errors.ConnectionClosed) for one in got), got
        assert all(isinstance(one.__cause__, errors.class_for("57P01")) for one in got)
        assert db.closed
        assert len(heard) == 1

    run(body)


async def _settled(calls: list[Any]) -> list[Any]:
    got: list[Any] = []
    for one in calls:
        try:
            got.append(await one)
        except Exception as error:
            got.append(error)
    return got


@row
@pytest.mark.row("S07", face="async")
def test_a_backend_killed_while_idle_is_noticed(run: Any, server: EmbeddedServer) -> None:
    async def body(db: Any) -> None:
        killer = pgoxide.Connection.connect(server.config())
        killer.execute("select pg_terminate_backend($1)", db.backend_pid)
        killer.close()
        begun = time.monotonic()
        while not db.closed:
            await asyncio.sleep(0.005)
            assert time.monotonic() - begun < 2
        assert time.monotonic() - begun < 0.5

    run(body)


@row
@pytest.mark.row("S11", face="async")
def test_close_with_calls_in_flight(run: Any) -> None:
    async def body(db: Any) -> None:
        reply = db.fetch_value("select pg_sleep(0.1) is null")
        await db.close()
        assert await reply is False

    run(body)


@ASYNC
async def test_one_turn_of_the_loop_per_answer(face: str, runner: Any, peer: Any) -> None:
    """A task waiting for an answer is woken by the read itself, not one turn later."""
    at = peer([send(greeting()), answer(ones)])
    db = await open_at(face, at.where)
    turns = kept_awake = 0
    loop = asyncio.get_running_loop()
    plain = loop._run_once  # type: ignore[attr-defined]

    def counted() -> None:
        nonlocal turns, kept_awake
        turns += 1
        # The turns in which the connection looks for its answer before it comes.
        kept_awake += any("Reader.turn" in repr(handle) for handle in loop._ready)  # type: ignore[attr-defined]  # asyncio's own
        plain()

    await db.fetch_value("select 1")
    loop._run_once = counted  # type: ignore[attr-defined]
    try:
        await db.fetch_value("select 1")
        assert turns - kept_awake <= 3
    finally:
        loop._run_once = plain  # type: ignore[attr-defined]
    await db.close()


def test_python_is_new_enough() -> None:
    assert sys.version_info >= (3, 11)
