"""Where a route hands a packet: a NIC, an appliance, a peered virtual network, a gateway, or nowhere.

Rules are asked at ports (:mod:`harness.policy.ports`); what leaves to the internet or comes
from it is :mod:`harness.policy.edge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import InputError
from harness.model import Cause
from harness.network.gateways import VirtualNetworkGateway
from harness.network.model import (
    Access,
    AdminAccess,
    Direction,
    IPAddress,
    NetworkInterface,
    NextHopType,
    RouteSource,
    SecurityRule,
    key,
)
from harness.policy.compiled import Compiled
from harness.policy.decision import DecisionKind, EffectiveRoute, Way
from harness.policy.ends import End
from harness.policy.gateways import connection_towards, gateway_of, is_down, turns_around
from harness.policy.packet import Packet
from harness.policy.peering import explicitly_allowed, forwarded_traffic_refused, peering_fault
from harness.policy.ports import rule_for
from harness.policy.tags import INTERNET_SPACE, contains, is_internet, is_private
from harness.policy.trail import Trail, detached_note, nic_label, unmodelled_note
from harness.text import plain


@dataclass(frozen=True, slots=True)
class Sender:
    """From where a packet is routed: a NIC's port, or a virtual network gateway."""

    vnet: str
    subnet: str
    nic: NetworkInterface | None
    label: str


