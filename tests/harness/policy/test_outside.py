"""Places of the internet, and what passes between them and endpoints: what is told apart, what cannot be."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.network.model import Network, ServiceEndpoint
from harness.policy.classes import Classifier, all_endpoints
from harness.policy.compiled import Compiled
from harness.policy.outside import UNKNOWN, Outside, outside
from harness.policy.places import Place, internet_places, place_of
from harness.policy.portset import NOTHING, PortSet
from harness.policy.reachability import reachability
from tests.harness.network.builders import (
    machine,
    network,
    nsg,
    public_ip,
    route,
    rule,
    table,
    vnet,
)
from tests.harness.policy.any_edges import TAGS

OPEN = nsg("n", rule("web", 100, "Allow", protocol="Tcp", ports="443", source="Internet"))


def net(*more: Any, group: Any = OPEN, **associations: Any) -> Network:
    return network(
        vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24", "t": "10.0.1.0/24"}, nsgs={"s": "n"}, **associations),
        group,
        public_ip("p", "203.0.113.7"),
        machine("web", "v/s", "10.0.0.4", public_ip="p"),
        machine("nva", "v/t", "10.0.1.4", forwarding=True),
        *more,
    )


def answer(found: Network, tags: Any = None) -> Outside:
    view = Compiled(found, service_tags=tags)
    (only,) = outside(view, reachability(view))
    return only


def at(found: Outside, address: str) -> int:
    number = int(ip_address(address))
    return next(n for n, place in enumerate(found.places) if any(a <= number <= b for a, b in place.ranges))


def inward(found: Outside, address: str, endpoint: int = 0) -> PortSet:
    row = found.inward.get(endpoint)
    return NOTHING if row is None else found.masks.portset(int(row[at(found, address)]))


def outward(found: Outside, address: str, endpoint: int = 0) -> PortSet:
    return found.masks.portset(int(found.outward[endpoint][at(found, address)]))


def test_published_ports_only() -> None:
    found = answer(net())
    assert inward(found, "8.8.8.8") == PortSet(tcp=((443, 443),))
    assert inward(found, "8.8.8.8", 1) == NOTHING
    assert outward(found, "8.8.8.8") == PortSet(((0, 65535),), ((0, 65535),), icmp=True, esp=True)


def test_the_internet_is_one_place_where_nothing_tells_it_apart() -> None:
    found = answer(net())
    assert [place.own for place in found.places] == [False, True]
    assert found.places[1].ranges == ((int(ip_address("203.0.113.7")),) * 2,)


def test_own_public_addresses_are_clients_but_no_servers() -> None:
    found = answer(net())
    assert inward(found, "203.0.113.7") == PortSet(tcp=((443, 443),))
    assert outward(found, "203.0.113.7") == NOTHING


def test_rules_routes_and_lists_tell_places_apart() -> None:
    some = nsg("n", rule("one", 100, "Allow", ports="443", source=["198.51.100.0/24", "192.88.99.0/24"]))
    found = answer(net(table("t", route("r", "8.8.0.0/16", "None")), group=some, tables={"s": "t"}))
    assert at(found, "198.51.100.1") == at(found, "192.88.99.1") != at(found, "1.1.1.1")
    assert at(found, "8.8.8.8") not in (at(found, "1.1.1.1"), at(found, "198.51.100.1"))
    assert inward(found, "192.88.99.1").tcp == ((443, 443),)
    assert inward(found, "1.1.1.1") == NOTHING
    assert outward(found, "8.8.8.8") == NOTHING


def test_a_more_specific_route_to_the_same_next_hop_is_no_place_of_its_own() -> None:
    routes = table("t", route("r", "8.8.0.0/16", "Internet"), route("q", "8.8.8.0/24", "Internet"))
    # at a subnet without rules, since VirtualNetwork holds the prefixes of routes
    assert len(answer(net(routes, tables={"t": "t"})).places) == 2


def test_platform_addresses_and_virtual_networks_are_not_the_internet() -> None:
    view = Compiled(network(vnet("v", "20.0.0.0/8", {"s": "20.0.0.0/24"}), machine("m", "v/s", "20.0.0.4")))
    places = internet_places(view, Classifier(view, all_endpoints(view)), 4)
    for text in ("168.63.129.16", "23.102.135.246", "20.1.2.3", "10.0.0.1", "192.0.2.1"):
        number = int(ip_address(text))
        assert not any(a <= number <= b for place in places for a, b in place.ranges)


def test_a_tag_that_nothing_defines_is_unknown_only_where_it_is_asked() -> None:
    found = answer(net(group=nsg("n", rule("s", 100, "Deny", "Outbound", destination="Storage"))))
    assert found.outward[0][at(found, "8.8.8.8")] == UNKNOWN
    assert "Storage" in found.unknown[0]
    assert inward(found, "8.8.8.8") == NOTHING
    assert outward(found, "8.8.8.8", 1)
    known = answer(net(group=nsg("n", rule("s", 100, "Deny", "Outbound", destination="Storage"))), TAGS)
    assert known.unknown == ()
    assert outward(known, "198.51.100.200") == NOTHING
    assert outward(known, "8.8.8.8")


def test_a_service_endpoint_needs_no_translation_and_takes_no_answers() -> None:
    plain = net()
    subnets = {
        name: replace(
            subnet, service_endpoints=(ServiceEndpoint("Microsoft.Storage"),), default_outbound_access=False
        )
        for name, subnet in plain.subnets.items()
    }
    found = answer(replace(plain, subnets=subnets), TAGS)
    assert outward(found, "198.51.100.200", 1).icmp
    assert outward(found, "8.8.8.8", 1) == NOTHING
    assert inward(found, "198.51.100.200") == NOTHING
    assert inward(found, "8.8.8.8") == PortSet(tcp=((443, 443),))


def test_through_an_appliance_it_is_the_appliance_that_needs_a_way_out() -> None:
    default = table("t", route("out", "0.0.0.0/0", "VirtualAppliance", "10.0.1.4"))
    found = answer(net(default, tables={"s": "t"}))
    # default outbound access of the appliance carries TCP and UDP; its answers would not go back directly
    assert outward(found, "8.8.8.8") == PortSet(((0, 65535),), ((0, 65535),))
    assert inward(found, "8.8.8.8") == NOTHING


ranges = st.lists(st.integers(0x01000000, 0xDFFFFFFF), min_size=2, max_size=8, unique=True).map(
    lambda numbers: tuple(zip(sorted(numbers)[::2], sorted(numbers)[1::2], strict=False))
)


@given(ranges)
def test_prefixes_of_a_place_are_its_addresses(given_ranges: tuple[tuple[int, int], ...]) -> None:
    place = place_of(4, given_ranges)
    prefixes = list(place.prefixes)
    assert sum(prefix.num_addresses for prefix in prefixes) == place.size
    for first, last in given_ranges:
        assert any(ip_address(first) in prefix for prefix in prefixes)
        assert any(ip_address(last) in prefix for prefix in prefixes)


def test_names_of_places() -> None:
    def named(*prefixes: str, everywhere: bool = False) -> str:
        nets = [ip_network(text) for text in prefixes]
        spans = tuple((int(n.network_address), int(n.broadcast_address)) for n in nets)
        return str(Place(nets[0].network_address, spans, everywhere=everywhere))

    assert named("198.51.100.7/32") == "198.51.100.7"
    assert named("198.51.100.0/24", "203.0.113.7/32") == "198.51.100.0/24, 203.0.113.7"
    assert named("1.0.0.0/8", "3.0.0.0/8", "5.0.0.0/8", "7.0.0.0/8") == "1.0.0.0/8, 3.0.0.0/8, 5.0.0.0/8 ..."
    assert named("1.0.0.0/8", everywhere=True) == "internet"
    assert named("2000::/3", everywhere=True) == "internet (IPv6)"
