"""What the plan says of the internet: edges, ways out, what is published, and who may be outside."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from harness.network.balancing import BackendAddressPool, LoadBalancer
from harness.network.model import Network, key
from lab.edge_rules import declarations, elements
from lab.plan import build_plan
from lab.plan_model import (
    INTERNET,
    EdgePlan,
    FabricPlan,
    InternetHost,
    Outbound,
    OutboundMethod,
    PlanError,
    RouteAction,
    Translation,
)
from lab.program import build_program
from lab.program_steps import transaction
from tests.lab.fabric_networks import Builder, arm, nsg, two_subnets

CLIENT = InternetHost("client", (ip_address("203.0.113.9"), ip_address("2001:db8::9")))
VNET = key(arm("virtualNetworks", "v"))
PUBLIC = "203.0.113.100"


def one_vm(**more: object) -> Builder:
    """One VM ``a`` with an IPv4 address; ``more`` is for :meth:`Builder.vm` and :meth:`Builder.subnet`."""
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    of_subnet = {name: more.pop(name) for name in ("nat_gateway", "default_outbound") if name in more}
    subnet = builder.subnet("v", "s", "10.0.1.0/24", **of_subnet)  # type: ignore[arg-type]
    builder.vm("a", subnet, "10.0.1.4", **more)  # type: ignore[arg-type]
    return builder


def planned(network: Network) -> FabricPlan:
    return build_plan(network, internet_hosts=[CLIENT])


def translation(network: Network) -> Translation:
    (found,) = planned(network).edges[VNET].translations
    return found


def outbound(network: Network) -> OutboundMethod | None:
    found = translation(network).outbound
    return found.method if found is not None else None


def test_without_internet_nothing_is_different() -> None:
    plan = build_plan(two_subnets().build())
    assert not plan.edges
    assert INTERNET not in plan.vnets
    assert not any(name.startswith("edge") for name in build_program(plan).chains)


def test_an_edge_for_each_vnet_that_has_machines() -> None:
    builder = two_subnets()
    builder.vnet("empty", "10.9.0.0/16")
    plan = planned(builder.build())
    assert list(plan.edges) == [VNET]
    edge = plan.edges[VNET]
    assert edge.space == (ip_network("10.0.0.0/16"), ip_network("fd00:1::/48"))
    assert plan.routeless == {4: INTERNET, edge.inside.id: VNET, edge.outside.id: INTERNET}
    (context,) = plan.routes
    for address, action in (
        ("203.0.113.9", RouteAction.EDGE),
        ("2001:db8::9", RouteAction.EDGE),
        ("10.0.9.9", RouteAction.DELIVER),
        ("10.1.0.4", RouteAction.DROP),
    ):
        number, routes = ip_address(address), plan.routes[context].by_family
        found = next(way for item, way in routes[number.version] if item.first <= int(number) <= item.last)
        assert found.action is action, address


def test_ports_keep_their_ids() -> None:
    builder = two_subnets()
    before = planned(builder.build()).port_ids
    assert len(before) == 3 + 1 + 2
    builder.vm("d", next(iter(builder.subnets)), "10.0.1.7")
    grown = build_plan(builder.build(), before, [CLIENT]).port_ids
    assert before.items() < grown.items()


@pytest.mark.parametrize(
    ("builder", "method"),
    [
        (one_vm(), OutboundMethod.DEFAULT_ACCESS),
        (one_vm(default_outbound=False), None),
        (one_vm(public=[PUBLIC]), OutboundMethod.PUBLIC_IP),
        (one_vm(public=[PUBLIC], default_outbound=False), OutboundMethod.PUBLIC_IP),
        (one_vm(nat_gateway="203.0.113.50"), OutboundMethod.NAT_GATEWAY),
        (one_vm(nat_gateway="203.0.113.50", public=[PUBLIC]), OutboundMethod.NAT_GATEWAY),
    ],
)
def test_the_order_of_outbound_methods(builder: Builder, method: OutboundMethod | None) -> None:
    assert outbound(builder.build()) is method


def test_only_a_public_ip_carries_more_than_tcp_and_udp() -> None:
    found = {method: Outbound(method, ip_address(PUBLIC)).ports_only for method in OutboundMethod}
    assert [method for method, ports_only in found.items() if not ports_only] == [OutboundMethod.PUBLIC_IP]


def test_a_nat_gateway_without_address_takes_default_access_all_the_same() -> None:
    network = one_vm(nat_gateway="203.0.113.50").build()
    empty = {name: replace(item, public_ips=()) for name, item in network.nat_gateways.items()}
    assert outbound(replace(network, nat_gateways=empty)) is None


def test_another_public_ip_of_the_machine_takes_default_access() -> None:
    builder = one_vm(public=[PUBLIC])
    subnet = next(iter(builder.subnets))
    builder.vm("a", subnet, "10.0.1.5")
    found = {str(item.address): item.outbound for item in planned(builder.build()).edges[VNET].translations}
    assert found["10.0.1.5"] is None
    assert found["10.0.1.4"] is not None


@pytest.mark.parametrize(("sku", "method"), [("Standard", None), ("Basic", OutboundMethod.DEFAULT_ACCESS)])
def test_a_pool_of_a_standard_load_balancer_takes_default_access(
    sku: str, method: OutboundMethod | None
) -> None:
    network = one_vm().build()
    (nic,) = network.nics.values()
    pool = BackendAddressPool("p", "p", (key(nic.ip_configurations[0].id),))
    assert (
        outbound(replace(network, load_balancers={"lb": LoadBalancer("lb", "lb", sku, pools=(pool,))}))
        is method
    )


@pytest.mark.parametrize(
    ("builder", "is_published"),
    [
        (one_vm(public=[PUBLIC]), False),
        (one_vm(public=[PUBLIC], sku="Basic"), True),
        (one_vm(public=[PUBLIC], security=nsg("n")), True),
        (one_vm(), False),
    ],
)
def test_a_standard_public_ip_is_closed_without_an_nsg(builder: Builder, is_published: bool) -> None:
    assert translation(builder.build()).published == (ip_address(PUBLIC) if is_published else None)


def test_every_vnet_has_a_spare_address_that_nobody_else_has() -> None:
    builder = Builder()
    for name in ("u", "v"):
        builder.vnet(name, "10.0.0.0/16")
        subnet = builder.subnet(name, "s", "10.0.1.0/24")
        builder.vm(f"{name}1", subnet, "10.0.1.4")
    builder.vm("public", builder.subnet("v", "t", "10.0.2.0/24"), "10.0.2.4", public=["198.51.100.254"])
    plan = planned(builder.build())
    spare = [
        item.outbound.address
        for edge in plan.edges.values()
        for item in edge.translations
        if item.outbound is not None and item.outbound.method is OutboundMethod.DEFAULT_ACCESS
    ]
    assert list(map(str, spare)) == ["198.51.100.253", "198.51.100.252"]
    assert set(spare) < set(plan.vnets[INTERNET].addresses)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (InternetHost("a", (ip_address("203.0.113.9"),)), "has the name of"),
        (InternetHost("x", (ip_address("192.0.2.1"),)), "no address that Azure counts as Internet"),
        (InternetHost("x", (ip_address("10.0.0.1"),)), "no address that Azure counts as Internet"),
        (InternetHost("x", (ip_address("fd00::1"),)), "no address that Azure counts as Internet"),
        (InternetHost("x", (ip_address(PUBLIC),)), f"both have the address {PUBLIC}"),
    ],
)
def test_who_cannot_be_on_the_internet(host: InternetHost, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        build_plan(one_vm(public=[PUBLIC]).build(), internet_hosts=[host])


def test_the_same_plan_needs_no_change_of_the_program() -> None:
    program = build_program(planned(one_vm(public=[PUBLIC]).build()))
    assert transaction(program, program) == ""


def test_a_change_of_translations_touches_no_declaration() -> None:
    def edge(builder: Builder) -> EdgePlan:
        return planned(builder.build()).edges[VNET]

    private, public = edge(one_vm()), edge(one_vm(public=[PUBLIC]))
    assert declarations(private) == declarations(public)
    assert "add element inet edge leaving_ports4 { 10.0.1.4 : 198.51.100.254 }" in elements(private)
    assert f"add element inet edge leaving4 {{ 10.0.1.4 : {PUBLIC} }}" in elements(public)
    assert "add element inet edge published4" not in elements(public)
