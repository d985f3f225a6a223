"""What checkers must refuse. An ignore that is not needed is itself an error, so each line here must stay refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgoxide.statement import Executor, Fetch, Plan, Sleep, Statement, begin, fetch_all, fetch_one

if TYPE_CHECKING:
    from pgoxide.statement import Batchable


class User:
    name: str


users = Statement("select name from users", into=User)

Statement(1)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
Statement("select 1", into="User")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
users.sql = "other"  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
narrower: Statement[int] = users  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
flight: list[Batchable] = [Fetch(users), Sleep(1)]  # type: ignore[list-item] # pyright: ignore[reportAssignmentType]


def wrong_result() -> Plan[list[int]]:
    return (yield from fetch_all(users))  # type: ignore[return-value] # pyright: ignore[reportReturnType]


def wrong_attribute() -> Plan[str]:
    row = yield from fetch_one(users)
    return row.nam  # type: ignore[attr-defined, no-any-return] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


def bare_yield() -> Plan[None]:
    yield users  # type: ignore[misc] # pyright: ignore[reportReturnType]


def not_a_level() -> Plan[None]:
    yield from begin("snapshot")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def verbs(db: Executor) -> None:
    db.fetch_all("select 1", into=5)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    db.fetch_all(users, 1)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    db.fetch_all("select 1", timeout="5")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    db.fetchrow("select 1")  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    db.run(wrong_result)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    number: int = db.fetch_value("select 1", into=int)  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    print(number)
