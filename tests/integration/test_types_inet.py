"""inet, cidr, macaddr, macaddr8: the classes of `ipaddress`, filled without their constructors: nothing may be missing."""

from __future__ import annotations

import copy
import gc
import ipaddress
import pickle
import weakref
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import formats, same, sent
from pgoxide.errors import DataError

pytestmark = [pytest.mark.pg, pytest.mark.row("T03")]

INETS = [
    IPv4Address("0.0.0.0"), IPv4Address("255.255.255.255"), IPv4Address("10.0.0.1"), IPv4Interface("10.0.0.1/24"), IPv4Interface("10.0.0.1/0"),
    IPv4Interface("10.0.0.0/31"), IPv4Interface("10.0.0.1/1"), IPv6Address("::"), IPv6Address("2001:db8::1"), IPv6Address("::ffff:1.2.3.4"),
    IPv6Address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), IPv6Interface("2001:db8::1/64"), IPv6Interface("::1/127"), IPv6Interface("::1/0"),
]  # fmt: skip
CIDRS = [
    IPv4Network("0.0.0.0/0"), IPv4Network("10.0.0.0/8"), IPv4Network("10.0.0.0/31"), IPv4Network("10.0.0.1/32"), IPv6Network("::/0"),
    IPv6Network("2001:db8::/32"), IPv6Network("2001:db8::/127"), IPv6Network("2001:db8::1/128"), IPv4Network("128.0.0.0/1"),
]  # fmt: skip


def everything(value):
    """All that an instance holds, what is public and what is not; functions by what they give."""
    slots = {name for base in type(value).__mro__ for name in getattr(base, "__slots__", ())} - {
        "__weakref__"
    }
    found = {name: getattr(value, name) for name in slots} | getattr(value, "__dict__", {})
    if "hosts" in found:
        found["hosts"] = list(value.hosts())
    return {
        name: everything(held) if isinstance(held, IPv4Network | IPv6Network) else held
        for name, held in found.items()
    }


@pytest.mark.row("V16")
@pytest.mark.parametrize("value", INETS, ids=str)
async def test_inet(db, value):
    found = await sent(db, "inet", value)
    assert found.back == value
    assert ipaddress.ip_interface(found.text) == ipaddress.ip_interface(str(value))
    read = await same(db, f"'{value}'::inet")
    assert (type(read), read) == (type(value), value)


@pytest.mark.row("V17")
@pytest.mark.parametrize("value", CIDRS, ids=str)
async def test_cidr(db, value):
    found = await sent(db, "cidr", value)
    assert (found.text, found.back) == (str(value), value)
    read = await same(db, f"'{value}'::cidr")
    assert (type(read), read) == (type(value), value)


@pytest.mark.row("V16", "V17")
@pytest.mark.parametrize(
    ("name", "made"), [("inet", value) for value in INETS] + [("cidr", value) for value in CIDRS], ids=str
)  # fmt: skip
async def test_they_are_what_the_classes_make_in_every_respect(db, name, made):
    for value in await formats(db, f"'{made}'::{name}"):
        made = type(made)(str(made))  # a new one: the last one has cached properties by now
        assert type(value) is type(made)
        assert everything(value) == everything(made)
        assert list(getattr(value, "__dict__", {})) == list(getattr(made, "__dict__", {}))
        assert (value, hash(value), repr(value), str(value)) == (made, hash(made), repr(made), str(made))
        assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == made
        assert (value.packed if name == "inet" else value.num_addresses) == (
            made.packed if name == "inet" else made.num_addresses
        )
        assert value.is_private == made.is_private
        assert f"{value!s:>40}" == f"{made!s:>40}"
        assert not value < made
        assert weakref.ref(value)() is value
        if name == "cidr":
            assert (value.broadcast_address, value.hostmask, value.with_netmask) == (
                made.broadcast_address, made.hostmask, made.with_netmask,
            )  # fmt: skip
            assert value.subnet_of(made)
            assert made.network_address in value


@pytest.mark.row("V16")
async def test_a_cycle_through_an_interface_is_collected(db):
    """Anybody may hang something on one."""

    class Thing:
        pass

    row = await db.fetch_one("select '10.0.0.1/24'::inet as a")
    row.a.row, row.a.thing = row, Thing()
    gone = weakref.ref(row.a.thing)
    del row
    gc.collect()
    assert gone() is None


@pytest.mark.row("V16", "V17")
async def test_what_else_is_taken(db):
    assert (await sent(db, "inet", IPv4Network("10.0.0.0/8"))).back == IPv4Interface("10.0.0.0/8")
    assert (await sent(db, "inet", IPv6Network("::/128"))).back == IPv6Address("::")
    assert (await sent(db, "cidr", IPv4Address("10.0.0.1"))).back == IPv4Network("10.0.0.1/32")
    for text in ("10.0.0.1/24", "10.0.0.1", "2001:db8::1/64", "::ffff:1.2.3.4"):
        assert (await sent(db, "inet", text)).back == await same(db, f"'{text}'::inet")
    for text in ("10.0.0.0/24", "10.0.0.1", "2001:db8::/64"):
        assert (await sent(db, "cidr", text)).back == await same(db, f"'{text}'::cidr")

    class Mine(IPv4Address):
        pass

    assert (await sent(db, "inet", Mine("1.2.3.4"))).back == IPv4Address("1.2.3.4")


