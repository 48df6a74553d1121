"""What the real service answered, against the engine: ``cases.json``, 41 recorded answers.

Decided here: verdicts and rule names of ipFlowVerify, of NSG diagnostics, next hop types,
effective routes, the peering with access off, the expansion of VirtualNetwork. Each case
that the engine cannot decide stands in ``NOT_DECIDED`` with its reason. Bodies that the
recordings refer to and do not hold are completed as their notes say they were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from harness.model import Cause, Flow, Protocol
from harness.network.armids import parent
from harness.network.model import (
    Access,
    Direction,
    Network,
    NetworkInterface,
    NextHopType,
    RouteSource,
    key,
)
from harness.network.snapshot import network_from_resources
from harness.policy.explain import explain
from harness.policy.packet import Packet
from harness.policy.ports import groups_of, rule_for
from harness.policy.routing import effective_routes, select_route
from harness.policy.tags import tag_scope

CASES_FILE = Path(__file__).parents[4] / "shared" / "azure-recordings" / "cases.json"

if not CASES_FILE.is_file():
    pytest.skip("the recorded answers of the real service are not on this machine", allow_module_level=True)

CASES: dict[str, dict[str, Any]] = {case["id"]: case for case in json.loads(CASES_FILE.read_text())}

NO_NETWORK = "the network that was asked about is not in the recording"
ACTIVE_PROBE = (
    "an active probe of the live service to an address outside; its network is not in the recording"
)
NOT_RUNNING = "the service refuses for a NIC without a running VM; a snapshot knows no power state"
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
    "issue-effroutes-2023-a-partial": "a pasted excerpt that stops in the middle, its VNet is not known",
    "issue-effroutes-2023-b-partial": "a pasted excerpt that stops in the middle, its VNet is not known",
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

ANSWERED = {
    "VirtualNetwork": NextHopType.VNET_LOCAL,
    "Internet": NextHopType.INTERNET,
    "None": NextHopType.NONE,
}


def completed(case: dict[str, Any]) -> Network:
    """The case's network with what its bodies refer to and the recording does not hold."""
    resources = [{**body, "properties": dict(body["properties"])} for body in case["network"]]
    space = SPACES[case["id"].partition("-")[0]]
    group = resources[0]["id"].partition("/providers/")[0] + "/providers/Microsoft.Network"
    known = {key(body["id"]) for body in resources}
    known |= {
        key(child["id"])
        for body in resources
        for child in body["properties"].get("subnets", [])
        if "name" in child
    }
    subnets = [ref for ref in referred(resources, "subnets") if key(ref) not in known]
    any_subnet = next(iter(subnets), None) or next((r for r in known if "/subnets/" in r), None)
    if any_subnet is None:
        any_subnet = f"{group}/virtualNetworks/template-vnet/subnets/default"
        subnets.append(any_subnet)
    by_vnet: dict[str, list[str]] = {}
    for subnet in dict.fromkeys(subnets):
        by_vnet.setdefault(parent(subnet), []).append(subnet)
    for vnet, children in by_vnet.items():
        bodies = [{"id": child, "properties": {"addressPrefix": space}} for child in children]
        resources.append(
            {"id": vnet, "properties": {"addressSpace": {"addressPrefixes": [space]}, "subnets": bodies}}
        )
    nics = [nic for nic in referred(resources, "networkInterfaces") if key(nic) not in known]
    if not nics and not any("/networkinterfaces/" in name for name in known):
        nics = [f"{group}/networkInterfaces/template-nic"]
    for number, nic in enumerate(dict.fromkeys(nics)):
        address = case["question"]["request"].get("localIPAddress") or str(ip_network(space)[4 + number])
        resources.append(
            {
                "id": nic,
                "properties": {
                    "ipConfigurations": [
                        {
                            "name": "ipconfig1",
                            "properties": {"privateIPAddress": address, "subnet": {"id": any_subnet}},
                        }
                    ]
                },
            }
        )
    resources += [
        {"id": ref, "properties": {}}
        for ref in referred(resources, "publicIPAddresses")
        if key(ref) not in known
    ]
    return network_from_resources(resources, case["id"])


