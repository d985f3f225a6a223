"""What each codec reads and takes, in words. Stub of convert/table.rs."""

__all__ = ["codecs"]

def codecs() -> list[tuple[str, str, str, str, str]]:
    """The built-in types that are no arrays: name, class it is read as, classes it takes, format, note.

    As a connection without options treats them. For tools/gen_types.py.
    """