class Hops:
    """Routing decisions of one journey."""

    def __init__(self, view: Compiled, trail: Trail, choice: int = 0) -> None:
        self._view, self._network, self._trail = view, view.network, trail
        self._choice, self.spread = choice, 1

    def sender(self, nic: NetworkInterface) -> Sender:
        return Sender(self._view.vnet_of(nic), nic.subnet, nic, nic_label(nic))

    def gateway_sender(self, gateway: VirtualNetworkGateway) -> Sender:
        """The gateway's own subnet, whose route table steers what comes in by the gateway."""
        subnet, vnet = self._view.gateway_subnet(gateway), self._network.vnets[gateway.vnet]
        if subnet is None:
            raise InputError(
                f"virtual network gateway {plain(gateway.id)}: {plain(vnet.id)} has no GatewaySubnet",
                hint="add the subnet to the snapshot",
            )
        return Sender(gateway.vnet, subnet, None, f"virtual network gateway '{gateway.name}'")

    def take_route(self, sender: Sender, packet: Packet, goal: End) -> EffectiveRoute:
        """The route that the packet takes from ``sender``, or the end of the journey."""
        subnet = self._network.subnets[sender.subnet]
        where = f"subnet '{subnet.name}', effective routes of {sender.label}"
        routes = self._view.context(sender.subnet).routes
        route = routes.find(packet.family, packet.destination_number)
        if route is None:
            why = f"no route leads to {packet.destination}"
            raise self._trail.deny(Cause.ROUTE_TO_NONE, DecisionKind.ROUTE, where, why, nic=sender.nic)
        label = f"route '{route.name}' " if route.name is not None else ""
        why = f"{label}{route} is the longest match for {packet.destination}"
        if routes.unknown_services and INTERNET_SPACE.holds(packet.family, packet.destination_number):
            why += f" (where {', '.join(routes.unknown_services)} is by service endpoint is not known)"
        decider = route.id or subnet.id
        problem = self._dead_end(route, packet, goal)
        if problem is None:
            self._trail.allow(DecisionKind.ROUTE, where, why, object_id=decider, nic=sender.nic, route=route)
            return route
        cause, vnets = Cause.ROUTE_TO_NONE, None
        if route.source is not RouteSource.USER and goal.nic is not None:
            pair = (sender.vnet, self._view.vnet_of(goal.nic))
            fault = peering_fault(self._network, *pair, packet.destination)
            if fault is not None:
                cause, vnets = fault.cause, pair
                problem += f"; {fault.why}"
        raise self._trail.deny(
            cause, DecisionKind.ROUTE, where, f"{why}: {problem}",
            object_id=decider, nic=sender.nic, route=route, vnets=vnets, address=packet.destination,
        )  # fmt: skip

    def _dead_end(self, route: EffectiveRoute, packet: Packet, goal: End) -> str | None:
        if route.next_hop_type is NextHopType.NONE:
            return "the packet is dropped"
        if route.next_hop_type is not NextHopType.INTERNET:
            return None
        private = goal.nic is not None and goal.public is None and packet.destination == goal.address
        if private or is_private(packet.destination):
            return f"the internet does not carry the private address {packet.destination}"
        if not is_internet(packet.destination):
            return f"{packet.destination} is no address of the internet"
        return None

    def next_port(
        self, sender: Sender, route: EffectiveRoute, packet: Packet, goal: End
    ) -> NetworkInterface | None:
        """The NIC that receives the packet next; None for an answer to an address that no NIC has."""
        if route.next_hop_type is NextHopType.VIRTUAL_APPLIANCE:
            return self._appliance(sender, route)
        vnet = sender.vnet
        if route.next_hop_type is NextHopType.VNET_PEERING:
            vnet = route.peer or ""
            if vnet not in self._network.vnets:
                raise InputError(
                    f"{packet} crosses peering '{plain(route.name or '')}' into {plain(vnet)}, which is not"
                    " in the snapshot: its verdict cannot be told",
                    hint="add that virtual network and its resources to the snapshot",
                )
        return self.holder(vnet, route, packet, goal)

    def holder(self, vnet: str, route: EffectiveRoute, packet: Packet, goal: End) -> NetworkInterface | None:
        """The NIC in ``vnet`` that a packet is delivered to, or the one behind an internal load balancer."""
        receiver = self._view.holder(vnet, packet.destination)
        behind = goal.arrival is not None and goal.public is None and packet.destination == goal.address
        if receiver is None and behind:
            assert goal.nic is not None  # an arrival has one
            if self._view.vnet_of(goal.nic) == vnet:
                return goal.nic
        if receiver is None and goal.refusal is not None and packet.destination == goal.address:
            raise self._trail.refuse(goal.refusal)
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
        if goal.nic is not None and packet.destination == goal.address:
            home = self._network.vnets[self._view.vnet_of(goal.nic)]
            raise self._trail.deny(
                Cause.OVERLAPPING_SPACES, DecisionKind.DELIVERY, where,
                f"the packet is delivered here, and nobody has {packet.destination}: {nic_label(goal.nic)}"
                f" has it in '{home.name}', whose space overlaps",
                object_id=owner.id, route=route,
            )  # fmt: skip
        raise self._trail.deny(
            Cause.ROUTE_TO_NONE if route.source is RouteSource.USER else None,
            DecisionKind.DELIVERY,
            where,
            f"no network interface there has {packet.destination}: silence{unmodelled_note(self._network)}",
            object_id=owner.id,
            route=route,
        )

    def _appliance(self, sender: Sender, route: EffectiveRoute) -> NetworkInterface:
        """The NIC with the next hop's address, or behind an internal load balancer that has it, in this
        virtual network or a directly peered one."""
        address = route.next_hop_ip
        if address is None:
            raise InputError(
                f"route '{plain(route.name or '')}' to an appliance names no address of this family"
            )
        found = self._view.appliances(sender.vnet, route)
        if found:
            self.spread = max(self.spread, len(found))
            return found[self._choice % len(found)]
        home = self._network.vnets[sender.vnet]
        for peering in home.peerings:
            if (
                contains(peering.remote_address_space, address)
                and peering.remote_vnet not in self._network.vnets
            ):
                raise InputError(
                    f"route '{plain(route.name or '')}' leads to {address} in {plain(peering.remote_vnet)},"
                    " which is not in the snapshot: the verdict cannot be told",
                    hint="add that virtual network and its resources to the snapshot",
                )
        elsewhere = self._network.holders.get(address, ())
        why = f"no network interface has the next hop's address {address}{unmodelled_note(self._network)}"
        if elsewhere:
            why = (
                f"{nic_label(elsewhere[0][0])} has the next hop's address {address}, but no connected,"
                f" synchronised peering leads from '{home.name}' to its virtual network"
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

    def take_gateway(self, sender: Sender, route: EffectiveRoute, packet: Packet, goal: End) -> Sender | None:
        """By which connection the packet leaves; the gateway at its other end, or None for on premises."""
        gateway, name = gateway_of(self._network, sender.vnet), self._network.vnets[sender.vnet].name
        if gateway is None:
            raise self._trail.deny(
                Cause.NO_GATEWAY, DecisionKind.GATEWAY, f"virtual network '{name}'",
                f"{route} leads to a virtual network gateway, and '{name}' has none, nor one lent by a peer"
                f"{unmodelled_note(self._network)}",
                object_id=route.id, route=route, nic=sender.nic,
            )  # fmt: skip
        where = f"virtual network gateway '{gateway.name}'"
        connection = connection_towards(self._network, sender.vnet, packet.destination)
        turning = turns_around(self._network, sender.vnet, packet.destination) if connection is None else None
        if turning is not None:
            why = f"{packet.destination} is in a virtual network that uses the gateway, too"
            self._trail.allow(DecisionKind.GATEWAY, where, why, object_id=turning.id, route=route)
            return self.gateway_sender(turning)
        if connection is None:
            raise self._trail.deny(
                Cause.NO_GATEWAY, DecisionKind.GATEWAY, where,
                f"no connection of the gateway leads to {packet.destination}"
                " (what BGP teaches is not in a snapshot)",
                object_id=gateway.id, route=route,
            )  # fmt: skip
        if is_down(connection):
            raise self._trail.deny(
                Cause.GATEWAY_CONNECTION_DOWN, DecisionKind.GATEWAY, where,
                f"connection '{connection.name}' towards {packet.destination} is {connection.status}",
                object_id=connection.id, route=route,
            )  # fmt: skip
        why = f"connection '{connection.name}' leads to {packet.destination}"
        self._trail.allow(DecisionKind.GATEWAY, where, why, object_id=connection.id, route=route)
        peer = self._network.gateways.get(connection.peer_gateway or "")
        if peer is not None:
            return self.gateway_sender(peer)
        if goal.nic is not None and packet.destination == goal.address and goal.arrival is None:
            raise self._trail.deny(
                Cause.OVERLAPPING_SPACES, DecisionKind.DELIVERY, f"connection '{connection.name}'",
                f"the packet leaves for the site behind the connection, not for {nic_label(goal.nic)}",
                object_id=connection.id, route=route,
            )  # fmt: skip
        why = f"{packet.destination} lies behind connection '{connection.name}'"
        self._trail.allow(DecisionKind.DELIVERY, "on premises", why, object_id=connection.id)
        return None

    def cross(
        self,
        sender: Sender,
        receiver: NetworkInterface,
        packet: Packet,
        rules_out: tuple[SecurityRule, ...],
        *,
        known: bool,
    ) -> None:
        """The peering between the two virtual networks, where they differ.

        ``rules_out`` let the packet out of the sender's port. A peering without access stops new flows
        only: where one of the two ports knows the flow (``known``), it passes, as it passes rules.
        """
        here, there = sender.vnet, self._view.vnet_of(receiver)
        if here == there:
            return
        name, remote_name = self._network.vnets[here].name, self._network.vnets[there].name
        mine, theirs = self._view.peering(here, there), self._view.peering(there, here)
        refused = forwarded_traffic_refused(self._network, theirs, packet.source)
        # what comes in by a gateway needs no allowForwardedTraffic (virtual-network-peering-overview)
        enforced = self._view.options.forwarded_traffic == "documented" and sender.nic is not None
        if refused is not None and enforced:
            raise self._trail.deny(
                Cause.FORWARDED_TRAFFIC_REFUSED, DecisionKind.PEERING,
                f"peering '{refused.name}' of '{remote_name}'",
                f"allowForwardedTraffic is off, and {packet.source} did not originate in '{name}'"
                " (as documented; field trials saw such traffic pass)",
                object_id=refused.id, vnets=(there, here),
            )  # fmt: skip
        closed = [side for side in (mine, theirs) if side and not side.allow_virtual_network_access]
        if closed and not known:
            carried = self._carried(receiver, packet, rules_out, mine in closed, theirs in closed)
            if not carried and not self._denied_by_nsg(receiver, packet):
                raise self._trail.deny(
                    Cause.PEERING_ACCESS_DISABLED, DecisionKind.PEERING, f"peering '{closed[0].name}'",
                    "allowVirtualNetworkAccess is off, and no custom rule allows the flow by address or"
                    " application security group",
                    object_id=closed[0].id, vnets=(here, there),
                )  # fmt: skip
        self._trail.allow(
            DecisionKind.PEERING, f"peering '{mine.name if mine else ''}' of '{name}'",
            f"carries the packet to '{remote_name}'", object_id=mine.id if mine else None,
        )  # fmt: skip

    def _carried(
        self,
        receiver: NetworkInterface,
        packet: Packet,
        rules_out: tuple[SecurityRule, ...],
        closed_out: bool,
        closed_in: bool,
    ) -> bool:
        """Whether explicit rules carry a flow over a peering without access."""
        if self._view.options.peering_access == "no-traffic":
            return False
        rules_in = [rule_for(judge, packet) for judge in self._view.judges(receiver, Direction.INBOUND)]
        return explicitly_allowed(rules_out, rules_in, closed_out, closed_in)

    def _denied_by_nsg(self, receiver: NetworkInterface, packet: Packet) -> bool:
        """Whether a rule of the receiver's is to deny the packet next, and so the better thing to name."""
        admin = self._view.admin_rules(receiver.subnet, Direction.INBOUND)
        found = admin.decide(packet) if admin is not None else None
        if found is not None and found.rule.access is AdminAccess.ALWAYS_ALLOW:
            return False
        judges = self._view.judges(receiver, Direction.INBOUND)
        return any(rule_for(judge, packet).access is Access.DENY for judge in judges)

    def on_premises_gateway(self, vnet: str, address: IPAddress) -> VirtualNetworkGateway | None:
        """The gateway through which ``vnet`` is reached from ``address``, if one is."""
        connection = connection_towards(self._network, vnet, address)
        return self._network.gateways[connection.gateway] if connection is not None else None

    def owners(self, address: IPAddress) -> list[str]:
        """The virtual networks (keys) whose space holds ``address``."""
        return [key(v.id) for v in self._network.vnets.values() if contains(v.address_space, address)]
