"""A plan that Terraform itself wrote, over azurerm's schema, loads into the network that it describes.

``test_terraform_azurerm/plan.json`` is the plan of the configuration beside it (of its changes only
what is not known before apply). It shows what the other tests' documents imitate: blocks that are
attributes share one expression, dynamic ones have none, sets lose the order in which they were written.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.network.model import Network, key
from harness.network.snapshot import network_from_resources
from harness.network.terraform import resources_of
from harness.network.terraform.identities import PLACEHOLDER_SUBSCRIPTION

RECORDED = Path(__file__).with_name("test_terraform_azurerm") / "plan.json"
GROUP = f"/subscriptions/{PLACEHOLDER_SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Network"


@pytest.fixture(scope="module")
def network() -> Network:
    resources = resources_of(json.loads(RECORDED.read_text()), "plan.json")
    return network_from_resources(resources, "plan.json")


def test_each_interface_is_in_the_subnet_of_its_key(network: Network) -> None:
    found = {
        nic.name: (network.subnets[nic.subnet].name, str(nic.addresses(4)[0]))
        for nic in network.nics.values()
    }
    # the frontend of the load balancer has the first address of the web subnet
    assert found == {"n-app": ("app", "10.1.2.4"), "n-web": ("web", "10.1.1.5")}
    assert {vm.name: vm.nics for vm in network.vms.values()} == {
        f"m-{tier}": (key(f"{GROUP}/networkInterfaces/n-{tier}"),) for tier in ("app", "web")
    }


def test_every_subnet_has_its_security_group(network: Network) -> None:
    """Two by an association over for_each, the third inside the virtual network."""
    groups = {subnet.name: subnet.nsg for subnet in network.subnets.values()}
    assert groups == dict.fromkeys(("app", "web", "inline"), key(f"{GROUP}/networkSecurityGroups/g"))


def test_rules_that_stand_inside_their_group(network: Network) -> None:
    custom = {
        nsg.name: {rule.name: rule.source for rule in nsg.rules if not rule.default}
        for nsg in network.nsgs.values()
    }
    assert set(custom["dyn"]) == {"r1", "r2"}
    assert custom["g"]["in"].asgs == (key(f"{GROUP}/applicationSecurityGroups/a"),)
    assert custom["g"]["in2"].any


def test_a_route_to_an_address_that_is_yet_to_be_given(network: Network) -> None:
    (table,) = network.route_tables.values()
    assert [str(route.next_hop_ip) for route in table.routes] == ["10.1.1.5"]
