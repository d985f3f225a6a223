"""`copy_out`: rows and raw data, as they come; wherever it is left, the connection is in step and free again."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import gc
import io
import os
import shutil
import tempfile
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide.errors import (
    DataError,
    DivisionByZero,
    InterfaceError,
    ProgrammingError,
    QueryTimeout,
    SyntaxErrorOrAccessRuleViolation,
    UndefinedParameter,
    UndefinedTable,
    WrongObjectType,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]
ASYNC = pytest.mark.parametrize("face", ["async"])

MANY = "select n, repeat('x', 90) as filler from generate_series(1, 1000000) as n"
"""About 100 MB: no buffer on the way holds it."""

PATIENCE = 10.0


async def is_free(db: Any) -> None:
    """The connection answers, in step and outside a transaction."""
    assert await db.fetch_value("select 7", timeout=PATIENCE) == 7
    assert await db.fetch_value("select $1::int4", 8, timeout=PATIENCE) == 8
    assert db.transaction_status == "idle"


async def table(db: Any, rows: int = 10) -> None:
    await db.execute(
        "create temp table c (a int4, b text, t timestamptz, j jsonb, g int4 generated always as (a + 1) stored)"
    )
    await db.execute(
        "insert into c select n, nullif('row ' || n, 'row 3'), to_timestamp(n), jsonb_build_object('n', n)"
        " from generate_series(1, $1::int4) as n",
        rows,
    )


# ---- rows


@pytest.mark.row("Y03")
async def test_rows_are_those_of_a_select(db: Any) -> None:
    await table(db)
    copied = db.copy_out("c")
    rows = [row async for row in copied]
    assert rows == await db.fetch_all("select a, b, t, j from c")
    assert rows[2].b is None
    assert rows[0].j == {"n": 1}
    assert (copied.tag.text, copied.tag.rows_affected) == ("COPY 10", 10)
    assert [row async for row in db.copy_out("c", columns=["b", "a"])] == await db.fetch_all(
        "select b, a from c"
    )
    query = "select a / 3.0 as third, g from c where a > 4 -- a comment"
    assert [row async for row in db.copy_out(query=query)] == await db.fetch_all(query)
    await is_free(db)


@dataclasses.dataclass
class Pair:
    a: int
    b: str | None


@pytest.mark.row("Y03")
async def test_into(db: Any) -> None:
    await table(db, 3)
    assert [one async for one in db.copy_out("c", columns=["a"], into=int)] == [1, 2, 3]
    pairs = db.copy_out(("pg_temp", "c"), columns=["a", "b"], into=Pair)
    assert await pairs.next_batch() == [Pair(1, "row 1"), Pair(2, "row 2"), Pair(3, None)]
    assert await pairs.next_batch() == []
    assert [one async for one in db.copy_out("c", columns=["a"], into=lambda row: row.a * 2)] == [2, 4, 6]
    with pytest.raises(ProgrammingError, match="one column"):
        await db.copy_out("c", columns=["b", "a"], into=int).next_batch()
    await is_free(db)


@pytest.mark.row("Y03")
async def test_no_rows_and_many(db: Any) -> None:
    await table(db, 0)
    empty = db.copy_out("c")
    assert await empty.next_batch() == []
    assert empty.tag.rows_affected == 0
    async with db.copy_out(query="select n from generate_series(1, 300000) as n", into=int) as numbers:
        total = count = batches = 0
        while batch := await numbers.next_batch():
            batches += 1
            total, count = total + sum(batch), count + len(batch)
    assert (count, total, numbers.tag.rows_affected) == (300_000, 300_000 * 300_001 // 2, 300_000)
    assert batches > 10  # it came in pieces
    await is_free(db)


@pytest.mark.row("Y03")
async def test_a_batch_begun_row_by_row(db: Any) -> None:
    async with db.copy_out(query="select generate_series(1, 20)", into=int) as numbers:
        got = []
        async for n in numbers:
            got.append(n)
            if n == 2:
                break
        got += await numbers.next_batch()
        got += [n async for n in numbers]
    assert got == list(range(1, 21))
    await is_free(db)


# ---- raw data


@pytest.mark.row("Y01")
@pytest.mark.row("Y10")
async def test_blocks_in_each_format_with_options(db: Any) -> None:
    await table(db, 3)

    async def data(form: str, **options: Any) -> bytes:
        copied = db.copy_out("c", columns=["a", "b"], format=form, **options).blocks()
        return b"".join([block async for block in copied])

    assert await data("text") == b"1\trow 1\n2\trow 2\n3\t\\N\n"
    assert await data("csv", header=True, delimiter=";", null="-", force_quote=["b"]) == (
        b'a;b\n1;"row 1"\n2;"row 2"\n3;-\n'
    )
    assert await data("csv", force_quote="*", quote="'", escape="\\") == b"'1','row 1'\n'2','row 2'\n'3',\n"
    assert (await data("csv", encoding="utf8", null="\\'x"))[-6:] == b"3,\\'x\n"
    assert (await data("binary")).startswith(b"PGCOPY\n\xff\r\n\0")
    assert (await data("binary")).endswith(b"\xff\xff")
    latin = db.copy_out(query="select 'é'", format="text", encoding="latin1").blocks()
    assert [block async for block in latin] == [b"\xe9\n"]
    await is_free(db)


@pytest.mark.row("Y01")
async def test_blocks_are_large_and_all_of_it(db: Any) -> None:
    query = "select n, n * 2 from generate_series(1, 400000) as n"
    copied = db.copy_out(query=query, format="text").blocks()
    blocks = [block async for block in copied]
    assert all(len(block) >= 64 << 10 for block in blocks[:-1])
    assert len(blocks) > 20
    assert b"".join(blocks) == b"".join(b"%d\t%d\n" % (n, n * 2) for n in range(1, 400_001))
    assert copied.tag.rows_affected == 400_000
    await is_free(db)


class Written:
    """Has `write`."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


