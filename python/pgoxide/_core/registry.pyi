"""What connections know of the types of their databases."""

from typing import final

__all__ = ["TypeRegistry"]

@final
class TypeRegistry:
    """What connections know of types that are not built in. Those that are given the same one (`type_registry=`) ask for a type
    once; the connections of a pool share one.

    It is kept apart by database, whose identity (the cluster's system identifier, the database's OID, when the server was
    started) each connection asks for before it uses what others have learnt: a database dropped and made anew under its old
    name has types of its own, and so has a copy of a cluster that runs beside it.

    >>> import pgoxide
    >>> def example(dsn: str) -> None:
    ...     registry = pgoxide.TypeRegistry()
    ...     one = pgoxide.Connection.connect(dsn, type_registry=registry)
    ...     two = pgoxide.Connection.connect(dsn, type_registry=registry)
    """

    def __new__(cls) -> TypeRegistry: ...
    def __len__(self) -> int:
        """How many types are known, of all databases."""

    def clear(self) -> None:
        """Forgets all of them: each is looked up again when it is next met."""
