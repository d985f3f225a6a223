"""Every error pgoxide raises: the PEP 249 tree, our own branches of it, and one class per SQLSTATE.

    Error
    ├── InterfaceError                 you misused us; nothing was sent
    └── DatabaseError                  everything else; carries what the server said
        ├── DataError                  UnexpectedRowCount (NoRow, MultipleRows), OutdatedType; SQLSTATE 22…
        ├── OperationalError           ConnectionFailed, ConnectionClosed, ProtocolError, QueryTimeout (PoolTimeout), QueueFull,
        │                              PoolFull, BatchAborted, CancelledByNeighbour, StatementInvalidated,
        │                              TransactionOutcomeUnknown, UnexpectedRollback, TransactionNotBegun;
        │                              SQLSTATE 08… 40… 53… 57… 58… and more
        ├── IntegrityError             SQLSTATE 23…
        ├── InternalError              SQLSTATE 24… 25… XX…
        ├── ProgrammingError           SQLSTATE 42… 26… 34…
        └── NotSupportedError          SQLSTATE 0A…

The class of a SQLSTATE is named after PostgreSQL's condition and made when first touched: `pgoxide.errors.UniqueViolation` is
23505. Below a branch stands the generic condition of the SQLSTATE class (23000 `IntegrityConstraintViolation`), so
`except IntegrityConstraintViolation` catches every 23…, codes of servers to come included. Where two conditions share a
name, or one is ours already, the code is appended: `InternalErrorXX000`, `NullValueNotAllowed39004`.

This module imports nothing but the standard library, and that only on demand: importing it costs well under a millisecond.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what typing has, without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgoxide._sqlstate import *  # noqa: F403  the classes made on first access, re-exported for type checkers

__all__ = [
    "BatchAborted",
    "CancelledByNeighbour",
    "ConnectionClosed",
    "ConnectionFailed",
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "MultipleRows",
    "NoRow",
    "NotSupportedError",
    "OperationalError",
    "OutdatedType",
    "PoolFull",
    "PoolTimeout",
    "ProgrammingError",
    "ProtocolError",
    "QueryTimeout",
    "QueueFull",
    "Rollback",
    "StatementInvalidated",
    "TransactionNotBegun",
    "TransactionOutcomeUnknown",
    "UnexpectedRollback",
    "UnexpectedRowCount",
    "Warning",
    "class_for",
    "from_fields",
]


class Warning(Exception):  # noqa: A001  PEP 249 prescribes the name
    """A warning in the sense of PEP 249. pgoxide hands notices to callbacks and never raises this."""


class Error(Exception):
    """Base of every error pgoxide raises."""


class Rollback(Exception):
    """Raise it inside a transaction block to undo the block and leave it quietly: no error comes out.

    transaction: the block to leave; without one the innermost. An outer one takes all blocks between with it.

    >>> import pgoxide
    >>> async def example(db: pgoxide.AsyncConnection) -> None:
    ...     async with db.transaction() as tx:
    ...         if await tx.fetch_value("update seats set taken = true where id = 1 returning broken"):
    ...             raise pgoxide.Rollback
    """

    def __init__(self, transaction: object | None = None) -> None:
        super().__init__()
        self.transaction = transaction


class InterfaceError(Error):
    """The driver was misused: wrong arguments, wrong moment, wrong task. Nothing was sent and the connection is unharmed."""


class DatabaseError(Error):
    """The database, or the way to it, said no.

    All attributes are None when the error carries no such thing; an error made by the driver carries few of them.
    `str(error)` gives the message, the line of SQL with a caret under the position, the parameter types, DETAIL, HINT
    and CONTEXT. It never shows a parameter's value, but DETAIL is the server's text and may quote one.

    Pickling and copying keep the class, every attribute and PEP 678 notes; `__cause__` is lost, as with any exception.
    """

    sqlstate: str | None = None
    """Five characters, the `C` field. On the class: the code the class stands for."""
    severity: str | None = None
    """ERROR, FATAL or PANIC, never localised."""
    severity_localized: str | None = None
    """The same in the language of the server's `lc_messages`."""
    detail: str | None = None
    hint: str | None = None
    """The server's hint; when it sent none, ours if we know the usual cause."""
    position: int | None = None
    """Where in `statement`, in characters (not bytes), counted from 1."""
    internal_position: int | None = None
    """The same for `internal_query`."""
    internal_query: str | None = None
    """The statement inside a function that failed."""
    context: str | None = None
    """The call stack in the server, innermost first (the `W` field, "where")."""
    schema_name: str | None = None
    table_name: str | None = None
    column_name: str | None = None
    data_type_name: str | None = None
    constraint_name: str | None = None
    file: str | None = None
    """Source file of the server that raised, with `line` and `routine`."""
    line: int | None = None
    routine: str | None = None
    statement: str | None = None
    """The SQL text that failed."""
    parameter_types: tuple[str, ...] | None = None
    """Names of the PostgreSQL types of `$1, $2 …`; the values are not kept."""
    parameter_names: tuple[str, ...] | None = None
    """What `$1, $2 …` are called in `statement`, where they were given by name."""

    _breaks_connection = False

    @property
    def message(self) -> str:
        """The primary message alone, one line."""
        return str(self.args[0]) if self.args else ""

    @property
    def is_retryable(self) -> bool:
        """True if the same transaction, run again as a whole, may well succeed: 40001, 40P01, and `StatementInvalidated`.

        55P03 (lock not available) is not among them: NOWAIT and `lock_timeout` say that the caller does not want to wait.
        Connection errors are not either, since the first try may have taken effect; see `is_connection_error`.
        """
        return self.sqlstate in {"40001", "40P01"}

    @property
    def is_connection_error(self) -> bool:
        """True if the link or the server went away, or could not be reached, for reasons outside the statement.

        A class 08 error of severity ERROR is none: the session lives (a foreign server may have been unreachable).
        A refused login (28…) is none: trying again does not help.
        """
        if self._breaks_connection:
            return True
        code = self.sqlstate or ""
        lost = code[:2] == "08" or code[:4] == "57P0" or code in {"25P03", "25P04", "53300"}
        return lost and (self.severity is None or self.is_fatal)

    @property
    def is_fatal(self) -> bool:
        """True if the server ended the session with this error (severity FATAL or PANIC): the connection is closed."""
        return self.severity in {"FATAL", "PANIC"}

    def is_constraint(self, name: str) -> bool:
        """True if the violated constraint has this name: `except IntegrityError as e: if e.is_constraint("users_email_key")`."""
        return self.constraint_name == name

    def __str__(self) -> str:
        if len(self.args) != 1:
            return super().__str__()
        parts = [str(self.args[0])]
        if self.statement is not None and self.position is not None:
            parts += _excerpt(self.statement, self.position)
        elif self.internal_query is not None and self.internal_position is not None:
            parts += _excerpt(self.internal_query, self.internal_position)
        if (parameters := self._parameters()) and self.statement is not None:
            parts.append(f"PARAMETERS:  {', '.join(parameters)}")
        labelled = (("DETAIL", self.detail), ("HINT", self.hint), ("CONTEXT", self.context))
        parts += [f"{label}:  {text}" for label, text in labelled if text]
        return "\n".join(parts)

    def _parameters(self) -> list[str]:
        """Each parameter with its type, as far as they are known. The server counts them, so names have their numbers too."""
        names = [f":{name} (${number})" for number, name in enumerate(self.parameter_names or (), 1)]
        if not self.parameter_types:
            return names
        if len(names) != len(self.parameter_types):
            names = [f"${number}" for number, _ in enumerate(self.parameter_types, 1)]
        return [f"{name} {kind}" for name, kind in zip(names, self.parameter_types, strict=True)]


