"""The commands of a transaction as SQL. For blocks and plans."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from pgoxide.errors import InterfaceError
from pgoxide.statement import Isolation

__all__ = ["Others", "begin"]

Others: TypeAlias = Literal["raise", "wait", "join"]
"""What becomes of calls from outside a transaction block."""

_ISOLATIONS = frozenset(get_args(Isolation))


def begin(isolation: Isolation | None, read_only: bool | None, deferrable: bool | None) -> str:
    """BEGIN with its modes. Raises InterfaceError for a mode there is not.

    >>> begin("serializable", True, None)
    'begin isolation level serializable, read only'
    """
    if isolation is None and read_only is None and deferrable is None:
        return "begin"
    modes: list[str] = []
    if isolation is not None:
        if isolation not in _ISOLATIONS:
            raise InterfaceError(f"isolation={isolation!r}: one of {', '.join(sorted(_ISOLATIONS))}")
        modes.append(f"isolation level {isolation}")
    if read_only is not None:
        modes.append("read only" if _flag("read_only", read_only) else "read write")
    if deferrable is not None:
        modes.append("deferrable" if _flag("deferrable", deferrable) else "not deferrable")
    return f"begin {', '.join(modes)}"


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InterfaceError(f"{name}={value!r}: True, False, or None for the session's default")
    return value
