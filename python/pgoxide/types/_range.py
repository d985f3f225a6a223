"""`Range` and `Multirange`: what range types come as and are passed as.

Source: the manual's chapter "Range Types".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar, cast, overload

from pgoxide.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Bounds", "Multirange", "Range"]

T = TypeVar("T")

Bounds: TypeAlias = Literal["[)", "[]", "(]", "()", "empty"]
"""Which of a range's bounds are part of it: `[` and `]` are, `(` and `)` are not; "empty" has none."""

_BOUNDS = ("[)", "[]", "(]", "()", "empty")


class Range(Generic[T]):
    """A range of values, immutable and hashable.

    lower, upper: the bounds; None where it goes on for ever. bounds: which of them are part of it, as SQL writes it. A bound
    that is None is never part of it, and a range whose bounds exclude all values is the empty one; both as PostgreSQL has it.

    Ranges over integers and dates come from the server as `[)`: `[1,3]` as `Range(1, 4)`. They are equal here only in the same
    form. `infinity` of a date or timestamp is a value and not the same as no bound; see `beyond=`.

    >>> Range(1, 10)
    Range(1, 10)
    >>> 10 in Range(1, 10), 10 in Range(1, 10, "[]"), Range(1, 10) < Range(2, 3)
    (False, True, True)
    >>> print(Range(None, 5), Range.empty())
    (,5) empty

    Raises DataError when lower is greater than upper, or bounds is no such word.
    """

    __slots__ = ("bounds", "lower", "upper")

    lower: T | None
    upper: T | None
    bounds: Bounds

    def __init__(self, lower: T | None = None, upper: T | None = None, bounds: Bounds = "[)") -> None:
        if bounds not in _BOUNDS:
            raise DataError(f"bounds={bounds!r}: one of {', '.join(_BOUNDS)}")
        if bounds != "empty":
            bounds = _without_infinite(lower, upper, bounds)
            if lower is not None and upper is not None:
                if _surely_less(upper, lower):
                    raise DataError(
                        f"a range from {lower!r} to {upper!r}: its lower bound is greater than its upper one"
                    )
                if lower == upper and bounds != "[]":
                    bounds = "empty"
        if bounds == "empty":
            lower = upper = None
        for name, value in (("lower", lower), ("upper", upper), ("bounds", bounds)):
            object.__setattr__(self, name, value)

    @classmethod
    def empty(cls) -> Range[T]:
        """The range that contains nothing."""
        return cls(bounds="empty")

    @property
    def is_empty(self) -> bool:
        """It contains nothing."""
        return self.bounds == "empty"

    @property
    def lower_inc(self) -> bool:
        """The lower bound is part of it."""
        return self.bounds[0] == "["

    @property
    def upper_inc(self) -> bool:
        """The upper bound is part of it."""
        return self.bounds[-1] == "]"

    @property
    def lower_inf(self) -> bool:
        """It has no lower bound; as in SQL that is not said of the empty range."""
        return self.lower is None and not self.is_empty

    @property
    def upper_inf(self) -> bool:
        """It has no upper bound; as in SQL that is not said of the empty range."""
        return self.upper is None and not self.is_empty

    def __contains__(self, value: object) -> bool:
        """Whether the range contains a value (`@>`)."""
        if self.is_empty:
            return False
        if self.lower is not None and not _beyond(value, self.lower, self.lower_inc):
            return False
        return self.upper is None or _beyond(self.upper, value, self.upper_inc)

    def __bool__(self) -> bool:
        """False for the empty range."""
        return not self.is_empty

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Range):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, object, str]:
        return self.lower, self.upper, self.bounds

    def __lt__(self, other: Range[T]) -> bool:
        """In PostgreSQL's order: the empty range first, then by lower bound, then by upper bound."""
        return _compare(self, other, lambda order: order < 0)

    def __le__(self, other: Range[T]) -> bool:
        return _compare(self, other, lambda order: order <= 0)

    def __gt__(self, other: Range[T]) -> bool:
        return _compare(self, other, lambda order: order > 0)

    def __ge__(self, other: Range[T]) -> bool:
        return _compare(self, other, lambda order: order >= 0)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Range is immutable: {name!r} cannot be set; make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Range is immutable: {name!r} cannot be deleted")

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return type(self), (self.lower, self.upper, self.bounds)

    def __str__(self) -> str:
        """In SQL's notation, for people; not quoted as a literal would be."""
        if self.is_empty:
            return "empty"
        lower, upper = ("" if bound is None else str(bound) for bound in (self.lower, self.upper))
        return f"{self.bounds[0]}{lower},{upper}{self.bounds[1]}"

    def __repr__(self) -> str:
        if self.is_empty:
            return "Range.empty()"
        standard = _without_infinite(self.lower, self.upper, "[)")
        rest = "" if self.bounds == standard else f", {self.bounds!r}"
        return f"Range({self.lower!r}, {self.upper!r}{rest})"


