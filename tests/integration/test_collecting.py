"""What the garbage collector must be able to follow, and what must not wait for it."""

from __future__ import annotations

import asyncio
import enum
import gc
import resource
import sys
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import pgoxide
from fixtures.fix_faces import Blocking
from fixtures.fix_script import error, send
from pgoxide.errors import DataError, Error
from pgoxide.types import Codec, Columns

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.pg

ASYNC = pytest.mark.parametrize("face", ["async"])


class Marked:
    """Can be referred to weakly."""


def alive(references: list[weakref.ref[Any]]) -> int:
    return sum(one() is not None for one in references)


# ---- streams


def read_and_fail(face: str, runner: Any, server: Any, kind: str, made: list[weakref.ref[Any]]) -> None:
    """The frame that fails has the connection and the stream, which keeps the error for whoever reads on."""

    async def fails_async() -> None:
        db = await pgoxide.AsyncConnection.connect(server.config())
        made.append(weakref.ref(db))
        query = "select 1 / (5 - n) from generate_series(1, 10) as n"
        stream = db.stream(query, batch=2) if kind == "stream" else db.copy_out(query=query)
        try:
            async for _ in stream:
                pass
        finally:
            await db.close()

    def fails() -> None:
        db = pgoxide.Connection.connect(server.config())
        made.append(weakref.ref(db))
        query = "select 1 / (5 - n) from generate_series(1, 10) as n"
        stream = db.stream(query, batch=2) if kind == "stream" else db.copy_out(query=query)
        try:
            for _ in stream:
                pass
        finally:
            db.close()

    try:  # as above
        runner.run(fails_async()) if face == "async" else fails()
    except pgoxide.errors.class_for("22012"):
        return
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("kind", ["stream", "copy"])
def test_a_frame_that_keeps_its_failed_stream(face: str, runner: Any, server: Any, kind: str) -> None:
    made: list[weakref.ref[Any]] = []
    for _ in range(3):
        read_and_fail(face, runner, server, kind, made)
    gc.collect()
    assert alive(made) == 0


async def test_rows_that_lead_back_to_their_stream(face: str, db: Any) -> None:
    real = getattr(db, "real", db)
    streams: list[Any] = []
    made: list[weakref.ref[Any]] = []

    class Tied:
        def __init__(self, n: int) -> None:
            self.n = n
            self.stream = streams[0]
            made.append(weakref.ref(self))

    streams.append(real.stream("select generate_series(1, 100) as n", batch=10, into=Tied))
    first = await anext(streams[0]) if face == "async" else next(streams[0])
    assert first.n == 1
    del first
    streams.clear()
    gc.collect()
    assert alive(made) == 0
    assert await db.fetch_value("select 1") == 1


# ---- refused connects


class AsyncWatched(pgoxide.AsyncConnection):
    made: ClassVar[list[weakref.ref[Any]]] = []

    def __new__(cls, of: Any, /) -> Any:
        self = super().__new__(cls, of)
        cls.made.append(weakref.ref(self))
        return self


class Watched(pgoxide.Connection):
    made: ClassVar[list[weakref.ref[Any]]] = []

    def __new__(cls, of: Any, /) -> Any:
        self = super().__new__(cls, of)
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


# ---- large results

CONTAINERS = """select array[g, g + 1] as ints, array[[g::text], [null]] as texts, '10.0.0.1/24'::inet as net,
    jsonb_build_object('id', g, 'tags', jsonb_build_array('a', g), 'inner', '{"a": {"b": 1}}'::jsonb) as doc,
    row(g, array[g]) as anonymous, array[row(1, g)] as records, '{[1,2),[5,6)}'::int4multirange as spans
    from generate_series(1, 3000) g"""
COLUMNS = ("ints", "texts", "net", "doc", "anonymous", "records", "spans")


@dataclass
class Whole:
    ints: list[int]
    texts: list[list[str | None]]
    net: Any
    doc: dict[str, Any]
    anonymous: tuple[Any, ...]
    records: list[tuple[Any, ...]]
    spans: Any


@dataclass
class Looked(Whole):
    def __post_init__(self) -> None:
        assert gc.is_tracked(self.ints)
        assert gc.is_tracked(self.doc)


def looked(row: Any) -> Any:
    assert gc.is_tracked(row)
    assert gc.is_tracked(row.texts)
    assert gc.is_tracked(row.texts[0])
    return row


def unknown(value: Any, told: Callable[[Any], bool] = gc.is_tracked) -> list[Any]:
    """Containers in it that the collector must know and does not."""
    if isinstance(value, dict):
        holds = any(isinstance(item, (dict, list)) for item in value.values())
        inner = [left for item in value.values() for left in unknown(item)]
        return [value, *inner] if holds and not told(value) else inner
    if isinstance(value, (list, tuple)):
        inner = [left for item in value for left in unknown(item)]
        scalar = isinstance(value, tuple) and not any(isinstance(item, (dict, list)) for item in value)
        return inner if scalar or told(value) else [value, *inner]
    return []


def values(row: Any) -> Any:
    if isinstance(row, dict):
        return tuple(row.values())
    return row if isinstance(row, tuple) else tuple(getattr(row, name) for name in COLUMNS)


@pytest.mark.parametrize("into", [None, tuple, dict, Whole, Looked, looked])
async def test_the_collector_knows_a_large_result(db: Any, into: Any) -> None:
    rows = await (db.fetch_all(CONTAINERS) if into is None else db.fetch_all(CONTAINERS, into=into))
    assert len(rows) == 3000
    for number, row in enumerate(rows, 1):
        found = values(row)
        assert found[0] == [number, number + 1]
        assert found[3]["inner"] == {"a": {"b": 1}}
        assert unknown(found) == []
        assert gc.is_tracked(row)


