"""Azure's network as frozen data: VNets, subnets, NICs, NSGs, ASGs, routes, peerings, edges.

Every object keeps its full ARM id in ``id`` as Azure spells it. ARM ids compare without
regard to case, so everything that refers to another object, and every key of
:class:`Network`, holds :func:`key` of the id. Loaders are elsewhere (``snapshot.py``);
what a network does to a packet is :mod:`harness.policy`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from harness.network.balancing import LoadBalancer, NatGateway, PublicIPAddress, PublicIPPrefix
from harness.network.classic import CloudService
from harness.network.gateways import GatewayConnection, LocalNetworkGateway, VirtualNetworkGateway
from harness.network.security import (
    ApplicationSecurityGroup,
    NetworkSecurityGroup,
    SecurityAdminRule,
    SecurityRule,
)
from harness.network.words import (
    ANY_PORT,
    Access,
    AddressSelector,
    AdminAccess,
    Direction,
    IPAddress,
    IPNetwork,
    NextHopType,
    PeeringState,
    PortRange,
    RouteSource,
    RuleProtocol,
    key,
    short_name,
)

__all__ = [
    "ANY_PORT",
    "Access",
    "AddressSelector",
    "AdminAccess",
    "ApplicationSecurityGroup",
    "Direction",
    "IPAddress",
    "IPNetwork",
    "IpConfiguration",
    "Network",
    "NetworkInterface",
    "NetworkSecurityGroup",
    "NextHopType",
    "PeeringState",
    "PortRange",
    "PublicIPAddress",
    "Route",
    "RouteSource",
    "RouteTable",
    "RuleProtocol",
    "SecurityAdminRule",
    "SecurityRule",
    "ServiceEndpoint",
    "ServiceTagRoute",
    "Subnet",
    "VirtualMachine",
    "VirtualNetwork",
    "VirtualNetworkPeering",
    "key",
    "short_name",
]


@dataclass(frozen=True, slots=True)
class Route:
    """A user-defined route. ``next_hop_ip`` is set for VirtualAppliance only.

    ``other_next_hops``: the further appliances of a VirtualApplianceEcmp route, which is kept as one
    of type VirtualAppliance to the first.
    """

    id: str
    name: str
    prefix: IPNetwork
    next_hop_type: NextHopType
    next_hop_ip: IPAddress | None = None
    other_next_hops: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceTagRoute:
    """A user-defined route to a service tag; its prefixes are not known here."""

    id: str
    name: str
    tag: str
    next_hop_type: NextHopType
    next_hop_ip: IPAddress | None = None
    other_next_hops: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteTable:
    id: str
    name: str
    routes: tuple[Route, ...]
    tag_routes: tuple[ServiceTagRoute, ...] = ()
    disable_bgp_route_propagation: bool = False
    disable_peering_route: bool = False


@dataclass(frozen=True, slots=True)
class ServiceEndpoint:
    """``service`` as in ``Microsoft.Storage``; ``locations`` that it reaches, () for the VNet's own."""

    service: str
    locations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subnet:
    """``nsg``, ``route_table``, ``nat_gateway`` are keys (or None), whichever side declared the association.

    ``default_outbound_access`` is
    None where the snapshot does not say: Azure's default depends on when the subnet was made.
    """

    id: str
    name: str
    vnet: str
    prefixes: tuple[IPNetwork, ...]
    nsg: str | None = None
    route_table: str | None = None
    nat_gateway: str | None = None
    service_endpoints: tuple[ServiceEndpoint, ...] = ()
    default_outbound_access: bool | None = None


@dataclass(frozen=True, slots=True)
class VirtualNetworkPeering:
    """``remote_address_space`` is the remote space as last synchronised, ``sync_level`` how far it is."""

    id: str
    name: str
    remote_vnet: str
    state: PeeringState
    allow_virtual_network_access: bool
    allow_forwarded_traffic: bool
    remote_address_space: tuple[IPNetwork, ...]
    allow_gateway_transit: bool = False
    use_remote_gateways: bool = False
    sync_level: str | None = None


