"""What PostgreSQL tells of itself: positions in the log, snapshots, places of rows.

Source: the manual's chapters "pg_lsn Type", "Transaction ID and Snapshot Information Functions", "System Columns".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

from pgoxide.errors import DataError

__all__ = ["Lsn", "Snapshot", "Tid"]


class Lsn(int):
    """A position in the write-ahead log (type `pg_lsn`): an int from 0 to 2**64 - 1 that is written `16/B374D848`.

    Made from an int, or from that text. It compares and hashes as the int. The difference of two is an int of bytes; a
    position plus or minus a number of bytes is a position. Raises DataError for what is none.

    >>> Lsn("16/B374D848")
    Lsn('16/B374D848')
    >>> Lsn("0/20") - Lsn("0/10"), Lsn("0/20") - 16, Lsn(2**64 - 1) > Lsn("0/0")
    (16, Lsn('0/10'), True)
    """

    __slots__ = ()

    def __new__(cls, value: int | str) -> Self:
        """From a number of bytes or from text."""
        number = _parse_lsn(value) if isinstance(value, str) else int(value)
        if not 0 <= number < 1 << 64:
            raise DataError(f"{number} is no position in the log: 0 to 2**64 - 1")
        return super().__new__(cls, number)

    def __add__(self, other: int) -> Lsn:
        return NotImplemented if isinstance(other, Lsn) else _moved(self, other, 1)

    def __radd__(self, other: int) -> Lsn:
        return self.__add__(other)

    def __sub__(self, other: int) -> int:
        """Bytes between two positions; or a position some bytes before this one."""
        return int(self) - int(other) if isinstance(other, Lsn) else _moved(self, other, -1)

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFF_FFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn({str(self)!r})"

    def __format__(self, spec: str) -> str:
        """As its text, but a specification for numbers formats the number."""
        return format(str(self), spec) if not spec or spec[-1] == "s" else format(int(self), spec)


def _parse_lsn(text: str) -> int:
    high, slash, low = text.partition("/")
    try:
        halves = [
            int(half, 16) for half in (high, low) if half.isalnum() and half.isascii() and len(half) <= 8
        ]
    except ValueError:
        halves = []
    if not slash or len(halves) != 2:
        raise DataError(f"{text!r} is no position in the log, such as '16/B374D848'")
    return halves[0] << 32 | halves[1]


def _moved(start: Lsn, by: object, sign: int) -> Lsn:
    return Lsn(int(start) + sign * by) if isinstance(by, int) else NotImplemented


class Tid(NamedTuple):
    """Where a row version lies (type `tid`, the column `ctid`): the block, and the line in it."""

    block: int
    offset: int

    def __str__(self) -> str:
        return f"({self.block},{self.offset})"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions had ended (types `pg_snapshot` and `txid_snapshot`).

    xmin: all before it had. xmax: none from it on had. xip: those between that had not, in rising order.

    >>> snapshot = Snapshot(10, 20, (10, 14))
    >>> [snapshot.visible(xid) for xid in (9, 10, 11, 14, 20)]
    [True, False, True, False, False]
    >>> str(snapshot)
    '10:20:10,14'
    """

    xmin: int
    xmax: int
    xip: tuple[int, ...] = ()

    def visible(self, xid: int) -> bool:
        """Whether the transaction had ended, as `pg_visible_in_snapshot` tells."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.xip)

    def __str__(self) -> str:
        """As the server writes it."""
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.xip))}"
