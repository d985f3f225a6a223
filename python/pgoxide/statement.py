"""The contract between the driver and everything above it.

A `Statement[R]` is SQL text, parameters and the type a row becomes. A `Plan[R]` is a generator that yields requests, receives
their results and returns an `R`: several round trips written once, for the blocking and the asynchronous face alike.
`Executor` and `AsyncExecutor` are what runs them: connections, transactions, pools, and a scripted one in tests.

    def rename(old: str, new: str) -> Plan[int]:
        try:
            yield from begin()
            tag = yield from execute(Statement("update users set name = $2 where name = $1", (old, new)))
            yield from commit()
        except BaseException:
            yield from rollback()
            raise
        return tag.rows_affected or 0

    changed = await db.run(rename("a", "b"))      # or, blocking, db.run(rename("a", "b"))

Rules for a Plan: use the helpers of this module with `yield from`, never a bare `yield`. An error of the server is raised at
the `yield from`. When the caller is cancelled, `PlanCancelled` is raised there, and from then on only clean-up may be
requested: `rollback`, `release`, `execute`, and a `batch` of them. The cancellation cannot be swallowed.

A transaction costs no flight of its own: BEGIN travels with the first statement behind `begin()`, and COMMIT with the last one
where the plan writes `batch(execute(...), commit())`. Between `begin()` and `commit()` or `rollback()` everything the plan asks
for is in the transaction, also behind an error it has caught: when the server refused a statement, the transaction has failed,
and takes no more until it is rolled back.

Who may use it: every room above the driver, which it keeps from importing the driver. It imports `errors` and nothing else.
Whoever writes an executor uses `drive` or `drive_async`, or `PlanRunner` for full control.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar, cast, overload

from pgoxide.errors import InterfaceError

if TYPE_CHECKING:
    from pgoxide._core import CommandTag
    from pgoxide.types import Row

__all__ = [
    "AsyncExecutor",
    "Begin",
    "Commit",
    "CopyIn",
    "Execute",
    "Executor",
    "Fetch",
    "Flight",
    "ParameterSet",
    "ParameterTypes",
    "Plan",
    "PlanCancelled",
    "PlanRunner",
    "Release",
    "Request",
    "Rollback",
    "Savepoint",
    "Sleep",
    "Statement",
    "batch",
    "begin",
    "commit",
    "copy_in",
    "drive",
    "drive_async",
    "execute",
    "fetch_all",
    "fetch_column",
    "fetch_first",
    "fetch_one",
    "fetch_optional",
    "fetch_value",
    "release",
    "rollback",
    "savepoint",
    "sleep",
]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")

FetchVerb: TypeAlias = Literal[
    "fetch_all", "fetch_one", "fetch_optional", "fetch_first", "fetch_value", "fetch_column"
]
ParameterTypes: TypeAlias = Sequence[str | int] | Mapping[str, str | int]
"""PostgreSQL types of parameters, by name or OID: in the order of `$1`, `$2` …, or by the names of `:name` placeholders."""
ParameterSet: TypeAlias = Sequence[object] | Mapping[str, object]
"""What one run of `execute_many` takes: the values of `$1`, `$2` …, or those of `:name` placeholders by name."""
Isolation: TypeAlias = Literal["read uncommitted", "read committed", "repeatable read", "serializable"]


@dataclass(frozen=True, slots=True, init=False)
class Statement(Generic[R_co]):
    """SQL text, its parameters, and the type a row becomes.

    `Statement("select 1")` gives `Row`s, `Statement("select id, name from users", into=User)` gives `User`s. Parameters are the
    values of `$1`, `$2` … in order, or a mapping of names to values for a text with `:name` placeholders. `types` names the
    PostgreSQL types of the parameters, one each (`"int4"`, `"text[]"`), as a mapping when they have names; with all of them
    known, the first use of the statement takes one round trip instead of two.

    Frozen, but no deeper than a tuple: the parameters are encoded when the statement is executed. `repr` shows no values.
    """

    sql: str
    parameters: tuple[object, ...] = field(repr=False)
    """The values, in the order of `names` when they have names."""
    into: type[R_co] | None
    types: tuple[str, ...] | None
    names: tuple[str, ...] | None
    """What the parameters are called; None when they are given by position."""

    @overload
    def __init__(
        self: Statement[Row],
        sql: str,
        parameters: Iterable[object] | Mapping[str, object] = ...,
        *,
        types: Iterable[str] | Mapping[str, str] | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        sql: str,
        parameters: Iterable[object] | Mapping[str, object] = ...,
        *,
        into: type[R_co],
        types: Iterable[str] | Mapping[str, str] | None = ...,
    ) -> None: ...
    def __init__(
        self,
        sql: str,
        parameters: Iterable[object] | Mapping[str, object] = (),
        *,
        into: type[R_co] | None = None,
        types: Iterable[str] | Mapping[str, str] | None = None,
    ) -> None:
        if isinstance(parameters, str | bytes):
            raise InterfaceError(
                f"parameters must be a sequence of values; for one value write ({type(parameters).__name__},)"
            )
        names: tuple[str, ...] | None = None
        if isinstance(parameters, Mapping):
            by_name = cast("Mapping[str, object]", parameters)
            names, values = tuple(by_name), tuple(by_name.values())
        else:
            values = tuple(parameters)
        fields = {"sql": sql, "parameters": values, "into": into, "names": names}
        for name, value in (fields | {"types": _types(types, values, names)}).items():
            object.__setattr__(self, name, value)


def _types(
    types: Iterable[str] | Mapping[str, str] | None, values: tuple[object, ...], names: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """The types in the order of the parameters."""
    if types is None:
        return None
    if isinstance(types, Mapping) != (names is not None):
        raise InterfaceError("types are given as the parameters are: in order, or as a mapping by name")
    if names is not None:
        by_name = cast("Mapping[str, str]", types)
        if set(by_name) != set(names):
            raise InterfaceError(f"types for {', '.join(by_name)}; parameters {', '.join(names)}")
        return tuple(by_name[name] for name in names)
    in_order = tuple(types)
    if len(in_order) != len(values):
        raise InterfaceError(f"{len(in_order)} types for {len(values)} parameters")
    return in_order


# ---- requests: what a Plan yields


@dataclass(frozen=True, slots=True)
class Fetch:
    """Run a statement with one of the fetch verbs; the result is what that verb gives."""

    statement: Statement[object]
    verb: FetchVerb = "fetch_all"


@dataclass(frozen=True, slots=True)
class Execute:
    """Run a statement for its effect; the result is the CommandTag."""

    statement: Statement[object]


@dataclass(frozen=True, slots=True)
class Begin:
    """Start a transaction. None leaves the session's default."""

    isolation: Isolation | None = None
    read_only: bool | None = None
    deferrable: bool | None = None


