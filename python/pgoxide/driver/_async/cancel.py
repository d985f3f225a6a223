"""`AsyncCancelToken`: cancels what a session runs, from any task, thread or process."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgoxide.errors import ConnectionFailed, InterfaceError, QueryTimeout
from pgoxide.transport import asyncio as transport
from pgoxide.transport.address import place_of

if TYPE_CHECKING:
    from pgoxide.driver.ownership import Lease
    from pgoxide.transport.address import Address

__all__ = ["AsyncCancelToken"]


@dataclass(frozen=True, slots=True)
class AsyncCancelToken:
    """What it takes to cancel whatever one session runs at that time; made by `AsyncConnection.cancel_token()`.

    address: where the session is: the path of a Unix socket, or a TCP address as `socket` writes it.
    process_id: the server process of the session.

    A plain value: it holds no connection, may outlive the session (then it cancels nothing), and can be pickled for another
    process. It also holds the session's secret key, which `repr` does not show and a pickle does: whoever has it can
    cancel what the session runs, and nothing else. One of a pool's connection raises InterfaceError once the connection
    has been given back; a pickled one cannot know that.
    """

    address: Address
    process_id: int
    _request: bytes = field(repr=False)
    _lease: Lease | None = field(default=None, repr=False, compare=False)

    async def cancel(self, timeout: float = 10.0) -> None:
        """Asks the server to cancel whatever the session runs now; returns once the server has passed that on.

        timeout: seconds for all of it.

        Nothing says what is hit: between the decision and its effect the session may have gone on to its next statement,
        which then fails instead, or be idle, and nothing happens. The call that is hit raises QueryCanceled, and its
        connection stays usable. Where one call is meant, cancel that call (its task, its reply, its `timeout`, Ctrl-C): the
        driver knows which statement runs, tries again when it came too early, and protects the neighbours.

        Raises ConnectionFailed when the server cannot be reached, QueryTimeout when it stays silent: it may or may not have
        acted then. May be called as often as you like. Source: protocol chapter, "Canceling Requests in Progress".

        >>> import pgoxide
        >>> async def stop(token: pgoxide.AsyncCancelToken) -> None:
        ...     await token.cancel(timeout=5)
        """
        if not (math.isfinite(timeout) and timeout > 0):
            raise InterfaceError(f"timeout={timeout}: seconds, above 0")
        try:
            with nullcontext() if self._lease is None else self._lease.cancelling():
                await transport.send_cancel(self.address, self._request, timeout)
        except TimeoutError as error:
            raise QueryTimeout(
                f"{place_of(self.address)} did not acknowledge the CancelRequest within {timeout} s; it may or may not act on it"
            ) from error
        except OSError as error:
            raise ConnectionFailed(
                f"cannot connect to {place_of(self.address)} to cancel: {error}"
            ) from error
