"""psycopg 3, asynchronous, binary results, one cursor used again (its quickest way)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import class_row

from benchmarks.data import COPY_OUT_SQL, COPY_TYPES, INSERT, LOOK_UP, SELECT_1, TEN_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.drivers import Rows

MODULE, ENTRY = "psycopg", "AsyncConnection"
LOOK_UP = LOOK_UP.replace("$1", "%s")
TEN_TYPES = TEN_TYPES.replace("$1", "%s")
INSERT = INSERT.replace("$1, $2, $3", "%s, %s, %s")


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

    async def ten(self, key: int) -> Sequence[object]:
        cursor = self.db.cursor(binary=True)
        await cursor.execute(TEN_TYPES, (key,))
        return await cursor.fetchone()

    async def ten_types(self, keys: Sequence[int]) -> float:
        cursor, total = self.db.cursor(binary=True), 0.0
        for key in keys:
            await cursor.execute(TEN_TYPES, (key,))
            _id, _small, _big, score, _active, _name, _amount, _born, _seen, _key = await cursor.fetchone()
            total += score
        return total

    async def open_pool(self, dsn: str, size: int) -> None:
        import psycopg_pool

        self.pool = psycopg_pool.AsyncConnectionPool(
            dsn, min_size=size, max_size=size, kwargs={"autocommit": True}, open=False
        )
        await self.pool.open(wait=True)

    async def pool_tasks(self, groups: Sequence[Sequence[int]]) -> float:
        pool = self.pool

        async def task(keys: Sequence[int]) -> float:
            total = 0.0
            for key in keys:
                async with pool.connection() as db:
                    cursor = await db.execute(LOOK_UP, (key,), binary=True)
                    _id, _name, value = await cursor.fetchone()
                total += value
            return total

        return sum(await asyncio.gather(*map(task, groups)))

    async def close_pool(self) -> None:
        await self.pool.close()

    async def stream(self, sql: str, batch: int, take: Callable[[Sequence[Any]], None]) -> None:
        """A cursor on the server, its way to take rows in batches."""
        async with self.db.transaction(), self.db.cursor("bench", binary=True) as cursor:
            await cursor.execute(sql)
            while rows := await cursor.fetchmany(batch):
                take(rows)

    async def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        cursor = self.db.cursor()
        for row in rows:
            await cursor.execute(INSERT, row)

    async def transactions(self, rows: Sequence[tuple[Any, ...]], *, fused: bool) -> None:  # noqa: ARG002  it commits at the end of its block only
        db, cursor = self.db, self.db.cursor()
        for i in range(0, len(rows), 2):
            async with db.transaction():
                await cursor.execute(INSERT, rows[i])
                await cursor.execute(INSERT, rows[i + 1])

    async def execute_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        async with self.db.transaction():
            await self.db.cursor().executemany(INSERT, rows)

    async def copy_out(self, take: Callable[[bytes], object]) -> None:
        async with self.db.cursor().copy(COPY_OUT_SQL) as copy:
            async for block in copy:
                take(block)
