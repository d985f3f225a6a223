"""pgoxide.statement: Statements, Plans, and how they are run, on a scripted executor and without a server."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide import statement as contract
from pgoxide.errors import InterfaceError, UniqueViolation
from pgoxide.statement import (
    Begin,
    Commit,
    CopyIn,
    Execute,
    Fetch,
    PlanCancelled,
    PlanRunner,
    Release,
    Rollback,
    Savepoint,
    Sleep,
    Statement,
    batch,
    begin,
    commit,
    copy_in,
    drive,
    drive_async,
    execute,
    fetch_all,
    fetch_column,
    fetch_first,
    fetch_one,
    fetch_optional,
    fetch_value,
    release,
    rollback,
    savepoint,
    sleep,
)

if TYPE_CHECKING:
    from pgoxide.statement import Plan


class Scripted:
    """The ten-line executor: answers requests in order from a script; an exception in it is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.seen: list[object] = []

    def __call__(self, request: object) -> object:
        self.seen.append(request)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, BaseException):
            raise answer
        return answer


def run(plan: Plan[Any], script: Scripted, face: str) -> Any:
    """Run on the blocking or the asynchronous driver of plans: both must behave the same."""
    if face == "blocking":
        return drive(plan, script)

    async def perform(request: object) -> object:
        await asyncio.sleep(0)
        return script(request)

    return asyncio.run(drive_async(plan, perform))


@pytest.fixture(params=["blocking", "async"])
def face(request: pytest.FixtureRequest) -> str:
    return request.param


ONE: Statement[Any] = Statement("select 1")
TWO: Statement[Any] = Statement("select $1", (2,))


# ---- Statement


def test_statement_is_a_frozen_value() -> None:
    made = Statement("select $1", [1], into=int, types=["int4"])
    assert (made.sql, made.parameters, made.into, made.types) == ("select $1", (1,), int, ("int4",))
    assert made == Statement("select $1", (1,), into=int, types=("int4",))
    assert hash(made) == hash(Statement("select $1", (1,), into=int, types=("int4",)))
    assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(FrozenInstanceError):
        made.sql = "other"  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        made.other = 1  # type: ignore[attr-defined]


def test_statement_repr_shows_no_values() -> None:
    assert "secret" not in repr(Statement("select $1", ("secret",)))


def test_statement_refuses_a_bare_string_and_wrong_type_counts() -> None:
    with pytest.raises(InterfaceError, match="sequence of values"):
        Statement("select $1", "abc")
    with pytest.raises(InterfaceError, match="2 types for 1 parameters"):
        Statement("select $1", [1], types=["int4", "int4"])


# ---- helpers


@pytest.mark.parametrize(
    ("plan", "request_"),
    [
        (lambda: fetch_all(ONE), Fetch(ONE, "fetch_all")),
        (lambda: fetch_one(ONE), Fetch(ONE, "fetch_one")),
        (lambda: fetch_optional(ONE), Fetch(ONE, "fetch_optional")),
        (lambda: fetch_first(ONE), Fetch(ONE, "fetch_first")),
        (lambda: fetch_value(ONE), Fetch(ONE, "fetch_value")),
        (lambda: fetch_column(ONE), Fetch(ONE, "fetch_column")),
        (lambda: execute(ONE), Execute(ONE)),
        (lambda: copy_in("t", [], columns=["a"]), CopyIn("t", [], ("a",))),
    ],
)
def test_helpers_yield_one_request_and_return_its_result(plan, request_, face: str) -> None:
    script = Scripted("answer")
    assert run(plan(), script, face) == "answer"
    assert script.seen == [request_]


def test_transaction_helpers(face: str) -> None:
    def plan() -> Plan[None]:
        yield from begin("serializable", read_only=True)
        yield from savepoint("s")
        yield from rollback("s")
        yield from release("s")
        yield from sleep(0.5)
        yield from rollback()
        yield from commit()

    script = Scripted()
    assert run(plan(), script, face) is None
    assert script.seen == [
        Begin("serializable", read_only=True),
        Savepoint("s"),
        Rollback("s"),
        Release("s"),
        Sleep(0.5),
        Rollback(),
        Commit(),
    ]


