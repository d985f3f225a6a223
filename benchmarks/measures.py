"""How a case is measured: one function per shape, the same for all drivers.

A driver's method is timed as a whole; what it gave is compared with the right answer outside of that. `touch_s` is the part of
`wall_s` in which every value of the rows was walked over, the same work for every driver; results are dropped outside the timed
part.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import statistics
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter, itemgetter
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from benchmarks import data
from benchmarks.cases import CASES, TASKS, Case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass
class Measure:
    """The result line: seconds per operation, how many, and what else there is to say."""

    wall_s: float
    cpu_s: float
    n: int
    ok: bool = True
    touch_s: float = 0.0
    reach_s: float = 0.0
    rss_growth_mb: float = 0.0


class WrongAnswerError(Exception):
    """A driver gave something else than the server holds."""


def expect(got: object, wanted: object, what: str) -> None:
    """Compare outside the timed part."""
    if got != wanted:
        raise WrongAnswerError(f"{what}: {got!r:.500} instead of {wanted!r:.500}")


async def settled(result: Any) -> Any:
    """A driver's answer, whether its methods are `async` or blocking."""
    return await result if inspect.isawaitable(result) else result


def walk(values: Iterable[Iterable[object]]) -> None:
    """Touch every value at the cost of an iteration in C."""
    deque(chain.from_iterable(values), maxlen=0)


async def timed(call: Callable[[], Any], operations: int, wanted: object, what: str) -> Measure:
    """One call that does all the operations."""
    gc.collect()
    wall, cpu = perf_counter(), process_time()
    result = call()
    if inspect.isawaitable(result):
        result = await result
    wall, cpu = perf_counter() - wall, process_time() - cpu
    expect(result, wanted, what)
    return Measure(wall / operations, cpu / operations, operations)


class Repeated:
    """The mean of several calls, the first of which warms up."""

    def __init__(self, case: Case) -> None:
        self.operations = case.operations
        self.wall = self.cpu = self.touched = 0.0

    async def time(
        self, number: int, call: Callable[[], Any], touch: Callable[[Any], None] | None = None
    ) -> Any:
        """The call's result; counted unless it is the warm-up, number -1."""
        gc.collect()
        began, began_cpu = perf_counter(), process_time()
        result = call()
        if inspect.isawaitable(result):
            result = await result
        got = perf_counter()
        if touch is not None:
            touch(result)
        ended, ended_cpu = perf_counter(), process_time()
        if number >= 0:
            self.wall, self.cpu = self.wall + ended - began, self.cpu + ended_cpu - began_cpu
            self.touched += ended - got
        return result

    def measure(self, *, touched: bool = False) -> Measure:
        """The mean."""
        n = self.operations
        return Measure(self.wall / n, self.cpu / n, n, touch_s=self.touched / n if touched else 0.0)


# ---- one row a query


async def select_1(driver: Any, case: Case) -> Measure:
    """`select 1`, one after the other."""
    await settled(driver.select_1(100))
    return await timed(lambda: driver.select_1(case.operations), case.operations, case.operations, "select 1")


def _keys(case: Case) -> list[int]:
    return [data.key_of(i) for i in range(case.operations)]


async def look_up(driver: Any, case: Case) -> Measure:
    """Look-ups by key, one after the other."""
    keys = _keys(case)
    await settled(driver.look_up(keys[:100]))
    return await timed(lambda: driver.look_up(keys), len(keys), data.look_up_sum(keys), "look-up")


async def ten_types(driver: Any, case: Case) -> Measure:
    """The same of rows of ten types."""
    keys = _keys(case)
    for key in (1, 777, data.KEYS):
        same(await settled(driver.ten(key)), data.row_of_ten(key), f"ten types, id {key}")
    await settled(driver.ten_types(keys[:100]))
    return await timed(lambda: driver.ten_types(keys), len(keys), data.look_up_sum(keys), "ten types")


def _groups(keys: list[int]) -> list[list[int]]:
    return [keys[i::TASKS] for i in range(TASKS)]


async def tasks(driver: Any, case: Case) -> Measure:
    """100 tasks on one connection."""
    keys = _keys(case)
    await settled(driver.tasks([[key] * 8 for key in keys[:100]]))
    return await timed(lambda: driver.tasks(_groups(keys)), len(keys), data.look_up_sum(keys), "100 tasks")


