"""Statements given to the pool itself: which connection runs them, and which are refused (O13, B02)."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest

import pgoxide
from fixtures.fix_pools import real
from pgoxide.errors import (
    DataError,
    DivisionByZero,
    InterfaceError,
    NoRow,
    PoolFull,
    QueryTimeout,
    QueueFull,
)
from pgoxide.statement import Statement, execute, fetch_value

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]


async def trusted(pool: Any, sql: str, *args: Any) -> None:
    """Runs the statement until the pool knows how long it takes, whatever else this machine does."""
    for _ in range(30):
        await pool.fetch_value(sql, *args)


@pytest.mark.row("P10")
async def test_batches_of_rows(open_pool: Any) -> None:
    """Lists of ten rows, the last one shorter, then empty ones; the connection is the pool's again."""
    pool = await open_pool(max_size=1)
    stream = pool.stream("select n from generate_series(1, 25) as n", batch=10, into=int)
    batches = []
    while batch := await stream.next_batch():
        batches.append(batch)
    assert batches == [list(range(1, 11)), list(range(11, 21)), list(range(21, 26))]
    assert await stream.next_batch() == []
    assert pool.stats().used == 0
    assert await pool.fetch_value("select 1") == 1


@pytest.mark.row("O13")
async def test_every_verb(open_pool: Any, db: Any) -> None:
    await db.execute_script("drop table if exists routed; create table routed (n int)")
    pool = await open_pool(max_size=2)
    assert [row.n for row in await pool.fetch_all("select n from generate_series(1, 3) as n")] == [1, 2, 3]
    assert (await pool.fetch_one("select $1::int as n", 5)).n == 5
    assert await pool.fetch_optional("select 1 where false") is None
    assert (await pool.fetch_first("select n from generate_series(1, 3) as n")).n == 1
    assert await pool.fetch_value("select :n::int", n=7) == 7
    assert await pool.fetch_column("select n from generate_series(1, 3) as n", into=int) == [1, 2, 3]
    assert (await pool.execute("insert into routed values ($1)", 1)).rows_affected == 1
    assert await pool.fetch_value(Statement("select $1::text", ("x",), into=str)) == "x"
    with pytest.raises(NoRow):
        await pool.fetch_one("select 1 where false")
    assert (await pool.execute_many("insert into routed values ($1)", [(2,), (3,)])).rows_affected == 2
    assert (await pool.copy_in("routed", [(4,), (5,)])).rows_affected == 2
    copied = await pool.copy_in("routed", b"n\n40\n50\n", format="csv", header=True, where="n > 40")
    assert copied.rows_affected == 1
    await pool.execute("delete from routed where n = 50")
    async with pool.batch() as batch:
        count = batch.fetch_value("select count(*) from routed")
        batch.execute("delete from routed")
    assert count.result() == 5
    async with pool.stream("select n from generate_series(1, 100) as n", into=int, batch=7) as numbers:
        assert [n async for n in numbers] == list(range(1, 101))

    def plan() -> Any:
        yield from execute(Statement("insert into routed values (9)"))
        return (yield from fetch_value(Statement("select n from routed")))

    assert await pool.run(plan()) == 9
    assert pool.stats().used == 0
    await db.execute("drop table routed")


@pytest.mark.row("O13")
async def test_transactions_of_the_pool(open_pool: Any, db: Any) -> None:
    await db.execute_script("drop table if exists moved; create table moved (n int)")
    pool = await open_pool(max_size=2)
    async with pool.transaction(isolation="serializable") as tx:
        await tx.execute("insert into moved values (1)")
        assert await tx.fetch_value("show transaction_isolation") == "serializable"
        assert await pool.fetch_value("select count(*) from moved", into=int) == 0  # elsewhere
    assert await pool.fetch_value("select count(*) from moved", into=int) == 1
    with pytest.raises(DivisionByZero):
        async with pool.transaction() as tx:
            await tx.execute("insert into moved values (2)")
            await tx.execute("select 1/0")
    async with pool.transaction() as tx:
        await tx.execute("insert into moved values (3)")
        raise pgoxide.Rollback
    async with pool.transaction() as tx:
        await tx.execute("insert into moved values (4)", commit=True)
    assert await pool.fetch_column("select n from moved order by n", into=int) == [1, 4]
    assert pool.stats().used == 0
    await db.execute("drop table moved")


