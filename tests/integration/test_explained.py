"""What a note on an error tells beside its text (B13)."""

from __future__ import annotations

import asyncio
import gc
import inspect
import re
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide import AsyncConnection, AsyncPool, Connection, Pool, errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = [pytest.mark.pg, pytest.mark.row("B13")]


def told(error: BaseException) -> dict[str, str]:
    """The facts of the note, by their labels."""
    [note] = [note for note in error.__notes__ if "session: " in note]
    return dict(line.split(": ", 1) for line in note.splitlines())


def here(offset: int = 0) -> str:
    """The place of the line that calls this, as notes write it."""
    frame = inspect.stack()[1]
    return f"{frame.filename}:{frame.lineno + offset} in {frame.function}"


async def first(db: Any, sql: str, *args: object) -> Any:
    return await db.fetch_all(sql, *args)


async def test_where_a_statement_was_first_used(db: Any) -> None:
    sql = "select 1 / $1::int4"
    place = here(1)
    assert await db.fetch_value(sql, 1) == 1
    with pytest.raises(errors.DivisionByZero) as caught:
        await first(db, sql, 0)
    facts = told(caught.value)
    # Between the two stands the adapter of the blocking face, in these tests.
    assert place in facts["first used"]
    assert f"server process {db.backend_pid}" in facts["session"]
    # The text of the error has the types, and no position: so the note has the statement and not the types.
    assert facts["statement"] == sql
    assert "parameters" not in facts
    assert "PARAMETERS:  $1 int4" in str(caught.value)


async def test_callers_are_named_without_ours_and_the_loops(db: Any) -> None:
    with pytest.raises(errors.UndefinedTable) as caught:
        await first(db, "select * from nowhere_at_all")
    place = told(caught.value)["first used"]
    assert f"{__file__}:" in place
    assert " in first, from " in place
    assert "asyncio" not in place
    assert "/pgoxide/" not in place.replace(__file__, "")
    assert "statement" not in told(caught.value)  # the line with the caret shows it


async def no_row(db: Any) -> None:
    await db.fetch_one("select :n::int8 as n limit 0", n=1)


async def too_late(db: Any) -> None:
    await db.fetch_one("select pg_sleep(10), :n::int8", n=1, timeout=0.1)


async def in_a_batch(db: Any) -> None:
    async with db.batch() as batch:
        batch.fetch_value("select 1")
        batch.fetch_one("select :n::int8 as n limit 0", n=1)


async def in_a_stream(db: Any) -> None:
    async with db.stream("select :n::int8 / (n - 3) from generate_series(1, 5) as n", n=1, batch=1) as rows:
        async for _ in rows:
            pass


async def many(db: Any) -> None:
    await db.execute_many("select 1 / :n::int8", [{"n": 1}, {"n": 0}])


@pytest.mark.parametrize("call", [no_row, too_late, in_a_batch, in_a_stream, many])
async def test_every_kind_of_failure(db: Any, call: Callable[[Any], Awaitable[None]]) -> None:
    with pytest.raises(errors.DatabaseError) as caught:
        await call(db)
    facts = told(caught.value)
    assert f" in {call.__name__}" in facts["first used"]
    whole = f"{caught.value}\n{facts}"
    assert ":n" in whole
    assert "int8" in whole


@pytest.mark.parametrize("face", ["async"])
async def test_a_call_that_waits_for_its_turn(face: str, db: Any) -> None:
    await db.fetch_one("select :n::int8 as n", n=1)
    slow = db.execute("select pg_sleep(0.5)")
    with pytest.raises(errors.QueryTimeout) as caught:
        await db.fetch_one("select :n::int8 as n", n=1, timeout=0.1)
    assert told(caught.value)["statement"] == "select :n::int8 as n"
    assert told(caught.value)["parameters"] == ":n int8"
    await slow


async def test_the_last_notice(db: Any) -> None:
    with pytest.raises(errors.DivisionByZero) as caught:
        await db.fetch_value("select 1/0")
    assert "last notice" not in told(caught.value)
    await db.execute("do $$ begin raise notice 'first'; raise warning 'look %', 'here'; end $$")
    with pytest.raises(errors.DivisionByZero) as caught:
        await db.fetch_value("select 1/0")
    notice = told(caught.value)["last notice"]
    assert notice.startswith("WARNING: look here (")
    assert notice.endswith(" s before)")