async def pool(driver: Any, case: Case) -> Measure:
    """100 tasks on a pool with default settings."""
    keys = _keys(case)
    await driver.open_pool(driver.dsn, case.size)
    await driver.pool_tasks([[key] * 8 for key in keys[:100]])
    wanted = data.look_up_sum(keys)
    measure = await timed(lambda: driver.pool_tasks(_groups(keys)), len(keys), wanted, "pool")
    await driver.close_pool()
    return measure


async def batch(driver: Any, case: Case) -> Measure:
    """Batches of look-ups, a Sync each."""
    keys = _keys(case)
    batches = [keys[i : i + case.in_flight] for i in range(0, len(keys), case.in_flight)]
    await settled(driver.look_up(keys[:100]))
    await settled(driver.batch(keys[:100]))

    async def all_batches() -> float:
        sums: list[float] = [await settled(driver.batch(batch)) for batch in batches]
        return sum(sums)

    return await timed(all_batches, len(keys), data.look_up_sum(keys), "batch")


# ---- many rows


async def rows(driver: Any, case: Case) -> Measure:
    """Fetch all, then touch every value."""
    return await fetches(lambda: driver.rows(case.sql), tuple, walk, case)


async def dataclasses(driver: Any, case: Case) -> Measure:
    """Fetch all, then touch every attribute (of asyncpg's records: every item) by its name."""
    return await objects(driver, case, data.Wide)


async def structs(driver: Any, case: Case) -> Measure:
    """The same of msgspec Structs."""
    return await objects(driver, case, data.wide_struct())


async def models(driver: Any, case: Case) -> Measure:
    """The same of pydantic models; asyncpg's records are validated with `model_validate`."""
    return await objects(driver, case, data.wide_model())


async def objects(driver: Any, case: Case, shape: type) -> Measure:
    """Rows as objects of `shape`, or records."""
    first = (await settled(driver.objects(case.sql, shape)))[0]
    pick: Any = (attrgetter if isinstance(first, shape) else itemgetter)(*data.WIDE_COLUMNS)

    def touch(found: Iterable[Any]) -> None:
        deque(map(pick, found), maxlen=0)

    return await fetches(lambda: driver.objects(case.sql, shape), pick, touch, case)


async def fetches(
    fetch: Callable[[], Any],
    pick: Callable[[Any], Sequence[object]],
    touch: Callable[[Any], None],
    case: Case,
) -> Measure:
    """The timed part of all: dropping the rows is outside."""
    repeated = Repeated(case)
    for number in range(-1, case.operations):
        result = await repeated.time(number, fetch, touch)
        expect(len(result), case.rows, "rows")
        if number < 0:
            check_rows(result, pick, case)
        del result
        if asyncio._get_running_loop() is not None:
            # Whoever woke this task still holds its answer (a loop's handle, a driver's callback): a turn of the
            # loop lets go of it, so that dropping the rows is not timed with the next fetch.
            await asyncio.sleep(0)
    return repeated.measure(touched=True)


