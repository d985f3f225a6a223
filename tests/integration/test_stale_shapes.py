"""Q15: results are read by what they are, whatever a text meant when it was used before."""

from __future__ import annotations

import asyncio

import pytest

from pgoxide.errors import StatementInvalidated

pytestmark = [pytest.mark.pg, pytest.mark.both_transports, pytest.mark.row("Q15")]

# int4 and float4 have one width: read by the other's codec, a value would be another without a word.
OLD, NEW = 1, 1.5


@pytest.fixture
def other(connect, runner):
    """Another session."""
    return runner.run(connect())


async def value(db, sql="select * from shape"):
    """The only value, by two verbs of different paths."""
    one = await db.fetch_value(sql)
    assert await db.fetch_all(sql) == [(one,)]
    assert [row async for row in db.stream(sql)] == [(one,)]
    return one


@pytest.fixture
def table(other, runner):
    """An int4 called shape, and nothing else of that name."""

    async def make():
        await other.execute_script(
            "drop schema if exists elsewhere cascade; drop view if exists shape_view; drop function if exists shape_of;"
            "drop table if exists shape, shape_new, shape_old; create table shape as select 1::int4 as a"
        )

    runner.run(make())


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("before", ["", "create temp table first_of_its_session (a int4)"])
@pytest.mark.parametrize(
    "create",
    [
        "create temp table shape as select 1.5::float4 as a",
        "create temporary table if not exists Shape as select 1.5::float4 as a",
        'create table pg_temp."shape" as select 1.5::float4 as a',
        "create temp view shape as select 1.5::float4 as a",
    ],
)
async def test_a_temporary_table_of_the_same_name(db, before, create):
    """The server itself notices only the first temporary table of a session, since that changes the search path."""
    if before:
        await db.execute(before)
    assert await value(db) == OLD
    await db.execute(create)
    assert await value(db) == NEW
    await db.execute("discard temp")
    assert await value(db) == OLD


@pytest.mark.usefixtures("table")
async def test_a_temporary_table_made_by_a_script_or_batch(db):
    await db.execute("create temp table first_of_its_session (a int4)")
    assert await value(db) == OLD
    await db.execute_script("select 1; create temp table shape as select 1.5::float4 as a")
    assert await value(db) == NEW
    await db.execute("drop table shape")
    assert await value(db) == OLD
    async with db.batch() as batch:
        batch.execute("create temp table shape as select 1.5::float4 as a")
        batch.execute("select 1")
    assert await value(db) == NEW
    await db.execute("drop table shape")
    await db.execute("begin")
    await db.execute("create temp table shape as select 1.5::float4 as a")
    assert await value(db) == NEW
    await db.execute("rollback")
    assert await value(db) == OLD


@pytest.mark.usefixtures("table")
async def test_statements_that_do_not_name_it_are_kept(db, proxy, connect):
    line = proxy()
    db = await connect(to=line)
    await db.fetch_value("select 7")
    await db.fetch_value("select * from shape")
    await db.execute("create temp table shape as select 1.5::float4 as a")
    line.forget()
    await db.fetch_value("select 7")
    assert line.sent == "CCBES"  # the one that names it, and the one that made it
    line.forget()
    assert await db.fetch_value("select * from shape") == NEW
    assert line.sent == "PDSBES"


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    "change",
    [
        "set search_path to elsewhere, public",
        "select set_config('search_path', 'elsewhere, public', false)",
        "do $$ begin set search_path to elsewhere, public; end $$",
    ],
)
async def test_another_search_path(db, other, change):
    """The server plans anew by itself; what it then gives is read as what it is."""
    await other.execute_script(
        "create schema elsewhere; create table elsewhere.shape as select 1.5::float4 as a;"
        "create table elsewhere.alike as select 7::int4 as a; drop table if exists alike; create table alike as select 1::int4 as a"
    )
    assert (await value(db), await value(db, "select * from alike")) == (OLD, 1)
    await db.execute(change)
    assert (await value(db), await value(db, "select * from alike")) == (NEW, 7)
    await db.execute("set search_path to public")
    assert (await value(db), await value(db, "select * from alike")) == (OLD, 1)
    await other.execute("drop table alike")


@pytest.mark.usefixtures("table")
async def test_another_search_path_inside_a_transaction(db, other):
    await other.execute_script(
        "create schema elsewhere; create table elsewhere.shape as select 1.5::float4 as a"
    )
    assert await value(db) == OLD
    await db.execute("begin")
    await db.execute("set local search_path to elsewhere")
    with pytest.raises(StatementInvalidated):
        await db.fetch_all("select * from shape")
    await db.execute("rollback")
    assert await value(db) == OLD


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    "change",
    [
        "alter table shape alter a type float4 using 1.5",
        "begin; alter table shape rename to shape_old; create table shape as select 1.5::float4 as a; commit",
        "drop table shape; create table shape as select 1.5::float4 as a",
    ],
)
async def test_by_another_session(db, other, change):
    assert await value(db) == OLD
    await other.execute_script(change)
    assert await value(db) == NEW


