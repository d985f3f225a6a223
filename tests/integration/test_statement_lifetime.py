"""Prepared statements from Parse to Close: none is closed while somebody uses it, none stays behind, none is read as another.

Truth is what the server says: pg_prepared_statements, asked by the simple protocol, which prepares nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide import errors
from pgoxide.errors import (
    DataError,
    Error,
    InterfaceError,
    InvalidCursorName,
    InvalidSqlStatementName,
    UniqueViolation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.pg

ASYNC = pytest.mark.parametrize("face", ["async"])


async def held(db: Any) -> list[str]:
    """Texts of the statements the driver left at the server, those it was to close with the next request excluded."""
    await db.execute_script("/* carries no Close */")
    (result,) = await db.execute_script(
        "select statement from pg_prepared_statements where not from_sql order by 1"
    )
    return [row[0] for row in result.rows]


# ---- FETCH and EXECUTE: the same text, other columns


@pytest.mark.row("Q12")
async def test_fetch_from_another_cursor_of_the_same_name(db: Any) -> None:
    await db.execute("begin")
    for select, expected in (
        ("1.5::float8", 1.5),
        ("42::int8", 42),
        ("'x'::text", "x"),
        ("'{1,2}'::int4[]", [1, 2]),
        ("2.25::float8", 2.25),
    ):
        await db.execute(f"declare c cursor for select {select} as v")
        (row,) = await db.fetch_all("fetch all from c")
        assert (row[0], type(row[0])) == (expected, type(expected))
        await db.execute("close c")
    await db.execute("rollback")


@pytest.mark.row("Q12")
async def test_fetch_of_another_number_of_columns(db: Any) -> None:
    await db.execute("begin")
    await db.execute("declare c cursor for select 1::int4 as a, 2::int8 as b, '{3}'::int4[] as c")
    assert await db.fetch_one("fetch 1 from c") == (1, 2, [3])
    await db.execute("close c")
    await db.execute("declare c cursor for select 4::int8 as a")
    assert await db.fetch_value("fetch 1 from c") == 4
    with pytest.raises(InterfaceError):
        await db.execute("close c")
        await db.execute("declare c cursor for select 1 as a, 2 as b")
        await db.fetch_value("fetch 1 from c")
    assert db.transaction_status == "in transaction"
    await db.execute("rollback")


@pytest.mark.row("Q12")
async def test_fetch_from_a_cursor_that_did_not_exist_the_first_time(db: Any) -> None:
    with pytest.raises(InvalidCursorName):
        await db.fetch_all("fetch all from late")
    await db.execute("begin")
    await db.execute("declare late cursor for select 7::int8 as a")
    assert await db.fetch_all("fetch all from late") == [(7,)]
    await db.execute("rollback")


@pytest.mark.row("Q12")
async def test_execute_of_another_statement_of_the_same_name(db: Any) -> None:
    for select, expected in (("1.5::float8", 1.5), ("42::int8", 42), ("'x'::text", "x")):
        await db.execute(f"prepare p as select {select} as v")
        assert await db.fetch_value("execute p") == expected
        await db.execute("deallocate p")
    with pytest.raises(InvalidSqlStatementName):
        await db.fetch_value("execute p")
    await db.execute("prepare p as select 9::int4 as v")
    assert await db.fetch_value("execute p") == 9


@pytest.mark.row("Q12")
async def test_execute_that_returns_rows_and_then_none(db: Any) -> None:
    await db.execute("create temp table t (n int4)")
    await db.execute("prepare p as select 1 as n")
    assert await db.fetch_all("execute p") == [(1,)]
    await db.execute("deallocate p")
    await db.execute("prepare p as insert into t values (1)")
    assert await db.fetch_all("execute p") == []
    assert (await db.execute("execute p")).rows_affected == 1


@pytest.mark.row("Q12", "P01")
async def test_a_batch_declares_and_fetches(db: Any) -> None:
    """What FETCH gives is not known before DECLARE has run, which is in the same flight."""
    for select, expected in (("1.5::float8", 1.5), ("42::int8", 42)):
        async with db.batch() as batch:
            batch.execute("begin")
            batch.execute(f"declare c cursor for select {select} as v")
            reply = batch.fetch_all("fetch all from c")
            batch.execute("rollback")
        assert reply.result() == [(expected,)]


@pytest.mark.row("Q12", "P05")
async def test_a_stream_of_fetch(db: Any) -> None:
    await db.execute("begin")
    for select, expected in (("1.5::float8", 1.5), ("42::int8", 42)):
        await db.execute(f"declare c cursor for select {select} as v from generate_series(1, 3)")
        stream = db.stream("fetch all from c")
        rows = [row async for row in stream]
        assert rows == [(expected,)] * 3
        await db.execute("close c")
    await db.execute("rollback")


@pytest.mark.row("Q12")
async def test_columns_that_change_between_description_and_run(
    connect: Any, proxy: Callable[..., Any]
) -> None:
    """They were asked for in the formats of others: refused, in step, and right the next time."""
    changing = {"on": False}

    def alter(kind: bytes, body: bytes) -> bytes:
        # The portal's description: as if the column had become an int8 sent as text beside one in binary.
        if kind == b"T" and changing["on"] and body[-2:] == b"\0\1":
            changing["on"] = False
            return b"\0\2" + (body[2:-2] + b"\0\0") + body[2:]
        return body

    db = await connect(to=proxy(alter=alter))
    await db.execute("begin")
    await db.execute("declare c cursor for select 1::int8 as v")
    changing["on"] = True
    with pytest.raises(InterfaceError, match="columns changed"):
        await db.fetch_all("fetch all from c")
    assert await db.fetch_value("select 5") == 5
    await db.execute("rollback")


@pytest.mark.row("Q12", "Q14")
@pytest.mark.parametrize("verb", ["fetch_column", "fetch_value"])
async def test_a_changed_table_is_the_servers_to_refuse(db: Any, verb: str) -> None:
    """The server refuses to run what was prepared for the old one; the driver prepares it anew."""
    await db.execute("create temp table t as select 1.5::float8 as v")
    assert await db.fetch_value("select * from t") == 1.5
    await db.execute("drop table t")
    await db.execute("create temp table t as select 42::int8 as v")
    assert await getattr(db, verb)("select * from t") == ([42] if verb == "fetch_column" else 42)


@pytest.mark.row("Q12")
async def test_a_changed_procedure_is_never_read_as_the_old_one(db: Any) -> None:
    await db.execute("create procedure pg_temp.p(out v float8) language sql as 'select 1.5::float8'")
    assert await db.fetch_value("call pg_temp.p(null)") == 1.5
    await db.execute("drop procedure pg_temp.p")
    await db.execute("create procedure pg_temp.p(out v int8) language sql as 'select 42::int8'")
    try:
        value = await db.fetch_value("call pg_temp.p(null)")
    except Error as error:
        assert error.sqlstate in {"0A000", "XX000"}
    else:
        assert value == 42


# ---- a statement in use is not closed


@ASYNC
@pytest.mark.row("Q12")
@pytest.mark.parametrize("lifetime", [0, 1e-9])
async def test_no_lifetime_at_all(connect: Any, lifetime: float) -> None:
    db = await connect(statement_cache_lifetime=lifetime)
    for n in range(5):
        assert await asyncio.gather(*(db.fetch_value("select $1::int4", n + k) for k in range(4))) == [
            n, n + 1, n + 2, n + 3
        ]  # fmt: skip
    await db.fetch_value("select 'carries the last Close'")
    assert await held(db) == ["select $1::int4", "select 'carries the last Close'"]  # one of each: the newest


@pytest.mark.row("Q12", "P01")
async def test_a_batch_collected_before_its_statement_was_given_up(connect: Any) -> None:
    db = await connect(statement_cache_size=1)
    await db.fetch_value("select $1::int4", 1)
    async with db.batch() as batch:
        reply = batch.fetch_value("select $1::int4", 2)
        for n in range(3):
            await db.fetch_value(f"select {n}")  # outside the batch
    assert reply.result() == 2
    await db.fetch_value("select 'carries the last Close'")
    assert len(await held(db)) <= 1


@pytest.mark.row("Q12")
async def test_execute_many_whose_source_uses_up_the_cache(connect: Any) -> None:
    db = await connect(statement_cache_lifetime=0)
    await db.execute("create temp table t (n int4)")
    for _ in range(2):
        await db.execute_many("insert into t values ($1)", ((n,) for n in range(10)))
    assert await db.fetch_value("select count(*) from t") == 20


# ---- nothing stays behind


@pytest.mark.row("Q12")
@pytest.mark.parametrize("size", [0, 1])
async def test_statements_that_fail_to_run(connect: Any, size: int) -> None:
    db = await connect(statement_cache_size=size)
    await db.execute_script("create temp table t (n int4 primary key); insert into t values (1)")
    for n in range(20):
        with pytest.raises(UniqueViolation):
            await db.execute(f"insert into t values ($1) /* {n} */", 1)
        with pytest.raises(UniqueViolation):
            await db.execute(f"insert into t values (1) /* {n} */")
    await db.fetch_value("select 'carries the last Close'")
    assert len(await held(db)) <= size


@pytest.mark.row("Q12")
async def test_execute_many_that_fails(connect: Any) -> None:
    db = await connect(statement_cache_size=0)
    await db.execute_script("create temp table t (n int4 primary key); insert into t values (1)")
    for n in range(10):
        with pytest.raises(UniqueViolation):
            await db.execute_many(f"insert into t values ($1) /* {n} */", [(1,)])
        with pytest.raises(DataError):
            await db.execute_many(f"insert into t values ($1) /* s{n} */", [("no number",)])
    await db.fetch_value("select 'carries the last Close'")
    assert await held(db) == []


@pytest.mark.row("Q12", "P05")
async def test_streams_that_fail(connect: Any) -> None:
    db = await connect(statement_cache_size=0)
    for n in range(10):
        with pytest.raises(Error, match="division"):
            stream = db.stream(f"select 1 / (3 - g) from generate_series(1, 5) g /* {n} */", batch=1)
            _ = [row async for row in stream]
    await db.fetch_value("select 'carries the last Close'")
    assert await held(db) == []


@pytest.mark.row("Q12")
async def test_a_close_that_could_not_ride(connect: Any) -> None:
    """The request that was to carry it could not be encoded: the next one does."""
    db = await connect(statement_cache_size=1)
    await db.fetch_value("select $1::int4", 1)
    await db.fetch_value("select $1::int8", 1)  # gives the first one up, and carries its Close
    await db.fetch_value("select $1::int4", 1)
    for _ in range(3):
        with pytest.raises(DataError):
            await db.fetch_value("select $1::int2", "no number", types=["int2"])
    await db.fetch_value("select 'carries the last Close'")
    assert len(await held(db)) <= 1


@ASYNC
@pytest.mark.row("Q12")
async def test_a_close_whose_request_was_never_sent(connect: Any) -> None:
    db = await connect(statement_cache_size=1)
    await db.fetch_value("select 'first'")
    isolated = db.fetch_value("select pg_sleep(0.1)::text", isolate=True)
    await isolated
    running = db.execute_script("select pg_sleep(0.2)")  # nothing is written beside a script
    dropped = db.fetch_value("select 'carries the Close of pg_sleep'")
    dropped.cancel()
    await running
    await db.fetch_value("select 'one more'")
    await db.fetch_value("select 'and one'")
    assert len(await held(db)) <= 1


@ASYNC
@pytest.mark.row("Q12")
async def test_first_uses_that_were_cancelled_leave_room(connect: Any) -> None:
    """An entry whose statement was never parsed is as good as any other to be given up."""
    db = await connect(statement_cache_size=4)
    for n in range(10):
        running = db.execute_script("select pg_sleep(0.01)")
        for reply in (db.fetch_value(f"select {n}"), db.execute(f"set application_name = 'a{n}'")):
            reply.cancel()
        await running
    await db.fetch_value("select 'kept'")
    hits = db.statement_cache["hits"]
    await db.fetch_value("select 'kept'")
    assert db.statement_cache["hits"] == hits + 1
    assert len(await held(db)) <= 4


@pytest.mark.row("Q12")
async def test_a_first_flight_that_fails_before_and_after_it_was_parsed(db: Any) -> None:
    with pytest.raises(errors.SyntaxError):
        await db.execute("set nonsense")
    for _ in range(2):
        with pytest.raises(Error):
            await db.execute("set datestyle = 'nonsense'")
    await db.fetch_value("select 'carries the last Close'")
    assert set(await held(db)) <= {"select 'carries the last Close'", "set datestyle = 'nonsense'"}


@ASYNC
@pytest.mark.row("Q12")
async def test_a_failed_first_flight_others_wait_for(connect: Any) -> None:
    """They parse it again, and the server keeps one."""
    db = await connect(statement_cache_size=2)
    sql = "select 10 / $1"
    asked = [db.fetch_value(sql, 1, types=["int4"]), db.fetch_value(sql, 0, types=["int4"])]
    asked += [db.fetch_value(sql, n, types=["int4"]) for n in (2, 5)]
    got = await asyncio.gather(*asked, return_exceptions=True)
    assert [one if isinstance(one, int) else type(one).__name__ for one in got] == [
        10,
        "DivisionByZero",
        5,
        2,
    ]
    for n in range(4):
        await db.fetch_value(f"select {n}")
    assert len(await held(db)) <= 2


@pytest.mark.row("Q10", "Q12")
async def test_an_argument_refused_in_the_first_flight(db: Any) -> None:
    """Nothing was sent: the next call is the first."""
    for _ in range(2):
        with pytest.raises(DataError):
            await db.fetch_value("select $1", "no number", types=["int4"])
    assert await db.fetch_value("select $1", 1, types=["int4"], timeout=10) == 1
