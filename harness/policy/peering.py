"""What a peering between two virtual networks lets through, and what is wrong with it.

Azure-facts, "Routing", on peerings: not transitive, traffic only when Connected,
``allowVirtualNetworkAccess`` and ``allowForwardedTraffic`` as each receiving side set them.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.model import Cause
from harness.network.model import (
    Direction,
    IPAddress,
    Network,
    PeeringState,
    SecurityRule,
    VirtualNetworkPeering,
)
from harness.policy.security import names_addresses
from harness.policy.tags import contains


def peering_between(network: Network, vnet: str, remote: str) -> VirtualNetworkPeering | None:
    """The peering that ``vnet`` has with ``remote`` (keys), whatever its state."""
    if vnet not in network.vnets:
        return None
    return next((peering for peering in network.vnets[vnet].peerings if peering.remote_vnet == remote), None)


def peering_fault(
    network: Network, vnet: str, remote: str
) -> tuple[Cause, VirtualNetworkPeering | None] | None:
    """Why ``vnet`` does not count ``remote`` as its own: the cause, and its peering if it has one."""
    if vnet == remote:
        return None
    peering = peering_between(network, vnet, remote)
    if peering is None:
        return Cause.NO_PEERING, None
    if peering.state is not PeeringState.CONNECTED:
        return Cause.PEERING_NOT_CONNECTED, peering
    if not peering.allow_virtual_network_access:
        return Cause.PEERING_ACCESS_DISABLED, peering
    return None


def forwarded_traffic_refused(
    network: Network, vnet: str, sender_vnet: str, source: IPAddress
) -> VirtualNetworkPeering | None:
    """The peering by which ``vnet`` drops what ``sender_vnet`` forwards but did not originate."""
    peering = peering_between(network, vnet, sender_vnet)
    if peering is None or peering.allow_forwarded_traffic:
        return None
    return None if contains(peering.remote_address_space, source) else peering


def closed_sides(network: Network, one: str, other: str) -> tuple[VirtualNetworkPeering, ...]:
    """The peerings between the two that do not allow virtual network access."""
    pair = (peering_between(network, one, other), peering_between(network, other, one))
    return tuple(peering for peering in pair if peering and not peering.allow_virtual_network_access)


def explicitly_allowed(
    rules_out: Sequence[SecurityRule], rules_in: Sequence[SecurityRule], closed_out: bool, closed_in: bool
) -> bool:
    """Whether custom rules that name addresses or ASGs carry a flow over a peering without access.

    Each end whose own peering is closed must be explicit in every NSG it has, and at least
    one end must be explicit at all: without any NSG nothing passes (recorded: 30 of 30 lost).
    """
    explicit_out = [names_addresses(rule, Direction.OUTBOUND) for rule in rules_out]
    explicit_in = [names_addresses(rule, Direction.INBOUND) for rule in rules_in]
    if closed_out and not all(explicit_out):
        return False
    if closed_in and not all(explicit_in):
        return False
    return any(explicit_out) or any(explicit_in)


def describe_fault(network: Network, vnet: str, remote: str) -> str:
    """:func:`peering_fault` in words."""
    fault = peering_fault(network, vnet, remote)
    here, there = network.vnets[vnet].name, network.vnets[remote].name
    if fault is None or fault[1] is None:
        return f"virtual network '{here}' has no peering with '{there}'"
    peering = fault[1]
    if fault[0] is Cause.PEERING_NOT_CONNECTED:
        return f"peering '{peering.name}' of '{here}' with '{there}' is {peering.state}, not Connected"
    return f"peering '{peering.name}' of '{here}' with '{there}' does not allow virtual network access"
