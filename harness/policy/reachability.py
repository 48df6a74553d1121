"""For every ordered pair of endpoints the exact set of protocols and destination ports that passes.

>>> answer = reachability(network)                           # doctest: +SKIP
>>> answer.ports(answer.index_of("10.1.0.4"), answer.index_of("10.2.0.5"))   # doctest: +SKIP
PortSet(tcp=((443, 443),), ...)

Computed over classes of endpoints that nothing tells apart (:mod:`harness.policy.classes`), and
kept so: ten thousand machines are a hundred million pairs. Forward and return, appliances included, as
:func:`harness.policy.explain.explain` judges one flow; :class:`Reachability` says nothing of why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from harness.errors import UnknownNameError
from harness.network.model import Direction, Network, NetworkInterface, key
from harness.network.service_tags import ServiceTags
from harness.policy.classes import Classifier, Endpoint, FamilyClasses, all_endpoints
from harness.policy.compiled import DOCUMENTED, Compiled, compiled
from harness.policy.decision import Options
from harness.policy.packet import EPHEMERAL_PORT
from harness.policy.paths import GATEWAY, NOWHERE, START, ClosedLeg, Path, Paths
from harness.policy.portmasks import PortMasks
from harness.policy.portset import EVERYTHING, NOTHING, PortSet
from harness.policy.porttables import PortTable, PortTables
from harness.text import plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK = 1 << 21
"""Pairs of classes that are joined at once: what bounds the memory beside the answer itself."""


@dataclass(frozen=True, slots=True)
class FamilyAnswer:
    """One address family: ``numbers[source class, destination class]`` is the set's number in ``masks``."""

    classes: FamilyClasses
    numbers: NDArray[np.int32]
    masks: PortMasks


class Reachability:
    """The answer for one network. Endpoints and classes have numbers; nothing passes between families."""

    def __init__(self, endpoints: tuple[Endpoint, ...], answers: tuple[FamilyAnswer, ...]) -> None:
        self.endpoints, self.answers = endpoints, answers

    @cached_property
    def class_of(self) -> tuple[tuple[int, int], ...]:
        """For each endpoint the position of its family's answer, and its class there."""
        found = [(0, 0)] * len(self.endpoints)
        for position, answer in enumerate(self.answers):
            for number, item in enumerate(answer.classes.classes):
                for member in item.members:
                    found[member] = (position, number)
        return tuple(found)

    def index_of(self, text: str) -> int:
        """The endpoint of an address, an ARM id of a NIC or IP configuration, or a NIC's name.

        Raises UnknownNameError for what no endpoint or several have.
        """
        found = self._names.get(key(text), [])
        if len(found) != 1:
            problem = f"{len(found)} endpoints are" if found else "no endpoint is"
            raise UnknownNameError(
                f"{problem} called '{plain(text)}'",
                hint="give the address or the ARM id of one IP configuration",
            )
        return found[0]

    @cached_property
    def _names(self) -> dict[str, list[int]]:
        names: dict[str, list[int]] = {}
        for place, endpoint in enumerate(self.endpoints):
            configuration = endpoint.configuration
            for name in {str(configuration.address), key(configuration.id)}:
                names.setdefault(name, []).append(place)
            if configuration.primary:
                for name in {key(endpoint.nic.id), endpoint.nic.name.lower()}:
                    names.setdefault(name, []).append(place)
        return names

    def ports(self, source: int, target: int) -> PortSet:
        """What passes from one endpoint to another (numbers); a machine reaches itself whatever rules say."""
        one, other = self.endpoints[source], self.endpoints[target]
        if one.family != other.family:
            return NOTHING
        if same_machine(one, other):
            return EVERYTHING
        (position, row), (_, column) = self.class_of[source], self.class_of[target]
        answer = self.answers[position]
        return answer.masks.portset(int(answer.numbers[row, column]))

    def expand(
        self, sources: Iterable[int] | None = None, targets: Iterable[int] | None = None
    ) -> Iterator[tuple[int, int, PortSet]]:
        """Every pair of the endpoints (numbers; None: all) that pass anything; never one to itself."""
        everything = range(len(self.endpoints))
        goals = list(everything if targets is None else targets)
        for source in everything if sources is None else sources:
            for target in goals:
                if source != target:
                    found = self.ports(source, target)
                    if found:
                        yield source, target, found

    def allowed(
        self,
        sources: NDArray[np.int64],
        targets: NDArray[np.int64],
        protocols: NDArray[np.uint8],
        ports: NDArray[np.int32],
    ) -> NDArray[np.bool_]:
        """Many flows at once: endpoint numbers, positions in ``Protocol``, destination ports."""
        import numpy as np

        position, classes, machines = self._arrays
        found = np.zeros(len(sources), dtype=np.bool_)
        same = (machines[sources] == machines[targets]) & (position[sources] == position[targets])
        for place, answer in enumerate(self.answers):
            mine = (position[sources] == place) & (position[targets] == place)
            if not mine.any():
                continue
            whole = bool(mine.all())
            chosen = slice(None) if whole else np.flatnonzero(mine)
            numbers = answer.numbers[classes[sources[chosen]], classes[targets[chosen]]]
            bits = answer.masks.bits(protocols[chosen], ports[chosen])
            table = self._tables[place]
            found[chosen] = table[numbers, bits >> 3] >> (bits & 7) & 1
        answered: NDArray[np.bool_] = found | same
        return answered

    @cached_property
    def _tables(self) -> tuple[NDArray[np.uint8], ...]:
        return tuple(answer.masks.table() for answer in self.answers)

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.int32]]:
        import numpy as np

        names: dict[str, int] = {}
        machines = [names.setdefault(machine_of(endpoint), len(names)) for endpoint in self.endpoints]
        pairs = self.class_of
        return (
            np.array([position for position, _ in pairs], dtype=np.int8),
            np.array([number for _, number in pairs], dtype=np.int32),
            np.array(machines, dtype=np.int32),
        )


