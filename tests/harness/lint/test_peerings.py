"""Each check of peerings, by changing one side of two that are well."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from harness.lint.finding import LintFinding
from harness.lint.peerings import CHECKS
from harness.lint.registry import lint
from harness.network.model import Network, PeeringState, key
from tests.harness.lint.networks import findings, found, with_gateway, with_peering
from tests.harness.network.builders import machine, network, peering, route, table, vnet, vnet_id


def pair(*routes: Any) -> Network:
    return network(
        vnet("a", "10.0.0.0/16", {"s": "10.0.1.0/24"}, [peering("a", "b", "10.1.0.0/16")], tables={"s": "t"}),
        vnet("b", "10.1.0.0/16", {"s": "10.1.1.0/24"}, [peering("b", "a", "10.0.0.0/16")]),
        table("t", *routes),
        machine("nva", "b/s", "10.1.1.4", forwarding=True),
    )


def known(*prefixes: str) -> dict[str, Any]:
    return {"remote_address_space": tuple(ip_network(prefix) for prefix in prefixes)}


def all_findings(net: Network) -> tuple[LintFinding, ...]:
    return lint(net, CHECKS)


def test_two_sides_that_are_well() -> None:
    assert all_findings(pair()) == ()


def test_one_sided() -> None:
    net = pair()
    other = net.vnets[key(vnet_id("b"))]
    alone = replace(net, vnets={**net.vnets, key(other.id): replace(other, peerings=())})
    alone = with_peering(alone, "a", "b", state=PeeringState.INITIATED)
    assert [item.check for item in all_findings(alone)] == ["peering/one-sided"]
    (finding,) = all_findings(alone)
    assert "--vnet-name b" in finding.fix[0]
    assert finding.fix[0].endswith(f"--remote-vnet {vnet_id('a')} --allow-vnet-access")


@pytest.mark.parametrize("state", [PeeringState.DISCONNECTED, PeeringState.INITIATED])
def test_not_connected(state: PeeringState) -> None:
    net = with_peering(pair(), "a", "b", state=state)
    assert [item.check for item in all_findings(net)] == ["peering/not-connected"]
    assert found(net, "peering/not-connected") == ["a-b"]


def test_not_connected_with_a_virtual_network_that_is_not_here() -> None:
    def net(state: str) -> Network:
        return network(vnet("a", "10.0.0.0/16", {}, [peering("a", "far", "10.1.0.0/16", state)]))

    assert found(net("Disconnected"), "peering/not-connected") == ["a-far"]
    assert all_findings(net("Connected")) == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (known("10.1.0.0/17"), "'b' has 10.1.0.0/16 since"),
        (known("10.1.0.0/16", "10.2.0.0/16"), "'b' no longer has 10.2.0.0/16"),
        ({"sync_level": "LocalNotInSync"}, "Azure says LocalNotInSync"),
        ({"sync_level": "FullyInSync"}, None),
        (known("10.1.0.0/17", "10.1.128.0/17"), None),
    ],
)
def test_not_synchronised(changes: dict[str, Any], words: str | None) -> None:
    items = findings(with_peering(pair(), "a", "b", **changes), "peering/not-synchronised")
    assert [words in item.reason for item in items if words] == ([True] if words else [])
    assert len(items) == bool(words)


def test_no_remote_gateway() -> None:
    check, using = "peering/no-remote-gateway", with_peering(pair(), "a", "b", use_remote_gateways=True)
    lending = with_peering(using, "b", "a", allow_gateway_transit=True)
    assert found(with_gateway(lending, "b"), check) == []
    assert found(lending, check) == ["a-b"]
    assert found(with_gateway(using, "b"), check) == ["a-b"]
    assert len(findings(using, check)) == 2


def test_access_one_sided() -> None:
    check, closed = "peering/access-one-sided", {"allow_virtual_network_access": False}
    one = with_peering(pair(), "a", "b", **closed)
    assert found(one, check) == ["a-b"]
    assert found(with_peering(one, "b", "a", **closed), check) == []


def test_forwarded_traffic_refused() -> None:
    check = "peering/forwarded-traffic-refused"
    net = pair(route("out", "0.0.0.0/0", "VirtualAppliance", "10.1.1.4"))
    assert found(net, check) == ["a-b"]
    assert found(with_peering(net, "a", "b", allow_forwarded_traffic=True), check) == []
    assert found(pair(route("out", "0.0.0.0/0", "VirtualAppliance", "10.0.1.9")), check) == []
