"""From the JSON of a Terraform plan or state to ARM resource bodies, with notes on what was assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from harness.errors import SnapshotError
from harness.network.model import key
from harness.network.terraform import balancing, edges, machines, security, virtual_networks
from harness.network.terraform.associations import ASSOCIATIONS
from harness.network.terraform.attributes import Attributes, Plan
from harness.network.terraform.context import Body, Context, Translator
from harness.network.terraform.document import Instance, read_document
from harness.text import plain

_TRANSLATORS: dict[str, Translator] = (
    virtual_networks.TRANSLATORS
    | security.TRANSLATORS
    | machines.TRANSLATORS
    | edges.TRANSLATORS
    | balancing.TRANSLATORS
)
_FIRST = ("azurerm_virtual_network", "azurerm_subnet")
"""Addresses are given out of their prefixes."""

_PART_OF_ANOTHER = {
    *ASSOCIATIONS,
    "azurerm_lb_backend_address_pool",
    "azurerm_lb_backend_address_pool_address",
    "azurerm_lb_nat_rule",
    "azurerm_lb_outbound_rule",
    "azurerm_lb_probe",
    "azurerm_lb_rule",
    "azurerm_network_manager_deployment",
}
"""Types that show in the body of the resource they belong to."""

_NO_PART_OF_A_NETWORK = {
    "azurerm_management_lock",
    "azurerm_resource_group",
    "azurerm_resource_provider_registration",
    "azurerm_role_assignment",
    "azurerm_role_definition",
    "azurerm_user_assigned_identity",
}
_PROVIDERS = ("azurerm_", "azapi_")


@dataclass(frozen=True, slots=True)
class Translation:
    """``resources`` for :func:`harness.network.snapshot.network_from_resources`; ``notes`` for the reader."""

    resources: tuple[Body, ...]
    notes: tuple[str, ...]


def translation_of(document: Mapping[str, Any], origin: str) -> Translation:
    """A plan or a state as ARM resources.

    Raises SnapshotError that names the resource's address, the attribute and the reference for what
    is malformed or cannot be resolved.
    """
    try:
        return _translate(Context(Plan(read_document(document, origin))))
    except RecursionError:
        raise SnapshotError(f"{origin}: nested too deeply") from None


def resources_of(document: Mapping[str, Any], origin: str) -> list[Body]:
    """The resources of :func:`translation_of`."""
    return list(translation_of(document, origin).resources)


def _translate(context: Context) -> Translation:
    instances = context.plan.document.instances
    if not context.plan.document.complete:
        origin = context.plan.document.origin
        context.plan.note(
            f"{origin}: the plan covers a part of the configuration only (-target, or deferred changes)"
        )
    bodies: dict[str, Body] = {}
    for instance in (item for item in instances if item.type in _FIRST):
        _read(context, instance, bodies)
    context.allocate()
    for instance in (item for item in instances if item.type not in _FIRST):
        _read(context, instance, bodies)
    _check_owners(context, bodies)
    return Translation(tuple(bodies.values()), context.plan.notes)


def _read(context: Context, instance: Instance, bodies: dict[str, Body]) -> None:
    translator = _TRANSLATORS.get(instance.type)
    if translator is None:
        if _is_unmodelled(instance):
            arm_id = f"/terraform/{instance.address}"
            bodies[key(arm_id)] = {"id": arm_id, "type": instance.type}
        return
    for body in translator(context, context.plan.attributes(instance)):
        known = key(body["id"])
        if known not in bodies:
            bodies[known] = body
        elif not instance.data:
            raise SnapshotError(
                f"{instance.fields.at('id')}: {plain(body['id'])} stands twice in the document"
            )


def _check_owners(context: Context, bodies: Mapping[str, Body]) -> None:
    """What shows in another resource's body is nowhere to be seen without that resource."""
    for link in context.associations.all():
        if key(link.owner) not in bodies:
            _missing(link.attributes, link.owner)
        if link.is_of_balancer and key(link.value) not in context.balancer_children:
            _missing(link.attributes, link.value)
    for address, pool in context.pool_addresses:
        if key(pool) not in context.balancer_children:
            _missing(address, pool)
    for child in context.balancer_children.values():
        owner = context.plan.identities.parent(child.instance)
        if key(owner) not in bodies:
            _missing(child, owner)


def _missing(attributes: Attributes, arm_id: str) -> NoReturn:
    raise SnapshotError(
        f"{attributes.fields.at()}: refers to {plain(arm_id)}, which is not in the document",
        hint="add a data source for it, or keep it in the same configuration",
    )


def _is_unmodelled(instance: Instance) -> bool:
    return (
        not instance.data
        and instance.type.startswith(_PROVIDERS)
        and instance.type not in _PART_OF_ANOTHER
        and instance.type not in _NO_PART_OF_A_NETWORK
    )
