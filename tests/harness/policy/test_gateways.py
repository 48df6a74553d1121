"""Virtual network gateways: routes they bring, connections, transit over a hub, their own subnet's routes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from harness.model import Cause
from harness.network.gateways import GatewayConnection, LocalNetworkGateway, VirtualNetworkGateway
from harness.network.model import Network, NextHopType, RouteSource, key
from harness.policy.decision import DecisionKind
from harness.policy.portset import EVERYTHING
from harness.policy.reachability import reachability
from harness.policy.routing import effective_routes
from tests.harness.network.builders import (
    arm_id,
    machine,
    network,
    nsg,
    peering,
    route,
    rule,
    table,
    vnet,
    vnet_id,
)
from tests.harness.policy.networks import ask

SITE = "192.168.0.0/16"


def gateway(name: str, place: str) -> VirtualNetworkGateway:
    return VirtualNetworkGateway(arm_id("virtualNetworkGateways", name), name, key(vnet_id(place)))


def connected(net: Network, gateway: VirtualNetworkGateway, *, to: str | VirtualNetworkGateway = SITE,
              status: str | None = "Connected") -> Network:  # fmt: skip
    """The network with a gateway that has a connection to a site (its prefix) or another gateway."""
    site = LocalNetworkGateway(arm_id("localNetworkGateways", "site"), "site",
                               (ip_network(to),) if isinstance(to, str) else ())  # fmt: skip
    peer = None if isinstance(to, str) else key(to.id)
    name = f"from-{gateway.name}"
    link = GatewayConnection(
        arm_id("connections", name), name, key(gateway.id), "Vnet2Vnet" if peer else "IPsec",
        None if peer else key(site.id), peer, status,
    )  # fmt: skip
    return replace(
        net,
        gateways={**net.gateways, key(gateway.id): gateway},
        local_gateways={**net.local_gateways, key(site.id): site},
        connections={**net.connections, key(link.id): link},
    )


def hub(*extra: Any, transit: bool = True, remote: bool = True, tables: dict[str, str] | None = None,
        gateway_table: str | None = None, nsgs: dict[str, str] | None = None,
        forwarded: bool = True) -> Network:  # fmt: skip
    """A hub with a GatewaySubnet and an appliance, one spoke with a machine."""
    there = peering("hub", "spoke", "10.1.0.0/16", forwarded=True)
    back = peering("spoke", "hub", "10.0.0.0/16", forwarded=forwarded)
    there["properties"]["allowGatewayTransit"] = transit
    back["properties"]["useRemoteGateways"] = remote
    return network(
        vnet("hub", "10.0.0.0/16", {"GatewaySubnet": "10.0.0.0/27", "s": "10.0.1.0/24"}, [there],
             tables={"GatewaySubnet": gateway_table} if gateway_table else None),
        vnet("spoke", "10.1.0.0/16", {"s": "10.1.0.0/24"}, [back], nsgs=nsgs, tables=tables),
        machine("nva", "hub/s", "10.0.1.4", forwarding=True),
        machine("app", "spoke/s", "10.1.0.4"),
        *extra,
    )  # fmt: skip


GATEWAY = gateway("gw", "hub")


def test_a_spoke_uses_the_hubs_gateway() -> None:
    net = connected(hub(), GATEWAY)
    found = ask(net, "app", "192.168.7.7")
    assert found.allowed
    assert found.route is not None
    assert found.route.source is RouteSource.GATEWAY
    assert any(d.kind is DecisionKind.GATEWAY and "from-gw" in d.why for d in found.decisions)
    assert ask(net, "192.168.7.7", "app").allowed


def test_transit_needs_no_forwarded_traffic() -> None:
    """virtual-network-peering-overview: not for what an Azure VPN gateway forwards."""
    net = connected(hub(forwarded=False), GATEWAY)
    assert ask(net, "192.168.7.7", "app").allowed
    assert ask(net, "app", "192.168.7.7").allowed


@pytest.mark.parametrize(("transit", "remote"), [(False, True), (True, False)])
def test_both_sides_must_agree_on_transit(transit: bool, remote: bool) -> None:
    found = ask(connected(hub(transit=transit, remote=remote), GATEWAY), "app", "192.168.7.7")
    assert found.cause is Cause.ROUTE_TO_NONE
    routed = hub(table("t", route("site", SITE, "VirtualNetworkGateway")), tables={"s": "t"},
                 transit=transit, remote=remote)  # fmt: skip
    assert ask(connected(routed, GATEWAY), "app", "192.168.7.7").cause is Cause.NO_GATEWAY


def test_connection_that_is_down() -> None:
    found = ask(connected(hub(), GATEWAY, status="NotConnected"), "app", "192.168.7.7")
    assert found.cause is Cause.GATEWAY_CONNECTION_DOWN
    assert "from-gw" in found.fix[0]


def test_gateway_without_a_connection_that_leads_there() -> None:
    routed = hub(table("t", route("all", "0.0.0.0/0", "VirtualNetworkGateway")), tables={"s": "t"})
    assert ask(connected(routed, GATEWAY), "app", "203.0.113.1").cause is Cause.NO_GATEWAY


def test_propagation_switched_off_takes_gateway_routes_away() -> None:
    net = hub(table("t", disableBgpRoutePropagation=True), tables={"s": "t"})
    assert ask(connected(net, GATEWAY), "app", "192.168.7.7").cause is Cause.ROUTE_TO_NONE


def test_a_user_route_wins_over_a_gateway_route_and_system_over_more_specific_ones() -> None:
    net = connected(hub(table("t", route("no", SITE, "None")), tables={"s": "t"}), GATEWAY)
    assert ask(net, "app", "192.168.7.7").cause is Cause.ROUTE_TO_NONE
    inside = connected(hub(), GATEWAY, to="10.1.0.0/25")
    nic = next(nic for nic in inside.nics.values() if nic.name == "nic-nva")
    learned = [r for r in effective_routes(inside, nic) if r.source is RouteSource.GATEWAY]
    assert [r.state.value for r in learned] == ["Invalid"]
    assert ask(inside, "nva", "app").allowed


def test_on_premises_is_in_the_virtual_network_tag() -> None:
    net = connected(hub(nsg("n"), nsgs={"s": "n"}), GATEWAY)
    found = ask(net, "192.168.7.7", "app")
    assert (found.verdict, found.rule) == ("allow", "n/AllowVnetInBound")


def test_routes_of_the_gateway_subnet_steer_what_comes_in() -> None:
    steered = table("gt", route("spoke", "10.1.0.0/16", "VirtualAppliance", "10.0.1.4"))
    back = table("t", route("site", SITE, "VirtualAppliance", "10.0.1.4"))
    net = connected(hub(steered, back, gateway_table="gt", tables={"s": "t"}), GATEWAY)
    found = ask(net, "192.168.7.7", "app")
    assert found.allowed
    assert [d.where for d in found.decisions if d.kind is DecisionKind.APPLIANCE].count(
        "network interface 'nic-nva'"
    ) == 2
    closed = nsg("n", rule("no", 100, "Deny", source=SITE))
    judged = connected(
        hub(steered, back, closed, gateway_table="gt", tables={"s": "t"}, nsgs={"s": "n"}), GATEWAY
    )
    assert ask(judged, "192.168.7.7", "app").cause is Cause.SUBNET_NSG_INBOUND


def test_vnet_to_vnet() -> None:
    net = network(
        vnet("one", "10.1.0.0/16", {"s": "10.1.0.0/24", "GatewaySubnet": "10.1.9.0/27"}),
        vnet("two", "10.2.0.0/16", {"s": "10.2.0.0/24", "GatewaySubnet": "10.2.9.0/27"}),
        machine("a", "one/s", "10.1.0.4"),
        machine("b", "two/s", "10.2.0.4"),
    )
    one, two = gateway("g1", "one"), gateway("g2", "two")
    assert ask(net, "a", "b").cause is Cause.NO_PEERING
    both = connected(connected(net, one, to=two), two, to=one)
    assert ask(both, "a", "b").allowed
    assert ask(both, "b", "a").allowed
    one_sided = replace(both, connections={k: c for k, c in both.connections.items() if c.name == "from-g1"})
    found = ask(one_sided, "a", "b")
    assert not found.allowed
    assert found.route is not None
    assert found.route.next_hop_type is NextHopType.NONE


def test_spoke_to_spoke_by_the_hubs_gateway() -> None:
    """A route to VirtualNetworkGateway in both spokes: the hub's gateway sends on what is for the other."""
    there = [peering("hub", name, space) for name, space in (("one", "10.1.0.0/16"), ("two", "10.2.0.0/16"))]
    back = [peering(name, "hub", "10.0.0.0/16") for name in ("one", "two")]
    for item in there:
        item["properties"]["allowGatewayTransit"] = True
    for item in back:
        item["properties"]["useRemoteGateways"] = True
    net = network(
        vnet("hub", "10.0.0.0/16", {"GatewaySubnet": "10.0.0.0/27"}, there),
        vnet("one", "10.1.0.0/16", {"s": "10.1.0.0/24"}, [back[0]], tables={"s": "t"}),
        vnet("two", "10.2.0.0/16", {"s": "10.2.0.0/24"}, [back[1]], tables={"s": "t"}),
        table("t", route("all", "10.0.0.0/8", "VirtualNetworkGateway")),
        machine("a", "one/s", "10.1.0.4"),
        machine("b", "two/s", "10.2.0.4"),
    )
    assert ask(net, "a", "b").cause is Cause.NO_GATEWAY
    net = replace(net, gateways={key(GATEWAY.id): GATEWAY})
    assert ask(net, "a", "b").allowed
    assert reachability(net).ports(0, 1) == EVERYTHING


def test_expressroute_and_vpn_side_by_side() -> None:
    beside = replace(gateway("er", "hub"), kind="ExpressRoute")
    net = connected(hub(), GATEWAY)
    for order in ((beside, GATEWAY), (GATEWAY, beside)):
        both = replace(net, gateways={key(item.id): item for item in order})
        assert ask(both, "app", "192.168.7.7").allowed
