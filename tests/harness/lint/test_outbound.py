"""Ways out to the Internet: each one silences the check, what only looks like one does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.lint.registry import chosen, lint
from harness.network.balancing import NatGateway
from harness.network.model import Network, key
from harness.policy.compiled import Compiled
from harness.policy.decision import Options
from tests.harness.lint.networks import findings, found, with_balancer, with_subnet
from tests.harness.network.builders import arm_id, machine, network, nic_id, public_ip, route, table, vnet

NO_METHOD, UNKNOWN = "outbound/no-method", "outbound/unknown-default"


def one(*routes: Any, default: bool | None = False, public: bool = False) -> Network:
    net = network(
        vnet("v", "10.0.0.0/16", {"s": "10.0.1.0/24", "empty": "10.0.2.0/24"}, tables={"s": "t"}),
        table("t", *routes),
        public_ip("pip", "20.1.2.3"),
        machine("w", "v/s", "10.0.1.4", public_ip="pip" if public else None),
    )
    return with_subnet(net, "v/s", default_outbound_access=default)


def with_nat_gateway(net: Network, *public_ips: str) -> Network:
    gateway = NatGateway(
        arm_id("natGateways", "nat"),
        "nat",
        tuple(key(arm_id("publicIPAddresses", name)) for name in public_ips),
    )
    net = replace(net, nat_gateways={key(gateway.id): gateway})
    return with_subnet(net, "v/s", nat_gateway=key(gateway.id))


def test_default_outbound_access() -> None:
    assert (found(one(), NO_METHOD), found(one(), UNKNOWN)) == (["s"], [])
    unknown = one(default=None)
    assert (found(unknown, NO_METHOD), found(unknown, UNKNOWN)) == ([], ["s"])
    given = one(default=True)
    assert (found(given, NO_METHOD), found(given, UNKNOWN)) == ([], [])


@pytest.mark.parametrize(
    "net",
    [
        with_nat_gateway(one(), "pip"),
        one(public=True),
        one(route("out", "0.0.0.0/0", "VirtualAppliance", "10.0.1.9")),
        one(route("out", "0.0.0.0/0", "VirtualNetworkGateway")),
        one(route("closed", "0.0.0.0/0", "None")),
        with_balancer(one(), "nic-w", outbound=True),
        with_balancer(one(), "nic-w", port=443),
    ],
    ids=["nat", "public-ip", "appliance", "gateway", "closed", "outbound-rule", "rule-with-snat"],
)
def test_methods(net: Network) -> None:
    assert found(net, NO_METHOD) == found(net, UNKNOWN) == []


@pytest.mark.parametrize(
    "net",
    [
        one(route("out", "0.0.0.0/0", "Internet")),
        one(route("part", "8.0.0.0/8", "VirtualAppliance", "10.0.1.9")),
        with_balancer(one(), "nic-w", port=443, snat=False),
        with_balancer(one(), "nic-w", nat_port=22),
        with_balancer(one(), "nic-w", port=443, internal=("10.0.1.9", "v/s")),
        with_nat_gateway(one(default=True)),
    ],
    ids=["internet", "part", "rule-without-snat", "inbound-nat", "internal", "nat-without-address"],
)
def test_no_methods(net: Network) -> None:
    assert found(net, NO_METHOD) == ["s"]


@pytest.mark.parametrize("default", [None, True])
def test_a_standard_load_balancer_ends_default_access(default: bool | None) -> None:
    net = with_balancer(one(default=default), "nic-w", nat_port=22)
    assert (found(net, NO_METHOD), found(net, UNKNOWN)) == (["s"], [])
    basic = with_balancer(one(default=default), "nic-w", nat_port=22, sku="Basic")
    assert found(basic, NO_METHOD) == []


def test_the_reason_is_the_engines() -> None:
    (finding,) = findings(with_nat_gateway(one()), NO_METHOD)
    assert finding.reason.startswith(
        "'nic-w' in 's' has no outbound method: NAT gateway 'nat' has no public IPv4 address; "
    )


def test_an_assumption_decides_what_the_subnet_does_not_say() -> None:
    view = Compiled(one(default=None), Options(default_outbound="denied"))
    assert [item.check for item in lint(view, chosen(["outbound"]))] == [NO_METHOD]


def test_nics_without_a_machine_need_no_way_out() -> None:
    net = one()
    nic = net.nics[key(nic_id("nic-w"))]
    alone = replace(net, nics={key(nic.id): replace(nic, vm=None)}, vms={})
    assert found(alone, NO_METHOD) == []