@pytest.mark.row("O13")
async def test_a_stream_gives_its_connection_back(open_pool: Any) -> None:
    import gc

    pool = await open_pool(max_size=1)
    sql = "select n from generate_series(1, 100000) as n"
    stream = pool.stream(sql, batch=10)
    async for row in stream:
        assert row.n == 1
        assert pool.stats().used == 1
        break
    await stream.close()
    assert pool.stats().used == 0
    with pytest.raises(DivisionByZero):
        async with pool.stream("select 1/(2 - n) from generate_series(1, 9) as n", batch=1) as failing:
            async for _ in failing:
                pass
    async for _ in pool.stream(sql, batch=10):
        break
    gc.collect()
    assert await pool.fetch_value("select 1", timeout=20) == 1
    argument = [1, 2]
    late = pool.stream("select $1::jsonb as kept", argument)
    argument.append(3)
    async with late:
        assert [row.kept async for row in late] == [[1, 2]]


@pytest.mark.row("O13")
@pytest.mark.parametrize(
    "sql",
    [
        "begin",
        "start transaction",
        "commit",
        "savepoint a",
        "set search_path to x",
        "reset all",
        "discard all",
        "listen a",
        "unlisten *",
        "prepare a as select 1",
        "execute a",
        "deallocate all",
        "declare c cursor for select 1",
        "fetch 1 from c",
        "close c",
        "load 'auto_explain'",
        "create temp table t ()",
        "create or replace temporary view v as select 1",
        "select 1 as n into temp t",
        "select pg_advisory_lock(1)",
        "select pg_try_advisory_lock_shared(1)",
        "select set_config('a.b', 'c', false)",
        "select set_config('a.b', 'c', $1)",
    ],
)
async def test_what_would_stay_in_a_session_is_refused(open_pool: Any, sql: str) -> None:
    pool = await open_pool(max_size=1)
    for verb in (pool.execute, pool.fetch_all):
        with pytest.raises(InterfaceError, match=r"acquire\(\)"):
            await verb(sql)


@pytest.mark.row("O13")
async def test_what_only_looks_like_it_is_not(open_pool: Any) -> None:
    pool = await open_pool(max_size=1)
    assert await pool.fetch_value("select set_config('a.b', 'c', true)") == "c"
    assert await pool.fetch_value("select current_setting('a.b', true)") in ("", None)
    assert await pool.fetch_value("select 'pg_advisory_lock(1)' /* begin */ -- set") == "pg_advisory_lock(1)"
    assert await pool.fetch_value("select pg_advisory_xact_lock(1)::text") == ""


@pytest.mark.row("O13")
async def test_what_routed_functions_did_is_undone_before_a_user_comes(open_pool: Any, db: Any) -> None:
    """The text does not show it: only the reset helps."""
    await db.execute_script(
        "create or replace function hidden() returns void language sql as "
        "$$ select set_config('app.hidden', 'x', false); select pg_advisory_lock(77) $$"
    )
    pool = await open_pool(max_size=1)
    await pool.execute("select hidden()")
    async with pool.acquire() as mine:
        assert await mine.fetch_value("select current_setting('app.hidden', true)") in ("", None)
        assert await mine.fetch_value("select count(*) from pg_locks where locktype = 'advisory'") == 0
    await db.execute("drop function hidden()")


@pytest.mark.row("O13")
async def test_errors_are_ones_own(open_pool: Any) -> None:
    pool = await open_pool(max_size=1)
    with pytest.raises(DivisionByZero):
        await pool.fetch_value("select 1/0")
    with pytest.raises(DataError):
        await pool.fetch_value("select $1::int", "no number")
    with pytest.raises(InterfaceError, match="parameter"):
        await pool.fetch_value("select $1::int")
    assert await pool.fetch_value("select 1") == 1
    assert pool.stats().idle == 1


