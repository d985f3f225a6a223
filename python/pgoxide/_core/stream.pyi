"""Rows as they come. Stub of stream.rs."""

from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Generic, Self, TypeVar, final, type_check_only

from pgoxide._core.tag import CommandTag

__all__ = ["Stream", "StreamStep"]

_R_co = TypeVar("_R_co", covariant=True)

@final
class Stream(Generic[_R_co]):
    """Rows of a statement as they come, in bounded memory; what `stream()` returns. Iterate it once.

    Leaving its block, `break`, or dropping it ends the statement and frees the connection. The server works ahead of the
    reader: on the batch after the one being read, and while batches come quickly on one more, so that functions with effects
    may have been called for rows that are never read. More is not held. On an asynchronous connection it is iterated with
    `async for`, and `next_batch` and `close` are awaited.

    Once it has failed, or a read was cancelled, every further read raises; so does reading on after `close` when rows are
    left. One task reads it: a second one gets InterfaceError while the first waits.

    Source: protocol chapter, "Message Flow", "Extended Query" (PortalSuspended).
    """

    def __iter__(self) -> Self: ...
    def __next__(self) -> _R_co: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def next_batch(self) -> list[_R_co]:
        """The next rows, at most `batch` of them; an empty list at the end."""

    def close(self) -> None:
        """Ends the statement; what was not read is discarded. Twice does nothing."""

    @property
    def tag(self) -> CommandTag | None:
        """What a COPY did, once all of it has come; None before, and for statements."""

    def _close(self) -> None:
        """As `close`, on both faces."""

@final
@type_check_only
class AsyncStream(Generic[_R_co]):
    """`Stream` as an asynchronous connection gives it: at run time it is that class."""

    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[object, None, _R_co]: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def next_batch(self) -> Coroutine[object, None, list[_R_co]]:
        """The next rows, at most `batch` of them; an empty list at the end."""

    def close(self) -> Coroutine[object, None, None]:
        """Ends the statement; what was not read is discarded. Twice does nothing."""

    @property
    def tag(self) -> CommandTag | None:
        """What a COPY did, once all of it has come; None before, and for statements."""

@final
class StreamStep(Coroutine[object, None, _R_co]):
    """One step of an asynchronous iteration: ready at once while the batch lasts."""

    def __await__(self) -> Generator[object, None, _R_co]: ...
    def send(self, value: None) -> object:
        """As a coroutine's."""

    def throw(
        self,
        exception: BaseException | type[BaseException],
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> object:
        """As a coroutine's."""

    def close(self) -> None:
        """As a coroutine's."""
