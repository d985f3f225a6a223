"""What an asynchronous verb returns. Stub of awaitable.rs."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import TracebackType
from typing import Self, TypeVar, final, overload

__all__ = ["Reply"]

_R_co = TypeVar("_R_co", covariant=True)

@final
class Reply(Coroutine[object, None, _R_co]):
    """The answer of a call that has been made: await it, once.

    A Future to `gather`, `wait_for` and `shield`, a Coroutine to `create_task`, `TaskGroup` and `asyncio.run`. The call
    has started when the reply exists. Dropping it unawaited warns, naming the line that made the call; cancelling it
    cancels the call.

    `asyncio.wait` alone refuses it, as it refuses every coroutine: give it `create_task(reply)`.

    >>> first, second = db.fetch_value("select 1"), db.fetch_value("select 2")
    >>> await first, await second
    (1, 2)
    """

    def __await__(self) -> Generator[object, None, _R_co]: ...
    def send(self, value: None) -> Self:
        """As a coroutine's: runs until it waits. Raises StopIteration with the result once that is there."""

    @overload
    def throw(
        self,
        exception: type[BaseException],
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> Self: ...
    @overload
    def throw(
        self, exception: BaseException, value: None = None, traceback: TracebackType | None = None
    ) -> Self:
        """As a coroutine's: what is thrown in comes out again, and the call is given up."""

    def close(self) -> None:
        """As a coroutine's: gives the call up if it has not finished."""

    def done(self) -> bool:
        """Whether the answer is there, an error or a cancellation included."""

    def cancelled(self) -> bool:
        """Whether it was cancelled."""

    def result(self) -> _R_co:
        """What the call gave. Raises the call's error, CancelledError, or InvalidStateError while it is pending."""

    def exception(self) -> BaseException | None:
        """The call's error, or None. Raises CancelledError, or InvalidStateError while it is pending."""

    def cancel(self, msg: object = None) -> bool:
        """Gives the call up: True, or False when its answer was there already.

        What was not yet written never reaches the server. What runs is cancelled there. What waits behind others at the
        server still runs: its effects stay and its answer is discarded. The connection stays usable.

        Source: protocol chapter, "Message Flow", "Canceling Requests in Progress".
        """

    def add_done_callback(
        self, callback: Callable[[Self], object], *, context: Context | None = None
    ) -> None:
        """Calls `callback(self)` through the loop once the answer is there."""

    def remove_done_callback(self, callback: Callable[[Self], object]) -> int:
        """Takes a callback back; how often it was there."""

    @property
    def get_loop(self) -> Callable[[], AbstractEventLoop]:
        """`get_loop()` is the event loop of its connection."""

    @property
    def _loop(self) -> AbstractEventLoop: ...

    _asyncio_future_blocking: bool