def check_rows(result: Any, pick: Callable[[Any], Sequence[object]], case: Case) -> None:
    """Rows all over the result against what the server was told to make."""
    assert case.row is not None
    for i in {*range(0, case.rows, max(1, case.rows // 199)), case.rows - 1}:
        same(pick(result[i]), case.row(i), f"row {i}")


def same(got: Sequence[object], wanted: Sequence[object], what: str) -> None:
    """Equal, and of the same types."""
    values = tuple(data.normal(value) for value in got)
    expect(values, tuple(wanted), what)
    for value, model in zip(values, wanted, strict=True):
        if not isinstance(value, type(model)):
            raise WrongAnswerError(f"{what}: {value!r} is no {type(model).__name__}")


async def stream(driver: Any, case: Case) -> Measure:
    """A million rows in batches, each walked over; and how much the process grows after the first ten batches."""
    counted = total = batches = 0
    most = 0.0
    first = itemgetter(0)

    def take(batch: Sequence[Sequence[Any]]) -> None:
        nonlocal counted, total, batches, most
        walk(batch)
        counted, total, batches = counted + len(batch), total + sum(map(first, batch)), batches + 1
        if batches % 20 == 0:  # a look takes 10 us
            most = max(most, resident_mb())

    await settled(driver.stream(f"{case.sql} limit {10 * data.STREAM_BATCH}", data.STREAM_BATCH, take))
    gc.collect()
    counted = total = batches = 0
    before = most = resident_mb()
    measure = await timed(
        lambda: driver.stream(case.sql, data.STREAM_BATCH, take), case.operations, None, "stream"
    )
    expect((counted, total), (case.rows, data.STREAM_SUM), "streamed rows")
    measure.rss_growth_mb = max(most, resident_mb()) - before
    return measure


_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1_000_000


def resident_mb() -> float:
    """The memory of this process that is in RAM."""
    with open("/proc/self/statm", "rb", buffering=0) as file:  # noqa: PTH123 - the least work
        return int(file.read().split()[1]) * _PAGE_MB


# ---- writing


async def insert(driver: Any, case: Case) -> Measure:
    """INSERT, one after the other, each in a transaction of its own."""
    return await writes(driver, driver.insert, case, data.written(case.operations))


async def transactions(driver: Any, case: Case) -> Measure:
    """Transactions of two INSERTs, one after the other: an operation is a transaction."""
    found = data.written(2 * case.operations)
    fused = case is CASES["txcommit"]
    return await writes(driver, lambda chosen: driver.transactions(chosen, fused=fused), case, found)


async def writes(
    driver: Any, call: Callable[[Any], Any], case: Case, found: list[tuple[int, str, float]]
) -> Measure:
    """Rows written in one call, counted afterwards by another connection."""
    await settled(call(found[:100]))
    on_the_side(driver.dsn, f"truncate {data.WRITE_TABLE}")
    measure = await timed(lambda: call(found), case.operations, None, "insert")
    expect(on_the_side(driver.dsn, data.WRITE_CHECK), data.written_answer(len(found)), "written rows")
    return measure


async def execute_many(driver: Any, case: Case) -> Measure:
    """One statement, many parameter sets."""
    repeated, found = Repeated(case), data.written(case.rows)
    for number in range(-1, case.operations):
        on_the_side(driver.dsn, f"truncate {data.WRITE_TABLE}")
        await repeated.time(number, lambda: driver.execute_many(found))
        expect(on_the_side(driver.dsn, data.WRITE_CHECK), data.written_answer(case.rows), "written rows")
    return repeated.measure()


async def copy_in(driver: Any, case: Case) -> Measure:
    """Tuples from a generator."""
    repeated = Repeated(case)
    for number in range(-1, case.operations):
        on_the_side(driver.dsn, f"truncate {data.COPY_TABLE}")
        await repeated.time(
            number, lambda: driver.copy_in(data.COPY_TABLE, data.COPY_COLUMNS, data.copy_rows())
        )
        expect(on_the_side(driver.dsn, data.COPY_CHECK), data.COPY_ANSWER, "copy")
    return repeated.measure()


async def copy_out(driver: Any, case: Case) -> Measure:
    """Blocks of binary COPY, whatever their size, given to a function that counts their bytes."""
    wanted, blocks = data.copied_out(), list[bytes]()
    await settled(driver.copy_out(lambda block: blocks.append(bytes(block))))
    expect(b"".join(blocks) == wanted, True, "the copied bytes")
    size = 0

    def take(block: Any) -> None:
        nonlocal size
        size += len(block)

    repeated = Repeated(case)
    for number in range(case.operations):
        size = 0
        await repeated.time(number, lambda: driver.copy_out(take))
        expect(size, len(wanted), "bytes")
    return repeated.measure()


def on_the_side(dsn: str, sql: str) -> Any:
    """Another connection, by psycopg2, for what is not measured."""
    import psycopg2

    with psycopg2.connect(dsn) as db, db.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description else None


# ---- the import itself

IMPORT = """
import asyncio, json, time
wall, cpu = time.perf_counter(), time.process_time()
import {module}
imported, imported_cpu = time.perf_counter(), time.process_time()
{module}.{entry}
print(json.dumps([imported - wall, imported_cpu - cpu, time.perf_counter() - wall]))
"""


def import_time(module: str, entry: str, case: Case) -> Measure:
    """Fresh interpreters that have asyncio already; `reach_s` includes reaching the name that connects."""
    code = IMPORT.format(module=module, entry=entry)
    command = [sys.executable, "-I", "-c", code]
    lines = [
        json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        for _ in range(case.operations)
    ]
    wall, cpu, reach = (statistics.median(column) for column in zip(*lines, strict=True))
    return Measure(wall, cpu, case.operations, reach_s=reach)
