"""Something has changed: whoever waits for that looks again. On both faces."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Future

__all__ = ["AsyncBell", "Bell"]


class AsyncBell:
    """Wakes the tasks that wait."""

    def __init__(self) -> None:
        self.rings: int = 0
        self._waiting: set[Future[None]] = set()

    def ring(self) -> None:
        """Everybody who waits goes on."""
        self.rings += 1
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def wait(self, seen: int, seconds: float) -> None:
        """Until there have been more rings than `seen`, or for so long."""
        import asyncio

        if self.rings != seen:
            return
        rung = asyncio.get_running_loop().create_future()
        self._waiting.add(rung)
        try:
            await asyncio.wait([rung], timeout=seconds)
        finally:
            self._waiting.discard(rung)


class Bell:
    """Wakes the threads that wait."""

    def __init__(self) -> None:
        self.rings: int = 0
        self._changed = threading.Condition()

    def ring(self) -> None:
        """Everybody who waits goes on."""
        with self._changed:
            self.rings += 1
            self._changed.notify_all()

    def wait(self, seen: int, seconds: float) -> None:
        """Until there have been more rings than `seen`, or for so long."""
        with self._changed:
            self._changed.wait_for(lambda: self.rings != seen, seconds)
