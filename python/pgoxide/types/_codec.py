"""Users' codecs: how a type comes to Python and goes to the server, for one connection, a pool, or one statement.

`connect(codecs={"jsonb": Codec(orjson.loads, orjson.dumps), "public.mood": Mood, "address": Address})`: by type name, name with
schema, or OID; a `Codec`, or a class that is filled from the driver's own value. They hold wherever the type occurs: in arrays,
composite types, ranges and domains too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, cast, overload

from pgoxide.errors import DataError, InterfaceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgoxide.types._row import Row

__all__ = ["Codec", "CodecFormat", "Codecs", "Columns"]

T = TypeVar("T")
R = TypeVar("R")

CodecFormat: TypeAlias = Literal["text", "binary", "tuple", "value"]
"""What a codec is given and gives; see `Codec`."""


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """Two functions that replace the driver's own codec of a type, or one of them.

    decode: makes the Python value; without it the driver's own value comes. encode: makes what is sent, of one argument that
    is not None; without it the driver's own codec takes the argument. NULL is None in both directions and meets neither.
    format: what they take and give:

    - "text" (default): `str`, the server's text form; encode may give it as UTF-8 `bytes` too, as `orjson.dumps` does
    - "binary": `bytes`, the server's binary form, as the type's send and receive functions have it
    - "tuple": the parts of the value: of a composite type its fields; of a range `(lower, upper, bounds)`; of a date
      `(days,)`, of a timestamp `(microseconds,)`, both since 2000-01-01; of a time `(microseconds,)`, with time zone
      `(microseconds, seconds west of Greenwich)`; of an interval `(months, days, microseconds)`; of a tid `(block, offset)`
    - "value": what the driver's own codec gives and takes

    What they raise fails the call with a DataError that names the column or argument; the connection goes on.

    >>> from pgoxide.types import Codec
    >>> upper = Codec(str.upper, str.lower)
    >>> import pgoxide
    >>> def example() -> None:
    ...     with pgoxide.Connection.connect(codecs={"text": upper}) as db:
    ...         print(db.fetch_value("select array['a', 'b']"))
    """

    decode: Callable[..., T] | None = None
    encode: Callable[..., object] | None = None
    format: CodecFormat = "text"

    def __post_init__(self) -> None:
        if self.format not in ("text", "binary", "tuple", "value"):
            raise InterfaceError(f'format={self.format!r}: "text", "binary", "tuple" or "value"')
        for name, function in (("decode", self.decode), ("encode", self.encode)):
            if function is not None and not callable(function):
                raise InterfaceError(f"{name}={function!r} cannot be called")


Codecs: TypeAlias = Mapping[str | int, "Codec[Any] | type"]
"""By type name (`"jsonb"`, `"mood[]"`), name with schema (`"public.mood"`), or OID: a `Codec`, or a class. An `Enum` stands
for an enum type, by value or by name; a dataclass, named tuple, attrs, msgspec or pydantic class for a composite type, field
by field, or for json and jsonb, filled from the document's members."""


class Columns(Generic[R]):
    """`into=` with codecs of one statement: `into=Columns({"payload": Codec(Payload.parse)})`.

    codecs: by column name, or by type as `Codecs` says; a key that is the name of a column is of that column, and holds for
    this statement's result only, in front of the connection's codecs. into: what a row becomes, as in `into=`; by default a
    `Row`. Make it once and use it again: what it means for a statement is worked out once.

    >>> import pgoxide
    >>> from pgoxide.types import Codec, Columns
    >>> shouted = Columns({"name": Codec(str.upper)})
    >>> def example(db: pgoxide.Connection) -> None:
    ...     print(db.fetch_one("select 'ada' as name, 'x' as other", into=shouted))
    """

    __slots__ = ("_listed", "into")

    into: type[R] | Callable[[Row], R] | None

    @overload
    def __init__(self: Columns[Row], codecs: Codecs) -> None: ...
    @overload
    def __init__(self, codecs: Codecs, into: type[R]) -> None: ...
    @overload
    def __init__(self, codecs: Codecs, into: Callable[[Row], R]) -> None: ...
    def __init__(self, codecs: Codecs, into: type[R] | Callable[[Row], R] | None = None) -> None:
        self.into = into
        self._listed = listed(codecs)

    def __call__(self, row: Row) -> R:  # noqa: ARG002  what a type checker looks at
        """For type checkers, to whom it is a function of a row; the core builds rows itself."""
        raise InterfaceError("Columns is passed as into=, not called")


Listed: TypeAlias = tuple[str | int, object, str, bool, bool]


