"""Azure's own addresses: exempt, but for rules that name a platform tag; activation; service endpoints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.model import Cause, Protocol
from harness.network.model import Network, NextHopType, ServiceEndpoint, key
from harness.network.service_tags import ServiceTags, load_service_tags
from harness.policy.decision import DecisionKind
from tests.harness.network.builders import nsg, route, rule, subnet_id, table, vnet_id
from tests.harness.policy.networks import UDP, ask, tiers

STORAGE = (ServiceEndpoint("Microsoft.Storage"),)
DNS, METADATA, KMS = "168.63.129.16", "169.254.169.254", "23.102.135.246"


def closed(*rules: object) -> Network:
    everything = rule("deny", 4000, "Deny", "Outbound")
    return tiers(nsg("n", everything, *rules), nsgs={"web": "n"})  # type: ignore[arg-type]


@pytest.mark.parametrize("address", [DNS, METADATA])
def test_no_ordinary_rule_reaches_platform_addresses(address: str) -> None:
    found = ask(closed(), "web-01", address, 80)
    assert found.allowed
    assert found.decisions[-1].kind is DecisionKind.PLATFORM


@pytest.mark.parametrize(
    ("tag", "address", "port"),
    [("AzurePlatformDNS", DNS, 53), ("AzurePlatformIMDS", METADATA, 80), ("AzurePlatformLKM", KMS, 1688)],
)
def test_a_platform_tag_does(tag: str, address: str, port: int) -> None:
    by_tag = rule("by-tag", 200, "Deny", "Outbound", destination=tag, ports=str(port))
    found = ask(closed(by_tag), "web-01", address, port)
    assert (found.cause, found.rule) == (Cause.SUBNET_NSG_OUTBOUND, "n/by-tag")
    other = {DNS: METADATA, METADATA: DNS, KMS: DNS}[address]
    assert ask(closed(by_tag), "web-01", other, 80, UDP if other == DNS else Protocol.TCP).allowed


def test_activation_is_exempt_until_a_default_route_takes_it_away() -> None:
    assert ask(closed(), "web-01", KMS, 1688).allowed
    assert not ask(closed(), "web-01", KMS, 443).allowed
    routed = tiers(
        nsg("n", rule("deny", 4000, "Deny", "Outbound")),
        table("t", route("all", "0.0.0.0/0", "VirtualAppliance", "10.0.2.4")),
        nsgs={"web": "n"},
        tables={"web": "t"},
    )
    assert ask(routed, "web-01", KMS, 1688).rule == "n/deny"


@pytest.fixture
def tags(tmp_path: Path) -> ServiceTags:
    """Two tags of two regions, and one that holds both."""
    values = [
        {"name": name, "id": name, "properties": {"region": "", "addressPrefixes": prefixes}}
        for name, prefixes in (
            ("Storage", ["198.51.100.0/24", "203.0.113.0/25"]),
            ("Storage.WestEurope", ["198.51.100.0/25"]),
            ("AzureCloud", ["198.51.100.0/25", "203.0.113.0/24"]),
        )
    ]
    path = tmp_path / "tags.json"
    path.write_text(json.dumps({"changeNumber": 1, "cloud": "Public", "values": values}))
    return load_service_tags(path)


def test_rules_by_service_tag(tags: ServiceTags) -> None:
    rules = (rule("storage", 100, "Allow", "Outbound", destination="Storage.WestEurope"),)
    net = closed(*rules)
    assert ask(net, "web-01", "198.51.100.1", 443, service_tags=tags).rule == "n/storage"
    assert ask(net, "web-01", "198.51.100.129", 443, service_tags=tags).rule == "n/deny"


def test_routes_by_service_tag_and_their_order(tags: ServiceTags) -> None:
    """Explicit prefix, then regional tag, then top-level tag, then AzureCloud."""
    net = tiers(
        table(
            "t",
            route("cloud", "AzureCloud", "None"),
            route("storage", "Storage", "None"),
            route("regional", "Storage.WestEurope", "Internet"),
            route("prefix", "203.0.113.0/25", "Internet"),
        ),
        tables={"web": "t"},
    )

    def chosen(address: str) -> str | None:
        found = ask(net, "web-01", address, 443, service_tags=tags).route
        return found.name if found else None

    assert chosen("198.51.100.1") == "regional"
    assert chosen("198.51.100.200") == "storage"
    assert chosen("203.0.113.1") == "prefix"
    assert chosen("203.0.113.200") == "cloud"


def test_a_service_endpoint_bypasses_a_default_route(tags: ServiceTags) -> None:
    net = tiers(table("t", route("all", "0.0.0.0/0", "None")), tables={"web": "t"})
    assert ask(net, "web-01", "198.51.100.1", 443, service_tags=tags).cause is Cause.ROUTE_TO_NONE
    name, home = key(subnet_id("v/web")), key(vnet_id("v"))
    served = replace(
        net,
        vnets={home: replace(net.vnets[home], location="westeurope")},
        subnets={**net.subnets, name: replace(net.subnets[name], service_endpoints=STORAGE)},
    )
    found = ask(served, "web-01", "198.51.100.1", 443, service_tags=tags)
    assert found.allowed
    assert found.route is not None
    assert found.route.next_hop_type is NextHopType.SERVICE_ENDPOINT
    assert ask(served, "web-01", "198.51.100.200", 443, service_tags=tags).cause is Cause.ROUTE_TO_NONE
    untold = ask(served, "web-01", "198.51.100.1", 443)
    assert "Microsoft.Storage is by service endpoint is not known" in str(untold.deciding)


def test_two_halves_of_a_prefix_are_longer_than_a_route_for_the_whole(tmp_path: Path) -> None:
    halves = ["198.51.100.0/25", "198.51.100.128/25"]
    values = [{"name": "Sql", "id": "Sql", "properties": {"region": "", "addressPrefixes": halves}}]
    path = tmp_path / "tags.json"
    path.write_text(json.dumps({"changeNumber": 1, "cloud": "Public", "values": values}))
    net = tiers(
        table("t", route("sql", "Sql", "Internet"), route("whole", "198.51.100.0/24", "None")),
        tables={"web": "t"},
    )
    found = ask(net, "web-01", "198.51.100.200", 443, service_tags=load_service_tags(path))
    assert found.allowed
    assert found.route is not None
    assert found.route.name == "sql"
