"""The ARM resources of a running lab: get, put and delete, of children too.

A change gives a new store and leaves the old one as it was, so that a change which the lab
refuses has changed nothing. Not for judging whether the network makes sense: that is the
snapshot loader's and the fabric plan's business.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from harness.errors import InputError, UnknownNameError
from harness.network.armids import parent, resource_type
from harness.network.model import key, short_name
from lab.arm import NIC, NSG, ROUTE_TABLE, VM, VNET, Resource, derived

_CHILDREN = {
    f"{VNET}/subnets": "subnets",
    f"{VNET}/virtualNetworkPeerings": "virtualNetworkPeerings",
    f"{NSG}/securityRules": "securityRules",
    f"{NSG}/defaultSecurityRules": "defaultSecurityRules",
    f"{ROUTE_TABLE}/routes": "routes",
    f"{NIC}/ipConfigurations": "ipConfigurations",
}
_CHILDREN_CASELESS = {kind.lower(): (kind, name) for kind, name in _CHILDREN.items()}


class ResourceStore:
    """Resources by id, children inside their parents, everything that Azure computes up to date."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._by_key = {key(resource["id"]): resource for resource in _folded(_copied(list(resources)))}
        derived(list(self._by_key.values()))

    def resources(self) -> list[Resource]:
        """All of them, children inside their parents."""
        return list(self._by_key.values())

    def snapshot(self) -> str:
        """The text of a snapshot file."""
        lines = ",\n".join(json.dumps(resource) for resource in self._by_key.values())
        return f'{{"resources": [\n{lines}\n]}}\n'

    def get(self, arm_id: str) -> Resource | None:
        """One resource, None if there is none."""
        found = self._by_key.get(key(arm_id))
        if found is None and _child_kind(arm_id) is not None:
            found = next((child for child in self._siblings(arm_id) if key(child["id"]) == key(arm_id)), None)
        return None if found is None else _copied(found)

    def with_put(self, arm_id: str, body: dict[str, Any]) -> ResourceStore:
        """The store after a PUT; raises InputError for what cannot be put."""
        kind = resource_type(arm_id)
        if kind is None:
            raise InputError(f"'{arm_id}' is no id of an ARM resource")
        if not isinstance(body.get("properties", {}), dict):
            raise InputError(f"{arm_id}: 'properties' must be an object")
        if key(str(body.get("id", arm_id))) != key(arm_id):
            raise InputError(f"{arm_id}: the body has another id ({body['id']})")
        resource = {
            "name": short_name(arm_id),
            "id": arm_id,
            "type": kind,
            **_copied(body),
        }
        resource["properties"] = {"provisioningState": "Succeeded", **resource.get("properties", {})}
        changed = self._copy()
        if _child_kind(arm_id) is None:
            changed._by_key[key(arm_id)] = resource
        else:
            if _child_kind(arm_id) == "defaultSecurityRules":
                raise InputError(f"{arm_id}: Azure's default rules cannot be changed")
            siblings = changed._siblings(arm_id)
            for number, sibling in enumerate(siblings):
                if key(sibling["id"]) == key(arm_id):
                    siblings[number] = resource
                    break
            else:
                siblings.append(resource)
        return changed._again()

    def with_delete(self, arm_id: str) -> ResourceStore:
        """The store after a DELETE; raises UnknownNameError if there is nothing to delete."""
        changed = self._copy()
        if key(arm_id) in changed._by_key:
            del changed._by_key[key(arm_id)]
            for resource in changed._by_key.values():
                machine = resource["properties"].get("virtualMachine")
                if isinstance(machine, dict) and key(str(machine.get("id"))) == key(arm_id):
                    del resource["properties"]["virtualMachine"]
            return changed._again()
        siblings = changed._siblings(arm_id) if _child_kind(arm_id) else []
        kept = [sibling for sibling in siblings if key(sibling["id"]) != key(arm_id)]
        if len(kept) == len(siblings):
            raise UnknownNameError(f"no resource {arm_id} in this lab")
        if _child_kind(arm_id) == "defaultSecurityRules":
            raise InputError(f"{arm_id}: Azure's default rules cannot be deleted")
        siblings[:] = kept
        return changed._again()

    def _copy(self) -> ResourceStore:
        return ResourceStore(self._by_key.values())

    def _again(self) -> ResourceStore:
        derived(list(self._by_key.values()))
        return self

    def _siblings(self, arm_id: str) -> list[Resource]:
        """The list, in its parent, that has or would have this child."""
        owner = self._by_key.get(key(parent(arm_id)))
        if owner is None:
            raise UnknownNameError(f"no resource {parent(arm_id)} in this lab")
        name = _child_kind(arm_id)
        assert name is not None
        properties = owner["properties"]
        if properties.get(name) is None:
            properties[name] = []
        siblings: list[Resource] = properties[name]
        return siblings


