"""NICs beyond the snapshot tests: blocks of addresses, and the instances of scale sets."""

from __future__ import annotations

from harness.network.snapshot import network_from_resources
from harness.network.words import key
from tests.harness.network.arm.everything import SCALE_SET_NIC, SCALE_SET_VM, everything
from tests.harness.network.arm.refusals import add, check_refused, edit, find
from tests.harness.network.builders import (
    arm_id,
    configuration_id,
    network,
    nic,
    nic_id,
    nsg,
    public_ip,
    ref,
    resource,
    subnet_id,
    vnet,
    vnet_id,
)

PUBLIC_IP = f"{SCALE_SET_NIC}/ipConfigurations/ip/publicIPAddresses/p"


def test_a_block_of_addresses_is_unmodelled_and_its_nic_is_not() -> None:
    place = vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"})
    block = configuration_id("n", 2)
    place["properties"]["subnets"][0]["properties"]["ipConfigurations"] = [ref(block)]
    net = network(place, nic("n", "v/s", "10.0.0.4", "10.0.0.16/28"))
    assert [str(address) for address in net.nics[key(nic_id("n"))].addresses(4)] == ["10.0.0.4"]
    assert net.unmodelled == (("Microsoft.Network/networkInterfaces/ipConfigurations", block),)


def test_a_block_that_is_none_is_refused() -> None:
    check_refused(
        edit(nic_id("nic-app-1"), "ipConfigurations", 0, "properties", "privateIPAddress", value="10.9.1/28"),
        [configuration_id("nic-app-1"), "privateIPAddress", "10.9.1/28"],
    )


def test_an_instance_of_a_scale_set_is_a_vm() -> None:
    net = network_from_resources(everything(), "test")
    assert net.vms[key(SCALE_SET_VM)].name == "ss_0"
    assert net.nics[key(SCALE_SET_NIC)].vm == key(SCALE_SET_VM)
    assert [str(address) for address in net.nics[key(SCALE_SET_NIC)].addresses(4)] == ["10.9.1.20"]


def test_an_instance_that_is_listed_by_itself() -> None:
    kind = "Microsoft.Compute/virtualMachineScaleSets/virtualMachines"
    profile = {"networkProfile": {"networkInterfaces": [ref(SCALE_SET_NIC)]}}
    instance = resource(SCALE_SET_VM, kind, profile) | {"name": "ss_0"}
    net = network_from_resources([*everything(), instance], "test")
    assert net.vms == network_from_resources(everything(), "test").vms


def test_the_public_ip_of_an_instance() -> None:
    resources = everything()
    address = public_ip("p", "203.0.113.30")
    del address["type"]
    address["properties"]["ipConfiguration"] = ref(f"{SCALE_SET_NIC}/ipConfigurations/ip")
    resources.append(address | {"id": PUBLIC_IP})
    net = network_from_resources(resources, "test")
    assert net.nics[key(SCALE_SET_NIC)].ip_configurations[0].public_ip == key(PUBLIC_IP)


def test_groups_and_subnets_may_list_instances_that_were_not_captured() -> None:
    resources = everything()
    gone = f"{SCALE_SET_VM}9/networkInterfaces/n"
    resources.append(nsg("m", networkInterfaces=[ref(gone), ref(SCALE_SET_NIC)]))
    subnet = find(resources, vnet_id("e"))["properties"]["subnets"][0]["properties"]
    subnet["ipConfigurations"] = [ref(f"{nic}/ipConfigurations/ip") for nic in (gone, SCALE_SET_NIC)]
    net = network_from_resources(resources, "test")
    assert net.nics[key(SCALE_SET_NIC)].nsg == key(arm_id("networkSecurityGroups", "m"))
    assert key(gone) not in net.nics


def test_a_nic_that_is_no_instance_has_to_be_there() -> None:
    check_refused(
        add(nsg("m", networkInterfaces=[ref(nic_id("gone"))])), [nic_id("gone"), "not in the snapshot"]
    )


def test_a_nic_belongs_to_one_public_ip() -> None:
    thief = public_ip("thief", "203.0.113.40")
    thief["properties"]["ipConfiguration"] = ref(configuration_id("nic-web-01"))
    check_refused(add(thief), [thief["id"], configuration_id("nic-web-01"), "contradicts"])


def test_subnet_of_an_instance_has_to_be_there() -> None:
    check_refused(
        edit(SCALE_SET_NIC, "ipConfigurations", 0, "properties", "subnet", value=ref(subnet_id("e/x"))),
        [SCALE_SET_NIC, subnet_id("e/x"), "not in the snapshot"],
    )
