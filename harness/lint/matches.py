"""What a security rule matches, as boxes; what its words stand for is a :class:`Vocabulary`.

The engine's own reading of rules (:mod:`harness.policy.security`), written as sets: a rule for any
protocol that names ports is for TCP and UDP alone, one for a protocol without ports ignores them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import Generic, TypeVar

from harness.lint.boxes import Box, Symbol
from harness.model import Protocol
from harness.network.addresses import LAST, AddressSet, Ranges, common, merged
from harness.network.model import (
    ANY_PORT,
    AddressSelector,
    PortRange,
    RuleProtocol,
    SecurityAdminRule,
    SecurityRule,
)
from harness.network.rules import VIRTUAL_NETWORK
from harness.policy.packet import Packet
from harness.policy.portset import ALL_PORTS
from harness.policy.tags import PRIVATE

Rule = SecurityRule | SecurityAdminRule
AnyRule = TypeVar("AnyRule", SecurityRule, SecurityAdminRule)

DESTINATION_PORT, DESTINATION, SOURCE, PROTOCOL, SOURCE_PORT = range(5)
"""The axes of a rule's box; those that tell rules apart most often come first."""

EVERYWHERE = AddressSet(((0, LAST[4]),), ((0, LAST[6]),))
NUMBERS = {protocol: number for number, protocol in enumerate(Protocol)}
ALL_PROTOCOLS: Ranges = ((0, len(NUMBERS) - 1),)
WITH_PORTS = merged((number, number) for protocol, number in NUMBERS.items() if protocol.has_ports)
PROTOCOLS: Mapping[RuleProtocol, Ranges] = {
    RuleProtocol.ANY: ALL_PROTOCOLS,
    **{RuleProtocol(name.value.capitalize()): ((number, number),) for name, number in NUMBERS.items()},
}
_LIKELY_PORTS: Mapping[int, Ranges] = {SOURCE_PORT: ((49152, 65535),), DESTINATION_PORT: ((1, 65535),)}
_NOT_PRIVATE = EVERYWHERE - PRIVATE


@dataclass(frozen=True)
class Vocabulary:
    """What the words of rules stand for at the places where a network security group applies.

    ``tags`` None: its addresses are not known, or not the same at every place, so it is an opaque
    symbol. ``asgs``: where members of an ASG can have their addresses; one without members is absent.
    ``families`` are the IP versions that there are at all.
    """

    families: tuple[int, ...]
    tags: Mapping[str, AddressSet | None]
    asgs: Mapping[str, AddressSet]
    _sides: dict[AddressSelector, tuple[tuple[AddressSet, str | None], ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def side(self, selector: AddressSelector) -> tuple[tuple[AddressSet, str | None], ...]:
        """Alternatives: addresses, and the name of what the end must be a member of besides."""
        found = self._sides.get(selector)
        if found is None:
            found = self._sides[selector] = tuple(self._alternatives(selector))
        return found

    def _alternatives(self, selector: AddressSelector) -> Iterator[tuple[AddressSet, str | None]]:
        if selector.any:
            yield EVERYWHERE, None
            return
        known = AddressSet.of(selector.prefixes)
        for tag in selector.tags:
            addresses = self.tags[tag]
            if addresses is None:
                yield (EVERYWHERE if tag == VIRTUAL_NETWORK else _NOT_PRIVATE), tag
            else:
                known |= addresses
        if known:
            yield known, None
        for asg in selector.asgs:
            if asg in self.asgs:
                yield self.asgs[asg], asg


@dataclass(frozen=True, slots=True)
class Matches(Generic[AnyRule]):
    """A rule and its boxes by address family."""

    rule: AnyRule
    boxes: Mapping[int, tuple[Box, ...]]

    def __bool__(self) -> bool:
        return any(self.boxes.values())


def matches_of(rule: AnyRule, vocabulary: Vocabulary) -> Matches[AnyRule]:
    ports = _ports(rule.destination_ports), _ports(rule.source_ports)
    protocols = PROTOCOLS[rule.protocol]
    if rule.protocol not in (RuleProtocol.TCP, RuleProtocol.UDP):
        if rule.protocol is not RuleProtocol.ANY:
            ports = ALL_PORTS, ALL_PORTS
        elif ports != (ALL_PORTS, ALL_PORTS):
            protocols = WITH_PORTS
    return Matches(
        rule,
        {
            family: tuple(
                Box((ports[0], there, here, protocols, ports[1]), symbols)
                for here, there, symbols in _ends(rule, vocabulary, family)
            )
            for family in vocabulary.families
        },
    )


def _ends(
    rule: Rule, vocabulary: Vocabulary, family: int
) -> Iterator[tuple[Ranges, Ranges, frozenset[Symbol]]]:
    for source, source_member in vocabulary.side(rule.source):
        for destination, destination_member in vocabulary.side(rule.destination):
            here, there = source.of_family(family), destination.of_family(family)
            if here and there:
                names = (("source", source_member), ("destination", destination_member))
                yield here, there, frozenset((side, name) for side, name in names if name is not None)


def _ports(ranges: tuple[PortRange, ...]) -> Ranges:
    return ALL_PORTS if ANY_PORT in ranges else merged((item.first, item.last) for item in ranges)


def is_membership(symbol: Symbol) -> bool:
    """Whether a symbol is an application security group: keys of ARM ids start with a slash, tags do not."""
    return symbol[1].startswith("/")


def everything(family: int) -> Box:
    """Every packet of an address family."""
    space = EVERYWHERE.of_family(family)
    return Box((ALL_PORTS, space, space, ALL_PROTOCOLS, ALL_PORTS))


def example(box: Box, family: int, likely: Mapping[int, Ranges] = MappingProxyType({})) -> Packet:
    """A packet of the box, with numbers of ``likely`` (by axis) where it has such; no opaque tag shows."""
    make = IPv4Address if family == 4 else IPv6Address
    numbers = []
    for axis, ranges in enumerate(box.axes):
        better = common(ranges, likely.get(axis, _LIKELY_PORTS.get(axis, ranges)))
        numbers.append((better or ranges)[0][0])
    protocol = list(Protocol)[numbers[PROTOCOL]]
    members = {
        side: frozenset(name for at, name in box.inside if at == side) for side in ("source", "destination")
    }
    return Packet(
        protocol,
        make(numbers[SOURCE]),
        numbers[SOURCE_PORT] if protocol.has_ports else None,
        make(numbers[DESTINATION]),
        numbers[DESTINATION_PORT] if protocol.has_ports else None,
        members["source"],
        members["destination"],
    )
