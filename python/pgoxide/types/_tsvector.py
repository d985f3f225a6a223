"""tsvector, a document prepared for text search.

Source: the manual's chapter "Text Search Types".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from pgoxide.errors import DataError

__all__ = ["TsVector"]

Position = tuple[int, str]


class TsVector(Mapping[str, tuple[Position, ...]]):
    """Lexemes, each with the positions where it occurs: a mapping that cannot be changed.

    A position is a number from 1 to 16383 and a weight, "A" to "D"; given as a number alone its weight is "D". Lexemes are in
    the server's order. Raises DataError for what a tsvector cannot hold.

    >>> vector = TsVector({"cat": [3, (5, "A")], "fat": ()})
    >>> vector["cat"], list(vector), str(vector)
    (((3, 'D'), (5, 'A')), ['cat', 'fat'], "'cat':3,5A 'fat'")
    """

    __slots__ = ("_lexemes",)

    _lexemes: dict[str, tuple[Position, ...]]

    def __init__(self, lexemes: Mapping[str, Iterable[int | Position]] = MappingProxyType({})) -> None:
        ordered = sorted(lexemes, key=lambda lexeme: lexeme.encode("utf-8", "surrogatepass"))
        _fill(self, {lexeme: _positions(lexeme, lexemes[lexeme]) for lexeme in ordered})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a TsVector cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a TsVector cannot be changed")

    def __getitem__(self, lexeme: str) -> tuple[Position, ...]:
        return self._lexemes[lexeme]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lexemes)

    def __len__(self) -> int:
        return len(self._lexemes)

    def __hash__(self) -> int:
        return hash(frozenset(self._lexemes.items()))

    def __str__(self) -> str:
        """As the server writes it."""
        return " ".join(_text(lexeme, positions) for lexeme, positions in self._lexemes.items())

    def __repr__(self) -> str:
        return f"TsVector({self._lexemes!r})"

    def __reduce__(self) -> tuple[object, tuple[dict[str, tuple[Position, ...]]]]:
        return TsVector, (self._lexemes,)


def _fill(target: TsVector, lexemes: dict[str, tuple[Position, ...]]) -> None:
    object.__setattr__(target, "_lexemes", lexemes)


def _positions(lexeme: str, given: Iterable[int | Position]) -> tuple[Position, ...]:
    found: dict[int, str] = {}
    for position in given:
        at, weight = (position, "D") if isinstance(position, int) else position
        if not 1 <= at <= 16_383 or weight not in {"A", "B", "C", "D"} or at in found:
            raise DataError(
                f"{lexeme!r} at {position!r}: a number from 1 to 16383, once, and a weight A to D"
            )
        found[at] = weight
    return tuple(sorted(found.items()))


def _text(lexeme: str, positions: tuple[Position, ...]) -> str:
    quoted = lexeme.replace("\\", "\\\\").replace("'", "''")
    places = ",".join(f"{at}{weight if weight != 'D' else ''}" for at, weight in positions)
    return f"'{quoted}'{':' if places else ''}{places}"
