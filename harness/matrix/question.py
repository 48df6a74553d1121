"""What a matrix asks: which machines, which ports, and the flows that follow, grouped by source. Pure.

Not for sending anything (:mod:`harness.matrix.runner`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.environment import Environment, is_address
from harness.errors import InputError, UnknownNameError
from harness.model import Flow, Protocol

MAX_FLOWS = 2_000_000
"""More than this is no matrix but a port scan; it would not fit into memory either."""

_SHAPE = "write ports as 22,80,1433/tcp,53/udp,8000-8010; without a protocol it is tcp"


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a target: a port of a protocol, or an echo request. ``family`` None: IPv4 first."""

    protocol: Protocol
    port: int | None = None
    family: int | None = None

    def __str__(self) -> str:
        name = self.protocol.value if self.port is None else f"{self.port}/{self.protocol}"
        return f"{name} IPv{self.family}" if self.family is not None else name


@dataclass(frozen=True, slots=True)
class Question:
    """The whole matrix: ``rows`` has each source's flows in the order in which they are asked."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    rows: Mapping[str, tuple[Flow, ...]]

    @property
    def count(self) -> int:
        return sum(map(len, self.rows.values()))

    def flows(self) -> Iterator[Flow]:
        """Every flow, by source."""
        for row in self.rows.values():
            yield from row

    def digest(self) -> str:
        """The same for the same set of flows, whatever their order."""
        keys = sorted(
            json.dumps((f.source, f.target, f.protocol.value, f.port, f.family)) for f in self.flows()
        )
        return hashlib.sha256("\n".join(keys).encode("ascii")).hexdigest()[:32]


def parse_ports(text: str) -> tuple[Ask, ...]:
    """``22,1433/tcp,53/udp,8000-8010``; each once, in the order given. Raises InputError."""
    asks: dict[Ask, None] = {}
    for word in text.split(","):
        numbers, slash, protocol = word.strip().partition("/")
        if slash and protocol.lower() not in (Protocol.TCP, Protocol.UDP):
            raise InputError(f"--ports: '{word.strip()}': '{protocol}' is neither tcp nor udp", hint=_SHAPE)
        first, dash, last = numbers.partition("-")
        bounds = (first, last if dash else first)
        if not all(bound.isascii() and bound.isdigit() and len(bound) <= 5 for bound in bounds):
            raise InputError(f"--ports: '{word.strip()}' is no port", hint=_SHAPE)
        low, high = map(int, bounds)
        if not 1 <= low <= high <= 65535:
            raise InputError(
                f"--ports: '{word.strip()}': ports are 1 to 65535, the lower one first", hint=_SHAPE
            )
        kind = Protocol(protocol.lower()) if slash else Protocol.TCP
        asks.update(dict.fromkeys(Ask(kind, number) for number in range(low, high + 1)))
    return tuple(asks)


def build_question(
    environment: Environment,
    *,
    sources: Sequence[str] = (),
    targets: Sequence[str] = (),
    ports: Sequence[Ask] = (),
    icmp: bool = False,
    family: int | None = None,
) -> Question:
    """The flows from every machine that a glob of ``sources`` matches to every one of ``targets``.

    No glob means all machines; a target may be an address. Without ``ports``, each target is asked
    for its services and for whatever declared flows towards it name. Raises InputError where
    nothing is left to ask, UnknownNameError for a glob that matches nothing.
    """
    froms = _machines(environment, sources, "--from")
    tos = _machines(environment, targets, "--to", addresses=True)
    asks = dict.fromkeys(tos, tuple(ports)) if ports else default_asks(environment, tos)
    if icmp:
        asks = {target: tuple(dict.fromkeys((*own, Ask(Protocol.ICMP)))) for target, own in asks.items()}
    if family is not None:
        asks = {
            target: tuple(dict.fromkeys(Ask(ask.protocol, ask.port, family) for ask in own))
            for target, own in asks.items()
        }
    if (most := len(froms) * sum(map(len, asks.values()))) > MAX_FLOWS:
        raise InputError(
            f"{most:,} flows are more than a matrix holds ({MAX_FLOWS:,})",
            hint="narrow --from, --to or --ports",
        )
    rows = {source: tuple(_row(source, tos, asks)) for source in froms}
    question = Question(froms, tos, rows)
    if not question.count:
        raise InputError(
            "there is nothing to ask",
            hint="no target has a service or a declared flow: give --ports or --icmp"
            if any(source != target for source in froms for target in tos)
            else "a machine is not asked for itself: name more of them with --from and --to",
        )
    return question


def default_asks(environment: Environment, targets: Sequence[str]) -> dict[str, tuple[Ask, ...]]:
    """Of each target: its services, then what declared flows towards it name."""
    asks: dict[str, dict[Ask, None]] = {target: {} for target in targets}
    for target in targets:
        if target in environment.machines:
            services = environment.machines[target].services
            asks[target].update(dict.fromkeys(Ask(service.protocol, service.port) for service in services))
    for rule in environment.flows:
        for target in environment.matching(rule.target) or [rule.target]:
            if target in asks:
                asks[target][Ask(rule.protocol, rule.port, rule.family)] = None
    return {target: tuple(own) for target, own in asks.items()}


def chunks(flows: Sequence[Flow], size: int) -> list[tuple[Flow, ...]]:
    """The flows in their order, at most ``size`` together."""
    return [tuple(flows[start : start + size]) for start in range(0, len(flows), size)]


def _machines(
    environment: Environment, patterns: Sequence[str], option: str, *, addresses: bool = False
) -> tuple[str, ...]:
    if not patterns:
        return tuple(environment.machines)
    found: dict[str, None] = {}
    for pattern in patterns:
        names = environment.matching(pattern)
        if not names and addresses and is_address(pattern):
            names = [pattern]
        if not names:
            known = ", ".join(list(environment.machines)[:20])
            raise UnknownNameError(f"{option}: '{pattern}' matches no machine", hint=f"there are: {known}")
        found.update(dict.fromkeys(names))
    return tuple(found)


def _row(source: str, targets: Sequence[str], asks: Mapping[str, Sequence[Ask]]) -> Iterator[Flow]:
    """A source's flows: one of each target, then the next of each, beginning behind the source itself.

    So no target is asked by all sources at once, nor by one source for all its ports at once.
    """
    start = targets.index(source) + 1 if source in targets else 0
    others = [target for target in (*targets[start:], *targets[:start]) if target != source]
    for rank in range(max((len(asks[target]) for target in others), default=0)):
        yield from _of_rank(source, others, asks, rank)


def _of_rank(
    source: str, targets: Iterable[str], asks: Mapping[str, Sequence[Ask]], rank: int
) -> Iterator[Flow]:
    for target in targets:
        if rank < len(asks[target]):
            ask = asks[target][rank]
            yield Flow(source, target, ask.protocol, ask.port, ask.family)
