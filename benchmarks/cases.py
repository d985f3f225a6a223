"""What is measured, and how often each case is repeated.

A new case is an entry in `CASES`, with a shape of measures.py, and lines in goals.py. The tables and the right answers are in
data.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import data

if TYPE_CHECKING:
    from collections.abc import Callable

TASKS = 100


@dataclass(frozen=True)
class Case:
    """One case: how many operations are timed in a process, and what the C floor does for it."""

    shape: str  # which function of measures.py measures it
    operations: int
    unit: str = "us"  # for people; results are in seconds
    sql: str = ""
    rows: int = 1
    row: Callable[[int], tuple[object, ...]] | None = None
    floor: str = "sequential"
    in_flight: int = 1
    size: int = 1  # of a pool
    latency: bool = False  # swings most and costs least: measured twice in each round


def _table(
    operations: int, columns: str, table: str, rows: int, row: Callable[[int], tuple[object, ...]]
) -> Case:
    return Case("rows", operations, "ms", f"select {columns} from {table}", rows, row)


def _wide(shape: str) -> Case:
    columns = ", ".join(data.WIDE_COLUMNS)
    return Case(shape, 10, "ms", f"select {columns} from bench_wide", 10_000, data.row_of_wide)


CASES: dict[str, Case] = {
    "select1": Case("select_1", 2000, sql=data.SELECT_1, latency=True),
    "pk": Case("look_up", 2000, sql=data.LOOK_UP, latency=True),
    "tentypes": Case("ten_types", 2000, sql=data.TEN_TYPES),
    "tasks100": Case("tasks", 5000, sql=data.LOOK_UP, floor="in_flight", in_flight=TASKS),
    "pool4": Case("pool", 5000, sql=data.LOOK_UP, size=4),
    "pool10": Case("pool", 5000, sql=data.LOOK_UP, size=10),
    "batch": Case("batch", 5000, sql=data.LOOK_UP, floor="batch", in_flight=1000),
    "rows1000x5": Case(
        "rows", 200, "us", "select id, name, amount, score, active from bench_rows", 1000, data.row_of_rows
    ),
    "ints100k": _table(5, "a, b, c, d", "bench_ints", 100_000, data.row_of_ints),
    "mix100k": _table(3, "name, at, amount, key", "bench_mix", 100_000, data.row_of_mix),
    "jsonb20k": _table(4, "doc", "bench_json", 20_000, data.row_of_json),
    "int4x100": _table(5, "items", "bench_array100", 5_000, data.row_of_array100),
    "int4x10k": _table(5, "items", "bench_array10k", 50, data.row_of_array10k),
    "interval100k": _table(3, "took", "bench_interval", 100_000, data.row_of_interval),
    "inet100k": _table(3, "address", "bench_inet", 100_000, data.row_of_inet),
    "composite100k": _table(1, "items", "bench_composite", 100_000, data.row_of_composite),
    "range100k": _table(1, "span, during", "bench_range", 100_000, data.row_of_range),
    "dataclass10k": _wide("dataclasses"),
    "msgspec10k": _wide("structs"),
    "pydantic10k": _wide("models"),
    "insert": Case("insert", 2000, sql=data.INSERT),
    "txcommit": Case("transactions", 1000, sql=data.INSERT),
    "txblock": Case("transactions", 1000, sql=data.INSERT),
    "executemany10k": Case("execute_many", 3, "ms", data.INSERT, 10_000, floor="execute_many"),
    "copyin100k": Case("copy_in", 3, "ms", data.COPY_SQL, data.COPY_ROWS, floor="copyin"),
    "copyout100k": Case("copy_out", 10, "ms", data.COPY_OUT_SQL, data.COPY_ROWS, floor="copyout"),
    "stream1m": Case("stream", 1, "ms", data.STREAM, data.STREAM_ROWS),
    "import": Case("import_time", 5, "ms"),
}
