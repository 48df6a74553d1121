"""Classic VMs: in a virtual network or in their cloud service's own, with endpoints and their ACLs."""

from __future__ import annotations

from typing import Any

import pytest

from harness.network.classic import CloudService, EndpointAclRule
from harness.network.model import Network
from harness.network.snapshot import network_from_resources
from harness.network.words import Access, Direction, RuleProtocol, key
from tests.harness.network.arm.everything import everything
from tests.harness.network.arm.refusals import DELETE, Change, Refusal, add, check_refused, edit, find, remove
from tests.harness.network.builders import (
    CLASSIC_NETWORK,
    Resource,
    acl_rule,
    arm_id,
    classic_vm,
    classic_vm_id,
    classic_vnet,
    cloud_service,
    cloud_service_id,
    endpoint,
    network,
)

VM, SERVICE = classic_vm_id("old-1"), cloud_service_id("svc")
NIC = f"{VM}/networkInterfaces/classic"
NSG = arm_id("networkSecurityGroups", "old-nsg", CLASSIC_NETWORK)
VNET = arm_id("virtualNetworks", "old", CLASSIC_NETWORK)


@pytest.fixture
def net() -> Network:
    return network_from_resources(everything(), "test")


def service(*machines: Resource) -> CloudService:
    found = network(cloud_service("svc"), list(machines))
    return found.cloud_services[key(SERVICE)]


def test_a_classic_vm_is_a_vm_with_one_nic(net: Network) -> None:
    nic = net.nics[key(NIC)]
    assert net.vms[key(VM)].nics == (key(NIC),)
    assert (nic.vm, nic.primary, nic.ip_forwarding, nic.nsg) == (key(VM), True, False, key(NSG))
    assert (nic.subnet, [str(a) for a in nic.addresses(4)]) == (key(f"{VNET}/subnets/s"), ["10.20.0.4"])
    assert net.subnets[nic.subnet].vnet == key(VNET)


def test_a_cloud_service_and_its_endpoints(net: Network) -> None:
    found = net.cloud_services[key(SERVICE)]
    assert (found.name, str(found.address), found.nics) == ("svc", "203.0.113.77", (key(NIC),))
    rdp, web = found.endpoints
    assert (rdp.name, rdp.protocol, rdp.public_port, rdp.private_port) == (
        "rdp",
        RuleProtocol.TCP,
        53389,
        3389,
    )
    assert (rdp.nic, rdp.load_balanced_set) == (key(NIC), None)
    assert (web.load_balanced_set, web.acl) == ("web-set", ())


def test_acl_rules_by_order_with_host_bits(net: Network) -> None:
    acl = net.cloud_services[key(SERVICE)].endpoints[0].acl
    assert [(rule.order, rule.access, str(rule.remote_subnet), rule.description) for rule in acl] == [
        (100, Access.DENY, "175.1.0.0/24", "them"),
        (200, Access.ALLOW, "175.0.0.0/8", ""),
    ]
    assert isinstance(acl[0], EndpointAclRule)


def test_without_a_virtual_network_the_cloud_service_has_its_own(net: Network) -> None:
    own = key(cloud_service_id("lone"))
    nics = [net.nics[nic] for nic in net.cloud_services[own].nics]
    (subnet,) = {nic.subnet for nic in nics}
    vnet = net.vnets[net.subnets[subnet].vnet]
    assert vnet.id.startswith(cloud_service_id("lone"))
    assert [str(prefix) for prefix in vnet.address_space] == ["100.64.3.7/32", "100.64.9.1/32"]
    assert vnet.subnets == (subnet,)


def test_cloud_services_outside_virtual_networks_are_apart() -> None:
    found = network(
        cloud_service("one"),
        cloud_service("two"),
        classic_vm("a", "one", "10.0.0.4"),
        classic_vm("b", "two", "10.0.0.4"),
    )
    assert len({found.subnets[nic.subnet].vnet for nic in found.nics.values()}) == 2


def test_a_static_address_comes_first() -> None:
    vm = classic_vm("a", "svc", "10.20.0.9", place=("old", "s"))
    vm["properties"]["networkProfile"]["virtualNetwork"]["staticIpAddress"] = "10.20.0.10"
    found = network(cloud_service("svc"), classic_vnet("old", "10.20.0.0/16", s="10.20.0.0/24"), vm)
    assert [str(address) for address in found.holders] == ["10.20.0.10"]


def test_a_vm_without_an_address_is_unmodelled() -> None:
    found = network(cloud_service("svc"), classic_vm("off", "svc", None, endpoint("rdp", 3389, 3389)))
    assert found.unmodelled == (("Microsoft.ClassicCompute/virtualMachines", classic_vm_id("off")),)
    assert (found.vms, found.cloud_services[key(SERVICE)].endpoints) == ({}, ())


def test_an_instance_level_public_ip() -> None:
    vm = classic_vm("a", "svc", "10.20.0.9", instanceIps=[{"name": "direct"}])
    vm["properties"]["instanceView"]["instanceIpAddresses"] = ["203.0.113.5"]
    found = network(cloud_service("svc"), vm)
    (configuration,) = found.nics[key(f"{classic_vm_id('a')}/networkInterfaces/classic")].ip_configurations
    address = found.public_ips[configuration.public_ip or ""]
    assert (address.name, str(address.address), address.sku) == ("direct", "203.0.113.5", "Basic")


