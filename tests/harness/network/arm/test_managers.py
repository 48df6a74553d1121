"""Security admin rules of Azure Virtual Network Manager: where they apply, in which order."""

from __future__ import annotations

from typing import Any

import pytest

from harness.network.security import SecurityAdminRule
from harness.network.words import AddressSelector, AdminAccess, Direction, PortRange, RuleProtocol
from tests.harness.network.arm.refusals import DELETE, Change, Refusal, add, check_refused, edit
from tests.harness.network.builders import (
    Resource,
    admin_address,
    admin_collection,
    admin_rule,
    manager_id,
    network,
    network_group,
    subnet_id,
    vnet,
    vnet_id,
)

VNETS = [
    vnet("a", "10.1.0.0/16", {"s": "10.1.1.0/24"}),
    vnet("b", ["10.2.0.0/16", "fd00:2::/48"], {"s": "10.2.1.0/24"}),
    vnet("c", "10.3.0.0/16", {"s": "10.3.1.0/24"}),
]
RULE = manager_id("m/securityAdminConfigurations/c/ruleCollections/rc/rules/deny-ssh")


def group_address(name: str) -> Resource:
    return admin_address(manager_id(f"m/networkGroups/{name}"), "NetworkGroup")


def rules(*resources: Resource | list[Resource]) -> dict[str, list[str]]:
    """The names of the rules by name of the virtual network."""
    net = network(VNETS, *resources)
    return {net.vnets[vnet].name: [rule.name for rule in found] for vnet, found in net.admin_rules.items()}


def only(*addresses: Resource, priority: int = 1, access: str = "Deny", **more: Any) -> SecurityAdminRule:
    """The one rule whose sources are ``addresses``, in a network whose group ``g`` is b and a subnet of c."""
    net = network(
        VNETS,
        network_group("g", vnet_id("b"), subnet_id("c/s"), vnet_id("not-captured")),
        admin_collection("rc", "g"),
        admin_rule("r", priority, access, sources=list(addresses), **more),
    )
    ((rule,), _) = net.admin_rules.values()
    return rule


def test_rules_apply_to_the_members_of_the_groups_by_priority() -> None:
    found = rules(
        network_group("one", vnet_id("a")),
        network_group("two", vnet_id("b").upper(), vnet_id("a")),
        admin_collection("rc", "two"),
        admin_collection("other", "one"),
        admin_rule("late", 4096, "Allow"),
        admin_rule("first", 1, "Deny", collection="other"),
        admin_rule("early", 2, "AlwaysAllow"),
    )
    assert found == {"a": ["first", "early", "late"], "b": ["early", "late"]}


def test_a_subnet_counts_as_its_virtual_network_once() -> None:
    assert rules(
        network_group("g", subnet_id("a/s"), vnet_id("a")),
        admin_collection("rc", "g"),
        admin_rule("r", 1, "Deny"),
    ) == {"a": ["r"]}


def test_members_that_were_not_captured_are_left_out() -> None:
    assert (
        rules(network_group("g", vnet_id("far")), admin_collection("rc", "g"), admin_rule("r", 1, "Deny"))
        == {}
    )


def test_all_that_a_rule_says() -> None:
    rule = only(
        admin_address("10.8.0.0/16"),
        access="AlwaysAllow",
        direction="Outbound",
        protocol="Esp",
        destinations=[admin_address("AzureMonitor", "ServiceTag")],
        destinationPortRanges=["443", "8000-8100"],
        sourcePortRanges=["1024-65535"],
    )
    assert (rule.access, rule.direction) == (AdminAccess.ALWAYS_ALLOW, Direction.OUTBOUND)
    assert (rule.protocol, rule.priority) == (RuleProtocol.ESP, 1)
    assert [str(prefix) for prefix in rule.source.prefixes] == ["10.8.0.0/16"]
    assert rule.destination == AddressSelector(tags=("AzureMonitor",))
    assert rule.destination_ports == (PortRange(443, 443), PortRange(8000, 8100))
    assert rule.source_ports == (PortRange(1024, 65535),)


