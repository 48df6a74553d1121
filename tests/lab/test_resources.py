"""ARM resources of a lab: what Azure computes, and put, get and delete with what hangs on them."""

from __future__ import annotations

import copy
import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError, UnknownNameError
from harness.network.snapshot import network_from_resources
from lab.addresses import AddressPool
from lab.content import load_content
from lab.store import ResourceStore
from lab.topologies import source_path

HUB = load_content(source_path("hub-spoke")).resources
TIERS = load_content(source_path("three-tier")).resources


def named(resources: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(resource for resource in resources if resource["name"] == name)


def rule(priority: int = 100) -> dict[str, Any]:
    return {
        "properties": {
            "priority": priority,
            "direction": "Outbound",
            "access": "Deny",
            "protocol": "Tcp",
            "sourceAddressPrefix": "*",
            "destinationAddressPrefix": "*",
            "sourcePortRange": "*",
            "destinationPortRange": "80",
        }
    }


def test_ids_and_read_only_sides_are_as_a_get_returns_them() -> None:
    nsg = named(TIERS, "nsg-db")
    subnet = named(TIERS, "vnet-main")["properties"]["subnets"][2]
    assert nsg["type"] == "Microsoft.Network/networkSecurityGroups"
    assert nsg["properties"]["subnets"] == [{"id": subnet["id"]}]
    assert len(nsg["properties"]["defaultSecurityRules"]) == 6
    nic = named(TIERS, "db-01-nic")["properties"]
    assert nic["virtualMachine"] == {"id": named(TIERS, "db-01")["id"]}
    assert nic["ipConfigurations"][0]["properties"]["privateIPAddress"] == "10.0.3.4"
    assert nic["macAddress"].startswith("00-0D-3A-")
    assert named(TIERS, "nsg-db-nic")["properties"]["networkInterfaces"] == [
        {"id": named(TIERS, "db-01-nic")["id"]}
    ]


def test_a_peering_is_connected_while_both_sides_are_there() -> None:
    store = ResourceStore(HUB)
    ours = named(HUB, "vnet-spoke1")["properties"]["virtualNetworkPeerings"][0]["id"]
    theirs = named(HUB, "vnet-hub")["properties"]["virtualNetworkPeerings"][0]["id"]
    body = store.get(ours)
    assert body is not None
    assert body["properties"]["peeringState"] == "Connected"
    store = store.with_delete(theirs)
    assert _state(store, ours) == "Disconnected"
    store = store.with_delete(ours)
    fresh = {"properties": {**body["properties"], "peeringState": None}}
    store = store.with_put(ours, fresh)
    assert _state(store, ours) == "Initiated"
    store = store.with_put(theirs, named(HUB, "vnet-hub")["properties"]["virtualNetworkPeerings"][0])
    assert (_state(store, ours), _state(store, theirs)) == ("Connected", "Connected")


def _state(store: ResourceStore, peering: str) -> Any:
    found = store.get(peering)
    assert found is not None
    return found["properties"]["peeringState"]


def test_a_child_can_be_put_read_and_deleted_without_regard_to_case() -> None:
    store = ResourceStore(TIERS)
    rule_id = f"{named(TIERS, 'nsg-db')['id']}/securityRules/Mine"
    changed = store.with_put(rule_id, rule())
    found = changed.get(rule_id.upper())
    assert found is not None
    assert found["name"] == "Mine"
    assert found["properties"]["access"] == "Deny"
    assert store.get(rule_id) is None, "the store before the change has not changed"
    again = changed.with_put(rule_id.lower(), rule(101))
    nsg = again.get(named(TIERS, "nsg-db")["id"])
    assert nsg is not None
    assert [item["properties"]["priority"] for item in nsg["properties"]["securityRules"]].count(101) == 1
    assert again.with_delete(rule_id).resources() == ResourceStore(TIERS).resources()


def test_an_nsg_put_on_a_subnet_shows_on_both_sides() -> None:
    store = ResourceStore(HUB)
    subnet_id = f"{named(HUB, 'vnet-hub')['id']}/subnets/shared"
    nsg_id = named(HUB, "nsg-app")["id"]
    subnet = store.get(subnet_id)
    assert subnet is not None
    subnet["properties"]["networkSecurityGroup"] = {"id": nsg_id}
    changed = store.with_put(subnet_id, subnet)
    nsg = changed.get(nsg_id)
    assert nsg is not None
    assert {"id": subnet_id} in nsg["properties"]["subnets"]
    network_from_resources(changed.resources(), "changed")


def test_a_snapshot_may_have_children_apart_and_associations_on_the_other_side() -> None:
    resources = copy.deepcopy(TIERS)
    vnet, nsg = named(resources, "vnet-main"), named(resources, "nsg-db")
    subnets = vnet["properties"].pop("subnets")
    for subnet in subnets:
        subnet["properties"].pop("networkSecurityGroup", None)
    rules = nsg["properties"].pop("securityRules")
    store = ResourceStore([*resources, *subnets, *rules])
    assert store.get(subnets[2]["id"]) == ResourceStore(TIERS).get(subnets[2]["id"])
    assert store.get(rules[0]["id"]) == rules[0]
    assert len(store.resources()) == len(TIERS)


@pytest.mark.parametrize(
    ("arm_id", "body", "message"),
    [
        ("nonsense", {}, "no id of an ARM resource"),
        (f"{TIERS[0]['id']}/subnets/new", {"properties": []}, "'properties' must be an object"),
        (f"{TIERS[0]['id']}/subnets/new", {"id": "/other", "properties": {}}, "the body has another id"),
        (f"{TIERS[0]['id']}x/subnets/new", {"properties": {}}, "no resource .*vnet-mainx in this lab"),
        (f"{TIERS[1]['id']}/defaultSecurityRules/DenyAllInBound", {}, "default rules cannot be changed"),
    ],
)
def test_what_cannot_be_put_is_refused(arm_id: str, body: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, UnknownNameError), match=message):
        ResourceStore(TIERS).with_put(arm_id, body)


def test_what_is_not_there_cannot_be_deleted() -> None:
    with pytest.raises(UnknownNameError, match="no resource"):
        ResourceStore(TIERS).with_delete(f"{TIERS[0]['id']}/subnets/none")
    with pytest.raises(InputError, match="default rules"):
        ResourceStore(TIERS).with_delete(f"{TIERS[1]['id']}/defaultSecurityRules/DenyAllInBound")


def test_the_snapshot_text_has_all_resources() -> None:
    store = ResourceStore(TIERS)
    assert json.loads(store.snapshot()) == {"resources": store.resources()}


@given(taken=st.sets(st.integers(4, 14)), wanted=st.integers(1, 12))
def test_addresses_are_the_lowest_free_ones(taken: set[int], wanted: int) -> None:
    prefix = ip_network("10.0.0.0/28")
    pool = AddressPool([prefix])
    for offset in taken:
        pool.take(prefix[offset])
    free = [prefix[offset] for offset in range(4, 15) if offset not in taken]
    for expected in free[:wanted]:
        assert pool.next(4) == expected
    if wanted > len(free):
        with pytest.raises(ValueError, match="no free address left"):
            pool.next(4)


@pytest.mark.parametrize("address", ["10.0.0.3", "10.0.0.15", "10.0.1.4"])
def test_addresses_that_azure_keeps_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"reserved|not in the subnet"):
        AddressPool([ip_network("10.0.0.0/28")]).take(ip_address(address))
