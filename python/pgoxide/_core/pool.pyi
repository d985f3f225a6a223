"""The cores of the two pools: their verbs, and what runs on which connection. Stub of pool/."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, overload

from pgoxide._core.async_client import AsyncClient
from pgoxide._core.awaitable import Reply
from pgoxide._core.blocking_client import Client
from pgoxide._core.tag import CommandTag
from pgoxide.driver._async.connection import AsyncConnection
from pgoxide.statement import Statement
from pgoxide.types import Row

__all__ = ["AsyncPoolCore", "PoolCore"]

_R = TypeVar("_R")
_Types: TypeAlias = Sequence[str | int] | Mapping[str, str | int]

class AsyncPoolCore:
    """The core of `AsyncPool`: its verbs, and who gets which connection.

    A routed statement goes to an idle connection; else to a new one, up to `max_size`; else behind what a busy one runs, as
    long as that is short: at most `pipeline_depth` deep, never behind a statement whose last run took 5 ms or more, has never
    been seen to end, or has been running for 5 ms. Else it waits in the pool's queue, unsent: there time limits and cancels
    cost nothing. First come, first served; while the first waits for a connection of its own, nobody overtakes it.
    """

    def _prepare(
        self,
        *,
        max_size: int,
        max_waiting: int | None,
        max_queued_hard: int,
        pipeline_depth: int,
        acquire_timeout: float | None,
        command_timeout: float | None,
        max_idle: float | None,
        max_uses: int | None,
        ping_after: float | None,
        reset: str,
        statement_cache_size: int,
    ) -> None:
        """How the pool behaves; once. Called by `AsyncPool`, which checks the values."""

    @overload
    def fetch_all(
        self, statement: Statement[_R], /, *, timeout: float | None = None, isolate: bool = False
    ) -> Reply[list[_R]]: ...
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
    ) -> Reply[list[_R]]: ...
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
    ) -> Reply[list[Row]]:
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
        timeout: seconds from the call to the last row, waiting for a connection included; without it `command_timeout`, by default none;
        `float("inf")` for no limit at all.
        types: the PostgreSQL types of the parameters, by name (`"int4"`) or OID; a mapping for parameters given by name. With
        all of them given, the first use of a statement takes one round trip instead of two.
        isolate: True to have a connection alone meanwhile, so that no cancel meant for a neighbour can hit this call.

        Raises InterfaceError for a call that cannot be right, DataError for a value that does not fit, ProgrammingError when
        columns and fields of `into` differ, the class of its SQLSTATE for what the server refuses, QueryTimeout,
        PoolTimeout, PoolFull, and ConnectionClosed. An exception of your own class or callable comes out
        unchanged, after the statement has run to its end.

        >>> await db.fetch_all("select id, name from users where id < $1 order by id", 3)
        [Row(id=1, name='Ada'), Row(id=2, name='Grace')]
        >>> await db.fetch_all("select name from users order by id", into=str)
        ['Ada', 'Grace', 'Edsger']
        >>> await db.fetch_all("select id from users where name = :who or upper(name) = :who", who="Ada", into=int)
        [1]

        Source: protocol chapter, "Message Flow", "Extended Query".
        """

    @overload
    def fetch_one(
        self, statement: Statement[_R], /, *, timeout: float | None = None, isolate: bool = False
    ) -> Reply[_R]: ...
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
    ) -> Reply[_R]: ...
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
    ) -> Reply[Row]:
        """Exactly one row.

        Arguments, errors and what they leave behind: as for `fetch_all`. Raises NoRow when there is none, MultipleRows when
        there are more. The statement runs to its end either way: what it changed stays changed.

        >>> row = await db.fetch_one("select * from users where id = $1", 2)
        >>> row.name, row["name"], row[1]
        ('Grace', 'Grace', 'Grace')
        """

    @overload
    def fetch_optional(
        self, statement: Statement[_R], /, *, timeout: float | None = None, isolate: bool = False
    ) -> Reply[_R | None]: ...
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
    ) -> Reply[_R | None]: ...
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
    ) -> Reply[Row | None]:
        """The row, or None when there is none.

        Arguments, errors and what they leave behind: as for `fetch_all`. Raises MultipleRows when there are two or more. The
        statement runs to its end either way: what it changed stays changed.

        >>> print(await db.fetch_optional("select * from users where id = $1", 4))
        None
        """

    @overload
    def fetch_first(
        self, statement: Statement[_R], /, *, timeout: float | None = None, isolate: bool = False
    ) -> Reply[_R | None]: ...
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
    ) -> Reply[_R | None]: ...
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
    ) -> Reply[Row | None]:
        """The first row, or None when there is none; the rest is discarded.

        Arguments, errors and what they leave behind: as for `fetch_all`. The statement runs to its end: write `limit 1` where
        that saves the server work.

        >>> await db.fetch_first("select name from users order by name desc")
        Row(name='Grace')
        """

    @overload
    def fetch_value(
        self, statement: Statement[Row], /, *, timeout: float | None = None, isolate: bool = False
    ) -> Reply[Any]: ...
    @overload
    def fetch_value(
        self, statement: Statement[_R], /, *, timeout: float | None = None, isolate: bool = False
    ) -> Reply[_R | None]: ...
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
    ) -> Reply[_R | None]: ...
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
    ) -> Reply[Any]:
        """The only column of the only row; SQL NULL gives None.

        Arguments, errors and what they leave behind: as for `fetch_all`. Raises InterfaceError when the statement has another
        number of columns than one, NoRow and MultipleRows as `fetch_one` does.

        >>> await db.fetch_value("select count(*) from users")
        3
        >>> await db.fetch_value("select name from users where id = $1", 1, into=str)
        'Ada'
        """

    @overload
    def fetch_column(
        self, statement: Statement[Row], /, *, timeout: float | None = None, isolate: bool = False
    ) -> Reply[list[Any]]: ...
    @overload
    def fetch_column(
        self, statement: Statement[_R], /, *, timeout: float | None = None, isolate: bool = False
    ) -> Reply[list[_R | None]]: ...
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
    ) -> Reply[list[_R | None]]: ...
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
    ) -> Reply[list[Any]]:
        """The only column of all rows, as a list; SQL NULL gives None.

        Arguments, errors and what they leave behind: as for `fetch_all`. Raises InterfaceError when the statement has another
        number of columns than one.

        >>> await db.fetch_column("select id from users order by id")
        [1, 2, 3]
        """

    @overload
    def execute(
        self, statement: Statement[object], /, *, timeout: float | None = None, isolate: bool = False
    ) -> Reply[CommandTag]: ...
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
    ) -> Reply[CommandTag]:
        """Runs a statement for its effect: its command tag, with the number of rows it concerned.

        Arguments, errors and what they leave behind: as for `fetch_all`. Rows it returns are discarded.

        >>> tag = await db.execute("update users set name = $2 where id = $1", 3, "Edsger D.")
        >>> tag.rows_affected
        1
        >>> print(tag)
        UPDATE 1

        Source: protocol chapter, "Message Formats", CommandComplete.
        """

    # For `driver`

    def _tie(self, event_loop: AbstractEventLoop) -> None:
        """Ties the pool to its loop. Raises InterfaceError when called again."""

    def _acquire(self, timeout: float | None) -> Reply[AsyncConnection]:
        """Waits for a connection of one's own."""

    def _release(self, client: AsyncClient) -> None:
        """Its user gives a connection back: it is reset, and then anybody's."""

    def _add(self, client: AsyncClient, lifetime: float | None, *, expected: bool, trip: float) -> bool:
        """A connection has been opened. False: the pool has been closed meanwhile, and does not take it.

        lifetime: seconds until it is replaced. expected: it was counted as being opened. trip: seconds that opening took.
        """

    def _expect(self, change: int) -> None:
        """So many more (or, negative, fewer) are being opened."""

    def _missing(self, size: int) -> int:
        """How many are missing to `size`, which the caller opens: they count as being opened from now on."""

    def _pause(self, paused: bool) -> None:
        """Whether no more are to be asked for."""

    def _remove(self, client: AsyncClient) -> bool:
        """Forgets a connection; True when it was one of the pool's."""

    def _checked(self, client: AsyncClient) -> None:
        """The idle connection has been asked whether it lives, and does."""

    def _overdue(self, seconds: float) -> list[AsyncConnection]:
        """Connections given back that have not become free for so long."""

    def _tidy(self, keep: int) -> None:
        """Gives up connections that have been idle, or lived, for too long."""

    def _expire(self) -> None:
        """Every connection is replaced once nobody uses it."""

    def _ring(self) -> float | None:
        """The timer rang: who has waited too long is told. Seconds until the next time."""

    def _shut(self) -> None:
        """From now on nothing new is taken; who waits is told."""

    def _orphan(self) -> None:
        """This is the child of a fork: the connections are its parent's."""

    def _members(self) -> list[tuple[AsyncConnection, str]]:
        """The connections, each with how it stands: idle, busy, used, resetting, checking."""

    def _counts(self) -> tuple[int, int, int]:
        """Who wait for a connection of their own, queued calls, connections being opened."""

    def _waits(self) -> tuple[int, list[int]]:
        """How many were served at once, and how long the others waited, by powers of two of microseconds."""

class PoolCore:
    """The core of `Pool`: its verbs.

    A routed statement takes an idle connection, else a new one up to `max_size`, else it waits for one, first come, first
    served; it has the connection alone. Any number of threads may call.
    """

    def _prepare(self, statement_cache_size: int) -> None:
        """How many statements are remembered: four times as many as a connection keeps."""

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
        timeout: seconds from the call to the last row, waiting for a connection included; without it `command_timeout`, by default none;
        `float("inf")` for no limit at all.
        types: the PostgreSQL types of the parameters, by name (`"int4"`) or OID; a mapping for parameters given by name. With
        all of them given, the first use of a statement takes one round trip instead of two.
        isolate: True to have a connection alone meanwhile, so that no cancel meant for a neighbour can hit this call.

        Raises InterfaceError for a call that cannot be right, DataError for a value that does not fit, ProgrammingError when
        columns and fields of `into` differ, the class of its SQLSTATE for what the server refuses, QueryTimeout,
        PoolTimeout, PoolFull, and ConnectionClosed. An exception of your own class or callable comes out
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

    def _learn(self, client: Client) -> None:
        """A connection has been opened: what it tells of the meaning of texts."""
