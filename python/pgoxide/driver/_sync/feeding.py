# generated from python/pgoxide/driver/_async/feeding.py by tools/async_to_sync.py: do not edit

"""Statements whose data is pulled from a source while they run: COPY in, and one statement with many parameter sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pgoxide._core import PreparedVerbs, copy_format
from pgoxide.driver.limits import Limit
from pgoxide.driver.names import column_list, quoted_table
from pgoxide.errors import InterfaceError, ProgrammingError

if TYPE_CHECKING:
    from pgoxide._core import CommandTag, Feed, Prepared
    from pgoxide.driver._sync.connection import Connection
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


def copy_in(  # noqa: PLR0917  one caller
    connection: Connection,
    table: str | tuple[str, str],
    records: Iterable[object],
    columns: Sequence[str] | None,
    where: str | None,
    timeout: float | None,
) -> CommandTag:
    """See `Connection.copy_in`."""
    with Limit(timeout if timeout is not None else connection.config.command_timeout) as limit:
        return _copy_in(connection, table, records, columns, where, limit)


def _copy_in(  # noqa: PLR0917  one caller
    connection: Connection,
    table: str | tuple[str, str],
    records: Iterable[object],
    columns: Sequence[str] | None,
    where: str | None,
    limit: Limit,
) -> CommandTag:
    target = quoted_table(table)
    found = connection.fetch_all(_COLUMNS, target, types=["text"], into=tuple[str, int], timeout=limit.left())
    typed = _chosen(table, dict(found), columns)
    if not typed:
        raise ProgrammingError(f"{table!r} has no column that can be filled")
    names, oids = [name for name, _ in typed], [oid for _, oid in typed]
    condition = f" where {where}" if where else ""
    form = copy_format(connection, oids)
    sql = f"copy {target} ({column_list(names)}) from stdin (format {form}){condition}"
    feed = connection._copy_in(sql, typed, limit.left())
    return _feed(feed, records)


def execute_many(
    connection: Connection,
    query: str | Statement[object] | PreparedVerbs[object],
    parameter_sets: Iterable[ParameterSet],
    timeout: float | None,
) -> CommandTag:
    """See `Connection.execute_many`."""
    with Limit(timeout if timeout is not None else connection.config.command_timeout) as limit:
        return _execute_many(connection, query, parameter_sets, limit)


def _execute_many(
    connection: Connection,
    query: str | Statement[object] | PreparedVerbs[object],
    parameter_sets: Iterable[ParameterSet],
    limit: Limit,
) -> CommandTag:
    last = False
    while True:
        prepared = _described(connection, query, limit.left())
        feed = connection._execute_many(prepared, last, limit.left())
        tag = _feed(feed, parameter_sets)
        if not feed.lost:
            return tag
        last = True


def _described(
    connection: Connection,
    query: str | Statement[object] | PreparedVerbs[object],
    timeout: float | None,
) -> Prepared:
    if isinstance(query, PreparedVerbs):
        return connection._describe_again(query._current(), timeout)
    if isinstance(query, str):
        return connection._describe(query, None, timeout)
    if query.parameters:
        raise InterfaceError("execute_many takes the parameters apart: the Statement has some of its own")
    return connection._describe(query.sql, query.types, timeout)


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


def _feed(feed: Feed, source: Iterable[object]) -> CommandTag:
    """Moves the source into the server; its exception undoes everything and comes out as it was."""
    try:
        if feed.wait_started():
            records = iter(source)
            while feed.feed(records):
                pass
            feed.finish()
        return feed.wait_done()
    except BaseException as error:
        feed.abandon(error)
        raise
