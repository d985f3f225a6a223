"""Concurrent calls on one connection: written back to back, answered in order, isolated from each other's errors."""

from __future__ import annotations

import asyncio
import time

import pytest

from pgoxide.errors import DataError, DivisionByZero, InFailedSqlTransaction

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]

ONE_WAY = 0.005


@pytest.mark.row("P01")
@pytest.mark.parametrize("face", ["async"])
async def test_a_hundred_calls_take_one_round_trip(connect, proxy):
    db = await connect(to=proxy(delay=ONE_WAY))
    sql = "select $1::int4"
    await db.fetch_value(sql, 0)
    begun = time.perf_counter()
    await db.fetch_value(sql, 0)
    one = time.perf_counter() - begun
    begun = time.perf_counter()
    answers = await asyncio.gather(*(db.fetch_value(sql, n) for n in range(100)))
    took = time.perf_counter() - begun
    assert answers == list(range(100))
    assert one >= 2 * ONE_WAY
    assert took < 5 * one, f"{took / one:.1f} round trips"


@pytest.mark.row("P01")
@pytest.mark.parametrize("face", ["async"])
async def test_first_uses_of_a_hundred_statements_take_two(connect, proxy):
    db = await connect(to=proxy(delay=ONE_WAY))
    await db.fetch_value("select 1")
    begun = time.perf_counter()
    await db.fetch_value("select 1")
    one = time.perf_counter() - begun
    begun = time.perf_counter()
    answers = await asyncio.gather(*(db.fetch_value(f"select $1::int4 + {n}", n) for n in range(100)))
    took = time.perf_counter() - begun
    assert answers == [2 * n for n in range(100)]
    assert took < 8 * one, f"{took / one:.1f} round trips"


@pytest.mark.row("P01")
@pytest.mark.parametrize("face", ["async"])
async def test_all_are_written_before_the_first_answer(connect, proxy):
    line = proxy(delay=0.05)
    db = await connect(to=line)
    await db.fetch_value("select 1")
    line.forget()
    calls = asyncio.gather(*(db.fetch_value("select 1") for _ in range(20)))
    begun = time.perf_counter()
    while line.sent != "BES" * 20 and time.perf_counter() < begun + 0.05:  # noqa: ASYNC110  the record has no event
        await asyncio.sleep(0.001)
    assert line.sent == "BES" * 20
    assert not calls.done()
    assert await calls == [1] * 20


@pytest.mark.row("P01")
@pytest.mark.parametrize("face", ["async"])
async def test_commands_of_every_kind_are_written_back_to_back(connect, proxy):
    """No command but COPY travels alone."""
    line = proxy(delay=0.05)
    db = await connect(to=line)
    commands = [
        "begin",
        "savepoint s",
        "create temp table t (n int)",
        "set local work_mem = '4MB'",
        "insert into t values (1)",
        "show work_mem",
        "release s",
        "rollback",
    ]
    for command in commands:
        await db.execute(command)
    line.forget()
    calls = asyncio.gather(*(db.execute(command) for command in commands))
    begun = time.perf_counter()
    while line.sent.count("S") < len(commands) and time.perf_counter() < begun + 0.08:  # noqa: ASYNC110  the record has no event
        await asyncio.sleep(0.001)
    assert line.sent.count("S") == len(commands)
    assert not calls.done()
    assert [tag.text for tag in await calls][-1] == "ROLLBACK"


@pytest.mark.row("P01")
@pytest.mark.parametrize("face", ["async"])
async def test_order_is_the_order_of_the_calls(db):
    """Undescribed, described and simple-protocol calls mixed: they run as they were made."""
    await db.execute("create temp table t (at serial, n int)")
    calls = []
    for n in range(60):
        match n % 4:
            case 0:
                calls.append(db.execute("insert into t (n) values ($1)", n))
            case 1:
                calls.append(db.execute(f"insert into t (n) values ({n})"))
            case 2:
                calls.append(db.execute_script(f"insert into t (n) values ({n})"))
            case _:
                calls.append(db.execute(f"insert into t (n) values ($1 + {n})", 0))
    await asyncio.gather(*calls)
    assert await db.fetch_column("select n from t order by at") == list(range(60))


