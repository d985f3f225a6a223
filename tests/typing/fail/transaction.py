"""What checkers must refuse of transaction blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgoxide import AsyncConnection, AsyncTransaction, Connection, Pool, Transaction


def blocking(db: Connection, tx: Transaction) -> None:
    db.transaction(isolation="snapshot")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    db.transaction(others="ignore")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    db.transaction("serializable")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    db.transaction(attempts=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    tx.fetch_all("select 1", commit="yes")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]
    tx.execute_script("select 1", commit=True)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    tx.transaction(isolation="serializable")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    tx.transaction(name=1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    tx.commit()  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    tx.on_commit(print("now"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    tx.rollback_only = "yes"  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]
    db.transaction_attempts(attempts="3")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    db.transaction_attempts(others="wait")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    for attempt in db.transaction_attempts():
        attempt.fetch_all("select 1")  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    text: str = db.run_transaction(number)  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    print(text)
    db.run_transaction(later)  # type: ignore[arg-type, unused-coroutine] # pyright: ignore[reportArgumentType, reportUnusedCoroutine]


def number(tx: Transaction) -> int:
    return tx.fetch_one("select 1", into=int)


async def later(tx: AsyncTransaction) -> int:
    return await tx.fetch_one("select 1", into=int)


def of_a_pool(pool: Pool, db: Connection) -> None:
    pool.transaction_attempts(others="wait")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    db.transaction_attempts(connection_errors=True)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    pool.run_transaction(later)  # type: ignore[arg-type, unused-coroutine] # pyright: ignore[reportArgumentType, reportUnusedCoroutine]


async def asynchronous(db: AsyncConnection) -> None:
    db.run_transaction(later)  # type: ignore[unused-coroutine] # pyright: ignore[reportUnusedCoroutine]
    with db.transaction():  # type: ignore[attr-defined] # pyright: ignore[reportGeneralTypeIssues]
        pass
    for _ in db.transaction_attempts():  # type: ignore[attr-defined] # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        pass
    wrong: str = await db.run_transaction(later)  # type: ignore[arg-type] # pyright: ignore[reportAssignmentType]
    await db.run_transaction(number)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    print(wrong)
