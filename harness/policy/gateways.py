"""Which virtual network gateway a virtual network uses, and where its connections lead.

Own gateway first, else a peer's, where this side says ``useRemoteGateways`` and the other
``allowGatewayTransit`` (azure-facts, "Routing"). What BGP teaches is not in a snapshot: a connection
is taken to lead to its local network gateway's prefixes, or to its peer's virtual network.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.network.gateways import GatewayConnection, VirtualNetworkGateway
from harness.network.model import IPAddress, IPNetwork, Network, PeeringState
from harness.policy.peering import peering_between


def gateway_of(network: Network, vnet: str) -> VirtualNetworkGateway | None:
    """The gateway that packets of ``vnet`` (key) with next hop VirtualNetworkGateway go to."""
    own = next((gateway for gateway in network.gateways.values() if gateway.vnet == vnet), None)
    if own is not None:
        return own
    for peering in network.vnets[vnet].peerings:
        if not peering.use_remote_gateways or peering.state is not PeeringState.CONNECTED:
            continue
        back = peering_between(network, peering.remote_vnet, vnet)
        if back is not None and back.allow_gateway_transit:
            lent = (gateway for gateway in network.gateways.values() if gateway.vnet == peering.remote_vnet)
            return next(lent, None)
    return None


def connections_of(network: Network, gateway: VirtualNetworkGateway) -> Iterator[GatewayConnection]:
    name = gateway.id.lower()
    return (item for item in network.connections.values() if item.gateway == name)


def remote_prefixes(network: Network, connection: GatewayConnection) -> tuple[IPNetwork, ...]:
    """What lies behind a connection."""
    site = network.local_gateways.get(connection.local_gateway or "")
    if site is not None:
        return site.prefixes
    peer = network.gateways.get(connection.peer_gateway or "")
    return network.vnets[peer.vnet].address_space if peer is not None else ()


def gateway_prefixes(network: Network, vnet: str) -> tuple[IPNetwork, ...]:
    """Every prefix that the gateway of ``vnet`` leads to, each once."""
    gateway = gateway_of(network, vnet)
    if gateway is None:
        return ()
    found = (
        prefix
        for connection in connections_of(network, gateway)
        for prefix in remote_prefixes(network, connection)
    )
    return tuple(dict.fromkeys(found))


def connection_towards(
    network: Network, gateway: VirtualNetworkGateway, address: IPAddress
) -> GatewayConnection | None:
    """The connection that leads to ``address``: the longest prefix, a connected one first."""
    best: tuple[int, bool, GatewayConnection] | None = None
    for connection in connections_of(network, gateway):
        for prefix in remote_prefixes(network, connection):
            if address in prefix:
                rank = (prefix.prefixlen, not is_down(connection))
                if best is None or rank > best[:2]:
                    best = (*rank, connection)
    return best[2] if best else None


def is_down(connection: GatewayConnection) -> bool:
    """Whether Azure says that the connection is not connected; not known counts as up."""
    return connection.status is not None and connection.status.lower() in ("notconnected", "connecting")
