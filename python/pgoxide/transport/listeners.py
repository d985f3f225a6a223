"""Who is told of notices, notifications and the end of a connection.

A listener's own exception never disturbs the protocol: it goes to `sys.unraisablehook`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pgoxide._core import report_unraisable
from pgoxide.types import Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgoxide.errors import Error

__all__ = ["Listeners", "Notification"]

_T = TypeVar("_T")


class Notification(NamedTuple):
    """What NOTIFY sent: channel, payload, and the process id of the session that notified."""

    channel: str
    payload: str
    process_id: int


class Listeners:
    """The callbacks of one connection, in the order they were added."""

    __slots__ = ("_ended", "on_close", "on_notice", "on_notification")

    def __init__(self) -> None:
        self.on_notice: list[Callable[[Notice], object]] = []
        self.on_notification: list[Callable[[Notification], object]] = []
        self.on_close: list[Callable[[Error], object]] = []
        self._ended = False

    def notice(self, fields: dict[str, str]) -> None:
        """A NoticeResponse has come."""
        if self.on_notice:
            _call(self.on_notice, Notice.from_fields(fields))

    def notification(self, channel: str, payload: str, process_id: int) -> None:
        """A NotificationResponse has come."""
        _call(self.on_notification, Notification(channel, payload, process_id))

    def ended(self, reason: Error) -> None:
        """The connection has ended; told once."""
        if not self._ended:
            self._ended = True
            _call(self.on_close, reason)


def _call(listeners: list[Callable[[_T], object]], argument: _T) -> None:
    for listener in tuple(listeners):
        try:
            listener(argument)
        except Exception as error:  # noqa: BLE001  whatever it is, it is the listener's own
            report_unraisable(error, listener)
