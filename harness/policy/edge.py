"""Where the network ends: the internet, what publishes a NIC to it, and senders that no NIC is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum, auto

from harness.errors import InputError
from harness.model import Cause
from harness.network.model import Direction, NetworkInterface, NextHopType, key
from harness.policy.compiled import Compiled
from harness.policy.decision import DecisionKind, EffectiveRoute
from harness.policy.ends import End
from harness.policy.hops import Hops, Sender
from harness.policy.outbound import NoOutbound, Outbound, outbound_of
from harness.policy.packet import Packet
from harness.policy.peering import peering_fault
from harness.policy.tags import PLATFORM, is_internet
from harness.policy.trail import Dropped, Trail, nic_label, unmodelled_note
from harness.text import plain


class Entrance(Enum):
    """By what the flow's own packet comes into the network."""

    INTERNET = auto()
    GATEWAY = auto()


class Edge:
    """Decisions of one journey about what is not a NIC. ``entrance`` is None where a NIC sent the packet."""

    def __init__(self, view: Compiled, trail: Trail, hops: Hops) -> None:
        self._view, self._network, self._trail, self._hops = view, view.network, trail, hops
        self.outbound: Outbound | None = None
        self.entrance: Entrance | None = None

    def enter(self, target: End, packet: Packet) -> Sender | None:
        """How a packet whose source is no NIC comes to the target: by the gateway returned, else directly."""
        address, nic = packet.source, target.nic
        assert nic is not None  # resolve_ends sees to it
        if address in PLATFORM:
            return None
        home = key(self._view.vnet_of(nic))
        # a published address is asked for over the internet, whoever asks
        gateway = self._hops.on_premises_gateway(home, address) if target.public is None else None
        if gateway is not None:
            self.entrance = Entrance.GATEWAY
            why = f"{address} lies behind a connection of the gateway"
            where = f"virtual network gateway '{gateway.name}'"
            self._trail.allow(DecisionKind.SOURCE, where, why, object_id=gateway.id)
            return self._hops.gateway_sender(gateway)
        owners = self._hops.owners(address)
        if target.public is not None or (not owners and is_internet(address)):
            if target.public is None and target.arrival is not None:
                raise self._trail.deny(
                    Cause.NO_INBOUND_RULE, DecisionKind.INBOUND, target.arrival.where,
                    f"{packet.destination} is a private address, which the internet does not reach",
                    object_id=target.arrival.object_id, nic=nic,
                )  # fmt: skip
            self.public_port(target, packet)
            return None
        faults = [peering_fault(self._network, name, home) for name in owners]
        if owners and all(faults):
            owner, fault = self._network.vnets[owners[0]], faults[0]
            raise self._trail.deny(
                fault.cause if fault else None, DecisionKind.SOURCE, f"virtual network '{owner.name}'",
                f"{address} belongs to it; {fault.why if fault else ''}",
                object_id=owner.id, vnets=(owners[0], home),
            )  # fmt: skip
        reachable = next((name for name, fault in zip(owners, faults, strict=True) if fault is None), None)
        place = self._network.vnets[reachable] if reachable else None
        where = f"virtual network '{place.name}'" if place else "outside the snapshot"
        why = (
            f"no network interface of the snapshot has {address}: judged as if a machine had sent the packet"
        )
        self._trail.allow(DecisionKind.SOURCE, where, why, object_id=place.id if place else None)
        return None

    def public_port(self, target: End, packet: Packet) -> None:
        """Whether the internet reaches the target: by a public IP address, a rule or an endpoint."""
        self.entrance = Entrance.INTERNET
        if target.refusal is not None:
            raise self._trail.refuse(target.refusal)
        nic, arrival = target.nic, target.arrival
        assert nic is not None  # a target has a NIC, or a refusal
        own = next((item for item in nic.ip_configurations if item.address == target.address), None)
        public = self._network.public_ips[own.public_ip] if own and own.public_ip else None
        if arrival is None and public is None:
            why = (
                f"{packet.destination} has no public IP address, so the internet cannot reach it"
                f"{unmodelled_note(self._network)}"
            )
            raise self._trail.deny(Cause.NO_INBOUND_RULE, DecisionKind.INBOUND, nic_label(nic), why, nic=nic)
        if public is not None and arrival is None:
            where, why = (
                f"public IP address '{public.name}'",
                f"{public.address or 'its address'} is translated to",
            )
            self._closed_until_allowed(nic, public.sku, where, public.id)
            self._trail.allow(
                DecisionKind.INBOUND, where, f"{why} {packet.destination}", object_id=public.id, nic=nic
            )
        elif arrival is not None:
            self._closed_until_allowed(nic, arrival.sku, arrival.where, arrival.object_id)
            self._trail.allow(
                DecisionKind.INBOUND, arrival.where, arrival.why, object_id=arrival.object_id, nic=nic
            )

    def _closed_until_allowed(self, nic: NetworkInterface, sku: str, where: str, object_id: str) -> None:
        """Azure: what is of SKU Standard is closed to the internet until an NSG allows; Basic is open."""
        if sku.lower() == "basic" or self._view.judges(nic, Direction.INBOUND):
            return
        why = f"a {sku} public IP address is closed until a network security group allows"
        raise self._trail.deny(
            Cause.DEFAULT_DENY, DecisionKind.INBOUND, where, why, object_id=object_id, nic=nic
        )

    def behind(self, packet: Packet, receiver: NetworkInterface, goal: End) -> Packet:
        """A packet as the rules of ``receiver`` see it: behind a published address the private one is."""
        configuration, arrival = goal.configuration, goal.arrival
        if configuration is None or receiver is not goal.nic or packet.destination != goal.address:
            return packet
        if arrival is None and packet.destination == configuration.address:
            return packet
        port = arrival.port if arrival is not None else packet.destination_port
        return packet.towards(configuration.address, port, frozenset(configuration.asgs))

    def translate_destination(self, packet: Packet, receiver: NetworkInterface, goal: End) -> Packet:
        """A packet to a published address as the NIC behind it sees it; says which balancer did it."""
        inside, arrival = self.behind(packet, receiver, goal), goal.arrival
        if inside is not packet and arrival is not None and goal.public is None:
            self._trail.allow(
                DecisionKind.INBOUND, arrival.where, arrival.why, object_id=arrival.object_id, nic=goal.nic
            )
        return inside

    def translate_source(self, packet: Packet, sender: Sender, goal: End) -> Packet:
        """A packet to a published address of this network, as it comes back from the internet."""
        found = self._outbound(packet, sender)
        if not found.addresses:
            raise InputError(
                f"{plain(goal.label)} is a public address, and the snapshot does not tell with which public"
                f" address {packet.source} leaves",
                hint="name the target by its VM or private address, or the source by its public address",
            )
        return replace(packet, source=found.addresses[0], source_asgs=frozenset())

    def leave(self, packet: Packet, sender: Sender, route: EffectiveRoute) -> None:
        found = self._outbound(packet, sender)
        why = f"the packet leaves to {packet.destination} by {found.name}"
        self._trail.allow(DecisionKind.DELIVERY, "internet", why, route=route)

    def _outbound(self, packet: Packet, sender: Sender) -> Outbound:
        """By what the packet leaves, or the end of the journey. An appliance is taken to send what
        it forwards with its own address, as appliances at an edge do."""
        nic = sender.nic
        if nic is None:
            raise self._trail.deny(
                Cause.NO_OUTBOUND, DecisionKind.OUTBOUND, sender.label,
                "what comes in by a gateway does not leave to the internet by this network",
            )  # fmt: skip
        family = [item for item in nic.ip_configurations if item.address.version == packet.family]
        own = next((item for item in family if item.address == packet.source), None)
        found = outbound_of(self._view, nic, own or family[0], packet.protocol)
        if isinstance(found, NoOutbound):
            raise self._trail.deny(
                Cause.NO_OUTBOUND, DecisionKind.OUTBOUND, nic_label(nic), found.why,
                object_id=found.subnet, nic=nic,
            )  # fmt: skip
        note = "" if own is not None else " (the appliance is taken to send with its own address)"
        self._trail.allow(
            DecisionKind.OUTBOUND, nic_label(nic), found.why + note, object_id=found.object_id, nic=nic
        )
        self.outbound = found
        return found

    def to_service(self, packet: Packet, route: EffectiveRoute) -> None:
        why = f"the service endpoint of {route.name} takes {packet.destination}, by its private address"
        self._trail.allow(DecisionKind.DELIVERY, f"service {route.name}", why, route=route)

    def answer_leaves(
        self, packet: Packet, passed: Sequence[NetworkInterface], route: EffectiveRoute
    ) -> None:
        """An answer takes ``route``: to the internet it must leave as directly as the request came in."""
        nic, why = passed[-1], None
        if self.entrance is Entrance.GATEWAY:
            why = f"the request came in by a gateway, its answer leaves to the internet by {route}"
        elif route.next_hop_type is not NextHopType.INTERNET:
            why = f"the request came in directly from the internet, its answer does not go back so: {route}"
        elif len(passed) > 1:
            why = (
                "the request came in directly, its answer leaves through this appliance and so with another"
                f" public address than the one that {packet.source} was reached by"
            )
        if why is not None:
            raise self._trail.deny(
                Cause.ASYMMETRIC_RETURN, DecisionKind.ROUTE, nic_label(nic), why,
                object_id=route.id, nic=nic, route=route,
            )  # fmt: skip
        why = f"the answer leaves to {packet.destination}"
        self._trail.allow(DecisionKind.DELIVERY, "internet", why, route=route)

    def wrong_machine(self, packet: Packet, nic: NetworkInterface, goal: End) -> Dropped:
        """The packet is received by a NIC that has the address too, in another virtual network."""
        home = self._network.vnets[self._view.vnet_of(nic)]
        why = (
            f"{nic_label(nic)} in '{home.name}' has {packet.destination}, too, and receives {packet}:"
            f" {goal.label} is in another virtual network with the same space"
        )
        return self._trail.deny(Cause.OVERLAPPING_SPACES, DecisionKind.DELIVERY, nic_label(nic), why, nic=nic)

    def gateway_loop(self, packet: Packet, route: EffectiveRoute) -> Dropped:
        why = f"{packet} goes from gateway to gateway and comes back: {route} closes a loop"
        return self._trail.deny(Cause.NO_GATEWAY, DecisionKind.GATEWAY, "virtual network gateways", why)
