"""`copy_in` of raw data: every kind of source, in pieces cut anywhere, in bounded memory; and records as text or CSV."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide.errors import (
    BadCopyFileFormat,
    DataError,
    InterfaceError,
    InvalidTextRepresentation,
    NotSupportedError,
    QueryTimeout,
    SyntaxErrorOrAccessRuleViolation,
    UniqueViolation,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]
ASYNC = pytest.mark.parametrize("face", ["async"])

PATIENCE = 10.0
LINES = b"".join(b"%d,row %d\n" % (n, n) for n in range(30_000))


async def is_free(db: Any) -> None:
    """The connection answers, in step and outside a transaction."""
    assert await db.fetch_value("select 7", timeout=PATIENCE) == 7
    assert db.transaction_status == "idle"


async def table(db: Any) -> None:
    await db.execute("create temp table c (a int4 unique, b text, g int4 generated always as (a + 1) stored)")


async def loaded(db: Any) -> None:
    """All of LINES; then the table is empty again."""
    assert await db.fetch_one("select count(*), sum(a), count(distinct b), min(g) from c") == (
        30_000,
        sum(range(30_000)),
        30_000,
        1,
    )
    await db.execute("truncate c")


class Read:
    """Has `read`."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self.file.read(min(size, 1_000))


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.row("Y01")
@pytest.mark.parametrize(
    "kind",
    ["bytes", "bytearray", "memoryview", "path", "file", "reader", "pieces", "crumbs", "mutable pieces"],
)
async def test_sources(db: Any, kind: str, tmp_path: Path) -> None:
    await table(db)
    path = tmp_path / "in.csv"
    path.write_bytes(LINES)
    source: Any = {
        "bytes": lambda: LINES,
        "bytearray": lambda: bytearray(LINES),
        "memoryview": lambda: memoryview(LINES),
        "path": lambda: path,
        "file": lambda: path.open("rb"),
        "reader": lambda: Read(LINES),
        "pieces": lambda: cut(LINES, 70_000),
        "crumbs": lambda: cut(LINES, 7),
        "mutable pieces": lambda: [bytearray(LINES[:100_001]), memoryview(LINES)[100_001:]],
    }[kind]()
    tag = await db.copy_in("c", source, format="csv")
    assert (tag.text, tag.rows_affected) == ("COPY 30000", 30_000)
    await loaded(db)
    if kind == "file":
        assert not source.closed  # whoever opened it closes it
        source.close()
    await is_free(db)


@ASYNC
@pytest.mark.row("Y01")
async def test_asynchronous_sources(db: Any) -> None:
    await table(db)

    async def pieces() -> AsyncIterator[bytes]:
        for piece in cut(LINES, 10_000):
            await asyncio.sleep(0)
            yield piece

    class File:
        def __init__(self) -> None:
            self.inner = io.BytesIO(LINES)

        async def read(self, size: int) -> bytes:
            await asyncio.sleep(0)
            return self.inner.read(size)

    assert (await db.copy_in("c", pieces(), format="csv")).rows_affected == 30_000
    await loaded(db)
    assert (await db.copy_in("c", File(), format="csv")).rows_affected == 30_000
    await loaded(db)
    stream = asyncio.StreamReader()
    stream.feed_data(LINES)
    stream.feed_eof()
    assert (await db.copy_in("c", stream, format="csv")).rows_affected == 30_000
    await loaded(db)
    await is_free(db)


