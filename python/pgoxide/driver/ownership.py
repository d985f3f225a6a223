"""Whose transaction is open on a connection: a token in a context variable.

A transaction block, and a plan that begins, sets the token; calls made in a context that holds it, child tasks included,
belong to it. Calls from elsewhere raise at once and are told who holds the transaction: run between its statements, they
would become part of it.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from types import GeneratorType
from typing import TYPE_CHECKING, Any, cast

from pgoxide import statement
from pgoxide.errors import InterfaceError

if TYPE_CHECKING:
    from collections.abc import Generator

    from pgoxide.statement import Plan

__all__ = ["TOKENS", "Lease", "place"]

TOKENS: ContextVar[tuple[object, ...]] = ContextVar("pgoxide transactions", default=())
"""Tokens of the transactions this context owns, on any connection."""


def place(plan: Plan[Any]) -> str:
    """Where a plan stands: the function and line of the caller's own code, below the helpers of `pgoxide.statement`."""
    generator = cast("GeneratorType[object, object, object]", plan)
    if not isinstance(generator, GeneratorType):
        return repr(plan)
    while isinstance(generator.gi_yieldfrom, GeneratorType):
        inner = cast("GeneratorType[object, object, object]", generator.gi_yieldfrom)
        if inner.gi_code.co_filename == statement.__file__:
            break
        generator = inner
    code = generator.gi_code
    line = code.co_firstlineno if generator.gi_frame is None else generator.gi_frame.f_lineno
    return f"{generator.__qualname__}, {code.co_filename}:{line}"


class Lease:
    """What is made through a pool's connection, and would outlive its user's having it, asks this whether it still counts."""

    __slots__ = ("_cancels", "_lock", "_over")

    def __init__(self) -> None:
        self._over = False
        self._cancels = 0
        self._lock = Lock()

    def end(self) -> bool:
        """It counts no longer. True: CancelRequests are on their way, which may hit whatever the session runs next."""
        with self._lock:
            self._over = True
            return self._cancels > 0

    @contextmanager
    def cancelling(self) -> Generator[None]:
        """Around a CancelRequest. Raises InterfaceError when the connection has been given back."""
        with self._lock:
            if self._over:
                raise InterfaceError(
                    "the connection has been given back to its pool: what its session runs by now may be somebody else's"
                )
            self._cancels += 1
        try:
            yield
        finally:
            with self._lock:
                self._cancels -= 1

    def __reduce__(self) -> tuple[type[Lease], tuple[()]]:
        """Another process cannot know."""
        return Lease, ()
