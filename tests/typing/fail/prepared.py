"""What checkers must refuse of prepared statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgoxide import Connection, PreparedStatement


def wrong(db: Connection, names: PreparedStatement[str]) -> None:
    db.prepare(1)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    db.prepare("select 1", into="str")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    names.fetch_all(into=str, timeout="1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    names.sql = "select 2"  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
    numbers: list[int] = names.fetch_all()  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    narrower: PreparedStatement[bool] = names  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    print(numbers, narrower)
    db.portal("select 1").fetch("3")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    db.portal("select 1", isolate=1, into="x")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
