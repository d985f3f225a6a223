"""Errors as real servers raise them; the tree and its texts by themselves are in tests/pure/test_errors.py."""

from __future__ import annotations

import pickle
import time

import pytest

import pgoxide
from pgoxide import errors
from pgoxide.config import ConnectConfig

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]


async def failing(db, sql, *arguments):
    """The error a statement ends with."""
    with pytest.raises(errors.DatabaseError) as caught:
        await db.fetch_all(sql, *arguments)
    return caught.value


# ---- E01 and E04, classes

RAISE = "do $$ begin raise exception 'mine' using errcode = '{}'; end $$"


@pytest.mark.row("E01", "E04")
@pytest.mark.parametrize(
    ("code", "cls", "branch"),
    [
        ("23505", "UniqueViolation", errors.IntegrityError),
        ("23999", "IntegrityConstraintViolation", errors.IntegrityError),
        ("40001", "SerializationFailure", errors.OperationalError),
        ("22012", "DivisionByZero", errors.DataError),
        ("0A000", "FeatureNotSupported", errors.NotSupportedError),
        ("42P01", "UndefinedTable", errors.ProgrammingError),
        ("XX000", "InternalErrorXX000", errors.InternalError),
        ("P0001", "RaiseException", errors.ProgrammingError),
        ("ZZ999", "DatabaseError", errors.DatabaseError),
    ],
)
async def test_the_class_of_a_code(db, code, cls, branch):
    error = await failing(db, RAISE.format(code))
    assert type(error) is getattr(errors, cls)
    assert isinstance(error, branch)
    assert error.sqlstate == code
    assert error.message == "mine"
    assert db.transaction_status == "idle"


@pytest.mark.row("E01")
async def test_every_code_of_the_list_arrives_as_its_class(db):
    from pgoxide import _sqlstate

    codes = [line.split()[0] for line in _sqlstate.TABLE.splitlines()]
    codes = [
        code for code in codes if code[:2] not in {"00", "01", "02"}
    ]  # no error: RAISE takes them, clients do not
    assert len(codes) > 200
    for code in codes:
        assert type(await failing(db, RAISE.format(code))) is errors.class_for(code), code


# ---- E02, fields

TABLE = """
create temp table parent (id int primary key);
create temp table t (
  id int primary key, n int not null, email text constraint t_email_key unique,
  age int constraint t_age_check check (age >= 0), up int references parent
)
"""


@pytest.mark.row("E02", "E05")
@pytest.mark.parametrize(
    ("values", "cls", "constraint", "column", "detail"),
    [
        ("(1, 1, 'b', 1, null)", "UniqueViolation", "t_pkey", None, "Key (id)=(1) already exists."),
        ("(2, 1, 'a', 1, null)", "UniqueViolation", "t_email_key", None, "Key (email)=(a) already exists."),
        (
            "(2, 1, 'b', -1, null)",
            "CheckViolation",
            "t_age_check",
            None,
            "Failing row contains (2, 1, b, -1, null).",
        ),
        (
            "(2, null, 'b', 1, null)",
            "NotNullViolation",
            None,
            "n",
            "Failing row contains (2, null, b, 1, null).",
        ),
        (
            "(2, 1, 'b', 1, 9)",
            "ForeignKeyViolation",
            "t_up_fkey",
            None,
            'Key (up)=(9) is not present in table "parent".',
        ),
    ],
)
async def test_constraint_violations_carry_all_fields(db, values, cls, constraint, column, detail):
    await db.execute_script(TABLE + "; insert into t values (1, 1, 'a', 1, null)")
    schema = await db.fetch_value("select nspname::text from pg_namespace where oid = pg_my_temp_schema()")
    for _ in range(2):
        error = await failing(db, f"insert into t values {values}")
        assert type(error) is getattr(errors, cls)
        assert (error.constraint_name, error.column_name, error.detail) == (constraint, column, detail)
        assert (error.schema_name, error.table_name, error.data_type_name) == (schema, "t", None)
        assert (error.severity, error.severity_localized) == ("ERROR", "ERROR")
        assert error.file.endswith(".c")
        assert error.line > 0
        assert error.routine
        assert error.statement == f"insert into t values {values}"
        assert error.is_constraint(constraint) if constraint else not error.is_constraint("t_pkey")
        assert f"DETAIL:  {detail}" in str(error)


