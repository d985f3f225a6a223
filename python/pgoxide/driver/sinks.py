"""Where COPY's raw data goes, and where it comes from."""

from __future__ import annotations

from contextlib import contextmanager
from errno import EAGAIN
from functools import partial
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from pgoxide.errors import InterfaceError

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator

__all__ = ["Pieces", "Reader", "Writer", "is_raw", "reading", "writing"]

SIZE = 64 * 1024
"""Bytes that are read or cut off at a time."""


class Writer(Protocol):
    """Anything with `write`: a binary file, a socket's file, an asyncio.StreamWriter, …"""

    def write(self, data: bytes, /) -> object:
        """Takes one block. On an asynchronous connection it may return an awaitable."""
        ...


class Reader(Protocol):
    """Anything with `read`: a binary file, a socket's file, an asyncio.StreamReader, …"""

    def read(self, size: int, /) -> object:
        """At most so many bytes; none at the end. On an asynchronous connection it may return an awaitable."""
        ...


def _path(thing: object) -> Path | None:
    path = getattr(thing, "__fspath__", None)
    return None if path is None else Path(cast("Callable[[], str]", path)())


@contextmanager
def writing(
    sink: os.PathLike[str] | Writer | Callable[[bytes], object],
) -> Generator[tuple[Callable[[bytes], object], Callable[[], object] | None]]:
    """The function that takes a block, and the one to be called behind it, if the sink has one (`drain`).

    A path's file is made or emptied, and closed in the end.
    """
    path = _path(sink)
    if path is not None:
        with path.open("wb") as file:
            yield file.write, None
        return
    if isinstance(sink, RawIOBase):
        yield partial(_write_all, sink), None
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


def _write_all(file: RawIOBase, block: bytes) -> None:
    """A raw file may take a part only, or nothing."""
    rest = memoryview(block)
    while rest:
        taken = file.write(rest)
        if taken is None:
            raise BlockingIOError(EAGAIN, "the sink is a non-blocking raw file, and it is full")
        rest = rest[taken:]


class Pieces:
    """A file's data, piece by piece."""

    def __init__(self, read: Callable[[int], object]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[object]:
        return iter(partial(self._read, SIZE), b"")

    def first(self) -> object:
        """The first piece, or an awaitable of it: then go on with `rest_awaited`, else with `rest`."""
        return self._read(SIZE)

    def rest(self, first: object) -> Iterator[object]:
        """All pieces."""
        if first != b"":
            yield first
            yield from self

    async def rest_awaited(self, first: object) -> AsyncIterator[object]:
        """All pieces, each read with an await."""
        piece = first
        while piece != b"":
            yield piece
            piece = await cast("Awaitable[object]", self._read(SIZE))


def is_raw(source: object) -> bool:
    """Whether the source as a whole is raw data: not one that gives records, or pieces of data."""
    if isinstance(source, str):
        raise InterfaceError(
            "a str is neither records nor data: give a file as pathlib.Path(…), a text as text.encode()"
        )
    return isinstance(source, bytes | bytearray | memoryview) or any(
        hasattr(source, name) for name in ("__fspath__", "read")
    )


@contextmanager
def reading(source: object) -> Generator[object]:
    """The source as something to iterate over: `Pieces` of a file, parts of what is in memory, or what it was.

    A path's file is closed in the end.
    """
    path = _path(source)
    if path is not None:
        with path.open("rb") as file:
            yield Pieces(file.read)
    elif isinstance(source, bytes | bytearray | memoryview):
        yield _parts(cast("bytes", source))
    elif hasattr(source, "read"):
        yield Pieces(cast("Reader", source).read)
    else:
        yield source


def _parts(data: bytes) -> Iterator[memoryview]:
    """Of anything that is contiguous in memory."""
    try:
        view = memoryview(data).cast("B")
    except TypeError:
        raise InterfaceError("raw data in a memoryview must be contiguous") from None
    for start in range(0, len(view), SIZE):
        yield view[start : start + SIZE]
