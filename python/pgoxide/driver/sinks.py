"""Where COPY's raw data goes, and where it comes from, as functions of bytes."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from pgoxide.errors import InterfaceError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator

__all__ = ["Writer", "writing"]


class Writer(Protocol):
    """Anything with `write`: a binary file, a socket's file, an asyncio.StreamWriter, …"""

    def write(self, data: bytes, /) -> object:
        """Takes one block. On an asynchronous connection it may return an awaitable."""
        ...


@contextmanager
def writing(
    sink: os.PathLike[str] | Writer | Callable[[bytes], object],
) -> Generator[tuple[Callable[[bytes], object], Callable[[], object] | None]]:
    """The function that takes a block, and the one to be called behind it, if the sink has one (`drain`).

    A path's file is made or emptied, and closed in the end.
    """
    path = getattr(sink, "__fspath__", None)
    if path is not None:
        with Path(cast("Callable[[], str]", path)()).open("wb") as file:
            yield file.write, None
        return
    write = getattr(sink, "write", None)
    if write is not None:
        yield cast("Callable[[bytes], object]", write), getattr(sink, "drain", None)
    elif callable(sink):
        yield sink, None
    else:
        raise InterfaceError(
            f"to={sink!r}: a pathlib.Path, something with write(), or a function; a path is not given as str"
        )
