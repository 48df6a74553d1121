"""The pure parts of the Linux agent: packets decoded, filters assembled, ping's words understood."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.agent.contract import CaptureRecord, parse
from harness.agent.linux.decode import decode
from harness.agent.linux.filter import Filter
from harness.agent.linux.neterror import outcome_of_icmp
from harness.agent.linux.ping import checksum, parse_ping
from harness.agent.linux.request import Params
from harness.agent.linux.words import ETH_P_ARP, ETH_P_IP, ETH_P_IPV6

V4, V6 = ETH_P_IP, ETH_P_IPV6


def v4(number: int, payload: bytes, *, fragment: int = 0, options: bytes = b"") -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, 0, 1, fragment, 63, number, 0)
    return head + bytes([10, 0, 0, 1]) + bytes([10, 0, 1, 4]) + options + payload


def v6(number: int, payload: bytes) -> bytes:
    addresses = bytes.fromhex("fd77" + "0" * 27 + "1") + bytes.fromhex("fd77" + "0" * 27 + "2")
    return struct.pack("!IHBB", 6 << 28, len(payload), number, 63) + addresses + payload


def tcp(flags: int = 0x02) -> bytes:
    return struct.pack("!HHIIBBHHH", 40000, 80, 7, 9, 0x50, flags, 0, 0, 0)


def expected(**fields: Any) -> dict[str, Any]:
    return fields


@pytest.mark.parametrize(
    ("ethertype", "data", "fields"),
    [
        (
            V4,
            v4(6, tcp()),
            expected(src="10.0.0.1", dst="10.0.1.4", sport=40000, dport=80, flags="S", seq=7, ttl=63),
        ),
        (V4, v4(6, tcp(0x12)), expected(flags="S.", ack=9)),
        (V4, v4(6, tcp(0x14)), expected(flags="R.")),
        (V4, v4(6, tcp(0xC2)), expected(flags="SEW")),
        (V4, v4(6, tcp(), options=b"\x01" * 8), expected(sport=40000, dport=80)),
        (V6, v6(6, tcp()), expected(src="fd77::1", dst="fd77::2", sport=40000, ttl=63)),
        (V6, v6(0, bytes([6, 0]) + bytes(6) + tcp()), expected(sport=40000, dport=80)),
        (V6, v6(44, bytes([6, 0, 0, 1]) + bytes(4) + tcp()), expected(sport=40000, dport=80)),
        (
            V4,
            v4(17, struct.pack("!HHHH", 53, 4000, 12, 0) + b"body"),
            expected(sport=53, length=4, payload=b"body"),
        ),
        (V4, v4(1, struct.pack("!BBHHH", 8, 0, 0, 77, 3)), expected(icmp_type=8, ident=77, sequence=3)),
        (V6, v6(58, struct.pack("!BBHHH", 129, 0, 0, 77, 3)), expected(icmp_type=129, ident=77, sequence=3)),
        (
            V4,
            v4(1, struct.pack("!BBHI", 3, 13, 0, 0) + v4(6, tcp()[:8])),
            expected(
                icmp_type=3,
                icmp_code=13,
                quoted=expected(
                    number=6, protocol="tcp", src="10.0.0.1", dst="10.0.1.4", sport=40000, dport=80
                ),
            ),
        ),
    ],
)
def test_decode(ethertype: int, data: bytes, fields: dict[str, Any]) -> None:
    packet = decode(ethertype, data)
    assert packet is not None
    assert {name: packet[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("ethertype", "data"),
    [
        (V4, b""),
        (V4, v4(6, tcp(), fragment=100)),
        (V4, v4(6, b"\0\0")),
        (V4, v4(47, bytes(20))),
        (V4, v4(1, struct.pack("!BBHI", 3, 13, 0, 0) + v4(47, bytes(8)))),
        (V6, v6(44, bytes([6, 0, 1, 0]) + bytes(4) + tcp())),
        (V6, v6(0, b"\0")),
        (ETH_P_ARP, bytes(28)),
    ],
)
def test_what_is_no_packet_of_a_flow(ethertype: int, data: bytes) -> None:
    assert decode(ethertype, data) is None


@given(st.sampled_from([V4, V6]), st.binary(max_size=120))
def test_any_bytes_are_survived(ethertype: int, data: bytes) -> None:
    decode(ethertype, data)


@given(st.sampled_from([1, 6, 17]), st.binary(max_size=80))
def test_every_decoded_packet_fits_the_contract(number: int, payload: bytes) -> None:
    packet = decode(V4, v4(number, payload))
    if packet is None:
        return
    row = {k: v for k, v in packet.items() if k not in ("number", "payload", "quoted")}
    row |= {"time": 0.0, "interface": "eth0", "direction": "in"}
    if "quoted" in packet:
        row["quoted"] = {k: v for k, v in packet["quoted"].items() if k != "number"}
    record = parse(CaptureRecord, row, machine="box", op="capture_read")
    assert record.src == "10.0.0.1"


def run_bpf(program: bytes, ethertype: int, data: bytes, interface: int = 2) -> bool:
    """Classic BPF, as far as the agent's filters use it."""
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    a = x = at = 0
    while True:
        op, true, false, k = code[at]
        at += 1
        if op == 0x06:
            return bool(k)
        if op == 0x20:
            a = {0xFFFFF000: ethertype, 0xFFFFF008: interface}[k]
        elif op in (0x28, 0x48, 0x30):
            where = k + (x if op == 0x48 else 0)
            size = 1 if op == 0x30 else 2
            if where + size > len(data):
                return False
            a = int.from_bytes(data[where : where + size], "big")
        elif op == 0xB1:
            if k >= len(data):
                return False
            x = (data[k] & 0xF) * 4
        elif op == 0x15:
            at += true if a == k else false
        elif op == 0x45:
            at += true if a & k else false
        else:
            raise AssertionError(f"opcode {op:#x}")


