"""Who gets which connection of a blocking pool; its asynchronous twin is in the core.

    take ──▶ an idle connection, made fit without the lock │ the queue: first come, first served
    give ──▶ the reset is written, not waited for ──▶ idle ──▶ the front of the queue is woken

Only the front of the queue takes connections, so nobody is overtaken.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING

from pgoxide import _core
from pgoxide.driver.pooling import RESET_TIMEOUT
from pgoxide.errors import Error, InterfaceError, PoolFull, QueryTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgoxide.driver._sync.connection import Connection
    from pgoxide.driver.pooling import Settings

__all__ = ["Shelf"]

RESET_PATIENCE = 0.1
"""Seconds a user waits for a reset before they look at another connection."""

PING_TIMEOUT = 5.0
"""Seconds an idle connection may take to say that it lives."""

FORKED = (
    "this pool was opened before a fork: its connections are the other process's; open one in each process"
)

BUCKETS = 28
"""Powers of two of microseconds that waits are counted by."""


class _Member:
    """One connection."""

    __slots__ = (
        "asked_before",
        "db",
        "dirty",
        "expired",
        "expires",
        "idle_since",
        "reset_until",
        "resetting",
        "standing",
        "uses",
        "waited",
    )

    def __init__(self, db: Connection, lifetime: float | None) -> None:
        self.db = db
        self.standing = "idle"
        self.dirty = False
        """Something ran since it was made or reset."""
        self.resetting = False
        """Its reset has not been seen to be answered."""
        self.reset_until = 0.0
        """When it must have been."""
        self.idle_since = time.monotonic()
        self.expires = None if lifetime is None else self.idle_since + lifetime
        self.expired = False
        """`expire()` has asked for it."""
        self.uses = 0
        self.waited = False
        """Whoever took it last had to wait for an answer of the server's first."""
        self.asked_before = 0


class _Place:
    """Somebody's place in the queue."""

    __slots__ = ("is_front", "whole")

    def __init__(self, *, whole: bool) -> None:
        self.is_front = threading.Event()
        """Set when there may be something for it to take."""
        self.whole = whole


