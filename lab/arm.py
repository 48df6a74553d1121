"""What Azure computes of a network's ARM resources: default rules, who uses what, peering states.

Pure; used for a lab's first resources and after each change. Not for storing (``lab.store``) nor
for translating a lab file (``lab.resources``).
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from harness.network.model import key

Resource = dict[str, Any]

VNET = "Microsoft.Network/virtualNetworks"
NIC = "Microsoft.Network/networkInterfaces"
NSG = "Microsoft.Network/networkSecurityGroups"
ASG = "Microsoft.Network/applicationSecurityGroups"
ROUTE_TABLE = "Microsoft.Network/routeTables"
PUBLIC_IP = "Microsoft.Network/publicIPAddresses"
NAT_GATEWAY = "Microsoft.Network/natGateways"
VM = "Microsoft.Compute/virtualMachines"

SUCCEEDED = {"provisioningState": "Succeeded"}

# Azure: network-security-groups-overview, default security rules
_DEFAULT_RULES = (
    ("AllowVnetInBound", "Inbound", 65000, "VirtualNetwork", "VirtualNetwork", "Allow"),
    ("AllowAzureLoadBalancerInBound", "Inbound", 65001, "AzureLoadBalancer", "*", "Allow"),
    ("DenyAllInBound", "Inbound", 65500, "*", "*", "Deny"),
    ("AllowVnetOutBound", "Outbound", 65000, "VirtualNetwork", "VirtualNetwork", "Allow"),
    ("AllowInternetOutBound", "Outbound", 65001, "*", "Internet", "Allow"),
    ("DenyAllOutBound", "Outbound", 65500, "*", "*", "Deny"),
)


def derived(resources: list[Resource]) -> list[Resource]:
    """The same resources, with everything that Azure computes brought up to date in place."""
    by_id = {key(resource["id"]): resource for resource in resources}
    users: dict[str, dict[str, list[dict[str, str]]]] = {}

    def used(reference: Any, kind: str, user: str) -> None:
        if isinstance(reference, dict) and isinstance(reference.get("id"), str):
            users.setdefault(key(reference["id"]), {}).setdefault(kind, []).append({"id": user})

    for resource in resources:
        kind = resource.get("type", "").lower()
        properties = resource["properties"]
        if kind == VNET.lower():
            for subnet in properties.get("subnets") or []:
                for name in ("networkSecurityGroup", "routeTable"):
                    used(subnet.get("properties", {}).get(name), "subnets", subnet["id"])
            _synchronise(resource, by_id)
        elif kind == NIC.lower():
            used(properties.get("networkSecurityGroup"), "networkInterfaces", resource["id"])
            for configuration in properties.get("ipConfigurations") or []:
                used(
                    configuration.get("properties", {}).get("subnet"), "ipConfigurations", configuration["id"]
                )
        elif kind == VM.lower():
            for reference in (properties.get("networkProfile") or {}).get("networkInterfaces") or []:
                used(reference, "virtualMachine", resource["id"])
    for resource in resources:
        _set_users(resource, users, by_id.keys())
    return resources


def _set_users(
    resource: Resource, users: dict[str, dict[str, list[dict[str, str]]]], known: Container[str]
) -> None:
    kind, properties = resource.get("type", "").lower(), resource["properties"]
    mine = users.get(key(resource["id"]), {})
    if kind in (NSG.lower(), ROUTE_TABLE.lower()):
        for name in ("subnets", "networkInterfaces"):
            properties.pop(name, None)
            if name in mine:
                properties[name] = mine[name]
        if kind == NSG.lower() and not properties.get("defaultSecurityRules"):
            properties["defaultSecurityRules"] = [
                _default_rule(resource["id"], *row) for row in _DEFAULT_RULES
            ]
    elif kind == NIC.lower():
        named = properties.get("virtualMachine")
        if "virtualMachine" in mine:
            properties["virtualMachine"] = mine["virtualMachine"][0]
        elif isinstance(named, dict) and key(str(named.get("id", ""))) in known:
            del properties["virtualMachine"]
    elif kind == VNET.lower():
        for subnet in properties.get("subnets") or []:
            subnet["properties"].pop("ipConfigurations", None)
            configurations = users.get(key(subnet["id"]), {}).get("ipConfigurations")
            if configurations:
                subnet["properties"]["ipConfigurations"] = configurations


def _synchronise(vnet: Resource, by_id: dict[str, Resource]) -> None:
    """State and remote address space of a VNet's peerings, where the remote VNet is known.

    Azure: Initiated with one side only, Connected with both, Disconnected once the other is gone.
    """
    for peering in vnet["properties"].get("virtualNetworkPeerings") or []:
        properties = peering["properties"]
        reference = properties.get("remoteVirtualNetwork")
        remote = (
            by_id.get(key(reference["id"])) if isinstance(reference, dict) and "id" in reference else None
        )
        if remote is None:
            continue
        back = any(
            key(other["properties"].get("remoteVirtualNetwork", {}).get("id", "")) == key(vnet["id"])
            for other in remote["properties"].get("virtualNetworkPeerings") or []
        )
        previous = properties.get("peeringState")
        if back:
            properties["peeringState"] = "Connected"
        else:
            gone = previous in ("Connected", "Disconnected")
            properties["peeringState"] = "Disconnected" if gone else "Initiated"
        properties["peeringSyncLevel"] = "FullyInSync" if back else "RemoteNotInSync"
        space = remote["properties"].get("addressSpace")
        if space and not properties.get("remoteAddressSpace"):
            properties["remoteAddressSpace"] = space


def _default_rule(
    nsg: str, name: str, direction: str, priority: int, source: str, destination: str, access: str
) -> Resource:
    properties = {
        **SUCCEEDED,
        "protocol": "*",
        "sourcePortRange": "*",
        "destinationPortRange": "*",
        "sourceAddressPrefix": source,
        "destinationAddressPrefix": destination,
        "access": access,
        "priority": priority,
        "direction": direction,
        "sourcePortRanges": [],
        "destinationPortRanges": [],
        "sourceAddressPrefixes": [],
        "destinationAddressPrefixes": [],
    }
    return child_resource(nsg, "defaultSecurityRules", name, NSG, properties)


def child_resource(
    parent: str, kind: str, name: str, parent_type: str, properties: dict[str, Any]
) -> Resource:
    """A child resource as it stands inside its parent."""
    return {
        "name": name,
        "id": f"{parent}/{kind}/{name}",
        "type": f"{parent_type}/{kind}",
        "properties": properties,
    }
