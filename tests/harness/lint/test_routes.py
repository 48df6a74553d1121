"""Each check of routes: a table that has the fault, and the nearest one that has not."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from harness.lint.finding import Severity
from harness.network.model import Network
from tests.harness.lint.networks import findings, found, severities, with_balancer, with_gateway, with_peering
from tests.harness.network.builders import (
    arm_id,
    machine,
    network,
    peering,
    resource,
    route,
    table,
    vnet,
)

TO_NVA = route("out", "0.0.0.0/0", "VirtualAppliance", "10.1.0.4")


def hub(
    *routes: Any, state: str = "Connected", forwarding: bool = True, tables: Any = None, extra: Any = ()
) -> Network:
    """A spoke with the routes, peered with a hub in which an appliance is at 10.1.0.4."""
    return network(
        vnet("spoke", "10.0.0.0/16", {"a": "10.0.1.0/24", "b": "10.0.2.0/24"},
             [peering("spoke", "hub", "10.1.0.0/16", state)], tables=tables or {"a": "t"}),
        vnet("hub", "10.1.0.0/16", {"nva": "10.1.0.0/24"}, [peering("hub", "spoke", "10.0.0.0/16", state)]),
        table("t", *routes),
        machine("web", "spoke/a", "10.0.1.4"),
        machine("nva", "hub/nva", "10.1.0.4", forwarding=forwarding),
        *extra,
    )  # fmt: skip


def test_appliance_that_exists() -> None:
    for check in ("route/appliance-missing", "route/appliance-not-forwarding", "route/appliance-loop"):
        assert found(hub(TO_NVA), check) == []


def test_appliance_missing() -> None:
    check = "route/appliance-missing"
    net = hub(route("out", "0.0.0.0/0", "VirtualAppliance", "10.1.0.5"))
    assert (found(net, check), severities(net, check)) == (["out"], [Severity.ERROR])
    unknown = resource(arm_id("applicationGateways", "g"), "Microsoft.Network/applicationGateways", {})
    unsure = hub(route("out", "0.0.0.0/0", "VirtualAppliance", "10.1.0.5"), extra=[unknown])
    assert severities(unsure, check) == [Severity.WARNING]
    outside = hub(route("out", "0.0.0.0/0", "VirtualAppliance", "10.9.0.5"), extra=[unknown])
    assert severities(outside, check) == [Severity.ERROR]


def test_appliance_behind_no_connected_peering() -> None:
    (finding,) = findings(hub(TO_NVA, state="Disconnected"), "route/appliance-missing")
    assert "'nic-nva' in 'hub' has it" in finding.reason


def test_appliance_in_a_hidden_peer() -> None:
    net = hub(route("out", "0.0.0.0/0", "VirtualAppliance", "10.5.0.5"))
    assert found(net, "route/appliance-missing") == ["out"]
    elsewhere = network(
        vnet(
            "v", "10.0.0.0/16", {"a": "10.0.1.0/24"}, [peering("v", "gone", "10.5.0.0/16")], tables={"a": "t"}
        ),
        table("t", route("out", "0.0.0.0/0", "VirtualAppliance", "10.5.0.5")),
    )
    assert found(elsewhere, "route/appliance-missing") == []


def test_azure_firewall_answers_without_a_nic() -> None:
    def net(name: str) -> Network:
        return network(
            vnet("v", "10.0.0.0/16", {"a": "10.0.1.0/24", name: "10.0.9.0/24"}, tables={"a": "t"}),
            table("t", route("out", "0.0.0.0/0", "VirtualAppliance", "10.0.9.4")),
        )

    assert found(net("AzureFirewallSubnet"), "route/appliance-missing") == []
    assert found(net("firewalls"), "route/appliance-missing") == ["out"]


def test_appliance_not_forwarding() -> None:
    (finding,) = findings(hub(TO_NVA, forwarding=False), "route/appliance-not-forwarding")
    assert finding.fix[0].startswith("az network nic update --ids ")
    assert finding.fix[0].endswith("networkInterfaces/nic-nva --ip-forwarding true")


@pytest.mark.parametrize("forwarding", [True, False])
def test_appliances_behind_a_load_balancer(forwarding: bool) -> None:
    behind = route("out", "0.0.0.0/0", "VirtualAppliance", "10.1.0.10")
    net = with_balancer(
        hub(behind, forwarding=forwarding), "nic-nva", port=0, internal=("10.1.0.10", "hub/nva")
    )
    assert found(net, "route/appliance-missing") == []
    closed = findings(net, "route/appliance-not-forwarding")
    assert [
        "'nic-nva' behind load balancer 'lb', frontend 'front' has" in item.reason for item in closed
    ] == ([] if forwarding else [True])


def test_a_next_hop_whose_load_balancer_has_rules_for_single_ports_only() -> None:
    """The engine agrees: what a route sends to other ports nobody takes."""
    behind = route("out", "0.0.0.0/0", "VirtualAppliance", "10.1.0.10")
    net = with_balancer(hub(behind), "nic-nva", port=443, internal=("10.1.0.10", "hub/nva"))
    (finding,) = findings(net, "route/appliance-missing")
    assert "load balancer 'lb', frontend 'front' has it" in finding.reason
    assert any(name.endswith("/frontendIPConfigurations/front") for name in finding.related)


def test_every_next_hop_is_asked() -> None:
    """Of a VirtualApplianceEcmp route the first appliance exists, the second does not."""
    net = hub(TO_NVA)
    ((name, one),) = net.route_tables.items()
    several = replace(one.routes[0], other_next_hops=(ip_address("10.1.0.5"),))
    net = replace(net, route_tables={name: replace(one, routes=(several,))})
    (finding,) = findings(net, "route/appliance-missing")
    assert "to 10.1.0.5" in finding.reason


def test_appliance_loop() -> None:
    def net(subnets: dict[str, str]) -> Network:
        return network(
            vnet("v", "10.0.0.0/16", {"a": "10.0.1.0/24", "nva": "10.0.2.0/24"}, tables=subnets),
            table("t", route("out", "0.0.0.0/0", "VirtualAppliance", "10.0.2.4")),
            machine("nva", "v/nva", "10.0.2.4", forwarding=True),
        )

    assert found(net({"a": "t", "nva": "t"}), "route/appliance-loop") == ["out"]
    assert found(net({"a": "t"}), "route/appliance-loop") == []


@pytest.mark.parametrize(
    ("prefix", "dropped"),
    [("10.0.2.0/24", True), ("10.0.0.0/16", True), ("10.0.0.0/8", False), ("10.1.0.0/24", True),
     ("10.2.0.0/16", False), ("0.0.0.0/0", False)],
)  # fmt: skip
def test_drops_own_space(prefix: str, dropped: bool) -> None:
    net = hub(route("hole", prefix, "None"))
    assert found(net, "route/drops-own-space") == (["hole"] if dropped else [])
    assert found(hub(route("hole", prefix, "Internet")), "route/drops-own-space") == []


def test_gateway_missing() -> None:
    check, net = "route/gateway-missing", hub(route("onprem", "192.168.0.0/16", "VirtualNetworkGateway"))
    assert found(net, check) == ["onprem"]
    assert found(with_gateway(net, "spoke"), check) == []
    remote = with_peering(with_gateway(net, "hub"), "spoke", "hub", use_remote_gateways=True)
    assert found(remote, check) == ["onprem"]
    assert found(with_peering(remote, "hub", "spoke", allow_gateway_transit=True), check) == []


@pytest.mark.parametrize(
    ("prefix", "outside"), [("10.9.0.0/24", True), ("10.0.2.0/24", False), ("10.1.0.0/24", False)]
)
def test_vnet_local_outside(prefix: str, outside: bool) -> None:
    net = hub(route("local", prefix, "VnetLocal"))
    assert found(net, "route/vnet-local-outside") == (["local"] if outside else [])


@pytest.mark.parametrize(
    ("prefix", "loses"), [("10.0.0.0/15", True), ("10.0.0.0/14", False), ("10.1.0.0/16", False)]
)
def test_never_wins(prefix: str, loses: bool) -> None:
    """10.0/16 is the spoke's own and 10.1/16 the hub's: a route for both together is never taken."""
    net = hub(route("summary", prefix, "VirtualAppliance", "10.1.0.4"))
    assert found(net, "route/never-wins") == (["summary"] if loses else [])


def test_a_route_that_wins_in_one_subnet_is_used() -> None:
    summary = table("t", route("summary", "10.0.0.0/15", "VirtualAppliance", "10.1.0.4"))
    net = network(
        vnet("v", "10.0.0.0/16", {"a": "10.0.1.0/24"}, [peering("v", "w", "10.1.0.0/16")], tables={"a": "t"}),
        vnet("w", "10.1.0.0/16", {"b": "10.1.1.0/24"}, [peering("w", "v", "10.0.0.0/16", "Disconnected")],
             tables={"b": "t"}),
        summary,
    )  # fmt: skip
    assert found(net, "route/never-wins") == []


def test_unused_table() -> None:
    assert found(network(table("t")), "route/unused-table") == ["t"]
    assert found(hub(TO_NVA), "route/unused-table") == []
