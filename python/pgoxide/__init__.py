"""pgoxide: a PostgreSQL driver for Python on a Rust core.

The paved path; everything else is imported from its room (`pgoxide.errors`, `pgoxide.types`, `pgoxide.embedded`, …).

- `AsyncConnection`, `Connection`: one session with a server, asynchronous and blocking
- `AsyncPool`, `Pool`: connections shared by many tasks or threads
- `AsyncTransaction`, `Transaction`: what `transaction()` gives, for annotations; `Rollback`: leaves its block undone
- `Statement`, `Row`, `CommandTag`: what goes in and what comes out
- `AsyncPreparedStatement`, `PreparedStatement`: a statement that is held
- `ConnectConfig`: where to connect
- `TypeRegistry`: what several connections know together of types that are not built in
- `AsyncCancelToken`, `CancelToken`: cancel what a session runs, from anywhere

Names are imported when they are first used: `import pgoxide` alone loads neither asyncio nor ssl.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pgoxide._core import CommandTag, TypeRegistry
    from pgoxide.config import ConnectConfig
    from pgoxide.driver._async.cancel import AsyncCancelToken
    from pgoxide.driver._async.connection import AsyncConnection
    from pgoxide.driver._async.pool import AsyncPool
    from pgoxide.driver._async.prepared_statement import AsyncPreparedStatement
    from pgoxide.driver._async.transaction import AsyncTransaction
    from pgoxide.driver._sync.cancel import CancelToken
    from pgoxide.driver._sync.connection import Connection
    from pgoxide.driver._sync.pool import Pool
    from pgoxide.driver._sync.prepared_statement import PreparedStatement
    from pgoxide.driver._sync.transaction import Transaction
    from pgoxide.errors import Rollback
    from pgoxide.statement import Statement
    from pgoxide.types import Row

__all__ = [
    "AsyncCancelToken",
    "AsyncConnection",
    "AsyncPool",
    "AsyncPreparedStatement",
    "AsyncTransaction",
    "CancelToken",
    "CommandTag",
    "ConnectConfig",
    "Connection",
    "Pool",
    "PreparedStatement",
    "Rollback",
    "Row",
    "Statement",
    "Transaction",
    "TypeRegistry",
]

_HOMES = {
    "AsyncCancelToken": "pgoxide.driver._async.cancel",
    "AsyncConnection": "pgoxide.driver._async.connection",
    "AsyncPool": "pgoxide.driver._async.pool",
    "AsyncPreparedStatement": "pgoxide.driver._async.prepared_statement",
    "CancelToken": "pgoxide.driver._sync.cancel",
    "CommandTag": "pgoxide._core",
    "ConnectConfig": "pgoxide.config",
    "Connection": "pgoxide.driver._sync.connection",
    "Pool": "pgoxide.driver._sync.pool",
    "PreparedStatement": "pgoxide.driver._sync.prepared_statement",
    "AsyncTransaction": "pgoxide.driver._async.transaction",
    "Rollback": "pgoxide.errors",
    "Transaction": "pgoxide.driver._sync.transaction",
    "Row": "pgoxide.types",
    "Statement": "pgoxide.statement",
    "TypeRegistry": "pgoxide._core",
}
_ROOMS = {"config", "embedded", "errors", "statement", "types"}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _HOMES:
        value: object = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return import_module(f"pgoxide.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
