from __future__ import annotations

from ipaddress import ip_address

import pytest

from harness.network.model import Access, Direction, IPAddress
from lab.plan import build_plan
from lab.plan_model import (
    AddressSet,
    ChainKey,
    DropReason,
    FabricPlan,
    PlanError,
    PlannedRule,
    RouteAction,
    RouteTarget,
    rule_name,
)
from tests.lab.fabric_networks import Builder, arm, nsg, route, rule


def target(plan: FabricPlan, nic: str, address: str) -> RouteTarget:
    """Where the routes of a NIC's subnet send packets for ``address``."""
    number = ip_address(address)
    context = plan.bindings[plan.port_ids[nic]].context
    for item, found in plan.routes[context].by_family[number.version]:
        if item.first <= int(number) <= item.last:
            return found
    raise AssertionError(f"no route for {address}")


def holds(addresses: AddressSet, text: str) -> bool:
    number: IPAddress = ip_address(text)
    return addresses.any or any(
        item.first <= int(number) <= item.last for item in addresses.of_family(number.version)
    )


def planned(plan: FabricPlan, nic: str, name: str, direction: Direction = Direction.INBOUND) -> PlannedRule:
    """A rule of the NSG on a NIC, as planned where the NIC is."""
    binding = plan.bindings[plan.port_ids[nic]]
    assert binding.nic_nsg is not None
    rules = plan.chains[ChainKey(binding.nic_nsg, direction, binding.context)]
    return next(item for item in rules if item.id.endswith(f"/{name}"))


def two_vms() -> tuple[Builder, str, str]:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16", "fd00:1::/48")
    subnet = builder.subnet("v", "s", "10.0.1.0/24", "fd00:1::/64")
    return builder, builder.vm("a", subnet, "10.0.1.4", "fd00:1::4"), builder.vm("b", subnet, "10.0.1.5")


def test_a_port_is_configured_as_azure_does() -> None:
    builder, nic, _ = two_vms()

    port = build_plan(builder.build()).ports[1]

    assert (port.id, port.nic, port.vm, port.interface, port.link) == (1, nic, "a", "eth0", "p1")
    assert port.mac == "00:0d:3a:00:00:01"
    assert port.addresses == ((ip_address("10.0.1.4"), 24), (ip_address("fd00:1::4"), 128))
    assert str(port.gateway4) == "10.0.1.1"
    assert str(port.gateway6) == "fe80::1234:5678:9abc"


def test_a_mac_address_of_arm_is_kept() -> None:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    builder.vm("a", builder.subnet("v", "s", "10.0.1.0/24"), "10.0.1.4", mac="00-0D-3A-AB-CD-EF")

    assert build_plan(builder.build()).ports[1].mac == "00:0d:3a:ab:cd:ef"


def test_nics_of_a_vm_are_eth0_eth1_and_only_the_first_is_primary() -> None:
    builder, _, _ = two_vms()
    builder.vm("a", builder.subnet("v", "t", "10.0.2.0/24"), "10.0.2.4")

    ports = build_plan(builder.build()).ports_of("a")

    assert [(port.interface, port.primary) for port in ports] == [("eth0", True), ("eth1", False)]


def test_port_ids_are_kept_and_new_nics_get_the_lowest_free() -> None:
    builder, a, b = two_vms()
    ids = build_plan(builder.build()).port_ids
    c = builder.vm("c", builder.nics[a].subnet, "10.0.1.6")
    grown = build_plan(builder.build(), ids).port_ids
    assert grown == {a: 1, b: 2, c: 3}

    vm = builder.nics[a].vm
    assert vm is not None
    del builder.vms[vm], builder.nics[a]
    d = builder.vm("d", builder.nics[b].subnet, "10.0.1.7")

    assert build_plan(builder.build(), grown).port_ids == {b: 2, c: 3, d: 1}


def test_system_routes() -> None:
    builder, nic, _ = two_vms()
    plan = build_plan(builder.build())
    vnet = builder.subnets[builder.nics[nic].subnet].vnet

    assert target(plan, nic, "10.0.200.9") == RouteTarget.deliver(vnet)
    assert target(plan, nic, "fd00:1::99") == RouteTarget.deliver(vnet)
    for address in ("10.1.0.1", "172.20.0.1", "192.168.3.4", "100.64.0.1"):
        assert target(plan, nic, address) == RouteTarget.drop(DropReason.ROUTE_TO_NONE)
    assert target(plan, nic, "203.0.113.9") == RouteTarget.drop(DropReason.INTERNET)
    assert target(plan, nic, "2001:db8::1") == RouteTarget.drop(DropReason.INTERNET)


