# generated from python/pgoxide/driver/_async/attempts.py by tools/async_to_sync.py: do not edit

"""Transactions that are tried again: `transaction_attempts()` and `run_transaction()`."""

from __future__ import annotations

import random
import sys
import time
import warnings
from typing import TYPE_CHECKING, cast

from pgoxide.errors import DatabaseError, InterfaceError, TransactionOutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from pgoxide.driver._sync.pool_transaction import PoolTransaction
    from pgoxide.driver._sync.transaction import Transaction

__all__ = ["Attempt", "Attempts"]

LONGEST_DELAY = 1.0
"""Seconds between two attempts, at most."""


class Attempts:
    """The attempts at one transaction; what `transaction_attempts()` returns, to be iterated once.

    Gives an attempt, and the next one when the last has failed by what `is_retryable` tells: a serialization failure (40001), a
    deadlock (40P01), a prepared statement that the server had no more or otherwise (StatementInvalidated). The error of the last
    attempt comes out, with those of the earlier ones as notes.
    """

    def __init__(
        self,
        begin: Callable[[], Transaction | PoolTransaction],
        attempts: int,
        backoff: float,
        connection_errors: bool = False,
    ) -> None:
        self._number = 0
        self._owed = True
        """Another attempt is to be made."""
        if isinstance(attempts, bool) or not isinstance(cast("object", attempts), int) or attempts < 1:
            raise InterfaceError(f"attempts={attempts!r}: how often it is tried, 1 or more")
        if not (isinstance(cast("object", backoff), int | float) and backoff >= 0):
            raise InterfaceError(f"backoff={backoff!r}: seconds, not negative")
        self._begin = begin
        self._attempts = attempts
        self._backoff = backoff
        self._connection_errors = connection_errors
        self._earlier: list[DatabaseError] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Attempt:
        if not self._owed:
            raise StopIteration
        self._owed = False
        if self._number:
            time.sleep(self._delay())
        self._number += 1
        return Attempt(self, self._number, self._begin())

    def _delay(self) -> float:
        """Seconds before the next attempt: doubled each time, and never twice the same."""
        most = min(LONGEST_DELAY, self._backoff * 2 ** (self._number - 1))
        return random.uniform(most / 2, most)  # noqa: S311  no secret

    def _goes_on(self, error: BaseException) -> bool:
        """Whether the attempt that failed by `error` is followed by another."""
        if isinstance(error, DatabaseError) and self._is_worth_it(error) and self._number < self._attempts:
            self._earlier.append(error)
            self._owed = True
            return True
        for number, earlier in enumerate(self._earlier, 1):
            error.add_note(f"attempt {number} failed by {type(earlier).__name__}: {earlier.message}")
        return False

    def _is_worth_it(self, error: DatabaseError) -> bool:
        if isinstance(error, TransactionOutcomeUnknown):
            return False
        return error.is_retryable or (self._connection_errors and error.is_connection_error)

    def __del__(self) -> None:
        if self._owed and self._number and not sys.is_finalizing():
            warnings.warn(
                "the loop over transaction_attempts() was left while another attempt was due: nothing was committed. No return or "
                "break inside an attempt's block; run_transaction() carries a result out",
                RuntimeWarning,
                source=self,
                stacklevel=2,
            )


class Attempt:
    """One attempt: entered, it gives the transaction block.

    number: counted from 1.
    """

    __slots__ = ("_attempts", "_block", "number")

    def __init__(self, attempts: Attempts, number: int, block: Transaction | PoolTransaction) -> None:
        self._attempts = attempts
        self._block = block
        self.number: int = number

    def __enter__(self) -> Transaction:
        return self._block.__enter__()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            quiet = self._block.__exit__(exc_type, exc, traceback)
        except BaseException as failure:
            if self._block._stays or not self._attempts._goes_on(failure):
                raise
            return True
        if exc is None or quiet or self._block._stays:
            return quiet
        return self._attempts._goes_on(exc)
