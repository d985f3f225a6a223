"""Arguments of calls that are made later. Stub of arguments.rs."""

__all__ = ["frozen_arguments"]

def frozen_arguments(arguments: tuple[object, ...]) -> tuple[object, ...]:
    """The arguments as they are now: changing them afterwards changes nothing of these."""
