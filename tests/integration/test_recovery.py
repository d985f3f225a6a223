"""Statements that the server has no more, or otherwise than they were described: Q14, Q15, Q16."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from pgoxide.errors import (
    BatchAborted,
    DataError,
    FeatureNotSupported,
    InvalidSqlStatementName,
    StatementInvalidated,
    UndefinedTable,
)

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]

ALL = "select * from shape order by id"
SOME = "select * from shape where id >= $1 order by id"


@pytest.fixture
def line(proxy):
    return proxy()


@pytest.fixture
def other(connect, runner):
    """Another session, for DDL that the first one does not see coming."""
    return runner.run(connect())


async def prepare(db, other, *statements):
    """A table of two rows, and statements used before it changes."""
    await other.execute_script(
        "drop table if exists shape; create table shape (id int4, text text); insert into shape values (1, 'a'), (2, 'b')"
    )
    for sql in statements:
        await db.fetch_all(sql, *([1] if "$1" in sql else []))


@asynccontextmanager
async def transaction(db):
    await db.execute("begin")
    yield
    await db.execute("rollback")


async def kept(db):
    """Statements the server holds, apart from this one."""
    return await db.fetch_column(
        "select statement from pg_prepared_statements where statement not like '%pg_prepared%'"
    )


# ---- Q14: the columns have changed


CHANGES = {
    "added": ("alter table shape add more bool default true", (1, "a", True)),
    "dropped": ("alter table shape drop text", (1,)),
    "another type": ("alter table shape alter text type bytea using text::bytea", (1, b"a")),
    "another type of the parameter": ("alter table shape alter id type int8", (1, "a")),
    "the same width": ("alter table shape alter id type float4", (1.0, "a")),
    "a name": ("alter table shape rename text to name", (1, "a")),
    "a parameter of another format": ("alter table shape alter id type numeric", (Decimal(1), "a")),
    "another table": ("drop table shape; create table shape as select 1.5::float8 as id", (1.5,)),
}


@pytest.mark.row("Q14")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("sql", [ALL, SOME])
async def test_autocommit(db, other, sql, change):
    """The second use succeeds, with the columns as they are now, and later ones need no recovery."""
    await prepare(db, other, sql)
    ddl, expected = CHANGES[change]
    await other.execute_script(ddl)
    arguments = [1] if "$1" in sql else []
    for _ in range(2):
        row = (await db.fetch_all(sql, *arguments))[0]
        assert (tuple(row), [type(value) for value in row]) == (expected, [type(value) for value in expected])
    assert len([one for one in await kept(db) if one == sql]) == 1


@pytest.mark.row("Q14")
async def test_what_is_sent(connect, line, other):
    db = await connect(to=line)
    await prepare(db, other, SOME)
    await other.execute("alter table shape add more int4")
    line.forget()
    assert len(await db.fetch_all(SOME, 2)) == 1
    assert line.sent == "BES" + "CPDS" + "BES"  # the old one is closed in front of the new one's Parse
    line.forget()
    assert len(await db.fetch_all(SOME, 2)) == 1
    assert line.sent == "BES"


@pytest.mark.row("Q14")
@pytest.mark.parametrize(
    ("verb", "sql", "expected"),
    [
        ("fetch_one", "select * from shape where id = $1", (1, "a", 7)),
        ("fetch_optional", "select * from shape where id = $1", (1, "a", 7)),
        ("fetch_first", "select * from shape where id = $1", (1, "a", 7)),
        ("execute", "delete from shape where id = $1 returning *", None),
    ],
)
async def test_verbs(db, other, verb, sql, expected):
    await prepare(db, other)
    await db.fetch_all(sql, 0)
    await other.execute("alter table shape add more int4 default 7")
    got = await getattr(db, verb)(sql, 1)
    if expected is None:
        assert got.rows_affected == 1
    else:
        assert got == expected
    assert await other.fetch_value("select count(*) from shape") == (1 if verb == "execute" else 2)


@pytest.mark.row("Q14")
async def test_rows_into_a_class_are_made_by_the_new_columns(db, other):
    await prepare(db, other)
    for names in (["id", "text"], ["id", "text", "more"]):
        rows = await db.fetch_all(ALL, into=dict)
        assert list(rows[0]) == names
        if "more" not in names:
            await other.execute("alter table shape add more int4")


@pytest.mark.row("Q14")
async def test_arguments_of_every_kind_travel_again(db, other):
    """Parameters are those of the first attempt, NULL and values of both formats among them."""
    await prepare(db, other)
    sql = "select *, $2::text, $3::uuid, $4::inet, $5::int4[], $6::bytea from shape where id = $1"
    key = uuid.uuid4()
    arguments = (1, "é", key, "10.0.0.1", None, b"\\0\\1")
    first = await db.fetch_one(sql, *arguments)
    await other.execute("alter table shape add more int4")
    again = await db.fetch_one(sql, *arguments)
    assert again == (*first[:2], None, *first[2:])


@pytest.mark.row("Q14")
async def test_in_a_transaction(db, other):
    """The transaction has failed: a specific error, and the next transaction works."""
    await prepare(db, other, SOME)
    await other.execute("alter table shape add more int4")
    await db.execute("begin")
    with pytest.raises(StatementInvalidated, match=r"columns .* have changed.*roll back") as caught:
        await db.fetch_all(SOME, 1)
    assert isinstance(caught.value.__cause__, FeatureNotSupported)
    assert caught.value.__cause__.routine == "RevalidateCachedQuery"
    assert db.transaction_status == "failed transaction"
    await db.execute("rollback")
    await db.execute("begin")
    assert await db.fetch_all(SOME, 2) == [(2, "b", None)]
    await db.execute("commit")
    assert await db.fetch_all(SOME, 2) == [(2, "b", None)]


@pytest.mark.row("Q14")
async def test_behind_a_savepoint(db, other):
    await prepare(db, other, SOME)
    await other.execute("alter table shape add more int4")
    async with transaction(db):
        await db.execute("savepoint before")
        with pytest.raises(StatementInvalidated):
            await db.fetch_all(SOME, 1)
        await db.execute("rollback to savepoint before")
        assert await db.fetch_all(SOME, 2) == [(2, "b", None)]


@pytest.mark.row("Q14")
async def test_in_a_transaction_before_anything_else(db, other):
    """The DDL of the transaction itself."""
    await prepare(db, other, ALL)
    async with transaction(db):
        await db.execute("alter table shape add more int4")
        with pytest.raises(StatementInvalidated):
            await db.fetch_all(ALL)
    assert await db.fetch_all(ALL) == [(1, "a"), (2, "b")]


@pytest.mark.row("Q14", "P01")
@pytest.mark.parametrize("face", ["async"])
async def test_pipelined_neighbours(db, other):
    """All that used the statement recover, in their order; what stands between them is not disturbed."""
    await prepare(db, other, SOME, ALL)
    await other.execute("alter table shape add more int4 default 7")
    calls = [db.fetch_all(SOME, n % 3) if n % 2 else db.fetch_value("select $1::int4", n) for n in range(40)]
    done: list[int] = []
    for n, call in enumerate(calls):
        call.add_done_callback(lambda _, n=n: done.append(n))
    answers = await asyncio.gather(*calls)
    for n, answer in enumerate(answers):
        expected = [(i, t, 7) for i, t in ((1, "a"), (2, "b")) if i >= n % 3]
        assert answer == (expected if n % 2 else n)
    await asyncio.sleep(0)
    assert [n for n in done if n % 2] == [n for n in range(40) if n % 2]
    assert [n for n in done if not n % 2] == [n for n in range(40) if not n % 2]
    assert len([one for one in await kept(db) if one == SOME]) == 1


@pytest.mark.row("Q14", "P01")
@pytest.mark.parametrize("face", ["async"])
async def test_writes_keep_their_order(db, other):
    """Calls asked after the failure was known come behind those that run again."""
    await prepare(db, other)
    await other.execute_script("drop table if exists log; create table log (n int4, at serial)")
    insert = "insert into log (n) select $1::int4 from shape limit 1 returning log.*"
    await db.fetch_all(insert, 0)
    await other.execute("alter table log add more int4")
    first = [db.fetch_all(insert, n) for n in range(1, 6)]
    await first[0]
    await asyncio.gather(*first, *(db.execute("insert into log (n) values ($1)", n) for n in range(6, 10)))
    assert await db.fetch_column("select n from log order by at") == list(range(10))


@pytest.mark.row("Q14", "P01")
@pytest.mark.parametrize("face", ["async"])
async def test_not_behind_a_command_that_was_written_after_it(db, other):
    """Run again it would be part of the transaction that began meanwhile."""
    await prepare(db, other, SOME)
    await other.execute("alter table shape add more int4")
    stale, begin = db.fetch_all(SOME, 1), db.execute("begin")
    with pytest.raises(StatementInvalidated, match="run it again"):
        await stale
    await begin
    await db.execute("rollback")
    assert len(await db.fetch_all(SOME, 1)) == 2


@pytest.mark.row("Q14")
@pytest.mark.parametrize("face", ["async"])
async def test_cancelled_meanwhile(connect, proxy, other):
    """A call that is to run again and is given up runs no more."""
    line = proxy(delay=0.05)
    db = await connect(to=line)
    await prepare(db, other)
    sql = "delete from shape where id = $1 returning *"
    await db.fetch_all(sql, 0)
    await other.execute("alter table shape add more int4")
    for wait in (0.05, 0.15, 0.25):
        line.forget()
        call = db.fetch_all(sql, 0)
        await asyncio.sleep(wait)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await db.fetch_value("select 1") == 1
        await other.execute("alter table shape add more" + str(int(wait * 100)) + " int4")
    assert await other.fetch_value("select count(*) from shape") == 2


# ---- batches


@pytest.mark.row("Q14", "P03")
async def test_a_batch_runs_again_as_a_whole(db, other):
    """What came before in it was undone with it; what came behind has not run."""
    await prepare(db, other, SOME, ALL)
    insert = "insert into shape (id) values ($1)"
    await db.execute(insert, 3)
    await other.execute("alter table shape add more int4 default 7")
    async with db.batch() as batch:
        inserted = batch.execute(insert, 4)
        some = batch.fetch_all(SOME, 2)
        everything = batch.fetch_column(f"select id from ({ALL}) as s")
        batch.execute(insert, 5)
        one = batch.fetch_all(ALL)
    assert inserted.result().rows_affected == 1
    assert some.result() == [(2, "b", 7), (3, None, 7), (4, None, 7)]
    assert everything.result() == [1, 2, 3, 4]
    assert [row.id for row in one.result()] == [1, 2, 3, 4, 5]
    assert await other.fetch_column("select id from shape order by id") == [1, 2, 3, 4, 5]


@pytest.mark.row("Q14", "P03")
@pytest.mark.parametrize("face", ["async"])
async def test_batches_in_one_flight(db, other):
    await prepare(db, other, SOME)
    await other.execute("alter table shape add more int4 default 7")

    async def batch(n):
        async with db.batch() as batch:
            one, two = batch.fetch_value("select $1::int4", n), batch.fetch_all(SOME, n)
        return one.result(), two.result()

    expected = [(1, "a", 7), (2, "b", 7)]
    assert await asyncio.gather(*(batch(n) for n in range(1, 4))) == [
        (n, [row for row in expected if row[0] >= n]) for n in range(1, 4)
    ]


@pytest.mark.row("Q14", "P03")
async def test_a_batch_behind_what_may_not_be_undone(db, other):
    """A command in front of it may have had effects of its own: the caller is told."""
    await prepare(db, other, SOME)
    await other.execute("alter table shape add more int4")
    with pytest.raises(StatementInvalidated):
        async with db.batch() as batch:
            first = batch.execute("set application_name = 'x'")
            second = batch.fetch_all(SOME, 1)
            third = batch.fetch_value("select 1")
    for reply, error in ((first, BatchAborted), (second, StatementInvalidated), (third, BatchAborted)):
        with pytest.raises(error):
            reply.result()
    async with db.batch() as batch:
        batch.execute("set application_name = 'x'")
        second = batch.fetch_all(SOME, 2)
    assert second.result() == [(2, "b", None)]


@pytest.mark.row("Q14", "P03")
async def test_a_batch_in_a_transaction(db, other):
    await prepare(db, other, SOME)
    await other.execute("alter table shape add more int4")
    async with transaction(db):
        with pytest.raises(StatementInvalidated, match="roll back"):
            async with db.batch() as batch:
                batch.execute("insert into shape (id) values (9)")
                batch.fetch_all(SOME, 1)
    await db.fetch_all(SOME, 1)
    await other.execute("alter table shape add more2 int4")
    with pytest.raises(StatementInvalidated):  # BEGIN is part of the batch itself
        async with db.batch() as batch:
            batch.execute("begin")
            batch.fetch_all(SOME, 1)
    assert db.transaction_status == "failed transaction"
    await db.execute("rollback")
    assert await other.fetch_value("select count(*) from shape") == 2


@pytest.mark.row("Q14", "Q12")
async def test_without_a_cache(connect, other):
    """Statements that are closed behind their run: described anew each time, so only a change in between is met."""
    db = await connect(statement_cache_size=0)
    await prepare(db, other, SOME)
    await other.execute("alter table shape add more int4")
    assert len((await db.fetch_all(SOME, 1))[0]) == 3
    assert await kept(db) == []


# ---- streams, many parameter sets


@pytest.mark.row("Q14", "P09")
async def test_a_stream(db, other):
    await prepare(db, other, SOME)
    for columns in (3, 4):
        await other.execute(f"alter table shape add more{columns} int4")
        stream = db.stream(SOME, 1, batch=1)
        rows = [row async for row in stream]
        assert [(len(row), row.id) for row in rows] == [(columns, 1), (columns, 2)]
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("Q14", "P09")
async def test_a_stream_in_a_transaction(db, other):
    await prepare(db, other, SOME)
    await other.execute("alter table shape add more int4")
    async with transaction(db):
        with pytest.raises(StatementInvalidated):
            _ = [row async for row in db.stream(SOME, 1)]
    assert len([row async for row in db.stream(SOME, 1)]) == 2


@pytest.mark.row("Q14", "P09")
@pytest.mark.parametrize("face", ["async"])
async def test_streams_of_several_tasks(db, other):
    await prepare(db, other, SOME)
    await other.execute("alter table shape add more int4")

    async def read(n):
        return [row.id async for row in db.stream(SOME, n, batch=1)]

    calls = [read(n) for n in (0, 1, 2)] + [asyncio.wait_for(db.fetch_all(SOME, 2), 10)]
    first, second, third, last = await asyncio.gather(*calls)
    assert (first, second, third, [row.id for row in last]) == ([1, 2], [1, 2], [2], [2])


@pytest.mark.row("Q14", "Q22")
async def test_many_parameter_sets(db, other):
    """The source is not touched before the server has said that the statement is as it was described."""
    await prepare(db, other)
    insert = "insert into shape (id) values ($1) returning *"
    await db.execute_many(insert, [(3,)])
    await other.execute("alter table shape add more int4")
    taken = []

    def source():
        for n in range(4, 2000):
            taken.append(n)
            yield (n,)

    assert (await db.execute_many(insert, source())).rows_affected == 1996
    assert taken == list(range(4, 2000))
    assert await other.fetch_value("select count(*) from shape") == 1999
    async with transaction(db):
        await other.execute("alter table shape add more2 int4")
        with pytest.raises(StatementInvalidated):
            await db.execute_many(insert, source())
        assert len(taken) == 1996


# ---- analysed anew, and refused


@pytest.mark.row("Q14")
async def test_parameters_of_a_type_that_no_longer_fits(db, other):
    """The statement's parameter stays int4 for the server, which finds no operator; parsed anew it is text."""
    await prepare(db, other)
    sql = "select text from shape where id = $1"
    assert await db.fetch_value(sql, 1) == "a"
    await other.execute("alter table shape alter id type text")
    with pytest.raises(DataError, match="text"):  # 1 is no text, now as ever
        await db.fetch_value(sql, 1)
    assert await db.fetch_value(sql, "1") == "a"


