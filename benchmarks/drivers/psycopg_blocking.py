"""psycopg 3, blocking, binary results, one cursor used again (its quickest way)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import class_row

from benchmarks.data import COPY_OUT_SQL, COPY_TYPES, LOOK_UP, SELECT_1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.drivers import Rows

MODULE, ENTRY = "psycopg", "Connection"
LOOK_UP = LOOK_UP.replace("$1", "%s")


class Driver:
    """See `benchmarks.drivers.BlockingDriver`."""

    def connect(self, dsn: str) -> None:
        self.db = psycopg.Connection.connect(dsn, autocommit=True)

    def close(self) -> None:
        self.db.close()

    def select_1(self, count: int) -> int:
        cursor, total = self.db.cursor(binary=True), 0
        for _ in range(count):
            cursor.execute(SELECT_1)
            total += cursor.fetchone()[0]
        return total

    def look_up(self, keys: Sequence[int]) -> float:
        cursor, total = self.db.cursor(binary=True), 0.0
        for key in keys:
            cursor.execute(LOOK_UP, (key,))
            _id, _name, value = cursor.fetchone()
            total += value
        return total

    def batch(self, keys: Sequence[int]) -> float:
        """Pipeline mode, one Sync at its end."""
        db, total = self.db, 0.0
        with db.pipeline():
            cursors = [db.execute(LOOK_UP, (key,), binary=True) for key in keys]
        for cursor in cursors:
            _id, _name, value = cursor.fetchone()
            total += value
        return total

    def rows(self, sql: str) -> Rows:
        cursor = self.db.cursor(binary=True)
        cursor.execute(sql)
        return cursor.fetchall()

    def objects(self, sql: str, shape: type) -> Rows:
        cursor = self.db.cursor(binary=True, row_factory=class_row(shape))
        cursor.execute(sql)
        return cursor.fetchall()

    def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        sql = f"copy {table} ({', '.join(columns)}) from stdin (format binary)"
        with self.db.cursor().copy(sql) as copy:
            copy.set_types(COPY_TYPES)
            for row in rows:
                copy.write_row(row)

    def prepare(self, case: str) -> None:
        """Composite types must be made known."""
        if case == "composite100k":
            from psycopg.types.composite import CompositeInfo, register_composite

            register_composite(CompositeInfo.fetch(self.db, "bench_item"), self.db)

    def copy_out(self, take: Callable[[bytes], object]) -> None:
        with self.db.cursor().copy(COPY_OUT_SQL) as copy:
            for block in copy:
                take(block)