def wanted(**fields: Any) -> Filter:
    return Filter(Params(fields))


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
@pytest.mark.parametrize("ports", [[], [80], [80, 443, 40000]])
@given(number=st.sampled_from([1, 6, 17, 58, 0, 44]), six=st.booleans(), payload=st.binary(max_size=60))
def test_the_kernel_filter_lets_through_what_is_wanted(
    protocol: str, ports: list[int], number: int, six: bool, payload: bytes
) -> None:
    one = wanted(protocol=protocol, ports=ports if protocol != "icmp" else [])
    program = one.program(None)
    body = tcp() if number == 6 else payload
    ethertype, data = (V6, v6(number, body)) if six else (V4, v4(number, body))
    packet = decode(ethertype, data)
    if packet is None or "quoted" in packet:
        return
    if one.matches(packet["number"], packet["src"], packet["dst"], packet.get("sport"), packet.get("dport")):
        assert run_bpf(program, ethertype, data)


def test_the_kernel_filter_keeps_the_rest_out() -> None:
    program = wanted(protocol="tcp", ports=[443]).program(7)
    assert not run_bpf(program, V4, v4(6, tcp()), interface=7)
    assert run_bpf(wanted(protocol="tcp", ports=[80]).program(7), V4, v4(6, tcp()), interface=7)
    assert not run_bpf(wanted(protocol="tcp", ports=[80]).program(7), V4, v4(6, tcp()), interface=8)
    assert run_bpf(program, ETH_P_ARP, bytes(28), interface=7)


@pytest.mark.parametrize(
    ("local", "remote", "match"),
    [
        (None, None, True),
        (["10.0.0.1"], ["10.0.1.4"], True),
        (["10.0.1.4"], ["10.0.0.1"], True),
        (["10.0.0.1"], None, True),
        (["10.9.9.9"], None, False),
        (["10.0.0.1"], ["10.9.9.9"], False),
    ],
)
def test_address_sets_match_both_directions(
    local: list[str] | None, remote: list[str] | None, match: bool
) -> None:
    one = wanted(protocol="tcp", local=local, remote=remote)
    assert one.matches(6, "10.0.0.1", "10.0.1.4", 1, 2) is match


@pytest.mark.parametrize(
    ("version", "kind", "code", "here", "outcome"),
    [
        (4, 3, 0, False, "unreachable"),
        (4, 3, 1, False, "unreachable"),
        (4, 3, 1, True, "no-route"),
        (4, 3, 3, False, "refused"),
        (4, 3, 3, True, "prohibited"),
        (4, 3, 9, False, "prohibited"),
        (4, 3, 10, False, "prohibited"),
        (4, 3, 13, False, "prohibited"),
        (4, 3, 13, True, "prohibited"),
        (4, 11, 0, False, "unreachable"),
        (6, 1, 0, False, "unreachable"),
        (6, 1, 1, False, "prohibited"),
        (6, 1, 3, True, "no-route"),
        (6, 1, 4, False, "refused"),
        (6, 1, 5, False, "prohibited"),
        (6, 3, 0, False, "unreachable"),
    ],
)
def test_outcome_of_icmp_errors(version: int, kind: int, code: int, here: bool, outcome: str) -> None:
    assert outcome_of_icmp(version, kind, code, here) == outcome


@pytest.mark.parametrize(
    ("text", "outcome", "rtt"),
    [
        ("64 bytes from 10.0.0.4: icmp_seq=1 ttl=64 time=0.045 ms", "connected", 0.045),
        ("64 bytes from 10.0.0.4: seq=0 ttl=64 time=1.208 ms", "connected", 1.208),
        ("64 bytes from fd77::2: icmp_seq=1 ttl=63 time=12 ms", "connected", 12.0),
        ("From 10.0.0.1 icmp_seq=1 Destination Host Unreachable", "unreachable", None),
        ("From 10.0.0.1 icmp_seq=1 Packet filtered", "prohibited", None),
        ("From fd77::2 icmp_seq=1 Destination unreachable: Administratively prohibited", "prohibited", None),
        ("ping: sendmsg: Operation not permitted", "prohibited", None),
        ("ping: connect: Network is unreachable", "no-route", None),
        ("From 10.0.0.1 icmp_seq=1 Time to live exceeded", "unreachable", None),
        ("1 packets transmitted, 0 received, 100% packet loss, time 0ms", "timeout", None),
        ("", "timeout", None),
    ],
)
def test_parse_ping(text: str, outcome: str, rtt: float | None) -> None:
    found = parse_ping(f"PING 10.0.0.4 (10.0.0.4) 56(84) bytes of data.\n{text}\n")
    assert found["outcome"] == outcome
    assert found.get("rtt_ms") == rtt


@given(st.binary(max_size=64))
def test_checksum_verifies_itself(data: bytes) -> None:
    data += b"\0" * (len(data) % 2)
    assert checksum(data + struct.pack("!H", checksum(data))) == 0