@pytest.mark.row("Y01")
async def test_sinks(db: Any, tmp_path: Path) -> None:
    await table(db, 3)
    expected = b"1\n2\n3\n"
    arguments: dict[str, Any] = {"columns": ["a"], "format": "csv"}
    path = tmp_path / "out.csv"
    path.write_bytes(b"what was there before")
    tag = await db.copy_out("c", **arguments, to=path)
    assert (tag.rows_affected, path.read_bytes()) == (3, expected)
    memory, writer, blocks = io.BytesIO(), Written(), list[bytes]()
    await db.copy_out("c", **arguments, to=memory)
    await db.copy_out("c", **arguments, to=writer)
    await db.copy_out("c", **arguments, to=blocks.append)
    assert memory.getvalue() == writer.data == b"".join(blocks) == expected
    with (tmp_path / "file").open("wb") as file:
        await db.copy_out("c", **arguments, to=file)
    assert (tmp_path / "file").read_bytes() == expected
    await is_free(db)


REFUSED: list[tuple[type[Exception], dict[str, Any]]] = [
    (UndefinedTable, {"query": "select * from not_there"}),
    (SyntaxErrorOrAccessRuleViolation, {"query": "selec 1"}),
    (SyntaxErrorOrAccessRuleViolation, {"query": "select 1", "nonsense": 1}),
    (DivisionByZero, {"query": "select 1 / 0"}),
    (QueryTimeout, {"query": "select pg_sleep(100)", "timeout": 0.2}),
]


@pytest.mark.row("Y01", "Y05")
@pytest.mark.parametrize(("error", "arguments"), REFUSED, ids=range(len(REFUSED)))
async def test_a_refused_copy_leaves_the_file_as_it_was(
    db: Any, tmp_path: Path, error: type[Exception], arguments: dict[str, Any]
) -> None:
    """The server has accepted it when its first data come."""
    there, new = tmp_path / "there", tmp_path / "new"
    there.write_bytes(b"what was there before")
    for path in (there, new):
        with pytest.raises(error):
            await db.copy_out(**arguments, format="csv", to=path)
        await is_free(db)
    assert there.read_bytes() == b"what was there before"
    assert not new.exists()
    assert (await db.copy_out(query="select 1 where false", format="csv", to=there)).rows_affected == 0
    assert (await db.copy_out(query="select 1 where false", format="csv", to=new)).rows_affected == 0
    assert there.read_bytes() == new.read_bytes() == b""


@pytest.mark.row("Y05")
async def test_a_path_that_cannot_be_written_is_told_before_anything_is_sent(db: Any, tmp_path: Path) -> None:
    """So that a transaction goes on."""
    await db.execute("begin")
    for error, path in ((FileNotFoundError, tmp_path / "no" / "file"), (IsADirectoryError, tmp_path)):
        with pytest.raises(error):
            await db.copy_out(query="select 1", format="csv", to=path)
    assert db.transaction_status == "in transaction"
    await db.execute("rollback")
    assert not (tmp_path / "no").exists()


