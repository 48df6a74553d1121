"""Engine and packets side by side: what is asked of both, and where they need not agree.

What is seen although the engine denies it is wrong at once; what it allows and nobody saw is sent
again with patience first. For tests and for the benchmark that does ten times as much.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, given, settings

from harness.errors import InputError
from harness.model import Cause
from harness.network.model import Network
from harness.policy.decision import DecisionKind, Explanation, Way
from harness.policy.explain import explain, explain_established
from tests.harness.network.builders import Resource
from tests.harness.policy.fabric_pool import PATIENCE, Pool, Sent
from tests.harness.policy.strategies import MACHINES, Shape, resources
from tests.harness.policy.strategies_flows import Case

FLOWS = 100
INSIDE = Shape()
EDGE = Shape(public=0.85)
OPEN = Shape(public=0.85, rules=0.25)
"""Few rules, so that packets come far: through appliances to the internet."""
RUN = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Tally:
    """What was met, so that a comparison of nothing with nothing is noticed.

    ``undecided`` are flows that the engine cannot tell, ``set_aside`` those that differ where no
    agreement is asked for.
    """

    networks: set[int] = field(default_factory=set)
    flows: int = 0
    allowed: int = 0
    undecided: int = 0
    set_aside: int = 0
    causes: Counter[tuple[Way, Cause | None]] = field(default_factory=Counter)

    def add(self, found: Explanation | None) -> None:
        if found is None:
            self.undecided += 1
            return
        self.flows += 1
        self.allowed += found.allowed
        if found.deciding is not None and not found.allowed:
            self.causes[found.deciding.way, found.cause] += 1


def plainest(shape: Shape) -> list[Resource]:
    """The network to wire the machines in: what is in it does not matter."""
    found: list[list[Resource]] = []

    @settings(RUN, max_examples=1, phases=[Phase.generate])
    @given(resources(shape))
    def draw(items: list[Resource]) -> None:
        found.append(items)

    draw()
    return found[0]


def told(found: Explanation) -> str:
    return "\n".join(f"    {d.way} {d.access} {d.kind} {d.where}: {d.why}" for d in found.decisions)


def is_not_followed(found: Explanation) -> bool:
    """The engine does not judge the way of an answer from an appliance that translates at the edge back to
    the sender; the packet must go it."""
    left = [item.nic_id for item in found.decisions if item.kind is DecisionKind.OUTBOUND]
    return found.allowed and any(nic != found.source_nic for nic in left)


def agree(found: Explanation, passed: bool) -> bool:
    """Whether engine and packets say the same, or differ where no agreement is asked for."""
    return found.allowed is passed or is_not_followed(found)


def said(net: Network, sent: Sent) -> Explanation | None:
    """The engine's word; None where it cannot tell with which address a flow comes back from outside."""
    try:
        return explain(net, sent.probe.flow(net), source_port=sent.source_port)
    except InputError:
        if sent.probe.by_public_ip and sent.probe.source in MACHINES:
            return None
        raise


def expected_and_missing(
    sent: Sequence[Sent], found: Mapping[int, Explanation | None], seen: set[int]
) -> list[int]:
    """The numbers of the flows that should pass and were not seen, of those that it is worth waiting for."""
    return [
        number
        for number, item in found.items()
        if item is not None and item.allowed and not agree(item, number in seen)
    ]


def disagreements(machines: Pool, case: Case, tally: Tally) -> list[str]:
    """Where engine and packets differ, each with the engine's reasons."""
    net = case.network()
    machines.apply(net)
    sent = machines.send(net, case.probes)
    found = [said(net, item) for item in sent]
    seen = machines.passing(sent)
    missed = expected_and_missing(sent, dict(enumerate(found)), seen)
    if missed:
        again = machines.send(net, [sent[number].probe for number in missed])
        seen |= {missed[place] for place in machines.passing(again, PATIENCE)}
    tally.networks.add(hash(json.dumps(case.resources)))
    wrong = []
    for number, item in enumerate(found):
        tally.add(item)
        if item is None or item.allowed is (number in seen):
            continue
        if agree(item, number in seen):
            tally.set_aside += 1
        else:
            wrong.append(f"{sent[number]}: engine says {item.verdict} {item.cause}\n{told(item)}")
    return wrong


def failure(wrong: list[str], *networks: list[Resource]) -> str:
    texts = [json.dumps({"resources": items}) for items in networks]
    return f"{len(wrong)} flows disagree\n" + "\n".join([*wrong[:4], *texts])


def established(before: Network, after: Network, sent: Sent) -> Explanation | None:
    """The engine's word on a flow that is known to have come about; None where it could not tell that."""
    if said(before, sent) is None:
        return None
    return explain_established(before, after, sent.probe.flow(before), source_port=sent.source_port)
