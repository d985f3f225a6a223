"""What both pools share: their settings, their numbers, and what a timeout says."""

from __future__ import annotations

import os
import random
import sys
import traceback
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, cast

from pgoxide.errors import InterfaceError, PoolTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "RESET_TIMEOUT",
    "PoolEvent",
    "PoolStats",
    "Settings",
    "check_whole",
    "delay_after",
    "late",
    "stack_here",
    "watch_forks",
]

JITTER = 0.1
"""By so much, either way, lifetimes differ: connections opened together must not all be replaced together."""

RESET_TIMEOUT = 30.0
"""Seconds a reset may take before its connection is given up."""

FIRST_DELAY, LONGEST_DELAY = 0.1, 10.0
"""Seconds between two attempts to reach a server that cannot be reached: doubled each time."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A pool's options, checked; see `AsyncPool`."""

    min_size: int
    max_size: int
    acquire_timeout: float | None
    max_waiting: int | None
    max_lifetime: float | None
    max_idle: float | None
    max_uses: int | None
    ping_after: float | None
    reset: str

    def __post_init__(self) -> None:
        check_whole("max_size", self.max_size, 1)
        check_whole("min_size", self.min_size, 0)
        if self.min_size > self.max_size:
            raise InterfaceError(f"min_size={self.min_size} is above max_size={self.max_size}")
        for name in ("max_waiting", "max_uses"):
            value = getattr(self, name)
            if value is not None:
                check_whole(name, value, 0 if name == "max_waiting" else 1)
        for name in ("acquire_timeout", "max_lifetime", "max_idle", "ping_after"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and value >= 0):
                raise InterfaceError(f"{name}={value!r}: seconds, not negative, or None")
        if self.max_lifetime == 0:
            raise InterfaceError(
                "max_lifetime=0: connections would be replaced for ever; seconds above 0, or None"
            )
        if not isinstance(cast("object", self.reset), str) or not self.reset.strip():
            raise InterfaceError(f'reset={self.reset!r}: "full", "never", or SQL')

    def lifetime(self) -> float | None:
        """Seconds the next connection may live."""
        if self.max_lifetime is None:
            return None
        return self.max_lifetime * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  no secret

    def upkeep(self) -> float:
        """Seconds between two looks at connections that nobody uses."""
        limits = [limit for limit in (self.max_idle, self.max_lifetime) if limit is not None]
        return min(30.0, max(0.05, min(limits, default=60.0) / 2))


def check_whole(name: str, value: object, least: int) -> None:
    """Raises InterfaceError unless it is a whole number, `least` at least."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InterfaceError(f"{name}={value!r}: a whole number, {least} at least")


def delay_after(delay: float) -> tuple[float, float]:
    """Seconds to wait now, with jitter, and the delay after that."""
    return delay * random.uniform(0.5, 1.0), min(2 * delay, LONGEST_DELAY)  # noqa: S311  no secret


@dataclass(frozen=True, slots=True)
class PoolStats:
    """How a pool stands, and what it has done since it was opened.

    size: connections that are open: `idle` (nobody's), `busy` (running what the pool was given), `used` (somebody's),
    `resetting` (given back; what was left in them is being undone) and `checking` (asked whether they live).
    opening: connections on their way.
    waiting: those who wait for a connection of their own. queued: calls that wait for one that takes them.
    at_once: calls and users for whom a connection was there, and fit to be used. waits: those that waited for one, or for
    the server's answer to the reset or the ping that came first, as pairs (seconds, how many waited less than that and no
    less than the pair before it). Who gave up or was refused is in neither.
    connects: connections opened. failures: attempts that failed. last_failure: the newest of them, None since one succeeded.
    lost: connections that ended without the pool's doing. discarded: those it gave up, by reason: "lifetime", "uses" and "idle" (the
    pool's limits), "expired" (by `expire`), "reset failed" (or not answered in time), "left in a transaction", "hook failed",
    "lost" (noticed when taken), "cancelled" (given back while a `cancel()` of its user was under way), "closed" (with the pool,
    while nobody had them).
    """

    min_size: int
    max_size: int
    size: int
    idle: int
    busy: int
    used: int
    resetting: int
    checking: int
    opening: int
    waiting: int
    queued: int
    at_once: int
    waits: tuple[tuple[float, int], ...]
    connects: int
    failures: int
    last_failure: Exception | None
    lost: int
    discarded: Mapping[str, int]

    def __str__(self) -> str:
        """One line for messages."""
        parts = [
            f"{count} {word}"
            for word in ("idle", "busy", "used", "resetting", "checking", "opening")
            if (count := getattr(self, word))
        ]
        standing = f" ({', '.join(parts)})" if parts else ""
        return f"{self.size} of {self.max_size} connections{standing}, {self.waiting} waiting, {self.queued} calls queued"


class PoolEvent(NamedTuple):
    """Something that has happened to a connection of a pool, as it is told to `add_event_listener`.

    kind: "opened"; "failed", an attempt to open one; "lost", one that ended without the pool's doing; "discarded", one that the
    pool gave up.
    reason: of one that was discarded, as `PoolStats.discarded` counts them; else None.
    error: why an attempt failed, or a connection was lost; None where there is no error.
    process_id: the connection's server process; None for an attempt, and where the server told none.
    """

    kind: Literal["opened", "failed", "lost", "discarded"]
    reason: str | None = None
    error: Exception | None = None
    process_id: int | None = None


def late(stats: PoolStats, waited: float, limit: float | None) -> PoolTimeout:
    """The error of who has waited too long. `limit`: the call's own, if that was it."""
    said = f" within {limit} s, the call's time limit" if limit is not None else f": waited {waited:.3g} s"
    text = f"no connection of the pool became free{said}; {stats}"
    failure = stats.last_failure
    if failure is None:
        return PoolTimeout(text)
    error = PoolTimeout(f"{text}; opening one failed: {type(failure).__name__}: {failure}")
    error.__cause__ = failure
    return error


class _Forkable(Protocol):
    def _after_fork(self) -> None: ...


_pools: weakref.WeakSet[_Forkable] = weakref.WeakSet()


def watch_forks(pool: _Forkable) -> None:
    """Has the pool told, in the child of a fork, that it is not the child's."""
    _pools.add(pool)


def _forked() -> None:
    for pool in list(_pools):
        pool._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def stack_here() -> str:
    """The caller's stack without the pool's own frames, for the warning of a connection that was not given back."""
    frames = traceback.extract_stack(sys._getframe(2), limit=12)
    return "".join(traceback.format_list(frames))
