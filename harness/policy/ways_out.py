"""Which way packets from a network's endpoints leave to each place of the internet, as routes say.

Depends on addresses only: what ports, peerings and translations on the way still decide is
:mod:`harness.policy.outside`'s business. The set counterpart of a journey's hops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.errors import InputError
from harness.network.model import IPAddress, NetworkInterface, NextHopType, key
from harness.policy.classes import EndpointClass
from harness.policy.compiled import Compiled
from harness.policy.decision import EffectiveRoute
from harness.policy.gateways import connection_towards, is_down
from harness.policy.paths import Path, crossed
from harness.policy.places import Place


@dataclass(frozen=True, slots=True)
class WayOut:
    """``translator`` is the NIC that sends to the internet; None: a service endpoint or a gateway takes the
    packet with its private address."""

    path: Path
    translator: NetworkInterface | None

    @property
    def direct(self) -> bool:
        """Whether the sender's own route leads to the internet."""
        return self.translator is not None and not self.path.appliances


@dataclass(frozen=True, slots=True)
class Unknown:
    """The configuration does not tell where packets go: ``why``."""

    why: str


Found = WayOut | Unknown | None
"""None: the packet does not get out."""


@dataclass(frozen=True, slots=True)
class _At:
    """At which NIC a packet is, and which it passed."""

    nic: NetworkInterface
    passed: tuple[NetworkInterface, ...]
    path: Path = field(default_factory=Path)


class WaysOut:
    """All ways from the classes of one address family to ``places``.

    ``choice`` is by which of several appliances packets go, where a next hop stands for more than one.
    """

    def __init__(self, view: Compiled, places: Sequence[Place], choice: int = 0) -> None:
        self._view, self._places, self._choice = view, places, choice
        self._known: dict[object, list[Found]] = {}
        self._routes: dict[object, list[EffectiveRoute | Unknown | None]] = {}

    def of(self, item: EndpointClass) -> list[Found]:
        """For each place the way of the class's packets."""
        nic = item.first.nic
        # who forwards may be met again on the way, which closes a loop
        identity = (item.context, item.near, key(nic.id) if nic.ip_forwarding else None)
        found = self._known.get(identity)
        if found is None:
            found = self._known[identity] = [None] * len(self._places)
            start = _At(nic, (nic,))
            self._follow(start, item.first.configuration.address, range(len(self._places)), found)
        return found

    def _follow(self, at: _At, source: IPAddress, goals: Sequence[int], found: list[Found]) -> None:
        routes = self._routes_of(at.nic.subnet)
        groups: dict[int, list[int]] = {}
        for goal in goals:
            groups.setdefault(id(routes[goal]), []).append(goal)
        for group in groups.values():
            route = routes[group[0]]
            if isinstance(route, Unknown):
                self._end(route, group, found)
            elif route is not None:
                self._take(route, at, source, group, found)

    def _take(
        self, route: EffectiveRoute, at: _At, source: IPAddress, goals: list[int], found: list[Found]
    ) -> None:
        kind = route.next_hop_type
        if kind is NextHopType.INTERNET:
            self._end(WayOut(at.path, at.nic), goals, found)
        elif kind is NextHopType.SERVICE_ENDPOINT:
            self._end(WayOut(at.path, None), goals, found)
        elif kind is NextHopType.VIRTUAL_NETWORK_GATEWAY:
            self._end(WayOut(at.path, None), list(self._on_premises(at, goals)), found)
        elif kind is NextHopType.VIRTUAL_APPLIANCE:
            beyond = self._appliance(route, at, source)
            if isinstance(beyond, _At):
                self._follow(beyond, source, goals, found)
            else:
                self._end(beyond, goals, found)
        elif kind is NextHopType.VNET_PEERING and route.peer not in self._view.network.vnets:
            self._end(Unknown(f"{route} leads into a virtual network that is not there"), goals, found)

    def _end(self, way: Found, goals: Sequence[int], found: list[Found]) -> None:
        for goal in goals:
            found[goal] = way

    def _appliance(self, route: EffectiveRoute, at: _At, source: IPAddress) -> _At | Unknown | None:
        if route.next_hop_ip is None:
            return Unknown(f"{route} names no address of this family")
        here = self._view.vnet_of(at.nic)
        nic = self._view.appliance(here, route, self._choice)
        if nic is None or not nic.ip_forwarding or any(nic is other for other in at.passed):
            return None
        place = len(at.path.appliances)
        path = crossed(self._view, at.path, (here, self._view.vnet_of(nic)), (place, place + 1), source)
        if path is None:
            return None
        return _At(nic, (*at.passed, nic), Path((*path.appliances, nic), path.closed))

    def _on_premises(self, at: _At, goals: Sequence[int]) -> Iterator[int]:
        """The goals behind a connection of the gateway. None of them is in a virtual network behind it, whose
        space is no part of the internet."""
        network, vnet = self._view.network, self._view.vnet_of(at.nic)
        for goal in goals:
            connection = connection_towards(network, vnet, self._places[goal].address)
            if connection is not None and not is_down(connection):
                yield goal

    def _routes_of(self, subnet: str) -> list[EffectiveRoute | Unknown | None]:
        context = self._view.context(subnet)
        found = self._routes.get(context.key)
        if found is None:
            found = self._routes[context.key] = [self._route(subnet, place) for place in self._places]
        return found

    def _route(self, subnet: str, place: Place) -> EffectiveRoute | Unknown | None:
        try:
            return self._view.context(subnet).routes.find(place.address.version, int(place.address))
        except InputError as error:
            return Unknown(error.message)
