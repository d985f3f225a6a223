"""psycopg 3, asynchronous, binary results, one cursor used again (its quickest way)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import class_row

from benchmarks.cases import COPY_TYPES, LOOK_UP, SELECT_1

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.drivers import Rows

MODULE, ENTRY = "psycopg", "AsyncConnection"
LOOK_UP = LOOK_UP.replace("$1", "%s")


class Driver:
    """See `benchmarks.drivers.AsyncDriver`."""

    async def connect(self, dsn: str) -> None:
        self.db = await psycopg.AsyncConnection.connect(dsn, autocommit=True)

    async def close(self) -> None:
        await self.db.close()

    async def select_1(self, count: int) -> int:
        cursor, total = self.db.cursor(binary=True), 0
        for _ in range(count):
            await cursor.execute(SELECT_1)
            total += (await cursor.fetchone())[0]
        return total

    async def look_up(self, keys: Sequence[int]) -> float:
        cursor, total = self.db.cursor(binary=True), 0.0
        for key in keys:
            await cursor.execute(LOOK_UP, (key,))
            _id, _name, value = await cursor.fetchone()
            total += value
        return total

    async def tasks(self, groups: Sequence[Sequence[int]]) -> float:
        return sum(await asyncio.gather(*map(self.look_up, groups)))

    async def batch(self, keys: Sequence[int]) -> float:
        """Pipeline mode, one Sync at its end."""
        db, total = self.db, 0.0
        async with db.pipeline():
            cursors = [await db.execute(LOOK_UP, (key,), binary=True) for key in keys]
        for cursor in cursors:
            _id, _name, value = await cursor.fetchone()
            total += value
        return total

    async def rows(self, sql: str) -> Rows:
        cursor = self.db.cursor(binary=True)
        await cursor.execute(sql)
        return await cursor.fetchall()

    async def objects(self, sql: str, shape: type) -> Rows:
        cursor = self.db.cursor(binary=True, row_factory=class_row(shape))
        await cursor.execute(sql)
        return await cursor.fetchall()

    async def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        sql = f"copy {table} ({', '.join(columns)}) from stdin (format binary)"
        async with self.db.cursor().copy(sql) as copy:
            copy.set_types(COPY_TYPES)
            for row in rows:
                await copy.write_row(row)
