"""COPY in and execute_many: all or nothing, lazily pulled, the connection in step afterwards."""

from __future__ import annotations

import asyncio
import datetime as dt
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide.errors import DataError, InterfaceError, ProgrammingError, UndefinedTable, UniqueViolation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]

NOON = dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)


async def table(db: Any) -> None:
    await db.execute(
        "create temp table c (a int4 unique, b text, t timestamptz, g int4 generated always as (a + 1) stored)"
    )


@pytest.mark.row("Y02")
@pytest.mark.parametrize(
    "records",
    [
        [(1, "x", NOON), (2, None, None)],
        [[1, "x", NOON], [2, None, None]],
        [{"b": "x", "a": 1, "t": NOON}, {"a": 2, "b": None, "t": None}],
        [SimpleNamespace(a=1, b="x", t=NOON), SimpleNamespace(a=2, b=None, t=None)],
    ],
    ids=["tuples", "lists", "dicts", "objects"],
)
async def test_records_of_every_shape(db: Any, records: list[Any]) -> None:
    await table(db)
    tag = await db.copy_in("c", records)
    assert (tag.text, tag.rows_affected) == ("COPY 2", 2)
    assert await db.fetch_all("select * from c order by a") == [(1, "x", NOON, 2), (2, None, None, 3)]


@pytest.mark.row("Y02")
async def test_chosen_columns_and_a_condition(db: Any) -> None:
    await table(db)
    tag = await db.copy_in("c", (("x", n) for n in range(10)), columns=["b", "a"], where="a >= 7")
    assert tag.rows_affected == 3
    assert await db.fetch_column("select a from c order by a") == [7, 8, 9]
    with pytest.raises(ProgrammingError, match="no column nope"):
        await db.copy_in("c", [], columns=["nope"])
    with pytest.raises(UndefinedTable):
        await db.copy_in("not_there", [])


@pytest.mark.row("Y05")
async def test_an_exception_of_the_source_comes_out_and_nothing_was_loaded(db: Any) -> None:
    await table(db)

    def source() -> Iterator[tuple[int, str, None]]:
        for n in range(20_000):
            yield n, "x", None
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        await db.copy_in("c", source())
    assert await db.fetch_value("select count(*) from c") == 0


@pytest.mark.row("Y05")
async def test_a_bad_value_names_record_and_column(db: Any) -> None:
    await table(db)
    with pytest.raises(DataError, match=r"record 10000: column a \(int4\)"):
        await db.copy_in("c", ((n if n != 10_000 else "bad", "x", None) for n in range(20_000)))
    assert await db.fetch_value("select count(*) from c") == 0


@pytest.mark.row("Y05")
async def test_the_servers_refusal_stops_the_source(db: Any) -> None:
    await table(db)
    taken = 0

    def source() -> Iterator[tuple[int, str, None]]:
        nonlocal taken
        for n in range(3_000_000):
            taken += 1
            yield (n if n != 1_000 else 5), "x", None

    with pytest.raises(UniqueViolation):
        await db.copy_in("c", source())
    assert taken < 1_500_000
    assert await db.fetch_value("select count(*) from c") == 0


@pytest.mark.row("Q22")
async def test_execute_many_is_lazy_and_counts(db: Any) -> None:
    await table(db)
    tag = await db.execute_many("insert into c values ($1, $2)", ((n, str(n)) for n in range(10_000)))
    assert tag.rows_affected == 10_000
    assert await db.fetch_one("select count(*), sum(a) from c") == (10_000, sum(range(10_000)))
    assert (await db.execute_many("insert into c values ($1, $2)", [])).rows_affected == 0


@pytest.mark.row("Q22")
async def test_execute_many_is_all_or_nothing(db: Any) -> None:
    await table(db)
    with pytest.raises(UniqueViolation):
        await db.execute_many("insert into c(a) values ($1)", ((n % 5_000,) for n in range(9_000)))
    assert await db.fetch_value("select count(*) from c") == 0

    def source() -> Iterator[tuple[int]]:
        yield from ((n,) for n in range(5_000))
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError):
        await db.execute_many("insert into c(a) values ($1)", source())
    with pytest.raises(DataError, match="record 1"):
        await db.execute_many("insert into c(a) values ($1)", [(1,), ("x",)])
    with pytest.raises(DataError, match="record 0: the statement takes 1 parameter"):
        await db.execute_many("insert into c(a) values ($1)", [(1, 2)])
    assert await db.fetch_value("select count(*) from c") == 0


