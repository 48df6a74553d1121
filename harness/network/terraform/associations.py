"""Terraform's association resources: two ids that belong together, without an ARM resource of their own."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from harness.network.model import key
from harness.network.terraform.attributes import Attributes, Plan
from harness.text import plain


@dataclass(frozen=True, slots=True)
class _Form:
    """Which attributes name the two; ``one``: the owner has at most one of these."""

    owner: tuple[str, str]
    value: tuple[str, str]
    one: bool = False


_NIC = ("network_interface_id", "azurerm_network_interface")
_SUBNET = ("subnet_id", "azurerm_subnet")
_NSG = ("network_security_group_id", "azurerm_network_security_group")
_NAT_GATEWAY = ("nat_gateway_id", "azurerm_nat_gateway")

ASSOCIATIONS = {
    "azurerm_nat_gateway_public_ip_association": _Form(
        _NAT_GATEWAY, ("public_ip_address_id", "azurerm_public_ip")
    ),
    "azurerm_nat_gateway_public_ip_prefix_association": _Form(
        _NAT_GATEWAY, ("public_ip_prefix_id", "azurerm_public_ip_prefix")
    ),
    "azurerm_network_interface_application_security_group_association": _Form(
        _NIC, ("application_security_group_id", "azurerm_application_security_group")
    ),
    "azurerm_network_interface_backend_address_pool_association": _Form(
        _NIC, ("backend_address_pool_id", "azurerm_lb_backend_address_pool")
    ),
    "azurerm_network_interface_nat_rule_association": _Form(_NIC, ("nat_rule_id", "azurerm_lb_nat_rule")),
    "azurerm_network_interface_security_group_association": _Form(_NIC, _NSG, one=True),
    "azurerm_subnet_nat_gateway_association": _Form(_SUBNET, _NAT_GATEWAY, one=True),
    "azurerm_subnet_network_security_group_association": _Form(_SUBNET, _NSG, one=True),
    "azurerm_subnet_route_table_association": _Form(
        _SUBNET, ("route_table_id", "azurerm_route_table"), one=True
    ),
}


_FIRST = "ip_configuration[0]"
"""The place that stands for the name of a block whose name is not known."""

_OF_BALANCERS = (
    "azurerm_network_interface_backend_address_pool_association",
    "azurerm_network_interface_nat_rule_association",
)


@dataclass(frozen=True, slots=True)
class Association:
    """``configuration`` is the IP configuration of the NIC that it is about, where it names one."""

    owner: str
    value: str
    configuration: str | None
    attributes: Attributes

    @property
    def is_of_balancer(self) -> bool:
        """Whether it ties an interface to a pool or a rule of a load balancer."""
        return self.attributes.instance.type in _OF_BALANCERS

    @property
    def configuration_id(self) -> str:
        """The id of :attr:`configuration`; where its name is not known, of the first one."""
        return f"{self.owner}/ipConfigurations/{self.configuration or _FIRST}"


class Associations:
    """Every association of a plan, by its type and owner."""

    def __init__(self, plan: Plan) -> None:
        self._found: dict[tuple[str, str], list[Association]] = defaultdict(list)
        for instance in plan.document.instances:
            form = ASSOCIATIONS.get(instance.type)
            if form is not None and not instance.data:
                self._add(plan.attributes(instance), instance.type, form)

    def _add(self, attributes: Attributes, kind: str, form: _Form) -> None:
        (owner_name, owner_type), (value_name, value_type) = form.owner, form.value
        found = Association(
            owner=attributes.required(owner_name, owner_type),
            value=attributes.required(value_name, value_type),
            configuration=attributes.fields.optional_text("ip_configuration_name"),
            attributes=attributes,
        )
        others = self._found[kind, key(found.owner)]
        if form.one and others and key(others[0].value) != key(found.value):
            other = others[0]
            attributes.fail(
                value_name,
                f"{plain(other.attributes.instance.address)} already gives {plain(found.owner)}"
                f" the {value_type} {plain(other.value)}",
            )
        others.append(found)

    def of(self, kind: str, owner: str) -> list[Association]:
        return self._found.get((kind, key(owner)), [])

    def one(self, kind: str, owner: str) -> str | None:
        """The value of an association that ``owner`` has at most once."""
        found = self.of(kind, owner)
        return found[0].value if found else None

    def all(self) -> list[Association]:
        return [item for items in self._found.values() for item in items]