@pytest.mark.row("Q14")
async def test_what_is_gone_is_gone(db, other):
    await prepare(db, other, SOME)
    await other.execute("drop table shape")
    for _ in range(2):
        with pytest.raises(UndefinedTable) as caught:
            await db.fetch_all(SOME, 1)
        assert caught.value.position is not None
    await prepare(db, other)
    assert len(await db.fetch_all(SOME, 1)) == 2


# ---- Q16: dropped statements

DROPS = ["discard all", "deallocate all", "do $$ begin execute 'deallocate all'; end $$"]


@pytest.mark.row("Q16")
@pytest.mark.parametrize("drop", DROPS)
async def test_dropped_statements(db, drop):
    texts = [f"select $1::int4 + {n}" for n in range(5)]
    for _ in range(3):
        for n, sql in enumerate(texts):
            assert await db.fetch_value(sql, 1) == n + 1
        await db.execute(drop)
    assert [await db.fetch_value(sql, 1) for sql in texts] == [1, 2, 3, 4, 5]
    assert sorted(one for one in await kept(db) if "int4" in one) == texts


@pytest.mark.row("Q16")
async def test_dropping_is_noticed(connect, line):
    """What the server says it has dropped is parsed anew without a failure in between."""
    db = await connect(to=line)
    await db.fetch_value("select $1::int4", 1)
    for drop in ("discard all", "deallocate all"):
        await db.execute(drop)
        line.forget()
        assert await db.fetch_value("select $1::int4", 1) == 1
        assert line.sent == "PDSBES"
    await db.execute_script("select 1; deallocate all")
    line.forget()
    assert await db.fetch_value("select $1::int4", 1) == 1
    assert line.sent == "PDSBES"


