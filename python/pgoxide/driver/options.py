"""What `connect()` takes beside the address: how a connection behaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypedDict

from pgoxide._core import TypeRegistry
from pgoxide.config import ConnectConfig
from pgoxide.driver.commands import begin
from pgoxide.errors import InterfaceError
from pgoxide.types._codec import listed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo
    from typing import Literal

    from pgoxide.config import Secret
    from pgoxide.statement import Isolation
    from pgoxide.types import Codecs

__all__ = ["ConnectionOptions", "Modes", "core_options", "transaction_modes"]


class ConnectionOptions(TypedDict, total=False):
    """Keywords of `connect()`. The first group is ConnectConfig's.

    statement_cache_size: statements kept prepared (256); 0 keeps none.
    statement_cache_max_length: longer texts, in characters, are not kept (16384).
    statement_cache_lifetime: seconds after which a statement is prepared anew; None (default): never.
    beyond: a date or timestamp that Python's types cannot hold "raise"s (default), becomes its "text", the nearest value
    ("clamp"), or an exact PgDate, PgTimestamp ("special").
    float4: a float4 is read as its "exact" value (default: 0.1 comes as 0.10000000149011612, as the server's cast to float8
    gives it) or as the "shortest" decimal that denotes it (0.1, as the server writes it).
    timestamptz_zone: a timestamptz is read in "utc" (default), in the "session"'s TimeZone as the server last reported it, or
    in the zone of a tzinfo, such as `ZoneInfo("Asia/Tokyo")`. The moment is the same in each.
    naive_timestamptz: a naive datetime as timestamptz parameter is "refuse"d (default), or taken to be in "utc", in the
    system's "local" zone, or in the "session"'s TimeZone; of a repeated hour `fold` says which.
    duplicate_columns: of two columns of one name the "last" is read by name (default), or a call that wants rows "raise"s
    ProgrammingError, before it is executed when its description is known.
    money: a money is read as "text" (default), in the form of the session's lc_monetary; or, given the number of digits that a
    fraction has there (2 for most, 0 for yen), as a Decimal. The server does not tell that number: a wrong one gives wrong values.
    json: a json or jsonb is read as the "python" values it consists of (default), or as the document's text, "str" or "bytes"; then
    arguments are such texts too, or `Json(value)`.
    json_null: a document that is JSON's null is read as "none" (default: None, like SQL's NULL), or is "special": `JsonNull`.
    array_bounds: an array whose subscripts do not begin at 1 comes as a plain list ("ignore", default), or as an `Array`, a list
    that knows its lower bounds ("keep").
    type_registry: a TypeRegistry that several connections share, so that types which are not built in are looked up once
    (default: each connection has its own; those of a pool share one).
    codecs: users' codecs, by type name, name with schema, or OID: `{"jsonb": Codec(…), "public.mood": Mood}`; see
    `pgoxide.types.Codec`. Those of a pool hold for all its connections.
    max_message: largest message accepted from the server, in bytes (1 GiB).
    max_queued: bytes handed to the socket before further requests wait their turn (256 KiB).
    max_queued_hard: bytes of unfinished requests above which a call raises QueueFull (64 MiB).
    transaction_isolation, transaction_read_only, transaction_deferrable: what `transaction()` begins with where its call says
    nothing; None (default) leaves it to the session.
    stream_wait_warning: seconds after which a call that waits for another task's or thread's stream is told by a
    RuntimeWarning where that stream was made (10.0); None: never.
    """

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

    statement_cache_size: int
    statement_cache_max_length: int
    statement_cache_lifetime: float | None
    beyond: Literal["raise", "clamp", "text", "special"]
    float4: Literal["exact", "shortest"]
    timestamptz_zone: Literal["utc", "session"] | tzinfo
    naive_timestamptz: Literal["refuse", "utc", "local", "session"]
    duplicate_columns: Literal["last", "raise"]
    money: Literal["text"] | int
    json: Literal["python", "str", "bytes"]
    json_null: Literal["none", "special"]
    array_bounds: Literal["ignore", "keep"]
    type_registry: TypeRegistry | None
    codecs: Codecs | None
    max_message: int
    max_queued: int
    max_queued_hard: int
    stream_wait_warning: float | None
    transaction_isolation: Isolation | None
    transaction_read_only: bool | None
    transaction_deferrable: bool | None


class CoreOptions(TypedDict):
    """Keywords of the core's clients."""

    statement_cache_size: int
    statement_cache_longest: int
    statement_cache_lifetime: float | None
    beyond: str
    float4: str
    timestamptz_zone: object
    naive_timestamptz: str
    duplicate_columns: str
    money: int | None
    json: str
    json_null: str
    array_bounds: str
    type_registry: TypeRegistry | None
    codecs: list[tuple[str | int, object, str, bool, bool]]
    max_message: int
    max_queued: int
    max_queued_hard: int
    command_timeout: float | None
    stream_wait_warning: float | None


