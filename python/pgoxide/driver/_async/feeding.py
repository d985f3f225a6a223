"""Statements whose data is pulled from a source while they run: COPY in, and one statement with many parameter sets."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, cast

from pgoxide._core import AsyncPreparedVerbs, copy_format, knows_types
from pgoxide.driver.copying import options_list
from pgoxide.driver.limits import AsyncLimit
from pgoxide.driver.names import column_list, quoted_table
from pgoxide.driver.sinks import Pieces, is_raw, reading
from pgoxide.errors import InterfaceError, ProgrammingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgoxide._core import CommandTag, Feed, Prepared
    from pgoxide.driver._async.connection import AsyncConnection
    from pgoxide.driver.copying import CopyFormat
    from pgoxide.statement import ParameterSet, Statement

__all__ = ["CopyTarget", "copy_in", "execute_many"]

CHUNK = 500
"""Records taken from an asynchronous source before they are sent together, unless they fill a block."""

# Columns COPY fills by default, with the type below any domains. Source: pg_attribute, pg_type.
_COLUMNS = """\
with recursive base(attnum, attname, type, basetype) as (
    select a.attnum, a.attname, t.oid, t.typbasetype
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
  union all
    select b.attnum, b.attname, t.oid, t.typbasetype from base b join pg_type t on t.oid = b.basetype
)
select attname, type from base where basetype = 0 order by attnum"""


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """Where a COPY goes, and how: the arguments of `copy_in`."""

    table: str | tuple[str, str]
    columns: Sequence[str] | None
    where: str | None
    format: CopyFormat | None
    options: Mapping[str, object]

    def sql(self, columns: Sequence[str] | None, form: str) -> str:
        """The COPY of these columns; None: of those the table has."""
        listed = "" if columns is None else f" ({column_list(columns)})"
        condition = f" where {self.where}" if self.where else ""
        return f"copy {quoted_table(self.table)}{listed} from stdin {options_list(form, self.options)}{condition}"

    def query(self, columns: Sequence[str]) -> str:
        """A query of these columns."""
        return f"select {column_list(columns)} from {quoted_table(self.table)}"  # noqa: S608  quoted names


async def copy_in(
    connection: AsyncConnection, target: CopyTarget, source: object, timeout: float | None
) -> CommandTag:
    """See `AsyncConnection.copy_in`."""
    if isinstance(target.columns, str):
        raise InterfaceError("columns= takes a sequence of names, not one str")
    raw = is_raw(source)
    if raw and target.format is None:
        raise InterfaceError('raw data needs format="csv", "text" or "binary"')
    async with AsyncLimit(timeout if timeout is not None else connection.config.command_timeout) as limit:
        return await _copy_in(connection, target, source, raw, limit)


async def _copy_in(
    connection: AsyncConnection, target: CopyTarget, source: object, raw: bool, limit: AsyncLimit
) -> CommandTag:
    last = False
    with reading(source) as opened:
        while True:
            typed, names, form = None, target.columns, target.format
            if not raw:
                columns = await _columns(connection, target, limit)
                names, oids = [name for name, _ in columns], [oid for _, oid in columns]
                form = form or copy_format(connection, oids)
                typed = target.query(names), columns
            assert form is not None  # raw data has one
            sql, options = target.sql(names, form), dict(target.options)
            takes_raw = target.format is not None
            # async-only: begin
            feed = connection._copy_in(sql, typed, form, options, takes_raw, last)
            # async-only: end
            # sync: feed = connection._copy_in(sql, typed, form, options, takes_raw, last, limit.left())
            tag = await _feed(feed, opened)
            if not feed.lost:
                return tag
            # The columns have changed since they were looked up.
            last = True


async def _columns(
    connection: AsyncConnection, target: CopyTarget, limit: AsyncLimit
) -> list[tuple[str, int]]:
    """Name and type of the columns to fill, of types that are known."""
    table = quoted_table(target.table)
    found = await connection.fetch_all(
        _COLUMNS, table, types=["text"], into=tuple[str, int], timeout=limit.left()
    )
    columns = _chosen(target.table, dict(found), target.columns)
    oids = [oid for _, oid in columns]
    if not knows_types(connection, oids):
        # The types of a statement's parameters are looked up when it is described.
        parameters = ", ".join(f"${number}" for number in range(1, len(oids) + 1))
        await connection._describe(f"select {parameters}", oids, limit.left())
    return columns


async def execute_many(
    connection: AsyncConnection,
    query: str | Statement[object] | AsyncPreparedVerbs[object],
    parameter_sets: Iterable[ParameterSet] | AsyncIterable[ParameterSet],
    timeout: float | None,
    commit: object | None = None,
) -> CommandTag:
    """See `AsyncConnection.execute_many`. commit: the token of the transaction block whose end it is to bring."""
    async with AsyncLimit(timeout if timeout is not None else connection.config.command_timeout) as limit:
        return await _execute_many(connection, query, parameter_sets, limit, commit)


async def _execute_many(
    connection: AsyncConnection,
    query: str | Statement[object] | AsyncPreparedVerbs[object],
    parameter_sets: Iterable[ParameterSet] | AsyncIterable[ParameterSet],
    limit: AsyncLimit,
    commit: object | None,
) -> CommandTag:
    last = False
    while True:
        prepared = await _described(connection, query, limit.left())
        # async-only: begin
        feed = connection._execute_many(prepared, last, commit)
        # async-only: end
        # sync: feed = connection._execute_many(prepared, last, limit.left(), commit)
        tag = await _feed(feed, parameter_sets)
        if not feed.lost:
            return tag
        last = True


async def _described(
    connection: AsyncConnection,
    query: str | Statement[object] | AsyncPreparedVerbs[object],
    timeout: float | None,
) -> Prepared:
    if isinstance(query, AsyncPreparedVerbs):
        return await connection._describe_again(query._current(), timeout)
    if isinstance(query, str):
        return await connection._describe(query, None, timeout)
    if query.parameters:
        raise InterfaceError("execute_many takes the parameters apart: the Statement has some of its own")
    return await connection._describe(query.sql, query.types, timeout)


def _chosen(
    table: str | tuple[str, str], found: dict[str, int], columns: Sequence[str] | None
) -> list[tuple[str, int]]:
    """Name and type of the columns to fill."""
    if not found:
        raise ProgrammingError(f"{table!r} has no column that can be filled")
    if columns is None:
        return list(found.items())
    unknown = [name for name in columns if name not in found]
    if unknown:
        raise ProgrammingError(
            f"{table!r} has no column {', '.join(unknown)} that can be filled; it has {', '.join(found)}"
        )
    return [(name, found[name]) for name in columns]


async def _feed(feed: Feed, source: object) -> CommandTag:
    """Moves the source into the server; its exception undoes everything and comes out as it was."""
    # async-only: begin
    import asyncio

    try:
        started = await feed.started
        if started and isinstance(source, Pieces):
            source = await _read(source)
        if not started:
            pass
        elif isinstance(source, AsyncIterable):
            feed.pulls(True)
            try:
                await _feed_chunks(feed, cast("AsyncIterable[object]", source))
            finally:
                feed.pulls(False)
        else:
            records = iter(cast("Iterable[object]", source))
            while feed.feed(records):
                # Whatever has arrived is looked at before more is taken: a refusal stops the source at once.
                await (feed.room() or asyncio.sleep(0))
        if started:
            feed.finish()
    except BaseException as error:
        feed.fail(error)
        raise
    return await feed.done
    # async-only: end
    # sync: try:
    # sync:     if feed.wait_started():
    # sync:         records = iter(cast("Iterable[object]", source))
    # sync:         while feed.feed(records):
    # sync:             pass
    # sync:         feed.finish()
    # sync:     return feed.wait_done()
    # sync: except BaseException as error:
    # sync:     feed.abandon(error)
    # sync:     raise


# async-only: begin
async def _read(pieces: Pieces) -> Iterable[object] | AsyncIterable[object]:
    """A file of either kind: which one, its first piece tells."""
    first = pieces.first()
    return pieces.rest_awaited(await first) if isawaitable(first) else pieces.rest(first)


async def _feed_chunks(feed: Feed, source: AsyncIterable[object]) -> None:
    """From an asynchronous source: each record is encoded when it comes, so that it may be the last one changed."""
    import asyncio

    held = 0
    async for record in source:
        held += 1
        if feed.put(record) or held >= CHUNK:
            held = 0
            if not feed.send():
                return
            # Whatever has arrived is looked at before more is taken, as for other sources.
            await (feed.room() or asyncio.sleep(0))
    feed.send()


# async-only: end
