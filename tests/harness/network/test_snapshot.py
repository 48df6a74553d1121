"""Snapshots in: associations from either side, defaults, and one clear error for each way to be wrong."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from harness.errors import SnapshotError
from harness.network.model import Direction, NextHopType, key
from harness.network.snapshot import load_snapshot, network_from_resources
from tests.harness.network.builders import (
    Resource,
    arm_id,
    asg,
    machine,
    network,
    nic,
    nic_id,
    nsg,
    peering,
    public_ip,
    ref,
    resource,
    route,
    rule,
    subnet_id,
    table,
    vm,
    vm_id,
    vnet,
    vnet_id,
)

NSG_ID, TABLE_ID = arm_id("networkSecurityGroups", "n"), arm_id("routeTables", "t")


def valid() -> list[Resource]:
    """Virtual networks, security groups, routes, NICs and VMs; the edges are in ``arm/everything.py``."""
    return [
        vnet(
            "v",
            ["10.0.0.0/16", "fd00:1::/48"],
            {"web": ["10.0.1.0/24", "fd00:1:0:1::/64"], "db": "10.0.2.0/24"},
            [peering("v", "w", "10.1.0.0/16")],
            nsgs={"web": "n"},
            tables={"db": "t"},
        ),
        vnet("w", "10.1.0.0/16", {"s": "10.1.0.0/24"}, [peering("w", "v", ["10.0.0.0/16", "fd00:1::/48"])]),
        nsg(
            "n",
            rule("allow", 100, "Allow", protocol="Tcp", ports=["80", "443-450"], source="Internet"),
            rule(
                "asg",
                110,
                "Deny",
                source=[],
                sourceApplicationSecurityGroups=[ref(arm_id("applicationSecurityGroups", "g"))],
            ),
        ),
        asg("g"),
        table(
            "t",
            route("hole", "10.9.0.0/16", "None"),
            route("nva", "0.0.0.0/0", "VirtualAppliance", "10.0.1.4"),
        ),
        public_ip("p", "203.0.113.7"),
        *machine(
            "web-01",
            "v/web",
            "10.0.1.4",
            "fd00:1:0:1::4",
            nsg="n",
            asgs=["g"],
            public_ip="p",
            forwarding=True,
        ),
        *machine("db-01", "v/db", "10.0.2.4"),
        resource(arm_id("azureFirewalls", "fw"), "Microsoft.Network/azureFirewalls", {"anything": [1, None]}),
    ]


def find(resources: list[Resource], identity: str) -> Resource:
    return next(item for item in resources if key(item["id"]) == key(identity))


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "snapshot.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# -- what is right ----------------------------------------------------------------------------


def test_the_whole_thing(tmp_path: Path) -> None:
    net = load_snapshot(write(tmp_path, json.dumps({"resources": valid()})))
    web = net.nics[key(nic_id("nic-web-01"))]
    assert [str(a) for a in (*web.addresses(4), *web.addresses(6))] == ["10.0.1.4", "fd00:1:0:1::4"]
    assert (web.nsg, web.vm, web.ip_forwarding) == (key(NSG_ID), key(vm_id("web-01")), True)
    assert web.asgs == {key(arm_id("applicationSecurityGroups", "g"))}
    assert net.subnets[key(subnet_id("v/web"))].nsg == key(NSG_ID)
    assert net.subnets[key(subnet_id("v/db"))].route_table == key(TABLE_ID)
    assert [r.next_hop_type for r in net.route_tables[key(TABLE_ID)].routes] == [
        NextHopType.NONE,
        NextHopType.VIRTUAL_APPLIANCE,
    ]
    assert net.vnets[key(vnet_id("v"))].peerings[0].remote_vnet == key(vnet_id("w"))
    assert net.unmodelled == (("Microsoft.Network/azureFirewalls", arm_id("azureFirewalls", "fw")),)
    assert len(net.holders) == 3


def test_default_rules_are_synthesised_and_ordered() -> None:
    group = network(nsg("n", rule("late", 4096, "Deny"), rule("early", 100, "Allow"))).nsgs[key(NSG_ID)]
    assert [(r.name, r.priority) for r in group.ordered(Direction.INBOUND)] == [
        ("early", 100),
        ("late", 4096),
        ("AllowVnetInBound", 65000),
        ("AllowAzureLoadBalancerInBound", 65001),
        ("DenyAllInBound", 65500),
    ]
    assert [r.name for r in group.ordered(Direction.OUTBOUND)] == [
        "AllowVnetOutBound",
        "AllowInternetOutBound",
        "DenyAllOutBound",
    ]


def test_ids_compare_without_regard_to_case() -> None:
    resources = valid()
    for item in resources:
        if "virtualMachine" in item["properties"]:
            item["properties"]["virtualMachine"]["id"] = item["properties"]["virtualMachine"]["id"].upper()
    find(resources, vnet_id("v"))["properties"]["subnets"][0]["properties"]["networkSecurityGroup"]["id"] = (
        NSG_ID.lower()
    )
    assert network_from_resources(resources, "test") == network_from_resources(valid(), "test")


def test_type_is_derived_from_the_id() -> None:
    resources = valid()
    for item in resources:
        del item["type"]
    net = network_from_resources(resources, "test")
    assert set(net.vms) == {key(vm_id("web-01")), key(vm_id("db-01"))}
    assert net.unmodelled[0][0] == "Microsoft.Network/azureFirewalls"


def test_children_beside_their_parents() -> None:
    resources = valid()
    outer = find(resources, vnet_id("v"))
    for name, kind in (("subnets", "subnets"), ("virtualNetworkPeerings", "virtualNetworkPeerings")):
        for child in outer["properties"].pop(name):
            resources.append({**child, "type": f"Microsoft.Network/virtualNetworks/{kind}"})
    group = find(resources, NSG_ID)
    resources += [
        {**r, "type": "Microsoft.Network/networkSecurityGroups/securityRules"}
        for r in group["properties"].pop("securityRules")
    ]
    routes = find(resources, TABLE_ID)["properties"].pop("routes")
    resources += [{**r, "type": "Microsoft.Network/routeTables/routes"} for r in routes]
    assert network_from_resources(resources, "test") == network_from_resources(valid(), "test")


def test_children_both_inside_and_beside_must_agree() -> None:
    resources = valid()
    child = copy.deepcopy(find(resources, vnet_id("v"))["properties"]["subnets"][1])
    child["type"] = "Microsoft.Network/virtualNetworks/subnets"
    same = network_from_resources([*resources, child], "test")
    assert same == network_from_resources(valid(), "test")
    child["properties"]["addressPrefix"] = "10.0.3.0/24"
    with pytest.raises(SnapshotError, match="stands twice"):
        network_from_resources([*resources, child], "test")


def turned_round() -> list[Resource]:
    """The same network, every association declared from the other side."""
    resources = valid()
    for item in resources:
        body = item["properties"]
        for subnet in body.get("subnets", []):
            subnet["properties"].pop("networkSecurityGroup", None)
            subnet["properties"].pop("routeTable", None)
        body.pop("networkSecurityGroup", None)
        body.pop("virtualMachine", None)
        for configuration in body.get("ipConfigurations", []):
            configuration["properties"].pop("publicIPAddress", None)
            configuration["properties"].pop("subnet", None)
    web = f"{nic_id('nic-web-01')}/ipConfigurations"
    find(resources, NSG_ID)["properties"] |= {
        "subnets": [ref(subnet_id("v/web"))],
        "networkInterfaces": [ref(nic_id("nic-web-01"))],
    }
    find(resources, TABLE_ID)["properties"]["subnets"] = [ref(subnet_id("v/db"))]
    address = find(resources, arm_id("publicIPAddresses", "p"))["properties"]
    address["ipConfiguration"] = ref(f"{web}/ipconfig1")
    subnets = find(resources, vnet_id("v"))["properties"]["subnets"]
    subnets[0]["properties"]["ipConfigurations"] = [ref(f"{web}/ipconfig1"), ref(f"{web}/ipconfig2")]
    subnets[1]["properties"]["ipConfigurations"] = [
        ref(f"{nic_id('nic-db-01')}/ipConfigurations/ipconfig1"),
        ref(arm_id("virtualNetworkGateways", "gw") + "/ipConfigurations/default"),
        ref(f"{nic_id('nic-not-captured')}/ipConfigurations/ipconfig1"),
    ]
    return resources


def test_associations_are_followed_from_the_other_side() -> None:
    assert network_from_resources(turned_round(), "test") == network_from_resources(valid(), "test")


def test_vm_that_only_its_nic_names() -> None:
    resources = [item for item in valid() if "virtualMachines" not in item["id"]]
    net = network_from_resources(resources, "test")
    assert net.vms[key(vm_id("web-01"))].name == "web-01"
    assert net.vms_named("WEB-01")[0].nics == (key(nic_id("nic-web-01")),)


def test_primary_nic_comes_first() -> None:
    one, two = nic("eth1", "v/s", "10.0.0.5"), nic("eth0", "v/s", "10.0.0.4")
    net = network(vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"}), one, two, vm("two", "eth0", "eth1"))
    assert net.vms[key(vm_id("two"))].nics == (key(nic_id("eth0")), key(nic_id("eth1")))
    assert [net.nics[key(nic_id(n))].primary for n in ("eth0", "eth1")] == [True, False]


def test_host_bits_singles_and_service_tags() -> None:
    net = network(
        nsg(
            "n",
            rule(
                "r", 100, "Allow", protocol="TCP", source=["10.0.0.7/24", "10.1.1.1", "internet", "Storage"]
            ),
        ),
        table("t", route("tag", "Storage.WestEurope", "Internet")),
    )
    side = net.nsgs[key(NSG_ID)].rules[0].source
    assert [str(p) for p in side.prefixes] == ["10.0.0.0/24", "10.1.1.1/32"]
    assert side.tags == ("Internet", "Storage")
    assert net.route_tables[key(TABLE_ID)].tag_routes[0].tag == "Storage.WestEurope"


def test_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    assert load_snapshot(write(tmp_path, b'\xef\xbb\xbf{"resources": []}')).vms == {}


def test_peering_without_a_synchronised_space_has_the_remote_one() -> None:
    bare = peering("v", "w", [])
    net = network(vnet("v", "10.0.0.0/16", {}, [bare]), vnet("w", "10.1.0.0/16", {}))
    assert [str(prefix) for prefix in net.vnets[key(vnet_id("v"))].peerings[0].remote_address_space] == [
        "10.1.0.0/16"
    ]
