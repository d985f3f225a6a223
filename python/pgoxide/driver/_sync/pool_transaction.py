# generated from python/pgoxide/driver/_async/pool_transaction.py by tools/async_to_sync.py: do not edit

"""`PoolTransaction`: a transaction on a connection of the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgoxide.errors import InterfaceError

if TYPE_CHECKING:
    from types import TracebackType

    from pgoxide.driver._sync.connection import Connection
    from pgoxide.driver._sync.pool import Pool
    from pgoxide.driver._sync.transaction import Transaction

__all__ = ["PoolTransaction"]


class PoolTransaction:
    """Takes a connection when its block is entered, and gives it back when the block ends; see `Pool.transaction`."""

    def __init__(self, pool: Pool, options: dict[str, Any]) -> None:
        self._pool = pool
        self._options = options
        self._entered = False
        self._db: Connection | None = None
        self._block: Transaction | None = None

    @property
    def _stays(self) -> bool:
        """What the block did has not been undone."""
        return self._block is not None and self._block._stays

    def __enter__(self) -> Transaction:
        if self._entered:
            raise InterfaceError("a transaction block is entered once: make another by transaction()")
        self._entered = True
        self._db = self._pool.acquire()
        try:
            self._block = self._db.transaction(**self._options)
            return self._block.__enter__()
        except BaseException:
            self._pool.release(self._db)
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if self._db is None or self._block is None:
            return False
        try:
            return self._block.__exit__(exc_type, exc, traceback)
        finally:
            self._pool.release(self._db)
