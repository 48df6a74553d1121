"""Load balancers: their parts, who is behind them from either side, and what is wrong with them."""

from __future__ import annotations

import copy

import pytest

from harness.network.balancing import LoadBalancer
from harness.network.snapshot import network_from_resources
from harness.network.words import PortRange, RuleProtocol, key
from tests.harness.network.arm.everything import LB, everything, frontend, public_balancer
from tests.harness.network.arm.refusals import DELETE, Change, Refusal, add, check_refused, edit, find, remove
from tests.harness.network.builders import (
    Resource,
    arm_id,
    child,
    configuration_id,
    load_balancer,
    load_balancer_id,
    machine,
    network,
    nic_id,
    ref,
    subnet_id,
    vnet_id,
)

ILB, LB_IP = load_balancer_id("ilb"), arm_id("publicIPAddresses", "lb-ip")
POOL, FRONT = f"{LB}/backendAddressPools/pool", f"{LB}/frontendIPConfigurations/front"
NIC_1, NIC_2 = configuration_id("nic-app-1"), configuration_id("nic-app-2")


def loaded(resources: list[Resource] | None = None) -> LoadBalancer:
    return network_from_resources(resources or everything(), "test").load_balancers[key(LB)]


def test_all_of_its_parts() -> None:
    balancer = loaded()
    assert (balancer.name, balancer.sku) == ("lb", "Standard")
    front, by_prefix = balancer.frontends
    assert (front.public_ip, front.address, front.subnet) == (key(LB_IP), None, None)
    assert by_prefix.public_ip_prefix == key(arm_id("publicIPPrefixes", "range"))
    (pool,) = balancer.pools
    assert set(pool.members) == {key(NIC_1), key(NIC_2)}
    assert [(str(address), vnet) for address, vnet in pool.addresses] == [("10.9.1.99", key(vnet_id("e")))]
    (rule,) = balancer.rules
    assert (rule.frontend, rule.pools, rule.protocol) == (key(FRONT), (key(POOL),), RuleProtocol.TCP)
    assert (rule.frontend_port, rule.backend_port, rule.floating_ip) == (80, 8080, False)
    assert (rule.disable_outbound_snat, rule.probe) == (True, key(f"{LB}/probes/health"))
    ssh, spread = balancer.nat_rules
    assert (ssh.frontend_ports, ssh.backend_port, ssh.target) == (PortRange(50022, 50022), 22, key(NIC_1))
    assert (spread.frontend_ports, spread.pool, spread.target) == (PortRange(51000, 51009), key(POOL), None)
    (outbound,) = balancer.outbound_rules
    assert (outbound.frontends, outbound.pool) == ((key(FRONT),), key(POOL))
    assert (outbound.protocol, outbound.allocated_ports) == (RuleProtocol.ANY, 1024)
    assert (outbound.idle_timeout, outbound.tcp_reset) == (15, True)
    assert [(probe.protocol, probe.port) for probe in balancer.probes] == [("Http", 8080)]


def test_an_internal_one_with_ha_ports() -> None:
    balancer = network_from_resources(everything(), "test").load_balancers[key(ILB)]
    (front,), (rule,) = balancer.frontends, balancer.rules
    assert (str(front.address), front.subnet) == ("10.9.1.100", key(subnet_id("e/app")))
    assert (rule.protocol, rule.frontend_port, rule.backend_port) == (RuleProtocol.ANY, 0, 0)
    assert rule.pools == (key(f"{ILB}/backendAddressPools/all"),)


def test_members_and_targets_from_the_other_side() -> None:
    resources = everything()
    balancer = find(resources, LB)["properties"]
    del balancer["backendAddressPools"][0]["properties"]["backendIPConfigurations"]
    del balancer["inboundNatRules"][0]["properties"]["backendIPConfiguration"]
    del balancer["frontendIPConfigurations"][0]["properties"]["publicIPAddress"]
    find(resources, LB_IP)["properties"]["ipConfiguration"] = ref(FRONT)
    del balancer["frontendIPConfigurations"][1]["properties"]["publicIPPrefix"]
    find(resources, arm_id("publicIPPrefixes", "range"))["properties"][
        "loadBalancerFrontendIpConfiguration"
    ] = ref(f"{LB}/frontendIPConfigurations/range")
    nic = find(resources, nic_id("nic-app-1"))["properties"]["ipConfigurations"][0]["properties"]
    nic["loadBalancerBackendAddressPools"] = [ref(POOL)]
    nic["loadBalancerInboundNatRules"] = [
        ref(f"{LB}/inboundNatRules/ssh"),
        ref(f"{LB}/inboundNatRules/range"),
    ]
    turned, plain = loaded(resources), loaded()
    assert set(turned.pools[0].members) == set(plain.pools[0].members)
    assert (turned.frontends, turned.nat_rules) == (plain.frontends, plain.nat_rules)


