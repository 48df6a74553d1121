"""A packet's way through Azure's fabric and the way of its answer, decision by decision.

Forward: admin rules, NIC NSG, subnet NSG, effective route, appliances and gateways, then the same
inward, delivery. Return: the same from the target; a port that knows the flow asks no rules, and
one that does not (an appliance that the request did not pass) judges the answer as a new flow.
Guests' own firewalls, routes and forwarding are not visible in configuration and are taken as working.
"""

from __future__ import annotations

from harness.model import Protocol
from harness.network.model import Access, Direction, NetworkInterface, NextHopType, SecurityRule
from harness.policy.compiled import Compiled
from harness.policy.decision import Asked, Decision, DecisionKind, EffectiveRoute, Way
from harness.policy.edge import Edge, Entrance
from harness.policy.ends import End
from harness.policy.hops import Hops, Sender
from harness.policy.outbound import Outbound
from harness.policy.packet import Packet
from harness.policy.ports import NSG_CAUSES, Forgiven, Judged, Ports, State
from harness.policy.tags import PLATFORM, PLATFORM_TAGS
from harness.policy.trail import Drop, Dropped, Trail, detached_note, nic_label

_KMS_PORT = 1688


class Journey:
    """One flow through one network: :meth:`run` once, then read ``decisions``.

    ``known`` are the flows that ports know already, of an established flow. ``choice`` is by which of
    several appliances the packet goes, where a next hop stands for more than one. ``forgiven`` are rules
    that count as if they allowed, for finding what else denies.
    """

    def __init__(
        self,
        view: Compiled,
        source: End,
        target: End,
        packet: Packet,
        known: frozenset[State] = frozenset(),
        choice: int = 0,
        forgiven: frozenset[Forgiven] = frozenset(),
    ) -> None:
        self._view = view
        self._source, self._target, self.packet = source, target, packet
        self._trail = Trail()
        self._ports = Ports(view, self._trail, source, target, known, forgiven)
        self._hops = Hops(view, self._trail, choice)
        self._edge = Edge(view, self._trail, self._hops)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return tuple(self._trail.decisions)

    @property
    def outbound(self) -> Outbound | None:
        """By what the flow's own packet left to the internet, if it did."""
        return self._edge.outbound

    @property
    def spread(self) -> int:
        """Among how many appliances a next hop on the way spreads packets: choices there are."""
        return self._hops.spread

    def states(self) -> dict[State, tuple[SecurityRule, ...]]:
        """What the ports have come to know of the flow."""
        return self._ports.states()

    def run(self) -> Drop | None:
        """Follows the packet and its answer; where one of them ends, or None if both arrive.

        Raises InputError where the snapshot cannot tell (a virtual network that is not in it, a
        service tag that is not known).
        """
        try:
            if not self._never_judged():
                arrived = self._forward()
                self._trail.way = Way.RETURN
                self._return(arrived)
        except Dropped as dropped:
            return dropped.drop
        return None

    def _never_judged(self) -> bool:
        """A VM to itself, and Azure's platform addresses: neither rules nor routes apply."""
        source, target = self._source, self._target
        nic = source.nic or target.nic
        if nic is None:
            # an address of the network that publishes nothing at this port
            return False
        own_address = target.public is None and target.arrival is None
        if own_address and (source.nic is target.nic or (source.vm is not None and source.vm == target.vm)):
            why = "source and target are the same machine: the packet never leaves it"
            self._trail.allow(DecisionKind.DELIVERY, nic_label(nic), why, nic=nic)
            return True
        outward = target.nic is None and self._is_platform(nic)
        inward = source.nic is None and source.address in PLATFORM
        if not outward and not (inward and self._view.options.platform_source == "exempt"):
            return False
        if outward:
            self._platform_rules(nic)
        address = target.address if outward else source.address
        why = f"{address} is Azure's own: no network security group and no user-defined route applies to it"
        self._trail.allow(DecisionKind.PLATFORM, nic_label(nic), why, nic=nic)
        return True

    def _is_platform(self, nic: NetworkInterface) -> bool:
        """Platform addresses; activation (KMS) counts as long as no custom default route takes it away."""
        if self._target.address in PLATFORM:
            return True
        packet = self.packet
        if packet.protocol is not Protocol.TCP or packet.destination_port != _KMS_PORT:
            return False
        if self._target.address not in PLATFORM_TAGS["azureplatformlkm"]:
            return False
        route = self._view.context(nic.subnet).routes.find(packet.family, packet.destination_number)
        return route is not None and route.next_hop_type is NextHopType.INTERNET

    def _platform_rules(self, nic: NetworkInterface) -> None:
        """Only rules that name a platform tag reach platform traffic."""
        for judge in self._view.judges(nic, Direction.OUTBOUND):
            for compiled in judge.rules.rules:
                rule = compiled.rule
                if not any(tag.lower() in PLATFORM_TAGS for tag in rule.destination.tags):
                    continue
                if not compiled.evaluate(self.packet).matched:
                    continue
                label = (f"{judge.group.name}/{rule.name}", rule.id)
                where = f"{nic_label(nic)}, network security group '{judge.group.name}'"
                asked = Asked(judge.rules, self.packet)
                if rule.access is Access.DENY:
                    raise self._trail.deny(
                        NSG_CAUSES[judge.level, Direction.OUTBOUND], DecisionKind.NSG, where,
                        f"rule '{rule.name}' denies {self.packet} by a platform tag",
                        object_id=judge.group.id, nic=nic, rule=label, asked=asked, packet=self.packet,
                    )  # fmt: skip
                break

    def _forward(self) -> Packet:
        """The packet as the target sees it; its addresses may have been translated."""
        if self._source.nic is not None:
            start = self._hops.sender(self._source.nic)
            return self._travel(self.packet, start, self._target, [self._source.nic])
        if self._target.nic is None:
            self._edge.public_port(self._target, self.packet)
        assert self._target.nic is not None  # what has no NIC has a refusal, which ends the journey
        gateway = self._edge.enter(self._target, self.packet)
        if gateway is not None:
            return self._travel(self.packet, gateway, self._target, [])
        return self._arrive(self._target.nic, self.packet, None, self._target)

    def _return(self, arrived: Packet) -> None:
        if self._target.nic is None:
            why = "nothing in this network judges the answer: the source's port knows the flow"
            self._trail.allow(DecisionKind.STATE, "internet", why)
        elif self._edge.entrance is Entrance.INTERNET:
            self._answer_the_internet(self._target.nic, arrived.reply())
        elif self._source.nic is not None or self._source.address not in PLATFORM:
            start = self._hops.sender(self._target.nic)
            self._travel(arrived.reply(), start, self._source, [self._target.nic])

    def _answer_the_internet(self, nic: NetworkInterface, packet: Packet) -> None:
        self._ports.judge(nic, Direction.OUTBOUND, packet)
        route = self._hops.take_route(self._hops.sender(nic), packet, self._source)
        self._edge.answer_leaves(packet, [nic], route)

    def _travel(self, packet: Packet, start: Sender, goal: End, passed: list[NetworkInterface]) -> Packet:
        """From ``start`` to ``goal``, hop by hop; raises Dropped where it ends before."""
        sender, gateways = start, 0
        while True:
            judged = Judged(established=False)
            if sender.nic is not None:
                judged = self._ports.judge(sender.nic, Direction.OUTBOUND, packet)
            route = self._hops.take_route(sender, packet, goal)
            if route.next_hop_type is NextHopType.INTERNET:
                return self._to_internet(packet, sender, route, goal, passed)
            if route.next_hop_type is NextHopType.SERVICE_ENDPOINT:
                self._edge.to_service(packet, route)
                return packet
            if route.next_hop_type is NextHopType.VIRTUAL_NETWORK_GATEWAY:
                beyond = self._hops.take_gateway(sender, route, packet, goal)
                gateways += 1
                if beyond is None:
                    return packet
                if gateways > len(self._view.network.gateways):
                    raise self._edge.gateway_loop(packet, route)
                sender = beyond
                continue
            receiver = self._hops.next_port(sender, route, packet, goal)
            if receiver is None:
                return packet
            known = judged.established or self._ports.knows(receiver, Direction.INBOUND, packet)
            inside = self._edge.behind(packet, receiver, goal)
            self._hops.cross(sender, receiver, inside, judged.rules, known=known)
            if self._is_for(receiver, packet, goal):
                return self._arrive(receiver, packet, sender.nic, goal)
            self._hops.check_appliance(receiver, route, passed)
            self._ports.judge(receiver, Direction.INBOUND, packet, previous=sender.nic)
            passed.append(receiver)
            sender = self._hops.sender(receiver)

    def _is_for(self, receiver: NetworkInterface, packet: Packet, goal: End) -> bool:
        inside = goal.arrival is not None and goal.public is None
        if inside and receiver is goal.nic and packet.destination == goal.address:
            return True
        return any(packet.destination == own.address for own in receiver.ip_configurations)

    def _to_internet(
        self, packet: Packet, sender: Sender, route: EffectiveRoute, goal: End, passed: list[NetworkInterface]
    ) -> Packet:
        if self._trail.way is Way.RETURN:
            self._edge.answer_leaves(packet, passed, route)
            return packet
        if goal.refusal is not None:
            raise self._trail.refuse(goal.refusal)
        if goal.nic is None:
            self._edge.leave(packet, sender, route)
            return packet
        outside = self._edge.translate_source(packet, sender, goal)
        self._edge.public_port(goal, outside)
        assert goal.nic is not None  # public_port ends the journey where nothing is published
        return self._arrive(goal.nic, outside, None, goal)

    def _arrive(
        self, nic: NetworkInterface, packet: Packet, previous: NetworkInterface | None, goal: End
    ) -> Packet:
        """The port of ``nic``, for which the packet is; its destination may be translated on the way in."""
        if self._trail.way is Way.FORWARD:
            inside = self._edge.translate_destination(packet, nic, goal)
            if inside is not packet:
                self._ports.same_flow(packet, inside)
                packet = inside
        self._ports.judge(nic, Direction.INBOUND, packet, previous=previous)
        if goal.nic is not None and nic is not goal.nic:
            raise self._edge.wrong_machine(packet, nic, goal)
        why = f"{packet.destination} receives {packet}{detached_note(nic)}"
        self._trail.allow(DecisionKind.DELIVERY, nic_label(nic), why, nic=nic)
        return packet
