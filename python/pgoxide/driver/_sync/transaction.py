# generated from python/pgoxide/driver/_async/transaction.py by tools/async_to_sync.py: do not edit

"""`Transaction`: a transaction, or a savepoint inside one, as a block."""

from __future__ import annotations

import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pgoxide import _core
from pgoxide.driver._sync import feeding
from pgoxide.driver._sync.batch import Batch
from pgoxide.driver._sync.copying import CopyOut, CopySource, save
from pgoxide.driver.names import quoted
from pgoxide.driver.ownership import TOKENS
from pgoxide.driver.peers import explain_peers_names, own_names
from pgoxide.errors import DatabaseError, Error, InterfaceError, Rollback, UnexpectedRollback

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterable, Sequence
    from types import TracebackType
    from typing import Self, Unpack

    from pgoxide._core import CommandTag
    from pgoxide.driver._sync.connection import Connection
    from pgoxide.driver._sync.prepared_statement import PreparedStatement
    from pgoxide.driver.commands import Others
    from pgoxide.driver.copying import CopyFormat, CopyInOptions, CopyOutOptions
    from pgoxide.driver.sinks import Reader, Writer
    from pgoxide.statement import ParameterSet, ParameterTypes, Plan, Statement
    from pgoxide.types import Row, StatementDescription

__all__ = ["Transaction"]

R = TypeVar("R")

CLEANUP_TIMEOUT = 10.0
"""Seconds a ROLLBACK may take before the connection is aborted."""


