"""What differs as configuration: objects by id, parts by themselves, properties as people read them."""

from __future__ import annotations

from random import Random

import pytest

from harness.model import Protocol
from harness.network.model import Network, key
from harness.policy.changes import ObjectChange, named_ports, object_changes
from harness.policy.portset import PortSet
from tests.harness.network.builders import arm_id, machine, network, nsg, peering, route, rule, table, vnet
from tests.harness.policy.anything import any_network
from tests.harness.policy.edits import edited

NSG = arm_id("networkSecurityGroups", "n")


def net(*rules: object, **more: object) -> Network:
    return network(
        vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"}, **more),  # type: ignore[arg-type]
        nsg("n", *rules),  # type: ignore[arg-type]
        machine("a", "v/s", "10.0.0.4"),
    )


def told(before: Network, after: Network) -> list[tuple[str, str, str]]:
    return [(item.kind.value, item.id, item.owner) for item in object_changes(before, after)]


def test_a_rule_is_an_object_and_its_group_owns_it() -> None:
    name = f"{NSG}/securityRules/ssh"
    with_rule = net(rule("ssh", 100, "Allow", ports="22"))
    assert told(net(), with_rule) == [("added", name, key(NSG))]
    assert told(with_rule, net()) == [("removed", name, key(NSG))]


def test_properties_as_people_read_them() -> None:
    (change,) = object_changes(
        net(rule("ssh", 100, "Allow", protocol="Tcp", ports=["22", "80-81"], source="10.0.0.0/24")),
        net(rule("ssh", 110, "Deny", protocol="Tcp", ports="22", source="Internet")),
    )
    assert change.properties == (
        ("priority", "100", "110"),
        ("access", "Allow", "Deny"),
        ("source", "10.0.0.0/24", "Internet"),
        ("destination_ports", "22, 80-81", "22"),
    )
    assert str(change).startswith(f"changed {NSG}/securityRules/ssh (priority: 100 -> 110; access: Allow")


def test_parts_go_with_the_object_that_is_new() -> None:
    before = net()
    after = network(
        vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"}, nsgs={"s": "m"}),
        nsg("n"),
        nsg("m", rule("ssh", 100, "Allow")),
        machine("a", "v/s", "10.0.0.4"),
    )
    subnet = next(iter(after.subnets.values()))
    assert told(before, after) == [
        ("added", arm_id("networkSecurityGroups", "m"), key(arm_id("networkSecurityGroups", "m"))),
        ("changed", subnet.id, key(subnet.id)),
    ]


def test_routes_and_peerings() -> None:
    def two(access: bool, hop: str) -> Network:
        return network(
            vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"}, [peering("v", "w", "10.1.0.0/16", access=access)]),
            vnet("w", "10.1.0.0/16", {}),
            table("t", route("r", "10.2.0.0/16", hop)),
        )

    found = object_changes(two(True, "None"), two(False, "Internet"))
    assert [(item.id.rpartition("/")[2], item.properties[0][0]) for item in found] == [
        ("r", "next_hop_type"),
        ("v-w", "allow_virtual_network_access"),
    ]


def test_case_of_ids_is_no_change() -> None:
    assert object_changes(net(), net()) == ()


@pytest.mark.parametrize("seed", range(20))
def test_a_network_is_as_itself_and_a_difference_mirrors(seed: int) -> None:
    chance = Random(seed)
    before = any_network(chance, edges=True)
    after = edited(chance, before)
    assert object_changes(before, before) == ()
    mirrored = {"added": "removed", "removed": "added", "changed": "changed"}
    there, back = object_changes(before, after), object_changes(after, before)
    assert {(mirrored[item.kind], key(item.id)) for item in there} == {(i.kind, key(i.id)) for i in back}


def test_what_changed_rules_are_for() -> None:
    both = net(
        rule("web", 100, "Allow", protocol="Tcp", ports=["80", "443-445"]),
        rule("ping", 110, "Allow", protocol="Icmp"),
        rule("other", 120, "Allow", protocol="Udp", ports="53"),
    )
    names = {key(f"{NSG}/securityRules/{name}") for name in ("web", "ping")}
    assert named_ports(both, names) == {
        PortSet.of(Protocol.TCP, ((80, 80), (443, 445))),
        PortSet.of(Protocol.ICMP),
    }


def test_changes_are_comparable() -> None:
    (one,), (other,) = (object_changes(net(), net(rule("ssh", 100, "Allow"))) for _ in range(2))
    assert isinstance(one, ObjectChange)
    assert one == other