def test_a_reserved_prefix_that_is_the_vnets_own_is_delivered() -> None:
    builder = Builder()
    vnet = builder.vnet("v", "10.0.0.0/8")
    nic = builder.vm("a", builder.subnet("v", "s", "10.0.1.0/24"), "10.0.1.4")

    assert target(build_plan(builder.build()), nic, "10.200.0.1") == RouteTarget.deliver(vnet)


@pytest.mark.parametrize(
    ("hop", "expected"),
    [
        ("None", RouteTarget.drop(DropReason.ROUTE_TO_NONE)),
        ("Internet", RouteTarget.drop(DropReason.INTERNET)),
        ("VirtualNetworkGateway", RouteTarget.drop(DropReason.NO_GATEWAY)),
        ("10.0.1.250", RouteTarget.drop(DropReason.APPLIANCE_UNREACHABLE)),
        ("10.9.0.4", RouteTarget.drop(DropReason.APPLIANCE_UNREACHABLE)),
    ],
)
def test_a_user_route_overrides_and_the_longest_prefix_wins(hop: str, expected: RouteTarget) -> None:
    builder = Builder()
    vnet = builder.vnet("v", "10.0.0.0/16")
    subnet = builder.subnet(
        "v", "s", "10.0.1.0/24", routes=[route("10.0.0.0/16", hop), route("10.0.2.0/24", "VnetLocal")]
    )
    nic = builder.vm("a", subnet, "10.0.1.4")
    plan = build_plan(builder.build())

    assert target(plan, nic, "10.0.9.9") == expected
    assert target(plan, nic, "10.0.2.9") == RouteTarget.deliver(vnet)


def test_an_appliance_is_found_in_the_vnet_and_in_a_peer() -> None:
    builder = Builder()
    hub = builder.vnet("hub", "10.0.0.0/16")
    builder.vnet("spoke", "10.1.0.0/16")
    builder.peer("hub", "spoke")
    builder.peer("spoke", "hub")
    appliance = builder.vm("fw", builder.subnet("hub", "s", "10.0.0.0/24"), "10.0.0.4", forwarding=True)
    nic = builder.vm(
        "a", builder.subnet("spoke", "s", "10.1.0.0/24", routes=[route("0.0.0.0/0", "10.0.0.4")]), "10.1.0.4"
    )
    plan = build_plan(builder.build())

    assert target(plan, nic, "203.0.113.1") == RouteTarget.next_hop(hub, plan.port_ids[appliance])


def peered(here: str, back: str, *, access: bool = True, back_access: bool = True) -> FabricPlan:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    builder.vnet("w", "10.1.0.0/16")
    if here:
        builder.peer("v", "w", state=here, access=access)
    if back:
        builder.peer("w", "v", state=back, access=back_access)
    security = nsg("n")
    builder.vm("a", builder.subnet("v", "s", "10.0.1.0/24"), "10.0.1.4", security=security)
    builder.vm("b", builder.subnet("w", "s", "10.1.1.0/24"), "10.1.1.4")
    return build_plan(builder.build())


NIC_A = arm("networkInterfaces", "nic-a-0").lower()


def test_peers_are_reached_while_connected_only() -> None:
    assert target(peered("Connected", "Connected"), NIC_A, "10.1.1.4").action is RouteAction.DELIVER
    for state in ("Initiated", "Disconnected", ""):
        expected = RouteTarget.drop(DropReason.ROUTE_TO_NONE)
        assert target(peered(state, ""), NIC_A, "10.1.1.4") == expected


@pytest.mark.parametrize(("access", "back_access"), [(False, True), (True, False), (False, False)])
def test_a_side_that_disabled_access_is_noted_on_the_route(access: bool, back_access: bool) -> None:
    found = target(
        peered("Connected", "Connected", access=access, back_access=back_access), NIC_A, "10.1.1.4"
    )

    assert found.action is RouteAction.DELIVER
    assert (found.closed_here, found.closed_there) == (not access, not back_access)
    assert not target(peered("Connected", "Connected"), NIC_A, "10.1.1.4").closed


def test_virtual_network_tag_depends_on_where_the_nsg_is() -> None:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    builder.vnet("w", "10.1.0.0/16")
    builder.vnet("x", "10.2.0.0/16")
    builder.peer("v", "w")
    builder.peer("v", "x", access=False)
    security = nsg("n")
    routed = builder.subnet("v", "routed", "10.0.2.0/24", routes=[route("192.168.7.0/24", "10.0.9.9")])
    in_v = builder.vm("a", builder.subnet("v", "s", "10.0.1.0/24"), "10.0.1.4", security=security)
    with_udr = builder.vm("b", routed, "10.0.2.4", security=security)
    in_w = builder.vm("c", builder.subnet("w", "s", "10.1.1.0/24"), "10.1.1.4", security=security)
    plan = build_plan(builder.build())

    def tagged(nic: str, address: str) -> bool:
        return holds(planned(plan, nic, "AllowVnetInBound").source, address)

    assert tagged(in_v, "10.0.9.9")
    assert tagged(in_v, "10.1.9.9")
    assert tagged(in_v, "168.63.129.16")
    assert not tagged(in_v, "10.2.9.9")
    assert not tagged(in_v, "192.168.7.1")
    assert tagged(with_udr, "192.168.7.1")
    assert tagged(in_w, "10.1.9.9")
    assert not tagged(in_w, "10.0.9.9")


