"""ARM resources as GET returns them, in few words, for tests of the loader and the policy engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.network.model import Network
from harness.network.snapshot import network_from_resources

Resource = dict[str, Any]

GROUP = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg"


def arm_id(kind: str, name: str, provider: str = "Microsoft.Network", group: str = GROUP) -> str:
    return f"{group}/providers/{provider}/{kind}/{name}"


def vnet_id(name: str) -> str:
    return arm_id("virtualNetworks", name)


def subnet_id(path: str) -> str:
    """``vnet/subnet`` -> id."""
    vnet, _, subnet = path.partition("/")
    return f"{vnet_id(vnet)}/subnets/{subnet}"


def nic_id(name: str) -> str:
    return arm_id("networkInterfaces", name)


def vm_id(name: str) -> str:
    return arm_id("virtualMachines", name, "Microsoft.Compute")


def ref(target: str) -> Resource:
    return {"id": target}


def resource(identity: str, kind: str, properties: Resource, **more: Any) -> Resource:
    return {
        "id": identity, "name": identity.rpartition("/")[2], "type": kind, "location": "westeurope",
        "properties": properties, **more,
    }  # fmt: skip


def rule(
    name: str,
    priority: int,
    access: str,
    direction: str = "Inbound",
    protocol: str = "*",
    source: str | list[str] = "*",
    destination: str | list[str] = "*",
    ports: str | list[str] = "*",
    source_ports: str | list[str] = "*",
    **more: Any,
) -> Resource:
    body: Resource = {"priority": priority, "access": access, "direction": direction, "protocol": protocol}
    for value, one, many in (
        (source, "sourceAddressPrefix", "sourceAddressPrefixes"),
        (destination, "destinationAddressPrefix", "destinationAddressPrefixes"),
        (ports, "destinationPortRange", "destinationPortRanges"),
        (source_ports, "sourcePortRange", "sourcePortRanges"),
    ):
        body |= {one: value, many: []} if isinstance(value, str) else {many: value}
    return {"name": name, "properties": body | more}


def nsg(name: str, *rules: Resource, **properties: Any) -> Resource:
    identity = arm_id("networkSecurityGroups", name)
    listed = [{"id": f"{identity}/securityRules/{item['name']}", **item} for item in rules]
    return resource(
        identity, "Microsoft.Network/networkSecurityGroups", {"securityRules": listed, **properties}
    )


def route(name: str, prefix: str, hop: str, address: str | None = None) -> Resource:
    body = {"addressPrefix": prefix, "nextHopType": hop}
    return {"name": name, "properties": body | ({"nextHopIpAddress": address} if address else {})}


def table(name: str, *routes: Resource, **properties: Any) -> Resource:
    identity = arm_id("routeTables", name)
    listed = [{"id": f"{identity}/routes/{item['name']}", **item} for item in routes]
    return resource(identity, "Microsoft.Network/routeTables", {"routes": listed, **properties})


def peering(
    vnet: str,
    remote: str,
    space: str | list[str],
    state: str = "Connected",
    access: bool = True,
    forwarded: bool = False,
) -> Resource:
    return {
        "id": f"{vnet_id(vnet)}/virtualNetworkPeerings/{vnet}-{remote}",
        "name": f"{vnet}-{remote}",
        "properties": {
            "remoteVirtualNetwork": ref(vnet_id(remote)),
            "peeringState": state,
            "allowVirtualNetworkAccess": access,
            "allowForwardedTraffic": forwarded,
            "remoteVirtualNetworkAddressSpace": {
                "addressPrefixes": [space] if isinstance(space, str) else space
            },
        },
    }


def vnet(
    name: str,
    space: str | list[str],
    subnets: dict[str, str | list[str]],
    peerings: Iterable[Resource] = (),
    nsgs: dict[str, str] | None = None,
    tables: dict[str, str] | None = None,
) -> Resource:
    """``nsgs`` and ``tables`` associate by subnet name, from the subnet's side."""
    identity = vnet_id(name)
    children = []
    for label, prefix in subnets.items():
        body: Resource = {"addressPrefix": prefix} if isinstance(prefix, str) else {"addressPrefixes": prefix}
        if nsgs and label in nsgs:
            body["networkSecurityGroup"] = ref(arm_id("networkSecurityGroups", nsgs[label]))
        if tables and label in tables:
            body["routeTable"] = ref(arm_id("routeTables", tables[label]))
        children.append({"id": f"{identity}/subnets/{label}", "name": label, "properties": body})
    return resource(
        identity,
        "Microsoft.Network/virtualNetworks",
        {
            "addressSpace": {"addressPrefixes": [space] if isinstance(space, str) else space},
            "subnets": children,
            "virtualNetworkPeerings": list(peerings),
        },
    )


def nic(
    name: str,
    subnet: str,
    *addresses: str,
    nsg: str | None = None,
    vm: str | None = None,
    forwarding: bool = False,
    asgs: Iterable[str] = (),
    public_ip: str | None = None,
) -> Resource:
    identity = nic_id(name)
    configurations = []
    for number, address in enumerate(addresses):
        body: Resource = {
            "privateIPAddress": address,
            "privateIPAddressVersion": "IPv6" if ":" in address else "IPv4",
            "primary": number == 0,
            "subnet": ref(subnet_id(subnet)),
            "applicationSecurityGroups": [ref(arm_id("applicationSecurityGroups", asg)) for asg in asgs],
        }
        if public_ip and number == 0:
            body["publicIPAddress"] = ref(arm_id("publicIPAddresses", public_ip))
        label = f"ipconfig{number + 1}"
        configurations.append(
            {"id": f"{identity}/ipConfigurations/{label}", "name": label, "properties": body}
        )
    properties: Resource = {"ipConfigurations": configurations, "enableIPForwarding": forwarding}
    if nsg:
        properties["networkSecurityGroup"] = ref(arm_id("networkSecurityGroups", nsg))
    if vm:
        properties["virtualMachine"] = ref(vm_id(vm))
    return resource(identity, "Microsoft.Network/networkInterfaces", properties)


def vm(name: str, *nics: str) -> Resource:
    profile = {
        "networkInterfaces": [
            {"id": nic_id(label), "properties": {"primary": n == 0}} for n, label in enumerate(nics)
        ]
    }
    return resource(vm_id(name), "Microsoft.Compute/virtualMachines", {"networkProfile": profile})


def machine(name: str, subnet: str, *addresses: str, **more: Any) -> list[Resource]:
    """A VM ``name`` with one NIC ``nic-<name>``."""
    return [nic(f"nic-{name}", subnet, *addresses, vm=name, **more), vm(name, f"nic-{name}")]


def asg(name: str) -> Resource:
    return resource(
        arm_id("applicationSecurityGroups", name), "Microsoft.Network/applicationSecurityGroups", {}
    )


def public_ip(name: str, address: str | None, sku: str = "Standard") -> Resource:
    body = {"ipAddress": address} if address else {}
    return resource(
        arm_id("publicIPAddresses", name), "Microsoft.Network/publicIPAddresses", body, sku={"name": sku}
    )


def network(*resources: Resource | list[Resource]) -> Network:
    flat = [item for entry in resources for item in (entry if isinstance(entry, list) else [entry])]
    return network_from_resources(flat, "test")
