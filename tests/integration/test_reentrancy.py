"""Python that runs in the middle of a call and turns to the same connection; and back-pressure.

Semantics, section 2: while the connection's state is borrowed, no Python object is created, called or dropped.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import ONE_FLIGHT, expect, greeting, int4_answer, open_at, send, stall
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]
ASYNC = pytest.mark.parametrize("face", ["async"])


def use_again(face: str, db: Any, seen: list[Any]) -> Callable[[], None]:
    """Calls the connection: on the blocking face that is refused, on the other it is queued."""

    def use() -> None:
        if face == "async":
            seen.append(asyncio.ensure_future(db.fetch_value("select 5")))
        else:
            try:
                seen.append(db.real.fetch_value("select 5"))
            except errors.InterfaceError as error:
                seen.append(error)
        for _ in (
            db.closed,
            db.transaction_status,
            db.backend_pid,
            db.parameter("TimeZone"),
            db.statement_cache,
        ):
            pass

    return use


async def check(face: str, db: Any, seen: list[Any]) -> None:
    """The nested calls were answered or refused, and the connection is in step."""
    assert seen
    for one in seen:
        if face == "async":
            assert await asyncio.wait_for(one, 5) == 5
        else:
            assert isinstance(one, errors.InterfaceError), one
            assert "busy with another call" in str(one)
    assert await db.fetch_value("select $1::int4", 6) == 6
    assert await db.fetch_value("select 5") == 5


@pytest.mark.row("R05", "P01")
async def test_row_factory(face: str, db: Any) -> None:
    seen: list[Any] = []
    use = use_again(face, db, seen)
    await db.fetch_value("select 5")

    def make(*values: Any, **named: Any) -> Any:
        use()
        return values or tuple(named.values())

    got = await db.fetch_all("select i from generate_series(1, 3) i", into=make)
    assert len(got) == 3
    await check(face, db, seen)


@pytest.mark.row("S04")
async def test_notice_listener(face: str, db: Any) -> None:
    seen: list[Any] = []
    use = use_again(face, db, seen)
    await db.fetch_value("select 5")
    db.add_notice_listener(lambda _: use())
    await db.execute_script("do $$ begin raise notice 'one'; raise warning 'two'; end $$")
    await check(face, db, seen)


@pytest.mark.row("S04")
async def test_notification_listener(face: str, db: Any) -> None:
    seen: list[Any] = []
    use = use_again(face, db, seen)
    await db.fetch_value("select 5")
    db.add_notification_listener(lambda _: use())
    await db.execute("listen here")
    await db.execute("notify here, 'x'")
    await db.fetch_value("select 1")
    await check(face, db, seen)


@pytest.mark.row("Q08")
@pytest.mark.parametrize(
    "hook", ["__index__", "__str__", "__repr__", "__hash__", "__len__", "__iter__", "__float__"]
)
@pytest.mark.parametrize("oid", ["int4", "text", "float8", "numeric", "int4[]", "jsonb"])
async def test_argument_with_code_of_its_own(face: str, db: Any, hook: str, oid: str) -> None:
    """Whatever an encoder calls may call the connection."""
    seen: list[Any] = []
    use = use_again(face, db, seen)
    await db.fetch_value("select 5")

    def called(self: object) -> Any:
        use()
        return {"__str__": "1", "__repr__": "1", "__float__": 1.0, "__iter__": iter([1])}.get(hook, 1)

    value = type("Value", (), {hook: called})()
    for _ in range(2):
        try:
            await db.fetch_value(f"select $1::{oid}", value)
        except errors.Error:
            pass
    if seen:
        await check(face, db, seen)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("Q08")
async def test_int_and_str_subclasses(face: str, db: Any) -> None:
    seen: list[Any] = []
    use = use_again(face, db, seen)
    await db.fetch_value("select 5")

    class Number(int):
        def __index__(self) -> int:
            use()
            return 3

        __int__ = __index__

        def __eq__(self, other: object) -> bool:
            use()
            return int.__eq__(self, other)

        def __hash__(self) -> int:
            use()
            return 7

    class Text(str):
        __slots__ = ()

        def __hash__(self) -> int:
            use()
            return str.__hash__(self)

        def __eq__(self, other: object) -> bool:
            use()
            return str.__eq__(self, other)

    assert await db.fetch_value("select $1::int4", Number(3)) == 3
    assert await db.fetch_value(Text("select 1")) == 1
    assert await db.fetch_value("select $1::text", Text("x")) == "x"
    if seen:
        await check(face, db, seen)


@pytest.mark.row("P01")
async def test_finalizer_fired_by_the_collector(face: str, db: Any) -> None:
    """`__del__` in a cycle, collected inside a row factory, a listener, a codec, and between."""
    seen: list[Any] = []
    use = use_again(face, db, seen)
    await db.fetch_value("select 5")

    class Cyclic:
        def __init__(self) -> None:
            self.own = self

        def __del__(self) -> None:
            use()

    def collect(*_: Any, **__: Any) -> int:
        Cyclic()
        gc.collect()
        return 1

    class Argument:
        __index__ = collect

    db.add_notice_listener(collect)
    assert await db.fetch_all("select i from generate_series(1, 3) i", into=collect) == [1] * 3
    await db.execute_script("do $$ begin raise notice 'one'; end $$")
    for _ in range(2):
        try:
            await db.fetch_value("select $1::int4", Argument())
        except errors.DataError:
            pass
    await check(face, db, seen)
    if face == "async":
        threshold = gc.get_threshold()
        gc.set_threshold(1, 1, 1)
        try:
            for number in range(50):
                Cyclic()
                assert await db.fetch_value("select $1::int4", number) == number
        finally:
            gc.set_threshold(*threshold)
        await check(face, db, seen)


@pytest.mark.row("S11")
@pytest.mark.parametrize("where", ["factory", "listener", "argument"])
async def test_aborting_in_the_middle(face: str, connect: Any, where: str) -> None:
    """abort() from inside a call: a typed error, no panic, no hang."""
    db = await connect()

    def cut(*_: Any, **__: Any) -> int:
        db.abort()
        return 1

    class Argument:
        __index__ = cut

    into: dict[str, Any] = {"into": cut} if where == "factory" else {}
    if where == "listener":
        db.add_notice_listener(cut)
        await _ignored(lambda: db.execute_script("do $$ begin raise notice 'x'; end $$; select 1"))
    elif where == "argument":
        await _ignored(lambda: db.fetch_value("select $1::int4", Argument()))
        db.abort()  # an int by __index__ may be refused before it is called
    else:
        await _ignored(lambda: db.fetch_all("select i from generate_series(1, 100000) i", **into))
    assert db.closed
    with pytest.raises(errors.ConnectionClosed):
        await db.fetch_value("select 1")


async def _ignored(make: Callable[[], Any]) -> None:
    """An error of ours or an answer; a call that never ends fails the test."""
    try:
        call = make()
        await (asyncio.wait_for(call, 5) if asyncio.isfuture(call) else call)
    except errors.Error:
        pass


@pytest.mark.row("R05")
async def test_a_raising_factory_fails_its_own_call_only(face: str, db: Any) -> None:
    def make(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("mine")

    for _ in range(2):
        with pytest.raises((ZeroDivisionError, errors.Error)):
            await db.fetch_all("select i from generate_series(1, 100000) i", into=make)
        assert await db.fetch_value("select 1") == 1


@ASYNC
@pytest.mark.row("K01")
async def test_cancelling_from_inside_a_row_factory(face: str, db: Any) -> None:
    reply: Any = None

    def make(*_: Any, **__: Any) -> int:
        reply.cancel()
        return 1

    reply = db.fetch_all("select i from generate_series(1, 200000) i", into=make)
    with pytest.raises(asyncio.CancelledError):
        await reply
    assert await asyncio.wait_for(db.fetch_value("select 1"), 5) == 1


# ---- back-pressure


def resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@ASYNC
@pytest.mark.slow
@pytest.mark.row("P04")
@pytest.mark.parametrize("warm", ["described", "first use", "no parameters"])
async def test_a_flood_against_a_stalled_server(face: str, runner: Any, peer: Any, warm: str) -> None:
    """50 000 calls nobody answers: QueueFull, in bounded memory; a described statement, one that must wait, one flight."""
    script = [send(greeting()), stall]
    if warm == "described":
        script = [send(greeting()), expect(ONE_FLIGHT), send(int4_answer(1)), stall]
    at = peer(script, lenient=True)
    db = await open_at(face, at.where, max_queued_hard=1 << 20)
    sql, arguments = ("select $1::int4", (1,)) if warm == "first use" else ("show 1", ())
    if warm == "described":
        assert await db.fetch_value(sql) == 1
    before = resident()
    replies, full = [], 0
    begun = time.monotonic()
    for _ in range(50_000):
        try:
            replies.append(db.fetch_value(sql, *arguments))
        except errors.QueueFull:
            full += 1
            if full > 100:
                break
    grown, taken = resident() - before, time.monotonic() - begun
    db.abort()
    for one in replies:
        assert isinstance(one.exception(), errors.ConnectionClosed)
    accepted = len(replies)
    del replies
    assert full, f"{accepted} calls were accepted"
    assert grown < 300 << 20
    assert taken < 30


@ASYNC
@pytest.mark.row("P04")
async def test_after_queue_full_it_goes_on(face: str, connect: Any) -> None:
    db = await connect(max_queued_hard=1 << 20)
    text = "x" * 100_000
    await db.fetch_value("select length($1::text)", text)
    replies: list[Any] = []
    with pytest.raises(errors.QueueFull):
        for _ in range(100):
            replies.append(db.fetch_value("select length($1::text)", text))
    assert [await one for one in replies] == [100_000] * len(replies)
    assert await db.fetch_value("select length($1::text)", text) == 100_000


@ASYNC
@pytest.mark.slow
@pytest.mark.row("P04")
async def test_large_parameters_with_results_throttled_both_ways(
    face: str, server: Any, runner: Any, faults: Any
) -> None:
    """10 MB up and 10 MB back, 100 times, pipelined, through a line slow in both directions: no deadlock."""
    relay = faults()
    relay.frontend.rate = relay.backend.rate = 400e6
    config = server.config()
    db = await open_at(
        face, {"user": config.user, "database": config.database} | relay.where, max_queued_hard=1 << 31
    )
    text = "x" * (10 << 20)
    await db.fetch_value("select $1::text", "")

    async def one() -> None:
        got = await db.fetch_value("select $1::text", text)
        assert len(got) == len(text)

    gate = asyncio.Semaphore(8)

    async def bounded() -> None:
        async with gate:
            await one()

    async with asyncio.timeout(55):
        await asyncio.gather(*(bounded() for _ in range(30)))
    await db.close()


@pytest.mark.row("P04")
async def test_one_large_exchange_on_both_faces(face: str, server: Any, runner: Any, faults: Any) -> None:
    relay = faults()
    relay.frontend.rate = relay.backend.rate = 100e6
    config = server.config()
    db = await open_at(face, {"user": config.user, "database": config.database} | relay.where)
    text = "y" * (10 << 20)
    for _ in range(3):
        assert len(await db.fetch_value("select $1::text", text)) == len(text)
    async with db.batch() as batch:
        results = [batch.fetch_value("select $1::text", text[: 1 << 20]) for _ in range(8)]
    assert [len(one.result()) for one in results] == [1 << 20] * 8
    await db.close()


@ASYNC
@pytest.mark.row("P04")
async def test_reading_goes_on_while_writing(face: str, connect: Any) -> None:
    """The server answers before it has read everything; were we not to read, both would wait for ever."""
    db = await connect(max_queued_hard=1 << 30)
    text = "z" * 1_000_000
    await db.fetch_value("select $1::text", "")
    got = await asyncio.wait_for(
        asyncio.gather(*(db.fetch_value("select $1::text", text) for _ in range(60))), 50
    )
    assert [len(one) for one in got] == [len(text)] * 60
