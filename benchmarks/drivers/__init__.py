"""One file per driver, each with the same case functions under the same names.

A file holds `MODULE` (what `import` times), `ENTRY` (the attribute that connects) and, where the driver
takes part in more than the import case, a class `Driver` as described by the protocols here. Loops are
written out in each file, so that no layer of ours stands between the clock and the driver. The blocking
drivers have the same methods without `async`. All use their defaults. A driver that has no way to do a case
lacks its method or raises `NotImplementedError`, and goals.py does not ask for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Rows = Any  # a sequence of the driver's own rows or of objects; most drivers come without types


class AsyncDriver(Protocol):
    """A driver with `async` methods."""

    async def connect(self, dsn: str) -> None:
        """Open one connection with the driver's defaults (autocommit)."""

    async def close(self) -> None:
        """Close it."""

    async def select_1(self, count: int) -> int:
        """`select 1`, one after the other; the sum of the answers."""

    async def look_up(self, keys: Sequence[int]) -> float:
        """Look up the keys one after the other; the sum of `value`, each row unpacked."""

    async def tasks(self, groups: Sequence[Sequence[int]]) -> float:
        """One task per group on the one connection, each looking up its keys one after the other."""

    async def batch(self, keys: Sequence[int]) -> float:
        """All keys as one batch with one Sync, or the nearest the driver has."""

    async def rows(self, sql: str) -> Rows:
        """All rows in the driver's default row type."""

    async def objects(self, sql: str, shape: type) -> Rows:
        """All rows as objects of the dataclass `shape` (asyncpg: its own records)."""

    async def prepare(self, case: str) -> None:
        """What the driver needs to be told before the case, not timed; drivers that need nothing leave it out."""

    async def ten(self, key: int) -> Sequence[object]:
        """One row of ten types."""

    async def ten_types(self, keys: Sequence[int]) -> float:
        """Rows of ten types one after the other; the sum of `score`, each row unpacked."""

    async def open_pool(self, dsn: str, size: int) -> None:
        """Open a pool of that many connections, all else its defaults."""

    async def pool_tasks(self, groups: Sequence[Sequence[int]]) -> float:
        """As `tasks`, on the pool."""

    async def close_pool(self) -> None:
        """Close it."""

    async def stream(self, sql: str, batch: int, take: Callable[[Sequence[Any]], None]) -> None:
        """All rows, in batches, without keeping them."""

    async def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """INSERT one by one."""

    async def transactions(self, rows: Sequence[tuple[Any, ...]], *, fused: bool) -> None:
        """Two INSERTs per transaction block; fused: the second one commits, where the driver knows how."""

    async def execute_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """One INSERT for all rows."""

    async def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Binary COPY of the tuples."""

    async def copy_out(self, take: Callable[[bytes], object]) -> None:
        """Binary COPY of `COPY_OUT_TABLE`, its bytes as they come."""


class BlockingDriver(Protocol):
    """The same, blocking."""

    def connect(self, dsn: str) -> None:
        """As in `AsyncDriver`, like the rest."""

    def close(self) -> None: ...

    def select_1(self, count: int) -> int: ...

    def look_up(self, keys: Sequence[int]) -> float: ...

    def batch(self, keys: Sequence[int]) -> float: ...

    def rows(self, sql: str) -> Rows: ...

    def objects(self, sql: str, shape: type) -> Rows: ...

    def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None: ...
