"""What an error's note says beside its text: where its statement came from, and how its surroundings stood.

The core calls `explain` when a call has failed, and never otherwise. What it tells was kept when it happened to be at hand: the
call stack when the statement was first used, the last notice when it came.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pgoxide.errors import DatabaseError, Error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Surroundings", "explain"]

# Not resolved: code objects have the paths by which they were imported.
_OWN = f"{Path(__file__).parents[1]}{os.sep}"
_ASYNCIO = f"{Path(os.__file__).parent / 'asyncio'}{os.sep}"

FRAMES = 3
"""So many callers are named, the innermost first."""
WIDTH = 200
"""Characters of a statement or a notice."""


class Surroundings(NamedTuple):
    """What the core knows of a call that failed.

    stack: file, line and function of who first used the statement, innermost first. notice: the fields of the last one, and
    its age in seconds. pool: gives a line about the pool the connection belongs to.
    """

    sql: str | None
    parameter_types: Sequence[str] | None
    parameter_names: Sequence[str] | None
    stack: Sequence[tuple[str, int, str]]
    process_id: int | None
    status: str
    notice: dict[str, str] | None
    age: float
    pool: Callable[[], str | None] | None


def explain(error: Error, about: Surroundings) -> None:
    """Adds the note. What the error's own text shows already (the statement, the types) is not said again."""
    lines = [f"{label}: {text}" for label, text in _facts(error, about) if text]
    error.add_note("\n".join(lines))


def _facts(error: Error, about: Surroundings) -> list[tuple[str, str | None]]:
    own = error if isinstance(error, DatabaseError) else None
    told = own is not None and own.statement is not None
    process = "" if about.process_id is None else f"server process {about.process_id}, "
    return [
        # With a position the text has the very line; without, it does not show the statement.
        ("statement", None if told and own is not None and own.position is not None else _line(about.sql)),
        ("parameters", None if told else _parameters(about)),
        ("first used", _places(about.stack)),
        ("session", process + about.status),
        ("last notice", _notice(about)),
        ("pool", _pool(about.pool)),
    ]


def _line(text: str | None) -> str | None:
    """On one line, and not too long."""
    if text is None:
        return None
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else f"{line[:WIDTH]}…"


def _parameters(about: Surroundings) -> str:
    names = [f":{name}" for name in about.parameter_names or ()]
    types = about.parameter_types or [""] * len(names)
    names = names or [f"${number}" for number, _ in enumerate(types, 1)]
    return ", ".join(f"{name} {kind}".rstrip() for name, kind in zip(names, types, strict=False))


def _places(stack: Sequence[tuple[str, int, str]]) -> str:
    """Without our own frames and the event loop's."""
    theirs = [frame for frame in stack if not frame[0].startswith((_OWN, _ASYNCIO))]
    return ", from ".join(f"{file}:{line} in {function}" for file, line, function in theirs[:FRAMES])


def _notice(about: Surroundings) -> str | None:
    if about.notice is None:
        return None
    severity = about.notice.get("V") or about.notice.get("S") or "NOTICE"
    return f"{severity}: {_line(about.notice.get('M', ''))} ({about.age:.1f} s before)"


def _pool(tell: Callable[[], str | None] | None) -> str | None:
    if tell is None:
        return None
    try:
        return tell()
    except Exception as failure:  # noqa: BLE001  an error is being explained, which must not be lost for another's sake
        return f"its state could not be told: {type(failure).__name__}: {failure}"
