"""What a NIC's port does to a packet: flow state first, then the NSGs of NIC and subnet.

Flow state belongs to the port: an answer passes without rules only where the port saw the
flow itself (azure-facts, "NSG"; measured on the fabric prototype). Routes are not asked here.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import InputError
from harness.model import Cause
from harness.network.model import (
    Access,
    Direction,
    Network,
    NetworkInterface,
    NetworkSecurityGroup,
    RouteSource,
    SecurityRule,
    key,
    short_name,
)
from harness.policy.decision import DecisionKind, Way
from harness.policy.ends import End
from harness.policy.packet import Packet
from harness.policy.peering import describe_fault, peering_fault
from harness.policy.routing import effective_routes, select_route
from harness.policy.security import deciding_rule, missed_by_asg
from harness.policy.tags import tag_scope
from harness.policy.trail import Membership, Trail, nic_label
from harness.text import plain

NIC, SUBNET = "NIC", "subnet"

_CAUSES = {
    (NIC, Direction.INBOUND): Cause.NIC_NSG_INBOUND,
    (NIC, Direction.OUTBOUND): Cause.NIC_NSG_OUTBOUND,
    (SUBNET, Direction.INBOUND): Cause.SUBNET_NSG_INBOUND,
    (SUBNET, Direction.OUTBOUND): Cause.SUBNET_NSG_OUTBOUND,
}


_ENDS_CAUSES = frozenset({Cause.DEFAULT_DENY, *_CAUSES.values()})


@dataclass(frozen=True, slots=True)
class Judged:
    """What let a packet through a port: rules, or the port's knowledge of the flow."""

    established: bool
    rules: tuple[SecurityRule, ...] = ()


def groups_of(
    network: Network, nic: NetworkInterface, direction: Direction
) -> list[tuple[str, NetworkSecurityGroup]]:
    """The NSGs that judge, in order: NIC then subnet outward, subnet then NIC inward."""
    names = [(NIC, nic.nsg), (SUBNET, network.subnets[nic.subnet].nsg)]
    if direction is Direction.INBOUND:
        names.reverse()
    return [(level, network.nsgs[name]) for level, name in names if name is not None]


def rule_for(
    network: Network, nic: NetworkInterface, group: NetworkSecurityGroup, direction: Direction, packet: Packet
) -> SecurityRule:
    """The rule of one of the NIC's NSGs that decides ``packet``."""
    rule = deciding_rule(group, direction, packet, tag_scope(network, nic))
    if rule is None:
        raise InputError(
            f"no rule of network security group {plain(group.id)}, default or not, decides {packet}"
        )
    return rule


