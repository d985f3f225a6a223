"""The server's version as a number."""

from __future__ import annotations

__all__ = ["version_number"]


def version_number(text: str) -> int:
    """`150020` for "15.20 (Debian 15.20-0+deb12u1)", as the server's own server_version_num counts.

    From 10 on: major x 10000 + minor; before: "9.6.24" is 90624. Development versions ("17devel", "16beta2") count as
    minor 0. Text that names no version ("PgBouncer 1.21", a fork's own wording) gives the first number in it, or 0.

    >>> version_number("15.20 (Debian 15.20-0+deb12u1)"), version_number("17devel"), version_number("9.6.24")
    (150020, 170000, 90624)
    """
    parts = _leading_numbers(text)
    if not parts:
        return 0
    major, minor, patch = [*parts, 0, 0][:3]
    return major * 10_000 + minor if major >= 10 else major * 10_000 + minor * 100 + patch


def _leading_numbers(text: str) -> list[int]:
    """The dotted numbers at the first digit, at most three, each of a sane size."""
    start = next((i for i, c in enumerate(text) if c.isascii() and c.isdigit()), len(text))
    numbers: list[int] = []
    for piece in text[start:].split(".")[:3]:
        digits = ""
        for c in piece[:5]:
            if not (c.isascii() and c.isdigit()):
                break
            digits += c
        if not digits:
            break
        numbers.append(int(digits))
        if len(digits) < len(piece):
            break
    return numbers
