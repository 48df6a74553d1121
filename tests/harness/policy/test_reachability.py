"""All pairs at once against one flow at a time: the same verdict for every pair, protocol and port."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.model import Flow, Protocol
from harness.policy.compiled import Compiled
from harness.policy.decision import Options
from harness.policy.explain import explain
from harness.policy.portset import EVERYTHING, NOTHING
from harness.policy.reachability import Reachability, reachability
from tests.harness.network.builders import machine, network, nsg, route, rule, table, vnet
from tests.harness.policy.anything import PORTS, any_network

OPTIONS = (
    Options(),
    Options(peering_access="no-traffic"),
    Options(forwarded_traffic="not-enforced"),
)


def disagreements(view: Compiled, reach: Reachability, chance: Random) -> list[str]:
    """Pairs where the two differ, over every pair of endpoints and a few ports."""
    wrong = []
    for one, source in enumerate(reach.endpoints):
        for other, target in enumerate(reach.endpoints):
            if source.family != target.family:
                assert reach.ports(one, other) == NOTHING
                continue
            passing = reach.ports(one, other)
            asked = [(chance.choice((Protocol.TCP, Protocol.UDP)), chance.choice(PORTS)) for _ in range(2)]
            for protocol, port in (*asked, (chance.choice((Protocol.ICMP, Protocol.ESP, Protocol.AH)), None)):
                flow = Flow(source.configuration.id, target.configuration.id, protocol, port, source.family)
                said = explain(view, flow)
                if said.allowed is not passing.holds(protocol, port):
                    told = [f"{d.way} {d.access} {d.where}: {d.why}" for d in said.decisions]
                    wrong.append("\n".join([f"{flow}: all pairs {passing}", *told]))
    return wrong


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.randoms(use_true_random=False), st.sampled_from(OPTIONS))
def test_any_network(chance: Random, options: Options) -> None:
    view = Compiled(any_network(chance), options)
    try:
        reach = reachability(view)
        wrong = disagreements(view, reach, chance)
    except InputError as error:
        pytest.fail(f"everything is in the network: {error}")
    assert not wrong, wrong[0]


@pytest.mark.parametrize("seed", range(40))
def test_seeded_network(seed: int) -> None:
    chance = Random(seed)
    view = Compiled(any_network(chance), OPTIONS[seed % 3])
    assert not disagreements(view, reachability(view), chance)


@pytest.mark.parametrize("seed", range(3))
def test_many_flows_at_once_are_the_same(seed: int) -> None:
    chance = Random(seed)
    reach = reachability(any_network(chance))
    count = len(reach.endpoints)
    kinds = list(Protocol)
    asked = [(chance.randrange(count), chance.randrange(count), chance.randrange(5), chance.choice(PORTS))
             for _ in range(3000)]  # fmt: skip
    sources, targets, protocols, ports = (np.array(column) for column in zip(*asked, strict=True))
    found = reach.allowed(sources, targets, protocols.astype(np.uint8), ports.astype(np.int32))
    for (source, target, kind, port), allowed in zip(asked, found.tolist(), strict=True):
        protocol = kinds[kind]
        assert allowed is reach.ports(source, target).holds(protocol, port if protocol.has_ports else None)


def two(*groups: object, **more: object) -> Reachability:
    return reachability(
        network(
            vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"}, **more),  # type: ignore[arg-type]
            machine("one", "v/s", "10.0.0.4"),
            machine("other", "v/s", "10.0.0.5"),
            *groups,  # type: ignore[arg-type]
        )
    )


def test_exact_ports() -> None:
    reach = two(
        nsg(
            "n",
            rule("web", 100, "Allow", protocol="Tcp", ports=["80", "443-445"], destination="10.0.0.5"),
            rule("none", 200, "Deny"),
        ),
        nsgs={"s": "n"},
    )
    one, other = reach.index_of("10.0.0.4"), reach.index_of("10.0.0.5")
    assert reach.ports(one, other).tcp == ((80, 80), (443, 445))
    assert not reach.ports(one, other).udp
    assert not reach.ports(one, other).icmp
    assert reach.ports(other, one) == NOTHING
    assert reach.ports(one, one) == EVERYTHING
    assert [(a, b) for a, b, _ in reach.expand()] == [(one, other)]


def test_machines_that_nothing_tells_apart_are_one_class() -> None:
    vms = [machine(f"m{n}", "v/s", f"10.0.0.{n}") for n in range(4, 204)]
    net = network(
        vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"}, nsgs={"s": "n"}),
        nsg("n", rule("one", 100, "Deny", source="10.0.0.9")),
        *vms,
    )
    reach = reachability(net)
    assert sorted(len(item.members) for item in reach.answers[0].classes.classes) == [1, 199]


def test_unknown_tag_stops_only_what_it_could_decide() -> None:
    by_tag = nsg("n", rule("t", 100, "Deny", source="Storage"))
    assert two(by_tag, nsgs={"s": "n"}).ports(0, 1) == EVERYTHING
    public = network(
        vnet("v", "20.0.0.0/16", {"s": "20.0.0.0/24"}, nsgs={"s": "n"}),
        by_tag,
        machine("one", "v/s", "20.0.0.4"),
    )
    with pytest.raises(InputError, match=r"'Storage'.*20\.0\.0\.4"):
        reachability(public)


def test_names() -> None:
    reach = two()
    assert reach.index_of("10.0.0.4") == reach.index_of(reach.endpoints[0].nic.id) == 0
    with pytest.raises(InputError, match="no endpoint"):
        reach.index_of("10.9.9.9")


def test_a_route_that_answers_take_counts() -> None:
    """One-sided None route: the request arrives, its answer does not."""
    net = network(
        vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24", "t": "10.0.1.0/24"}, tables={"t": "r"}),
        table("r", route("no", "10.0.0.0/24", "None")),
        machine("one", "v/s", "10.0.0.4"),
        machine("other", "v/t", "10.0.1.4"),
    )
    assert reachability(net).ports(0, 1) == NOTHING
