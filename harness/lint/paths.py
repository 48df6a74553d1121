"""Paths between subnets that an appliance sees in one direction only.

Two subnets are compared by the routes that their NICs' packets take to each other, per pair of
addresses that routes treat differently. Rules are not asked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from harness.azure_cli import route_command
from harness.lint.finding import Check, Defect, Severity, check
from harness.lint.survey import Survey
from harness.lint.wording import count
from harness.network.addresses import range_of
from harness.network.model import IPAddress, IPNetwork, NextHopType, Subnet, key
from harness.policy.compiled import ContextKey
from harness.policy.decision import EffectiveRoute
from harness.policy.routing import RouteLookup

_ROUTED = frozenset({NextHopType.VNET_LOCAL, NextHopType.VNET_PEERING, NextHopType.VIRTUAL_APPLIANCE})

RELATED = 20
"""Subnets that a finding lists; its text has the count."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two addresses, the route to the appliance from the first, and the route back that misses it."""

    source: IPAddress
    target: IPAddress
    source_subnet: Subnet
    target_subnet: Subnet
    there: EffectiveRoute
    back: EffectiveRoute


@check("path/asymmetric", Severity.WARNING)
def asymmetric(survey: Survey) -> Iterator[Defect]:
    """Path through an appliance in one direction and past it in the other.

    A stateful appliance drops a connection of which it sees one direction only. Compared are
    subnets with NICs; the way back must be a live route (VnetLocal, peering, or another appliance)
    and no NIC of the same VM or of the same load balancer's backends. Pairs with the appliance's
    own subnet are left out. One finding per route to the appliance and route back, with a count of
    subnet pairs and an example.
    """
    pairs: dict[tuple[str, str], list[_Pair]] = defaultdict(list)
    for pair in _Paths(survey).asymmetric():
        back = pair.back.id or f"{pair.target_subnet.vnet} {pair.back.next_hop_type}"
        pairs[pair.there.id or "", back].append(pair)
    for found in pairs.values():
        first = found[0]
        number = len({(pair.source_subnet.id, pair.target_subnet.id) for pair in found})
        back = f"route '{first.back.name}' " if first.back.id else "system route "
        fixes = [route_command("delete", first.there.id)] if first.there.id else []
        table = survey.table_of(first.target_subnet)
        if table is not None:
            mirrored = f"{table.id}/routes/<name>"
            prefix = ("address-prefix", str(first.source_subnet.prefixes[0]))
            hop = ("next-hop-type", "VirtualAppliance")
            address = ("next-hop-ip-address", str(first.there.next_hop_ip))
            fixes.insert(0, route_command("create", mirrored, prefix, hop, address))
        yield Defect(
            first.there.id or "",
            f"route '{first.there.name}' leads through {first.there.next_hop_ip}, the way back does not, for"
            f" {count(number, 'pair')} of subnets: for example {first.source} -> {first.target}"
            f" ('{first.source_subnet.name}' to '{first.target_subnet.name}') comes back by"
            f" {back}{first.back}",
            "properties.nextHopIpAddress",
            tuple(
                dict.fromkeys(
                    subnet.id for pair in found for subnet in (pair.source_subnet, pair.target_subnet)
                )
            )[:RELATED],
            tuple(fixes),
        )


@dataclass(frozen=True, slots=True)
class _Appliance:
    """The addresses of a next hop and the machines that answer there (VMs, else NICs), and their subnets."""

    machines: frozenset[str]
    subnets: frozenset[str]


class _Table:
    """The effective routes of a subnet, and where they begin: most treat all of another subnet alike."""

    def __init__(self, routes: tuple[EffectiveRoute, ...]) -> None:
        self._lookup = RouteLookup.of(routes)
        self._starts = sorted(
            (route.prefix.version, int(route.prefix.network_address), route.prefix.prefixlen)
            for route in routes
        )

    def ways(
        self, target: Subnet, addresses: Sequence[IPAddress]
    ) -> Iterator[tuple[IPAddress, EffectiveRoute | None]]:
        """One of ``addresses``, which are in ``target``, for each route that is taken to them."""
        # a table has each route once, so its identity tells it apart; to compare its fields takes long
        seen: set[tuple[int, int]] = set()
        divided = any(self._divides(prefix) for prefix in target.prefixes)
        for address in addresses if divided else _first_of_each(target, addresses):
            route = self._lookup.find(address.version, int(address))
            if (address.version, id(route)) not in seen:
                seen.add((address.version, id(route)))
                yield address, route

    def _divides(self, prefix: IPNetwork) -> bool:
        """Whether a route is for a part of ``prefix`` only."""
        first, last = range_of(prefix)
        place = bisect_left(self._starts, (prefix.version, first, 0))
        for version, number, length in self._starts[place:]:
            if (version, number) > (prefix.version, last):
                break
            if length > prefix.prefixlen:
                return True
        return False