@pytest.mark.row("O13", "B02", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_errors_in_the_queue_and_behind_others_are_ones_own(open_pool: Any) -> None:
    pool = await open_pool(max_size=2)
    await pool.fetch_value("select 12 / $1::int4", 1)
    values = [n % 4 for n in range(200)]

    async def ask(n: int) -> Any:
        return await pool.fetch_value("select 12 / $1::int4", n if n < 3 else "no")

    results = await asyncio.gather(*map(ask, values), return_exceptions=True)
    for n, result in zip(values, results, strict=True):
        assert {0: DivisionByZero, 1: int, 2: int, 3: DataError}[n] is type(result)
    stats = pool.stats()
    assert (stats.idle, stats.queued) == (stats.size, 0)


@pytest.mark.row("O13", "B02", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_many_tasks_share_few_connections(open_pool: Any, proxy: Any) -> None:
    """A hundred tasks on two: what is known to be short travels behind others, at most eight deep."""
    line = proxy(delay=0.02)
    pool = await open_pool(to=line, min_size=2, max_size=2)
    for _ in range(3):
        await trusted(pool, "select $1::int4", 0)

    async def task(number: int) -> None:
        assert await pool.fetch_value("select $1::int4", number) == number

    await asyncio.gather(*(task(n) for n in range(100)))
    stats = pool.stats()
    assert stats.size == 2
    # One at a time on two lines of 40 ms there and back, the last of a hundred would have waited for two seconds.
    assert max(bound for bound, _ in stats.waits) < 2


@pytest.mark.row("O13", face="async")
@pytest.mark.parametrize("face", ["async"])
@pytest.mark.parametrize("options", [{"share": False}, {"pipeline_depth": 1}, {"pipeline_depth": 3}, {}])
async def test_how_deep_they_travel(open_pool: Any, options: dict[str, Any]) -> None:
    pool = await open_pool(min_size=1, max_size=1, **options)
    await trusted(pool, "select $1::int4", 0)
    depth = {"share": 1, "pipeline_depth": options.get("pipeline_depth")}.get(next(iter(options), ""), 8)
    replies = [pool.fetch_value("select $1::int4", n) for n in range(20)]
    assert pool.stats().queued == 20 - depth
    assert await asyncio.gather(*replies) == list(range(20))


@pytest.mark.row("O13", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_isolated_calls_have_a_connection_alone(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1)
    await pool.fetch_value("select $1::int4", 0)
    replies = [pool.fetch_value("select $1::int4", n, isolate=n == 1) for n in range(3)]
    assert pool.stats().queued == 2
    assert await asyncio.gather(*replies) == [0, 1, 2]


@pytest.mark.row("O13", "B02", face="async")
@pytest.mark.parametrize("face", ["async"])
@pytest.mark.parametrize("known", [False, True])
async def test_one_slow_statement_does_not_delay_the_others(open_pool: Any, known: bool) -> None:
    """One of a hundred sleeps for a second, on a pool of four: all the others are through before it."""
    pool = await open_pool(min_size=4, max_size=4)
    if known:
        await pool.fetch_value("select $1::int4", 0)
    order: list[int] = []

    async def task(number: int) -> None:
        if number == 37:
            await pool.fetch_value("select pg_sleep(1)::text")
        else:
            await pool.fetch_value("select $1::int4", number)
        order.append(number)

    await asyncio.gather(*(task(n) for n in range(100)))
    assert order[-1] == 37
    assert len(order) == 100


@pytest.mark.row("O13", face="blocking")
@pytest.mark.parametrize("face", ["blocking"])
async def test_one_slow_thread_does_not_delay_the_others(open_pool: Any) -> None:
    pool = real(await open_pool(min_size=4, max_size=4))
    order: list[int] = []

    def task(number: int) -> None:
        pool.fetch_value("select pg_sleep(1)::text" if number == 7 else "select 'quick'")
        order.append(number)

    threads = [threading.Thread(target=task, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert order[-1] == 7
    assert len(order) == 40


@pytest.mark.row("O13", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_a_statement_that_was_long_is_not_travelled_behind(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1)
    sleep = "select pg_sleep($1)::text"
    await trusted(pool, sleep, 0.0)
    first = pool.fetch_value(sleep, 0.05)  # it was short once: others may travel behind it
    behind = pool.fetch_value("select 1")
    assert pool.stats().queued == 0
    await asyncio.gather(first, behind)
    await trusted(pool, sleep, 0.02)  # thirty times long
    first = pool.fetch_value(sleep, 0.0)
    behind = pool.fetch_value("select 1")
    assert pool.stats().queued == 1
    await asyncio.gather(first, behind)


@pytest.mark.row("O13", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_nothing_travels_behind_what_has_run_for_long(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1)
    sleep = "select pg_sleep($1)::text"
    await trusted(pool, sleep, 0.0)
    running = pool.fetch_value(sleep, 0.2)
    await asyncio.sleep(0.03)
    late = pool.fetch_value("select 1")
    assert pool.stats().queued == 1
    await asyncio.gather(running, late)


@pytest.mark.row("O13", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_in_the_queue_limits_and_cancels_cost_nothing(open_pool: Any, proxy: Any) -> None:
    line = proxy()
    pool = await open_pool(to=line, min_size=1, max_size=1)
    running = pool.fetch_value("select pg_sleep(0.3)::text")
    await asyncio.sleep(0.05)
    line.forget()
    cancelled = pool.fetch_value("select 'cancelled'")
    late = pool.fetch_value("select 'late'", timeout=0.05)
    cancelled.cancel()
    with pytest.raises(QueryTimeout):
        await late
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await running == ""
    assert await pool.fetch_value("select 1") == 1
    sent = b"".join(body for _, body in line.bodies)
    assert b"cancelled" not in sent
    assert b"late" not in sent


@pytest.mark.row("O13", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_a_cancelled_call_that_runs_is_cancelled_at_the_server(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1)
    task = asyncio.create_task(_await(pool.fetch_value("select pg_sleep(30)::text")))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(QueryTimeout):
        await pool.fetch_value("select pg_sleep(30)::text", timeout=0.05)
    assert await pool.fetch_value("select 1") == 1


async def _await(reply: Any) -> Any:
    return await reply


@pytest.mark.row("O13", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_arguments_are_taken_when_the_call_is_made(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1)
    values: list[int] = [1]
    running = pool.fetch_value("select pg_sleep(0.05)::text")
    queued = pool.fetch_value("select $1::jsonb", values)
    values.append(2)
    assert await queued == [1]
    await running


@pytest.mark.row("O13", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_the_queue_is_bounded(open_pool: Any) -> None:
    pool = await open_pool(min_size=1, max_size=1, max_queued_hard=100_000, max_waiting=50)
    running = pool.fetch_value("select pg_sleep(0.1)::text")
    waiting = [pool.fetch_value("select $1", "x" * 60_000) for _ in range(2)]
    with pytest.raises(QueueFull):
        await pool.fetch_value("select 1")
    await asyncio.gather(running, *waiting)
    running = pool.fetch_value("select pg_sleep(0.1)::text")
    waiting = [pool.fetch_value("select 1") for _ in range(50)]
    with pytest.raises(PoolFull):
        await pool.fetch_value("select 1")
    await asyncio.gather(running, *waiting)


@pytest.mark.row("O13")
async def test_a_transaction_left_open_is_undone_and_told(open_pool: Any, proxy: Any, db: Any) -> None:
    """No server of ours does that when it is asked as the pool asks; a relay that changes ReadyForQuery does."""
    hit = False

    def alter(kind: bytes, body: bytes) -> bytes:
        nonlocal hit
        if kind == b"Z" and hit:
            return b"T"
        return body

    line = proxy(alter=alter)
    pool = await open_pool(to=line, min_size=1, max_size=1)
    assert await pool.fetch_value("select 1") == 1
    hit = True
    with pytest.raises(InterfaceError, match="left a transaction open"):
        await pool.fetch_value("select 1")
    hit = False
    assert await pool.fetch_value("select 1") == 1
    assert pool.stats().discarded["left in a transaction"] == 1


@pytest.mark.row("O13", face="async")
@pytest.mark.parametrize("face", ["async"])
async def test_users_and_routed_calls_beside_one_another(open_pool: Any) -> None:
    """Whatever comes in whatever order, each gets its own answer, and every connection is idle in the end."""
    pool = await open_pool(min_size=1, max_size=3)
    dice = random.Random(7)

    async def routed(number: int) -> None:
        assert await pool.fetch_value("select $1::int4", number) == number

    async def user(number: int) -> None:
        async with pool.acquire() as db:
            await db.execute("select set_config('app.n', $1, false)", str(number))
            assert await db.fetch_value("select current_setting('app.n')") == str(number)

    async with asyncio.TaskGroup() as group:
        for number in range(300):
            group.create_task((user if dice.random() < 0.3 else routed)(number))
    await asyncio.sleep(0.1)
    stats = pool.stats()
    assert (stats.idle, stats.used, stats.waiting, stats.queued) == (stats.size, 0, 0, 0)


@pytest.mark.row("O13", face="blocking")
@pytest.mark.parametrize("face", ["blocking"])
async def test_threads_and_users_beside_one_another(open_pool: Any) -> None:
    pool = real(await open_pool(min_size=1, max_size=3))
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        dice = random.Random(seed)
        try:
            for number in range(30):
                if dice.random() < 0.3:
                    with pool.acquire() as db:
                        db.execute("select set_config('app.n', $1, false)", str(number))
                        assert db.fetch_value("select current_setting('app.n')") == str(number)
                else:
                    assert pool.fetch_value("select $1::int4", number) == number
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert pool.stats().idle + pool.stats().resetting == pool.stats().size <= 3