def machine_of(endpoint: Endpoint) -> str:
    """What tells machines apart: the VM, or the NIC that has none."""
    return endpoint.nic.vm or key(endpoint.nic.id)


def same_machine(one: Endpoint, other: Endpoint) -> bool:
    return machine_of(one) == machine_of(other)


def reachability(
    network: Network | Compiled,
    *,
    client_port: int = EPHEMERAL_PORT,
    options: Options = DOCUMENTED,
    service_tags: ServiceTags | None = None,
    also: Iterable[int] = (),
) -> Reachability:
    """All pairs of endpoints of a network. A :class:`Compiled` brings its own options and tags.

    ``also``: further ports at which sets may begin (those of a network that this one is compared with).
    Raises InputError where a rule names a service tag that nothing defines and an endpoint's public
    address may be one of its. A route into a virtual network that is not in the snapshot leads nowhere.
    """
    view = network if isinstance(network, Compiled) else compiled(network, options, service_tags)
    endpoints = all_endpoints(view)
    classifier = Classifier(view, endpoints)
    boundaries = _boundaries(view, classifier).union(also)
    answers = []
    for family in sorted({endpoint.family for endpoint in endpoints}):
        masks = PortMasks(boundaries)
        classes = classifier.classes(family)
        appliances = frozenset(key(nic.id) for nic in classifier.appliances)
        judge = _Family(view, classes, masks, appliances, client_port, classifier.choices)
        answers.append(judge.answer())
    return Reachability(endpoints, tuple(answers))


def port_boundaries(view: Compiled) -> frozenset[int]:
    """Ports at which a rule begins or ends to match, or something is published to the internet."""
    return _boundaries(view, Classifier(view, all_endpoints(view)))


def _boundaries(view: Compiled, classifier: Classifier) -> frozenset[int]:
    rules = (rule for found in classifier.rule_lists for rule in found.rules)
    named = [ranges for rule in rules for ranges in (rule.source_ports, rule.destination_ports)]
    named += [way.ports for way in view.publications.all()]
    return frozenset(edge for ranges in named for first, last in ranges or () for edge in (first, last + 1))


