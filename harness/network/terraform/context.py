"""What the translators of resource types share: the plan, its associations, addresses and notes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.network.armids import resource_type
from harness.network.model import IPNetwork, key, short_name
from harness.network.terraform.addresses import HOLDERS, Addresses
from harness.network.terraform.associations import Associations
from harness.network.terraform.attributes import Attributes, Plan
from harness.network.terraform.document import Instance
from harness.network.terraform.identities import KINDS
from harness.text import plain

Body = dict[str, Any]

_VM_TYPES = ("azurerm_linux_virtual_machine", "azurerm_windows_virtual_machine", "azurerm_virtual_machine")
_ADDRESSED = (*HOLDERS, *_VM_TYPES)


@dataclass(slots=True)
class Context:
    plan: Plan
    associations: Associations = field(init=False)
    addresses: Addresses = field(init=False)
    subnet_prefixes: dict[str, tuple[IPNetwork, ...]] = field(default_factory=dict)
    separate: frozenset[str] = field(init=False)
    """Ids (keys) of what has a resource of its own: a block that describes the same is its echo."""
    balancer_children: dict[str, Attributes] = field(default_factory=dict)
    """Pools, rules and probes of load balancers, by key of the id."""
    pool_addresses: list[tuple[Attributes, str]] = field(default_factory=list)
    """Members that a pool has by address alone, each with the id of its pool."""
    _children: dict[tuple[str, str], list[Attributes]] = field(init=False)

    def __post_init__(self) -> None:
        self.associations = Associations(self.plan)
        known = [item for item in self.plan.document.instances if item.type in KINDS]
        of = self.plan.identities.of
        self.separate = frozenset(key(of(item)) for item in known if not item.data)
        self._children = defaultdict(list)
        for item in known:
            if KINDS[item.type].owner is None or (item.data and key(of(item)) in self.separate):
                continue
            child = self.plan.attributes(item)
            self._children[item.type, key(self.plan.identities.parent(item))].append(child)
            if KINDS[item.type].parent == "azurerm_lb":
                self.balancer_children[key(child.id)] = child

        for item in self.plan.document.instances:
            if item.type == "azurerm_lb_backend_address_pool_address" and not item.data:
                member = self.plan.attributes(item)
                pool = member.required("backend_address_pool_id", "azurerm_lb_backend_address_pool")
                self.pool_addresses.append((member, pool))

    def allocate(self) -> None:
        """Once the prefixes of all subnets are known."""
        self.addresses = Addresses(
            self.plan, lambda subnet: self.subnet_prefixes.get(key(subnet), ()), self.plan.note
        )

    def children(self, kind: str, owner: str) -> list[Attributes]:
        """The instances of a type that stand in the resource ``owner``."""
        return self._children.get((kind, key(owner)), [])

    def stands(self, block: Attributes, attribute: str, arm_id: str) -> bool:
        """Whether a block inside a resource is one of its own, not the echo of another resource.

        The provider reads subnets, rules and routes back into their parent, also those that have a
        resource of their own and those that the plan takes away.
        """
        if key(arm_id) in self.separate:
            return False
        configuration = self.plan.references.configuration(block.instance).expressions
        return configuration.has(attribute) or key(arm_id) not in self.plan.document.deleted

    def address(self, attributes: Attributes, name: str) -> str | None:
        """A known address or prefix, or the private address of the one instance it is computed of."""
        if (source := self._source(attributes, name)) is not None:
            address = self.addresses.first_of(source.address)
            if address is not None:
                self.plan.note(
                    f"{attributes.fields.at(name)}: is not known before apply: read as {address},"
                    f" the private address of {plain(source.address)}"
                )
                return address
        return None if attributes.value(name) is None else attributes.fields.text(name)

    def _source(self, attributes: Attributes, name: str) -> Instance | None:
        """The one holder of a private address that an unknown attribute can come from."""
        block = attributes.expression(name)
        if not attributes.unknown(name) or block is None:
            return None
        found = attributes.instances(name, *_ADDRESSED)
        if len(found) != 1 or any("public_ip" in item for item in block.texts("references")):
            return None
        if found[0].type not in _VM_TYPES:
            return found[0]
        machine = self.plan.attributes(found[0])
        return next(iter(machine.instances("network_interface_ids", "azurerm_network_interface")), None)


Translator = Callable[[Context, Attributes], Iterator[Body]]


def arm_body(arm_id: str, properties: Mapping[str, Any], **more: Any) -> Body:
    """A resource as GET returns it, without the properties that have no value."""
    return {
        "id": arm_id,
        "name": short_name(arm_id),
        "type": resource_type(arm_id),
        **{name: value for name, value in more.items() if value is not None},
        "properties": {name: value for name, value in properties.items() if value is not None},
    }


def ref(arm_id: str | None) -> Body | None:
    return None if arm_id is None else {"id": arm_id}


def refs(arm_ids: Sequence[str]) -> list[Body]:
    return [{"id": arm_id} for arm_id in dict.fromkeys(arm_ids)]
