"""Statements that their users hold. Stub of prepared_statement.rs."""

from collections.abc import Mapping
from typing import Any, Generic, Self, TypeVar, overload

from pgoxide._core.async_client import AsyncClient
from pgoxide._core.awaitable import Reply
from pgoxide._core.blocking_client import Client
from pgoxide._core.portal import AsyncPortal, Portal
from pgoxide._core.prepared import Prepared
from pgoxide._core.stream import AsyncStream, Stream
from pgoxide._core.tag import CommandTag
from pgoxide.types import Row

__all__ = ["AsyncPreparedVerbs", "PreparedVerbs"]

_R_co = TypeVar("_R_co", covariant=True)

class AsyncPreparedVerbs(Generic[_R_co]):
    """The core of `AsyncPreparedStatement`: its verbs, and what is known of it."""

    def __new__(cls, client: AsyncClient, prepared: Prepared, into: object = None) -> Self:
        """Of a statement that `client` has described. Called by `prepare()`."""

    def fetch_all(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[list[_R_co]]:
        """All rows, as a list; an empty list when there are none.

        args, named, params: the parameters' values, by position or by name; encoded during the call. timeout, isolate, and
        what is raised: as for the `fetch_all` of the connection; also InterfaceError once the statement was closed.
        """

    def fetch_one(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[_R_co]:
        """The only row. Raises NoRow, MultipleRows.

        Arguments and errors: as for `fetch_all` here.
        """

    def fetch_optional(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[_R_co | None]:
        """The only row, or None. Raises MultipleRows.

        Arguments and errors: as for `fetch_all` here.
        """

    def fetch_first(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[_R_co | None]:
        """The first row, or None; the others are discarded.

        Arguments and errors: as for `fetch_all` here.
        """

    @overload
    def fetch_value(
        self: AsyncPreparedVerbs[Row],
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[Any]: ...
    @overload
    def fetch_value(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[_R_co | None]:
        """The only column of the only row; SQL NULL gives None. Raises NoRow, MultipleRows, and InterfaceError for another
        number of columns.

        Arguments and errors: as for `fetch_all` here.
        """

    @overload
    def fetch_column(
        self: AsyncPreparedVerbs[Row],
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[list[Any]]: ...
    @overload
    def fetch_column(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[list[_R_co | None]]:
        """The only column of all rows, as a list; SQL NULL gives None. Raises InterfaceError for another number of columns.

        Arguments and errors: as for `fetch_all` here.
        """

    def execute(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[CommandTag]:
        """Runs it; rows are discarded.

        Arguments and errors: as for `fetch_all` here.
        """

    def stream(
        self,
        *args: object,
        batch: int = 1000,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> AsyncStream[_R_co]:
        """Rows as they come, in bounded memory; see the `stream` of the connection."""

    def portal(
        self,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Reply[AsyncPortal[_R_co]]:
        """Opens a portal, whose rows are asked for part by part inside a transaction; see the `portal` of the connection."""

    @property
    def name(self) -> str:
        """Its name at the server, as in `pg_prepared_statements`. Another one after it had to be prepared anew."""

    @property
    def sql(self) -> str:
        """Its text, as it was given."""

    @property
    def status(self) -> str | None:
        """The command tag of its last run that ended, as the server wrote it (`"SELECT 3"`); None before."""

    @property
    def closed(self) -> bool:
        """Whether it, or its connection, has been closed."""

    def _parameters(self) -> list[tuple[str | None, int, str]]:
        """Name, type's OID and name of each parameter."""

    def _columns(self) -> list[tuple[str, int, str, int, int, int]] | None:
        """Name, type's OID and name, modifier, table's OID and number in it of each column; None when it returns no rows."""

    def _current(self) -> Prepared:
        """The statement to run now."""

    def _let_go(self) -> bool:
        """Gives it up, to be closed. False when that has been done."""

class PreparedVerbs(Generic[_R_co]):
    """The core of `PreparedStatement`: its verbs, and what is known of it."""

    def __new__(cls, client: Client, prepared: Prepared, into: object = None) -> Self:
        """Of a statement that `client` has described. Called by `prepare()`."""

    def fetch_all(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> list[_R_co]:
        """All rows, as a list; an empty list when there are none.

        args, named, params: the parameters' values, by position or by name; encoded during the call. timeout, isolate, and
        what is raised: as for the `fetch_all` of the connection; also InterfaceError once the statement was closed.
        """

    def fetch_one(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> _R_co:
        """The only row. Raises NoRow, MultipleRows.

        Arguments and errors: as for `fetch_all` here.
        """

    def fetch_optional(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> _R_co | None:
        """The only row, or None. Raises MultipleRows.

        Arguments and errors: as for `fetch_all` here.
        """

    def fetch_first(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> _R_co | None:
        """The first row, or None; the others are discarded.

        Arguments and errors: as for `fetch_all` here.
        """

    @overload
    def fetch_value(
        self: PreparedVerbs[Row],
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Any: ...
    @overload
    def fetch_value(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> _R_co | None:
        """The only column of the only row; SQL NULL gives None. Raises NoRow, MultipleRows, and InterfaceError for another
        number of columns.

        Arguments and errors: as for `fetch_all` here.
        """

    @overload
    def fetch_column(
        self: PreparedVerbs[Row],
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> list[Any]: ...
    @overload
    def fetch_column(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> list[_R_co | None]:
        """The only column of all rows, as a list; SQL NULL gives None. Raises InterfaceError for another number of columns.

        Arguments and errors: as for `fetch_all` here.
        """

    def execute(
        self,
        *args: object,
        timeout: float | None = None,
        isolate: bool = False,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> CommandTag:
        """Runs it; rows are discarded.

        Arguments and errors: as for `fetch_all` here.
        """

    def stream(
        self,
        *args: object,
        batch: int = 1000,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Stream[_R_co]:
        """Rows as they come, in bounded memory; see the `stream` of the connection."""

    def portal(
        self,
        *args: object,
        timeout: float | None = None,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> Portal[_R_co]:
        """Opens a portal, whose rows are asked for part by part inside a transaction; see the `portal` of the connection."""

    @property
    def name(self) -> str:
        """Its name at the server, as in `pg_prepared_statements`. Another one after it had to be prepared anew."""

    @property
    def sql(self) -> str:
        """Its text, as it was given."""

    @property
    def status(self) -> str | None:
        """The command tag of its last run that ended, as the server wrote it (`"SELECT 3"`); None before."""

    @property
    def closed(self) -> bool:
        """Whether it, or its connection, has been closed."""

    def _parameters(self) -> list[tuple[str | None, int, str]]:
        """Name, type's OID and name of each parameter."""

    def _columns(self) -> list[tuple[str, int, str, int, int, int]] | None:
        """Name, type's OID and name, modifier, table's OID and number in it of each column; None when it returns no rows."""

    def _current(self) -> Prepared:
        """The statement to run now."""

    def _let_go(self) -> bool:
        """Gives it up, to be closed. False when that has been done."""
