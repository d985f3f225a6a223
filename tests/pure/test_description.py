"""What type modifiers mean."""

from __future__ import annotations

import pytest

from pgoxide.types import ResultColumn, StatementParameter

pytestmark = pytest.mark.row("T13", face="both")


def test_values() -> None:
    column = ResultColumn("a", 23, "int4")
    assert (column.type_modifier, column.table_oid, column.attnum) == (-1, None, None)
    assert column == ResultColumn("a", 23, "int4")
    assert len({column, ResultColumn("a", 23, "int4")}) == 1
    with pytest.raises(AttributeError):
        column.name = "b"  # type: ignore[misc]  # frozen
    assert StatementParameter(None, 23, "int4") != StatementParameter("a", 23, "int4")


@pytest.mark.parametrize(
    ("type_name", "modifier", "expected"),
    [
        ("numeric", (12 << 16 | 2) + 4, (12, 2, None, None)),
        ("numeric", (5 << 16 | (-2 & 0x7FF)) + 4, (5, -2, None, None)),
        ("numeric[]", (1000 << 16 | 1000) + 4, (1000, 1000, None, None)),
        ("numeric", -1, (None, None, None, None)),
        ("varchar", 11, (None, None, 7, None)),
        ("bit", 3, (None, None, 3, None)),
        ("timestamp", 0, (0, None, None, None)),
        ("interval", 0x7FFF << 16 | 2, (2, None, None, None)),
        ("interval", (1 << 1 | 1 << 2) << 16 | 0xFFFF, (None, None, None, "year to month")),
        ("int4", 7, (None, None, None, None)),
    ],
)
def test_modifiers(
    type_name: str, modifier: int, expected: tuple[int | None, int | None, int | None, str | None]
) -> None:
    column = ResultColumn("a", 0, type_name, modifier)
    assert (column.precision, column.scale, column.length, column.interval_fields) == expected