def _child_kind(arm_id: str) -> str | None:
    """The property of the parent that holds a child of this kind; None for what is no child."""
    found = _CHILDREN_CASELESS.get((resource_type(arm_id) or "").lower())
    return found[1] if found else None


def _copied(value: Any) -> Any:
    # an order of magnitude faster than copy.deepcopy, and resources are JSON by definition
    return json.loads(json.dumps(value))


def _folded(resources: list[Resource]) -> list[Resource]:
    """Children that stand by themselves go into their parents, associations to the side that owns them.

    Azure: subnets and NICs refer to NSGs and route tables, VMs to NICs; the other side is read-only.
    """
    by_key: dict[str, Resource] = {}
    children = []
    for resource in resources:
        if not isinstance(resource.get("properties"), dict):
            resource["properties"] = {}
        resource.setdefault("type", resource_type(resource["id"]) or "")
        if _child_kind(resource["id"]):
            children.append(resource)
        else:
            by_key[key(resource["id"])] = resource
    result = list(by_key.values())
    for child in children:
        owner, name = by_key.get(key(parent(child["id"]))), _child_kind(child["id"])
        if owner is None or name is None:
            result.append(child)
            continue
        siblings = owner["properties"].get(name) or []
        owner["properties"][name] = siblings
        if all(key(sibling.get("id", "")) != key(child["id"]) for sibling in siblings):
            siblings.append(child)
    _own(result)
    return result


def _own(resources: list[Resource]) -> None:
    subnets: dict[str, Resource] = {}
    by_key = {key(resource["id"]): resource for resource in resources}
    for resource in resources:
        for subnet in resource["properties"].get("subnets") or []:
            if resource["type"].lower() == VNET.lower():
                subnets[key(subnet["id"])] = subnet
    for resource in resources:
        kind, properties = resource["type"].lower(), resource["properties"]
        if kind in (NSG.lower(), ROUTE_TABLE.lower()):
            name = "networkSecurityGroup" if kind == NSG.lower() else "routeTable"
            for reference in properties.get("subnets") or []:
                _refer(subnets.get(key(reference["id"])), name, resource["id"])
            for reference in properties.get("networkInterfaces") or []:
                _refer(by_key.get(key(reference["id"])), name, resource["id"])
        elif kind == NIC.lower() and isinstance(properties.get("virtualMachine"), dict):
            _attach(by_key, properties["virtualMachine"]["id"], resource["id"])


def _refer(owner: Resource | None, name: str, target: str) -> None:
    if owner is not None and not owner["properties"].get(name):
        owner["properties"][name] = {"id": target}


def _attach(by_key: dict[str, Resource], vm: str, nic: str) -> None:
    machine = by_key.get(key(vm))
    if machine is None:
        # a snapshot of the network alone names its VMs in their NICs only
        return
    if machine["type"].lower() == VM.lower():
        profile = machine["properties"].get("networkProfile") or {}
        machine["properties"]["networkProfile"] = profile
        nics = profile.get("networkInterfaces") or []
        profile["networkInterfaces"] = nics
        if all(key(reference["id"]) != key(nic) for reference in nics):
            nics.append({"id": nic})
