"""Rows by name. Stub of row.rs; the class itself is Python: `pgoxide.types.Row`."""

from collections.abc import Sequence

from pgoxide.types import Row

__all__ = ["make_row"]

def make_row(fields: Sequence[str], values: tuple[object, ...], /) -> Row:
    """A row of these columns and values, as the driver makes it: what unpickling and `Row._replace` need.

    Raises ValueError when there are not as many values as columns.
    """
