"""What passes between the internet and the network's endpoints, over all public addresses at once.

Inward an endpoint is reached by what publishes it (public IP address, balancer rule, inbound NAT rule,
classic endpoint), at the ports behind; outward by its effective routes and by what translates its
address. As :func:`harness.policy.explain.explain` judges one flow. Places are
:mod:`harness.policy.places`, ways there :mod:`harness.policy.ways_out`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.model import Protocol
from harness.network.model import Direction, IPAddress, NetworkInterface, key
from harness.policy.classes import Axis, Classifier, EndpointClass
from harness.policy.compiled import Compiled
from harness.policy.inbound import Published
from harness.policy.outbound import NoOutbound, outbound_of
from harness.policy.packet import EPHEMERAL_PORT
from harness.policy.places import Place, internet_places
from harness.policy.portmasks import PortMasks
from harness.policy.porttables import PortTables
from harness.policy.reachability import Reachability, carried_over
from harness.policy.ways_out import Found, Unknown, WayOut, WaysOut

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNKNOWN = -1
"""In the place of a set's number: the network does not tell (a service tag that nothing defines)."""


@dataclass(frozen=True, slots=True)
class Outside:
    """For one family: per endpoint (number) the numbers of the sets in ``masks``, one for each place.

    ``inward`` holds published endpoints only; what is absent passes nothing. Outward nothing is said of
    places that are the network's own (0). ``unknown`` says why a number is UNKNOWN, each reason once.
    """

    family: int
    places: tuple[Place, ...]
    masks: PortMasks
    inward: Mapping[int, NDArray[np.int32]]
    outward: Mapping[int, NDArray[np.int32]]
    unknown: tuple[str, ...]


def outside(view: Compiled, reach: Reachability) -> tuple[Outside, ...]:
    """One answer for each family of ``reach``, which must be the reachability of ``view``."""
    classifier = Classifier(view, reach.endpoints)
    return tuple(
        _OneFamily(view, reach, classifier, position).answer() for position in range(len(reach.answers))
    )