class DataError(DatabaseError):
    """A value does not fit: SQLSTATE 22…, or a value that Python or PostgreSQL cannot hold exactly."""


class OperationalError(DatabaseError):
    """Something outside the statement: connection, resources, cancelling, serialization. SQLSTATE 08, 40, 53, 57, 58 and more."""


class IntegrityError(DatabaseError):
    """A constraint was violated: SQLSTATE 23…"""


class InternalError(DatabaseError):
    """The server reports an inner problem, or the transaction is in the wrong state: SQLSTATE 24, 25, XX and more."""


class ProgrammingError(DatabaseError):
    """The statement is wrong: syntax, names, types, privileges. SQLSTATE 42, 26, 34 and more."""


class NotSupportedError(DatabaseError):
    """The server does not offer this: SQLSTATE 0A…"""


class ConnectionFailed(OperationalError):
    """No connection could be made. The message lists every host tried with its cause; `__cause__` is the last one."""

    _breaks_connection = True


class ConnectionClosed(OperationalError):
    """The connection is closed, or was lost while this request was under way. `__cause__` says why, where it is known."""

    _breaks_connection = True


class ProtocolError(OperationalError):
    """The peer broke the rules of the protocol, so nothing it says can be trusted: the connection was closed."""

    _breaks_connection = True


