"""Where COPY's raw data goes, and where it comes from."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EAGAIN
from functools import partial
from io import RawIOBase
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Protocol, cast

from pgoxide.errors import InterfaceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
    from io import BufferedWriter
    from types import TracebackType

__all__ = ["Pieces", "Reader", "Sink", "Writer", "is_raw", "reading", "writing"]

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


@dataclass(frozen=True, slots=True)
class Sink:
    """Where blocks go."""

    write: Callable[[bytes], object]
    """Takes a block."""
    drain: Callable[[], object] | None = None
    """To be called behind each block, if there is one."""
    begin: Callable[[], None] | None = None
    """To be called in front of the first block, also if none comes, if there is one."""


@contextmanager
def writing(sink: os.PathLike[str] | Writer | Callable[[bytes], object]) -> Generator[Sink]:
    """What is to be done with blocks.

    A path's file is emptied, or made, when they begin, and closed in the end.
    """
    path = _path(sink)
    if path is not None:
        file = _File(path)
        with file:
            yield Sink(file.write, begin=file.begin)
        return
    if isinstance(sink, RawIOBase):
        yield Sink(partial(_write_all, sink))
        return
    write = getattr(sink, "write", None)
    if write is not None:
        yield Sink(cast("Callable[[bytes], object]", write), getattr(sink, "drain", None))
    elif callable(sink):
        yield Sink(sink)
    else:
        raise InterfaceError(
            f"to={sink!r}: a pathlib.Path, something with write(), or a function; a path is not given as str"
        )


class _File:
    """A path's file. What it holds stays until `begin`, which makes it if it is not there.

    It is opened at once all the same: who may not write it is told so before the server is asked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BufferedWriter | None = None
        try:
            self._file = open(path, "wb", opener=_as_it_is)  # noqa: SIM115  Path.open has no opener; closed at the end
        except FileNotFoundError:
            if not path.parent.is_dir():
                raise

    def begin(self) -> None:
        if self._file is None:
            self._file = self._path.open("wb")
        elif S_ISREG(os.fstat(self._file.fileno()).st_mode):  # a pipe has nothing to be emptied of
            self._file.truncate(0)

    def write(self, block: bytes) -> int:
        assert self._file is not None  # begun
        return self._file.write(block)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def _as_it_is(path: str, flags: int) -> int:
    return os.open(path, flags & ~(os.O_CREAT | os.O_TRUNC))


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
