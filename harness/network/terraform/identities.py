"""ARM ids of Terraform's instances: known ones as they are, others built as Azure will build them.

What a plan does not know of an id (subscription, a name made of random letters) is filled with a
placeholder that is the same in every plan of the same configuration.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from harness.errors import SnapshotError
from harness.network.armids import segment
from harness.network.fields import shown
from harness.network.terraform.document import Document, Instance
from harness.network.terraform.references import References
from harness.text import plain

PLACEHOLDER_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
UNKNOWN_GROUP = "not-known-before-apply"

_NETWORK = "Microsoft.Network/"
_VM = "Microsoft.Compute/virtualMachines"


@dataclass(frozen=True, slots=True)
class Kind:
    """A type's place in ARM: under a resource group, or under the parent that ``owner`` names."""

    segment: str
    owner: str | None = None
    """The attribute that holds the name or the id of the parent."""
    parent: str | None = None
    """The parent's Terraform type."""


KINDS = {
    "azurerm_application_security_group": Kind(_NETWORK + "applicationSecurityGroups"),
    "azurerm_lb": Kind(_NETWORK + "loadBalancers"),
    "azurerm_lb_backend_address_pool": Kind("backendAddressPools", "loadbalancer_id", "azurerm_lb"),
    "azurerm_lb_nat_rule": Kind("inboundNatRules", "loadbalancer_id", "azurerm_lb"),
    "azurerm_lb_outbound_rule": Kind("outboundRules", "loadbalancer_id", "azurerm_lb"),
    "azurerm_lb_probe": Kind("probes", "loadbalancer_id", "azurerm_lb"),
    "azurerm_lb_rule": Kind("loadBalancingRules", "loadbalancer_id", "azurerm_lb"),
    "azurerm_linux_virtual_machine": Kind(_VM),
    "azurerm_local_network_gateway": Kind(_NETWORK + "localNetworkGateways"),
    "azurerm_nat_gateway": Kind(_NETWORK + "natGateways"),
    "azurerm_network_interface": Kind(_NETWORK + "networkInterfaces"),
    "azurerm_network_manager": Kind(_NETWORK + "networkManagers"),
    "azurerm_network_manager_admin_rule": Kind(
        "rules", "admin_rule_collection_id", "azurerm_network_manager_admin_rule_collection"
    ),
    "azurerm_network_manager_admin_rule_collection": Kind(
        "ruleCollections",
        "security_admin_configuration_id",
        "azurerm_network_manager_security_admin_configuration",
    ),
    "azurerm_network_manager_network_group": Kind(
        "networkGroups", "network_manager_id", "azurerm_network_manager"
    ),
    "azurerm_network_manager_security_admin_configuration": Kind(
        "securityAdminConfigurations", "network_manager_id", "azurerm_network_manager"
    ),
    "azurerm_network_manager_static_member": Kind(
        "staticMembers", "network_group_id", "azurerm_network_manager_network_group"
    ),
    "azurerm_network_security_group": Kind(_NETWORK + "networkSecurityGroups"),
    "azurerm_network_security_rule": Kind(
        "securityRules", "network_security_group_name", "azurerm_network_security_group"
    ),
    "azurerm_public_ip": Kind(_NETWORK + "publicIPAddresses"),
    "azurerm_public_ip_prefix": Kind(_NETWORK + "publicIPPrefixes"),
    "azurerm_route": Kind("routes", "route_table_name", "azurerm_route_table"),
    "azurerm_route_table": Kind(_NETWORK + "routeTables"),
    "azurerm_subnet": Kind("subnets", "virtual_network_name", "azurerm_virtual_network"),
    "azurerm_virtual_machine": Kind(_VM),
    "azurerm_virtual_network": Kind(_NETWORK + "virtualNetworks"),
    "azurerm_virtual_network_gateway": Kind(_NETWORK + "virtualNetworkGateways"),
    "azurerm_virtual_network_gateway_connection": Kind(_NETWORK + "connections"),
    "azurerm_virtual_network_peering": Kind(
        "virtualNetworkPeerings", "virtual_network_name", "azurerm_virtual_network"
    ),
    "azurerm_windows_virtual_machine": Kind(_VM),
}


