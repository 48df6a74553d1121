"""Which security rule decides a packet: an NSG's or a virtual network's admin rules, prepared for asking.

Lowest priority number first, the first match ends it (azure-facts, "NSG"). Where the list stands
(NIC, subnet, virtual network manager) is :mod:`harness.policy.ports`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from harness.errors import InputError
from harness.model import Protocol
from harness.network.addresses import NOWHERE, AddressSet
from harness.network.model import (
    ANY_PORT,
    Access,
    AddressSelector,
    Direction,
    IPNetwork,
    PortRange,
    RuleProtocol,
    SecurityAdminRule,
    SecurityRule,
)
from harness.policy.packet import Packet
from harness.policy.tags import PRIVATE, TagScope
from harness.text import plain

_PROTOCOLS = {
    RuleProtocol.TCP: Protocol.TCP,
    RuleProtocol.UDP: Protocol.UDP,
    RuleProtocol.ICMP: Protocol.ICMP,
    RuleProtocol.ESP: Protocol.ESP,
    RuleProtocol.AH: Protocol.AH,
}

Rule = TypeVar("Rule", SecurityRule, SecurityAdminRule)


class UnknownServiceTagError(InputError):
    """A rule would decide, if only the addresses of its service tag were known."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a rule with its tags resolved; ``unknown`` are tags that nothing defines."""

    any: bool
    addresses: AddressSet
    asgs: frozenset[str]
    unknown: tuple[str, ...] = ()

    def matches(self, family: int, number: int, asgs: frozenset[str]) -> bool | None:
        """None where it depends on a tag that is not known."""
        if self.any or self.addresses.holds(family, number):
            return True
        if self.asgs and not self.asgs.isdisjoint(asgs):
            return True
        if self.unknown and not PRIVATE.holds(family, number):
            return None
        return False


@dataclass(frozen=True, slots=True)
class RuleEvaluation:
    """What of one rule matched a packet, as Azure's NSG diagnostics list it."""

    rule: SecurityRule | SecurityAdminRule
    protocol: bool
    source: bool | None
    source_port: bool
    destination: bool | None
    destination_port: bool

    @property
    def matched(self) -> bool:
        return all((self.protocol, self.source, self.source_port, self.destination, self.destination_port))

    def __str__(self) -> str:
        if self.matched:
            return f"'{self.rule.name}' (priority {self.rule.priority}) matches"
        parts = {
            "protocol": self.protocol, "source": self.source, "source port": self.source_port,
            "destination": self.destination, "destination port": self.destination_port,
        }  # fmt: skip
        missed = ", ".join(name for name, matched in parts.items() if not matched)
        return f"'{self.rule.name}' (priority {self.rule.priority}) is for another {missed}"


@dataclass(frozen=True, slots=True)
class CompiledRule(Generic[Rule]):
    """A rule as it applies at one subnet. ``protocol`` None is any; ports None are all."""

    rule: Rule
    protocol: Protocol | None
    source: Side
    source_ports: tuple[tuple[int, int], ...] | None
    destination: Side
    destination_ports: tuple[tuple[int, int], ...] | None

    def for_protocol(self, packet: Packet) -> bool:
        """Protocol, and ports for what has none: a rule for ICMP ignores them, one for any
        protocol that names some means others."""
        if self.protocol is not None:
            return self.protocol is packet.protocol
        return packet.protocol.has_ports or (self.source_ports is None and self.destination_ports is None)

    def for_ports(self, packet: Packet) -> bool:
        return packet.destination_port is None or (
            _port_in(self.destination_ports, packet.destination_port)
            and _port_in(self.source_ports, packet.source_port or 0)
        )

    def evaluate(self, packet: Packet) -> RuleEvaluation:
        ports = packet.destination_port is not None
        return RuleEvaluation(
            rule=self.rule,
            protocol=self.for_protocol(packet),
            source=self.source.matches(packet.family, packet.source_number, packet.source_asgs),
            source_port=not ports or _port_in(self.source_ports, packet.source_port or 0),
            destination=self.destination.matches(
                packet.family, packet.destination_number, packet.destination_asgs
            ),
            destination_port=not ports or _port_in(self.destination_ports, packet.destination_port or 0),
        )


def _port_in(ranges: tuple[tuple[int, int], ...] | None, port: int) -> bool:
    if ranges is None:
        return True
    return any(first <= port <= last for first, last in ranges)


