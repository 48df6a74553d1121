"""Crafted packets, and answers read back from bytes of any kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.agent.contract import IcmpError
from harness.model import Protocol
from harness.probe import raw
from harness.probe.raw import Quote, dissect

ENDS = {4: ("10.0.0.1", "10.0.1.4"), 6: ("fd77::1", "fd77::2")}
ROUTER = {4: "10.0.0.9", 6: "fd77::9"}


def error(family: int, kind: int, code: int, about: bytes) -> bytes:
    from scapy.layers import inet, inet6

    source, _ = ENDS[family]
    if family == 4:
        return bytes(inet.IP(src=ROUTER[4], dst=source) / inet.ICMP(type=kind, code=code) / about)
    makers = {1: inet6.ICMPv6DestUnreach, 2: inet6.ICMPv6PacketTooBig, 3: inet6.ICMPv6TimeExceeded}
    return bytes(inet6.IPv6(src=ROUTER[6], dst=source) / makers[kind](code=code) / about)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("flags", "shown"), [("S", "S"), ("SA", "S."), ("RA", "R."), ("FPU", "FPU"), ("", "")]
)
def test_tcp_there_and_back(family: int, flags: str, shown: str) -> None:
    source, target = ENDS[family]
    reply = dissect(raw.tcp_segment(source, target, 40000, 443, flags=flags, ttl=7, seq=5, ack=6))
    assert reply is not None
    assert (reply.source, reply.target, reply.ttl, reply.flags) == (source, target, 7, shown)
    assert (reply.sport, reply.dport, reply.seq, reply.ack) == (40000, 443, 5, 6)
    assert not reply.time_exceeded


@pytest.mark.parametrize("family", [4, 6])
def test_udp_and_echo(family: int) -> None:
    source, target = ENDS[family]
    datagram = dissect(raw.udp_datagram(source, target, 1, 53, payload=b"hello"))
    echo = dissect(raw.echo_request(source, target, 11, 12, payload=b"x"))
    assert datagram is not None
    assert echo is not None
    assert (datagram.protocol, datagram.sport, datagram.dport) == (Protocol.UDP, 1, 53)
    assert (echo.protocol, echo.ident, echo.sequence) == (Protocol.ICMP, 11, 12)


@pytest.mark.parametrize("family", [4, 6])
def test_errors_quote_what_they_are_about(family: int) -> None:
    source, target = ENDS[family]
    exceeded = 11 if family == 4 else 3
    packets = {
        raw.tcp_segment(source, target, 9, 443): Quote(Protocol.TCP, source, target, 9, 443),
        raw.udp_datagram(source, target, 9, 53): Quote(Protocol.UDP, source, target, 9, 53),
        raw.echo_request(source, target, 9, 2): Quote(Protocol.ICMP, source, target, ident=9, sequence=2),
    }
    for packet, quote in packets.items():
        reply = dissect(error(family, exceeded, 0, packet))
        assert reply is not None
        assert reply.time_exceeded
        assert reply.icmp == IcmpError(family, exceeded, 0, ROUTER[family])
        assert reply.quoted == quote


def test_an_unreachable_is_not_a_hop() -> None:
    reply = dissect(error(4, 3, 13, raw.tcp_segment(*ENDS[4], 9, 443)))
    assert reply is not None
    assert not reply.time_exceeded
    assert str(reply.icmp) == "ICMP type 3 code 13 from 10.0.0.9"


@given(st.binary(max_size=120), st.sampled_from([b"", b"\x45", b"\x60"]))
def test_any_bytes_are_survived(data: bytes, first: bytes) -> None:
    dissect(first + data)


@given(st.integers(0, 60), st.sampled_from([4, 6]))
def test_cut_packets_are_survived(length: int, family: int) -> None:
    dissect(error(family, 11 if family == 4 else 3, 0, raw.tcp_segment(*ENDS[family], 9, 443))[:length])
