"""How much memory a piece of the program needed at its peak."""

from __future__ import annotations

import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path


class Peak:
    """Made before the work; `growth()` after it gives the bytes by which the peak exceeds what was in use before.

    Linux can forget the peak so far (proc(5), clear_refs); elsewhere only growth beyond the highest peak ever is seen.
    """

    def __init__(self) -> None:
        gc.collect()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before = _peak()

    def growth(self) -> int:
        """Bytes; never less than 0."""
        return _peak() - self._before


def _peak() -> int:
    """The most physical memory in use since it was reset, in bytes."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024
