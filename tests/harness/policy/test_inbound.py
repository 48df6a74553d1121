"""What is behind a public address or a frontend: arrivals, refusals, owners, and all ways in at once."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Cause, Protocol
from harness.network.model import Network
from harness.policy.inbound import Arrival, Published, Refusal
from tests.harness.network.builders import arm_id, machine, vnet, vnet_id
from tests.harness.policy import edges
from tests.harness.policy.edges import (
    ANY,
    CLIENT,
    LB,
    UDP,
    acl,
    balanced,
    endpoint,
    forwarded,
    frontend,
    member,
    pool,
    prefix,
    public_ips,
    web,
    with_balancer,
    with_cloud_service,
    with_nat_gateway,
    with_public_ip,
)

FRONT = ip_address("203.0.113.10")
INSIDE = ip_address("10.0.1.100")
HOME = vnet_id("v").lower()
SERVERS = ("web-01", "web-02")


def public_balancer(**parts: Any) -> Network:
    """The web servers behind 203.0.113.10."""
    parts = {
        "frontends": (frontend("front", "front"),),
        "pools": (pool("pool", *(member(name) for name in SERVERS)),),
        **parts,
    }
    return with_balancer(replace(web(), public_ips=public_ips(front=str(FRONT))), **parts)


def internal_balancer(**parts: Any) -> Network:
    """The web servers behind 10.0.1.100."""
    parts = {
        "frontends": (frontend("front", private=str(INSIDE)),),
        "pools": (pool("pool", *(member(name) for name in SERVERS)),),
        **parts,
    }
    return with_balancer(web(), **parts)


def reach(
    net: Network, port: int | None = 80, protocol: Protocol = Protocol.TCP, address: Any = FRONT
) -> tuple[Arrival, ...] | Refusal | None:
    return edges.view(net).publications.arrivals(ip_address(str(address)), protocol, port, CLIENT)


def reach_inside(
    net: Network, port: int | None = 80, protocol: Protocol = Protocol.TCP, source: str = "10.0.2.4"
) -> tuple[Arrival, ...] | Refusal | None:
    return edges.view(net).publications.internal(HOME, INSIDE, protocol, port, ip_address(source))


def places(found: object) -> list[tuple[str, int | None]]:
    """NIC and port of each arrival."""
    assert isinstance(found, tuple), found
    return [(arrival.nic.name, arrival.port) for arrival in found]


def refusal(found: object) -> Refusal:
    assert isinstance(found, Refusal), found
    return found


# -- public IP addresses ------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", Protocol)
def test_a_public_ip_takes_every_protocol_and_port(protocol: Protocol) -> None:
    net = with_public_ip(web(), "web-01", "pip-web", "203.0.113.4")
    port = 8443 if protocol.has_ports else None
    found = reach(net, port, protocol, "203.0.113.4")
    assert places(found) == [("nic-web-01", port)]
    assert isinstance(found, tuple)
    assert (found[0].where, found[0].object_id, found[0].sku) == (
        "public IP address 'pip-web'", arm_id("publicIPAddresses", "pip-web"), "Standard",
    )  # fmt: skip
    assert found[0].why == "203.0.113.4 is translated to 10.0.1.4"


def test_a_basic_public_ip_says_so() -> None:
    found = reach(with_public_ip(web(), "web-01", "basic", "203.0.113.4"), address="203.0.113.4")
    assert isinstance(found, tuple)
    assert found[0].sku == "Basic"


def test_a_public_ip_leads_to_its_own_configuration() -> None:
    net = with_public_ip(web(), "web-01", "six", "2001:db8::4", number=1)
    found = reach(net, address="2001:db8::4")
    assert isinstance(found, tuple)
    assert found[0].configuration.address == ip_address("fd00:0:0:1::4")


def test_an_address_of_nobody() -> None:
    assert reach(web()) is None
    unused = replace(web(), public_ips=public_ips(unused=str(FRONT)))
    assert reach(unused) is None


def test_a_nat_gateway_lets_nothing_in() -> None:
    net = with_nat_gateway(web(), {"a": "203.0.113.1"}, {"p": "203.0.113.16/30"})
    for address in ("203.0.113.1", "203.0.113.18"):
        found = refusal(reach(net, address=address))
        assert (found.cause, found.where) == (Cause.NO_INBOUND_RULE, "NAT gateway 'nat'")


# -- load-balancing rules -----------------------------------------------------------------------


def test_one_arrival_for_each_backend_in_the_order_of_the_pool() -> None:
    found = reach(public_balancer(rules=(balanced("http", (80, 8080)),)))
    assert places(found) == [("nic-web-01", 8080), ("nic-web-02", 8080)]
    assert isinstance(found, tuple)
    assert (found[0].where, found[0].object_id) == (
        "load balancer 'lb', rule 'http'", f"{LB}/loadBalancingRules/http",
    )  # fmt: skip
    assert (
        found[0].why == "tcp port 80 of 203.0.113.10 is balanced to port 8080 of 10.0.1.4, one of 2 backends"
    )
    assert found[0].sku == "Standard"


def test_backends_by_address() -> None:
    by_address = pool("pool", addresses=["10.0.1.5", "10.0.1.99"])
    net = public_balancer(pools=(by_address,), rules=(balanced("http", (80, 8080)),))
    assert places(reach(net)) == [("nic-web-02", 8080)]


def test_a_backend_by_address_alone_where_only_one_network_has_it() -> None:
    unnamed = pool("pool", addresses=["10.0.1.5"], vnet=None)
    assert places(reach(public_balancer(pools=(unnamed,), rules=(balanced("http", (80, 80)),))))
    elsewhere = pool("pool", addresses=["10.0.1.5"], vnet="w")
    net = public_balancer(pools=(elsewhere,), rules=(balanced("http", (80, 80)),))
    assert refusal(reach(net)).cause is None
    twice = web(vnet("w", "10.0.0.0/16", {"web": "10.0.1.0/24"}), machine("twin", "w/web", "10.0.1.5"))
    ambiguous = with_balancer(
        replace(twice, public_ips=public_ips(front=str(FRONT))),
        frontends=(frontend("front", "front"),),
        pools=(unnamed,),
        rules=(balanced("http", (80, 80)),),
    )
    assert isinstance(reach(ambiguous), Refusal)


def test_several_pools_of_one_rule_give_every_member_once() -> None:
    rule = replace(balanced("http", (80, 80)), pools=(edges.pool_key("pool"), edges.pool_key("more")))
    pools = pool("pool", member("web-01")), pool("more", member("web-01"), member("web-03"))
    found = reach(public_balancer(pools=pools, rules=(rule,)))
    assert places(found) == [("nic-web-01", 80), ("nic-web-03", 80)]


def test_only_members_of_the_frontends_family() -> None:
    both = pool("pool", member("web-01"), member("web-01", 2), member("web-02", 2))
    net = public_balancer(pools=(both,), rules=(balanced("http", (80, 80)),))
    assert places(reach(net)) == [("nic-web-01", 80)]


def test_an_empty_pool_is_refused() -> None:
    net = public_balancer(pools=(pool("pool"),), rules=(balanced("http", (80, 80)),))
    found = refusal(reach(net))
    assert (found.cause, found.object_id) == (None, f"{LB}/loadBalancingRules/http")
    assert found.why == "nothing of the network is in the backend pool of load-balancing rule 'http'"


def test_instances_that_the_network_does_not_hold_are_no_backends() -> None:
    scale_set = pool("pool", member("not-here"))
    found = refusal(reach(public_balancer(pools=(scale_set,), rules=(balanced("http", (80, 80)),))))
    assert found.why.startswith("nothing of the network is in the backend pool")


def test_floating_ip_keeps_the_destination_for_the_guest_only() -> None:
    net = public_balancer(rules=(balanced("listener", (1433, 1433), floating_ip=True),))
    found = reach(net, 1433)
    assert isinstance(found, tuple)
    assert found[0].configuration.address == ip_address("10.0.1.4")
    assert found[0].why.endswith("; the guest receives it at 203.0.113.10 (floating IP)")


def test_the_protocol_of_the_rule() -> None:
    rules = balanced("dns", (53, 53), UDP), balanced("both", (514, 5514), ANY)
    net = public_balancer(rules=rules)
    assert refusal(reach(net, 53)).why == (
        "no rule for tcp port 53; the nearest is rule 'dns' for Udp port 53"
    )
    assert places(reach(net, 53, Protocol.UDP))
    for protocol in (Protocol.TCP, Protocol.UDP):
        assert places(reach(net, 514, protocol)) == [("nic-web-01", 5514), ("nic-web-02", 5514)]


@pytest.mark.parametrize("protocol", [Protocol.ICMP, Protocol.ESP, Protocol.AH])
def test_a_frontend_passes_on_tcp_and_udp_only(protocol: Protocol) -> None:
    found = refusal(reach(public_balancer(rules=(balanced("all", (0, 0), ANY),)), None, protocol))
    assert (found.cause, found.object_id) == (Cause.NO_INBOUND_RULE, LB)
    assert found.why == f"a load balancer passes on TCP and UDP only, not {protocol}"


def test_no_rule_names_the_nearest() -> None:
    net = public_balancer(
        rules=(balanced("http", (80, 8080)), balanced("https", (443, 8443))),
        nat_rules=(forwarded("ssh", 2201, 22, last=2210, over="pool"),),
    )
    found = refusal(reach(net, 440))
    assert (found.cause, found.where) == (Cause.NO_INBOUND_RULE, "load balancer 'lb', frontend 'front'")
    assert found.why == "no rule for tcp port 440; the nearest is rule 'https' for Tcp port 443"
    assert refusal(reach(net, 2300)).why.endswith("rule 'ssh' for Tcp ports 2201-2210")
    bare = refusal(reach(public_balancer()))
    assert bare.why == "no rule for tcp port 80; the frontend has no inbound rule"


def test_rules_of_another_frontend_do_not_count() -> None:
    net = public_balancer(
        frontends=(frontend("front", "front"), frontend("other", "other")),
        rules=(balanced("http", (80, 8080), at="other"),),
    )
    net = replace(net, public_ips=public_ips(front=str(FRONT), other="203.0.113.11"))
    assert isinstance(reach(net), Refusal)
    assert places(reach(net, address="203.0.113.11")) == [("nic-web-01", 8080), ("nic-web-02", 8080)]


# -- inbound NAT rules --------------------------------------------------------------------------


def test_an_inbound_nat_rule_goes_to_its_target() -> None:
    net = public_balancer(nat_rules=(forwarded("ssh", 2201, 22, to=member("web-02")),))
    found = reach(net, 2201)
    assert places(found) == [("nic-web-02", 22)]
    assert isinstance(found, tuple)
    assert found[0].why == "tcp port 2201 of 203.0.113.10 is forwarded to port 22 of 10.0.1.5"


def test_a_nat_rule_over_a_pool_gives_each_member_a_port() -> None:
    net = public_balancer(nat_rules=(forwarded("ssh", 2201, 22, last=2203, over="pool"),))
    assert places(reach(net, 2201)) == [("nic-web-01", 22)]
    assert places(reach(net, 2202)) == [("nic-web-02", 22)]
    assert (
        refusal(reach(net, 2203)).why == "inbound NAT rule 'ssh' has no machine of the network for port 2203"
    )


def test_a_nat_rule_without_its_target() -> None:
    found = refusal(reach(public_balancer(nat_rules=(forwarded("ssh", 2201, 22),)), 2201))
    assert (found.cause, found.object_id) == (None, f"{LB}/inboundNatRules/ssh")


def test_a_nat_rule_to_a_target_of_the_other_family() -> None:
    net = public_balancer(nat_rules=(forwarded("ssh", 2201, 22, to=member("web-02", 2)),))
    assert isinstance(reach(net, 2201), Refusal)


def test_a_nat_rule_goes_before_a_load_balancing_rule() -> None:
    net = public_balancer(
        rules=(balanced("all", (0, 0), ANY),), nat_rules=(forwarded("ssh", 22, 2222, to=member("web-02")),)
    )
    assert places(reach(net, 22)) == [("nic-web-02", 2222)]
    assert places(reach(net, 23)) == [("nic-web-01", 23), ("nic-web-02", 23)]


# -- internal frontends -------------------------------------------------------------------------


def test_internal_frontends_are_found_in_their_own_virtual_network() -> None:
    net = internal_balancer(rules=(balanced("http", (80, 8080)),))
    assert places(reach_inside(net)) == [("nic-web-01", 8080), ("nic-web-02", 8080)]
    publications = edges.view(net).publications
    assert publications.internal(vnet_id("w").lower(), INSIDE, Protocol.TCP, 80, CLIENT) is None
    assert publications.arrivals(INSIDE, Protocol.TCP, 80, CLIENT) is None


def test_high_availability_ports_keep_the_port() -> None:
    net = internal_balancer(rules=(balanced("ha", (0, 0), ANY),))
    for port in (1, 5985, 65_535):
        assert places(reach_inside(net, port)) == [("nic-web-01", port), ("nic-web-02", port)]


def test_a_rule_for_the_port_goes_before_the_one_for_every_port() -> None:
    net = internal_balancer(rules=(balanced("ha", (0, 0), ANY), balanced("http", (80, 8080))))
    assert places(reach_inside(net, 80)) == [("nic-web-01", 8080), ("nic-web-02", 8080)]


def test_what_is_balanced_back_to_the_sender_fails() -> None:
    net = internal_balancer(rules=(balanced("http", (80, 8080)),))
    found = reach_inside(net, source="10.0.1.4")
    assert places(found) == [("nic-web-02", 8080)]
    assert isinstance(found, tuple)
    assert found[0].why.endswith("; what is balanced back to the sender fails")
    alone = internal_balancer(pools=(pool("pool", member("web-01")),), rules=(balanced("http", (80, 80)),))
    assert refusal(reach_inside(alone, source="10.0.1.4")).why == (
        "10.0.1.4 is its only backend, and what is balanced back to the sender fails"
    )


def test_appliances_behind_a_next_hop() -> None:
    pools = pool("pool", member("web-01")), pool("more", member("web-02"), member("web-03"))
    rules = balanced("http", (80, 80)), balanced("ssh", (22, 22), to="more")
    publications = edges.view(internal_balancer(pools=pools, rules=rules)).publications
    # only a rule for every port takes whatever a route sends there
    assert publications.appliances(HOME, INSIDE) == ()
    with_ha = internal_balancer(pools=pools, rules=(*rules, balanced("ha", (0, 0), ANY, to="more")))
    found = edges.view(with_ha).publications.appliances(HOME, INSIDE)
    assert places(found) == [("nic-web-02", None), ("nic-web-03", None)]
    assert found[0].where == "load balancer 'lb', rule 'ha'"
    assert edges.view(web()).publications.appliances(HOME, INSIDE) == ()


# -- owners -------------------------------------------------------------------------------------


def test_who_has_an_address() -> None:
    net = public_balancer(
        frontends=(
            frontend("front", "front"),
            frontend("range", of_prefix="p"),
            frontend("in", private=str(INSIDE)),
        )
    )
    net = replace(net, public_ip_prefixes=prefix("p", "203.0.113.32/30"))
    net = with_nat_gateway(with_public_ip(net, "web-01", "own", "203.0.113.4"), {"gw": "203.0.113.1"})
    net = replace(net, public_ips={**net.public_ips, **public_ips(unused="203.0.113.99")})
    net = with_cloud_service(net)
    publications = edges.view(net).publications
    labels = {
        "203.0.113.10": "load balancer 'lb', frontend 'front'",
        "203.0.113.33": "load balancer 'lb', frontend 'range'",
        "10.0.1.100": "load balancer 'lb', frontend 'in'",
        "203.0.113.4": "public IP address 'own'",
        "203.0.113.99": "public IP address 'unused'",
        "203.0.113.1": "NAT gateway 'nat'",
        "203.0.113.80": "cloud service 'cs'",
        "198.51.100.9": None,
        "10.0.1.4": None,
    }
    owners = {text: publications.frontend_owner(ip_address(text)) for text in labels}
    assert {text: owner.label if owner else None for text, owner in owners.items()} == labels
    assert owners["203.0.113.1"] is not None
    assert owners["203.0.113.1"].id == arm_id("natGateways", "nat")


# -- everything at once -------------------------------------------------------------------------


def everything() -> Network:
    """Every kind of publication in one network; the client is permitted at one endpoint of two."""
    net = public_balancer(
        frontends=(frontend("front", "front"), frontend("in", private=str(INSIDE))),
        pools=(pool("pool", member("web-01"), member("web-02", 2), member("web-02")),),
        rules=(
            balanced("http", (80, 8080)), balanced("dns", (53, 5353), UDP), balanced("both", (514, 514), ANY),
            balanced("inside", (22, 22), at="in"),
        ),
        nat_rules=(
            forwarded("ssh", 2201, 22, to=member("web-03")),
            forwarded("rdp", 3301, 3389, last=3302, over="pool"),
        ),
    )  # fmt: skip
    net = with_public_ip(net, "db-01", "own", "203.0.113.4")
    permitted, denied = acl((1, "permit", "198.51.100.0/24")), acl((1, "permit", "192.0.2.0/24"))
    return with_cloud_service(
        net,
        endpoint("open", "web-01", 9001, 9101, acl=permitted),
        endpoint("closed", "web-02", 9002, 9102, acl=denied),
    )


PORTS = [22, 53, 80, 514, 2201, 3301, 3302, 3303, 8080, 9001, 9002, 9101]


def test_all_ways_in_are_those_that_single_packets_find() -> None:
    publications = edges.view(everything()).publications
    arrived: set[tuple[str, Protocol, int]] = set()
    for address in ("203.0.113.10", "203.0.113.80"):
        for protocol in (Protocol.TCP, Protocol.UDP):
            for port in PORTS:
                found = publications.arrivals(ip_address(address), protocol, port, CLIENT)
                for arrival in found if isinstance(found, tuple) else ():
                    assert arrival.port is not None
                    arrived.add((arrival.configuration.id, protocol, arrival.port))
    ways = [way for way in publications.all() if way.ports is not None and way.admits(CLIENT)]
    assert {
        (way.configuration.id, protocol, port)
        for way in ways
        for protocol in way.protocols
        for port in opened(way)
    } == arrived
    assert ("9102" in str(arrived), len(arrived)) == (False, 12)


def opened(way: Published) -> list[int]:
    assert way.ports is not None
    return [port for first, last in way.ports for port in range(first, last + 1)]


def test_a_public_ip_is_open_for_everything() -> None:
    (way,) = [way for way in edges.view(everything()).publications.all() if way.ports is None]
    assert (way.nic.name, way.sku, set(way.protocols)) == ("nic-db-01", "Standard", set(Protocol))


def test_ways_in_by_addresses_that_are_not_known_yet() -> None:
    net = public_balancer(rules=(balanced("http", (80, 8080)),))
    net = with_public_ip(replace(net, public_ips=public_ips(front=None)), "web-03", "own", None)
    names = {way.nic.name for way in edges.view(net).publications.all()}
    assert names == {"nic-web-01", "nic-web-02", "nic-web-03"}


def test_a_rule_for_every_port_opens_them_all() -> None:
    ways = list(edges.view(public_balancer(rules=(balanced("ha", (0, 0), ANY),))).publications.all())
    assert {way.ports for way in ways} == {((0, 65_535),)}
    assert {way.protocols for way in ways} == {(Protocol.TCP, Protocol.UDP)}


def test_internal_frontends_are_no_way_in_from_the_internet() -> None:
    net = internal_balancer(rules=(balanced("http", (80, 8080)),))
    assert list(edges.view(net).publications.all()) == []


@given(
    st.integers(1, 65_535),
    st.sampled_from([Protocol.TCP, Protocol.UDP]),
    st.sampled_from(["203.0.113.10", "203.0.113.80"]),
)
def test_every_port_has_arrivals_or_a_reason(port: int, protocol: Protocol, address: str) -> None:
    found = edges.view(everything()).publications.arrivals(ip_address(address), protocol, port, CLIENT)
    if isinstance(found, Refusal):
        assert found.where
        assert found.why
    else:
        assert found


def test_overlapping_virtual_networks_have_frontends_of_their_own() -> None:
    net = web(vnet("w", "10.0.0.0/16", {"web": "10.0.1.0/24"}))
    net = with_balancer(
        net,
        frontends=(frontend("front", private=str(INSIDE)),),
        pools=(pool("pool", member("web-01")),),
        rules=(balanced("ha", (0, 0), ANY),),
    )
    publications = edges.view(net).publications
    assert publications.appliances(HOME, INSIDE)
    assert publications.appliances(vnet_id("w").lower(), INSIDE) == ()
