"""Flows to addresses that no NIC has itself, judged whole: balancers, NAT rules, cloud services."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.model import Cause, Protocol
from harness.network.model import Network, RuleProtocol
from harness.policy.decision import DecisionKind, Explanation
from harness.policy.outbound import OutboundKind
from tests.harness.network.builders import asg, machine, network, nsg, peering, rule, vnet
from tests.harness.policy.edges import (
    acl,
    balanced,
    endpoint,
    forwarded,
    frontend,
    member,
    pool,
    public_ips,
    web,
    with_balancer,
    with_cloud_service,
    with_default_outbound,
    with_nat_gateway,
    with_public_ip,
)
from tests.harness.policy.networks import ask

FRONT, INSIDE, CLIENT = "203.0.113.10", "10.0.1.100", "198.51.100.9"
OPEN = nsg("n", rule("web", 100, "Allow", protocol="Tcp", ports="8080"), rule("no", 4000, "Deny"))
SHUT = nsg("shut", rule("no", 100, "Deny"))
"""Of web-2 alone, where it is in the network."""


def servers(*groups: Any, **associations: Any) -> Network:
    return network(
        vnet("v", "10.0.0.0/16", {"web": "10.0.1.0/24", "app": "10.0.2.0/24"}, **associations),
        machine("web-1", "v/web", "10.0.1.4"),
        machine("web-2", "v/web", "10.0.1.5", nsg="shut" if SHUT in groups else None),
        machine("app-1", "v/app", "10.0.2.4"),
        *groups,
    )


def public(net: Network) -> Network:
    return with_balancer(
        replace(net, public_ips=public_ips(front=FRONT)),
        frontends=(frontend("front", "front"),),
        pools=(pool("pool", member("web-1"), member("web-2")),),
        rules=(balanced("http", (80, 8080)),),
        nat_rules=(forwarded("ssh", 2201, 22, to=member("web-1")),),
    )


def internal(net: Network) -> Network:
    return with_balancer(
        net,
        frontends=(frontend("front", private=INSIDE),),
        pools=(pool("pool", member("web-1"), member("web-2")),),
        rules=(balanced("http", (80, 8080)),),
    )


def kinds(found: Explanation) -> list[DecisionKind]:
    return [decision.kind for decision in found.decisions]


def test_rules_inward_see_the_port_behind_the_frontend() -> None:
    found = ask(public(servers(OPEN, nsgs={"web": "n"})), CLIENT, FRONT, 80)
    assert (found.verdict, found.rule) == ("allow", "n/web")
    assert "198.51.100.9:49152 -> 10.0.1.4:8080" in str(found.deciding)
    assert DecisionKind.INBOUND in kinds(found)


def test_one_of_two_backends_that_is_closed_is_named() -> None:
    found = ask(public(servers(OPEN, SHUT, nsgs={"web": "n"})), CLIENT, FRONT, 80)
    assert (found.verdict, found.rule) == ("deny", "shut/no")
    assert "1 of 2 backends" in str(found.deciding)


def test_a_standard_frontend_is_closed_until_an_nsg_allows() -> None:
    assert ask(public(servers(OPEN)), CLIENT, FRONT, 80).cause is Cause.DEFAULT_DENY


def test_a_nat_rule_leads_to_one_machine() -> None:
    ssh = nsg("n", rule("ssh", 100, "Allow", ports="22"))
    found = ask(public(servers(ssh, nsgs={"web": "n"})), CLIENT, FRONT, 2201)
    assert (found.verdict, found.rule) == ("allow", "n/ssh")


def test_a_port_that_no_rule_publishes() -> None:
    found = ask(public(servers(OPEN, nsgs={"web": "n"})), CLIENT, FRONT, 443)
    assert found.cause is Cause.NO_INBOUND_RULE
    assert ask(public(servers(OPEN)), "app-1", FRONT, 443).cause is Cause.NO_INBOUND_RULE
    assert ask(public(servers(OPEN)), CLIENT, FRONT, None, Protocol.ICMP).cause is Cause.NO_INBOUND_RULE


def test_from_inside_by_the_public_address() -> None:
    """Out by the NAT gateway, back in with its address."""
    plain = servers(OPEN, machine("web-3", "v/web", "10.0.1.6"), nsgs={"web": "n"})
    net = with_nat_gateway(public(plain), {"nat": "203.0.113.20"})
    found = ask(net, "web-3", FRONT, 80)
    assert found.allowed
    assert found.outbound is not None
    assert found.outbound.kind is OutboundKind.NAT_GATEWAY
    assert "203.0.113.20:49152 -> 10.0.1.4:8080" in str(found.deciding)


def test_internal_frontend() -> None:
    found = ask(internal(servers(OPEN, nsgs={"web": "n"})), "app-1", INSIDE, 80)
    assert (found.verdict, found.rule) == ("allow", "n/web")
    assert "10.0.2.4:49152 -> 10.0.1.4:8080" in str(found.deciding)
    found = ask(internal(servers(OPEN)), "app-1", INSIDE, 443)
    assert found.cause is Cause.NO_INBOUND_RULE


def test_nothing_of_all_this_needs_asgs_at_the_frontend() -> None:
    """Rules inward by ASG judge the member behind the frontend."""
    by_group = nsg(
        "n",
        rule("web", 100, "Allow", ports="8080", destination=[],
             destinationApplicationSecurityGroups=[{"id": asg("servers")["id"]}]),
        rule("no", 4000, "Deny"),
    )  # fmt: skip
    net = network(
        vnet("v", "10.0.0.0/16", {"web": "10.0.1.0/24"}, nsgs={"web": "n"}),
        machine("web-1", "v/web", "10.0.1.4", asgs=["servers"]),
        machine("web-2", "v/web", "10.0.1.5", asgs=["servers"]),
        asg("servers"),
        by_group,
    )
    assert ask(public(net), CLIENT, FRONT, 80).rule == "n/web"


def test_protocol_of_a_rule() -> None:
    net = public(servers(OPEN, nsgs={"web": "n"}))
    balancer = next(iter(net.load_balancers.values()))
    udp = replace(balancer, rules=(balanced("dns", (80, 8080), RuleProtocol.UDP),))
    found = ask(replace(net, load_balancers={"lb": udp}), CLIENT, FRONT, 80)
    assert found.cause is Cause.NO_INBOUND_RULE


def test_the_internet_does_not_reach_an_internal_frontend() -> None:
    open_to_all = nsg("n", rule("all", 100, "Allow"))
    found = ask(internal(servers(open_to_all, nsgs={"web": "n"})), CLIENT, INSIDE, 80)
    assert (found.verdict, found.cause) == ("deny", Cause.NO_INBOUND_RULE)


def test_a_machine_that_asks_its_own_public_address_leaves_and_comes_back() -> None:
    """What an NSG denies is denied then, too, though both ends are one machine."""
    net = with_public_ip(servers(SHUT), "app-1", "own", "203.0.113.30")
    found = ask(net, "app-1", "203.0.113.30", 80)
    assert found.cause is Cause.DEFAULT_DENY
    assert DecisionKind.OUTBOUND in kinds(found)
    assert ask(net, "app-1", "10.0.2.4", 80).allowed


def peered(*groups: Any, access: bool = True) -> Network:
    """A client in a hub, the servers and their internal load balancer in a peer of it."""
    here = peering("hub", "v", "10.0.0.0/16", access=access)
    there = peering("v", "hub", "10.9.0.0/16", access=access)
    return internal(
        network(
            vnet("hub", "10.9.0.0/16", {"s": "10.9.0.0/24"}, [here]),
            vnet("v", "10.0.0.0/16", {"web": "10.0.1.0/24"}, [there], {"web": "n"} if groups else None),
            machine("client", "hub/s", "10.9.0.4"),
            machine("web-1", "v/web", "10.0.1.4"),
            machine("web-2", "v/web", "10.0.1.5"),
            *groups,
        )
    )


def test_internal_frontend_in_a_peer() -> None:
    assert ask(peered(), "client", INSIDE, 80).allowed


def test_a_closed_peering_is_judged_by_what_is_behind_the_frontend() -> None:
    by_port = nsg("n", rule("web", 100, "Allow", ports="8080"))
    assert ask(peered(by_port, access=False), "client", INSIDE, 80).cause is Cause.PEERING_ACCESS_DISABLED
    named = nsg("n", rule("web", 100, "Allow", ports="8080", source="10.9.0.4"))
    assert ask(peered(named, access=False), "client", INSIDE, 80).allowed


def test_a_classic_acl_sees_the_translated_client() -> None:
    def asked(*rules: tuple[int, str, str]) -> Explanation:
        net = web(vnet("w", "10.8.0.0/16", {"s": "10.8.0.0/24"}), machine("far", "w/s", "10.8.0.4"))
        net = with_public_ip(net, "far", "own", "203.0.113.5")
        published = endpoint("rdp", "web-01", 50000, 3389, acl=acl(*rules))
        return ask(with_cloud_service(net, published), "far", "203.0.113.80", 50000)

    assert asked((1, "permit", "203.0.113.5/32")).allowed
    assert asked((1, "deny", "203.0.113.5/32")).cause is Cause.ACL_DENY
    assert asked((1, "permit", "10.8.0.0/16")).cause is Cause.ACL_IMPLICIT_DENY


def test_the_way_out_that_is_proposed_is_the_one_that_is_missing() -> None:
    """A subnet with a NAT gateway that has no address needs an address, not another gateway."""
    plain = servers()
    shut = with_default_outbound(plain, allowed=False)
    assert "--nat-gateway '<nat gateway>'" in ask(shut, "web-1", "198.51.100.9", 443).fix[0]
    without = with_default_outbound(with_nat_gateway(plain, {}), allowed=False)
    assert "nat gateway update" in ask(without, "web-1", "198.51.100.9", 443).fix[0]
