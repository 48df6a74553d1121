"""The words that the network model is written in: ids, directions, ports, prefixes, next hops.

Azure's own spellings as string values. ARM ids compare without regard to case, so everything
that refers to another object holds :func:`key` of its id.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
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


class AdminAccess(StrEnum):
    """What a security admin rule decides: on to the NSGs, past them, or the end."""

    ALLOW = "Allow"
    ALWAYS_ALLOW = "AlwaysAllow"
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
    SERVICE_ENDPOINT = "VirtualNetworkServiceEndpoint"
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
