"""Whose transaction it is: calls from outside are refused, or ran before it; none becomes part of it (P07).

Semantics, section 4, as far as plans open transactions. Outsiders are tasks on one face, threads on the other.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide.errors import CancelledByNeighbour, InterfaceError
from pgoxide.statement import Statement, batch, begin, commit, execute, fetch_value, rollback, sleep

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgoxide.statement import Plan

pytestmark = [pytest.mark.pg, pytest.mark.row("P07"), pytest.mark.both_transports]


def insert(who: str) -> Statement[Any]:
    return Statement("insert into seats values ($1)", (who,), types=["text"])


@pytest.fixture
def seats(runner: Any, connect: Any) -> Any:
    """A second connection, which sees what was committed."""

    async def make() -> Any:
        book = await connect()
        await book.execute_script("drop table if exists seats; create table seats (who text)")
        return book

    book = runner.run(make())
    yield book
    runner.run(_drop(book))


async def _drop(book: Any) -> None:
    await book.execute("drop table seats")


def outsider(face: str, db: Any, call: Callable[[Any], Any]) -> Any:
    """Makes the call from outside every transaction's context; its result or error, once awaited."""
    if face == "async":
        return asyncio.get_running_loop().create_task(_settle(db, call), context=contextvars.Context())
    got: list[Any] = []

    def work() -> None:
        try:
            got.append(call(db.real))
        except BaseException as error:
            got.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "the outsider waits"
    return got[0]


async def _settle(db: Any, call: Callable[[Any], Any]) -> Any:
    try:
        return await call(db)
    except BaseException as error:
        return error


