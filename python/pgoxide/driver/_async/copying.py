"""COPY out: rows, or raw data, as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from inspect import isawaitable
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from pgoxide.driver.copying import copied, options_list
from pgoxide.driver.limits import AsyncLimit
from pgoxide.driver.names import quoted_table
from pgoxide.driver.sinks import writing
from pgoxide.errors import InterfaceError, NotSupportedError, ProgrammingError

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Coroutine, Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

    from pgoxide._core import CommandTag
    from pgoxide._core.stream import AsyncStream
    from pgoxide.driver._async.connection import AsyncConnection
    from pgoxide.driver.copying import CopyFormat
    from pgoxide.driver.sinks import Sink, Writer

__all__ = ["AsyncCopyOut", "CopySource", "save"]

R_co = TypeVar("R_co", covariant=True)

# The columns of COPY without a column list. Source: the manual's page of COPY, "column_name".
_COLUMNS = """\
select attname from pg_attribute
where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''
order by attnum"""


@dataclass(frozen=True, slots=True)
class CopySource:
    """What is copied, and how: the arguments of `copy_out`."""

    table: str | tuple[str, str] | None
    query: str | None
    columns: Sequence[str] | None
    format: CopyFormat | None
    options: Mapping[str, object]
    into: object
    timeout: float | None
    raw: bool = False

    def __post_init__(self) -> None:
        copied(self.table, self.query, self.columns)
        self.listed()

    def listed(self) -> str:
        """The options in their brackets."""
        return options_list(self.format or "binary", self.options)

    def raw_data(self) -> CopySource:
        """The same, as blocks of raw data."""
        if self.format is None:
            raise InterfaceError('raw data needs format="csv", "text" or "binary"')
        if self.into is not None:
            raise InterfaceError("into= is for rows: raw data is bytes")
        return replace(self, raw=True)


class AsyncCopyOut(Generic[R_co]):
    """Rows, or blocks of raw data, of a COPY as they come; what `copy_out` returns.

    Iterate it once, with `async for`, or by `next_batch`; leaving its block, `break`, or dropping it ends the COPY, at the
    server too, and frees the connection. Nothing is sent before the first row is asked for, or the block entered. At most
    about half a megabyte is held: who reads slowly stops the server.

    Once it has failed, or a read was cancelled, every further read raises; so does reading on after `close` when there was
    more: missing rows are never taken for the end.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        source: CopySource,
        within: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._connection = connection
        self._source = source
        self._within = within
        self._stream: AsyncStream[R_co] | None = None
        self._begun = Lock()

    def blocks(self) -> AsyncCopyOut[bytes]:
        """The raw data instead of rows, in blocks of bytes: 64 KiB or somewhat more each, the last one less.

        It is read as rows are. Raises InterfaceError without `format=`, with `into=`, and when rows have been asked for.

        >>> async with db.copy_out("users", format="csv", header=True).blocks() as blocks:
        ...     data = b"".join([block async for block in blocks])
        >>> data.decode().splitlines()[:2]
        ['id,name', '1,Ada']
        """
        if self._stream is not None:
            raise InterfaceError("the COPY has begun to give rows")
        return AsyncCopyOut(self._connection, self._source.raw_data(), self._within)

    @property
    def tag(self) -> CommandTag | None:
        """What the COPY did, with the number of rows, once all of it has come; None before."""
        return None if self._stream is None else self._stream.tag

    async def next_batch(self) -> list[R_co]:
        """What has come, at least one row (or block); an empty list at the end."""
        return await (await self._opened()).next_batch()

    async def close(self) -> None:
        """Ends the COPY; what was not read is discarded. Twice does nothing, nor does it for one that was not begun."""
        if self._stream is not None:
            await self._stream.close()

    async def __aenter__(self) -> Self:
        await self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # async-only: begin
    def __aiter__(self) -> AsyncIterator[R_co]:
        return self if self._stream is None else self._stream

    def __anext__(self) -> Coroutine[object, None, R_co]:
        return self._first() if self._stream is None else self._stream.__anext__()

    async def _first(self) -> R_co:
        return await (await self._opened()).__anext__()

    # async-only: end
    # sync: def __iter__(self) -> Iterator[R_co]:
    # sync:     return self._opened()
    # sync:
    # sync: def __next__(self) -> R_co:
    # sync:     return next(self._opened())
    # sync:

    async def _opened(self) -> AsyncStream[R_co]:
        if self._stream is None:
            # Taken once: a second task or thread must not begin a second COPY.
            if not self._begun.acquire(blocking=False):
                raise InterfaceError("the COPY is being begun by another reader, or could not be begun")
            with self._within():
                self._stream = cast("AsyncStream[R_co]", await _open(self._connection, self._source))
        return self._stream


