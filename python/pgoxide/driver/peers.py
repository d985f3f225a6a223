"""What other drivers call our verbs: named in the AttributeError, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["explain_peers_names", "own_names"]

T = TypeVar("T")

_HINTS = {
    "fetch": "fetch_all",
    "fetchall": "fetch_all",
    "fetchrow": "fetch_optional or fetch_one",
    "fetchone": "fetch_optional or fetch_one",
    "fetchval": "fetch_value",
    "fetchmany": "stream",
    "executemany": "execute_many",
    "query": "fetch_all",
    "query_one": "fetch_one",
    "query_opt": "fetch_optional",
    "one": "fetch_one",
    "first": "fetch_first",
    "scalar": "fetch_value",
    "scalars": "fetch_column",
    "pipeline": "batch, or plain concurrent calls: they are pipelined",
    "copy_records_to_table": "copy_in",
    "copy_to_table": "copy_in",
    "copy": "copy_in",
    "cursor": "the verbs themselves (fetch_all, stream, …)",
    "commit": "nothing: each statement commits by itself; a transaction is a block",
    "rollback": "nothing: each statement commits by itself; a transaction is a block",
}


class _Absent:
    """An attribute that does not exist, and says what ours is called.

    Not `__getattr__`: a class that has one loses CPython's specialised method calls, a tenth of a small query's time.
    """

    __slots__ = ("_hint", "_name")

    def __init__(self, name: str, hint: str) -> None:
        self._name, self._hint = name, hint

    def __get__(self, owner: object, kind: type) -> NoReturn:
        what = f"type object {kind.__name__!r}" if owner is None else f"{kind.__name__!r} object"
        message = f"{what} has no attribute {self._name!r}; in pgoxide: {self._hint}"
        raise AttributeError(message, name=self._name, obj=kind if owner is None else owner)


def explain_peers_names(kind: type[T]) -> type[T]:
    """Class decorator: looking up a peer's name raises AttributeError with ours in it. `hasattr` says False."""
    for name, hint in _HINTS.items():
        setattr(kind, name, _Absent(name, hint))
    return kind


def own_names(names: Iterable[str]) -> list[str]:
    """For `__dir__`: without the names that only explain themselves."""
    return sorted(name for name in names if name not in _HINTS)
