"""What other drivers call what ours have: named in the AttributeError, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["explain_peers_names", "own_names"]

T = TypeVar("T")
Kind: TypeAlias = Literal["connection", "pool", "transaction", "statement", "batch"]

_VERBS = {
    "fetch": "fetch_all",
    "fetchall": "fetch_all",
    "fetchrow": "fetch_optional or fetch_one",
    "fetchone": "fetch_optional or fetch_one",
    "fetchval": "fetch_value",
    "fetchmany": "stream",
    "executemany": "execute_many",
    "query": "fetch_all",
    "query_one": "fetch_one",
    "query_opt": "fetch_optional",
    "query_row": "fetch_optional or fetch_one",
    "select": "fetch_all",
    "one": "fetch_one",
    "first": "fetch_first",
    "scalar": "fetch_value",
    "scalars": "fetch_column",
    "cursor": "the verbs themselves (fetch_all, stream, …)",
}

_TABLES = {
    "pipeline": "batch, or plain concurrent calls: they are pipelined",
    "copy": "copy_in or copy_out",
    "copy_records_to_table": "copy_in",
    "copy_to_table": "copy_in",
    "copy_from_table": "copy_out",
    "copy_from_query": "copy_out(query=…)",
    "begin": "transaction(), a block",
    "begin_nested": "transaction() inside a transaction, a block",
    "start_transaction": "transaction(), a block",
    "savepoint": "transaction() inside a transaction, a block",
}

_HINTS: dict[str, dict[str, str]] = {
    "connection": _VERBS
    | _TABLES
    | {
        "commit": "nothing: each statement commits by itself; a transaction is a block, transaction()",
        "rollback": "nothing: each statement commits by itself; a transaction is a block, transaction()",
        "autocommit": "nothing: it is the only mode; a transaction is a block, transaction()",
        "isolation_level": "transaction(isolation=…)",
        "add_listener": "add_notification_listener",
        "add_log_listener": "add_notice_listener",
        "add_notice_handler": "add_notice_listener",
        "add_notify_handler": "add_notification_listener",
        "add_termination_listener": "add_close_listener",
        "terminate": "abort",
        "is_closed": "closed",
        "is_in_transaction": "transaction_status",
        "get_transaction_status": "transaction_status",
        "get_server_pid": "backend_pid",
        "get_backend_pid": "backend_pid",
        "get_server_version": "server_version",
        "get_settings": "parameter",
        "get_parameter_status": "parameter",
        "info": "config, server_version, backend_pid, transaction_status, parameter",
    },
    "pool": _VERBS
    | _TABLES
    | {
        "begin": "transaction, a block",
        "begin_nested": "transaction, and transaction() of that inside it, a block",
        "start_transaction": "transaction, a block",
        "savepoint": "transaction, and transaction() of that inside it, a block",
        "copy_from_table": "acquire, then copy_out",
        "copy_from_query": "acquire, then copy_out(query=…)",
        "connection": "acquire",
        "getconn": "acquire",
        "get_connection": "acquire",
        "putconn": "release, or leaving the block of acquire()",
        "get_size": "stats().size",
        "get_idle_size": "stats().idle",
        "get_min_size": "stats().min_size",
        "get_max_size": "stats().max_size",
        "get_stats": "stats",
        "expire_connections": "expire",
        "terminate": "close(0)",
        "closeall": "close",
        "is_closing": "repr(pool), or the InterfaceError of a call",
    },
    "transaction": _VERBS
    | _TABLES
    | {
        "start": "nothing: a transaction begins with its block, and BEGIN travels with the first statement",
        "commit": "nothing: leaving the block commits; the last statement may bring it, commit=True",
        "rollback": "rollback_only = True, or raise pgoxide.Rollback: leaving the block then undoes it",
        "is_active": "the block: inside it the transaction is open",
    },
    "statement": _VERBS
    | {
        "get_query": "sql",
        "get_name": "name",
        "get_parameters": "parameters, parameter_types",
        "get_attributes": "columns",
        "explain": "fetch_column of the connection, of “explain …”",
    },
    "batch": _VERBS
    | {
        "fetchmany": "fetch_all: a batch holds whole results",
        "executemany": "execute, once for each parameter set; or execute_many of the connection",
        "cursor": "the verbs themselves (fetch_all, execute, …)",
        "sync": "nothing: the batch is sent when its block ends",
        "send": "nothing: the batch is sent when its block ends",
        "queue": "the verbs themselves (execute, fetch_all, …)",
    },
}

_ALL = frozenset(name for table in _HINTS.values() for name in table)


class _Absent:
    """An attribute that does not exist, and says what ours is called.

    Not `__getattr__`: a class that has one loses CPython's specialised method calls, a tenth of a small query's time.
    """

    __slots__ = ("_hint", "_name")

    def __init__(self, name: str, hint: str) -> None:
        self._name, self._hint = name, hint

    def __get__(self, owner: object, kind: type) -> NoReturn:
        what = f"type object {kind.__name__!r}" if owner is None else f"{kind.__name__!r} object"
        message = f"{what} has no attribute {self._name!r}; in pgoxide: {self._hint}"
        raise AttributeError(message, name=self._name, obj=kind if owner is None else owner)


def explain_peers_names(like: Kind) -> Callable[[type[T]], type[T]]:
    """Class decorator: looking up a peer's name raises AttributeError with ours in it. `hasattr` says False."""

    def decorate(kind: type[T]) -> type[T]:
        for name, hint in _HINTS[like].items():
            if not hasattr(kind, name):  # what we have is never hidden
                setattr(kind, name, _Absent(name, hint))
        return kind

    return decorate


def own_names(names: Iterable[str]) -> list[str]:
    """For `__dir__`: without the names that only explain themselves."""
    return sorted(name for name in names if name not in _ALL)
