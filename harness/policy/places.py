"""The internet as a network sees it: public addresses that nothing in it tells apart are one place.

Without the virtual networks' own public space, and without Azure's platform addresses, which no rule
applies to. What passes to and from the places is :mod:`harness.policy.outside`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network, summarize_address_range
from itertools import islice

from harness.network.addresses import (
    LAST,
    AddressSet,
    Ranges,
    common,
    complement,
    merged,
    range_of,
)
from harness.network.model import IPNetwork
from harness.policy.classes import Classifier
from harness.policy.compiled import Compiled
from harness.policy.decision import EffectiveRoute
from harness.policy.routing import RouteLookup
from harness.policy.tags import INTERNET_SPACE, PLATFORM, PLATFORM_TAGS

_LISTED = 3
"""Prefixes of a place that its name consists of."""


@dataclass(frozen=True, slots=True)
class Place:
    """Public addresses that are equal to everything in a network; ``address`` stands for all of them.

    ``own``: something of the network itself has them (a public IP address, a prefix of them, a cloud
    service), so that they are clients like any other, but nothing on the internet is reached there.
    ``everywhere``: all places together.
    """

    address: IPv4Address | IPv6Address
    ranges: Ranges
    own: bool = False
    everywhere: bool = False

    @property
    def size(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    @property
    def prefixes(self) -> Iterator[IPNetwork]:
        """What its addresses are together, ascending."""
        kind = type(self.address)
        for first, last in self.ranges:
            yield from summarize_address_range(kind(first), kind(last))

    def __str__(self) -> str:
        """``internet``, or its first prefixes; a single address without a length."""
        if self.everywhere:
            return "internet" if self.address.version == 4 else "internet (IPv6)"
        listed = [str(prefix) for prefix in islice(self.prefixes, _LISTED + 1)]
        named = [text.removesuffix("/32" if self.address.version == 4 else "/128") for text in listed]
        return ", ".join(named[:_LISTED]) + (" ..." if len(named) > _LISTED else "")


def place_of(family: int, ranges: Ranges, *, own: bool = False, everywhere: bool = False) -> Place:
    """The place with these addresses, of which there is at least one."""
    kind = IPv4Address if family == 4 else IPv6Address
    return Place(kind(ranges[0][0]), ranges, own, everywhere)


def internet_places(view: Compiled, classifier: Classifier, family: int) -> tuple[Place, ...]:
    """All places of one address family, by ascending first address."""
    space, own = _space(view).of_family(family), _own(view).of_family(family)
    found = []
    for ranges in _alike(family, space, _told_apart(view, classifier, family)):
        for part, is_own in ((common(ranges, complement(own, family)), False), (common(ranges, own), True)):
            if part:
                found.append(place_of(family, part, own=is_own))
    return tuple(sorted(found, key=lambda place: int(place.address)))


def _space(view: Compiled) -> AddressSet:
    inside = AddressSet.of(prefix for vnet in view.network.vnets.values() for prefix in vnet.address_space)
    platform = AddressSet.of(ip_network(str(address)) for address in PLATFORM)
    return INTERNET_SPACE - inside - platform - PLATFORM_TAGS["azureplatformlkm"]


def _own(view: Compiled) -> AddressSet:
    network = view.network
    single = [item.address for item in network.public_ips.values()]
    single += [item.address for item in network.cloud_services.values()]
    prefixes: list[IPNetwork] = [ip_network(str(address)) for address in single if address is not None]
    prefixes += [item.prefix for item in network.public_ip_prefixes.values() if item.prefix is not None]
    return AddressSet.of(prefixes)


def _told_apart(view: Compiled, classifier: Classifier, family: int) -> Iterator[Ranges]:
    """Sets of addresses by which something decides. A set may be large (a service tag) and still be one."""
    network = view.network
    for rules in classifier.rule_lists:
        for rule in rules.rules:
            for side in (rule.source, rule.destination):
                if not side.any:
                    yield side.addresses.of_family(family)
    peerings = (peering for vnet in network.vnets.values() for peering in vnet.peerings)
    single = [prefix for peering in peerings for prefix in peering.remote_address_space]
    single += [prefix for site in network.local_gateways.values() for prefix in site.prefixes]
    single += [
        rule.remote_subnet
        for service in network.cloud_services.values()
        for endpoint in service.endpoints
        for rule in endpoint.acl
    ]
    for prefix in dict.fromkeys(single):
        if prefix.version == family:
            yield (range_of(prefix),)
    contexts = {id(context): context for context in map(view.context, network.subnets)}
    for context in contexts.values():
        yield from _by_next_hop(context.routes, family)


def _by_next_hop(routes: RouteLookup, family: int) -> Iterator[Ranges]:
    """The addresses of each next hop: what two routes send to the same place is not told apart."""
    found: dict[object, list[tuple[int, int]]] = {}
    for first, last, route in _deciding(r for r in routes.active() if r.prefix.version == family):
        hop = (route.next_hop_type, route.next_hop_ip, route.other_next_hops, route.peer)
        found.setdefault(hop, []).append((first, last))
    yield from (merged(ranges) for ranges in found.values())


def _deciding(routes: Iterable[EffectiveRoute]) -> Iterator[tuple[int, int, EffectiveRoute]]:
    """(first, last, route) where a route is the longest match. Of two prefixes one holds the other, or
    they are disjoint."""
    around: list[tuple[int, EffectiveRoute]] = []
    position = 0
    spans = ((*range_of(route.prefix), route) for route in routes)
    for first, last, route in sorted(spans, key=lambda span: (span[0], -span[1])):
        while around and around[-1][0] < first:
            end, outer = around.pop()
            if position <= end:
                yield position, end, outer
                position = end + 1
        if around and position < first:
            yield position, first - 1, around[-1][1]
        position = max(position, first)
        around.append((last, route))
    while around:
        end, outer = around.pop()
        if position <= end:
            yield position, end, outer
            position = end + 1


def _alike(family: int, space: Ranges, sets: Iterable[Ranges]) -> Iterator[Ranges]:
    """``space`` in parts of addresses that the same of the sets hold.

    Each set has a random number; an address is known by the exclusive or of those of the sets that hold
    it, so that two which differ are taken for equal with a probability of 2^-127.
    """
    chance = random.Random(0)
    toggles: dict[int, int] = {}
    seen: set[int] = set()
    kept: list[Ranges] = []
    distinct: set[Ranges] = set()
    for ranges in sets:
        if id(ranges) in seen:
            continue
        seen.add(id(ranges))
        kept.append(ranges)  # so that its id stays its own
        public = common(ranges, space)
        if not public or public in distinct:
            continue
        distinct.add(public)
        mark = chance.getrandbits(127)
        for first, last in public:
            toggles[first] = toggles.get(first, 0) ^ mark
            toggles[last + 1] = toggles.get(last + 1, 0) ^ mark
    parts: dict[int, list[tuple[int, int]]] = {}
    begin, mark = 0, 0
    for start in sorted(toggles):
        if begin < start:
            parts.setdefault(mark, []).append((begin, start - 1))
        begin, mark = start, mark ^ toggles[start]
    if begin <= LAST[family]:
        parts.setdefault(mark, []).append((begin, LAST[family]))
    for pieces in parts.values():
        inside = common(merged(pieces), space)
        if inside:
            yield inside