async def _open(connection: AsyncConnection, source: CopySource) -> AsyncStream[object]:
    """Looks up the columns, if rows are to be made of them, and begins the COPY."""
    target, columns = copied(source.table, source.query, source.columns)
    if source.raw:
        return connection._copy_out(f"copy {target} to stdout {source.listed()}", timeout=source.timeout)
    began = time.monotonic()
    async with AsyncLimit(source.timeout) as limit:
        if columns is None:
            assert source.table is not None  # or there would be a query
            found = await connection.fetch_all(
                _COLUMNS, quoted_table(source.table), types=["text"], into=tuple[str], timeout=limit.left()
            )
            target, columns = copied(source.table, None, [name for (name,) in found])
        assert columns is not None  # since the columns are named
        described = await connection._prepare(columns, None, limit.left())
    if source.format == "binary" and not described.binary:
        raise NotSupportedError(
            "a column's type has no binary codec here: leave format= out, or copy in text or csv format"
        )
    form = source.format or ("binary" if described.binary else "text")
    if form == "text" and source.format is None:
        await _check_floats(connection, source)
    sql = f"copy {target} to stdout {options_list(form, source.options)}"
    left = None
    if source.timeout is not None:
        # To the millisecond, since messages tell it.
        left = round(max(0.0, source.timeout - (time.monotonic() - began)), 3)
    return connection._copy_out(sql, described, source.into, left, form, dict(source.options))


async def _check_floats(connection: AsyncConnection, source: CopySource) -> None:
    """Raises when floats would come rounded, of which a SELECT has nothing to say."""
    digits = await connection.fetch_one(
        "select current_setting('extra_float_digits')::int4", into=int, timeout=source.timeout
    )
    if digits < 1:
        raise ProgrammingError(
            "a column's type has no binary codec here, so that this COPY goes in text format, in which floats are rounded with "
            f'extra_float_digits = {digits}: set it to 1, or ask for format="text"'
        )


async def save(
    connection: AsyncConnection,
    source: CopySource,
    sink: os.PathLike[str] | Writer | Callable[[bytes], object],
    within: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> CommandTag:
    """Moves the raw data into the sink; its exception ends the COPY and comes out as it was."""
    connection._check_mine()  # before the sink is emptied
    raw = source.raw_data()
    async with AsyncLimit(raw.timeout if raw.timeout is not None else connection.config.command_timeout):
        return await _save(AsyncCopyOut[bytes](connection, raw, within), sink)


async def _save(
    copy: AsyncCopyOut[bytes], sink: os.PathLike[str] | Writer | Callable[[bytes], object]
) -> CommandTag:
    with writing(sink) as to:
        await _move(copy, to)
    tag = copy.tag
    assert tag is not None  # all of it has come
    return tag


async def _move(copy: AsyncCopyOut[bytes], to: Sink) -> None:
    async with copy:
        batch = await copy.next_batch()
        # Not before: a COPY that is refused leaves the sink as it was.
        if to.begin is not None:
            to.begin()
        while batch:
            for block in batch:
                await _settle(to.write(block))
                if to.drain is not None:
                    await _settle(to.drain())
            batch = await copy.next_batch()


async def _settle(result: object) -> None:
    """What a sink may have left to be waited for."""
    if isawaitable(result):
        # async-only: begin
        await result
        # async-only: end
        # sync: from inspect import iscoroutine
        # sync:
        # sync: if iscoroutine(result):
        # sync:     result.close()
        # sync: raise InterfaceError("the sink gives an awaitable: it is for an asynchronous connection")
