"""Q15: what is written arrives as the types that the server has, whatever they were when they were looked up."""

from __future__ import annotations

import asyncio
from functools import partialmethod
from typing import Any

import pytest

import pgoxide
from pgoxide.errors import (
    DataError,
    InsufficientPrivilege,
    LockNotAvailable,
    StatementInvalidated,
    UndefinedColumn,
)

pytestmark = [pytest.mark.pg, pytest.mark.both_transports, pytest.mark.row("Q15")]

# int4 and float4 have one width: taken for the other, a value would be another without a word.
TO_FLOAT = "alter table target alter a type float4"
TO_INT = "alter table target alter a type int4"

FORMATS = [None, "binary", "text", "csv"]


@pytest.fixture
def other(connect: Any, runner: Any) -> Any:
    """Another session."""
    return runner.run(connect())


@pytest.fixture(autouse=True)
def table(other: Any, runner: Any) -> None:
    """An int4 called target."""

    async def make() -> None:
        await other.execute_script("drop table if exists target cascade; create table target (a int4)")

    runner.run(make())


@pytest.fixture
def meanwhile(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """meanwhile("_copy_in", sql, …): another session runs one text ahead of each use of that step, until none is left."""

    def arrange(step: str, *texts: str) -> list[str]:
        left = list(texts)

        def begin(self: Any, real: Any, *args: Any, **options: Any) -> Any:
            if left:
                with pgoxide.Connection.connect(server.dsn()) as db:
                    db.execute_script(left.pop(0))
            return real(self, *args, **options)

        for face in (pgoxide.Connection, pgoxide.AsyncConnection):
            monkeypatch.setattr(face, step, partialmethod(begin, getattr(face, step)))
        return left

    return arrange


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("made", ["list", "generator"])
async def test_copy_in_begins_again(db: Any, meanwhile: Any, form: str | None, made: str) -> None:
    """The source is not touched before the types are sure."""
    records = [(1,), (2,)] if made == "list" else ((n,) for n in (1, 2))
    left = meanwhile("_copy_in", TO_FLOAT)
    options = {} if form is None else {"format": form}
    assert (await db.copy_in("target", records, **options)).rows_affected == 2
    assert not left
    assert await db.fetch_all("select a from target order by a") == [(1.0,), (2.0,)]
    assert await db.copy_in("target", [(0.5,)], **options)
    assert await db.fetch_value("select min(a) from target") == 0.5


async def test_copy_in_of_text_is_no_bytea(db: Any, other: Any, meanwhile: Any) -> None:
    """Text format is no cure: the input of another type may take the same text for something else."""
    await other.execute("alter table target add b text")
    meanwhile("_copy_in", "alter table target alter b type bytea using null")
    with pytest.raises(DataError, match=r"column b \(bytea\)"):
        await db.copy_in("target", [(1, r"\x41")], format="text")
    assert await db.fetch_all("select * from target") == []


async def test_copy_in_begins_again_once(db: Any, meanwhile: Any) -> None:
    meanwhile("_copy_in", TO_FLOAT, TO_INT)
    with pytest.raises(StatementInvalidated, match=r"columns of this statement have changed.*run it again"):
        await db.copy_in("target", [(1,)])
    assert await db.fetch_value("select count(*) from target") == 0
    await db.copy_in("target", [(1,)])
    assert await db.fetch_all("select a from target") == [(1,)]


@pytest.mark.parametrize("first", [False, True])
async def test_copy_in_inside_a_transaction(db: Any, meanwhile: Any, first: bool) -> None:
    """Nothing can be begun again there."""
    meanwhile("_copy_in", TO_FLOAT)

    async def inside() -> None:
        async with db.transaction() as tx:
            if first:
                await tx.fetch_value("select 1")
            await tx.copy_in("target", [(1,)])

    with pytest.raises(StatementInvalidated, match="roll back"):
        await inside()
    await inside()
    assert await db.fetch_all("select a from target") == [(1.0,)]


async def test_copy_in_of_a_column_that_went(db: Any, other: Any, meanwhile: Any) -> None:
    await other.execute("alter table target add b int4")
    meanwhile("_copy_in", "alter table target drop b")
    with pytest.raises(UndefinedColumn, match='column "b"'):
        await db.copy_in("target", [(1, 1)])
    await db.copy_in("target", [(1,)])
    assert await db.fetch_value("select count(*) from target") == 1


async def test_copy_in_takes_no_more_trips(db: Any, proxy: Any, connect: Any) -> None:
    """The question travels with the COPY; a block's BEGIN, too."""
    line = proxy()
    db = await connect(to=line)
    await db.copy_in("target", [(1,)])
    line.forget()
    await db.copy_in("target", [(1,)])
    assert line.sent == "BES" + "PDPBEH" + "ddcS"
    line.forget()
    async with db.transaction() as tx:
        await tx.copy_in("target", [(1,)])
        assert line.sent == "PBEBES" + "PDPBEH" + "ddcS"


async def test_copy_in_of_a_domain_and_with_insert_only(db: Any, other: Any) -> None:
    """The question needs no right to read."""
    await other.execute_script(
        "drop domain if exists small cascade; create domain small as int4 check (value < 10);"
        "alter table target add b small; drop role if exists writer; create role writer; grant insert on target to writer"
    )
    await db.execute("set role writer")
    assert (await db.copy_in("target", [(1, 2)])).rows_affected == 1
    with pytest.raises(InsufficientPrivilege):
        await db.fetch_all("select * from target")
    await db.execute("reset role")
    assert await db.fetch_all("select * from target") == [(1, 2)]
    await other.execute_script("drop table target; drop domain small; drop role writer")


async def test_copy_in_freeze_and_a_view(db: Any) -> None:
    await db.execute_script(
        "create temp table base (a int4); create temp view seen as select a from base;"
        "create function pg_temp.put() returns trigger language plpgsql as "
        "'begin insert into base values (new.a); return new; end';"
        "create trigger put instead of insert on seen for each row execute function pg_temp.put()"
    )
    await db.copy_in("seen", [(1,), (2,)])
    assert await db.fetch_column("select a from base") == [1, 2]
    async with db.transaction() as tx:
        await tx.execute("create temp table cold (a int4)")
        assert (await tx.copy_in("cold", [(1,)], freeze=True)).rows_affected == 1


@pytest.mark.parametrize("face", ["async"])
async def test_copy_in_behind_a_lock(db: Any, other: Any) -> None:
    """Without a hook: the ALTER has begun when the types are looked up, and ends before the COPY begins."""
    await db.copy_in("target", [(1,)])
    pid = await db.fetch_value("select pg_backend_pid()")
    await other.execute_script(f"begin; {TO_FLOAT}")
    copying = asyncio.ensure_future(db.copy_in("target", [(2,)]))
    await _until_waiting(other, pid)
    await other.execute("commit")
    await copying
    assert await db.fetch_all("select a from target order by a") == [(1.0,), (2.0,)]


async def _until_waiting(other: Any, pid: int) -> None:
    waiting = "select count(*) from pg_locks where pid = $1 and not granted"
    while not await other.fetch_value(waiting, pid):  # noqa: ASYNC110  the server has no event for it
        await asyncio.sleep(0.01)


# ---- statements with parameters: their types were fixed when they were parsed


async def test_execute_many_and_execute(db: Any, other: Any, meanwhile: Any) -> None:
    """The server converts: a parameter that was an int4 when it was parsed is read as one."""
    insert = "insert into target values ($1)"
    await db.execute_many(insert, [(1,)])
    await db.execute(insert, 2)
    await other.execute(TO_FLOAT)
    await db.execute_many(insert, [(3,), (4,)])
    await db.execute(insert, 5)
    assert await db.fetch_column("select a from target order by a") == [1.0, 2.0, 3.0, 4.0, 5.0]
    meanwhile("_execute_many", TO_INT)
    await db.execute_many(insert, [(6,), (7,)])
    assert await db.fetch_column("select a from target order by a") == [1, 2, 3, 4, 5, 6, 7]


async def test_execute_many_of_a_first_use(db: Any, meanwhile: Any) -> None:
    meanwhile("_execute_many", TO_FLOAT)
    await db.execute_many("insert into target values ($1)", [(1,), (2,)])
    assert await db.fetch_column("select a from target order by a") == [1.0, 2.0]


@pytest.mark.parametrize("change", [TO_FLOAT, "drop table target; create table target (a float4)"])
async def test_streams_and_portals(db: Any, other: Any, change: str) -> None:
    """By parameters and columns that were described before the change."""
    sql = "select a from target where a >= $1"
    await db.execute("insert into target values (1), (2)")
    assert [row async for row in db.stream(sql, 1)] == [(1,), (2,)]
    await other.execute_script(change)
    await other.execute_script("truncate target; insert into target values (1.5), (2.5)")
    assert [row async for row in db.stream(sql, 2)] == [(2.5,)]
    async with db.transaction(), await db.portal(sql, 1) as portal:
        assert await portal.fetch_all() == [(1.5,), (2.5,)]


async def test_an_open_portal_and_stream_hold_the_table(db: Any, other: Any) -> None:
    """What has been opened keeps its columns: the ALTER waits, or is refused."""
    await db.execute("insert into target values (1), (2), (3)")
    await other.execute("set lock_timeout = '50ms'")
    async with db.stream("select a from target", batch=1) as rows:
        seen = [await anext(aiter(rows))]
        with pytest.raises(LockNotAvailable):
            await other.execute(TO_FLOAT)
        seen += [row async for row in rows]
    assert seen == [(1,), (2,), (3,)]