def test_batch_is_one_flight(face: str) -> None:
    script = Scripted([["rows"], "tag", None])
    assert run(batch(fetch_all(ONE), execute(TWO), commit()), script, face) == (["rows"], "tag", None)
    assert script.seen == [[Fetch(ONE), Execute(TWO), Commit()]]


def test_batch_of_nothing_sends_nothing(face: str) -> None:
    script = Scripted()
    assert run(batch(), script, face) == ()
    assert script.seen == []


def test_batch_takes_single_requests_only(face: str) -> None:
    def two() -> Plan[None]:
        yield from execute(ONE)
        yield from execute(TWO)

    with pytest.raises(InterfaceError, match="one request each"):
        run(batch(two()), Scripted(["tag"]), face)
    with pytest.raises(InterfaceError, match="one statement each"):
        run(batch(sleep(1)), Scripted(), face)


def test_error_in_a_batch_is_raised_at_the_yield(face: str) -> None:
    def plan() -> Plan[str]:
        try:
            yield from batch(execute(ONE), execute(TWO))
        except UniqueViolation:
            return "caught"
        return "not raised"

    assert run(plan(), Scripted(UniqueViolation("x")), face) == "caught"


# ---- running


def ledger() -> Plan[str]:
    """The proof of semantics.md section 9: lock, transaction, unique violation in a savepoint, unlock in finally."""
    yield from execute(Statement("select pg_advisory_lock($1)", (1,)))
    try:
        try:
            yield from begin()
            yield from execute(ONE)
            yield from savepoint("s")
            try:
                yield from execute(TWO)
                outcome = "inserted"
            except UniqueViolation:
                yield from rollback("s")
                outcome = "was there"
            yield from commit()
        except BaseException:
            yield from rollback()
            raise
    finally:
        yield from execute(Statement("select pg_advisory_unlock($1)", (1,)))
    return outcome


def names(seen: list[object]) -> list[str]:
    return [type(request).__name__ for request in seen]


STEPS = ["Execute", "Begin", "Execute", "Savepoint", "Execute", "Rollback", "Commit", "Execute"]


def test_a_long_plan(face: str) -> None:
    script = Scripted(None, None, None, None, UniqueViolation("x"))
    assert run(ledger(), script, face) == "was there"
    assert names(script.seen) == STEPS


@pytest.mark.parametrize("at", range(len(STEPS)))
def test_cancelled_at_every_yield(at: int, face: str) -> None:
    answers: list[object] = [None, None, None, None, UniqueViolation("x"), None, None, None]
    cancellation = KeyboardInterrupt("stop") if face == "blocking" else asyncio.CancelledError("stop")
    answers[at] = cancellation
    script = Scripted(*answers[: at + 1])
    with pytest.raises(type(cancellation)) as raised:
        run(ledger(), script, face)
    if face == "blocking":  # asyncio.run makes its own CancelledError of the task's
        assert raised.value is cancellation
    cleaning = {0: [], 7: []}.get(at, ["Rollback", "Execute"])
    assert names(script.seen) == STEPS[: at + 1] + cleaning


def test_an_error_the_plan_does_not_catch_comes_out_unchanged(face: str) -> None:
    error = UniqueViolation("x")
    with pytest.raises(UniqueViolation) as raised:
        run(fetch_all(ONE), Scripted(error), face)
    assert raised.value is error


def test_a_cancellation_cannot_be_swallowed(face: str) -> None:
    def plan() -> Plan[str]:
        try:
            yield from fetch_all(ONE)
        except BaseException:
            return "swallowed"
        return "not cancelled"

    with pytest.raises(asyncio.CancelledError):
        run(plan(), Scripted(asyncio.CancelledError()), face)


