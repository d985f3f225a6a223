"""One driver, one case, one fresh process: `python -m benchmarks.worker --driver X --case Y …`.

Prints one JSON line: seconds of wall time and of this process's CPU time (all threads) per operation, how
many operations, and `ok`. A wrong answer raises, so the process fails and with it the run.

`touch_s` is the part of `wall_s` in which every value of the rows was walked over; it is the same work for
every driver. The results are dropped outside the timed part.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import json
import statistics
import subprocess
import sys
from collections import deque
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import chain
from operator import attrgetter, itemgetter
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from benchmarks import cases
from benchmarks.cases import CASES, Case

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

LOOPS = ("asyncio", "uvloop", "blocking")


@dataclass
class Measure:
    """The result line."""

    wall_s: float
    cpu_s: float
    n: int
    ok: bool = True
    touch_s: float = 0.0
    reach_s: float = 0.0


class WrongAnswerError(Exception):
    """A driver gave something else than the server holds."""


def expect(got: object, wanted: object, what: str) -> None:
    """Compare outside the timed part."""
    if got != wanted:
        raise WrongAnswerError(f"{what}: {got!r} instead of {wanted!r}")


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


async def one_row(driver: Any, name: str, case: Case) -> Measure:
    """select1, pk, tasks100, batch."""
    keys = [cases.key_of(i) for i in range(case.operations)]
    warm_up = keys[:100]
    if name == "select1":
        await settled(driver.select_1(100))
        return await timed(lambda: driver.select_1(case.operations), case.operations, case.operations, name)
    wanted = cases.look_up_sum(keys)
    if name == "pk":
        await settled(driver.look_up(warm_up))
        return await timed(lambda: driver.look_up(keys), len(keys), wanted, name)
    if name == "tasks100":
        groups = [keys[i :: cases.TASKS] for i in range(cases.TASKS)]
        await settled(driver.tasks([[key] * 8 for key in warm_up]))
        return await timed(lambda: driver.tasks(groups), len(keys), wanted, name)
    batches = [keys[i : i + case.in_flight] for i in range(0, len(keys), case.in_flight)]
    await settled(driver.look_up(warm_up))
    await settled(driver.batch(warm_up))

    async def all_batches() -> float:
        sums: list[float] = [await settled(driver.batch(batch)) for batch in batches]
        return sum(sums)

    return await timed(all_batches, len(keys), wanted, name)


async def many_rows(driver: Any, name: str, case: Case) -> Measure:
    """rows1000x5, ints100k, mix100k: fetch all, then touch every value."""
    result = await settled(driver.rows(case.sql))
    check_rows(result, tuple, case)
    del result
    return await fetches(lambda: driver.rows(case.sql), walk, name, case)


async def many_objects(driver: Any, name: str, case: Case) -> Measure:
    """dataclass10k: fetch all, then touch every attribute (of asyncpg's records: every item) by its name."""
    result = await settled(driver.objects(case.sql, cases.Wide))
    pick: Any = (attrgetter if isinstance(result[0], cases.Wide) else itemgetter)(*cases.WIDE_COLUMNS)
    check_rows(result, pick, case)
    del result

    def touch(objects: Iterable[Any]) -> None:
        deque(map(pick, objects), maxlen=0)

    return await fetches(lambda: driver.objects(case.sql, cases.Wide), touch, name, case)


async def fetches(fetch: Callable[[], Any], touch: Callable[[Any], None], name: str, case: Case) -> Measure:
    """The timed part of both: dropping the rows is outside."""
    wall = cpu = touched = 0.0
    for _ in range(case.operations):
        gc.collect()
        began, began_cpu = perf_counter(), process_time()
        result = fetch()
        asynchronous = inspect.isawaitable(result)
        if asynchronous:
            result = await result
        fetched = perf_counter()
        touch(result)
        ended, ended_cpu = perf_counter(), process_time()
        wall, cpu, touched = wall + ended - began, cpu + ended_cpu - began_cpu, touched + ended - fetched
        expect(len(result), case.rows, f"{name}: rows")
        del result
        if asynchronous:
            # Whoever woke this task still holds its answer (a loop's handle, a driver's callback): a turn of the
            # loop lets go of it, so that dropping the rows is not timed with the next fetch.
            await asyncio.sleep(0)
    n = case.operations
    return Measure(wall / n, cpu / n, n, touch_s=touched / n)


def check_rows(result: Any, pick: Callable[[Any], tuple[object, ...]], case: Case) -> None:
    """The number of rows, and rows all over the result against what the server was told to make."""
    assert case.row is not None
    expect(len(result), case.rows, "rows")
    for i in {*range(0, case.rows, max(1, case.rows // 199)), case.rows - 1}:
        got, wanted = pick(result[i]), case.row(i)
        expect(got, wanted, f"row {i}")
        for value, model in zip(got, wanted, strict=True):
            if not isinstance(value, type(model)):
                raise WrongAnswerError(f"row {i}: {value!r} is no {type(model).__name__}")


async def copy_in(driver: Any, case: Case, dsn: str) -> Measure:
    """copyin100k: tuples from a generator."""
    wall = cpu = 0.0
    for i in range(-1, case.operations):  # the first one warms up
        on_the_side(dsn, f"truncate {cases.COPY_TABLE}")
        gc.collect()
        began, began_cpu = perf_counter(), process_time()
        result = driver.copy_in(cases.COPY_TABLE, cases.COPY_COLUMNS, cases.copy_rows())
        if inspect.isawaitable(result):
            await result
        if i >= 0:
            wall, cpu = wall + perf_counter() - began, cpu + process_time() - began_cpu
        expect(on_the_side(dsn, cases.COPY_CHECK), cases.COPY_ANSWER, "copy")
    return Measure(wall / case.operations, cpu / case.operations, case.operations)


def on_the_side(dsn: str, sql: str) -> Any:
    """Another connection, by psycopg2, for what is not measured."""
    import psycopg2

    with psycopg2.connect(dsn) as db, db.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description else None


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


async def run(driver: Any, name: str, dsn: str) -> Measure:
    """Connect, measure, close."""
    case = CASES[name]
    await settled(driver.connect(dsn))
    if name == "copyin100k":
        measure = await copy_in(driver, case, dsn)
    elif name == "dataclass10k":
        measure = await many_objects(driver, name, case)
    elif case.row is not None:
        measure = await many_rows(driver, name, case)
    else:
        measure = await one_row(driver, name, case)
    await settled(driver.close())
    return measure


def without_loop(measuring: Coroutine[Any, Any, Measure]) -> Measure:
    """Run a coroutine that never waits: blocking drivers, no event loop in the process."""
    try:
        measuring.send(None)
    except StopIteration as end:
        measure: Measure = end.value
        return measure
    raise RuntimeError("a blocking driver awaited something")


def main() -> None:
    """By the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--driver", required=True, help="a file of benchmarks/drivers, without .py")
    parser.add_argument("--case", required=True, choices=CASES)
    parser.add_argument("--dsn", default="")
    parser.add_argument("--loop", default="asyncio", choices=LOOPS)
    options = parser.parse_args()
    module = import_module(f"benchmarks.drivers.{options.driver}")
    if options.case == "import":
        measure = import_time(module.MODULE, module.ENTRY, CASES["import"])
    elif options.loop == "blocking":
        measure = without_loop(run(module.Driver(), options.case, options.dsn))
    else:
        factory = import_module("uvloop").new_event_loop if options.loop == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            measure = runner.run(run(module.Driver(), options.case, options.dsn))
    print(json.dumps(asdict(measure)))


if __name__ == "__main__":
    main()