class UnexpectedRowCount(DataError):
    """A verb asked for a number of rows and got another. The statement ran to its end; its effects stay."""


class OutdatedType(DataError):
    """A value came in another form than its type had when it was looked up: the type was altered since (`alter type … add
    attribute`, `alter table … add column`). What was known about types is forgotten, so the same call made again reads it.
    """


class NoRow(UnexpectedRowCount):
    """`fetch_one` or `fetch_value` got no row. (PL/pgSQL's P0002 is `NoDataFound`, another thing.)"""


class MultipleRows(UnexpectedRowCount):
    """`fetch_one`, `fetch_optional` or `fetch_value` got more than one row. (PL/pgSQL's P0003 is `TooManyRows`, another thing.)"""


class CancelledByNeighbour(OperationalError):
    """A cancel meant for another request on this connection hit this one, and it cannot safely be sent again.

    SELECT, INSERT, UPDATE, DELETE, MERGE and VALUES outside a transaction are sent again by themselves, unless they were hit
    a second time, or something else (BEGIN, SET, CALL, a batch with one of them) had been written behind them, which they must not follow.
    What raises it has not happened, but for statements that commit on their own (CALL, VACUUM). Calls with `isolate=True`
    never raise it.
    """


class StatementInvalidated(OperationalError):
    """A prepared statement is no longer what it was: its columns have changed, or the server has dropped it. Nothing of it ran.

    Outside a transaction the driver prepares it anew and runs it again by itself. This is raised where that cannot be: inside a
    transaction, which has failed with it, in a batch behind a statement whose effects may not have been undone, with another
    kind of statement (BEGIN, SET, CALL) in flight behind it, or when it was lost a second time. Roll back, to a savepoint if
    there is one, and run it again: it has been forgotten, so its next use prepares it anew, and `transaction_attempts()` does so
    by itself. `__cause__` is the server's error.
    """

    @property
    def is_retryable(self) -> bool:
        """True: the statement has been forgotten, so the same transaction, run again as a whole, prepares it anew."""
        return True


class QueueFull(OperationalError):
    """More bytes wait to be sent on this connection than `max_queued_hard` allows. Nothing of this request was sent."""


class QueryTimeout(OperationalError, TimeoutError):
    """The call's `timeout` ran out; also a `TimeoutError`. The server was asked to cancel, and the connection stays usable."""


class PoolTimeout(QueryTimeout):
    """No connection of the pool became free within `acquire_timeout`, or within the call's own `timeout`.

    Nothing was sent. The message tells how the pool stood, and why connections could not be opened, if they could not; that
    error is the `__cause__`.
    """


class PoolFull(OperationalError):
    """As many wait for a connection of the pool as its `max_waiting` allows. Nothing was sent."""


class TransactionOutcomeUnknown(OperationalError):
    """The connection was lost while COMMIT was under way: the transaction may or may not have been committed."""

    _breaks_connection = True


class UnexpectedRollback(OperationalError):
    """COMMIT was answered by ROLLBACK: a statement of the transaction had failed, and its error was kept from leaving the block.

    Nothing of the transaction was committed; the connection is idle. Of a nested block: only what it did was undone, and the
    transaction goes on.
    """


