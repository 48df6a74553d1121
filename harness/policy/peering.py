"""What a peering between two virtual networks lets through, and what is wrong with it.

Azure-facts, "Routing", on peerings: not transitive, traffic only when Connected,
``allowVirtualNetworkAccess`` and ``allowForwardedTraffic`` as each receiving side set them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.model import Cause
from harness.network.model import (
    Direction,
    IPAddress,
    Network,
    PeeringState,
    SecurityRule,
    VirtualNetworkPeering,
)
from harness.policy.security import allows_by_address
from harness.policy.tags import contains


@dataclass(frozen=True, slots=True)
class PeeringFault:
    """Why one virtual network does not count another's address as its own, and by which peering."""

    cause: Cause
    peering: VirtualNetworkPeering | None
    why: str


def peering_between(network: Network, vnet: str, remote: str) -> VirtualNetworkPeering | None:
    """The peering that ``vnet`` has with ``remote`` (keys), whatever its state."""
    if vnet not in network.vnets:
        return None
    return next((peering for peering in network.vnets[vnet].peerings if peering.remote_vnet == remote), None)


def common_peer(network: Network, one: str, other: str) -> str | None:
    """A virtual network (key) that both are connected with: a hub, over which peering does not reach."""

    def peers(vnet: str) -> set[str]:
        return {p.remote_vnet for p in network.vnets[vnet].peerings if p.state is PeeringState.CONNECTED}

    return next(iter(sorted(peers(one) & peers(other))), None)


def peering_fault(
    network: Network, vnet: str, remote: str, address: IPAddress | None = None
) -> PeeringFault | None:
    """Why ``vnet`` does not count ``remote`` (keys), or its ``address``, as its own; None where it does."""
    if vnet == remote:
        return None
    here, there = network.vnets[vnet].name, network.vnets[remote].name
    peering = peering_between(network, vnet, remote)
    if peering is None:
        hub = common_peer(network, vnet, remote)
        if hub is None:
            return PeeringFault(
                Cause.NO_PEERING, None, f"virtual network '{here}' has no peering with '{there}'"
            )
        name = network.vnets[hub].name if hub in network.vnets else hub
        return PeeringFault(
            Cause.NOT_TRANSITIVE,
            None,
            f"'{here}' and '{there}' are both peered with '{name}', not with each other,"
            " and peering is not transitive",
        )
    label = f"peering '{peering.name}' of '{here}' with '{there}'"
    if peering.state is not PeeringState.CONNECTED:
        return PeeringFault(
            Cause.PEERING_NOT_CONNECTED, peering, f"{label} is {peering.state}, not Connected"
        )
    if not peering.allow_virtual_network_access:
        return PeeringFault(
            Cause.PEERING_ACCESS_DISABLED, peering, f"{label} does not allow virtual network access"
        )
    if address is not None and not contains(peering.remote_address_space, address):
        level = f" ({peering.sync_level})" if peering.sync_level else ""
        return PeeringFault(
            Cause.NOT_SYNCHRONISED,
            peering,
            f"{label} was last synchronised{level} before '{there}' had the address {address}",
        )
    return None


def forwarded_traffic_refused(
    network: Network, peering: VirtualNetworkPeering | None, source: IPAddress
) -> VirtualNetworkPeering | None:
    """The receiving side's peering, where it drops what the other side forwards but did not originate.

    What the other side has itself originates there, whether or not the peering was synchronised since.
    """
    if peering is None or peering.allow_forwarded_traffic:
        return None
    sender = network.vnets.get(peering.remote_vnet)
    own = sender.address_space if sender is not None else ()
    return None if contains((*own, *peering.remote_address_space), source) else peering


def explicitly_allowed(
    rules_out: Sequence[SecurityRule], rules_in: Sequence[SecurityRule], closed_out: bool, closed_in: bool
) -> bool:
    """Whether custom rules that name addresses or ASGs carry a flow over a peering without access.

    Each end whose own peering is closed must be explicit in every NSG it has, and at least
    one end must be explicit at all: without any NSG nothing passes (recorded: 30 of 30 lost).
    """
    explicit_out = [allows_by_address(rule, Direction.OUTBOUND) for rule in rules_out]
    explicit_in = [allows_by_address(rule, Direction.INBOUND) for rule in rules_in]
    if closed_out and not all(explicit_out):
        return False
    if closed_in and not all(explicit_in):
        return False
    return any(explicit_out) or any(explicit_in)