@dataclass(frozen=True, slots=True)
class VirtualNetwork:
    """``flow_timeout`` is flowTimeoutInMinutes; ``location`` as Azure spells it (``westeurope``)."""

    id: str
    name: str
    address_space: tuple[IPNetwork, ...]
    subnets: tuple[str, ...]
    peerings: tuple[VirtualNetworkPeering, ...] = ()
    location: str | None = None
    flow_timeout: int | None = None


@dataclass(frozen=True, slots=True)
class IpConfiguration:
    id: str
    name: str
    address: IPAddress
    subnet: str
    primary: bool = True
    asgs: tuple[str, ...] = ()
    public_ip: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    id: str
    name: str
    ip_configurations: tuple[IpConfiguration, ...]
    vm: str | None = None
    nsg: str | None = None
    ip_forwarding: bool = False
    primary: bool = True
    mac: str | None = None

    @property
    def subnet(self) -> str:
        """The subnet (key) of the NIC; all of its configurations share it."""
        return self.ip_configurations[0].subnet

    @property
    def asgs(self) -> frozenset[str]:
        return frozenset(asg for config in self.ip_configurations for asg in config.asgs)

    def addresses(self, family: int) -> tuple[IPAddress, ...]:
        """Private addresses of one family (4 or 6), the primary configuration's first."""
        ordered = sorted(self.ip_configurations, key=lambda config: not config.primary)
        return tuple(config.address for config in ordered if config.address.version == family)


@dataclass(frozen=True, slots=True)
class VirtualMachine:
    """``nics`` are keys, the primary NIC first (it is the guest's eth0)."""

    id: str
    name: str
    nics: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """Everything by :func:`key` of its ARM id.

    ``admin_rules``: per virtual network (key) the security admin rules that are for it, by priority.
    ``unmodelled`` lists (type, id) of what the loaders leave out: types that they do not know, and objects
    that the model has no place for, such as an IP configuration that is a block of addresses.
    """

    vnets: Mapping[str, VirtualNetwork] = field(default_factory=dict)
    subnets: Mapping[str, Subnet] = field(default_factory=dict)
    nics: Mapping[str, NetworkInterface] = field(default_factory=dict)
    vms: Mapping[str, VirtualMachine] = field(default_factory=dict)
    nsgs: Mapping[str, NetworkSecurityGroup] = field(default_factory=dict)
    asgs: Mapping[str, ApplicationSecurityGroup] = field(default_factory=dict)
    route_tables: Mapping[str, RouteTable] = field(default_factory=dict)
    public_ips: Mapping[str, PublicIPAddress] = field(default_factory=dict)
    public_ip_prefixes: Mapping[str, PublicIPPrefix] = field(default_factory=dict)
    nat_gateways: Mapping[str, NatGateway] = field(default_factory=dict)
    load_balancers: Mapping[str, LoadBalancer] = field(default_factory=dict)
    gateways: Mapping[str, VirtualNetworkGateway] = field(default_factory=dict)
    local_gateways: Mapping[str, LocalNetworkGateway] = field(default_factory=dict)
    connections: Mapping[str, GatewayConnection] = field(default_factory=dict)
    admin_rules: Mapping[str, tuple[SecurityAdminRule, ...]] = field(default_factory=dict)
    cloud_services: Mapping[str, CloudService] = field(default_factory=dict)
    unmodelled: tuple[tuple[str, str], ...] = ()

    @cached_property
    def holders(self) -> Mapping[IPAddress, tuple[tuple[NetworkInterface, IpConfiguration], ...]]:
        """Who has a private address: one NIC per VNet, several where VNets overlap."""
        found: dict[IPAddress, list[tuple[NetworkInterface, IpConfiguration]]] = {}
        for nic in self.nics.values():
            for config in nic.ip_configurations:
                found.setdefault(config.address, []).append((nic, config))
        return {address: tuple(holders) for address, holders in found.items()}

    def vms_named(self, name: str) -> tuple[VirtualMachine, ...]:
        """VMs of that name (Azure compares without regard to case); several resource groups may have one."""
        return self._named.get(name.lower(), ())

    @cached_property
    def _named(self) -> Mapping[str, tuple[VirtualMachine, ...]]:
        found: dict[str, tuple[VirtualMachine, ...]] = {}
        for vm in self.vms.values():
            found[vm.name.lower()] = (*found.get(vm.name.lower(), ()), vm)
        return found
