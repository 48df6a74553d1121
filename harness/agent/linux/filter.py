"""Which packets a capture keeps, in Python and as a program for the kernel."""

import socket
import struct

from harness.agent.linux.request import REQUIRED
from harness.agent.linux.words import (
    ETH_P_ARP,
    ETH_P_IP,
    ETH_P_IPV6,
    ICMP,
    ICMP6,
    TCP,
    UDP,
    V6_EXTENSIONS,
    family_of,
    packed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from harness.agent.linux.request import Params


class Filter:
    """Which packets a capture keeps: one protocol, two address sets, ports; both directions.

    An ICMP error that quotes such a packet is kept too.
    """

    def __init__(self, params: "Params") -> None:
        self.protocol = params.choice("protocol", ("tcp", "udp", "icmp"), REQUIRED)
        self.local = self.addresses(params, "local")
        self.remote = self.addresses(params, "remote")
        ports = params.array("ports", [], 64)
        for port in ports:
            if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
                raise params.bad("ports", "a list of ports")
        if ports and self.protocol == "icmp":
            raise params.bad("ports", "none for icmp")
        self.ports = frozenset(ports)
        self.nonce = params.text("nonce", None, 200)
        params.done()
        self.numbers = {"tcp": (TCP,), "udp": (UDP,), "icmp": (ICMP, ICMP6)}[self.protocol]

    @staticmethod
    def addresses(params: "Params", name: str) -> "frozenset[str] | None":
        values = params.texts(name, None)
        if values is None:
            return None
        try:
            return frozenset(socket.inet_ntop(family_of(value), packed(value)) for value in values)
        except (OSError, ValueError):
            raise params.bad(name, "a list of IP addresses") from None

    def between(self, src: str, dst: str) -> bool:
        def side(one: str, other: str) -> bool:
            return (self.local is None or one in self.local) and (self.remote is None or other in self.remote)

        return side(src, dst) or side(dst, src)

    def matches(self, number: int, src: str, dst: str, sport: "int | None", dport: "int | None") -> bool:
        if number not in self.numbers or not self.between(src, dst):
            return False
        return not self.ports or sport in self.ports or dport in self.ports

    def wants(self, packet: "dict[str, Any]") -> bool:
        """A decoded packet, or an ICMP error by what it quotes."""
        quoted = packet.get("quoted")
        one = quoted if quoted is not None else packet
        return self.matches(one["number"], one["src"], one["dst"], one.get("sport"), one.get("dport"))

    def program(self, interface: "int | None") -> bytes:
        """The same, roughly, as a classic BPF program: spares this process a busy VM's traffic."""
        ret, ld, ldh, ldb, jeq, jset, ldx, ldh_x = 0x06, 0x20, 0x28, 0x30, 0x15, 0x45, 0xB1, 0x48
        ports = sorted(self.ports)
        code: "list[Any]" = []
        if interface is not None:
            code += [(ld, 0xFFFFF008, None, None), (jeq, interface, None, "drop")]  # SKF_AD_IFINDEX
        code += [
            (ld, 0xFFFFF000, None, None),  # SKF_AD_PROTOCOL
            (jeq, ETH_P_ARP, "keep", None),
            (jeq, ETH_P_IPV6, "v6", None),
            (jeq, ETH_P_IP, None, "drop"),
            (ldb, 9, None, None),
            (jeq, ICMP, "keep", None),
            (jeq, self.numbers[0], None, "drop"),
            (ldh, 6, None, None),
            (jset, 0x1FFF, "drop", None),  # a later fragment has no ports
            (ldx, 0, None, None),
        ]
        for offset in (0, 2) if ports else ():
            code.append((ldh_x, offset, None, None))
            code += [(jeq, port, "keep", None) for port in ports]
        code.append((ret, 0 if ports else 0xFFFF, None, None))
        code += ["v6", (ldb, 6, None, None)]
        code += [(jeq, number, "keep", None) for number in V6_EXTENSIONS + (ICMP6,)]
        code += [(jeq, self.numbers[0], "ports6", "drop"), "ports6"]
        for offset in (40, 42) if ports else ():
            code.append((ldh, offset, None, None))
            code += [(jeq, port, "keep", None) for port in ports]
        code.append((ret, 0 if ports else 0xFFFF, None, None))
        code += ["keep", (ret, 0xFFFF, None, None), "drop", (ret, 0, None, None)]
        return assemble(code)


def assemble(code: "list[Any]") -> bytes:
    """Instructions (opcode, k, label if true, label if false) and labels, as struct sock_filter."""
    labels: "dict[str, int]" = {}
    rows: "list[Any]" = []
    for item in code:
        if isinstance(item, str):
            labels[item] = len(rows)
        else:
            rows.append(item)
    out = b""
    for here, (opcode, k, true, false) in enumerate(rows):
        jumps = [labels[label] - here - 1 if label is not None else 0 for label in (true, false)]
        out += struct.pack("=HBBI", opcode, jumps[0], jumps[1], k)
    return out
