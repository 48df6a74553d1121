"""Effective routes of a NIC, and which of them a packet takes.

Longest prefix; on a tie user-defined before system (azure-facts, "Routing"). Not for
what lies behind a next hop (:mod:`harness.policy.journey`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network

from harness.errors import InputError
from harness.network.model import (
    IPAddress,
    IPNetwork,
    Network,
    NetworkInterface,
    NextHopType,
    PeeringState,
    RouteSource,
)
from harness.policy.decision import EffectiveRoute, RouteState
from harness.policy.tags import is_internet
from harness.text import plain

RESERVED_4: tuple[IPNetwork, ...] = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
"""System routes to None, each unless it equals a prefix of the virtual network (documented list)."""

RESERVED_6: tuple[IPNetwork, ...] = (ip_network("fc00::/7"),)
"""Not documented; unique local addresses are no more routed on the internet than 10/8 is."""

_DEFAULT_4, _DEFAULT_6 = ip_network("0.0.0.0/0"), ip_network("::/0")


def effective_routes(network: Network, nic: NetworkInterface) -> tuple[EffectiveRoute, ...]:
    """The NIC's routes: system, peering, user-defined; those that lose a tie are Invalid."""
    subnet = network.subnets[nic.subnet]
    vnet = network.vnets[subnet.vnet]
    system = [_system(prefix, NextHopType.VNET_LOCAL) for prefix in vnet.address_space]
    for peering in vnet.peerings:
        if peering.state is PeeringState.CONNECTED:
            system += [
                replace(_system(prefix, NextHopType.VNET_PEERING),
                        name=peering.name, id=peering.id, peer=peering.remote_vnet)
                for prefix in peering.remote_address_space
            ]  # fmt: skip
    taken = {route.prefix for route in system}
    defaults = [(_DEFAULT_4, NextHopType.INTERNET), *((prefix, NextHopType.NONE) for prefix in RESERVED_4)]
    if any(prefix.version == 6 for prefix in vnet.address_space):
        defaults += [
            (_DEFAULT_6, NextHopType.INTERNET),
            *((prefix, NextHopType.NONE) for prefix in RESERVED_6),
        ]
    table = network.route_tables[subnet.route_table] if subnet.route_table else None
    # a user's own default route takes the reserved ranges too: no effective route table that shows one
    # lists the routes to None (observed in published outputs of show-effective-route-table, not documented)
    own_defaults = {route.prefix for route in (table.routes if table else ())} & {_DEFAULT_4, _DEFAULT_6}
    replaced = {prefix.version for prefix in own_defaults}
    system += [
        _system(prefix, hop)
        for prefix, hop in defaults
        if prefix not in taken and not (hop is NextHopType.NONE and prefix.version in replaced)
    ]
    user = [
        EffectiveRoute(
            route.prefix,
            route.next_hop_type,
            route.next_hop_ip,
            RouteSource.USER,
            name=route.name,
            id=route.id,
        )
        for route in (table.routes if table else ())
    ]
    overridden = {route.prefix for route in user}
    return tuple(
        replace(route, state=RouteState.INVALID) if route.prefix in overridden else route for route in system
    ) + tuple(user)


def select_route(routes: Iterable[EffectiveRoute], address: IPAddress) -> EffectiveRoute | None:
    """The active route with the longest prefix that holds ``address``; None where there is none."""
    matching = [route for route in routes if route.state is RouteState.ACTIVE and address in route.prefix]
    return max(matching, key=lambda route: route.prefix.prefixlen, default=None)


def route_for(network: Network, nic: NetworkInterface, address: IPAddress) -> EffectiveRoute | None:
    """The route that a packet from ``nic`` to ``address`` takes.

    Raises InputError where a route to a service tag might decide: its prefixes are not known.
    """
    chosen = select_route(effective_routes(network, nic), address)
    subnet = network.subnets[nic.subnet]
    tagged = network.route_tables[subnet.route_table].tag_routes if subnet.route_table else ()
    # service tags hold public addresses only, and none can be longer than a host's own prefix
    decided = chosen is not None and chosen.prefix.prefixlen == address.max_prefixlen
    if tagged and not decided and is_internet(address):
        route = tagged[0]
        raise InputError(
            f"route '{plain(route.name)}' of {plain(subnet.route_table or '')} might decide where {address}"
            f" goes, but the prefixes of the service tag '{plain(route.tag)}' are not known",
            hint="write the prefixes themselves into the route table's snapshot to decide it",
        )
    return chosen


def _system(prefix: IPNetwork, hop: NextHopType) -> EffectiveRoute:
    return EffectiveRoute(prefix, hop, None, RouteSource.DEFAULT)
