"""Security groups and security admin rules of the azurerm provider as ARM bodies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.network.model import key
from harness.network.terraform.attributes import Attributes
from harness.network.terraform.context import Body, Context, Translator, arm_body, refs

_ASG = "azurerm_application_security_group"
_MANAGER = "azurerm_network_manager"


def network_security_group(context: Context, attributes: Attributes) -> Iterator[Body]:
    yield arm_body(attributes.id, {}, location=attributes.value("location"))
    for block in attributes.blocks("security_rule"):
        arm_id = f"{attributes.id}/securityRules/{block.name}"
        if context.stands(block, "security_rule", arm_id):
            yield _rule(context, block, arm_id)


def network_security_rule(context: Context, attributes: Attributes) -> Iterator[Body]:
    yield _rule(context, attributes, attributes.id)


def _rule(context: Context, block: Attributes, arm_id: str) -> Body:
    sides: dict[str, Any] = {}
    for side in ("source", "destination"):
        sides |= {
            f"{side}AddressPrefix": context.address(block, f"{side}_address_prefix"),
            f"{side}AddressPrefixes": block.texts(f"{side}_address_prefixes"),
            f"{side}PortRange": block.value(f"{side}_port_range"),
            f"{side}PortRanges": block.texts(f"{side}_port_ranges"),
            f"{side}ApplicationSecurityGroups": refs(
                block.id_list(f"{side}_application_security_group_ids", _ASG)
            ),
        }
    return arm_body(arm_id, {**_head(block), **sides})


def _head(block: Attributes) -> Body:
    return {name: block.value(name) for name in ("access", "direction", "priority", "protocol")}


def application_security_group(_context: Context, attributes: Attributes) -> Iterator[Body]:
    yield arm_body(attributes.id, {}, location=attributes.value("location"))


def network_manager(_context: Context, attributes: Attributes) -> Iterator[Body]:
    yield arm_body(attributes.id, {}, location=attributes.value("location"))


def network_group(_context: Context, attributes: Attributes) -> Iterator[Body]:
    yield arm_body(attributes.id, {"memberType": "VirtualNetwork"})


def static_member(_context: Context, attributes: Attributes) -> Iterator[Body]:
    target = attributes.required("target_virtual_network_id", "azurerm_virtual_network")
    yield arm_body(attributes.id, {"resourceId": target})


def security_admin_configuration(context: Context, attributes: Attributes) -> Iterator[Body]:
    if not _deployed(context, attributes):
        context.plan.note(
            f"{attributes.fields.at()}: no azurerm_network_manager_deployment of the document"
            " commits it: its rules are read as deployed"
        )
    yield arm_body(attributes.id, {})


def _deployed(context: Context, attributes: Attributes) -> bool:
    kind = "azurerm_network_manager_security_admin_configuration"
    return any(
        key(attributes.id) in map(key, context.plan.attributes(item).id_list("configuration_ids", kind))
        for item in context.plan.document.instances
        if item.type == f"{_MANAGER}_deployment"
    )


def admin_rule_collection(_context: Context, attributes: Attributes) -> Iterator[Body]:
    groups = attributes.id_list("network_group_ids", f"{_MANAGER}_network_group")
    yield arm_body(attributes.id, {"appliesToGroups": [{"networkGroupId": group} for group in groups]})


def admin_rule(context: Context, attributes: Attributes) -> Iterator[Body]:
    sides = {
        arm: [
            {
                "addressPrefix": context.address(block, "address_prefix"),
                "addressPrefixType": block.value("address_prefix_type"),
            }
            for block in attributes.blocks(name)
        ]
        for name, arm in (("source", "sources"), ("destination", "destinations"))
    }
    properties = {
        **_head(attributes),
        "access": attributes.value("action"),
        "sourcePortRanges": attributes.texts("source_port_ranges"),
        "destinationPortRanges": attributes.texts("destination_port_ranges"),
        **sides,
    }
    yield arm_body(attributes.id, properties, kind="Custom")


TRANSLATORS: dict[str, Translator] = {
    _ASG: application_security_group,
    _MANAGER: network_manager,
    f"{_MANAGER}_admin_rule": admin_rule,
    f"{_MANAGER}_admin_rule_collection": admin_rule_collection,
    f"{_MANAGER}_network_group": network_group,
    f"{_MANAGER}_security_admin_configuration": security_admin_configuration,
    f"{_MANAGER}_static_member": static_member,
    "azurerm_network_security_group": network_security_group,
    "azurerm_network_security_rule": network_security_rule,
}
