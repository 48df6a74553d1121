"""Endpoints, and which of them no rule and no route can tell apart.

An endpoint is an IP configuration of a NIC. Two are equal if they share subnet context, NSGs and
ASGs, and if every prefix that anything names holds both addresses or neither. Whole networks are
judged class by class: a 10,000-VM network has a few thousand.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from harness.network.addresses import Ranges, range_of
from harness.network.model import (
    Direction,
    IpConfiguration,
    NetworkInterface,
    key,
)
from harness.policy.compiled import Compiled, ContextKey
from harness.policy.gateways import remote_prefixes
from harness.policy.security import AnyRuleList

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of a NIC."""

    nic: NetworkInterface
    configuration: IpConfiguration

    @property
    def family(self) -> int:
        return self.configuration.address.version

    def __str__(self) -> str:
        return f"{self.nic.name} {self.configuration.address}"


@dataclass(frozen=True, slots=True)
class EndpointClass:
    """Equal endpoints; ``members`` are their numbers, ``first`` stands for all. ``number`` is its address."""

    members: tuple[int, ...]
    first: Endpoint
    number: int
    context: ContextKey
    near: int
    """Which virtual networks and peerings have the address: with equal context, routed alike."""


@dataclass(frozen=True)
class Axis:
    """Addresses of one family in ascending order, each with the ASGs (keys) of who has it.

    One end of every pair that rules are asked about; ``labels`` name the addresses in messages.
    """

    family: int
    numbers: tuple[int, ...]
    asgs: tuple[frozenset[str], ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def memberships(self) -> Memberships:
        """Which application security groups the addresses are in."""
        import numpy as np

        known: dict[frozenset[str], int] = {}
        places = [known.setdefault(asgs, len(known)) for asgs in self.asgs]
        holding: dict[str, list[int]] = {}
        for asgs, number in known.items():
            for asg in asgs:
                holding.setdefault(asg, []).append(number)
        return Memberships(np.array(places, dtype=np.int64), len(known), holding)


@dataclass(frozen=True)
class FamilyClasses:
    """The classes of one address family, by ascending address of their first endpoint."""

    family: int
    classes: tuple[EndpointClass, ...]

    @cached_property
    def axis(self) -> Axis:
        return Axis(
            self.family,
            tuple(item.number for item in self.classes),
            tuple(frozenset(item.first.configuration.asgs) for item in self.classes),
            tuple(str(item.first) for item in self.classes),
        )


@dataclass(frozen=True, slots=True)
class Memberships:
    """Sets of ASGs by number: each class's, how many there are, and for an ASG those that hold it."""

    places: NDArray[np.int64]
    count: int
    holding: Mapping[str, list[int]]


def all_endpoints(view: Compiled) -> tuple[Endpoint, ...]:
    """Every IP configuration of the network, in the network's order."""
    return tuple(
        Endpoint(nic, configuration)
        for nic in view.network.nics.values()
        for configuration in nic.ip_configurations
    )


class Atoms:
    """Ranges of addresses, and for any address which of the ranges hold it, as one number.

    The number is the exclusive or of a random number for each range: two addresses that different
    ranges hold have the same one with a probability of 2^-127.
    """

    def __init__(self, family: int, ranges: Iterable[tuple[int, int]]) -> None:
        chance = random.Random(0)
        toggles: dict[int, int] = {}
        for first, last in dict.fromkeys(ranges):
            mark = chance.getrandbits(127)
            toggles[first] = toggles.get(first, 0) ^ mark
            toggles[last + 1] = toggles.get(last + 1, 0) ^ mark
        self.starts = sorted(toggles)
        self.marks, mark = [], 0
        for start in self.starts:
            mark ^= toggles[start]
            self.marks.append(mark)
        self.family = family

    def of(self, number: int) -> int:
        """The number of the set of ranges that hold an address."""
        place = bisect_right(self.starts, number)
        return self.marks[place - 1] if place else 0


class Classifier:
    """Sorts the endpoints of one network into classes."""

    def __init__(self, view: Compiled, endpoints: tuple[Endpoint, ...]) -> None:
        self._view, self._endpoints = view, endpoints

    @cached_property
    def rule_lists(self) -> tuple[AnyRuleList, ...]:
        """Every list of rules that judges an endpoint, in both directions, each once."""
        found: dict[int, AnyRuleList] = {}
        for nic in {(e.nic.subnet, e.nic.nsg): e.nic for e in self._endpoints}.values():
            for direction in Direction:
                for judge in self._view.judges(nic, direction):
                    found[id(judge.rules)] = judge.rules
                admin = self._view.admin_rules(nic.subnet, direction)
                if admin is not None:
                    found[id(admin)] = admin
        return tuple(found.values())

    def classes(self, family: int) -> FamilyClasses:
        """The classes of one address family."""
        whole = Atoms(family, self.ranges(family))
        near = Atoms(family, self._space_ranges(family))
        found: dict[object, list[int]] = {}
        for place, endpoint in enumerate(self._endpoints):
            if endpoint.family != family:
                continue
            nic, number = endpoint.nic, int(endpoint.configuration.address)
            context = self._view.context(nic.subnet).key
            subnet_nsg = self._view.network.subnets[nic.subnet].nsg
            asgs = frozenset(endpoint.configuration.asgs)
            identity = (context, subnet_nsg, nic.nsg, asgs, whole.of(number))
            found.setdefault(identity, []).append(place)
        classes = [self._class(tuple(members), near) for members in found.values()]
        classes.sort(key=lambda item: item.number)
        return FamilyClasses(family, tuple(classes))

    def _class(self, members: tuple[int, ...], near: Atoms) -> EndpointClass:
        first = self._endpoints[members[0]]
        number = int(first.configuration.address)
        context = self._view.context(first.nic.subnet).key
        return EndpointClass(members, first, number, context, near.of(number))

    def ranges(self, family: int) -> Iterator[tuple[int, int]]:
        """Everything that can tell one address from another."""
        seen: set[int] = set()

        def new(ranges: Ranges) -> Iterator[tuple[int, int]]:
            # the same tag or prefix list stands in many rules
            if id(ranges) not in seen:
                seen.add(id(ranges))
                yield from ranges

        for rules in self.rule_lists:
            for rule in rules.rules:
                for side in (rule.source, rule.destination):
                    if not side.any:
                        yield from new(side.addresses.of_family(family))
        yield from self._space_ranges(family)
        yield from self._acl_ranges(family)
        yield from self._gateway_ranges(family)
        for subnet in self._routed_subnets():
            for route in self._view.context(subnet).routes.active():
                if route.prefix.version == family:
                    yield range_of(route.prefix)
        for nic in self.appliances:
            for configuration in nic.ip_configurations:
                if configuration.address.version == family:
                    number = int(configuration.address)
                    yield number, number

    @cached_property
    def choices(self) -> int:
        """Among how many appliances a next hop spreads packets, at most."""
        return max(map(len, self._next_hops), default=1) or 1

    def _acl_ranges(self, family: int) -> Iterator[tuple[int, int]]:
        for service in self._view.network.cloud_services.values():
            for rule in (rule for endpoint in service.endpoints for rule in endpoint.acl):
                if rule.remote_subnet.version == family:
                    yield range_of(rule.remote_subnet)

    def _routed_subnets(self) -> set[str]:
        """Where packets are routed: the endpoints' subnets, and the gateways' for what comes in by them."""
        gateways = map(self._view.gateway_subnet, self._view.network.gateways.values())
        return {endpoint.nic.subnet for endpoint in self._endpoints} | {name for name in gateways if name}

    def _gateway_ranges(self, family: int) -> Iterator[tuple[int, int]]:
        """What lies behind the gateways' connections."""
        for connection in self._view.network.connections.values():
            for prefix in remote_prefixes(self._view.network, connection):
                if prefix.version == family:
                    yield range_of(prefix)

    def _space_ranges(self, family: int) -> Iterator[tuple[int, int]]:
        for vnet in self._view.network.vnets.values():
            spaces = (vnet.address_space, *(peering.remote_address_space for peering in vnet.peerings))
            for prefix in chain.from_iterable(spaces):
                if prefix.version == family:
                    yield range_of(prefix)

    @cached_property
    def appliances(self) -> tuple[NetworkInterface, ...]:
        """The NICs that routes to virtual appliances lead to."""
        return tuple({key(nic.id): nic for nics in self._next_hops for nic in nics}.values())

    @cached_property
    def _next_hops(self) -> tuple[tuple[NetworkInterface, ...], ...]:
        """For each route that can be taken the appliances that it leads to, often none."""
        contexts = {context.key: context for context in map(self._view.context, self._routed_subnets())}
        return tuple(
            self._view.appliances(context.vnet, route)
            for context in contexts.values()
            for route in context.routes.active()
        )
