"""The API's published examples and the documents' sample answers, against the engine.

Each file either carries enough state to be decided, or stands in ``NOT_DECIDED`` with its reason. Names
of default rules in any file are checked: they must be spellings that we know.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from harness.model import Flow, Protocol
from harness.network.addresses import AddressSet
from harness.network.model import (
    ANY_PORT,
    AddressSelector,
    AdminAccess,
    Direction,
    Network,
    RuleProtocol,
    SecurityAdminRule,
    key,
)
from harness.network.rules import default_rules
from harness.network.snapshot import network_from_resources
from harness.policy.compiled import compiled
from harness.policy.decision import DecisionKind, PolicyVerdict, Way
from harness.policy.explain import explain
from harness.policy.packet import Packet
from harness.policy.ports import rule_for
from harness.policy.spelling import diagnostic_name, resource_name, same_rule
from harness.policy.tags import INTERNET_SPACE
from tests.harness.network.builders import arm_id, machine, network, nic_id, nsg, rule, vm_id, vnet, vnet_id
from tests.harness.policy.network_watcher import (
    asked_nic,
    recorded_routes,
    recorded_rule,
    route_table,
    rule_line,
)

FOLDER = Path(__file__).parents[4] / "shared" / "azure-examples"
FILES = {path.stem.rpartition("__")[2]: path for path in FOLDER.glob("*.json") if path.stem != "INDEX"}

if not FILES:
    pytest.skip("the examples of Azure's API are not on this machine", allow_module_level=True)

RESOURCE = "a resource as GET returns it: no question, no answer"
NO_VERDICT = "says nothing about a packet"
NO_NETWORK = "an answer without the network that it is about"
NOT_DECIDED = {
    "NetworkInterfaceGet": RESOURCE,
    "LoadBalancerGet": RESOURCE,
    "VirtualNetworkGet": RESOURCE,
    "VirtualNetworkPeeringGet": RESOURCE,
    "NetworkWatcherFlowLogCreate": NO_VERDICT,
    "NetworkWatcherFlowLogStatusQuery": NO_VERDICT,
    "NetworkWatcherTopologyGet": NO_VERDICT,
    "NetworkWatcherConnectivityCheck": NO_NETWORK,
    "NetworkWatcherIpFlowVerify": NO_NETWORK + "; its 'Rule1' is no spelling of the service",
    "NetworkWatcherNetworkConfigurationDiagnostic": NO_NETWORK + ", and of its rules only what matched",
    "NetworkWatcherNextHopGet": NO_NETWORK + "; a user-defined VnetLocal route with an address cannot be",
    "connectivityCheck-responses": NO_NETWORK + ": hops, and of the rule and route that block only a name",
    "ipFlowVerify-responses": "two answers without their questions",
}
"""Files that cannot be decided. What they name is checked all the same, see the last tests."""

DECIDED = {
    "DefaultSecurityRuleList",
    "NetworkSecurityGroupGet",
    "NetworkWatcherSecurityGroupViewGet",
    "NetworkInterfaceEffectiveNSGList",
    "NetworkInterfaceEffectiveRouteTableList",
    "networkConfigurationDiagnostic-with-AVNM",
    "flow-logs",
}


def example(name: str) -> Any:
    return json.loads(FILES[name].read_text())


def body(name: str) -> Any:
    return example(name)["responses"]["200"]["body"]


def test_every_file_is_decided_or_has_a_reason() -> None:
    assert DECIDED | set(NOT_DECIDED) == set(FILES)
    assert not DECIDED & set(NOT_DECIDED)


# -- rules ------------------------------------------------------------------------------------------

DEFAULTS = {(rule.name, *rule_line(rule)) for rule in default_rules("/nsg")}


def resource_rules(rules: list[dict[str, Any]]) -> set[Any]:
    return {recorded_rule(rule["name"], rule["properties"]) for rule in rules}


def test_default_security_rules() -> None:
    assert resource_rules(body("DefaultSecurityRuleList")["value"]) == DEFAULTS


def test_network_security_group() -> None:
    """Loaded, its rules are those that the body lists, and the default ones of it are the six."""
    resource = body("NetworkSecurityGroupGet")
    custom = resource_rules(resource["properties"]["securityRules"])
    assert resource_rules(resource["properties"]["defaultSecurityRules"]) == DEFAULTS
    group = network_from_resources([resource], "example").nsgs[key(resource["id"])]
    assert {(rule.name, *rule_line(rule)) for rule in group.rules} == custom | DEFAULTS


def test_security_group_view() -> None:
    """Abridged: one default rule, and the hidden denial outbound."""
    shown = body("NetworkWatcherSecurityGroupViewGet")["networkInterfaces"][0]["securityRuleAssociations"]
    assert resource_rules(shown["defaultSecurityRules"]) <= DEFAULTS
    (hidden,) = shown["effectiveSecurityRules"]
    (denial,) = (rule for rule in default_rules("/nsg") if same_rule(hidden["name"], rule))
    assert recorded_rule(denial.name, hidden) == (denial.name, *rule_line(denial))


def test_effective_security_rules() -> None:
    """Abridged: the default rule is ours, and the part of Internet that is shown is in our Internet."""
    (group,) = body("NetworkInterfaceEffectiveNSGList")["value"]
    *_, shown = group["effectiveSecurityRules"]
    (allow,) = (rule for rule in default_rules("/nsg") if resource_name(rule) == shown["name"])
    assert recorded_rule(allow.name, shown) == (allow.name, *rule_line(allow))
    prefixes = AddressSet.of(ip_network(text) for text in shown["expandedDestinationAddressPrefix"])
    assert prefixes & INTERNET_SPACE == prefixes


# -- routes -----------------------------------------------------------------------------------------


def test_effective_routes() -> None:
    """The space of the virtual network is that of its own route; it has no other, and no route table."""
    value = body("NetworkInterfaceEffectiveRouteTableList")["value"]
    (space,) = (item["addressPrefix"][0] for item in value if item["nextHopType"] == "VnetLocal")
    net = network(vnet("v", space, {"default": space}), machine("vm", "v/default", "172.20.2.4"))
    assert route_table(net, asked_nic(net, None)) == recorded_routes(value)


# -- whole answers ------------------------------------------------------------------------------------


def test_admin_rules_come_first_and_keep_their_bare_name() -> None:
    """Diagnostics list each NSG's rules up to the match: the subnet's has no custom rule before its
    AllowVnetInBound, the NIC's begins with the one that matches. Their addresses are not shown; here any.
    """
    (result,) = example("networkConfigurationDiagnostic-with-AVNM")["results"]
    evaluated = result["networkSecurityGroupResult"]["evaluatedNetworkSecurityGroups"]
    recorded = [(item["matchedRule"]["ruleName"], item["matchedRule"]["action"]) for item in evaluated]
    source = ip_network(result["profile"]["source"])[1]
    net = network(
        vnet("myVNet", "10.0.0.0/16", {"mySubnet": "10.0.0.0/24", "bastion": "10.0.1.0/26"},
             nsgs={"mySubnet": "mySubnet-nsg"}),
        nsg("mySubnet-nsg"),
        nsg("myVM-nsg", rule("AllowBastionConnections", 100, "Allow")),
        machine("myvm", "myVNet/mySubnet", result["profile"]["destination"], nsg="myVM-nsg"),
        machine("bastion", "myVNet/bastion", str(source)),
    )  # fmt: skip
    net = with_admin_rule(net, recorded[0][0])
    found = explain(net, Flow(vm_id("bastion"), vm_id("myvm"), Protocol.TCP, 22))
    assert result["networkSecurityGroupResult"]["securityRuleAccessResult"] == "Allow"
    assert found.verdict is PolicyVerdict.ALLOW
    asked = [
        decision
        for decision in found.decisions
        if decision.way is Way.FORWARD and decision.asked and decision.nic_id == nic_id("nic-myvm")
    ]
    assert [decision.kind for decision in asked] == [
        DecisionKind.ADMIN_RULE,
        DecisionKind.NSG,
        DecisionKind.NSG,
    ]
    spelled = []
    for decision in asked:
        matched = decision.evaluations()[-1].rule
        spelled.append((diagnostic_name(matched), matched.access.value))
    assert spelled == recorded


def with_admin_rule(net: Network, name: str) -> Network:
    anything = AddressSelector(any=True)
    admin = SecurityAdminRule(
        arm_id("networkManagers", "GlobalRules") + f"/rules/{name}", name, Direction.INBOUND, 1,
        AdminAccess.ALLOW, RuleProtocol.ANY, anything, (ANY_PORT,), anything, (ANY_PORT,),
    )  # fmt: skip
    return replace(net, admin_rules={key(vnet_id("myVNet")): (admin,)})


def logged_flows() -> Iterator[tuple[str, list[str]]]:
    """(rule, tuple as NSG flow logs have it) of both formats."""
    logs = example("flow-logs")
    for record in logs["nsg_flow_log_v2"]["records"]:
        for group in record["properties"]["flows"]:
            for flow in group["flows"]:
                for text in flow["flowTuples"]:
                    yield group["rule"], text.split(",")
    for record in logs["vnet_flow_log_v4"]["records"]:
        for flow in record["flowRecords"]["flows"]:
            for group in flow["flowGroups"]:
                for text in group["flowTuples"]:
                    time, source, target, *ports, protocol, direction, state = text.split(",")[:8]
                    letter = {"6": "T", "17": "U"}[protocol]
                    access = "D" if state == "D" else "A"
                    yield group["rule"], [time, source, target, *ports, letter, direction, access]


FLOWS = list(logged_flows())


@pytest.mark.parametrize(("name", "fields"), [flow for flow in FLOWS if flow[0].startswith("DefaultRule_")])
def test_flows_that_default_rules_decided(name: str, fields: list[str]) -> None:
    """A default rule decides what no custom one matches, so an NSG without custom rules is state enough."""
    _, source, target, source_port, port, protocol, direction, access = fields[:8]
    way = {"I": Direction.INBOUND, "O": Direction.OUTBOUND}[direction]
    local = source if way is Direction.OUTBOUND else target
    space = str(IPv4Network((local, 24), strict=False))
    net = network(vnet("v", space, {"default": space}), nsg("g"), machine("vm", "v/default", local, nsg="g"))
    (judge,) = compiled(net).judges(asked_nic(net, None), way)
    packet = Packet(
        {"T": Protocol.TCP, "U": Protocol.UDP}[protocol],
        ip_address(source), int(source_port), ip_address(target), int(port),
    )  # fmt: skip
    found = rule_for(judge, packet)
    assert (diagnostic_name(found), found.access.value[0]) == (name, access)


def test_flows_of_other_rules_are_named_bare() -> None:
    """An admin rule's, of which no document shows more than the name."""
    others = {name for name, _ in FLOWS if not name.startswith("DefaultRule_")}
    assert others == {"BlockHighRiskTCPPortsFromInternet"}


# -- what cannot be decided ---------------------------------------------------------------------------


def names_in(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from names_in(item)
    elif isinstance(value, dict):
        for field, item in value.items():
            if field in ("rule", "ruleName", "name") and isinstance(item, str):
                yield item
            yield from names_in(item)


@pytest.mark.parametrize("name", FILES)
def test_every_default_rule_is_spelled_as_we_know_it(name: str) -> None:
    for spelled in names_in(example(name)):
        if spelled.startswith(("DefaultRule_", "defaultSecurityRules/")):
            assert len([rule for rule in default_rules("/nsg") if same_rule(spelled, rule)]) == 1, spelled


@pytest.mark.parametrize("name", NOT_DECIDED)
def test_not_decided(name: str) -> None:
    pytest.skip(NOT_DECIDED[name])
