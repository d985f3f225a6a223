"""COPY FROM STDIN in text format. Stub of copy_text.rs."""

from collections.abc import Sequence
from typing import Literal

from pgoxide._core.async_client import AsyncClient
from pgoxide._core.blocking_client import Client

__all__ = ["copy_format", "knows_types"]

def copy_format(client: AsyncClient | Client, types: Sequence[int]) -> Literal["binary", "text"]:
    """The format that COPY of columns of these types takes on this connection: "text" when one of them has no binary codec of ours."""

def knows_types(client: AsyncClient | Client, types: Sequence[int]) -> bool:
    """Whether values of these types can be written: those that are not built in have been looked up."""
