"""The policy engine against real packets, ten times what ``make test`` compares: 2,000 random networks.

Counts disagreements; the rate is that of the whole comparison, not of the engine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random

from harness.policy.compiled import Compiled
from harness.policy.explain import explain
from tests.benchmarks.measurement import Measurement, at_least, at_most
from tests.harness.policy.carried_networks import carried_network
from tests.harness.policy.kernel import pool
from tests.harness.policy.test_against_kernel import compare, draw_probes, flow_of

NETWORKS, FLOWS = 2000, 100
FIRST_PORT = 2000
"""Every network has a source port of its own, so that no port knows its flows from another."""


def run() -> dict[str, Measurement]:
    return {item.name: item for item in _measure()}


def _measure() -> Iterator[Measurement]:
    wrong, allowed, start = 0, 0, time.monotonic()
    with pool() as machines:
        machines.start(carried_network(Random(0), 1))
        for seed in range(NETWORKS):
            client_port, chance = FIRST_PORT + seed, Random(seed)
            network = carried_network(chance, client_port)
            view, probes = Compiled(network), draw_probes(chance, FLOWS)
            said = {
                probe: explain(view, flow_of(network, probe), source_port=client_port) for probe in probes
            }
            machines.apply(network)
            differing = compare(machines, said, machines.passing(probes, client_port), client_port)
            for message in differing:
                print(f"network {seed}: {message}")
            wrong += len(differing)
            allowed += sum(found.allowed for found in said.values())
    yield at_most("disagreeing", wrong, 0, "flows")
    yield at_least("networks", NETWORKS, 2000, "networks")
    yield at_least("flows", NETWORKS * FLOWS, 200_000, "flows")
    yield Measurement("allowed_percent", 100 * allowed / (NETWORKS * FLOWS), "%")
    yield Measurement("rate", NETWORKS * FLOWS / (time.monotonic() - start), "1/s")
