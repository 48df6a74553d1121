"""Where routes lead from every subnet to every class of endpoints: direct, through appliances, or nowhere.

Depends on addresses only, never on ports. Sources that are routed alike share one row; a path keeps
what the ports and peerings on it still have to judge.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING

from harness.network.addresses import range_of
from harness.network.model import IPAddress, NetworkInterface, NextHopType, key
from harness.policy.classes import EndpointClass, FamilyClasses
from harness.policy.compiled import Compiled
from harness.policy.decision import EffectiveRoute
from harness.policy.gateways import connection_towards, is_down, turns_around
from harness.policy.peering import forwarded_traffic_refused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

START, GATEWAY = 0, -1
NOWHERE = -1
"""The number of a path that does not arrive."""


@dataclass(frozen=True, slots=True)
class ClosedLeg:
    """A peering without virtual network access on the way. Places: 0 is the start, n the n-th appliance,
    one more the end, -1 a gateway. ``out`` and ``into`` say which side closed it."""

    sender: int
    receiver: int
    out: bool
    into: bool


@dataclass(frozen=True, slots=True)
class Path:
    """What a packet meets between the two ends: appliances (NICs), and peerings that only rules open."""

    appliances: tuple[NetworkInterface, ...] = ()
    closed: tuple[ClosedLeg, ...] = ()


@dataclass(frozen=True, slots=True)
class _Hop:
    """One next hop: into a virtual network, to a NIC, to another gateway's subnet, or nowhere."""

    vnet: str | None = None
    nic: NetworkInterface | None = None
    gateway_subnet: str | None = None


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a packet is, and what it passed."""

    subnet: str
    vnet: str
    place: int
    number: int
    passed: frozenset[str]
    path: Path = field(default_factory=Path)
    gateways: int = 0


class Paths:
    """All paths between the classes of one family.

    ``choice`` is by which of several appliances packets go, where a next hop stands for more than one.
    """

    def __init__(
        self, view: Compiled, classes: FamilyClasses, appliances: frozenset[str], choice: int = 0
    ) -> None:
        self._view, self._classes, self._choice = view, classes, choice
        self._appliances = appliances
        self._numbers = [item.number for item in classes.classes]
        self.paths: list[Path] = []
        self._known: dict[tuple[tuple[str, ...], tuple[ClosedLeg, ...]], int] = {}
        self._hops: list[_Hop] = []
        self._hop_numbers: dict[tuple[str | None, str | None, str | None], int] = {}
        self._by_context: dict[object, NDArray[np.int32]] = {}

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """For each class the row of :attr:`rows` that its packets take."""
        found: dict[object, int] = {}
        return tuple(found.setdefault(self._group(item), len(found)) for item in self._classes.classes)

    def _group(self, item: EndpointClass) -> tuple[object, ...]:
        nic = key(item.first.nic.id)
        return (item.context, item.near, nic if nic in self._appliances else None)

    @cached_property
    def rows(self) -> NDArray[np.int32]:
        """[group, destination class]: the number of the path, or NOWHERE."""
        import numpy as np

        firsts: dict[int, EndpointClass] = {}
        for group, item in zip(self.groups, self._classes.classes, strict=True):
            firsts.setdefault(group, item)
        everywhere = np.arange(len(self._numbers))
        rows = np.full((len(firsts), len(self._numbers)), NOWHERE, dtype=np.int32)
        for group, item in firsts.items():
            nic = item.first.nic
            start = _Position(
                nic.subnet, self._view.vnet_of(nic), START, item.number, frozenset({key(nic.id)})
            )
            self._follow(start, everywhere, rows[group])
        return rows

    @cached_property
    def _vnets(self) -> tuple[dict[str, int], NDArray[np.int32]]:
        import numpy as np

        names: dict[str, int] = {}
        places = [
            names.setdefault(self._view.vnet_of(item.first.nic), len(names)) for item in self._classes.classes
        ]
        return names, np.array(places, dtype=np.int32)

    @cached_property
    def _own(self) -> dict[str, NDArray[np.bool_]]:
        """Of each appliance, which classes are its own addresses."""
        import numpy as np

        return {
            nic: np.array([key(item.first.nic.id) == nic for item in self._classes.classes])
            for nic in self._appliances
        }

    def _follow(self, at: _Position, goals: NDArray[np.int64], row: NDArray[np.int32]) -> None:
        """Writes into ``row`` the paths of the ``goals`` that are reached from ``at``."""
        import numpy as np

        hops = self._hops_of(at.subnet)[goals]
        for number in np.unique(hops).tolist():
            hop, chosen = self._hops[number], goals[hops == number]
            if hop.vnet is not None:
                names, vnets = self._vnets
                arriving = chosen[vnets[chosen] == names.get(hop.vnet, -1)]
                self._end(at, hop.vnet, arriving, row)
            elif hop.nic is not None:
                own = self._own[key(hop.nic.id)][chosen]
                self._end(at, self._view.vnet_of(hop.nic), chosen[own], row)
                self._through(at, hop.nic, chosen[~own], row)
            elif hop.gateway_subnet is not None and at.gateways < len(self._view.network.gateways):
                vnet = self._view.network.subnets[hop.gateway_subnet].vnet
                beyond = _Position(
                    hop.gateway_subnet, vnet, GATEWAY, at.number, at.passed, at.path, at.gateways + 1
                )
                self._follow(beyond, chosen, row)

    def _end(self, at: _Position, vnet: str, goals: NDArray[np.int64], row: NDArray[np.int32]) -> None:
        if not len(goals):
            return
        path = self._cross(at, vnet, len(at.path.appliances) + 1)
        if path is not None:
            row[goals] = self._number(path)

    def _through(
        self, at: _Position, appliance: NetworkInterface, goals: NDArray[np.int64], row: NDArray[np.int32]
    ) -> None:
        name = key(appliance.id)
        if not len(goals) or name in at.passed or not appliance.ip_forwarding:
            return
        vnet, place = self._view.vnet_of(appliance), len(at.path.appliances) + 1
        path = self._cross(at, vnet, place)
        if path is not None:
            path = Path((*path.appliances, appliance), path.closed)
            beyond = _Position(
                appliance.subnet, vnet, place, at.number, at.passed | {name}, path, at.gateways
            )
            self._follow(beyond, goals, row)

    def _cross(self, at: _Position, there: str, receiver: int) -> Path | None:
        address = _address(self._classes.family, at.number)
        return crossed(self._view, at.path, (at.vnet, there), (at.place, receiver), address)

    def _number(self, path: Path) -> int:
        identity = (tuple(key(nic.id) for nic in path.appliances), path.closed)
        found = self._known.get(identity)
        if found is None:
            found = self._known[identity] = len(self.paths)
            self.paths.append(path)
        return found

    def _hops_of(self, subnet: str) -> NDArray[np.int32]:
        """For each class the next hop that packets take from ``subnet``."""
        import numpy as np

        context = self._view.context(subnet)
        found = self._by_context.get(context.key)
        if found is None:
            found = np.full(len(self._numbers), self._hop(_Hop()), dtype=np.int32)
            routes = [r for r in context.routes.active() if r.prefix.version == self._classes.family]
            for route in sorted(routes, key=lambda route: route.prefix.prefixlen):
                first, last = range_of(route.prefix)
                begin, end = bisect_left(self._numbers, first), bisect_right(self._numbers, last)
                for place, stop, hop in self._leads(route, context.vnet, begin, end):
                    found[place:stop] = self._hop(hop)
            if context.routes.undefined:
                for number in self._numbers:
                    # raises where a route to an undefined service tag might decide
                    context.routes.find(self._classes.family, number)
            self._by_context[context.key] = found
        return found

    def _leads(
        self, route: EffectiveRoute, vnet: str, begin: int, end: int
    ) -> Iterator[tuple[int, int, _Hop]]:
        """Where a route leads the classes from ``begin`` to ``end``."""
        if begin == end:
            return
        kind = route.next_hop_type
        if kind is NextHopType.VIRTUAL_NETWORK_GATEWAY:
            for place in range(begin, end):
                yield (
                    place,
                    place + 1,
                    self._gateway(vnet, _address(self._classes.family, self._numbers[place])),
                )
            return
        hop = _Hop()
        if kind is NextHopType.VNET_LOCAL:
            hop = _Hop(vnet=vnet)
        elif kind is NextHopType.VNET_PEERING:
            hop = _Hop(vnet=route.peer)
        elif kind is NextHopType.VIRTUAL_APPLIANCE and route.next_hop_ip is not None:
            hop = _Hop(nic=self._view.appliance(vnet, route, self._choice))
        yield begin, end, hop

    def _gateway(self, vnet: str, address: IPAddress) -> _Hop:
        """By the gateway of ``vnet`` towards another virtual network; what is on premises is no endpoint."""
        connection = connection_towards(self._view.network, vnet, address)
        if connection is not None and is_down(connection):
            return _Hop()
        if connection is None:
            peer = turns_around(self._view.network, vnet, address)
        else:
            peer = self._view.network.gateways.get(connection.peer_gateway or "")
        return _Hop(gateway_subnet=self._view.gateway_subnet(peer)) if peer is not None else _Hop()

    def _hop(self, hop: _Hop) -> int:
        identity = (hop.vnet, key(hop.nic.id) if hop.nic else None, hop.gateway_subnet)
        found = self._hop_numbers.get(identity)
        if found is None:
            found = self._hop_numbers[identity] = len(self._hops)
            self._hops.append(hop)
        return found


def _address(family: int, number: int) -> IPAddress:
    return ip_address(number.to_bytes(4 if family == 4 else 16, "big"))


def crossed(
    view: Compiled, path: Path, vnets: tuple[str, str], places: tuple[int, int], source: IPAddress
) -> Path | None:
    """``path`` with the peering that leads on from one virtual network to the other, of a packet from
    ``source``; ``places`` are those of a :class:`ClosedLeg`. None where the peering lets nothing through."""
    here, there = vnets
    if here == there:
        return path
    mine, theirs = view.peering(here, there), view.peering(there, here)
    refused = forwarded_traffic_refused(view.network, theirs, source)
    # what comes in by a gateway needs no allowForwardedTraffic
    if refused is not None and view.options.forwarded_traffic == "documented" and places[0] != GATEWAY:
        return None
    out = mine is not None and not mine.allow_virtual_network_access
    into = theirs is not None and not theirs.allow_virtual_network_access
    if not (out or into):
        return path
    return Path(path.appliances, (*path.closed, ClosedLeg(*places, out, into)))