@pytest.mark.row("Y01")
@pytest.mark.parametrize("form", ["binary", "csv", "text"])
async def test_what_copy_out_gives(db: Any, form: str, tmp_path: Path) -> None:
    """A table through a file into another one."""
    await db.execute("create temp table one (a int4, b text, c float8, d jsonb, e timestamptz)")
    await db.execute("create temp table two (like one)")
    await db.execute(
        "insert into one select n, nullif(repeat(E'\\\\ ,\"\\t\\n', n % 3), ''), n / 3.0, jsonb_build_array(n), to_timestamp(n)"
        " from generate_series(1, 5000) as n"
    )
    path = tmp_path / "copy"
    await db.copy_out("one", format=form, to=path)
    assert (await db.copy_in("two", path, format=form)).rows_affected == 5_000
    assert await db.fetch_value("select count(*) from (table one except table two) as x") == 0
    blocks = db.copy_out("one", format=form).blocks()
    pieces = [block async for block in blocks]
    await db.execute("truncate two")
    assert (await db.copy_in("two", pieces, format=form)).rows_affected == 5_000
    assert await db.fetch_value("select count(*) from (table one except table two) as x") == 0
    await is_free(db)


@pytest.mark.row("Y10")
async def test_options_by_name(db: Any) -> None:
    await table(db)
    data = b"b;a\n'x';1\n-;2\n'-';3\n"
    tag = await db.copy_in(
        "c",
        data,
        format="csv",
        columns=["b", "a"],
        header=True,
        delimiter=";",
        quote="'",
        null="-",
        where="a < 3",
    )
    assert tag.rows_affected == 2
    assert await db.fetch_all("select a, b from c order by a") == [(1, "x"), (2, None)]
    await db.execute("truncate c")
    await db.copy_in("c", b'1,"x"\n2,x\n', format="csv", null="x", force_null=["b"])
    await db.copy_in("c", b"3,x\n", format="csv", null="x", force_not_null=["b"])
    assert await db.fetch_column("select b from c order by a") == [None, None, "x"]
    await db.copy_in("c", b"9\t\xe9\n", format="text", encoding="latin1")
    assert await db.fetch_value("select b from c where a = 9") == "é"
    with pytest.raises(BadCopyFileFormat):
        await db.copy_in("c", b"a,wrong\n1,x\n", format="csv", header="match")
    with pytest.raises(SyntaxErrorOrAccessRuleViolation, match="nonsense"):
        await db.copy_in("c", b"", format="csv", nonsense=True)
    await is_free(db)


@pytest.mark.row("Y10")
async def test_options_of_newer_servers(db: Any) -> None:
    """They are passed on: a server that has them obeys, an older one says that it does not know them."""
    await table(db)
    await db.execute("alter table c alter b set default 'by default'")
    notices: list[Any] = []
    db.add_notice_listener(notices.append)
    for version, options in {
        160000: {"default": "?"},
        170000: {"on_error": "ignore", "log_verbosity": "verbose"},
        180000: {"on_error": "ignore", "reject_limit": 1, "log_verbosity": "silent"},
    }.items():
        notices.clear()
        data = b"1,?\n" if "default" in options else b"1,x\nbad,y\n"
        if db.server_version < version:
            with pytest.raises(SyntaxErrorOrAccessRuleViolation, match=next(iter(options))):
                await db.copy_in("c", data, format="csv", **options)
            continue
        assert (await db.copy_in("c", data, format="csv", **options)).rows_affected == 1
        assert bool(notices) == (options.get("log_verbosity") == "verbose")
        await db.execute("truncate c")
    with pytest.raises(InvalidTextRepresentation):
        await db.copy_in("c", b"bad,y\n", format="csv")
    await db.execute("begin")
    await db.execute("create temp table fresh (a int4)")
    await db.copy_in("fresh", [(1,), (2,)], freeze=True)
    # Frozen rows are marked as such without a VACUUM, which is what the option is for.
    assert await db.fetch_value("select count(*) from fresh") == 2
    await db.execute("rollback")
    await table_refuses_freeze(db)
    await is_free(db)


async def table_refuses_freeze(db: Any) -> None:
    """Proof that the option reaches the server: into a table of an earlier transaction it is refused."""
    with pytest.raises(DataError.__mro__[1], match="FREEZE"):
        await db.copy_in("c", [(1, "x")], freeze=True)


