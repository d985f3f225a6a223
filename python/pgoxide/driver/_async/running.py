"""Running a Plan on one connection."""

from __future__ import annotations

import time

# async-only: begin
from contextlib import suppress

# async-only: end
from typing import TYPE_CHECKING, Any, TypeVar

from pgoxide.driver.names import quoted
from pgoxide.driver.ownership import TOKENS
from pgoxide.errors import InterfaceError, QueryTimeout
from pgoxide.statement import (
    Begin,
    Commit,
    CopyIn,
    Execute,
    Fetch,
    PlanRunner,
    Release,
    Rollback,
    Savepoint,
    Sleep,
)

if TYPE_CHECKING:
    from pgoxide.driver._async.batch import AsyncBatch
    from pgoxide.driver._async.connection import AsyncConnection
    from pgoxide.statement import Batchable, Flight, Plan

__all__ = ["run"]

R = TypeVar("R")

_ENDS = (Begin, Commit, Rollback)

CLEANUP_TIMEOUT = 10.0
"""Seconds each clean-up request of a cancelled plan may take."""


async def run(connection: AsyncConnection, plan: Plan[R], timeout: float | None) -> R:
    """See `AsyncConnection.run`."""
    running = _Running(connection, repr(plan), timeout)
    runner = PlanRunner(plan)
    try:
        while (request := runner.request) is not None:
            try:
                # async-only: begin
                result = await (running.clean_up(request) if runner.cancelled else running.perform(request))
                # async-only: end
                # sync: result = running.perform(request)
            except BaseException as error:  # noqa: BLE001  handed to the plan, which raises it or its own
                runner.fail(error)
            else:
                runner.send(result)
    except BaseException as error:
        # What ended the plan comes out, above all a cancellation, whatever becomes of its transaction.
        try:
            left_open = await running.end()
        except Exception as problem:  # noqa: BLE001  told by the one that comes out
            error.add_note(f"undoing what the plan left open raised {type(problem).__name__}: {problem}")
        else:
            if left_open:
                error.add_note(running.left_open)
        raise
    if await running.end():
        raise InterfaceError(running.left_open)
    return runner.result


