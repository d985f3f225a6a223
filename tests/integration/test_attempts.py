"""Transactions that are tried again."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_pools import real
from pgoxide.errors import (
    DeadlockDetected,
    DivisionByZero,
    InterfaceError,
    SerializationFailure,
    StatementInvalidated,
    UniqueViolation,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgoxide.embedded import EmbeddedServer

pytestmark = [pytest.mark.pg, pytest.mark.row("X07")]

ASYNC = pytest.mark.parametrize("face", ["async"])
FAIL = "do $$ begin raise exception 'mine' using errcode = '{}'; end $$"


@pytest.fixture
def counters(server: EmbeddedServer) -> Iterator[Any]:
    """Another connection, and a table with two rows."""
    import pgoxide

    db = pgoxide.Connection.connect(server.config())
    db.execute_script(
        "drop table if exists counter; create table counter (id int, n int); insert into counter values (1, 0), (2, 0)"
    )
    yield db
    db.execute("drop table counter")
    db.close()


async def numbers(db: Any, codes: list[str | None], **options: Any) -> list[int]:
    """Attempt numbers of a loop whose attempts fail by these SQLSTATEs."""
    seen: list[int] = []
    async for attempt in db.transaction_attempts(backoff=0, **options):
        async with attempt as tx:
            seen.append(attempt.number)
            code = codes[len(seen) - 1]
            if code is not None:
                await tx.execute(FAIL.format(code))
    return seen


async def test_which_errors_are_tried_again(db: Any) -> None:
    assert await numbers(db, [None]) == [1]
    assert await numbers(db, ["40001", "40P01", None]) == [1, 2, 3]
    with pytest.raises(UniqueViolation):
        await numbers(db, ["23505", None])
    with pytest.raises(DivisionByZero):
        await numbers(db, ["40001", "22012", None])
    assert db.transaction_status == "idle"


@pytest.mark.row("Q14", "Q16", "X07")
@pytest.mark.parametrize("invalidate", ["alter", "drop"])
@pytest.mark.parametrize("before", [0, 1])
async def test_an_invalidated_statement_is_healed(
    db: Any, counters: Any, invalidate: str, before: int
) -> None:
    """The first attempt meets a statement that is not what it was; the second one prepares it anew."""
    sql = "select * from counter where id = $1"
    await db.fetch_one(sql, 1)
    if invalidate == "alter":
        counters.execute("alter table counter add more int4 default 7")
    else:
        await db.execute("do $$ begin execute 'deallocate all'; end $$")  # its tag does not tell
    seen: list[StatementInvalidated] = []
    numbers: list[int] = []
    async for attempt in db.transaction_attempts(backoff=0):
        async with attempt as tx:
            numbers.append(attempt.number)
            for _ in range(before):
                await tx.execute("update counter set n = n + 1 where id = 2")
            try:
                row = tuple(await tx.fetch_one(sql, 1))
            except StatementInvalidated as error:
                seen.append(error)
                raise
    assert row == ((1, 0, 7) if invalidate == "alter" else (1, 0))
    assert numbers == [1, 2]
    assert [one.is_retryable for one in seen] == [True]
    # What the first attempt did was undone.
    assert counters.fetch_value("select n from counter where id = 2") == before
    assert db.transaction_status == "idle"


async def test_the_last_error_comes_out(db: Any) -> None:
    with pytest.raises(DeadlockDetected) as caught:
        await numbers(db, ["40001", "40001", "40P01", None])
    notes = [note for note in caught.value.__notes__ if note.startswith("attempt")]
    assert notes == [
        "attempt 1 failed by SerializationFailure: mine",
        "attempt 2 failed by SerializationFailure: mine",
    ]
    with pytest.raises(SerializationFailure) as caught:
        await numbers(db, ["40001"], attempts=1)
    assert not [note for note in caught.value.__notes__ if note.startswith("attempt")]


async def test_options(db: Any) -> None:
    async for attempt in db.transaction_attempts(isolation="serializable", read_only=True, deferrable=True):
        async with attempt as tx:
            for name, value in (("isolation", "serializable"), ("read_only", "on"), ("deferrable", "on")):
                assert await tx.fetch_value(f"show transaction_{name}") == value
    for bad in (
        {"attempts": 0},
        {"attempts": True},
        {"backoff": -1},
        {"backoff": float("nan")},
        {"backoff": "1"},
        {"isolation": "no"},
    ):
        with pytest.raises(InterfaceError):
            db.transaction_attempts(**bad)


async def test_the_waits_grow_and_vary(db: Any, face: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    if face == "async":
        from pgoxide.driver._async import attempts

        monkeypatch.setattr(attempts.asyncio, "sleep", sleep)
    else:
        from pgoxide.driver._sync import attempts as blocking

        monkeypatch.setattr(blocking.time, "sleep", waits.append)
    for _ in range(2):
        with pytest.raises(SerializationFailure):
            async for attempt in db.transaction_attempts(attempts=9, backoff=0.1):
                async with attempt as tx:
                    await tx.execute(FAIL.format("40001"))
    first, second = waits[:8], waits[8:]
    for each in (first, second):
        for wait, most in zip(each, [0.1, 0.2, 0.4, 0.8, 1, 1, 1, 1], strict=True):
            assert most / 2 <= wait <= most
    assert first != second


async def test_a_conflict_of_two_writers(db: Any, counters: Any) -> None:
    """The second attempt sees what the other has committed, and both increments count."""
    seen: list[int] = []
    async for attempt in db.transaction_attempts(isolation="serializable"):
        async with attempt as tx:
            n = await tx.fetch_value("select n from counter where id = 1")
            seen.append(n)
            if attempt.number == 1:
                counters.execute("update counter set n = 10 where id = 1")
            await tx.execute("update counter set n = $1 where id = 1", n + 1)
    assert seen == [0, 10]
    assert counters.fetch_value("select n from counter where id = 1") == 11


@pytest.mark.parametrize("last", [True, False])
async def test_a_conflict_that_commit_tells_of(db: Any, counters: Any, last: bool) -> None:
    """Write skew: each reads what the other writes. Found at COMMIT, alone or in its statement's flight."""
    numbers: list[int] = []
    async for attempt in db.transaction_attempts(isolation="serializable", backoff=0):
        async with attempt as tx:
            numbers.append(attempt.number)
            await tx.fetch_value("select sum(n) from counter")
            await tx.execute("update counter set n = n + 1 where id = 1")
            if attempt.number == 1:
                with counters.transaction(isolation="serializable") as other:
                    other.fetch_value("select sum(n) from counter")
                    other.execute("update counter set n = n + 1 where id = 2")
            if last:
                await tx.fetch_value("select 1", commit=True)
    assert numbers == [1, 2]
    assert counters.fetch_column("select n from counter order by id") == [1, 1]


