"""Which flows open and which close between two networks, over all of them, and what was changed on their way.

Both networks are judged whole (:mod:`harness.policy.joint`). Flows with the same change are reported
together where the same changed objects stand on their way, with one example packet that both networks
explain. What differs as configuration is :mod:`harness.policy.changes`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from harness.errors import AzreachError, UnknownNameError
from harness.model import Flow, Protocol
from harness.network.addresses import Ranges
from harness.network.model import Network, NetworkInterface, key
from harness.network.service_tags import ServiceTags
from harness.policy.changes import ObjectChange, named_ports, object_changes
from harness.policy.classes import Endpoint
from harness.policy.compiled import DOCUMENTED, Compiled
from harness.policy.decision import Explanation, Options
from harness.policy.explain import explain, explain_each
from harness.policy.inbound import Published
from harness.policy.joint import Joint
from harness.policy.places import Place
from harness.policy.portset import PortSet
from harness.policy.reachability import same_machine
from harness.policy.rectangles import End, Rectangle, count_pairs, fewer, with_one_place

_EXPLAINED = 2000
"""Example packets, of openings and of closings, that are explained in both networks, which takes a
millisecond for each or less. Changes beyond, the narrowest, are reported all the same, with an example
that nobody explained."""


_CUTS = 32
"""Different sets of ports of changed rules up to which what opens or closes is told apart by them."""


class Change(StrEnum):
    OPENED = "opened"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One of the two networks on the example packet; ``why`` says it where there is no explanation."""

    allowed: bool
    explanation: Explanation | None
    why: str


@dataclass(frozen=True, slots=True)
class FlowChange:
    """A class of flows: ``ports`` open or close from every source to every target of each of ``pairs``.

    ``ports`` are the target's own, behind whatever publishes it; ``example`` asks at the published address.
    ``objects`` were changed on the example's way. ``count`` is how many ordered pairs of ends it is about,
    the addresses of one :class:`~harness.policy.places.Place` being one end. ``pairs`` is empty where one
    flow was asked about: ``example`` is that flow.
    """

    change: Change
    ports: PortSet
    pairs: tuple[Rectangle, ...]
    count: int
    example: Flow
    before: Verdict
    after: Verdict
    objects: tuple[ObjectChange, ...]

    @property
    def explained(self) -> bool:
        """False beyond the :data:`_EXPLAINED` widest changes, and where neither network can be asked."""
        return self.before.explanation is not None or self.after.explanation is not None


@dataclass(slots=True)
class _Group:
    """Changes that are reported as one: where, with an example and what was changed on its way."""

    change: Change
    ports: PortSet
    example: Flow
    verdicts: tuple[Verdict, Verdict]
    objects: tuple[ObjectChange, ...]
    rectangles: list[Rectangle] = field(default_factory=list)


