"""Where a route hands a packet: a NIC, an appliance, a peered virtual network, or nowhere.

Rules are asked at ports (:mod:`harness.policy.ports`); what leaves to the internet or comes
from it is :mod:`harness.policy.edge`.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import InputError
from harness.model import Cause
from harness.network.model import (
    Access,
    Direction,
    IPAddress,
    Network,
    NetworkInterface,
    NextHopType,
    PeeringState,
    RouteSource,
)
from harness.policy.decision import DecisionKind, EffectiveRoute, Options, Way
from harness.policy.ends import End
from harness.policy.packet import Packet
from harness.policy.peering import (
    closed_sides,
    describe_fault,
    explicitly_allowed,
    forwarded_traffic_refused,
    peering_between,
    peering_fault,
)
from harness.policy.ports import Judged, groups_of, rule_for
from harness.policy.routing import route_for
from harness.policy.tags import is_private
from harness.policy.trail import Trail, detached_note, nic_label, unmodelled_note
from harness.text import plain


class Hops:
    """Routing decisions of one journey."""

    def __init__(self, network: Network, trail: Trail, options: Options) -> None:
        self._network, self._trail, self._options = network, trail, options

    def take_route(self, sender: NetworkInterface, packet: Packet, goal: End) -> EffectiveRoute:
        """The route that the packet takes from ``sender``, or the end of the journey."""
        subnet = self._network.subnets[sender.subnet]
        where = f"subnet '{subnet.name}', effective routes of {nic_label(sender)}"
        route = route_for(self._network, sender, packet.destination)
        if route is None:
            why = f"no route leads to {packet.destination}"
            raise self._trail.deny(Cause.ROUTE_TO_NONE, DecisionKind.ROUTE, where, why, nic=sender)
        label = f"route '{route.name}' " if route.name is not None else ""
        why = f"{label}{route} is the longest match for {packet.destination}"
        decider = route.id or subnet.id
        problem = self._dead_end(route, packet, goal)
        if problem is None:
            self._trail.allow(DecisionKind.ROUTE, where, why, object_id=decider, nic=sender, route=route)
            return route
        cause, vnets = Cause.ROUTE_TO_NONE, None
        if route.source is not RouteSource.USER and goal.nic is not None:
            pair = (self._vnet(sender), self._vnet(goal.nic))
            if (fault := peering_fault(self._network, *pair)) is not None:
                cause, vnets = fault[0], pair
                problem += f"; {describe_fault(self._network, *pair)}"
        raise self._trail.deny(
            cause, DecisionKind.ROUTE, where, f"{why}: {problem}",
            object_id=decider, nic=sender, route=route, vnets=vnets,
        )  # fmt: skip

    def _dead_end(self, route: EffectiveRoute, packet: Packet, goal: End) -> str | None:
        if route.next_hop_type is NextHopType.NONE:
            return "the packet is dropped"
        if route.next_hop_type is not NextHopType.INTERNET:
            return None
        private = goal.nic is not None and packet.destination == goal.address
        if private or is_private(packet.destination):
            return f"the internet does not carry the private address {packet.destination}"
        return None

    def next_port(
        self, sender: NetworkInterface, route: EffectiveRoute, packet: Packet, goal: End
    ) -> NetworkInterface | None:
        """The NIC that receives the packet next; None for an answer to an address that no NIC has."""
        if route.next_hop_type is NextHopType.VIRTUAL_NETWORK_GATEWAY:
            raise InputError(
                f"{packet} takes route {route} to a virtual network gateway, which is not modelled:"
                " its verdict cannot be told",
                hint="explain flows that stay within virtual networks, their peerings and the internet",
            )
        if route.next_hop_type is NextHopType.VIRTUAL_APPLIANCE:
            return self._appliance(sender, route)
        vnet = self._vnet(sender)
        if route.next_hop_type is NextHopType.VNET_PEERING:
            vnet = route.peer or ""
            if vnet not in self._network.vnets:
                raise InputError(
                    f"{packet} crosses peering '{plain(route.name or '')}' into {plain(vnet)}, which is not"
                    " in the snapshot: its verdict cannot be told",
                    hint="add that virtual network and its resources to the snapshot",
                )
        receiver = self._holder(vnet, packet.destination)
        if receiver is None:
            self._nobody(vnet, route, packet, goal)
        return receiver

    def _nobody(self, vnet: str, route: EffectiveRoute, packet: Packet, goal: End) -> None:
        owner = self._network.vnets[vnet]
        where = f"virtual network '{owner.name}'"
        if self._trail.way is Way.RETURN and goal.nic is None:
            why = f"the answer is routed to {packet.destination}"
            self._trail.allow(DecisionKind.DELIVERY, where, why, object_id=owner.id)
            return
        raise self._trail.deny(
            Cause.ROUTE_TO_NONE if route.source is RouteSource.USER else None,
            DecisionKind.DELIVERY,
            where,
            f"no network interface there has {packet.destination}: silence{unmodelled_note(self._network)}",
            object_id=owner.id,
            route=route,
        )

    def _appliance(self, sender: NetworkInterface, route: EffectiveRoute) -> NetworkInterface:
        """The NIC with the next hop's address, in this virtual network or a directly peered one."""
        address = route.next_hop_ip
        assert address is not None  # a route to an appliance has one
        home = self._network.vnets[self._vnet(sender)]
        peers = (peer.remote_vnet for peer in home.peerings if peer.state is PeeringState.CONNECTED)
        for vnet in (self._vnet(sender), *peers):
            receiver = self._holder(vnet, address)
            if receiver is not None:
                return receiver
        elsewhere = self._network.holders.get(address, ())
        why = f"no network interface has the next hop's address {address}{unmodelled_note(self._network)}"
        if elsewhere:
            why = (
                f"{nic_label(elsewhere[0][0])} has the next hop's address {address}, but no connected peering"
                f" leads from '{home.name}' to its virtual network"
            )
        raise self._trail.deny(
            Cause.APPLIANCE_UNREACHABLE, DecisionKind.APPLIANCE, f"next hop {address}", why,
            object_id=route.id, nic=elsewhere[0][0] if elsewhere else None, route=route,
        )  # fmt: skip

    def check_appliance(
        self, appliance: NetworkInterface, route: EffectiveRoute, passed: Sequence[NetworkInterface]
    ) -> None:
        """Whether a NIC that is not the destination may forward; ``passed`` are those before it."""
        where = nic_label(appliance)
        if any(appliance is nic for nic in passed):
            why = f"the packet comes back to a port that it has passed: {route} closes a routing loop"
            raise self._trail.deny(
                Cause.APPLIANCE_UNREACHABLE, DecisionKind.APPLIANCE, where, why,
                object_id=route.id, nic=appliance, route=route,
            )  # fmt: skip
        if not appliance.ip_forwarding:
            why = "enableIPForwarding is off: Azure drops what is neither for nor from its own address"
            raise self._trail.deny(
                Cause.APPLIANCE_NOT_FORWARDING, DecisionKind.APPLIANCE, where, why, nic=appliance, route=route
            )
        why = (
            f"enableIPForwarding is on{detached_note(appliance)} (whether the guest forwards is not visible)"
        )
        self._trail.allow(DecisionKind.APPLIANCE, where, why, nic=appliance, route=route)

    def cross(
        self, sender: NetworkInterface, receiver: NetworkInterface, packet: Packet, judged: Judged
    ) -> None:
        """The peering between the two NICs' virtual networks, where they differ."""
        here, there = self._vnet(sender), self._vnet(receiver)
        if here == there:
            return
        name, remote_name = self._network.vnets[here].name, self._network.vnets[there].name
        peering = peering_between(self._network, here, there)
        refused = forwarded_traffic_refused(self._network, there, here, packet.source)
        if refused is not None and self._options.forwarded_traffic == "documented":
            raise self._trail.deny(
                Cause.FORWARDED_TRAFFIC_REFUSED, DecisionKind.PEERING,
                f"peering '{refused.name}' of '{remote_name}'",
                f"allowForwardedTraffic is off, and {packet.source} did not originate in '{name}'"
                " (as documented; field trials saw such traffic pass)",
                object_id=refused.id, vnets=(there, here),
            )  # fmt: skip
        closed = closed_sides(self._network, here, there)
        if closed and not judged.established and not self._carried(receiver, packet, judged, here, there):
            raise self._trail.deny(
                Cause.PEERING_ACCESS_DISABLED, DecisionKind.PEERING, f"peering '{closed[0].name}'",
                "allowVirtualNetworkAccess is off, and no custom rule allows the flow by address or"
                " application security group",
                object_id=closed[0].id, vnets=(here, there),
            )  # fmt: skip
        self._trail.allow(
            DecisionKind.PEERING, f"peering '{peering.name if peering else ''}' of '{name}'",
            f"carries the packet to '{remote_name}'", object_id=peering.id if peering else None,
        )  # fmt: skip

    def _carried(
        self, receiver: NetworkInterface, packet: Packet, judged: Judged, here: str, there: str
    ) -> bool:
        """Whether explicit rules carry a flow over a peering without access (or a rule is to deny it)."""
        rules_in = [
            rule_for(self._network, receiver, group, Direction.INBOUND, packet)
            for _, group in groups_of(self._network, receiver, Direction.INBOUND)
        ]
        if any(rule.access is Access.DENY for rule in rules_in):
            return True
        if self._options.peering_access == "no-traffic":
            return False
        closed = closed_sides(self._network, here, there)
        mine, theirs = (
            peering_between(self._network, here, there),
            peering_between(self._network, there, here),
        )
        return explicitly_allowed(judged.rules, rules_in, mine in closed, theirs in closed)

    def _vnet(self, nic: NetworkInterface) -> str:
        return self._network.subnets[nic.subnet].vnet

    def _holder(self, vnet: str, address: IPAddress) -> NetworkInterface | None:
        holders = self._network.holders.get(address, ())
        return next((nic for nic, _ in holders if self._vnet(nic) == vnet), None)