class TransactionNotBegun(OperationalError):
    """The statement was sent behind a BEGIN that failed: it has not run. The call that brought BEGIN raises why."""


class BatchAborted(OperationalError):
    """This statement of a batch did not run, because one before it failed; `__cause__` is that error."""


_FIELDS = {
    "S": "severity_localized",
    "V": "severity",
    "C": "sqlstate",
    "D": "detail",
    "H": "hint",
    "P": "position",
    "p": "internal_position",
    "q": "internal_query",
    "W": "context",
    "s": "schema_name",
    "t": "table_name",
    "c": "column_name",
    "d": "data_type_name",
    "n": "constraint_name",
    "F": "file",
    "L": "line",
    "R": "routine",
}
_NUMBERS = frozenset("PpL")


def from_fields(
    fields: Mapping[str, str],
    statement: str | None = None,
    parameter_types: Sequence[str] | None = None,
    parameter_names: Sequence[str] | None = None,
) -> DatabaseError:
    """The error for an ErrorResponse.

    `fields` is keyed by the protocol's one-letter codes (Error and Notice Message Fields); unknown ones are ignored.
    """
    error = class_for(fields.get("C", ""))(fields.get("M", "the server sent an error without a message"))
    for code, name in _FIELDS.items():
        text = fields.get(code)
        if text is None:
            continue
        if code not in _NUMBERS:
            setattr(error, name, text)
        elif text.isascii() and text.isdigit():
            setattr(error, name, int(text))
    if error.severity is None:  # servers before 9.6 and some look-alikes send no V
        error.severity = error.severity_localized
    error.statement = statement
    error.parameter_types = None if parameter_types is None else tuple(parameter_types)
    error.parameter_names = None if parameter_names is None else tuple(parameter_names)
    if error.hint is None:
        error.hint = _own_hint(error)
    return error


def _own_hint(error: DatabaseError) -> str | None:
    """The usual cause of an error for which the server has no hint."""
    code = error.sqlstate
    if code in {"42601", "42703", "42883"} and error.statement is not None and error.position is not None:
        hint = _placeholder_hint(error.statement, error.position - 1)
        if hint is not None:
            return hint
    if code == "42P02" and (error.statement or "").startswith("copy "):
        return "COPY takes no parameters; stream() reads a query that has some."
    if code == "42P02":
        return "Pass one argument after the SQL text for each of $1, $2 …"
    if code == "42P18":
        return "Say the parameter's type in the SQL text, for example $1::int4."
    if code == "34000":
        return "A cursor or portal lives until the end of its transaction, or of the savepoint it was opened behind."
    if code == "25P02":
        return "An earlier statement of this transaction failed; roll back, or put what may fail into a nested transaction()."
    if code == "08P01" and "extended query protocol" in error.message.lower():
        return "This peer (PgBouncer's console?) speaks the simple protocol only: use execute_script()."
    if code in {"26000", "42P05"} and error.statement is not None:
        return (
            "The server session knows other prepared statements than this connection: after DISCARD ALL or DEALLOCATE, or behind a "
            "pooler in transaction mode, which changes sessions between statements (use its session mode)."
        )
    return None


_OPTIONS = frozenset({"into", "timeout", "types", "isolate", "params", "commit", "batch", "codecs"})
"""What verbs call their options. Source: `named.rs`."""


def _placeholder_hint(sql: str, at: int) -> str | None:
    """What to write instead of the placeholders of others, if one stands where the server stopped; and how to give `:name` a value."""
    import re

    # `=%s` is the operator `=%` to the server, which then stops at the operator, or at the `s` behind it.
    begun = re.search(r"%(\(\w*\))?$", sql[:at])
    if re.compile(r"[-+*/<>=~!@#^&|`?]*%(s\b|\()|\{").match(sql, begun.start() if begun else at):
        return "pgoxide uses $1, $2 … as placeholders, with the values as further arguments, or :name with values by name."
    named = re.compile(r":([^\W\d]\w*)").match(sql, at)
    if named is None:
        return None
    name = named[1]
    given = f"params={{'{name}': …}}" if name in _OPTIONS else f"{name}=… or params={{'{name}': …}}"
    return f":{name} is a placeholder when values are given by name: {given}"


