"""Route tables beyond the routes of the snapshot tests: several next hops, gateway routes left out."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import SnapshotError
from harness.network.model import RouteTable
from harness.network.words import NextHopType, key
from tests.harness.network.builders import Resource, arm_id, network, route, table

TABLE = arm_id("routeTables", "t")


def ecmp(name: str, prefix: str, *addresses: Any) -> Resource:
    body = route(name, prefix, "VirtualApplianceEcmp")
    body["properties"]["nextHop"] = {"nextHopIpAddresses": list(addresses)}
    return body


def loaded(*routes: Resource, **properties: Any) -> RouteTable:
    return network(table("t", *routes, **properties)).route_tables[key(TABLE)]


def test_several_next_hops_are_a_route_to_the_first_beside_the_others() -> None:
    found = loaded(ecmp("a", "0.0.0.0/0", "10.0.0.4", "10.0.0.5"), ecmp("b", "Storage", "10.0.0.6"))
    (by_prefix,), (by_tag,) = found.routes, found.tag_routes
    assert by_prefix.next_hop_type is by_tag.next_hop_type is NextHopType.VIRTUAL_APPLIANCE
    assert (str(by_prefix.next_hop_ip), str(by_tag.next_hop_ip)) == ("10.0.0.4", "10.0.0.6")
    assert [str(address) for address in by_prefix.other_next_hops] == ["10.0.0.5"]
    assert by_tag.other_next_hops == ()


def test_gateway_routes_left_out() -> None:
    assert loaded(disableBgpRoutePropagation=True).disable_bgp_route_propagation
    assert not loaded().disable_bgp_route_propagation


def test_an_address_beside_another_type_is_ignored() -> None:
    assert loaded(route("a", "10.0.0.0/8", "Internet", "10.0.0.4")).routes[0].next_hop_ip is None


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (ecmp("a", "0.0.0.0/0"), "nextHop.nextHopIpAddresses: is missing or empty"),
        (
            ecmp("a", "0.0.0.0/0", "10.0.0.4", "fd00::1"),
            "nextHop.nextHopIpAddresses: 'fd00::1' is of another",
        ),
        (ecmp("a", "0.0.0.0/0", "nva"), r"nextHop.nextHopIpAddresses\[0\]: 'nva' is no IP address"),
        (ecmp("a", "0.0.0.0/0", 4), r"nextHop.nextHopIpAddresses\[0\]: expected a string"),
        (route("a", "10.0.0.0/8", "VNetPeering"), "nextHopType: 'VNetPeering' is none of"),
        (route("a", "10.0.0.0/8", "Internet", "nva"), "nextHopIpAddress: 'nva' is no IP address"),
    ],
)
def test_routes_that_are_wrong(bad: Resource, words: str) -> None:
    with pytest.raises(SnapshotError, match=words):
        loaded(bad)
