"""The policy engine against real packets, ten times as much as the tests do: disagreements, flows a second.

The networks and flows are those of ``tests/harness/policy/strategies.py``, drawn anew from a fixed
seed. A flow's time includes its network's: drawing it, compiling and applying its plan, the engine's
answers, and the silence that is waited for.
"""

from __future__ import annotations

import time

from hypothesis import Phase, given, seed, settings

from tests.benchmarks.measurement import Measurement, at_least, at_most
from tests.harness.network.builders import network
from tests.harness.policy.fabric_comparison import (
    EDGE,
    FLOWS,
    INSIDE,
    OPEN,
    RUN,
    Tally,
    disagreements,
    plainest,
)
from tests.harness.policy.fabric_pool import Pool, pool
from tests.harness.policy.strategies import Shape
from tests.harness.policy.strategies_flows import Case, cases

NETWORKS = 2000
"""At least so many different ones, with 100 flows each."""
# hypothesis draws some networks twice, and some with few flows
_DRAWN = {INSIDE: 1400, EDGE: 800, OPEN: 800}
SEED = 2


def run(drawn: dict[Shape, int] | None = None) -> dict[str, Measurement]:
    """Compares all; needs root, for the machines' namespaces. ``drawn``: networks of each shape."""
    tally, wrong = Tally(), list[str]()
    start = time.monotonic()
    with pool() as machines:
        machines.start(network(*plainest(EDGE)))
        for shape, examples in (drawn or _DRAWN).items():
            _compare(machines, shape, examples, tally, wrong)
    seconds = time.monotonic() - start
    for text in wrong[:3]:
        print(text)
    return {
        "networks": at_least("networks", len(tally.networks), NETWORKS, "different"),
        "flows": at_least("flows", tally.flows, NETWORKS * FLOWS, "compared"),
        "disagreements": at_most("disagreements", len(wrong), 0, "flows"),
        "set_aside": Measurement("set_aside", tally.set_aside + tally.undecided, "flows"),
        "flow_rate": Measurement("flow_rate", tally.flows / seconds, "flows/s"),
    }


def _compare(machines: Pool, shape: Shape, examples: int, tally: Tally, wrong: list[str]) -> None:
    @seed(SEED)
    @settings(RUN, derandomize=False, max_examples=examples, phases=[Phase.generate])
    @given(cases(shape, FLOWS))
    def compare(case: Case) -> None:
        wrong.extend(disagreements(machines, case, tally))

    compare()
