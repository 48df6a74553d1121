"""The words of the lab's packet fabric: ports, routes, security chains, drop reasons; pure data.

:mod:`lab.plan` makes a :class:`FabricPlan` of a network, :mod:`lab.program` makes an nftables
program of it. Nothing here knows of nftables, netlink or namespaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from harness.errors import InputError
from harness.network.model import (
    Access,
    Direction,
    IPAddress,
    IPNetwork,
    PortRange,
    RuleProtocol,
    short_name,
)
from lab.flatten import AddressRange

FABRIC_MAC = "12:34:56:78:9a:bc"
"""The MAC address that Azure's fabric answers every ARP request with."""
FABRIC_GATEWAY6 = IPv6Address("fe80::1234:5678:9abc")
"""The IPv6 default gateway of every Azure VM."""
PLATFORM_ADDRESS = IPv4Address("168.63.129.16")
"""Azure's host VIP: probes, DHCP, DNS (Azure: what-is-ip-address-168-63-129-16)."""
INTERNET = "internet"
"""The key of what stands for the internet among the VNets: whoever has an address there has a port in it."""
MTU = 1500


class PlanError(InputError):
    """A network that the lab's fabric cannot be built from; the message names the object."""


class DropReason(StrEnum):
    """Why the fabric itself dropped a packet (NSG denials are counted by their rule instead)."""

    SPOOFED = "spoofed"
    NO_ROUTE = "no-route"
    ROUTE_TO_NONE = "route-to-none"
    INTERNET = "no-internet"
    """Nothing leads to the internet: no edge in this lab, or no outbound method for the sender."""
    UNTRANSLATED = "forwarded-untranslated"
    """An appliance sent to the internet what it forwards, with a source that is not its own."""
    TRANSLATION_GONE = "translation-gone"
    """Of a flow whose public address was taken away or given to another."""
    MULTICAST = "multicast"
    NO_GATEWAY = "no-virtual-network-gateway"
    NO_SUCH_ADDRESS = "no-such-address"
    APPLIANCE_UNREACHABLE = "appliance-unreachable"
    APPLIANCE_NOT_FORWARDING = "appliance-not-forwarding"
    PEERING_ACCESS_DISABLED = "peering-access-disabled"
    FORWARDED_TRAFFIC_REFUSED = "forwarded-traffic-refused"
    STRAY_FRAGMENT = "stray-fragment"
    UNRELATED_ICMP = "unrelated-icmp"
    UNSUPPORTED_PROTOCOL = "unsupported-protocol"
    FLOW_TABLE_FULL = "flow-table-full"


@dataclass(frozen=True, slots=True)
class Port:
    """One NIC's place in the fabric: link ``p<id>`` there, ``interface`` in the VM.

    Hosts on the internet and edges have ports, too, with a ``nic`` that is a key of their own.
    ``addresses`` holds (address, prefix length that the guest configures): the subnet's for
    IPv4, 128 for IPv6, the primary configuration's first.
    """

    id: int
    nic: str
    vm: str
    interface: str
    mac: str
    addresses: tuple[tuple[IPAddress, int], ...]
    gateway4: IPv4Address | None
    gateway6: IPv6Address | None
    ip_forwarding: bool
    mtu: int = MTU

    @property
    def link(self) -> str:
        """The name of the fabric's end of the wire."""
        return f"p{self.id}"

    @property
    def primary(self) -> bool:
        """Whether this is the VM's primary NIC, the one that gets the default route."""
        return self.interface == "eth0"

    def of_family(self, family: int) -> tuple[IPAddress, ...]:
        """The addresses of one family (4 or 6)."""
        return tuple(address for address, _ in self.addresses if address.version == family)


class RouteAction(StrEnum):
    """What the fabric does with a packet that a route matches."""

    DELIVER = "deliver"
    """To the port that has the destination address in ``vnet``."""
    NEXT_HOP = "next-hop"
    """To ``port`` (in ``vnet``), whatever the destination address."""
    EDGE = "edge"
    """To the Internet edge of ``vnet``, which has ``port``; from a NIC's own addresses only."""
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class RouteTarget:
    """Where a route leads; ``vnet`` is the VNet (key) that the packet enters.

    ``closed_here`` and ``closed_there``: over a peering of which that side does not allow virtual
    network access, so that new flows pass only by rules that name the other end (:class:`PlannedRule`).
    """

    action: RouteAction
    vnet: str | None = None
    port: int | None = None
    reason: DropReason | None = None
    closed_here: bool = False
    closed_there: bool = False

    @classmethod
    def deliver(cls, vnet: str) -> RouteTarget:
        return cls(RouteAction.DELIVER, vnet=vnet)

    @classmethod
    def next_hop(cls, vnet: str, port: int) -> RouteTarget:
        return cls(RouteAction.NEXT_HOP, vnet=vnet, port=port)

    @classmethod
    def edge(cls, vnet: str, port: int) -> RouteTarget:
        return cls(RouteAction.EDGE, vnet=vnet, port=port)

    @property
    def closed(self) -> bool:
        return self.closed_here or self.closed_there

    @classmethod
    def drop(cls, reason: DropReason) -> RouteTarget:
        return cls(RouteAction.DROP, reason=reason)


@dataclass(frozen=True, slots=True)
class Context:
    """Where NSGs and routes apply: a VNet and the route table (keys) of a subnet.

    Subnets of one VNet with one route table share everything that depends on it, the
    meaning of the ``VirtualNetwork`` tag included.
    """

    vnet: str
    route_table: str | None


