"""Where a configuration leads, and how its socket is set up."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgoxide.config import ConnectConfig

__all__ = ["Address", "family_of", "place", "place_of", "set_options", "unix_address"]

Address = str | tuple[str, int] | tuple[str, int, int, int]
"""A socket's address as Python writes it: a Unix socket's path, IPv4, IPv6."""


def set_options(sock: socket.socket) -> None:
    """TCP_NODELAY: a request must not wait for the acknowledgement of the one before. Keep-alives: a dead peer shows."""
    if sock.family != getattr(socket, "AF_UNIX", None):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def unix_address(config: ConnectConfig) -> str:
    """The socket's path; `@name` stands for Linux's abstract namespace."""
    path = place(config)
    return f"\0{path[1:]}" if path.startswith("@") else path


def family_of(address: Address) -> socket.AddressFamily:
    """The family of sockets that lead to this address."""
    if isinstance(address, str):
        return socket.AF_UNIX
    return socket.AF_INET if len(address) == 2 else socket.AF_INET6


def place_of(address: Address) -> str:
    """For messages: the socket file, or address and port."""
    if isinstance(address, str):
        return f"@{address[1:]}" if address.startswith("\0") else address
    return f"{address[0]}:{address[1]}" if len(address) == 2 else f"[{address[0]}]:{address[1]}"


def place(config: ConnectConfig) -> str:
    """For messages: the socket file, or host and port."""
    return f"{config.host}/.s.PGSQL.{config.port}" if config.is_unix else f"{config.host}:{config.port}"
