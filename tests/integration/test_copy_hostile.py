"""COPY and streams under hostile use: whatever happens in the middle is told, and the connection is as good as before."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from pgoxide.errors import ConnectionClosed, DataError, Error, InterfaceError, OperationalError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]
ASYNC = pytest.mark.parametrize("face", ["async"])
BLOCKING = pytest.mark.parametrize("face", ["blocking"])

MANY = "select g from generate_series(1, 300000) g"


@pytest.fixture(autouse=True)
def table(db: Any, runner: Any) -> None:
    async def make() -> None:
        await db.execute("create temp table c (a int4, b text)")

    runner.run(make())


class Stop(BaseException):
    """No Exception."""


async def alive(db: Any) -> None:
    assert await db.fetch_value("select 41 + 1", timeout=10) == 42


@pytest.mark.row("Y05")
@pytest.mark.parametrize("kind", [Stop, GeneratorExit])
@pytest.mark.parametrize("at", [0, 10, 50_000])
@pytest.mark.parametrize("verb", ["copy_in", "raw", "execute_many"])
async def test_a_source_raises_what_is_no_exception(db: Any, kind: Any, at: int, verb: str) -> None:
    await raising(db, kind, at, verb)


@pytest.mark.row("Y05")
@BLOCKING
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("at", [0, 10, 50_000])
@pytest.mark.parametrize("verb", ["copy_in", "raw", "execute_many"])
async def test_a_source_ends_the_program(db: Any, kind: Any, at: int, verb: str) -> None:
    """On the asynchronous face such an exception ends the loop itself."""
    await raising(db, kind, at, verb)


async def raising(db: Any, kind: Any, at: int, verb: str) -> None:
    """Feeds from a source that raises behind so many records."""

    class Source:
        def __init__(self) -> None:
            self.given = 0

        def __iter__(self) -> Source:
            return self

        def __next__(self) -> Any:
            self.given += 1
            if self.given > at:
                raise kind("mine")
            return b"1\tx\n" if verb == "raw" else (1, "x")

    async def call() -> Any:
        if verb == "execute_many":
            return await db.execute_many("insert into c values ($1, $2)", Source())
        return await db.copy_in("c", Source(), **({"format": "text"} if verb == "raw" else {}))

    with pytest.raises(kind, match="mine"):
        await call()
    assert await db.fetch_value("select count(*) from c", timeout=10) == 0


@pytest.mark.row("Y05")
@pytest.mark.parametrize("kind", [Stop, GeneratorExit, ValueError])
async def test_a_sink_raises(db: Any, kind: Any) -> None:
    def sink(block: bytes) -> None:
        raise kind("mine")

    with pytest.raises(kind, match="mine"):
        await db.copy_out(query=MANY, format="text", to=sink)
    await alive(db)


@pytest.mark.row("Y05")
async def test_a_sink_raises_when_the_server_has_gone(db: Any, connect: Any) -> None:
    other = await connect()
    pid = db.backend_pid
    killer = getattr(other, "real", None)

    async def sink(block: bytes) -> None:
        await other.execute("select pg_terminate_backend($1)", pid)
        raise ValueError("mine")

    def plain(block: bytes) -> None:
        killer.execute("select pg_terminate_backend($1)", pid)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await db.copy_out(query=MANY, format="text", to=plain if killer else sink)
    with pytest.raises(Error):
        await db.fetch_value("select 1")


@pytest.mark.row("Y05", "S05")
@pytest.mark.parametrize("form", [None, "csv"])
async def test_the_server_is_killed_while_it_copies_out(db: Any, connect: Any, form: Any) -> None:
    other = await connect()
    seen = 0
    with pytest.raises((OperationalError, ConnectionClosed, InterfaceError)):
        async for _ in db.copy_out(query=MANY.replace("300000", "5000000"), format=form):
            seen += 1
            if seen == 1000:
                assert await other.fetch_value("select pg_terminate_backend($1)", db.backend_pid)
    assert 1000 <= seen < 5_000_000


@pytest.mark.row("Y05", "S05")
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("then", ["go on", "raise"])
async def test_the_server_is_killed_while_it_copies_in(
    db: Any, connect: Any, face: str, raw: bool, then: str, server: Any
) -> None:
    pid = db.backend_pid

    def source() -> Iterator[Any]:
        for n in range(2_000_000):
            if n == 20_000:
                with pgoxide.Connection.connect(server.dsn()) as killer:
                    killer.execute("select pg_terminate_backend($1)", pid)
                    while killer.fetch_value("select count(*) from pg_stat_activity where pid = $1", pid):
                        pass
                if then == "raise":
                    raise ValueError("mine")
            yield b"1\tx\n" if raw else (n, "x")

    with pytest.raises(ValueError if then == "raise" else (OperationalError, ConnectionClosed)):
        await db.copy_in("c", source(), **({"format": "text"} if raw else {}))
    with pytest.raises(Error):
        await db.fetch_value("select 1")


@pytest.mark.row("Y05")
@pytest.mark.parametrize("verb", ["copy_in", "execute_many"])
async def test_a_source_that_calls_its_own_connection(db: Any, face: str, verb: str) -> None:
    """It could only wait for itself: it is told so."""
    real = getattr(db, "real", db)

    def plain() -> Iterator[Any]:
        yield (1, "x")
        yield (real.fetch_value("select 1", timeout=5), "x")

    async def awaited() -> AsyncIterator[Any]:
        yield (1, "x")
        yield (await real.fetch_value("select 1", timeout=5), "x")

    source = plain() if face == "blocking" else awaited()
    with pytest.raises(InterfaceError):
        if verb == "copy_in":
            await db.copy_in("c", source, timeout=20)
        else:
            await db.execute_many("insert into c values ($1, $2)", source, timeout=20)
    assert await db.fetch_value("select count(*) from c") == 0


@pytest.mark.row("Y03")
async def test_a_sink_that_calls_its_own_connection(db: Any, face: str) -> None:
    real = getattr(db, "real", db)

    async def awaited(block: bytes) -> None:
        await real.fetch_value("select 1", timeout=5)

    def plain(block: bytes) -> None:
        real.fetch_value("select 1", timeout=5)

    with pytest.raises(InterfaceError):
        await db.copy_out(query=MANY, format="csv", to=plain if face == "blocking" else awaited, timeout=20)
    await alive(db)


@pytest.mark.row("Y03")
@ASYNC
async def test_two_tasks_begin_one_copy_out(db: Any) -> None:
    """Never two COPYs, of which each gives some rows."""
    copy = db.copy_out(query="select g from generate_series(1, 1000) g")
    results = await asyncio.gather(copy.__anext__(), copy.__anext__(), return_exceptions=True)
    rows = [r for r in results if isinstance(r, tuple)]
    assert len(set(rows)) == len(rows)
    assert all(isinstance(r, InterfaceError) for r in results if not isinstance(r, tuple)), results
    rest = [row async for row in copy]
    assert sorted(rows + rest) == [(n,) for n in range(1, 1001)]
    await alive(db)


@pytest.mark.row("Y03")
@BLOCKING
async def test_two_threads_begin_one_copy_out(db: Any) -> None:
    copy = db.real.copy_out(query="select g from generate_series(1, 100000) g")
    rows: list[Any] = []
    errors: list[Any] = []
    barrier = threading.Barrier(4)

    def read() -> None:
        barrier.wait()
        try:
            while batch := copy.next_batch():
                rows.extend(batch)
        except InterfaceError as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(rows)) == len(rows)
    if not errors:
        assert len(rows) == 100_000
    copy.close()
    await alive(db)


@pytest.mark.row("Y03")
@pytest.mark.parametrize("form", [None, "csv", "blocks"])
async def test_dropped_half_read(db: Any, face: str, form: Any) -> None:
    copy = db.copy_out(query=MANY.replace("300000", "3000000"), format="text" if form == "blocks" else form)
    if form == "blocks":
        copy = copy.blocks()
    assert await copy.next_batch() if face == "async" else copy.real.next_batch()
    cycle = [copy]
    cycle.append(cycle)
    del copy, cycle
    gc.collect()
    await alive(db)


@pytest.mark.row("Y06")
@BLOCKING
@pytest.mark.parametrize("verb", ["out", "sink", "in", "locked"])
async def test_ctrl_c(db: Any, verb: str, connect: Any) -> None:
    real = db.real
    main = threading.main_thread().ident

    def interrupt() -> None:
        signal.pthread_kill(main, signal.SIGINT)

    timer = threading.Timer(0.3, interrupt)

    def endless() -> Iterator[tuple[int, str]]:
        while True:
            yield 1, "x"

    if verb == "locked":
        other = await connect()
        await other.execute_script("drop table if exists locked_c; create table locked_c (a int4)")
        await other.execute_script("begin; lock table locked_c")
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        if verb == "out":
            for _ in real.copy_out(query="select g from generate_series(1, 100000000) g"):
                pass
        elif verb == "sink":
            real.copy_out(
                query="select g from generate_series(1, 100000000) g", format="csv", to=lambda block: None
            )
        elif verb == "in":
            real.copy_in("c", endless())
        else:
            real.copy_in("locked_c", [(1,)])
    timer.join()
    if verb == "locked":
        await other.execute_script("rollback; drop table locked_c")
    assert await db.fetch_value("select count(*) from c", timeout=10) == 0


@pytest.mark.row("Y01")
@pytest.mark.parametrize("form", ["text", "csv"])
async def test_empty_data(db: Any, tmp_path: Path, form: Any) -> None:
    (tmp_path / "empty").write_bytes(b"")
    for source in (tmp_path / "empty", b"", [], iter(()), io.BytesIO(), [b"", b""]):
        assert (await db.copy_in("c", source, format=form)).rows_affected == 0
    assert (await db.copy_in("c", [])).rows_affected == 0


@pytest.mark.row("Y04")
async def test_csv_cut_anywhere(db: Any) -> None:
    """Quotes, line ends and characters across the borders of pieces."""
    rows = [(1, 'a"b\r\n"",é€😀\\.'), (2, '"' * 9), (3, ""), (4, None), (5, "\\."), (6, "\n\\.\n")]
    await db.copy_in("c", rows, format="csv", header=True)
    data = b""
    if hasattr(db, "real"):
        data = b"".join(db.real.copy_out("c", format="csv", header=True).blocks())
    else:
        data = b"".join([block async for block in db.copy_out("c", format="csv", header=True).blocks()])
    for size in (1, 2, 3, 7):
        await db.execute("truncate c")
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert (await db.copy_in("c", pieces, format="csv", header="match")).rows_affected == len(rows)
        assert await db.fetch_all("select * from c order by a") == rows


@pytest.mark.row("Y04")
@pytest.mark.parametrize("form", ["text", "csv", None])
async def test_long_fields(db: Any, form: Any) -> None:
    long = '"\\\n,é' * 2_000_000
    await db.copy_in("c", [(1, long), (2, "x")], format=form)
    rows = [row async for row in db.copy_out("c", format=form)]
    assert rows == [(1, long), (2, "x")]


@pytest.mark.row("Y01")
async def test_a_file_that_gives_nothing_yet_is_not_at_its_end(db: Any) -> None:
    """A raw file that would block says None."""

    class Raw:
        def __init__(self, pieces: list[Any]) -> None:
            self.pieces = pieces

        def read(self, size: int) -> Any:
            return self.pieces.pop(0) if self.pieces else b""

    for pieces in ([None, b"1\tx\n"], [b"1\tx\n", None, b"2\ty\n"]):
        with pytest.raises(DataError, match="raw data is bytes, not None"):
            await db.copy_in("c", Raw(pieces), format="text")
    assert await db.fetch_value("select count(*) from c") == 0


@pytest.mark.row("Y01")
@ASYNC
async def test_an_asynchronous_file_that_gives_nothing_yet(db: Any) -> None:
    class Raw:
        def __init__(self, pieces: list[Any]) -> None:
            self.pieces = pieces

        async def read(self, size: int) -> Any:
            return self.pieces.pop(0) if self.pieces else b""

    for pieces in ([None, b"1\tx\n"], [b"1\tx\n", None, b"2\ty\n"], ["", b"1\tx\n"]):
        with pytest.raises(DataError, match="raw data is bytes, not"):
            await db.copy_in("c", Raw(pieces), format="text")
    assert await db.fetch_value("select count(*) from c") == 0


@pytest.mark.row("Y01")
async def test_a_raw_file_takes_part_of_a_block(db: Any) -> None:
    class Raw(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += bytes(data[:1000])
            return min(1000, len(data))

    sink = Raw()
    await db.copy_out(query="select g from generate_series(1, 30000) g", format="text", to=sink)
    assert sink.data == b"".join(b"%d\n" % n for n in range(1, 30_001))


@pytest.mark.row("Y01")
async def test_a_full_pipe_is_told(db: Any) -> None:
    """A raw file that takes nothing says None."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb", 0), os.fdopen(writing, "wb", 0) as sink, pytest.raises(BlockingIOError):
        await db.copy_out(query=MANY, format="text", to=sink)
    await alive(db)