@pytest.mark.row("Y05")
async def test_the_source_fails_the_server_refuses(db: Any, tmp_path: Path) -> None:
    await table(db)

    def failing() -> Iterator[bytes]:
        yield LINES
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        await db.copy_in("c", failing(), format="csv")
    with pytest.raises(FileNotFoundError):
        await db.copy_in("c", tmp_path / "not there", format="csv")
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            if taken > 100:
                time.sleep(0.01)  # the server's answer is on its way
            yield b"1,x\n" * 1_000

    with pytest.raises(UniqueViolation):
        await db.copy_in("c", endless(), format="csv")
    assert taken < 1_000
    with pytest.raises(BadCopyFileFormat):
        await db.copy_in("c", b"1,x,surplus\n", format="csv")
    with pytest.raises(BadCopyFileFormat):
        await db.copy_in("c", b"no header", format="binary")
    assert await db.fetch_value("select count(*) from c") == 0
    await is_free(db)


@pytest.mark.row("Y05")
async def test_misuse(db: Any, tmp_path: Path) -> None:
    await table(db)
    path = tmp_path / "in.csv"
    path.write_bytes(b"1,x\n")
    for source in (b"1,x\n", path, io.BytesIO(b"1,x\n")):
        with pytest.raises(InterfaceError, match="needs format="):
            await db.copy_in("c", source)
    with pytest.raises(InterfaceError, match=r"pathlib\.Path"):
        await db.copy_in("c", "in.csv", format="csv")
    with pytest.raises(DataError, match="raw data needs format="):
        await db.copy_in("c", [b"1,x\n"])
    with pytest.raises(DataError, match="no record"):
        await db.copy_in("c", ["1,x\n"])
    for mixed in ([b"1,x\n", (2, "y")], [(2, "y"), b"1,x\n"]):
        with pytest.raises(DataError, match="one or the other"):
            await db.copy_in("c", mixed, format="csv")
    with pytest.raises(DataError, match="open a file in binary mode"):
        await db.copy_in("c", io.StringIO("1,x\n"), format="csv")
    with pytest.raises(InterfaceError, match="contiguous"):
        await db.copy_in("c", memoryview(b"1,x\n")[::2], format="csv")
    with pytest.raises(InterfaceError, match="format='xml'"):
        await db.copy_in("c", b"", format="xml")
    assert await db.fetch_value("select count(*) from c") == 0
    await is_free(db)


@pytest.mark.row("Y06")
async def test_timeout(db: Any) -> None:
    await table(db)

    def slow() -> Iterator[bytes]:
        for n in range(1_000):
            time.sleep(0.02)
            yield b"%d,%s\n" % (n, b"x" * 70_000)

    with pytest.raises(QueryTimeout):
        await db.copy_in("c", slow(), format="csv", timeout=0.2)
    assert await db.fetch_value("select count(*) from c") == 0
    await is_free(db)


@ASYNC
@pytest.mark.row("Y06")
async def test_cancelled(db: Any) -> None:
    await table(db)

    async def slow() -> AsyncIterator[bytes]:
        for n in range(1_000):
            await asyncio.sleep(0.01)
            yield b"%d,x\n" % n

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(db.copy_in("c", slow(), format="csv"), 0.05)
    assert await db.fetch_value("select count(*) from c") == 0
    await is_free(db)