_BOUNDS = {
    "statement_cache_size": (0, 1_000_000),
    "statement_cache_max_length": (0, 1 << 30),
    "max_message": (1 << 10, (1 << 31) - 1),
    "max_queued": (1 << 10, 1 << 30),
    "max_queued_hard": (1 << 10, 1 << 40),
}


class Modes(NamedTuple):
    """What a connection's transactions begin with."""

    isolation: Isolation | None = None
    read_only: bool | None = None
    deferrable: bool | None = None

    def over(self, isolation: Isolation | None, read_only: bool | None, deferrable: bool | None) -> str:
        """BEGIN, with these modes where the call says nothing. Raises InterfaceError for a mode there is not."""
        return begin(
            self.isolation if isolation is None else isolation,
            self.read_only if read_only is None else read_only,
            self.deferrable if deferrable is None else deferrable,
        )


def transaction_modes(options: ConnectionOptions) -> tuple[Modes, ConnectionOptions]:
    """The modes of transactions out of `connect()`'s arguments, and the rest. Raises InterfaceError for what is none."""
    rest = options.copy()
    modes = Modes(
        rest.pop("transaction_isolation", None),
        rest.pop("transaction_read_only", None),
        rest.pop("transaction_deferrable", None),
    )
    modes.over(None, None, None)
    return modes, rest


def core_options(
    dsn: str | ConnectConfig | None, options: ConnectionOptions
) -> tuple[ConnectConfig, CoreOptions]:
    """The address and the behaviour out of `connect()`'s arguments. Raises InterfaceError for what cannot be right."""
    _, rest = transaction_modes(options)
    address = dict(rest)
    cache_size = _bounded(address, "statement_cache_size", 256)
    longest = _bounded(address, "statement_cache_max_length", 16_384)
    max_message = _bounded(address, "max_message", 1 << 30)
    max_queued = _bounded(address, "max_queued", 256 << 10)
    max_queued_hard = _bounded(address, "max_queued_hard", 64 << 20)
    lifetime = _seconds(address, "statement_cache_lifetime", None)
    patience = _seconds(address, "stream_wait_warning", 10.0)
    # Words and the zone are checked by the core, which knows what they mean.
    beyond = address.pop("beyond", "raise")
    float4 = address.pop("float4", "exact")
    timestamptz_zone = address.pop("timestamptz_zone", "utc")
    naive_timestamptz = address.pop("naive_timestamptz", "refuse")
    duplicate_columns = address.pop("duplicate_columns", "last")
    money = _digits(address, "money")
    json = address.pop("json", "python")
    json_null = address.pop("json_null", "none")
    array_bounds = address.pop("array_bounds", "ignore")
    codecs = listed(address.pop("codecs", None))  # type: ignore[arg-type]  # checked there
    type_registry = address.pop("type_registry", None)
    if not isinstance(type_registry, TypeRegistry | None):
        raise InterfaceError(f"type_registry={type_registry!r}: a pgoxide.TypeRegistry, or None")
    if isinstance(dsn, ConnectConfig):
        if address:
            raise InterfaceError(f"a ConnectConfig is complete: {', '.join(sorted(address))} cannot be added")
        config = dsn
    else:
        config = ConnectConfig.parse(dsn, **address)  # type: ignore[arg-type]  # checked by parse, name by name
    return config, {
        "statement_cache_size": cache_size,
        "statement_cache_longest": longest,
        "statement_cache_lifetime": lifetime,
        "beyond": str(beyond),
        "float4": str(float4),
        "timestamptz_zone": timestamptz_zone,
        "naive_timestamptz": str(naive_timestamptz),
        "duplicate_columns": str(duplicate_columns),
        "money": money,
        "json": str(json),
        "json_null": str(json_null),
        "array_bounds": str(array_bounds),
        "type_registry": type_registry,
        "codecs": codecs,
        "max_message": max_message,
        "max_queued": max_queued,
        "max_queued_hard": max_queued_hard,
        "command_timeout": config.command_timeout,
        "stream_wait_warning": patience,
    }


def _digits(options: dict[str, object], name: str) -> int | None:
    value = options.pop(name, "text")
    if value == "text":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 18:
        return value
    raise InterfaceError(f'{name}={value!r}: "text", or a number of fraction digits from 0 to 18')


def _seconds(options: dict[str, object], name: str, default: float | None) -> float | None:
    value = options.pop(name, default)
    if value is None or (isinstance(value, int | float) and value >= 0):
        return value
    raise InterfaceError(f"{name}={value!r}: seconds, not negative, or None")


def _bounded(options: dict[str, object], name: str, default: int) -> int:
    value = options.pop(name, default)
    least, most = _BOUNDS[name]
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InterfaceError(f"{name}={value!r}: an integer from {least} to {most}")
    return value