def test_a_load_balanced_set_shares_its_port() -> None:
    web = endpoint("web", 80, 80, loadBalancedEndpointSetName="set")
    found = service(classic_vm("a", "svc", "10.0.0.4", web), classic_vm("b", "svc", "10.0.0.5", web))
    assert [item.nic for item in found.endpoints] == list(found.nics)


def test_one_port_for_each_protocol() -> None:
    both = [endpoint("dns", 53, 53), endpoint("dns-udp", 53, 53, protocol="UDP")]
    found = service(classic_vm("a", "svc", "10.0.0.4", *both))
    assert [item.protocol for item in found.endpoints] == [RuleProtocol.TCP, RuleProtocol.UDP]


def test_a_classic_group_with_rules_in_it_and_the_six_default_ones() -> None:
    def rule(name: str, **more: Any) -> Resource:
        body = {"type": "Outbound", "action": "Deny", "priority": 200, "protocol": "*"}
        ends = {
            "sourceAddressPrefix": "*",
            "destinationAddressPrefix": "AZURE_LOADBALANCER",
            "sourcePortRange": "*",
            "destinationPortRange": "*",
        }
        return {"id": f"{NSG}/securityRules/{name}", "name": name, "properties": body | ends | more}

    given = [rule("no"), rule("DENY ALL OUTBOUND", priority=65500, isDefault=True)]
    group = {
        "id": NSG,
        "name": "old-nsg",
        "type": f"{CLASSIC_NETWORK}/networkSecurityGroups",
        "properties": {"securityRules": given},
    }
    rules = list(network(group).nsgs[key(NSG)].ordered(Direction.OUTBOUND))
    assert [r.name for r in rules] == ["no", "AllowVnetOutBound", "AllowInternetOutBound", "DenyAllOutBound"]
    assert rules[0].destination.tags == ("AzureLoadBalancer",)


def test_a_group_of_a_classic_subnet(net: Network) -> None:
    resources = everything()
    find(resources, VNET)["properties"]["subnets"][0]["networkSecurityGroup"] = {"id": NSG}
    subnets = network_from_resources(resources, "test").subnets
    assert subnets[key(f"{VNET}/subnets/s")].nsg == key(NSG)
    assert net.subnets[key(f"{VNET}/subnets/s")].nsg is None


PROFILE, ENDPOINT = ("networkProfile",), ("networkProfile", "inputEndpoints", 0)
REFUSED: dict[str, Refusal] = {
    "service-missing": (remove(SERVICE), [VM, "domainName", SERVICE, "not in the snapshot"]),
    "no-service": (edit(VM, "domainName", value=DELETE), [VM, "domainName", "cloud service"]),
    "subnet-missing": (
        edit(VM, *PROFILE, "virtualNetwork", "subnetNames", value=["x"]),
        [VM, "subnetNames", f"{VNET}/subnets/x"],
    ),
    "two-subnets": (
        edit(VM, *PROFILE, "virtualNetwork", "subnetNames", value=["s", "t"]),
        [VM, "subnetNames", "found 2"],
    ),
    "group-missing": (remove(NSG), [NSG]),
    "address-outside": (
        edit(VM, "instanceView", "privateIpAddress", value="10.21.0.4"),
        [VM, "10.21.0.4", f"{VNET}/subnets/s"],
    ),
    "endpoint-port": (edit(VM, *ENDPOINT, "publicPort", value=0), [VM, "inputEndpoints[0].publicPort"]),
    "endpoint-protocol": (
        edit(VM, *ENDPOINT, "protocol", value="icmp"),
        [VM, "inputEndpoints[0].protocol", "icmp"],
    ),
    "endpoint-port-taken": (
        add(classic_vm("thief", "svc", "10.20.0.5", endpoint("rdp", 53389, 3389), place=("old", "s"))),
        [classic_vm_id("thief"), "inputEndpoints[0].publicPort", "53389", f"{VM}/inputEndpoints/rdp"],
    ),
    "endpoint-set-taken": (
        add(
            classic_vm(
                "thief",
                "svc",
                "10.20.0.5",
                endpoint("web", 80, 80, loadBalancedEndpointSetName="other"),
                place=("old", "s"),
            )
        ),
        [classic_vm_id("thief"), "publicPort", "80", f"{VM}/inputEndpoints/web"],
    ),
    "two-virtual-ips": (
        edit(VM, "networkProfile", "inputEndpoints", 1, "publicIpAddress", value="203.0.113.78"),
        [VM, "inputEndpoints[1].publicIpAddress", "203.0.113.77", "203.0.113.78"],
    ),
    "acl-action": (
        edit(
            VM, *ENDPOINT, "endpointAccessControlList", "rules", 0, value=acl_rule(1, "allow", "10.0.0.0/8")
        ),
        [VM, "endpointAccessControlList.rules[0].action", "allow"],
    ),
    "acl-subnet": (
        edit(VM, *ENDPOINT, "endpointAccessControlList", "rules", 0, value=acl_rule(1, "deny", "10.0.0/8")),
        [VM, "rules[0].remoteSubnet", "10.0.0/8"],
    ),
    "one-address-twice-in-a-cloud-service": (
        add(classic_vm("lone-3", "lone", "100.64.3.7")),
        ["100.64.3.7", classic_vm_id("lone-1"), classic_vm_id("lone-3")],
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(change: Change, words: list[str]) -> None:
    check_refused(change, words)
