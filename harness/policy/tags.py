"""Which addresses a service tag stands for at one NIC, and which addresses Azure counts as what.

Three tags are known: VirtualNetwork, Internet, AzureLoadBalancer. Sources: azure-facts
sections "NSG" and "recorded answers". The address lists are data, since Azure changes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from harness.network.model import (
    IPAddress,
    IPNetwork,
    Network,
    NetworkInterface,
    PeeringState,
)
from harness.network.rules import AZURE_LOAD_BALANCER, INTERNET, VIRTUAL_NETWORK

PLATFORM_ADDRESS = ip_address("168.63.129.16")
METADATA_ADDRESS = ip_address("169.254.169.254")
PLATFORM: frozenset[IPAddress] = frozenset({PLATFORM_ADDRESS, METADATA_ADDRESS})

NOT_INTERNET_4: tuple[IPNetwork, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "25.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
    )
)  # fmt: skip
"""What the recorded expansion of Internet (76 prefixes, 2017) leaves out."""

INTERNET_6 = ip_network("2000::/3")

PRIVATE: tuple[IPNetwork, ...] = tuple(
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""Addresses that only virtual networks and on-premises networks have."""


def contains(prefixes: Iterable[IPNetwork], address: IPAddress) -> bool:
    return any(address in prefix for prefix in prefixes)


def is_private(address: IPAddress) -> bool:
    return contains(PRIVATE, address)


@dataclass(frozen=True, slots=True)
class TagScope:
    """The tags as one NIC sees them: they depend on its virtual network, peerings and routes."""

    virtual_network: tuple[IPNetwork, ...]
    """VNet space, connected peers' space with access allowed, prefixes of UDRs, the host's address."""
    private_space: tuple[IPNetwork, ...]
    """VNet and peers only: what Internet leaves out even where its addresses are public."""

    def holds(self, tag: str, address: IPAddress) -> bool | None:
        """Whether ``address`` belongs to ``tag``; None where the tag's addresses are not known."""
        if tag == VIRTUAL_NETWORK:
            return address == PLATFORM_ADDRESS or contains(self.virtual_network, address)
        if tag == AZURE_LOAD_BALANCER:
            return address == PLATFORM_ADDRESS
        if tag == INTERNET:
            return is_internet(address) and not contains(self.private_space, address)
        return None


def is_internet(address: IPAddress) -> bool:
    """Whether an address is public space as the tag Internet counts it, virtual networks apart."""
    if address.version == 6:
        return address in INTERNET_6
    return not contains(NOT_INTERNET_4, address)


def tag_scope(network: Network, nic: NetworkInterface) -> TagScope:
    """The tags as rules of ``nic`` and of its subnet see them."""
    subnet = network.subnets[nic.subnet]
    vnet = network.vnets[subnet.vnet]
    connected = [peering for peering in vnet.peerings if peering.state is PeeringState.CONNECTED]
    open_peers = [peering for peering in connected if peering.allow_virtual_network_access]
    routes = network.route_tables[subnet.route_table].routes if subnet.route_table else ()
    return TagScope(
        virtual_network=(
            *vnet.address_space,
            *(prefix for peering in open_peers for prefix in peering.remote_address_space),
            *(route.prefix for route in routes),
        ),
        private_space=(
            *vnet.address_space,
            *(prefix for peering in connected for prefix in peering.remote_address_space),
        ),
    )