@pytest.mark.row("E02")
async def test_fields_of_an_error_inside_a_function(db):
    await db.execute(
        "create function pg_temp.f() returns int language plpgsql as $$ begin execute 'select é from nowhere'; return 1; end $$"
    )
    error = await failing(db, "select pg_temp.f()")
    assert error.internal_query == "select é from nowhere"
    assert error.internal_position == 15
    assert error.position is None
    assert "PL/pgSQL function" in error.context
    assert "CONTEXT:" in str(error)
    assert "LINE 1: select é from nowhere\n" + " " * (len("LINE 1: ") + 14) + "^" in str(error)


@pytest.mark.row("E02")
async def test_fields_chosen_by_raise(db):
    error = await failing(
        db,
        "do $$ begin raise exception 'm' using detail = 'd', hint = 'h', column = 'c', constraint = 'k', datatype = 't', "
        "table = 'b', schema = 's'; end $$",
    )
    found = (error.message, error.detail, error.hint, error.column_name, error.constraint_name)
    assert found == ("m", "d", "h", "c", "k")
    assert (error.data_type_name, error.table_name, error.schema_name) == ("t", "b", "s")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert vars(back) == vars(error)


# ---- E03, the statement with a caret


@pytest.mark.row("E03")
@pytest.mark.parametrize(
    ("sql", "line", "before"),
    [
        ("select 'é', selec", "LINE 1: select 'é', selec", "select 'é', "),
        ("select 1,\n  'éé' || 名 from", "LINE 2:   'éé' || 名 from", None),
        ("selec 1", "LINE 1: selec 1", ""),
        ("select 'é' frm t whre x", "LINE 1: select 'é' frm t whre x", "select 'é' frm "),
        ("select '😀😀', nope", "LINE 1: select '😀😀', nope", None),
    ],
)
async def test_the_caret_counts_characters(db, sql, line, before):
    for _ in range(2):
        error = await failing(db, sql)
        assert error.statement == sql
        lines = str(error).splitlines()
        at = lines.index(line)
        caret = lines[at + 1]
        assert caret.strip() == "^"
        if before is not None:
            assert caret.index("^") == len("LINE 1: ") + len(before)
        assert error.position == len(sql[: error.position - 1]) + 1


@pytest.mark.row("E03")
@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("select 'é', nope", "nope"),
        ("select '😀😀', nope", "nope"),
        ("select 'é' where $1 = nope", "nope"),
        ("/* é\né */ select 'é' from nowhere", "nowhere"),
    ],
)
async def test_the_position_is_that_of_the_word(db, sql, word):
    arguments = (1,) if "$1" in sql else ()
    for verb in (
        ("fetch_all", "execute", "fetch_value") if arguments else ("fetch_all", "execute", "execute_script")
    ):
        with pytest.raises(errors.ProgrammingError) as caught:
            await getattr(db, verb)(sql, *arguments)
        assert caught.value.position == sql.index(word) + 1


@pytest.mark.row("E03")
async def test_parameter_types_are_told_and_values_are_not(db):
    for _ in range(2):
        error = await failing(db, "select $1::int / $2::int8, $3::text", 712345, 0, "secret")
        assert error.parameter_types == ("int4", "int8", "text")
        assert "PARAMETERS:  $1 int4, $2 int8, $3 text" in str(error)
        assert "712345" not in str(error)
        assert "secret" not in str(error) + repr(error)


