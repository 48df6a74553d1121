"""The generated networks have the sizes that the figures name, load, and are neither open nor shut."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from harness.model import Flow, Protocol
from harness.network.model import Direction, Network, NextHopType
from harness.network.snapshot import load_snapshot, network_from_resources
from harness.policy.decision import PolicyVerdict
from harness.policy.explain import explain
from tests.benchmarks.networks import APPLIANCE, hub_and_spoke, small, write_snapshot

PORTS = (22, 80, 443, 1433, 3389, 5432, 8443, 40000)


@pytest.fixture(scope="module")
def network() -> Network:
    return network_from_resources(small(), "small")


def test_the_same_arguments_give_the_same_network() -> None:
    assert hub_and_spoke(40, 8, 10, 5, seed=3) == hub_and_spoke(40, 8, 10, 5, seed=3)
    assert hub_and_spoke(40, 8, 10, 5, seed=3) != hub_and_spoke(40, 8, 10, 5, seed=4)


def test_sizes_are_exact(network: Network) -> None:
    assert (len(network.vms), len(network.nsgs), len(network.vnets)) == (1000, 100, 20)
    custom = Counter(sum(not rule.default for rule in group.rules) for group in network.nsgs.values())
    assert custom == {50: 100}
    assert network.unmodelled == ()


def test_every_nsg_is_used_in_one_to_three_places(network: Network) -> None:
    named = [place.nsg for place in network.subnets.values()] + [nic.nsg for nic in network.nics.values()]
    places = Counter(name for name in named if name is not None)
    assert places.keys() == network.nsgs.keys()
    assert set(places.values()) == {1, 2, 3}


def test_rules_are_of_every_kind(network: Network) -> None:
    rules = [rule for group in network.nsgs.values() for rule in group.rules if not rule.default]
    assert {rule.direction for rule in rules} == set(Direction)
    denying = sum(rule.access == "Deny" for rule in rules) / len(rules)
    assert denying == pytest.approx(0.2, abs=0.03)
    assert {str(rule.protocol) for rule in rules} == {"Tcp", "Udp", "Icmp", "*"}
    sides = [side for rule in rules for side in (rule.source, rule.destination)]
    assert {tag for side in sides for tag in side.tags} == {"VirtualNetwork", "Internet", "AzureLoadBalancer"}
    addresses = {nic.ip_configurations[0].address for nic in network.nics.values()}
    hosts = [p for side in sides for p in side.prefixes if p.prefixlen == 32]
    assert len(hosts) / len(rules) == pytest.approx(0.05, abs=0.02)
    assert {host.network_address for host in hosts} <= addresses
    assert any(len(side.prefixes) > 1 for side in sides)
    assert any(side.asgs for side in sides)


def test_most_spokes_go_by_the_appliance_and_some_are_peered_directly(network: Network) -> None:
    (appliance,) = network.vms_named(APPLIANCE)
    nic = network.nics[appliance.nics[0]]
    assert nic.ip_forwarding
    steered = {place.vnet for place in network.subnets.values() if place.route_table}
    direct = [vnet for name, vnet in network.vnets.items() if name not in steered and len(vnet.peerings) < 19]
    assert len(steered) > len(direct) > 0
    assert any(len(vnet.peerings) > 1 for vnet in direct)
    prefixes = Counter(str(route.prefix) for table in network.route_tables.values() for route in table.routes)
    assert prefixes["10.0.0.0/8"] == len(network.route_tables) > prefixes["0.0.0.0/0"] > 0
    hops = {
        (route.next_hop_type, route.next_hop_ip)
        for table in network.route_tables.values()
        for route in table.routes
    }
    assert hops == {(NextHopType.VIRTUAL_APPLIANCE, nic.ip_configurations[0].address)}


def test_from_a_third_to_two_thirds_of_the_pairs_pass_on_some_port(network: Network) -> None:
    dice = Random(1)
    names = [vm.name for vm in network.vms.values()]
    verdicts: Counter[PolicyVerdict] = Counter()
    passing, pairs = 0, 200
    for _ in range(pairs):
        source, target = dice.sample(names, 2)
        answers = [explain(network, Flow(source, target, Protocol.TCP, port)).verdict for port in PORTS]
        verdicts.update(answers)
        passing += PolicyVerdict.ALLOW in answers
    assert pairs / 3 < passing < pairs * 2 / 3
    assert min(verdicts.values()) > pairs


def test_a_file_of_it_loads(tmp_path: Path) -> None:
    resources = hub_and_spoke(40, 8, 10, 5)
    write_snapshot(tmp_path / "network.json", resources)
    assert load_snapshot(tmp_path / "network.json") == network_from_resources(resources, "here")


def test_associations_are_told_from_both_sides() -> None:
    text = json.dumps(hub_and_spoke(40, 8, 10, 5))
    assert all(f'"{name}": [{{"id"' in text for name in ("subnets", "networkInterfaces", "ipConfigurations"))
    assert '"provisioningState": "Succeeded"' in text


@pytest.mark.parametrize(("vms", "nsgs", "rules", "vnets"), [(9, 1, 1, 1), (9, 1, 1, 257), (3, 99, 1, 2)])
def test_what_does_not_fit_is_refused(vms: int, nsgs: int, rules: int, vnets: int) -> None:
    with pytest.raises(ValueError, match=r"virtual networks|fewer NSGs"):
        hub_and_spoke(vms, nsgs, rules, vnets)
