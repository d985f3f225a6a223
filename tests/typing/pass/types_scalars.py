"""Classes of values, and the options that choose between them."""

from __future__ import annotations

import datetime as dt
from ipaddress import IPv4Address
from typing import assert_type

import pgoxide
from pgoxide.types import (
    BitString,
    Interval,
    Json,
    JsonNull,
    Lsn,
    PgDate,
    PgTime,
    Point,
    Polygon,
    Snapshot,
    Tid,
    TsVector,
)


async def values(db: pgoxide.AsyncConnection) -> None:
    assert_type(await db.fetch_value("select interval '1 day'", into=Interval), Interval | None)
    assert_type(await db.fetch_column("select '10.0.0.1'::inet", into=IPv4Address), list[IPv4Address | None])
    assert_type(await db.fetch_column("select '0/1'::pg_lsn", into=Lsn), list[Lsn | None])
    await db.execute("select $1, $2, $3", Json({"a": [1]}), JsonNull, Point(1, 2))


def options() -> None:
    with pgoxide.Connection.connect(money=2, json="bytes", json_null="special", beyond="special") as db:
        assert_type(db.fetch_value("select 1", into=int), int | None)
    with pgoxide.Connection.connect(money="text"):
        pass


def parts() -> None:
    interval = Interval(months=1) + dt.timedelta(1)
    assert_type(interval, Interval)
    assert_type(interval * 2, Interval)
    assert_type(interval.to_timedelta(days_per_month=30), dt.timedelta)
    assert_type(BitString("101")[0], int)
    assert_type(BitString("101")[1:], BitString)
    assert_type(Lsn("0/1") + 1, Lsn)
    assert_type(Lsn("0/1") - Lsn("0/0"), int)
    assert_type(TsVector({"a": [1, (2, "A")]})["a"], tuple[tuple[int, str], ...])
    assert_type(Polygon((Point(1, 2),)).points, tuple[Point, ...])
    assert_type(Tid(1, 2).block, int)
    assert_type(Snapshot(1, 2).visible(1), bool)
    assert_type(PgDate(1, 2, 3).to_date(), dt.date)
    assert_type(PgTime(24) < PgTime(1), bool)