class Difference:
    """Compares two networks; :meth:`changes` is the whole answer, :meth:`of` that for given flows."""

    def __init__(
        self,
        before: Network,
        after: Network,
        *,
        options: Options = DOCUMENTED,
        service_tags: ServiceTags | None = None,
    ) -> None:
        self._views = (
            Compiled(before, options, service_tags),
            Compiled(after, options, service_tags),
        )
        self.objects = object_changes(before, after)
        self._changed = {key(item.id): item for item in self.objects}
        cuts = named_ports(before, self._changed) | named_ports(after, self._changed)
        self._cuts = sorted(cuts, key=str) if len(cuts) <= _CUTS else ()
        self.unknown: tuple[str, ...] = ()
        """After :meth:`changes`: why of some flows to or from the internet nothing is said."""

    def of(self, flow: Flow) -> FlowChange | None:
        """One flow; None where it passes in both networks or in neither.

        An end that only one of the two has (a machine that is new or gone) passes nothing in the other.
        Raises InputError where a network cannot tell, UnknownNameError for an end that neither has.
        """
        verdicts = []
        for view in self._views:
            try:
                verdicts.append(_told(explain(view, flow)))
            except UnknownNameError as error:
                verdicts.append(Verdict(False, None, error.message))
        before, after = verdicts
        if before.explanation is None and after.explanation is None:
            explain(self._views[1], flow)
        if before.allowed is after.allowed:
            return None
        change = Change.OPENED if after.allowed else Change.CLOSED
        ports = PortSet.of(flow.protocol, ((flow.port or 0, flow.port or 0),))
        return FlowChange(change, ports, (), 1, flow, before, after, self._met(before, after))

    def changes(self) -> list[FlowChange]:
        """Every class of flows that opens or closes, the openings first, the widest first."""
        if not self.objects:
            return []
        joint = Joint(*self._views, self._kind, self._untouched)
        found = [
            (change, ports, region.rectangles, sum(count_pairs(*item) for item in region.rectangles))
            for region in joint.regions()
            for change, ports in ((Change.OPENED, region.opened), (Change.CLOSED, region.closed))
            if ports
        ]
        self.unknown = joint.unknown
        groups: dict[Hashable, _Group] = {}
        left = dict.fromkeys(Change, _EXPLAINED)
        for change, ports, rectangles, count in sorted(found, key=lambda item: -item[3]):
            if not count:
                # only machines with themselves
                continue
            pieces = self._pieces(ports)
            pieces = pieces if len(pieces) <= left[change] else [ports]
            for group in self._examples(change, pieces, rectangles, explained=left[change] > 0):
                identity = (change, group.ports, tuple(item.id for item in group.objects))
                groups.setdefault(identity, group).rectangles += rectangles
            left[change] -= len(pieces)
        reported = [_reported(group, joint.internet) for group in groups.values()]
        return sorted(
            reported,
            key=lambda item: (item.change is Change.CLOSED, not item.explained, -item.count, str(item.ports)),
        )

    # -- what was changed about ends --------------------------------------------------------------

    def _kind(self, before: Endpoint | None, after: Endpoint | None) -> Hashable:
        """Ends of different kinds may owe the same change to different objects."""
        if before is None or after is None:
            return before is None
        return tuple(
            name
            for view, end in zip(self._views, (before, after), strict=True)
            for name in _around(view, end.nic)
            if name in self._owners
        )

    def _untouched(self, before: Endpoint | None, after: Endpoint | None) -> bool:
        """Whether nothing was changed that what an endpoint exchanges with the internet depends on."""
        return self._local and self._kind(before, after) == ()

    @cached_property
    def _owners(self) -> frozenset[str]:
        return frozenset(item.owner for item in self.objects)

    @cached_property
    def _local(self) -> bool:
        """Whether all changes are felt only by the machines that they are at."""
        local: set[str] = set()
        for view in self._views:
            network = view.network
            tables = (network.nics, network.vms, network.nsgs, network.asgs, network.public_ips)
            local |= {name for table in tables for name in table}
            local |= {name for name, item in network.subnets.items() if item.name.lower() != "gatewaysubnet"}
            routers = (nic for nic in network.nics.values() if nic.ip_forwarding)
            passed = {name for nic in routers for name in _around(view, nic)}
            if self._owners & passed:
                return False
        return self._owners <= local

    # -- examples ---------------------------------------------------------------------------------

    def _pieces(self, ports: PortSet) -> list[PortSet]:
        """``ports`` in parts that no changed rule tells apart."""
        pieces = [ports]
        for cut in self._cuts:
            parts = (part for piece in pieces for part in (piece & cut, piece - cut))
            pieces = [part for part in parts if part]
        return pieces

    def _examples(
        self, change: Change, pieces: Sequence[PortSet], rectangles: Sequence[Rectangle], *, explained: bool
    ) -> list[_Group]:
        """One group for all of the ports on whose packets' way the same objects were changed."""
        found: dict[tuple[ObjectChange, ...], _Group] = {}
        source, target = _pair(rectangles)
        for ports in pieces:
            # nobody asks for port 0
            asked = next((part for part in ports if part[2]), None)
            if asked is None:
                continue
            protocol, port = asked[0], max(asked[1], 1) if asked[0].has_ports else None
            flow, verdicts = self._asked(change, source, target, protocol, port, explained=explained)
            objects = self._gone(source, target) or self._met(*verdicts)
            group = found.get(objects)
            if group is None:
                found[objects] = _Group(change, ports, flow, verdicts, objects)
            else:
                group.ports |= ports
        return list(found.values())

    def _asked(
        self,
        change: Change,
        source: End,
        target: End,
        protocol: Protocol,
        port: int | None,
        *,
        explained: bool,
    ) -> tuple[Flow, tuple[Verdict, Verdict]]:
        """The example packet, and what both networks say of it."""
        allowed = (change is Change.CLOSED, change is Change.OPENED)
        name, behind = _name(target), target if isinstance(target, Endpoint) else None
        if isinstance(source, Place) and behind is not None:
            name, port = self._published(1 if allowed[1] else 0, behind, source, protocol, port)
        flow = Flow(_name(source), name, protocol, port)
        if not explained:
            why = "too many changes to explain each; `azreach explain` answers for the example"
            return flow, (Verdict(allowed[0], None, why), Verdict(allowed[1], None, why))
        before, after = (
            _absent(view, source, target) or _verdict(view, flow, behind, allowed=said)
            for view, said in zip(self._views, allowed, strict=True)
        )
        return flow, (before, after)

    def _published(
        self, side: int, target: Endpoint, client: Place, protocol: Protocol, port: int | None
    ) -> tuple[str, int | None]:
        """By which address and port a client asks for a port of an endpoint, in the network that lets it."""
        for way in self._ways[side].get(key(target.configuration.id), ()):
            passes = way.ports is None or PortSet.of(protocol, way.ports).holds(protocol, port)
            if passes and protocol in way.protocols and way.admits(client.address):
                if way.address is not None:
                    return str(way.address), way.front_port(port) if port is not None else None
                break
        return target.configuration.id, port

    @cached_property
    def _ways(self) -> tuple[dict[str, list[Published]], ...]:
        found = []
        for view in self._views:
            ways: dict[str, list[Published]] = defaultdict(list)
            for way in view.publications.all():
                ways[key(way.configuration.id)].append(way)
            found.append(dict(ways))
        return tuple(found)

    def _gone(self, *ends: End) -> tuple[ObjectChange, ...]:
        """What was added or removed as a whole: nothing else on the way counts then."""
        return tuple(
            self._changed[key(end.nic.id)]
            for end in ends
            if isinstance(end, Endpoint)
            and any(key(end.nic.id) not in view.network.nics for view in self._views)
        )

    def _met(self, *verdicts: Verdict) -> tuple[ObjectChange, ...]:
        """The changed objects that the example's way leads past, before or after."""
        names: dict[str, None] = {}
        for view, verdict in zip(self._views, verdicts, strict=True):
            if verdict.explanation is not None:
                names.update(dict.fromkeys(_passed(view, verdict.explanation)))
        return tuple(self._changed[name] for name in names if name in self._changed)


