from __future__ import annotations

import errno
import os
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from lab.netlink import (
    BATCH,
    IFF_LOWER_UP,
    LinkEnd,
    Request,
    Rtnetlink,
    add_address,
    add_route,
    attribute,
    attributes,
    delete_group,
    inside,
    link_group,
    link_up,
    new_netns,
    veth,
)
from tests.lab.netns_hosts import Host, hosts


def test_attributes_are_padded_and_read_back() -> None:
    data = attribute(1, "eth0") + attribute(2, b"abc") + attribute(3 | 0x8000, 7)

    assert len(data) % 4 == 0
    assert list(attributes(data)) == [(1, b"eth0\0"), (2, b"abc"), (3, b"\7\0\0\0")]


def test_broken_attributes_end_the_list() -> None:
    assert list(attributes(attribute(1, b"x") + b"\1\0\0\0")) == [(1, b"x")]
    assert list(attributes(b"\7")) == []


def pairs(a: Host, b: Host, numbers: range) -> list[Request]:
    return [
        veth(
            LinkEnd(f"p{number}", "00:0d:3a:00:00:01", 1000 + number),
            LinkEnd(f"q{number}", "00:0d:3a:00:00:02"),
            b.netns,
            1400,
        )
        for number in numbers
    ]


@pytest.mark.lab
def test_the_thread_returns_to_its_namespace_also_after_an_error() -> None:
    link = Path("/proc/thread-self/ns/net")
    home = link.readlink()
    netns = new_netns()
    try:
        assert link.readlink() == home
        with pytest.raises(RuntimeError), inside(netns):  # noqa: PT012
            assert link.readlink() != home
            raise RuntimeError
        assert link.readlink() == home
    finally:
        os.close(netns)


@pytest.mark.lab
def test_many_links_in_batches_with_addresses_and_routes() -> None:
    numbers = range(1, 2 * BATCH + 4)
    with hosts("a", "b") as host, inside(host["a"].netns), Rtnetlink() as here:
        here.send(pairs(host["a"], host["b"], numbers))
        with inside(host["b"].netns), Rtnetlink() as there:
            index = socket.if_nametoindex("q1")
            there.send(
                [
                    link_up(index),
                    add_address(index, ip_address("10.0.0.4"), 24),
                    add_address(index, ip_address("fd00::4"), 128),
                    add_route(index, ip_address("10.0.0.1")),
                    add_route(index, ip_address("fe80::1234:5678:9abc")),
                ]
            )
            assert Path("/sys/class/net").exists()
            assert "10.0.0.4" in Path("/proc/thread-self/net/fib_trie").read_text()
            routes = Path("/proc/thread-self/net/ipv6_route").read_text()
            assert "fe80000000000000000012345678 9abc".replace(" ", "") in routes

        links = here.links()
        assert {links[1000 + number][0] for number in numbers} == {f"p{number}" for number in numbers}
        assert links[1001][1] & IFF_LOWER_UP
        assert not links[1002][1] & IFF_LOWER_UP

        here.send([link_group(1000 + number, 7) for number in numbers if number != 3])
        here.send([delete_group(7)])
        assert {name for name, _ in here.links().values()} & {f"p{n}" for n in numbers} == {"p3"}


@pytest.mark.lab
def test_an_error_names_the_object_and_the_other_requests_are_carried_out() -> None:
    with hosts("a", "b") as host, inside(host["a"].netns), Rtnetlink() as here:
        first, second, third = pairs(host["a"], host["b"], range(1, 4))
        here.send([first])

        with pytest.raises(OSError, match="link p1 to q1: File exists") as caught:
            here.send([second, first, third])

        assert caught.value.errno == errno.EEXIST
        assert {1001, 1002, 1003} <= here.links().keys()


@pytest.mark.lab
def test_the_kernels_own_words_are_part_of_an_error() -> None:
    words = r"default route by 10\.9\.9\.9 on link 1: .*\("
    with (
        hosts("a") as host,
        inside(host["a"].netns),
        Rtnetlink() as here,
        pytest.raises(OSError, match=words),
    ):
        here.send([add_route(1, ip_address("10.9.9.9"))])
