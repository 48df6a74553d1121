"""Public IPs, prefixes and NAT gateways: from whichever side, and what contradicts itself."""

from __future__ import annotations

import pytest

from harness.network.snapshot import network_from_resources
from harness.network.words import key
from tests.harness.network.arm.everything import everything
from tests.harness.network.arm.refusals import Change, Refusal, add, check_refused, edit, find, remove
from tests.harness.network.builders import (
    arm_id,
    configuration_id,
    nat_gateway,
    network,
    public_ip,
    ref,
    subnet_id,
    vnet,
    vnet_id,
)

NAT = arm_id("natGateways", "nat")
NAT_IP, NAT_RANGE = arm_id("publicIPAddresses", "nat-ip"), arm_id("publicIPPrefixes", "nat-range")


def test_a_nat_gateway_with_its_addresses_and_subnets() -> None:
    net = network_from_resources(everything(), "test")
    nat = net.nat_gateways[key(NAT)]
    assert (nat.public_ips, nat.public_ip_prefixes) == ((key(NAT_IP),), (key(NAT_RANGE),))
    assert (nat.sku, nat.idle_timeout) == ("Standard", 10)
    assert net.subnets[key(subnet_id("e/app"))].nat_gateway == key(NAT)
    assert str(net.public_ip_prefixes[key(NAT_RANGE)].prefix) == "203.0.113.128/30"


def test_a_nat_gateway_from_the_other_side() -> None:
    resources = everything()
    body = find(resources, NAT)["properties"]
    del body["publicIpAddresses"], body["publicIpPrefixes"]
    body["subnets"] = [ref(subnet_id("e/app"))]
    find(resources, NAT_IP)["properties"]["natGateway"] = ref(NAT)
    find(resources, NAT_RANGE)["properties"]["natGateway"] = ref(NAT)
    del find(resources, vnet_id("e"))["properties"]["subnets"][0]["properties"]["natGateway"]
    assert network_from_resources(resources, "test") == network_from_resources(everything(), "test")


@pytest.mark.parametrize("side", ["virtual network", "NAT gateway"])
def test_a_nat_gateway_of_a_whole_virtual_network_is_that_of_subnets_without_their_own(side: str) -> None:
    place = vnet("v", "10.0.0.0/16", {"a": "10.0.1.0/24", "b": "10.0.2.0/24"})
    place["properties"]["subnets"][1]["properties"]["natGateway"] = ref(arm_id("natGateways", "own"))
    whole = nat_gateway("whole")
    if side == "NAT gateway":
        whole["properties"]["sourceVirtualNetwork"] = ref(vnet_id("v"))
    else:
        place["properties"]["defaultPublicNatGateway"] = ref(whole["id"])
    net = network(place, whole, nat_gateway("own"))
    assert net.subnets[key(subnet_id("v/a"))].nat_gateway == key(whole["id"])
    assert net.subnets[key(subnet_id("v/b"))].nat_gateway == key(arm_id("natGateways", "own"))


def test_what_is_not_said_is_azures_default() -> None:
    net = network(nat_gateway("n"), public_ip("p", None, sku=""))
    assert net.nat_gateways[key(arm_id("natGateways", "n"))].idle_timeout == 4
    assert net.public_ips[key(arm_id("publicIPAddresses", "p"))].sku == "Basic"


def test_a_public_ip_may_belong_to_what_was_not_captured() -> None:
    address = public_ip("p", "203.0.113.5")
    address["properties"]["ipConfiguration"] = ref(configuration_id("not-captured"))
    assert key(address["id"]) in network(address).public_ips


REFUSED: dict[str, Refusal] = {
    "nat-ip-missing": (remove(NAT_IP), [NAT, "publicIpAddresses", NAT_IP, "not in the snapshot"]),
    "nat-prefix-missing": (remove(NAT_RANGE), [NAT, "publicIpPrefixes", NAT_RANGE]),
    "nat-missing": (remove(NAT), [subnet_id("e/app"), "natGateway", NAT, "not in the snapshot"]),
    "nat-of-missing-subnet": (
        edit(NAT, "subnets", value=[ref(subnet_id("e/x"))]),
        [NAT, "subnets", subnet_id("e/x")],
    ),
    "two-nats-one-ip": (
        add(nat_gateway("other", publicIpAddresses=[ref(NAT_IP)])),
        [NAT, arm_id("natGateways", "other"), NAT_IP, "contradicts"],
    ),
    "two-nats-one-subnet": (
        add(nat_gateway("other", subnets=[ref(subnet_id("e/app"))])),
        [NAT, arm_id("natGateways", "other"), subnet_id("e/app"), "contradicts"],
    ),
    "nat-timeout": (edit(NAT, "idleTimeoutInMinutes", value=3), [NAT, "idleTimeoutInMinutes", "4..120"]),
    "prefix-no-prefix": (edit(NAT_RANGE, "ipPrefix", value="203.0.113.0/33"), [NAT_RANGE, "ipPrefix"]),
    "address-no-address": (edit(NAT_IP, "ipAddress", value="203.0.113"), [NAT_IP, "ipAddress"]),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(change: Change, words: list[str]) -> None:
    check_refused(change, words)
