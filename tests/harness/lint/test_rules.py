"""Each check of rules: a group that has the fault, and the nearest one that has not."""

from __future__ import annotations

from typing import Any

import pytest

from harness.lint.finding import Severity
from harness.network.model import Network
from tests.harness.lint.networks import findings, found, severities
from tests.harness.network.builders import arm_id, asg, machine, network, nsg, ref, rule, vnet


def group(*rules: Any, forwarding: bool = False) -> Network:
    """The rules at subnet 10.0.1.0/24 of 10.0.0.0/16, with a machine in an ASG ``web``."""
    return network(
        vnet("v", "10.0.0.0/16", {"s": "10.0.1.0/24", "t": "10.0.2.0/24"}, nsgs={"s": "n"}),
        nsg("n", *rules),
        asg("web"),
        asg("empty"),
        asg("other"),
        machine("w", "v/s", "10.0.1.4", asgs=["web"], forwarding=forwarding),
        machine("x", "v/t", "10.0.2.4", asgs=["other"]),
    )


def from_asg(name: str, *asg_names: str, priority: int = 200, access: str = "Allow") -> Any:
    ids = [ref(arm_id("applicationSecurityGroups", item)) for item in asg_names]
    return rule(name, priority, access, source="", sourceApplicationSecurityGroups=ids)


def to_asg(name: str, *asg_names: str, priority: int = 200, access: str = "Allow") -> Any:
    ids = [ref(arm_id("applicationSecurityGroups", item)) for item in asg_names]
    return rule(name, priority, access, destination="", destinationApplicationSecurityGroups=ids)


TEN = rule("a", 100, "Allow", source="10.0.0.0/8")
BY_NAME = [
    rule(name, number, "Allow", protocol=name)
    for number, name in enumerate(["Tcp", "Udp", "Icmp", "Esp", "Ah"], 100)
]
INSIDE = rule("b", 200, "Allow", source="10.0.3.0/24")
LOW = rule("low", 100, "Allow", protocol="Tcp", source="10.0.0.0/9", ports="80")
HIGH = rule("high", 110, "Allow", protocol="Tcp", source="10.128.0.0/9", ports="80")


@pytest.mark.parametrize(
    ("rules", "shadowed"),
    [
        # by one rule, and one address more
        ([TEN, rule("b", 200, "Allow", source="10.1.0.0/16")], ["b"]),
        ([TEN, rule("b", 200, "Allow", source="10.0.0.0/7")], []),
        # by two together, and one of them too narrow by a port
        ([LOW, HIGH, rule("b", 200, "Allow", protocol="Tcp", source="10.0.0.0/8", ports="80")], ["b"]),
        ([LOW, HIGH, rule("b", 200, "Allow", protocol="Tcp", source="10.0.0.0/8", ports="80-81")], []),
        # protocols: any without ports covers icmp, any with a port does not
        ([rule("a", 100, "Allow"), rule("b", 200, "Allow", protocol="Icmp")], ["b"]),
        ([rule("a", 100, "Allow", ports="0-65534"), rule("b", 200, "Allow", protocol="Icmp")], []),
        # every protocol by name is what any is
        ([*BY_NAME, rule("b", 200, "Allow")], ["b"]),
        ([*BY_NAME[1:], rule("b", 200, "Allow")], []),
        # IPv6 exists nowhere here, so 0.0.0.0/0 is everything
        ([rule("a", 100, "Allow", source="0.0.0.0/0"), rule("b", 200, "Allow")], ["b"]),
        # tags by their addresses
        ([rule("a", 100, "Allow", source="VirtualNetwork"), INSIDE], ["b"]),
        ([rule("a", 100, "Allow", source="Internet"), INSIDE], []),
        # a tag that nothing defines covers itself only
        ([rule("a", 100, "Allow", source="Storage"), rule("b", 200, "Allow", source="Storage")], ["b"]),
        ([rule("a", 100, "Allow", source="Storage"), rule("b", 200, "Allow", source="Sql")], []),
        # so does an ASG, whose members all are in the virtual network
        ([from_asg("a", "web", priority=100), from_asg("b", "web")], ["b"]),
        ([from_asg("a", "web", priority=100), from_asg("b", "web", "other")], []),
        ([rule("a", 100, "Allow", source="10.0.0.0/16"), from_asg("b", "web")], ["b"]),
        ([rule("a", 100, "Allow", source="10.0.1.0/24"), from_asg("b", "web")], []),
        # directions are apart
        ([rule("a", 100, "Allow"), rule("b", 200, "Allow", "Outbound")], []),
    ],
)  # fmt: skip
def test_shadowed(rules: list[Any], shadowed: list[str]) -> None:
    assert found(group(*rules), "nsg/shadowed-rule") == shadowed
    assert found(group(*rules), "nsg/contradicted-rule") == []


