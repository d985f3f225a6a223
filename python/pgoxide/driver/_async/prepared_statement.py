"""`AsyncPreparedStatement`: a statement that is prepared once and held."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pgoxide import _core
from pgoxide.driver._async import feeding
from pgoxide.driver.peers import explain_peers_names, own_names
from pgoxide.types import ResultColumn, StatementParameter

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable
    from types import TracebackType
    from typing import Self

    from pgoxide._core import CommandTag, Prepared
    from pgoxide.driver._async.connection import AsyncConnection
    from pgoxide.statement import ParameterSet
    from pgoxide.types import Row

__all__ = ["AsyncPreparedStatement"]

R_co = TypeVar("R_co", covariant=True)


@explain_peers_names("statement")
class AsyncPreparedStatement(_core.AsyncPreparedVerbs[R_co]):
    """A statement that the server has parsed and described, held until it is closed; from `AsyncConnection.prepare`.

    It has the verbs of the connection, without the text: `fetch_all(*args)`, … Its row type was chosen when it was prepared.
    The connection keeps the statements of its own cache apart from it: neither closes the other's.

    Close it with `close()`, by leaving its block, or by letting it go: dropped on whatever thread, it is closed by the next
    request. When the server drops it, or its tables change, it is prepared anew under another name by its next use; inside a
    transaction the use that meets it raises StatementInvalidated.

    >>> import pgoxide
    >>> async def example(db: pgoxide.AsyncConnection) -> None:
    ...     async with await db.prepare("select name from users where id = $1", into=str) as name_of:
    ...         print([await name_of.fetch_value(number) for number in (1, 2)])
    """

    _connection: AsyncConnection

    def __new__(
        cls,
        connection: AsyncConnection,
        prepared: Prepared,
        into: type[R_co] | Callable[[Row], R_co] | None,
    ) -> Self:
        """Made by `AsyncConnection.prepare`."""
        self = super().__new__(cls, connection, prepared, into)
        self._connection = connection
        return self

    async def execute_many(
        self,
        parameter_sets: Iterable[ParameterSet] | AsyncIterable[ParameterSet],
        /,
        *,
        timeout: float | None = None,
    ) -> CommandTag:
        """Runs it with many parameter sets, all or none; see `AsyncConnection.execute_many`."""
        return await feeding.execute_many(self._connection, self, parameter_sets, timeout)

    async def close(self) -> None:
        """Closes it at the server, in a round trip of its own. Twice does nothing.

        Where no call can be made now (the connection is closed, this task reads a stream, another holds a transaction), the next
        request closes it, or the session's end. Runs that are under way end as they would.
        """
        if self._let_go():
            # async-only: begin
            closing = self._connection._close_given_up()
            if closing is not None:
                await closing
            # async-only: end
            # sync: self._connection._close_given_up()

    @property
    def parameters(self) -> tuple[StatementParameter, ...]:
        """What it takes, in the order of `$1`, `$2` …"""
        return tuple(StatementParameter(*parameter) for parameter in self._parameters())

    @property
    def parameter_types(self) -> tuple[str, ...]:
        """The names of the parameters' types."""
        return tuple(parameter.type_name for parameter in self.parameters)

    @property
    def columns(self) -> tuple[ResultColumn, ...]:
        """The columns of its rows; none for a statement that returns no rows."""
        columns = self._columns() or ()
        return tuple(
            ResultColumn(name, oid, type_name, modifier, table or None, number or None)
            for name, oid, type_name, modifier, table, number in columns
        )

    @property
    def returns_rows(self) -> bool:
        """Whether it gives rows."""
        return self._columns() is not None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        """Its text and how it stands."""
        if self.closed:
            return f"<{type(self).__name__} closed>"
        return f"<{type(self).__name__} {self.name} {self.sql!r}>"

    def __dir__(self) -> list[str]:
        return own_names(super().__dir__())
