"""pgoxide, blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pgoxide
from benchmarks.data import LOOK_UP, SELECT_1

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.drivers import Rows

MODULE, ENTRY = "pgoxide", "Connection"


class Driver:
    """See `benchmarks.drivers.BlockingDriver`."""

    def connect(self, dsn: str) -> None:
        self.db = pgoxide.Connection.connect(dsn)

    def close(self) -> None:
        self.db.close()

    def select_1(self, count: int) -> int:
        db, total = self.db, 0
        for _ in range(count):
            total += db.fetch_value(SELECT_1)
        return total

    def look_up(self, keys: Sequence[int]) -> float:
        db, total = self.db, 0.0
        for key in keys:
            _id, _name, value = db.fetch_one(LOOK_UP, key)
            total += value
        return total

    def batch(self, keys: Sequence[int]) -> float:
        total = 0.0
        with self.db.batch() as batch:
            results = [batch.fetch_one(LOOK_UP, key) for key in keys]
        for result in results:
            _id, _name, value = result.result()
            total += value
        return total

    def rows(self, sql: str) -> Rows:
        return self.db.fetch_all(sql)

    def objects(self, sql: str, shape: type) -> Rows:
        return self.db.fetch_all(sql, into=shape)

    def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        self.db.copy_in(table, rows, columns=list(columns))
