"""Sampled flows are where evaluations go wrong: at both ends of a rule's addresses and ports."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from harness.network.addresses import range_of
from harness.network.model import Direction, Network, SecurityRule, key
from harness.network.snapshot import network_from_resources
from harness.policy.classes import all_endpoints
from harness.policy.compiled import Compiled
from tests.benchmarks.flows import FlowSampler, Sample, edges, packets_for
from tests.benchmarks.networks import hub_and_spoke
from tests.harness.network.builders import asg, machine, network, nsg, ref, rule, vnet


def _network(*rules: dict[str, object]) -> Network:
    """Five VMs, 10.0.0.4 to 10.0.0.8, under one NSG."""
    return network(
        vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"}, nsgs={"s": "g"}),
        asg("a"),
        nsg("g", *rules),
        *(machine(f"vm{n}", "v/s", f"10.0.0.{n}", asgs=["a"] if n == 5 else []) for n in range(4, 9)),
    )


def _samples(rules: Network, count: int = 2_000) -> list[Sample]:
    dice, sampler = Random(1), FlowSampler(rules, all_endpoints(Compiled(rules)))
    return [sampler.draw(dice) for _ in range(count)]


def test_edges_are_just_inside_and_just_outside() -> None:
    assert edges(10, 20, 0, 99) == [9, 10, 20, 21]
    assert edges(0, 99, 0, 99) == [0, 99]


def test_the_same_dice_draw_the_same_flows() -> None:
    view = network_from_resources(hub_and_spoke(40, 8, 10, 5), "here")
    assert _samples(view) == _samples(view)


def test_flows_are_at_both_ends_of_a_rule() -> None:
    found = _samples(_network(rule("r", 100, "Deny", protocol="Tcp", source="10.0.0.6/31", ports="80-90")))
    at_the_rule = [sample for sample in found if sample.port in (79, 80, 90, 91)]
    assert {sample.port for sample in at_the_rule} == {79, 80, 90, 91}
    # endpoints 1 to 4 are .5 to .8: one before the prefix, both in it, and one after
    assert {sample.source for sample in at_the_rule} >= {1, 2, 3, 4}


def test_members_of_a_rules_groups_are_asked_about() -> None:
    members = [ref(asg("a")["id"])]
    found = _samples(
        _network(
            rule(
                "r",
                100,
                "Deny",
                protocol="Udp",
                source=[],
                ports="53",
                sourceApplicationSecurityGroups=members,
            )
        )
    )
    sources = [sample.source for sample in found if sample.port == 53]
    # one of the five endpoints is a member
    assert sources.count(1) > 0.4 * len(sources) > 0


@pytest.fixture(scope="module")
def inbound() -> Sequence[SecurityRule]:
    (group,) = _network(
        rule("r", 100, "Deny", protocol="Tcp", source="10.1.0.0/16", ports="80-90")
    ).nsgs.values()
    return tuple(group.ordered(Direction.INBOUND))


def test_packets_are_at_both_ends_of_a_rule(inbound: Sequence[SecurityRule]) -> None:
    view = _network()
    subnet = next(iter(view.subnets.values()))
    packets = packets_for(inbound, Compiled(view).context(key(subnet.id)).scope, 2_000, Random(1))
    first, last = range_of(inbound[0].source.prefixes[0])
    assert {packet.source_number for packet in packets} >= {first - 1, first, last, last + 1}
    assert {packet.destination_port for packet in packets} >= {79, 80, 90, 91}
    assert all((packet.destination_port is None) is not packet.protocol.has_ports for packet in packets)
