"""COPY FROM STDIN in text format. Stub of copy_text.rs."""

from collections.abc import Sequence
from typing import Literal

__all__ = ["copy_format"]

def copy_format(types: Sequence[int]) -> Literal["binary", "text"]:
    """The format that COPY of columns of these types takes: "text" when one of them has no binary codec of ours."""
