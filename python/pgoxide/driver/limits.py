"""Time limits of asynchronous calls that take several steps."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pgoxide.errors import QueryTimeout

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["limit"]


@asynccontextmanager
async def limit(seconds: float | None) -> AsyncGenerator[None]:
    """Cancels what runs inside after so many seconds and raises QueryTimeout; None: no limit."""
    import asyncio

    clock = asyncio.timeout(seconds)
    try:
        async with clock:
            yield
    except TimeoutError as error:
        if clock.expired() and not isinstance(error, QueryTimeout):
            raise QueryTimeout(f"not finished within {seconds} s") from error
        raise
