"""A packet's way through Azure's fabric and the way of its answer, decision by decision.

Forward: NIC NSG, subnet NSG, effective route, appliances, subnet NSG, NIC NSG, delivery.
Return: the same from the target; a port that knows the flow asks no rules, and one that
does not (an appliance that the request did not pass) judges the answer as a new flow.
Guests' own firewalls, routes and forwarding are not visible in configuration and are taken
as working.
"""

from __future__ import annotations

from harness.network.model import Direction, Network, NetworkInterface, NextHopType
from harness.policy.decision import Decision, DecisionKind, Options, Way
from harness.policy.edge import Edge
from harness.policy.ends import End
from harness.policy.hops import Hops
from harness.policy.packet import Packet
from harness.policy.ports import Ports
from harness.policy.tags import PLATFORM
from harness.policy.trail import Drop, Dropped, Trail, detached_note, nic_label


class Journey:
    """One flow through one network: :meth:`run` once, then read ``decisions``."""

    def __init__(self, network: Network, source: End, target: End, packet: Packet, options: Options) -> None:
        self._source, self._target, self._packet = source, target, packet
        self._options = options
        self._trail = Trail()
        self._ports = Ports(network, self._trail, source, target)
        self._hops = Hops(network, self._trail, options)
        self._edge = Edge(network, self._trail)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return tuple(self._trail.decisions)

    def run(self) -> Drop | None:
        """Follows the packet and its answer; where one of them ends, or None if both arrive.

        Raises InputError where the snapshot cannot tell (a gateway, a virtual network that is
        not in it, a service tag that is not known).
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
        assert nic is not None  # resolve_ends sees to it
        if source.nic is target.nic or (source.vm is not None and source.vm == target.vm):
            why = "source and target are the same machine: the packet never leaves it"
            self._trail.allow(DecisionKind.DELIVERY, nic_label(nic), why, nic=nic)
            return True
        outward = target.nic is None and target.address in PLATFORM
        inward = source.nic is None and source.address in PLATFORM
        if not outward and not (inward and self._options.platform_source == "exempt"):
            return False
        address = target.address if outward else source.address
        why = f"{address} is Azure's own: no network security group and no user-defined route applies to it"
        self._trail.allow(DecisionKind.PLATFORM, nic_label(nic), why, nic=nic)
        return True

    def _forward(self) -> Packet:
        """The packet as the target sees it; its addresses may have been translated."""
        if self._source.nic is not None:
            return self._travel(self._packet, self._source.nic, self._target)
        assert self._target.nic is not None  # resolve_ends sees to it
        self._edge.enter(self._target.nic, self._packet)
        self._arrive(self._target.nic, self._packet, None)
        return self._packet

    def _return(self, arrived: Packet) -> None:
        if self._target.nic is None:
            why = "nothing in this network judges the answer: the source's port knows the flow"
            self._trail.allow(DecisionKind.STATE, "internet", why)
        elif self._source.nic is not None or self._source.address not in PLATFORM:
            self._travel(arrived.reply(), self._target.nic, self._source)

    def _travel(self, packet: Packet, start: NetworkInterface, goal: End) -> Packet:
        """From the port of ``start`` to ``goal``, hop by hop; raises Dropped where it ends before."""
        sender, passed = start, [start]
        while True:
            judged = self._ports.judge(sender, Direction.OUTBOUND, packet)
            route = self._hops.take_route(sender, packet, goal)
            if route.next_hop_type is NextHopType.INTERNET:
                if self._trail.way is Way.RETURN:
                    self._edge.answer_leaves(packet, passed, route)
                    return packet
                if goal.nic is None:
                    self._edge.leave(packet, route)
                    return packet
                packet = self._edge.translate(packet, sender, goal)
                self._edge.public_port(goal.nic, packet)
                self._arrive(goal.nic, packet, None)
                return packet
            receiver = self._hops.next_port(sender, route, packet, goal)
            if receiver is None:
                return packet
            self._hops.cross(sender, receiver, packet, judged)
            if any(packet.destination == own.address for own in receiver.ip_configurations):
                self._arrive(receiver, packet, sender)
                return packet
            self._hops.check_appliance(receiver, route, passed)
            self._ports.judge(receiver, Direction.INBOUND, packet, previous=sender)
            passed.append(receiver)
            sender = receiver

    def _arrive(self, nic: NetworkInterface, packet: Packet, previous: NetworkInterface | None) -> None:
        self._ports.judge(nic, Direction.INBOUND, packet, previous=previous)
        self._trail.allow(
            DecisionKind.DELIVERY,
            nic_label(nic),
            f"{packet.destination} receives {packet}{detached_note(nic)}",
            nic=nic,
        )