@pytest.mark.row("Y05", "X01")
@pytest.mark.parametrize("first", [True, False])
async def test_transaction_blocks_and_failing_sources(db: Any, first: bool) -> None:
    """A COPY that fails leaves its savepoint, not the block around it."""

    def bad() -> Iterator[Any]:
        yield (1, "x")
        raise ValueError("mine")

    async with db.transaction() as tx:
        if first:
            await tx.execute("insert into c values (0, 'kept')")
        with pytest.raises(ValueError, match="mine"):
            async with tx.transaction() as inner:
                await inner.copy_in("c", bad())
        await tx.copy_in("c", [(2, "kept")])
        copied = [row async for row in tx.copy_out("c")]
    assert copied == await db.fetch_all("select * from c")
    assert len(copied) == 1 + first
    with pytest.raises(ValueError, match="mine"):
        async with db.transaction() as tx:
            await tx.copy_in("c", [(3, "y")])
            await tx.copy_in("c", bad())
    assert await db.fetch_value("select count(*) from c where a = 3") == 0


@pytest.mark.row("Y06")
@ASYNC
async def test_cancelled_at_every_turn(db: Any) -> None:
    """Of COPY in and out, in and out of a block: the connection goes on, nothing is loaded."""

    async def source() -> AsyncIterator[tuple[int, str]]:
        for n in range(3000):
            if n % 1000 == 0:
                await asyncio.sleep(0)
            yield n, "x"
        await asyncio.sleep(30)

    async def inside() -> None:
        async with db.transaction() as tx:
            await tx.copy_in("c", source())

    async def out() -> None:
        async for _ in db.copy_out(query="select g from generate_series(1, 30000) g"):
            await asyncio.sleep(0)

    pid = db.backend_pid
    for make in (inside, lambda: db.copy_in("c", source()), out):
        for turns in range(40):
            task = asyncio.ensure_future(make())
            for _ in range(turns):
                await asyncio.sleep(0.0005 if turns % 2 else 0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await db.fetch_value("select count(*) from c", timeout=10) == 0
    assert db.backend_pid == pid
