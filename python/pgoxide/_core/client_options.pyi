"""How a connection behaves, as `connect()` was told. Stub of client_options.rs."""

from collections.abc import Sequence
from typing import Self, final

from pgoxide._core.registry import TypeRegistry

__all__ = ["ClientOptions"]

@final
class ClientOptions:
    """For one connection: a client of either face is made of it, once."""

    def __new__(
        cls,
        *,
        nonce: str,
        statement_cache_size: int,
        statement_cache_longest: int,
        statement_cache_lifetime: float | None,
        beyond: str,
        float4: str,
        timestamptz_zone: object,
        naive_timestamptz: str,
        duplicate_columns: str,
        array_bounds: str,
        money: int | None,
        json: str,
        json_null: str,
        type_registry: TypeRegistry | None,
        codecs: Sequence[tuple[str | int, object, str, bool, bool]],
        max_message: int,
        max_queued: int,
        max_queued_hard: int,
        command_timeout: float | None,
        stream_wait_warning: float | None,
    ) -> Self:
        """Called by `connect()`, which checks the values: see `pgoxide.driver.options`."""
