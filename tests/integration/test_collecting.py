"""What the garbage collector must be able to follow, and what must not wait for it."""

from __future__ import annotations

import asyncio
import gc
import resource
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import pgoxide
from fixtures.fix_script import error, send
from pgoxide.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.pg

ASYNC = pytest.mark.parametrize("face", ["async"])


class Marked:
    """Can be referred to weakly."""


def alive(references: list[weakref.ref[Any]]) -> int:
    return sum(one() is not None for one in references)


# ---- refused connects


class AsyncWatched(pgoxide.AsyncConnection):
    made: ClassVar[list[weakref.ref[Any]]] = []

    def __new__(cls, **options: Any) -> Any:
        self = super().__new__(cls, **options)
        cls.made.append(weakref.ref(self))
        return self


class Watched(pgoxide.Connection):
    made: ClassVar[list[weakref.ref[Any]]] = []

    def __new__(cls, **options: Any) -> Any:
        self = super().__new__(cls, **options)
        cls.made.append(weakref.ref(self))
        return self


async def refused_once(face: str, where: dict[str, Any], sqlstate: str) -> None:
    try:  # pytest.raises would make a cycle of its own: exception, traceback, this frame, its record of the exception
        if face == "async":
            await AsyncWatched.connect(**where, connect_timeout=10)
        else:
            Watched.connect(**where, connect_timeout=10)
    except Error as refusal:
        assert getattr(refusal, "sqlstate", None) == sqlstate
    else:
        raise AssertionError("it was not refused")


@pytest.mark.parametrize("sqlstate", ["57P03", "53300", "3D000"])
async def test_refused_connects_leave_nothing(
    face: str, runner: Any, peer: Callable[..., Any], sqlstate: str
) -> None:
    """Without the collector's help: a retry loop is no place to wait for it."""
    at = peer([send(error(sqlstate, "not now", severity="FATAL"))], lenient=True)
    watched = AsyncWatched if face == "async" else Watched
    watched.made.clear()
    gc.disable()
    try:
        for _ in range(200):
            await refused_once(face, at.where, sqlstate)
            if face == "async":
                await asyncio.sleep(0)
        left = alive(watched.made)
    finally:
        gc.enable()
    assert len(watched.made) == 200
    assert left <= 2  # the last one's exception may still be referred to


async def test_refused_connects_need_no_memory(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """128 KiB a page: 400 of them would show."""
    at = peer([send(error("53300", "too many", severity="FATAL"))], lenient=True)
    for _ in range(50):
        await refused_once(face, at.where, "53300")
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(400):
        await refused_once(face, at.where, "53300")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 25_000  # KiB; leaked pages alone are 51 200


async def test_a_lost_connection_lets_go_of_its_statements(connect: Any) -> None:
    db = await connect()
    for n in range(5):
        await db.fetch_value(f"select {n}")
    db.abort()
    assert db.statement_cache["size"] == 0
    with pytest.raises(pgoxide.errors.ConnectionClosed):
        await db.fetch_value("select 1")


# ---- errors


@ASYNC
@pytest.mark.parametrize("verb", ["fetch_all", "batch", "execute_many"])
async def test_a_frame_that_keeps_its_failed_reply(db: Any, verb: str) -> None:
    references: list[weakref.ref[Any]] = []

    async def fails() -> None:
        local = Marked()
        references.append(weakref.ref(local))
        if verb == "fetch_all":
            reply = db.fetch_all("select 1 / 0")
            await reply
        elif verb == "execute_many":
            await db.execute_many("select 1 / $1", [(0,)])
        else:
            try:
                async with db.batch() as batch:
                    reply = batch.fetch_all("select 1 / 0")
            except Error:
                reply.result()

    for _ in range(3):
        with pytest.raises(Error):
            await fails()
    await db.fetch_value("select 1")
    gc.collect()
    assert alive(references) == 0


@pytest.mark.parametrize("face", ["blocking"])
def test_a_frame_that_keeps_its_failed_batch_reply(face: str, runner: Any, connect: Any) -> None:
    references: list[weakref.ref[Any]] = []
    db = runner.run(connect()).real

    def fails() -> None:
        local = Marked()
        references.append(weakref.ref(local))
        try:
            with db.batch() as batch:
                reply = batch.fetch_all("select 1 / 0")
        except Error:
            reply.result()

    for _ in range(3):
        with pytest.raises(Error):
            fails()
    gc.collect()
    assert alive(references) == 0


# ---- what a statement keeps


class Owner:
    """Owns a connection, and makes its rows."""

    def __init__(self, db: Any) -> None:
        self.db = db

    def make(self, row: Any) -> Any:
        return (self, row)


@pytest.mark.parametrize("kind", ["method", "class", "dataclass"])
async def test_into_that_leads_back_to_the_connection(face: str, runner: Any, server: Any, kind: str) -> None:
    async def use() -> list[weakref.ref[Any]]:
        config = server.config()
        if face == "async":
            db: Any = await pgoxide.AsyncConnection.connect(config)
        else:
            db = pgoxide.Connection.connect(config)
        owner = Owner(db)
        into: Any = owner.make
        if kind == "class":

            class Made:
                connection = db

                def __init__(self, a: int) -> None:
                    self.a = a

            into = Made
        elif kind == "dataclass":

            @dataclass(slots=True)
            class Filled:
                a: int
                connection: Any = db

            into = Filled
        rows = db.fetch_all("select 1 as a", into=into)
        if face == "async":
            rows = await rows
        assert len(rows) == 1
        del rows
        # Open, so that nothing else lets go of the cache; cut by __del__.
        return [
            weakref.ref(owner),
            weakref.ref(db),
            weakref.ref(into.__func__ if kind == "method" else into),
        ][:2]

    with pytest.warns(ResourceWarning, match="unclosed"):
        references = await use()
        gc.collect()
        if face == "async":
            await asyncio.sleep(0)
            gc.collect()
    assert alive(references) == 0


@ASYNC
async def test_a_loop_that_was_left_in_the_middle(face: str, runner: Any, server: Any) -> None:
    """Calls in flight, their tasks and the connection refer to one another; the loop that knew them is gone."""
    references: list[weakref.ref[Any]] = []

    async def leave() -> None:
        db = await pgoxide.AsyncConnection.connect(server.config())
        references.append(weakref.ref(db))

        async def waits() -> None:
            local = Marked()
            references.append(weakref.ref(local))
            await db.fetch_value("select pg_sleep(5)::text")

        asyncio.ensure_future(waits()).add_done_callback(lambda _: None)
        await asyncio.sleep(0.01)

    def abandoned() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        loop.run_until_complete(leave())
        loop.close()

    with pytest.warns(ResourceWarning, match="unclosed"):
        await asyncio.to_thread(abandoned)
        gc.collect()
    assert len(references) == 2
    assert alive(references) == 0


@ASYNC
async def test_a_task_that_waits_for_a_stream(connect: Any) -> None:
    references: list[weakref.ref[Any]] = []
    db = await connect()

    async def reads() -> None:
        local = Marked()
        references.append(weakref.ref(local))
        stream = db.stream("select g, pg_sleep(0.01) from generate_series(1, 1000) g", batch=1)
        async for _ in stream:
            raise KeyError("enough")

    with pytest.raises(KeyError):
        await reads()
    await db.fetch_value("select 1")
    gc.collect()
    assert alive(references) == 0
