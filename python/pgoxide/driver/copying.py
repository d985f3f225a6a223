"""COPY as SQL: its source or target, its options by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypedDict, cast

from pgoxide.driver.names import column_list, quoted_table
from pgoxide.errors import InterfaceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["CopyFormat", "CopyInOptions", "CopyOutOptions", "copied", "options_list"]

CopyFormat = Literal["binary", "csv", "text"]

FORMATS = ("binary", "csv", "text")

_QUERY = re.compile(r"\s*(select|with|values|table|insert|update|delete|merge)\s", re.IGNORECASE)
_OPTION = re.compile(r"[a-z][a-z0-9_]*")


class CopyOutOptions(TypedDict, total=False):
    """Options of COPY TO, under the server's own names; what a newer server has beyond these is passed on too.

    delimiter: one character between the columns; null: the text that stands for NULL.
    header: a first line with the columns' names.
    quote, escape: of CSV, one character each. force_quote: columns whose values are always quoted, or "*".
    encoding: of the raw data, by PostgreSQL's names; without it UTF-8.
    """

    delimiter: str
    null: str
    header: bool
    quote: str
    escape: str
    force_quote: Sequence[str] | Literal["*"]
    encoding: str


class CopyInOptions(TypedDict, total=False):
    """Options of COPY FROM, under the server's own names; what a newer server has beyond these is passed on too.

    delimiter: one character between the columns; null: the text that stands for NULL.
    default: the text that stands for the column's default (PostgreSQL 16+).
    header: a first line is skipped (True), or must hold the columns' names ("match", PostgreSQL 15+).
    quote, escape: of CSV, one character each. force_not_null, force_null: columns whose values are never, or even quoted,
    compared with `null`; or "*" (PostgreSQL 17+).
    encoding: of the raw data, by PostgreSQL's names; without it UTF-8.
    freeze: rows are loaded frozen, into a table made in the same transaction.
    on_error: "stop", or "ignore" a row whose value the type refuses (PostgreSQL 17+); reject_limit: at most so many (18+).
    log_verbosity: "default", "verbose", "silent": what notices tell of such rows (17+).
    """

    delimiter: str
    null: str
    default: str
    header: bool | Literal["match"]
    quote: str
    escape: str
    force_not_null: Sequence[str] | Literal["*"]
    force_null: Sequence[str] | Literal["*"]
    encoding: str
    freeze: bool
    on_error: str
    reject_limit: int
    log_verbosity: str


def copied(
    table: str | tuple[str, str] | None, query: str | None, columns: Sequence[str] | None
) -> tuple[str, str | None]:
    r"""What COPY TO reads from, as SQL, and a query of the same columns; None: those the table has.

    >>> copied("users", None, ["id"])
    ('"users" ("id")', 'select "id" from "users"')
    >>> copied(None, "select 1", None)
    ('(select 1\\n)', 'select 1')

    Raises InterfaceError unless it is either a table or a query.
    """
    if query is not None:
        if table is not None or columns is not None:
            raise InterfaceError("copy_out takes a table, with columns= perhaps, or query=: not both")
        # A line of its own: the query may end with a comment.
        return f"({query}\n)", query
    if table is None:
        raise InterfaceError("copy_out takes a table's name, or query=")
    if isinstance(table, str) and _QUERY.match(table):
        raise InterfaceError(
            f"{table!r} is taken for a table's name; a query is given as query=, a table of such a name as (schema, name)"
        )
    target = quoted_table(table)
    if columns is None:
        return target, None
    if isinstance(columns, str):
        raise InterfaceError("columns= takes a sequence of names, not one str")
    listed = column_list(columns)
    if not listed:
        raise InterfaceError("columns=[]: COPY takes at least one column")
    return f"{target} ({listed})", f"select {listed} from {target}"  # noqa: S608  quoted names


def options_list(form: str, options: Mapping[str, object]) -> str:
    r"""The options in their brackets.

    >>> options_list("csv", {"header": True, "null": "a'b", "force_quote": ["x"]})
    "(format csv, header true, null E'a''b', force_quote (\\"x\\"))"

    Raises InterfaceError for a format COPY does not have, and for what is no option at all.
    """
    if form not in FORMATS:
        raise InterfaceError(f"format={form!r}: one of {', '.join(map(repr, FORMATS))}")
    listed = [f"format {form}", *(_option(name, value) for name, value in options.items())]
    return f"({', '.join(listed)})"


def _option(name: str, value: object) -> str:
    if not _OPTION.fullmatch(name) or name == "format":
        raise InterfaceError(f"{name!r} is no option of COPY")
    if isinstance(value, bool):
        return f"{name} {'true' if value else 'false'}"
    if isinstance(value, int):
        return f"{name} {value}"
    if value == "*" and name.startswith("force_"):
        return f"{name} *"
    if isinstance(value, str):
        return f"{name} {_literal(name, value)}"
    if isinstance(value, list | tuple) and value:
        return f"{name} ({column_list(cast('Sequence[str]', value))})"
    raise InterfaceError(f"{name}={value!r}: a str, bool or int, or a list of columns")


def _literal(name: str, value: str) -> str:
    if "\0" in value:
        raise InterfaceError(f"{name}={value!r}: PostgreSQL's texts have no NUL character")
    # With the E, backslashes mean the same whatever `standard_conforming_strings` says.
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