Routes = tuple[tuple[AddressRange, RouteTarget], ...]


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """The effective routes of a context as disjoint ranges, per family (4, 6)."""

    context: Context
    by_family: Mapping[int, Routes]


@dataclass(frozen=True, slots=True)
class AddressSet:
    """One side of a rule, resolved: any address, or disjoint ranges per family."""

    any: bool = False
    v4: tuple[AddressRange, ...] = ()
    v6: tuple[AddressRange, ...] = ()

    def of_family(self, family: int) -> tuple[AddressRange, ...]:
        return self.v4 if family == 4 else self.v6


@dataclass(frozen=True, slots=True)
class PlannedRule:
    """A security rule with tags and ASGs resolved. An empty tuple of ports means any port.

    ``explicit``: a rule of a user's that names its remote side by prefix or ASG.
    """

    id: str
    access: Access
    protocol: RuleProtocol
    source: AddressSet
    source_ports: tuple[PortRange, ...]
    destination: AddressSet
    destination_ports: tuple[PortRange, ...]
    explicit: bool = False


@dataclass(frozen=True, slots=True)
class ChainKey:
    """An NSG (key) in one direction, resolved for one context."""

    nsg: str
    direction: Direction
    context: Context


@dataclass(frozen=True, slots=True)
class Binding:
    """What applies to a port: its context and the NSGs (keys) of its NIC and subnet."""

    context: Context
    nic_nsg: str | None
    subnet_nsg: str | None


@dataclass(frozen=True, slots=True)
class VNetPlan:
    """A VNet: its space, its addresses (address -> port id), and the VNets (keys) that may
    send it packets whose source is outside their own space (``allowForwardedTraffic``)."""

    key: str
    space: AddressSet
    addresses: Mapping[IPAddress, int]
    forwarded_from: frozenset[str]


class OutboundMethod(StrEnum):
    """By what a private address leaves to the internet, in Azure's order (nat-overview)."""

    NAT_GATEWAY = "nat-gateway"
    PUBLIC_IP = "public-ip"
    DEFAULT_ACCESS = "default-outbound-access"


@dataclass(frozen=True, slots=True)
class Outbound:
    """The public address that the source becomes; only a public IP carries more than TCP and UDP."""

    method: OutboundMethod
    address: IPAddress

    @property
    def ports_only(self) -> bool:
        return self.method is not OutboundMethod.PUBLIC_IP


@dataclass(frozen=True, slots=True)
class Translation:
    """What the edge makes of one private address: outward, and inward if the internet may reach it."""

    address: IPAddress
    published: IPAddress | None
    outbound: Outbound | None


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """The edge between one VNet and the internet: a machine with a port on either side.

    A VNet has an edge of its own, so that equal private addresses of two VNets never meet.
    ``space`` is what lies inside.
    """

    vnet: str
    inside: Port
    outside: Port
    space: tuple[IPNetwork, ...]
    translations: tuple[Translation, ...]

    @property
    def public_addresses(self) -> frozenset[IPAddress]:
        """Everything that the internet finds at this edge."""
        out = {item.outbound.address for item in self.translations if item.outbound is not None}
        return frozenset(out | {item.published for item in self.translations if item.published is not None})


@dataclass(frozen=True, slots=True)
class InternetHost:
    """A machine on the internet: its name in the lab, and its public addresses."""

    name: str
    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class FabricPlan:
    """Everything that the fabric does, as data.

    ``ports`` are those of the lab's machines: of NICs, and of hosts on the internet, which have no
    binding. An edge has its ports with it.
    """

    ports: Mapping[int, Port]
    bindings: Mapping[int, Binding]
    vnets: Mapping[str, VNetPlan]
    routes: Mapping[Context, RoutePlan]
    chains: Mapping[ChainKey, tuple[PlannedRule, ...]]
    edges: Mapping[str, EdgePlan]

    @property
    def every_port(self) -> tuple[Port, ...]:
        """The machines' and the edges'."""
        at_edges = (port for edge in self.edges.values() for port in (edge.inside, edge.outside))
        return (*self.ports.values(), *at_edges)

    @property
    def routeless(self) -> dict[int, str]:
        """Ports to which no effective routes apply -> the VNet (key) in which what they send is delivered."""
        found = {number: INTERNET for number in self.ports if number not in self.bindings}
        for edge in self.edges.values():
            found |= {edge.inside.id: edge.vnet, edge.outside.id: INTERNET}
        return found

    @property
    def has_closed_peerings(self) -> bool:
        """Whether any route crosses a peering without virtual network access."""
        return any(
            target.closed
            for routes in self.routes.values()
            for family in routes.by_family.values()
            for _, target in family
        )

    @property
    def port_ids(self) -> dict[str, int]:
        """NIC (key), or what else has a port -> port id; give it to the next ``build_plan`` to keep ids."""
        return {port.nic: port.id for port in self.every_port}

    def ports_of(self, vm: str) -> tuple[Port, ...]:
        """The ports of a VM, its primary NIC's first."""
        return tuple(
            sorted((port for port in self.ports.values() if port.vm == vm), key=lambda port: port.interface)
        )


def rule_id(nsg_id: str, rule_name: str, *, default: bool) -> str:
    """The id that counters have for a rule: its ARM id."""
    kind = "defaultSecurityRules" if default else "securityRules"
    return f"{nsg_id.rstrip('/')}/{kind}/{rule_name}"


def rule_name(identifier: str) -> str:
    """``<nsg name>/<rule name>`` of a rule id."""
    nsg_id, _, name = identifier.rpartition("/")
    return f"{short_name(nsg_id.rpartition('/')[0])}/{name}"