def test_shadowed_names_who_covers() -> None:
    net = group(
        rule("a", 100, "Deny", ports="1"),
        rule("c", 110, "Allow", ports="2"),
        rule("b", 200, "Deny", ports="1"),
    )
    (finding,) = findings(net, "nsg/shadowed-rule")
    assert [item.rpartition("/")[2] for item in finding.related] == ["a"]
    assert finding.fix == ("az network nsg rule delete --resource-group rg --nsg-name n --name b",)


@pytest.mark.parametrize(
    ("rules", "contradicted", "severity"),
    [
        ([rule("a", 100, "Allow", ports="22"), rule("b", 200, "Deny", ports="22")], ["b"], Severity.ERROR),
        ([rule("a", 100, "Deny", ports="22"), rule("b", 200, "Allow", ports="22")], ["b"], Severity.WARNING),
        ([rule("a", 100, "Deny", ports="22"), rule("b", 200, "Allow", ports="22-23")], [], None),
        # part of it denied, the rest allowed before: it still does nothing
        (
            [rule("a", 100, "Deny", ports="22"), rule("b", 110, "Allow", ports="23"),
             rule("c", 200, "Allow", ports="22-23")],
            ["c"],
            Severity.WARNING,
        ),
    ],
)  # fmt: skip
def test_contradicted(rules: list[Any], contradicted: list[str], severity: Severity | None) -> None:
    assert found(group(*rules), "nsg/contradicted-rule") == contradicted
    assert severities(group(*rules), "nsg/contradicted-rule") == ([severity] if severity else [])
    assert found(group(*rules), "nsg/shadowed-rule") == []


def test_a_contradicted_rule_is_moved_before_what_opposes_it() -> None:
    net = group(
        rule("x", 149, "Allow", ports="9"),
        rule("a", 150, "Allow", ports="22"),
        rule("b", 200, "Deny", ports="22"),
    )
    (finding,) = findings(net, "nsg/contradicted-rule")
    assert "--name b --priority 148" in finding.fix[0]


def test_behind_a_deny_all() -> None:
    behind = [rule("b", 200, "Allow", ports="22"), rule("c", 300, "Deny", ports="23")]
    net = group(rule("all", 150, "Deny"), *behind)
    (finding,) = findings(net, "nsg/behind-deny-all")
    assert finding.object_id.endswith("/all")
    assert [item.rpartition("/")[2] for item in finding.related] == ["b", "c"]
    assert found(net, "nsg/shadowed-rule") == found(net, "nsg/contradicted-rule") == []
    assert found(group(rule("most", 150, "Deny", ports="1-65535"), *behind), "nsg/behind-deny-all") == []
    assert found(group(*behind, rule("all", 4096, "Deny")), "nsg/behind-deny-all") == []


def test_moving_a_deny_all_to_the_end_lets_the_others_decide() -> None:
    net = group(rule("all", 150, "Deny"), rule("b", 4096, "Allow", ports="22"))
    (finding,) = findings(net, "nsg/behind-deny-all")
    assert finding.fix == ()
    (finding,) = findings(group(rule("all", 150, "Deny"), rule("b", 200, "Allow")), "nsg/behind-deny-all")
    assert "--name all --priority 4096" in finding.fix[0]


@pytest.mark.parametrize(
    ("rules", "later"),
    [
        ([rule("a", 100, "Deny", source="10.0.3.0/24"), rule("b", 200, "Allow", ports="22")], ["b"]),
        # an exception before its general rule is no accident
        ([rule("a", 100, "Deny", source="10.0.3.0/24", ports="22"), rule("b", 200, "Allow", ports="22")], []),
        ([rule("a", 100, "Allow", source="10.0.3.0/24"), rule("b", 200, "Allow", ports="22")], []),
        ([rule("a", 100, "Deny", source="10.0.3.0/24", ports="23"), rule("b", 200, "Allow", ports="22")], []),
        # what they have in common is decided before both
        (
            [rule("z", 100, "Deny", source="10.0.0.0/8", ports="22"),
             rule("a", 110, "Deny", source="10.0.3.0/24"), rule("b", 200, "Allow", ports="22")],
            [],
        ),
    ],
)  # fmt: skip
def test_crossing(rules: list[Any], later: list[str]) -> None:
    assert found(group(*rules), "nsg/crossing-rules") == later