def _first_of_each(target: Subnet, addresses: Sequence[IPAddress]) -> Iterator[IPAddress]:
    """The first address in each prefix of a subnet."""
    for prefix in target.prefixes:
        yield from islice((address for address in addresses if address in prefix), 1)


class _Paths:
    """Routes between subnets, looked up once for all subnets that have the same."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._tables: dict[ContextKey, _Table] = {}
        self._appliances: dict[tuple[str, tuple[IPAddress, ...]], _Appliance] = {}
        self._found: dict[tuple[ContextKey, str], tuple[tuple[IPAddress, EffectiveRoute | None], ...]] = {}

    def asymmetric(self) -> Iterator[_Pair]:
        subnets = [self._survey.network.subnets[name] for name in self._survey.nics_of]
        through = [subnet for subnet in subnets if self._uses_appliances(subnet)]
        for source in through:
            for target in subnets:
                if source is not target:
                    yield from self._compare(source, target)

    def _uses_appliances(self, subnet: Subnet) -> bool:
        routes = self._survey.routes(subnet)
        return any(route.next_hop_type is NextHopType.VIRTUAL_APPLIANCE for route in routes)

    def _compare(self, source: Subnet, target: Subnet) -> Iterator[_Pair]:
        for there_address, there in self._ways(source, target):
            if there is None or there.next_hop_type is not NextHopType.VIRTUAL_APPLIANCE:
                continue
            appliance = self._appliance(source.vnet, there)
            if appliance.subnets & {key(source.id), key(target.id)}:
                continue
            for back_address, back in self._ways(target, source):
                # where each direction has an appliance of its own, one of the two says it
                again = back is not None and back.next_hop_ip is not None and key(target.id) < key(source.id)
                if back is None or again or back_address.version != there_address.version:
                    continue
                if self._arrives(back, source) and not self._same(appliance, target, back):
                    yield _Pair(back_address, there_address, source, target, there, back)

    def _arrives(self, back: EffectiveRoute, home: Subnet) -> bool:
        """Whether the route back leads to the virtual network that the request came from."""
        return back.next_hop_type in _ROUTED and back.peer in (None, home.vnet)

    def _same(self, appliance: _Appliance, here: Subnet, back: EffectiveRoute) -> bool:
        if back.next_hop_ip is None:
            return False
        return bool(appliance.machines & self._appliance(here.vnet, back).machines)

    def _ways(self, source: Subnet, target: Subnet) -> tuple[tuple[IPAddress, EffectiveRoute | None], ...]:
        """Addresses in ``target`` that routes of ``source`` treat differently, each with its route."""
        identity = (source.vnet, source.route_table, source.service_endpoints)
        found = self._found.get((identity, key(target.id)))
        if found is None:
            table = self._tables.get(identity)
            if table is None:
                table = self._tables[identity] = _Table(self._survey.routes(source))
            addresses = [
                configuration.address
                for nic in self._survey.nics_of[key(target.id)]
                for configuration in nic.ip_configurations
            ]
            found = self._found[identity, key(target.id)] = tuple(table.ways(target, addresses))
        return found

    def _appliance(self, vnet: str, route: EffectiveRoute) -> _Appliance:
        addresses = tuple(hop for hop in (route.next_hop_ip, *route.other_next_hops) if hop is not None)
        found = self._appliances.get((vnet, addresses))
        if found is None:
            nics = self._survey.view.appliances(vnet, route)
            found = self._appliances[vnet, addresses] = _Appliance(
                frozenset([*map(str, addresses), *(nic.vm or key(nic.id) for nic in nics)]),
                frozenset(nic.subnet for nic in nics),
            )
        return found


CHECKS: tuple[Check, ...] = (asymmetric,)