@pytest.mark.row("Y01")
async def test_pipes_and_links_are_sinks_too(db: Any, tmp_path: Path) -> None:
    """Nothing of a pipe can be emptied, and what a link leads to is made."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "made")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_bytes)
        await db.copy_out(query="select generate_series(1, 3)", format="csv", to=pipe)
        assert read.result(PATIENCE) == b"1\n2\n3\n"
    await db.copy_out(query="select generate_series(1, 3)", format="csv", to=link)
    assert (tmp_path / "made").read_bytes() == b"1\n2\n3\n"
    assert link.is_symlink()


@ASYNC
@pytest.mark.row("Y01")
async def test_asynchronous_sinks_are_awaited(db: Any, tmp_path: Path) -> None:
    data, drained = [], 0

    async def take(block: bytes) -> None:
        await asyncio.sleep(0.001)
        data.append(block)

    class Stream:
        """As asyncio.StreamWriter: `write` does not wait, `drain` does."""

        def write(self, block: bytes) -> None:
            data.append(block)

        async def drain(self) -> None:
            nonlocal drained
            await asyncio.sleep(0)
            drained += 1

    query = "select repeat('y', 1000) from generate_series(1, 1000)"
    assert (await db.copy_out(query=query, format="text", to=take)).rows_affected == 1000
    assert sum(map(len, data)) == 1_001_000
    data.clear()
    await db.copy_out(query=query, format="text", to=Stream())
    assert sum(map(len, data)) == 1_001_000
    assert drained == len(data) > 5
    await is_free(db)


@pytest.mark.parametrize("face", ["blocking"])
@pytest.mark.row("Y01")
async def test_an_asynchronous_sink_of_a_blocking_connection_is_refused(db: Any) -> None:
    async def take(block: bytes) -> None:
        del block

    with pytest.raises(InterfaceError, match="asynchronous connection"):
        await db.copy_out(query="select 1", format="csv", to=take)
    await is_free(db)


# ---- back-pressure


@ASYNC
@pytest.mark.row("Y01")
async def test_a_slow_reader_stops_the_server(db: Any, connect: Callable[..., Any]) -> None:
    """Nothing is received beyond what may be held: the server waits to write."""
    other = await connect()
    tracemalloc.start()
    try:
        async with db.copy_out(query=MANY, format="text").blocks() as blocks:
            first = await blocks.next_batch()
            waiting = "select wait_event from pg_stat_activity where pid = $1"
            await asyncio.sleep(0.5)
            assert await other.fetch_value(waiting, db.backend_pid) == "ClientWrite"
            assert tracemalloc.get_traced_memory()[1] < 3_000_000
            size = sum(map(len, first))
            while batch := await blocks.next_batch():
                size += sum(map(len, batch))
        assert size == sum(len(str(n)) + 92 for n in range(1, 1_000_001))
    finally:
        tracemalloc.stop()
    await is_free(db)


@pytest.mark.row("Y01")
async def test_memory_stays_flat(db: Any) -> None:
    tracemalloc.start()
    try:
        size = 0

        def take(block: bytes) -> None:
            nonlocal size
            size += len(block)

        await db.copy_out(query=MANY, format="binary", to=take)
        assert size > 100_000_000
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


# ---- left, given up, refused


@pytest.mark.row("Y06")
@pytest.mark.parametrize("form", [None, "csv"])
async def test_break_frees_the_connection(db: Any, form: str | None) -> None:
    for _ in range(3):
        copied = db.copy_out(query=MANY, format=form)
        async for _row in copied.blocks() if form else copied:
            break
        del copied
        gc.collect()
        await is_free(db)


@pytest.mark.row("Y03")
@pytest.mark.parametrize("form", [None, "csv"])
async def test_closed_behind_its_end_it_is_at_its_end(db: Any, form: str | None) -> None:
    """Nothing is missing."""
    copied = db.copy_out(query="select generate_series(1, 10)", format=form)
    copied = copied.blocks() if form else copied
    while await copied.next_batch():
        pass
    await copied.close()
    assert await copied.next_batch() == []
    await is_free(db)


@pytest.mark.row("Y06")
async def test_leaving_its_block_ends_it(db: Any) -> None:
    async with db.copy_out(query=MANY) as rows:
        assert (await rows.next_batch())[0].n == 1
    with pytest.raises(InterfaceError, match="rows are missing"):
        await rows.next_batch()
    assert rows.tag is None
    await is_free(db)
    async with db.copy_out(query=MANY):
        pass
    with pytest.raises(ZeroDivisionError):
        async with db.copy_out(query=MANY) as rows:
            async for row in rows:
                1 / (row.n - 5)
    await is_free(db)
    unread = db.copy_out(query=MANY)
    await unread.close()
    await is_free(db)


@pytest.mark.row("Y05")
async def test_an_exception_of_the_sink_comes_out(db: Any) -> None:
    calls = 0

    def sink(block: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        await db.copy_out(query=MANY, format="text", to=sink)
    assert calls == 3
    await is_free(db)


@pytest.mark.row("Y05")
async def test_the_servers_error_comes_behind_the_rows_before_it(db: Any) -> None:
    query = "select 1000 / (50000 - n) as x from generate_series(1, 100000) as n"
    got = 0
    with pytest.raises(DivisionByZero):
        async for _row in db.copy_out(query=query):
            got += 1
    assert got == 49_999
    with pytest.raises(DivisionByZero):
        await db.copy_out(query=query, format="csv", to=io.BytesIO())
    await is_free(db)


@pytest.mark.row("Y05")
async def test_a_value_that_cannot_be_read_ends_it(db: Any) -> None:
    """The rows before it come; the server is told to stop."""
    query = "select date '2000-01-01' + case n when 3 then 5000000 else n end as d from generate_series(1, 30000000) as n"
    copied = db.copy_out(query=query)
    got = []
    with pytest.raises(DataError, match="d"):
        async for row in copied:
            got.append(row)
    assert len(got) == 2
    with pytest.raises(DataError):
        await copied.next_batch()
    await is_free(db)


@pytest.mark.row("Y05")
async def test_refusals(db: Any) -> None:
    await db.execute("create temp view v as select 1 as one")
    for form in (None, "csv"):
        raw = form is not None
        for error, arguments in (
            (UndefinedTable, {"table": "not_there"}),
            (SyntaxErrorOrAccessRuleViolation, {"query": "selec 1"}),
            (UndefinedParameter, {"query": "select $1::int4"}),
            (WrongObjectType, {"table": "v"}),
        ):
            table = arguments.pop("table", None)
            copied = db.copy_out(table, format=form, **arguments)
            with pytest.raises(error):
                await (copied.blocks() if raw else copied).next_batch()
            await is_free(db)
    with pytest.raises(SyntaxErrorOrAccessRuleViolation, match="nonsense"):
        await db.copy_out(query="select 1", format="csv", nonsense=1).blocks().next_batch()
    await is_free(db)


async def test_misuse_is_told_before_anything_is_sent(db: Any) -> None:
    for message, call in {
        "either a table|table's name": db.copy_out,
        "not both": lambda: db.copy_out("c", query="select 1"),
        "given as query=": lambda: db.copy_out("select 1 from c"),
        "sequence of names": lambda: db.copy_out("c", columns="a"),
        "at least one": lambda: db.copy_out("c", columns=[]),
        "format='json'": lambda: db.copy_out("c", format="json"),
        "no option": lambda: db.copy_out("c", **{"x y": 1}),
        "header=1.5": lambda: db.copy_out("c", header=1.5),
        "NUL": lambda: db.copy_out("c", null="\0"),
    }.items():
        with pytest.raises(InterfaceError, match=message):
            call()
    with pytest.raises(InterfaceError, match="raw data needs format="):
        db.copy_out("c").blocks()
    with pytest.raises(InterfaceError, match="raw data is bytes"):
        db.copy_out("c", format="csv", into=int).blocks()
    with pytest.raises(InterfaceError, match="raw data needs format="):
        await db.copy_out("c", to=io.BytesIO())
    with pytest.raises(InterfaceError, match="not given as str"):
        await db.copy_out("c", format="csv", to="a path")
    await is_free(db)


@pytest.mark.row("Y06")
async def test_timeout(db: Any) -> None:
    slow = "select n, pg_sleep(0.01) from generate_series(1, 100000) as n"
    with pytest.raises(QueryTimeout, match=r"not finished within 0\.\d+ s"):
        async for _row in db.copy_out(query=slow, timeout=0.2):
            pass
    await is_free(db)
    with pytest.raises(QueryTimeout):
        await db.copy_out(query=slow, format="csv", to=io.BytesIO(), timeout=0.2)
    await is_free(db)


@ASYNC
@pytest.mark.row("Y06")
async def test_cancelled(db: Any) -> None:
    slow = "select n, pg_sleep(0.01) from generate_series(1, 100000) as n"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(db.copy_out(query=slow, format="csv", to=io.BytesIO()), 0.05)
    await is_free(db)
    rows = db.copy_out(query=slow)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await rows.next_batch()
    with pytest.raises(InterfaceError, match="rows are missing"):
        await rows.next_batch()
    await is_free(db)
    # While nothing is received, for nobody reads.
    async with db.copy_out(query=MANY, timeout=0.3) as rows:
        await asyncio.sleep(0.5)
        with pytest.raises(QueryTimeout):
            while await rows.next_batch():
                pass
    await is_free(db)


@pytest.mark.row("Y06")
async def test_another_call_of_the_reader_raises_and_others_wait(db: Any, face: str) -> None:
    async with db.copy_out(query="select generate_series(1, 1000000)", into=int) as numbers:
        with pytest.raises(InterfaceError, match="stream"):
            await db.fetch_value("select 1")
        if face == "async":
            other = asyncio.create_task(_value(db))
            await asyncio.sleep(0.05)
            assert not other.done()
        assert sum([n async for n in numbers]) == 500_000_500_000
    if face == "async":
        assert await other == 5
    await is_free(db)


async def _value(db: Any) -> Any:
    return await db.fetch_value("select 5")


@pytest.mark.row("Y06")
async def test_in_a_transaction(db: Any) -> None:
    """A COPY that is left fails the transaction, as any cancelled statement does; one that is read does not."""
    await db.execute("begin")
    await table(db, 3)
    assert len([row async for row in db.copy_out("c")]) == 3
    assert db.transaction_status == "in transaction"
    async for _row in db.copy_out(query=MANY):
        break
    gc.collect()
    await db.execute("rollback")
    await is_free(db)


@pytest.mark.row("Y01")
async def test_as_the_first_statement_of_a_block(db: Any) -> None:
    """BEGIN goes before it, by whichever name it is called; a block in which it fails, or is left, is undone."""
    await db.execute("create temp table c (a int4)")
    before = await db.fetch_value("select txid_current()")
    async with db.transaction() as tx:
        async with db.copy_out(query="select txid_current() as x from generate_series(1, 2)") as rows:
            inside = await rows.next_batch()
        assert db.transaction_status == "in transaction"
        assert inside[0].x == inside[1].x == await db.fetch_value("select txid_current()") > before
    assert db.transaction_status == "idle"
    async with db.transaction() as tx:
        sink = io.BytesIO()
        assert (await tx.copy_out(query="select 1", format="csv", to=sink)).rows_affected == 1
        assert db.transaction_status == "in transaction"
        assert (await tx.copy_in("c", b"1\n2\n", format="csv")).rows_affected == 2
        assert [block async for block in tx.copy_out("c", format="csv").blocks()] == [b"1\n2\n"]
    assert await db.fetch_value("select count(*) from c") == 2
    with pytest.raises(UndefinedTable):
        async with db.transaction():
            await db.copy_out("not_there", format="csv").blocks().next_batch()
    assert db.transaction_status == "idle"
    with pytest.raises(ZeroDivisionError):
        async with db.transaction():
            await db.copy_in("c", [(3,)])
            async for _row in db.copy_out(query=MANY):
                break
            gc.collect()
            raise ZeroDivisionError
    assert await db.fetch_value("select count(*) from c") == 2
    await is_free(db)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """One that the server's user may enter; not so pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.row("Y05")
async def test_a_server_file_goes_through_execute(db: Any, shared_folder: Path) -> None:
    path = shared_folder / "server.csv"
    await table(db, 3)
    assert (await db.execute(f"copy c (a) to '{path}' (format csv)")).rows_affected == 3
    assert path.read_bytes() == b"1\n2\n3\n"
    assert (await db.execute(f"copy c (a) from '{path}' (format csv)")).rows_affected == 3
    await is_free(db)