@pytest.mark.row("P02")
@pytest.mark.parametrize("face", ["async"])
async def test_the_middle_of_three_concurrent_calls_fails(db):
    for _ in range(2):
        one, two, three = await asyncio.gather(
            *(db.fetch_value("select 6 / $1::int4", n) for n in (1, 0, 2)), return_exceptions=True
        )
        assert (one, three) == (6, 3)
        assert type(two) is DivisionByZero


@pytest.mark.row("P02")
@pytest.mark.parametrize("face", ["async"])
async def test_every_way_to_fail_among_neighbours(db):
    """Refused by Parse, by Bind's encoding, while running, while reading; each between two good calls, in any first use."""
    bad = [
        ("selec 1", ()),
        ("select * from not_there where n = $1", (1,)),
        ("select $1::int4", ("x",)),
        ("select 1 / $1::int4", (0,)),
        ("select 1/0", ()),
        ("select 'infinity'::date", ()),
        ("select 1 where false", ()),
    ]

    def call(sql, arguments):
        async def called():
            return await db.fetch_value(sql, *arguments)

        return called()

    for _ in range(2):
        results = await asyncio.gather(
            *(c for sql, arguments in bad for c in (call("select $1::int4 + 1", (1,)), call(sql, arguments))),
            call("select 7", ()),
            return_exceptions=True,
        )
        assert results[::2] == [2] * len(bad) + [7]
        assert all(isinstance(result, Exception) for result in results[1::2])


@pytest.mark.row("P02")
async def test_three_statements_the_middle_fails(db):
    """Without a transaction the others are not touched; inside one, the rest is refused with 25P02."""
    await db.execute("create temp table t (n int)")
    sql = "insert into t values (6 / $1::int4)"
    for begin, expected in (
        (None, [1, DivisionByZero, 1]),
        ("begin", [1, DivisionByZero, InFailedSqlTransaction]),
    ):
        if begin:
            await db.execute(begin)
        found = []
        for n in (1, 0, 2):
            try:
                found.append((await db.execute(sql, n)).rows_affected)
            except Exception as error:
                found.append(type(error))
        assert found == expected
        if begin:
            assert db.transaction_status == "failed transaction"
            await db.execute("rollback")
        assert db.transaction_status == "idle"
        assert await db.fetch_column("select n from t") == [6, 3]


@pytest.mark.row("P02")
@pytest.mark.parametrize("face", ["async"])
async def test_in_a_transaction_the_rest_of_the_flight_is_refused(db):
    await db.execute("begin")
    results = await asyncio.gather(
        *(db.fetch_value(f"select 6 / {n}") for n in (1, 0, 2, 3)), return_exceptions=True
    )
    assert results[0] == 6
    assert [type(result) for result in results[1:]] == [DivisionByZero, *[InFailedSqlTransaction] * 2]
    await db.execute("rollback")
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("T02")
@pytest.mark.parametrize("verb", ["fetch_all", "fetch_column"])
async def test_a_value_that_cannot_be_read_in_row_five_of_ten(db, verb):
    sql = "select case n when 5 then 'infinity' else '2020-01-01' end::date as day from generate_series(1, 10) n"
    for _ in range(3):
        with pytest.raises(DataError, match=r'column "day" \(date\): .*infinity'):
            await getattr(db, verb)(sql)
        assert await db.fetch_value("select 1") == 1
        assert db.transaction_status == "idle"
    assert len(await db.fetch_all(sql.replace("infinity", "2021-01-01"))) == 10


@pytest.mark.row("T02")
async def test_a_value_that_cannot_be_read_in_a_script(db):
    with pytest.raises(DataError, match="infinity"):
        await db.execute_script("select 1; select 'infinity'::date; select 2")
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("T02")
async def test_a_dml_statement_whose_row_cannot_be_read_has_run(db):
    await db.execute("create temp table t (day date)")
    for times in (1, 2):
        with pytest.raises(DataError):
            await db.fetch_all("insert into t values ('infinity') returning day")
        assert await db.fetch_value("select count(*) from t") == times
