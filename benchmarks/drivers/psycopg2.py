"""psycopg2: text results and client-side parameters are all it has; blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg2

from benchmarks.data import COPY_OUT_SQL, LOOK_UP, SELECT_1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.drivers import Rows

MODULE, ENTRY = "psycopg2", "connect"
LOOK_UP = LOOK_UP.replace("$1", "%s")


class Driver:
    """See `benchmarks.drivers.BlockingDriver`."""

    def connect(self, dsn: str) -> None:
        self.db = psycopg2.connect(dsn)
        self.db.autocommit = True

    def close(self) -> None:
        self.db.close()

    def select_1(self, count: int) -> int:
        cursor, total = self.db.cursor(), 0
        for _ in range(count):
            cursor.execute(SELECT_1)
            total += cursor.fetchone()[0]
        return total

    def look_up(self, keys: Sequence[int]) -> float:
        cursor, total = self.db.cursor(), 0.0
        for key in keys:
            cursor.execute(LOOK_UP, (key,))
            _id, _name, value = cursor.fetchone()
            total += value
        return total

    def batch(self, keys: Sequence[int]) -> float:
        raise NotImplementedError("psycopg2 has no pipeline")

    def rows(self, sql: str) -> Rows:
        cursor = self.db.cursor()
        cursor.execute(sql)
        return cursor.fetchall()

    def objects(self, sql: str, shape: type) -> Rows:
        raise NotImplementedError("psycopg2 has no dataclass rows")

    def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        raise NotImplementedError("psycopg2 copies from text files, not from tuples")

    def prepare(self, case: str) -> None:
        """Composite types must be made known, and addresses are text by default."""
        from psycopg2 import extras

        if case == "composite100k":
            extras.register_composite("bench_item", self.db)
        elif case == "inet100k":
            extras.register_ipaddress(self.db)

    def copy_out(self, take: Callable[[bytes], object]) -> None:
        class Sink:
            write = staticmethod(take)

        self.db.cursor().copy_expert(COPY_OUT_SQL, Sink())
