"""`AsyncTransaction`: a transaction, or a savepoint inside one, as a block."""

from __future__ import annotations

# async-only: begin
import asyncio
import inspect

# async-only: end
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pgoxide import _core
from pgoxide.driver._async import feeding
from pgoxide.driver._async.batch import AsyncBatch
from pgoxide.driver._async.copying import AsyncCopyOut, CopySource, save
from pgoxide.driver.names import quoted
from pgoxide.driver.ownership import TOKENS
from pgoxide.driver.peers import explain_peers_names, own_names
from pgoxide.errors import DatabaseError, Error, InterfaceError, Rollback, UnexpectedRollback

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterable, Callable, Coroutine, Generator, Iterable, Sequence
    from types import TracebackType
    from typing import Self, Unpack

    from pgoxide._core import CommandTag
    from pgoxide.driver._async.connection import AsyncConnection
    from pgoxide.driver._async.prepared_statement import AsyncPreparedStatement
    from pgoxide.driver.commands import Others
    from pgoxide.driver.copying import CopyFormat, CopyInOptions, CopyOutOptions
    from pgoxide.driver.sinks import Reader, Writer
    from pgoxide.statement import ParameterSet, ParameterTypes, Plan, Statement
    from pgoxide.types import Row, StatementDescription

__all__ = ["AsyncTransaction"]

R = TypeVar("R")

CLEANUP_TIMEOUT = 10.0
"""Seconds a ROLLBACK may take before the connection is aborted."""