@dataclass(frozen=True, slots=True)
class RuleList(Generic[Rule]):
    """The rules of one direction in the order in which they are asked; ``label`` names their owner."""

    label: str
    rules: tuple[CompiledRule[Rule], ...]

    def decide(self, packet: Packet) -> CompiledRule[Rule] | None:
        """The first rule that matches; None where none does (an NSG without its default rules).

        Raises UnknownServiceTagError where it depends on a service tag that is not known.
        """
        family, source, destination = packet.family, packet.source_number, packet.destination_number
        for rule in self.rules:
            if not (rule.for_protocol(packet) and rule.for_ports(packet)):
                continue
            at_source = rule.source.matches(family, source, packet.source_asgs)
            if at_source is False:
                continue
            at_destination = rule.destination.matches(family, destination, packet.destination_asgs)
            if at_destination is False:
                continue
            if at_source is None or at_destination is None:
                raise self._unknown_tag(rule, packet)
            return rule
        return None

    def evaluations(self, packet: Packet) -> tuple[RuleEvaluation, ...]:
        """Every rule up to the one that matches, as NSG diagnostics list them."""
        found = []
        for rule in self.rules:
            found.append(rule.evaluate(packet))
            if found[-1].matched:
                break
        return tuple(found)

    def _unknown_tag(self, compiled: CompiledRule[Rule], packet: Packet) -> UnknownServiceTagError:
        rule = compiled.rule
        tags = [
            tag
            for side, number in (
                (compiled.source, packet.source_number),
                (compiled.destination, packet.destination_number),
            )
            for tag in side.unknown
            if not (side.any or side.addresses.holds(packet.family, number))
        ]
        return UnknownServiceTagError(
            f"rule '{plain(rule.name)}' of {plain(self.label)} would decide {packet},"
            f" but the addresses of the service tag '{plain(tags[0])}' are not known ({plain(rule.id)})",
            hint="give Microsoft's service tags file (--service-tags FILE) that defines it",
        )


AnyRuleList = RuleList[SecurityRule] | RuleList[SecurityAdminRule]


def compile_rules(label: str, rules: Iterable[Rule], scope: TagScope) -> RuleList[Rule]:
    """``rules``, in order, with their tags resolved as ``scope`` sees them."""
    return RuleList(label, tuple(_compiled(rule, scope) for rule in rules))


def _compiled(rule: Rule, scope: TagScope) -> CompiledRule[Rule]:
    return CompiledRule(
        rule,
        _PROTOCOLS.get(rule.protocol),
        _side(rule.source, scope),
        _ports(rule.source_ports),
        _side(rule.destination, scope),
        _ports(rule.destination_ports),
    )


@lru_cache(maxsize=1 << 16)
def _addresses(prefixes: tuple[IPNetwork, ...]) -> AddressSet:
    """The same prefixes stand in many rules, and one rule in many subnets."""
    return AddressSet.of(prefixes)


def _side(selector: AddressSelector, scope: TagScope) -> Side:
    addresses = _addresses(selector.prefixes) if selector.prefixes else NOWHERE
    unknown = []
    for tag in selector.tags:
        known = scope.addresses(tag)
        if known is None:
            unknown.append(tag)
        else:
            addresses = addresses | known if addresses else known
    return Side(selector.any, addresses, frozenset(selector.asgs), tuple(unknown))


def _ports(ranges: Sequence[PortRange]) -> tuple[tuple[int, int], ...] | None:
    return None if ANY_PORT in ranges else tuple((item.first, item.last) for item in ranges)


def missed_by_asg(
    rules: RuleList[SecurityRule], denying: SecurityRule, packet: Packet
) -> tuple[SecurityRule, Direction] | None:
    """An allow rule before ``denying`` that an end misses only for want of any ASG, and that end's side.

    The side is OUTBOUND for the packet's source, INBOUND for its destination. An end that has
    an ASG, only not this rule's, is taken to be classified on purpose.
    """
    for compiled in rules.rules:
        rule = compiled.rule
        if rule is denying:
            return None
        if rule.access is not Access.ALLOW:
            continue
        if not (rule.source.asgs or rule.destination.asgs):
            continue
        found = compiled.evaluate(packet)
        if not (found.protocol and found.source_port and found.destination_port):
            continue
        if found.destination and found.source is False and rule.source.asgs and not packet.source_asgs:
            return rule, Direction.OUTBOUND
        lacks = found.destination is False and rule.destination.asgs and not packet.destination_asgs
        if found.source and lacks:
            return rule, Direction.INBOUND
    return None


def allows_by_address(rule: SecurityRule, remote: Direction) -> bool:
    """Whether a custom rule allows its remote side by prefix or ASG, not by ``*`` or a tag."""
    side = rule.source if remote is Direction.INBOUND else rule.destination
    return rule.access is Access.ALLOW and not rule.default and bool(side.prefixes or side.asgs)