def test_a_member_by_its_backend_address_is_one_member() -> None:
    resources = everything()
    pool = find(resources, LB)["properties"]["backendAddressPools"][0]["properties"]
    pool["loadBalancerBackendAddresses"] = [
        {
            "name": "a",
            "properties": {"networkInterfaceIPConfiguration": ref(NIC_1), "ipAddress": "10.9.1.4"},
        }
    ]
    assert loaded(resources).pools[0].addresses == ()
    assert set(loaded(resources).pools[0].members) == {key(NIC_1), key(NIC_2)}


@pytest.mark.parametrize("level", ["address", "pool", "subnet"])
def test_the_virtual_network_of_a_member_by_address(level: str) -> None:
    resources = everything()
    pool = find(resources, LB)["properties"]["backendAddressPools"][0]["properties"]
    member = pool["loadBalancerBackendAddresses"][0]["properties"]
    if level != "address":
        del member["virtualNetwork"]
    if level == "pool":
        pool["virtualNetwork"] = ref(vnet_id("e"))
    elif level == "subnet":
        member["subnet"] = ref(subnet_id("e/app"))
    assert [vnet for _, vnet in loaded(resources).pools[0].addresses] == [key(vnet_id("e"))]


def test_members_that_were_not_captured_are_left_out() -> None:
    resources = everything()
    balancer = find(resources, LB)["properties"]
    gone = ref(configuration_id("not-captured"))
    balancer["backendAddressPools"][0]["properties"]["backendIPConfigurations"].append(gone)
    balancer["inboundNatRules"][0]["properties"]["backendIPConfiguration"] = gone
    assert set(loaded(resources).pools[0].members) == {key(NIC_1), key(NIC_2)}
    assert loaded(resources).nat_rules[0].target is None


def test_parts_beside_their_load_balancer() -> None:
    resources = everything()
    balancer = find(resources, LB)["properties"]
    for name in list(balancer):
        resources += balancer.pop(name)
    assert loaded(resources) == loaded()


def test_parts_both_inside_and_beside_must_agree() -> None:
    pool = public_balancer()["properties"]["backendAddressPools"][0]
    assert loaded([*everything(), copy.deepcopy(pool)]) == loaded()
    probe = copy.deepcopy(public_balancer()["properties"]["probes"][0])
    probe["properties"]["port"] = 1
    check_refused(add(probe), [f"{LB}/probes/health", "stands twice"])


def test_a_sku_that_is_not_said_is_basic() -> None:
    assert network(load_balancer("b", sku=None)).load_balancers[key(load_balancer_id("b"))].sku == "Basic"


def test_a_port_that_is_not_said_is_the_frontends() -> None:
    resources = everything()
    del find(resources, LB)["properties"]["loadBalancingRules"][0]["properties"]["backendPort"]
    assert loaded(resources).rules[0].backend_port == 80


def test_quic_is_udp() -> None:
    resources = everything()
    find(resources, LB)["properties"]["loadBalancingRules"][0]["properties"]["protocol"] = "Quic"
    assert loaded(resources).rules[0].protocol is RuleProtocol.UDP


def test_a_global_load_balancer_is_listed_as_unmodelled_with_all_of_its_parts() -> None:
    own = load_balancer_id("world")
    world = load_balancer("world", frontendIPConfigurations=[child(own, "frontendIPConfigurations", "f")])
    world["sku"]["tier"] = "Global"
    pool = child(own, "backendAddressPools", "regions", loadBalancerBackendAddresses=[])
    net = network(world, pool)
    assert net.unmodelled == (("Microsoft.Network/loadBalancers", own),)
    assert net.load_balancers == {}


def in_balancer(kind: str, number: int, name: str, value: object) -> Change:
    return edit(LB, kind, number, "properties", name, value=value)


