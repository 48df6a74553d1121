"""A guest's packet filter as data: conditions, rules, chains, and the packet that they are asked about.

The readers (:mod:`harness.guest.nftables`, :mod:`harness.guest.iptables`) make a
:class:`Ruleset`; :mod:`harness.guest.walk` says what it does to a packet. A condition that
cannot be decided from the rules alone (a rate limit, an unknown match) is neither true nor false.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from harness.network.model import IPAddress, IPNetwork

PROTOCOL_NAMES = {
    "1": "icmp",
    "6": "tcp",
    "17": "udp",
    "58": "icmpv6",
    "ipv6-icmp": "icmpv6",
    "icmp6": "icmpv6",
}
"""Other spellings of the protocols' names, as rules are printed (protocols(5))."""


class Hook(StrEnum):
    """Netfilter hooks that a packet to, from or through the guest passes."""

    INGRESS = "ingress"
    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    NAT_PREROUTING = "nat-prerouting"
    """Where a destination may be translated, between PREROUTING and the routing decision."""
    OUTPUT = "output"
    POSTROUTING = "postrouting"
    EGRESS = "egress"


INBOUND_HOOKS = (Hook.INGRESS, Hook.PREROUTING, Hook.NAT_PREROUTING, Hook.INPUT)
FORWARD_HOOKS = (
    Hook.INGRESS,
    Hook.PREROUTING,
    Hook.NAT_PREROUTING,
    Hook.FORWARD,
    Hook.POSTROUTING,
    Hook.EGRESS,
)
OUTBOUND_HOOKS = (Hook.OUTPUT, Hook.POSTROUTING, Hook.EGRESS)


class Side(StrEnum):
    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class GuestPacket:
    """One packet as the guest's filter sees it; ``state`` is conntrack's word for its flow.

    ``to_guest``: its destination is an address of the guest itself.
    """

    protocol: str
    source: IPAddress
    destination: IPAddress
    source_port: int | None = None
    destination_port: int | None = None
    in_interface: str | None = None
    out_interface: str | None = None
    state: str = "new"
    tcp_flags: frozenset[str] = frozenset()
    icmp_type: int | None = None
    to_guest: bool | None = None

    def address(self, side: Side) -> IPAddress:
        return self.source if side is Side.SOURCE else self.destination

    def port(self, side: Side) -> int | None:
        return self.source_port if side is Side.SOURCE else self.destination_port


@dataclass(frozen=True, slots=True)
class FamilyIs:
    version: int

    def holds(self, packet: GuestPacket) -> bool | None:
        return packet.source.version == self.version


@dataclass(frozen=True, slots=True)
class ProtocolIn:
    protocols: frozenset[str]

    def holds(self, packet: GuestPacket) -> bool | None:
        return packet.protocol in self.protocols


@dataclass(frozen=True, slots=True)
class AddressIn:
    side: Side
    networks: tuple[IPNetwork, ...] = ()
    ranges: tuple[tuple[IPAddress, IPAddress], ...] = ()

    def holds(self, packet: GuestPacket) -> bool | None:
        address = packet.address(self.side)
        return any(address.version == net.version and address in net for net in self.networks) or any(
            first.version == address.version and int(first) <= int(address) <= int(last)
            for first, last in self.ranges
        )


@dataclass(frozen=True, slots=True)
class PortIn:
    side: Side
    ranges: tuple[tuple[int, int], ...]

    def holds(self, packet: GuestPacket) -> bool | None:
        port = packet.port(self.side)
        if port is None:
            return False
        return any(first <= port <= last for first, last in self.ranges)


@dataclass(frozen=True, slots=True)
class IcmpTypeIn:
    types: frozenset[int]

    def holds(self, packet: GuestPacket) -> bool | None:
        return packet.icmp_type in self.types


@dataclass(frozen=True, slots=True)
class InterfaceIn:
    """Interface names; ``*`` at the end (iptables writes ``+``) matches any ending."""

    inbound: bool
    patterns: tuple[str, ...]

    def holds(self, packet: GuestPacket) -> bool | None:
        name = packet.in_interface if self.inbound else packet.out_interface
        if name is None:
            return None
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class StateIn:
    states: frozenset[str]

    def holds(self, packet: GuestPacket) -> bool | None:
        return packet.state in self.states


