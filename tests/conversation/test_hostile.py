"""A peer that breaks the protocol: a typed error, never a hang, and the line is closed."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import (
    BOUND,
    CLOSED,
    EMPTY,
    NO_DATA,
    ONE_FLIGHT,
    PARSED,
    SUSPENDED,
    answer,
    authentication,
    columns,
    complete,
    error,
    expect,
    greeting,
    int4_answer,
    key,
    message,
    ones,
    open_at,
    parameter,
    parameter_types,
    ready,
    row,
    send,
    stall,
    text_columns,
    until_end,
)
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT_A = text_columns(("a", 23))
DESCRIBED = PARSED + parameter_types() + TEXT_A

BROKEN_STARTUPS = {
    "ready-first": ready(),
    "row-first": row(b"1"),
    "key-first": key(),
    "ok-twice": authentication() + authentication(),
    "complete": authentication() + complete("SELECT 1"),
    "http": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
    "tls-answer": b"N",
    "zeros": bytes(64),
    "ff": b"\xff" * 64,
    "short-auth": message("R", b"\0"),
    "long-key": authentication() + key(1, b"k" * 100_000),
    "bad-status": authentication() + message("Z", b"?"),
    "empty-status": authentication() + message("Z"),
    "parameter-unterminated": authentication() + message("S", b"TimeZone"),
}


@pytest.mark.row("E07", "S08")
@pytest.mark.parametrize("said", BROKEN_STARTUPS.values(), ids=BROKEN_STARTUPS.keys())
async def test_start_up(face: str, runner: Any, peer: Callable[..., Any], said: bytes) -> None:
    """Ended with an error, or, for what is merely too short, at the deadline."""
    at = peer([send(said), until_end], [send(greeting()), answer(ones)], lenient=True)
    with pytest.raises(errors.OperationalError) as caught:
        await open_at(face, at.where, connect_timeout=2)
    incomplete = said == b"N"
    assert isinstance(caught.value, errors.QueryTimeout) == incomplete, repr(caught.value)
    await _lives(face, at)


async def _lives(face: str, at: Any) -> None:
    """A fresh connection works."""
    db = await open_at(face, at.where)
    assert await db.fetch_value("show 1") == 1
    await db.close()


BROKEN_ANSWERS = {
    "unknown-kind": PARSED + message("@", b"123"),
    "frontend-kind": message("Q", b"select 1\0"),
    "out-of-order": BOUND + PARSED,
    "ready-early": PARSED + ready(),
    "row-undescribed": PARSED + parameter_types() + row(b"1"),
    "row-before-bind": DESCRIBED + row(b"1"),
    "two-endings": DESCRIBED + BOUND + row(b"1") + complete("SELECT 1") + complete("SELECT 1"),
    "surplus-ready": int4_answer(1)[:-6] + ready() + ready(),
    "close-complete": DESCRIBED + BOUND + CLOSED,
    "no-data-then-row": PARSED
    + parameter_types()
    + NO_DATA
    + BOUND
    + row(b"1")
    + complete("SELECT 1")
    + ready(),
    "more-columns": DESCRIBED + BOUND + row(b"1", b"2") + complete("SELECT 1") + ready(),
    "fewer-columns": DESCRIBED + BOUND + row() + complete("SELECT 1") + ready(),
    "value-longer-than-row": DESCRIBED + BOUND + message("D", struct.pack("!hi", 1, 100) + b"1"),
    "value-length-minus-two": DESCRIBED + BOUND + message("D", struct.pack("!hi", 1, -2)),
    "row-trailing": DESCRIBED + BOUND + message("D", struct.pack("!hi", 1, 1) + b"1xx"),
    "row-empty-body": DESCRIBED + BOUND + message("D"),
    "columns-claimed": PARSED + parameter_types() + message("T", struct.pack("!h", 32767)),
    "columns-negative": PARSED + parameter_types() + message("T", struct.pack("!h", -1)),
    "parameters-claimed": PARSED + message("t", struct.pack("!H", 65535)),
    "error-unterminated": PARSED + message("E", b"SERROR"),
    "error-empty": PARSED + message("E"),
    "tag-unterminated": DESCRIBED + BOUND + message("C", b"SELECT 1"),
    "status-unknown": int4_answer(1)[:-1] + b"X",
    "auth-again": PARSED + authentication(),
    "key-again": PARSED + key(),
    "suspended-then-row": DESCRIBED + BOUND + SUSPENDED + row(b"1"),
    "empty-then-row": DESCRIBED + BOUND + EMPTY + row(b"1"),
    "copy-both": DESCRIBED + BOUND + message("W", b"\0\0\0"),
    "copy-data-alone": DESCRIBED + BOUND + message("d", b"x") + message("c") + complete("COPY 1") + ready(),
    "copy-in-claims": DESCRIBED + BOUND + message("G", b"\0" + struct.pack("!h", 500)),
    "zeros": bytes(32),
}


@pytest.mark.row("E07", "S08")
@pytest.mark.parametrize("said", BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS.keys())
async def test_answers(face: str, runner: Any, peer: Callable[..., Any], said: bytes) -> None:
    at = peer(
        [send(greeting()), expect(ONE_FLIGHT), send(said), until_end],
        [send(greeting()), answer(ones)],
        lenient=True,
    )
    db = await open_at(face, at.where, command_timeout=3)
    with pytest.raises(errors.Error) as caught:
        # The surplus ReadyForQuery of some scripts concerns nobody's call: the next one hears of it.
        await db.fetch_value("show 1")
        await db.fetch_value("show 1")
    assert not isinstance(caught.value, errors.QueryTimeout), repr(caught.value)
    chain = [caught.value, caught.value.__cause__]
    assert any(isinstance(one, errors.ProtocolError) for one in chain), chain
    assert db.closed
    with pytest.raises(errors.ConnectionClosed):
        await db.fetch_value("show 1")
    await db.close()
    await _lives(face, at)


@pytest.mark.row("E07")
@pytest.mark.fault
async def test_random_garbage(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """Valid answers with bytes changed, and plain noise: an error or an answer, in time, never a panic."""
    chance = random.Random(20_240_601)
    good = int4_answer(7)
    scripts = []
    for number in range(150):
        said = bytearray(good)
        if number % 3 == 0:
            said = bytearray(chance.randbytes(chance.randrange(5, 200)))
        for _ in range(chance.randrange(1, 4)):
            said[chance.randrange(len(said))] = chance.randrange(256)
        scripts.append([send(greeting()), expect(ONE_FLIGHT), send(bytes(said), chance.choice([None, 1, 5]))])
    at = peer(*scripts, [send(greeting()), answer(ones)], lenient=True)
    for _ in range(len(scripts)):
        db = await open_at(face, at.where, command_timeout=5)
        try:
            await db.fetch_value("show 7")
        except errors.QueryTimeout:
            raise
        except errors.Error:
            pass
        await db.close()
    await _lives(face, at)


@pytest.mark.row("E07")
async def test_unasked_messages_while_idle(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    at = peer([send(greeting() + complete("SELECT 1")), until_end], lenient=True)
    with pytest.raises(errors.OperationalError):
        db = await open_at(face, at.where)
        await db.fetch_value("show 1", timeout=3)


@pytest.mark.row("E07")
async def test_a_flood_of_settings_is_bounded(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    flood = b"".join(parameter(f"setting{i}", "x") for i in range(5000))
    at = peer([send(authentication() + flood + key() + ready()), until_end], lenient=True)
    with pytest.raises(errors.OperationalError) as caught:
        await open_at(face, at.where)
    assert isinstance(caught.value, errors.ProtocolError) or isinstance(
        caught.value.__cause__, errors.ProtocolError
    )


@pytest.mark.row("Y05")
async def test_copy_in_response_again_and_again(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """A peer that starts COPY without end must not make us answer without end."""
    start = message("G", b"\0\0\0")
    at = peer(
        [send(greeting()), expect(ONE_FLIGHT), send(DESCRIBED + BOUND + start * 20_000), stall],
        lenient=True,
    )
    db = await open_at(face, at.where)
    with pytest.raises(errors.Error) as caught:
        await db.fetch_value("copy t from stdin", timeout=1)
    assert not isinstance(caught.value, errors.QueryTimeout), "20 000 CopyInResponses were all accepted"
    db.abort()


@pytest.mark.row("Q25")
async def test_odd_but_legal_answers(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """No column, no row, an empty text, a tag nobody knows, an error without a code."""
    nothing = PARSED + parameter_types() + columns()
    at = peer(
        [
            send(greeting()),
            expect(ONE_FLIGHT),
            send(nothing + BOUND + row() + row() + complete("SELECT 2") + ready()),
            expect(ONE_FLIGHT),
            send(PARSED + parameter_types() + NO_DATA + BOUND + EMPTY + ready()),
            expect(ONE_FLIGHT),
            send(PARSED + parameter_types() + NO_DATA + BOUND + complete("FLY TO MOON") + ready()),
            expect(ONE_FLIGHT),
            send(message("E", b"\0") + ready()),
            expect("Q"),
            send(ready()),
            expect("X"),
        ]
    )
    db = await open_at(face, at.where)
    assert [tuple(one) for one in await db.fetch_all("show")] == [(), ()]
    assert await db.fetch_all("") == []
    tag = await db.execute("fly")
    assert "FLY TO MOON" in str(tag)
    with pytest.raises(errors.DatabaseError):
        await db.execute("bad")
    assert list(await db.execute_script("")) == []
    await db.close()


@pytest.mark.row("S05")
async def test_fatal_text_is_kept(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    at = peer(
        [send(greeting()), expect(ONE_FLIGHT), send(error("57P01", "going down", "FATAL"))], lenient=True
    )
    db = await open_at(face, at.where)
    with pytest.raises(errors.Error, match="going down"):
        await db.fetch_value("show 1")
    with pytest.raises(errors.ConnectionClosed, match="going down") as caught:
        await db.fetch_value("show 1")
    assert isinstance(caught.value.__cause__, errors.class_for("57P01"))
    await db.close()
