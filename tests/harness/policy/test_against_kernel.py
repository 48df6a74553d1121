"""The engine's verdict against real packets: what it predicts is what the lab's fabric does.

Fabric and engine are independent readings of the same documents, so a disagreement is a bug in one of
them. What is seen although it is denied is wrong at once; what is allowed and not seen is asked
again with patience first.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.model import Flow, Protocol
from harness.network.model import Network, key
from harness.policy.compiled import Compiled
from harness.policy.decision import Explanation
from harness.policy.explain import explain, explain_established
from tests.harness.network.builders import nic_id
from tests.harness.policy.anything import FAMILIES, SPACES
from tests.harness.policy.carried_networks import MACHINES, PORTS, carried_network
from tests.harness.policy.kernel import PATIENT, Pool, Probe, pool

pytestmark = pytest.mark.lab

NETWORKS, FLOWS = 220, 100
"""How many networks, and how many flows through each."""

_client_ports = count(20000)
"""One for each network: a port that knows a flow lets it pass whatever the rules have become."""


@pytest.fixture(scope="module")
def machines() -> Iterator[Pool]:
    with pool() as made:
        made.start(carried_network(Random(0), 1))
        yield made


def draw_probes(chance: Random, number: int) -> list[Probe]:
    """No two with the same addresses and ports: machines that share an address cannot be told apart then."""
    found: dict[object, Probe] = {}
    while len(found) < number:
        source, target = chance.sample(MACHINES, 2)
        protocol = chance.choice((Protocol.TCP, Protocol.TCP, Protocol.UDP, Protocol.ICMP))
        if protocol is Protocol.ICMP and "2" in (SPACES[source[0]], SPACES[target[0]]):
            # the kernel answers a ping itself, so of two machines with one address nobody knows which did
            continue
        port = chance.choice(PORTS) if protocol.has_ports else None
        probe = Probe(source, target, protocol, port, chance.choice(FAMILIES))
        found.setdefault((probe.addresses, protocol, port), probe)
    return list(found.values())


def flow_of(net: Network, probe: Probe) -> Flow:
    def end(name: str) -> str:
        nic = net.nics[key(nic_id(f"nic-{name}"))]
        return next(c.id for c in nic.ip_configurations if c.address.version == probe.family)

    return Flow(end(probe.source), end(probe.target), probe.protocol, probe.port, probe.family)


def told(found: Explanation) -> str:
    return "\n".join(f"    {d.way} {d.access} {d.kind} {d.where}: {d.why}" for d in found.decisions)


def compare(machines: Pool, said: dict[Probe, Explanation], seen: set[Probe], client_port: int) -> list[str]:
    """Where the two differ, each with the engine's reasons."""
    missed = [probe for probe, found in said.items() if found.allowed and probe not in seen]
    if missed:
        seen = seen | machines.passing(missed, client_port, PATIENT)
    return [
        f"{probe}: engine says {found.verdict} {found.cause}\n{told(found)}"
        for probe, found in said.items()
        if found.allowed is not (probe in seen)
    ]


def generated(networks: int) -> settings:
    """The same networks in every run; a failure names the number that makes its network."""
    return settings(
        max_examples=networks,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@generated(NETWORKS)
@given(st.integers(0, 1 << 32))
def test_random_networks_and_flows(machines: Pool, seed: int) -> None:
    client_port, chance = next(_client_ports), Random(seed)
    net = carried_network(chance, client_port)
    probes = draw_probes(chance, FLOWS)
    view = Compiled(net)
    said = {probe: explain(view, flow_of(net, probe), source_port=client_port) for probe in probes}
    machines.apply(net)
    wrong = compare(machines, said, machines.passing(probes, client_port), client_port)
    assert not wrong, f"{len(wrong)} of {len(probes)} flows disagree\n" + "\n".join(wrong[:3])


@generated(25)
@given(st.integers(0, 1 << 32))
def test_changes_under_established_flows(machines: Pool, seed: int) -> None:
    client_port, chance = next(_client_ports), Random(seed)
    before, after = carried_network(chance, client_port), carried_network(chance, client_port)
    probes = [probe for probe in draw_probes(chance, FLOWS) if probe.protocol is Protocol.TCP]
    machines.apply(before)
    with machines.established(probes, client_port) as alive:
        open_before = alive()
        machines.apply(after)
        open_after = alive()
    old, new = Compiled(before), Compiled(after)
    wrong = []
    for probe in open_before:
        found = explain_established(old, new, flow_of(after, probe), source_port=client_port)
        if found.allowed is not (probe in open_after):
            wrong.append(f"{probe}: engine says {found.verdict} {found.cause}\n{told(found)}")
    assert not wrong, f"{len(wrong)} of {len(open_before)} flows disagree\n" + "\n".join(wrong[:3])
