"""Where to connect and as whom: one frozen value, made from keywords, a DSN and the environment.

For everybody who opens a connection: the driver, the pool, the embedded server, the command line. Knows nothing of
sockets or the protocol; the only system calls are "who am I" and "is there a socket in this folder".

- `ConnectConfig`: the value itself, its start-up parameters and its DSN
- `ConnectConfig.parse`: keywords > DSN > environment > defaults
- `Secret`: a password that no `repr`, `str`, error or log shows

An error here never quotes the text of a DSN, only positions in it: in a malformed DSN any part may belong to the
password (`postgresql://me:pa/ss@host/db` parses as host `me`, port `pa`).

Not here yet, refused with `NotSupportedError`: TLS, several hosts, service files, password files.
Sources: PostgreSQL documentation, "Connection Strings" and "Environment Variables" of the libpq chapter.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from pgoxide.errors import InterfaceError, NotSupportedError

if TYPE_CHECKING:
    from typing import TypedDict, Unpack

    class Overrides(TypedDict, total=False):
        """The keywords of `ConnectConfig.parse`; `None` and `""` mean "not given"."""

        host: str | None
        port: int | str | None
        user: str | None
        database: str | None
        password: Secret | str | None
        application_name: str | None
        options: str | None
        connect_timeout: float | str | None
        command_timeout: float | str | None
        parameters: Mapping[str, str] | None
        sslmode: str | None


__all__ = ["ConnectConfig", "Secret"]

# Keys of a DSN -> fields. `database` is the spelling of asyncpg and SQLAlchemy users.
_DSN_KEYS = {
    "host": "host",
    "port": "port",
    "user": "user",
    "dbname": "database",
    "database": "database",
    "password": "password",
    "application_name": "application_name",
    "options": "options",
    "connect_timeout": "connect_timeout",
    "command_timeout": "command_timeout",
}

_ENVIRONMENT = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGDATABASE": "database",
    "PGPASSWORD": "password",
    "PGAPPNAME": "application_name",
    "PGOPTIONS": "options",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    # Not implemented, but to overlook `require` would send in the clear what the user wants encrypted.
    "PGSSLMODE": "sslmode",
}

# Options of libpq that may be given as long as they ask for what we do anyway.
_HONOURED = {
    "sslmode": ("disable", "allow", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "channel_binding": ("disable", "prefer"),
    "target_session_attrs": ("any",),
    "load_balance_hosts": ("disable",),
    "client_encoding": ("UTF8", "utf8", "UTF-8", "utf-8", "auto"),
}

# Options that libpq knows and we do not: a better answer than "unknown".
# fmt: off  one per line would be fifty lines
_LATER = frozenset(
    (
        "hostaddr",
        "passfile",
        "service",
        "servicefile",
        "require_auth",
        "sslnegotiation",
        "sslcompression",
        "sslcert",
        "sslkey",
        "sslkeylogfile",
        "sslpassword",
        "sslcertmode",
        "sslrootcert",
        "sslcrl",
        "sslcrldir",
        "sslsni",
        "ssl",
        "requirepeer",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "min_protocol_version",
        "max_protocol_version",
        "krbsrvname",
        "gsslib",
        "gssdelegation",
        "scram_client_key",
        "scram_server_key",
        "replication",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "fallback_application_name",
        "oauth_issuer",
        "oauth_client_id",
        "oauth_client_secret",
        "oauth_scope",
    )
)
# fmt: on

# Start-up parameters that have a field (or a fixed value) of their own.
_RESERVED = ("user", "database", "client_encoding", "application_name", "options", "replication")

# Where Debian and Red Hat, then a plain build, put it.
_SOCKET_FOLDERS = ("/var/run/postgresql", "/tmp")  # noqa: S108  looked at, never written to
_DEFAULT_PORT = 5432


class Secret:
    """A string that shows itself only through `reveal()`.

    `str`, `repr`, `format` and so every f-string and log line give `***`. Compares equal to another Secret of the
    same value. It can be pickled, for worker processes: a pickle holds the value.

    >>> f"{Secret('hush')}", Secret("hush").reveal()
    ('***', 'hush')
    """

    __slots__ = ("_value",)

    def __init__(self, value: str, /) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; do not log it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._value))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectConfig:
    """Everything needed to open one connection.

    host: a name or address; a value that starts with `/` is the folder of a Unix socket, with `@` an abstract one.
    port: 1 to 65535; with a Unix socket it is the number in the socket's file name.
    password: a `Secret`; a plain `str` is wrapped. Kept for later: this version authenticates by trust (or peer) only, never
    sends it, and raises NotSupportedError when the server asks for one.
    connect_timeout, command_timeout: seconds, above 0; `None` means no limit.
    parameters: further start-up parameters, `{"search_path": "app", "TimeZone": "UTC"}`.

    Raises InterfaceError for a value that cannot be right (NUL byte, port 0, negative time) and NotSupportedError for
    a list of hosts. Errors name the field, never the value.

    >>> ConnectConfig(host="/run/pg", user="app", database="shop", password=Secret("hush")).dsn()
    'postgresql://app:***@/shop?host=%2Frun%2Fpg'
    """

    host: str
    port: int = _DEFAULT_PORT
    user: str
    database: str
    password: Secret | None = None
    application_name: str | None = None
    options: str | None = None
    connect_timeout: float | None = None
    command_timeout: float | None = None
    parameters: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)

    def __post_init__(self) -> None:
        password: object = (
            self.password
        )  # not every caller uses a type checker: a plain str must not stay one
        if isinstance(password, str):
            object.__setattr__(self, "password", Secret(password))
        object.__setattr__(self, "parameters", dict(self.parameters))
        for name in ("host", "user", "database"):
            _check_text(name, getattr(self, name))
            if not getattr(self, name):
                raise InterfaceError(f"{name} is empty")
        for name in ("application_name", "options"):
            if getattr(self, name) is not None:
                _check_text(name, getattr(self, name))
        if password is not None:
            _check_text("password", password.reveal() if isinstance(password, Secret) else password)
        if "," in self.host and not self.is_unix:
            raise NotSupportedError("several hosts in one configuration are not supported yet: give one host")
        _check_port(self.port)
        _check_timeout("connect_timeout", self.connect_timeout)
        _check_timeout("command_timeout", self.command_timeout)
        _check_parameters(self.parameters)

    @property
    def is_unix(self) -> bool:
        """Whether `host` names a Unix socket."""
        return self.host.startswith(("/", "@"))

    @classmethod
    def parse(cls, dsn: str | None = None, /, **overrides: Unpack[Overrides]) -> ConnectConfig:
        """The configuration out of keywords, a DSN, the environment and defaults, in this order of precedence.

        dsn: `postgresql://user:password@host:port/database?option=value` (percent-encoded) or
        `host=... dbname='...'` (libpq's quoting). Without one, the variable DATABASE_URL is used when set.
        overrides: the fields of this class; `None` and `""` mean "not given". Likewise for empty values elsewhere.
        Environment: PGHOST PGPORT PGUSER PGDATABASE PGPASSWORD PGAPPNAME PGOPTIONS PGCONNECT_TIMEOUT; PGSSLMODE and
        PGSERVICE only to refuse what would be overlooked.
        sslmode: `disable`, `allow` and `prefer` are accepted, and the line is in plain text with each of them; `require` and
        above raise NotSupportedError, since TLS comes with a later version.
        Defaults: user of the operating system, a database of the user's name, the first of /var/run/postgresql and
        /tmp that has a socket for the port, else localhost.

        A time limit of 0 or less in a DSN or in the environment means no limit, as in libpq.

        Raises InterfaceError for malformed text and unknown names, NotSupportedError for what belongs to a later
        version. No error contains text of the DSN.

        >>> ConnectConfig.parse("postgresql://app@db.example:6432/shop", connect_timeout=2.5).port
        6432
        """
        given = _from_keywords(dict(overrides))
        origin = "the DSN"
        if dsn is None and (dsn := os.environ.get("DATABASE_URL") or None) is not None:
            origin = "DATABASE_URL"
        from_dsn: dict[str, str] = {} if dsn is None else _parse_dsn(dsn, origin)
        if os.environ.get("PGSERVICE") and "host" not in given and "host" not in from_dsn:
            raise NotSupportedError("service files are not supported yet: unset PGSERVICE or give a host")
        values: dict[str, Any] = {
            name: os.environ[variable] for variable, name in _ENVIRONMENT.items() if os.environ.get(variable)
        }
        values |= {name: value for name, value in from_dsn.items() if value}
        values |= given
        for name in [name for name in values if name in _HONOURED]:
            _check_honoured(name, values.pop(name))
        return cls(**_with_defaults(_converted(values)))

    def dsn(self, redacted: bool = True) -> str:
        """This configuration as a URI; `parse` reads it back.

        redacted: put `***` in the password's place. With `False` the result is a secret.
        `parameters` become `-c name=value` switches in `options`, which the server treats alike. `psql` and libpq read
        it too unless it has a `command_timeout` or a fraction of a second in `connect_timeout`.
        """
        password = ""
        if self.password is not None:
            password = ":" + ("***" if redacted else _quote(self.password.reveal()))
        query: dict[str, str] = {}
        if self.is_unix:
            address = ""
            query["host"] = self.host
            if self.port != _DEFAULT_PORT:
                query["port"] = str(self.port)
        else:
            host = f"[{_quote(self.host).replace('%3A', ':')}]" if ":" in self.host else _quote(self.host)
            address = host if self.port == _DEFAULT_PORT else f"{host}:{self.port}"
        if self.application_name is not None:
            query["application_name"] = self.application_name
        if switches := self._switches():
            query["options"] = switches
        for name in ("connect_timeout", "command_timeout"):
            if (seconds := getattr(self, name)) is not None:
                query[name] = f"{seconds:.15g}"
        tail = "&".join(f"{name}={_quote(value)}" for name, value in query.items())
        uri = f"postgresql://{_quote(self.user)}{password}@{address}/{_quote(self.database)}"
        return f"{uri}?{tail}" if tail else uri

    def startup_parameters(self) -> dict[str, str]:
        """What the StartupMessage carries, in order: user, database, client_encoding (always UTF8), then what is set.

        Source: protocol chapter, "Message Formats", StartupMessage.
        """
        parameters = {"user": self.user, "database": self.database, "client_encoding": "UTF8"}
        if self.application_name is not None:
            parameters["application_name"] = self.application_name
        if self.options is not None:
            parameters["options"] = self.options
        return parameters | dict(self.parameters)

    def _switches(self) -> str:
        """`options` and `parameters` as one command line; the server splits at white space, a backslash protects it."""
        switches = [self.options] if self.options else []
        for name, value in self.parameters.items():
            escaped = "".join(f"\\{c}" if c == "\\" or c.isspace() else c for c in f"{name}={value}")
            switches.append(f"-c {escaped}")
        return " ".join(switches)


# -- checks: they name the field, never the value --------------------------------------------------------------------


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InterfaceError(f"{name} must be a str, not {type(value).__name__}")
    if "\0" in value:
        raise InterfaceError(f"{name} contains a NUL byte")
    if not _is_encodable(value):
        raise InterfaceError(f"{name} contains a lone surrogate, which UTF-8 cannot hold")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False  # the caller raises, outside this block: the UnicodeEncodeError holds the whole text
    return True


def _check_port(port: object) -> None:
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise InterfaceError("port must be a whole number from 1 to 65535")


def _check_timeout(name: str, seconds: object) -> None:
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < float("inf"):
        raise InterfaceError(f"{name} must be a number of seconds above 0, or None for no limit")


def _check_parameters(parameters: Mapping[str, str]) -> None:
    for name, value in parameters.items():
        _check_text("a name in parameters", name)
        _check_text("a value in parameters", value)
        if not name:
            raise InterfaceError("a name in parameters is empty")
        if name in _RESERVED or name.startswith("_pq_."):
            raise InterfaceError(
                f"{name!r} cannot be given in parameters: it is set by the connection itself"
            )


def _check_honoured(name: str, value: object) -> None:
    if value not in _HONOURED[name]:
        accepted = ", ".join(dict.fromkeys(_HONOURED[name]))
        later = ": TLS comes with a later version" if name == "sslmode" else ""
        raise NotSupportedError(f"this {name} is not supported{later}; accepted: {accepted}")


def _refuse_unknown(name: str, where: str, known: Mapping[str, object], shown: str) -> None:
    """Raise for a name that is no option; `shown` is how it may be named (never text out of a DSN)."""
    if name in _LATER:
        raise NotSupportedError(f"the option {name!r} in {where} is not supported yet")
    import difflib

    near = difflib.get_close_matches(name.lower(), [*known, *_HONOURED], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InterfaceError(f"unknown option {shown}{hint}")


# -- sources ---------------------------------------------------------------------------------------------------------


def _from_keywords(overrides: dict[str, Any]) -> dict[str, Any]:
    known = {f.name: None for f in fields(ConnectConfig)}
    for name in overrides:
        if name not in known and name not in _HONOURED:
            _refuse_unknown(name, "the keywords", known, repr(name))
    return {name: value for name, value in overrides.items() if value is not None and value != ""}


def _converted(values: dict[str, Any]) -> dict[str, Any]:
    """Text from a DSN or the environment as the types of the fields; what is no text stays for the class to check."""
    result = dict(values)
    if isinstance(port := values.get("port"), str):
        if "," in port:
            raise NotSupportedError("several ports in one configuration are not supported yet: give one host")
        # isdecimal first: a ValueError of int() would carry the text, which may be a piece of a password.
        result["port"] = int(port) if port.isascii() and port.strip().isdecimal() and len(port) < 20 else 0
    for name in ("connect_timeout", "command_timeout"):
        if isinstance(text := values.get(name), str):
            seconds = _seconds(text)
            result[name] = None if seconds <= 0 else seconds
    return result


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        # _check_timeout refuses it, outside this block, so that no __context__ holds the text
        return float("nan")


def _with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    if "user" not in values:
        values["user"] = _system_user()
    if "database" not in values:
        values["database"] = values["user"]
    if "host" not in values:
        values["host"] = _default_host(values.get("port", _DEFAULT_PORT))
    return values


def _system_user() -> str:
    """The name of the effective user, as libpq takes it: from the account, not from LOGNAME or USER."""
    try:
        import pwd
    except ImportError:  # Windows
        import getpass

        return getpass.getuser()
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise InterfaceError(
            "no user was given and this process's user has no account name: give user="
        ) from None


def _default_host(port: object) -> str:
    for folder in _SOCKET_FOLDERS:
        if os.path.exists(f"{folder}/.s.PGSQL.{port}"):  # noqa: PTH110  pathlib takes 2 ms to import
            return folder
    return "localhost"


# -- DSN -------------------------------------------------------------------------------------------------------------


def _parse_dsn(dsn: str, origin: str) -> dict[str, str]:
    _check_text(origin, dsn)
    for scheme in ("postgresql://", "postgres://"):
        if dsn.startswith(scheme):
            return _parse_uri(dsn, len(scheme), origin)
    head, separator, _ = dsn.partition("://")
    if separator and "=" not in head:
        raise InterfaceError(f"{origin} must start with postgresql:// or postgres://")
    return _parse_keywords(dsn, origin)


def _store(values: dict[str, str], key: str, value: str, at: int, origin: str) -> None:
    """Put one option of a DSN in its place; the last of several wins, as in libpq."""
    if key in _DSN_KEYS:
        values[_DSN_KEYS[key]] = value
    elif key in _HONOURED:
        values[key] = value
    else:
        _refuse_unknown(key, origin, _DSN_KEYS, f"at character {at} of {origin}")


def _parse_uri(dsn: str, start: int, origin: str) -> dict[str, str]:
    end = min((i for c in "/?" if (i := dsn.find(c, start)) >= 0), default=len(dsn))
    authority, rest = dsn[start:end], dsn[end:]
    path, question, query = rest.partition("?")
    if authority.count("@") > 1 or ("@" in path and "@" not in authority):
        raise InterfaceError(
            f"{origin} has an '@' at an unexpected place: inside a user name or password write "
            "%40 for '@', %2F for '/', %3F for '?', %3A for ':'"
        )
    values: dict[str, str] = {}

    def put(name: str, text: str, at: int) -> None:
        if text:
            values[name] = _unquote(text, at, origin)

    userinfo, at_sign, address = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    put("user", user, start)
    put("password", password, start + len(user) + 1)
    _put_address(put, address, start + len(userinfo) + len(at_sign), origin)
    put("database", path[1:], end + 1)
    position = end + len(path) + 1
    for pair in query.split("&") if question and query else ():
        key, equals, value = pair.partition("=")
        if not equals or "=" in value:
            raise InterfaceError(f"{origin} needs one 'name=value' at character {position}")
        _store(
            values,
            _unquote(key, position, origin),
            _unquote(value, position + len(key) + 1, origin),
            position,
            origin,
        )
        position += len(pair) + 1
    return values


def _put_address(put: Callable[[str, str, int], None], address: str, at: int, origin: str) -> None:
    if "," in address:
        raise NotSupportedError(f"{origin} lists several hosts, which is not supported yet: give one host")
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if not bracket or not host or (rest and not rest.startswith(":")):
            raise InterfaceError(f"{origin} has a malformed IPv6 address at character {at}")
        put("host", host, at + 1)
        put("port", rest[1:], at + len(host) + 3)
        return
    host, _, port = address.partition(":")
    if ":" in port:
        raise InterfaceError(
            f"{origin} has more than one ':' after the user: put an IPv6 address in brackets"
        )
    put("host", host, at)
    put("port", port, at + len(host) + 1)


def _unquote(text: str, at: int, origin: str) -> str:
    """Percent-decoded text; stricter than urllib, as libpq is: `%` needs two hexadecimal digits and %00 is refused."""
    if "%" not in text:
        return text
    head, *pieces = text.split("%")
    result = bytearray(head.encode())
    for piece in pieces:
        digits = piece[:2]
        if len(digits) < 2 or any(c not in "0123456789abcdefABCDEF" for c in digits):
            raise InterfaceError(
                f"{origin} has a '%' without two hexadecimal digits after character {at}: write %25"
            )
        if digits == "00":
            raise InterfaceError(f"{origin} contains a NUL byte (%00)")
        result.append(int(digits, 16))
        result += piece[2:].encode()
    try:
        return result.decode()
    except UnicodeDecodeError:
        pass  # raised below: the UnicodeDecodeError holds the bytes and would stay reachable as __context__
    raise InterfaceError(f"{origin} has percent-encoded bytes that are not UTF-8 after character {at}")


def _quote(text: str) -> str:
    safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
    return "".join(chr(b) if chr(b) in safe else f"%{b:02X}" for b in text.encode())


def _parse_keywords(dsn: str, origin: str) -> dict[str, str]:
    """`name = value` pairs; values in single quotes or without; a backslash takes the next character as it is.

    Source: libpq, `conninfo_parse` in fe-connect.c.
    """
    values: dict[str, str] = {}
    i = 0
    while (i := _skip_space(dsn, i)) < len(dsn):
        start = i
        while i < len(dsn) and dsn[i] != "=" and not dsn[i].isspace():
            i += 1
        key = dsn[start:i]
        i = _skip_space(dsn, i)
        if not key or i >= len(dsn) or dsn[i] != "=":
            raise InterfaceError(
                f"{origin} needs 'name=value' at character {start}: quote values that have spaces"
            )
        value, i = _keyword_value(dsn, _skip_space(dsn, i + 1), origin)
        _store(values, key, value, start, origin)
    return values


def _skip_space(text: str, i: int) -> int:
    while i < len(text) and text[i].isspace():
        i += 1
    return i


def _keyword_value(dsn: str, i: int, origin: str) -> tuple[str, int]:
    start, quoted = i, dsn.startswith("'", i)
    i += quoted
    value: list[str] = []
    while i < len(dsn):
        c = dsn[i]
        if c == "'" if quoted else c.isspace():
            return "".join(value), i + quoted
        if c == "\\":
            i += 1
        value.append(dsn[i : i + 1])
        i += 1
    if quoted:
        raise InterfaceError(f"{origin} has a quote at character {start} that is never closed")
    return "".join(value), i
