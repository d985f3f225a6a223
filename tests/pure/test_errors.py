"""pgoxide.errors: the tree, one class per SQLSTATE, fields, the caret, pickling."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from inspect import isclass
from textwrap import dedent

import pytest

from pgoxide import _sqlstate, errors

BRANCHES = (
    errors.DataError,
    errors.OperationalError,
    errors.IntegrityError,
    errors.InternalError,
    errors.ProgrammingError,
    errors.NotSupportedError,
)
CODES = [line.split()[0] for line in _sqlstate.TABLE.splitlines()]
both = pytest.mark.row("E01", face="both")


def server_error(sql: str | None = None, position: int | None = None, **fields: str) -> errors.DatabaseError:
    found = {"S": "ERROR", "V": "ERROR", "C": "42601", "M": "syntax error", **fields}
    if position is not None:
        found["P"] = str(position)
    return errors.from_fields(found, sql, None)


# ---- one class per SQLSTATE


@pytest.mark.row("E01", face="both")
@pytest.mark.parametrize("code", CODES)
def test_every_sqlstate_has_a_class_in_one_branch(code: str) -> None:
    cls = errors.class_for(code)
    assert cls.sqlstate == code
    assert cls is errors.class_for(code)
    assert cls is getattr(errors, cls.__name__)
    assert cls.__module__ == "pgoxide.errors"
    assert code in (cls.__doc__ or "")
    assert [branch for branch in BRANCHES if issubclass(cls, branch)] == [branch_of(code)]
    assert pickle.loads(pickle.dumps(cls)) is cls


def branch_of(code: str) -> type[errors.DatabaseError]:
    table = dict(line.split() for line in _sqlstate.BRANCHES.splitlines())
    return getattr(errors, table[code[:2]])


@pytest.mark.row("E01", face="both")
@pytest.mark.parametrize(
    ("code", "name", "branch"),
    [
        ("23505", "UniqueViolation", errors.IntegrityError),
        ("40001", "SerializationFailure", errors.OperationalError),
        ("42P01", "UndefinedTable", errors.ProgrammingError),
        ("42601", "SyntaxError", errors.ProgrammingError),
        ("0A000", "FeatureNotSupported", errors.NotSupportedError),
        ("22012", "DivisionByZero", errors.DataError),
        ("57014", "QueryCanceled", errors.OperationalError),
        ("26000", "InvalidSqlStatementName", errors.ProgrammingError),
        ("25P02", "InFailedSqlTransaction", errors.InternalError),
        ("P0002", "NoDataFound", errors.ProgrammingError),
        ("P0003", "TooManyRows", errors.ProgrammingError),
        ("XX000", "InternalErrorXX000", errors.InternalError),
        ("22004", "NullValueNotAllowed", errors.DataError),
        ("39004", "NullValueNotAllowed39004", errors.OperationalError),
    ],
)
def test_names(code: str, name: str, branch: type[errors.DatabaseError]) -> None:
    cls = errors.class_for(code)
    assert cls is getattr(errors, name)
    assert issubclass(cls, branch)


@pytest.mark.row("E01", face="both")
def test_unknown_codes_fall_to_the_class_of_their_first_two_characters() -> None:
    assert errors.class_for("23999") is errors.IntegrityConstraintViolation
    assert errors.class_for("10999") is errors.ProgrammingError  # class 10 has no generic condition
    for strange in ("ZZ999", "", "2", "é\0", "23"):
        assert issubclass(errors.class_for(strange), errors.DatabaseError)
    assert errors.class_for("ZZ999") is errors.DatabaseError
    error = server_error(C="23999")
    assert error.sqlstate == "23999"  # the instance keeps what the server said
    assert isinstance(error, errors.IntegrityError)


@both
def test_unknown_codes_take_no_memory() -> None:
    before = len(errors._by_code)
    for number in range(1000):
        errors.class_for(f"Q{number:04}")
    assert len(errors._by_code) == before


@both
def test_a_generic_condition_catches_its_class() -> None:
    with pytest.raises(errors.IntegrityConstraintViolation):
        raise server_error(C="23505")


@both
def test_row_count_errors_and_plpgsql_conditions_are_apart() -> None:
    assert not issubclass(errors.NoRow, errors.NoDataFound)
    assert not issubclass(errors.MultipleRows, errors.TooManyRows)
    assert issubclass(errors.NoRow, errors.UnexpectedRowCount)


@both
def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="NoSuchCondition"):
        errors.NoSuchCondition
    assert "UniqueViolation" in dir(errors)


@both
def test_import_makes_no_class_and_reads_no_table() -> None:
    code = dedent("""
        import sys, pgoxide.errors as e
        assert "pgoxide._sqlstate" not in sys.modules and not e._by_code
        assert "dataclasses" not in sys.modules and "unicodedata" not in sys.modules
        e.UniqueViolation
        assert set(e._by_code) == {"23000", "23505"}, e._by_code
    """)
    subprocess.run([sys.executable, "-S", "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


# ---- the tree


def all_classes(root: type[BaseException]) -> set[type[BaseException]]:
    return {root}.union(*(all_classes(child) for child in root.__subclasses__()))


@pytest.mark.row("E04", face="both")
def test_pep_249_tree() -> None:
    assert issubclass(errors.Warning, Exception)
    assert not issubclass(errors.Warning, errors.Error)
    assert not issubclass(errors.InterfaceError, errors.DatabaseError)
    for branch in BRANCHES:
        assert branch.__bases__ == (errors.DatabaseError,)
    for code in CODES:
        errors.class_for(code)
    roots = {errors.Error, errors.DatabaseError}
    for cls in all_classes(errors.Error) - roots:
        assert sum(issubclass(cls, branch) for branch in (*BRANCHES, errors.InterfaceError)) == 1, cls


@pytest.mark.row("E04", face="both")
def test_all_names_exist_and_are_documented() -> None:
    for name in errors.__all__:
        value = getattr(errors, name)
        assert value.__doc__
        assert not isclass(value) or value.__name__ == name


# ---- fields


FIELDS = {
    "S": "FEHLER",
    "V": "ERROR",
    "C": "23505",
    "M": "duplicate key",
    "D": "Key (id)=(1) already exists.",
    "H": "try another",
    "P": "8",
    "p": "3",
    "q": "select f",
    "W": "PL/pgSQL function f()",
    "s": "public",
    "t": "users",
    "c": "id",
    "d": "int4",
    "n": "users_pkey",
    "F": "nbtinsert.c",
    "L": "666",
    "R": "_bt_check_unique",
    "?": "a field of the future",
}


@pytest.mark.row("E02", face="both")
def test_all_fields() -> None:
    error = errors.from_fields(FIELDS, "insert into users", ["int4"])
    assert type(error) is errors.UniqueViolation
    assert error.message == "duplicate key"
    assert vars(error) == {
        "severity_localized": "FEHLER",
        "severity": "ERROR",
        "sqlstate": "23505",
        "detail": "Key (id)=(1) already exists.",
        "hint": "try another",
        "position": 8,
        "internal_position": 3,
        "internal_query": "select f",
        "context": "PL/pgSQL function f()",
        "schema_name": "public",
        "table_name": "users",
        "column_name": "id",
        "data_type_name": "int4",
        "constraint_name": "users_pkey",
        "file": "nbtinsert.c",
        "line": 666,
        "routine": "_bt_check_unique",
        "statement": "insert into users",
        "parameter_types": ("int4",),
        "parameter_names": None,
    }


@pytest.mark.row("E02", face="both")
def test_absent_and_broken_fields_are_none() -> None:
    error = errors.from_fields({"S": "FATAL", "P": "x", "L": "-1", "p": "²"})
    assert type(error) is errors.DatabaseError
    assert error.message
    assert error.severity == "FATAL"  # from S, as old servers send no V
    for name in (
        "sqlstate",
        "position",
        "internal_position",
        "line",
        "detail",
        "statement",
        "parameter_types",
        "parameter_names",
    ):
        assert getattr(error, name) is None


@pytest.mark.row("E05", face="both")
@pytest.mark.parametrize(
    ("code", "severity", "retryable", "connection"),
    [
        ("40001", "ERROR", True, False),
        ("40P01", "ERROR", True, False),
        ("55P03", "ERROR", False, False),
        ("23505", "ERROR", False, False),
        ("57P01", "FATAL", False, True),
        ("25P03", "FATAL", False, True),
        ("53300", "FATAL", False, True),
        ("08006", "FATAL", False, True),
        ("08001", "ERROR", False, False),  # a foreign server was unreachable; this session lives
        ("08P01", "ERROR", False, False),
        ("28P01", "FATAL", False, False),
        ("57014", "ERROR", False, False),
    ],
)
def test_flags(code: str, severity: str, retryable: bool, connection: bool) -> None:
    error = server_error(C=code, V=severity)
    assert (error.is_retryable, error.is_connection_error) == (retryable, connection)
    assert error.is_fatal == (severity == "FATAL")


@pytest.mark.row("E05", face="both")
def test_an_invalidated_statement_is_worth_another_try() -> None:
    """Whatever the server said of it: it has been forgotten."""
    assert errors.StatementInvalidated("x").is_retryable
    assert not errors.BatchAborted("x").is_retryable
    assert not errors.StatementInvalidated("x").is_connection_error


@pytest.mark.row("E10", face="both")
def test_fatal_tells_that_the_session_is_gone() -> None:
    assert server_error(C="57P01", V="FATAL", S="FATAL").is_fatal
    assert server_error(V="PANIC").is_fatal
    assert not server_error(V="ERROR").is_fatal
    assert not errors.QueryTimeout("x").is_connection_error
    for cls in (errors.ConnectionClosed, errors.ConnectionFailed, errors.ProtocolError):
        assert cls("x").is_connection_error


@pytest.mark.row("E05", face="both")
def test_is_constraint() -> None:
    error = server_error(C="23505", n="users_email_key")
    assert error.is_constraint("users_email_key")
    assert not error.is_constraint("users_pkey")


# ---- text


def shown(sql: str, position: int) -> str:
    lines = str(server_error(sql, position)).splitlines()
    assert lines[0] == "syntax error"
    return "\n".join(lines[1:3])


def caret_at(text: str) -> str:
    """What stands above the caret, for lines of narrow characters."""
    line, caret = text.splitlines()
    return line[caret.index("^") :]


@pytest.mark.row("E03", face="both")
def test_caret_counts_characters() -> None:
    sql = "select 'é€😀' as é form t"
    assert shown(sql, sql.index("form") + 1).splitlines()[0] == "LINE 1: " + sql
    assert caret_at(shown("select 'éé' form t", 13)) == "form t"


@pytest.mark.row("E03", face="both")
def test_caret_under_wide_and_combining_characters() -> None:
    assert shown("select '日本' form", 13) == "LINE 1: select '日本' form\n" + " " * (8 + 14) + "^"
    assert shown("select 'e\u0301' form", 13) == "LINE 1: select 'e\u0301' form\n" + " " * (8 + 11) + "^"


@pytest.mark.row("E03", face="both")
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_caret_in_a_line_of_many(newline: str) -> None:
    sql = newline.join(["select a,", "\tb", "\tform t", "where x"])
    text = shown(sql, sql.index("form") + 1)
    assert text == "LINE 3:  form t\n         ^"


@pytest.mark.row("E03", face="both")
def test_caret_at_both_ends_and_beyond() -> None:
    assert caret_at(shown("x", 1)) == "x"
    assert shown("select", 7) == "LINE 1: select\n              ^"
    assert shown("select\n", 8) == "LINE 2:\n        ^"
    assert shown("select", 999) == shown("select", 7)
    assert shown("", 1) == "LINE 1:\n        ^"


@pytest.mark.row("E03", face="both")
@pytest.mark.parametrize("at", [1, 50, 99, 150, 500, 901, 996])
def test_long_lines_are_windowed(at: int) -> None:
    sql = "x" * (at - 1) + "HERE" + "x" * (1000 - at)
    text = shown(sql, at)
    line, caret = text.splitlines()
    assert len(line) <= len("LINE 1: ") + 100 + 6
    assert len(caret) <= len(line)
    assert caret_at(text).startswith("HERE")


@pytest.mark.row("E03", face="both")
def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in str(server_error("select \x1b[31m form", 14))


@pytest.mark.row("E03", face="both")
def test_whole_text() -> None:
    error = errors.from_fields(
        {"C": "42883", "M": "no such function", "P": "8", "D": "d", "H": "h", "W": "w"},
        "select f($1)",
        ["int4", "text[]"],
    )
    assert str(error) == dedent("""\
        no such function
        LINE 1: select f($1)
                       ^
        PARAMETERS:  $1 int4, $2 text[]
        DETAIL:  d
        HINT:  h
        CONTEXT:  w""")


@pytest.mark.row("E03", face="both")
def test_internal_query() -> None:
    error = errors.from_fields({"M": "m", "q": "select oops", "p": "8"}, "select f()")
    assert str(error) == "m\nLINE 1: select oops\n               ^"


@both
def test_plain_texts() -> None:
    assert str(errors.DatabaseError()) == ""
    assert str(errors.DatabaseError("a")) == "a"
    assert str(errors.DatabaseError("a", 1)) == "('a', 1)"
    assert str(errors.QueryTimeout("after 5 s")) == "after 5 s"


@both
@pytest.mark.parametrize("placeholder", ["%s", "%(id)s", "{}", "{id}"])
def test_hint_for_foreign_placeholders(placeholder: str) -> None:
    sql = f"select '%s {{}}' where id = {placeholder}"
    hint = server_error(sql, sql.index(placeholder, 16) + 1).hint
    assert hint is not None
    assert "$1" in hint
    assert server_error(sql, 8).hint is None
    assert server_error(sql, sql.index(placeholder, 16) + 1, H="the server's own").hint == "the server's own"


# ---- pickling


@pytest.mark.row("E04", face="both")
@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
@pytest.mark.parametrize(
    "error",
    [
        errors.from_fields(FIELDS, "insert into users", ["int4"]),
        errors.from_fields({"C": "ZZ999", "M": "m"}),
        errors.QueryTimeout("after 5 s"),
        errors.NoRow("none"),
        errors.InterfaceError("misuse"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_pickle_and_copy(error: errors.Error, copier) -> None:
    error.add_note("while testing")
    again = copier(error)
    assert type(again) is type(error)
    assert again.args == error.args
    assert vars(again) == vars(error)
    assert again.__notes__[-1] == "while testing"
    assert str(again) == str(error)


def test_errors_pickle_into_another_process() -> None:
    data = pickle.dumps(errors.from_fields(FIELDS))
    code = (
        "import pickle, sys; e = pickle.loads(sys.stdin.buffer.read()); print(type(e).__qualname__, e.line)"
    )
    env = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], input=data, check=True, capture_output=True, env=env)
    assert done.stdout.split() == [b"UniqueViolation", b"666"]


@both
def test_query_timeout_is_a_timeout_error() -> None:
    with pytest.raises(TimeoutError):
        raise errors.QueryTimeout("x")
