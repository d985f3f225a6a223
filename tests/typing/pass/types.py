"""Ranges, arrays and codecs keep their element types."""

from dataclasses import dataclass
from enum import Enum
from typing import assert_type

from pgoxide import AsyncConnection, Connection, Row, TypeRegistry
from pgoxide.types import Array, Codec, Codecs, Columns, Multirange, Range

numbers = Range(1, 10)
assert_type(numbers, Range[int])
assert_type(numbers.lower, int | None)
assert_type(Multirange([numbers])[0], Range[int])
assert_type(Array(["a"], lower_bounds=[0])[0], str)


class Mood(Enum):
    OK = "ok"


@dataclass
class User:
    name: str


codecs: Codecs = {"mood": Mood, "json": Codec(str.upper), 3802: Codec(decode=len, encode=str, format="value")}
registry = TypeRegistry()
assert_type(len(registry), int)


def blocking(db: Connection) -> None:
    assert_type(db.fetch_all("select 1", into=Columns(codecs)), list[Row])
    assert_type(db.fetch_one("select 1", into=Columns(codecs, User)), User)
    db.reload_types()


async def asynchronous() -> None:
    async with AsyncConnection.connect(codecs=codecs, type_registry=registry, array_bounds="keep") as db:
        assert_type(await db.fetch_one("select 1", into=Columns(codecs, User)), User)