class Ports:
    """The ports of one journey with their flow state."""

    def __init__(self, network: Network, trail: Trail, source: End, target: End) -> None:
        self._network, self._trail = network, trail
        self._source, self._target = source, target
        self._states: set[tuple[str, Direction, tuple[object, ...]]] = set()

    def judge(
        self,
        nic: NetworkInterface,
        direction: Direction,
        packet: Packet,
        *,
        previous: NetworkInterface | None = None,
    ) -> Judged:
        """Lets ``packet`` in or out of the port of ``nic``, or ends the journey.

        ``previous`` is the NIC that an inbound packet comes from, None for the internet.
        """
        name, passes = nic_label(nic), f"{direction.lower()} traffic passes"
        if self._knows(nic, direction, packet):
            why = f"this port saw the flow, so its answer is not judged again: {passes}"
            self._trail.allow(DecisionKind.STATE, name, why, nic=nic)
            return Judged(established=True)
        groups = groups_of(self._network, nic, direction)
        rules = tuple(self._ask(nic, (level, group), direction, packet, previous) for level, group in groups)
        if not groups:
            why = f"no network security group on NIC or subnet: {passes}"
            self._trail.allow(DecisionKind.NSG, name, why, nic=nic)
        self._states.add((key(nic.id), direction, packet.key))
        return Judged(established=False, rules=rules)

    def _knows(self, nic: NetworkInterface, direction: Direction, packet: Packet) -> bool:
        other = Direction.INBOUND if direction is Direction.OUTBOUND else Direction.OUTBOUND
        return (key(nic.id), direction, packet.key) in self._states or (
            (key(nic.id), other, packet.reply().key) in self._states
        )

    def _ask(
        self,
        nic: NetworkInterface,
        judge: tuple[str, NetworkSecurityGroup],
        direction: Direction,
        packet: Packet,
        previous: NetworkInterface | None,
    ) -> SecurityRule:
        level, group = judge
        rule = rule_for(self._network, nic, group, direction, packet)
        place = nic_label(nic) if level == NIC else f"subnet '{self._network.subnets[nic.subnet].name}'"
        where = f"{place}, network security group '{group.name}'"
        why = (
            f"{'default rule' if rule.default else 'rule'} '{rule.name}' (priority {rule.priority},"
            f" {direction.lower()}) {'allows' if rule.access is Access.ALLOW else 'denies'} {packet}"
        )
        label = (f"{group.name}/{rule.name}", rule.id)
        if rule.access is Access.ALLOW:
            self._trail.allow(DecisionKind.NSG, where, why, object_id=group.id, nic=nic, rule=label)
            return rule
        cause, vnets, lacking = self._cause(nic, level, direction, rule), None, None
        if rule.default:
            vnets = self._peering_behind(nic, direction, packet, previous)
        if vnets is not None:
            fault = peering_fault(self._network, *vnets)
            cause = fault[0] if fault else cause
            why += f": {describe_fault(self._network, *vnets)}, so VirtualNetwork does not hold the other end"
        missed = missed_by_asg(group, rule, packet, tag_scope(self._network, nic)) if vnets is None else None
        if missed is not None and cause in _ENDS_CAUSES:
            allowing, side = missed
            end = self._source if side is Direction.OUTBOUND else self._target
            asgs = allowing.source.asgs if side is Direction.OUTBOUND else allowing.destination.asgs
            cause = Cause.ASG_MEMBERSHIP
            why += f"; rule '{allowing.name}' would allow it, were {end.label} in {short_name(asgs[0])}"
            lacking = Membership(end, asgs)
        raise self._trail.deny(
            cause,
            DecisionKind.NSG,
            where,
            why,
            object_id=group.id,
            nic=nic,
            rule=label,
            vnets=vnets,
            packet=packet,
            lacking=lacking,
        )

    def _cause(self, nic: NetworkInterface, level: str, direction: Direction, rule: SecurityRule) -> Cause:
        if self._trail.way is Way.RETURN:
            return Cause.ASYMMETRIC_RETURN
        if nic is not self._source.nic and nic is not self._target.nic:
            return Cause.APPLIANCE_NSG
        return Cause.DEFAULT_DENY if rule.default else _CAUSES[level, direction]

    def _peering_behind(
        self, nic: NetworkInterface, direction: Direction, packet: Packet, previous: NetworkInterface | None
    ) -> tuple[str, str] | None:
        """The virtual networks whose faulty peering makes a default rule deny, if that is why.

        A peer's space is in VirtualNetwork only while the peering is connected and allows
        access. Asked on the direct way only: towards an appliance, routes widen the tag.
        """
        if self._trail.way is Way.RETURN:
            return None
        if direction is Direction.OUTBOUND:
            route = select_route(effective_routes(self._network, nic), packet.destination)
            direct = nic is self._source.nic and (route is None or route.source is not RouteSource.USER)
            remote = self._target.nic if self._target.public is None else None
        else:
            direct, remote = nic is self._target.nic and previous is self._source.nic, self._source.nic
        if not direct or remote is None:
            return None
        subnets = self._network.subnets
        pair = (subnets[nic.subnet].vnet, subnets[remote.subnet].vnet)
        return pair if peering_fault(self._network, *pair) is not None else None
