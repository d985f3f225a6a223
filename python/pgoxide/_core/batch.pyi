"""Batches: several statements in one flight with one Sync. Stub of batch.rs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Self, TypeAlias, TypeVar, final, overload

from pgoxide._core.async_client import AsyncClient
from pgoxide._core.blocking_client import Client
from pgoxide._core.tag import CommandTag
from pgoxide.statement import Statement
from pgoxide.types import Row

__all__ = ["BatchBuilder", "BatchReply"]

_R = TypeVar("_R")
_Types: TypeAlias = Sequence[str | int] | Mapping[str, str | int]
_R_co = TypeVar("_R_co", covariant=True)

@final
class BatchReply(Generic[_R_co]):
    """One statement's answer in a batch; there once the batch has run."""

    def result(self) -> _R_co:
        """What the statement gave.

        Raises the statement's own error; BatchAborted, with that error as cause, when another statement of the batch
        failed; InterfaceError while the batch has not run.
        """

class BatchBuilder:
    """Collects the statements of a batch: what `Batch` and `AsyncBatch` inherit their verbs from."""

    def __new__(
        cls, client: AsyncClient | Client, token: object | None = None, by_hand: bool = False
    ) -> Self:
        """An empty batch for this connection, or for its transaction block of this token. `by_hand`: it may hold BEGIN, COMMIT and
        ROLLBACK all the same.
        """

    def __len__(self) -> int:
        """How many statements have been added."""

    def _discard(self) -> None:
        """Forgets what was collected: nothing is sent."""

    @overload
    def fetch_all(self, statement: Statement[_R], /) -> BatchReply[list[_R]]: ...
    @overload
    def fetch_all(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> BatchReply[list[_R]]: ...
    @overload
    def fetch_all(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> BatchReply[list[Row]]:
        """Adds a statement whose reply holds all rows, as a list.

        statement, args, named, params, into, types: as for `fetch_all` of a connection. The parameters are encoded during the call.

        Raises InterfaceError for a call that cannot be right and DataError for a value that does not fit; the batch is then
        as it was before. What the server refuses is raised when the batch runs.
        """

    @overload
    def fetch_one(self, statement: Statement[_R], /) -> BatchReply[_R]: ...
    @overload
    def fetch_one(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> BatchReply[_R]: ...
    @overload
    def fetch_one(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> BatchReply[Row]:
        """Adds a statement whose reply holds exactly one row; its `result()` raises NoRow or MultipleRows.

        Arguments and errors: as for `fetch_all` here.
        """

    @overload
    def fetch_optional(self, statement: Statement[_R], /) -> BatchReply[_R | None]: ...
    @overload
    def fetch_optional(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> BatchReply[_R | None]: ...
    @overload
    def fetch_optional(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> BatchReply[Row | None]:
        """Adds a statement whose reply holds the row or None; its `result()` raises MultipleRows.

        Arguments and errors: as for `fetch_all` here.
        """

    @overload
    def fetch_first(self, statement: Statement[_R], /) -> BatchReply[_R | None]: ...
    @overload
    def fetch_first(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> BatchReply[_R | None]: ...
    @overload
    def fetch_first(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> BatchReply[Row | None]:
        """Adds a statement whose reply holds the first row or None; the rest is discarded.

        Arguments and errors: as for `fetch_all` here.
        """

    @overload
    def fetch_value(self, statement: Statement[Row], /) -> BatchReply[Any]: ...
    @overload
    def fetch_value(self, statement: Statement[_R], /) -> BatchReply[_R | None]: ...
    @overload
    def fetch_value(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> BatchReply[_R | None]: ...
    @overload
    def fetch_value(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> BatchReply[Any]:
        """Adds a statement whose reply holds the only column of the only row; SQL NULL gives None.

        Arguments and errors: as for `fetch_all` here.
        """

    @overload
    def fetch_column(self, statement: Statement[Row], /) -> BatchReply[list[Any]]: ...
    @overload
    def fetch_column(self, statement: Statement[_R], /) -> BatchReply[list[_R | None]]: ...
    @overload
    def fetch_column(
        self,
        statement: str,
        /,
        *args: object,
        into: type[_R] | Callable[[Row], _R],
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> BatchReply[list[_R | None]]: ...
    @overload
    def fetch_column(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> BatchReply[list[Any]]:
        """Adds a statement whose reply holds the only column of all rows, as a list; SQL NULL gives None.

        Arguments and errors: as for `fetch_all` here.
        """

    @overload
    def execute(self, statement: Statement[object], /) -> BatchReply[CommandTag]: ...
    @overload
    def execute(
        self,
        statement: str,
        /,
        *args: object,
        types: _Types | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> BatchReply[CommandTag]:
        """Adds a statement whose reply holds its command tag.

        Arguments and errors: as for `fetch_all` here.
        """