async def test_the_state_of_the_session(db: Any) -> None:
    await db.execute("begin")
    with pytest.raises(errors.DivisionByZero) as caught:
        await db.fetch_value("select 1/0")
    assert told(caught.value)["session"].endswith(", failed transaction")
    await db.execute("rollback")


async def test_a_script(db: Any) -> None:
    with pytest.raises(errors.DivisionByZero) as caught:
        await db.execute_script("select 1; select 1/0")
    assert "in statement 2 of the script" in caught.value.__notes__
    assert "session" in told(caught.value)


async def test_the_state_of_the_pool(connect: Any) -> None:
    db = await connect()
    real = getattr(db, "real", db)
    asked = []

    def pool() -> str:
        asked.append(1)
        return "3 of 4 connections busy"

    real._explain_pool(pool)
    assert await db.fetch_value("select 1") == 1
    assert not asked  # only who fails asks
    with pytest.raises(errors.DivisionByZero) as caught:
        await db.fetch_value("select 1/0")
    assert told(caught.value)["pool"] == "3 of 4 connections busy"

    def broken() -> str:
        raise RuntimeError("gone")

    real._explain_pool(broken)
    with pytest.raises(errors.DivisionByZero) as caught:
        await db.fetch_value("select 1/0")
    assert told(caught.value)["pool"] == "its state could not be told: RuntimeError: gone"
    real._explain_pool(None)
    with pytest.raises(errors.DivisionByZero) as caught:
        await db.fetch_value("select 1/0")
    assert "pool" not in told(caught.value)


async def test_a_real_pool(face: str, runner: Any, dsn: str) -> None:
    """Of a connection that was acquired, and of a statement the pool was given."""
    stands = r"\d of 3 connections \(.*\), 0 waiting, 0 calls queued"
    if face == "async":
        async with AsyncPool(dsn, max_size=3) as shared:
            with pytest.raises(errors.DivisionByZero) as routed:
                await shared.fetch_value("select 1/0")
            with pytest.raises(errors.DivisionByZero) as owned:
                async with shared.acquire() as db:
                    await db.fetch_value("select 1/0")
    else:
        with Pool(dsn, max_size=3) as pool:
            with pytest.raises(errors.DivisionByZero) as routed:
                pool.fetch_value("select 1/0")
            with pytest.raises(errors.DivisionByZero) as owned, pool.acquire() as connection:
                connection.fetch_value("select 1/0")
    assert re.fullmatch(stands, told(routed.value)["pool"])
    assert re.fullmatch(stands, told(owned.value)["pool"])
    assert "1 used" in told(owned.value)["pool"]


async def test_a_pool_that_knows_its_connections_is_collected(face: str, runner: Any, dsn: str) -> None:
    class Pool:
        def __init__(self, db: Any) -> None:
            self.db = db

        def told(self) -> str:
            return ""

    real = await AsyncConnection.connect(dsn) if face == "async" else Connection.connect(dsn)
    pool = Pool(real)
    real._explain_pool(pool.told)
    gone = weakref.ref(pool)
    real.abort()
    del pool, real
    if face == "async":
        await asyncio.sleep(0)  # what the loop was to call for it
    gc.collect()
    assert gone() is None


async def test_errors_of_others_stay_as_they_are(db: Any) -> None:
    class Mine(Exception):
        pass

    def convert(_: Any) -> Any:
        raise Mine

    with pytest.raises(Mine) as caught:
        await db.fetch_all("select 1", into=convert)
    assert not any("session: " in note for note in getattr(caught.value, "__notes__", []))


async def test_values_are_never_shown(db: Any) -> None:
    with pytest.raises(errors.DatabaseError) as caught:
        await db.fetch_all("select 1 / length($1), $2", "", "secret", types=["text", "text"])
    assert "secret" not in f"{caught.value}{caught.value.__notes__}"


async def test_one_note(db: Any) -> None:
    with pytest.raises(errors.UndefinedTable) as caught:
        await db.fetch_all("select * from nowhere_at_all")
    assert len(caught.value.__notes__) == 1
