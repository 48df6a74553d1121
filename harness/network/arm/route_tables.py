"""Route tables and their user-defined routes. Not for which route wins (:mod:`harness.policy.routing`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from harness.network.arm import kinds
from harness.network.arm.associations import Associations
from harness.network.arm.bodies import Reader, children, parent_in, properties, store
from harness.network.fields import Fields
from harness.network.model import Route, RouteTable, ServiceTagRoute
from harness.network.rules import TAG
from harness.network.words import IPAddress, NextHopType, key
from harness.text import plain


class RouteTables:
    def __init__(self, links: Associations) -> None:
        self.tables: dict[str, RouteTable] = {}
        self._routes: dict[str, Route | ServiceTagRoute] = {}
        self._links = links
        self.readers: Mapping[str, Reader] = {kinds.ROUTE_TABLE: self._table, kinds.ROUTE: self._route}

    def settle(self, origin: str) -> dict[str, RouteTable]:
        """Every table with its routes; refuses two routes to one prefix."""
        routes: dict[str, list[Route | ServiceTagRoute]] = defaultdict(list)
        for item in self._routes.values():
            routes[parent_in(self.tables, item.id, "route table", origin)].append(item)
        tables = {}
        for name, draft in self.tables.items():
            seen: dict[object, Route | ServiceTagRoute] = {}
            for item in routes[name]:
                prefix = item.prefix if isinstance(item, Route) else item.tag.lower()
                other = seen.setdefault(prefix, item)
                if other is not item:
                    Fields({}, origin, item.id).fail(
                        "addressPrefix", f"{plain(other.id)} has the same prefix {prefix}"
                    )
            tables[name] = replace(
                draft,
                routes=tuple(item for item in routes[name] if isinstance(item, Route)),
                tag_routes=tuple(item for item in routes[name] if isinstance(item, ServiceTagRoute)),
            )
        return tables

    def _table(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        self.tables[key(arm_id)] = RouteTable(
            arm_id,
            name,
            (),
            disable_bgp_route_propagation=body.flag("disableBgpRoutePropagation", default=False),
            # DisablePeeringRoute of the API: "None" or "All"
            disable_peering_route=(body.optional_text("disablePeeringRoute") or "None").lower() == "all",
        )
        children(body, "routes", arm_id, kinds.ROUTE, self._route)
        for subnet in body.references("subnets"):
            self._links.subnet_tables.add(subnet, arm_id, body, "subnets")

    def _route(self, fields: Fields, arm_id: str, name: str) -> None:
        store(self._routes, arm_id, route(arm_id, name, properties(fields)), fields)


class _UserNextHop(StrEnum):
    """The next hop types that a user may set; those of peerings and service endpoints are Azure's own."""

    VIRTUAL_NETWORK_GATEWAY = "VirtualNetworkGateway"
    VNET_LOCAL = "VnetLocal"
    INTERNET = "Internet"
    VIRTUAL_APPLIANCE = "VirtualAppliance"
    VIRTUAL_APPLIANCE_ECMP = "VirtualApplianceEcmp"
    NONE = "None"


def route(route_id: str, name: str, body: Fields) -> Route | ServiceTagRoute:
    """One user-defined route from its ``properties``.

    VirtualApplianceEcmp spreads flows over several appliances; the first of them is the route's
    next hop, the others are kept beside it.
    """
    text = body.text("addressPrefix")
    stated = body.word("nextHopType", _UserNextHop)
    hops, place = _next_hops(body, stated)
    appliance = stated is _UserNextHop.VIRTUAL_APPLIANCE_ECMP
    hop = NextHopType.VIRTUAL_APPLIANCE if appliance else NextHopType(stated.value)
    first, others = hops[0] if hops else None, hops[1:]
    if TAG.fullmatch(text):
        return ServiceTagRoute(route_id, name, text, hop, first, others)
    prefix = body.parse_prefix("addressPrefix", text)
    for address in hops:
        if address.version != prefix.version:
            body.fail(place, f"'{address}' is of another address family than {prefix}")
    return Route(route_id, name, prefix, hop, first, others)


def _next_hops(body: Fields, stated: _UserNextHop) -> tuple[tuple[IPAddress, ...], str]:
    """The appliances' addresses, none for other types, and the property that holds them."""
    if stated is _UserNextHop.VIRTUAL_APPLIANCE_ECMP:
        hop = body.nested("nextHop")
        name = "nextHopIpAddresses"
        hops = tuple(
            hop.parse_address(f"{name}[{number}]", text) for number, text in enumerate(hop.texts(name))
        )
        if not hops:
            hop.fail(name, "is missing or empty: VirtualApplianceEcmp needs the addresses of its appliances")
        return hops, f"nextHop.{name}"
    if stated is _UserNextHop.VIRTUAL_APPLIANCE:
        return (body.address("nextHopIpAddress"),), "nextHopIpAddress"
    # ignored by Azure, and still no place for what is no address
    body.optional_address("nextHopIpAddress")
    return (), "nextHopIpAddress"