class _OneFamily:
    def __init__(self, view: Compiled, reach: Reachability, classifier: Classifier, position: int) -> None:
        answer = reach.answers[position]
        self._view, self._reach, self._masks = view, reach, answer.masks
        self._classes = answer.classes
        family = answer.classes.family
        self._places = internet_places(view, classifier, family)
        axis = Axis(
            family,
            tuple(int(place.address) for place in self._places),
            (frozenset(),) * len(self._places),
            tuple(str(place.address) for place in self._places),
        )
        inside = answer.classes.axis
        self._in = PortTables(view, axis, inside, self._masks, EPHEMERAL_PORT)
        self._out = PortTables(view, inside, axis, self._masks, EPHEMERAL_PORT)
        self._ways = [WaysOut(view, self._places, choice) for choice in range(classifier.choices)]
        self._reasons: dict[str, None] = {}
        self._carried: dict[str, int] = {}

    def answer(self) -> Outside:
        inward, outward = dict(self._inward()), dict(self._outward())
        return Outside(self._classes.family, self._places, self._masks, inward, outward, tuple(self._reasons))

    # -- inward -----------------------------------------------------------------------------------

    def _inward(self) -> Iterator[tuple[int, NDArray[np.int32]]]:
        published: dict[str, list[Published]] = {}
        for way in self._view.publications.all():
            published.setdefault(key(way.configuration.id), []).append(way)
        known: dict[object, NDArray[np.int32]] = {}
        for number, item in enumerate(self._classes.classes):
            for member in item.members:
                ways = published.get(key(self._reach.endpoints[member].configuration.id), ())
                if ways:
                    behind = tuple((way.protocols, way.ports, way.acl, way.sku.lower()) for way in ways)
                    if (number, behind) not in known:
                        known[number, behind] = self._from_all(number, item, ways)
                    yield member, known[number, behind]

    def _from_all(self, number: int, item: EndpointClass, ways: Sequence[Published]) -> NDArray[np.int32]:
        """Behind what publishes an endpoint, what its port lets in and its routes answer directly."""
        table = self._in.of(item.first.nic, Direction.INBOUND)
        judged = bool(self._view.judges(item.first.nic, Direction.INBOUND))
        passing = self._row(lambda: table.from_all(number), lambda place: table.passing(place, number))
        found = self._common(passing, self._published(ways, judged))
        for place, way in enumerate(self._ways[0].of(item)):
            # an answer that leaves through an appliance is not direct, whichever it is
            if not isinstance(way, WayOut) or not way.direct:
                found[place] = self._untold(way) if found[place] else 0
        return found

    def _published(self, ways: Sequence[Published], judged: bool) -> NDArray[np.int32]:
        """For each place the set of ports by which an endpoint is published to it."""
        import numpy as np

        # what is of SKU Standard is closed to the internet until a network security group allows
        open_ways = [way for way in ways if judged or way.sku.lower() == "basic"]
        for_all = self._behind(way for way in open_ways if not way.acl)
        found = np.full(len(self._places), self._masks.number(for_all), dtype=np.int32)
        listed = [way for way in open_ways if way.acl]
        for number, place in enumerate(self._places if listed else ()):
            mask = for_all | self._behind(way for way in listed if way.admits(place.address))
            found[number] = self._masks.number(mask)
        return found

    def _behind(self, ways: Iterator[Published]) -> int:
        mask = 0
        for way in ways:
            if way.ports is None:
                mask |= self._masks.everything
            for protocol in way.protocols if way.ports is not None else ():
                mask |= self._masks.ports(protocol, way.ports)
        return mask

    # -- outward ----------------------------------------------------------------------------------

    def _outward(self) -> Iterator[tuple[int, NDArray[np.int32]]]:
        import numpy as np

        for number, item in enumerate(self._classes.classes):
            # packets are spread over the appliances of a next hop: a flow passes only if it passes by each
            by_choice = [self._by_choice(number, item, ways.of(item)) for ways in self._ways]
            by_own: dict[int, NDArray[np.int32]] = {}
            for member in item.members:
                endpoint = self._reach.endpoints[member]
                mine = self._translated(endpoint.nic, endpoint.configuration.address)
                if mine not in by_own:
                    every = [
                        self._common(passing, np.where(own, np.int32(mine), translated))
                        for passing, own, translated in by_choice
                    ]
                    by_own[mine] = reduce(self._common, every)
                yield member, by_own[mine]

    def _by_choice(
        self, number: int, item: EndpointClass, ways: Sequence[Found]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.int32]]:
        """What leaves the ports, where the sender's own way out carries it, and what an appliance's does."""
        import numpy as np

        translated = np.array([self._translated_on_the_way(way, item) for way in ways], dtype=np.int32)
        own = np.array([isinstance(way, WayOut) and way.direct for way in ways], dtype=np.bool_)
        return self._toward_all(number, item, ways), own, translated

    def _toward_all(self, number: int, item: EndpointClass, ways: Sequence[Found]) -> NDArray[np.int32]:
        """What leaves the ports and peerings up to where the packet is translated."""
        table = self._out.of(item.first.nic, Direction.OUTBOUND)
        found = self._row(lambda: table.toward_all(number), lambda place: table.passing(number, place))
        for place, way in enumerate(ways):
            if self._places[place].own or not found[place]:
                found[place] = 0
            elif not isinstance(way, WayOut):
                found[place] = self._untold(way)
            elif way.path.appliances and found[place] != UNKNOWN:
                found[place] = self._along(way, number, place, int(found[place]))
        return found

    def _along(self, way: WayOut, number: int, place: int, passing: int) -> int:
        """What the appliances and the closed peerings of a way leave of a set."""
        mask = self._masks.mask(passing)
        nics = (self._classes.classes[number].first.nic, *way.path.appliances)
        try:
            for nic in way.path.appliances:
                for direction in (Direction.INBOUND, Direction.OUTBOUND):
                    mask &= self._out.of(nic, direction).passing(number, place)
            for leg in way.path.closed:
                mask &= carried_over(self._out, leg, nics, (number, place), self._view.options)
        except InputError as error:
            return self._untold(Unknown(error.message))
        return self._masks.number(mask)

    # -- what cannot be told ----------------------------------------------------------------------

    def _row(
        self, whole: Callable[[], NDArray[np.int32] | None], one: Callable[[int], int]
    ) -> NDArray[np.int32]:
        """The sets that a port lets pass, for each place; one by one where some of them cannot be told."""
        import numpy as np

        try:
            found = whole()
        except InputError:
            numbers = [self._number(place, one) for place in range(len(self._places))]
            return np.array(numbers, dtype=np.int32)
        return np.ones(len(self._places), dtype=np.int32) if found is None else found.copy()

    def _number(self, place: int, one: Callable[[int], int]) -> int:
        try:
            return self._masks.number(one(place))
        except InputError as error:
            return self._untold(Unknown(error.message))

    def _common(self, one: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.int32]:
        """Elementwise what both hold; what cannot be told stays so where the other holds anything."""
        import numpy as np

        untold = ((one == UNKNOWN) & (other != 0)) | ((other == UNKNOWN) & (one != 0))
        found = self._masks.common(np.maximum(one, 0), np.maximum(other, 0))
        return np.where(untold, UNKNOWN, found).astype(np.int32)

    def _untold(self, way: Found) -> int:
        """The number for a place to which no way is known: whether there is none, or it cannot be told."""
        if not isinstance(way, Unknown):
            return 0
        self._reasons[way.why] = None
        return UNKNOWN

    def _translated_on_the_way(self, way: Found, item: EndpointClass) -> int:
        """The number of the set that an appliance's way out carries; everything where nothing translates."""
        if not isinstance(way, WayOut) or way.translator is None:
            return 1
        return self._translated(way.translator, item.first.configuration.address)

    def _translated(self, nic: NetworkInterface, source: IPAddress) -> int:
        """The number of the set of protocols for which a NIC has a way out; an appliance sends what it
        forwards with its own address."""
        family = [item for item in nic.ip_configurations if item.address.version == self._classes.family]
        configuration = next((item for item in family if item.address == source), family[0])
        name = key(configuration.id)
        found = self._carried.get(name)
        if found is None:
            mask = 0
            for protocol in Protocol:
                if not isinstance(outbound_of(self._view, nic, configuration, protocol), NoOutbound):
                    mask |= self._masks.ports(protocol, None)
            found = self._carried[name] = self._masks.number(mask)
        return found
