"""Texts that are not UTF-8: a server speaks its own encoding before authentication."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import (
    ONE_FLIGHT,
    PARSED,
    answer,
    authentication,
    close,
    error,
    expect,
    fields,
    greeting,
    int4_answer,
    key,
    message,
    notification,
    ones,
    open_at,
    parameter,
    ready,
    send,
)
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable

LATIN = "Datenbank »d« gehört niemandem".encode("latin-1")


@pytest.mark.row("E09")
async def test_latin_1_before_authentication(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    at = peer([send(error("3D000", LATIN, "FATAL")), close], lenient=True)
    with pytest.raises(errors.Error) as caught:
        await open_at(face, at.where)
    text = f"{caught.value} {caught.value.__cause__}"
    assert "Datenbank" in text
    assert "geh\N{REPLACEMENT CHARACTER}rt niemandem" in text


@pytest.mark.row("E09")
@pytest.mark.parametrize("severity", [b"FATAL", "FATAL\xc9".encode("latin-1"), b"\xd0\xa4"])
async def test_a_localised_severity(
    face: str, runner: Any, peer: Callable[..., Any], severity: bytes
) -> None:
    """`V` says FATAL whatever `S` says."""
    body = fields({"S": severity, "V": "FATAL", "C": "28000", "M": LATIN})
    at = peer([send(message("E", body)), close], lenient=True)
    with pytest.raises(errors.Error) as caught:
        await open_at(face, at.where)
    found = caught.value if isinstance(caught.value, errors.DatabaseError) else caught.value.__cause__
    while found is not None and getattr(found, "sqlstate", None) != "28000":
        found = found.__cause__
    assert found is not None, repr(caught.value)


@pytest.mark.row("E09")
async def test_notices_errors_parameters_and_notifications(
    face: str, runner: Any, peer: Callable[..., Any]
) -> None:
    bad = b"caf\xe9"
    greeted = authentication() + parameter("application_name", bad) + key() + ready()
    sent = message("N", fields({"S": "NOTICE", "V": "NOTICE", "C": "00000", "M": bad}))
    raw = message("A", b"\0\0\0\1" + bad + b"\0" + bad + b"\0")
    at = peer(
        [
            send(greeted),
            expect(ONE_FLIGHT),
            send(sent + raw + notification() + int4_answer(1)),
            expect(ONE_FLIGHT),
            send(PARSED + error("22000", bad) + ready()),
            answer(ones),
        ]
    )
    db = await open_at(face, at.where)
    notices: list[Any] = []
    told: list[Any] = []
    db.add_notice_listener(notices.append)
    db.add_notification_listener(told.append)
    replaced = "caf\N{REPLACEMENT CHARACTER}"
    assert db.parameter("application_name") == replaced
    assert await db.fetch_value("show 1") == 1
    assert [one.message for one in notices] == [replaced]
    assert (told[0].channel, told[0].payload) == (replaced, replaced)
    with pytest.raises(errors.DatabaseError, match=replaced):
        await db.fetch_value("show 2")
    assert await db.fetch_value("show 3") == 1
    await db.close()


@pytest.mark.row("E09")
async def test_column_names_and_values(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """An undecodable value is a DataError of that call alone; an undecodable column name is no reason to fail."""
    from fixtures.fix_script import BOUND, complete, parameter_types, row, text_columns

    described = PARSED + parameter_types() + text_columns(("a", 25)) + BOUND
    named = message("T", b"\0\1caf\xe9\0" + b"\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0")
    at = peer(
        [
            send(greeting()),
            expect(ONE_FLIGHT),
            send(described + row(b"\xe9") + row(b"ok") + complete("SELECT 2") + ready()),
            expect(ONE_FLIGHT),
            send(PARSED + parameter_types() + named + BOUND + row(b"1") + complete("SELECT 1") + ready()),
            answer(ones),
        ]
    )
    db = await open_at(face, at.where)
    with pytest.raises(errors.DataError):
        await db.fetch_all("show 1")
    assert (await db.fetch_one("show 2"))[0] == 1
    assert await db.fetch_value("show 3") == 1
    await db.close()