@pytest.mark.row("Q16")
async def test_dropped_in_a_transaction(db):
    await db.fetch_value("select $1::int4", 1)
    async with transaction(db):
        await db.execute("deallocate all")  # its tag says so: nothing fails
        assert await db.fetch_value("select $1::int4", 1) == 1
        await db.execute("do $$ begin execute 'deallocate all'; end $$")
        with pytest.raises(StatementInvalidated, match="DEALLOCATE") as caught:
            await db.fetch_value("select $1::int4", 1)
        assert isinstance(caught.value.__cause__, InvalidSqlStatementName)
    assert await db.fetch_value("select $1::int4", 1) == 1


@pytest.mark.row("Q16")
@pytest.mark.parametrize("face", ["async"])
async def test_dropped_in_the_same_flight(db):
    """What was written behind it before its answer came."""
    texts = [f"select $1::int4 + {n}" for n in range(5)]
    await asyncio.gather(*(db.fetch_value(sql, 1) for sql in texts))
    answers = await asyncio.gather(
        db.execute("deallocate all"), *(db.fetch_value(sql, 1) for sql in texts for _ in range(3))
    )
    assert answers[1:] == [n + 1 for n in range(5) for _ in range(3)]


@pytest.mark.row("Q16")
async def test_commands_too(db):
    """BEGIN, SET and COMMIT are prepared like the rest."""
    for _ in range(2):
        await db.execute("begin")
        await db.execute("set application_name = 'x'")
        await db.execute("commit")
        await db.execute("do $$ begin execute 'deallocate all'; end $$")


