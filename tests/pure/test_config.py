"""`ConnectConfig`: what a DSN means, which source wins, and that no secret ever shows."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import traceback
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

import pgoxide.config
from pgoxide.config import ConnectConfig, Secret
from pgoxide.errors import Error, InterfaceError, NotSupportedError

PACKAGE = str(Path(pgoxide.config.__file__).parents[1])


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PG") or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    monkeypatch.setattr(pgoxide.config, "_system_user", lambda: "me")
    monkeypatch.setattr(pgoxide.config, "_SOCKET_FOLDERS", ())


def fields_of(config: ConnectConfig) -> dict[str, object]:
    """The fields that differ from what an empty DSN gives, the password revealed."""
    plain = ConnectConfig.parse("")
    names = [n for n in ConnectConfig.__dataclass_fields__ if getattr(config, n) != getattr(plain, n)]
    found: dict[str, object] = {name: getattr(config, name) for name in names}
    if config.password is not None:
        found["password"] = config.password.reveal()
    return found


# -- well-formed -----------------------------------------------------------------------------------------------------

URIS: list[tuple[str, dict[str, object]]] = [
    ("postgresql://", {}),
    ("postgres://", {}),
    ("postgresql://h", {"host": "h"}),
    ("postgresql://h/", {"host": "h"}),
    ("postgresql://h:6543", {"host": "h", "port": 6543}),
    ("postgresql://h:/d", {"host": "h", "database": "d"}),
    ("postgresql:///d", {"database": "d"}),
    ("postgresql://u@/d", {"user": "u", "database": "d"}),
    ("postgresql://u@", {"user": "u", "database": "u"}),
    ("postgresql://u:@h/d", {"user": "u", "host": "h", "database": "d"}),
    ("postgresql://:p@h/d", {"password": "p", "host": "h", "database": "d"}),
    ("postgresql://u:p:q@h/d", {"user": "u", "password": "p:q", "host": "h", "database": "d"}),
    ("postgresql://u%40x:p%3A%2F%3F%40%25%20é@h/d%2Fe", {"user": "u@x", "password": "p:/?@% é", "host": "h", "database": "d/e"}),
    ("postgresql://%C3%A9@h/d", {"user": "é", "host": "h", "database": "d"}),
    ("postgresql://[::1]/d", {"host": "::1", "database": "d"}),
    ("postgresql://u@[fe80::1%25eth0]:6543/d", {"user": "u", "host": "fe80::1%eth0", "port": 6543, "database": "d"}),
    ("postgresql:///d?host=/run/pg", {"host": "/run/pg", "database": "d"}),
    ("postgresql://%2Frun%2Fpg:6543/d", {"host": "/run/pg", "port": 6543, "database": "d"}),
    ("postgresql:///d?host=@abstract", {"host": "@abstract", "database": "d"}),
    ("postgresql://h/d?host=other&port=1", {"host": "other", "port": 1, "database": "d"}),
    ("postgresql://h?user=u&password=a+b&dbname=d", {"host": "h", "user": "u", "password": "a+b", "database": "d"}),
    ("postgresql://h/d?connect_timeout=10&command_timeout=0.5", {"host": "h", "database": "d", "connect_timeout": 10.0, "command_timeout": 0.5}),
    ("postgresql://h/d?connect_timeout=0", {"host": "h", "database": "d"}),
    ("postgresql://h/d?connect_timeout=-1", {"host": "h", "database": "d"}),
    ("postgresql://h/d?options=-c%20geqo%3Doff", {"host": "h", "database": "d", "options": "-c geqo=off"}),
    ("postgresql://h/d?application_name=a%26b&sslmode=prefer", {"host": "h", "database": "d", "application_name": "a&b"}),
    ("postgresql://h/d?gssencmode=disable&target_session_attrs=any&client_encoding=utf8", {"host": "h", "database": "d"}),
    ("postgresql://h/d?", {"host": "h", "database": "d"}),
]  # fmt: skip

KEYWORDS: list[tuple[str, dict[str, object]]] = [
    ("", {}),
    ("   ", {}),
    ("host=h", {"host": "h"}),
    (" host = h\tport\n=\n6543 ", {"host": "h", "port": 6543}),
    ("dbname=d user=u", {"database": "d", "user": "u"}),
    ("dbname=d database=e", {"database": "e"}),
    ("password='a b'", {"password": "a b"}),
    (r"password='it\'s \\ here' user=u", {"password": r"it's \ here", "user": "u", "database": "u"}),
    (r"password=a\ b\'c", {"password": "a b'c"}),
    ("password=a'b", {"password": "a'b"}),
    ("password='a'user=u", {"password": "a", "user": "u", "database": "u"}),
    ("password=a=b", {"password": "a=b"}),
    ("password=''", {}),
    ("password= user=u", {"password": "user=u"}),
    ("password=a\\", {"password": "a"}),
    ("host=/run/pg sslmode=disable", {"host": "/run/pg"}),
    ("password=x://y", {"password": "x://y"}),
    ("options='-c geqo=off'", {"options": "-c geqo=off"}),
]


@pytest.mark.parametrize(("dsn", "expected"), URIS + KEYWORDS)
def test_a_dsn_means(dsn: str, expected: dict[str, object]) -> None:
    assert fields_of(ConnectConfig.parse(dsn)) == expected


def test_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = ConnectConfig.parse()
    assert (config.host, config.port, config.user, config.database) == ("localhost", 5432, "me", "me")
    monkeypatch.setattr(pgoxide.config, "_SOCKET_FOLDERS", (f"{tmp_path}/none", str(tmp_path)))
    assert ConnectConfig.parse().host == "localhost"
    (tmp_path / ".s.PGSQL.6543").touch()
    assert ConnectConfig.parse().host == "localhost"
    assert ConnectConfig.parse(port=6543).host == str(tmp_path)


# -- precedence: keyword > DSN > environment > default ---------------------------------------------------------------

SOURCES = [
    ("host", "PGHOST", "host", "a", "b", "c"),
    ("port", "PGPORT", "port", "1", "2", "3"),
    ("user", "PGUSER", "user", "a", "b", "c"),
    ("database", "PGDATABASE", "dbname", "a", "b", "c"),
    ("password", "PGPASSWORD", "password", "a", "b", "c"),
    ("application_name", "PGAPPNAME", "application_name", "a", "b", "c"),
    ("options", "PGOPTIONS", "options", "a", "b", "c"),
    ("connect_timeout", "PGCONNECT_TIMEOUT", "connect_timeout", "1", "2", "3"),
]


@pytest.mark.parametrize(("name", "variable", "key", "low", "middle", "high"), SOURCES)
@pytest.mark.parametrize("shape", ["{0}={1}", "postgresql://?{0}={1}"])
def test_precedence(
    name: str,
    variable: str,
    key: str,
    low: str,
    middle: str,
    high: str,
    shape: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def value(config: ConnectConfig) -> str:
        found = getattr(config, name)
        return (
            found.reveal()
            if isinstance(found, Secret)
            else f"{found:g}"
            if isinstance(found, float)
            else str(found)
        )

    default = str(getattr(ConnectConfig.parse(), name))
    monkeypatch.setenv(variable, low)
    assert value(ConnectConfig.parse()) == low
    assert value(ConnectConfig.parse(shape.format(key, middle))) == middle
    assert value(ConnectConfig.parse(shape.format(key, middle), **{name: high})) == high  # type: ignore[arg-type]
    assert value(ConnectConfig.parse(**{name: high})) == high  # type: ignore[arg-type]
    assert value(ConnectConfig.parse(shape.format(key, ""), **{name: None})) == low
    monkeypatch.setenv(variable, "")
    assert str(getattr(ConnectConfig.parse(), name)) == default


def test_database_url_stands_in_for_a_missing_dsn_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://from-url/d1")
    monkeypatch.setenv("PGHOST", "from-environment")
    assert ConnectConfig.parse().host == "from-url"
    assert ConnectConfig.parse("dbname=d2").host == "from-environment"
    assert ConnectConfig.parse("").database == "me"
    assert ConnectConfig.parse(host="h").host == "h"
    monkeypatch.setenv("DATABASE_URL", "mysql://u:hush@h/d")
    with pytest.raises(InterfaceError, match="DATABASE_URL must start with postgresql://"):
        ConnectConfig.parse()


def test_the_environment_cannot_ask_for_tls_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "require")
    with pytest.raises(NotSupportedError, match="TLS"):
        ConnectConfig.parse("host=h")
    assert ConnectConfig.parse("host=h sslmode=disable").host == "h"
    assert ConnectConfig.parse("host=h", sslmode="prefer").host == "h"


def test_a_service_of_the_environment_is_not_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "shop")
    with pytest.raises(NotSupportedError, match="PGSERVICE"):
        ConnectConfig.parse("dbname=d")
    assert ConnectConfig.parse("host=h").host == "h"


# -- malformed: refused, and nothing of the text shows ---------------------------------------------------------------

# Every one contains the word hush in a place that belongs, or might have been meant to belong, to the password.
MALFORMED = [
    ("postgresql://u:hu/sh-hush@h/d", "%2F for '/'"),
    ("postgresql://u:hush/x@h/d", "%2F for '/'"),
    ("postgresql://u:12/hush@h/d", "'@'"),
    ("postgresql://u:12?hush@h/d", "name=value"),
    ("postgresql://u:hush?x=y@h/d", "unknown option"),
    ("postgresql://u:ab@hush@h/d", "%40 for '@'"),
    ("postgresql://u:hush%@h/d", "%25"),
    ("postgresql://u:hush%zz@h/d", "%25"),
    ("postgresql://u:hush%f@h/d", "%25"),
    ("postgresql://u:hush%00@h/d", "NUL"),
    ("postgresql://u:hush\0@h/d", "NUL"),
    ("postgresql://u:hush\ud800@h/d", "surrogate"),
    ("postgresql://u:hush%ff@h/d", "UTF-8"),
    ("postgresql://hush:pass", "port"),
    ("postgresql://u:hush@h:port/d", "port must be"),
    ("postgresql://u:hush@h:0/d", "port must be"),
    ("postgresql://u:hush@h:65536/d", "port must be"),
    ("postgresql://u:hush@h:1:2/d", "brackets"),
    ("postgresql://u:x@h:hush/d", "port must be"),
    ("postgresql://u:hush@[::1/d", "IPv6"),
    ("postgresql://u:hush@[]/d", "IPv6"),
    ("postgresql://u:hush@[::1]x/d", "IPv6"),
    ("postgresql://h/d?password=hush=1", "name=value"),
    ("postgresql://h/d?password=a&hush", "name=value"),
    ("postgresql://h/d?passwort=hush", "did you mean 'password'"),
    ("postgresql://h/d?hush=1", "unknown option at character"),
    ("postgresql://h/d?connect_timeout=hush", "connect_timeout must be"),
    ("postgresql://h/d?connect_timeout=nan&password=hush", "connect_timeout must be"),
    ("postgresql://h/d?connect_timeout=inf&password=hush", "connect_timeout must be"),
    ("postgresql+asyncpg://u:hush@h/d", "must start with postgresql://"),
    ("mysql://u:hush@h/d", "must start with postgresql://"),
    ("//u:hush@h/d", "name=value"),
    ("u:hush@h/d", "name=value"),
    ("password=a hush", "quote values"),
    ("password=a hush b=c", "quote values"),
    ("password=a hush=c", "unknown option"),
    ("password='hush", "never closed"),
    ("password='hush' =x", "name=value"),
    ("pasword=hush", "did you mean 'password'"),
    ("Host=hush", "did you mean 'host'"),
    ("user=u passwd=hush", "did you mean 'password'"),
    ("password=hush port=x", "port must be"),
    ("password=hush port=٣", "port must be"),
    ("password=hush port=" + "9" * 5000, "port must be"),
    ("password=hush connect_timeout=soon", "connect_timeout must be"),
]

UNSUPPORTED = [
    ("postgresql://u:hush@h1,h2/d", "several hosts"),
    ("postgresql://u:hush@h1:1,h2:2/d", "several hosts"),
    ("host=h1,h2 password=hush", "several hosts"),
    ("host=h port=1,2 password=hush", "several ports"),
    ("service=shop password=hush", "'service'"),
    ("passfile=/hush", "'passfile'"),
    ("postgresql://u:hush@h/d?sslmode=require", "TLS"),
    ("postgresql://u:hush@h/d?sslmode=hush", "TLS"),
    ("postgresql://u:hush@h/d?ssl=true", "'ssl'"),
    ("postgresql://u:hush@h/d?sslrootcert=/x", "'sslrootcert'"),
    ("postgresql://u:hush@h/d?channel_binding=require", "channel_binding"),
    ("postgresql://u:hush@h/d?target_session_attrs=read-write", "target_session_attrs"),
    ("postgresql://u:hush@h/d?client_encoding=LATIN1", "client_encoding"),
]


@pytest.mark.parametrize(
    ("dsn", "says", "kind"),
    [(*case, InterfaceError) for case in MALFORMED] + [(*case, NotSupportedError) for case in UNSUPPORTED],
)
@pytest.mark.parametrize("origin", ["argument", "DATABASE_URL"])
def test_malformed(
    dsn: str, says: str, kind: type[Error], origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if origin == "DATABASE_URL" and ("\0" in dsn or "\ud800" in dsn):
        pytest.skip("the environment cannot hold it")
    given: str | None = dsn
    if origin == "DATABASE_URL":
        monkeypatch.setenv("DATABASE_URL", dsn)
        given = None
    with pytest.raises(kind) as caught:
        ConnectConfig.parse(given)
    assert type(caught.value) is kind
    assert says in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:  # also what is chained to it, shown or not
        assert "hush" not in "".join(traceback.format_exception_only(error)) + repr(error) + repr(error.args)
        assert "hush" not in repr(vars(error))
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"hots": "h"}, "'hots'; did you mean 'host'"),
        ({"dbname": "d"}, "'dbname'"),
        ({"username": "u"}, "did you mean 'user'"),
        ({"port": 0}, "port"),
        ({"port": "x"}, "port"),
        ({"port": 1.5}, "port"),
        ({"port": True}, "port"),
        ({"connect_timeout": -1}, "connect_timeout"),
        ({"connect_timeout": float("nan")}, "connect_timeout"),
        ({"command_timeout": float("inf")}, "command_timeout"),
        ({"command_timeout": True}, "command_timeout"),
        ({"user": "a\0b"}, "user contains a NUL"),
        ({"password": "hush\0"}, "password contains a NUL"),
        ({"database": "a\0b"}, "database contains a NUL"),
        ({"host": "a\0b"}, "host contains a NUL"),
        ({"options": "a\0b"}, "options contains a NUL"),
        ({"application_name": "a\0b"}, "application_name contains a NUL"),
        ({"parameters": {"a\0": "b"}}, "NUL"),
        ({"parameters": {"a": "b\0"}}, "NUL"),
        ({"parameters": {"": "b"}}, "empty"),
        ({"parameters": {"a": 1}}, "must be a str"),
        ({"parameters": {"user": "x"}}, "'user'"),
        ({"parameters": {"client_encoding": "LATIN1"}}, "'client_encoding'"),
        ({"parameters": {"_pq_.x": "1"}}, "'_pq_.x'"),
        ({"user": 3}, "user must be a str"),
        ({"password": 3}, "password must be a str"),
        ({"password": b"hush"}, "password must be a str"),
    ],
)
def test_keywords_that_cannot_be(keywords: dict[str, object], says: str) -> None:
    with pytest.raises(InterfaceError) as caught:
        ConnectConfig.parse("", **keywords)  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_dsn_that_is_no_text() -> None:
    with pytest.raises(InterfaceError, match="must be a str"):
        ConnectConfig.parse(b"postgresql://u:hush@h/d")  # type: ignore[arg-type]


# -- the value -------------------------------------------------------------------------------------------------------


def test_the_password_never_shows() -> None:
    for config in (
        ConnectConfig.parse("postgresql://u:hush@h/d"),
        ConnectConfig.parse(password="hush"),
        ConnectConfig(host="h", user="u", database="d", password="hush"),  # type: ignore[arg-type]
    ):
        shown = [
            repr(config),
            str(config),
            f"{config}",
            repr(config.password),
            f"{config.password}",
            config.dsn(),
        ]
        shown += [
            f"{config.password!s:>9}",
            f"{config.password!r}",
            repr(config.startup_parameters()),
        ]
        assert "hush" not in " ".join(shown)
        assert config.password is not None
        assert config.password.reveal() == "hush"
        assert "hush" in config.dsn(redacted=False)


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")


def test_it_is_frozen_hashable_and_copied() -> None:
    given = {"search_path": "app"}
    config = ConnectConfig(host="h", user="u", database="d", password=Secret("hush"), parameters=given)
    given["search_path"] = "other"
    assert config.parameters == {"search_path": "app"}
    with pytest.raises(FrozenInstanceError):
        config.host = "x"  # type: ignore[misc]
    assert not hasattr(config, "__dict__")
    assert {config: 1}[replace(config)] == 1
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config
    with pytest.raises(TypeError):
        ConnectConfig("h")  # type: ignore[call-arg]


def test_startup_parameters() -> None:
    config = ConnectConfig.parse(
        "postgresql://u:hush@h/d?application_name=a&options=-c%20x", parameters={"TimeZone": "UTC"}
    )
    assert list(config.startup_parameters().items()) == [
        ("user", "u"),
        ("database", "d"),
        ("client_encoding", "UTF8"),
        ("application_name", "a"),
        ("options", "-c x"),
        ("TimeZone", "UTC"),
    ]
    assert ConnectConfig.parse("").startup_parameters() == {
        "user": "me",
        "database": "me",
        "client_encoding": "UTF8",
    }


@pytest.mark.parametrize("dsn", [dsn for dsn, _ in URIS + KEYWORDS])
def test_the_dsn_reads_back(dsn: str) -> None:
    config = ConnectConfig.parse(dsn)
    assert ConnectConfig.parse(config.dsn(redacted=False)) == config
    shown = ConnectConfig.parse(config.dsn())
    assert replace(shown, password=None) == replace(config, password=None)


def test_parameters_become_switches_in_the_dsn() -> None:
    config = ConnectConfig.parse("host=h user=u options='-c a=1'", parameters={"search_path": "a b\\c"})
    assert ConnectConfig.parse(config.dsn()).options == r"-c a=1 -c search_path=a\ b\\c"


def test_importing_it_imports_little() -> None:
    script = (
        "import sys; import pgoxide.config; "
        "print(sorted({'urllib', 'urllib.parse', 'difflib', 'getpass', 'socket', 'asyncio', 'pathlib', 'pwd'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": PACKAGE},
    )
    # pwd is built into some interpreters' start-up; the rest would be ours.
    assert set(eval(result.stdout)) <= {"pwd"}