@pytest.mark.row("E03")
@pytest.mark.parametrize("sql", ["select %s", "select {}", "select %(name)s"])
async def test_other_drivers_placeholders_get_a_hint(db, sql):
    error = await failing(db, sql)
    assert "$1, $2" in error.hint
    assert "HINT:" in str(error)


@pytest.mark.row("E03")
async def test_errors_of_a_batch_name_their_statement(db):
    with pytest.raises(errors.UndefinedColumn) as caught:
        async with db.batch() as batch:
            batch.execute("select 1")
            batch.execute("select nope")
    assert caught.value.statement == "select nope"


@pytest.mark.row("E03")
async def test_errors_of_fed_statements_name_their_statement(db):
    await db.execute("create temp table fed (n int4 primary key)")
    sql = "insert into fed values ($1)"
    for _ in range(2):
        with pytest.raises(errors.UniqueViolation) as caught:
            await db.execute_many(sql, [(1,), (1,)])
        assert caught.value.statement == sql
        assert caught.value.parameter_types == ("int4",)
        with pytest.raises(errors.UniqueViolation) as caught:
            await db.copy_in("fed", [(1,), (1,)])
        assert caught.value.statement.lower().startswith("copy ")
        assert '"fed"' in caught.value.statement


# ---- E05, flags


@pytest.mark.row("E05")
@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        ("40001", True),
        ("40P01", True),
        ("55P03", False),
        ("23505", False),
        ("57014", False),
        ("08006", False),
    ],
)
async def test_retryable(db, code, retryable):
    error = await failing(db, RAISE.format(code))
    assert error.is_retryable is retryable
    assert error.is_connection_error is False  # of severity ERROR: the session lives
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("E05")
async def test_a_serialization_failure(connect):
    one, two = await connect(), await connect()
    await one.execute_script("drop table if exists e05; create table e05 (n int); insert into e05 values (1)")
    try:
        for db in (one, two):
            await db.execute("begin isolation level repeatable read")
            await db.fetch_all("select * from e05")
        await one.execute("update e05 set n = 2")
        await one.execute("commit")
        error = await failing(two, "update e05 set n = 3")
        assert type(error) is errors.SerializationFailure
        assert error.is_retryable
        await two.execute("rollback")
    finally:
        await one.execute("drop table e05")


# ---- E08, causes


@pytest.mark.row("E08")
async def test_an_operating_system_error_is_kept(connect, runner, face, tmp_path):
    if face == "async":
        with pytest.raises(errors.ConnectionFailed) as caught:
            await pgoxide.AsyncConnection.connect(host=str(tmp_path), user="x")
    else:
        with pytest.raises(errors.ConnectionFailed) as caught:
            pgoxide.Connection.connect(host=str(tmp_path), user="x")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.is_connection_error


@pytest.mark.row("E08")
async def test_the_server_refuses_the_login(connect):
    for options, cls in (
        ({"database": "not_there"}, errors.InvalidCatalogName),
        ({"user": "nobody_here"}, errors.DatabaseError),
        ({"parameters": {"not_a_setting": "1"}}, errors.UndefinedObject),
        ({"parameters": {"work_mem": "much"}}, errors.InvalidParameterValue),
    ):
        with pytest.raises(cls) as caught:
            await connect(**options)
        assert caught.value.is_fatal


class Raising:
    """Its `__index__` raises."""

    def __index__(self):
        raise ZeroDivisionError("mine")


