# generated from python/pgoxide/driver/_async/feeding.py by tools/async_to_sync.py: do not edit

"""Statements whose data is pulled from a source while they run: COPY in, and one statement with many parameter sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pgoxide._core import PreparedVerbs, copy_format, knows_types
from pgoxide.driver.copying import options_list
from pgoxide.driver.limits import Limit
from pgoxide.driver.names import column_list, quoted_table
from pgoxide.driver.sinks import is_raw, reading
from pgoxide.errors import InterfaceError, ProgrammingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgoxide._core import CommandTag, Feed, Prepared
    from pgoxide.driver._sync.connection import Connection
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


def copy_in(connection: Connection, target: CopyTarget, source: object, timeout: float | None) -> CommandTag:
    """See `Connection.copy_in`."""
    if isinstance(target.columns, str):
        raise InterfaceError("columns= takes a sequence of names, not one str")
    raw = is_raw(source)
    if raw and target.format is None:
        raise InterfaceError('raw data needs format="csv", "text" or "binary"')
    with Limit(timeout if timeout is not None else connection.config.command_timeout) as limit:
        return _copy_in(connection, target, source, raw, limit)


def _copy_in(
    connection: Connection, target: CopyTarget, source: object, raw: bool, limit: Limit
) -> CommandTag:
    last = False
    with reading(source) as opened:
        while True:
            typed, names, form = None, target.columns, target.format
            if not raw:
                columns = _columns(connection, target, limit)
                names, oids = [name for name, _ in columns], [oid for _, oid in columns]
                form = form or copy_format(connection, oids)
                typed = target.query(names), columns
            assert form is not None  # raw data has one
            sql, options = target.sql(names, form), dict(target.options)
            takes_raw = target.format is not None
            feed = connection._copy_in(sql, typed, form, options, takes_raw, last, limit.left())
            tag = _feed(feed, opened)
            if not feed.lost:
                return tag
            # The columns have changed since they were looked up.
            last = True


def _columns(connection: Connection, target: CopyTarget, limit: Limit) -> list[tuple[str, int]]:
    """Name and type of the columns to fill, of types that are known."""
    table = quoted_table(target.table)
    found = connection.fetch_all(_COLUMNS, table, types=["text"], into=tuple[str, int], timeout=limit.left())
    columns = _chosen(target.table, dict(found), target.columns)
    oids = [oid for _, oid in columns]
    if not knows_types(connection, oids):
        # The types of a statement's parameters are looked up when it is described.
        parameters = ", ".join(f"${number}" for number in range(1, len(oids) + 1))
        connection._describe(f"select {parameters}", oids, limit.left())
    return columns


def execute_many(
    connection: Connection,
    query: str | Statement[object] | PreparedVerbs[object],
    parameter_sets: Iterable[ParameterSet],
    timeout: float | None,
    commit: object | None = None,
) -> CommandTag:
    """See `Connection.execute_many`. commit: the token of the transaction block whose end it is to bring."""
    with Limit(timeout if timeout is not None else connection.config.command_timeout) as limit:
        return _execute_many(connection, query, parameter_sets, limit, commit)


def _execute_many(
    connection: Connection,
    query: str | Statement[object] | PreparedVerbs[object],
    parameter_sets: Iterable[ParameterSet],
    limit: Limit,
    commit: object | None,
) -> CommandTag:
    last = False
    while True:
        prepared = _described(connection, query, limit.left())
        feed = connection._execute_many(prepared, last, limit.left(), commit)
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


def _feed(feed: Feed, source: object) -> CommandTag:
    """Moves the source into the server; its exception undoes everything and comes out as it was."""
    try:
        if feed.wait_started():
            records = iter(cast("Iterable[object]", source))
            while feed.feed(records):
                pass
            feed.finish()
        return feed.wait_done()
    except BaseException as error:
        feed.abandon(error)
        raise