class Identities:
    """The id of every instance whose type is in :data:`KINDS`."""

    def __init__(self, document: Document, references: References) -> None:
        self._references = references
        self._ids: dict[str, str] = {}
        self._named: dict[tuple[str, str], list[Instance]] = defaultdict(list)
        seen: dict[str, str] = {}
        for item in document.instances:
            name = item.fields.values.get("name")
            if isinstance(name, str):
                self._named[item.type, name.lower()].append(item)
            known = item.fields.values.get("id")
            if isinstance(known, str) and (subscription := segment(known, "subscriptions")):
                seen.setdefault(subscription.lower(), subscription)
        # whoever manages one subscription plans for that one
        self.subscription = next(iter(seen.values())) if len(seen) == 1 else PLACEHOLDER_SUBSCRIPTION

    def of(self, instance: Instance) -> str:
        """Its ARM id; raises SnapshotError where its parent cannot be told."""
        known = self._ids.get(instance.address)
        if known is None:
            known = self._known(instance) or self._built(instance)
            self._ids[instance.address] = known
        return known

    def parent(self, instance: Instance) -> str:
        """The id of the resource that the configuration puts ``instance`` in."""
        kind = KINDS[instance.type]
        assert kind.owner is not None
        assert kind.parent is not None
        given = instance.fields.optional_text(kind.owner)
        if given is not None and given.startswith("/"):
            return given
        owners = list(self._named_so(instance, kind.parent, given)) if given is not None else []
        expressions = self._references.configuration(instance).expressions
        if len(owners) != 1 and expressions.has(kind.owner):
            found = self._references.follow(instance, expressions.nested(kind.owner))
            owners = [item for item in found if item.type == kind.parent] or owners
        if len(owners) == 1:
            return self.of(owners[0])
        if given is None or owners:
            self._fail(instance, kind, given, len(owners))
        return f"{self._group(instance)}/providers/{KINDS[kind.parent].segment}/{given}"

    def _fail(self, instance: Instance, kind: Kind, given: str | None, count: int) -> NoReturn:
        expressions = self._references.configuration(instance).expressions
        problem = (
            f"'{shown(given)}' is the name of {count}: cannot tell" if given else "is missing, and with it"
        )
        if given is None and expressions.has(kind.owner or ""):
            listed = expressions.nested(kind.owner or "").texts("references")
            problem = f"is not known before apply, and {plain(', '.join(listed))} does not tell"
        raise SnapshotError(
            f"{instance.fields.at(kind.owner or '')}: {problem} which {kind.parent} is meant",
            hint="refer to the resource itself, or load the state after apply instead",
        )

    def _known(self, instance: Instance) -> str | None:
        arm_id = instance.fields.optional_text("id")
        return arm_id if arm_id is not None and arm_id.startswith("/") else None

    def _built(self, instance: Instance) -> str:
        kind = KINDS[instance.type]
        name = instance.fields.optional_text("name") or instance.address.replace("/", "_")
        if "/" in name:
            instance.fields.fail("name", "holds a slash, which no Azure name does")
        if kind.owner is not None:
            return f"{self.parent(instance)}/{kind.segment}/{name}"
        return f"{self._group(instance)}/providers/{kind.segment}/{name}"

    def _named_so(self, instance: Instance, kind: str, name: str) -> Iterator[Instance]:
        """Instances of that name in the same resource group, as far as the groups are known."""
        found = self._named.get((kind, name.lower()), [])
        group = self._group(instance).lower()
        managed = [item for item in found if self._group(item).lower() == group]
        # what is managed here stands for the data source that reads it
        yield from [item for item in managed if not item.data] or managed[:1]

    def _group(self, instance: Instance) -> str:
        name = instance.fields.optional_text("resource_group_name")
        if name is None:
            block = self._references.configuration(instance).expressions
            if block.has("resource_group_name"):
                found = self._references.follow(instance, block.nested("resource_group_name"))
                groups = [item for item in found if item.type == "azurerm_resource_group"]
                if len(groups) == 1:
                    name = groups[0].fields.optional_text("name") or groups[0].address
        group = (name or UNKNOWN_GROUP).replace("/", "_")
        return f"/subscriptions/{self.subscription}/resourceGroups/{group}"