class Endless:
    """A file of so many bytes, made as it is read."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.block = b"1,%s\n" % (b"x" * 1_021)

    def read(self, size: int) -> bytes:
        count = min(size, self.left) // len(self.block)
        self.left -= count * len(self.block)
        return self.block * count


async def copy_much(db: Any, size: int) -> None:
    await db.execute("create temp table much (a int4, b text)")
    # No row is kept: it is about the way, not the disk.
    tag = await db.copy_in("much", Endless(size), format="csv", where="a > 1")
    assert tag.rows_affected == 0


@pytest.mark.row("Y01")
async def test_memory_stays_flat(db: Any) -> None:
    await copy_much(db, 2_000_000)
    await db.execute("drop table much")
    before = resident()
    tracemalloc.start()
    try:
        await copy_much(db, 50_000_000)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert resident() - before < 10_000_000


@pytest.mark.slow
@pytest.mark.row("Y01")
async def test_a_gigabyte(db: Any) -> None:
    await copy_much(db, 2_000_000)
    await db.execute("drop table much")
    before = resident()
    await copy_much(db, 1_000_000_000)
    assert resident() - before < 10_000_000


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- records in text and CSV


@pytest.mark.row("Y02")
@pytest.mark.row("Y04")
@pytest.mark.parametrize("form", ["text", "csv"])
async def test_records_in_either_format(db: Any, form: str) -> None:
    await table(db)
    texts = ["", "\\N", "\\.", "a\tb", 'say "x", y', "line\nline\r\n", "\\", None, "é\u20ac", "NULL", "'"]
    records = list(enumerate(texts))
    for given in (records, [{"b": b, "a": a} for a, b in records]):
        assert (await db.copy_in("c", given, format=form)).rows_affected == len(records)
        assert await db.fetch_all("select a, b from c order by a") == records
        await db.execute("truncate c")
    assert (await db.copy_in("c", [], format=form)).rows_affected == 0
    await is_free(db)


@pytest.mark.row("Y04")
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("csv", {"delimiter": ";", "quote": "'", "null": "x"}),
        ("csv", {"quote": "'", "escape": "\\", "header": True}),
        ("csv", {"null": "NULL", "force_not_null": ["a"]}),
        ("text", {"delimiter": "|", "null": "\\x"}),
        ("text", {"null": "\\N\\N", "header": True}),
        ("csv", {"encoding": "UTF-8", "force_quote": "*"}),
    ],
)
async def test_records_with_options_and_back(db: Any, form: str, options: dict[str, Any]) -> None:
    """What is written with options, the server reads with them; what it writes so, we read."""
    await table(db)
    texts = ["x", "'", "\\'", "|;\t,", "\\x", "NULL", "x\ny", '"', "\\N\\N", "\\"]
    records: list[tuple[int, str | None]] = [*enumerate(texts), (99, None)]
    ours = {name: value for name, value in options.items() if name != "force_quote"}
    assert (await db.copy_in("c", records, format=form, **ours)).rows_affected == len(records)
    assert await db.fetch_all("select a, b from c order by a") == records
    theirs = {name: value for name, value in options.items() if not name.startswith("force_n")}
    assert [row async for row in db.copy_out("c", format=form, **theirs)] == records
    await is_free(db)


@pytest.mark.row("Y04")
async def test_header(db: Any) -> None:
    """Written for records, and checked by the server; compared with the columns when rows are read."""
    await db.execute('create temp table named (a int4, "b, ""c""" text)')
    assert (await db.copy_in("named", [(1, "x")], format="csv", header=True)).rows_affected == 1
    if db.server_version >= 150000:
        assert (await db.copy_in("named", [(2, "y")], format="csv", header="match")).rows_affected == 1
        assert (await db.copy_in("named", [(3, "z")], format="text", header="match")).rows_affected == 1
    assert (await db.copy_in("named", [], format="csv", header=True)).rows_affected == 0
    rows = [row async for row in db.copy_out("named", format="csv", header=True)]
    assert rows[0] == (1, "x")
    assert rows == await db.fetch_all("table named")
    await is_free(db)


@pytest.mark.row("Y04")
@pytest.mark.parametrize("form", ["text", "csv"])
@pytest.mark.parametrize("default", ["?", "\\D"])
async def test_a_value_that_looks_like_the_default(db: Any, form: str, default: str) -> None:
    """It is stored as it is: what stands for the default in the data does so only in raw data."""
    await db.execute("create temp table c (a int4, b text default 'by default')")
    records = [(1, default), (2, "x"), (3, None), (4, default + default)]
    if db.server_version < 160000:
        with pytest.raises(SyntaxErrorOrAccessRuleViolation):
            await db.copy_in("c", records, format=form, default=default)
        return
    assert (await db.copy_in("c", records, format=form, default=default)).rows_affected == len(records)
    assert await db.fetch_all("select a, b from c order by a") == records