@dataclass(frozen=True, slots=True)
class FlagsAre:
    """TCP flags: of ``mask`` exactly ``value`` are set."""

    mask: frozenset[str]
    value: frozenset[str]

    def holds(self, packet: GuestPacket) -> bool | None:
        if packet.protocol != "tcp":
            return False
        return packet.tcp_flags & self.mask == self.value


@dataclass(frozen=True, slots=True)
class DestinationTypeIn:
    """``addrtype --dst-type``, ``fib daddr type``: what the guest's routing takes the destination for."""

    types: frozenset[str]

    def holds(self, packet: GuestPacket) -> bool | None:
        if packet.destination.is_multicast:
            return "multicast" in self.types
        if packet.to_guest is None:
            return None if self.types & {"local", "unicast"} else False
        return ("local" if packet.to_guest else "unicast") in self.types


@dataclass(frozen=True, slots=True)
class Unknown:
    """A match that these readers do not decide, by its text."""

    text: str

    def holds(self, packet: GuestPacket) -> bool | None:  # noqa: ARG002 - one signature for all conditions
        return None


@dataclass(frozen=True, slots=True)
class Not:
    condition: Condition

    def holds(self, packet: GuestPacket) -> bool | None:
        held = self.condition.holds(packet)
        return None if held is None else not held


Condition = (
    FamilyIs
    | ProtocolIn
    | AddressIn
    | PortIn
    | IcmpTypeIn
    | InterfaceIn
    | StateIn
    | FlagsAre
    | DestinationTypeIn
    | Unknown
    | Not
)


class Action(StrEnum):
    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    JUMP = "jump"
    GOTO = "goto"
    RETURN = "return"
    NONE = "none"
    """Counts, logs, marks: the walk goes on."""
    UNKNOWN = "unknown"
    """Queues to a program, or does something that these readers do not know."""


@dataclass(frozen=True, slots=True)
class Rule:
    """``text`` is the rule as its own tool writes it; ``reject_with`` e.g. ``tcp reset``."""

    text: str
    conditions: tuple[Condition, ...]
    action: Action
    target: str | None = None
    reject_with: str | None = None
    packets: int | None = None

    @property
    def names_port(self) -> bool:
        """Whether the rule is for certain destination ports."""
        return any(isinstance(c, PortIn) and c.side is Side.DESTINATION for c in self.conditions)

    @property
    def excepts_sources(self) -> bool:
        """Whether the rule is for every source but some (``ip saddr != {...} drop``)."""
        return any(isinstance(c, Not) and _is_source(c.condition) for c in self.conditions)

    def misses_by_source(self, packet: GuestPacket) -> bool:
        """Whether the packet's source address is the only reason why the rule does not hold."""
        missed = [condition for condition in self.conditions if condition.holds(packet) is False]
        return bool(missed) and all(_is_source(condition) for condition in missed)

    def holds(self, packet: GuestPacket) -> bool | None:
        held: bool | None = True
        for condition in self.conditions:
            this = condition.holds(packet)
            if this is False:
                return False
            if this is None:
                held = None
        return held


def _is_source(condition: Condition) -> bool:
    return isinstance(condition, AddressIn) and condition.side is Side.SOURCE


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; one with a ``hook`` is a base chain. ``origin`` names the tool that reads it back."""

    family: str
    table: str
    name: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None
    priority: int = 0
    policy: Action = Action.ACCEPT
    devices: tuple[str, ...] = ()
    origin: str = "nft"

    @property
    def label(self) -> str:
        return f"{self.family} {self.table} {self.name}"

    def concerns(self, packet: GuestPacket) -> bool | None:
        """Whether packets of this family (and device) pass the chain; None if the device is not known."""
        own_family = "ip" if packet.source.version == 4 else "ip6"
        if self.family not in ("inet", "netdev", own_family):
            return False
        interfaces = {packet.in_interface, packet.out_interface} - {None}
        if self.devices and not interfaces:
            return None
        return not self.devices or bool(interfaces & set(self.devices))


@dataclass(frozen=True, slots=True)
class Ruleset:
    chains: tuple[Chain, ...] = ()

    def base_chains(self, hook: Hook) -> list[Chain]:
        return sorted(
            (chain for chain in self.chains if chain.hook is hook), key=lambda chain: chain.priority
        )
