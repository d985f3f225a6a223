"""Where a configuration leads, and how its socket is set up."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgoxide.config import ConnectConfig

__all__ = ["place", "set_options", "unix_address"]


def set_options(sock: socket.socket) -> None:
    """TCP_NODELAY: a request must not wait for the acknowledgement of the one before. Keep-alives: a dead peer shows."""
    if sock.family != getattr(socket, "AF_UNIX", None):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def unix_address(config: ConnectConfig) -> str:
    """The socket's path; `@name` stands for Linux's abstract namespace."""
    path = place(config)
    return f"\0{path[1:]}" if path.startswith("@") else path


def place(config: ConnectConfig) -> str:
    """For messages: the socket file, or host and port."""
    return f"{config.host}/.s.PGSQL.{config.port}" if config.is_unix else f"{config.host}:{config.port}"
