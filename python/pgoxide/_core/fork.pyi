"""Connections and fork(). Stub of fork.rs."""

__all__ = ["forked"]

def forked() -> None:
    """To be called in a child of `fork()`: connections of the parent are not used any more. The driver registers it."""
