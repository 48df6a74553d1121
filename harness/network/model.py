"""Azure's network as frozen data: VNets, subnets, NICs, NSGs, ASGs, routes, peerings.

Every object keeps its full ARM id in ``id`` as Azure spells it. ARM ids compare without
regard to case, so everything that refers to another object, and every key of
:class:`Network`, holds :func:`key` of the id. Loaders are elsewhere (``snapshot.py``);
what a network does to a packet is :mod:`harness.policy`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


def key(arm_id: str) -> str:
    """The form in which an ARM id is compared and used as a key."""
    return arm_id.strip().rstrip("/").lower()


def short_name(arm_id: str) -> str:
    """The last segment of an ARM id."""
    return arm_id.rstrip("/").rpartition("/")[2]


class Direction(StrEnum):
    INBOUND = "Inbound"
    OUTBOUND = "Outbound"


class Access(StrEnum):
    ALLOW = "Allow"
    DENY = "Deny"


class RuleProtocol(StrEnum):
    TCP = "Tcp"
    UDP = "Udp"
    ICMP = "Icmp"
    ESP = "Esp"
    AH = "Ah"
    ANY = "*"


class NextHopType(StrEnum):
    """Next hop types as effective routes spell them (SDK and documents, see VirtualNetworkPeering)."""

    VNET_LOCAL = "VnetLocal"
    VNET_PEERING = "VNetPeering"
    INTERNET = "Internet"
    VIRTUAL_APPLIANCE = "VirtualAppliance"
    VIRTUAL_NETWORK_GATEWAY = "VirtualNetworkGateway"
    NONE = "None"


class RouteSource(StrEnum):
    """Where an effective route comes from (``EffectiveRouteSource``)."""

    DEFAULT = "Default"
    USER = "User"
    GATEWAY = "VirtualNetworkGateway"


class PeeringState(StrEnum):
    INITIATED = "Initiated"
    CONNECTED = "Connected"
    DISCONNECTED = "Disconnected"


@dataclass(frozen=True, slots=True)
class PortRange:
    """An inclusive range of ports; 0-65535 is ``*``."""

    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last


ANY_PORT = PortRange(0, 65535)


@dataclass(frozen=True, slots=True)
class AddressSelector:
    """One side of a security rule: prefixes, service tags, ASGs (keys), or any address (``*``)."""

    any: bool = False
    prefixes: tuple[IPNetwork, ...] = ()
    tags: tuple[str, ...] = ()
    asgs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SecurityRule:
    id: str
    name: str
    direction: Direction
    priority: int
    access: Access
    protocol: RuleProtocol
    source: AddressSelector
    source_ports: tuple[PortRange, ...]
    destination: AddressSelector
    destination_ports: tuple[PortRange, ...]
    default: bool = False


@dataclass(frozen=True, slots=True)
class NetworkSecurityGroup:
    """``rules`` holds custom and default rules of both directions, ordered by priority."""

    id: str
    name: str
    rules: tuple[SecurityRule, ...]

    def ordered(self, direction: Direction) -> Iterator[SecurityRule]:
        return (rule for rule in self.rules if rule.direction is direction)


@dataclass(frozen=True, slots=True)
class ApplicationSecurityGroup:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Route:
    """A user-defined route. ``next_hop_ip`` is set for VirtualAppliance only."""

    id: str
    name: str
    prefix: IPNetwork
    next_hop_type: NextHopType
    next_hop_ip: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class ServiceTagRoute:
    """A user-defined route to a service tag; its prefixes are not known here."""

    id: str
    name: str
    tag: str
    next_hop_type: NextHopType
    next_hop_ip: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class RouteTable:
    id: str
    name: str
    routes: tuple[Route, ...]
    tag_routes: tuple[ServiceTagRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class Subnet:
    """``nsg`` and ``route_table`` are keys (or None), whichever side declared the association."""

    id: str
    name: str
    vnet: str
    prefixes: tuple[IPNetwork, ...]
    nsg: str | None = None
    route_table: str | None = None


@dataclass(frozen=True, slots=True)
class VirtualNetworkPeering:
    """``remote_address_space`` is the remote space as last synchronised."""

    id: str
    name: str
    remote_vnet: str
    state: PeeringState
    allow_virtual_network_access: bool
    allow_forwarded_traffic: bool
    remote_address_space: tuple[IPNetwork, ...]
    allow_gateway_transit: bool = False
    use_remote_gateways: bool = False


@dataclass(frozen=True, slots=True)
class VirtualNetwork:
    id: str
    name: str
    address_space: tuple[IPNetwork, ...]
    subnets: tuple[str, ...]
    peerings: tuple[VirtualNetworkPeering, ...] = ()


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


@dataclass(frozen=True, slots=True)
class PublicIPAddress:
    id: str
    name: str
    address: IPAddress | None
    sku: str = "Standard"


@dataclass(frozen=True)
class Network:
    """Everything by :func:`key` of its ARM id. ``unmodelled`` lists (type, id) that no loader knows."""

    vnets: Mapping[str, VirtualNetwork] = field(default_factory=dict)
    subnets: Mapping[str, Subnet] = field(default_factory=dict)
    nics: Mapping[str, NetworkInterface] = field(default_factory=dict)
    vms: Mapping[str, VirtualMachine] = field(default_factory=dict)
    nsgs: Mapping[str, NetworkSecurityGroup] = field(default_factory=dict)
    asgs: Mapping[str, ApplicationSecurityGroup] = field(default_factory=dict)
    route_tables: Mapping[str, RouteTable] = field(default_factory=dict)
    public_ips: Mapping[str, PublicIPAddress] = field(default_factory=dict)
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
        return tuple(vm for vm in self.vms.values() if vm.name.lower() == name.lower())
