"""What other drivers call our verbs: named in the AttributeError, and nowhere else."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["no_such_attribute"]

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


def no_such_attribute(owner: object, name: str) -> NoReturn:
    """Raises AttributeError, with our name for what a peer's user may have meant."""
    message = f"{type(owner).__name__!r} object has no attribute {name!r}"
    hint = _HINTS.get(name)
    raise AttributeError(f"{message}; in pgoxide: {hint}" if hint else message, name=name, obj=owner)
