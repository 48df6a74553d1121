"""Effective routes of a subnet's NICs, and which of them a packet takes.

Longest prefix; on a tie user-defined before gateway before system (azure-facts, "Routing"). Not for
what lies behind a next hop (:mod:`harness.policy.journey`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network

from harness.errors import InputError
from harness.network.model import (
    IPAddress,
    IPNetwork,
    Network,
    NetworkInterface,
    NextHopType,
    PeeringState,
    RouteSource,
    ServiceTagRoute,
    Subnet,
    VirtualNetwork,
)
from harness.network.service_tags import ServiceTags, service_endpoint_tag
from harness.policy.decision import EffectiveRoute, RouteState
from harness.policy.gateways import gateway_prefixes
from harness.policy.tags import INTERNET_SPACE
from harness.text import plain

RESERVED_4: tuple[IPNetwork, ...] = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
"""System routes to None, each unless it equals a prefix of the virtual network (documented list)."""

RESERVED_6: tuple[IPNetwork, ...] = (ip_network("fc00::/7"),)
"""Not documented; unique local addresses are no more routed on the internet than 10/8 is."""

_DEFAULT_4, _DEFAULT_6 = ip_network("0.0.0.0/0"), ip_network("::/0")


def effective_routes(
    network: Network, place: NetworkInterface | Subnet, service_tags: ServiceTags | None = None
) -> tuple[EffectiveRoute, ...]:
    """The routes of a NIC, or of the NICs of a subnet; those that lose a tie are Invalid.

    Routes to a service tag appear prefix by prefix, where ``service_tags`` defines it.
    """
    subnet = network.subnets[place.subnet] if isinstance(place, NetworkInterface) else place
    vnet = network.vnets[subnet.vnet]
    table = network.route_tables[subnet.route_table] if subnet.route_table else None
    user = [
        EffectiveRoute(
            route.prefix,
            route.next_hop_type,
            route.next_hop_ip,
            RouteSource.USER,
            name=route.name,
            id=route.id,
            other_next_hops=route.other_next_hops,
        )
        for route in (table.routes if table else ())
    ]
    explicit = {route.prefix for route in user}
    if table is not None and service_tags is not None:
        user += _tag_routes(table.tag_routes, explicit, service_tags)
    without_peers = table is not None and table.disable_peering_route
    system = _system_routes(vnet, explicit, peers=not without_peers)
    system += _service_endpoints(subnet, vnet, service_tags)
    learned: list[EffectiveRoute] = []
    if table is None or not table.disable_bgp_route_propagation:
        learned = [
            EffectiveRoute(prefix, NextHopType.VIRTUAL_NETWORK_GATEWAY, None, RouteSource.GATEWAY)
            for prefix in gateway_prefixes(network, subnet.vnet)
        ]
    overridden = {route.prefix for route in user}
    preferred = [
        route.prefix
        for route in system
        if route.next_hop_type
        in (NextHopType.VNET_LOCAL, NextHopType.VNET_PEERING, NextHopType.SERVICE_ENDPOINT)
    ]
    # what the virtual network and its peers have is preferred even over more specific learned routes
    learned = [
        replace(route, state=RouteState.INVALID)
        if route.prefix in overridden or any(_within(route.prefix, prefix) for prefix in preferred)
        else route
        for route in learned
    ]
    overridden |= {route.prefix for route in learned if route.state is RouteState.ACTIVE}
    system = [
        replace(route, state=RouteState.INVALID) if route.prefix in overridden else route for route in system
    ]
    return (*system, *learned, *user)


def _system_routes(vnet: VirtualNetwork, user: set[IPNetwork], *, peers: bool) -> list[EffectiveRoute]:
    system = [_system(prefix, NextHopType.VNET_LOCAL) for prefix in vnet.address_space]
    for peering in vnet.peerings if peers else ():
        if peering.state is PeeringState.CONNECTED:
            system += [
                EffectiveRoute(prefix, NextHopType.VNET_PEERING, None, RouteSource.DEFAULT,
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
    # a user's own default route takes the reserved ranges too: no effective route table that shows one
    # lists the routes to None (observed in published outputs of show-effective-route-table, not documented)
    replaced = {prefix.version for prefix in user & {_DEFAULT_4, _DEFAULT_6}}
    return system + [
        _system(prefix, hop)
        for prefix, hop in defaults
        if prefix not in taken and not (hop is NextHopType.NONE and prefix.version in replaced)
    ]


def _tag_routes(
    routes: Iterable[ServiceTagRoute], explicit: set[IPNetwork], service_tags: ServiceTags
) -> list[EffectiveRoute]:
    """Routes to service tags, prefix by prefix: regional before top-level before AzureCloud."""
    taken, found = set(explicit), []

    def rank(route: ServiceTagRoute) -> tuple[bool, bool]:
        return (route.tag.lower().startswith("azurecloud"), "." not in route.tag)

    for route in sorted(routes, key=rank):
        for prefix in _prefixes(service_tags, route.tag):
            if prefix not in taken:
                taken.add(prefix)
                found.append(
                    EffectiveRoute(
                        prefix,
                        route.next_hop_type,
                        route.next_hop_ip if _fits(route.next_hop_ip, prefix) else None,
                        RouteSource.USER,
                        name=route.name,
                        id=route.id,
                        other_next_hops=tuple(hop for hop in route.other_next_hops if _fits(hop, prefix)),
                    )
                )
    return found


def _fits(address: IPAddress | None, prefix: IPNetwork) -> bool:
    return address is not None and address.version == prefix.version


def _service_endpoints(
    subnet: Subnet, vnet: VirtualNetwork, service_tags: ServiceTags | None
) -> Iterator[EffectiveRoute]:
    """The services' prefixes, as far as the tags file knows them (:func:`_unknown_services` has the rest)."""
    seen = set()
    for service, tag in _service_tags(subnet, vnet):
        for prefix in _prefixes(service_tags, tag) if service_tags is not None and tag else ():
            if prefix not in seen:
                seen.add(prefix)
                yield EffectiveRoute(
                    prefix, NextHopType.SERVICE_ENDPOINT, None, RouteSource.DEFAULT, name=service
                )