class _Family:
    """Judges the pairs of one address family."""

    def __init__(
        self,
        view: Compiled,
        classes: FamilyClasses,
        masks: PortMasks,
        appliances: frozenset[str],
        client_port: int,
        choices: int,
    ) -> None:
        self._view, self._classes, self._masks = view, classes, masks
        self._tables = PortTables(view, classes.axis, classes.axis, masks, client_port)
        # packets are spread over the appliances of a next hop: a flow passes only if it passes by each
        self._paths = [Paths(view, classes, appliances, choice) for choice in range(choices)]
        self._nics = [item.first.nic for item in classes.classes]

    def answer(self) -> FamilyAnswer:
        import numpy as np

        count = len(self._classes.classes)
        outward, inward = self._outward(), self._inward()
        numbers = np.zeros((count, count), dtype=np.int32)
        groups_of = [np.array(paths.groups) for paths in self._paths]
        step = max(1, _BLOCK // max(count, 1))
        for begin in range(0, count, step):
            end = min(count, begin + step)
            block = self._masks.common(outward.rows(begin, end), inward.rows(begin, end))
            for paths, groups in zip(self._paths, groups_of, strict=True):
                rows = paths.rows
                there = rows[groups[begin:end]]
                back = rows[:, begin:end][groups].T
                block[(there == NOWHERE) | (back == NOWHERE)] = 0
                self._judge_paths(paths.paths, begin, there, back, block)
            numbers[begin:end] = block
        return FamilyAnswer(self._classes, numbers, self._masks)

    def _outward(self) -> _Rows:
        """[source, destination]: what leaves the source's port."""
        found: dict[object, int] = {}
        places: list[int] = []
        rows: list[NDArray[np.int32]] = []
        for number, nic in enumerate(self._nics):
            table = self._tables.of(nic, Direction.OUTBOUND)
            identity = (id(table), table.row(number))
            if identity not in found:
                found[identity] = len(rows)
                rows.append(self._all(table.toward_all(number)))
            places.append(found[identity])
        return _Rows(places, rows, by_source=True)

    def _inward(self) -> _Rows:
        """[source, destination]: what enters the destination's port."""
        found: dict[object, int] = {}
        places: list[int] = []
        rows: list[NDArray[np.int32]] = []
        for number, nic in enumerate(self._nics):
            table = self._tables.of(nic, Direction.INBOUND)
            identity = (id(table), table.column(number))
            if identity not in found:
                found[identity] = len(rows)
                rows.append(self._all(table.from_all(number)))
            places.append(found[identity])
        return _Rows(places, rows, by_source=False)

    def _all(self, numbers: NDArray[np.int32] | None) -> NDArray[np.int32]:
        """Where nothing judges, everything passes."""
        import numpy as np

        return np.ones(len(self._nics), dtype=np.int32) if numbers is None else numbers

    def _judge_paths(
        self,
        paths: Sequence[Path],
        begin: int,
        there: NDArray[np.int32],
        back: NDArray[np.int32],
        block: NDArray[np.int32],
    ) -> None:
        """What appliances and closed peerings on the way leave of the sets in ``block``."""
        import numpy as np

        count = len(paths)
        if not count:
            return
        pairs = np.where(block == 0, -1, there.astype(np.int64) * count + back)
        for pair in np.unique(pairs).tolist():
            if pair < 0:
                continue
            path, way_back = paths[pair // count], paths[pair % count]
            if path == Path() == way_back:
                continue
            rows, columns = np.nonzero(pairs == pair)
            numbers = block[rows, columns]
            for table, reply in self._judges(path, way_back):
                ends = (columns, rows + begin) if reply else (rows + begin, columns)
                passing = table.pairs(*ends)
                if passing is not None:
                    numbers = self._masks.common(numbers, passing)
            if path.closed or way_back.closed:
                for place, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
                    if numbers[place]:
                        mask = self._masks.mask(int(numbers[place]))
                        opened = self._opened(row + begin, column, path, way_back)
                        numbers[place] = self._masks.number(mask & opened)
            block[rows, columns] = numbers

    def _judges(self, path: Path, way_back: Path) -> Iterator[tuple[PortTable, bool]]:
        """The ports between the ends that judge: appliances on the way there, and on the way
        back those that the request did not pass."""
        for nic in path.appliances:
            for direction in (Direction.INBOUND, Direction.OUTBOUND):
                yield self._tables.of(nic, direction), False
        for nic in way_back.appliances:
            if nic not in path.appliances:
                for direction in (Direction.INBOUND, Direction.OUTBOUND):
                    yield self._tables.of(nic, direction, reply=True), True

    def _opened(self, source: int, destination: int, path: Path, way_back: Path) -> int:
        """The mask that rules carry over all peerings without access on the way."""
        opened = self._masks.everything
        for leg in path.closed:
            opened &= self._leg(leg, path, source, destination, reply=False)
        for leg in way_back.closed:
            # where one of the two ports knows the flow, its answer needs no rule
            if any(self._knows(place, way_back, path) for place in (leg.sender, leg.receiver)):
                continue
            opened &= self._leg(leg, way_back, destination, source, reply=True)
        return opened

    def _knows(self, place: int, way_back: Path, path: Path) -> bool:
        """Whether the port at a place of the way back saw the request: both ends', and those it passed."""
        if place == GATEWAY:
            return False
        if place == START or place > len(way_back.appliances):
            return True
        return way_back.appliances[place - 1] in path.appliances

    def _leg(self, leg: ClosedLeg, path: Path, source: int, destination: int, *, reply: bool) -> int:
        nics = (self._nics[source], *path.appliances, self._nics[destination])
        return carried_over(self._tables, leg, nics, (source, destination), self._view.options, reply=reply)


def carried_over(
    tables: PortTables,
    leg: ClosedLeg,
    nics: Sequence[NetworkInterface],
    ends: tuple[int, int],
    options: Options,
    *,
    reply: bool = False,
) -> int:
    """The mask that explicit rules carry over a peering without access; ``nics`` by the places of ``leg``."""
    into = tables.of(nics[leg.receiver], Direction.INBOUND, reply=reply)
    every_in, some_in = into.explicit(*ends, judged=False)
    if options.peering_access == "no-traffic":
        return 0
    every_out, some_out = tables.masks.everything, 0
    if leg.sender != GATEWAY:
        out = tables.of(nics[leg.sender], Direction.OUTBOUND, reply=reply)
        every_out, some_out = out.explicit(*ends, judged=True)
    carried = some_out | some_in
    if leg.out:
        carried &= every_out
    if leg.into:
        carried &= every_in
    return carried


@dataclass(frozen=True, slots=True)
class _Rows:
    """A [source, destination] array of set numbers that keeps equal rows (or columns) once."""

    places: list[int]
    distinct: list[NDArray[np.int32]]
    by_source: bool

    def rows(self, begin: int, end: int) -> NDArray[np.int32]:
        """The block of the sources from ``begin`` to ``end``."""
        import numpy as np

        if self.by_source:
            return np.stack([self.distinct[place] for place in self.places[begin:end]])
        part = np.stack([row[begin:end] for row in self.distinct])
        block: NDArray[np.int32] = part[np.array(self.places)].T
        return block