GONE = ref(f"{LB}/frontendIPConfigurations/gone")
REFUSED: dict[str, Refusal] = {
    "public-ip-missing": (remove(LB_IP), [FRONT, "publicIPAddress", LB_IP, "not in the snapshot"]),
    "prefix-missing": (remove(arm_id("publicIPPrefixes", "range")), [LB, "publicIPPrefix", "range"]),
    "frontend-without-address": (
        in_balancer("frontendIPConfigurations", 0, "publicIPAddress", None),
        [FRONT, "publicIPAddress", "subnet"],
    ),
    "frontend-subnet-missing": (
        edit(ILB, "frontendIPConfigurations", 0, "properties", "subnet", value=ref(subnet_id("e/x"))),
        [ILB, "subnet", subnet_id("e/x")],
    ),
    "frontend-outside-its-subnet": (
        edit(ILB, "frontendIPConfigurations", 0, "properties", "privateIPAddress", value="10.9.2.1"),
        [ILB, "10.9.2.1", subnet_id("e/app")],
    ),
    "frontend-has-the-address-of-a-nic": (
        edit(ILB, "frontendIPConfigurations", 0, "properties", "privateIPAddress", value="10.9.1.4"),
        [ILB, "10.9.1.4", NIC_1],
    ),
    "two-frontends-one-public-ip": (
        lambda rs: find(rs, LB)["properties"]["frontendIPConfigurations"].append(
            frontend("twin", publicIPAddress=ref(LB_IP))
        ),
        [FRONT, f"{LB}/frontendIPConfigurations/twin", LB_IP, "contradicts"],
    ),
    "rule-frontend-gone": (
        in_balancer("loadBalancingRules", 0, "frontendIPConfiguration", GONE),
        [f"{LB}/loadBalancingRules/http", "frontendIPConfiguration", GONE["id"]],
    ),
    "rule-without-frontend": (
        in_balancer("loadBalancingRules", 0, "frontendIPConfiguration", DELETE),
        [f"{LB}/loadBalancingRules/http", "frontendIPConfiguration", "missing"],
    ),
    "rule-pool-gone": (
        in_balancer("loadBalancingRules", 0, "backendAddressPool", ref(f"{LB}/backendAddressPools/gone")),
        [f"{LB}/loadBalancingRules/http", "backendAddressPool", "pools/gone"],
    ),
    "rule-probe-gone": (
        edit(LB, "probes", value=[]),
        [f"{LB}/loadBalancingRules/http", "probe", f"{LB}/probes/health"],
    ),
    "rule-protocol": (
        in_balancer("loadBalancingRules", 0, "protocol", "Icmp"),
        [f"{LB}/loadBalancingRules/http", "protocol", "Icmp"],
    ),
    "rule-port": (
        in_balancer("loadBalancingRules", 0, "frontendPort", 65536),
        [f"{LB}/loadBalancingRules/http", "frontendPort", "65536"],
    ),
    "nat-rule-range-reversed": (
        in_balancer("inboundNatRules", 1, "frontendPortRangeEnd", 50999),
        [f"{LB}/inboundNatRules/range", "frontendPortRangeEnd", "50999"],
    ),
    "nat-rule-without-port": (
        in_balancer("inboundNatRules", 0, "frontendPort", DELETE),
        [f"{LB}/inboundNatRules/ssh", "frontendPort", "missing"],
    ),
    "nat-rule-two-targets": (
        edit(
            nic_id("nic-app-2"),
            "ipConfigurations",
            0,
            "properties",
            "loadBalancerInboundNatRules",
            value=[ref(f"{LB}/inboundNatRules/ssh")],
        ),
        [f"{LB}/inboundNatRules/ssh", NIC_1, NIC_2, "contradicts"],
    ),
    "nic-names-a-missing-nat-rule": (
        edit(
            nic_id("nic-app-2"),
            "ipConfigurations",
            0,
            "properties",
            "loadBalancerInboundNatRules",
            value=[ref(f"{LB}/inboundNatRules/gone")],
        ),
        [NIC_2, "loadBalancerInboundNatRules", f"{LB}/inboundNatRules/gone"],
    ),
    "nic-names-a-missing-pool": (remove(ILB), [NIC_2, f"{ILB}/backendAddressPools/all"]),
    "outbound-rule-without-frontend": (
        in_balancer("outboundRules", 0, "frontendIPConfigurations", []),
        [f"{LB}/outboundRules/out", "frontendIPConfigurations"],
    ),
    "outbound-rule-without-pool": (
        in_balancer("outboundRules", 0, "backendAddressPool", DELETE),
        [f"{LB}/outboundRules/out", "backendAddressPool"],
    ),
    "outbound-rule-ports": (
        in_balancer("outboundRules", 0, "allocatedOutboundPorts", 64001),
        [f"{LB}/outboundRules/out", "allocatedOutboundPorts", "64001"],
    ),
    "member-vnet-gone": (
        edit(
            LB,
            "backendAddressPools",
            0,
            "properties",
            "loadBalancerBackendAddresses",
            0,
            "properties",
            "virtualNetwork",
            value=ref(vnet_id("gone")),
        ),
        [POOL, "virtualNetwork", vnet_id("gone")],
    ),
    "part-of-a-missing-balancer": (
        add(child(load_balancer_id("gone"), "probes", "p", protocol="Tcp", port=1)),
        [f"{load_balancer_id('gone')}/probes/p", "load balancer", "not in the snapshot"],
    ),
    "probe-port": (in_balancer("probes", 0, "port", 0), [f"{LB}/probes/health", "port"]),
    "part-of-another-balancer": (
        edit(LB, "probes", 0, value=child(ILB, "probes", "health", protocol="Tcp", port=1)),
        [LB, f"{ILB}/probes/health", "does not belong"],
    ),
    "part-twice": (
        lambda rs: find(rs, LB)["properties"]["probes"].append(public_balancer()["properties"]["probes"][0]),
        [LB, f"{LB}/probes/health", "twice"],
    ),
    "address-of-a-frontend-taken-by-a-nic": (
        add(*machine("late", "e/app", "10.9.1.100")),
        ["10.9.1.100", ILB],
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(change: Change, words: list[str]) -> None:
    check_refused(change, words)
