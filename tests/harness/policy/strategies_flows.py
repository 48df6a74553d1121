"""Random flows through random networks, for hypothesis: between all ends, at the boundaries of the rules.

Networks are ``strategies``'s business, packets ``fabric_pool``'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from hypothesis import strategies as st
from hypothesis.vendor.pretty import RepresentationPrinter as PrettyPrinter

from harness.model import Flow, Protocol
from harness.network.model import Network
from tests.harness.network.builders import Resource, network
from tests.harness.policy.strategies import CLIENTS, FAMILIES, MACHINES, PARTS, Shape, resources


@dataclass(frozen=True, slots=True)
class Probe:
    """One flow between two of :data:`MACHINES` and :data:`CLIENTS`; ``high``: the range of its source port.

    ``by_public_ip``: to the target's public address, although it is asked from inside.
    """

    source: str
    target: str
    protocol: Protocol
    port: int | None
    family: int
    high: bool
    by_public_ip: bool = False

    @property
    def is_inside(self) -> bool:
        """Whether it has nothing to do with the internet."""
        return not self.by_public_ip and self.source in MACHINES and self.target in MACHINES

    def destination(self, net: Network) -> str:
        """The address that the source asks for."""
        if self.target in CLIENTS:
            return CLIENTS[self.target][self.family]
        item = MACHINES[self.target]
        if self.is_inside or not self._has_public_ip(net):
            return item.private[self.family]
        return item.public[self.family]

    def flow(self, net: Network) -> Flow:
        """The same as the engine is asked for it."""
        source = CLIENTS[self.source][self.family] if self.source in CLIENTS else self.source
        target = self.target if self.target in MACHINES else CLIENTS[self.target][self.family]
        if self.by_public_ip and self._has_public_ip(net):
            target = MACHINES[self.target].public[self.family]
        return Flow(source, target, self.protocol, self.port, self.family)

    def _has_public_ip(self, net: Network) -> bool:
        (vm,) = net.vms_named(self.target)
        configurations = net.nics[vm.nics[0]].ip_configurations
        return any(c.public_ip is not None for c in configurations if c.address.version == self.family)


def boundary_ports(items: Iterable[Resource]) -> tuple[int, ...]:
    """The first and last port of every range of the rules' destination ports, and one beyond either."""
    found = {80}
    for item in items:
        for listed in item["properties"].get("securityRules", ()):
            body = listed["properties"]
            texts = body.get("destinationPortRanges") or [body["destinationPortRange"]]
            for first, _, last in (text.partition("-") for text in texts if text != "*"):
                found |= {int(first) - 1, int(first), int(last or first), int(last or first) + 1}
    return tuple(sorted(found & set(range(1, 65536)), key=lambda port: (port != 80, port)))


def near_pairs(items: Iterable[Resource]) -> tuple[tuple[str, str], ...]:
    """Machines of one virtual network or of two that know each other: where most can go wrong."""
    known = {(name, name) for name in PARTS}
    for item in items:
        for listed in item["properties"].get("virtualNetworkPeerings", ()):
            remote = listed["properties"]["remoteVirtualNetwork"]["id"]
            known.add((item["name"], remote.rpartition("/")[2]))
    return tuple(
        (one.name, other.name)
        for one in MACHINES.values()
        for other in MACHINES.values()
        if one is not other and (one.vnet, other.vnet) in known
    )


def probes(
    shape: Shape, ports: tuple[int, ...], near: tuple[tuple[str, str], ...]
) -> st.SearchStrategy[Probe]:
    """Single flows through a network of that shape.

    Each is one number: a hundred flows of six choices each would leave hypothesis, which counts
    choices, only networks with hardly anything in them.
    """
    pairs = [(one, other) for one in MACHINES for other in MACHINES if one != other]
    inside = [*near * 4, *pairs]
    ends = [(*pair, False) for pair in inside]
    if shape.public:
        inward = [(client, name) for client in CLIENTS for name in MACHINES]
        outside = [
            *((*pair, public) for pair in inward for public in (False, True)),
            *((name, client, False) for client, name in inward),
            *((*pair, True) for pair in pairs),
        ]
        ends += outside * max(1, round(len(ends) * 1.5 / len(outside)))
    protocols = (Protocol.TCP, Protocol.TCP, Protocol.UDP, Protocol.ICMP)
    dimensions = (ends, protocols, ports, FAMILIES, (False, True))

    def decoded(number: int) -> Probe:
        chosen: list[Any] = []
        for values in dimensions:
            number, place = divmod(number, len(values))
            chosen.append(values[place])
        (source, target, public), protocol, port, family, high = chosen
        return Probe(source, target, protocol, port if protocol.has_ports else None, family, high, public)

    return st.integers(0, prod(map(len, dimensions)) - 1).map(decoded)


@dataclass(frozen=True, slots=True)
class Case:
    """A network and flows through it."""

    resources: list[Resource] = field(repr=False)
    probes: list[Probe] = field(repr=False)

    def network(self) -> Network:
        return network(*self.resources)

    def _repr_pretty_(self, printer: PrettyPrinter, cycle: bool) -> None:
        """For hypothesis; the whole of it fills pages, and tests print what matters."""
        printer.text(f"{len(self.resources)} resources, {len(self.probes)} flows")


@st.composite
def cases(draw: st.DrawFn, shape: Shape, flows: int) -> Case:
    """A network with ``flows`` different flows.

    Never fewer: what hypothesis draws depends on the modules that are imported, and it would choose few
    so often that a run of the whole suite compares too little.
    """
    items = draw(resources(shape))
    strategy = probes(shape, boundary_ports(items), near_pairs(items))
    return Case(items, draw(st.lists(strategy, min_size=flows, max_size=flows, unique=True)))
