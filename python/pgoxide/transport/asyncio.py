"""The line on an event loop.

Where the loop has `add_reader`, the connection owns its descriptor: the core receives straight into its page and sends
straight from its buffer, and the loop only says when. Elsewhere (Proactor) a buffered protocol moves the bytes.

    open ──▶ attached ──StartupMessage──▶ in use ──close: Terminate──▶ closed
                 │                          └──the peer or the line ends──▶ closed
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from pgoxide.errors import ConnectionClosed, ConnectionFailed, OperationalError
from pgoxide.transport.address import family_of, place, set_options, unix_address
from pgoxide.transport.listeners import Listeners

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgoxide._core import AsyncClient, Reader
    from pgoxide.config import ConnectConfig
    from pgoxide.errors import Error
    from pgoxide.transport.address import Address

__all__ = ["Line", "open_line", "send_cancel"]

CANCEL_DEADLINE = 10.0
"""Seconds a side connection that carries a CancelRequest may take before the connection itself is given up."""

SEND_DEADLINE = 10.0
"""Seconds within which the peer must take what had been written when a call was given up, else the connection is given up:
half a request cannot be taken back."""

FIRST_REPEAT = 0.05
"""Seconds until a CancelRequest that came before its target had begun is sent again; doubled each time."""

READ_SIZE = 256 * 1024


class Line:
    """What the core calls to have things done on the loop, and who listens. Holds the client weakly through its reader.

    `address` is kept for side connections: a cancel goes where the session is, not where a name resolves by then.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, address: Address) -> None:
        self.listeners: Listeners = Listeners()
        self.address: Address = address
        self._loop = loop
        self._sock = sock
        self._family = sock.family
        self._reader: Reader | None = None
        self._transport: asyncio.Transport | None = None
        self._buffered = False
        self._process = os.getpid()
        self._alarm: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cancelling: asyncio.Task[None] | None = None
        self._unsent: asyncio.Future[None] | None = None
        self._closing: asyncio.Future[None] | None = None

    async def attach(self, client: AsyncClient) -> None:
        """Ties the client to the loop: from now on what arrives is read."""
        try:
            self._loop.remove_reader(
                self._sock.fileno()
            )  # asks, without changing anything, whether the loop can
        except NotImplementedError:
            await self._attach_buffered(client)
            return
        self._reader = client._attach(self._loop, self, self._sock.fileno())
        try:
            self._loop.add_reader(self._sock.fileno(), self._reader.readable)
        except NotImplementedError:
            raise OperationalError("this event loop has remove_reader but no add_reader") from None

    async def _attach_buffered(self, client: AsyncClient) -> None:
        self._buffered = True
        self._reader = client._attach(self._loop, self, None)
        protocol = _Buffered(self, self._reader)
        if self._family == getattr(socket, "AF_UNIX", None):
            transport, _ = await self._loop.create_unix_connection(lambda: protocol, sock=self._sock)
        else:
            transport, _ = await self._loop.create_connection(lambda: protocol, sock=self._sock)
        self._transport = transport

    # -- called by the core ------------------------------------------------------------------------------------

    def want_write(self, wanted: bool) -> None:
        """The kernel's (or the transport's) buffer is full, or all has left again: tell when it can be written."""
        if wanted:
            self._unsent = self._loop.create_future()
        else:
            self._all_left()
        if self._buffered or self._sock.fileno() < 0 or self._reader is None or self._is_elsewhere():
            return
        if wanted:
            self._loop.add_writer(self._sock.fileno(), self._reader.writable)
        else:
            self._loop.remove_writer(self._sock.fileno())

    def want_read(self, wanted: bool) -> None:
        """Nothing is to be received for now: what the server sends stays in the socket, which stops it; or again."""
        if self._is_elsewhere():
            return
        if self._transport is not None:
            if self._transport.is_closing():
                return
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
        elif not self._buffered and self._sock.fileno() >= 0 and self._reader is not None:
            if wanted:
                self._loop.add_reader(self._sock.fileno(), self._reader.readable)
            else:
                self._loop.remove_reader(self._sock.fileno())

    def doze(self, alarm: int) -> None:
        """Look when this descriptor, the core's alarm, can be read, and not whenever something comes."""
        if self._sock.fileno() >= 0 and self._reader is not None and not self._is_elsewhere():
            self._alarm = alarm
            self._loop.remove_reader(self._sock.fileno())
            self._loop.add_reader(alarm, self._reader.readable)

    def wake(self) -> None:
        """Look whenever something comes."""
        self._forget_alarm()
        self.want_read(True)

    def _forget_alarm(self) -> None:
        if self._alarm is not None and not self._loop.is_closed() and not self._is_elsewhere():
            self._loop.remove_reader(self._alarm)
        self._alarm = None

    def _is_elsewhere(self) -> bool:
        """Whether this is a child of the process whose line it is.

        Its loop's selector may be the parent's own (epoll, kqueue): what is taken out of it is taken from the parent.
        """
        return self._process != os.getpid()

    def write(self, data: bytes) -> None:
        """Bytes for a loop without `add_reader`."""
        if self._is_elsewhere():
            return
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def has_untold(self) -> bool:
        """Whether something has arrived, the end included, that the loop has not handed over: for a loop without `add_reader`."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def arm(self, seconds: float) -> None:
        """Call back in so many seconds: the earliest deadline of a call."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._reader is not None:
            following = self._reader.expire()
            if following is not None and self._timer is None:
                self.arm(following)

    def cancel(self, client: AsyncClient, request_id: int) -> None:
        """Send a CancelRequest for what the session runs."""
        self._cancelling = self._loop.create_task(self._cancel(client, request_id))
        # A call given up because `asyncio.run` ends all tasks: this one comes too late to be ended, and is nothing to report.
        with suppress(AttributeError):  # of a loop with tasks of its own
            self._cancelling._log_destroy_pending = False  # type: ignore[attr-defined]

    def notice(self, fields: dict[str, str]) -> None:
        """A notice has come."""
        self.listeners.notice(fields)

    def notification(self, channel: str, payload: str, process_id: int) -> None:
        """A NOTIFY has come."""
        self.listeners.notification(channel, payload, process_id)

    def ended(self, reason: Error) -> None:
        """The session has ended: closes the line."""
        self._close_descriptor()
        self.listeners.ended(reason)

    # -- closing -----------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Waits until all that was written, Terminate last, has left for the kernel. Set a limit: the peer may not read."""
        if self._unsent is not None:
            await self._unsent
        if self._transport is not None and not self._transport.is_closing():
            self._closing = self._loop.create_future()
            self._transport.close()  # sends what it holds, then tells `connection_lost`
            await self._closing

    def has_finished(self) -> bool:
        """Whether the transport has ended because `finish` closed it. Who waits for that goes on."""
        if self._closing is None:
            return False
        self._transport = None
        self._all_left()
        return True

    def _all_left(self) -> None:
        for waiting in (self._unsent, self._closing):
            if waiting is not None and not waiting.done() and not self._loop.is_closed():
                waiting.set_result(None)
        self._unsent = None

    def _close_descriptor(self) -> None:
        if self._is_elsewhere():
            self._sock.close()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        elif not self._buffered and self._sock.fileno() >= 0 and not self._loop.is_closed():
            self._forget_alarm()
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._all_left()

    def forget(self) -> None:
        """Closes this process's copy of a descriptor that is the parent's: neither the peer nor the parent's loop notices."""
        self._sock.close()

    def read_rest(self, reader: Reader) -> None:
        """A write failed: what the server said before it closed is still to be read, and says why."""
        with suppress(OSError, ValueError):  # nothing there, or the loop has closed the socket already
            while data := self._sock.recv(READ_SIZE):
                reader.received(data)

    # -- the side connection -----------------------------------------------------------------------------------

    async def _cancel(self, client: AsyncClient, target: int) -> None:
        """Until the target has ended: send, wait for the end of the side connection, look, wait, send again."""
        request = client._cancel_request()
        delay = FIRST_REPEAT
        until = self._loop.time() + SEND_DEADLINE
        while True:
            try:
                if request is not None:
                    await send_cancel(
                        self.address, request, CANCEL_DEADLINE, lambda: client._cancel_wanted(target)
                    )
            except TimeoutError:
                # The request may still take effect at any time: nothing can be written any more.
                client._end(
                    ConnectionClosed("a CancelRequest was not acknowledged; the connection is given up")
                )
                return
            except asyncio.CancelledError:
                # As a program does that cancels all tasks before it ends. Whether the request takes effect is in doubt.
                client._end(
                    ConnectionClosed(
                        "the task that sent a CancelRequest was cancelled; the connection is given up"
                    )
                )
                raise
            except OSError:
                pass  # It never reached the server, or its end was a reset: either way it has no further effect.
            if not client._cancel_delivered(target) or request is None:
                return
            if self._loop.time() > until and self._holds_unsent(client):
                client._end(
                    ConnectionClosed(
                        f"a call was given up while the peer took no more of it, nor did it within {SEND_DEADLINE:g} s"
                    )
                )
                return
            await asyncio.sleep(delay)
            delay = min(2 * delay, 1.0)
            if not client._cancel_again(target):
                return

    def _holds_unsent(self, client: AsyncClient) -> bool:
        return client._has_unsent() or (
            self._transport is not None and self._transport.get_write_buffer_size() > 0
        )


