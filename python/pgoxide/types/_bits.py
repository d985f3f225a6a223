"""bit and varbit.

Source: the manual's chapter "Bit String Types".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import total_ordering
from typing import SupportsIndex, overload

from pgoxide.errors import DataError

__all__ = ["BitString"]


@total_ordering
class BitString:
    r"""A string of bits, of any length; the first bit is the most significant, as PostgreSQL writes it.

    Made from a text of `0` and `1`, or with `from_int` and `from_bytes`. It is a sequence of the ints 0 and 1, with slices,
    `+`, `&`, `|`, `^` and `~`. It orders as the server orders varbit: bit by bit, then by length.

    >>> bits = BitString("1011")
    >>> bits[0], bits[1:3], len(bits), int(bits), bytes(bits), str(bits)
    (1, BitString('01'), 4, 11, b'\xb0', '1011')
    >>> bits | BitString("0100"), ~bits, bits + "1"
    (BitString('1111'), BitString('0100'), BitString('10111'))
    """

    __slots__ = ("_data", "_length")

    _data: bytes
    _length: int

    def __init__(self, bits: str = "") -> None:
        if set(bits) - {"0", "1"}:
            raise DataError(f"{bits!r} is no string of 0 and 1")
        filled = bits.ljust(-len(bits) % 8 + len(bits), "0")
        data = int(filled, 2).to_bytes(len(filled) // 8, "big") if filled else b""
        _fill(self, data, len(bits))

    @classmethod
    def from_int(cls, value: int, length: int) -> BitString:
        """The `length` bits of a number that is not negative.

        Raises DataError when it needs more.

        >>> BitString.from_int(5, 8)
        BitString('00000101')
        """
        if value < 0 or length < 0 or value.bit_length() > length:
            raise DataError(f"{value} does not fit into {length} bits")
        size = (length + 7) // 8
        return cls.from_bytes((value << (size * 8 - length)).to_bytes(size, "big"), length)

    @classmethod
    def from_bytes(cls, data: bytes, length: int | None = None) -> BitString:
        r"""The first `length` bits of bytes, by default all. Raises DataError when bits behind them are set.

        >>> BitString.from_bytes(b"\xff\x80", 9)
        BitString('111111111')
        """
        length = len(data) * 8 if length is None else length
        if len(data) != (length + 7) // 8 or (length % 8 and data[-1] & (0xFF >> length % 8)):
            raise DataError(f"{len(data)} bytes are not {length} bits, filled up with zeros")
        made = cls.__new__(cls)
        _fill(made, bytes(data), length)
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a BitString cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a BitString cannot be changed")

    def __len__(self) -> int:
        return self._length

    def __int__(self) -> int:
        """The bits as a number."""
        return int.from_bytes(self._data, "big") >> (-self._length % 8)

    def __bytes__(self) -> bytes:
        """The bits from the left, the last byte filled up with zeros."""
        return self._data

    def __str__(self) -> str:
        return f"{int(self):0{self._length}b}" if self._length else ""

    def __repr__(self) -> str:
        return f"BitString({str(self)!r})"

    def __iter__(self) -> Iterator[int]:
        return (int(bit) for bit in str(self))

    @overload
    def __getitem__(self, index: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> BitString: ...
    def __getitem__(self, index: SupportsIndex | slice) -> int | BitString:
        if isinstance(index, slice):
            return BitString(str(self)[index])
        at = index.__index__()
        if not -self._length <= at < self._length:
            raise IndexError("no such bit")
        at %= self._length
        return self._data[at // 8] >> (7 - at % 8) & 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BitString):
            return NotImplemented
        return self._length == other._length and self._data == other._data

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, BitString):
            return NotImplemented
        return str(self) < str(other)

    def __hash__(self) -> int:
        return hash((self._length, self._data))

    def __add__(self, other: BitString | str) -> BitString:
        """One after the other; a text of `0` and `1` will do."""
        return BitString(f"{self}{other}")

    def __and__(self, other: BitString) -> BitString:
        return BitString.from_int(int(self) & int(other), self._common(other))

    def __or__(self, other: BitString) -> BitString:
        return BitString.from_int(int(self) | int(other), self._common(other))

    def __xor__(self, other: BitString) -> BitString:
        return BitString.from_int(int(self) ^ int(other), self._common(other))

    def __invert__(self) -> BitString:
        return BitString.from_int(int(self) ^ ((1 << self._length) - 1), self._length)

    def _common(self, other: BitString) -> int:
        if len(other) != self._length:
            raise DataError(
                f"{self._length} and {len(other)} bits: both must have the same number, as for the server"
            )
        return self._length

    def __reduce__(self) -> tuple[object, tuple[bytes, int]]:
        return BitString.from_bytes, (self._data, self._length)


def _fill(target: BitString, data: bytes, length: int) -> None:
    object.__setattr__(target, "_data", data)
    object.__setattr__(target, "_length", length)
