"""Portals: rows that are asked for part by part. Stub of portal.rs."""

from collections.abc import Awaitable
from types import TracebackType
from typing import Generic, Self, TypeVar, final, type_check_only

__all__ = ["Portal"]

_R_co = TypeVar("_R_co", covariant=True)

@final
class Portal(Generic[_R_co]):
    """A statement with its parameters, whose rows are asked for part by part inside a transaction; from `portal()`.

    Between its fetches other statements may run: only its own transaction limits it. It ends with that, or with the savepoint
    it was opened behind; a fetch afterwards raises InterfaceError, or the server's error 34000. Close it, leave its block, or let
    it go when its rows are no longer wanted: the next request closes it then.

    >>> db.execute("begin")
    CommandTag("BEGIN")
    >>> portal = db.portal("select n from generate_series(1, 10) as n", into=int)
    >>> portal.fetch(3), portal.suspended
    ([1, 2, 3], True)
    >>> portal.fetch_all(), portal.suspended
    ([4, 5, 6, 7, 8, 9, 10], False)
    >>> portal.close()
    >>> db.execute("rollback")
    CommandTag("ROLLBACK")

    Source: protocol chapter, "Message Flow", "Extended Query".
    """

    def fetch(self, count: int, /, *, timeout: float | None = None) -> list[_R_co]:
        """The next rows, at most `count` of them (1 to 2147483647); an empty list when there are no more.

        timeout: seconds; without it the connection's `command_timeout`. A fetch that is late, cancelled or refused leaves the
        transaction failed, and the portal with it. Raises InterfaceError once the portal was closed or its transaction has
        ended; nothing is sent then.
        """

    def fetch_all(self, *, timeout: float | None = None) -> list[_R_co]:
        """The rows that are left. Otherwise as `fetch`."""

    def close(self) -> None:
        """Closes it at the server, in a round trip of its own. Twice does nothing; where no call can be made now, the next
        request closes it.
        """

    @property
    def name(self) -> str:
        """Its name at the server, as in `pg_cursors`."""

    @property
    def suspended(self) -> bool:
        """Whether the last fetch stopped at its count, so that there may be more rows."""

    @property
    def closed(self) -> bool:
        """Whether it has been closed, or has ended with its transaction or connection."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

@final
@type_check_only
class AsyncPortal(Generic[_R_co]):
    """A statement with its parameters, whose rows are asked for part by part inside a transaction; from `portal()`.

    Between its fetches other statements may run: only its own transaction limits it. It ends with that, or with the savepoint
    it was opened behind; a fetch afterwards raises InterfaceError, or the server's error 34000. Close it, leave its block, or let
    it go when its rows are no longer wanted: the next request closes it then.

    >>> await db.execute("begin")
    CommandTag("BEGIN")
    >>> portal = await db.portal("select n from generate_series(1, 10) as n", into=int)
    >>> await portal.fetch(3), portal.suspended
    ([1, 2, 3], True)
    >>> await portal.fetch_all(), portal.suspended
    ([4, 5, 6, 7, 8, 9, 10], False)
    >>> await portal.close()
    >>> await db.execute("rollback")
    CommandTag("ROLLBACK")

    Source: protocol chapter, "Message Flow", "Extended Query".
    """

    def fetch(self, count: int, /, *, timeout: float | None = None) -> Awaitable[list[_R_co]]:
        """The next rows, at most `count` of them (1 to 2147483647); an empty list when there are no more.

        timeout: seconds; without it the connection's `command_timeout`. A fetch that is late, cancelled or refused leaves the
        transaction failed, and the portal with it. Raises InterfaceError once the portal was closed or its transaction has
        ended; nothing is sent then.
        """

    def fetch_all(self, *, timeout: float | None = None) -> Awaitable[list[_R_co]]:
        """The rows that are left. Otherwise as `fetch`."""

    def close(self) -> Awaitable[None]:
        """Closes it at the server, in a round trip of its own. Twice does nothing; where no call can be made now, the next
        request closes it.
        """

    @property
    def name(self) -> str:
        """Its name at the server, as in `pg_cursors`."""

    @property
    def suspended(self) -> bool:
        """Whether the last fetch stopped at its count, so that there may be more rows."""

    @property
    def closed(self) -> bool:
        """Whether it has been closed, or has ended with its transaction or connection."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
