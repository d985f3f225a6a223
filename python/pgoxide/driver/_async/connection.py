"""`AsyncConnection`: one session with a server."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pgoxide import _core
from pgoxide.driver._async import copying, feeding, running
from pgoxide.driver._async.attempts import AsyncAttempts
from pgoxide.driver._async.batch import AsyncBatch
from pgoxide.driver._async.cancel import AsyncCancelToken
from pgoxide.driver._async.prepared_statement import AsyncPreparedStatement
from pgoxide.driver._async.transaction import AsyncTransaction
from pgoxide.driver.connecting import Connecting
from pgoxide.driver.options import core_options, transaction_modes
from pgoxide.driver.ownership import Lease
from pgoxide.driver.peers import explain_peers_names, own_names
from pgoxide.driver.version import version_number
from pgoxide.errors import ConnectionClosed, Error, NotSupportedError
from pgoxide.transport import asyncio as transport
from pgoxide.types import StatementDescription

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Sequence
    from types import TracebackType
    from typing import Self, Unpack

    from pgoxide._core import CommandTag
    from pgoxide.config import ConnectConfig
    from pgoxide.driver._async.copying import AsyncCopyOut
    from pgoxide.driver._async.pool import AsyncPool
    from pgoxide.driver.commands import Others
    from pgoxide.driver.copying import CopyFormat, CopyInOptions, CopyOutOptions
    from pgoxide.driver.options import ConnectionOptions, Modes
    from pgoxide.driver.sinks import Reader, Writer
    from pgoxide.statement import Isolation, ParameterSet, ParameterTypes, Plan, Statement
    from pgoxide.transport.listeners import Notification
    from pgoxide.types import Notice, Row

__all__ = ["AsyncConnection"]

R = TypeVar("R")

CLOSE_TIMEOUT = 5.0
"""Seconds `close()` waits for what is in flight and for Terminate to leave, before it cuts the line."""


@explain_peers_names("connection")
class AsyncConnection(_core.AsyncClient):
    """One session with a PostgreSQL server.

    Made by `await AsyncConnection.connect(...)`. The verbs run one statement each, in autocommit: `fetch_all`, `fetch_one`,
    `fetch_optional`, `fetch_first`, `fetch_value`, `fetch_column`, `execute`. Leaving its block closes it and commits
    nothing.

    >>> import asyncio, pgoxide
    >>> async def main() -> None:
    ...     async with pgoxide.AsyncConnection.connect() as db:
    ...         row = await db.fetch_one("select 1 as one, 'two' as two")
    ...         print(row.one, row["two"])
    """

    _line: transport.Line | None = None
    _config: ConnectConfig | None = None
    _pool: AsyncPool | None = None
    """Whose it is: leaving its block gives it back."""
    _opened_in: float = 0.0
    """Seconds; see `AsyncPoolCore._add`."""
    _modes: Modes
    _begin: str
    _on_commit: list[Callable[[], object]]
    _whole: Self | None = None
    """The pool's own object, if this is what one user has of it: see `_lend`."""
    _lease: Lease | None = None
    _leaves: bool = False
    """Its user is giving it back, which a hook may take its time for."""
    _heard: list[tuple[list[Any], object]]
    """Listeners that this user added, and among which."""

    # async-only: begin
    @classmethod
    def connect(
        cls, dsn: str | ConnectConfig | None = None, /, **options: Unpack[ConnectionOptions]
    ) -> Connecting[Self]:
        """Opens a session.

        dsn: a URI or keyword/value string, or a ConnectConfig; without one DATABASE_URL and the PG* variables count.
        options: what the DSN says otherwise (`host=`, `user=`, …), and how this connection behaves; see
        `ConnectionOptions`.

        What comes back is awaited, or entered: `db = await AsyncConnection.connect()`,
        `async with AsyncConnection.connect() as db`, `async with await AsyncConnection.connect() as db`.

        Raises ConnectionFailed when no server answers, QueryTimeout after `connect_timeout`, the server's own error when it
        refuses. Nothing is left open then. Source: protocol chapter, "Start-up".
        """
        return Connecting(lambda: cls._open(dsn, options))

    # async-only: end
    # sync: @classmethod
    # sync: def connect(
    # sync:     cls, dsn: str | ConnectConfig | None = None, /, **options: Unpack[ConnectionOptions]
    # sync: ) -> Self:
    # sync:     """Opens a session.
    # sync:
    # sync:     dsn: a URI or keyword/value string, or a ConnectConfig; without one DATABASE_URL and the PG* variables count.
    # sync:     options: what the DSN says otherwise (`host=`, `user=`, …), and how this connection behaves; see
    # sync:     `ConnectionOptions`.
    # sync:
    # sync:     The connection is its own context manager: `with Connection.connect() as db`.
    # sync:
    # sync:     Raises ConnectionFailed when no server answers, QueryTimeout after `connect_timeout`, the server's own error when it
    # sync:     refuses. Nothing is left open then. Source: protocol chapter, "Start-up".
    # sync:     """
    # sync:     return cls._open(dsn, options)
    # sync:

    @classmethod
    async def _open(cls, dsn: str | ConnectConfig | None, options: ConnectionOptions) -> Self:
        modes, _ = transaction_modes(options)
        config, rest = core_options(dsn, options)
        self = cls(_core.ClientOptions(nonce=os.urandom(8).hex(), **rest))
        self._config = config
        self._modes, self._begin = modes, modes.over(None, None, None)
        self._on_commit = []
        parameters = [(name.encode(), value.encode()) for name, value in config.startup_parameters().items()]
        # async-only: begin
        import asyncio

        from pgoxide.errors import QueryTimeout

        try:
            async with asyncio.timeout(config.connect_timeout):
                self._line = await transport.open_line(config)
                try:
                    await self._line.attach(self)
                    await self._start(parameters)
                except BaseException:
                    # Without the reason, whose frames lead to this object: it would wait for the garbage collector.
                    self.abort()
                    raise
        except TimeoutError as error:
            raise QueryTimeout(
                f"no connection within {config.connect_timeout} s (connect_timeout)"
            ) from error
        # async-only: end
        # sync: self._line = transport.open_line(config)
        # sync: try:
        # sync:     self._line.attach(self)
        # sync:     self._start(parameters, config.connect_timeout)
        # sync: except BaseException:
        # sync:     # Without the reason, whose frames lead to this object: it would wait for the garbage collector.
        # sync:     self.abort()
        # sync:     raise
        return self

    def _lend(self) -> Self:
        """The same connection, for one user of the pool: it raises once it has been given back.

        Only the newest counts: whoever kept an earlier one has nothing of it.
        """
        lent = type(self)(self)
        lent._modes, lent._begin = self._modes, self._begin
        lent._on_commit, lent._heard, lent._lease = [], [], Lease()
        # Last, and the pool's object first: should an interrupt come, `__del__` goes by these.
        lent._whole, lent._line, lent._config, lent._pool = self, self._line, self._config, self._pool
        return lent

    def _give_back(self) -> bool:
        """What its user made through it counts no longer. True: it is being cancelled, and the next statement may be hit."""
        for listeners, listener in self._heard:
            with suppress(ValueError):  # its user has taken it back
                listeners.remove(listener)
        self._heard.clear()
        return self._lease is not None and self._lease.end()

    async def close(self) -> None:
        """Ends the session: what is in flight finishes, Terminate is sent, the line is closed.

        Waits at most 5 seconds for the first two (asynchronous face: all calls of all tasks; blocking face: the call of
        another thread), then cuts the line, and every call still unfinished fails with ConnectionClosed. The line is closed
        when this returns or raises, also when it is cancelled meanwhile. Calling it again does nothing. Never raises for a
        line that is already gone. One that has been given back to its pool raises InterfaceError: it is the pool's to close.
        """
        if self._forked:
            self._listening().forget()
            return
        self._check_mine()
        # async-only: begin
        import asyncio

        terminated = False
        try:
            with suppress(TimeoutError, Error):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    if not self.closed and (unfinished := self._settled()) is not None:
                        await unfinished
                    if not self.closed:
                        terminated = True
                        self._terminate()
                        await self._listening().finish()
        finally:
            if not terminated and not self.closed:
                self._terminate()  # as far as the line takes it at once
            self._close_line()
        # async-only: end
        # sync: try:
        # sync:     if not self.closed:
        # sync:         self._terminate(CLOSE_TIMEOUT)
        # sync: finally:
        # sync:     self._close_line()

    async def cancel(self, timeout: float = 10.0) -> None:
        """Asks the server to cancel whatever this session runs now, as `pg_cancel_backend` would.

        For other tasks (on a blocking connection: other threads, this is the one method that does not wait for its turn).
        The cancelled call raises QueryCanceled; when nothing runs nothing happens. Cancelling a reply, a timeout and Ctrl-C
        are the better ways where they fit: they cancel one call, whatever runs beside it. It is the `cancel` of
        `cancel_token()`: the same argument, the same errors.
        """
        await self.cancel_token().cancel(timeout)

    def cancel_token(self) -> AsyncCancelToken:
        """A value that cancels whatever this session runs, from any task, thread or process; see `AsyncCancelToken`.

        It asks nothing of the server and needs no turn. Raises NotSupportedError when the server gave no key to cancel with
        (BackendKeyData; some poolers and proxies send none), and ConnectionClosed when the session has ended.
        """
        self._check_mine()
        process_id, request = self.backend_pid, self._cancel_request()
        if self.closed:
            raise ConnectionClosed("the connection is closed: there is nothing to cancel")
        if process_id is None or request is None:
            raise NotSupportedError(
                "the server gave no key to cancel with (BackendKeyData): this session cannot be cancelled; a timeout still gives a call up"
            )
        return AsyncCancelToken(self._listening().address, process_id, request, self._lease)

    def abort(self, reason: BaseException | None = None) -> None:
        """Ends the session at once: the line is cut, every unfinished call, of whatever thread, fails with ConnectionClosed.

        reason: why, for whoever looks: it is at the end of that error's chain of causes.
        """
        if self._forked:
            self._listening().forget()
            return
        self._check_mine()
        error = ConnectionClosed("the connection was aborted")
        error.__cause__ = reason
        self._end(error)

    def _close_line(self) -> None:
        self._end(ConnectionClosed("close() was called"))

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
        """A statement that is parsed and described now and held, with the verbs of the connection; see `AsyncPreparedStatement`.

        The connection prepares and keeps the statements it runs by itself: this is for looking at one (its parameters and
        columns), for running it whatever else the cache has to hold, and for having what can be wrong with it told now.

        sql: with placeholders `$1`, `$2` …, or with names (`:name`), whose values are then given by name. types, into: as
        for `fetch_all`; the row type holds for all its runs. timeout: seconds for the description.

        Raises ProgrammingError when the columns are not the fields of `into`, the server's error for a text it refuses,
        InterfaceError, QueryTimeout, ConnectionClosed; nothing is held then.

        >>> import pgoxide
        >>> async def example(db: pgoxide.AsyncConnection) -> None:
        ...     async with await db.prepare("select id, name from users where id = $1") as user:
        ...         print(user.parameter_types, [column.name for column in user.columns])
        ...         print(await user.fetch_one(1))

        Source: protocol chapter, "Message Flow", "Extended Query".
        """
        prepared = await self._prepare(sql, types, timeout)
        return AsyncPreparedStatement(self, prepared, into)

    async def describe(
        self, sql: str, /, *, types: ParameterTypes | None = None, timeout: float | None = None
    ) -> StatementDescription:
        """What a statement takes and gives, without running it: parameters and columns; for tools.

        sql, types, timeout and errors: as for `prepare`. Nothing stays behind.

        >>> import pgoxide
        >>> async def example(db: pgoxide.AsyncConnection) -> None:
        ...     described = await db.describe("select name from users where id = $1")
        ...     print([column.type_name for column in described.columns])
        """
        statement: AsyncPreparedStatement[Any]
        statement = AsyncPreparedStatement(self, await self._prepare(sql, types, timeout), None)
        described = StatementDescription(statement.parameters, statement.columns, statement.returns_rows)
        await statement.close()
        return described

    def batch(self, *, timeout: float | None = None) -> AsyncBatch:
        """Several statements in one flight with one Sync: one round trip and one implicit transaction.

        >>> import pgoxide
        >>> async def example(db: pgoxide.AsyncConnection) -> None:
        ...     async with db.batch() as batch:
        ...         total = batch.fetch_value("select count(*) from users")
        ...         batch.execute("delete from sessions where expires < now()")
        ...     print(total.result())

        timeout: seconds for the flight. Nothing is sent before the block ends. When a statement fails the server undoes the whole batch: leaving the
        block raises its error, the other results raise BatchAborted.
        """
        self._check_mine()
        return AsyncBatch(self, timeout)

    def transaction(
        self,
        *,
        isolation: Isolation | None = None,
        read_only: bool | None = None,
        deferrable: bool | None = None,
        others: Others = "raise",
        name: str | None = None,
    ) -> AsyncTransaction:
        """A transaction as a block; inside a block that is open, a savepoint.

        isolation: "serializable", "repeatable read", "read committed" or "read uncommitted". read_only, deferrable: True or
        False. Each None takes the connection's option (`transaction_isolation`, …), by default the session's own setting.
        others: what becomes of calls on this connection that are made from outside the block, that is in tasks (or threads)
        that were not started inside it: they "raise" InterfaceError at once, which names who has the block open and where;
        they "wait" until it has been left; or they "join" it, as test fixtures want it.
        name: of the savepoint, when this is one.

        Nothing is sent until the block's first statement, with which BEGIN travels: should it fail, the statement does not
        run. When the body ends, COMMIT is sent, unless `commit=True` of its last call sent it along; when an exception leaves
        the block, or `rollback_only` is set, it is rolled back. `raise pgoxide.Rollback` undoes it quietly. Inside, the
        commands BEGIN, COMMIT and ROLLBACK are refused.

        Entering raises InterfaceError while another has a transaction open, or one was begun by hand. Leaving raises what
        COMMIT raises: the error of a deferred constraint; UnexpectedRollback when a statement had failed and its error was
        kept from leaving the block; TransactionOutcomeUnknown when the connection is lost meanwhile. The connection is idle
        then, or closed. A cancelled task rolls back before it goes on, undisturbed by further cancels; a ROLLBACK that takes
        more than 10 seconds aborts the connection.

        >>> async with db.transaction(read_only=True) as tx:
        ...     print(await tx.fetch_value("show transaction_read_only"))
        on

        Source: the manual's pages of BEGIN, COMMIT, SAVEPOINT.
        """
        self._check_mine()
        if isolation is None and read_only is None and deferrable is None:
            return AsyncTransaction(self, self._begin, False, others, name)
        return AsyncTransaction(self, self._modes.over(isolation, read_only, deferrable), True, others, name)

    def transaction_attempts(
        self,
        *,
        attempts: int = 3,
        backoff: float = 0.01,
        isolation: Isolation | None = None,
        read_only: bool | None = None,
        deferrable: bool | None = None,
    ) -> AsyncAttempts:
        """Attempts at one transaction: the next one is made when the last failed by what a new one may heal.

        attempts: how often it is tried. backoff: seconds before the second attempt, doubled each time up to a second; the
        wait is a random part of that, at least half. isolation, read_only, deferrable: as for `transaction`.

        The loop goes on after what `is_retryable` tells: a serialization failure (SQLSTATE 40001) or deadlock (40P01), also of
        COMMIT, and a prepared statement that the server has no more or otherwise (StatementInvalidated), which the next attempt
        prepares anew. It does so after nothing else. The error of the last attempt comes out, with those of the earlier ones as
        notes. The block may run several times: what it does beside the database is not undone in between. `attempt.number`
        counts from 1. Neither `return` nor `break` inside the block: should its COMMIT fail, there would be no next attempt, and
        a RuntimeWarning says so. A result is kept in a variable, or comes from `run_transaction`.

        >>> async for attempt in db.transaction_attempts(isolation="serializable", attempts=5):
        ...     async with attempt as tx:
        ...         count = await tx.fetch_value("select count(*) from users")
        ...         tag = await tx.execute("insert into points values ($1, $2)", count, attempt.number)

        Source: the manual's chapter "Concurrency Control", "Serialization Failure Handling".
        """
        self._check_mine()
        modes = self._modes.over(isolation, read_only, deferrable)
        return AsyncAttempts(
            lambda: AsyncTransaction(self, modes, True, "raise", None), attempts=attempts, backoff=backoff
        )

    async def run_transaction(
        self,
        function: Callable[[AsyncTransaction], Awaitable[R]],
        /,
        *,
        attempts: int = 3,
        backoff: float = 0.01,
        isolation: Isolation | None = None,
        read_only: bool | None = None,
        deferrable: bool | None = None,
    ) -> R:
        """Calls `function(tx)` in a transaction, as often as `transaction_attempts` would, and returns what it returned.

        attempts, backoff, isolation, read_only, deferrable, what is raised and what is left: as for `transaction_attempts`.

        >>> async def rename(tx: pgoxide.AsyncTransaction) -> int:
        ...     return await tx.fetch_value("update users set name = 'Edsger' where id = 3 returning id", commit=True)
        >>> await db.run_transaction(rename, isolation="serializable")
        3
        """
        results: list[R] = []
        async for attempt in self.transaction_attempts(
            attempts=attempts,
            backoff=backoff,
            isolation=isolation,
            read_only=read_only,
            deferrable=deferrable,
        ):
            async with attempt as tx:
                results = [await function(tx)]
        return results[0]

    async def execute_many(
        self,
        query: str | Statement[object],
        parameter_sets: Iterable[ParameterSet] | AsyncIterable[ParameterSet],
        /,
        *,
        timeout: float | None = None,
    ) -> CommandTag:
        """Runs one statement with many parameter sets, all or none, in bounded memory.

        query: SQL text, or a Statement without parameters of its own.
        parameter_sets: an iterable (or asynchronous iterable) of sequences, or of mappings for a text with `:name` placeholders;
        it is asked for more only when there is room.
        timeout: seconds for all of it; without it the connection's `command_timeout`.
        Returns the tag of the last run with the rows of all of them. Rows that the statement returns are discarded.

        When a run fails, the source raises, the time is over or the call is cancelled, none has happened (inside a transaction,
        the transaction has failed), and what had been sent is cancelled at the server; the source's exception comes out as it
        was. COPY is refused: `copy_in` feeds it. Other calls on this connection wait until it is done. Raises DataError for a
        value that does not fit, with the number of its set, and what `execute` raises.

        >>> import pgoxide
        >>> async def example(db: pgoxide.AsyncConnection) -> None:
        ...     await db.execute_many("insert into points values ($1, $2)", ((i, i * i) for i in range(10_000)))
        """
        self._check_mine()
        return await feeding.execute_many(self, query, parameter_sets, timeout)

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
        r"""Loads records, or raw data, into a table by COPY: the fastest way in.

        table: a name, "schema.name" or (schema, name); quoted, so case counts.
        source: records, or raw data. Records come from an iterable (or asynchronous iterable) of tuples or lists in column
        order, or of dicts or objects with the columns as keys or attributes. Values are what parameters of the columns'
        types take; for a type without a codec here (enums, extensions' types, …) a `str`, as the server reads it. Raw data
        comes as bytes, bytearray or memoryview, from a pathlib.Path, from a binary file or anything else with `read` (on an
        asynchronous connection it may return an awaitable), or from an iterable (or asynchronous iterable) of bytes, cut
        anywhere. Either is asked for more only when there is room.
        columns: the columns to fill; by default all but generated ones, in the table's order.
        where: a condition in SQL on the new rows; others are left out (PostgreSQL 12+). Never from outside: it is SQL.
        format: "binary", "csv" or "text": of raw data, which needs it; records are written in it, by default in binary.
        timeout: seconds for all of it; without it the connection's `command_timeout`.
        options: COPY's own, by name: `header=True`, `delimiter=";"`, `freeze=True`, `on_error="ignore"`, …; see
        `CopyInOptions`. Records are written as they ask, the line of names included.

        Returns the tag, whose `rows_affected` counts the rows. All or nothing: a value that does not fit raises DataError
        naming record and column, the server's refusal raises its error and stops the source, an exception of the
        source comes out as it was; in each case nothing was loaded.

        Records are copied in binary format, or in text format when a column's type has no binary codec here; what is stored is
        the same. Source: the manual's page of COPY; protocol chapter, "COPY Operations".

        >>> import pgoxide
        >>> async def example(db: pgoxide.AsyncConnection) -> None:
        ...     tag = await db.copy_in("points", ((i, i * i) for i in range(100_000)), columns=["x", "y"])
        ...     print(tag.rows_affected)
        ...     await db.copy_in("points", b"x;y\n1;2\n", format="csv", header=True, delimiter=";")
        """
        self._check_mine()
        target = feeding.CopyTarget(table, columns, where, format, options)
        return await feeding.copy_in(self, target, source, timeout)

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
        r"""Copies a table, or what a query gives, out by COPY: as rows, as blocks of raw data, or into a file.

        table: a name, "schema.name" or (schema, name); quoted, so case counts. query: SQL instead, for views and for a part of
        a table. COPY takes no parameters, so neither does this: never build the query from outside data.
        columns: of the table, by default all but generated ones, in the table's order.
        into: the rows' type, as for `fetch_all`. to: where the raw data goes: a pathlib.Path (made or emptied once the first
        data have come: a COPY that is refused leaves it as it was), a binary file or anything else with `write`, or a
        function that takes bytes; on an asynchronous connection what they return is awaited, if it can be (and `drain()`, if
        there is one). A file is written on this thread.
        format: "binary", "csv" or "text". Rows come in binary by default; raw data must be asked for in one of them.
        timeout: seconds until all of it has been taken; without it the connection's `command_timeout`.
        options: COPY's own, by name: `header=True`, `delimiter=";"`, `force_quote=["name"]`, …; see `CopyOutOptions`.

        Without `to` an `AsyncCopyOut` comes back: iterate it for rows, equal to those of a SELECT, or its `blocks()` for the
        raw data. The connection is busy until it ends: calls by other tasks or threads wait, another call by who reads it
        raises InterfaceError. With `to` it is all done when awaited, and gives the tag, whose `rows_affected` counts the rows.

        The server's refusal raises its error where it happens. When the sink raises, the time is over, the call is cancelled
        or the iteration is left, the server is told to stop, what comes is discarded, and the connection goes on; what a sink
        has been given it keeps. A slow reader or sink stops the server: about half a megabyte is held at most.

        >>> async for row in db.copy_out(query="select * from users where id < 3"):
        ...     print(row.id, row.name)
        1 Ada
        2 Grace
        >>> import io
        >>> file = io.BytesIO()
        >>> tag = await db.copy_out(query="select name from users where id < 3", format="csv", to=file)
        >>> tag.rows_affected, file.getvalue()
        (2, b'Ada\nGrace\n')

        Source: the manual's page of COPY; protocol chapter, "COPY Operations".
        """
        self._check_mine()  # before the sink is emptied
        source = copying.CopySource(table, query, columns, format, options, into, timeout)
        return copying.AsyncCopyOut(self, source) if to is None else copying.save(self, source, to)

    async def run(self, plan: Plan[R], /, *, timeout: float | None = None) -> R:
        """Runs a plan on this connection and returns what the plan returns.

        plan: a generator that yields requests; see `pgoxide.statement`. timeout: seconds for all of it; the
        request it runs out in raises QueryTimeout in the plan, and every one after it.

        The plan keeps this connection for its whole length. A transaction it opens is its own, from before BEGIN is sent:
        calls from outside its context, other plans included, raise InterfaceError, which names the task and the line that hold
        it. Outside a transaction, others' calls may run between the plan's. A transaction that it leaves open is rolled back: a
        plan that returned raises InterfaceError, one that raised has it noted on its error. When the caller is cancelled the
        plan gets PlanCancelled and may only clean up, undisturbed by further cancels; clean-up that takes more than 10 seconds
        a request aborts the connection. BEGIN that was under way then is undone, whatever becomes of it. Raises what the plan
        raises.

        >>> from pgoxide.statement import Plan, Statement, fetch_value
        >>> def doubled(number: int) -> Plan[int]:
        ...     found = yield from fetch_value(Statement("select $1::int4", (number,), into=int))
        ...     return 2 * found
        >>> await db.run(doubled(21))
        42
        """
        self._check_mine()
        return await running.run(self, plan, timeout)

    # -- what is known without asking the server ---------------------------------------------------------------

    @property
    def config(self) -> ConnectConfig:
        """What the connection was opened with."""
        assert self._config is not None  # set before anybody gets the object
        return self._config

    @property
    def server_version(self) -> int:
        """As `server_version_num` counts: 150020 is 15.20. 0 when the server names none."""
        return version_number(self.parameter("server_version") or "")

    def add_notice_listener(self, listener: Callable[[Notice], object]) -> None:
        """Calls `listener(notice)` for each warning or remark of the server, in the order in which listeners were added.

        It is called where the message is read, between two messages: on the event loop, or in the thread whose call waits. So it
        should be quick, and may call nothing that waits for this connection. What it raises goes to `sys.unraisablehook`, and
        disturbs neither the connection nor the other listeners; so it is with all listeners.

        >>> db.add_notice_listener(lambda notice: print(notice.severity, notice.message))
        >>> tag = await db.execute("do $$ begin raise warning 'stock is low'; end $$")
        WARNING stock is low

        Source: protocol chapter, "Message Flow", "Asynchronous Operations".
        """
        self._listen(self._listening().listeners.on_notice, listener)

    def remove_notice_listener(self, listener: Callable[[Notice], object]) -> None:
        """Takes a listener back. Raises ValueError when it is not there."""
        self._check_mine()
        self._listening().listeners.on_notice.remove(listener)

    def add_close_listener(self, listener: Callable[[Error], object]) -> None:
        """Calls `listener(reason)` once, when the connection has ended, by either side.

        reason: ConnectionClosed, whose `__cause__` says why: what the server said last, `close()`, or `abort()` with its reason.

        >>> import pgoxide
        >>> async def example() -> None:
        ...     db = await pgoxide.AsyncConnection.connect()
        ...     db.add_close_listener(lambda reason: print("ended:", reason.__cause__))
        """
        self._listen(self._listening().listeners.on_close, listener)

    def remove_close_listener(self, listener: Callable[[Error], object]) -> None:
        """Takes a listener back. Raises ValueError when it is not there."""
        self._check_mine()
        self._listening().listeners.on_close.remove(listener)

    def add_notification_listener(self, listener: Callable[[Notification], object]) -> None:
        """Calls `listener(notification)` for each NOTIFY on a channel this session listens to.

        notification: its `channel`, `payload`, and the `process_id` of the session that notified, this one's included. It comes
        when the server sends it: between two statements, never inside a transaction; on a blocking connection with the next call.

        >>> import pgoxide
        >>> async def example(db: pgoxide.AsyncConnection) -> None:
        ...     db.add_notification_listener(lambda notification: print(notification.channel, notification.payload))
        ...     await db.execute("listen orders")
        ...     await db.execute("notify orders, 'new'")
        """
        self._listen(self._listening().listeners.on_notification, listener)

    def remove_notification_listener(self, listener: Callable[[Notification], object]) -> None:
        """Takes a listener back. Raises ValueError when it is not there."""
        self._check_mine()
        self._listening().listeners.on_notification.remove(listener)

    def _listen(self, listeners: list[Callable[[Any], object]], listener: Callable[[Any], object]) -> None:
        """Adds a listener; one of a pool's user until they give the connection back."""
        self._check_mine()
        listeners.append(listener)
        if self._whole is not None:
            self._heard.append((listeners, listener))

    def _listening(self) -> transport.Line:
        assert self._line is not None  # set before anybody gets the object
        return self._line

    # -- being a context manager, an object, and not another driver ---------------------------------------------

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            await self._pool.release(self)
        else:
            await self.close()

    def __del__(self) -> None:
        if self._whole is not None:
            self._forgotten()
            return
        if self._forked:
            if self._line is not None:
                self._line.forget()
            return
        if self._line is not None and not self.closed:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.abort()

    def _forgotten(self) -> None:
        """Its user let go of it without giving it back."""
        pool = self._pool
        if pool is None or pool._closing or self.closed:
            return
        pool._give_back_dropped(self, cancelled=self._give_back())
        told = f"{type(self).__name__} of {pool!r} was not given back: it was let go of without release()"
        warnings.warn(told, ResourceWarning, source=self, stacklevel=3)

    def __repr__(self) -> str:
        """Where it leads and how it stands; no secrets."""
        where = self._config.dsn() if self._config is not None else "nowhere"
        stands = "given back" if self._given_back else "closed" if self.closed else self.transaction_status
        return f"<{type(self).__name__} {where} {stands}>"

    def __dir__(self) -> list[str]:
        return own_names(super().__dir__())