@dataclass(frozen=True, slots=True)
class Savepoint:
    """Set a savepoint. The executor quotes the name."""

    name: str


@dataclass(frozen=True, slots=True)
class Release:
    """Forget a savepoint, keeping what was done since."""

    name: str


@dataclass(frozen=True, slots=True)
class Rollback:
    """Undo the transaction, or what was done since the savepoint `to`."""

    to: str | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """End the transaction."""


@dataclass(frozen=True, slots=True)
class CopyIn:
    """COPY records into a table; the result is the CommandTag. The executor quotes the names."""

    table: str | tuple[str, str]
    records: Iterable[Sequence[object]] = field(repr=False)
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait, holding the connection."""

    seconds: float


Batchable: TypeAlias = Fetch | Execute | Begin | Savepoint | Release | Rollback | Commit
Request: TypeAlias = Batchable | CopyIn | Sleep
Flight: TypeAlias = Request | list[Batchable]
"""What is performed in one go: one request, or several sent together under one Sync, whose result is the list of theirs."""

Plan: TypeAlias = Generator[Flight, object, R]
"""A generator that yields requests, receives their results and returns an R."""

_BATCHABLE = (Fetch, Execute, Begin, Savepoint, Release, Rollback, Commit)
_REQUEST = (*_BATCHABLE, CopyIn, Sleep)
_CLEAN_UP = (Execute, Rollback, Release)


class PlanCancelled(BaseException):
    """Raised inside a Plan when whoever runs it was cancelled. Clean up and let it pass."""


# ---- helpers: the only way a Plan yields


def fetch_all(statement: Statement[R]) -> Plan[list[R]]:
    """All rows."""
    return cast("list[R]", (yield Fetch(statement, "fetch_all")))


def fetch_one(statement: Statement[R]) -> Plan[R]:
    """Exactly one row, else `NoRow` or `MultipleRows`."""
    return cast("R", (yield Fetch(statement, "fetch_one")))


def fetch_optional(statement: Statement[R]) -> Plan[R | None]:
    """The row or None; two rows raise `MultipleRows`."""
    return cast("R | None", (yield Fetch(statement, "fetch_optional")))


def fetch_first(statement: Statement[R]) -> Plan[R | None]:
    """The first row or None; the rest is discarded."""
    return cast("R | None", (yield Fetch(statement, "fetch_first")))


@overload
def fetch_value(statement: Statement[Row]) -> Plan[Any]: ...
@overload
def fetch_value(statement: Statement[R]) -> Plan[R | None]: ...
def fetch_value(statement: Statement[Any]) -> Plan[Any]:
    """The single column of exactly one row; SQL NULL gives None. Of a `Statement[int]`, an `int | None`."""
    return (yield Fetch(statement, "fetch_value"))


@overload
def fetch_column(statement: Statement[Row]) -> Plan[list[Any]]: ...
@overload
def fetch_column(statement: Statement[R]) -> Plan[list[R | None]]: ...
def fetch_column(statement: Statement[Any]) -> Plan[list[Any]]:
    """The single column of every row; SQL NULL gives None."""
    return cast("list[Any]", (yield Fetch(statement, "fetch_column")))


def execute(statement: Statement[object]) -> Plan[CommandTag]:
    """Run a statement for its effect."""
    return cast("CommandTag", (yield Execute(statement)))


def begin(
    isolation: Isolation | None = None, *, read_only: bool | None = None, deferrable: bool | None = None
) -> Plan[None]:
    """Start a transaction. Nothing is sent: BEGIN travels with the next statement, and without one there is none.

    From here on the connection is the plan's alone: a call from elsewhere raises, as with a transaction block.
    """
    yield Begin(isolation, read_only, deferrable)


def commit() -> Plan[None]:
    """End the transaction. `batch(execute(...), commit())` sends both together, in one round trip.

    Raises UnexpectedRollback when a statement had failed, so that the server rolled back, the error of a deferred constraint,
    and TransactionOutcomeUnknown when the connection is lost meanwhile. A flight with a commit that is given up (cancelled, out
    of time) ends the transaction all the same: what it has not committed by then is undone.
    """
    yield Commit()


def rollback(to: str | None = None) -> Plan[None]:
    """Undo the transaction, or what was done since the savepoint `to`."""
    yield Rollback(to)


def savepoint(name: str) -> Plan[None]:
    """Set a savepoint."""
    yield Savepoint(name)


def release(name: str) -> Plan[None]:
    """Forget a savepoint, keeping what was done since."""
    yield Release(name)


def copy_in(
    table: str | tuple[str, str],
    records: Iterable[Sequence[object]],
    *,
    columns: Sequence[str] | None = None,
) -> Plan[CommandTag]:
    """COPY records into a table: its name, or (schema, name)."""
    request = CopyIn(table, records, None if columns is None else tuple(columns))
    return cast("CommandTag", (yield request))


def sleep(seconds: float) -> Plan[None]:
    """Wait, holding the connection."""
    yield Sleep(seconds)


@overload
def batch(a: Plan[A], /) -> Plan[tuple[A]]: ...
@overload
def batch(a: Plan[A], b: Plan[B], /) -> Plan[tuple[A, B]]: ...
@overload
def batch(a: Plan[A], b: Plan[B], c: Plan[C], /) -> Plan[tuple[A, B, C]]: ...
@overload
def batch(a: Plan[A], b: Plan[B], c: Plan[C], d: Plan[D], /) -> Plan[tuple[A, B, C, D]]: ...
@overload
def batch(a: Plan[A], b: Plan[B], c: Plan[C], d: Plan[D], e: Plan[E], /) -> Plan[tuple[A, B, C, D, E]]: ...
@overload
def batch(*plans: Plan[A]) -> Plan[tuple[A, ...]]: ...
def batch(*plans: Plan[Any]) -> Plan[tuple[Any, ...]]:
    """Several requests in one flight under one Sync: `rows, tag = yield from batch(fetch_all(a), execute(b))`.

    Each plan must make exactly one request, as the helpers of this module do. When one fails, those after it do not run,
    and outside a transaction those before it are undone too: the server treats the flight as one transaction. For the same
    reason a `begin()` among them takes in what stands before it.
    """
    flight: list[Batchable] = []
    try:
        for plan in plans:
            request = next(plan, None)
            if not isinstance(request, _BATCHABLE):
                raise InterfaceError(
                    f"batch() takes plans of one statement each, not one that asks for {request!r}"
                )
            flight.append(request)
        results = cast("list[object]", (yield flight)) if flight else []
        return tuple(_finish(plan, result) for plan, result in zip(plans, results, strict=True))
    finally:
        for plan in plans:
            plan.close()


def _finish(plan: Plan[R], result: object) -> R:
    try:
        request = plan.send(result)
    except StopIteration as stop:
        return cast("R", stop.value)
    raise InterfaceError(f"batch() takes plans of one request each; this one went on to ask for {request!r}")


# ---- running a Plan


class PlanRunner(Generic[R]):
    """Steps a Plan without doing any I/O: the logic that `drive`, `drive_async` and other executors share.

    While `request` is not None, perform it; then call `send(result)`, or `fail(error)` with whatever performing it raised.
    Both raise what ends the plan. When `request` is None the plan has returned: `result` holds the value.

    A failure that is an `Exception` is raised in the plan as it is. Any other (`CancelledError`, `KeyboardInterrupt`, …) is a
    cancellation: the plan gets `PlanCancelled`, `cancelled` turns true, requests other than clean-up are answered with an
    `InterfaceError`, and when the plan is through, the cancellation is raised again whatever the plan made of it.
    """

    __slots__ = ("_cancellation", "_plan", "_result", "request")

    request: Flight | None
    """To be performed now; None when the plan has returned."""

    def __init__(self, plan: Plan[R]) -> None:
        if not isinstance(cast("object", plan), Generator):
            raise InterfaceError(f"run() takes a Plan, a generator that yields requests, not {plan!r}")
        self._plan = plan
        self._cancellation: BaseException | None = None
        self._result: list[R] = []
        self.request = None
        self._step(plan.send, None)

    @property
    def cancelled(self) -> bool:
        """True once the plan was cancelled: what `request` holds from now on is clean-up, to be shielded and bounded."""
        return self._cancellation is not None

    @property
    def result(self) -> R:
        """What the plan returned."""
        if not self._result:
            raise InterfaceError("the plan has not returned yet")
        return self._result[0]

    def send(self, result: object) -> None:
        """Hand the result of `request` to the plan."""
        self._step(self._plan.send, result)

    def fail(self, error: BaseException) -> None:
        """Tell the plan that performing `request` raised `error`."""
        if isinstance(error, Exception):
            self._step(self._plan.throw, error)
            return
        if self._cancellation is None:
            self._cancellation = error
        self._step(self._plan.throw, PlanCancelled())

    def _step(self, resume: Callable[[Any], object], value: object) -> None:
        """Let the plan run to its next request that can be performed, or to its end."""
        self.request = None
        try:
            wanted = resume(value)
            while (misuse := self._misuse(wanted)) is not None:
                wanted = self._plan.throw(InterfaceError(misuse))
            self.request = cast("Flight", wanted)
            return
        except StopIteration as stop:
            if self._cancellation is None:
                self._result.append(cast("R", stop.value))
                return
        except PlanCancelled:
            if self._cancellation is None:
                raise
        except Exception as error:
            if self._cancellation is None:
                raise
            self._cancellation.add_note(f"while cleaning up, the plan raised {type(error).__name__}: {error}")
        raise self._cancellation

    def _misuse(self, wanted: object) -> str | None:
        """What is wrong with a value the plan yielded, or None."""
        requests: list[object]
        allowed: tuple[type, ...]
        if isinstance(wanted, list):
            requests, allowed = cast("list[object]", wanted), _BATCHABLE
            if not requests:
                return "a plan yielded an empty list"
        else:
            requests, allowed = [wanted], _REQUEST
        for request in requests:
            if isinstance(request, Statement):
                return "a plan yielded a Statement; write `yield from fetch_all(statement)` or another helper"
            if not isinstance(request, allowed):
                return (
                    f"a plan yielded {request!r}, which is not a request; use the helpers with `yield from`"
                )
            if self._cancellation is not None and not isinstance(request, _CLEAN_UP):
                return (
                    f"a cancelled plan asked for {type(request).__name__}; only clean-up is allowed: "
                    "rollback, release, execute"
                )
        return None


def drive(plan: Plan[R], perform: Callable[[Flight], object]) -> R:
    """Run a plan, blocking: `perform` carries out one flight on one connection and returns its result."""
    runner = PlanRunner(plan)
    while (request := runner.request) is not None:
        try:
            result = perform(request)
        except BaseException as error:  # noqa: BLE001  handed to the plan, which raises it or its own
            runner.fail(error)
        else:
            runner.send(result)
    return runner.result


async def drive_async(plan: Plan[R], perform: Callable[[Flight], Awaitable[object]]) -> R:
    """Run a plan, asynchronously: `drive` with an awaitable `perform`."""
    runner = PlanRunner(plan)
    while (request := runner.request) is not None:
        try:
            result = await perform(request)
        except BaseException as error:  # noqa: BLE001  handed to the plan, which raises it or its own
            runner.fail(error)
        else:
            runner.send(result)
    return runner.result


# ---- executors: what runs Statements and Plans


class Executor(Protocol):
    """What the blocking connection, transaction and pool have in common.

    Each verb takes SQL text with its parameters as further arguments, or a `Statement`, which carries its own. `timeout` is
    in seconds and covers everything from queueing to the last row; `QueryTimeout` says that it ran out.
    """

    @overload
    def fetch_all(self, query: Statement[R], /, *, timeout: float | None = None) -> list[R]: ...
    @overload
    def fetch_all(
        self,
        query: str,
        /,
        *args: object,
        into: type[R],
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> list[R]: ...
    @overload
    def fetch_all(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> list[Row]:
        """All rows."""
        ...

    @overload
    def fetch_one(self, query: Statement[R], /, *, timeout: float | None = None) -> R: ...
    @overload
    def fetch_one(
        self,
        query: str,
        /,
        *args: object,
        into: type[R],
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> R: ...
    @overload
    def fetch_one(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Row:
        """Exactly one row, else `NoRow` or `MultipleRows`."""
        ...

    @overload
    def fetch_optional(self, query: Statement[R], /, *, timeout: float | None = None) -> R | None: ...
    @overload
    def fetch_optional(
        self,
        query: str,
        /,
        *args: object,
        into: type[R],
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> R | None: ...
    @overload
    def fetch_optional(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Row | None:
        """The row or None; two rows raise `MultipleRows`."""
        ...

    @overload
    def fetch_first(self, query: Statement[R], /, *, timeout: float | None = None) -> R | None: ...
    @overload
    def fetch_first(
        self,
        query: str,
        /,
        *args: object,
        into: type[R],
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> R | None: ...
    @overload
    def fetch_first(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Row | None:
        """The first row or None; the rest is discarded."""
        ...

    @overload
    def fetch_value(self, query: Statement[Row], /, *, timeout: float | None = None) -> Any: ...
    @overload
    def fetch_value(self, query: Statement[R], /, *, timeout: float | None = None) -> R | None: ...
    @overload
    def fetch_value(
        self,
        query: str,
        /,
        *args: object,
        into: type[R],
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> R | None: ...
    @overload
    def fetch_value(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Any:
        """The single column of exactly one row; SQL NULL gives None, no row `NoRow`."""
        ...

    @overload
    def fetch_column(self, query: Statement[Row], /, *, timeout: float | None = None) -> list[Any]: ...
    @overload
    def fetch_column(self, query: Statement[R], /, *, timeout: float | None = None) -> list[R | None]: ...
    @overload
    def fetch_column(
        self,
        query: str,
        /,
        *args: object,
        into: type[R],
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> list[R | None]: ...
    @overload
    def fetch_column(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> list[Any]:
        """The single column of every row; SQL NULL gives None."""
        ...

    @overload
    def execute(self, query: Statement[object], /, *, timeout: float | None = None) -> CommandTag: ...
    @overload
    def execute(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> CommandTag:
        """Run a statement for its effect."""
        ...

    def execute_many(
        self,
        query: str | Statement[object],
        parameter_sets: Iterable[ParameterSet],
        /,
        *,
        timeout: float | None = None,
    ) -> CommandTag:
        """Run one statement with many parameter sets, pulled lazily; a Statement must carry no parameters of its own."""
        ...

    def run(self, plan: Plan[R], /, *, timeout: float | None = None) -> R:
        """Run a plan on one connection, kept for its whole length."""
        ...


class AsyncExecutor(Protocol):
    """The same as `Executor`, for the asynchronous face: one Protocol cannot type both. Every verb has started when called."""

    @overload
    def fetch_all(self, query: Statement[R], /, *, timeout: float | None = None) -> Awaitable[list[R]]: ...
    @overload
    def fetch_all(
        self,
        query: str,
        /,
        *args: object,
        into: type[R],
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Awaitable[list[R]]: ...
    @overload
    def fetch_all(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Awaitable[list[Row]]:
        """All rows."""
        ...

    @overload
    def fetch_one(self, query: Statement[R], /, *, timeout: float | None = None) -> Awaitable[R]: ...
    @overload
    def fetch_one(
        self,
        query: str,
        /,
        *args: object,
        into: type[R],
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Awaitable[R]: ...
    @overload
    def fetch_one(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Awaitable[Row]:
        """Exactly one row, else `NoRow` or `MultipleRows`."""
        ...

    @overload
    def fetch_optional(
        self, query: Statement[R], /, *, timeout: float | None = None
    ) -> Awaitable[R | None]: ...
    @overload
    def fetch_optional(
        self,
        query: str,
        /,
        *args: object,
        into: type[R],
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Awaitable[R | None]: ...
    @overload
    def fetch_optional(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Awaitable[Row | None]:
        """The row or None; two rows raise `MultipleRows`."""
        ...

    @overload
    def fetch_first(self, query: Statement[R], /, *, timeout: float | None = None) -> Awaitable[R | None]: ...
    @overload
    def fetch_first(
        self,
        query: str,
        /,
        *args: object,
        into: type[R],
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Awaitable[R | None]: ...
    @overload
    def fetch_first(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Awaitable[Row | None]:
        """The first row or None; the rest is discarded."""
        ...

    @overload
    def fetch_value(self, query: Statement[Row], /, *, timeout: float | None = None) -> Awaitable[Any]: ...
    @overload
    def fetch_value(self, query: Statement[R], /, *, timeout: float | None = None) -> Awaitable[R | None]: ...
    @overload
    def fetch_value(
        self,
        query: str,
        /,
        *args: object,
        into: type[R],
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Awaitable[R | None]: ...
    @overload
    def fetch_value(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Awaitable[Any]:
        """The single column of exactly one row; SQL NULL gives None, no row `NoRow`."""
        ...

    @overload
    def fetch_column(
        self, query: Statement[Row], /, *, timeout: float | None = None
    ) -> Awaitable[list[Any]]: ...
    @overload
    def fetch_column(
        self, query: Statement[R], /, *, timeout: float | None = None
    ) -> Awaitable[list[R | None]]: ...
    @overload
    def fetch_column(
        self,
        query: str,
        /,
        *args: object,
        into: type[R],
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Awaitable[list[R | None]]: ...
    @overload
    def fetch_column(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Awaitable[list[Any]]:
        """The single column of every row; SQL NULL gives None."""
        ...

    @overload
    def execute(
        self, query: Statement[object], /, *, timeout: float | None = None
    ) -> Awaitable[CommandTag]: ...
    @overload
    def execute(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Awaitable[CommandTag]:
        """Run a statement for its effect."""
        ...

    def execute_many(
        self,
        query: str | Statement[object],
        parameter_sets: Iterable[ParameterSet] | AsyncIterable[ParameterSet],
        /,
        *,
        timeout: float | None = None,
    ) -> Awaitable[CommandTag]:
        """Run one statement with many parameter sets, pulled lazily; a Statement must carry no parameters of its own."""
        ...

    def run(self, plan: Plan[R], /, *, timeout: float | None = None) -> Awaitable[R]:
        """Run a plan on one connection, kept for its whole length."""
        ...
