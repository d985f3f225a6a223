"""Running a Plan on one connection."""

from __future__ import annotations

# sync: import threading
import time

# async-only: begin
from contextlib import suppress

# async-only: end
from typing import TYPE_CHECKING, Any, TypeVar

from pgoxide.driver.commands import begin
from pgoxide.driver.names import quoted
from pgoxide.driver.ownership import TOKENS, place
from pgoxide.errors import DatabaseError, InterfaceError, QueryTimeout
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

CLEANUP_TIMEOUT = 10.0
"""Seconds each clean-up request of a cancelled plan may take, and a ROLLBACK when the plan's own time is over."""


async def run(connection: AsyncConnection, plan: Plan[R], timeout: float | None) -> R:
    """See `AsyncConnection.run`."""
    runner = PlanRunner(plan)
    running = _Running(connection, plan, timeout)
    try:
        while (request := runner.request) is not None:
            try:
                # async-only: begin
                result = await (running.clean_up(request) if runner.cancelled else running.perform(request))
            except GeneratorExit:  # thrown away half-way, outside its loop: nothing can be awaited any more
                running.forsake()
                raise
                # async-only: end
                # sync: result = running.perform(request)
            except BaseException as error:  # noqa: BLE001  handed to the plan, which raises it or its own
                runner.fail(error)
            else:
                runner.send(result)
    except BaseException as failure:
        await running.end(failure)
        raise
    await running.end(None)
    return runner.result


class _Running:
    """One plan on one connection: performs its requests, owns the transaction it opens.

        idle ──own──▶ BEGIN under way ──answered──▶ open ──COMMIT, ROLLBACK answered──▶ idle
                        │                            └──COMMIT, ROLLBACK given up──▶ unsure
                        └──given up: it still takes effect, or does not──▶ unsure ──ROLLBACK answered──▶ idle

    The connection is owned from before BEGIN is written until the server has said that it is idle.
    """

    def __init__(self, connection: AsyncConnection, plan: Plan[Any], timeout: float | None) -> None:
        self._connection = connection
        self._plan = plan
        self._until = None if timeout is None else time.monotonic() + timeout
        self._timeout = timeout
        self._token = object()
        self._owns = False
        self._unsure = False

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
        limit = self._grace() if isinstance(request, Rollback | Release) else self._left()
        if isinstance(request, Begin):
            self._own()
        elif isinstance(request, Rollback) and not self._is_open():
            return None  # a plan may put Begin inside its try: then there is nothing to undo
        try:
            result = await self._connection.execute(_sql(request), timeout=limit)
        except BaseException as error:
            self._came_to(error)
            raise
        self._came_to(None)
        if isinstance(request, Commit) and result.text == "ROLLBACK":
            raise InterfaceError("COMMIT rolled back: a statement of the transaction had failed")
        return result

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

    def _grace(self) -> float | None:
        """Seconds for what tidies up: it gets some even when the plan's own time is over."""
        return None if self._until is None else max(self._until - time.monotonic(), CLEANUP_TIMEOUT)

    async def _batch(self, requests: list[Batchable]) -> list[Any]:
        """Several requests in one flight: the list of their results."""
        limit = self._left()
        ends = [one for one in requests if isinstance(one, Begin | Commit) or one == Rollback()]
        if ends and isinstance(ends[0], Begin):
            self._own()
        try:
            async with self._connection.batch(timeout=limit) as batch:
                replies = [_add(batch, request) for request in requests]
        except BaseException as error:
            self._came_to(error)
            raise
        self._came_to(None)
        return [reply.result() for reply in replies]

    async def end(self, failure: BaseException | None) -> None:
        """The plan is through, by `failure` or not. A transaction it left open is undone, or ends with the connection."""
        left_open = self._owns and self._is_open()
        undone = "it was rolled back"
        try:
            if left_open:
                # async-only: begin
                await self.clean_up(Rollback())
                # async-only: end
                # sync: self._until = time.monotonic()
                # sync: self.perform(Rollback())
        except BaseException as error:
            undone = f"ROLLBACK failed, so the connection was closed: {error}"
            self._connection.abort(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._disown()
            TOKENS.set(tuple(token for token in TOKENS.get() if token is not self._token))
        if not left_open:
            return
        told = f"the plan ({place(self._plan)}) ended with its transaction open; {undone}"
        if failure is None:
            raise InterfaceError(told)
        failure.add_note(told)

    # async-only: begin
    def forsake(self) -> None:
        """Nothing can be sent any more: a transaction that may be open ends with the connection."""
        if self._owns:
            self._connection.abort()
            self._disown()

    # async-only: end
    def _own(self) -> None:
        """Before BEGIN is sent: nobody may slip in between.

        Raises InterfaceError when a transaction is open, another's or one that was begun by hand.
        """
        if self._owns:
            raise InterfaceError("a transaction is open already: a plan nests with Savepoint")
        self._connection._own(self._token, _holder(self._plan))
        self._owns = True
        if self._connection.transaction_status != "idle":
            self._disown()
            raise InterfaceError(
                "a transaction is open already, begun outside the plan: a plan nests with Savepoint"
            )
        TOKENS.set((*TOKENS.get(), self._token))

    def _came_to(self, error: BaseException | None) -> None:
        """What may have begun or ended the transaction has succeeded, or failed with `error`.

        The server's answer tells how the session stands. Who was cancelled or timed out has none: what was written still
        takes effect, or does not. Anything else never reached the server.
        """
        if error is None or (isinstance(error, DatabaseError) and error.sqlstate is not None):
            self._unsure = False
        # async-only: begin
        elif isinstance(error, QueryTimeout) or not isinstance(error, Exception):
            self._unsure = True
        # async-only: end
        # sync: # A call that is given up has been drained: the session stands as it says.
        if not self._is_open():
            self._disown()

    def _is_open(self) -> bool:
        """Whether a transaction is open, or may be."""
        return not self._connection.closed and (self._unsure or self._connection.transaction_status != "idle")

    def _disown(self) -> None:
        # Whatever `_owns` says: a signal may have come between the connection's knowing it and ours. Another's token is
        # not touched.
        self._connection._disown(self._token)
        self._owns = False


def _holder(plan: Plan[Any]) -> str:
    """Who is about to begin a transaction, for those who meet it."""
    # async-only: begin
    import asyncio

    task = asyncio.current_task()
    who = "a callback" if task is None else f"task {task.get_name()!r}"
    # async-only: end
    # sync: who = f"thread {threading.current_thread().name!r}"
    return f"{who} (plan {place(plan)})"


def _add(batch: AsyncBatch, request: Batchable) -> Any:
    if isinstance(request, Fetch):
        return getattr(batch, request.verb)(request.statement)
    if isinstance(request, Execute):
        return batch.execute(request.statement)
    return batch.execute(_sql(request))


def _sql(request: Begin | Savepoint | Release | Rollback | Commit) -> str:
    """The transaction command."""
    if isinstance(request, Begin):
        return begin(request.isolation, request.read_only, request.deferrable)
    if isinstance(request, Savepoint):
        return f"savepoint {quoted(request.name)}"
    if isinstance(request, Release):
        return f"release savepoint {quoted(request.name)}"
    if isinstance(request, Rollback):
        return "rollback" if request.to is None else f"rollback to savepoint {quoted(request.to)}"
    return "commit"