async def test_run_transaction(db: Any, counters: Any, face: str) -> None:
    calls: list[Any] = []

    def body(tx: Any) -> str:
        calls.append(tx)
        tx.execute("update counter set n = n + 1 where id = 1")
        if len(calls) < 3:
            tx.execute(FAIL.format("40001"))
        return "done"

    async def async_body(tx: Any) -> str:
        calls.append(tx)
        await tx.execute("update counter set n = n + 1 where id = 1")
        if len(calls) < 3:
            await tx.execute(FAIL.format("40001"))
        return "done"

    if face == "async":
        assert await db.run_transaction(async_body, backoff=0, isolation="repeatable read") == "done"
    else:
        assert db.real.run_transaction(body, backoff=0, isolation="repeatable read") == "done"
    assert counters.fetch_value("select n from counter where id = 1") == 1
    assert len(calls) == 3
    with pytest.raises(SerializationFailure):
        calls.clear()
        if face == "async":
            await db.run_transaction(async_body, attempts=2, backoff=0)
        else:
            db.real.run_transaction(body, attempts=2, backoff=0)


async def test_what_was_committed_is_not_tried_again(db: Any, counters: Any) -> None:
    """A callback after the commit fails by the same error."""

    def fail() -> None:
        raise SerializationFailure("of a callback")

    with pytest.raises(SerializationFailure, match="of a callback"):
        async for attempt in db.transaction_attempts(backoff=0):
            async with attempt as tx:
                await tx.execute("update counter set n = n + 1 where id = 1")
                tx.on_commit(fail)
    assert counters.fetch_value("select n from counter where id = 1") == 1
    with pytest.raises(SerializationFailure, match="after"):
        async for attempt in db.transaction_attempts(backoff=0):
            async with attempt as tx:
                await tx.execute("update counter set n = n + 1 where id = 1", commit=True)
                raise SerializationFailure("after")
    assert counters.fetch_value("select n from counter where id = 1") == 2