def _service_tags(subnet: Subnet, vnet: VirtualNetwork) -> Iterator[tuple[str, str | None]]:
    """Each service of the subnet's endpoints with the tag of each location; None: no tag is documented."""
    for endpoint in subnet.service_endpoints:
        for location in endpoint.locations or (vnet.location,):
            yield endpoint.service, service_endpoint_tag(endpoint.service, location)


def _unknown_services(
    subnet: Subnet, vnet: VirtualNetwork, service_tags: ServiceTags | None
) -> tuple[str, ...]:
    """Services whose routes are left out because their prefixes are not known."""
    unknown = (
        service
        for service, tag in _service_tags(subnet, vnet)
        if service_tags is None or tag is None or service_tags.addresses(tag) is None
    )
    return tuple(dict.fromkeys(unknown))


def _prefixes(service_tags: ServiceTags, tag: str) -> Iterator[IPNetwork]:
    """As the file lists them: two halves of a prefix are two routes, and longer than one for the whole."""
    for family, first, last in service_tags.prefixes(tag):
        bits, kind = (32, IPv4Network) if family == 4 else (128, IPv6Network)
        yield kind((first, bits - (last - first).bit_length()))


@dataclass(frozen=True, slots=True)
class RouteLookup:
    """The active routes of a subnet, for many lookups: one dictionary a prefix length, longest first.

    ``undefined`` are routes to service tags that nothing defines: they might decide any public address.
    ``unknown_services`` have endpoints here whose routes are left out for want of their prefixes.
    """

    table: str
    by_length: Mapping[int, tuple[tuple[int, Mapping[int, EffectiveRoute]], ...]]
    undefined: tuple[ServiceTagRoute, ...] = ()
    unknown_services: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        routes: Iterable[EffectiveRoute],
        undefined: tuple[ServiceTagRoute, ...] = (),
        table: str = "",
        unknown_services: tuple[str, ...] = (),
    ) -> RouteLookup:
        found: dict[int, dict[int, dict[int, EffectiveRoute]]] = {4: {}, 6: {}}
        for route in routes:
            if route.state is RouteState.ACTIVE:
                shift = route.prefix.max_prefixlen - route.prefix.prefixlen
                number = int(route.prefix.network_address) >> shift
                found[route.prefix.version].setdefault(shift, {})[number] = route
        by_length = {family: tuple(sorted(lengths.items())) for family, lengths in found.items()}
        return cls(table, by_length, undefined, unknown_services)

    def active(self) -> Iterator[EffectiveRoute]:
        """Every route that can be taken, the longest prefixes first."""
        for lengths in self.by_length.values():
            for _, routes in lengths:
                yield from routes.values()

    def find(self, family: int, number: int) -> EffectiveRoute | None:
        """The route for an address; raises InputError where an undefined service tag might decide."""
        chosen = None
        for shift, routes in self.by_length[family]:
            chosen = routes.get(number >> shift)
            if chosen is not None:
                break
        if self.undefined and INTERNET_SPACE.holds(family, number) and not (chosen and not shift):
            # service tags hold public addresses only, and none can be longer than a host's own prefix
            self._undefined()
        return chosen

    def _undefined(self) -> None:
        route = self.undefined[0]
        raise InputError(
            f"route '{plain(route.name)}' of {plain(self.table)} might decide where the packet"
            f" goes, but the prefixes of the service tag '{plain(route.tag)}' are not known",
            hint="give Microsoft's service tags file (--service-tags FILE) that defines it",
        )


def route_lookup(network: Network, subnet: Subnet, service_tags: ServiceTags | None) -> RouteLookup:
    """The routes of a subnet's NICs, ready for lookups."""
    table = network.route_tables[subnet.route_table] if subnet.route_table else None
    undefined = tuple(
        route
        for route in (table.tag_routes if table else ())
        if service_tags is None or service_tags.addresses(route.tag) is None
    )
    routes = effective_routes(network, subnet, service_tags)
    unknown = _unknown_services(subnet, network.vnets[subnet.vnet], service_tags)
    return RouteLookup.of(routes, undefined, table.id if table else "", unknown)


def _within(prefix: IPNetwork, space: IPNetwork) -> bool:
    return (
        prefix.version == space.version
        and prefix.prefixlen >= space.prefixlen
        and prefix.network_address in space
    )


def _system(prefix: IPNetwork, hop: NextHopType) -> EffectiveRoute:
    return EffectiveRoute(prefix, hop, None, RouteSource.DEFAULT)