async def send_cancel(
    address: Address, request: bytes, seconds: float, wanted: Callable[[], bool] = lambda: True
) -> None:
    """Sends a CancelRequest on a connection of its own and waits until the server has passed it on.

    `wanted` is asked last thing before: a target that ended meanwhile is not cancelled any more. Raises OSError when the
    server cannot be reached, TimeoutError (one of them) when it is silent for so long.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        with socket.socket(family_of(address), socket.SOCK_STREAM) as side:
            side.setblocking(False)
            await loop.sock_connect(side, address)
            if not wanted():
                return
            await loop.sock_sendall(side, request)
            try:
                while await loop.sock_recv(side, 256):
                    pass
            except ConnectionResetError:
                return  # Some servers end it so: it was read all the same.


class _Buffered(asyncio.BufferedProtocol):
    """Moves bytes between a transport of the loop and the core."""

    def __init__(self, line: Line, reader: Reader) -> None:
        self._line = line
        self._reader = reader
        self._buffer = bytearray(READ_SIZE)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  asyncio's signature
        return memoryview(self._buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self._reader.received(bytes(memoryview(self._buffer)[:nbytes]))

    def pause_writing(self) -> None:
        self._reader.pause()

    def resume_writing(self) -> None:
        self._reader.resume()

    def eof_received(self) -> bool:
        self._reader.lost(ConnectionClosed("the server closed the connection"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._line.has_finished():
            return
        if exc is not None:
            self._line.read_rest(self._reader)
        closed = ConnectionClosed(
            f"the connection was lost: {exc}" if exc else "the server closed the connection"
        )
        closed.__cause__ = exc
        self._reader.lost(closed)


async def open_line(config: ConnectConfig) -> Line:
    """A connected, non-blocking socket on the running loop. Raises ConnectionFailed with the system's error as cause."""
    loop = asyncio.get_running_loop()
    try:
        sock, address = await _connect(loop, config)
    except OSError as error:
        raise ConnectionFailed(f"cannot connect to {place(config)}: {error}") from error
    return Line(loop, sock, address)


async def _connect(loop: asyncio.AbstractEventLoop, config: ConnectConfig) -> tuple[socket.socket, Address]:
    if config.is_unix:
        path = unix_address(config)
        return await _connect_one(loop, socket.AF_UNIX, path), path
    found = await loop.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
    failure: OSError = OSError(f"no address for {config.host}")
    for family, _, _, _, address in found:
        try:
            return await _connect_one(loop, family, address), address  # type: ignore[arg-type, return-value]  # (int, bytes) is of Pythons without IPv6
        except OSError as error:
            failure = error
    raise failure


async def _connect_one(loop: asyncio.AbstractEventLoop, family: int, address: Address) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        set_options(sock)
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