@pytest.mark.parametrize(
    ("word", "protocol"),
    [("Tcp", "TCP"), ("UDP", "UDP"), ("Icmp", "ICMP"), ("Ah", "AH"), ("Esp", "ESP"), ("Any", "ANY")],
)
def test_protocols(word: str, protocol: str) -> None:
    assert only(protocol=word).protocol is RuleProtocol[protocol]


def test_a_network_group_as_an_address_is_the_space_of_its_members() -> None:
    space = only(group_address("g")).source
    assert [str(prefix) for prefix in space.prefixes] == ["10.2.0.0/16", "fd00:2::/48", "10.3.1.0/24"]
    assert not space.any


def test_a_group_without_captured_members_is_no_address_at_all() -> None:
    net = network(
        VNETS,
        network_group("g", vnet_id("a")),
        network_group("empty"),
        admin_collection("rc", "g"),
        admin_rule("r", 1, "Deny", sources=[group_address("empty")]),
    )
    ((rule,),) = net.admin_rules.values()
    assert rule.source == AddressSelector()


def test_an_address_without_its_type() -> None:
    assert only({"addressPrefix": "Internet"}).source.tags == ("Internet",)
    assert str(only({"addressPrefix": "10.0.0.7"}).source.prefixes[0]) == "10.0.0.7/32"


def test_no_address_and_no_port_mean_any() -> None:
    rule = only(sourcePortRanges=[], destinationPortRanges=None)
    assert rule.source.any
    assert rule.source_ports == rule.destination_ports == (PortRange(0, 65535),)


def test_default_rules_and_their_priorities() -> None:
    assert only(kind="Default", flag="AllowVnetInbound", priority=65000).priority == 65000


REFUSED: dict[str, Refusal] = {
    "priority": (edit(RULE, "priority", value=4097), [RULE, "priority", "4097"]),
    "priority-zero": (edit(RULE, "priority", value=0), [RULE, "priority"]),
    "access": (edit(RULE, "access", value="Permit"), [RULE, "access", "Permit"]),
    "address-type": (
        edit(RULE, "sources", 0, "addressPrefixType", value="Country"),
        [RULE, "sources[0].addressPrefixType", "Country"],
    ),
    "prefix-that-is-a-tag": (
        edit(RULE, "sources", 0, value=admin_address("Internet")),
        [RULE, "sources[0].addressPrefix", "Internet"],
    ),
    "tag-that-is-a-prefix": (
        edit(RULE, "sources", 0, value=admin_address("10.0.0.0/8", "ServiceTag")),
        [RULE, "sources[0].addressPrefix", "10.0.0.0/8"],
    ),
    "group-missing": (
        edit(RULE, "sources", 0, value=group_address("x")),
        [RULE, "sources[0].addressPrefix", manager_id("m/networkGroups/x"), "not in the snapshot"],
    ),
    "collection-group-missing": (
        add(admin_collection("other", "x")),
        ["ruleCollections/other", "appliesToGroups[0].networkGroupId", manager_id("m/networkGroups/x")],
    ),
    "rule-of-no-collection": (
        add(admin_rule("r", 5, "Deny", collection="x")),
        ["ruleCollections/x/rules/r", "rule collection", "not in the snapshot"],
    ),
    "member-of-no-group": (
        add(network_group("x", vnet_id("e"))[1]),
        ["networkGroups/x/staticMembers/s0", "network group", "not in the snapshot"],
    ),
    "member-of-nothing": (
        edit(manager_id("m/networkGroups/prod/staticMembers/s0"), "resourceId", value=DELETE),
        ["staticMembers/s0", "resourceId", "missing"],
    ),
    "port": (
        edit(RULE, "destinationPortRanges", value=["22", "http"]),
        [RULE, "destinationPortRanges[1]", "http"],
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(change: Change, words: list[str]) -> None:
    check_refused(change, words)