@pytest.mark.row("Y02", "Q22", "Y05")
@pytest.mark.parametrize("face", ["async"])
@pytest.mark.parametrize("verb", ["copy_in", "execute_many"])
async def test_an_asynchronous_source(db: Any, verb: str) -> None:
    """As any other: complete, lazy, all or nothing, and its own exception comes out."""
    await table(db)
    taken = 0

    async def source(
        count: int, fails: BaseException | None = None, bad: object = None
    ) -> AsyncIterator[Any]:
        nonlocal taken
        for n in range(count):
            taken += 1
            yield (n, "x")
            if n % 100 == 0:
                await asyncio.sleep(0)
        if bad is not None:
            yield (bad, "x")
            yield (count, "x")
        if fails is not None:
            raise fails

    async def call(records: AsyncIterator[Any]) -> Any:
        if verb == "copy_in":
            return await db.copy_in("c", records, columns=["a", "b"])
        return await db.execute_many("insert into c values ($1, $2)", records)

    assert (await call(source(3_333))).rows_affected == 3_333
    assert (await call(source(0))).rows_affected == 0
    assert await db.fetch_one("select count(*), sum(a) from c") == (3_333, sum(range(3_333)))
    await db.execute("truncate c")
    with pytest.raises(ZeroDivisionError, match="mine"):
        await call(source(3_333, ZeroDivisionError("mine")))
    with pytest.raises(DataError, match="record 777"):
        await call(source(777, bad="not a number"))
    await db.execute("insert into c values (5)")
    taken = 0
    with pytest.raises(UniqueViolation):
        await call(source(2_000_000))
    assert taken < 1_000_000
    assert await db.fetch_column("select a from c") == [5]
    assert db.transaction_status == "idle"


@pytest.mark.row("Y05")
@pytest.mark.parametrize("cache", [256, 0])
async def test_copy_through_another_verb_is_refused_and_the_session_lives(connect: Any, cache: int) -> None:
    """Whatever is behind a COPY FROM STDIN in its flight the server takes for data, or for the end of the session."""
    db = await connect(statement_cache_size=cache)
    pid = db.backend_pid
    await table(db)
    sql = "copy c (a) from stdin"

    async def in_a_batch(*statements: str) -> None:
        async with db.batch() as batch:
            for statement in statements:
                batch.execute(statement)

    async def streamed() -> None:
        db.stream(sql)

    calls = [
        (lambda: db.execute(sql), ProgrammingError),
        (lambda: db.fetch_all(sql), ProgrammingError),
        (lambda: db.execute_script(f"{sql}; select 1"), ProgrammingError),
        (lambda: in_a_batch("select 1", sql), ProgrammingError),
        (lambda: in_a_batch(sql, "select 1"), InterfaceError),
        (streamed, InterfaceError),
        (lambda: db.execute_many(sql, [(), ()]), InterfaceError),
    ]
    for _ in range(2):
        for call, error in calls:
            with pytest.raises(error, match=r"copy_in|last statement of its batch"):
                await call()
            assert await db.fetch_value("select $1::int4", 1) == 1
    assert db.backend_pid == pid
    assert db.transaction_status == "idle"
    if cache == 0:  # not kept means closed, though not in the flight itself
        assert await db.fetch_value("select count(*) from pg_prepared_statements") <= 1
    assert (await db.copy_in("c", [(1, "x", None)])).rows_affected == 1


@pytest.mark.row("Y05")
@pytest.mark.parametrize("face", ["async"])
async def test_what_is_called_behind_such_a_batch_is_not_taken_for_data(db: Any) -> None:
    await table(db)
    await db.fetch_value("select $1::int4", 0)

    async def copying() -> None:
        async with db.batch() as batch:
            batch.execute("select 1")
            batch.execute("copy c (a) from stdin")

    calls = [copying(), *(db.fetch_value("select $1::int4", number) for number in range(5))]
    got = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(got[0], ProgrammingError)
    assert got[1:] == list(range(5))


@pytest.mark.row("Y02")
async def test_copy_on_the_server_runs_as_any_statement(db: Any) -> None:
    """COPY to and from a program needs nothing of the client, in every verb that may hold it."""
    await table(db)
    tag = await db.execute("copy c (a) from program 'printf \"1\\n2\\n\"'")
    assert (tag.text, tag.rows_affected) == ("COPY 2", 2)
    async with db.batch() as batch:
        batch.execute("select 1")
        copied = batch.execute("copy c (a) to program 'cat > /dev/null'")
    assert copied.result().rows_affected == 2
