"""Effective routes of a subnet as the fabric carries them out: system, peering and user routes.

Azure: virtual-networks-udr-overview. The longest prefix wins, on equal prefixes user routes
win over peering and system routes. Not for NSGs (``plan_rules``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from harness.network.model import (
    IPAddress,
    IPNetwork,
    Network,
    NextHopType,
    PeeringState,
    Route,
    VirtualNetwork,
    VirtualNetworkPeering,
    key,
)
from lab.flatten import flatten
from lab.plan_model import Context, DropReason, PlanError, RoutePlan, RouteTarget

DEFAULT_ROUTE: Mapping[int, IPNetwork] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
RESERVED = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("100.64.0.0/10"),
)
"""System routes with next hop None, in every VNet."""
MULTICAST = (IPv4Network("224.0.0.0/4"), IPv6Network("ff00::/8"))
"""Azure carries no multicast (Azure: virtual-networks-faq)."""

VNetPorts = Mapping[str, Mapping[IPAddress, int]]
"""VNet (key) -> address -> port id."""


def peering_to(vnet: VirtualNetwork, remote: str) -> VirtualNetworkPeering | None:
    """The peering of ``vnet`` to the VNet with that key, or None."""
    return next((peering for peering in vnet.peerings if key(peering.remote_vnet) == remote), None)


def connected_peerings(vnet: VirtualNetwork) -> Iterator[VirtualNetworkPeering]:
    """The peerings that give this side routes: those in state Connected."""
    return (peering for peering in vnet.peerings if peering.state is PeeringState.CONNECTED)


def _over(
    network: Network, vnet: VirtualNetwork, peering: VirtualNetworkPeering, target: RouteTarget
) -> RouteTarget:
    """``target``, reached over a peering: each side may have closed it (``allowVirtualNetworkAccess``).

    Such a peering keeps its routes and takes the peer out of that side's VirtualNetwork tag; what an
    NSG explicitly allows by address or ASG still passes (field trials of 2021), and where there is
    no NSG at all nothing does (recorded).
    """
    if target.reason is not None:
        return target
    remote = network.vnets.get(key(peering.remote_vnet))
    back = peering_to(remote, key(vnet.id)) if remote is not None else None
    return replace(
        target,
        closed_here=not peering.allow_virtual_network_access,
        closed_there=back is not None and not back.allow_virtual_network_access,
    )


def plan_routes(network: Network, context: Context, ports: VNetPorts, internet: RouteTarget) -> RoutePlan:
    """The routes of all subnets of ``context``, as disjoint ranges per family.

    ``internet`` is where next hop Internet leads: to the VNet's edge, or nowhere.
    """
    user = list(_user_routes(network, context, ports, internet))
    # a user's own default route takes the reserved ranges too (observed, see harness.policy.routing)
    has_default = any(prefix == DEFAULT_ROUTE[4] for prefix, _ in user)
    system = [
        (prefix, target)
        for prefix, target in _system_routes(network, network.vnets[context.vnet], internet)
        if not (has_default and prefix in RESERVED and target.reason is DropReason.ROUTE_TO_NONE)
    ]
    routes = [*user, *system]
    return RoutePlan(
        context,
        {
            family: flatten((prefix, target) for prefix, target in routes if prefix.version == family)
            for family in (4, 6)
        },
    )


def _system_routes(
    network: Network, vnet: VirtualNetwork, internet: RouteTarget
) -> Iterator[tuple[IPNetwork, RouteTarget]]:
    for prefix in vnet.address_space:
        yield prefix, RouteTarget.deliver(key(vnet.id))
    for peering in connected_peerings(vnet):
        target = _over(network, vnet, peering, RouteTarget.deliver(key(peering.remote_vnet)))
        for prefix in peering.remote_address_space:
            yield prefix, target
    for prefix in RESERVED:
        yield prefix, RouteTarget.drop(DropReason.ROUTE_TO_NONE)
    for prefix in MULTICAST:
        yield prefix, RouteTarget.drop(DropReason.MULTICAST)
    for prefix in DEFAULT_ROUTE.values():
        yield prefix, internet


def _user_routes(
    network: Network, context: Context, ports: VNetPorts, internet: RouteTarget
) -> Iterator[tuple[IPNetwork, RouteTarget]]:
    if context.route_table is None:
        return
    table = network.route_tables.get(context.route_table)
    if table is None:
        raise PlanError(f"{context.vnet}: route table {context.route_table} does not exist")
    for route in table.routes:
        yield route.prefix, _user_target(network, context, ports, internet, route)


def _user_target(
    network: Network, context: Context, ports: VNetPorts, internet: RouteTarget, route: Route
) -> RouteTarget:
    match route.next_hop_type:
        case NextHopType.VNET_LOCAL:
            return RouteTarget.deliver(context.vnet)
        case NextHopType.INTERNET:
            return internet
        case NextHopType.NONE:
            return RouteTarget.drop(DropReason.ROUTE_TO_NONE)
        case NextHopType.VIRTUAL_NETWORK_GATEWAY:
            return RouteTarget.drop(DropReason.NO_GATEWAY)
        case NextHopType.VIRTUAL_APPLIANCE:
            if route.next_hop_ip is None:
                raise PlanError(f"{route.id}: a route to a VirtualAppliance needs nextHopIpAddress")
            return _appliance(network, network.vnets[context.vnet], ports, route.next_hop_ip)
        case _:
            raise PlanError(f"{route.id}: nextHopType {route.next_hop_type} cannot be set by a user")


def _appliance(network: Network, vnet: VirtualNetwork, ports: VNetPorts, address: IPAddress) -> RouteTarget:
    """An appliance must be in the VNet itself or in one that is peered with it directly."""
    if any(address in prefix for prefix in vnet.address_space):
        return _port_target(key(vnet.id), ports, address)
    for peering in connected_peerings(vnet):
        if any(address in prefix for prefix in peering.remote_address_space):
            return _over(network, vnet, peering, _port_target(key(peering.remote_vnet), ports, address))
    return RouteTarget.drop(DropReason.APPLIANCE_UNREACHABLE)


def _port_target(vnet: str, ports: VNetPorts, address: IPAddress) -> RouteTarget:
    port = ports.get(vnet, {}).get(address)
    if port is None:
        return RouteTarget.drop(DropReason.APPLIANCE_UNREACHABLE)
    return RouteTarget.next_hop(vnet, port)