class _Running:
    """One plan on one connection: performs its requests, owns the transaction it opens."""

    def __init__(self, connection: AsyncConnection, name: str, timeout: float | None) -> None:
        self._connection = connection
        self._name = name
        self._until = None if timeout is None else time.monotonic() + timeout
        self._timeout = timeout
        self._token: object = None
        self._uncertain = False  # a BEGIN was cancelled or timed out: it may have run, or run yet

    @property
    def left_open(self) -> str:
        """What is said of a plan that does not end its transaction."""
        return f"{self._name} ended with its transaction open; it was rolled back"

    # async-only: begin
    async def clean_up(self, request: Flight) -> Any:
        """A request of a cancelled plan: further cancels do not disturb it, and it has a limit.

        Beyond the limit nobody knows what state the session is in: the connection is aborted.
        """
        import asyncio

        self._until = None
        task = asyncio.ensure_future(self.perform(request))
        until = time.monotonic() + CLEANUP_TIMEOUT
        while not task.done():
            left = until - time.monotonic()
            if left <= 0:
                self._connection.abort(QueryTimeout(f"a plan's clean-up took more than {CLEANUP_TIMEOUT} s"))
            # A further cancel: the first one is being honoured, and this is how.
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task], timeout=max(left, 0.1))
        return task.result()

    # async-only: end
    async def perform(self, request: Flight) -> Any:
        """The result of one flight."""
        if isinstance(request, list):
            return await self._batch(request)
        if isinstance(request, CopyIn):
            return await self._connection.copy_in(
                request.table, request.records, columns=request.columns, timeout=self._left()
            )
        if isinstance(request, Sleep):
            return await self._sleep(request.seconds)
        if isinstance(request, Fetch):
            return await getattr(self._connection, request.verb)(request.statement, timeout=self._left())
        if isinstance(request, Execute):
            return await self._connection.execute(request.statement, timeout=self._left())
        if isinstance(request, Begin):
            return await self._begin(request)
        if isinstance(request, Rollback) and not self._uncertain and self._is_idle():
            return None  # a plan may put Begin inside its try: then there is nothing to undo
        result = await self._connection.execute(
            _sql(request), timeout=None if isinstance(request, Rollback | Release) else self._left()
        )
        if isinstance(request, Rollback) and request.to is None:
            self._uncertain = False
        if isinstance(request, Commit) and result.text == "ROLLBACK":
            raise InterfaceError("COMMIT rolled back: a statement of the transaction had failed")
        self._disown_if_over()
        return result

    def _is_idle(self) -> bool:
        """No transaction is open as far as the server has told: what is in flight may change it."""
        return self._connection.transaction_status == "idle"

    async def _sleep(self, seconds: float) -> None:
        # async-only: begin
        import asyncio

        # async-only: end
        left = self._left()
        await asyncio.sleep(seconds if left is None else min(seconds, left))
        self._left()

    def _left(self) -> float | None:
        """Seconds until the plan's limit. Raises QueryTimeout when there are none."""
        if self._until is None:
            return None
        left = self._until - time.monotonic()
        if left <= 0:
            raise QueryTimeout(f"the plan did not finish within {self._timeout} s")
        return left

    async def _begin(self, request: Begin) -> Any:
        self._own()
        result = await self._connection.execute(_sql(request), timeout=self._left())
        self._uncertain = False
        return result

    async def _batch(self, requests: list[Batchable]) -> list[Any]:
        """Several requests in one flight: the list of their results."""
        if any(isinstance(request, Begin) for request in requests):
            # One transaction may end and the next begin in one flight; the owner stays.
            ends_first = next(isinstance(r, Commit | Rollback) for r in requests if isinstance(r, _ENDS))
            if self._token is None or not ends_first:
                self._own()
            self._uncertain = True
        try:
            async with self._connection.batch(timeout=self._left()) as batch:
                replies = [_add(batch, request) for request in requests]
            self._uncertain = False
        finally:
            self._disown_if_over()
        return [reply.result() for reply in replies]

    async def end(self) -> bool:
        """The plan is through. A transaction it left open is undone; true if there was one."""
        if self._token is None:
            return False
        try:
            if self._connection.closed:
                return False
            left_open = not self._is_idle()
            if left_open or self._uncertain:
                # async-only: begin
                await self.clean_up(Rollback())
                # async-only: end
                # sync: self.perform(Rollback())
        except BaseException:
            # Nobody would own it: a session in an unknown transaction is of no use to anybody.
            self._connection.abort()
            raise
        finally:
            self._disown()
        return left_open

    def _own(self) -> None:
        """Before BEGIN is sent: nobody may slip in between. Raises when a transaction is open, whoever opened it."""
        if self._token is None:
            token = object()
            self._connection._own(token, self._name)
            self._token = token
            TOKENS.set((*TOKENS.get(), token))
            if self._is_idle():
                self._uncertain = True
                return
            self._disown()
        raise InterfaceError("a transaction is open already: a plan nests with Savepoint")

    def _disown_if_over(self) -> None:
        if self._connection.closed or (self._is_idle() and not self._uncertain):
            self._disown()

    def _disown(self) -> None:
        if self._token is not None:
            self._connection._disown()
            TOKENS.set(tuple(token for token in TOKENS.get() if token is not self._token))
            self._token = None


def _add(batch: AsyncBatch, request: Batchable) -> Any:
    if isinstance(request, Fetch):
        return getattr(batch, request.verb)(request.statement)
    if isinstance(request, Execute):
        return batch.execute(request.statement)
    return batch.execute(_sql(request))


def _sql(request: Begin | Savepoint | Release | Rollback | Commit) -> str:
    """The transaction command."""
    if isinstance(request, Begin):
        modes: list[str] = []
        if request.isolation is not None:
            modes.append(f"isolation level {request.isolation}")
        if request.read_only is not None:
            modes.append("read only" if request.read_only else "read write")
        if request.deferrable is not None:
            modes.append("deferrable" if request.deferrable else "not deferrable")
        return f"begin {', '.join(modes)}".rstrip()
    if isinstance(request, Savepoint):
        return f"savepoint {quoted(request.name)}"
    if isinstance(request, Release):
        return f"release savepoint {quoted(request.name)}"
    if isinstance(request, Rollback):
        return "rollback" if request.to is None else f"rollback to savepoint {quoted(request.to)}"
    return "commit"
