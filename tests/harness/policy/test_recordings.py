"""What the real service answered, against the engine: ``cases.json``, 41 recorded answers.

Decided here: verdicts and rule names of IP flow verify, NSG diagnostics rule by rule, next hops,
effective routes and rules, the peering with access off, the expansion of tags. Each case that
the engine cannot decide stands in ``NOT_DECIDED`` with its reason. Bodies that the recordings refer to
and do not hold are completed as their notes say they were.
"""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from harness.model import Cause, Flow, Protocol
from harness.network.addresses import AddressSet
from harness.network.model import Direction, Network, NextHopType, key
from harness.policy.compiled import compiled
from harness.policy.explain import explain
from harness.policy.spelling import same_next_hop
from tests.harness.policy.network_watcher import (
    asked_nic,
    completed,
    diagnostics,
    effective_rules,
    ip_flow_verify,
    next_hop,
    recorded_routes,
    recorded_rule,
    route_table,
)

CASES_FILE = Path(__file__).parents[4] / "shared" / "azure-recordings" / "cases.json"

if not CASES_FILE.is_file():
    pytest.skip("the recorded answers of the real service are not on this machine", allow_module_level=True)

CASES: dict[str, dict[str, Any]] = {case["id"]: case for case in json.loads(CASES_FILE.read_text())}

NO_NETWORK = "the network that was asked about is not in the recording"
ACTIVE_PROBE = (
    "an active probe of the live service to an address outside; its network is not in the recording"
)
NOT_RUNNING = "the service refuses for a NIC without a running VM; a snapshot knows no power state"
EXCERPT = "a pasted excerpt that stops in the middle, its VNet is not known"
NOT_DECIDED: dict[str, str] = {
    "net-ipflow-2017-03-userdeny": NO_NETWORK,
    "net-connectivity-2017-03-nsg-issue-but-reachable": ACTIVE_PROBE,
    "net-connectivity-2017-03-internet": ACTIVE_PROBE,
    "net-connectivity-2020-04-internet": ACTIVE_PROBE,
    "ps-connectivity-2018-11-http": ACTIVE_PROBE,
    "xplat-effnsg-2017-10-a-detached-error": NOT_RUNNING,
    "xplat-effnsg-2017-10-b-detached-error": NOT_RUNNING,
    "xplat-effroutes-2017-10-a-detached-error": NOT_RUNNING,
    "xplat-effroutes-2017-10-b-detached-error": NOT_RUNNING,
    "cli-nexthop-2022-01-vnetlocal": NO_NETWORK,
    "issue-effnsg-2017-virtualnetwork-is-everything-partial": NO_NETWORK
    + "; that a route 0.0.0.0/0 widens VirtualNetwork to everything is tested in test_security.py",
    "issue-effroutes-2023-a-partial": EXCERPT,
    "issue-effroutes-2023-b-partial": EXCERPT,
}
"""Cases without a counterpart in the engine."""

SPACES = {
    "net": "10.17.3.0/24",
    "ps": "10.17.3.0/24",
    "cli": "10.0.0.0/16",
    "c7n": "10.0.0.0/16",
    "py": "10.0.0.0/16",
    "xplat": "10.0.0.0/8",
    "java": "10.0.0.0/8",
}
"""Address spaces of the recordings' templates, for virtual networks whose bodies were not read."""


def network_of(name: str) -> Network:
    case = CASES[name]
    space = SPACES[name.partition("-")[0]]
    return completed(case["network"], name, space, case["question"]["request"].get("localIPAddress"))


def of(operation: str) -> list[str]:
    return [
        name
        for name, case in CASES.items()
        if case["question"]["op"] == operation and name not in NOT_DECIDED
    ]


@pytest.mark.parametrize("name", of("ipFlowVerify"))
def test_ip_flow_verify(name: str) -> None:
    """Verdict, rule name and rule id; where no NSG judges the service has an error instead of a verdict."""
    answer = CASES[name]["answer"]
    found = ip_flow_verify(network_of(name), CASES[name]["question"]["request"])
    if "error" in answer:
        assert answer["error"]["code"] == "NsgsNotAppliedOnNic"
        assert found is None
        return
    assert found is not None
    # older versions of the API give no id
    assert {field: key(found[field]) for field in answer} == {f: key(text) for f, text in answer.items()}


@pytest.mark.parametrize("name", of("nextHop"))
def test_next_hop(name: str) -> None:
    network, answer = network_of(name), CASES[name]["answer"]
    request = CASES[name]["question"]["request"]
    nic = asked_nic(network, request.get("targetResourceId"))
    hop, address, table = next_hop(network, nic, request)
    if hop == NextHopType.VIRTUAL_APPLIANCE:
        # the service calls a dead appliance None; here the route keeps its type, and denies the flow
        target = request["destinationIPAddress"]
        found = explain(network, Flow(nic.id, target, Protocol.TCP, 80))
        assert found.cause is Cause.APPLIANCE_UNREACHABLE
        hop = NextHopType.NONE
    assert same_next_hop(answer["nextHopType"], NextHopType(hop))
    assert address == answer.get("nextHopIpAddress")
    assert key(table) == key(answer["routeTableId"])


