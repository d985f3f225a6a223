"""Through a real PgBouncer: its console, session mode, and what transaction mode brings today."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from fixtures.fix_script import open_at
from pgoxide import errors
from pgoxide.types import Range

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.fix_pgbouncer import PgBouncer

pytestmark = [pytest.mark.pg, pytest.mark.row("S10")]


def real(db: Any, face: str) -> Any:
    return db if face == "async" else db.real


# ---- the console: the simple protocol only


async def test_the_console(face: str, runner: Any, pgbouncer: PgBouncer) -> None:
    db = await open_at(face, pgbouncer.where("pgbouncer"))
    for _ in range(2):
        (pools,) = await db.execute_script("show pools")
        assert pools.tag.text == "SHOW"
        assert pools.rows[0].database == "pgbouncer"
        assert isinstance(pools.rows[0].cl_active, int)
    (version,) = await db.execute_script("show version")
    assert version.rows == [(f"PgBouncer {pgbouncer.version}",)]
    with pytest.raises(errors.Error, match=r"no_such_thing|invalid command"):
        await db.execute_script("show no_such_thing")
    assert len(await db.execute_script("show databases")) == 1
    assert db.server_version > 0
    await db.close()


async def batch(db: Any, face: str) -> None:
    if face == "async":
        async with db.batch() as several:
            several.execute("show pools")
    else:
        with db.real.batch() as several:
            several.execute("show pools")


async def stream(db: Any, face: str) -> None:
    rows = real(db, face).stream("show pools")
    got = rows.next_batch()
    await got if face == "async" else got


EXTENDED: dict[str, Callable[[Any, str], Any]] = {
    "fetch_all": lambda db, _: db.fetch_all("show pools"),
    "parameters": lambda db, _: db.fetch_value("select $1::int4", 1),
    "execute": lambda db, _: db.execute("show pools"),
    "batch": batch,
    "stream": stream,
    "execute_many": lambda db, _: db.execute_many("show pools", [()]),
    "copy_in": lambda db, _: db.copy_in("t", [(1,)]),
}


@pytest.mark.parametrize("verb", EXTENDED)
async def test_the_extended_protocol_on_the_console(
    face: str, runner: Any, pgbouncer: PgBouncer, verb: str
) -> None:
    """Refused with advice, or (in versions that can) answered; no hang, and afterwards usable or closed."""
    db = await open_at(face, pgbouncer.where("pgbouncer"))
    begun = time.monotonic()
    try:
        await EXTENDED[verb](db, face)
    except errors.Error as error:
        assert isinstance(error, errors.OperationalError | errors.ProgrammingError)
        assert "execute_script" in str(error)
    try:
        assert len(await db.execute_script("show version")) == 1
    except errors.ConnectionClosed:
        assert db.closed
    assert time.monotonic() - begun < 10
    await db.close()


# ---- session mode: as without it


async def test_session_mode(face: str, runner: Any, pgbouncer: PgBouncer) -> None:
    db = await open_at(face, pgbouncer.where("session"))
    for number in range(20):
        assert await db.fetch_value("select $1::int4", number) == number
        assert await db.fetch_one("select $1::text, now() is null", "x") == ("x", False)
    await db.execute("create temp table t (a int4, b text, r int4range)")
    assert (await db.copy_in("t", ((n, "x", Range(1, 2)) for n in range(5_000)))).rows_affected == 5_000
    await db.execute_many("insert into t values ($1, $2)", ((n, str(n)) for n in range(1_000)))
    assert await db.fetch_value("select count(*) from t") == 6_000
    assert (await db.execute_script("begin; select 1; commit"))[1].rows == [(1,)]
    rows = real(db, face).stream("select a from t order by a", batch=1_000, into=int)
    got = [n async for n in rows] if face == "async" else list(rows)
    assert len(got) == 6_000
    with pytest.raises(errors.DivisionByZero):
        await db.fetch_value("select 1 / $1::int4", 0)
    await db.close()


async def test_timeouts_and_cancels_go_through(face: str, runner: Any, pgbouncer: PgBouncer) -> None:
    db = await open_at(face, pgbouncer.where("session"))
    begun = time.monotonic()
    with pytest.raises(errors.QueryTimeout):
        await db.fetch_value("select pg_sleep(20)", timeout=0.2)
    assert await db.fetch_value("select 1") == 1
    token = db.cancel_token()
    call = (lambda: asyncio.run(token.cancel())) if face == "async" else token.cancel
    timer = threading.Timer(0.2, call)
    timer.start()
    with pytest.raises(errors.QueryCanceled):
        await db.fetch_value("select pg_sleep(20)")
    assert await db.fetch_value("select 2") == 2
    assert time.monotonic() - begun < 15
    timer.join()
    await db.close()


async def test_no_such_database(face: str, runner: Any, pgbouncer: PgBouncer) -> None:
    with pytest.raises(errors.Error, match=r"no such database|bouncer config error"):
        await open_at(face, pgbouncer.where("nowhere"))


async def test_an_unknown_startup_parameter(face: str, runner: Any, pgbouncer: PgBouncer) -> None:
    with pytest.raises(errors.Error, match="unsupported startup parameter"):
        await open_at(face, pgbouncer.where("session"), parameters={"search_path": "public"})


# ---- transaction mode: named statements do not survive, which is said


ADD_NOTHING = "select $1::int4 + (pg_sleep(0.002) is null)::int4"


async def test_transaction_mode_is_an_error_or_right_never_wrong(
    face: str, runner: Any, pgbouncer: PgBouncer
) -> None:
    """Six clients on two server sessions. A fall-back to unnamed statements is a later issue (Q17)."""
    outcomes: Counter[str] = Counter()
    where = pgbouncer.where("transaction")

    if face == "async":

        async def client(number: int) -> None:
            async with pgoxide.AsyncConnection.connect(**where) as db:
                for value in range(number * 1000, number * 1000 + 40):
                    try:
                        got = await db.fetch_value(ADD_NOTHING, value, timeout=10)
                    except (errors.InvalidSqlStatementName, errors.StatementInvalidated) as error:
                        assert "transaction mode" in str(error)
                        outcomes["told"] += 1
                    else:
                        assert got == value, "another client's answer"
                        outcomes["right"] += 1

        await asyncio.gather(*(client(number) for number in range(6)))
    else:

        def work(number: int) -> None:
            with pgoxide.Connection.connect(**where) as db:
                for value in range(number * 1000, number * 1000 + 40):
                    try:
                        got = db.fetch_value(ADD_NOTHING, value, timeout=10)
                    except (errors.InvalidSqlStatementName, errors.StatementInvalidated) as error:
                        assert "transaction mode" in str(error)
                        outcomes["told"] += 1
                    else:
                        assert got == value, "another client's answer"
                        outcomes["right"] += 1

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6), timeout=60))
    assert outcomes.total() == 240
    assert outcomes["told"] > 0, "PgBouncer handed nobody to another session: the test shows nothing"
    assert outcomes["right"] > 0


async def test_what_works_in_transaction_mode(face: str, runner: Any, pgbouncer: PgBouncer) -> None:
    """Scripts, and everything within one transaction."""
    db = await open_at(face, pgbouncer.where("transaction"))
    (result,) = await db.execute_script("select 7")
    assert result.rows == [(7,)]
    await db.execute_script("begin")
    for number in range(5):
        assert await db.fetch_value("select $1::int4", number) == number
    await db.execute_script("commit")
    await db.close()


async def test_a_pool_in_transaction_mode_is_an_error_or_right_never_wrong(
    face: str, runner: Any, pgbouncer: PgBouncer
) -> None:
    """Its connections lend each other descriptions; what they compare is of the server session they are at."""
    outcomes: Counter[str] = Counter()
    where = pgbouncer.where("transaction")
    statements = [f"select $1::int4 + (pg_sleep(0.001) is null)::int4 /* {number} */" for number in range(5)]

    def judge(error: Exception | None, got: object, value: int) -> None:
        if error is None:
            assert got == value, "another client's answer"
        else:
            assert "transaction mode" in str(error)
        outcomes["right" if error is None else "told"] += 1

    if face == "async":

        async def client(pool: Any, number: int) -> None:
            for value in range(number * 1000, number * 1000 + 40):
                try:
                    got = await pool.fetch_value(statements[value % 5], value, timeout=10)
                except (errors.InvalidSqlStatementName, errors.StatementInvalidated) as error:
                    judge(error, None, value)
                else:
                    judge(None, got, value)

        async with pgoxide.AsyncPool(max_size=6, reset="never", **where) as pool:
            await asyncio.gather(*(client(pool, number) for number in range(6)))
    else:

        def work(number: int) -> None:
            for value in range(number * 1000, number * 1000 + 40):
                try:
                    got = blocking.fetch_value(statements[value % 5], value, timeout=10)
                except (errors.InvalidSqlStatementName, errors.StatementInvalidated) as error:
                    judge(error, None, value)
                else:
                    judge(None, got, value)

        with pgoxide.Pool(max_size=6, reset="never", **where) as blocking, ThreadPoolExecutor(6) as threads:
            list(threads.map(work, range(6), timeout=60))
    assert outcomes.total() == 240
    assert outcomes["right"] > 0
