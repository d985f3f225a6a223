"""What checkers must refuse of row types. An ignore that is not needed is itself an error, so each line here must stay refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import msgspec
import pydantic

if TYPE_CHECKING:
    from pgoxide import AsyncConnection, Connection


@attrs.define
class Attrs:
    id: int


class Struct(msgspec.Struct):
    id: int


class Model(pydantic.BaseModel):
    id: int


def two_arguments(id: int, name: str) -> int:
    return id + len(name)


def blocking(db: Connection) -> None:
    models: list[Struct] = db.fetch_all("select 1 as id", into=Model)  # type: ignore[arg-type] # pyright: ignore[reportAssignmentType]
    print(db.fetch_one("select 1 as id", into=Attrs).name)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    number: str = db.fetch_one("select 1 as id", into=Struct).id  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    db.fetch_all("select 1 as id", into=two_arguments)  # type: ignore[arg-type] # pyright: ignore[reportCallIssue, reportArgumentType]
    db.fetch_all("select 1 as id", into=Model(id=1))  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    print(models, number)


async def asynchronous(db: AsyncConnection) -> None:
    models: list[Struct] = await db.fetch_all("select 1 as id", into=Model)  # type: ignore[arg-type] # pyright: ignore[reportAssignmentType]
    print((await db.fetch_one("select 1 as id", into=Attrs)).name)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    print((await db.fetch_optional("select 1 as id", into=Model)).id)  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]
    print(models)
