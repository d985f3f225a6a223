"""Exceptions that have nobody to go to. Stub of unraisable.rs."""

__all__ = ["report_unraisable"]

def report_unraisable(error: BaseException, raised_by: object) -> None:
    """Hands the exception of something that was called, a listener for one, to `sys.unraisablehook`."""