@explain_peers_names("transaction")
class AsyncTransaction(_core.AsyncTransactionBlock):
    """A transaction as a block, or inside one a savepoint; made by `transaction()`, entered once.

    Its verbs are the connection's and belong to the transaction in whatever task they are called. Inside the block the
    connection's own verbs belong to it too, also in tasks that are started there. BEGIN travels with the first statement:
    a block that runs none sends nothing. COMMIT is sent when the block is left, or travels with its last statement, which
    `commit=True` says. An exception that leaves the block rolls it back.

    >>> import pgoxide
    >>> async def pay(db: pgoxide.AsyncConnection, sender: int, receiver: int, amount: int) -> None:
    ...     async with db.transaction(isolation="serializable") as tx:
    ...         await tx.execute("update accounts set money = money - $1 where id = $2", amount, sender)
    ...         add = "update accounts set money = money + $1 where id = $2"
    ...         await tx.execute(add, amount, receiver, commit=True)
    """

    __slots__ = ("_connection", "_mark", "_stays", "_task")

    _connection: AsyncConnection
    _mark: int
    _stays: bool
    """What the block did has not been undone."""

    rollback_only: bool
    """Set it to True, and leaving the block undoes it, quietly; `commit=True` of a later call then commits nothing."""

    def __new__(  # noqa: PLR0917  one caller
        cls,
        connection: AsyncConnection,
        begin: str,
        modes: bool,
        others: Others,
        name: str | None,
        parent: AsyncTransaction | None = None,
    ) -> Self:
        """Not yet entered. Use `transaction()`."""
        self = super().__new__(
            cls,
            connection,
            begin,
            modes=modes,
            name=None if name is None else quoted(name),
            others=others,
            parent=None if parent is None else parent._token,
        )
        self._connection = connection
        self._stays = False
        return self

    # -- the block ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        # async-only: begin
        if (turn := self._enter()) is not None:
            try:
                await turn
            except BaseException:
                self._leave()
                raise
        self._task = asyncio.current_task()
        self._mark = len(self._connection._on_commit)
        # async-only: end
        # sync: try:
        # sync:     self._enter()
        # sync:     self._mark = len(self._connection._on_commit)
        # sync: except Error:  # not entered, or entered already
        # sync:     raise
        # sync: except BaseException:  # of a signal
        # sync:     self._leave()
        # sync:     raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            nested = self._nested
            if exc is None and not self.rollback_only:
                await self._finish()
                self._stays = True
            else:
                self._stays = await self._give_up(exc)
        finally:
            # First: what is still open when a signal interrupts it ends with the session.
            self._leave()
            if not self._stays:
                del self._connection._on_commit[self._mark :]
        if self._stays and not nested and self._connection._on_commit:
            await self._call_back()
        return isinstance(exc, Rollback) and (exc.transaction is None or exc.transaction is self)

    async def _finish(self) -> None:
        """The body came to its end: COMMIT, or RELEASE."""
        try:
            # async-only: begin
            if (end := self._end()) is not None:
                await end
            # async-only: end
            # sync: self._end()
        except BaseException as error:
            await self._undone(error)
            if isinstance(error, DatabaseError) and error.sqlstate == "25P02":
                raise UnexpectedRollback(
                    "a statement of the nested block had failed, and its error was kept from leaving it: what the block did was undone"
                ) from error
            raise

    async def _give_up(self, error: BaseException | None) -> bool:
        """The body failed, or wants to be undone. True when its last statement has ended it well already."""
        if self._fate == "open":
            if isinstance(error, GeneratorExit):
                self._report()
            await self._undone(error)
            return False
        done = self._fate == "done"
        ended = "commit=True" if done else "a statement inside the block"
        told = f"{ended} had ended the transaction block already: what it did could not be undone"
        await self._undone(error)
        if error is None or isinstance(error, Rollback):
            raise InterfaceError(told)
        error.add_note(told)
        return done

    async def _undone(self, error: BaseException | None) -> None:
        """Rolls back what is still open. Cancelling does not disturb that; when it cannot be done the connection is aborted."""
        try:
            # async-only: begin
            undo = self._undo(CLEANUP_TIMEOUT)
            # Nothing can be awaited any more: it runs before whatever this connection is asked next.
            if undo is not None and not isinstance(error, GeneratorExit):
                await undo
            # async-only: end
            # sync: self._undo(CLEANUP_TIMEOUT)
        except Error as failure:
            self._connection.abort(failure)
            if error is None:
                raise
            error.add_note(f"ROLLBACK failed, so the connection was closed: {failure}")
        # sync: except BaseException as interrupt:
        # sync:     self._connection.abort(interrupt)
        # sync:     raise

    def _report(self) -> None:
        """Says where the block was entered that an abandoned generator left open."""
        # async-only: begin
        if asyncio.current_task() is self._task:
            return  # its own task closes the generator, as it should
        # async-only: end
        warnings.warn(
            f"a generator was abandoned inside a transaction block, which is rolled back: {self._holder}",
            ResourceWarning,
            source=self,
            stacklevel=3,
        )

    # -- after the commit --------------------------------------------------------------------------------------

    def on_commit(self, callback: Callable[[], object]) -> None:
        """Calls `callback()` once the transaction has been committed, after the block has been left.

        callback: on an asynchronous connection what it returns is awaited, if it can be. Those of a nested block wait for the
        transaction's own commit, and are forgotten when their block is undone.

        They are called in the order in which they were added. One that raises does not keep the others from being called, and
        does not undo anything: its exception leaves the block when all have been called; several leave as an ExceptionGroup.

        >>> import pgoxide
        >>> async def register(db: pgoxide.AsyncConnection, name: str) -> None:
        ...     async with db.transaction() as tx:
        ...         await tx.execute("insert into users (name) values ($1)", name)
        ...         tx.on_commit(lambda: print("welcome", name))
        """
        self._connection._on_commit.append(callback)

    async def _call_back(self) -> None:
        callbacks = self._connection._on_commit[self._mark :]
        del self._connection._on_commit[self._mark :]
        failures: list[Exception] = []
        for callback in callbacks:
            try:
                # async-only: begin
                if inspect.isawaitable(result := callback()):
                    await result
                # async-only: end
                # sync: callback()
            except Exception as failure:  # noqa: BLE001  raised below, when all have been called
                failure.add_note("raised by an on_commit callback: the transaction has been committed")
                failures.append(failure)
        if len(failures) > 1:
            raise ExceptionGroup("on_commit callbacks failed; the transaction has been committed", failures)
        if failures:
            raise failures[0]

    # -- the connection's other verbs, in this transaction -----------------------------------------------------

    def transaction(self, *, name: str | None = None, others: Others = "raise") -> AsyncTransaction:
        """A savepoint inside this transaction, as a block: an exception that leaves it undoes what it did, and no more.

        name: the savepoint's; quoted, so any text will do. By default it gets one of its own. others: as for
        `AsyncConnection.transaction`, for calls from outside the inner block, those of the outer one in other tasks included.
        Strangers to the whole transaction wait, if its own block lets them.

        SAVEPOINT travels with the first statement, and `commit=True` lets RELEASE travel with the last.

        >>> import pgoxide
        >>> async def register(db: pgoxide.AsyncConnection, names: list[str]) -> None:
        ...     async with db.transaction() as tx:
        ...         for name in names:
        ...             try:
        ...                 async with tx.transaction() as one:
        ...                     await one.execute("insert into users (name) values ($1)", name)
        ...             except pgoxide.errors.UniqueViolation:
        ...                 print(name, "is registered already")
        """
        return AsyncTransaction(self._connection, "begin", False, others, name, self)

    @overload
    async def prepare(
        self,
        sql: str,
        /,
        *,
        types: ParameterTypes | None = None,
        into: type[R] | Callable[[Row], R],
        timeout: float | None = None,
    ) -> AsyncPreparedStatement[R]: ...
    @overload
    async def prepare(
        self,
        sql: str,
        /,
        *,
        types: ParameterTypes | None = None,
        into: None = None,
        timeout: float | None = None,
    ) -> AsyncPreparedStatement[Row]: ...
    async def prepare(
        self,
        sql: str,
        /,
        *,
        types: ParameterTypes | None = None,
        into: Any = None,
        timeout: float | None = None,
    ) -> AsyncPreparedStatement[Any]:
        """As the connection's `prepare`, in this transaction: it sees what has been done here.

        The statement is the connection's: it outlives the transaction, and its runs belong to those who make them.
        """
        statement: AsyncPreparedStatement[Any]
        with self._inside():
            statement = await self._connection.prepare(sql, types=types, into=into, timeout=timeout)
        return statement

    async def describe(
        self, sql: str, /, *, types: ParameterTypes | None = None, timeout: float | None = None
    ) -> StatementDescription:
        """As the connection's `describe`, in this transaction."""
        with self._inside():
            return await self._connection.describe(sql, types=types, timeout=timeout)

    def batch(self, *, timeout: float | None = None, commit: bool = False) -> AsyncBatch:
        """As the connection's `batch`, in this transaction.

        commit: True for the last one of the block: the end of the block travels in the batch's flight.
        """
        return AsyncBatch(self._connection, timeout, self._token, commit)

    async def execute_many(
        self,
        query: str | Statement[object],
        parameter_sets: Iterable[ParameterSet] | AsyncIterable[ParameterSet],
        /,
        *,
        timeout: float | None = None,
        commit: bool = False,
    ) -> CommandTag:
        """As the connection's `execute_many`, in this transaction.

        commit: True for the last statement of the block: the end of the block travels behind the last parameter set.
        """
        with self._inside():
            token = self._token if commit else None
            return await feeding.execute_many(self._connection, query, parameter_sets, timeout, token)

    async def copy_in(
        self,
        table: str | tuple[str, str],
        source: Iterable[object] | AsyncIterable[object] | os.PathLike[str] | Reader,
        /,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        format: CopyFormat | None = None,  # noqa: A002  COPY's own word
        timeout: float | None = None,
        **options: Unpack[CopyInOptions],
    ) -> CommandTag:
        """As the connection's `copy_in`, in this transaction."""
        with self._inside():
            return await self._connection.copy_in(
                table, source, columns=columns, where=where, format=format, timeout=timeout, **options
            )

    @overload
    def copy_out(
        self,
        table: str | tuple[str, str] | None = None,
        /,
        *,
        query: str | None = None,
        columns: Sequence[str] | None = None,
        into: type[R] | Callable[[Row], R],
        format: CopyFormat | None = None,
        timeout: float | None = None,
        **options: Unpack[CopyOutOptions],
    ) -> AsyncCopyOut[R]: ...
    @overload
    def copy_out(
        self,
        table: str | tuple[str, str] | None = None,
        /,
        *,
        query: str | None = None,
        columns: Sequence[str] | None = None,
        into: None = None,
        format: CopyFormat | None = None,
        timeout: float | None = None,
        **options: Unpack[CopyOutOptions],
    ) -> AsyncCopyOut[Row]: ...
    @overload
    def copy_out(
        self,
        table: str | tuple[str, str] | None = None,
        /,
        *,
        query: str | None = None,
        columns: Sequence[str] | None = None,
        format: CopyFormat,
        to: os.PathLike[str] | Writer | Callable[[bytes], object],
        timeout: float | None = None,
        **options: Unpack[CopyOutOptions],
    ) -> Coroutine[object, None, CommandTag]: ...
    def copy_out(
        self,
        table: str | tuple[str, str] | None = None,
        /,
        *,
        query: str | None = None,
        columns: Sequence[str] | None = None,
        into: object = None,
        format: CopyFormat | None = None,  # noqa: A002  COPY's own word
        to: os.PathLike[str] | Writer | Callable[[bytes], object] | None = None,
        timeout: float | None = None,
        **options: Unpack[CopyOutOptions],
    ) -> AsyncCopyOut[object] | Coroutine[object, None, CommandTag]:
        """As the connection's `copy_out`, in this transaction."""
        source = CopySource(table, query, columns, format, options, into, timeout)
        if to is None:
            return AsyncCopyOut(self._connection, source, self._inside)
        return save(self._connection, source, to, self._inside)

    async def run(self, plan: Plan[R], /, *, timeout: float | None = None) -> R:
        """As the connection's `run`, in this transaction: the plan nests with Savepoint, and may neither begin nor commit."""
        with self._inside():
            return await self._connection.run(plan, timeout=timeout)

    @contextmanager
    def _inside(self) -> Generator[None, None, None]:
        """In its block, whatever context runs."""
        before = TOKENS.set((*TOKENS.get(), self._token))
        try:
            yield
        finally:
            # A coroutine that the garbage collector closes ends in another context, where there is nothing to take back.
            with suppress(ValueError):
                TOKENS.reset(before)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._connection!r}>"

    def __dir__(self) -> list[str]:
        return own_names(super().__dir__())