@pytest.mark.row("Y04")
async def test_what_cannot_be_written_is_refused(db: Any) -> None:
    """Rather than stored as something else."""
    await table(db)
    for message, record, form, options in [
        ("no way to write an empty value", (1, ""), "text", {"null": ""}),
        ("force_null", (1, "x"), "csv", {"null": "x", "force_null": ["b"]}),
        ("force_not_null", (1, None), "csv", {"force_not_null": ["b"]}),
    ]:
        with pytest.raises(DataError, match=message):
            await db.copy_in("c", [record], format=form, **options)
    for message, options in {
        "for raw data": {"encoding": "latin1"},
        "single-byte": {"delimiter": "::"},
    }.items():
        with pytest.raises(InterfaceError, match=message):
            await db.copy_in("c", [(1, "x")], format="csv", **options)
    for options in ({"delimiter": "a"}, {"null": "a\n"}, {"null": "\\."}):
        with pytest.raises(DataError, match="COPY"):
            await db.copy_in("c", [(1, "x")], format="text", **options)
    for null in ("x", "", "\\t"):
        with pytest.raises(InterfaceError, match="no text can look like"):
            await db.copy_out("c", format="text", null=null).next_batch()
    assert await db.fetch_value("select count(*) from c") == 0
    await is_free(db)


@pytest.mark.row("Y03")
@pytest.mark.parametrize("form", ["binary", "text", "csv"])
async def test_rows_of_each_format(db: Any, form: str) -> None:
    query = (
        "select n, nullif(n, 3) as maybe, n / 7.0::float8 as f, n::numeric / 3 as d, 'it''s, \"' || n as t, n % 2 = 0 as b,"
        " decode('00ff5c0a', 'hex') as raw, timestamptz '2020-01-01 12:00+00' + n * interval '1 hour' as at,"
        " jsonb_build_object('n', n) as j, array[n, null, 2] as l, null::text as nothing, '' as empty"
        " from generate_series(1, 3000) as n"
    )
    expected = await db.fetch_all(query)
    assert [row async for row in db.copy_out(query=query, format=form)] == expected
    await is_free(db)


@pytest.mark.row("Y03")
async def test_a_type_without_a_binary_codec(db: Any) -> None:
    """The COPY goes as text; values are those of a SELECT. Where it would round floats, it raises."""
    query = "select n, 'a & b'::tsquery as p, n / 3.0::float8 as f from generate_series(1, 3) as n"
    expected = await db.fetch_all(query)
    assert [row async for row in db.copy_out(query=query)] == expected
    with pytest.raises(NotSupportedError, match="binary codec"):
        await db.copy_out(query="select tsquery 'a' as s", format="binary").next_batch()
    await db.execute("create temp table s (s tsquery)")
    with pytest.raises(NotSupportedError, match=r"column s \(tsquery\)"):
        await db.copy_in("s", [("a",)], format="binary")
    await db.execute("set extra_float_digits = 0")
    odd = "select tsquery 'a' as s, 0.1::float8 as f"
    with pytest.raises(Exception, match="extra_float_digits"):
        await db.copy_out(query=odd).next_batch()
    assert [row async for row in db.copy_out(query=odd, format="text")] == [("'a'", 0.1)]
    await is_free(db)


@pytest.mark.row("Y03")
async def test_python_reads_what_is_written(db: Any) -> None:
    """The raw data is CSV as others know it."""
    await table(db)
    records = [(1, 'a "quoted", text'), (2, "line\nline"), (3, "")]
    await db.copy_in("c", records)
    file = io.BytesIO()
    await db.copy_out("c", columns=["a", "b"], format="csv", header=True, to=file)
    rows = list(csv.reader(io.StringIO(file.getvalue().decode(), newline="")))
    assert rows == [["a", "b"], *([str(a), b] for a, b in records)]
    await is_free(db)
