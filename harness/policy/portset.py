"""Which protocols and destination ports pass: the exact answer for a pair of machines.

Only the words; who computes them is :mod:`harness.policy.reachability`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.model import Protocol
from harness.network.addresses import Ranges, common, merged

ALL_PORTS: Ranges = ((0, 65535),)


@dataclass(frozen=True, slots=True)
class PortSet:
    """Destination ports of TCP and UDP as ascending disjoint ranges, and the protocols without ports."""

    tcp: Ranges = ()
    udp: Ranges = ()
    icmp: bool = False
    esp: bool = False
    ah: bool = False

    @classmethod
    def of(cls, protocol: Protocol, ranges: Ranges = ALL_PORTS) -> PortSet:
        """Of one protocol; ``ranges`` is ignored where it has no ports."""
        return cls(
            tcp=ranges if protocol is Protocol.TCP else (),
            udp=ranges if protocol is Protocol.UDP else (),
            icmp=protocol is Protocol.ICMP,
            esp=protocol is Protocol.ESP,
            ah=protocol is Protocol.AH,
        )

    def holds(self, protocol: Protocol, port: int | None = None) -> bool:
        """Whether a flow passes; ``port`` is None for protocols without ports."""
        if not protocol.has_ports:
            return bool(getattr(self, protocol.value))
        assert port is not None  # what has ports is asked with one
        return any(first <= port <= last for first, last in self.ranges(protocol))

    def ranges(self, protocol: Protocol) -> Ranges:
        """The ports of TCP or UDP; for the others every port, or none."""
        if protocol is Protocol.TCP:
            return self.tcp
        if protocol is Protocol.UDP:
            return self.udp
        return ALL_PORTS if self.holds(protocol) else ()

    def __and__(self, other: PortSet) -> PortSet:
        return PortSet(
            common(self.tcp, other.tcp),
            common(self.udp, other.udp),
            self.icmp and other.icmp,
            self.esp and other.esp,
            self.ah and other.ah,
        )

    def __or__(self, other: PortSet) -> PortSet:
        return PortSet(
            merged((*self.tcp, *other.tcp)),
            merged((*self.udp, *other.udp)),
            self.icmp or other.icmp,
            self.esp or other.esp,
            self.ah or other.ah,
        )

    def __sub__(self, other: PortSet) -> PortSet:
        return PortSet(
            common(self.tcp, other_ports(other.tcp)),
            common(self.udp, other_ports(other.udp)),
            self.icmp and not other.icmp,
            self.esp and not other.esp,
            self.ah and not other.ah,
        )

    def __bool__(self) -> bool:
        return bool(self.tcp or self.udp or self.icmp or self.esp or self.ah)

    def __iter__(self) -> Iterator[tuple[Protocol, int, int]]:
        """(protocol, first port, last port), protocols without ports as 0 to 65535."""
        for protocol in Protocol:
            for first, last in self.ranges(protocol):
                yield protocol, first, last

    def __str__(self) -> str:
        if self == EVERYTHING:
            return "everything"
        parts = []
        for protocol in Protocol:
            ranges = self.ranges(protocol)
            if ranges == ALL_PORTS:
                parts.append(protocol.value)
            elif ranges:
                ports = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
                parts.append(f"{protocol}/{ports}")
        return " ".join(parts) or "nothing"


NOTHING = PortSet()
EVERYTHING = PortSet(ALL_PORTS, ALL_PORTS, icmp=True, esp=True, ah=True)


def other_ports(ranges: Ranges) -> Ranges:
    """The ports that are not in ``ranges``."""
    found, start = [], 0
    for first, last in ranges:
        if start < first:
            found.append((start, first - 1))
        start = last + 1
    if start <= 65535:
        found.append((start, 65535))
    return tuple(found)
