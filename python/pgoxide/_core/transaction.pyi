"""Transaction blocks: what `AsyncTransaction` and `Transaction` inherit their verbs from. Stub of transaction.rs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias, TypeVar, overload

from pgoxide._core.async_client import AsyncClient
from pgoxide._core.awaitable import Reply
from pgoxide._core.blocking_client import Client
from pgoxide._core.portal import AsyncPortal, Portal
from pgoxide._core.script import ScriptResult
from pgoxide._core.stream import AsyncStream, Stream
from pgoxide._core.tag import CommandTag
from pgoxide.statement import Statement
from pgoxide.types import Row

__all__ = ["AsyncTransactionBlock", "TransactionBlock"]

_R = TypeVar("_R")
_Types: TypeAlias = Sequence[str | int] | Mapping[str, str | int]

class AsyncTransactionBlock:
    """The core of `AsyncTransaction`: its verbs, and what its block is made of."""

    def __new__(
        cls,
        client: AsyncClient,
        begin: str,
        *,
        modes: bool,
        name: str | None,
        others: str,
        parent: object | None,
        plan: str | None = None,
    ) -> Self:
        """Not yet entered. `begin`: BEGIN as SQL, `modes`: with modes the caller gave; `name`: a savepoint's, quoted; `plan`: in
        words, the plan whose transaction it is.
        """

    @overload
    def fetch_all(
        self,
        statement: Statement[_R],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[list[Row]]:
        """As the connection's `fetch_all`, in this transaction.

        commit: True for the last statement of the block: what ends the block (COMMIT, or RELEASE of a savepoint) travels in
        its flight. When the statement fails it is skipped, and leaving the block rolls back. Afterwards the block takes no
        further call. Raises what COMMIT raises: the error of a deferred constraint, UnexpectedRollback, and
        TransactionOutcomeUnknown when the connection is lost meanwhile. A result that is not what the verb wants (`NoRow`, a
        row class that refuses) is raised after the COMMIT.

        >>> async with db.transaction() as tx:
        ...     users = await tx.fetch_all("delete from users where id > $1 returning id", 100, commit=True)
        >>> users
        []
        """

    @overload
    def fetch_one(
        self,
        statement: Statement[_R],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[Row]:
        """As the connection's `fetch_one`, in this transaction; commit: as for `fetch_all` here."""

    @overload
    def fetch_optional(
        self,
        statement: Statement[_R],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[Row | None]:
        """As the connection's `fetch_optional`, in this transaction; commit: as for `fetch_all` here."""

    @overload
    def fetch_first(
        self,
        statement: Statement[_R],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[Row | None]:
        """As the connection's `fetch_first`, in this transaction; commit: as for `fetch_all` here."""

    @overload
    def fetch_value(
        self,
        statement: Statement[Row],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
    ) -> Reply[Any]: ...
    @overload
    def fetch_value(
        self,
        statement: Statement[_R],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[Any]:
        """As the connection's `fetch_value`, in this transaction; commit: as for `fetch_all` here."""

    @overload
    def fetch_column(
        self,
        statement: Statement[Row],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
    ) -> Reply[list[Any]]: ...
    @overload
    def fetch_column(
        self,
        statement: Statement[_R],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[list[Any]]:
        """As the connection's `fetch_column`, in this transaction; commit: as for `fetch_all` here."""

    @overload
    def execute(
        self,
        statement: Statement[object],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[CommandTag]:
        """As the connection's `execute`, in this transaction; commit: as for `fetch_all` here."""

    def execute_script(self, sql: str, /, *, timeout: float | None = None) -> Reply[list[ScriptResult]]:
        """As the connection's `execute_script`, in this transaction."""

    @overload
    def stream(
        self, statement: Statement[_R], /, *, timeout: float | None = None, batch: int = 1000
    ) -> AsyncStream[_R]: ...
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
    ) -> AsyncStream[_R]: ...
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
    ) -> AsyncStream[Row]:
        """As the connection's `stream`, in this transaction."""

    @overload
    def portal(
        self, statement: Statement[_R], /, *, timeout: float | None = None
    ) -> Reply[AsyncPortal[_R]]: ...
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
    ) -> Reply[AsyncPortal[_R]]: ...
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
    ) -> Reply[AsyncPortal[Row]]:
        """As the connection's `portal`, in this transaction; so are its fetches, whoever makes them."""

    rollback_only: bool
    """Set it to True, and leaving the block undoes it, quietly; `commit=True` of a later call then commits nothing."""

    # For `driver` and `transport`

    @property
    def _token(self) -> object: ...
    @property
    def _fate(self) -> Literal["open", "done", "over"]: ...
    @property
    def _nested(self) -> bool: ...
    @property
    def _holder(self) -> str | None: ...
    def _enter(self) -> Reply[None] | None: ...
    def _end(self, timeout: float | None = None) -> Reply[None] | None: ...
    def _go_on(self) -> None: ...
    @property
    def _stands(self) -> bool: ...
    def _undo(self, timeout: float) -> Reply[None] | None: ...
    def _leave(self) -> None: ...

class TransactionBlock:
    """The core of `Transaction`: its verbs, and what its block is made of."""

    def __new__(
        cls,
        client: Client,
        begin: str,
        *,
        modes: bool,
        name: str | None,
        others: str,
        parent: object | None,
        plan: str | None = None,
    ) -> Self:
        """Not yet entered. `begin`: BEGIN as SQL, `modes`: with modes the caller gave; `name`: a savepoint's, quoted; `plan`: in
        words, the plan whose transaction it is.
        """

    @overload
    def fetch_all(
        self,
        statement: Statement[_R],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> list[Row]:
        """As the connection's `fetch_all`, in this transaction.

        commit: True for the last statement of the block: what ends the block (COMMIT, or RELEASE of a savepoint) travels in
        its flight. When the statement fails it is skipped, and leaving the block rolls back. Afterwards the block takes no
        further call. Raises what COMMIT raises: the error of a deferred constraint, UnexpectedRollback, and
        TransactionOutcomeUnknown when the connection is lost meanwhile. A result that is not what the verb wants (`NoRow`, a
        row class that refuses) is raised after the COMMIT.

        >>> with db.transaction() as tx:
        ...     users = tx.fetch_all("delete from users where id > $1 returning id", 100, commit=True)
        >>> users
        []
        """

    @overload
    def fetch_one(
        self,
        statement: Statement[_R],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Row:
        """As the connection's `fetch_one`, in this transaction; commit: as for `fetch_all` here."""

    @overload
    def fetch_optional(
        self,
        statement: Statement[_R],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Row | None:
        """As the connection's `fetch_optional`, in this transaction; commit: as for `fetch_all` here."""

    @overload
    def fetch_first(
        self,
        statement: Statement[_R],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Row | None:
        """As the connection's `fetch_first`, in this transaction; commit: as for `fetch_all` here."""

    @overload
    def fetch_value(
        self,
        statement: Statement[Row],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
    ) -> Any: ...
    @overload
    def fetch_value(
        self,
        statement: Statement[_R],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Any:
        """As the connection's `fetch_value`, in this transaction; commit: as for `fetch_all` here."""

    @overload
    def fetch_column(
        self,
        statement: Statement[Row],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
    ) -> list[Any]: ...
    @overload
    def fetch_column(
        self,
        statement: Statement[_R],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> list[Any]:
        """As the connection's `fetch_column`, in this transaction; commit: as for `fetch_all` here."""

    @overload
    def execute(
        self,
        statement: Statement[object],
        /,
        *,
        timeout: float | None = None,
        isolate: bool = False,
        commit: bool = False,
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
        commit: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> CommandTag:
        """As the connection's `execute`, in this transaction; commit: as for `fetch_all` here."""

    def execute_script(self, sql: str, /, *, timeout: float | None = None) -> list[ScriptResult]:
        """As the connection's `execute_script`, in this transaction."""

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
        """As the connection's `stream`, in this transaction."""

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
        """As the connection's `portal`, in this transaction; so are its fetches, whoever makes them."""

    rollback_only: bool
    """Set it to True, and leaving the block undoes it, quietly; `commit=True` of a later call then commits nothing."""

    # For `driver` and `transport`

    @property
    def _token(self) -> object: ...
    @property
    def _fate(self) -> Literal["open", "done", "over"]: ...
    @property
    def _nested(self) -> bool: ...
    @property
    def _holder(self) -> str | None: ...
    def _enter(self) -> None: ...
    def _end(self, timeout: float | None = None) -> None: ...
    def _go_on(self) -> None: ...
    @property
    def _stands(self) -> bool: ...
    def _undo(self, timeout: float) -> None: ...
    def _leave(self) -> None: ...
