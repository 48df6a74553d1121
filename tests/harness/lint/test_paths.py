"""Paths that an appliance sees in one direction only."""

from __future__ import annotations

from typing import Any

from harness.network.model import Network
from tests.harness.lint.networks import findings, found, with_balancer
from tests.harness.network.builders import machine, network, nic, peering, route, table, vm, vnet

CHECK = "path/asymmetric"
THERE = route("to-b", "10.0.2.0/24", "VirtualAppliance", "10.0.9.4")
BACK = route("to-a", "10.0.1.0/24", "VirtualAppliance", "10.0.9.4")


def three(there: list[Any], back: list[Any], *extra: Any) -> Network:
    """Subnets a and b with a route table each, and an appliance in a third."""
    return network(
        vnet("v", "10.0.0.0/16", {"a": "10.0.1.0/24", "b": "10.0.2.0/24", "nva": "10.0.9.0/24"},
             tables={"a": "ta", "b": "tb"}),
        table("ta", *there),
        table("tb", *back),
        machine("one", "v/a", "10.0.1.4"),
        machine("two", "v/b", "10.0.2.4"),
        machine("three", "v/b", "10.0.2.5"),
        nic("nva-1", "v/nva", "10.0.9.4", vm="nva", forwarding=True),
        nic("nva-2", "v/nva", "10.0.9.5", vm="nva", forwarding=True),
        vm("nva", "nva-1", "nva-2"),
        *extra,
    )  # fmt: skip


def test_one_way() -> None:
    (finding,) = findings(three([THERE], []), CHECK)
    assert finding.object_id.endswith("/routeTables/ta/routes/to-b")
    assert "1 pair of subnets" in finding.reason
    assert "10.0.1.4 -> 10.0.2.4" in finding.reason
    assert "--route-table-name tb" in finding.fix[0]
    assert "--address-prefix 10.0.1.0/24" in finding.fix[0]


def test_both_ways() -> None:
    assert found(three([THERE], [BACK]), CHECK) == []


def test_another_nic_of_the_same_appliance() -> None:
    other = route("to-a", "10.0.1.0/24", "VirtualAppliance", "10.0.9.5")
    assert found(three([THERE], [other]), CHECK) == []


def test_another_appliance_is_said_once() -> None:
    other = route("to-a", "10.0.1.0/24", "VirtualAppliance", "10.0.9.7")
    second = machine("nva2", "v/nva", "10.0.9.7", forwarding=True)
    assert len(found(three([THERE], [other], *second), CHECK)) == 1


def test_the_same_load_balancer() -> None:
    balanced = route("to-b", "10.0.2.0/24", "VirtualAppliance", "10.0.9.100")
    net = with_balancer(three([balanced], [BACK]), "nva-1", port=0, internal=("10.0.9.100", "v/nva"))
    assert found(net, CHECK) == []


def test_a_way_back_that_is_no_way() -> None:
    """Dropped answers are another fault; here only the two live paths count."""
    assert found(three([THERE], [route("to-a", "10.0.1.0/24", "None")]), CHECK) == []


def test_the_appliances_own_subnet_is_left_out() -> None:
    assert found(three([route("all", "10.0.0.0/16", "VirtualAppliance", "10.0.9.4")], [BACK]), CHECK) == []


def test_a_route_to_part_of_a_subnet() -> None:
    part = route("to-three", "10.0.2.5/32", "VirtualAppliance", "10.0.9.4")
    (finding,) = findings(three([part], []), CHECK)
    assert "10.0.1.4 -> 10.0.2.5" in finding.reason


def test_pairs_are_counted_not_listed() -> None:
    spokes = [
        vnet(f"s{n}", f"10.{n}.0.0/16", {"a": f"10.{n}.1.0/24", "b": f"10.{n}.2.0/24"},
             [peering(f"s{n}", "hub", "10.0.0.0/16")])
        for n in (1, 2)
    ]  # fmt: skip
    net = network(
        vnet("hub", "10.0.0.0/16", {"apps": "10.0.1.0/24", "nva": "10.0.9.0/24"},
             [peering("hub", f"s{n}", f"10.{n}.0.0/16") for n in (1, 2)], tables={"apps": "t"}),
        table("t", route("spokes", "10.0.0.0/8", "VirtualAppliance", "10.0.9.4"),
              route("s1", "10.1.0.0/16", "VirtualAppliance", "10.0.9.4")),
        *spokes,
        machine("app", "hub/apps", "10.0.1.4"),
        machine("nva", "hub/nva", "10.0.9.4", forwarding=True),
        *(machine(f"m{n}{s}", f"s{n}/{s}", f"10.{n}.{1 + (s == 'b')}.4") for n in (1, 2) for s in "ab"),
    )  # fmt: skip
    (finding,) = findings(net, CHECK)
    assert finding.object_id.endswith("/routes/s1")
    assert "2 pairs of subnets" in finding.reason
