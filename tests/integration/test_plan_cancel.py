"""A plan that holds an advisory lock and a transaction, cancelled at every one of its requests, on each executor.

The second proof of semantics.md section 9. Whatever request is in flight when the cancellation comes: `finally` has run,
the lock is free, no transaction is open, the connection is usable, and the caller gets its own kind of cancellation.

In flight is meant literally. The connection goes through a relay that lets the request pass and holds the answer back;
only then the cancellation is sent, and only when the driver has reacted the answer follows. So the server has done what the
request asks ("answered"), the case in which most is left behind. "running" puts a `pg_sleep` in the request's place.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from fixtures.fix_plans import Performed, Scripted, recorded, watched
from fixtures.fix_script import open_at
from pgoxide.errors import InterfaceError, LockNotAvailable, UniqueViolation
from pgoxide.statement import (
    Begin,
    Execute,
    Fetch,
    PlanCancelled,
    Sleep,
    Statement,
    batch,
    begin,
    commit,
    execute,
    fetch_value,
    release,
    rollback,
    savepoint,
    sleep,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgoxide.embedded import EmbeddedServer
    from pgoxide.statement import Flight, Plan

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]

KEY = 471_100
PAUSE = 0.01
NEVER = 30.0
"""Seconds that the request in flight takes if nothing cancels it: longer than a test may."""


# ---- the plan


def insert(name: str) -> Statement[Any]:
    return Statement("insert into booked (name) values ($1)", (name,), types=["text"])


def lock(patience: int) -> Plan[None]:
    """Takes the advisory lock, trying `patience` times. Raises LockNotAvailable."""
    for _ in range(patience):
        if (yield from fetch_value(Statement("select pg_try_advisory_lock($1)", (KEY,), into=bool))):
            return
        yield from sleep(PAUSE)
    raise LockNotAvailable(f"somebody else holds {KEY}")


def unlock() -> Plan[None]:
    """Also when this very request is cancelled: then nobody knows whether it has run, and it is made once more.

    Unlocking what is not held gives false and a warning, nothing worse.
    """
    statement = Statement("select pg_advisory_unlock($1)", (KEY,))
    try:
        yield from execute(statement)
    except PlanCancelled:
        yield from execute(statement)
        raise


def book(*names: str, patience: int = 20) -> Plan[list[str]]:
    """Books the first name, then the others if they are not taken, all in one transaction; gives those that were."""
    taken: list[str] = []
    try:
        yield from lock(patience)
        try:
            yield from begin("read committed")
            yield from batch(execute(insert(names[0])), execute(insert(f"{names[0]} again")))
            for name in names[1:]:
                yield from savepoint("each")
                try:
                    yield from execute(insert(name))
                except UniqueViolation:
                    yield from rollback("each")
                    taken.append(name)
                else:
                    yield from release("each")
            yield from commit()
        except BaseException:
            yield from rollback()
            raise
    finally:
        yield from unlock()
    return taken


NAMES = ("first", "taken", "second")
BOOKED = ["first", "first again", "second", "taken"]
REQUESTS = [
    "fetch_value",  # somebody else has the lock
    "Sleep",
    "fetch_value",
    "Begin",
    "list",
    "Savepoint",
    "Execute",  # the unique violation
    "Rollback",
    "Savepoint",
    "Execute",
    "Release",
    "Commit",
    "Execute",  # the unlock
]
SILENT = REQUESTS.index("Begin")
"""Nothing is in flight there: BEGIN travels with the next request, whose points are its own."""
COMMIT, UNLOCK = REQUESTS.index("Commit"), len(REQUESTS) - 1
CAN_RUN = [number for number, name in enumerate(REQUESTS) if name in {"fetch_value", "Execute", "list"}]


def kind(request: Flight) -> str:
    return request.verb if isinstance(request, Fetch) else type(request).__name__


# ---- its surroundings


class Surroundings:
    """Another session: holds the lock until the plan waits for it, and looks at what the plan left behind."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.db = pgoxide.Connection.connect(server.config())
        self.db.execute_script(
            "drop table if exists booked; create table booked (name text unique); insert into booked values ('taken')"
        )

    def hold(self) -> None:
        self.db.execute("select pg_advisory_lock($1)", KEY)

    def let_go(self) -> None:
        self.db.execute("select pg_advisory_unlock_all()")

    @property
    def booked(self) -> list[str]:
        return self.db.fetch_column("select name from booked order by name", into=str)  # type: ignore[return-value]

    @property
    def locks(self) -> int:
        """Advisory locks of all sessions."""
        return self.db.fetch_value("select count(*) from pg_locks where locktype = 'advisory'")  # type: ignore[no-any-return]

    def transactions(self, pid: int) -> int:
        """1 while that session is in a transaction, as the server sees it."""
        return self.db.fetch_value(  # type: ignore[no-any-return]
            "select count(*) from pg_stat_activity where pid = $1 and state like 'idle in transaction%'", pid
        )


