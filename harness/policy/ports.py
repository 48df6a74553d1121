"""What a NIC's port does to a packet: flow state first, then admin rules, then the NSGs of NIC and subnet.

Flow state belongs to the port: an answer passes without rules only where the port saw the
flow itself (azure-facts, "NSG"; measured on the fabric prototype). Routes are not asked here.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import InputError
from harness.model import Cause, Protocol
from harness.network.model import (
    Access,
    AdminAccess,
    Direction,
    NetworkInterface,
    RouteSource,
    SecurityRule,
    key,
    short_name,
)
from harness.policy.compiled import NIC, SUBNET, Compiled, Judge
from harness.policy.decision import Asked, DecisionKind, Way
from harness.policy.ends import End
from harness.policy.packet import Packet
from harness.policy.peering import peering_fault
from harness.policy.security import missed_by_asg
from harness.policy.trail import Membership, Trail, nic_label
from harness.text import plain

NSG_CAUSES = {
    (NIC, Direction.INBOUND): Cause.NIC_NSG_INBOUND,
    (NIC, Direction.OUTBOUND): Cause.NIC_NSG_OUTBOUND,
    (SUBNET, Direction.INBOUND): Cause.SUBNET_NSG_INBOUND,
    (SUBNET, Direction.OUTBOUND): Cause.SUBNET_NSG_OUTBOUND,
}


_ENDS_CAUSES = frozenset({Cause.DEFAULT_DENY, *NSG_CAUSES.values()})
_OTHER = {Direction.INBOUND: Direction.OUTBOUND, Direction.OUTBOUND: Direction.INBOUND}

State = tuple[str, Direction, tuple[object, ...]]
"""NIC (key), direction, packet key: one flow that one port knows."""

Forgiven = tuple[str, str, Way]
"""Rule (id), NIC (key), way: a denial that is looked past."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What let a packet through a port: rules, or the port's knowledge of the flow."""

    established: bool
    rules: tuple[SecurityRule, ...] = ()


def rule_for(judge: Judge, packet: Packet) -> SecurityRule:
    """The rule of one NSG that decides ``packet``."""
    found = judge.rules.decide(packet)
    if found is None:
        raise InputError(
            f"no rule of network security group {plain(judge.group.id)}, default or not, decides {packet}"
        )
    return found.rule