@pytest.mark.parametrize(
    ("source", "packet"),
    [("VirtualNetwork", "10.0.0.0:49152 -> 10.0.1.4:22"), ("Internet", "203.0.113.9:49152 -> 10.0.1.4:22")],
)
def test_crossing_shows_a_packet_that_there_can_be(source: str, packet: str) -> None:
    denied = rule("a", 100, "Deny", protocol="Tcp", source=source)
    (finding,) = findings(group(denied, rule("b", 200, "Allow", ports="22")), "nsg/crossing-rules")
    assert f"for example tcp {packet};" in finding.reason


@pytest.mark.parametrize(
    ("rules", "empty"),
    [
        ([from_asg("a", "empty")], ["a"]),
        ([to_asg("a", "empty")], ["a"]),
        ([from_asg("a", "empty", "web")], []),
    ],
)
def test_empty_asg(rules: list[Any], empty: list[str]) -> None:
    assert found(group(*rules), "nsg/empty-asg") == empty
    assert found(group(*rules), "nsg/foreign-addresses") == []


@pytest.mark.parametrize(
    ("item", "foreign"),
    [
        (rule("a", 100, "Allow", destination="10.0.2.0/24"), True),
        (rule("a", 100, "Allow", destination=["10.0.2.0/24", "10.0.1.9/32"]), False),
        (rule("a", 100, "Allow", destination="VirtualNetwork"), False),
        (rule("a", 100, "Allow", destination="Internet"), True),
        (rule("a", 100, "Allow", destination="Storage"), False),
        (rule("a", 100, "Allow", source="10.0.2.0/24"), False),
        (rule("a", 100, "Allow", "Outbound", source="10.0.2.0/24"), True),
        (rule("a", 100, "Allow", "Outbound", destination="10.0.2.0/24"), False),
        (rule("a", 100, "Allow", source="fd00::/8"), True),
        (to_asg("a", "other"), True),
        (to_asg("a", "other", "web"), False),
        (from_asg("a", "other"), False),
    ],
)
def test_foreign_addresses(item: Any, foreign: bool) -> None:
    assert found(group(item), "nsg/foreign-addresses") == (["a"] if foreign else [])


def test_an_appliance_sees_everybodys_packets() -> None:
    item = rule("a", 100, "Allow", destination="10.0.2.0/24")
    assert found(group(item, forwarding=True), "nsg/foreign-addresses") == []


def test_a_group_at_a_nic_is_for_its_addresses() -> None:
    def net(address: str) -> Network:
        return network(
            vnet("v", "10.0.0.0/16", {"s": "10.0.1.0/24"}),
            nsg("n", rule("a", 100, "Allow", destination=address)),
            machine("w", "v/s", "10.0.1.4", nsg="n"),
        )

    assert found(net("10.0.1.4"), "nsg/foreign-addresses") == []
    assert found(net("10.0.1.5"), "nsg/foreign-addresses") == ["a"]


def test_tags_that_differ_between_places_are_opaque() -> None:
    """VirtualNetwork is 10/16 at one subnet and 10.1/16 at the other, so it covers neither for sure."""

    def net(second: str) -> Network:
        return network(
            vnet("v", "10.0.0.0/16", {"s": "10.0.1.0/24"}, nsgs={"s": "n"}),
            vnet("w", second, {"t": second.replace(".0.0/16", ".1.0/24")}, nsgs={"t": "n"}),
            nsg(
                "n",
                rule("a", 100, "Allow", source="VirtualNetwork"),
                INSIDE,
                rule("c", 300, "Allow", source="VirtualNetwork", ports="22"),
            ),
        )

    assert found(net("10.1.0.0/16"), "nsg/shadowed-rule") == ["c"]
    assert found(net("10.0.0.0/16"), "nsg/shadowed-rule") == ["b", "c"]


def test_unused_group() -> None:
    assert found(network(nsg("n")), "nsg/unused-group") == ["n"]
    assert found(group(), "nsg/unused-group") == []