async def test_the_collector_knows_columns_streams_and_batches(db: Any) -> None:
    column = await db.fetch_column("select array[g] from generate_series(1, 3000) g")
    assert len(column) == 3000
    assert unknown(column) == []
    async with db.stream(CONTAINERS, batch=700) as stream:
        async for row in stream:
            assert unknown(row) == []
    async with db.batch() as batch:
        first, second = batch.fetch_all(CONTAINERS), batch.fetch_all(CONTAINERS)
    assert unknown(first.result()) == unknown(second.result()) == []


async def test_the_collector_knows_what_a_stream_gave_before_it_failed(db: Any) -> None:
    """The rows in front of the one that cannot be read are handed out all the same."""
    sql = """select array[g] as ints, ('{"a": [1], "' || case when g < 90 then 'b' else 'a' end || '": {}}')::json as doc
        from generate_series(1, 100) g"""
    references: list[weakref.ref[Any]] = []
    for batch in (100, 1000):
        rows = []
        with pytest.raises(DataError, match="more than once"):
            async with db.stream(sql, batch=batch) as stream:
                async for row in stream:
                    rows.append(row)
        assert len(rows) == 89
        assert [unknown(tuple(row)) for row in rows if unknown(tuple(row))] == []
        mark = Marked()
        references.append(weakref.ref(mark))
        rows[5].ints.append([rows, mark])
        del rows, row, mark
    gc.collect()
    assert alive(references) == 0


async def test_a_cycle_through_a_large_result_is_found(db: Any) -> None:
    rows = await db.fetch_all(CONTAINERS)
    marks = [Marked(), Marked(), Marked()]
    references = [weakref.ref(mark) for mark in marks]
    for container, mark in zip((rows[0].ints, rows[1].texts[1], rows[2].doc["tags"]), marks, strict=True):
        container.append([rows, mark])
    marks.clear()
    del rows, container, mark
    gc.collect()
    assert alive(references) == 0


async def test_users_see_only_what_the_collector_knows(connect: Any) -> None:
    seen = []

    def decode(value: Any) -> Any:
        seen.append(gc.is_tracked(value))
        return value

    codec = pgoxide.types.Codec(decode, format="value")
    db = await connect(codecs={"int4[]": codec})
    await db.fetch_all("select array[g::int4] as ints from generate_series(1, 2000) g")
    assert len(seen) == 2000
    assert all(seen)


async def test_a_large_result_that_fails_leaves_nothing(db: Any) -> None:
    failing = """select array[g], ('{"a": [1], "' || case when g < 2900 then 'b' else 'a' end || '": {}}')::json
        from generate_series(1, 3000) g"""
    for attempt in range(12):
        if attempt == 4:
            gc.collect()
            before = sys.getallocatedblocks()
        with pytest.raises(DataError, match="more than once"):
            await db.fetch_all(failing)
    gc.collect()
    assert sys.getallocatedblocks() - before < 3_000  # of one attempt 20 000


@pytest.mark.parametrize("enabled", [True, False])
async def test_the_collector_is_the_users(db: Any, enabled: bool) -> None:
    """It runs while a large result is made, when it is enabled, and finds what is garbage elsewhere."""
    sql = "select array[g] from generate_series(1, 50000) g"
    await db.fetch_all(sql)
    runs: list[str] = []

    def count(phase: str, _info: Any) -> None:
        runs.append(phase)

    gc.collect()
    mark = Marked()
    mark.itself = mark  # type: ignore[attr-defined]  # a cycle
    reference = weakref.ref(mark)
    del mark
    gc.callbacks.append(count)
    if not enabled:
        gc.disable()
    try:
        rows = await db.fetch_all(sql)
        assert gc.isenabled() == enabled
        found = reference() is None
    finally:
        gc.enable()
        gc.callbacks.remove(count)
    assert len(rows) == 50_000
    assert bool(runs) == enabled
    assert found == enabled


# ---- codecs


@pytest.mark.row("T05")
@pytest.mark.usefixtures("runner")
@pytest.mark.parametrize("how", ["connection", "enum", "columns", "prepared"])
async def test_codecs_and_classes_that_lead_to_their_connection(server, face, how):
    """A service that holds its connection, and whose methods are the connection's codecs."""

    async def use() -> weakref.ref[Any]:
        service = Marked()
        codec = Codec(
            lambda value, service=service: value, lambda value, service=service: value, format="value"
        )
        mood = enum.Enum("Mood", {"SAD": "sad"})
        mood.service = service
        codecs = {"connection": {"int4": codec}, "enum": {"collected_mood": mood}}.get(how, {})
        db: Any
        if face == "async":
            db = await pgoxide.AsyncConnection.connect(server.dsn(), codecs=codecs)
        else:
            db = Blocking(pgoxide.Connection.connect(server.dsn(), codecs=codecs))
        service.db = db
        await db.execute("create type pg_temp.collected_mood as enum ('sad')")
        for _ in range(2):
            if how == "columns":
                await db.fetch_value("select 1 as a", into=Columns({"a": codec}))
            elif how == "enum":
                assert await db.fetch_value("select $1::pg_temp.collected_mood", mood.SAD) is mood.SAD
            else:
                assert await db.fetch_value("select $1::int4", 1) == 1
                assert await db.fetch_value("select $1::int4[]", [1]) == [1]
        if how == "prepared":
            made = dataclass(type("Made", (), {"__annotations__": {"a": int}}))
            made.statement = await db.prepare("select 1 as a", into=made)
            made.service = service
        await db.close()
        return weakref.ref(service)

    service = await use()
    if face == "async":
        await asyncio.sleep(0.05)  # what the event loop still has to call
    for _ in range(3):
        gc.collect()
    assert service() is None