def _reported(group: _Group, internet: Mapping[tuple[int, bool], Ranges]) -> FlowChange:
    pairs = tuple(
        (with_one_place(sources, internet, inward=True), with_one_place(targets, internet, inward=False))
        for sources, targets in fewer(group.rectangles)
    )
    count = sum(count_pairs(*item) for item in pairs)
    return FlowChange(group.change, group.ports, pairs, count, group.example, *group.verdicts, group.objects)


def _around(view: Compiled, nic: NetworkInterface) -> Iterator[str]:
    """The objects (keys) whose change may be felt at a NIC."""
    subnet = view.network.subnets[nic.subnet]
    public = (configuration.public_ip for configuration in nic.ip_configurations)
    yield from (key(nic.id), nic.subnet, subnet.vnet)
    named = (nic.nsg, subnet.nsg, subnet.route_table, subnet.nat_gateway, *public)
    yield from (name for name in named if name)


def _passed(view: Compiled, explanation: Explanation) -> Iterator[str]:
    """Every object (key) that a flow's decisions name, with the subnets and virtual networks of its NICs."""
    for decision in explanation.decisions:
        yield from (key(name) for name in (decision.rule_id, decision.object_id) if name)
        if decision.route is not None and decision.route.id is not None:
            yield key(decision.route.id)
        nic = view.network.nics.get(key(decision.nic_id or ""))
        if nic is not None:
            yield key(nic.id)
            yield from (key(configuration.id) for configuration in nic.ip_configurations)
            yield from (nic.subnet, view.vnet_of(nic))


def _pair(rectangles: Sequence[Rectangle]) -> tuple[End, End]:
    """Two ends that are not the same machine; there are such (the rectangles count more than none)."""
    return next(
        (source, target)
        for sources, targets in rectangles
        for source in sources
        for target in targets
        if isinstance(source, Place) or isinstance(target, Place) or not same_machine(source, target)
    )


def _name(end: End) -> str:
    return end.configuration.id if isinstance(end, Endpoint) else str(end.address)


def _absent(view: Compiled, *ends: End) -> Verdict | None:
    for end in ends:
        if isinstance(end, Endpoint) and key(end.configuration.id) not in view.configurations:
            return Verdict(False, None, f"there is no network interface '{end.nic.name}' with this address")
    return None


def _verdict(view: Compiled, flow: Flow, behind: Endpoint | None, *, allowed: bool) -> Verdict:
    """What a network says of a flow, to ``behind`` where that is one of several behind the target.

    ``allowed`` is what it must say where a flow cannot be asked for (an address that is not known yet).
    """
    try:
        answers = explain_each(view, flow)
    except AzreachError as error:
        return Verdict(allowed, None, error.message)
    if behind is None:
        return _told(answers[0])
    name = key(behind.nic.id)
    mine = [item for item in answers if item.target_nic is None or key(item.target_nic) == name]
    if not mine or (allowed and not mine[0].allowed):
        return Verdict(allowed, None, f"{flow.target} does not lead to '{behind.nic.name}'")
    return _told(mine[0])


def _told(found: Explanation) -> Verdict:
    why = f"{found.deciding.where}: {found.deciding.why}" if found.deciding else ""
    return Verdict(found.allowed, found, why)
