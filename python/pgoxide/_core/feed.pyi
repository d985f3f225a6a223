"""Requests whose data is pulled from a source while they run. Stub of feed.rs."""

from collections.abc import Iterator
from typing import final

from pgoxide._core.awaitable import Reply
from pgoxide._core.tag import CommandTag

__all__ = ["Feed"]

@final
class Feed:
    """A COPY, or one statement with many parameter sets, being fed; for `driver`.

    Source: protocol chapter, "Message Flow", "COPY Operations".
    """

    @property
    def started(self) -> Reply[bool]:
        """True when the server waits for data, False when it refused. Asynchronous face only."""

    @property
    def done(self) -> Reply[CommandTag]:
        """To be awaited, once. The command tag. Asynchronous face only."""

    def feed(self, source: Iterator[object]) -> bool:
        """Takes records until a block is full, and sends it. True while the source has more and the server takes it.

        Raises DataError, naming record and column, for a value that does not fit, and what the source raises.
        """

    def put(self, record: object) -> bool:
        """Encodes one record, sends nothing. True when the block is full: `send` it. Raises as `feed`."""

    def send(self) -> bool:
        """Sends what `put` has encoded. True while the server takes more."""

    def finish(self) -> None:
        """All records have been fed: the server may complete."""

    def fail(self, reason: BaseException) -> None:
        """The source failed or the caller was cancelled: the server is told, cancels what runs, and undoes what it has."""

    def pulls(self, on: bool) -> None:
        """The current task waits for an asynchronous source, or no longer does: meanwhile its calls on the connection raise."""

    def room(self) -> Reply[None] | None:
        """None when more may be fed at once; else settles when there is room. Asynchronous face only."""

    def wait_started(self) -> bool:
        """Waits until the server waits for data: True; or has refused: False. Blocking face only."""

    def wait_done(self) -> CommandTag:
        """Waits for the end; the command tag. Blocking face only."""

    def abandon(self, reason: BaseException) -> None:
        """As `fail`, and waits for the server's end of it. Blocking face only."""

    @property
    def lost(self) -> bool:
        """Nothing was taken from the source, for the server no longer had the statement, or the columns, as they were
        described: they are to be described anew, and it begun once more. To be asked when it is done.
        """

    @property
    def records(self) -> int:
        """Records taken from the source so far."""
