"""What the demo prints: plain aligned lines; on a terminal also colour, and a bar while rows go in.

NO_COLOR=1 turns colour off (https://no-color.org). Everything goes to standard output, each line at once.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from examples.demo.memory import Peak

T = TypeVar("T")

LABEL = 46  # columns of a step's label; with time and rate a line stays below 80
BOLD, DIM, RED, GREEN, CYAN = "1", "2", "31", "32", "36"


class Report:
    """The demo's output. live: standard output is a terminal, so lines may be drawn over."""

    def __init__(self) -> None:
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:  # an arrow must not stop us where the terminal has none
            reconfigure(errors="replace")
        self.live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._colour = self.live and not os.environ.get("NO_COLOR")

    def title(self, text: str) -> None:
        """The heading of a part."""
        self._say(f"\n{self._in(BOLD, text)}")

    def note(self, text: str) -> None:
        """A remark."""
        self._say(f"  {text}")

    def space(self) -> None:
        """An empty line."""
        self._say("")

    def fact(self, label: str, value: str) -> None:
        """Something known, by name."""
        self._say(f"  {self._in(DIM, f'{label:<20}')}  {value}")

    def error(self, error: Exception) -> None:
        """An error as Python shows it at the end of a traceback."""
        first, *rest = str(error).splitlines()
        self._say(f"  {self._in(RED, f'{type(error).__module__}.{type(error).__qualname__}')}: {first}")
        for line in rest:
            self._say(f"  {line}")

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows of text: the first column to the left, numbers to the right."""
        widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]

        def aligned(row: Sequence[str]) -> str:
            first, *others = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            return "   ".join([f"  {first.strip():<{widths[0]}}", *others])

        self._say(self._in(DIM, aligned(heads)))
        for row in rows:
            self._say(aligned(row))

    @contextmanager
    def step(self, label: str, rows: int | None = None, *, memory: bool = False) -> Generator[None]:
        """Times a block, then prints one line: label, time, rows per second. Nothing when the block raises.

        memory: also by how much the peak of this process's memory exceeds what it had before.
        """
        if self.live:
            self._write(f"  {label} …")
        peak, begun = Peak() if memory else None, time.perf_counter()
        yield
        seconds = time.perf_counter() - begun
        rate = "" if rows is None else f"{rows / seconds:>11,.0f} rows/s"
        grown = "" if peak is None else f"  memory {peak.growth() / 1e6:+.1f} MB"
        if self.live:
            self._write("\r\033[K")
        self._say(f"  {label:<{LABEL}}{self._in(CYAN, duration(seconds))}{self._in(GREEN, rate)}{grown}")

    def progress(self, label: str, things: Iterable[T], total: int) -> Iterator[T]:
        """The things, with a bar that grows as they are taken; as they are when nobody watches."""
        if not self.live:
            yield from things
            return
        width = max(10, min(40, shutil.get_terminal_size().columns - 40))
        for taken, thing in enumerate(things):
            if taken % max(1, total // 200) == 0:
                full = width * taken // total
                bar = self._in(CYAN, "█" * full) + self._in(DIM, "░" * (width - full))
                self._write(f"\r\033[K  {label:<10} {bar} {taken:>9,} of {total:,}")
            yield thing
        self._write("\r\033[K")

    def _in(self, style: str, text: str) -> str:
        return f"\033[{style}m{text}\033[0m" if self._colour and text else text

    def _say(self, text: str) -> None:
        print(text, flush=True)  # at once, also into a pipe

    def _write(self, text: str) -> None:
        print(text, end="", flush=True)


def duration(seconds: float) -> str:
    """Nine columns, with a unit that suits."""
    return f"{seconds * 1e3:>6.1f} ms" if seconds < 1 else f"{seconds:>6.2f} s "
