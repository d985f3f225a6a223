"""One file per driver, each with the same case functions under the same names.

A file holds `MODULE` (what `import` times), `ENTRY` (the attribute that connects) and, where the driver
takes part in more than the import case, a class `Driver` as described by the protocols here. Loops are
written out in each file, so that no layer of ours stands between the clock and the driver. The blocking
drivers have the same methods without `async`. All use their defaults; a driver that has no way to do a case
raises `NotImplementedError`, and goals.py does not ask for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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

    async def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Binary COPY of the tuples."""


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