@pytest.mark.row("Q16", "P09", "P03", "Q22")
async def test_dropped_for_every_kind_of_call(db):
    drop = "do $$ begin execute 'deallocate all'; end $$"
    sql, nothing = "select generate_series(1, $1::int4)", "select $1::int4 where false"
    await db.execute_many(nothing, [(1,)])
    await db.fetch_all(sql, 1)
    for _ in range(2):
        await db.execute(drop)
        assert [row[0] async for row in db.stream(sql, 3, batch=2)] == [1, 2, 3]
        await db.execute(drop)
        assert (await db.execute_many(nothing, [(n,) for n in range(10)])).rows_affected == 0
        await db.execute(drop)
        async with db.batch() as batch:
            replies = [batch.fetch_column(sql, n) for n in range(3)]
            replies.append(batch.fetch_column("select 7"))
        assert [reply.result() for reply in replies] == [[], [1], [1, 2], [7]]


@pytest.mark.row("Q16")
async def test_a_name_that_is_taken(db):
    """42P05: somebody has taken the name our next statement would get."""
    name = await db.fetch_value(
        "select name from pg_prepared_statements where statement like '%pg_prepared%'"
    )
    prefix, _, number = name.rpartition("_")
    for step in range(2, 5):
        await db.execute_script(f'prepare "{prefix}_{int(number, 16) + step:x}" as select 1')
    assert await db.fetch_value("select $1::int4", 7) == 7
    assert await db.fetch_value("select 8") == 8
    assert (await db.execute("set application_name = 'x'")).text == "SET"
    assert await db.fetch_value("select $1", 9, types=["int4"]) == 9


@pytest.mark.row("Q14", "X01")
@pytest.mark.parametrize("before", [0, 1])
async def test_in_a_block(db, other, before):
    """Its first statement travels with BEGIN, which has succeeded: the block has failed, whichever statement met it."""
    await prepare(db, other, SOME)
    await other.execute("alter table shape add more int4")
    with pytest.raises(StatementInvalidated, match="roll back"):
        async with db.transaction():
            for _ in range(before):
                await db.fetch_value("select 1")
            await db.fetch_all(SOME, 1)
    assert db.transaction_status == "idle"
    async with db.transaction():
        assert await db.fetch_all(SOME, 2) == [(2, "b", None)]
