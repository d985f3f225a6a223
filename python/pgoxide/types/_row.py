"""`Row`: a tuple that also knows its columns' names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, SupportsIndex, overload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Row", "restore"]


class Row(tuple[Any, ...]):
    """One row of a result: a tuple whose values are also attributes and items by column name.

    `row[0]`, `row["name"]` and `row.name` are the same value. A row compares and hashes as the tuple of its values,
    unpacks, slices and matches like one, and `dict(row)`, `**row` work. A column's name wins over the attributes a row
    has by itself (`count`, `index`, `get`, …) except `keys`; ours begin with an underscore. A name that occurs twice
    means its last column, as in `dict(row)`; positions reach both.

    Rows come from the driver: the class cannot be called or subclassed. They pickle and copy without their connection.

    >>> from pgoxide.types._row import restore
    >>> row = restore(("id", "name"), (7, "Ada"))
    >>> row.name, row["id"], row[-1], row == (7, "Ada")
    ('Ada', 7, 'Ada', True)
    """

    __slots__ = ()

    _fields: ClassVar[tuple[str, ...]] = ()

    def __new__(cls, *_args: object, **_kwargs: object) -> NoReturn:
        """Refused: rows come from the driver."""
        raise TypeError(
            "rows are made by the driver; a plain tuple or a class of your own is what you can make"
        )

    def __init_subclass__(cls) -> NoReturn:
        """Refused: a row's class belongs to its columns."""
        raise TypeError("Row cannot be subclassed: use into= for a class of your own")

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        @overload
        def __getitem__(self, key: SupportsIndex | str, /) -> Any: ...
        @overload
        def __getitem__(self, key: slice, /) -> tuple[Any, ...]: ...
        def __getitem__(self, key: SupportsIndex | str | slice, /) -> Any: ...

    def keys(self) -> tuple[str, ...]:
        """The column names, in order, repeated ones included."""
        return type(self)._fields

    def values(self) -> tuple[Any, ...]:
        """The values as a plain tuple."""
        return tuple(self)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Pairs of column name and value."""
        return zip(type(self)._fields, self, strict=True)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of the column, or `default` when there is none of that name."""
        try:
            return self[name]
        except KeyError:
            return default

    def _asdict(self) -> dict[str, Any]:
        """A dict from column names to values."""
        return dict(zip(type(self)._fields, self, strict=True))

    def _replace(self, **changes: Any) -> Self:
        """A row of the same columns with some values replaced. Raises KeyError for a name that is no column."""
        fields = type(self)._fields
        for name in changes:
            if name not in fields:
                raise KeyError(f"no column {name!r}; the row has {fields!r}")
        values = [changes.get(name, value) for name, value in zip(fields, self, strict=True)]
        return restore(fields, values)  # type: ignore[return-value]  # the same shape gives the same class

    def __repr__(self) -> str:
        """`Row(id=7, name='Ada')`."""
        pairs = zip(type(self)._fields, self, strict=True)
        return f"Row({', '.join(f'{name}={value!r}' for name, value in pairs)})"

    def __reduce__(self) -> tuple[object, tuple[tuple[str, ...], tuple[Any, ...]]]:
        """For pickle and copy: names and values, no connection."""
        return restore, (type(self)._fields, tuple(self))

    def __copy__(self) -> Self:
        """Itself: a row does not change."""
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """A row of deep copies."""
        from copy import deepcopy

        return restore(type(self)._fields, [deepcopy(value, memo) for value in self])  # type: ignore[return-value]


def restore(fields: Sequence[str], values: Sequence[Any] | Mapping[str, Any]) -> Row:
    """A row of these columns, as the driver makes it: what unpickling calls."""
    from pgoxide import _core

    return _core.make_row(tuple(fields), tuple(values))