async def test_a_loop_that_is_left_while_an_attempt_is_due(db: Any, face: str) -> None:
    """Only what fails at COMMIT can be left by break: it is told."""
    attempts = db.transaction_attempts(backoff=0)
    with pytest.warns(RuntimeWarning, match="nothing was committed"):
        async for attempt in attempts:
            with_block = attempt.__aenter__ if face == "async" else attempt.real.__enter__
            if face == "async":
                await with_block()
                assert await attempt.__aexit__(None, SerializationFailure("x"), None)
            else:
                with_block()
                assert attempt.real.__exit__(None, SerializationFailure("x"), None)
            break
        del attempts, attempt, with_block
        gc.collect()


@ASYNC
async def test_cancelled_between_attempts(db: Any) -> None:
    async def loop() -> None:
        async for attempt in db.transaction_attempts(backoff=1):
            async with attempt as tx:
                await tx.execute(FAIL.format("40001"))

    task = asyncio.ensure_future(loop())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await db.fetch_value("select 1") == 1


@pytest.mark.parametrize("face", ["blocking"])
def test_under_contention(server: EmbeddedServer, counters: Any, face: str) -> None:
    """Four threads, a hundred increments: none is lost."""
    import pgoxide

    def work() -> None:
        with pgoxide.Connection.connect(server.config()) as db:
            for _ in range(25):
                for attempt in db.transaction_attempts(
                    isolation="serializable", attempts=1000, backoff=0.001
                ):
                    with attempt as tx:
                        n = tx.fetch_value("select n from counter where id = 1")
                        tx.execute("update counter set n = $1 where id = 1", n + 1, commit=True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counters.fetch_value("select n from counter where id = 1") == 100


MODES = [f"show transaction_{mode}" for mode in ("isolation", "read_only", "deferrable")]


@pytest.mark.parametrize("of", ["connection", "pool"])
async def test_the_options_of_run_transaction(db: Any, open_pool: Any, face: str, of: str) -> None:
    """They are those of `transaction_attempts`, each of them."""
    owner = real(await open_pool(max_size=1)) if of == "pool" else getattr(db, "real", db)
    tries: list[Any] = []

    def modes(tx: Any) -> list[str]:
        return [tx.fetch_value(sql) for sql in MODES]

    async def async_modes(tx: Any) -> list[str]:
        return [await tx.fetch_value(sql) for sql in MODES]

    def fails(tx: Any) -> Any:
        tries.append(tx)
        return tx.execute(FAIL.format("40001"))

    async def run(function: Any, **options: Any) -> Any:
        done = owner.run_transaction(function, **options)
        return await done if face == "async" else done

    show = async_modes if face == "async" else modes
    assert await run(show) == ["read committed", "off", "off"]
    assert await run(show, isolation="serializable", read_only=True, deferrable=True) == [
        "serializable",
        "on",
        "on",
    ]
    for wrong in ({"attempts": 0}, {"backoff": -1}, {"isolation": "no"}):
        with pytest.raises(InterfaceError):
            await run(show, **wrong)
    with pytest.raises(SerializationFailure):
        await run(fails, attempts=4, backoff=0)
    assert len(tries) == 4
    with pytest.raises(InterfaceError):
        owner.transaction_attempts(backoff=-1)