class Shelf(_core.PoolCore):
    """What `Pool` is made of: connections, and those who wait for one. All of it may be used from several threads."""

    _settings: Settings

    def _prepare_shelf(self, settings: Settings, command_timeout: float | None) -> None:
        self._settings = settings
        self._command_timeout = command_timeout
        self._lock = threading.Lock()
        self._shelf: dict[Connection, _Member] = {}
        self._idle: list[_Member] = []
        """The most recently used last: it is taken first."""
        self._queue: deque[_Place] = deque()
        self._coming = 0
        self._paused = self._shut_down = self._is_orphan = False
        self._served_at_once = 0
        self._wait_counts = [0] * BUCKETS
        self._retiring: weakref.WeakSet[threading.Thread] = weakref.WeakSet()

    # -- taking -------------------------------------------------------------------------------------------------

    def _acquire(self, timeout: float | None) -> Connection:
        """A connection of one's own, clean."""
        member = self._take(timeout, whole=True)
        try:
            member.db._unpark(routed=False)
            member.asked_before = member.db._asked()
            member.standing = "used"
        except BaseException:
            self._not_taken(member)
            raise
        return member.db

    def _take_routed(self, timeout: float | None) -> Connection:
        """A connection for one statement of the pool's."""
        member = self._take(timeout, whole=False)
        try:
            member.db._unpark(routed=True)
            member.dirty = True
        except BaseException:
            self._not_taken(member)
            raise
        return member.db

    def _not_taken(self, member: _Member) -> None:
        """An interrupt came before its user had it, or when they no longer did."""
        member.db._park()
        self._put_back(member)

    def _take(self, timeout: float | None, *, whole: bool) -> _Member:
        """The next connection, fit to be used; it stands as "busy"."""
        if timeout is not None and not timeout >= 0:
            raise InterfaceError(f"timeout={timeout}: seconds, not negative")
        began = time.monotonic()
        with self._lock:
            self._check_shelf()
            member = None if self._queue else self._pop(whole=whole)
            place = None if member is not None else self._join_queue(whole=whole)
        if member is not None:
            try:
                if self._is_fit(member, whole=whole, left=timeout):
                    if member.waited:
                        self._count_wait(time.monotonic() - began)
                    else:
                        self._served_at_once += 1
                    return member
            except BaseException:
                self._put_back(member)
                raise
        if place is None:
            place = _Place(whole=whole)
            with self._lock:  # it was dead: who came meanwhile came later
                self._queue.appendleft(place)
        return self._wait(place, timeout, began)

    def _join_queue(self, *, whole: bool) -> _Place:
        limit = self._settings.max_waiting
        waiting = len(self._queue)
        if limit is not None and waiting >= limit and not self._can_grow():
            raise PoolFull(
                f"{waiting} wait for a connection of the pool already, as many as max_waiting allows"
            )
        place = _Place(whole=whole)
        self._queue.append(place)
        return place

    def _wait(self, place: _Place, timeout: float | None, began: float) -> _Member:
        patience = self._settings.acquire_timeout
        limit = (
            patience
            if timeout is None or (not place.whole and patience is not None and patience < timeout)
            else timeout
        )
        member: _Member | None = None
        try:
            while True:
                with self._lock:
                    place.is_front.clear()
                    self._check_shelf()
                    if self._queue[0] is place and (member := self._pop(whole=place.whole)) is not None:
                        member.standing = "busy"
                    grow = 0 if member is not None else self._reserve()
                for _ in range(grow):
                    self._do_grow(1)
                left = None if limit is None or limit == float("inf") else began + limit - time.monotonic()
                tried = member is not None
                if member is not None:
                    if self._is_fit(member, whole=place.whole, left=left):
                        self._count_wait(time.monotonic() - began)
                        return member
                    member = None
                if left is not None and left <= 0:
                    waited = time.monotonic() - began
                    raise self._do_late(waited, timeout if limit == timeout else None)
                if not tried:
                    place.is_front.wait(left)
        except BaseException:
            if member is not None:
                self._put_back(member)
            raise
        finally:
            with self._lock:
                self._queue.remove(place)
                self._wake()

    def _count_wait(self, seconds: float) -> None:
        self._wait_counts[min(int(seconds * 1e6).bit_length(), BUCKETS - 1)] += 1

    def _pop(self, *, whole: bool) -> _Member | None:
        """An idle connection, one that needs no reset if the user needs a clean one. The lock is held."""
        if not self._idle:
            return None
        at, latest = -1, self._idle[-1]
        if latest.resetting or (whole and latest.dirty):
            # Rather one whose reset has been answered than one to be followed, rather that than one to be reset first.
            latest_first = range(len(self._idle) - 1, -1, -1)
            clean = [n for n in latest_first if not (whole and self._idle[n].dirty)]
            answered = (n for n in clean if not self._idle[n].resetting)
            at = next(answered, clean[0] if clean else -1)
        member = self._idle.pop(at)
        member.standing = "busy"
        return member

    def _is_fit(self, member: _Member, *, whole: bool, left: float | None) -> bool:
        """Whether the connection can be used; if not, it has been given up, or put back because its reset takes longer.

        Asks the server where that is due. left: seconds that its user has.
        """
        db, settings, why = member.db, self._settings, "lost"
        member.waited = False
        try:
            idle = time.monotonic() - member.idle_since
            if db._is_doomed():
                why = "lost"
            elif (spent := self._spent(member)) is not None:
                why = spent
            elif settings.max_idle is not None and idle >= settings.max_idle:
                why = "idle"
            else:
                why = "reset failed"
                if member.resetting:
                    if not self._is_reset(member, left):
                        return False
                elif settings.ping_after is not None and idle >= settings.ping_after:
                    why = "lost"
                    member.waited = True
                    db._ping(PING_TIMEOUT)
                    why = "reset failed"
                if whole and member.dirty:
                    self._begin_reset(member)
                    member.dirty = False
                    if not self._is_reset(member, left):
                        return False
                member.uses += 1
                return True
        except Error as error:
            self._do_note(error)
        self._give_up(member, why)
        return False

    def _begin_reset(self, member: _Member) -> None:
        member.resetting = member.db._reset(self._settings.reset, RESET_TIMEOUT)
        member.reset_until = time.monotonic() + RESET_TIMEOUT

    def _is_reset(self, member: _Member, left: float | None) -> bool:
        """Whether what the user asks may travel behind the reset, or its answer has come.

        If neither is so, waits a moment for the answer; if it has not come then, the connection goes behind the other idle ones.
        Raises why the reset failed, or that its time is over.
        """
        if member.resetting and not member.db._follow_reset():
            patience = RESET_PATIENCE if left is None else max(0.01, min(RESET_PATIENCE, left))
            try:
                member.waited |= member.db._await_reset(patience)
            except QueryTimeout:
                if time.monotonic() >= member.reset_until:
                    raise
                self._put_back(member, first=False)
                return False
        member.resetting = False
        return True

    def _spent(self, member: _Member) -> str | None:
        most = self._settings.max_uses
        if member.expired:
            return "expired"
        if most is not None and member.uses >= most:
            return "uses"
        if member.expires is not None and member.expires <= time.monotonic():
            return "lifetime"
        return None

    # -- giving back --------------------------------------------------------------------------------------------

    def _release(self, db: Connection) -> None:
        """Its user gives it back: the reset is written, and not waited for."""
        whole = db._whole or db
        with self._lock:
            member = self._shelf.get(whole)
            if member is None and db._pool is not self:
                raise InterfaceError("this connection is not one of the pool's")
            if db._given_back or (member is not None and member.standing != "used"):
                raise InterfaceError("this connection has been given back before")
            whole._end_lease()
            if member is None:
                return  # lost meanwhile, and forgotten
            member.standing = "resetting"
        try:
            whole._park()
            # A call of another thread that was begun in time runs to its end, and counts.
            untouched = whole.closed or whole._quiesce(RESET_TIMEOUT) == member.asked_before
            if not untouched and not whole.closed:
                self._begin_reset(member)
        except Error as error:
            self._do_note(error)
            self._give_up(member, "reset failed")
            return
        except BaseException as error:
            # A second Ctrl-C: nobody knows how far it came.
            self._give_up(member, "reset failed")
            whole.abort(error)
            raise
        self._put_back(member)

    def _give_routed(self, db: Connection) -> None:
        """The pool's own statement is through."""
        member = self._shelf.get(db)
        if member is None:
            return
        try:
            if not db.closed and db.transaction_status != "idle":
                self._give_up(member, "left in a transaction")
                return
            db._park()
            self._put_back(member)
        except BaseException:
            if member.standing == "busy":
                self._not_taken(member)
            raise

    def _put_back(self, member: _Member, *, first: bool = True) -> None:
        """Idle again, unless it has ended or served for long enough. first: it is the one to be taken next."""
        why = "closed" if self._shut_down else self._spent(member)
        if why is not None:
            self._give_up(member, why)
            return
        with self._lock:
            if member.db not in self._shelf:
                return
            member.standing = "idle"
            member.idle_since = time.monotonic()
            self._idle.insert(len(self._idle) if first else 0, member)
            self._wake()

    def _wake(self) -> None:
        """The front of the queue looks again. The lock is held."""
        if self._queue:
            self._queue[0].is_front.set()

    def _give_up(self, member: _Member, why: str) -> None:
        if self._remove(member.db):
            self._do_give_up(member.db, why)

    # -- what the pool tells and asks ---------------------------------------------------------------------------

    def _add(self, db: Connection, lifetime: float | None, *, expected: bool, trip: float) -> bool:  # noqa: ARG002  the other face's
        """A connection has been opened. False: the pool has been closed meanwhile."""
        db._park()
        self._learn(db)
        with self._lock:
            if expected:
                self._coming -= 1
            if self._shut_down:
                return False
            member = self._shelf[db] = _Member(db, lifetime)
            self._idle.append(member)
            self._wake()
            return True

    def _expect(self, change: int) -> None:
        """So many more (or, negative, fewer) are being opened."""
        with self._lock:
            self._coming += change
            self._wake()

    def _missing(self, size: int) -> int:
        """How many connections are missing to `size`, which the caller opens."""
        with self._lock:
            missing = max(0, size - len(self._shelf) - self._coming)
            self._coming += missing
            return missing

    def _can_grow(self) -> bool:
        size = len(self._shelf) + self._coming
        return not self._paused and not self._shut_down and size < self._settings.max_size

    def _reserve(self) -> int:
        """How many to open for those who wait; they count as being opened. The lock is held."""
        if not self._can_grow():
            return 0
        wanted = len(self._queue) - self._coming - len(self._idle)
        count = max(0, min(wanted, self._settings.max_size - len(self._shelf) - self._coming))
        self._coming += count
        return count

    def _pause(self, paused: bool) -> None:
        with self._lock:
            self._paused = paused
            self._wake()

    def _remove(self, db: Connection) -> bool:
        """Forgets a connection; true when it was one of the pool's."""
        with self._lock:
            member = self._shelf.pop(db, None)
            if member is None:
                return False
            if member in self._idle:
                self._idle.remove(member)
            self._wake()
            return True

    def _tidy(self, keep: int) -> None:
        """Gives up connections that have been idle, or lived, for too long."""
        now, most = time.monotonic(), self._settings.max_idle
        stale: list[tuple[_Member, str]] = []
        with self._lock:
            surplus = len(self._shelf) - keep
            for member in self._idle:  # those idle for longest stand first
                why = self._spent(member)
                if why is None and surplus > 0 and most is not None and now - member.idle_since >= most:
                    surplus -= 1
                    why = "idle"
                if why is not None:
                    stale.append((member, why))
            for member, _ in stale:  # nobody may take them meanwhile
                self._idle.remove(member)
                member.standing = "checking"
        for member, why in stale:
            self._give_up(member, why)

    def _expire(self) -> None:
        """Every connection is replaced once nobody uses it."""
        with self._lock:
            for member in self._shelf.values():
                member.expired = True
        self._tidy(0)

    def _shut(self) -> None:
        """From now on nothing new is taken; who waits is told."""
        with self._lock:
            self._shut_down = True
            for place in self._queue:
                place.is_front.set()

    def _members(self) -> list[tuple[Connection, str]]:
        with self._lock:
            return [
                (
                    member.db,
                    "resetting" if member.standing == "idle" and member.resetting else member.standing,
                )
                for member in self._shelf.values()
            ]

    def _counts(self) -> tuple[int, int, int]:
        with self._lock:
            whole = sum(place.whole for place in self._queue)
            return whole, len(self._queue) - whole, self._coming

    def _waits(self) -> tuple[int, list[int]]:
        return self._served_at_once, list(self._wait_counts)

    def _check_shelf(self) -> None:
        if self._is_orphan:
            raise InterfaceError(FORKED)
        if self._shut_down:
            raise InterfaceError("the pool is closed")

    def _orphan(self) -> None:
        """In the child of a fork, where other threads do not go on: their locks stay as they were."""
        self._lock = threading.Lock()
        self._is_orphan = True

    def _spawn(self, work: Callable[..., object], *args: object) -> None:
        """Runs work in the background.

        Not any more as the interpreter ends: the lines go with it, and a thread would not begin (Python 3.11 waits for that forever).
        """
        if sys.is_finalizing():
            return
        thread = threading.Thread(target=work, args=args, name=f"pgoxide pool {work.__name__}", daemon=True)
        if work == self._retire:
            self._retiring.add(thread)
        thread.start()

    # What `Pool` adds.

    def _retire(self, db: Connection) -> None:
        raise NotImplementedError

    def _do_grow(self, count: int) -> None:
        raise NotImplementedError

    def _do_give_up(self, db: Connection, why: str) -> None:
        raise NotImplementedError

    def _do_note(self, error: Exception) -> None:
        raise NotImplementedError

    def _do_late(self, waited: float, limit: float | None) -> Exception:
        raise NotImplementedError
