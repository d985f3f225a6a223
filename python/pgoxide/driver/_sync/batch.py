# generated from python/pgoxide/driver/_async/batch.py by tools/async_to_sync.py: do not edit

"""`Batch`: several statements in one flight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgoxide import _core
from pgoxide.driver.peers import explain_peers_names, own_names

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from pgoxide.driver._sync.connection import Connection

__all__ = ["Batch"]


@explain_peers_names("batch")
class Batch(_core.BatchBuilder):
    """Collects statements in its block and sends them as one flight when the block ends; see `Connection.batch`.

    Each verb returns a reply whose `result()` is there after the block. An exception inside the block sends nothing.
    """

    _connection: Connection
    _timeout: float | None
    _commit: bool

    def __new__(
        cls,
        connection: Connection,
        timeout: float | None = None,
        token: object | None = None,
        commit: bool = False,
    ) -> Self:
        """For `connection`, or for its transaction block of `token`, whose end it is to bring if `commit` says so."""
        self = super().__new__(cls, connection, token)
        self._connection = connection
        self._timeout = timeout
        self._commit = commit
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc_type is not None or not len(self):
            self._discard()
            return
        self._connection._run_batch(self, self._timeout, self._commit)

    def __dir__(self) -> list[str]:
        return own_names(super().__dir__())