def test_internet_tag_is_public_space_outside_the_vnet() -> None:
    builder = Builder()
    builder.vnet("v", "20.0.0.0/16", "2001:db8:1::/48")
    nic = builder.vm("a", builder.subnet("v", "s", "20.0.1.0/24"), "20.0.1.4", security=nsg("n"))
    side = planned(build_plan(builder.build()), nic, "AllowInternetOutBound", Direction.OUTBOUND).destination

    assert holds(side, "203.0.113.1")
    assert holds(side, "20.1.0.1")
    assert holds(side, "2001:db8:2::1")
    for address in (
        "20.0.0.1",
        "10.0.0.1",
        "192.0.2.1",
        "169.254.1.1",
        "224.0.0.1",
        "2001:db8:1::1",
        "fd00::1",
    ):
        assert not holds(side, address)


def test_load_balancer_tag_is_the_host_vip() -> None:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    nic = builder.vm("a", builder.subnet("v", "s", "10.0.1.0/24"), "10.0.1.4", security=nsg("n"))
    side = planned(build_plan(builder.build()), nic, "AllowAzureLoadBalancerInBound").source

    assert holds(side, "168.63.129.16")
    assert not holds(side, "168.63.129.17")


def test_an_asg_is_the_addresses_of_its_members() -> None:
    builder, _, _ = two_vms()
    subnet = next(iter(builder.subnets))
    builder.vm("m", subnet, "10.0.1.9", "fd00:1::9", asgs=["web"])
    security = nsg("n", rule("Web", 100, "Allow", source="asg:web"))
    nic = builder.vm("t", subnet, "10.0.1.10", security=security)
    side = planned(build_plan(builder.build()), nic, "Web").source

    assert holds(side, "10.0.1.9")
    assert holds(side, "fd00:1::9")
    assert not holds(side, "10.0.1.4")


def test_rules_come_in_the_order_of_priority_and_directions_apart() -> None:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    security = nsg("n", rule("Late", 300, "Deny"), rule("Early", 200, "Allow"))
    nic = builder.vm("a", builder.subnet("v", "s", "10.0.1.0/24"), "10.0.1.4", security=security)
    plan = build_plan(builder.build())
    binding = plan.bindings[plan.port_ids[nic]]
    assert binding.nic_nsg is not None

    rules = plan.chains[ChainKey(binding.nic_nsg, Direction.INBOUND, binding.context)]

    assert [rule_name(item.id) for item in rules] == [
        "n/Early",
        "n/Late",
        "n/AllowVnetInBound",
        "n/AllowAzureLoadBalancerInBound",
        "n/DenyAllInBound",
    ]
    assert rules[-1].access is Access.DENY


def test_an_unknown_service_tag_names_nsg_rule_and_tag() -> None:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    security = nsg("nsg-web", rule("FromStorage", 100, "Allow", source="Storage"))
    builder.vm("a", builder.subnet("v", "s", "10.0.1.0/24"), "10.0.1.4", security=security)

    with pytest.raises(PlanError, match=r"nsg-web: rule FromStorage: .*Storage"):
        build_plan(builder.build())


def test_one_address_twice_names_both_nics() -> None:
    builder, _, _ = two_vms()
    builder.vm("c", next(iter(builder.subnets)), "10.0.1.4")

    with pytest.raises(PlanError, match=r"nic-c-0 and .*nic-a-0 both have the address 10\.0\.1\.4"):
        build_plan(builder.build())


def test_the_same_address_in_two_vnets_is_fine() -> None:
    builder = Builder()
    for name in ("v", "w"):
        builder.vnet(name, "10.0.0.0/16")
        builder.vm(name, builder.subnet(name, "s", "10.0.1.0/24"), "10.0.1.4")

    assert len(build_plan(builder.build()).ports) == 2


def test_an_address_outside_its_subnet_is_named() -> None:
    builder, _, _ = two_vms()
    builder.vm("c", next(iter(builder.subnets)), "10.0.7.4")

    with pytest.raises(PlanError, match=r"nic-c-0: address 10\.0\.7\.4 is in no prefix"):
        build_plan(builder.build())
