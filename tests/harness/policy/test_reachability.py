"""All pairs at once against one flow at a time: the same verdict for every pair, protocol and port."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.model import Flow, Protocol
from harness.network.model import Network, RuleProtocol
from harness.policy.compiled import Compiled
from harness.policy.decision import Options
from harness.policy.explain import explain
from harness.policy.portset import EVERYTHING, NOTHING, PortSet
from harness.policy.reachability import Reachability, reachability
from tests.harness.network.builders import machine, network, nsg, route, rule, table, vnet
from tests.harness.policy.anything import PORTS, any_network
from tests.harness.policy.edges import balanced, frontend, member, pool, with_balancer
from tests.harness.policy.test_gateways import connected, gateway

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
    with pytest.raises(InputError, match=r"rule 't'.*'Storage'"):
        reachability(public)


def test_a_tag_that_an_earlier_rule_makes_idle_stops_nothing() -> None:
    net = network(
        vnet("v", "20.0.0.0/16", {"s": "20.0.0.0/24"}, nsgs={"s": "n"}),
        nsg("n", rule("all", 100, "Allow"), rule("t", 200, "Deny", source="Storage")),
        machine("one", "v/s", "20.0.0.4"),
        machine("other", "v/s", "20.0.0.5"),
    )
    assert reachability(net).ports(0, 1) == EVERYTHING


def test_an_undefined_tag_of_a_route_stops_what_it_could_decide() -> None:
    net = network(
        vnet("v", "20.0.0.0/16", {"s": "20.0.0.0/24"}, tables={"s": "t"}),
        table("t", route("storage", "Storage", "None")),
        machine("one", "v/s", "20.0.0.4"),
        machine("other", "v/s", "20.0.0.5"),
    )
    with pytest.raises(InputError, match="'Storage'"):
        reachability(net)


def spread(second: dict[str, Any]) -> Network:
    """Two appliances behind one internal load balancer, which a route has as its next hop."""
    to_pool = table("t", route("all", "10.0.2.0/24", "VirtualAppliance", "10.0.1.100"))
    back = table("b", route("all", "10.0.0.0/24", "VirtualAppliance", "10.0.1.100"))
    subnets: dict[str, str | list[str]] = {"web": "10.0.1.0/24", "a": "10.0.0.0/24", "b": "10.0.2.0/24"}
    net = network(
        vnet("v", "10.0.0.0/16", subnets, tables={"a": "t", "b": "b"}),
        to_pool,
        back,
        nsg("shut", rule("no", 100, "Deny", ports="22")),
        machine("nva-1", "v/web", "10.0.1.4", forwarding=True),
        machine("nva-2", "v/web", "10.0.1.5", **second),
        machine("one", "v/a", "10.0.0.4"),
        machine("other", "v/b", "10.0.2.4"),
    )
    return with_balancer(
        net,
        frontends=(frontend("front", private="10.0.1.100"),),
        pools=(pool("pool", member("nva-1"), member("nva-2")),),
        rules=(balanced("ha", (0, 0), RuleProtocol.ANY),),
    )


@pytest.mark.parametrize(
    ("second", "ports"),
    [
        ({"forwarding": True}, EVERYTHING),
        ({"forwarding": False}, NOTHING),
        ({"forwarding": True, "nsg": "shut"}, EVERYTHING - PortSet(((22, 22),), ((22, 22),))),
    ],
)
def test_a_flow_must_pass_by_every_appliance_of_a_next_hop(second: dict[str, Any], ports: PortSet) -> None:
    net = spread(second)
    reach = reachability(net)
    one, other = reach.index_of("10.0.0.4"), reach.index_of("10.0.2.4")
    assert reach.ports(one, other) == ports
    for port in (22, 80):
        said = explain(net, Flow("one", "other", Protocol.TCP, port))
        assert said.allowed is ports.holds(Protocol.TCP, port)


def test_routes_of_a_gateway_subnet_tell_addresses_apart() -> None:
    """The same context for both machines; what comes in by the gateway is dropped for one of them."""
    net = network(
        vnet("one", "10.1.0.0/16", {"s": "10.1.0.0/24", "GatewaySubnet": "10.1.9.0/27"}),
        vnet("two", "10.2.0.0/16", {"s": "10.2.0.0/23", "GatewaySubnet": "10.2.9.0/27"},
             tables={"GatewaySubnet": "t"}),
        table("t", route("hole", "10.2.1.0/24", "None")),
        machine("a", "one/s", "10.1.0.4"),
        machine("b", "two/s", "10.2.0.4"),
        machine("c", "two/s", "10.2.1.4"),
    )  # fmt: skip
    first, second = gateway("g1", "one"), gateway("g2", "two")
    net = connected(connected(net, first, to=second), second, to=first)
    reach = reachability(net)
    a, b, c = (reach.index_of(address) for address in ("10.1.0.4", "10.2.0.4", "10.2.1.4"))
    assert reach.ports(a, b) == EVERYTHING
    assert reach.ports(a, c) == NOTHING
    assert not explain(net, Flow("a", "c", Protocol.TCP, 80)).allowed


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
