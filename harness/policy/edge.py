"""Where the network ends: the internet, public IP addresses, and senders that no NIC is.

Load balancers, NAT gateways and gateways are not modelled: only a NIC's own public IP
address lets the internet in.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import InputError
from harness.model import Cause
from harness.network.model import Direction, Network, NetworkInterface, PublicIPAddress, key
from harness.policy.decision import DecisionKind, EffectiveRoute
from harness.policy.ends import End
from harness.policy.packet import Packet
from harness.policy.peering import describe_fault, peering_fault
from harness.policy.ports import groups_of
from harness.policy.tags import PLATFORM, contains, is_internet
from harness.policy.trail import Trail, nic_label, unmodelled_note
from harness.text import plain


class Edge:
    """Decisions of one journey about what is not a NIC."""

    def __init__(self, network: Network, trail: Trail) -> None:
        self._network, self._trail = network, trail

    def enter(self, nic: NetworkInterface, packet: Packet) -> None:
        """How a packet whose source is no NIC comes to the target ``nic``."""
        address = packet.source
        if address in PLATFORM:
            return
        home = key(self._network.subnets[nic.subnet].vnet)
        owners = [name for name, vnet in self._network.vnets.items() if contains(vnet.address_space, address)]
        if not owners and is_internet(address):
            self.public_port(nic, packet)
            return
        reachable = [name for name in owners if peering_fault(self._network, name, home) is None]
        if owners and not reachable:
            owner, pair = self._network.vnets[owners[0]], (owners[0], home)
            fault = peering_fault(self._network, *pair)
            raise self._trail.deny(
                fault[0] if fault else None, DecisionKind.SOURCE, f"virtual network '{owner.name}'",
                f"{address} belongs to it; {describe_fault(self._network, *pair)}",
                object_id=owner.id, vnets=pair,
            )  # fmt: skip
        where = (
            f"virtual network '{self._network.vnets[reachable[0]].name}'"
            if reachable
            else "outside the snapshot"
        )
        why = (
            f"no network interface of the snapshot has {address}: judged as if a machine had sent the packet"
        )
        self._trail.allow(DecisionKind.SOURCE, where, why, object_id=reachable[0] if reachable else None)

    def public_port(self, nic: NetworkInterface, packet: Packet) -> None:
        """Whether the internet reaches the destination: only by a public IP address of its own."""
        public = self._public_ip(nic, packet.destination)
        if public is None:
            why = (
                f"{packet.destination} has no public IP address, so the internet cannot reach it"
                f"{unmodelled_note(self._network)}"
            )
            raise self._trail.deny(None, DecisionKind.PUBLIC_IP, nic_label(nic), why, nic=nic)
        where = f"public IP address '{public.name}'"
        if public.sku.lower() != "basic" and not groups_of(self._network, nic, Direction.INBOUND):
            why = f"a {public.sku} public IP address is closed until a network security group allows"
            raise self._trail.deny(
                Cause.DEFAULT_DENY, DecisionKind.PUBLIC_IP, where, why, object_id=public.id, nic=nic
            )
        why = f"{public.address or 'its address'} is translated to {packet.destination}"
        self._trail.allow(DecisionKind.PUBLIC_IP, where, why, object_id=public.id, nic=nic)

    def translate(self, packet: Packet, sender: NetworkInterface, goal: End) -> Packet:
        """A packet to a NIC's public address as that NIC sees it: both ends' public addresses at work."""
        own = self._public_ip(sender, packet.source)
        if own is None or own.address is None or goal.configuration is None:
            raise InputError(
                f"{plain(goal.label)} is a public address, and the snapshot does not tell with which public"
                f" address {packet.source} leaves",
                hint="name the target by its VM or private address, or the source by its public address",
            )
        return Packet(
            packet.protocol,
            own.address,
            packet.source_port,
            goal.configuration.address,
            packet.destination_port,
            frozenset(),
            frozenset(goal.configuration.asgs),
        )

    def leave(self, packet: Packet, route: EffectiveRoute) -> None:
        why = f"the packet leaves to {packet.destination}"
        self._trail.allow(DecisionKind.DELIVERY, "internet", why, route=route)

    def answer_leaves(
        self, packet: Packet, passed: Sequence[NetworkInterface], route: EffectiveRoute
    ) -> None:
        """An answer on its way out: it must leave as directly as the request came in."""
        if len(passed) > 1:
            why = (
                "the request came in directly, its answer leaves through this appliance and so with another"
                f" public address than the one that {packet.source} was reached by"
            )
            raise self._trail.deny(
                Cause.ASYMMETRIC_RETURN, DecisionKind.APPLIANCE, nic_label(passed[-1]), why,
                nic=passed[-1], route=route,
            )  # fmt: skip
        why = f"the answer leaves to {packet.destination}"
        self._trail.allow(DecisionKind.DELIVERY, "internet", why, route=route)

    def _public_ip(self, nic: NetworkInterface, address: object) -> PublicIPAddress | None:
        own = next((item for item in nic.ip_configurations if item.address == address), None)
        return self._network.public_ips[own.public_ip] if own and own.public_ip else None
