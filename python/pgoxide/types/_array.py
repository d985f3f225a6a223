"""`Array`: a list that knows the subscripts its elements have in PostgreSQL.

Source: the manual's chapter "Arrays".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from pgoxide.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Array"]

T = TypeVar("T")


class Array(list[T]):
    """A list with lower bounds: what an array whose subscripts do not begin at 1 comes as with `array_bounds="keep"`, and how
    one is passed.

    items: the elements; lists of lists for more dimensions. lower_bounds: the first subscript of each dimension, outermost
    first; without it all begin at 1.

    As a list it counts from 0; `at` takes PostgreSQL's subscripts.

    >>> sensors = Array([20, 21, 22], lower_bounds=[0])
    >>> sensors[0], sensors.at(0), sensors.lower_bounds
    (20, 20, (0,))

    An Array also says "these are dimensions" where a list would be a value: of json[], `Array([[1], [2]])` has two dimensions,
    `[[1], [2]]` two documents.
    """

    __slots__ = ("lower_bounds",)

    lower_bounds: tuple[int, ...]

    def __init__(self, items: Iterable[T] = (), lower_bounds: Iterable[int] = ()) -> None:
        super().__init__(items)
        self.lower_bounds = tuple(lower_bounds)

    def at(self, *subscripts: int) -> object:
        """The element with these subscripts, counted as PostgreSQL does. Raises DataError when there is none."""
        found: object = self
        for depth, subscript in enumerate(subscripts):
            lower = self.lower_bounds[depth] if depth < len(self.lower_bounds) else 1
            inner: list[object] = cast("list[object]", found) if isinstance(found, list) else []
            if not 0 <= subscript - lower < len(inner):
                raise DataError(f"the array has no element {list(subscripts)}")
            found = inner[subscript - lower]
        return found

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (list(self), self.lower_bounds)

    def __repr__(self) -> str:
        bounds = f", lower_bounds={list(self.lower_bounds)!r}" if self.lower_bounds else ""
        return f"Array({list(self)!r}{bounds})"
