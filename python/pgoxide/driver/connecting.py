"""`Connecting`: what `connect()` returns, to be awaited or entered."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from types import TracebackType

__all__ = ["Connecting"]


class _Block(Protocol):
    def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> Awaitable[None]: ...


C = TypeVar("C", bound=_Block)


class Connecting(Coroutine[object, None, C]):
    """A connection about to be opened, or taken from a pool: `await` it, or enter it with `async with`, once.

    Nothing has happened before. It is also a coroutine to `asyncio.run` and `create_task`.
    """

    def __init__(self, open_: Callable[[], Coroutine[object, None, C]]) -> None:
        self._open = open_
        self._opened: C | None = None
        self._running: Coroutine[object, None, C] | None = None

    def __await__(self) -> Generator[object, None, C]:
        return self._open().__await__()

    async def __aenter__(self) -> C:
        self._opened = await self
        return self._opened

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._opened is not None:
            await self._opened.__aexit__(exc_type, exc, traceback)

    def _coroutine(self) -> Coroutine[object, None, C]:
        if self._running is None:
            self._running = self._open()
        return self._running

    def send(self, value: None) -> object:
        """As a coroutine's."""
        return self._coroutine().send(value)

    def throw(
        self,
        typ: BaseException | type[BaseException],
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> object:
        """As a coroutine's."""
        error = val if isinstance(val, BaseException) else typ
        if isinstance(error, type):
            error = error() if val is None else error(val)
        return self._coroutine().throw(error if tb is None else error.with_traceback(tb))

    def close(self) -> None:
        """As a coroutine's: nothing is opened any more."""
        if self._running is not None:
            self._running.close()
