"""Time limits of calls that take several steps, on both faces."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgoxide.errors import InterfaceError, QueryTimeout

if TYPE_CHECKING:
    from asyncio import Timeout
    from types import TracebackType
    from typing import Self

__all__ = ["AsyncLimit", "Limit"]

UNLIMITED = float("inf")
"""As a step's `timeout=`: none, whatever the connection's `command_timeout` is."""


class AsyncLimit:
    """Cancels what runs in its block after so many seconds, and raises QueryTimeout; None or infinity: no limit."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = _checked(seconds)
        self._clock: Timeout | None = None

    async def __aenter__(self) -> Self:
        import asyncio

        self._clock = await asyncio.timeout(self._seconds).__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._clock is not None  # set on the way in
        try:
            await self._clock.__aexit__(kind, error, traceback)
        except TimeoutError as late:
            raise _too_late(self._seconds) from late

    def left(self) -> float:
        """Seconds for the next step: no limit of its own, since the block has one."""
        return UNLIMITED


class Limit:
    """One limit over the steps of a blocking call, each of which gets what is left; None or infinity: no limit."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = _checked(seconds)
        self._until = UNLIMITED if self._seconds is None else time.monotonic() + self._seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A step's own error names what was left for it.
        if isinstance(error, QueryTimeout) and time.monotonic() >= self._until:
            raise _too_late(self._seconds) from error

    def left(self) -> float:
        """Seconds for the next step. Raises QueryTimeout when there are none."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise _too_late(self._seconds)
        return left


def _checked(seconds: float | None) -> float | None:
    if seconds is not None and not seconds >= 0:
        raise InterfaceError(f"timeout={seconds}: seconds, not negative")
    return None if seconds == UNLIMITED else seconds


def _too_late(seconds: float | None) -> QueryTimeout:
    return QueryTimeout(f"not finished within {seconds} s")