@pytest.mark.row("V16", "V17")
@pytest.mark.parametrize("name", ["inet", "cidr"])
@pytest.mark.parametrize(
    "value",
    [5, b"\0\0\0\1", "10.0.0.300", "10/8", "", "x", "é", "::1%1", 1.5, "10.0.0.0/33", "10.0.0.0/x"],
    ids=ascii,
)
async def test_what_is_no_address(db, name, value):
    for _ in range(2):
        with pytest.raises(DataError, match=rf"argument \$1 \({name}\)"):
            await db.fetch_value(f"select $1::{name}", value)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("V16", "V17")
async def test_nothing_is_cut_off(db):
    for name, value, words in (
        ("cidr", IPv4Interface("10.0.0.1/24"), "would lose its address"),
        ("cidr", "10.0.0.1/24", "bits set to the right"),
        ("inet", IPv6Address("fe80::1%eth0"), "scope"),
        ("inet", IPv6Interface("fe80::1%eth0/64"), "scope"),
        ("cidr", IPv6Address("fe80::1%2"), "scope"),
    ):
        with pytest.raises(DataError, match=words):
            await db.fetch_value(f"select $1::{name}", value)


@pytest.mark.row("V16", "V17", "V18")
async def test_null_and_copy(db):
    row = (IPv4Interface("10.0.0.1/24"), IPv6Network("::/0"), "08:00:2b:01:02:03", "08:00:2b:01:02:03:04:05")
    await db.execute("create temp table t (a inet, b cidr, c macaddr, d macaddr8)")
    await db.execute("create temp table u (a inet, b cidr, c macaddr, d macaddr8, e regclass)")
    await db.copy_in("t", [row, (None,) * 4])
    await db.copy_in("u", [(*row, None), (None,) * 5])
    assert await db.fetch_all("select * from t") == [row, (None,) * 4]
    assert await db.fetch_all("select * from u") == [(*row, None), (None,) * 5]
    assert await db.fetch_one("select $1::inet, $2::cidr, $3::macaddr", None, None, None) == (
        None,
        None,
        None,
    )


MACS = ["08:00:2b:01:02:03", "08-00-2b-01-02-03", "08002b:010203", "08002b-010203", "0800.2b01.0203", "0800-2b01-0203", "08002B010203"]  # fmt: skip


@pytest.mark.row("V18")
@pytest.mark.parametrize("text", MACS)
async def test_forms_of_macaddr(db, text):
    assert await sent(db, "macaddr", text) == ("08:00:2b:01:02:03", "08:00:2b:01:02:03")
    assert await same(db, f"'{text}'::macaddr") == "08:00:2b:01:02:03"
    assert (
        (await sent(db, "macaddr8", text)).back
        == await same(db, f"'{text}'::macaddr8")
        == "08:00:2b:ff:fe:01:02:03"
    )


@pytest.mark.row("V18")
async def test_macaddr8(db):
    for text in ("00:00:00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff:ff:ff", "01:23:45:67:89:ab:cd:ef"):
        assert await sent(db, "macaddr8", text) == (text, text)
        assert await sent(db, "macaddr8", text.replace(":", "")) == (text, text)
        assert await same(db, f"'{text}'::macaddr8") == text


@pytest.mark.row("V18")
@pytest.mark.parametrize("name", ["macaddr", "macaddr8"])
@pytest.mark.parametrize(
    "value", [5, b"123456", "", "08:00:2b:01:02", "08:00:2b:01:02:0g", "é", "08:00:2b:01:02:03:04"], ids=ascii
)
async def test_what_is_no_macaddr(db, name, value):
    for _ in range(2):
        with pytest.raises(DataError, match=rf"argument \$1 \({name}\)"):
            await db.fetch_value(f"select $1::{name}", value)


@pytest.mark.row("V16", "V17", "V18")
def test_any(runner, db):
    prefixed = st.tuples(st.ip_addresses(v=4), st.integers(0, 32)) | st.tuples(
        st.ip_addresses(v=6), st.integers(0, 128)
    )

    @settings(max_examples=150, deadline=None, database=None)
    @given(prefixed, st.binary(min_size=8, max_size=8))
    def check(pair, mac):
        async def body():
            address, prefix = pair
            interface = ipaddress.ip_interface(f"{address}/{prefix}")
            value = address if prefix == address.max_prefixlen else interface
            assert (await sent(db, "inet", interface)).back == await same(db, f"'{interface}'::inet") == value
            text = (await sent(db, "cidr", interface.network)).text
            assert (
                ipaddress.ip_network(text)
                == interface.network
                == await same(db, f"'{interface.network}'::cidr")
            )
            assert await sent(db, "macaddr8", mac.hex()) == (mac.hex(":"), mac.hex(":"))
            assert await sent(db, "macaddr", mac[:6].hex()) == (mac[:6].hex(":"), mac[:6].hex(":"))

        runner.run(body())

    check()
