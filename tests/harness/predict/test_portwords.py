"""Port sets in words."""

from __future__ import annotations

from harness.matrix.question import parse_ports
from harness.policy.portset import ALL_PORTS, EVERYTHING, NOTHING, PortSet
from harness.predict.portwords import asked_ports, brief, size, words


def test_asked() -> None:
    asked = asked_ports(parse_ports("443,22,8000-8002,53/udp,8002-8003"), icmp=True)
    assert asked == PortSet(((22, 22), (443, 443), (8000, 8003)), ((53, 53),), icmp=True)
    assert asked_ports((), icmp=True) == PortSet(icmp=True)
    assert asked_ports((), icmp=False) is None


def test_size() -> None:
    assert (size(NOTHING), size(PortSet(((1, 10),), ((5, 5),), icmp=True, ah=True))) == (0, 13)
    assert size(EVERYTHING) == 2 * 65536 + 3


def test_words_are_the_shorter_ones() -> None:
    assert words(EVERYTHING) == "everything"
    assert words(NOTHING) == "nothing"
    assert words(PortSet(((443, 443),))) == "tcp/443"
    assert words(EVERYTHING - PortSet(((25, 25),), icmp=True)) == "all but tcp/25 icmp"
    assert words(PortSet(ALL_PORTS)) == "tcp"


def test_what_is_long_is_cut_between_ports_and_its_size_told() -> None:
    ports = PortSet(tuple((port, port) for port in range(1000, 1200, 2)))
    assert brief(ports, 20) == "tcp/1000,1002,1004 ... (100 ports)"
    assert brief(ports, 10_000) == words(ports)
