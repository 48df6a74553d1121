"""Flows to ask a network or an NSG about: at random, and at the edges of what its rules match.

Where an evaluation is wrong by one, it is at the first or last address or port of a rule: every second
flow is just inside or just outside of one. The same dice give the same flows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from random import Random

from harness.model import Protocol
from harness.network.addresses import range_of
from harness.network.model import Direction, Network, PortRange, RuleProtocol, SecurityRule, key
from harness.policy.classes import Endpoint
from harness.policy.packet import Packet
from harness.policy.tags import TagScope

_OF_RULES = {
    RuleProtocol.TCP: (Protocol.TCP,),
    RuleProtocol.UDP: (Protocol.UDP,),
    RuleProtocol.ICMP: (Protocol.ICMP,),
    RuleProtocol.ESP: (Protocol.ESP,),
    RuleProtocol.AH: (Protocol.AH,),
    RuleProtocol.ANY: tuple(Protocol),
}


def edges(first: int, last: int, lowest: int, highest: int) -> list[int]:
    """Just inside and just outside of a range, as far as there is such a number."""
    return [number for number in (first - 1, first, last, last + 1) if lowest <= number <= highest]


@dataclass(frozen=True, slots=True)
class Sample:
    """A flow between two endpoints (their numbers); ``port`` is None where the protocol has none."""

    source: int
    target: int
    protocol: Protocol
    port: int | None


class _Along:
    """Some endpoints in the order of their addresses."""

    def __init__(self, endpoints: Sequence[Endpoint], members: Iterable[int]) -> None:
        pairs = sorted((int(endpoints[member].configuration.address), member) for member in members)
        self._numbers = [number for number, _ in pairs]
        self._members = [member for _, member in pairs]

    def any(self, dice: Random) -> int:
        return dice.choice(self._members)

    def near(self, first: int, last: int, dice: Random) -> int:
        """One of those next to either end of a range of addresses, inside it or outside."""
        begin, end = bisect_left(self._numbers, first), bisect_right(self._numbers, last)
        places = [place for place in (begin - 1, begin, end - 1, end) if 0 <= place < len(self._members)]
        return self._members[dice.choice(places)]


class FlowSampler:
    """Flows between the endpoints of a network whose NICs have IPv4 addresses only."""

    def __init__(self, network: Network, endpoints: Sequence[Endpoint]) -> None:
        self._all = _Along(endpoints, range(len(endpoints)))
        judged: dict[str, list[int]] = defaultdict(list)
        self._groups: dict[str, list[int]] = defaultdict(list)
        for number, endpoint in enumerate(endpoints):
            for nsg in {endpoint.nic.nsg, network.subnets[endpoint.nic.subnet].nsg} - {None}:
                judged[nsg or ""].append(number)
            for asg in endpoint.configuration.asgs:
                self._groups[asg].append(number)
        self._judged = {nsg: _Along(endpoints, members) for nsg, members in judged.items()}
        self._rules = [
            (key(group.id), rule)
            for group in network.nsgs.values()
            if key(group.id) in judged
            for rule in group.rules
            if not rule.default
        ]

    def draw(self, dice: Random) -> Sample:
        """One flow; every second time at the edge of a rule that judges one of its ends."""
        if not self._rules or dice.random() < 0.5:
            protocol = dice.choice(tuple(Protocol))
            port = dice.randint(1, 65535) if protocol.has_ports else None
            return Sample(self._all.any(dice), self._all.any(dice), protocol, port)
        nsg, rule = dice.choice(self._rules)
        here, there = self._judged[nsg], self._all
        from_here = rule.direction is Direction.OUTBOUND
        source = self._end(rule, "source", here if from_here else there, dice)
        target = self._end(rule, "destination", there if from_here else here, dice)
        protocol = dice.choice(_OF_RULES[rule.protocol])
        return Sample(source, target, protocol, _port(protocol, rule.destination_ports, dice))

    def _end(self, rule: SecurityRule, name: str, among: _Along, dice: Random) -> int:
        side = rule.source if name == "source" else rule.destination
        if side.prefixes:
            return among.near(*range_of(dice.choice(side.prefixes)), dice)
        members = [member for asg in side.asgs for member in self._groups[asg]]
        return dice.choice(members) if members and dice.random() < 0.5 else among.any(dice)


def packets_for(rules: Sequence[SecurityRule], scope: TagScope, count: int, dice: Random) -> list[Packet]:
    """IPv4 packets for one list of rules; three of four are at the edges of a rule."""
    return [
        _packet_at(dice.choice(rules), scope, dice) if dice.random() < 0.75 else _any_packet(dice)
        for _ in range(count)
    ]


def _any_packet(dice: Random) -> Packet:
    protocol = dice.choice(tuple(Protocol))
    source, target = IPv4Address(dice.getrandbits(32)), IPv4Address(dice.getrandbits(32))
    ports = (dice.randint(1, 65535), dice.randint(1, 65535)) if protocol.has_ports else (None, None)
    return Packet(protocol, source, ports[0], target, ports[1])


def _packet_at(rule: SecurityRule, scope: TagScope, dice: Random) -> Packet:
    addresses = []
    for side in (rule.source, rule.destination):
        ranges = [range_of(prefix) for prefix in side.prefixes if prefix.version == 4]
        for tag in side.tags:
            known = scope.addresses(tag)
            ranges += known.v4 if known is not None else ()
        if ranges:
            addresses.append(dice.choice(edges(*dice.choice(ranges), 0, (1 << 32) - 1)))
        else:
            addresses.append(dice.getrandbits(32))
    protocol = dice.choice(_OF_RULES[rule.protocol])
    return Packet(
        protocol,
        IPv4Address(addresses[0]),
        _port(protocol, rule.source_ports, dice),
        IPv4Address(addresses[1]),
        _port(protocol, rule.destination_ports, dice),
    )


def _port(protocol: Protocol, ranges: Sequence[PortRange], dice: Random) -> int | None:
    """Just inside or outside of one of the ranges."""
    if not protocol.has_ports:
        return None
    chosen = dice.choice(ranges)
    return dice.choice(edges(chosen.first, chosen.last, 1, 65535))
