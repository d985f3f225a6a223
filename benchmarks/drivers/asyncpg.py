"""asyncpg. One connection runs one statement at a time, so the 100 tasks stand behind an `asyncio.Lock`."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import asyncpg

from benchmarks.data import COPY_OUT_TABLE, INSERT, LOOK_UP, SELECT_1, TEN_TYPES, wide_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.drivers import Rows

MODULE, ENTRY = "asyncpg", "connect"


class Driver:
    """See `benchmarks.drivers.AsyncDriver`."""

    async def connect(self, dsn: str) -> None:
        self.db = await asyncpg.connect(dsn)

    async def close(self) -> None:
        await self.db.close()

    async def select_1(self, count: int) -> int:
        db, total = self.db, 0
        for _ in range(count):
            total += await db.fetchval(SELECT_1)
        return total

    async def look_up(self, keys: Sequence[int]) -> float:
        db, total = self.db, 0.0
        for key in keys:
            _id, _name, value = await db.fetchrow(LOOK_UP, key)
            total += value
        return total

    async def tasks(self, groups: Sequence[Sequence[int]]) -> float:
        db, lock = self.db, asyncio.Lock()

        async def task(keys: Sequence[int]) -> float:
            total = 0.0
            for key in keys:
                async with lock:
                    row = await db.fetchrow(LOOK_UP, key)
                _id, _name, value = row
                total += value
            return total

        return sum(await asyncio.gather(*map(task, groups)))

    async def batch(self, keys: Sequence[int]) -> float:
        """No batch of separate statements: 100 tasks behind the lock (see asyncpg_fetchmany.py)."""
        return await self.tasks([keys[i::100] for i in range(100)])

    async def rows(self, sql: str) -> Rows:
        return await self.db.fetch(sql)

    async def objects(self, sql: str, shape: type) -> Rows:
        """Its own records, since it makes no objects; of models, what its users write."""
        records = await self.db.fetch(sql)
        if shape is wide_model():
            return [shape.model_validate(dict(record)) for record in records]
        return records

    async def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        await self.db.copy_records_to_table(table, columns=columns, records=rows)

    async def ten(self, key: int) -> Sequence[object]:
        return await self.db.fetchrow(TEN_TYPES, key)

    async def ten_types(self, keys: Sequence[int]) -> float:
        db, total = self.db, 0.0
        for key in keys:
            _id, _small, _big, score, _active, _name, _amount, _born, _seen, _key = await db.fetchrow(
                TEN_TYPES, key
            )
            total += score
        return total

    async def prepare(self, case: str) -> None:
        """JSON comes as text by default."""
        if case == "jsonb20k":
            await self.db.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")

    async def open_pool(self, dsn: str, size: int) -> None:
        self.pool = await asyncpg.create_pool(dsn, min_size=size, max_size=size)

    async def pool_tasks(self, groups: Sequence[Sequence[int]]) -> float:
        pool = self.pool

        async def task(keys: Sequence[int]) -> float:
            total = 0.0
            for key in keys:
                _id, _name, value = await pool.fetchrow(LOOK_UP, key)
                total += value
            return total

        return sum(await asyncio.gather(*map(task, groups)))

    async def close_pool(self) -> None:
        await self.pool.close()

    async def stream(self, sql: str, batch: int, take: Callable[[Sequence[Any]], None]) -> None:
        async with self.db.transaction():
            cursor = await self.db.cursor(sql)
            while rows := await cursor.fetch(batch):
                take(rows)

    async def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        db = self.db
        for row in rows:
            await db.execute(INSERT, *row)

    async def transactions(self, rows: Sequence[tuple[Any, ...]], *, fused: bool) -> None:  # noqa: ARG002  it commits at the end of its block only
        db = self.db
        for i in range(0, len(rows), 2):
            async with db.transaction():
                await db.execute(INSERT, *rows[i])
                await db.execute(INSERT, *rows[i + 1])

    async def execute_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        await self.db.executemany(INSERT, rows)

    async def copy_out(self, take: Callable[[bytes], object]) -> None:
        async def output(block: bytes) -> None:  # it demands a coroutine
            take(block)

        await self.db.copy_from_table(COPY_OUT_TABLE, output=output, format="binary")
