"""Running a Plan on one connection."""

from __future__ import annotations

# sync: import threading
import time

# async-only: begin
from contextlib import suppress

# async-only: end
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pgoxide._core import AsyncTransactionBlock, BatchBuilder
from pgoxide.driver.commands import begin
from pgoxide.driver.names import quoted
from pgoxide.driver.ownership import TOKENS, place
from pgoxide.errors import Error, InterfaceError, QueryTimeout
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
    from pgoxide.driver._async.connection import AsyncConnection
    from pgoxide.statement import Batchable, Flight, Plan

__all__ = ["run"]

R = TypeVar("R")

CLEANUP_TIMEOUT = 10.0
"""Seconds each clean-up request of a cancelled plan may take, and a ROLLBACK."""


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
    """One plan on one connection: performs its requests, owns the transaction it begins.

        idle ──Begin──▶ pending ──the next request brings BEGIN──▶ open ──Commit, Rollback──▶ idle

    The transaction is a block of the connection, entered by Begin: from then on it is the plan's alone, and what a block keeps
    to holds for it. BEGIN travels with the first statement; should that fail, or be refused before it runs, the plan is in a
    failed transaction, as the server is; whatever the plan catches, nothing of it runs outside. A flight that was to end the
    transaction and is given up (cancelled, out of time) has its outcome waited for, and what it has not ended is undone.
    """

    def __init__(self, connection: AsyncConnection, plan: Plan[Any], timeout: float | None) -> None:
        self._connection = connection
        self._plan = plan
        self._until = None if timeout is None else time.monotonic() + timeout
        self._timeout = timeout
        self._block: AsyncTransactionBlock | None = None
        """Its transaction."""
        self._tokens: set[object] = set()
        """Those of its transactions."""

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
        return await self._command(request)

    async def _command(self, request: Begin | Savepoint | Release | Rollback | Commit) -> Any:
        """A command of the transaction."""
        limit = self._grace() if isinstance(request, Rollback | Release) else self._left()
        if isinstance(request, Begin):
            return self._begin(request)
        if self._block is not None and isinstance(request, Commit):
            return await self._commit(self._block, limit)
        if self._block is not None and request == Rollback():
            return await self._undo(self._block)
        if isinstance(request, Rollback) and self._block is None and not self._is_open():
            return None  # a plan may put Begin inside its try: then there is nothing to undo
        return await self._connection.execute(_sql(request), timeout=limit)

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

    # -- its transaction ---------------------------------------------------------------------------------------

    def _begin(self, request: Begin) -> None:
        """From now on nobody may slip in between. Nothing is sent.

        Raises InterfaceError when a transaction is open, another's or one that was begun by hand.
        """
        if self._block is not None:
            raise InterfaceError("a transaction is open already: a plan nests with Savepoint")
        # Known here before it is entered: a signal may come in between.
        self._block = AsyncTransactionBlock(
            self._connection,
            _sql(request),
            modes=False,
            name=None,
            others="raise",
            parent=None,
            plan=_holder(self._plan),
        )
        self._tokens.add(self._block._token)
        try:
            self._block._enter()
        except BaseException:
            self._leave(self._block)
            raise

    async def _commit(self, block: AsyncTransactionBlock, limit: float | None) -> None:
        try:
            # async-only: begin
            if (end := block._end(limit)) is not None:
                await end
            # async-only: end
            # sync: block._end(limit)
        except BaseException as error:
            await self._not_ended(block, error)
            raise
        self._leave(block)

    async def _undo(self, block: AsyncTransactionBlock) -> None:
        """ROLLBACK, if there is something to undo. When that cannot be done the connection is aborted."""
        try:
            # async-only: begin
            if (undo := block._undo(CLEANUP_TIMEOUT)) is not None:
                await undo
            # async-only: end
            # sync: block._undo(CLEANUP_TIMEOUT)
        except Error as failure:
            self._connection.abort(failure)
            raise
        finally:
            self._leave(block)

    async def _not_ended(self, block: AsyncTransactionBlock, error: BaseException) -> None:
        """What was to end the transaction raised `error`.

        Who gave it up does not know how the session stands: that is waited for, and what is still open is undone. Else the
        server has said so, or nothing was sent: a transaction that is open goes on.
        """
        if isinstance(error, GeneratorExit):
            return
        if isinstance(error, QueryTimeout) or not isinstance(error, Exception):
            try:
                await self._undo(block)
            except Error as failure:
                error.add_note(f"ROLLBACK failed, so the connection was closed: {failure}")
        elif block._stands:
            block._go_on()
        else:
            self._leave(block)

    def _leave(self, block: AsyncTransactionBlock) -> None:
        """It is over: others may use the connection."""
        block._leave()
        self._block = None

    def _is_open(self) -> bool:
        """Whether a transaction is open, whoever began it."""
        return not self._connection.closed and self._connection.transaction_status != "idle"

    # -- several requests in one flight ------------------------------------------------------------------------

    async def _batch(self, requests: list[Batchable]) -> list[Any]:
        """Several requests in one flight: the list of their results.

        A Begin among them, where no transaction is open, takes in those before it, as it does at the server: they have not
        been committed yet.
        """
        limit = self._left()
        begin = next((at for at, one in enumerate(requests) if isinstance(one, Begin)), None)
        ended = next((at + 1 for at, one in enumerate(requests[:begin]) if _ends(one)), None)
        if begin is None and self._block is None:
            return await self._fly(BatchBuilder(self._connection), requests, limit, False)
        if self._block is None and ended is not None:  # what no plan has begun
            return await self._batch(requests[:ended]) + await self._batch(requests[ended:])
        if begin is None or ended is not None:
            return await self._inside(requests, limit)
        self._begin(cast("Begin", requests[begin]))
        results = await self._inside(requests[:begin] + requests[begin + 1 :], limit)
        results.insert(begin, None)
        return results

    async def _inside(self, requests: list[Batchable], limit: float | None) -> list[Any]:
        """A flight in the plan's transaction. COMMIT at its end ends the block; other commands go as they are."""
        block = cast("AsyncTransactionBlock", self._block)
        commit = bool(requests) and isinstance(requests[-1], Commit)
        body = requests[:-1] if commit else requests
        by_hand = any(isinstance(one, Begin) or _ends(one) for one in body)
        if by_hand:
            body, commit = requests, False
        if not body:
            if commit:
                await self._commit(block, limit)
            return [None] * commit
        batch = BatchBuilder(self._connection, block._token, by_hand)
        if not (commit or by_hand):
            return await self._fly(batch, body, limit, False)
        try:
            results = await self._fly(batch, body, limit, commit)
        except BaseException as error:
            await self._not_ended(block, error)
            raise
        if not block._stands:
            self._leave(block)
        return results + [None] * commit

    async def _fly(
        self, batch: BatchBuilder, requests: list[Batchable], limit: float | None, commit: bool
    ) -> list[Any]:
        replies = [_add(batch, request) for request in requests]
        await self._connection._run_batch(batch, limit, commit)
        return [reply.result() for reply in replies]

    # -- the end -----------------------------------------------------------------------------------------------

    async def end(self, failure: BaseException | None) -> None:
        """The plan is through, by `failure` or not. A transaction it left open is undone, or ends with the connection."""
        left_open, undone = False, "it was rolled back"
        try:
            left_open = self._block is not None and self._block._stands
            if left_open:
                # async-only: begin
                await self.clean_up(Rollback())
                # async-only: end
                # sync: self.perform(Rollback())
        except BaseException as error:
            undone = f"ROLLBACK failed, so the connection was closed: {error}"
            self._connection.abort(error)
            if not isinstance(error, Exception):
                raise
        finally:
            if self._block is not None:
                self._leave(self._block)
            # Who cleaned up did so in another context.
            TOKENS.set(tuple(token for token in TOKENS.get() if token not in self._tokens))
        if not left_open:
            return
        told = f"the plan ({place(self._plan)}) ended with its transaction open; {undone}"
        if failure is None:
            raise InterfaceError(told)
        failure.add_note(told)

    # async-only: begin
    def forsake(self) -> None:
        """Nothing can be sent any more: a transaction that may be open ends with the connection."""
        if self._block is not None:
            if not self._connection.closed:
                self._connection.abort()
            self._leave(self._block)

    # async-only: end


def _holder(plan: Plan[Any]) -> str:
    """Who is about to begin a transaction, for those who meet it."""
    # async-only: begin
    import asyncio

    task = asyncio.current_task()
    who = "a callback" if task is None else f"task {task.get_name()!r}"
    # async-only: end
    # sync: who = f"thread {threading.current_thread().name!r}"
    return f"{who} (plan {place(plan)})"


def _ends(request: Batchable) -> bool:
    """It ends a transaction."""
    return isinstance(request, Commit) or request == Rollback()


def _add(batch: BatchBuilder, request: Batchable) -> Any:
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