@pytest.fixture
def others(server: EmbeddedServer) -> Iterator[Surroundings]:
    made = Surroundings(server)
    yield made
    made.db.execute("drop table booked")
    made.db.close()


def contended(plan: Plan[Any], others: Surroundings) -> Plan[Any]:
    """The plan, finding the lock held at first: it is let go while the plan waits."""
    others.hold()

    def before(_: int, request: Flight) -> Flight:
        if isinstance(request, Sleep):
            others.let_go()
        return request

    return watched(plan, before)


# ---- uncancelled


async def test_the_plan_runs(face: str, db: Any, others: Surroundings) -> None:
    tape: list[Performed] = []
    assert await db.run(recorded(contended(book(*NAMES), others), tape)) == ["taken"]
    assert [kind(each.request) for each in tape] == REQUESTS
    assert others.booked == BOOKED
    assert others.locks == 0
    assert db.transaction_status == "idle"
    # And on the scripted executor, from what this face has recorded.
    script = Scripted(tape)
    assert (await script.run_async(book(*NAMES)) if face == "async" else script.run(book(*NAMES))) == [
        "taken"
    ]
    assert script.seen == [each.request for each in tape]


async def test_the_lock_does_not_come(face: str, db: Any, others: Surroundings) -> None:
    others.hold()
    with pytest.raises(LockNotAvailable):
        await db.run(book(*NAMES, patience=3))
    assert others.locks == 1
    assert others.booked == ["taken"]
    others.let_go()
    assert await db.run(book(*NAMES)) == ["taken"]


async def test_an_error_nobody_catches(face: str, db: Any, others: Surroundings) -> None:
    """The first name is taken: the transaction is undone, the lock is free, the error comes out."""
    with pytest.raises(UniqueViolation):
        await db.run(book("taken", "second"))
    assert others.booked == ["taken"]
    assert others.locks == 0
    assert db.transaction_status == "idle"


# ---- cancelled


class Interruption:
    """Lets request `number` pass, holds its answer back, cancels, and lets the answer go once the driver has reacted."""

    def __init__(self, relay: Any, number: int, running: bool, cancel: Callable[[], object]) -> None:
        self._relay, self._number, self._running, self._cancel = relay, number, running, cancel
        self._thread: threading.Thread | None = None
        self.failure: str | None = None

    def before(self, number: int, request: Flight) -> Flight:
        """For `watched`."""
        if number != self._number:
            return request
        if isinstance(request, Sleep):
            request = Sleep(NEVER)
        elif self._running:
            request = _endless(request)
        else:
            self._relay.backend.gate.clear()
        self._thread = threading.Thread(
            target=self._interrupt,
            args=(isinstance(request, Sleep), self._relay.frontend.passed),
            daemon=True,
        )
        self._thread.start()
        return request

    def _interrupt(self, sleeping: bool, passed: int) -> None:
        try:
            if not sleeping:
                self._wait_for("the request", passed + 1)
            # The request has passed: its sender is, or will be in a moment, where it waits.
            time.sleep(0.03)
            passed = self._relay.frontend.passed
            self._cancel()
            if not sleeping:
                self._wait_for("the CancelRequest", passed + 16)
        finally:
            self._relay.backend.gate.set()

    def _wait_for(self, what: str, passed: int) -> None:
        until = time.monotonic() + 10
        while self._relay.frontend.passed < passed:
            if time.monotonic() > until:
                self.failure = f"{what} of request {self._number} did not come"
                return
            time.sleep(0.002)

    def over(self) -> None:
        """Raises when the request was never made, or never got so far."""
        assert self._thread is not None, f"the plan made no request {self._number}"
        self._thread.join(15)
        assert not self._thread.is_alive()
        assert self.failure is None, self.failure


def _endless(request: Flight) -> Flight:
    statement: Statement[Any] = Statement("select pg_sleep($1)::text", (NEVER,), types=["float8"])
    if isinstance(request, Fetch):
        return Fetch(statement, request.verb)
    if isinstance(request, list):
        return [Execute(insert("not to stay")), Execute(statement)]
    return Execute(statement)


POINTS = [(number, False) for number in range(len(REQUESTS)) if number != SILENT] + [
    (number, True) for number in CAN_RUN
]


