"""Which virtual network gateway a virtual network uses, and where its connections lead.

Its own gateways, else a peer's, where this side says ``useRemoteGateways`` and the other
``allowGatewayTransit`` (azure-facts, "Routing"). What BGP teaches is not in a snapshot: a connection
is taken to lead to its local network gateway's prefixes, or to its peer's virtual network.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.network.gateways import GatewayConnection, VirtualNetworkGateway
from harness.network.model import IPAddress, IPNetwork, Network, PeeringState
from harness.policy.peering import peering_between
from harness.policy.tags import contains


def gateways_of(network: Network, vnet: str) -> tuple[VirtualNetworkGateway, ...]:
    """The gateways that packets of ``vnet`` (key) with next hop VirtualNetworkGateway go to: VPN and
    ExpressRoute may stand side by side."""
    own = tuple(gateway for gateway in network.gateways.values() if gateway.vnet == vnet)
    if own:
        return own
    for peering in network.vnets[vnet].peerings:
        if borrows(network, vnet, peering.remote_vnet):
            return tuple(g for g in network.gateways.values() if g.vnet == peering.remote_vnet)
    return ()


def gateway_of(network: Network, vnet: str) -> VirtualNetworkGateway | None:
    """The first of :func:`gateways_of`."""
    return next(iter(gateways_of(network, vnet)), None)


def borrows(network: Network, vnet: str, lender: str) -> bool:
    """Whether ``vnet`` uses the gateways of its peer ``lender``."""
    mine, theirs = peering_between(network, vnet, lender), peering_between(network, lender, vnet)
    if mine is None or theirs is None or mine.state is not PeeringState.CONNECTED:
        return False
    return mine.use_remote_gateways and theirs.allow_gateway_transit


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
    """Every prefix that the gateways of ``vnet`` lead to, each once."""
    found = (
        prefix
        for gateway in gateways_of(network, vnet)
        for connection in connections_of(network, gateway)
        for prefix in remote_prefixes(network, connection)
    )
    return tuple(dict.fromkeys(found))


def connection_towards(network: Network, vnet: str, address: IPAddress) -> GatewayConnection | None:
    """The connection by which ``vnet`` reaches ``address``: the longest prefix, a connected one first."""
    best: tuple[int, bool, GatewayConnection] | None = None
    for gateway in gateways_of(network, vnet):
        for connection in connections_of(network, gateway):
            for prefix in remote_prefixes(network, connection):
                if address in prefix:
                    rank = (prefix.prefixlen, not is_down(connection))
                    if best is None or rank > best[:2]:
                        best = (*rank, connection)
    return best[2] if best else None


def turns_around(network: Network, vnet: str, address: IPAddress) -> VirtualNetworkGateway | None:
    """The gateway that sends a packet of ``vnet`` on within Azure: to its own virtual network, or to a peer
    that borrows it, too (spoke to spoke by a VPN gateway)."""
    for gateway in gateways_of(network, vnet):
        spokes = (p.remote_vnet for p in network.vnets[gateway.vnet].peerings)
        homes = [gateway.vnet, *(spoke for spoke in spokes if spoke in network.vnets)]
        for home in homes:
            lent = home == gateway.vnet or borrows(network, home, gateway.vnet)
            if lent and contains(network.vnets[home].address_space, address):
                return gateway
    return None


def is_down(connection: GatewayConnection) -> bool:
    """Whether Azure says that the connection is not connected; not known counts as up."""
    return connection.status is not None and connection.status.lower() in ("notconnected", "connecting")
