"""What a plan cannot tell is an error that names the resource, the attribute and the reference."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import SnapshotError
from harness.network.terraform import resources_of
from tests.harness.network.terraform_documents import (
    Block,
    Json,
    configuration,
    data,
    named,
    one,
    plan,
    ref,
    rule,
)
from tests.harness.network.test_terraform_resources import OWN, nic, subnet, vnet


def error(document: Json) -> SnapshotError:
    with pytest.raises(SnapshotError) as caught:
        resources_of(document, "plan.json")
    return caught.value


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "has no format_version"),
        ({"version": 4, "lineage": "x", "resources": []}, "is Terraform's own state file"),
        ({"format_version": "2.0", "values": {}}, "format_version '2.0' is not supported"),
        ({"format_version": "1.2"}, "neither planned_values (a plan) nor values (a state)"),
        (plan(errored=True), "the plan ended with an error"),
    ],
)
def test_documents_that_are_no_plan(document: Json, message: str) -> None:
    found = error(document)
    assert message in found.message
    assert found.hint


def test_a_local_cannot_be_followed() -> None:
    found = error(plan(vnet(), subnet(), nic("n", configuration(ref("local.subnet_id")))))
    assert found.message == (
        "plan.json: azurerm_network_interface.n: ip_configuration[0].subnet_id: is not known before apply,"
        " and local.subnet_id leads to no azurerm_subnet of the document"
    )
    assert "locals" in found.hint


def test_an_index_that_nothing_tells() -> None:
    subnets = Block("azurerm_subnet", "s", {
        name: {"name": name, "resource_group_name": "rg", "virtual_network_name": "v",
               "address_prefixes": [prefix]}
        for name, prefix in (("a", "10.0.0.0/24"), ("b", "10.0.1.0/24"))})  # fmt: skip
    found = error(plan(vnet(), subnets, nic("n", configuration(ref("azurerm_subnet.s", "local.which")))))
    assert 'can be any of 2 (azurerm_subnet.s["a"], azurerm_subnet.s["b"])' in found.message


def test_a_dynamic_block_does_not_show_its_references() -> None:
    found = error(
        plan(
            vnet(),
            subnet(),
            one(
                "azurerm_network_interface",
                "n",
                name="n",
                resource_group_name="rg",
                ip_configuration=[OWN],
                unwritten=("ip_configuration",),
            ),
        )
    )
    assert "azurerm_network_interface.n: ip_configuration[0].subnet_id" in found.message
    assert "dynamic" in found.message


def test_rules_that_are_not_known_at_all() -> None:
    group = named("azurerm_network_security_group", "g", security_rule=ref("data.http.rules.body"))
    assert (
        "azurerm_network_security_group.g: security_rule: is not known before apply"
        in error(plan(group)).message
    )


def test_a_rule_with_an_unknown_prefix() -> None:
    unknown: dict[str, Any] = {"source_address_prefix": ref("azurerm_public_ip.p.ip_address")}
    unknown_rule = one(
        "azurerm_network_security_rule", "r", name="r", resource_group_name="rg",
        network_security_group_name="g", **unknown,
    )  # fmt: skip
    message = error(
        plan(named("azurerm_network_security_group", "g"), named("azurerm_public_ip", "p"), unknown_rule)
    ).message
    assert "azurerm_network_security_rule.r: source_address_prefix: is not known before apply" in message
    assert "azurerm_public_ip.p.ip_address" in message


def test_the_public_address_of_a_machine_is_not_its_private_one() -> None:
    machine = named(
        "azurerm_linux_virtual_machine", "m", network_interface_ids=[ref("azurerm_network_interface.n.id")]
    )
    address = ref("azurerm_linux_virtual_machine.m.public_ip_address")
    open_rule = rule("r", 100, "Allow", "22", source_address_prefix=address)
    group = named("azurerm_network_security_group", "g")
    one_rule = one(
        "azurerm_network_security_rule", "r", resource_group_name="rg", network_security_group_name="g",
        **open_rule,
    )  # fmt: skip
    message = error(plan(vnet(), subnet(), nic("n", OWN), machine, group, one_rule)).message
    assert "azurerm_network_security_rule.r: source_address_prefix: is not known before apply" in message


def test_rules_in_one_group_whose_security_groups_cannot_be_told_apart() -> None:
    asgs = [named("azurerm_application_security_group", name) for name in "ab"]
    both = ref("azurerm_application_security_group.a.id", "azurerm_application_security_group.b.id")
    rules = [
        rule(name, priority, "Allow", "80", source_address_prefix="")
        | {"source_application_security_group_ids": ref(f"azurerm_application_security_group.{name}.id")}
        for name, priority in (("a", 100), ("b", 200))
    ]
    group = Block(
        "azurerm_network_security_group",
        "g",
        {None: {"name": "g", "resource_group_name": "rg", "security_rule": rules}},
        unwritten=("security_rule",),
        whole={"security_rule": both},
    )
    message = error(plan(*asgs, group)).message
    assert "security_rule[0].source_application_security_group_ids" in message
    assert "can be any of 2" in message


def test_a_subnet_whose_network_cannot_be_told() -> None:
    lost = one(
        "azurerm_subnet", "s", name="s", resource_group_name="rg", address_prefixes=["10.0.0.0/24"],
        virtual_network_name=ref("data.azurerm_resources.all.resources[0].name"),
    )  # fmt: skip
    message = error(plan(lost)).message
    assert message.startswith("plan.json: azurerm_subnet.s: virtual_network_name: is not known before apply")
    assert "data.azurerm_resources.all.resources[0].name" in message


def test_a_subnet_without_free_addresses() -> None:
    full = subnet("s", "10.0.0.0/29")
    message = error(plan(vnet(), full, *(nic(f"n{number}", OWN) for number in range(4)))).message
    assert "azurerm_network_interface.n3" in message
    assert "has no free IPv4 address left" in message


def test_an_address_in_a_subnet_that_nothing_describes() -> None:
    elsewhere = "/subscriptions/1/resourceGroups/a/providers/Microsoft.Network/virtualNetworks/v/subnets/s"
    found = error(plan(nic("n", configuration(elsewhere))))
    assert elsewhere in found.message
    assert "data source" in found.hint


@pytest.mark.parametrize("attribute", ["network_interface_id", "backend_address_pool_id"])
def test_an_association_with_what_is_not_there(attribute: str) -> None:
    group = "/subscriptions/1/resourceGroups/a/providers/Microsoft.Network"
    link: Json = {
        "network_interface_id": f"{group}/networkInterfaces/n",
        "backend_address_pool_id": f"{group}/loadBalancers/l/backendAddressPools/p",
    }
    there = nic("n", configuration(ref("azurerm_subnet.s.id")), id=link["network_interface_id"])
    parts = [vnet(), subnet()] + ([there] if attribute == "backend_address_pool_id" else [])
    association = one("azurerm_network_interface_backend_address_pool_association", "a", **link,
                      ip_configuration_name="ipconfig1")  # fmt: skip
    message = error(plan(*parts, association)).message
    assert "azurerm_network_interface_backend_address_pool_association.a" in message
    assert f"refers to {link[attribute]}, which is not in the document" in message


def test_a_rule_of_a_load_balancer_that_is_not_there() -> None:
    balancer = "/subscriptions/1/resourceGroups/a/providers/Microsoft.Network/loadBalancers/l"
    message = error(plan(one("azurerm_lb_probe", "p", name="p", loadbalancer_id=balancer, port=80))).message
    assert message == (f"plan.json: azurerm_lb_probe.p: refers to {balancer}, which is not in the document")


def test_a_member_of_a_pool_that_is_not_there() -> None:
    pool = (
        "/subscriptions/1/resourceGroups/a/providers/Microsoft.Network/loadBalancers/l/backendAddressPools/p"
    )
    member = one(
        "azurerm_lb_backend_address_pool_address", "m", name="m", backend_address_pool_id=pool,
        ip_address="10.0.0.4",
    )  # fmt: skip
    assert f"address.m: refers to {pool}, which is not in the document" in error(plan(member)).message


def test_two_security_groups_for_one_subnet() -> None:
    links = [
        one("azurerm_subnet_network_security_group_association", name, subnet_id=ref("azurerm_subnet.s.id"),
            network_security_group_id=ref(f"azurerm_network_security_group.{name}.id"))
        for name in "ab"
    ]  # fmt: skip
    groups = [named("azurerm_network_security_group", name) for name in "ab"]
    message = error(plan(vnet(), subnet(), *groups, *links)).message
    assert "azurerm_subnet_network_security_group_association.a already gives" in message


def test_a_name_that_two_networks_have() -> None:
    twins = [named("azurerm_virtual_network", name, name="v", address_space=["10.0.0.0/16"]) for name in "ab"]
    message = error(plan(*twins, subnet())).message
    assert "'v' is the name of 2" in message


def test_text_of_the_plan_is_shown_harmlessly() -> None:
    hostile = Block("azurerm_subnet", "s", {"\x1b[2J": {"name": "a/b", "resource_group_name": "rg",
                    "virtual_network_name": "v", "address_prefixes": []}})  # fmt: skip
    assert "\x1b" not in error(plan(vnet(), hostile)).message


def test_data_sources_are_never_unmodelled() -> None:
    assert resources_of(plan(data("azurerm_key_vault", "k", id="/x", name="k")), "plan.json") == []