@pytest.mark.usefixtures("table")
async def test_a_view_and_a_function(db, other):
    await other.execute_script(
        "create view shape_view as select 1::int4 as a;"
        "create function shape_of() returns table (a int4) language sql as 'select 1'"
    )
    texts = ("select * from shape_view", "select * from shape_of()", "select (shape_of())")
    assert [await value(db, sql) for sql in texts] == [OLD] * 3
    await other.execute_script(
        "drop view shape_view; create view shape_view as select 1.5::float4 as a; drop function shape_of;"
        "create function shape_of() returns table (a float4) language sql as 'select 1.5::float4'"
    )
    assert [await value(db, sql) for sql in texts] == [NEW] * 3
    await other.execute_script("drop view shape_view; drop function shape_of")


@pytest.mark.usefixtures("table")
async def test_cursors_and_statements_of_sql(db):
    for kind, expected in (("int4", OLD), ("float4", NEW), ("int4", OLD)):
        await db.execute(f"prepare again as select {expected}::{kind} as a")
        assert await db.fetch_value("execute again") == expected
        await db.execute("deallocate again")
        await db.execute("begin")
        await db.execute(f"declare again cursor for select {expected}::{kind} as a")
        assert await db.fetch_value("fetch from again") == expected
        await db.execute("rollback")


@pytest.mark.usefixtures("table")
async def test_copy_out(db, other):
    """COPY's data does not say of what types it is."""

    async def rows(**options):
        if hasattr(db, "real"):
            return list(db.real.copy_out("shape", **options))
        return [row async for row in db.copy_out("shape", **options)]

    for form in ({}, {"format": "binary"}, {"format": "text"}, {"format": "csv"}):
        assert await rows(**form) == [(OLD,)]
    await other.execute("alter table shape alter a type float4 using 1.5")
    for form in ({}, {"format": "binary"}, {"format": "text"}, {"format": "csv"}):
        assert await rows(**form) == [(NEW,)]


@pytest.mark.usefixtures("table")
async def test_copy_out_of_a_table_that_changes_just_before(db, other, face):
    """Between the description and the COPY: the server refuses, in the transaction of the COPY itself."""
    real = getattr(db, "real", db)
    prepared = real._prepare("select * from shape", None)
    if face == "async":
        prepared = await prepared
    await other.execute("alter table shape alter a type float4 using 1.5")
    stream = real._copy_out("copy shape to stdout (format binary)", prepared, None, None, "binary", {})
    with pytest.raises(StatementInvalidated, match="run it again"):
        _ = [row async for row in stream] if face == "async" else list(stream)
    again = real.copy_out("shape")
    assert ([row async for row in again] if face == "async" else list(again)) == [(NEW,)]
    assert await db.fetch_value("select 1") == 1


@pytest.mark.usefixtures("table")
async def test_a_type_of_its_own_altered_with_the_table(db, other):
    """Nothing in a composite value says how its fields are called: when the columns are others, they are asked for anew."""
    await other.execute_script(
        "drop type if exists shape_pair; create type shape_pair as (a int4, b int4);"
        "alter table shape add p shape_pair; update shape set p = (1, 2)"
    )
    for _ in range(2):
        assert (await db.fetch_one("select * from shape")).p._asdict() == {"a": 1, "b": 2}
    await other.execute_script(
        "alter type shape_pair rename attribute a to c; alter type shape_pair rename attribute b to a; alter type shape_pair rename attribute c to b;"
        "alter table shape alter a type float4 using 1.5"
    )
    for _ in range(2):
        one = await db.fetch_one("select * from shape")
        assert (one.a, one.p._asdict()) == (NEW, {"b": 1, "a": 2})
    await other.execute_script("alter table shape drop p; drop type shape_pair")


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("face", ["async"])
async def test_many_at_once(db, other):
    """While the table changes again and again under callers that never pause."""
    stop = False

    async def change():
        nonlocal stop
        for n in range(10):
            kind, new = ("float4", "1.5") if n % 2 else ("int4", "1")
            await other.execute(f"alter table shape alter a type {kind} using {new}")
            await asyncio.sleep(0.01)
        stop = True

    async def look():
        seen = 0
        while not stop:
            try:
                got = await db.fetch_value("select * from shape")
            except StatementInvalidated:
                continue  # changed twice while one call was under way
            assert got in (OLD, NEW)
            assert isinstance(got, int) == (got == OLD)
            seen += 1
        return seen

    counts = await asyncio.gather(change(), *(look() for _ in range(5)))
    assert all(counts[1:])
