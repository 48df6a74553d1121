"""Small Azure networks for tests of the fabric, written in few words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from harness.network.balancing import NatGateway
from harness.network.model import (
    ANY_PORT,
    Access,
    AddressSelector,
    ApplicationSecurityGroup,
    Direction,
    IpConfiguration,
    Network,
    NetworkInterface,
    NetworkSecurityGroup,
    NextHopType,
    PeeringState,
    PortRange,
    PublicIPAddress,
    Route,
    RouteTable,
    RuleProtocol,
    SecurityRule,
    Subnet,
    VirtualMachine,
    VirtualNetwork,
    VirtualNetworkPeering,
    key,
)

RG = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network"
ANY = AddressSelector(any=True)


def arm(kind: str, name: str) -> str:
    return f"{RG}/{kind}/{name}"


def selector(text: str) -> AddressSelector:
    """``*``, prefixes and tags separated by commas, or ``asg:NAME``."""
    if text == "*":
        return ANY
    words = text.split(",")
    return AddressSelector(
        prefixes=tuple(ip_network(word) for word in words if word[0].isdigit() or "::" in word),
        tags=tuple(word for word in words if word[0].isalpha() and "::" not in word and ":" not in word),
        asgs=tuple(
            key(arm("applicationSecurityGroups", word[4:])) for word in words if word.startswith("asg:")
        ),
    )


def rule(
    name: str,
    priority: int,
    access: str,
    *,
    direction: str = "Inbound",
    protocol: str = "*",
    source: str = "*",
    target: str = "*",
    ports: Sequence[tuple[int, int]] = (),
    source_ports: Sequence[tuple[int, int]] = (),
    default: bool = False,
) -> SecurityRule:
    def ranges(pairs: Sequence[tuple[int, int]]) -> tuple[PortRange, ...]:
        return tuple(PortRange(*pair) for pair in pairs) or (ANY_PORT,)

    return SecurityRule(
        id=f"rules/{name}",
        name=name,
        direction=Direction(direction),
        priority=priority,
        access=Access(access),
        protocol=RuleProtocol(protocol),
        source=selector(source),
        source_ports=ranges(source_ports),
        destination=selector(target),
        destination_ports=ranges(ports),
        default=default,
    )


def _default(name: str, priority: int, access: str, direction: str, source: str, target: str) -> SecurityRule:
    return rule(name, priority, access, direction=direction, source=source, target=target, default=True)


DEFAULTS = (
    _default("AllowVnetInBound", 65000, "Allow", "Inbound", "VirtualNetwork", "VirtualNetwork"),
    _default("AllowAzureLoadBalancerInBound", 65001, "Allow", "Inbound", "AzureLoadBalancer", "*"),
    _default("DenyAllInBound", 65500, "Deny", "Inbound", "*", "*"),
    _default("AllowVnetOutBound", 65000, "Allow", "Outbound", "VirtualNetwork", "VirtualNetwork"),
    _default("AllowInternetOutBound", 65001, "Allow", "Outbound", "*", "Internet"),
    _default("DenyAllOutBound", 65500, "Deny", "Outbound", "*", "*"),
)


def nsg(name: str, *rules: SecurityRule) -> NetworkSecurityGroup:
    ordered = tuple(sorted((*rules, *DEFAULTS), key=lambda item: item.priority))
    return NetworkSecurityGroup(arm("networkSecurityGroups", name), name, ordered)


def route(prefix: str, hop: str) -> Route:
    """``hop`` is an appliance's address or a next hop type."""
    by_address = hop[0].isdigit() or "::" in hop
    return Route(
        id=f"routes/{prefix}",
        name=prefix,
        prefix=ip_network(prefix),
        next_hop_type=NextHopType.VIRTUAL_APPLIANCE if by_address else NextHopType(hop),
        next_hop_ip=ip_address(hop) if by_address else None,
    )


