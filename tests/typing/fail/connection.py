"""What checkers must refuse of the connections. An ignore that is not needed is itself an error: each line must stay refused."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

from pgoxide import AsyncConnection, Connection, Statement


class User:
    name: str


def wants_int(number: int) -> str:
    return str(number)


users = Statement("select name from users", into=User)


def blocking(db: Connection) -> None:
    db.fetch_all(1)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    db.fetch_all("select 1", into=5)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    db.fetch_all("select 1", into="User")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    db.fetch_all("select 1", into=wants_int)  # type: ignore[arg-type] # pyright: ignore[reportCallIssue, reportArgumentType]
    db.fetch_all("select 1", timeout="5")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    db.fetch_all("select :a", a=1, types={"a": 1.5})  # type: ignore[dict-item] # pyright: ignore[reportArgumentType]
    db.fetch_all("select :a", params=[1])  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    db.fetch_all(users, a=1)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    db.fetch_all(users, 1)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    db.fetch_all(users, into=User)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    db.execute("select 1", params=User)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    db.execute_script("select $1", 1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    db.fetchrow("select 1")  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    db.commit()  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    db.closed = True  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]

    db.run(users)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    db.copy_in("users", 5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    db.copy_in("users", b"1", format="xml")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    db.copy_in("users", b"1", format="csv", force_quote=["id"])  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    db.copy_out("users", to="users.csv")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    db.copy_out("users", format="csv", to=Path("x"), into=User)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    db.copy_out("users", format="json")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    db.copy_out("users", format="csv", freeze=True)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    db.execute_many("select $1", [1, 2])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    streamed: list[int] = list(db.stream(users))  # type: ignore[arg-type] # pyright: ignore[reportAssignmentType]
    number: int = db.fetch_value("select 1", into=int)  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    numbers: list[int] = db.fetch_column("select 1", into=int)  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    user: User = db.fetch_optional(users)  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    rows: list[User] = db.fetch_all("select 1")  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    print(db.fetch_one("select 1", into=User).nam)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    db.execute("delete from users").rows_affected + 1  # type: ignore[operator] # pyright: ignore[reportOptionalOperand, reportUnusedExpression]
    print(number, numbers, user, rows, streamed)


async def asynchronous(db: AsyncConnection) -> None:
    db.execute("delete from users")  # type: ignore[unused-awaitable]
    db.fetch_all("select 1").append(1)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    await db.fetch_all(1)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    await db.fetch_all("select 1", into=5)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    await db.fetch_all("select 1", into=wants_int)  # type: ignore[arg-type] # pyright: ignore[reportCallIssue, reportArgumentType]
    await db.fetch_all(users, 1)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    await db.fetchval("select 1")  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    number: int = await db.fetch_value("select 1", into=int)  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    rows: list[User] = await db.fetch_all("select 1")  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    for row in db.stream("select 1"):  # type: ignore[attr-defined] # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        print(row)  # pyright: ignore[reportUnknownArgumentType]
    with db.batch():  # type: ignore[attr-defined] # pyright: ignore[reportGeneralTypeIssues]
        pass
    with AsyncConnection.connect():  # type: ignore[attr-defined] # pyright: ignore[reportGeneralTypeIssues]
        pass
    print(number, rows)


Connection.connect(hots="localhost")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
Connection.connect(beyond="guess")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Connection.connect(float4="short")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Connection.connect(timestamptz_zone="Asia/Tokyo")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Connection.connect(timestamptz_zone=ZoneInfo)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Connection.connect(naive_timestamptz="allow")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Connection.connect(duplicate_columns="first")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