def test_after_cancelling_only_clean_up_is_performed() -> None:
    refused: list[str] = []

    def plan() -> Plan[None]:
        try:
            yield from fetch_all(ONE)
        finally:
            for helper in (fetch_all(ONE), begin(), savepoint("s"), commit(), sleep(1), copy_in("t", [])):
                try:
                    yield from helper  # type: ignore[misc]
                except InterfaceError as error:
                    refused.append(str(error))
            yield from batch(rollback(), execute(TWO))

    runner = PlanRunner(plan())
    assert not runner.cancelled
    runner.fail(KeyboardInterrupt())
    assert runner.cancelled
    assert runner.request == [Rollback(), Execute(TWO)]
    assert len(refused) == 6
    assert "fetch" in refused[0].lower()
    with pytest.raises(KeyboardInterrupt):
        runner.send([None, None])
    assert runner.request is None


def test_an_error_while_cleaning_up_is_noted_on_the_cancellation(face: str) -> None:
    def plan() -> Plan[None]:
        try:
            yield from fetch_all(ONE)
        finally:
            yield from rollback()

    cancellation = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(plan(), Scripted(cancellation, UniqueViolation("while rolling back")), face)
    assert "while rolling back" in cancellation.__notes__[0]


def test_cancelled_again_while_cleaning_up(face: str) -> None:
    def plan() -> Plan[None]:
        try:
            yield from fetch_all(ONE)
        finally:
            try:
                yield from rollback()
            finally:
                yield from execute(TWO)

    script = Scripted(KeyboardInterrupt("first"), KeyboardInterrupt("second"))
    with pytest.raises(KeyboardInterrupt, match="first"):
        run(plan(), script, face)
    assert names(script.seen) == ["Fetch", "Rollback", "Execute"]


@pytest.mark.parametrize("wrong", [None, 5, ONE, [], [ONE], [Sleep(1)], [None]])
def test_a_wrong_yield_is_answered_at_the_yield(wrong: object, face: str) -> None:
    def plan() -> Plan[str]:
        try:
            yield wrong  # type: ignore[misc]
        except InterfaceError as error:
            yield from execute(ONE)
            return str(error)
        return "accepted"

    script = Scripted()
    text = run(plan(), script, face)
    assert text.startswith(("a plan yielded", "batch"))
    assert names(script.seen) == ["Execute"]


def test_a_plan_that_makes_no_request(face: str) -> None:
    def plan() -> Plan[int]:
        return 5
        yield from execute(ONE)

    assert run(plan(), Scripted(), face) == 5


def test_only_plans_are_run() -> None:
    with pytest.raises(InterfaceError, match="takes a Plan"):
        PlanRunner(ledger)  # type: ignore[arg-type]


def test_a_result_is_there_only_at_the_end() -> None:
    runner = PlanRunner(fetch_all(ONE))
    with pytest.raises(InterfaceError, match="not returned yet"):
        runner.result
    runner.send(["row"])
    assert runner.request is None
    assert runner.result == ["row"]


def test_plan_cancelled_is_not_an_exception() -> None:
    assert not issubclass(PlanCancelled, Exception)


# ---- the two executors


def test_both_executors_have_the_same_verbs_and_parameters() -> None:
    def verbs(protocol: type) -> dict[str, list[list[str]]]:
        from typing import get_overloads

        found = {}
        for name, function in vars(protocol).items():
            if not name.startswith("_") and callable(function):
                signatures = get_overloads(function) or [function]
                found[name] = [[str(p) for p in inspect.signature(s).parameters.values()] for s in signatures]
        return found

    def plain(table: dict[str, list[list[str]]]) -> str:
        return str(table).replace(" | AsyncIterable[ParameterSet]", "")

    blocking, awaitable = verbs(contract.Executor), verbs(contract.AsyncExecutor)
    assert {"fetch_all", "fetch_one", "fetch_value", "execute", "execute_many", "run"} <= blocking.keys()
    assert plain(blocking) == plain(awaitable)


def test_all_names() -> None:
    own = {
        name
        for name, value in vars(contract).items()
        if getattr(value, "__module__", "") == contract.__name__
    }
    type_variables = {"A", "B", "C", "D", "E", "R", "R_co"}
    assert {name for name in own if not name.startswith("_")} - type_variables <= set(contract.__all__)
    for name in contract.__all__:
        assert hasattr(contract, name)