def referred(value: Any, kind: str) -> list[str]:
    """Every id of a resource of ``kind`` (the last but one segment) that stands in a reference."""
    if isinstance(value, list):
        return [ref for item in value for ref in referred(item, kind)]
    if not isinstance(value, Mapping):
        return []
    found = [ref for item in value.values() for ref in referred(item, kind)]
    identity = value.get("id")
    if isinstance(identity, str) and identity.lower().split("/")[-2:-1] == [kind.lower()] and len(value) <= 2:
        found.append(identity)
    return found


def asked_nic(network: Network, case: dict[str, Any]) -> NetworkInterface:
    target = key(case["question"]["request"].get("targetResourceId", ""))
    nics = network.vms[target].nics if target in network.vms else tuple(network.nics)
    assert len(nics) == 1
    return network.nics[nics[0]]


def of(operation: str) -> list[str]:
    return [
        name
        for name, case in CASES.items()
        if case["question"]["op"] == operation and name not in NOT_DECIDED
    ]


def decide(
    network: Network, nic: NetworkInterface, direction: Direction, packet: Packet
) -> tuple[Access, str, str]:
    """Verdict, name and id of the rule as IP flow verify has them: the first denial, else the last allow."""
    rules = [
        rule_for(network, nic, group, direction, packet) for _, group in groups_of(network, nic, direction)
    ]
    rule = next((rule for rule in rules if rule.access is Access.DENY), rules[-1])
    return rule.access, f"{'defaultSecurityRules' if rule.default else 'securityRules'}/{rule.name}", rule.id


@pytest.mark.parametrize("name", [n for n in of("ipFlowVerify") if "error" not in CASES[n]["answer"]])
def test_ip_flow_verify(name: str) -> None:
    case = CASES[name]
    network, request = completed(case), case["question"]["request"]
    local = (ip_address(request["localIPAddress"]), port(request["localPort"]))
    remote = (ip_address(request["remoteIPAddress"]), port(request["remotePort"]))
    direction = Direction(request["direction"])
    source, destination = (local, remote) if direction is Direction.OUTBOUND else (remote, local)
    packet = Packet(Protocol(request["protocol"].lower()), *source, *destination)
    access, rule, rule_id = decide(network, asked_nic(network, case), direction, packet)
    assert (access, rule) == (case["answer"]["access"], case["answer"]["ruleName"])
    if case["answer"].get("ruleId"):
        assert key(rule_id) == key(case["answer"]["ruleId"])


def port(text: str) -> int:
    return 49152 if text == "*" else int(text)


@pytest.mark.parametrize("name", [n for n in of("ipFlowVerify") if "error" in CASES[n]["answer"]])
def test_without_any_nsg_the_service_gives_no_verdict(name: str) -> None:
    """NsgsNotAppliedOnNic: nothing judges, which the engine says by asking no group."""
    network = completed(CASES[name])
    assert CASES[name]["answer"]["error"]["code"] == "NsgsNotAppliedOnNic"
    assert groups_of(network, asked_nic(network, CASES[name]), Direction.OUTBOUND) == []


@pytest.mark.parametrize("name", of("nextHop"))
def test_next_hop(name: str) -> None:
    case = CASES[name]
    network, answer = completed(case), case["answer"]
    nic = asked_nic(network, case)
    address = ip_address(case["question"]["request"]["destinationIPAddress"])
    route = select_route(effective_routes(network, nic), address)
    assert route is not None
    if route.next_hop_type is NextHopType.VIRTUAL_APPLIANCE:
        # the service calls a dead appliance None; here the route keeps its type, and denies the flow
        found = explain(network, Flow(str(nic.ip_configurations[0].address), str(address), Protocol.TCP, 80))
        assert found.cause is Cause.APPLIANCE_UNREACHABLE
        assert answer["nextHopType"] == "None"
    else:
        assert route.next_hop_type is ANSWERED[answer["nextHopType"]]
    assert answer.get("nextHopIpAddress") == (str(route.next_hop_ip) if route.next_hop_ip else None)
    if answer["routeTableId"] == "System Route":
        assert route.source is RouteSource.DEFAULT
    else:
        assert key(parent(route.id or "")) == key(answer["routeTableId"])