@explain_peers_names("transaction")
class Transaction(_core.TransactionBlock):
    """A transaction as a block, or inside one a savepoint; made by `transaction()`, entered once.

    Its verbs are the connection's and belong to the transaction in whatever task they are called. Inside the block the
    connection's own verbs belong to it too, also in tasks that are started there. BEGIN travels with the first statement:
    a block that runs none sends nothing. COMMIT is sent when the block is left, or travels with its last statement, which
    `commit=True` says. An exception that leaves the block rolls it back.

    >>> import pgoxide
    >>> def pay(db: pgoxide.Connection, sender: int, receiver: int, amount: int) -> None:
    ...     with db.transaction(isolation="serializable") as tx:
    ...         tx.execute("update accounts set money = money - $1 where id = $2", amount, sender)
    ...         add = "update accounts set money = money + $1 where id = $2"
    ...         tx.execute(add, amount, receiver, commit=True)
    """

    __slots__ = ("_connection", "_mark", "_stays", "_task")

    _connection: Connection
    _mark: int
    _stays: bool
    """What the block did has not been undone."""

    rollback_only: bool
    """Set it to True, and leaving the block undoes it, quietly; `commit=True` of a later call then commits nothing."""

    def __new__(  # noqa: PLR0917  one caller
        cls,
        connection: Connection,
        begin: str,
        modes: bool,
        others: Others,
        name: str | None,
        parent: Transaction | None = None,
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

    def __enter__(self) -> Self:
        try:
            self._enter()
            self._mark = len(self._connection._on_commit)
        except Error:  # not entered, or entered already
            raise
        except BaseException:  # of a signal
            self._leave()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            nested = self._nested
            if exc is None and not self.rollback_only:
                self._finish()
                self._stays = True
            else:
                self._stays = self._give_up(exc)
        finally:
            # First: what is still open when a signal interrupts it ends with the session.
            self._leave()
            if not self._stays:
                del self._connection._on_commit[self._mark :]
        if self._stays and not nested and self._connection._on_commit:
            self._call_back()
        return isinstance(exc, Rollback) and (exc.transaction is None or exc.transaction is self)

    def _finish(self) -> None:
        """The body came to its end: COMMIT, or RELEASE."""
        try:
            self._end()
        except BaseException as error:
            self._undone(error)
            if isinstance(error, DatabaseError) and error.sqlstate == "25P02":
                raise UnexpectedRollback(
                    "a statement of the nested block had failed, and its error was kept from leaving it: what the block did was undone"
                ) from error
            raise

    def _give_up(self, error: BaseException | None) -> bool:
        """The body failed, or wants to be undone. True when its last statement has ended it well already."""
        if self._fate == "open":
            if isinstance(error, GeneratorExit):
                self._report()
            self._undone(error)
            return False
        done = self._fate == "done"
        ended = "commit=True" if done else "a statement inside the block"
        told = f"{ended} had ended the transaction block already: what it did could not be undone"
        self._undone(error)
        if error is None or isinstance(error, Rollback):
            raise InterfaceError(told)
        error.add_note(told)
        return done

    def _undone(self, error: BaseException | None) -> None:
        """Rolls back what is still open. Cancelling does not disturb that; when it cannot be done the connection is aborted."""
        try:
            self._undo(CLEANUP_TIMEOUT)
        except Error as failure:
            self._connection.abort(failure)
            if error is None:
                raise
            error.add_note(f"ROLLBACK failed, so the connection was closed: {failure}")
        except BaseException as interrupt:
            self._connection.abort(interrupt)
            raise

    def _report(self) -> None:
        """Says where the block was entered that an abandoned generator left open."""
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
        >>> def register(db: pgoxide.Connection, name: str) -> None:
        ...     with db.transaction() as tx:
        ...         tx.execute("insert into users (name) values ($1)", name)
        ...         tx.on_commit(lambda: print("welcome", name))
        """
        self._connection._on_commit.append(callback)

    def _call_back(self) -> None:
        callbacks = self._connection._on_commit[self._mark :]
        del self._connection._on_commit[self._mark :]
        failures: list[Exception] = []
        for callback in callbacks:
            try:
                callback()
            except Exception as failure:  # noqa: BLE001  raised below, when all have been called
                failure.add_note("raised by an on_commit callback: the transaction has been committed")
                failures.append(failure)
        if len(failures) > 1:
            raise ExceptionGroup("on_commit callbacks failed; the transaction has been committed", failures)
        if failures:
            raise failures[0]

    # -- the connection's other verbs, in this transaction -----------------------------------------------------

    def transaction(self, *, name: str | None = None, others: Others = "raise") -> Transaction:
        """A savepoint inside this transaction, as a block: an exception that leaves it undoes what it did, and no more.

        name: the savepoint's; quoted, so any text will do. By default it gets one of its own. others: as for
        `Connection.transaction`, for calls from outside the inner block, those of the outer one in other tasks included.
        Strangers to the whole transaction wait, if its own block lets them.

        SAVEPOINT travels with the first statement, and `commit=True` lets RELEASE travel with the last.

        >>> import pgoxide
        >>> def register(db: pgoxide.Connection, names: list[str]) -> None:
        ...     with db.transaction() as tx:
        ...         for name in names:
        ...             try:
        ...                 with tx.transaction() as one:
        ...                     one.execute("insert into users (name) values ($1)", name)
        ...             except pgoxide.errors.UniqueViolation:
        ...                 print(name, "is registered already")
        """
        return Transaction(self._connection, "begin", False, others, name, self)

    @overload
    def prepare(
        self,
        sql: str,
        /,
        *,
        types: ParameterTypes | None = None,
        into: type[R] | Callable[[Row], R],
        timeout: float | None = None,
    ) -> PreparedStatement[R]: ...
    @overload
    def prepare(
        self,
        sql: str,
        /,
        *,
        types: ParameterTypes | None = None,
        into: None = None,
        timeout: float | None = None,
    ) -> PreparedStatement[Row]: ...
    def prepare(
        self,
        sql: str,
        /,
        *,
        types: ParameterTypes | None = None,
        into: Any = None,
        timeout: float | None = None,
    ) -> PreparedStatement[Any]:
        """As the connection's `prepare`, in this transaction: it sees what has been done here.

        The statement is the connection's: it outlives the transaction, and its runs belong to those who make them.
        """
        statement: PreparedStatement[Any]
        with self._inside():
            statement = self._connection.prepare(sql, types=types, into=into, timeout=timeout)
        return statement

    def describe(
        self, sql: str, /, *, types: ParameterTypes | None = None, timeout: float | None = None
    ) -> StatementDescription:
        """As the connection's `describe`, in this transaction."""
        with self._inside():
            return self._connection.describe(sql, types=types, timeout=timeout)

    def batch(self, *, timeout: float | None = None, commit: bool = False) -> Batch:
        """As the connection's `batch`, in this transaction.

        commit: True for the last one of the block: the end of the block travels in the batch's flight.
        """
        return Batch(self._connection, timeout, self._token, commit)

    def execute_many(
        self,
        query: str | Statement[object],
        parameter_sets: Iterable[ParameterSet],
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
            return feeding.execute_many(self._connection, query, parameter_sets, timeout, token)

    def copy_in(
        self,
        table: str | tuple[str, str],
        source: Iterable[object] | os.PathLike[str] | Reader,
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
            return self._connection.copy_in(
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
    ) -> CopyOut[R]: ...
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
    ) -> CopyOut[Row]: ...
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
    ) -> CommandTag: ...
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
    ) -> CopyOut[object] | CommandTag:
        """As the connection's `copy_out`, in this transaction."""
        source = CopySource(table, query, columns, format, options, into, timeout)
        if to is None:
            return CopyOut(self._connection, source, self._inside)
        return save(self._connection, source, to, self._inside)

    def run(self, plan: Plan[R], /, *, timeout: float | None = None) -> R:
        """As the connection's `run`, in this transaction: the plan nests with Savepoint, and may neither begin nor commit."""
        with self._inside():
            return self._connection.run(plan, timeout=timeout)

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