@dataclass
class Builder:
    """Collects a Network."""

    vnets: dict[str, VirtualNetwork] = field(default_factory=dict)
    subnets: dict[str, Subnet] = field(default_factory=dict)
    nics: dict[str, NetworkInterface] = field(default_factory=dict)
    vms: dict[str, VirtualMachine] = field(default_factory=dict)
    nsgs: dict[str, NetworkSecurityGroup] = field(default_factory=dict)
    asgs: dict[str, ApplicationSecurityGroup] = field(default_factory=dict)
    tables: dict[str, RouteTable] = field(default_factory=dict)
    public_ips: dict[str, PublicIPAddress] = field(default_factory=dict)
    nat_gateways: dict[str, NatGateway] = field(default_factory=dict)

    def vnet(self, name: str, *space: str) -> str:
        identifier = arm("virtualNetworks", name)
        self.vnets[key(identifier)] = VirtualNetwork(
            identifier, name, tuple(ip_network(prefix) for prefix in space), ()
        )
        return key(identifier)

    def subnet(
        self,
        vnet: str,
        name: str,
        *prefixes: str,
        security: NetworkSecurityGroup | None = None,
        routes: Iterable[Route] = (),
        nat_gateway: str | None = None,
        default_outbound: bool | None = None,
    ) -> str:
        """``nat_gateway`` is the public address of one."""
        vnet_key = key(arm("virtualNetworks", vnet))
        identifier = f"{self.vnets[vnet_key].id}/subnets/{name}"
        table = None
        if chosen := tuple(routes):
            table_id = arm("routeTables", f"rt-{vnet}-{name}")
            table = key(table_id)
            self.tables[table] = RouteTable(table_id, f"rt-{vnet}-{name}", chosen)
        self.subnets[key(identifier)] = Subnet(
            identifier,
            name,
            vnet_key,
            tuple(ip_network(prefix) for prefix in prefixes),
            nsg=self._nsg(security),
            route_table=table,
            nat_gateway=self._nat_gateway(f"nat-{vnet}-{name}", nat_gateway) if nat_gateway else None,
            default_outbound_access=default_outbound,
        )
        return key(identifier)

    def vm(
        self,
        name: str,
        subnet: str,
        *addresses: str,
        security: NetworkSecurityGroup | None = None,
        forwarding: bool = False,
        asgs: Iterable[str] = (),
        mac: str | None = None,
        public: Iterable[str] = (),
        sku: str = "Standard",
    ) -> str:
        """A VM with one NIC, or one more NIC of a VM that is known; returns the NIC's key.

        ``public`` are the public IP addresses of the first ``addresses``, of that ``sku``.
        """
        vm_id = f"/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/{name}"
        known = self.vms.get(key(vm_id), VirtualMachine(vm_id, name, ()))
        nic_id = arm("networkInterfaces", f"nic-{name}-{len(known.nics)}")
        groups = tuple(self._asg(group) for group in asgs)
        names = [self._public_ip(f"pip-{name}-{place}", text, sku) for place, text in enumerate(public)]
        self.nics[key(nic_id)] = NetworkInterface(
            nic_id,
            f"nic-{name}-{len(known.nics)}",
            tuple(
                IpConfiguration(
                    f"{nic_id}/ip{place}",
                    f"ip{place}",
                    ip_address(address),
                    subnet,
                    place == 0,
                    groups,
                    public_ip=names[place] if place < len(names) else None,
                )
                for place, address in enumerate(addresses)
            ),
            vm=key(vm_id),
            nsg=self._nsg(security),
            ip_forwarding=forwarding,
            primary=not known.nics,
            mac=mac,
        )
        self.vms[key(vm_id)] = replace(known, nics=(*known.nics, key(nic_id)))
        return key(nic_id)

    def peer(
        self,
        vnet: str,
        remote: str,
        *,
        state: str = "Connected",
        access: bool = True,
        forwarded: bool = False,
    ) -> None:
        """One side of a peering."""
        here, there = (key(arm("virtualNetworks", name)) for name in (vnet, remote))
        peering = VirtualNetworkPeering(
            f"{here}/peerings/{remote}",
            remote,
            there,
            PeeringState(state),
            access,
            forwarded,
            self.vnets[there].address_space,
        )
        self.vnets[here] = replace(self.vnets[here], peerings=(*self.vnets[here].peerings, peering))

    def build(self) -> Network:
        return Network(
            vnets=dict(self.vnets),
            subnets=dict(self.subnets),
            nics=dict(self.nics),
            vms=dict(self.vms),
            nsgs=dict(self.nsgs),
            asgs=dict(self.asgs),
            route_tables=dict(self.tables),
            public_ips=dict(self.public_ips),
            nat_gateways=dict(self.nat_gateways),
        )

    def _public_ip(self, name: str, address: str, sku: str) -> str:
        identifier = arm("publicIPAddresses", name)
        self.public_ips[key(identifier)] = PublicIPAddress(identifier, name, ip_address(address), sku)
        return key(identifier)

    def _nat_gateway(self, name: str, address: str) -> str:
        identifier = arm("natGateways", name)
        public = self._public_ip(f"pip-{name}", address, "Standard")
        self.nat_gateways[key(identifier)] = NatGateway(identifier, name, (public,))
        return key(identifier)

    def _nsg(self, security: NetworkSecurityGroup | None) -> str | None:
        if security is None:
            return None
        self.nsgs[key(security.id)] = security
        return key(security.id)

    def _asg(self, name: str) -> str:
        identifier = arm("applicationSecurityGroups", name)
        self.asgs[key(identifier)] = ApplicationSecurityGroup(identifier, name)
        return key(identifier)


def two_subnets() -> Builder:
    """a and b in one subnet, c in another."""
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16", "fd00:1::/48")
    subnet = builder.subnet("v", "s", "10.0.1.0/24", "fd00:1:0:1::/64")
    builder.vm("a", subnet, "10.0.1.4", "fd00:1:0:1::4")
    builder.vm("b", subnet, "10.0.1.5", "fd00:1:0:1::5")
    builder.vm("c", builder.subnet("v", "t", "10.0.2.0/24", "fd00:1:0:2::/64"), "10.0.2.4", "fd00:1:0:2::4")
    return builder