@pytest.mark.parametrize("name", of("networkConfigurationDiagnostic"))
def test_nsg_diagnostics(name: str) -> None:
    """Every NSG in order, every rule up to the match, and what of each rule matched."""
    network = network_of(name)
    nic = asked_nic(network, CASES[name]["question"]["request"]["targetResourceId"])
    for result in CASES[name]["answer"]["results"]:
        query = result.get("profile") or result["trafficQuery"]
        found, recorded = diagnostics(network, nic, query), result["networkSecurityGroupResult"]
        assert found["securityRuleAccessResult"] == recorded["securityRuleAccessResult"]
        for one, other in zip(
            found["evaluatedNetworkSecurityGroups"], recorded["evaluatedNetworkSecurityGroups"], strict=True
        ):
            assert key(one["networkSecurityGroupId"]) == key(other["networkSecurityGroupId"])
            assert one["matchedRule"] == other["matchedRule"]
            assert one["rulesEvaluationResult"] == other["rulesEvaluationResult"]


@pytest.mark.parametrize("name", of("effectiveRouteTable"))
def test_effective_routes(name: str) -> None:
    """Every recorded route is there. The engine may have more None routes: which ones a VNet gets differs."""
    network = network_of(name)
    found = route_table(network, asked_nic(network, None))
    recorded = recorded_routes(CASES[name]["answer"]["value"])
    assert recorded <= found
    assert {hop for _, hop, _, _ in found - recorded} <= {"None"}


@pytest.mark.parametrize("name", of("connectivityCheck"))
def test_peering_with_access_off(name: str) -> None:
    network, request = network_of(name), CASES[name]["question"]["request"]
    source, target = request["source"]["resourceId"], request["destination"]["address"]
    assert CASES[name]["answer"]["connectionStatus"] == "Unreachable"
    assert explain(network, Flow(source, target, Protocol.TCP, 80)).cause is Cause.PEERING_ACCESS_DISABLED


@pytest.mark.parametrize("name", of("effectiveNetworkSecurityGroups"))
def test_effective_groups(name: str) -> None:
    network = network_of(name)
    nic = asked_nic(network, None)
    assert CASES[name]["answer"]["value"] == []
    assert [compiled(network).judges(nic, way) for way in Direction] == [(), ()]


@pytest.mark.parametrize("name", of("securityGroupView"))
def test_security_group_view(name: str) -> None:
    """The effective rules are those that the engine asks: same names, priorities, ports, addresses."""
    network = network_of(name)
    nic = asked_nic(network, CASES[name]["question"]["request"]["targetResourceId"])
    for shown in CASES[name]["answer"]["networkInterfaces"]:
        rules = shown["securityRuleAssociations"]["effectiveSecurityRules"]
        assert {recorded_rule(rule["name"], rule) for rule in rules} == effective_rules(
            compiled(network), nic
        )


@pytest.mark.parametrize("side", ["Source", "Destination"])
def test_expansion_of_tags(side: str) -> None:
    """The one view that still lists what VirtualNetwork, Internet and AzureLoadBalancer stand for."""
    name = "net-sgview-2017-06-udr-widens-virtualnetwork"
    network = network_of(name)
    scope = compiled(network).context(asked_nic(network, None).subnet).scope
    tags = set()
    for shown in CASES[name]["answer"]["networkInterfaces"]:
        for rule in shown["securityRuleAssociations"]["effectiveSecurityRules"]:
            prefixes = rule.get(f"expanded{side}AddressPrefix")
            if prefixes:
                tag = rule[f"{side.lower()}AddressPrefix"]
                tags.add(tag)
                held = scope.addresses(tag)
                assert held is not None
                # the service lists IPv4 alone
                assert held.v4 == AddressSet.of(ip_network(text) for text in prefixes).v4, tag
    assert tags == {"VirtualNetwork", "AzureLoadBalancer" if side == "Source" else "Internet"}


def test_every_case_is_decided_or_has_a_reason() -> None:
    operations = ("ipFlowVerify", "nextHop", "networkConfigurationDiagnostic", "effectiveRouteTable",
                  "connectivityCheck", "effectiveNetworkSecurityGroups", "securityGroupView")  # fmt: skip
    decided = {name for operation in operations for name in of(operation)}
    assert decided | set(NOT_DECIDED) == set(CASES)


@pytest.mark.parametrize("name", NOT_DECIDED)
def test_not_decided(name: str) -> None:
    assert name in CASES
    pytest.skip(NOT_DECIDED[name])
