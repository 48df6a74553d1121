"""Packets as record fields."""

import socket
import struct

from harness.agent.linux.words import ETH_P_IP, ETH_P_IPV6, ICMP, ICMP6, TCP, UDP, V6_EXTENSIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def decode(ethertype: int, data: bytes) -> "dict[str, Any] | None":
    """One IP packet as record fields, or None where it is none of TCP, UDP, ICMP."""
    try:
        outer = ip_header(data) if ethertype in (ETH_P_IP, ETH_P_IPV6) else None
        if outer is None:
            return None
        number, src, dst, ttl, rest = outer
        packet: "dict[str, Any]" = {"number": number, "src": src, "dst": dst, "ttl": ttl}
        if number == TCP:
            sport, dport, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", rest)
            packet.update(sport=sport, dport=dport, seq=seq, ack=ack, flags=flag_text(flags), protocol="tcp")
            packet["payload"] = rest[(offset >> 4) * 4 :]
        elif number == UDP:
            sport, dport, length = struct.unpack_from("!HHH", rest)
            packet.update(
                sport=sport, dport=dport, length=max(0, length - 8), protocol="udp", payload=rest[8:]
            )
        elif number == (ICMP if ethertype == ETH_P_IP else ICMP6):
            kind, code, _, ident, sequence = struct.unpack_from("!BBHHH", rest)
            packet.update(icmp_type=kind, icmp_code=code, protocol="icmp", version=4 if number == ICMP else 6)
            if kind in ((8, 0) if number == ICMP else (128, 129)):
                packet.update(ident=ident, sequence=sequence)
                packet["payload"] = rest[8:]
            elif kind in ((3, 5, 11, 12) if number == ICMP else (1, 2, 3, 4)):
                packet["quoted"] = decode_quoted(rest[8:])
                if packet["quoted"] is None:
                    return None
        else:
            return None
        return packet
    except (struct.error, IndexError, ValueError):
        return None


def decode_quoted(data: bytes) -> "dict[str, Any] | None":
    """The start of the packet that an ICMP error quotes."""
    inner = ip_header(data)
    if inner is None:
        return None
    number, src, dst, _, rest = inner
    quoted: "dict[str, Any]" = {"number": number, "src": src, "dst": dst}
    if number in (TCP, UDP):
        quoted["sport"], quoted["dport"] = struct.unpack_from("!HH", rest)
        quoted["protocol"] = "tcp" if number == TCP else "udp"
    elif number in (ICMP, ICMP6):
        quoted["ident"], quoted["sequence"] = struct.unpack_from("!HH", rest, 4)
        quoted["protocol"] = "icmp"
    else:
        return None
    return quoted


def ip_header(data: bytes) -> "tuple[int, str, str, int, bytes] | None":
    """Protocol, source, destination, TTL and the rest; None for a later fragment."""
    if data[0] >> 4 == 4:
        if struct.unpack_from("!H", data, 6)[0] & 0x1FFF:
            return None
        src, dst = (
            socket.inet_ntop(socket.AF_INET, data[12:16]),
            socket.inet_ntop(socket.AF_INET, data[16:20]),
        )
        return data[9], src, dst, data[8], data[(data[0] & 0xF) * 4 :]
    if data[0] >> 4 != 6:
        return None
    src, dst = socket.inet_ntop(socket.AF_INET6, data[8:24]), socket.inet_ntop(socket.AF_INET6, data[24:40])
    number, rest = data[6], data[40:]
    while number in V6_EXTENSIONS:
        if number == 44:
            if struct.unpack_from("!H", rest, 2)[0] & 0xFFF8:
                return None
            number, rest = rest[0], rest[8:]
        else:
            number, rest = rest[0], rest[(rest[1] + 1) * 8 :]
    return number, src, dst, data[7], rest


def flag_text(flags: int) -> str:
    """TCP flags as tcpdump writes them: S for SYN, ``S.`` for SYN-ACK."""
    return "".join(letter for bit, letter in enumerate("FSRP.UEW") if flags & (1 << bit))
