"""Answers to the internet: they must leave as the request came in, or nobody there knows them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.model import Cause
from harness.network.model import Network, ServiceEndpoint
from harness.policy.decision import Way
from tests.harness.network.builders import (
    arm_id,
    connection,
    gateway,
    local_gateway,
    machine,
    network,
    nsg,
    public_ip,
    ref,
    route,
    rule,
    table,
    vnet,
)
from tests.harness.policy.any_edges import TAGS
from tests.harness.policy.networks import ask

SITE = "198.51.100.0/24"
"""Public space of a site that a gateway leads to."""


def published(*more: Any, **associations: Any) -> Network:
    return network(
        vnet(
            "v", "10.0.0.0/16", {"s": "10.0.0.0/24", "GatewaySubnet": "10.0.9.0/24"}, nsgs={"s": "n"},
            **associations,
        ),
        nsg("n", rule("web", 100, "Allow", ports="443")),
        public_ip("p", "203.0.113.7"),
        machine("web", "v/s", "10.0.0.4", public_ip="p"),
        *more,
    )  # fmt: skip


SITE_BEHIND_A_GATEWAY = (
    gateway("g", "v"),
    local_gateway("site", SITE),
    connection("c", "g", localNetworkGateway2=ref(arm_id("localNetworkGateways", "site"))),
)


def test_directly() -> None:
    found = ask(published(), "198.51.100.9", "203.0.113.7", 443)
    assert found.allowed
    assert found.decisions[-1].why == "the answer leaves to 198.51.100.9"


@pytest.mark.parametrize("target", ["203.0.113.7", "web"])
def test_by_a_gateway_to_who_came_from_the_internet(target: str) -> None:
    """Who asks for the public address comes over the internet, even from a site that a gateway leads to."""
    found = ask(published(*SITE_BEHIND_A_GATEWAY), "198.51.100.9", target, 443)
    if target == "web":
        assert found.allowed
        return
    assert found.cause is Cause.ASYMMETRIC_RETURN
    assert found.decisions[-1].way is Way.RETURN
    assert found.route is not None
    assert found.route.next_hop_type == "VirtualNetworkGateway"


def test_to_the_internet_for_who_came_by_a_gateway() -> None:
    cut = table("t", disableBgpRoutePropagation=True)
    found = ask(published(*SITE_BEHIND_A_GATEWAY, cut, tables={"s": "t"}), "198.51.100.9", "web", 443)
    assert found.cause is Cause.ASYMMETRIC_RETURN
    assert found.deciding is not None
    assert "came in by a gateway" in found.deciding.why


@pytest.mark.parametrize("hop", ["VnetLocal", "VirtualNetworkGateway"])
def test_by_a_route_of_its_own(hop: str) -> None:
    own = table("t", route("r", SITE, hop))
    found = ask(published(own, tables={"s": "t"}), "198.51.100.9", "203.0.113.7", 443)
    assert found.cause is Cause.ASYMMETRIC_RETURN
    assert ask(published(own, tables={"s": "t"}), "8.8.8.8", "203.0.113.7", 443).allowed


def test_by_a_service_endpoint() -> None:
    plain = published()
    subnets = {
        name: replace(item, service_endpoints=(ServiceEndpoint("Microsoft.Storage"),))
        for name, item in plain.subnets.items()
    }
    found = ask(replace(plain, subnets=subnets), "198.51.100.200", "203.0.113.7", 443, service_tags=TAGS)
    assert found.cause is Cause.ASYMMETRIC_RETURN


def test_nowhere_is_no_asymmetry() -> None:
    hole = table("t", route("r", SITE, "None"))
    found = ask(published(hole, tables={"s": "t"}), "198.51.100.9", "203.0.113.7", 443)
    assert found.cause is Cause.ROUTE_TO_NONE
