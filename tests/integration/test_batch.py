"""`batch()`: several statements, one flight, one Sync, one implicit transaction."""

from __future__ import annotations

import pytest

from pgoxide.errors import (
    BatchAborted,
    ConnectionClosed,
    DataError,
    InterfaceError,
    NoRow,
    UndefinedTable,
    UniqueViolation,
)

pytestmark = [pytest.mark.pg, pytest.mark.row("P03"), pytest.mark.both_transports]


@pytest.fixture
def line(proxy):
    return proxy()


async def test_one_flight_with_one_sync(connect, line):
    db = await connect(to=line)
    for _ in range(2):
        async with db.batch() as batch:
            one = batch.fetch_value("select 1")
            many = batch.fetch_all("select $1::int4 as n", 5)
            tag = batch.execute("set work_mem = '4MB'")
            column = batch.fetch_column("select generate_series(1, 3)")
            first = batch.fetch_first("select generate_series(1, 3)")
            optional = batch.fetch_optional("select 1 where false")
            single = batch.fetch_one("select 'x' as s")
            assert len(batch) == 7
            line.forget()
        results = [one.result(), many.result(), str(tag.result()), column.result()]
        assert results == [1, [(5,)], "SET", [1, 2, 3]]
        assert [first.result(), optional.result(), single.result().s] == [(1,), None, "x"]
    assert line.sent == "BE" * 7 + "S"


async def test_the_middle_of_three_fails(db):
    await db.execute("create temp table t (n int primary key)")
    for _ in range(2):
        with pytest.raises(UniqueViolation) as caught:
            async with db.batch() as batch:
                first = batch.execute("insert into t values ($1)", 1)
                middle = batch.execute("insert into t values ($1)", 1)
                last = batch.execute("insert into t values ($1)", 2)
        with pytest.raises(UniqueViolation) as own:
            middle.result()
        assert own.value is caught.value
        for reply, what in ((first, "undone"), (last, "not run")):
            with pytest.raises(BatchAborted, match=f"{what}: statement 2") as aborted:
                reply.result()
            assert aborted.value.__cause__ is caught.value
        assert await db.fetch_value("select count(*) from t") == 0
        assert db.transaction_status == "idle"


async def test_a_statement_that_cannot_be_prepared(db):
    await db.execute("create temp table t (n int)")
    for _ in range(2):
        with pytest.raises(UndefinedTable):
            async with db.batch() as batch:
                first = batch.execute("insert into t values ($1)", 1)
                middle = batch.execute("insert into not_there values ($1)", 1)
                last = batch.execute("insert into t values ($1)", 2)
        with pytest.raises(UndefinedTable):
            middle.result()
        for reply in (first, last):
            with pytest.raises(BatchAborted, match="statement 2"):
                reply.result()
        assert await db.fetch_value("select count(*) from t") == 0


async def test_an_argument_that_cannot_be_encoded_spoils_nothing(db):
    """Described: the verb raises, the batch goes on without it. Undescribed: the whole batch is not sent."""
    await db.execute("create temp table t (n int4)")
    with pytest.raises(DataError, match=r"argument \$1"):
        async with db.batch() as batch:
            first = batch.execute("insert into t values ($1)", 1)
            batch.execute("insert into t values ($1)", "two")
    with pytest.raises(BatchAborted):
        first.result()
    assert await db.fetch_value("select count(*) from t") == 0
    async with db.batch() as batch:
        first = batch.execute("insert into t values ($1)", 1)
        with pytest.raises(DataError, match=r"argument \$1"):
            batch.execute("insert into t values ($1)", "two")
        assert len(batch) == 1
    assert first.result().rows_affected == 1
    assert await db.fetch_column("select n from t") == [1]


async def test_arguments_are_frozen(db):
    for _ in range(2):
        raw = bytearray(b"abc")
        async with db.batch() as batch:
            reply = batch.fetch_value("select $1::bytea", raw)
            raw[0] = 0
        assert reply.result() == b"abc"


async def test_an_exception_in_the_block_sends_nothing(connect, line):
    db = await connect(to=line)
    line.forget()
    with pytest.raises(KeyError, match="mine"):
        async with db.batch() as batch:
            reply = batch.execute("select 1")
            raise KeyError("mine")
    assert line.sent == ""
    with pytest.raises(InterfaceError, match="not run"):
        reply.result()


async def test_results_inside_the_block_and_statements_after_it(db):
    async with db.batch() as batch:
        reply = batch.fetch_value("select 1")
        with pytest.raises(InterfaceError, match="after its block"):
            reply.result()
    assert reply.result() == reply.result() == 1
    with pytest.raises(InterfaceError, match="inside its block"):
        batch.execute("select 1")


async def test_an_empty_batch(connect, line):
    db = await connect(to=line)
    line.forget()
    async with db.batch():
        pass
    assert line.sent == ""


async def test_a_row_count_does_not_undo_the_batch(db):
    await db.execute("create temp table t (n int)")
    for times in (1, 2):
        with pytest.raises(NoRow):
            async with db.batch() as batch:
                inserted = batch.execute("insert into t values (1)")
                none = batch.fetch_one("select 1 where false")
                after = batch.fetch_value("select 5")
        with pytest.raises(NoRow):
            none.result()
        assert (inserted.result().rows_affected, after.result()) == (1, 5)
        assert await db.fetch_value("select count(*) from t") == times


async def test_a_value_that_cannot_be_read_does_not_undo_the_batch(db):
    """Only the driver refused: the server has committed, so the others must not be told that they were undone."""
    await db.execute("create temp table t (n int)")
    for times in (1, 2):
        with pytest.raises(DataError, match="infinity"):
            async with db.batch() as batch:
                before = batch.execute("insert into t values (1)")
                unreadable = batch.fetch_value("select 'infinity'::date")
                after = batch.execute("insert into t values (2)")
        assert await db.fetch_value("select count(*) from t") == 2 * times
        with pytest.raises(DataError, match="infinity") as caught:
            unreadable.result()
        assert not isinstance(caught.value, BatchAborted)
        assert (before.result().rows_affected, after.result().rows_affected) == (1, 1)


async def test_inside_a_transaction_it_is_part_of_it(db):
    await db.execute("create temp table t (n int)")
    await db.execute("begin")
    async with db.batch() as batch:
        batch.execute("insert into t values (1)")
        batch.execute("insert into t values (2)")
    assert db.transaction_status == "in transaction"
    await db.execute("rollback")
    assert await db.fetch_value("select count(*) from t") == 0


async def test_a_thousand_statements(db):
    async with db.batch() as batch:
        replies = [batch.fetch_value("select $1::int4", n) for n in range(1000)]
    assert [reply.result() for reply in replies] == list(range(1000))


async def test_row_types(db):
    async with db.batch() as batch:
        row = batch.fetch_one("select 1 as a", into=dict)
        rows = batch.fetch_all("select 1 as a", into=tuple)
    assert (row.result(), rows.result()) == ({"a": 1}, [(1,)])


async def test_a_row_that_ends_the_connection(db):
    class Ending:
        def __init__(self, n):
            db.abort()

    with pytest.raises(ConnectionClosed):
        async with db.batch() as batch:
            first = batch.execute("set work_mem = '4MB'")
            middle = batch.fetch_all("select 1 as n", into=Ending)
            last = batch.execute("set work_mem = '5MB'")
    with pytest.raises(ConnectionClosed):
        middle.result()
    for one in (first, last):
        with pytest.raises(BatchAborted):
            one.result()
