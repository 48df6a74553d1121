"""Which rule of a network security group decides a packet.

Lowest priority number first, the first match ends it (azure-facts, "NSG"). One NSG at a
time; the order of subnet and NIC is :mod:`harness.policy.journey`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import InputError
from harness.model import Protocol
from harness.network.model import (
    ANY_PORT,
    Access,
    AddressSelector,
    Direction,
    IPAddress,
    NetworkSecurityGroup,
    PortRange,
    RuleProtocol,
    SecurityRule,
)
from harness.policy.packet import Packet
from harness.policy.tags import TagScope, contains
from harness.text import plain

_PROTOCOLS = {
    Protocol.TCP: RuleProtocol.TCP,
    Protocol.UDP: RuleProtocol.UDP,
    Protocol.ICMP: RuleProtocol.ICMP,
}


class UnknownServiceTagError(InputError):
    """A rule would decide, if only the addresses of its service tag were known."""


def deciding_rule(
    nsg: NetworkSecurityGroup, direction: Direction, packet: Packet, scope: TagScope
) -> SecurityRule | None:
    """The first rule that matches; None only for an NSG without default rules.

    Raises UnknownServiceTagError where it depends on a service tag that is not known.
    """
    for rule in nsg.ordered(direction):
        if not (_protocol_matches(rule, packet) and _ports_match(rule, packet)):
            continue
        sides = (
            _side_matches(rule.source, packet.source, packet.source_asgs, scope),
            _side_matches(rule.destination, packet.destination, packet.destination_asgs, scope),
        )
        if False in sides:
            continue
        if None in sides:
            raise _unknown_tag(nsg, rule, packet, scope)
        return rule
    return None


def missed_by_asg(
    nsg: NetworkSecurityGroup, denying: SecurityRule, packet: Packet, scope: TagScope
) -> tuple[SecurityRule, Direction] | None:
    """An allow rule before ``denying`` that an end misses only for want of any ASG, and that end's side.

    The side is OUTBOUND for the packet's source, INBOUND for its destination. An end that has
    an ASG, only not this rule's, is taken to be classified on purpose.
    """
    for rule in nsg.ordered(denying.direction):
        if rule is denying:
            return None
        asked = _protocol_matches(rule, packet) and _ports_match(rule, packet)
        if rule.access is not Access.ALLOW or not asked:
            continue
        source = _side_matches(rule.source, packet.source, packet.source_asgs, scope)
        destination = _side_matches(rule.destination, packet.destination, packet.destination_asgs, scope)
        if destination is True and source is False and rule.source.asgs and not packet.source_asgs:
            return rule, Direction.OUTBOUND
        if source is True and destination is False and rule.destination.asgs and not packet.destination_asgs:
            return rule, Direction.INBOUND
    return None


def names_addresses(rule: SecurityRule, remote: Direction) -> bool:
    """Whether a custom rule names its remote side by prefix or ASG, not by ``*`` or a tag."""
    side = rule.source if remote is Direction.INBOUND else rule.destination
    return not rule.default and bool(side.prefixes or side.asgs)


def _protocol_matches(rule: SecurityRule, packet: Packet) -> bool:
    return rule.protocol in (RuleProtocol.ANY, _PROTOCOLS[packet.protocol])


def _ports_match(rule: SecurityRule, packet: Packet) -> bool:
    if packet.protocol is Protocol.ICMP:
        # ICMP has no ports: a rule for ICMP ignores them, one for any protocol that names some means others
        return rule.protocol is RuleProtocol.ICMP or (
            ANY_PORT in rule.source_ports and ANY_PORT in rule.destination_ports
        )
    return _port_in(rule.source_ports, packet.source_port) and _port_in(
        rule.destination_ports, packet.destination_port
    )


def _port_in(ranges: Sequence[PortRange], port: int | None) -> bool:
    return port is not None and any(port in ports for ports in ranges)


def _side_matches(
    side: AddressSelector, address: IPAddress, asgs: frozenset[str], scope: TagScope
) -> bool | None:
    if side.any or contains(side.prefixes, address) or not asgs.isdisjoint(side.asgs):
        return True
    answers = [scope.holds(tag, address) for tag in side.tags]
    if True in answers:
        return True
    return None if None in answers else False


def _unknown_tag(
    nsg: NetworkSecurityGroup, rule: SecurityRule, packet: Packet, scope: TagScope
) -> UnknownServiceTagError:
    tags = [
        tag
        for side, address in ((rule.source, packet.source), (rule.destination, packet.destination))
        for tag in side.tags
        if scope.holds(tag, address) is None
    ]
    return UnknownServiceTagError(
        f"rule '{plain(rule.name)}' of network security group '{plain(nsg.name)}' would decide {packet},"
        f" but the addresses of the service tag '{plain(tags[0])}' are not known ({plain(rule.id)})",
        hint="only VirtualNetwork, Internet and AzureLoadBalancer are known; write others as prefixes",
    )
