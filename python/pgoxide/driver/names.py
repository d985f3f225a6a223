"""Names as SQL: quoted, so that any name means itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pgoxide.errors import InterfaceError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["column_list", "quoted", "quoted_table"]


def quoted(name: str) -> str:
    """The name as a quoted identifier. Raises InterfaceError for an empty one or one with a NUL byte.

    >>> quoted('my "own" table')
    '"my ""own"" table"'
    """
    if not isinstance(cast("object", name), str) or not name or "\0" in name:
        raise InterfaceError(f"{name!r} is no name: a str, not empty, without NUL")
    return '"' + name.replace('"', '""') + '"'


def quoted_table(table: str | tuple[str, str]) -> str:
    """`"name"` for a name, `"schema"."name"` for "schema.name" or (schema, name).

    A str is cut at its first dot; a table whose own name has one is given as a tuple.
    """
    if isinstance(table, str):
        return ".".join(quoted(part) for part in table.split(".", 1))
    schema, name = table
    return f"{quoted(schema)}.{quoted(name)}"


def column_list(names: Iterable[str]) -> str:
    """Quoted names with commas between."""
    return ", ".join(quoted(name) for name in names)