class Ports:
    """The ports of one journey with their flow state; ``known`` is what they knew before."""

    def __init__(
        self,
        view: Compiled,
        trail: Trail,
        source: End,
        target: End,
        known: frozenset[State] = frozenset(),
        forgiven: frozenset[Forgiven] = frozenset(),
    ) -> None:
        self._view, self._trail = view, trail
        self._source, self._target = source, target
        self._known, self._forgiven = known, forgiven
        self._states: dict[State, tuple[SecurityRule, ...]] = {}

    def states(self) -> dict[State, tuple[SecurityRule, ...]]:
        """The flows that ports have come to know, each with the rules that let it pass."""
        return dict(self._states)

    def same_flow(self, packet: Packet, translated: Packet) -> None:
        """A translation on the way: ports that know ``packet`` know the answer to ``translated``, too."""
        for nic, direction, identity in [state for state in self._states if state[2] == packet.key]:
            self._states[nic, direction, translated.key] = self._states[nic, direction, identity]

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
        if self.knows(nic, direction, packet):
            why = f"this port saw the flow and does not judge it again: {direction.lower()} traffic passes"
            self._trail.allow(DecisionKind.STATE, nic_label(nic), why, nic=nic)
            return Judged(established=True)
        rules: tuple[SecurityRule, ...] = ()
        if not self._admin_rules_deliver(nic, direction, packet):
            judges = self._view.judges(nic, direction)
            rules = tuple([self._ask(nic, judge, direction, packet, previous) for judge in judges])
            if not judges:
                why = f"no network security group on NIC or subnet: {direction.lower()} traffic passes"
                self._trail.allow(DecisionKind.NSG, nic_label(nic), why, nic=nic)
        self._states[key(nic.id), direction, packet.key] = rules
        return Judged(established=False, rules=rules)

    def knows(self, nic: NetworkInterface, direction: Direction, packet: Packet) -> bool:
        """Whether the port saw the flow, so that it asks no rules of this packet."""
        states, known, name = self._states, self._known, key(nic.id)
        own = (name, direction, packet.key)
        if own in states or own in known:
            return True
        answer = (name, _OTHER[direction], packet.reply().key)
        return answer in states or answer in known

    def _admin_rules_deliver(self, nic: NetworkInterface, direction: Direction, packet: Packet) -> bool:
        """Whether admin rules let the packet past every NSG (AlwaysAllow); raises where they deny."""
        rules = self._view.admin_rules(nic.subnet, direction)
        found = rules.decide(packet) if rules is not None else None
        if rules is None or found is None:
            return False
        rule, vnet = found.rule, self._view.network.vnets[self._view.vnet_of(nic)]
        where = f"virtual network '{vnet.name}', security admin rules"
        label, asked = (rule.name, rule.id), Asked(rules, packet)
        what = f"security admin rule '{rule.name}' (priority {rule.priority}, {direction.lower()})"
        if rule.access is AdminAccess.DENY:
            cause = Cause.ADMIN_RULE if self._trail.way is Way.FORWARD else Cause.ASYMMETRIC_RETURN
            raise self._trail.deny(
                cause, DecisionKind.ADMIN_RULE, where, f"{what} denies {packet}, whatever the NSGs say",
                object_id=rule.id, nic=nic, rule=label, asked=asked, packet=packet,
            )  # fmt: skip
        delivers = rule.access is AdminAccess.ALWAYS_ALLOW
        effect = "delivers it, and no NSG is asked" if delivers else "lets it go on to the NSGs"
        self._trail.allow(
            DecisionKind.ADMIN_RULE, where, f"{what} matches {packet} and {effect}",
            object_id=rule.id, nic=nic, rule=label, asked=asked,
        )  # fmt: skip
        return delivers

    def _ask(
        self,
        nic: NetworkInterface,
        judge: Judge,
        direction: Direction,
        packet: Packet,
        previous: NetworkInterface | None,
    ) -> SecurityRule:
        group, rule = judge.group, rule_for(judge, packet)
        place = nic_label(nic) if judge.level == NIC else f"subnet '{short_name(nic.subnet)}'"
        where = f"{place}, network security group '{group.name}'"
        why = (
            f"{'default rule' if rule.default else 'rule'} '{rule.name}' (priority {rule.priority},"
            f" {direction.lower()}) {'allows' if rule.access is Access.ALLOW else 'denies'} {packet}"
        )
        label, asked = (f"{group.name}/{rule.name}", rule.id), Asked(judge.rules, packet)
        if rule.access is Access.ALLOW or (rule.id, key(nic.id), self._trail.way) in self._forgiven:
            self._trail.allow(
                DecisionKind.NSG, where, why, object_id=group.id, nic=nic, rule=label, asked=asked
            )
            return rule
        cause, vnets, lacking = self._cause(nic, judge.level, direction, rule), None, None
        if rule.default:
            vnets = self._peering_behind(nic, direction, packet, previous)
        if vnets is not None:
            fault = peering_fault(self._view.network, *vnets, self._remote(direction).address)
            assert fault is not None  # that is what _peering_behind asked
            cause = fault.cause
            why += f": {fault.why}, so VirtualNetwork does not hold the other end"
        missed = missed_by_asg(judge.rules, rule, packet) if vnets is None else None
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
            asked=asked,
            vnets=vnets,
            packet=packet,
            lacking=lacking,
        )

    def _cause(self, nic: NetworkInterface, level: str, direction: Direction, rule: SecurityRule) -> Cause:
        if self._trail.way is Way.RETURN:
            return Cause.ASYMMETRIC_RETURN
        if nic is not self._source.nic and nic is not self._target.nic:
            return Cause.APPLIANCE_NSG
        return Cause.DEFAULT_DENY if rule.default else NSG_CAUSES[level, direction]

    def _remote(self, direction: Direction) -> End:
        return self._target if direction is Direction.OUTBOUND else self._source

    def _peering_behind(
        self, nic: NetworkInterface, direction: Direction, packet: Packet, previous: NetworkInterface | None
    ) -> tuple[str, str] | None:
        """The virtual networks whose faulty peering makes a default rule deny, if that is why.

        A peer's space is in VirtualNetwork only while the peering is connected and allows
        access. Asked on the direct way only: towards an appliance, routes widen the tag.
        """
        if self._trail.way is Way.RETURN:
            return None
        remote = self._remote(direction)
        if direction is Direction.OUTBOUND:
            route = self._view.context(nic.subnet).routes.find(packet.family, packet.destination_number)
            direct = nic is self._source.nic and (route is None or route.source is not RouteSource.USER)
        else:
            direct = nic is self._target.nic and previous is self._source.nic
        if not direct or remote.nic is None or remote.public is not None:
            return None
        pair = (self._view.vnet_of(nic), self._view.vnet_of(remote.nic))
        return pair if peering_fault(self._view.network, *pair, remote.address) is not None else None


def survives(
    view: Compiled, states: dict[State, tuple[SecurityRule, ...]], protocol: Protocol
) -> frozenset[State]:
    """What ports still know of an established flow after its rules were changed to those of ``view``.

    Everything, unless the option ``inbound_tcp`` says ``stateless``: then a TCP flow that a custom
    rule let in is judged anew, except in virtual networks with a flow timeout.
    """
    if view.options.inbound_tcp == "stateful" or protocol is not Protocol.TCP:
        return frozenset(states)
    kept = []
    for state, rules in states.items():
        nic = view.network.nics.get(key(state[0]))
        vnet = view.network.vnets[view.vnet_of(nic)] if nic is not None else None
        timed = vnet is not None and vnet.flow_timeout is not None
        if state[1] is Direction.OUTBOUND or timed or all(rule.default for rule in rules):
            kept.append(state)
    return frozenset(kept)
