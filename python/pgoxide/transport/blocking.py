"""The line on the caller's thread: a blocking socket whose receive timeout lets the core look at signals."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING

from pgoxide.errors import ConnectionFailed
from pgoxide.transport.address import family_of, place, set_options, unix_address
from pgoxide.transport.listeners import Listeners

if TYPE_CHECKING:
    from pgoxide._core import Client
    from pgoxide.config import ConnectConfig
    from pgoxide.errors import Error
    from pgoxide.transport.address import Address

__all__ = ["Line", "open_line", "send_cancel"]

CANCEL_DEADLINE = 10.0
"""Seconds a side connection that carries a CancelRequest may take before the connection itself is given up."""

SLICE_MICROSECONDS = 100_000
"""How long one receive waits: then signals are looked at, and it waits again."""


class Line:
    """What the core calls to have things done beside the conversation, and who listens."""

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self.listeners: Listeners = Listeners()
        self.address: Address = address
        self._sock = sock

    def attach(self, client: Client) -> None:
        """Ties the client to the descriptor."""
        self._sock.settimeout(None)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, SLICE_MICROSECONDS))
        client._attach(self, self._sock.fileno())

    def cancel(self, request: bytes) -> None:
        """The core gives a call up. Raises TimeoutError when the request may still take effect at any time."""
        try:
            send_cancel(self.address, request, CANCEL_DEADLINE)
        except TimeoutError:
            raise
        except OSError:
            pass  # It never reached the server, or its end was a reset: either way it has no further effect.

    def notice(self, fields: dict[str, str]) -> None:
        """A notice has come."""
        self.listeners.notice(fields)

    def notification(self, channel: str, payload: str, process_id: int) -> None:
        """A NOTIFY has come."""
        self.listeners.notification(channel, payload, process_id)

    def ended(self, reason: Error) -> None:
        """The session has ended: closes the line."""
        self._sock.close()
        self.listeners.ended(reason)

    def forget(self) -> None:
        """Closes this process's copy of a descriptor that is the parent's: the peer does not notice."""
        self._sock.close()

    def close(self) -> None:
        """Closes the descriptor, whatever is in flight."""
        self._sock.close()


def send_cancel(address: Address, request: bytes, seconds: float) -> None:
    """Sends a CancelRequest on a connection of its own and waits until the server has passed it on.

    Raises OSError when the server cannot be reached, TimeoutError (one of them) when it is silent for so long.
    """
    until = time.monotonic() + seconds
    with socket.socket(family_of(address), socket.SOCK_STREAM) as side:
        side.settimeout(seconds)
        side.connect(address)
        side.sendall(request)
        while True:
            side.settimeout(max(until - time.monotonic(), 0.001))
            try:
                if not side.recv(256):
                    return
            except ConnectionResetError:
                return  # Some servers end it so: it was read all the same.


def open_line(config: ConnectConfig) -> Line:
    """A connected socket. Raises ConnectionFailed with the system's error as cause."""
    try:
        sock, address = _connect(config)
    except OSError as error:
        raise ConnectionFailed(f"cannot connect to {place(config)}: {error}") from error
    return Line(sock, address)


def _connect(config: ConnectConfig) -> tuple[socket.socket, Address]:
    if config.is_unix:
        path = unix_address(config)
        return _connect_one(config, socket.AF_UNIX, path), path
    failure: OSError = OSError(f"no address for {config.host}")
    for family, _, _, _, address in socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM):
        try:
            return _connect_one(config, family, address), address  # type: ignore[arg-type, return-value]  # (int, bytes) is of Pythons without IPv6
        except OSError as error:
            failure = error
    raise failure


def _connect_one(config: ConnectConfig, family: int, address: Address) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(config.connect_timeout)
        set_options(sock)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
