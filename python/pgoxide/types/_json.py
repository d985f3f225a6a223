"""JSON documents as arguments where a plain Python value would not say enough.

A parameter of type json or jsonb takes plain values: dict, list, tuple, str, int, float, Decimal, bool. `None` is SQL's NULL, as
everywhere; `JsonNull` is JSON's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Json", "JsonNull", "JsonNullType", "Jsonb"]


@dataclass(frozen=True, slots=True)
class Json:
    """A value to be sent as a JSON document: for json and jsonb parameters, and for text ones too.

    value: what is to be written. dumps: writes it, as str or bytes, such as `orjson.dumps`; by default the core does, exactly, and
    `None` is JSON's null. What dumps returns is not looked at: the server refuses what is no JSON.

    `Jsonb` is the same class: the parameter's type decides, not the wrapper.

    >>> Json({"a": [1, None]}), Json.text('{"a": 1}').document()
    (Json(value={'a': [1, None]}, dumps=None), '{"a": 1}')
    """

    value: object
    dumps: Callable[[object], str | bytes] | None = None

    @classmethod
    def text(cls, document: str | bytes) -> Self:
        """A document that has been written already."""
        return cls(document, _same)

    def document(self) -> str | bytes | None:
        """What dumps makes of the value; None without one."""
        return None if self.dumps is None else self.dumps(self.value)


Jsonb = Json


@final
class JsonNullType:
    """The class of `JsonNull`, JSON's null: a document of its own, which SQL's NULL is not. There is one instance; it is false."""

    __slots__ = ()

    def __new__(cls) -> JsonNullType:
        """The only instance."""
        return _null

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "JsonNull"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> str:
        return "JsonNull"


_null: JsonNullType = object.__new__(JsonNullType)
JsonNull: Final = _null


def _same(document: object) -> str | bytes:
    if isinstance(document, str | bytes):
        return document
    raise TypeError(f"a JSON text must be str or bytes, not {type(document).__name__}")
