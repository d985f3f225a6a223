"""Statements whose data is pulled from a source while they run: COPY in, and one statement with many parameter sets."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Sequence
from typing import TYPE_CHECKING

from pgoxide._core import AsyncPreparedVerbs, copy_format
from pgoxide.driver.limits import AsyncLimit
from pgoxide.driver.names import column_list, quoted_table
from pgoxide.errors import InterfaceError, ProgrammingError

if TYPE_CHECKING:
    from pgoxide._core import CommandTag, Feed, Prepared
    from pgoxide.driver._async.connection import AsyncConnection
    from pgoxide.statement import ParameterSet, Statement

__all__ = ["copy_in", "execute_many"]

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


async def copy_in(  # noqa: PLR0917  one caller
    connection: AsyncConnection,
    table: str | tuple[str, str],
    records: Iterable[object] | AsyncIterable[object],
    columns: Sequence[str] | None,
    where: str | None,
    timeout: float | None,
) -> CommandTag:
    """See `AsyncConnection.copy_in`."""
    async with AsyncLimit(timeout if timeout is not None else connection.config.command_timeout) as limit:
        return await _copy_in(connection, table, records, columns, where, limit)


async def _copy_in(  # noqa: PLR0917  one caller
    connection: AsyncConnection,
    table: str | tuple[str, str],
    records: Iterable[object] | AsyncIterable[object],
    columns: Sequence[str] | None,
    where: str | None,
    limit: AsyncLimit,
) -> CommandTag:
    target = quoted_table(table)
    found = await connection.fetch_all(
        _COLUMNS, target, types=["text"], into=tuple[str, int], timeout=limit.left()
    )
    typed = _chosen(table, dict(found), columns)
    if not typed:
        raise ProgrammingError(f"{table!r} has no column that can be filled")
    names, oids = [name for name, _ in typed], [oid for _, oid in typed]
    condition = f" where {where}" if where else ""
    form = copy_format(connection, oids)
    sql = f"copy {target} ({column_list(names)}) from stdin (format {form}){condition}"
    # async-only: begin
    feed = connection._copy_in(sql, typed)
    # async-only: end
    # sync: feed = connection._copy_in(sql, typed, limit.left())
    return await _feed(feed, records)


async def execute_many(
    connection: AsyncConnection,
    query: str | Statement[object] | AsyncPreparedVerbs[object],
    parameter_sets: Iterable[ParameterSet] | AsyncIterable[ParameterSet],
    timeout: float | None,
) -> CommandTag:
    """See `AsyncConnection.execute_many`."""
    async with AsyncLimit(timeout if timeout is not None else connection.config.command_timeout) as limit:
        return await _execute_many(connection, query, parameter_sets, limit)


async def _execute_many(
    connection: AsyncConnection,
    query: str | Statement[object] | AsyncPreparedVerbs[object],
    parameter_sets: Iterable[ParameterSet] | AsyncIterable[ParameterSet],
    limit: AsyncLimit,
) -> CommandTag:
    last = False
    while True:
        prepared = await _described(connection, query, limit.left())
        # async-only: begin
        feed = connection._execute_many(prepared, last)
        # async-only: end
        # sync: feed = connection._execute_many(prepared, last, limit.left())
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
    if columns is None:
        return list(found.items())
    if isinstance(columns, str):
        raise InterfaceError("columns= takes a sequence of names, not one str")
    unknown = [name for name in columns if name not in found]
    if unknown:
        raise ProgrammingError(
            f"{table!r} has no column {', '.join(unknown)} that can be filled; it has {', '.join(found)}"
        )
    return [(name, found[name]) for name in columns]


async def _feed(feed: Feed, source: Iterable[object] | AsyncIterable[object]) -> CommandTag:
    """Moves the source into the server; its exception undoes everything and comes out as it was."""
    # async-only: begin
    import asyncio

    try:
        started = await feed.started
        if not started:
            pass
        elif isinstance(source, AsyncIterable):
            await _feed_chunks(feed, source)
        else:
            records = iter(source)
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
    # sync:         records = iter(source)
    # sync:         while feed.feed(records):
    # sync:             pass
    # sync:         feed.finish()
    # sync:     return feed.wait_done()
    # sync: except BaseException as error:
    # sync:     feed.abandon(error)
    # sync:     raise


# async-only: begin
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