# ---- one class per SQLSTATE, made when first asked for

_by_code: dict[str, type[DatabaseError]] = {}
_code_by_name: dict[str, str] = {}
_rows: dict[str, tuple[str, str]] = {}  # SQLSTATE -> condition name, class name
_branches: dict[str, type[DatabaseError]] = {}


def _load() -> None:
    """Read the generated table: 0.2 ms, paid by the first server error or the first `errors.SomeCondition`."""
    from pgoxide import _sqlstate

    for line in _sqlstate.BRANCHES.splitlines():
        code, _, branch = line.partition(" ")
        _branches[code] = globals()[branch]
    for line in _sqlstate.TABLE.splitlines():
        code, condition, *taken = line.split(" ")
        name = taken[0] if taken else "".join(part.capitalize() for part in condition.split("_"))
        _code_by_name[name] = code
        _rows[code] = condition, name


def class_for(sqlstate: str) -> type[DatabaseError]:
    """The class for a SQLSTATE.

    An unknown code gives its SQLSTATE class ("23999" the class of 23000), or else the PEP 249 branch; one of an unknown
    SQLSTATE class ("ZZ999") gives `DatabaseError`.
    """
    known = _by_code.get(sqlstate)
    if known is not None:
        return known
    if not _rows:
        _load()
    generic = sqlstate[:2] + "000"
    row = _rows.get(sqlstate)
    if row is None:  # not remembered: what a peer sends must not fill our memory
        return class_for(generic) if generic in _rows else _branches.get(sqlstate[:2], DatabaseError)
    condition, name = row
    parent = class_for(generic) if generic in _rows and generic != sqlstate else _branches[sqlstate[:2]]
    body = {"__module__": __name__, "__doc__": f"SQLSTATE {sqlstate}, {condition}.", "sqlstate": sqlstate}
    # setdefault: of two threads that come here together, both get the class of the first.
    made = _by_code.setdefault(sqlstate, type(name, (parent,), body))
    globals()[name] = made
    return made


if not TYPE_CHECKING:  # checkers read the names from _sqlstate.pyi, and so notice misspelt ones

    def __getattr__(name: str) -> type[DatabaseError]:
        if not name.startswith("_"):
            if not _rows:
                _load()
            code = _code_by_name.get(name)
            if code is not None:
                return class_for(code)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    if not _rows:
        _load()
    return sorted({*globals(), *_code_by_name})


# ---- the line of SQL with a caret under the position

_WIDTH = 100  # columns of SQL shown of a long line; psql shows 60, and terminals have grown


def _excerpt(sql: str, position: int) -> list[str]:
    """`LINE n: …` and the caret below it. `position` counts characters from 1; one past the end is "at end of input"."""
    offset = min(max(position, 1) - 1, len(sql))
    before = sql[:offset].replace("\r\n", "\n").replace("\r", "\n")
    number = before.count("\n") + 1
    start = len(before) - (before.rfind("\n") + 1)  # characters of the line before the caret
    rest = sql[offset:].replace("\r", "\n").partition("\n")[0]
    # Tabs and other control characters become one space each: the caret stays in place, and the terminal stays sane.
    line = "".join(
        char if char.isprintable() else " " for char in (before[len(before) - start :] + rest).rstrip("\n")
    )

    first = max(0, min(start - _WIDTH * 3 // 4, len(line) - _WIDTH)) if len(line) > _WIDTH else 0
    last = min(len(line), first + _WIDTH)
    head = f"LINE {number}: " + ("..." if first else "")
    shown = head + line[first:last] + ("..." if last < len(line) else "")
    return [shown.rstrip(), " " * (len(head) + _columns(line[first:start])) + "^"]


def _columns(text: str) -> int:
    """How many terminal columns a text takes: East Asian wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)
