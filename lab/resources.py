"""A lab file as ARM resources, as ``GET`` returns them.

Pure. Not for what Azure computes of them (``lab.arm``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from itertools import count
from typing import Any

from lab.addresses import AddressPool
from lab.arm import (
    ASG,
    NAT_GATEWAY,
    NIC,
    NSG,
    PUBLIC_IP,
    ROUTE_TABLE,
    SUCCEEDED,
    VM,
    VNET,
    Resource,
    child_resource,
    derived,
)
from lab.labfile import LabFile, Nic, Peering, Route, Rule, VNet


class _Translation:
    """One lab file on its way to resources."""

    def __init__(self, lab: LabFile) -> None:
        self.lab = lab
        self._scope = f"/subscriptions/{lab.subscription}/resourceGroups/{lab.resource_group}/providers"
        self._pools: dict[tuple[str, str], AddressPool] = {}
        self._macs = count(1)

    def id(self, kind: str, name: str) -> str:
        return f"{self._scope}/{kind}/{name}"

    def reference(self, kind: str, name: str) -> dict[str, str]:
        return {"id": self.id(kind, name)}

    def resource(self, kind: str, name: str, properties: dict[str, Any]) -> Resource:
        return {
            "name": name,
            "id": self.id(kind, name),
            "type": kind,
            "location": self.lab.location,
            "properties": {**SUCCEEDED, **properties},
        }

    def resources(self) -> Iterator[Resource]:
        lab = self.lab
        for name, vnet in lab.vnets.items():
            yield self._vnet(name, vnet)
        for name, rules in lab.nsgs.items():
            nsg = self.id(NSG, name)
            yield self.resource(NSG, name, {"securityRules": [self._rule(nsg, rule) for rule in rules]})
        for name in lab.asgs:
            yield self.resource(ASG, name, {})
        for name, routes in lab.route_tables.items():
            table = self.id(ROUTE_TABLE, name)
            properties = {
                "disableBgpRoutePropagation": False,
                "routes": [_route(table, route) for route in routes],
            }
            yield self.resource(ROUTE_TABLE, name, properties)
        for name, public in lab.public_ips.items():
            content: dict[str, Any] = {
                "ipAddress": public.address,
                "publicIPAddressVersion": f"IPv{ip_address(public.address).version}",
                "publicIPAllocationMethod": "Static",
            }
            yield {**self.resource(PUBLIC_IP, name, content), "sku": {"name": public.sku}}
        for name, gateway in lab.nat_gateways.items():
            content = {"publicIpAddresses": [self.reference(PUBLIC_IP, gateway.public_ip)]}
            yield {**self.resource(NAT_GATEWAY, name, content), "sku": {"name": "Standard"}}
        yield from self._machines()

    def _vnet(self, name: str, vnet: VNet) -> Resource:
        own = self.id(VNET, name)
        subnets = []
        for subnet_name, subnet in vnet.subnets.items():
            properties: dict[str, Any] = {**SUCCEEDED}
            if len(subnet.prefix) == 1:
                properties["addressPrefix"] = subnet.prefix[0]
            else:
                properties["addressPrefixes"] = list(subnet.prefix)
            if subnet.nsg:
                properties["networkSecurityGroup"] = self.reference(NSG, subnet.nsg)
            if subnet.route_table:
                properties["routeTable"] = self.reference(ROUTE_TABLE, subnet.route_table)
            if subnet.nat_gateway:
                properties["natGateway"] = self.reference(NAT_GATEWAY, subnet.nat_gateway)
            if subnet.default_outbound_access is not None:
                properties["defaultOutboundAccess"] = subnet.default_outbound_access
            subnets.append(child_resource(own, "subnets", subnet_name, VNET, properties))
        return self.resource(
            VNET,
            name,
            {
                "addressSpace": {"addressPrefixes": list(vnet.address_space)},
                "subnets": subnets,
                "virtualNetworkPeerings": [
                    self._peering(own, name, peering) for name, peering in vnet.peerings.items()
                ],
                "enableDdosProtection": False,
            },
        )

    def _peering(self, vnet: str, name: str, peering: Peering) -> Resource:
        properties = {
            **SUCCEEDED,
            "remoteVirtualNetwork": self.reference(VNET, peering.remote),
            "allowVirtualNetworkAccess": peering.allow_virtual_network_access,
            "allowForwardedTraffic": peering.allow_forwarded_traffic,
            "allowGatewayTransit": peering.allow_gateway_transit,
            "useRemoteGateways": peering.use_remote_gateways,
        }
        return child_resource(vnet, "virtualNetworkPeerings", name, VNET, properties)

    def _rule(self, nsg: str, rule: Rule) -> Resource:
        properties: dict[str, Any] = {
            **SUCCEEDED,
            "protocol": rule.protocol.value,
            "access": rule.access.value,
            "priority": rule.priority,
            "direction": rule.direction.value,
            **_one_or_several("sourcePortRange", rule.source_ports),
            **_one_or_several("destinationPortRange", rule.ports),
            **self._selectors("source", rule.source),
            **self._selectors("destination", rule.destination),
        }
        return child_resource(nsg, "securityRules", rule.name, NSG, properties)

    def _selectors(self, side: str, selectors: tuple[str, ...]) -> dict[str, Any]:
        if selectors[0] in self.lab.asgs:
            name = f"{side}ApplicationSecurityGroups"
            return {
                f"{side}AddressPrefixes": [],
                name: [self.reference(ASG, selector) for selector in selectors],
            }
        return _one_or_several(f"{side}AddressPrefix", selectors, plural=f"{side}AddressPrefixes")

    def _machines(self) -> Iterator[Resource]:
        machines = [(name, vm) for name, _, vm in self.lab.expanded()]
        addresses = self._fixed_addresses(nic for _, vm in machines for nic in vm.interfaces())
        for name, vm in machines:
            nics = vm.interfaces()
            names = [
                f"{name}-nic" if number == 1 else f"{name}-nic{number}" for number in range(1, len(nics) + 1)
            ]
            for number, (nic_name, nic) in enumerate(zip(names, nics, strict=True)):
                yield self._nic(nic_name, nic, addresses, primary=number == 0)
            yield self.resource(
                VM,
                name,
                {
                    "vmId": f"00000000-0000-0000-0000-{next(self._macs):012x}",
                    "osProfile": {"computerName": name},
                    "networkProfile": {
                        "networkInterfaces": [
                            {**self.reference(NIC, nic), "properties": {"primary": number == 0}}
                            for number, nic in enumerate(names)
                        ]
                    },
                },
            )

    def _fixed_addresses(self, nics: Iterable[Nic]) -> dict[tuple[str, str], AddressPool]:
        pools: dict[tuple[str, str], AddressPool] = {}
        for nic in nics:
            place = self.lab.subnet(nic.subnet)
            pool = pools.setdefault(place, AddressPool(self.lab.prefixes(place)))
            for address in (nic.address, nic.ipv6):
                if isinstance(address, str):
                    pool.take(ip_address(address))
        return pools

    def _nic(
        self, name: str, nic: Nic, pools: dict[tuple[str, str], AddressPool], *, primary: bool
    ) -> Resource:
        own = self.id(NIC, name)
        vnet, subnet = self.lab.subnet(nic.subnet)
        pool = pools[vnet, subnet]
        wanted = [("ipconfig1", 4, nic.address or str(pool.next(4)), nic.address is not None)]
        if nic.ipv6:
            fixed = isinstance(nic.ipv6, str)
            wanted.append(("ipconfig2", 6, str(nic.ipv6) if fixed else str(pool.next(6)), fixed))
        configurations = []
        for number, (label, family, address, fixed) in enumerate(wanted):
            properties: dict[str, Any] = {
                **SUCCEEDED,
                "privateIPAddress": address,
                "privateIPAllocationMethod": "Static" if fixed else "Dynamic",
                "privateIPAddressVersion": f"IPv{family}",
                "primary": number == 0,
                "subnet": {"id": f"{self.id(VNET, vnet)}/subnets/{subnet}"},
            }
            if nic.asgs:
                properties["applicationSecurityGroups"] = [self.reference(ASG, asg) for asg in nic.asgs]
            if nic.public_ip and ip_address(self.lab.public_ips[nic.public_ip].address).version == family:
                properties["publicIPAddress"] = self.reference(PUBLIC_IP, nic.public_ip)
            configurations.append(child_resource(own, "ipConfigurations", label, NIC, properties))
        number = next(self._macs)
        mac = f"00-0D-3A-{number >> 16 & 255:02X}-{number >> 8 & 255:02X}-{number & 255:02X}"
        content: dict[str, Any] = {
            "ipConfigurations": configurations,
            "macAddress": mac,
            "primary": primary,
            "enableIPForwarding": nic.ip_forwarding,
            "enableAcceleratedNetworking": False,
        }
        if nic.nsg:
            content["networkSecurityGroup"] = self.reference(NSG, nic.nsg)
        return self.resource(NIC, name, content)


def to_resources(lab: LabFile) -> list[Resource]:
    """The ARM resources of a lab file, in an order that names what is referred to first."""
    return derived(list(_Translation(lab).resources()))


def _one_or_several(single: str, values: tuple[str, ...], *, plural: str = "") -> dict[str, Any]:
    """ARM has a property for one value and another for several; both are there in an answer."""
    plural = plural or f"{single}s"
    return {single: values[0], plural: []} if len(values) == 1 else {plural: list(values)}


def _route(table: str, route: Route) -> Resource:
    kind, address = route.parts()
    properties = {**SUCCEEDED, "addressPrefix": route.prefix, "nextHopType": kind, "hasBgpOverride": False}
    if address is not None:
        properties["nextHopIpAddress"] = address
    return child_resource(table, "routes", route.name, ROUTE_TABLE, properties)