CALLS: dict[str, Callable[[Any], Any]] = {
    "fetch_value": lambda db: db.fetch_value("select 1"),
    "new statement": lambda db: db.fetch_value("select $1::int4 + 4711", 1),
    "execute": lambda db: db.execute("insert into seats values ($1)", "outsider"),
    "script": lambda db: db.execute_script("insert into seats values ('outsider')"),
    "execute_many": lambda db: db.execute_many("insert into seats values ($1)", [("outsider",)]),
    "copy_in": lambda db: db.copy_in("seats", [("outsider",)]),
    "run": lambda db: db.run(execute(insert("outsider"))),
    "run in a transaction": lambda db: db.run(batch(begin(), execute(insert("outsider")), commit())),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("ending", ["commit", "rollback"])
async def test_an_outsider_is_told_at_once(face: str, db: Any, seats: Any, call: str, ending: str) -> None:
    """While the plan's transaction is open; the error names the plan. Afterwards the call is as good as any."""
    told: list[Any] = []

    def plan() -> Plan[None]:
        yield from begin()
        yield from execute(insert("owner"))
        told.append(outsider(face, db, CALLS[call]))
        yield from sleep(0.05)
        yield from (commit() if ending == "commit" else rollback())

    await db.run(plan())
    problem = await told[0] if face == "async" else told[0]
    assert isinstance(problem, InterfaceError), problem
    assert "plan" in str(problem)
    assert "has a transaction open" in str(problem)
    expected = ["owner"] if ending == "commit" else []
    assert await seats.fetch_column("select who from seats") == expected
    after = outsider(face, db, CALLS[call])
    after = await after if face == "async" else after
    assert not isinstance(after, BaseException), after


async def test_the_transaction_is_free_of_outsiders_that_waited(face: str, db: Any, seats: Any) -> None:
    """They asked before BEGIN and are answered later: before it, or refused; never inside it.

    Every other insert is of an outsider, the plan rolls back: what an outsider was told to be done must be there.
    """
    done: list[str] = []

    def plan() -> Plan[None]:
        yield from begin()
        for _ in range(3):
            yield from execute(insert("owner"))
        yield from rollback()

    if face == "async":

        async def out(number: int) -> None:
            text = f"insert into seats values ($1) -- {number}"  # each a first use: it is described first
            try:
                await db.execute(text, f"outsider {number}")
                done.append(f"outsider {number}")
            except InterfaceError:
                pass

        for round_ in range(10):
            tasks = [
                asyncio.get_running_loop().create_task(
                    out(round_ * 10 + number), context=contextvars.Context()
                )
                for number in range(5)
            ]
            if round_ % 2:
                await asyncio.sleep(0)
            await db.run(plan())
            await asyncio.gather(*tasks)
    else:
        stop = threading.Event()

        def work(thread: int) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                who = f"outsider {thread} {number}"
                call = [
                    lambda who=who: db.real.execute("insert into seats values ($1)", who),
                    lambda who=who: db.real.copy_in("seats", [(who,)]),
                    lambda who=who: db.real.execute_many("insert into seats values ($1)", [(who,)]),
                    lambda who=who: list(db.real.stream("insert into seats values ($1) returning who", who)),
                ][number % 4]
                try:
                    call()
                    done.append(who)
                except InterfaceError:
                    pass

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(60):
            await db.run(plan())
            time.sleep(0.002)  # they are refused inside it: somebody must come between two
        stop.set()
        for thread in threads:
            thread.join(20)
    assert done, "no outsider was ever served: the test shows nothing"
    assert sorted(await seats.fetch_column("select who from seats")) == sorted(done)


async def test_child_contexts_belong_to_it(face: str, db: Any, seats: Any) -> None:
    """A call made in the plan's own context, or in a copy of it, is the owner's."""
    inside: list[Any] = []

    def plan() -> Plan[int]:
        yield from begin()
        yield from execute(insert("owner"))
        if face == "async":
            inside.append(asyncio.ensure_future(db.execute("insert into seats values ('child')")))
        else:
            context = contextvars.copy_context()
            call = db.real.execute
            thread = threading.Thread(
                target=lambda: inside.append(context.run(call, "insert into seats values ('child')"))
            )
            thread.start()
            thread.join(10)
        count = yield from fetch_value(Statement("select count(*) from seats", into=int))
        yield from commit()
        return count or 0

    assert await db.run(plan()) == 2
    if face == "async":
        await inside[0]
    assert await seats.fetch_column("select who from seats order by who") == ["child", "owner"]


async def test_a_token_dies_with_its_transaction(face: str, db: Any, seats: Any) -> None:
    """A context that held one transaction has no part in the next."""
    kept: list[contextvars.Context] = []
    told: list[Any] = []

    def first() -> Plan[None]:
        yield from begin()
        kept.append(contextvars.copy_context())
        yield from execute(insert("owner"))
        yield from rollback()

    def call() -> None:
        """Refused before anything is sent, on both faces."""
        with pytest.raises(InterfaceError, match="has a transaction open"):
            (db.real if face == "blocking" else db).execute("insert into seats values ('late')")
        told.append(True)

    def second() -> Plan[None]:
        yield from begin()
        yield from execute(insert("owner"))
        kept[0].run(call)
        yield from commit()

    await db.run(first())
    await db.run(second())
    assert told == [True]
    assert await seats.fetch_column("select who from seats") == ["owner"]


@pytest.mark.parametrize("how", ["begin", "batch"])
async def test_two_plans_that_begin_at_the_same_time(face: str, db: Any, seats: Any, how: str) -> None:
    """BEGIN of one is not answered when the other begins: one gets the transaction, the other is told; nothing is mixed."""

    def plan(who: str) -> Plan[None]:
        if how == "begin":
            yield from begin()
        else:
            yield from batch(begin(), execute(insert(who)))
        try:
            yield from execute(insert(who))
            yield from sleep(0.02)
            yield from (commit() if who == "a" else rollback())
        except BaseException:
            yield from rollback()
            raise

    if face == "async":
        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(db.run(plan(who)), context=contextvars.Context()) for who in ("a", "b", "c")
        ]
        got = await asyncio.gather(*tasks, return_exceptions=True)
    else:
        got = []

        def work(who: str) -> None:
            try:
                got.append(db.real.run(plan(who)))
            except InterfaceError as error:
                got.append(error)

        threads = [threading.Thread(target=work, args=(who,)) for who in ("a", "b", "c")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    told = [one for one in got if isinstance(one, InterfaceError)]
    assert len(told) in ({2} if face == "async" else {0, 1, 2}), got
    assert all("has a transaction open" in str(one) for one in told), told
    assert all(one is None or isinstance(one, InterfaceError) for one in got), got
    assert set(await seats.fetch_column("select who from seats")) <= {"a"}
    assert db.transaction_status == "idle"
    await db.run(plan("a"))


async def test_one_transaction_after_the_other_in_one_flight(face: str, db: Any, seats: Any) -> None:
    def plan() -> Plan[None]:
        yield from begin()
        yield from execute(insert("first"))
        yield from batch(commit(), begin(), execute(insert("second")))
        problem = outsider(face, db, CALLS["fetch_value"])
        told.append(problem)
        yield from rollback()

    told: list[Any] = []
    await db.run(plan())
    assert isinstance(await told[0] if face == "async" else told[0], InterfaceError)
    assert await seats.fetch_column("select who from seats") == ["first"]


async def test_a_transaction_that_begins_in_the_middle_of_a_flight(face: str, db: Any, seats: Any) -> None:
    """What comes before BEGIN in its batch changes nothing: the transaction is the plan's."""
    told: list[Any] = []

    def plan() -> Plan[None]:
        yield from batch(execute(insert("before")), begin(), execute(insert("owner")))
        told.append(outsider(face, db, CALLS["execute"]))
        yield from sleep(0.05)
        yield from commit()

    await db.run(plan())
    problem = await told[0] if face == "async" else told[0]
    assert isinstance(problem, InterfaceError), problem
    assert "has a transaction open" in str(problem)
    assert await seats.fetch_column("select who from seats") == ["before", "owner"]


async def test_nesting_is_told_to_use_a_savepoint(face: str, db: Any, seats: Any) -> None:
    def plan(nested: Callable[[], Plan[Any]]) -> Plan[None]:
        yield from begin()
        try:
            with pytest.raises(InterfaceError, match="nests with Savepoint"):
                yield from nested()
            yield from execute(insert("owner"))
            yield from commit()
        except BaseException:
            yield from rollback()
            raise

    for nested in (begin, lambda: batch(begin(), execute(insert("nested")))):
        await db.run(plan(nested))
    assert await seats.fetch_column("select who from seats") == ["owner", "owner"]
    await db.execute("begin")
    for nested in (begin, lambda: batch(begin(), execute(insert("nested")))):
        with pytest.raises(InterfaceError, match="nests with Savepoint"):
            await db.run(nested())
    assert await db.fetch_value("select 1") == 1  # nobody owns what the user began
    await db.execute("rollback")


@pytest.mark.parametrize("face", ["async"])
async def test_what_a_neighbours_cancel_hit_does_not_run_again_inside_it(
    face: str, runner: Any, peer: Any
) -> None:
    """A victim that is safe to run again is not, when a BEGIN was written behind it: it would run in that transaction."""
    from fixtures.fix_script import greeting, hits, open_at, send

    at = peer([send(greeting()), hits({2})])
    db = await open_at(face, at.where)
    slow = db.fetch_value("select pg_sleep(1)")
    victim = asyncio.ensure_future(db.fetch_value("select 2"))
    opener = asyncio.ensure_future(db.execute("begin"))
    await asyncio.sleep(0.05)
    slow.cancel()
    with pytest.raises(CancelledByNeighbour):
        await asyncio.wait_for(victim, 5)
    await asyncio.wait_for(opener, 5)
    assert at.lines[0].seen.count("E") == 3, "it was sent again"
    db.abort()
