"""By what a packet leaves: the documented order, what each method carries, and its SNAT ports."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from harness.model import Protocol
from harness.network.model import Network
from harness.policy.outbound import NoOutbound, Outbound, OutboundKind, outbound_of
from tests.harness.network.builders import arm_id, machine, nic, subnet_id, vm
from tests.harness.policy import edges
from tests.harness.policy.edges import (
    TCP,
    UDP,
    balanced,
    configuration,
    forwarded,
    frontend,
    leaving,
    member,
    pool,
    prefix,
    public_ips,
    web,
    with_balancer,
    with_cloud_service,
    with_default_outbound,
    with_nat_gateway,
    with_public_ip,
)

FRONT = {"front": "203.0.113.10"}
EVERYTHING = tuple(Protocol)


def ask(
    net: Network, source: str = "web-01", protocol: Protocol = Protocol.TCP, number: int = 0, **options: Any
) -> Outbound | NoOutbound:
    """``number`` is that of the IP configuration."""
    view = edges.view(net, **options)
    return outbound_of(view, edges.nic(net, source), configuration(net, source, number), protocol)


def way(net: Network, *args: Any, **more: Any) -> Outbound:
    found = ask(net, *args, **more)
    assert isinstance(found, Outbound), found
    return found


def no_way(net: Network, *args: Any, **more: Any) -> str:
    found = ask(net, *args, **more)
    assert isinstance(found, NoOutbound), found
    return found.why


def behind_frontend(
    *, sku: str = "Standard", members: tuple[str, ...] = ("web-01", "web-02"), **parts: Any
) -> Network:
    """The web servers in the pool of a public load balancer; rules and other parts as given."""
    parts = {
        "frontends": (frontend("front", "front"),),
        "pools": (pool("pool", *(member(name) for name in members)),),
        **parts,
    }
    net = web()
    return with_balancer(replace(net, public_ips=public_ips(**FRONT)), sku, **parts)


def every_method() -> Network:
    net = behind_frontend(rules=(balanced("http", (80, 8080)),), outbound_rules=(leaving("out"),))
    net = with_public_ip(net, "web-01", "own", "203.0.113.4")
    return with_nat_gateway(net, {"gw": "203.0.113.1"})


# -- the order ----------------------------------------------------------------------------------


def test_nat_gateway_wins_over_everything() -> None:
    found = way(every_method())
    assert (found.kind, found.object_id) == (OutboundKind.NAT_GATEWAY, arm_id("natGateways", "nat"))
    assert found.addresses == (ip_address("203.0.113.1"),)
    assert found.why == (
        "NAT gateway 'nat' takes all that leaves subnet 'web'; not used: public IP address 'own',"
        " load balancer 'lb', outbound rule 'out', load balancer 'lb', load-balancing rule 'http'"
    )


def test_order_of_the_others() -> None:
    net = every_method()
    at = subnet_id("v/web").lower()
    net = replace(net, subnets={**net.subnets, at: replace(net.subnets[at], nat_gateway=None)})
    assert way(net).kind is OutboundKind.PUBLIC_IP
    assert way(net, "web-02").kind is OutboundKind.OUTBOUND_RULE
    balancer = net.load_balancers[edges.LB]
    net = replace(net, load_balancers={edges.LB: replace(balancer, outbound_rules=())})
    assert way(net, "web-02").kind is OutboundKind.LOAD_BALANCING_RULE
    assert way(net, "web-03").kind is OutboundKind.DEFAULT_ACCESS


# -- NAT gateway --------------------------------------------------------------------------------


def test_nat_gateway_has_64512_ports_for_each_address_on_demand() -> None:
    net = with_nat_gateway(web(), {"a": "203.0.113.1", "b": "203.0.113.2"}, {"p": "203.0.113.16/30"})
    found = way(net)
    assert found.snat_ports == 6 * 64_512
    assert found.prefixes == (ip_network("203.0.113.16/30"),)
    assert len(found.addresses) == 6


def test_nat_gateway_of_another_subnet_is_not_asked() -> None:
    net = with_nat_gateway(web(), {"a": "203.0.113.1"})
    assert way(net, "db-01").kind is OutboundKind.DEFAULT_ACCESS


@pytest.mark.parametrize("protocol", [Protocol.ICMP, Protocol.ESP, Protocol.AH])
def test_nothing_takes_over_what_a_nat_gateway_does_not_carry(protocol: Protocol) -> None:
    why = no_way(every_method(), protocol=protocol)
    assert why.startswith("NAT gateway 'nat' takes all that leaves subnet 'web' and carries TCP and UDP only")
    if protocol is not Protocol.AH:
        assert why.endswith("; nothing takes over, not even public IP address 'own'")


def test_standard_nat_gateway_is_for_ipv4_only() -> None:
    net = with_nat_gateway(web(), {"a": "203.0.113.1"})
    why = no_way(net, number=1)
    assert why.startswith("NAT gateway 'nat' has no public IPv6 address")
    both = {"a": "203.0.113.1", "b": "2001:db8::1"}
    found = way(with_nat_gateway(web(), both, sku="StandardV2"), number=1)
    assert (found.kind, found.addresses) == (OutboundKind.NAT_GATEWAY, (ip_address("2001:db8::1"),))
    assert found.snat_ports == 64_512


def test_nat_gateway_without_any_address_is_not_operational() -> None:
    net = with_nat_gateway(web(), {})
    why = no_way(net)
    assert why.startswith("NAT gateway 'nat' has no public IPv4 address; ")
    assert why.endswith(
        "default outbound access is gone because of NAT gateway 'nat', although it has no public IP address"
    )
    assert way(with_public_ip(net, "web-01", "own", "203.0.113.4")).kind is OutboundKind.PUBLIC_IP


def test_addresses_that_are_not_known_yet() -> None:
    found = way(with_nat_gateway(web(), {"a": None}))
    assert (found.addresses, found.snat_ports) == ((), 64_512)
    assert no_way(with_nat_gateway(web(), {"a": None}), number=1).startswith(
        "NAT gateway 'nat' has no public IPv6"
    )
    found = way(with_nat_gateway(web(), {}, {"p": None}))
    assert (found.kind, found.prefixes, found.snat_ports) == (OutboundKind.NAT_GATEWAY, (), None)


# -- public IP address --------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP, Protocol.ICMP, Protocol.ESP])
def test_public_ip_is_one_to_one(protocol: Protocol) -> None:
    found = way(with_public_ip(web(), "web-01", "own", "203.0.113.4"), protocol=protocol)
    assert (found.kind, found.name) == (OutboundKind.PUBLIC_IP, "public IP address 'own'")
    assert (found.addresses, found.snat_ports) == ((ip_address("203.0.113.4"),), None)


def test_public_ip_does_not_carry_ah() -> None:
    why = no_way(with_public_ip(web(), "web-01", "own", "203.0.113.4"), protocol=Protocol.AH)
    assert "public IP address 'own' does not carry AH" in why


def test_each_configuration_leaves_by_its_own_public_ip() -> None:
    net = with_public_ip(web(), "web-01", "own", "203.0.113.4")
    net = with_public_ip(net, "web-01", "six", "2001:db8::4", number=1)
    assert way(net, number=0).addresses == (ip_address("203.0.113.4"),)
    assert way(net, number=1).addresses == (ip_address("2001:db8::4"),)


def test_default_access_is_not_listed_beside_a_public_ip() -> None:
    found = way(with_public_ip(web(), "web-01", "basic", "203.0.113.4"))
    assert found.why == "public IP address 'basic' is 10.0.1.4's own"


def test_dynamic_public_ip_without_an_address() -> None:
    found = way(with_public_ip(web(), "web-01", "own", None))
    assert (found.kind, found.addresses) == (OutboundKind.PUBLIC_IP, ())


# -- outbound rules -----------------------------------------------------------------------------


def test_outbound_rule_allocates_its_ports() -> None:
    found = way(behind_frontend(outbound_rules=(leaving("out", ports=10_000),)))
    assert (found.kind, found.snat_ports) == (OutboundKind.OUTBOUND_RULE, 10_000)
    assert found.addresses == (ip_address("203.0.113.10"),)
    assert found.why == "load balancer 'lb', outbound rule 'out' translates TCP of its backend pool"


def test_outbound_rule_without_an_allocation_uses_the_table() -> None:
    net = behind_frontend(outbound_rules=(leaving("out"),))
    assert way(net).snat_ports == 1_024


def test_every_address_of_a_prefix_counts() -> None:
    net = behind_frontend(
        frontends=(frontend("front", of_prefix="p"),), outbound_rules=(leaving("out", ports=64_000),)
    )
    found = way(replace(net, public_ip_prefixes=prefix("p", "203.0.113.32/31")))
    assert found.prefixes == (ip_network("203.0.113.32/31"),)
    assert "rejected" not in found.why
    small = way(replace(net, public_ip_prefixes=prefix("p", "203.0.113.32/32")))
    assert small.why.endswith("are rejected by Azure: one public address gives 64,000")


def test_allocation_that_azure_rejects_is_said() -> None:
    found = way(behind_frontend(outbound_rules=(leaving("out", ports=1_001),)))
    assert found.why.endswith(
        "; outbound rule 'out': 1,001 ports per instance are rejected by Azure: not a multiple of 8"
    )


def test_allocation_that_inbound_rules_cut_short_is_said() -> None:
    rule = balanced("http", (80, 8080), disable_outbound_snat=True)
    found = way(behind_frontend(rules=(rule,), outbound_rules=(leaving("out", ports=32_000),)))
    assert found.why.endswith(
        "2 instances x 32,000 ports = 64,000 are more than the 63,992 that inbound rules leave of 64,000"
    )


def test_outbound_rule_of_the_other_protocol() -> None:
    net = behind_frontend(outbound_rules=(leaving("out", protocol=TCP),))
    assert way(net, protocol=Protocol.TCP).kind is OutboundKind.OUTBOUND_RULE
    why = no_way(net, protocol=Protocol.UDP)
    assert "no outbound rule is for UDP over IPv4" in why
    assert "default outbound access is gone because of Standard load balancer 'lb'" in why


def test_two_outbound_rules_share_the_protocols() -> None:
    rules = (leaving("tcp", protocol=TCP, ports=8_000), leaving("udp", protocol=UDP, ports=800))
    net = behind_frontend(outbound_rules=rules)
    assert way(net, protocol=Protocol.TCP).snat_ports == 8_000
    assert way(net, protocol=Protocol.UDP).snat_ports == 800


# -- load-balancing rules -----------------------------------------------------------------------


def test_load_balancing_rule_brings_snat_for_its_protocol() -> None:
    net = behind_frontend(rules=(balanced("http", (80, 8080)),))
    found = way(net)
    assert (found.kind, found.snat_ports) == (OutboundKind.LOAD_BALANCING_RULE, 1_024)
    assert (
        found.why == "load balancer 'lb', load-balancing rule 'http' brings SNAT for TCP to its backend pool"
    )
    assert isinstance(ask(net, protocol=Protocol.UDP), NoOutbound)


def test_every_public_frontend_of_the_rules_counts_but_the_limit_holds() -> None:
    net = behind_frontend(
        frontends=(frontend("front", "front"), frontend("other", "other")),
        rules=(balanced("http", (80, 8080)), balanced("https", (443, 8443), at="other")),
    )
    net = replace(net, public_ips=public_ips(**FRONT, other="203.0.113.11"))
    found = way(net)
    assert found.addresses == (ip_address("203.0.113.10"), ip_address("203.0.113.11"))
    assert found.snat_ports == 1_024
    assert found.name == "load balancer 'lb', load-balancing rules 'http', 'https'"


def test_disable_outbound_snat_without_an_outbound_rule_is_no_outbound() -> None:
    net = behind_frontend(rules=(balanced("http", (80, 8080), disable_outbound_snat=True),))
    why = no_way(net)
    assert "load-balancing rule 'http' has disableOutboundSnat" in why
    assert why.endswith("default outbound access is gone because of Standard load balancer 'lb'")


def test_pool_size_decides_the_ports() -> None:
    many = [machine(f"vm-{n}", "v/db", f"10.0.2.{n}") for n in range(10, 70)]
    net = web(*many)
    names = ["web-01", *(f"vm-{n}" for n in range(10, 70))]
    net = with_balancer(
        replace(net, public_ips=public_ips(**FRONT)),
        frontends=(frontend("front", "front"),),
        pools=(pool("pool", *(member(name) for name in names)),),
        rules=(balanced("http", (80, 8080)),),
    )
    assert way(net).snat_ports == 512


@pytest.mark.parametrize("protocol", [Protocol.ICMP, Protocol.ESP, Protocol.AH])
def test_load_balancers_translate_tcp_and_udp_only(protocol: Protocol) -> None:
    net = behind_frontend(rules=(balanced("http", (80, 8080)),), outbound_rules=(leaving("out"),))
    assert f"load balancers translate TCP and UDP only, not {protocol.value.upper()}" in no_way(
        net, protocol=protocol
    )


def test_load_balancers_translate_the_primary_ipv4_configuration_only() -> None:
    net = web(nic("nic-two", "v/db", "10.0.2.8", "10.0.2.9", vm="two"), vm("two", "nic-two"))
    net = with_balancer(
        replace(net, public_ips=public_ips(**FRONT)),
        frontends=(frontend("front", "front"),),
        pools=(pool("pool", member("two"), member("two", 2)),),
        outbound_rules=(leaving("out"),),
    )
    assert way(net, "two").kind is OutboundKind.OUTBOUND_RULE
    assert "load balancers translate a NIC's primary IPv4 configuration only" in no_way(net, "two", number=1)


def test_outbound_rule_serves_ipv6_beside_a_nat_gateway() -> None:
    net = behind_frontend(
        frontends=(frontend("front", "six"),),
        pools=(pool("pool", member("web-01", 2)),),
        outbound_rules=(leaving("out"),),
    )
    net = replace(net, public_ips=public_ips(six="2001:db8::10"))
    net = with_nat_gateway(net, {"gw": "203.0.113.1"})
    assert way(net, number=0).kind is OutboundKind.NAT_GATEWAY
    found = way(net, number=1)
    assert (found.kind, found.addresses) == (OutboundKind.OUTBOUND_RULE, (ip_address("2001:db8::10"),))


def test_a_frontend_of_the_other_family_does_not_serve() -> None:
    net = behind_frontend(outbound_rules=(leaving("out"),), pools=(pool("pool", member("web-01", 2)),))
    assert "no outbound rule is for TCP over IPv6" in no_way(net, number=1)


# -- default outbound access --------------------------------------------------------------------


def test_default_outbound_access_is_for_tcp_and_udp_over_ipv4() -> None:
    found = way(web())
    assert (found.kind, found.object_id, found.addresses) == (OutboundKind.DEFAULT_ACCESS, None, ())
    assert found.snat_ports == 1_024
    for protocol in (Protocol.ICMP, Protocol.ESP, Protocol.AH):
        assert no_way(web(), protocol=protocol).endswith(
            "default outbound access is for TCP and UDP over IPv4 only"
        )
    assert isinstance(ask(web(), number=1), NoOutbound)


def test_a_subnet_that_says_so_has_no_default_outbound_access() -> None:
    found = ask(with_default_outbound(web(), False))
    assert isinstance(found, NoOutbound)
    assert found.subnet == subnet_id("v/web")
    assert found.why == (
        "subnet 'web' has no NAT gateway; 10.0.1.4 has no public IP address; no outbound rule is for"
        " 10.0.1.4; no load-balancing rule of a public frontend is for 10.0.1.4; subnet 'web' has no default"
        " outbound access"
    )


def test_the_option_decides_where_the_subnet_does_not_say() -> None:
    assert isinstance(ask(web(), default_outbound="denied"), NoOutbound)
    assert isinstance(ask(web(), default_outbound="allowed"), Outbound)
    assert isinstance(ask(with_default_outbound(web(), True), default_outbound="denied"), Outbound)
    assert isinstance(ask(with_default_outbound(web(), False), default_outbound="allowed"), NoOutbound)


def test_a_private_subnet_keeps_its_explicit_methods() -> None:
    net = with_default_outbound(behind_frontend(outbound_rules=(leaving("out"),)), False)
    assert way(net).kind is OutboundKind.OUTBOUND_RULE


def test_standard_internal_load_balancer_is_no_outbound() -> None:
    parts: dict[str, Any] = {
        "frontends": (frontend("front", private="10.0.1.100"),), "rules": (balanced("http", (80, 8080)),)
    }  # fmt: skip
    why = no_way(behind_frontend(**parts))
    assert why.endswith("default outbound access is gone because of Standard load balancer 'lb'")
    assert way(behind_frontend(sku="Basic", **parts)).kind is OutboundKind.DEFAULT_ACCESS


def test_inbound_nat_rules_alone_are_no_outbound() -> None:
    single = behind_frontend(pools=(), nat_rules=(forwarded("ssh", 2201, 22, to=member("web-01")),))
    assert no_way(single).endswith("gone because of Standard load balancer 'lb'")
    assert way(single, "web-02").kind is OutboundKind.DEFAULT_ACCESS
    over_pool = behind_frontend(nat_rules=(forwarded("ssh", 2201, 22, last=2210, over="pool"),))
    assert isinstance(ask(over_pool), NoOutbound)


def test_basic_public_load_balancer_brings_snat() -> None:
    net = behind_frontend(sku="Basic", rules=(balanced("http", (80, 8080)),))
    assert way(net).kind is OutboundKind.LOAD_BALANCING_RULE


def test_pools_by_address_keep_default_outbound_access() -> None:
    parts: dict[str, Any] = {"pools": (pool("pool", addresses=["10.0.1.4"]),)}
    assert way(behind_frontend(**parts)).kind is OutboundKind.DEFAULT_ACCESS
    with_rule = behind_frontend(**parts, outbound_rules=(leaving("out"),))
    assert way(with_rule).kind is OutboundKind.OUTBOUND_RULE


def two_nics() -> Network:
    """The VM ``pair`` has a NIC in each subnet."""
    pair = [
        nic("nic-pair", "v/web", "10.0.1.20", vm="pair"),
        nic("nic-other", "v/db", "10.0.2.20", vm="pair"),
    ]
    return web(*pair, vm("pair", "nic-pair", "nic-other"))


def test_a_standard_public_ip_at_any_nic_of_the_machine_stops_default_access() -> None:
    assert way(two_nics(), "pair").kind is OutboundKind.DEFAULT_ACCESS
    net = with_public_ip(two_nics(), "other", "own", "203.0.113.4")
    assert no_way(net, "pair").endswith("Standard public IP address 'own' at the machine")
    basic = with_public_ip(two_nics(), "other", "basic", "203.0.113.4")
    assert way(basic, "pair").kind is OutboundKind.DEFAULT_ACCESS


# -- cloud services -----------------------------------------------------------------------------


def test_classic_vm_leaves_by_its_load_balanced_endpoint() -> None:
    net = with_cloud_service(web(), edges.endpoint("web", "web-01", 80, 8080, load_balanced_set="set"))
    found = way(with_default_outbound(net, False))
    assert (found.name, found.addresses) == ("cloud service 'cs'", (ip_address("203.0.113.80"),))
    assert (found.object_id, found.snat_ports) == ("/classic/cs", 1_024)


@pytest.mark.parametrize("balanced_set", [None, "set"])
def test_classic_vm_without_one_leaves_by_an_address_that_azure_designates(balanced_set: str | None) -> None:
    others = edges.endpoint("web", "web-01", 80, 8080, load_balanced_set=balanced_set)
    found = way(with_cloud_service(web(), others), "web-02")
    assert (found.kind, found.addresses) == (OutboundKind.DEFAULT_ACCESS, ())


# -- always -------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", EVERYTHING)
@pytest.mark.parametrize("number", [0, 1])
def test_every_question_has_an_answer_that_says_why(protocol: Protocol, number: int) -> None:
    for net in (web(), every_method(), with_cloud_service(web())):
        for source in ("web-01", "web-02"):
            assert ask(net, source, protocol, number).why