@pytest.mark.parametrize("name", of("networkConfigurationDiagnostic"))
def test_nsg_diagnostics(name: str) -> None:
    """Each group's matched rule. The query's destination ``*`` is asked as an address outside the VNet,
    since the service matches it with ``*`` but not with VirtualNetwork.
    """
    case = CASES[name]
    network = completed(case)
    nic = asked_nic(network, case)
    for result in case["answer"]["results"]:
        query = result.get("profile") or result["trafficQuery"]
        target = "203.0.113.1" if query["destination"] == "*" else query["destination"]
        packet = Packet(
            Protocol(query["protocol"].lower()),
            ip_address(query["source"]),
            49152,
            ip_address(target),
            int(query["destinationPort"]),
        )
        direction = Direction(query["direction"])
        evaluated = result["networkSecurityGroupResult"]["evaluatedNetworkSecurityGroups"]
        groups = groups_of(network, nic, direction)
        assert [key(group.id) for _, group in groups] == [
            key(item["networkSecurityGroupId"]) for item in evaluated
        ]
        rules = [rule_for(network, nic, group, direction, packet) for _, group in groups]
        spelled = [f"{'DefaultRule' if rule.default else 'UserRule'}_{rule.name}" for rule in rules]
        assert spelled == [item["matchedRule"]["ruleName"] for item in evaluated]
        verdict = Access.DENY if any(rule.access is Access.DENY for rule in rules) else Access.ALLOW
        assert verdict == result["networkSecurityGroupResult"]["securityRuleAccessResult"]


@pytest.mark.parametrize("name", of("effectiveRouteTable"))
def test_effective_routes(name: str) -> None:
    """Every recorded route is there. The engine may have more None routes: which ones a VNet gets differs."""
    case = CASES[name]
    network = completed(case)
    routes = effective_routes(network, asked_nic(network, case))
    found = {(str(r.prefix), r.next_hop_type.value, r.source.value, r.state.value) for r in routes}
    recorded = {
        (item["addressPrefix"][0], item["nextHopType"], item["source"], item["state"])
        for item in case["answer"]["value"]
    }
    assert recorded <= found
    assert {item[1] for item in found - recorded} <= {"None"}


@pytest.mark.parametrize("name", of("connectivityCheck"))
def test_peering_with_access_off(name: str) -> None:
    case = CASES[name]
    network = completed(case)
    request = case["question"]["request"]
    found = explain(
        network, Flow(request["source"]["resourceId"], request["destination"]["address"], Protocol.TCP, 80)
    )
    assert case["answer"]["connectionStatus"] == "Unreachable"
    assert found.cause is Cause.PEERING_ACCESS_DISABLED


@pytest.mark.parametrize("name", of("effectiveNetworkSecurityGroups"))
def test_effective_groups(name: str) -> None:
    case = CASES[name]
    network = completed(case)
    assert case["answer"]["value"] == []
    assert groups_of(network, asked_nic(network, case), Direction.INBOUND) == []


@pytest.mark.parametrize("name", of("securityGroupView"))
def test_security_group_view(name: str) -> None:
    """Rules of both levels are those that the engine asks, and VirtualNetwork holds what it expands to."""
    case = CASES[name]
    network = completed(case)
    nic = asked_nic(network, case)
    for view in case["answer"]["networkInterfaces"]:
        shown = view["securityRuleAssociations"]
        names = {
            rule["name"]
            for level in ("networkInterfaceAssociation", "subnetAssociation")
            for rule in shown.get(level, {}).get("securityRules", [])
        }
        groups = {
            group.id: group for direction in Direction for _, group in groups_of(network, nic, direction)
        }
        assert names <= {rule.name for group in groups.values() for rule in group.rules}
        for rule in shown.get("effectiveSecurityRules", []):
            if rule.get("sourceAddressPrefix") != "VirtualNetwork" or not rule.get(
                "expandedSourceAddressPrefix"
            ):
                continue
            scope = tag_scope(network, nic)
            expanded = {str(prefix) for prefix in scope.virtual_network} | {"168.63.129.16/32"}
            assert expanded == set(rule["expandedSourceAddressPrefix"])


def test_every_case_is_decided_or_has_a_reason() -> None:
    decided = {
        *of("ipFlowVerify"),
        *of("nextHop"),
        *of("networkConfigurationDiagnostic"),
        *of("effectiveRouteTable"),
        *of("connectivityCheck"),
        *of("effectiveNetworkSecurityGroups"),
        *of("securityGroupView"),
    }
    assert decided | set(NOT_DECIDED) == set(CASES)


@pytest.mark.parametrize("name", NOT_DECIDED)
def test_not_decided(name: str) -> None:
    assert name in CASES
    pytest.skip(NOT_DECIDED[name])