def listed(codecs: Codecs | None) -> list[Listed]:
    """What the core takes: key, codec or class, format, whether it decodes and encodes. Raises InterfaceError for others."""
    if codecs is None:
        return []
    if not isinstance(codecs, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # not by everybody's checker
        raise InterfaceError(f"codecs={codecs!r}: a mapping of type names to Codec or classes")
    found: list[Listed] = []
    for key, given in codecs.items():
        if type(key) not in (str, int) or (isinstance(key, int) and not 0 < key < 1 << 32):
            raise InterfaceError(f"codecs: {key!r} is no type name and no oid")
        if isinstance(given, Codec):
            found.append((key, given, given.format, given.decode is not None, given.encode is not None))
        elif isinstance(given, type):  # pyright: ignore[reportUnnecessaryIsInstance]
            found.append((key, given, "value", True, True))
        else:
            raise InterfaceError(f"codecs: {key!r}: a Codec or a class, not {given!r}")
    return found


Functions: TypeAlias = tuple[Callable[..., object] | None, Callable[..., object] | None]


def functions(given: object, name: str, kind: str, parts: Sequence[str]) -> Functions:
    """Decode and encode of a codec or class, for a type of this name and kind, with these labels or fields.

    Called by the core when the type is first used. Raises DataError when the class does not fit the type.
    """
    if isinstance(given, Codec):
        codec = cast("Codec[object]", given)
        return codec.decode, codec.encode
    cls = cast("type[Any]", given)
    if kind == "enum" and issubclass(cls, Enum):
        return _enum(cls, name, parts)
    if kind == "composite":
        return _composite(cls, name, parts)
    if name in ("json", "jsonb"):
        return _document(cls)
    raise DataError(
        f"{cls.__name__} cannot stand for the type {name}: an Enum stands for an enum type, a class with fields for a composite type, json "
        "or jsonb; for others pass a Codec"
    )


def _enum(cls: type[Enum], name: str, labels: Sequence[str]) -> Functions:
    values = {member.value: member for member in cls}
    by_value = set(labels) <= set(values) if all(isinstance(value, str) for value in values) else False
    known: Mapping[str, Enum] = values if by_value else cls.__members__
    missing, surplus = sorted(set(labels) - set(known)), sorted(set(known) - set(labels))
    if missing or surplus:
        raise DataError(
            f"the enum {cls.__name__} does not fit the type {name}: labels without a member: {', '.join(missing) or 'none'}; "
            f"members without a label: {', '.join(surplus) or 'none'}"
        )

    def decode(label: str) -> Enum:
        try:
            return known[label]
        except KeyError:
            raise DataError(f"the label {label!r} of {name} has no member in {cls.__name__}") from None

    def encode(member: object) -> object:
        if isinstance(member, cls):
            return member.value if by_value else member.name
        if isinstance(member, str) and not isinstance(member, Enum):
            return member
        raise DataError(f"expected {cls.__name__}, got {type(member).__name__} {member!r}")

    return decode, encode


def _fields(cls: type[Any]) -> list[str] | None:
    """The names that a class's instances are filled by."""
    if _is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls) if field.init]
    for attribute in ("_fields", "__struct_fields__", "model_fields"):
        names: Iterable[str] | None = getattr(cls, attribute, None)
        if names is not None:
            return list(names)
    attributes: Iterable[Any] | None = getattr(cls, "__attrs_attrs__", None)
    return None if attributes is None else [one.name for one in attributes if one.init]


def _is_dataclass(cls: type[Any]) -> bool:
    return dataclasses.is_dataclass(cls)


def _composite(cls: type[Any], name: str, fields: Sequence[str]) -> Functions:
    known = _fields(cls)
    if known is None:
        raise DataError(
            f"{cls.__name__} names no fields: a dataclass, named tuple, attrs, msgspec or pydantic class stands for a composite type"
        )
    missing, surplus = sorted(set(fields) - set(known)), sorted(set(known) - set(fields))
    if missing or surplus:
        raise DataError(
            f"{cls.__name__} does not fit the type {name}: fields it lacks: {', '.join(missing) or 'none'}; "
            f"fields the type lacks: {', '.join(surplus) or 'none'}"
        )

    def decode(row: Iterable[object]) -> object:
        return cls(**dict(zip(fields, row, strict=True)))

    def encode(value: object) -> object:
        return tuple(getattr(value, field) for field in fields) if isinstance(value, cls) else value

    return decode, encode


def _document(cls: type[Any]) -> Functions:
    """A JSON document's members as a class's fields."""

    def by_keywords(document: Mapping[str, object]) -> object:
        return cls(**document)

    if hasattr(cls, "__struct_fields__"):
        import msgspec

        def converted(document: object) -> object:
            return msgspec.convert(document, cls)

        return converted, _only(cls, msgspec.to_builtins)
    if hasattr(cls, "model_validate"):

        def dumped(model: Any) -> object:
            return model.model_dump(mode="json")

        return cls.model_validate, _only(cls, dumped)
    if hasattr(cls, "__attrs_attrs__"):
        import attrs

        return by_keywords, _only(cls, attrs.asdict)
    if _is_dataclass(cls):
        return by_keywords, _only(cls, dataclasses.asdict)
    if hasattr(cls, "_fields"):

        def as_dict(value: Any) -> object:
            return value._asdict()

        return by_keywords, _only(cls, as_dict)
    raise DataError(
        f"{cls.__name__} names no fields: a dataclass, named tuple, attrs, msgspec or pydantic class stands for json"
    )


def _only(cls: type[Any], dump: Callable[[Any], object]) -> Callable[[object], object]:
    """Other arguments are documents as they are."""

    def encode(value: object) -> object:
        return dump(value) if isinstance(value, cls) else value

    return encode
