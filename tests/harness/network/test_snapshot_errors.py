"""Snapshots that are wrong: one clear error for each way, naming file, object and property."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SnapshotError
from harness.network.model import key
from harness.network.snapshot import load_snapshot, network_from_resources
from tests.harness.network.builders import (
    Resource,
    arm_id,
    machine,
    network,
    nic,
    nic_id,
    nsg,
    peering,
    ref,
    rule,
    subnet_id,
    table,
    vm,
    vm_id,
    vnet,
    vnet_id,
)
from tests.harness.network.test_snapshot import NSG_ID, TABLE_ID, find, valid, write

# -- what is wrong: the file --------------------------------------------------------------------

FILES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "empty"),
    "blank": (" \n\t", "empty"),
    "not-json": ("resources: []", ":1: not JSON"),
    "cut-off": ('{"resources": [', "not JSON"),
    "a-list": ("[]", "resources"),
    "no-resources": ("{}", "resources"),
    "resources-no-list": ('{"resources": {}}', "resources"),
    "resource-no-object": ('{"resources": [1]}', r"resources\[0\]"),
    "nan": ('{"resources": [{"id": NaN}]}', "NaN"),
    "infinity": ('{"resources": [-Infinity]}', "Infinity"),
    "huge-number": ('{"resources": [' + "9" * 5000 + "]}", "JSON"),
    "huge-nesting": ('{"resources": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested"),
    "key-twice": ('{"resources": [{"id": "/a", "id": "/b"}]}', "'id' stands twice"),
    "not-utf-8": (b'{"resources": "\xff\xfe"}', "UTF-8"),
    "utf-16": ('{"resources": []}'.encode("utf-16"), "UTF-8"),
    "lone-surrogate": ('{"resources": [{"id": "/\\ud800"}]}', "surrogate"),
    "nul": (b"\x00\x00\x00", "not JSON"),
}


@pytest.mark.parametrize(("text", "message"), FILES.values(), ids=FILES)
def test_files_that_are_no_snapshot(text: str | bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SnapshotError, match=message) as raised:
        load_snapshot(path)
    assert str(path) in str(raised.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path, tmp_path / "a\x00b"):
        with pytest.raises(SnapshotError):
            load_snapshot(path)


# -- what is wrong: the content ------------------------------------------------------------------


def edit(identity: str, *path: str | int, value: Any) -> Callable[[list[Resource]], None]:
    """Sets one property of the valid snapshot; the value ``DELETE`` removes it."""

    def change(resources: list[Resource]) -> None:
        place: Any = find(resources, identity)
        for step in path[:-1]:
            place = place[step]
        if value is DELETE:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return change


DELETE = object()
NIC_ID, VNET_ID, DB_NIC = nic_id("nic-web-01"), vnet_id("v"), nic_id("nic-db-01")
CONFIG: tuple[str | int, ...] = ("properties", "ipConfigurations", 0, "properties")
RULE: tuple[str | int, ...] = ("properties", "securityRules", 0, "properties")
ROUTE: tuple[str | int, ...] = ("properties", "routes", 1, "properties")
SUBNET: tuple[str | int, ...] = ("properties", "subnets", 0, "properties")
PEER: tuple[str | int, ...] = ("properties", "virtualNetworkPeerings", 0, "properties")

CONTENT: dict[str, tuple[Callable[[list[Resource]], None], list[str]]] = {
    "no-id": (edit(NIC_ID, "id", value=DELETE), ["resources[", "id"]),
    "id-no-string": (edit(NIC_ID, "id", value=5), ["id", "a number"]),
    "id-no-arm-id": (edit(NIC_ID, "id", value="nic-web-01"), ["id", "ARM id"]),
    "type-contradicts-id": (edit(NIC_ID, "type", value="Microsoft.Network/routeTables"), [NIC_ID, "type"]),
    "name-contradicts-id": (edit(NIC_ID, "name", value="other"), [NIC_ID, "name", "other"]),
    "id-twice": (lambda rs: rs.append(find(rs, NIC_ID)), [NIC_ID, "two resources"]),
    "id-twice-unmodelled": (lambda rs: rs.append(rs[-1]), ["two resources"]),
    "no-properties": (edit(NIC_ID, "properties", value=None), [NIC_ID, "properties"]),
    "properties-no-object": (edit(NIC_ID, "properties", value=[1]), [NIC_ID, "properties", "an object"]),
    "space-bad-prefix": (
        edit(VNET_ID, "properties", "addressSpace", "addressPrefixes", 0, value="10.0.0.0/33"),
        [VNET_ID, "addressSpace.addressPrefixes[0]", "10.0.0.0/33"],
    ),
    "space-netmask": (
        edit(VNET_ID, "properties", "addressSpace", "addressPrefixes", 0, value="10.0.0.0/255.255.0.0"),
        ["addressSpace.addressPrefixes[0]"],
    ),
    "space-empty": (edit(VNET_ID, "properties", "addressSpace", value={}), [VNET_ID, "addressSpace"]),
    "space-no-list": (
        edit(VNET_ID, "properties", "addressSpace", "addressPrefixes", value="10.0.0.0/16"),
        [VNET_ID, "a list"],
    ),
    "subnet-outside-space": (
        edit(VNET_ID, *SUBNET, "addressPrefixes", value=["10.7.0.0/24"]),
        [subnet_id("v/web"), "10.7.0.0/24", VNET_ID],
    ),
    "subnet-without-prefix": (
        edit(VNET_ID, *SUBNET, "addressPrefixes", value=[]),
        [subnet_id("v/web"), "addressPrefix"],
    ),
    "subnet-of-another-vnet": (
        edit(VNET_ID, "properties", "subnets", 0, "id", value=subnet_id("w/web")),
        [VNET_ID, subnet_id("w/web")],
    ),
    "subnet-twice": (
        lambda rs: find(rs, VNET_ID)["properties"]["subnets"].append(
            find(rs, VNET_ID)["properties"]["subnets"][0]
        ),
        [VNET_ID, subnet_id("v/web"), "twice"],
    ),
    "subnet-nsg-missing": (
        edit(VNET_ID, *SUBNET, "networkSecurityGroup", "id", value=arm_id("networkSecurityGroups", "x")),
        [subnet_id("v/web"), "networkSecurityGroups/x", "not in the snapshot"],
    ),
    "nsg-lists-missing-subnet": (
        edit(NSG_ID, "properties", "subnets", value=[ref(subnet_id("v/x"))]),
        [NSG_ID, subnet_id("v/x")],
    ),
    "nsg-lists-missing-nic": (
        edit(NSG_ID, "properties", "networkInterfaces", value=[ref(nic_id("x"))]),
        [NSG_ID, nic_id("x")],
    ),
    "table-missing": (lambda rs: rs.remove(find(rs, TABLE_ID)), [subnet_id("v/db"), TABLE_ID]),
    "asg-missing": (
        lambda rs: rs.remove(find(rs, arm_id("applicationSecurityGroups", "g"))),
        ["applicationSecurityGroups", "not in the snapshot"],
    ),
    "public-ip-missing": (
        lambda rs: rs.remove(find(rs, arm_id("publicIPAddresses", "p"))),
        [NIC_ID, arm_id("publicIPAddresses", "p")],
    ),
    "vm-lists-missing-nic": (lambda rs: rs.remove(find(rs, DB_NIC)), [vm_id("db-01"), DB_NIC]),
    "vnet-missing": (
        lambda rs: rs.remove(find(rs, VNET_ID)),
        [NIC_ID, subnet_id("v/web"), "not in the snapshot"],
    ),
    "nic-subnet-missing": (
        edit(NIC_ID, *CONFIG, "subnet", value=ref(subnet_id("v/x"))),
        [NIC_ID, subnet_id("v/x")],
    ),
    "nic-without-subnet": (edit(DB_NIC, *CONFIG, "subnet", value=None), [DB_NIC, "subnet"]),
    "nic-vm-no-vm": (
        edit(NIC_ID, "properties", "virtualMachine", value=ref(NSG_ID)),
        [NIC_ID, "virtualMachine"],
    ),
    "nic-address-outside-subnet": (
        edit(NIC_ID, *CONFIG, "privateIPAddress", value="10.0.2.9"),
        [NIC_ID, "10.0.2.9", subnet_id("v/web")],
    ),
    "nic-address-no-address": (
        edit(NIC_ID, *CONFIG, "privateIPAddress", value="10.0.1.400"),
        [NIC_ID, "10.0.1.400"],
    ),
    "nic-address-missing": (
        edit(NIC_ID, *CONFIG, "privateIPAddress", value=DELETE),
        [NIC_ID, "privateIPAddress"],
    ),
    "nic-address-version": (
        edit(NIC_ID, *CONFIG, "privateIPAddressVersion", value="IPv6"),
        [NIC_ID, "privateIPAddressVersion"],
    ),
    "nic-without-configuration": (
        edit(NIC_ID, "properties", "ipConfigurations", value=[]),
        [NIC_ID, "ipConfigurations"],
    ),
    "nic-two-subnets": (
        edit(
            NIC_ID, "properties", "ipConfigurations", 1, "properties", "subnet", value=ref(subnet_id("v/db"))
        ),
        [NIC_ID, subnet_id("v/db"), subnet_id("v/web")],
    ),
    "nic-two-primaries": (
        edit(NIC_ID, "properties", "ipConfigurations", 1, "properties", "primary", value=True),
        [NIC_ID, "primary"],
    ),
    "nic-flag-no-flag": (
        edit(NIC_ID, "properties", "enableIPForwarding", value="true"),
        [NIC_ID, "enableIPForwarding", "a string"],
    ),
    "address-twice": (
        lambda rs: rs.extend(machine("twin", "v/db", "10.0.2.4")),
        ["10.0.2.4", DB_NIC, nic_id("nic-twin")],
    ),
    "subnet-contradiction": (
        lambda rs: rs.append(nsg("m", subnets=[ref(subnet_id("v/web"))])),
        [subnet_id("v/web"), NSG_ID, arm_id("networkSecurityGroups", "m"), "contradicts"],
    ),
    "nic-contradiction": (
        lambda rs: rs.append(nsg("m", networkInterfaces=[ref(NIC_ID)])),
        [NIC_ID, NSG_ID, arm_id("networkSecurityGroups", "m"), "contradicts"],
    ),
    "table-contradiction": (
        lambda rs: rs.append(table("u", subnets=[ref(subnet_id("v/db"))])),
        [subnet_id("v/db"), TABLE_ID, arm_id("routeTables", "u"), "contradicts"],
    ),
    "vm-contradiction": (
        edit(DB_NIC, "properties", "virtualMachine", value=ref(vm_id("web-01"))),
        [DB_NIC, vm_id("web-01"), vm_id("db-01"), "contradicts"],
    ),
    "public-ip-contradiction": (
        edit(
            arm_id("publicIPAddresses", "p"),
            "properties",
            "ipConfiguration",
            value=ref(f"{DB_NIC}/ipConfigurations/ipconfig1"),
        ),
        [arm_id("publicIPAddresses", "p"), NIC_ID, DB_NIC, "contradicts"],
    ),
    "two-vms-one-nic": (
        lambda rs: rs.append(vm("thief", "nic-db-01")),
        [DB_NIC, vm_id("thief"), vm_id("db-01")],
    ),
    "vm-in-two-vnets": (
        lambda rs: rs.append(nic("far", "w/s", "10.1.0.9", vm="db-01")),
        [vm_id("db-01"), nic_id("far"), "different virtual networks"],
    ),
    "rule-priority-low": (
        edit(NSG_ID, *RULE, "priority", value=99),
        ["securityRules/allow", "priority", "99"],
    ),
    "rule-priority-high": (
        edit(NSG_ID, *RULE, "priority", value=4097),
        ["securityRules/allow", "priority", "4097"],
    ),
    "rule-priority-huge": (
        edit(NSG_ID, *RULE, "priority", value=10**4000),
        ["securityRules/allow", "priority"],
    ),
    "rule-priority-bool": (edit(NSG_ID, *RULE, "priority", value=True), ["securityRules/allow", "priority"]),
    "rule-priority-string": (
        edit(NSG_ID, *RULE, "priority", value="100"),
        ["securityRules/allow", "priority"],
    ),
    "rule-priority-float": (
        edit(NSG_ID, *RULE, "priority", value=100.0),
        ["securityRules/allow", "priority"],
    ),
    "rule-priority-twice": (
        edit(NSG_ID, *RULE, "priority", value=110),
        [NSG_ID, "allow", "asg", "110", "Inbound"],
    ),
    "rule-ports-reversed": (
        edit(NSG_ID, *RULE, "destinationPortRanges", value=["90-80"]),
        ["destinationPortRanges[0]", "90-80"],
    ),
    "rule-port-too-big": (edit(NSG_ID, *RULE, "destinationPortRanges", value=["65536"]), ["65536"]),
    "rule-port-number": (edit(NSG_ID, *RULE, "destinationPortRanges", value=[80]), ["a number"]),
    "rule-port-word": (edit(NSG_ID, *RULE, "sourcePortRange", value="http"), ["sourcePortRange", "http"]),
    "rule-no-port": (edit(NSG_ID, *RULE, "destinationPortRanges", value=[]), ["destinationPortRange"]),
    "rule-no-source": (edit(NSG_ID, *RULE, "sourceAddressPrefix", value=""), ["sourceAddressPrefix"]),
    "rule-bad-source": (
        edit(NSG_ID, *RULE, "sourceAddressPrefix", value="10.0.0/8"),
        ["sourceAddressPrefix", "10.0.0/8"],
    ),
    "rule-tag-with-spaces": (
        edit(NSG_ID, *RULE, "sourceAddressPrefix", value="My Tag"),
        ["sourceAddressPrefix"],
    ),
    "rule-asg-and-prefix": (
        edit(NSG_ID, "properties", "securityRules", 1, "properties", "sourceAddressPrefix", value="*"),
        ["securityRules/asg", "sourceApplicationSecurityGroups"],
    ),
    "rule-protocol": (edit(NSG_ID, *RULE, "protocol", value="Sctp"), ["protocol", "Sctp"]),
    "rule-access": (edit(NSG_ID, *RULE, "access", value="Maybe"), ["access", "Maybe"]),
    "rule-direction-missing": (edit(NSG_ID, *RULE, "direction", value=None), ["direction", "missing"]),
    "rules-no-list": (edit(NSG_ID, "properties", "securityRules", value={"a": 1}), [NSG_ID, "securityRules"]),
    "route-prefix": (
        edit(TABLE_ID, *ROUTE, "addressPrefix", value="10.0.0.0/ 8"),
        ["routes/nva", "addressPrefix"],
    ),
    "route-hop-type": (edit(TABLE_ID, *ROUTE, "nextHopType", value="Nowhere"), ["routes/nva", "nextHopType"]),
    "route-hop-missing": (
        edit(TABLE_ID, *ROUTE, "nextHopIpAddress", value=None),
        ["routes/nva", "nextHopIpAddress"],
    ),
    "route-hop-family": (
        edit(TABLE_ID, *ROUTE, "nextHopIpAddress", value="fd00::1"),
        ["routes/nva", "family"],
    ),
    "route-prefix-twice": (
        edit(TABLE_ID, *ROUTE, "addressPrefix", value="10.9.1.1/16"),
        ["routes/nva", "routes/hole", "10.9.0.0/16"],
    ),
    "peering-state": (
        edit(VNET_ID, *PEER, "peeringState", value="Sleeping"),
        ["virtualNetworkPeerings/v-w", "Sleeping"],
    ),
    "peering-state-missing": (edit(VNET_ID, *PEER, "peeringState", value=DELETE), ["v-w", "peeringState"]),
    "peering-remote-missing": (
        edit(VNET_ID, *PEER, "remoteVirtualNetwork", value=DELETE),
        ["v-w", "remoteVirtualNetwork"],
    ),
    "peering-with-itself": (
        edit(VNET_ID, *PEER, "remoteVirtualNetwork", value=ref(VNET_ID)),
        ["v-w", "itself"],
    ),
    "rule-without-its-nsg": (
        lambda rs: rs.append(
            {
                **nsg("z", rule("r", 100, "Deny"))["properties"]["securityRules"][0],
                "type": "Microsoft.Network/networkSecurityGroups/securityRules",
            }
        ),
        ["securityRules/r", arm_id("networkSecurityGroups", "z"), "not in the snapshot"],
    ),
}


@pytest.mark.parametrize(("change", "words"), CONTENT.values(), ids=CONTENT)
def test_content_that_is_wrong(change: Callable[[list[Resource]], None], words: list[str]) -> None:
    resources = valid()
    change(resources)
    with pytest.raises(SnapshotError) as raised:
        network_from_resources(resources, "snap.json")
    message = str(raised.value)
    for word in ("snap.json", *words):
        assert word.lower() in message.lower()
    assert "\n" not in raised.value.message


def test_peering_outside_the_snapshot_is_no_error() -> None:
    net = network(vnet("v", "10.0.0.0/16", {}, [peering("v", "elsewhere", "10.1.0.0/16")]))
    assert net.vnets[key(VNET_ID)].peerings[0].remote_vnet == key(vnet_id("elsewhere"))


def test_names_in_errors_stay_text() -> None:
    name = "evil\x1b[31m\u202e"
    with pytest.raises(SnapshotError) as raised:
        network(nsg(name, rule("r", 5, "Deny")))
    assert "\x1b" not in str(raised.value)
    assert "\u202e" not in str(raised.value)
    assert r"\x1b" in str(raised.value)
