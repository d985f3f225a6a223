# generated from python/pgoxide/driver/_async/pool.py by tools/async_to_sync.py: do not edit

"""`Pool`: connections shared by many tasks.

Which call runs on which connection is decided by the core (`_core.PoolCore`; blocking face: `driver/shelf.py`). Here
connections are opened, checked, configured, handed over and closed.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from pgoxide._core import Descriptions, TypeRegistry, report_unraisable
from pgoxide.driver._sync.attempts import Attempts
from pgoxide.driver._sync.connection import Connection
from pgoxide.driver._sync.pool_batch import PoolBatch
from pgoxide.driver._sync.pool_stream import PoolStream
from pgoxide.driver._sync.pool_transaction import PoolTransaction
from pgoxide.driver.bells import Bell
from pgoxide.driver.options import core_options
from pgoxide.driver.peers import explain_peers_names, own_names
from pgoxide.driver.pooling import (
    FIRST_DELAY,
    PoolEvent,
    PoolStats,
    Settings,
    delay_after,
    late,
    stack_here,
    watch_forks,
)
from pgoxide.driver.shelf import Shelf
from pgoxide.errors import ConnectionClosed, InterfaceError, QueryTimeout

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self, Unpack

    from pgoxide._core import CommandTag
    from pgoxide.config import ConnectConfig
    from pgoxide.driver._sync.transaction import Transaction
    from pgoxide.driver.commands import Others
    from pgoxide.driver.copying import CopyFormat, CopyInOptions
    from pgoxide.driver.options import ConnectionOptions
    from pgoxide.driver.sinks import Reader
    from pgoxide.statement import Isolation, ParameterSet, Plan, Statement
    from pgoxide.types import Row

__all__ = ["Pool"]

R = TypeVar("R")
Hook: TypeAlias = "Callable[[Connection], object]"
Types: TypeAlias = "Sequence[str | int] | Mapping[str, str | int]"
Address: TypeAlias = "str | ConnectConfig | None"

CLOSE_TIMEOUT = 10.0
"""Seconds `close()` waits for connections in use."""

OPEN_TIMEOUT = 60.0
"""Seconds that opening `min_size` connections may take in all, beside the first; `connect_timeout` limits each."""

PING_TIMEOUT = 5.0
"""Seconds an idle connection may take to say that it lives."""

# What SET changed: the pool's reset would undo it. Source: pg_settings.
_SET_HERE = "select name from pg_catalog.pg_settings where source = 'session' order by name"


@explain_peers_names("pool")
class Pool(Shelf):
    """Connections to one database, shared by many tasks.

    >>> import pgoxide
    >>> def main() -> None:
    ...     with pgoxide.Pool(max_size=4) as pool:
    ...         print(pool.fetch_value("select 1 + 1"))
    ...         with pool.acquire() as db:
    ...             db.execute("set timezone to 'Asia/Tokyo'")

    The verbs run one statement each on whichever connection can take it. `acquire()` gives a connection of one's own, which is
    cleaned when it is given back.

    dsn: a URI or keyword/value string, a ConnectConfig, or a function that gives one of them each time a connection is opened
    (for addresses and passwords that change). Without it DATABASE_URL and the PG* variables count.
    min_size, max_size: connections kept open (1), and open at most (10).
    acquire_timeout: seconds to wait for a connection (30.0), then PoolTimeout; None: for ever.
    max_waiting: how many may wait, beyond which a call raises PoolFull; None (default): no limit but that of memory,
    `max_queued_hard`.
    pipeline_depth: requests that may be unfinished on one connection (8) when the pool is given statements; asynchronous face.
    share: False to run one statement at a time on a connection, as `pipeline_depth=1`; asynchronous face.
    max_lifetime: seconds after which a connection is replaced (3600.0), give or take a tenth; None: never.
    max_idle: seconds after which a connection that nobody needs is closed (600.0), down to `min_size`; None: never.
    max_uses: statements and users after which a connection is replaced; None (default): never.
    ping_after: seconds of idleness after which a connection is asked whether it lives before it is used; None (default): it is
    not, and only one whose end has been told, or can be read, is replaced.
    reset: what a connection forgets between two users. "full" (default): an open transaction, settings, roles, advisory locks,
    cursors, channels, temporary tables, sequence values. "never": only the transaction. Or SQL of your own, which runs after
    a transaction was rolled back.
    configure: called with each new connection. What it SETs is undone by the first reset, so it is refused there: give
    settings as `parameters=`, or choose another reset.
    on_acquire, on_release: called with a connection before it is handed over, and when it is given back: by `acquire()` and what
    takes a connection of its own, not for single statements that the pool is given. One whose hook raises is closed, and the
    exception comes out.
    before_close: called with a connection that the pool closes, if it still lives.
    debug: True to remember where connections were acquired, for the warning of one that is not given back; by default as
    Python's development mode.
    options: those of `Connection.connect()`.
    """

    def __init__(
        self,
        dsn: Address | Callable[[], Address] = None,
        /,
        *,
        min_size: int = 1,
        max_size: int = 10,
        acquire_timeout: float | None = 30.0,
        max_waiting: int | None = None,
        max_lifetime: float | None = 3600.0,
        max_idle: float | None = 600.0,
        max_uses: int | None = None,
        ping_after: float | None = None,
        reset: str = "full",
        configure: Hook | None = None,
        on_acquire: Hook | None = None,
        on_release: Hook | None = None,
        before_close: Hook | None = None,
        debug: bool | None = None,
        **options: Unpack[ConnectionOptions],
    ) -> None:
        super().__init__()
        settings = Settings(
            min_size,
            max_size,
            acquire_timeout,
            max_waiting,
            max_lifetime,
            max_idle,
            max_uses,
            ping_after,
            reset,
        )
        config, core = core_options(None if callable(dsn) else dsn, options)
        self._prepare_shelf(settings, config.command_timeout)
        self._prepare(core["statement_cache_size"])
        self._dsn = dsn
        # What one connection learns of types, all of them know.
        self._types = options.get("type_registry") or TypeRegistry()
        self._options: ConnectionOptions = {**options, "type_registry": self._types}
        # How one connection had a statement described, the others take for a first guess.
        self._descriptions = Descriptions(core["statement_cache_size"])
        self._configure, self._on_acquire = configure, on_acquire
        self._on_release, self._before_close = on_release, before_close
        self._debug = sys.flags.dev_mode if debug is None else debug
        self._changed = Bell()
        self._opened = self._started = self._closing = False
        watch_forks(self)
        self._retrying = self._forked = False
        self._connects = self._failures = self._lost_count = 0
        self._discarded: Counter[str] = Counter()
        self._last_failure: Exception | None = None
        self._event_listeners: list[Callable[[PoolEvent], object]] = []
        self._first_failure: Exception | None = None
        """What kept the pool from being opened."""
        self._holders: weakref.WeakKeyDictionary[Connection, str] = weakref.WeakKeyDictionary()
        self._ending: set[Connection] = set()
        self._over = threading.Event()
        self._open()

    # -- opening ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if not self._opened:
            self._open()
        self._check_open()
        return self

    def _open(self) -> None:
        """The first connection tells what is wrong, at once; then those that `min_size` asks for, each of which does, too."""
        self._opened = True
        try:
            if self._settings.min_size:
                self._join(self._connect(), expected=False)
                self._refill()
                self._reach(self._settings.min_size, OPEN_TIMEOUT, opens=True)
        except BaseException:
            self._first_failure = None  # its frames lead here
            self.close(0)
            raise
        self._started = True
        self._keep_up()

    def _keep_up(self) -> None:
        self._spawn(_upkeep, weakref.ref(self), self._settings.upkeep())

    def wait(self, timeout: float = 30.0) -> None:
        """Waits until `min_size` connections are open, as after an outage.

        timeout: seconds. Raises PoolTimeout, whose cause is the last failure to open one.
        """
        self._check_open()
        self._reach(self._settings.min_size, timeout)

    def _reach(self, size: int, timeout: float, *, opens: bool = False) -> None:
        """Waits until so many are open. opens: the pool is being opened, and what keeps it from that is raised at once."""
        until = time.monotonic() + timeout
        while True:
            seen = self._changed.rings
            open_ = len(self._members())
            if open_ >= size:
                return
            if opens and self._first_failure is not None:
                self._first_failure.add_note(
                    f"{open_} of the pool's min_size={size} connections could be opened"
                )
                raise self._first_failure
            if self._closing:
                raise InterfaceError("the pool was closed while this waited for its connections")
            left = until - time.monotonic()
            if left <= 0:
                raise late(self.stats(), timeout, None)
            self._changed.wait(seen, left)

    def _connect(self) -> Connection:
        """One more connection, configured. Raises what keeps it from being opened."""
        address: Any = self._dsn
        if callable(address):
            address = address()
        began = time.monotonic()
        db = Connection.connect(address, **self._options)
        db._opened_in = time.monotonic() - began
        db._share(self._descriptions)
        try:
            if self._configure is not None:
                self._call_hook(self._configure, db)
                self._check_configured(db)
        except BaseException:
            db.abort()
            raise
        self._connects += 1
        db._pool = self
        gone = weakref.ref(db)
        pool: weakref.ref[Pool] = weakref.ref(self)
        db.add_close_listener(lambda reason: _tell_lost(pool, gone, reason))
        db._explain_pool(lambda: _standing(pool))
        return db

    def _call_hook(self, hook: Hook, db: Connection) -> None:
        """For hooks that come before or after all users: what they keep of the connection counts no longer afterwards."""
        try:
            hook(db._lend())
        finally:
            db._end_lease()

    def _check_configured(self, db: Connection) -> None:
        """Raises when what `configure` did would not last."""
        if db.transaction_status != "idle":
            raise InterfaceError("configure left a transaction open: it must end what it begins")
        if self._settings.reset != "full":
            return
        names = db.fetch_column(_SET_HERE, into=str)
        if names:
            raise InterfaceError(
                f"configure changed {', '.join(str(name) for name in names)}, which the pool's reset would undo after the first use: "
                'give settings as parameters={"name": "value"} to the pool, set them in on_acquire, or choose another reset='
            )

    def _join(self, db: Connection, *, expected: bool) -> None:
        """A new connection is the pool's, unless that has been closed meanwhile."""
        if not self._add(db, self._settings.lifetime(), expected=expected, trip=db._opened_in):
            db._pool = None
            db.abort(ConnectionClosed("its pool was closed"))
            return
        self._changed.ring()
        self._tell(PoolEvent("opened", process_id=db.backend_pid))
        if db.closed:  # between its opening and now
            self._lost(db)

    def _grow(self) -> None:
        """Opens a connection that was asked for. While the server cannot be reached, one goes on trying, the others leave it."""
        mine, joined, delay = False, False, FIRST_DELAY
        try:
            while not self._closing:
                try:
                    db = self._connect()
                except Exception as error:  # noqa: BLE001  kept for who waits: see PoolTimeout
                    self._failures += 1
                    self._last_failure = error
                    if not self._started:
                        self._first_failure = error
                    self._changed.ring()
                    self._tell(PoolEvent("failed", error=error))
                    if self._retrying and not mine:
                        return
                    mine = self._retrying = True
                    self._pause(True)
                    pause, delay = delay_after(delay)
                    self._rest(pause)
                    if not self._is_needed():
                        return
                else:
                    self._last_failure = None
                    joined = True
                    self._join(db, expected=True)
                    return
        finally:
            if mine:
                self._retrying = False
                self._pause(False)
            if not joined:
                self._expect(-1)
            if not self._closing:
                self._refill()

    def _rest(self, seconds: float) -> None:
        """Sleeps, but not beyond the pool's end."""
        until = time.monotonic() + seconds
        while not self._closing and (left := until - time.monotonic()) > 0:
            self._changed.wait(self._changed.rings, left)

    def _is_needed(self) -> bool:
        """Somebody waits for the connection that is being opened, or too few are open."""
        waiting, queued, _ = self._counts()
        return waiting + queued > 0 or len(self._members()) < self._settings.min_size

    def _refill(self) -> None:
        """Sees to it that `min_size` connections are open, or on their way."""
        if self._closing or self._retrying:
            return
        missing = self._missing(self._settings.min_size)
        for _ in range(missing):
            self._spawn(self._grow)

    # -- called by the core -------------------------------------------------------------------------------------

    def _do_grow(self, count: int) -> None:
        for _ in range(count):
            self._spawn(self._grow)

    def _do_give_up(self, db: Connection, why: str) -> None:
        """It is no longer the pool's."""
        self._discarded[why] += 1
        self._spawn(self._retire, db)
        self._refill()
        self._changed.ring()
        self._tell(PoolEvent("discarded", why, process_id=db.backend_pid))

    def _do_note(self, error: Exception) -> None:
        """A reset failed: the connection is given up, and whoever looks is told why."""
        self._last_failure = error

    def _do_late(self, waited: float, limit: float | None) -> Exception:
        return late(self.stats(), waited, limit)

    def _drop(self, db: Connection, why: str, error: BaseException | None = None) -> None:
        """Cuts a connection that nobody can use any more."""
        removed = self._remove(db)
        if removed:
            self._discarded[why] += 1
        db.abort(error)
        self._refill()
        self._changed.ring()
        if removed:
            told = error if isinstance(error, Exception) else None
            self._tell(PoolEvent("discarded", why, told, db.backend_pid))

    def _retire(self, db: Connection) -> None:
        """Closes a connection that the pool has given up."""
        db._pool = None
        db._unpark(routed=False)
        self._ending.add(db)
        try:
            if self._before_close is not None and not db.closed:
                self._call_hook(self._before_close, db)
        finally:
            try:
                db.close()
            finally:
                self._ending.discard(db)

    def _lost(self, db: Connection, reason: Exception | None = None) -> None:
        """It has ended, by itself or by its user."""
        if self._remove(db):
            self._lost_count += 1
            self._refill()
            self._changed.ring()
            self._tell(PoolEvent("lost", error=reason, process_id=db.backend_pid))

    # -- one's own connection -----------------------------------------------------------------------------------

    def acquire(self, *, timeout: float | None = None) -> Connection:
        """A connection of one's own: nobody else's statements run on it until it is given back.

        timeout: seconds to wait for one; without it the pool's `acquire_timeout`.

        The connection is its own context manager: `with pool.acquire() as db`, or `db = pool.acquire()` and later
        `pool.release(db)`. First come, first served. It comes clean: nothing is left of earlier users' settings, locks,
        temporary tables or transactions (see `reset`), only the prepared statements. What you get is yours for this one
        time: once given back it raises InterfaceError, and so does all that was made through it, whoever has the connection then.

        Raises PoolTimeout, PoolFull, InterfaceError for a closed pool. Ctrl-C is safe while it waits.

        >>> import pgoxide
        >>> def example(pool: pgoxide.Pool) -> None:
        ...     with pool.acquire(timeout=5) as db:
        ...         db.execute("select set_config('app.user', $1, false)", "ada")
        ...         print(db.fetch_value("select current_setting('app.user')"))
        """
        return self._checkout(timeout)

    def _checkout(self, timeout: float | None) -> Connection:
        whole = self._acquire(timeout)
        try:
            db = whole._lend()
        except BaseException:  # an interrupt
            self._release(whole)
            raise
        if self._debug:
            self._holders[whole] = stack_here()
        if self._on_acquire is not None:
            try:
                self._on_acquire(db)
            except BaseException as error:
                self._give_back_broken(db, error)
                raise
        return db

    def release(self, db: Connection) -> None:
        """Gives back a connection that `acquire` gave; leaving the block of `acquire` does it.

        db: the connection. It takes no further call from its user.

        What its user left is undone by a request that is written at once and not waited for. The next user's first request may
        travel behind it: the server runs that only if the reset was done. Calls that are still unfinished run to their end
        first; an open stream is ended. When either takes more than 30 seconds (on the asynchronous face up to 60) the
        connection is closed, and what is unfinished on it raises ConnectionClosed.
        Raises InterfaceError for a connection that is not the pool's, or was given back before.
        """
        if self._on_release is not None and not db.closed and db._pool is self:
            if db._leaves:
                raise InterfaceError("this connection has been given back before")
            db._leaves = True
            try:
                self._on_release(db)
            except BaseException as error:
                self._give_back_broken(db, error)
                raise
        if db._pool is self and not db._given_back and db._give_back():
            self._let_go_cancelled(db._whole or db)
        else:
            self._release(db)
        self._changed.ring()

    def _let_go_cancelled(self, db: Connection) -> None:
        """A CancelRequest of its user is on its way: it must hit neither the reset nor the next user."""
        db._end_lease()
        if self._remove(db):
            self._do_give_up(db, "cancelled")

    def _give_back_dropped(self, db: Connection, *, cancelled: bool = False) -> None:
        """By a finalizer: in any thread, in the middle of anything. cancelled: as `_give_back` says."""
        back = self._let_go_cancelled if cancelled else self._release
        if cancelled:
            db = db._whole or db
        self._spawn(back, db)

    def _give_back_broken(self, db: Connection, error: BaseException) -> None:
        """A hook failed: nobody knows how the connection stands."""
        if (
            db._given_back
        ):  # the hook, or whoever it ran beside, did it: the connection may be somebody else's
            return
        self._drop(db._whole or db, "hook failed", error)
        db._give_back()

    # -- what keeps one connection for its length ---------------------------------------------------------------

    def batch(self, *, timeout: float | None = None) -> PoolBatch:
        """Several statements in one flight with one Sync, on one connection: see `Connection.batch`.

        timeout: seconds to wait for the connection at most, which is taken when the block is entered and given back when it
        ends; and then seconds for the flight.

        >>> import pgoxide
        >>> def example(pool: pgoxide.Pool) -> None:
        ...     with pool.batch() as batch:
        ...         total = batch.fetch_value("select count(*) from users")
        ...         batch.execute("delete from sessions where expires < now()")
        ...     print(total.result())
        """
        return PoolBatch(self, timeout)

    @overload
    def stream(
        self, statement: Statement[R], /, *, timeout: float | None = None, batch: int = 1000
    ) -> PoolStream[R]: ...
    @overload
    def stream(
        self,
        statement: str,
        /,
        *args: object,
        into: type[R] | Callable[[Row], R],
        timeout: float | None = None,
        types: Types | None = None,
        batch: int = 1000,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> PoolStream[R]: ...
    @overload
    def stream(
        self,
        statement: str,
        /,
        *args: object,
        into: None = None,
        timeout: float | None = None,
        types: Types | None = None,
        batch: int = 1000,
        params: Mapping[str, object] | None = None,
        **named: object,
    ) -> PoolStream[Row]: ...
    def stream(self, statement: Any, /, *args: Any, **options: Any) -> PoolStream[Any]:
        """Rows of a statement as they come, on a connection taken at the first row: see `Connection.stream`.

        timeout: seconds from the first read until the last row has been taken, waiting for a connection included.

        The connection is given back at the end, and when the stream is closed, its block left, or the stream dropped.

        >>> import pgoxide
        >>> def example(pool: pgoxide.Pool) -> None:
        ...     with pool.stream("select n from generate_series(1, 5000) as n", into=int) as numbers:
        ...         print(sum([n for n in numbers]))
        """
        return PoolStream(self, statement, args, options)

    def transaction(
        self,
        *,
        isolation: Isolation | None = None,
        read_only: bool | None = None,
        deferrable: bool | None = None,
        others: Others = "raise",
    ) -> PoolTransaction:
        """A transaction as a block, on a connection of its own: see `Connection.transaction`, also for the arguments.

        The connection is taken when the block is entered, and given back when it ends. What the pool itself is given
        meanwhile runs elsewhere, outside the transaction: use the block's verbs.

        >>> import pgoxide
        >>> def move(pool: pgoxide.Pool) -> None:
        ...     with pool.transaction(isolation="serializable") as tx:
        ...         tx.execute("update accounts set balance = balance - 1 where id = 1")
        ...         tx.execute("update accounts set balance = balance + 1 where id = 2", commit=True)
        """
        options = {"isolation": isolation, "read_only": read_only, "deferrable": deferrable, "others": others}
        return PoolTransaction(self, options)

    def transaction_attempts(
        self,
        *,
        attempts: int = 3,
        backoff: float = 0.01,
        connection_errors: bool = False,
        isolation: Isolation | None = None,
        read_only: bool | None = None,
        deferrable: bool | None = None,
    ) -> Attempts:
        """Attempts at one transaction, each on a connection of its own: see `Connection.transaction_attempts`.

        connection_errors: True makes another attempt also after the connection was lost inside the block. What it did is
        undone then, unless COMMIT was under way: TransactionOutcomeUnknown is never tried again. Nor is a connection that
        cannot be had.

        >>> def example(pool: pgoxide.Pool) -> None:
        ...     for attempt in pool.transaction_attempts(isolation="serializable", connection_errors=True):
        ...         with attempt as tx:
        ...             tx.execute("update accounts set balance = balance - 1 where id = 1")
        """
        return Attempts(
            lambda: self.transaction(isolation=isolation, read_only=read_only, deferrable=deferrable),
            attempts=attempts,
            backoff=backoff,
            connection_errors=connection_errors,
        )

    def run_transaction(
        self,
        function: Callable[[Transaction], R],
        /,
        *,
        attempts: int = 3,
        backoff: float = 0.01,
        connection_errors: bool = False,
        isolation: Isolation | None = None,
        read_only: bool | None = None,
        deferrable: bool | None = None,
    ) -> R:
        """Calls `function(tx)` in a transaction, as often as `transaction_attempts` would, and returns what it returned.

        attempts, backoff, connection_errors, isolation, read_only, deferrable, and what is raised: as for
        `transaction_attempts`.

        >>> def rename(tx: pgoxide.Transaction) -> int:
        ...     return tx.fetch_value("update users set name = 'Edsger' where id = 3 returning id", commit=True)
        >>> def example(pool: pgoxide.Pool) -> int:
        ...     return pool.run_transaction(rename, isolation="serializable")
        """
        results: list[R] = []
        for attempt in self.transaction_attempts(
            attempts=attempts,
            backoff=backoff,
            connection_errors=connection_errors,
            isolation=isolation,
            read_only=read_only,
            deferrable=deferrable,
        ):
            with attempt as tx:
                results = [function(tx)]
        return results[0]

    def execute_many(
        self,
        query: str | Statement[object],
        parameter_sets: Iterable[ParameterSet],
        /,
        *,
        timeout: float | None = None,
    ) -> CommandTag:
        """Runs one statement with many parameter sets, all or none: see `Connection.execute_many`.

        timeout: seconds for all of it, waiting for a connection included. Raises PoolTimeout and PoolFull, too.
        """
        began = time.monotonic()
        with self.acquire(timeout=timeout) as db:
            return db.execute_many(query, parameter_sets, timeout=_left(timeout, began))

    def copy_in(
        self,
        table: str | tuple[str, str],
        source: Iterable[object] | os.PathLike[str] | Reader,
        /,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        format: CopyFormat | None = None,  # noqa: A002  COPY's own word
        timeout: float | None = None,
        **options: Unpack[CopyInOptions],
    ) -> CommandTag:
        """Loads records, or raw data, into a table by COPY: see `Connection.copy_in`.

        timeout: seconds for all of it, waiting for a connection included. Raises PoolTimeout and PoolFull, too.
        """
        began = time.monotonic()
        with self.acquire(timeout=timeout) as db:
            left = _left(timeout, began)
            return db.copy_in(
                table, source, columns=columns, where=where, format=format, timeout=left, **options
            )

    def run(self, plan: Plan[R], /, *, timeout: float | None = None) -> R:
        """Runs a plan on one connection, kept for its whole length: see `Connection.run`.

        timeout: seconds for all of it, waiting for a connection included. Raises PoolTimeout and PoolFull, too.
        """
        began = time.monotonic()
        with self.acquire(timeout=timeout) as db:
            return db.run(plan, timeout=_left(timeout, began))

    # -- how it stands, and its end -----------------------------------------------------------------------------

    def stats(self) -> PoolStats:
        """How the pool stands, and what it has done since it was opened; see `PoolStats`. Asks nobody.

        >>> import pgoxide
        >>> def example(pool: pgoxide.Pool) -> None:
        ...     stats = pool.stats()
        ...     print(stats, stats.last_failure)
        """
        standing = Counter(standing for _, standing in self._members())
        waiting, queued, opening = self._counts()
        at_once, waits = self._waits()
        settings = self._settings
        return PoolStats(
            min_size=settings.min_size,
            max_size=settings.max_size,
            size=standing.total(),
            idle=standing["idle"],
            busy=standing["busy"],
            used=standing["used"],
            resetting=standing["resetting"],
            checking=standing["checking"],
            opening=opening,
            waiting=waiting,
            queued=queued,
            at_once=at_once,
            waits=tuple((2**power / 1e6, count) for power, count in enumerate(waits) if count),
            connects=self._connects,
            failures=self._failures,
            last_failure=self._last_failure,
            lost=self._lost_count,
            discarded=dict(self._discarded),
        )

    def add_event_listener(self, listener: Callable[[PoolEvent], object]) -> None:
        """Calls `listener(event)` for each connection that is opened, lost or given up, and each that could not be opened.

        event: a `PoolEvent`. It is told where it happens: on the event loop, or in whatever thread; so be quick. What a listener
        raises goes to `sys.unraisablehook`. What happened before it was added is not told again: `stats()` counts it.

        >>> import pgoxide
        >>> def example(dsn: str) -> None:
        ...     pool = pgoxide.Pool(dsn)
        ...     pool.add_event_listener(lambda event: print(event.kind, event.reason, event.error))
        """
        self._event_listeners.append(listener)

    def remove_event_listener(self, listener: Callable[[PoolEvent], object]) -> None:
        """Takes a listener back. Raises ValueError when it is not there."""
        self._event_listeners.remove(listener)

    def _tell(self, event: PoolEvent) -> None:
        for listener in tuple(self._event_listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  whatever it is, it is the listener's own
                report_unraisable(error, listener)

    def expire(self) -> None:
        """Has every connection replaced: idle ones now, the others once they are given back or have answered.

        For what open sessions do not notice: a role's new settings, another server behind the same name.
        """
        self._check_open()
        self._expire()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Closes the pool: nothing new is taken, what runs may finish, then all connections are closed.

        timeout: seconds to wait for connections in use; then they are cut: calls on them raise ConnectionClosed, and a
        ResourceWarning tells of each that was not given back (with `debug`, where it was acquired). Those who wait for a
        connection get InterfaceError at once. Calling it again does nothing.
        """
        if self._closing:
            return
        self._closing = True
        self._shut()
        self._over.set()
        self._changed.ring()
        until = time.monotonic() + timeout
        try:
            while True:
                seen = self._changed.rings
                self._let_go()
                left = until - time.monotonic()
                if left <= 0 or not self._members():
                    break
                # Routed calls are answered without a ring.
                self._changed.wait(seen, min(left, 0.05))
        finally:
            for db, standing in self._members():
                self._cut(db, standing)
            self._finish()

    def _let_go(self) -> None:
        free = {
            "idle",
            "checking",
            "resetting",
        }  # the answer to a reset is read by the next user, or by close()
        for db, standing in self._members():
            if standing in free and self._remove(db):
                self._discarded["closed"] += 1
                self._spawn(self._retire, db)
                self._tell(PoolEvent("discarded", "closed", process_id=db.backend_pid))

    def _cut(self, db: Connection, standing: str) -> None:
        if standing == "used":
            where = self._holders.get(db)
            place = f", acquired at:\n{where}" if where else "; Pool(debug=True) tells where it was acquired"
            warnings.warn(
                f"{db!r} was not given back before its pool was closed{place}",
                ResourceWarning,
                source=db,
                stacklevel=4,
            )
        self._remove(db)
        db._pool = None
        db.abort(ConnectionClosed("its pool was closed"))

    def _finish(self) -> None:
        """Waits for what still closes."""
        until = time.monotonic() + CLOSE_TIMEOUT
        threads = [thread for thread in self._retiring if thread is not threading.current_thread()]
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if unfinished := [thread for thread in threads if thread.is_alive()]:
            # A hook may wait for a server that does not answer, or for anything.
            self._cut_ending()
            for thread in unfinished:
                thread.join(max(0.1, until - time.monotonic()))

    def _cut_ending(self) -> None:
        for db in list(self._ending):
            db.abort(ConnectionClosed("its pool was closed"))

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_opened", False) and not self._closing and not self._forked:
            unclosed = f"unclosed {self!r}"
            self._closing = True
            warnings.warn(unclosed, ResourceWarning, source=self, stacklevel=2)
            for db, _ in self._members():
                db.abort()

    def __repr__(self) -> str:
        """How it stands."""
        state = "closed" if self._closing else str(self.stats()) if self._opened else "not opened"
        return f"<{type(self).__name__} {state}>"

    def __dir__(self) -> list[str]:
        return own_names(super().__dir__())

    def _after_fork(self) -> None:
        """In the child of a fork: the connections are the parent's."""
        self._forked = True
        self._orphan()
        self._over = threading.Event()

    # -- work in the background ---------------------------------------------------------------------------------

    def reload_types(self) -> None:
        """Forgets what the pool's connections know of types that are not built in; each is looked up again when it is next met.

        Seldom needed: see `Connection.reload_types`.
        """
        self._types.clear()

    def _check_open(self) -> None:
        if self._closing or not self._opened:
            raise InterfaceError("the pool is closed" if self._closing else "the pool has not been opened")


def _left(timeout: float | None, began: float) -> float | None:
    """Seconds that are left of a limit. Raises QueryTimeout when there are none."""
    if timeout is None:
        return None
    left = timeout - (time.monotonic() - began)
    if left <= 0:
        raise QueryTimeout(f"not finished within {timeout} s")
    return left


def _standing(pool: weakref.ref[Pool]) -> str | None:
    """For the note on an error of one of its connections."""
    owner = pool()
    return None if owner is None else str(owner.stats())


def _tell_lost(pool: weakref.ref[Pool], gone: weakref.ref[Connection], reason: Exception) -> None:
    """A connection has ended."""
    owner, db = pool(), gone()
    if owner is not None and db is not None:
        owner._lost(db, reason)


def _upkeep(pool: weakref.ref[Pool], seconds: float) -> None:
    """Looks after connections that nobody uses; holds the pool only meanwhile, so that a forgotten one can be collected."""
    if (owner := pool()) is None:
        return
    over = owner._over
    del owner
    while True:
        if over.wait(seconds):
            return
        owner = pool()
        if owner is None or owner._closing:
            return
        owner._tidy(owner._settings.min_size)
        owner._refill()
        del owner
