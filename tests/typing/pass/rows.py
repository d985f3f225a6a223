"""Row types of every kind, as checkers see them: what `into=` names is what comes back, on both faces."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Generic, NamedTuple, TypedDict, TypeVar, assert_type

import attrs
import msgspec
import pydantic

from pgoxide import Statement

if TYPE_CHECKING:
    from pgoxide import AsyncConnection, Connection, Row

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Data:
    id: int
    name: dataclasses.InitVar[str]


@dataclass
class Box(Generic[T]):
    content: T


class Named(NamedTuple):
    id: int


class Typed(TypedDict, total=False):
    id: int


@attrs.frozen
class Attrs:
    id: int
    name: str = attrs.field(default="?", validator=attrs.validators.instance_of(str))


class Struct(msgspec.Struct, frozen=True, kw_only=True):
    id: int


class Model(pydantic.BaseModel):
    id: int
    name: str | None = None


class ModelBox(pydantic.BaseModel, Generic[T]):
    content: T


@pydantic.dataclasses.dataclass
class Checked:
    id: int


class ByHand:
    def __init__(self, id: int, **others: object) -> None:
        self.id = id
        self.others = others


def total(row: Row) -> Decimal:
    return Decimal(sum(row))


SQL = "select 1 as id"


async def asynchronous(db: AsyncConnection) -> None:
    assert_type(await db.fetch_all(SQL, into=Data), list[Data])
    assert_type(await db.fetch_all(SQL, into=Box[int]), list[Box[int]])
    assert_type(await db.fetch_all(SQL, into=Named), list[Named])
    assert_type(await db.fetch_all(SQL, into=Typed), list[Typed])
    assert_type(await db.fetch_all(SQL, into=Attrs), list[Attrs])
    assert_type(await db.fetch_all(SQL, into=Struct), list[Struct])
    assert_type(await db.fetch_all(SQL, into=Model), list[Model])
    assert_type(await db.fetch_all(SQL, into=ModelBox[int]), list[ModelBox[int]])
    assert_type(await db.fetch_all(SQL, into=Checked), list[Checked])
    assert_type(await db.fetch_all(SQL, into=ByHand), list[ByHand])
    assert_type(await db.fetch_all(SQL, into=total), list[Decimal])
    assert_type(await db.fetch_all(SQL, into=tuple[int, str]), list[tuple[int, str]])
    assert_type(await db.fetch_value(SQL, into=list[int]), list[int] | None)
    assert_type((await db.fetch_one(SQL, into=Model)).name, str | None)
    assert_type((await db.fetch_one(SQL, into=Box[int])).content, int)
    async with db.stream(SQL, into=Struct) as rows:
        assert_type([row async for row in rows], list[Struct])
    async with db.batch() as batch:
        reply = batch.fetch_all(SQL, into=Model)
    assert_type(reply.result(), list[Model])
    assert_type(await db.fetch_all(Statement(SQL, into=Attrs)), list[Attrs])


def blocking(db: Connection) -> None:
    assert_type(db.fetch_all(SQL, into=Data), list[Data])
    assert_type(db.fetch_all(SQL, into=Box[int]), list[Box[int]])
    assert_type(db.fetch_all(SQL, into=Named), list[Named])
    assert_type(db.fetch_all(SQL, into=Typed), list[Typed])
    assert_type(db.fetch_all(SQL, into=Attrs), list[Attrs])
    assert_type(db.fetch_all(SQL, into=Struct), list[Struct])
    assert_type(db.fetch_all(SQL, into=Model), list[Model])
    assert_type(db.fetch_all(SQL, into=Checked), list[Checked])
    assert_type(db.fetch_optional(SQL, into=Model), Model | None)
    assert_type(db.fetch_first(SQL, into=Attrs), Attrs | None)
    assert_type(list(db.stream(SQL, into=Attrs)), list[Attrs])
    assert_type(db.fetch_column(SQL, into=Decimal), list[Decimal | None])