@pytest.mark.row("E08")
@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("select $1::int4", 2**31),
        ("select $1::int4", Raising()),
        ("select $1::int8", 10**30),
        ("select $1::float4", 1e300),
        ("select $1::float8", 10**400),
        ("select $1::text", "\ud800"),
        ("select $1::text", "a\0b"),
        ("select $1::uuid", "no uuid"),
        ("select $1::json", {"a": "\ud800"}),
        ("select $1::json", float("nan")),
        ("select $1::json", {1: 2}),
        ("select $1::bytea", 5),
        ("select $1::date", pgoxide.types.PgDate(10**6, 13, 45)),
        ("select $1::date", pgoxide.types.PgDate(2**31 - 1, 1, 1)),
        ("select $1::date", pgoxide.types.PgDate(2**40, 1, 1)),
        ("select $1::timestamp", pgoxide.types.PgTimestamp(2020, 1, 1, 25, 0, 0)),
        ("select $1::timestamp", pgoxide.types.PgTimestamp(2020, 1, -1)),
    ],
)
async def test_codecs_raise_data_errors_only(db, sql, value):
    for _ in range(2):
        with pytest.raises(errors.DataError, match=r"argument \$1") as caught:
            await db.fetch_value(sql, value)
        assert caught.value.sqlstate is None
    assert await db.fetch_value(sql, None) is None
    with pytest.raises(errors.DataError, match=r"argument \$1"):
        await db.fetch_value(sql, value)


@pytest.mark.row("E08")
@pytest.mark.parametrize(
    "expression",
    [
        "'infinity'::date",
        "'0044-03-15 BC'::date",
        "'infinity'::timestamp",
        "'10000-01-01'::timestamptz",
        "'\"\\ud800\"'::json",
        "('1' || repeat('0', 5000))::json",
    ],
)
async def test_reading_raises_data_errors_only(db, expression):
    """Or reads it: the last of these is an int that Python refuses to parse by default."""
    for _ in range(2):
        try:
            await db.fetch_value(f"select {expression} as col")
        except errors.DataError as error:
            assert 'column "col"' in str(error)
            assert error.__cause__ is not None
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("E08")
async def test_a_lost_line_is_the_cause_of_what_follows(connect, proxy):
    line = proxy()
    db = await connect(to=line)
    await db.fetch_value("select 1")
    line.close()
    with pytest.raises(errors.ConnectionClosed) as caught:
        await db.fetch_value("select 1")
    assert caught.value.is_connection_error
    assert db.closed
    with pytest.raises(errors.ConnectionClosed) as later:
        await db.fetch_value("select 1")
    assert later.value.__cause__ is not None


# ---- E10, FATAL


@pytest.mark.row("E10")
async def test_a_terminated_session(connect):
    db, other = await connect(), await connect()
    assert await other.fetch_value("select pg_terminate_backend($1)", db.backend_pid) is True
    time.sleep(0.2)
    with pytest.raises(errors.OperationalError) as caught:
        await db.fetch_value("select 1")
    chain = [caught.value]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    fatal = next((error for error in chain if isinstance(error, errors.AdminShutdown)), None)
    assert fatal is not None, chain
    assert fatal.is_fatal
    assert fatal.is_connection_error
    assert caught.value.is_connection_error
    assert db.closed
    with pytest.raises(errors.ConnectionClosed, match="terminating connection"):
        await db.fetch_value("select 1")
    assert await other.fetch_value("select 1") == 1


@pytest.mark.row("E10")
async def test_terminated_by_its_own_statement(connect):
    db = await connect()
    with pytest.raises(errors.OperationalError) as caught:
        await db.fetch_value("select pg_terminate_backend(pg_backend_pid())")
    assert "terminating connection due to administrator command" in f"{caught.value} {caught.value.__cause__}"
    assert caught.value.is_connection_error
    assert db.closed


@pytest.mark.row("E10")
async def test_an_error_leaves_the_session_alive(db):
    error = await failing(db, "select 1/0")
    assert not error.is_fatal
    assert not error.is_connection_error
    assert not db.closed
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("E10")
async def test_too_many_connections_is_told_as_such(server, connect):
    config = server.config()
    assert isinstance(config, ConnectConfig)
    opened = await connect(user="postgres")
    await opened.execute_script("drop role if exists few; create role few login connection limit 0")
    try:
        with pytest.raises(errors.TooManyConnections) as caught:
            await connect(user="few")
        assert caught.value.is_fatal
        assert caught.value.is_connection_error
    finally:
        await opened.execute("drop role few")
