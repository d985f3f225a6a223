"""The blocking client: what `Connection` inherits its verbs from. Stub of blocking_client/."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, Self, TypeAlias, TypeVar, overload

from pgoxide._core.batch import BatchBuilder
from pgoxide._core.client_options import ClientOptions
from pgoxide._core.descriptions import Descriptions
from pgoxide._core.feed import Feed
from pgoxide._core.portal import Portal
from pgoxide._core.prepared import Prepared
from pgoxide._core.script import ScriptResult
from pgoxide._core.stream import Stream
from pgoxide._core.tag import CommandTag
from pgoxide.errors import Error
from pgoxide.statement import Statement
from pgoxide.types import Row

__all__ = ["Client"]

_R = TypeVar("_R")
_Types: TypeAlias = Sequence[str | int] | Mapping[str, str | int]

class _Line(Protocol):
    """What a transport must offer the client: `pgoxide.transport.blocking.Line` does."""

    def cancel(self, request: bytes, /) -> None: ...
    def notice(self, fields: dict[str, str], /) -> None: ...
    def notification(self, channel: str, payload: str, process_id: int, /) -> None: ...
    def ended(self, reason: Error, /) -> None: ...

class Client:
    """The core of `Connection`: its verbs, and what a transport needs.

    A call returns when its answer is there. Several threads may share a connection: they take turns. Ctrl-C and other
    signals are seen within 100 ms, also while the server works; the call is then cancelled at the server.
    """

    def __new__(cls, of: ClientOptions | Client, /) -> Self:
        """Of options: not yet opened. Of a client: the same one, for one acquisition of it from its pool; only the newest counts."""

    @overload
    def fetch_all(
        self, statement: Statement[_R], /, *, timeout: float | None = None, isolate: bool = False
    ) -> list[_R]: ...
    @overload
    def fetch_all(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        timeout: float | None = None,
        types: _Types | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> list[_R]: ...
    @overload
    def fetch_all(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        timeout: float | None = None,
        types: _Types | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> list[Row]:
        """All rows, as a list; an empty list when there are none.

        statement: SQL text with a placeholder `$1`, `$2` … or `:name` per parameter, or a `Statement`, which brings its
        parameters and row type itself.
        args: the values of `$1`, `$2` … They are encoded during the call: changing them afterwards changes nothing.
        named: the values of `:name` placeholders, as keywords; each name has one, however often the text has it.
        params: the same as one mapping, which may also hold names that are options of the call (`:timeout`). Without either,
        a colon is a colon.
        into: what a row becomes. A class: a dataclass, named tuple, TypedDict, attrs class, msgspec Struct or pydantic model
        whose fields are the columns, `tuple`, `dict`, for a single column the type of its values (`int`, `str`, `UUID`, …),
        else any class that takes the columns as keyword arguments. Or a callable, which is given the `Row`. Without it, a
        `Row`.
        timeout: seconds from the call to the last row; without it the connection's `command_timeout`, by default none;
        `float("inf")` for no limit at all.
        types: the PostgreSQL types of the parameters, by name (`"int4"`) or OID; a mapping for parameters given by name. With
        all of them given, the first use of a statement takes one round trip instead of two.
        isolate: True to have nothing else in flight on this connection meanwhile, so that no cancel meant for a neighbour
        can hit this call.

        Raises InterfaceError for a call that cannot be right, DataError for a value that does not fit, ProgrammingError when
        columns and fields of `into` differ, the class of its SQLSTATE for what the server refuses, QueryTimeout, and
        ConnectionClosed. Only the last leaves the connection unusable. An exception of your own class or callable comes out
        unchanged, after the statement has run to its end.

        >>> db.fetch_all("select id, name from users where id < $1 order by id", 3)
        [Row(id=1, name='Ada'), Row(id=2, name='Grace')]
        >>> db.fetch_all("select name from users order by id", into=str)
        ['Ada', 'Grace', 'Edsger']
        >>> db.fetch_all("select id from users where name = :who or upper(name) = :who", who="Ada", into=int)
        [1]

        Source: protocol chapter, "Message Flow", "Extended Query".
        """

    @overload
    def fetch_one(
        self, statement: Statement[_R], /, *, timeout: float | None = None, isolate: bool = False
    ) -> _R: ...
    @overload
    def fetch_one(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        timeout: float | None = None,
        types: _Types | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> _R: ...
    @overload
    def fetch_one(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        timeout: float | None = None,
        types: _Types | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Row:
        """Exactly one row.

        Arguments, errors and what they leave behind: as for `fetch_all`. Raises NoRow when there is none, MultipleRows when
        there are more. The statement runs to its end either way: what it changed stays changed.

        >>> row = db.fetch_one("select * from users where id = $1", 2)
        >>> row.name, row["name"], row[1]
        ('Grace', 'Grace', 'Grace')
        """

    @overload
    def fetch_optional(
        self, statement: Statement[_R], /, *, timeout: float | None = None, isolate: bool = False
    ) -> _R | None: ...
    @overload
    def fetch_optional(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        timeout: float | None = None,
        types: _Types | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> _R | None: ...
    @overload
    def fetch_optional(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        timeout: float | None = None,
        types: _Types | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Row | None:
        """The row, or None when there is none.

        Arguments, errors and what they leave behind: as for `fetch_all`. Raises MultipleRows when there are two or more. The
        statement runs to its end either way: what it changed stays changed.

        >>> print(db.fetch_optional("select * from users where id = $1", 4))
        None
        """

    @overload
    def fetch_first(
        self, statement: Statement[_R], /, *, timeout: float | None = None, isolate: bool = False
    ) -> _R | None: ...
    @overload
    def fetch_first(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        timeout: float | None = None,
        types: _Types | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> _R | None: ...
    @overload
    def fetch_first(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        timeout: float | None = None,
        types: _Types | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Row | None:
        """The first row, or None when there is none; the rest is discarded.

        Arguments, errors and what they leave behind: as for `fetch_all`. The statement runs to its end: write `limit 1` where
        that saves the server work.

        >>> db.fetch_first("select name from users order by name desc")
        Row(name='Grace')
        """

    @overload
    def fetch_value(
        self, statement: Statement[Row], /, *, timeout: float | None = None, isolate: bool = False
    ) -> Any: ...
    @overload
    def fetch_value(
        self, statement: Statement[_R], /, *, timeout: float | None = None, isolate: bool = False
    ) -> _R | None: ...
    @overload
    def fetch_value(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        timeout: float | None = None,
        types: _Types | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> _R | None: ...
    @overload
    def fetch_value(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        timeout: float | None = None,
        types: _Types | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Any:
        """The only column of the only row; SQL NULL gives None.

        Arguments, errors and what they leave behind: as for `fetch_all`. Raises InterfaceError when the statement has another
        number of columns than one, NoRow and MultipleRows as `fetch_one` does.

        >>> db.fetch_value("select count(*) from users")
        3
        >>> db.fetch_value("select name from users where id = $1", 1, into=str)
        'Ada'
        """

    @overload
    def fetch_column(
        self, statement: Statement[Row], /, *, timeout: float | None = None, isolate: bool = False
    ) -> list[Any]: ...
    @overload
    def fetch_column(
        self, statement: Statement[_R], /, *, timeout: float | None = None, isolate: bool = False
    ) -> list[_R | None]: ...
    @overload
    def fetch_column(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        timeout: float | None = None,
        types: _Types | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> list[_R | None]: ...
    @overload
    def fetch_column(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        timeout: float | None = None,
        types: _Types | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> list[Any]:
        """The only column of all rows, as a list; SQL NULL gives None.

        Arguments, errors and what they leave behind: as for `fetch_all`. Raises InterfaceError when the statement has another
        number of columns than one.

        >>> db.fetch_column("select id from users order by id")
        [1, 2, 3]
        """

    @overload
    def execute(
        self, statement: Statement[object], /, *, timeout: float | None = None, isolate: bool = False
    ) -> CommandTag: ...
    @overload
    def execute(
        self,
        statement: str,
        /,
        *args: object,
        timeout: float | None = None,
        types: _Types | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> CommandTag:
        """Runs a statement for its effect: its command tag, with the number of rows it concerned.

        Arguments, errors and what they leave behind: as for `fetch_all`. Rows it returns are discarded.

        >>> tag = db.execute("update users set name = $2 where id = $1", 3, "Edsger D.")
        >>> tag.rows_affected
        1
        >>> print(tag)
        UPDATE 1

        Source: protocol chapter, "Message Formats", CommandComplete.
        """

    @overload
    def portal(self, statement: Statement[_R], /, *, timeout: float | None = None) -> Portal[_R]: ...
    @overload
    def portal(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        timeout: float | None = None,
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Portal[_R]: ...
    @overload
    def portal(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        timeout: float | None = None,
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Portal[Row]:
        """Opens a portal, whose rows are asked for part by part inside a transaction; see `Portal`.

        statement, args, named, params, into, types, timeout: as for `fetch_all`. Nothing of the statement has run before the
        first fetch. Unlike a stream it keeps nobody waiting; unlike one it needs a transaction.

        Raises InterfaceError outside a transaction and for statements that have no portal of their own (FETCH, CALL, COPY);
        else as `fetch_all`.

        Source: protocol chapter, "Message Flow", "Extended Query".
        """

    def execute_script(self, sql: str, /, *, timeout: float | None = None) -> list[ScriptResult]:
        """What each statement of a text gave, in order. The text may hold several statements, divided by semicolons.

        sql: no parameters. What is not inside a transaction block of its own runs as one implicit transaction.
        timeout: seconds for the whole; without it the connection's `command_timeout`.

        Values come in the text format and are decoded to the same Python types as with the other verbs. Raises the first
        error the server reports: statements after it do not run, those before it in the same implicit transaction are undone.
        Nothing is prepared or kept, so this is for migrations and set-up rather than for queries.

        >>> for outcome in db.execute_script("create temp table t (n int); insert into t values (1), (2); table t"):
        ...     print(outcome.tag, outcome.rows)
        CREATE TABLE []
        INSERT 0 2 []
        SELECT 2 [Row(n=1), Row(n=2)]

        Source: protocol chapter, "Message Flow", "Simple Query".
        """

    @overload
    def stream(
        self, statement: Statement[_R], /, *, timeout: float | None = None, batch: int = 1000
    ) -> Stream[_R]: ...
    @overload
    def stream(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        timeout: float | None = None,
        types: _Types | None = None,
        batch: int = 1000,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Stream[_R]: ...
    @overload
    def stream(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        timeout: float | None = None,
        types: _Types | None = None,
        batch: int = 1000,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Stream[Row]:
        """Rows as they come, in bounded memory: for results that need not fit.

        statement, args, named, params, into, types: as for `fetch_all`.
        batch: rows asked for at a time, 1 to 1 000 000. Besides the batch being read, two are held at most.
        timeout: seconds until the last row has been taken; without it the connection's `command_timeout`.

        What comes back is an iterator and a context manager: leave its block, or end the loop, and the statement ends. The
        connection is busy until then: calls by other tasks or threads wait, and a RuntimeWarning tells them where it was made
        when that takes longer than the connection's `stream_wait_warning`. Raises as `fetch_all` does, at the row where it
        happens, and InterfaceError for another call by who reads the stream. A read that is cancelled, or too late, gives up
        the statement; reading on raises then, as after any error, so that missing rows are never taken for the end. COPY is
        refused: it has verbs of its own.

        >>> with db.stream("select n from generate_series(1, 5000) as n", into=int, batch=500) as numbers:
        ...     total = sum([n for n in numbers])
        >>> total
        12502500

        Source: protocol chapter, "Message Flow", "Extended Query" (PortalSuspended).
        """

    # For `driver` and `transport`

    def _describe(
        self, sql: str, types: Sequence[str | int] | None, timeout: float | None = None
    ) -> Prepared:
        """Has the statement of an `execute_many` described."""

    def _describe_again(self, prepared: Prepared, timeout: float | None = None) -> Prepared:
        """Has a statement described that its holder has."""

    def _prepare(self, sql: str, types: _Types | None, timeout: float | None = None) -> Prepared:
        """Has a statement described that will be its holder's own."""

    def _close_given_up(self) -> None:
        """Has the server close the statements that were let go; not when no call can be made now."""

    def _copy_in(
        self,
        sql: str,
        columns: tuple[str, Sequence[tuple[str, int]]] | None,
        format: str,  # noqa: A002  COPY's own word
        options: dict[str, object],
        takes_raw: bool,
        last: bool,
        timeout: float | None = None,
    ) -> Feed:
        """Begins COPY FROM STDIN of columns given by a query of them, and name and type OID of each; without, raw data."""

    def _copy_out(
        self,
        sql: str,
        columns: Prepared | None = None,
        into: object = None,
        timeout: float | None = None,
        format: str = "binary",  # noqa: A002  COPY's own word
        options: dict[str, object] | None = None,
    ) -> Stream[object]:
        """Begins COPY TO STDOUT. columns: a described query of the same columns, whose rows are then given; without it,
        blocks of the raw data.
        """

    def _execute_many(
        self, prepared: Prepared, last: bool, timeout: float | None, commit: object | None = None
    ) -> Feed:
        """Begins a statement with many parameter sets. `last`: when it turns out to be lost, that is an error. `commit`: the token
        of the transaction block whose end it is to bring.
        """

    def reload_types(self) -> None:
        """Forgets what is known about types that are not built in: enums, composite types, domains, ranges, extensions' types.

        Each is looked up again, in one query with all it consists of, when a statement next uses it. Connections that share
        what they know, as those of a pool do, forget it together. Seldom needed: a type made anew is another type to
        PostgreSQL, labels added to an enum are read as they come, what these connections alter themselves they see, and a
        composite type that another program altered raises OutdatedType once. Needed after another program, or a function,
        renamed fields or put others of the same types in their places: their values look as before.

        >>> import pgoxide
        >>> def example(db: pgoxide.Connection) -> None:
        ...     db.execute("create type pg_temp.address as (street text)")
        ...     db.execute("alter type pg_temp.address add attribute country text")
        ...     db.reload_types()
        """

    def _share(self, descriptions: Descriptions) -> None:
        """Describes its statements together with the others that share them. For pools."""

    def _explain_pool(self, pool: Callable[[], str | None] | None) -> None:
        """For notes on errors: `pool()` gives a line about the pool this connection belongs to; None takes it back."""

    def _run_batch(self, batch: BatchBuilder, timeout: float | None, commit: bool = False) -> None:
        """Runs a collected batch."""

    def _attach(self, hooks: _Line, descriptor: int) -> None:
        """Ties the client to its transport's descriptor, whose receive timeout is 100 ms."""

    def _start(self, parameters: Sequence[tuple[bytes, bytes]], timeout: float | None) -> None:
        """Writes StartupMessage and waits for the first ReadyForQuery, at most `timeout` seconds."""

    def _end(self, reason: Error) -> None:
        """The line is to be given up."""

    def _terminate(self, timeout: float) -> None:
        """Sends Terminate, as far as the socket takes it at once; nothing when another thread keeps the connection for longer
        than `timeout` seconds.
        """

    def _cancel_request(self) -> bytes | None:
        """The bytes of a CancelRequest for this session; None when the server gave no key."""

    # For a pool

    def _park(self) -> None:
        """Its user gives it back: its verbs raise from now on."""

    def _quiesce(self, timeout: float) -> int:
        """Waits until the calls of other threads that were begun while they had it are over. The last request's number then."""
    def _unpark(self, routed: bool) -> None:
        """Somebody has it: the pool itself if `routed`, whose statements may leave no transaction open."""

    def _is_doomed(self) -> bool:
        """Whether it has ended, or the server has announced its end: looks at the socket."""

    def _asked(self) -> int:
        """The last request's number: when it is the same, nothing was asked meanwhile."""

    def _reset(self, reset: str, timeout: float) -> bool:
        """Writes the reset and waits for nothing but the turn; False when there is nothing to undo."""

    def _follow_reset(self) -> bool:
        """True when a user need not wait for the reset's answer: it has come, or their first request follows it."""

    def _await_reset(self, timeout: float) -> bool:
        """Waits until the reset has been answered; False when it had been. Raises why it failed."""

    def _ping(self, timeout: float) -> None:
        """A round trip that runs nothing."""

    # What is known without asking the server

    def parameter(self, name: str) -> str | None:
        """What the server last reported for a setting, or None for one it does not report.

        name: as the server spells it: `"TimeZone"`, `"server_version"`, `"in_hot_standby"`.

        Source: protocol chapter, "Message Flow", "Asynchronous Operations" (ParameterStatus).
        """

    @property
    def backend_pid(self) -> int | None:
        """Process ID of this session's server process, as in `pg_stat_activity`; None when the server gave no key."""

    @property
    def transaction_status(self) -> Literal["idle", "in transaction", "failed transaction"]:
        """Where the session stood at the last ReadyForQuery."""

    def _check_mine(self) -> None:
        """Raises InterfaceError when its user has given it back to its pool."""
    def _end_lease(self) -> None:
        """Whoever has it from the pool has it no longer."""
    @property
    def _given_back(self) -> bool:
        """Whether it is a user's who has given it back."""
    @property
    def closed(self) -> bool:
        """Whether the session has ended, by either side. Looks at the socket: a server that went away is noticed.

        So a listener may be called. Raises only what that one may not keep to itself: a KeyboardInterrupt, a SystemExit.
        """

    @property
    def _forked(self) -> bool: ...
    @property
    def statement_cache(self) -> dict[str, int]:
        """How the cache of prepared statements does: `size`, and since the connection was made `hits`, `misses`, `evictions`.

        A statement is found by its text and the declared `types` of its parameters; `into`, `timeout` and `isolate` do not tell
        statements apart. Evictions are the statements given up for want of room or for their age; a text that was not
        kept (too long, refused, or the cache is off) is a miss each time.
        """
