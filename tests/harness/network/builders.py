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


# -- edges ----------------------------------------------------------------------------------------


def child(owner: str, kind: str, name: str, **properties: Any) -> Resource:
    """A child as it stands inside its parent."""
    return {"id": f"{owner}/{kind}/{name}", "name": name, "properties": properties}


def configuration_id(nic: str, number: int = 1) -> str:
    return f"{nic_id(nic)}/ipConfigurations/ipconfig{number}"


def public_ip_prefix(name: str, prefix: str | None, **properties: Any) -> Resource:
    body = {"ipPrefix": prefix} if prefix else {}
    return resource(
        arm_id("publicIPPrefixes", name), "Microsoft.Network/publicIPPrefixes", body | properties,
        sku={"name": "Standard"},
    )  # fmt: skip


def nat_gateway(name: str, **properties: Any) -> Resource:
    return resource(
        arm_id("natGateways", name), "Microsoft.Network/natGateways", properties, sku={"name": "Standard"}
    )


def load_balancer_id(name: str) -> str:
    return arm_id("loadBalancers", name)


def load_balancer(name: str, sku: str | None = "Standard", **children: list[Resource]) -> Resource:
    """``children``: lists of :func:`child` by the name of their list."""
    more = {} if sku is None else {"sku": {"name": sku, "tier": "Regional"}}
    return resource(load_balancer_id(name), "Microsoft.Network/loadBalancers", dict(children), **more)


def gateway(name: str, vnet: str, kind: str = "Vpn") -> Resource:
    """A virtual network gateway in ``vnet``/GatewaySubnet."""
    identity = arm_id("virtualNetworkGateways", name)
    place = child(identity, "ipConfigurations", "default", subnet=ref(subnet_id(f"{vnet}/GatewaySubnet")))
    return resource(
        identity,
        "Microsoft.Network/virtualNetworkGateways",
        {"gatewayType": kind, "ipConfigurations": [place]},
    )


def local_gateway(name: str, *prefixes: str) -> Resource:
    return resource(
        arm_id("localNetworkGateways", name),
        "Microsoft.Network/localNetworkGateways",
        {"localNetworkAddressSpace": {"addressPrefixes": list(prefixes)}},
    )


def connection(name: str, gateway: str, kind: str = "IPsec", **properties: Any) -> Resource:
    own = ref(arm_id("virtualNetworkGateways", gateway))
    return resource(
        arm_id("connections", name),
        "Microsoft.Network/connections",
        {"virtualNetworkGateway1": own, "connectionType": kind, **properties},
    )


MANAGER = "Microsoft.Network/networkManagers"


def manager_id(path: str) -> str:
    return arm_id("networkManagers", path)


def network_group(name: str, *members: str) -> list[Resource]:
    """A group of manager ``m`` with static members (ids)."""
    own = manager_id(f"m/networkGroups/{name}")
    return [
        resource(own, f"{MANAGER}/networkGroups", {"memberType": "VirtualNetwork"}),
        *(
            resource(
                f"{own}/staticMembers/s{number}",
                f"{MANAGER}/networkGroups/staticMembers",
                {"resourceId": member},
            )
            for number, member in enumerate(members)
        ),
    ]


def admin_collection(name: str, *groups: str) -> Resource:
    """A rule collection of ``m``/``c`` that applies to network groups (names)."""
    return resource(
        manager_id(f"m/securityAdminConfigurations/c/ruleCollections/{name}"),
        f"{MANAGER}/securityAdminConfigurations/ruleCollections",
        {"appliesToGroups": [{"networkGroupId": manager_id(f"m/networkGroups/{g}")} for g in groups]},
    )


def admin_address(text: str, kind: str = "IPPrefix") -> Resource:
    return {"addressPrefix": text, "addressPrefixType": kind}


def admin_rule(
    name: str, priority: int, access: str, collection: str = "rc", kind: str = "Custom", **more: Any
) -> Resource:
    body: Resource = {
        "priority": priority,
        "access": access,
        "direction": "Inbound",
        "protocol": "Tcp",
        "sources": [admin_address("*")],
        "destinations": [admin_address("*")],
        "sourcePortRanges": ["0-65535"],
        "destinationPortRanges": ["22"],
    }
    return {
        **resource(
            manager_id(f"m/securityAdminConfigurations/c/ruleCollections/{collection}/rules/{name}"),
            f"{MANAGER}/securityAdminConfigurations/ruleCollections/rules",
            body | more,
        ),
        "kind": kind,
    }


CLASSIC_COMPUTE, CLASSIC_NETWORK = "Microsoft.ClassicCompute", "Microsoft.ClassicNetwork"


def cloud_service_id(name: str) -> str:
    return arm_id("domainNames", name, CLASSIC_COMPUTE)


def classic_vm_id(name: str) -> str:
    return arm_id("virtualMachines", name, CLASSIC_COMPUTE)


def cloud_service(name: str) -> Resource:
    return resource(
        cloud_service_id(name), f"{CLASSIC_COMPUTE}/domainNames", {"hostName": f"{name}.cloudapp.net"}
    )


def classic_vnet(name: str, space: str, **subnets: str) -> Resource:
    listed = [{"name": label, "addressPrefix": prefix} for label, prefix in subnets.items()]
    return resource(
        arm_id("virtualNetworks", name, CLASSIC_NETWORK),
        f"{CLASSIC_NETWORK}/virtualNetworks",
        {"addressSpace": {"addressPrefixes": [space]}, "subnets": listed},
    )


def endpoint(name: str, public: int, private: int, *acl: Resource, **more: Any) -> Resource:
    body = {"endpointName": name, "publicPort": public, "privatePort": private, "protocol": "tcp"}
    if acl:
        body["endpointAccessControlList"] = {"rules": list(acl)}
    return body | more


def acl_rule(order: int, action: str, subnet: str, description: str = "") -> Resource:
    return {"order": order, "action": action, "remoteSubnet": subnet, "description": description}


def classic_vm(
    name: str,
    service: str,
    address: str | None,
    *endpoints: Resource,
    place: tuple[str, str] | None = None,
    **profile: Any,
) -> Resource:
    """``place``: (classic VNet, subnet), None outside of one."""
    networks: Resource = {"inputEndpoints": list(endpoints), **profile}
    if place is not None:
        vnet = arm_id("virtualNetworks", place[0], CLASSIC_NETWORK)
        networks["virtualNetwork"] = {"id": vnet, "name": place[0], "subnetNames": [place[1]]}
    return resource(
        classic_vm_id(name),
        f"{CLASSIC_COMPUTE}/virtualMachines",
        {
            "domainName": {"id": cloud_service_id(service), "name": service},
            "instanceView": {"privateIpAddress": address} if address else {},
            "networkProfile": networks,
        },
    )