@pytest.mark.parametrize(
    ("number", "running"),
    POINTS,
    ids=[f"{number}-{REQUESTS[number]}-{'running' if running else 'answered'}" for number, running in POINTS],
)
async def test_cancelled_while_in_flight(
    face: str,
    runner: Any,
    server: EmbeddedServer,
    faults: Any,
    others: Surroundings,
    number: int,
    running: bool,
) -> None:
    config = server.config()
    relay = faults()
    db = await open_at(face, {"user": config.user, "database": config.database} | relay.where)
    pid = db.backend_pid
    # Described beforehand: a request is then one flight, and what passes first is the request itself.
    assert await db.run(contended(book("a", "taken", "b"), others)) == ["taken"]
    others.db.execute("delete from booked where name <> 'taken'")
    seen: list[Performed] = []

    def plan(cancel: Callable[[], object]) -> tuple[Plan[Any], Interruption]:
        interruption = Interruption(relay, number, running, cancel)
        watching = watched(contended(recorded(book(*NAMES), seen), others), interruption.before)
        return watching, interruption

    begun = time.monotonic()
    if face == "async":
        loop = asyncio.get_running_loop()
        watching, interruption = plan(lambda: loop.call_soon_threadsafe(task.cancel, "stop"))
        task = asyncio.ensure_future(db.run(watching))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
    else:
        main = threading.main_thread().ident
        assert threading.get_ident() == main
        watching, interruption = plan(lambda: signal.pthread_kill(main, signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            await db.run(watching)
    assert time.monotonic() - begun < NEVER / 2
    interruption.over()
    check_requests(seen, number)
    assert db.transaction_status == "idle"
    assert await db.fetch_value("select 1") == 1
    assert db.backend_pid == pid
    assert others.transactions(pid) == 0
    others.let_go()
    assert others.locks == 0, "the advisory lock is still held"
    expected = {True: [BOOKED], False: [["taken"]]}
    # COMMIT itself: done on the server when its answer was under way, whatever the client heard of it.
    assert others.booked in expected[number >= COMMIT], others.booked
    # The connection is whole: the same plan runs to its end.
    others.db.execute("delete from booked where name <> 'taken'")
    assert await db.run(contended(book(*NAMES), others)) == ["taken"]
    assert others.booked == BOOKED
    await db.close()


def check_requests(seen: list[Performed], number: int) -> None:
    """The cancellation was raised at request `number`, and only clean-up followed: rollback if there was a begin, unlock."""
    assert [kind(each.request) for each in seen[: number + 1]] == REQUESTS[: number + 1]
    assert isinstance(seen[number].outcome, PlanCancelled)
    cleaning = [each.request for each in seen[number + 1 :]]
    began = any(isinstance(each.request, Begin) for each in seen[: number + 1])
    if number < UNLOCK:
        assert [kind(request) for request in cleaning] == [*["Rollback"] * began, "Execute"]
    else:
        assert [kind(request) for request in cleaning] == ["Execute"]
    assert "pg_advisory_unlock" in str(cleaning[-1])
    assert not [each for each in seen[number + 1 :] if isinstance(each.outcome, BaseException)]


@pytest.mark.parametrize("number", range(len(REQUESTS)))
async def test_cancelled_on_the_scripted_executor(
    face: str, db: Any, others: Surroundings, number: int
) -> None:
    """The same points without a server, from the record of a run on one."""
    tape: list[Performed] = []
    await db.run(recorded(contended(book(*NAMES), others), tape))
    cancellation = KeyboardInterrupt("stop") if face == "blocking" else asyncio.CancelledError("stop")
    script = Scripted(tape, interrupt=number, with_=cancellation)
    seen: list[Performed] = []
    with pytest.raises(type(cancellation)) as caught:
        if face == "async":
            await script.run_async(recorded(book(*NAMES), seen))
        else:
            script.run(recorded(book(*NAMES), seen))
    assert caught.value is cancellation
    assert [each.request for each in seen] == script.seen
    check_requests(seen, number)


async def test_a_plan_may_not_go_on_after_the_cancel(
    face: str, runner: Any, server: EmbeddedServer, faults: Any, others: Surroundings
) -> None:
    """It swallows the cancellation and asks for more: refused at the yield, and the caller is cancelled all the same."""
    refused: list[str] = []

    def stubborn() -> Plan[str]:
        try:
            yield from execute(Statement("select pg_sleep($1)", (NEVER,), types=["float8"]))
        except BaseException:
            try:
                yield from execute(insert("clean-up is an execute"))
                yield from fetch_value(Statement("select 1"))
            except InterfaceError as error:
                refused.append(str(error))
        return "went on"

    config = server.config()
    relay = faults()
    db = await open_at(face, {"user": config.user, "database": config.database} | relay.where)
    if face == "async":
        task = asyncio.ensure_future(db.run(stubborn()))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        main = threading.main_thread().ident
        timer = threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            await db.run(stubborn())
        timer.join()
    assert len(refused) == 1
    assert "only clean-up is allowed" in refused[0]
    assert others.booked == ["clean-up is an execute", "taken"]
    await db.close()


@pytest.mark.parametrize("face", ["async"])
@pytest.mark.parametrize("cleans_up", [True, False])
async def test_further_cancels_do_not_disturb_the_clean_up(
    face: str, runner: Any, db: Any, others: Surroundings, cleans_up: bool
) -> None:
    """The rollback and the unlock are shielded; so is the rollback of a transaction the plan forgets."""
    began = asyncio.Event()

    def slow() -> Plan[None]:
        try:
            yield from lock(1)
            yield from begin()
            yield from execute(insert("not to stay"))
            began.set()
            yield from execute(Statement("select pg_sleep($1)", (NEVER,), types=["float8"]))
        finally:
            if cleans_up:
                yield from rollback()
            yield from unlock()

    task = asyncio.ensure_future(db.run(slow()))
    await began.wait()
    await asyncio.sleep(0.05)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    if not cleans_up:
        # Unlocking in a failed transaction fails, which is noted; then the transaction goes.
        assert "left" in str(caught.value.__notes__) or "cleaning up" in str(caught.value.__notes__)
        await db.execute("select pg_advisory_unlock_all()")
    assert others.locks == 0
    assert others.booked == ["taken"]
    assert db.transaction_status == "idle"
    assert await db.fetch_value("select 1") == 1


@pytest.mark.parametrize("face", ["async"])
async def test_clean_up_that_takes_too_long_ends_the_connection(
    face: str, runner: Any, db: Any, others: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pgoxide.driver._async import running

    monkeypatch.setattr(running, "CLEANUP_TIMEOUT", 0.2)

    def endless() -> Plan[None]:
        try:
            yield from sleep(NEVER)
        finally:
            yield from execute(Statement("select pg_sleep($1)", (NEVER,), types=["float8"]))

    task = asyncio.ensure_future(db.run(endless()))
    await asyncio.sleep(0.05)
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < NEVER / 2
    assert db.closed


async def test_a_transaction_left_open_is_undone(face: str, db: Any, others: Surroundings) -> None:
    """A plan that returns raises InterfaceError; one that raises has it noted on its own error."""

    def forgets(error: Exception | None) -> Plan[None]:
        yield from begin()
        yield from execute(insert("not to stay"))
        if error is not None:
            raise error

    with pytest.raises(InterfaceError, match="ended with its transaction open"):
        await db.run(forgets(None))
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        await db.run(forgets(ZeroDivisionError("mine")))
    assert "ended with its transaction open" in caught.value.__notes__[0]
    assert others.booked == ["taken"]
    assert db.transaction_status == "idle"
    assert await db.run(book(*NAMES)) == ["taken"]


# ---- on a pool


async def test_the_plan_runs_on_a_pool(
    face: str, runner: Any, server: EmbeddedServer, others: Surroundings
) -> None:
    """One connection for its whole length: lock, transaction and unlock meet each other."""
    if face == "async":
        async with pgoxide.AsyncPool(server.config(), max_size=2) as pool:
            assert await pool.run(contended(book(*NAMES), others)) == ["taken"]
            assert others.booked == BOOKED
            assert others.locks == 0
    else:
        with pgoxide.Pool(server.config(), max_size=2) as pool_of_threads:
            assert pool_of_threads.run(contended(book(*NAMES), others)) == ["taken"]
            assert others.booked == BOOKED
            assert others.locks == 0


@pytest.mark.parametrize("face", ["async"])
@pytest.mark.parametrize("number", range(len(REQUESTS)))
async def test_cancelled_on_a_pool(
    face: str, runner: Any, server: EmbeddedServer, others: Surroundings, number: int
) -> None:
    """At each of its requests: nothing is left behind, and the pool's connection serves the next one."""
    async with pgoxide.AsyncPool(server.config(), max_size=1) as pool:
        assert await pool.run(contended(book("a", "taken", "b"), others)) == ["taken"]
        others.db.execute("delete from booked where name <> 'taken'")

        def before(at: int, request: Flight) -> Flight:
            if at == number:
                asyncio.get_running_loop().call_soon(task.cancel)
            return request

        task = asyncio.ensure_future(pool.run(watched(contended(book(*NAMES), others), before)))
        with pytest.raises(asyncio.CancelledError):
            await task
        others.let_go()
        assert others.locks == 0
        assert others.booked in (
            [BOOKED] if number > COMMIT else [BOOKED, ["taken"]] if number == COMMIT else [["taken"]]
        )
        assert await pool.fetch_value("select 1") == 1
        others.db.execute("delete from booked where name <> 'taken'")
        assert await pool.run(contended(book(*NAMES), others)) == ["taken"]