class Multirange(Sequence[Range[T]]):
    """The ranges of a multirange, in order: an immutable, hashable sequence.

    From the server they come sorted, without empty or touching ones. What is passed need not be: the server normalizes it.

    >>> Multirange([Range(1, 3), Range(5, 9)])
    Multirange([Range(1, 3), Range(5, 9)])
    >>> 6 in Multirange([Range(1, 3), Range(5, 9)])
    True

    Raises DataError for an item that is no Range.
    """

    __slots__ = ("ranges",)

    ranges: tuple[Range[T], ...]

    def __init__(self, ranges: Iterable[Range[T]] = ()) -> None:
        taken = tuple(ranges)
        for one in taken:
            if not isinstance(one, Range):
                raise DataError(f"a multirange consists of Range, not {one!r}")
        object.__setattr__(self, "ranges", taken)

    @overload
    def __getitem__(self, index: int) -> Range[T]: ...
    @overload
    def __getitem__(self, index: slice) -> Multirange[T]: ...
    def __getitem__(self, index: int | slice) -> Range[T] | Multirange[T]:
        return Multirange(self.ranges[index]) if isinstance(index, slice) else self.ranges[index]

    def __len__(self) -> int:
        return len(self.ranges)

    def __iter__(self) -> Iterator[Range[T]]:
        return iter(self.ranges)

    def __contains__(self, value: object) -> bool:
        """Whether one of the ranges contains a value, or, of a Range, is that range."""
        if isinstance(value, Range):
            return value in self.ranges
        return any(value in one for one in self.ranges)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Multirange):
            return NotImplemented
        return self.ranges == cast("Multirange[T]", other).ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Multirange is immutable: {name!r} cannot be set; make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Multirange is immutable: {name!r} cannot be deleted")

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return type(self), (self.ranges,)

    def __str__(self) -> str:
        return "{" + ",".join(map(str, self.ranges)) + "}"

    def __repr__(self) -> str:
        return f"Multirange([{', '.join(map(repr, self.ranges))}])"


def _without_infinite(lower: object, upper: object, bounds: Bounds) -> Bounds:
    """The bounds without those that do not exist."""
    first = "(" if lower is None else bounds[0]
    last = ")" if upper is None else bounds[1]
    return first + last  # type: ignore[return-value]  # both halves come from Bounds


def _less(one: object, other: object) -> bool:
    return bool(one < other)  # type: ignore[operator]  # T is what PostgreSQL can order


def _surely_less(one: object, other: object) -> bool:
    """As far as Python can tell: a date and PostgreSQL's infinity are left to the server."""
    try:
        return _less(one, other)
    except TypeError:
        return False


def _beyond(value: object, bound: object, inclusive: bool) -> bool:
    """Whether the value is on this side of a bound."""
    return bool(value >= bound if inclusive else value > bound)  # type: ignore[operator]  # the caller's values


def _order(range_: Range[T]) -> tuple[bool, tuple[int, T | None, int], tuple[int, T | None, int]]:
    """What PostgreSQL compares: emptiness, then each bound, where none is below or above all."""
    lower = (0 if range_.lower is None else 1, range_.lower, 0 if range_.lower_inc else 1)
    upper = (1 if range_.upper is None else 0, range_.upper, 1 if range_.upper_inc else 0)
    return not range_.is_empty, lower, upper


def _compare(left: Range[T], right: Range[T], holds: Callable[[int], bool]) -> bool:
    if not isinstance(right, Range):
        return NotImplemented
    one, two = _order(left), _order(right)
    if one[0] != two[0]:
        return holds(-1 if one[0] < two[0] else 1)
    for mine, theirs in zip(one[1:], two[1:], strict=True):
        if mine == theirs:
            continue
        if mine[0] != theirs[0]:
            return holds(-1 if mine[0] < theirs[0] else 1)
        return holds(-1 if _less(mine[1:], theirs[1:]) else 1)
    return holds(0)
