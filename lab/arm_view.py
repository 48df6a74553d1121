"""Finds a VM's NIC, subnet, NSGs and route table among a lab's ARM resources, and edits them as ARM does.

Each function returns the changes to make; nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from ipaddress import ip_network
from typing import Any

from harness.errors import InputError
from harness.network.model import IPAddress, key, short_name
from lab.changes import ArmChange

Resource = dict[str, Any]

FIRST_PRIORITY, LAST_PRIORITY = 100, 4096
"""Custom rules' priorities (Azure: network-security-groups-overview)."""


class ArmView:
    """The resources of a lab at one moment, by the key of their ids."""

    def __init__(self, resources: list[Resource]) -> None:
        self._by_key = {key(str(resource["id"])): resource for resource in resources}

    def nic_of(self, vm: str) -> Resource:
        """The primary NIC of the VM called ``vm``."""
        for resource in self._by_key.values():
            if (
                str(resource.get("type", "")).lower() == "microsoft.compute/virtualmachines"
                and resource["name"] == vm
            ):
                references = resource["properties"]["networkProfile"]["networkInterfaces"]
                primary = next(
                    (r for r in references if r.get("properties", {}).get("primary")), references[0]
                )
                return self._by_key[key(primary["id"])]
        raise InputError(f"the lab has no VM '{vm}'")

    def subnet_of(self, nic: Resource) -> Resource:
        """The subnet of a NIC's primary configuration, as a resource of its own."""
        wanted = key(nic["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"])
        if wanted in self._by_key:
            return self._by_key[wanted]
        vnet = self._by_key[wanted.rpartition("/subnets/")[0]]
        return next(subnet for subnet in vnet["properties"]["subnets"] if key(subnet["id"]) == wanted)

    def nic_with_address(self, address: str) -> Resource:
        """The NIC that has ``address``."""
        for resource in self._by_key.values():
            if str(resource.get("type", "")).lower() == "microsoft.network/networkinterfaces" and any(
                config["properties"].get("privateIPAddress") == address
                for config in resource["properties"]["ipConfigurations"]
            ):
                return resource
        raise InputError(f"no NIC of the lab has {address}")

    def any_appliance(self) -> Resource:
        """The NIC of a VM that forwards."""
        for resource in self._by_key.values():
            if resource.get("properties", {}).get("enableIPForwarding"):
                return resource
        raise InputError("the lab has no appliance (a NIC with enableIPForwarding)")

    def vm_of(self, nic: Resource) -> str:
        """The name of the VM that has ``nic``."""
        return short_name(nic["properties"]["virtualMachine"]["id"])

    def route_to_appliance(self, subnet: Resource, target: IPAddress) -> Resource:
        """The route of ``subnet`` that takes ``target`` to a virtual appliance."""
        reference = subnet["properties"].get("routeTable")
        table = (
            self._by_key[key(reference["id"])] if reference is not None else {"properties": {"routes": []}}
        )
        fitting = [
            route
            for route in table["properties"]["routes"]
            if route["properties"]["nextHopType"] == "VirtualAppliance"
            and target in ip_network(route["properties"]["addressPrefix"])
        ]
        if not fitting:
            raise InputError(f"subnet '{subnet['name']}' has no route to {target} through an appliance")
        return max(fitting, key=lambda route: ip_network(route["properties"]["addressPrefix"]).prefixlen)

    def attach_rule(self, owner: Resource, direction: str, rule: Mapping[str, Any]) -> list[ArmChange]:
        """A rule that comes first in the NSG of ``owner`` (a NIC or a subnet), which is made if need be."""
        reference = owner["properties"].get("networkSecurityGroup")
        if reference is None:
            nsg_id = _sibling(owner, "networkSecurityGroups", f"nsg-{owner['name']}")
            rules = {"securityRules": [_rule(nsg_id, direction, FIRST_PRIORITY, rule)]}
            nsg = _resource(nsg_id, "Microsoft.Network/networkSecurityGroups", rules)
            return [ArmChange(nsg_id, None, nsg), _reference(owner, "networkSecurityGroup", nsg_id)]
        nsg = self._by_key[key(reference["id"])]
        body = _rule(nsg["id"], direction, FIRST_PRIORITY, rule)
        return [*_make_room(nsg, direction), ArmChange(body["id"], None, body)]

    def attach_route(self, subnet: Resource, route: Mapping[str, Any]) -> list[ArmChange]:
        """A route in the route table of ``subnet``; makes a table where there is none."""
        reference = subnet["properties"].get("routeTable")
        if reference is None:
            table_id = _sibling(subnet, "routeTables", f"rt-{subnet['name']}")
            table = _resource(
                table_id, "Microsoft.Network/routeTables", {"routes": [_route(table_id, route)]}
            )
            return [ArmChange(table_id, None, table), _reference(subnet, "routeTable", table_id)]
        body = _route(self._by_key[key(reference["id"])]["id"], route)
        return [ArmChange(body["id"], None, body)]


def _make_room(nsg: Resource, direction: str) -> list[ArmChange]:
    """Moves the rules at the first priorities down by one, as far as they stand without a gap."""
    rules = {
        rule["properties"]["priority"]: rule
        for rule in nsg["properties"].get("securityRules", ())
        if rule["properties"]["direction"] == direction
    }
    gap = FIRST_PRIORITY
    while gap in rules:
        gap += 1
    if gap > LAST_PRIORITY:
        raise InputError(f"{nsg['name']}: every {direction} priority is taken")
    moves = []
    # the last one first: no two rules ever have the same priority
    for priority in range(gap - 1, FIRST_PRIORITY - 1, -1):
        after = deepcopy(rules[priority])
        after["properties"]["priority"] = priority + 1
        moves.append(ArmChange(after["id"], deepcopy(rules[priority]), after))
    return moves


def _sibling(owner: Resource, kind: str, name: str) -> str:
    """The id of a new resource beside ``owner`` in its resource group."""
    group = owner["id"].partition("/providers/")[0]
    return f"{group}/providers/Microsoft.Network/{kind}/{name}"


def _resource(resource_id: str, kind: str, properties: Resource) -> Resource:
    name = short_name(resource_id)
    return {"id": resource_id, "name": name, "type": kind, "location": "westeurope", "properties": properties}


def _reference(owner: Resource, field: str, target: str) -> ArmChange:
    after = deepcopy(owner)
    after["properties"][field] = {"id": target}
    return ArmChange(owner["id"], deepcopy(owner), after)


def _rule(nsg_id: str, direction: str, priority: int, rule: Mapping[str, Any]) -> Resource:
    name = f"Deny{direction}-{priority}"
    return {
        "id": f"{nsg_id}/securityRules/{name}",
        "name": name,
        "properties": {"priority": priority, "direction": direction, **rule},
    }


def _route(table_id: str, route: Mapping[str, Any]) -> Resource:
    name = f"to-{str(route['addressPrefix']).replace('/', '-').replace(':', '-')}"
    return {"id": f"{table_id}/routes/{name}", "name": name, "properties": dict(route)}
