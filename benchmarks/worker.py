"""One driver, one case, one fresh process: `python -m benchmarks.worker --driver X --case Y …`.

Prints one JSON line: seconds of wall time and of this process's CPU time (all threads) per operation, how
many operations, and `ok`. A wrong answer raises, so the process fails and with it the run. See measures.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks import measures
from benchmarks.cases import CASES
from benchmarks.measures import Measure, settled

if TYPE_CHECKING:
    from collections.abc import Coroutine

LOOPS = ("asyncio", "uvloop", "blocking")


async def run(driver: Any, name: str, dsn: str) -> Measure:
    """Connect, measure, close."""
    case = CASES[name]
    driver.dsn = dsn  # for connections beside the measured one
    await settled(driver.connect(dsn))
    if hasattr(driver, "prepare"):
        await settled(driver.prepare(name))
    measure: Measure = await getattr(measures, case.shape)(driver, case)
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
        measure = measures.import_time(module.MODULE, module.ENTRY, CASES["import"])
    elif options.loop == "blocking":
        measure = without_loop(run(module.Driver(), options.case, options.dsn))
    else:
        factory = import_module("uvloop").new_event_loop if options.loop == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            measure = runner.run(run(module.Driver(), options.case, options.dsn))
    print(json.dumps(asdict(measure)), flush=True)
    if getattr(module, "ABORTS_AT_EXIT", False):
        os._exit(0)


if __name__ == "__main__":
    main()
